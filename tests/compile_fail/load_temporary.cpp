// expect: deleted
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};
template <> struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"weight", &linear::weight>> {};

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    linear model{};
    return ckpt::load(file.state_dict().value(), model).has_value() ? 0 : 1;
}
