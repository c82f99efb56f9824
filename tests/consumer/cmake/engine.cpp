// An engine that is a shared library; prints what examples/02_typed_view does.
#include <ckpt/ckpt.hpp>

#include <cstdio>

bool print_sum(const char* path);

bool print_sum(const char* path) {
    const auto file = ckpt::open(path);
    if (!file) return false;
    const auto weights = file->state_dict("model");
    if (!weights) return false;
    const auto weight = weights->view<float, 2>("fc1.weight");
    if (!weight) return false;
    float sum = 0;
    for (std::int64_t r = 0; r < weight->shape[0]; ++r)
        for (std::int64_t c = 0; c < weight->shape[1]; ++c) sum += (*weight)(r, c);
    std::printf("%g\n", static_cast<double>(sum));
    return true;
}
