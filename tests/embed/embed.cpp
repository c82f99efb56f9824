// What an engine does with ckpt, in one translation unit: meson.build compiles it with the flags of several.
#include <ckpt/ckpt.hpp>
#include <ckpt/cuda_gds.hpp>
#include <ckpt/dlpack.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/python.hpp>
#include <ckpt/state/diff.hpp>

#include <cstdio>
#include <string>

namespace {

int fail(const char* what, const ckpt::error& why) {
    std::fprintf(stderr, "%s: %s\n", what, why.message().c_str());
    return 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 3;
    const auto file = ckpt::open(argv[1]);
    if (!file) return fail("open", file.error());
    const auto weights = file->state_dict("model");
    if (!weights) return fail("state_dict", weights.error());

    const auto weight = weights->view<float, 2>("fc1.weight");
    if (!weight) return fail("view", weight.error());
    if (weight->shape[0] != 10 || weight->shape[1] != 784) return 1;

    std::size_t bytes = 0;
    for (const auto& [key, tensor] : *weights) bytes += key.empty() ? 0 : tensor.shape().size();
    if (weights->size() != 2 || bytes != 3) return 1; // one matrix, one vector

    // The headers beside the first.
    if (!ckpt::diff(*weights, *weights).same() || !ckpt::checkpoint_digest(*weights)) return 1;
    if (ckpt::as_path(file->root()) || ckpt::open_folder(argv[2])) return 1;

    const auto exported = ckpt::to_dlpack(*weights->at("fc1.weight"), *weights);
    if (!exported || (*exported)->dl_tensor.data != weight->data) return 1;
    (*exported)->deleter(*exported);

    // Without its library GPUDirect Storage gives a reason.
    const auto storage = ckpt::cuda::gds();
    std::string reason;
    if (storage.reader() == nullptr) return 1;
    if (!storage.reason().empty() &&
        (storage.reader()->open(storage.reader()->context, 0, reason) != nullptr || reason != storage.reason()))
        return 1;

    // A failure is a value in every kind of build.
    const auto absent = ckpt::open(argv[2]);
    if (absent || absent.error().message().empty()) return 1;
    const auto missing = weights->view<float, 2>("fc2.weight");
    return missing ? 1 : 0;
}
