#include <ckpt/ckpt.hpp>
#include <cstdio>

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    auto weights = file.state_dict().value();
    const ckpt::key_map to_ours{
        ckpt::strip_prefix("module."),
        ckpt::rename("encoder.layers.{i}.fc1.{leaf}", "blocks.{i}.mlp.0.{leaf}"), // checked at compile time
    };
    for (const auto& move : ckpt::plan_remap(weights, to_ours).moves) // dry run
        std::printf("%s -> %s\n", move.from.c_str(), move.to.c_str());
    auto ours = ckpt::remap(weights, to_ours).value(); // fails on a collision
    return ours.size() == weights.size() ? 0 : 1;
}
