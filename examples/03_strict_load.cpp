#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
    std::optional<ckpt::tensor_view<float, 1>> bias;
};
struct mlp {
    linear fc1;
    std::array<linear, 12> blocks;
};
template <> struct ckpt::binding<linear>
    : ckpt::fields<ckpt::field<"weight", &linear::weight, ckpt::shape<ckpt::any, 784>>,
                   ckpt::field<"bias", &linear::bias>> {};
template <> struct ckpt::binding<mlp>
    : ckpt::fields<ckpt::field<"fc1", &mlp::fc1>, ckpt::field<"blocks", &mlp::blocks>> {};

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    auto weights = file.state_dict().value();
    mlp model{};
    auto report = ckpt::load(weights, model).value(); // strict: every key, both ways
    return report.complete() ? 0 : 1;
}
