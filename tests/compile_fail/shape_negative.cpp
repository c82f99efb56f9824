// expect: ckpt: a size in a shape<...> is a number that is not negative, or ckpt::any
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};
template <>
struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"weight", &linear::weight, ckpt::shape<-2, 784>>> {};

int main(int, char** argv) {
    auto weights = ckpt::open(argv[1]).value().state_dict().value();
    return ckpt::load<linear>(weights).has_value() ? 0 : 1;
}
