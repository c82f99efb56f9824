#include <ckpt/ckpt.hpp>
#include <cstdio>

int main(int, char** argv) { // builds with -fno-exceptions -fno-rtti
    auto file = ckpt::open(argv[1], {.limits = {.pickle_bytes = 64u << 20}});
    if (!file) {
        std::fprintf(stderr, "%s\n", file.error().message().c_str());
        return file.error().code == ckpt::errc::global_not_allowed ? 2 : 1;
    }
    auto weights = file->state_dict();
    if (!weights) return 1;
    auto bias = weights->view<float, 1>("fc1.bias");
    return bias && bias->shape[0] == 10 ? 0 : 1;
}
