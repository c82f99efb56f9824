// Reads all weights into one block of memory, its matrices narrowed to bfloat16, and compares the checksums of what is
// read as it is.
#include <ckpt/host.hpp>
#include <cstdio>

int main(int, char** argv) { // builds with -fno-exceptions -fno-rtti
    auto file = ckpt::open(argv[1]);
    if (!file) return 1;
    auto weights = file->state_dict();
    if (!weights) return 1;
    auto loaded =
        ckpt::host::load(*weights, {.plan = {.casts = {{"**.weight", ckpt::dtype::bfloat16}}}, .verify = true});
    if (!loaded) {
        std::fprintf(stderr, "%s\n", loaded.error().message().c_str());
        return 1;
    }
    for (const auto& [key, tensor] : loaded->weights)
        std::printf("%.*s %s\n", int(key.size()), key.data(), ckpt::name(tensor.dtype()).data());
    auto w = loaded->weights.view<ckpt::bf16, 2>("fc1.weight");
    if (!w) return 1;
    std::printf("fc1.weight[3][5] = %g\n", double(float((*w)(3, 5))));

    const ckpt::upload_report& report = loaded->report;
    std::printf("%llu bytes in %llu copies, %llu records verified, %llu not\n",
                static_cast<unsigned long long>(report.bytes), static_cast<unsigned long long>(report.copies),
                static_cast<unsigned long long>(report.verified), static_cast<unsigned long long>(report.unverified));
    if (!report.fallback.empty()) std::printf("%s\n", report.fallback.c_str());
}
