// bench/remap.cpp: planning a map, and carrying out gathers, beside a plain copy of the same bytes in the same run.
//
// SPDX-License-Identifier: MIT
// Planning is measured per key, for 20 rules: it reads no element. The gathers write 64 MiB of float32 into the
// caller's memory: the counter `x_copy` is how many times as long they take as memcpy of the bytes that are written.
// Each benchmark checks its own result.
#include "inputs.hpp"
#include "rules.hpp"

#include <ckpt/ckpt.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void plan_20_rules(benchmark::State& state) {
    const std::string path = bench::inputs::of({static_cast<std::size_t>(state.range(0))}).path;
    const auto weights = ckpt::open(path).value().state_dict().value();
    const ckpt::key_map map = bench::twenty_rules();
    double best = 1e9;
    for (auto _ : state) {
        const auto begin = std::chrono::steady_clock::now();
        {
            const ckpt::remap_plan plan = ckpt::plan_remap(weights, map);
            if (!plan.ok() || plan.moves.size() != weights.size())
                return state.SkipWithError("the plan is not what it should be");
        }
        const double seconds = seconds_since(begin);
        best = std::min(best, seconds);
        state.SetIterationTime(seconds);
    }
    state.counters["ns/key"] = best * 1e9 / static_cast<double>(weights.size());
}

/// Square matrices of 32 MiB each, in memory of our own.
const ckpt::state_dict& matrices() {
    static const ckpt::state_dict weights = [] {
        const std::string path = bench::inputs::of({4, 2896, 2896}).path;
        return ckpt::open(path, {.storages = ckpt::storage_mode::owned}).value().state_dict("").value();
    }();
    return weights;
}

void gather(benchmark::State& state, const char* rules, std::size_t out_bytes_per_element) {
    const auto& weights = matrices();
    const auto mapped = ckpt::remap(weights, ckpt::key_map::parse(rules).value()).value();
    const auto tensor = mapped.at("out").value();
    std::vector<std::byte> to(static_cast<std::size_t>(tensor.numel()) * out_bytes_per_element);
    const std::vector<std::byte> plain(to.size(), std::byte{1});
    double best = 1e9;
    double copy = 1e9;
    for (auto _ : state) {
        auto begin = std::chrono::steady_clock::now();
        std::memcpy(to.data(), plain.data(), to.size());
        benchmark::ClobberMemory();
        copy = std::min(copy, seconds_since(begin));
        begin = std::chrono::steady_clock::now();
        const bool done =
            out_bytes_per_element == 4
                ? tensor.copy_to(std::span{reinterpret_cast<float*>(to.data()), to.size() / 4}).has_value()
                : tensor.copy_to(std::span{reinterpret_cast<ckpt::f16*>(to.data()), to.size() / 2}).has_value();
        const double seconds = seconds_since(begin);
        if (!done) return state.SkipWithError("the gather failed");
        best = std::min(best, seconds);
        state.SetIterationTime(seconds);
    }
    state.counters["x_copy"] = best / copy;
}

BENCHMARK(plan_20_rules)->Arg(1'000)->Arg(10'000)->Arg(100'000)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gather, merge_rows, "merge 0 model.layers.0.attention.weight, model.layers.1.attention.weight -> out",
                  4)
    ->UseManualTime();
BENCHMARK_CAPTURE(gather, merge_columns,
                  "merge 1 model.layers.0.attention.weight, model.layers.1.attention.weight -> out", 4)
    ->UseManualTime();
BENCHMARK_CAPTURE(
    gather, merge_transposed,
    "transpose 0 1 **.weight\nmerge 0 model.layers.0.attention.weight, model.layers.1.attention.weight -> out", 4)
    ->UseManualTime();
BENCHMARK_CAPTURE(gather, merge_and_cast,
                  "cast float16 **\nmerge 0 model.layers.0.attention.weight, model.layers.1.attention.weight -> out", 2)
    ->UseManualTime();

} // namespace

BENCHMARK_MAIN();
