// bench/compare_libtorch.cpp: libtorch's reader of archives, for compare.py, which compiles it where it is told a path.
//
// SPDX-License-Identifier: MIT
//   compare_libtorch FILE    prints `SECONDS TENSORS ELEMENTS` of opening a plain dict of tensors, the fastest of many
//
// The reader is the one inside torch::jit: no documented function reads a file of torch.save. It reads all storages,
// and no OrderedDict, which a state_dict is.
#include <ATen/ATen.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/import_read.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

c10::IValue read(const std::string& path) {
    caffe2::serialize::PyTorchStreamReader reader(path);
    return torch::jit::readArchiveAndTensors("data", "", "data/", std::nullopt, std::nullopt, std::nullopt, reader);
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    double best = 1e9, spent = 0;
    long long tensors = 0, elements = 0;
    const double begin = now();
    for (int runs = 0; spent < 0.3 || runs == 0 || (runs < 3 && spent < 1); ++runs) {
        const double started = now();
        const c10::IValue out = read(argv[1]);
        tensors = elements = 0;
        for (const auto& entry : out.toGenericDict()) {
            ++tensors;
            elements += entry.value().toTensor().numel();
        }
        const double seconds = now() - started;
        if (seconds < best) best = seconds;
        spent = now() - begin;
    }
    std::printf("%.9f %lld %lld\n", best, tensors, elements);
    return 0;
}
