// Opening a checkpoint and listing its tensors, each beside its floor: reading the same file once with fread.
//
// Opening reads the directory and the pickle, never the weights. Each benchmark checks what it computed.
#include <ckpt/ckpt.hpp>

#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>

namespace {

const char* const files[] = {
    CKPT_TEST_DATA "/demo/mlp.pt",
    CKPT_TEST_DATA "/torch-2.13/many_tensors.pt",
};

const char* file_of(const benchmark::State& state) { return files[static_cast<std::size_t>(state.range(0))]; }

void floor_fread(benchmark::State& state) {
    std::string buffer(1u << 20, '\0');
    for (auto _ : state) {
        std::FILE* file = std::fopen(file_of(state), "rb");
        if (file == nullptr) return state.SkipWithError("cannot open the file");
        std::size_t size = 0;
        while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), file)) size += n;
        std::fclose(file);
        if (size == 0) return state.SkipWithError("the file is empty");
    }
}

void open(benchmark::State& state) {
    for (auto _ : state) {
        const auto file = ckpt::open(file_of(state));
        if (!file) return state.SkipWithError(file.error().message().c_str());
    }
}

void open_and_list(benchmark::State& state) {
    for (auto _ : state) {
        const auto file = ckpt::open(file_of(state));
        if (!file) return state.SkipWithError(file.error().message().c_str());
        const auto weights = file->state_dict();
        if (!weights || weights->size() == 0) return state.SkipWithError("no state_dict");
        benchmark::DoNotOptimize(weights->begin());
    }
}

void scan_globals(benchmark::State& state) {
    for (auto _ : state) {
        const auto scan = ckpt::scan_globals(file_of(state));
        if (!scan) return state.SkipWithError(scan.error().message().c_str());
    }
}

BENCHMARK(floor_fread)->DenseRange(0, 1)->MinTime(0.1);
BENCHMARK(open)->DenseRange(0, 1)->MinTime(0.1);
BENCHMARK(open_and_list)->DenseRange(0, 1)->MinTime(0.1);
BENCHMARK(scan_globals)->DenseRange(0, 1)->MinTime(0.1);

} // namespace

BENCHMARK_MAIN();
