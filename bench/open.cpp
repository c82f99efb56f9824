// bench/open.cpp: opening a checkpoint, beside the floors of the same run.
//
// SPDX-License-Identifier: MIT
// Opening reads the tail, the directory and the pickle, never the weights. The floors are an opcode walk over the same
// data.pkl that looks at nothing, reading the same number of bytes, and copying them. Each benchmark checks its own
// result. The counter `x_floor` is the ratio to the opcode walk, measured for the same input in the same process right
// before: of all the numbers here it moves least from machine to machine.
#include "floor.hpp"
#include "inputs.hpp"

#include <ckpt/ckpt.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

using bench::inputs;

const bench::input_size sizes[] = {bench::small_input, bench::middle_input, bench::large_input, bench::huge_input};

const inputs::input& input_of(const benchmark::State& state) {
    return inputs::of(sizes[static_cast<std::size_t>(state.range(0))]);
}

/// The fastest of several walks over the same pickle, in seconds: the unit of `x_floor`.
double walk_seconds(const std::string& pickle) {
    double best = 1e9;
    for (int i = 0; i < 9; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        benchmark::DoNotOptimize(bench::skip_walk(pickle));
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best;
}

/// Reports ns per tensor, and the ratio to the opcode walk; both by the fastest iteration, which other programs disturb
/// least.
class report {
  public:
    explicit report(benchmark::State& state) : state_{state}, walk_{walk_seconds(input_of(state).pickle)} {}
    ~report() {
        const auto n = static_cast<double>(input_of(state_).size.tensors);
        state_.counters["ns/tensor"] = best_ * 1e9 / n;
        state_.counters["x_floor"] = best_ / std::min(walk_, walk_seconds(input_of(state_).pickle));
    }
    report(const report&) = delete;
    report& operator=(const report&) = delete;

    void begin() { begin_ = std::chrono::steady_clock::now(); }
    void end() {
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
        best_ = std::min(best_, seconds);
        state_.SetIterationTime(seconds);
    }

  private:
    benchmark::State& state_;
    double walk_;
    double best_{1e9};
    std::chrono::steady_clock::time_point begin_{};
};

// ---- floors ----

void floor_skip_walk(benchmark::State& state) {
    const inputs::input& in = input_of(state);
    report measured{state};
    for (auto _ : state) {
        measured.begin();
        const std::size_t opcodes = bench::skip_walk(in.pickle);
        measured.end();
        if (opcodes < 25 * in.size.tensors) return state.SkipWithError("the walk went astray");
    }
}

void floor_read(benchmark::State& state) {
    const inputs::input& in = input_of(state);
    std::string buffer(static_cast<std::size_t>(in.bytes_read), '\0');
    report measured{state};
    for (auto _ : state) {
        measured.begin();
        std::FILE* const file = std::fopen(in.path.c_str(), "rb");
        if (file == nullptr) return state.SkipWithError("cannot open the file");
        std::setvbuf(file, nullptr, _IONBF, 0);
        const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), file);
        std::fclose(file);
        measured.end();
        if (got != buffer.size()) return state.SkipWithError("a short read");
    }
}

void floor_memcpy(benchmark::State& state) {
    const inputs::input& in = input_of(state);
    const std::string from(static_cast<std::size_t>(in.bytes_read), 'x');
    std::string to(from.size(), '\0');
    report measured{state};
    for (auto _ : state) {
        measured.begin();
        std::memcpy(to.data(), from.data(), from.size());
        benchmark::ClobberMemory();
        measured.end();
    }
    if (to != from) state.SkipWithError("a wrong copy");
}

// ---- opening ----

bool is_right(const ckpt::result<ckpt::checkpoint>& file, const inputs::input& in) {
    if (!file) return false;
    const ckpt::value root = file->root();
    if (root.size() != in.size.tensors) return false;
    const ckpt::value::entry first = *root.entries().begin();
    const auto tensor = first.mapped.as_tensor();
    return first.key.as_string().value() == bench::key_of(0) && tensor &&
           static_cast<std::uint64_t>(tensor->numel()) == in.size.elements();
}

void open_with(benchmark::State& state, const ckpt::open_options& options) {
    const inputs::input& in = input_of(state);
    if (!is_right(ckpt::open(in.path, options), in))
        return state.SkipWithError("the file does not open, or holds something else");
    report measured{state};
    for (auto _ : state) {
        measured.begin();
        {
            const auto file = ckpt::open(in.path, options);
            if (!file || file->root().size() != in.size.tensors) return state.SkipWithError("the file does not open");
        }
        measured.end(); // closing is part of it
    }
    const ckpt::result<ckpt::checkpoint> last = ckpt::open(in.path, options);
    if (!is_right(last, in)) state.SkipWithError("the last open gave something else than the first");
}

void open_fresh(benchmark::State& state) { open_with(state, {}); }

void open_reused(benchmark::State& state) { open_with(state, {.scratch = ckpt::scratch::make()}); }

void open_and_list(benchmark::State& state) {
    const inputs::input& in = input_of(state);
    const ckpt::open_options options{.scratch = ckpt::scratch::make()};
    report measured{state};
    for (auto _ : state) {
        measured.begin();
        {
            const auto file = ckpt::open(in.path, options);
            if (!file) return state.SkipWithError("the file does not open");
            const auto weights = file->state_dict();
            if (!weights || weights->size() != in.size.tensors)
                return state.SkipWithError("no state_dict, or another one");
            std::uint64_t elements = 0;
            for (const auto& [key, tensor] : *weights)
                elements += static_cast<std::uint64_t>(tensor.numel()) + key.size();
            benchmark::DoNotOptimize(elements);
        }
        measured.end();
    }
}

void scan_globals(benchmark::State& state) {
    const inputs::input& in = input_of(state);
    const ckpt::open_options options{.scratch = ckpt::scratch::make()};
    report measured{state};
    for (auto _ : state) {
        measured.begin();
        const auto scan = ckpt::scan_globals(in.path, options);
        measured.end();
        if (!scan || scan->size() != 3) return state.SkipWithError("the scan found other globals");
    }
}

constexpr double seconds = 0.3;
BENCHMARK(floor_skip_walk)->DenseRange(0, 3)->UseManualTime()->MinTime(seconds)->Unit(benchmark::kMicrosecond);
BENCHMARK(floor_read)->DenseRange(0, 3)->UseManualTime()->MinTime(seconds)->Unit(benchmark::kMicrosecond);
BENCHMARK(floor_memcpy)->DenseRange(0, 3)->UseManualTime()->MinTime(seconds)->Unit(benchmark::kMicrosecond);
BENCHMARK(open_fresh)->DenseRange(0, 3)->UseManualTime()->MinTime(seconds)->Unit(benchmark::kMicrosecond);
BENCHMARK(open_reused)->DenseRange(0, 3)->UseManualTime()->MinTime(seconds)->Unit(benchmark::kMicrosecond);
BENCHMARK(open_and_list)->DenseRange(0, 3)->UseManualTime()->MinTime(seconds)->Unit(benchmark::kMicrosecond);
BENCHMARK(scan_globals)->DenseRange(0, 3)->UseManualTime()->MinTime(seconds)->Unit(benchmark::kMicrosecond);

} // namespace

BENCHMARK_MAIN();
