// expect: ckpt: this struct has no binding
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};

int main(int, char** argv) {
    auto weights = ckpt::open(argv[1]).value().state_dict().value();
    linear model{};
    return ckpt::load(weights, model).has_value() ? 0 : 1;
}
