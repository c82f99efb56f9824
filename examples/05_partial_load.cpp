#include <ckpt/ckpt.hpp>
#include <cstdio>

struct head {
    ckpt::tensor_view<float, 2> weight;
};
template <> struct ckpt::binding<head> : ckpt::fields<ckpt::field<"weight", &head::weight>> {};

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    auto weights = file.state_dict().value();
    head h{};
    // Other keys may be in the file; nothing of ours may be missing.
    auto report = ckpt::load(weights, h, {.allow_unexpected = {"**"}}).value();
    for (const auto& key : report.unexpected_keys) std::printf("not used: %s\n", key.c_str());
}
