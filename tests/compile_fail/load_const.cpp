// expect: ckpt: this struct is const
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};
template <> struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"weight", &linear::weight>> {};

int main(int, char** argv) {
    auto weights = ckpt::open(argv[1]).value().state_dict().value();
    const linear model{};
    return ckpt::load(weights, model).has_value() ? 0 : 1;
}
