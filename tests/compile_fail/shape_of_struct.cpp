// expect: ckpt: a shape<...> is for tensors
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};
struct mlp {
    linear fc1;
};
template <> struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"weight", &linear::weight>> {};
template <> struct ckpt::binding<mlp> : ckpt::fields<ckpt::field<"fc1", &mlp::fc1, ckpt::shape<10, 784>>> {};

int main(int, char** argv) {
    auto weights = ckpt::open(argv[1]).value().state_dict().value();
    mlp model{};
    return ckpt::load(weights, model).has_value() ? 0 : 1;
}
