// expect: ckpt: the struct of this member has no binding
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};
struct mlp {
    linear fc1;
};
template <> struct ckpt::binding<mlp> : ckpt::fields<ckpt::field<"fc1", &mlp::fc1>> {};

int main(int, char** argv) {
    auto weights = ckpt::open(argv[1]).value().state_dict().value();
    return ckpt::load<mlp>(weights).has_value() ? 0 : 1;
}
