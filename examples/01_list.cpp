#include <ckpt/ckpt.hpp>
#include <cstdio>

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    auto weights = file.state_dict().value();
    for (const auto& [key, tensor] : weights) {
        std::printf("%-40.*s %s [", int(key.size()), key.data(), ckpt::name(tensor.dtype()).data());
        for (auto n : tensor.shape()) std::printf(" %lld", static_cast<long long>(n));
        std::puts(" ]");
    }
}
