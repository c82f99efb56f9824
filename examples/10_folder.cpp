// Opens a model in a folder, from one file or from a set of shards; or says everything that keeps it from opening.
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <cstdio>

int main(int, char** argv) { // builds with -fno-exceptions -fno-rtti
    auto file = ckpt::open_folder(argv[1]);
    if (!file) {
        if (auto report = ckpt::inspect_folder(argv[1]))
            for (const auto& finding : report->findings) std::fprintf(stderr, "%s\n", finding.message().c_str());
        return 1;
    }
    auto weights = file->state_dict();
    if (!weights) return 1;
    for (const auto& name : file->files()) {
        std::size_t tensors = 0;
        for (const auto& [key, tensor] : *weights) tensors += tensor.file() == name || file->files().size() == 1;
        std::printf("%s: %zu tensors\n", name.c_str(), tensors);
    }
    if (auto digest = ckpt::checkpoint_digest(*weights)) std::printf("%.16s\n", digest->c_str());
}
