// expect: ckpt: a load cannot fill a member of this type
#include <ckpt/ckpt.hpp>

struct linear {
    float bias;
};
template <> struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"bias", &linear::bias>> {};

int main(int, char** argv) {
    auto weights = ckpt::open(argv[1]).value().state_dict().value();
    linear model{};
    return ckpt::load(weights, model).has_value() ? 0 : 1;
}
