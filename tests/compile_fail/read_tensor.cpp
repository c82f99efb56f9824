// expect: ckpt: read_into cannot fill tensors: load does, from a state_dict
#include <ckpt/ckpt.hpp>
#include <ckpt/config.hpp>
#include <ckpt/state/read_into.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};
template <> struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"weight", &linear::weight>> {};

int main(int, char** argv) {
    linear model{};
    return ckpt::read_into(ckpt::open_json(argv[1]), model).has_value() ? 0 : 1;
}
