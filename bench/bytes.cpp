// bench/bytes.cpp: copies, conversions and loads beside memcpy of the same bytes.
//
// SPDX-License-Identifier: MIT
//
//     bench_bytes [MEBIBYTES [ROUNDS [WORD]]]    conversions and strided copies of tensors in memory
//     bench_bytes load WHAT FILE                 one load in a process of its own; bench/loads.py calls it
//
// The first form takes turns with memcpy into the same memory, and prints for each the bytes that it moves in a second
// (those that it reads and those that it writes), divided by those that memcpy moves: the best of each. WORD: only rows
// whose name has it. Memory is touched before the clock. Results are checked against those of single elements.
//
// The second form touches as much memory as the file has and gives it back, opens the file, and prints the seconds of
// one load: `memcpy` (out of a mapping) and `pread` with as many threads as there are cores, into fresh memory as
// host::load takes it; `owned`, `owned-1` with one thread; `host`, `host-verify`; `owned-f32`, `host-f32` with all
// floating tensors cast to float32, and `loop-f32`, a loop over bfloat16 that does only that.
#include "inputs.hpp"

#include "../tests/support/safetensors_writer.hpp"

#include <ckpt/ckpt.hpp>
#include <ckpt/host.hpp>
#include <ckpt/io/pages.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/state/shard.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/threads.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace test_support;

template <class F> double seconds_of(F&& f) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

constexpr std::uint64_t side = 4096;

std::uint64_t next_random(std::uint64_t& x) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
}

/// Numbers as weights are: of moderate size.
std::string weights_of(ckpt::dtype type, std::uint64_t n) {
    std::uint64_t x = 1;
    std::string out(static_cast<std::size_t>(n * itemsize(type)), '\0');
    for (std::uint64_t i = 0; i < n; ++i) {
        const double value = (static_cast<double>(next_random(x) % 20'001) - 10'000.0) / 7'000.0;
        std::byte bytes[8]{};
        const auto real = reinterpret_cast<const std::byte*>(&value);
        if (ckpt::detail::convert(ckpt::dtype::float64, real, type, bytes, 1) != 1) std::abort();
        std::memcpy(out.data() + i * itemsize(type), bytes, itemsize(type));
    }
    return out;
}

struct row {
    std::string name{};
    ckpt::tensor from{};
    ckpt::dtype to{};
};

ckpt::result<void> copy(const ckpt::tensor& from, ckpt::dtype to, std::span<std::byte> out) {
    const auto as = [&](auto one) {
        using T = decltype(one);
        return from.copy_as(std::span{reinterpret_cast<T*>(out.data()), out.size() / sizeof(T)});
    };
    switch (to) {
    case ckpt::dtype::bfloat16: return as(ckpt::bf16{});
    case ckpt::dtype::float16: return as(ckpt::f16{});
    case ckpt::dtype::float8_e4m3fn: return as(ckpt::f8_e4m3fn{});
    case ckpt::dtype::float8_e5m2: return as(ckpt::f8_e5m2{});
    case ckpt::dtype::float64: return as(double{});
    default: return as(float{});
    }
}

struct times {
    double best{1e9}, plain{1e9};
};

times measure(const row& r, std::uint64_t in_bytes, int rounds) {
    const auto out_bytes = static_cast<std::uint64_t>(r.from.numel()) * itemsize(r.to);
    const ckpt::detail::pages to{static_cast<std::size_t>(out_bytes)};
    const ckpt::detail::pages plain_from{static_cast<std::size_t>((in_bytes + out_bytes) / 2)};
    const ckpt::detail::pages plain_to{static_cast<std::size_t>((in_bytes + out_bytes) / 2)};
    for (const auto bytes : {to.bytes(), plain_from.bytes(), plain_to.bytes()})
        std::memset(bytes.data(), 1, bytes.size());
    times out;
    for (int i = 0; i < rounds; ++i) {
        out.plain =
            (std::min)(out.plain, seconds_of([&] {
                           std::memcpy(plain_to.bytes().data(), plain_from.bytes().data(), plain_from.bytes().size());
                       }));
        out.best = (std::min)(out.best, seconds_of([&] { copy(r.from, r.to, to.bytes()).value(); }));
    }
    return out;
}

class tensors {
  public:
    explicit tensors(std::uint64_t mebibytes) : rows_{mebibytes * (1 << 20) / 4 / side} {
        using enum ckpt::dtype;
        std::string header, data;
        const auto add = [&](const char* name, const char* type_name, ckpt::dtype type) {
            const std::string bytes = weights_of(type, rows_ * side);
            header += (header.empty() ? "{" : ",") + safetensors_entry(name, type_name,
                                                                       "[" + std::to_string(rows_) + ",4096]",
                                                                       data.size(), data.size() + bytes.size());
            data += bytes;
        };
        add("f64", "F64", float64);
        add("f32", "F32", float32);
        add("f32.b", "F32", float32);
        add("bf16", "BF16", bfloat16);
        add("f16", "F16", float16);
        add("e4m3", "F8_E4M3", float8_e4m3fn);
        add("e5m2", "F8_E5M2", float8_e5m2);
        header += '}';
        while (header.size() % 8 != 0) header += ' ';
        file_ = safetensors_file(header, data);
        weights_ = open(file_);
        auto zip = bench::zip_of({2, rows_, side}, "archive");
        big_.resize(static_cast<std::size_t>(zip.size));
        for (const auto& [at, text] : zip.pieces) std::memcpy(big_.data() + at, text.data(), text.size());
    }
    std::vector<row> rows() {
        using enum ckpt::dtype;
        std::vector<row> out;
        const auto of = [&](const char* key) { return weights_.front().at(key).value(); };
        out.push_back({"memcpy: float32", of("f32"), float32});
        for (const char* key : {"bf16", "f16", "e4m3", "e5m2", "f64"})
            out.push_back({std::string("cast: ") + key + " to f32", of(key), float32});
        for (const auto& [name, type] : {std::pair{"bf16", bfloat16},
                                         {"f16", float16},
                                         {"e4m3", float8_e4m3fn},
                                         {"e5m2", float8_e5m2},
                                         {"f64", float64}})
            out.push_back({std::string("cast: f32 to ") + name, of("f32"), type});
        out.push_back({"cast: bf16 to f16", of("bf16"), float16});
        const auto mapped = [&](const char* name, const char* rules, const char* key, ckpt::dtype to) {
            weights_.push_back(ckpt::remap(weights_.front(), ckpt::key_map::parse(rules).value()).value());
            out.push_back({name, weights_.back().at(key).value(), to});
        };
        mapped("transpose: f32", "transpose 0 1 f32", "f32", float32);
        mapped("transpose: bf16", "transpose 0 1 bf16", "bf16", bfloat16);
        mapped("transpose: f64", "transpose 0 1 f64", "f64", float64);
        mapped("transpose: e4m3", "transpose 0 1 e4m3", "e4m3", float8_e4m3fn);
        mapped("transpose: bf16 to f32", "transpose 0 1 bf16", "bf16", float32);
        mapped("merge: rows", "merge 0 f32, f32.b -> out", "out", float32);
        mapped("merge: columns", "merge 1 f32, f32.b -> out", "out", float32);
        mapped("merge: transposed", "transpose 0 1 f32\ntranspose 0 1 f32.b\nmerge 0 f32, f32.b -> out", "out",
               float32);
        mapped("merge: cast to f16", "cast float16 f32\ncast float16 f32.b\nmerge 0 f32, f32.b -> out", "out", float16);
        mapped("merge: columns, cast to f16", "cast float16 f32\ncast float16 f32.b\nmerge 1 f32, f32.b -> out", "out",
               float16);
        for (const std::uint32_t parts : {2u, 4u, 8u}) {
            const ckpt::shard_rule rule{ckpt::pattern("f32"), 1};
            weights_.push_back(ckpt::shard(weights_.front(), {&rule, 1}, 1, parts).value());
            out.push_back(
                {"slice: columns, 1 of " + std::to_string(parts), weights_.back().at("f32").value(), float32});
        }
        weights_.push_back(ckpt::open_bytes(std::as_bytes(std::span{big_}), {.byte_order = ckpt::byte_order::big})
                               .value()
                               .state_dict("")
                               .value());
        out.push_back({"swap: f32", weights_.back().at(bench::key_of(0)).value(), float32});
        return out;
    }

  private:
    static std::vector<ckpt::state_dict> open(const std::string& file) {
        std::vector<ckpt::state_dict> out;
        out.push_back(ckpt::open_bytes(std::as_bytes(std::span{file})).value().state_dict("").value());
        return out;
    }
    std::uint64_t rows_;
    std::string file_{}, big_{};
    std::vector<ckpt::state_dict> weights_{};
};

int conversions(std::uint64_t mebibytes, int rounds, std::string_view word) {
    tensors all{mebibytes};
    std::printf("%-32s %10s %10s %8s\n", "", "GB/s moved", "memcpy", "ratio");
    for (const row& r : all.rows()) {
        if (r.name.find(word) == std::string::npos) continue;
        const std::uint64_t in = static_cast<std::uint64_t>(r.from.numel()) * itemsize(r.from.dtype());
        const std::uint64_t in_bytes = r.name == "merge: cast to f16" ? in * 2 : in;
        const std::uint64_t out_bytes = static_cast<std::uint64_t>(r.from.numel()) * itemsize(r.to);
        const times t = measure(r, in_bytes, rounds);
        const double moved = static_cast<double>(in_bytes + out_bytes) * 1e-9;
        std::printf("%-32s %10.1f %10.1f %8.2f\n", r.name.c_str(), moved / t.best, moved / t.plain, t.plain / t.best);
        std::fflush(stdout);
    }
    return 0;
}

// ---- whole loads

/// Calls `work(begin, end)` for parts of `total` bytes, in as many threads as there are cores.
void in_parts(std::uint64_t total, const std::function<void(std::uint64_t, std::uint64_t)>& work) {
    const ckpt::workers lent = ckpt::threads();
    struct job {
        std::uint64_t total, parts;
        const std::function<void(std::uint64_t, std::uint64_t)>& work;
    } of{total, lent.count, work};
    lent.run(
        lent.context, lent.count,
        [](void* argument, unsigned n) {
            const job& j = *static_cast<job*>(argument);
            const std::uint64_t each = (j.total / j.parts + 4095) / 4096 * 4096;
            j.work((std::min)(n * each, j.total), (std::min)((n + 1) * each, j.total));
        },
        &of);
}

ckpt::state_dict cast_to_float32(const ckpt::state_dict& weights) {
    return ckpt::remap(weights, ckpt::key_map::parse("cast float32 **").value()).value();
}

int load(std::string_view what, const char* path) {
    const auto file = ckpt::detail::source::open(path).value();
    const std::uint64_t bytes = file->size();
    {
        const ckpt::detail::pages touched{static_cast<std::size_t>(what.ends_with("f32") ? 2 * bytes : bytes)};
        for (std::size_t at = 0; at < touched.bytes().size(); at += 4096) touched.bytes()[at] = std::byte{1};
    }
    const ckpt::state_dict weights = ckpt::open(path).value().state_dict("").value();
    double seconds = 0;
    std::uint64_t tensors = 0;
    const auto loaded = [&](const ckpt::state_dict& from, unsigned readers, bool verify) {
        ckpt::host::load_options options{.verify = verify};
        if (readers != 0) options.readers = readers;
        seconds = seconds_of([&] { tensors = ckpt::host::load(from, options).value().weights.size(); });
    };
    if (what == "memcpy" || what == "pread") {
        seconds = seconds_of([&] {
            const ckpt::detail::pages to{static_cast<std::size_t>(bytes)};
            in_parts(bytes, [&](std::uint64_t begin, std::uint64_t end) {
                constexpr std::uint64_t step = std::uint64_t{8} << 20;
                for (std::uint64_t at = begin; at < end; at += step) {
                    const auto out = to.bytes().subspan(at, (std::min)(step, end - at));
                    if (what == "pread") file->read(at, out).value();
                    else std::memcpy(out.data(), file->mapped().data() + at, out.size());
                }
            });
        });
    } else if (what == "owned" || what == "owned-1") {
        seconds =
            seconds_of([&] { tensors = weights.owned(what == "owned" ? ckpt::threads() : ckpt::workers{}).size(); });
    } else if (what == "owned-f32") {
        const ckpt::state_dict cast = cast_to_float32(weights);
        seconds = seconds_of([&] { tensors = cast.owned(ckpt::threads()).size(); });
    } else if (what == "loop-f32") {
        seconds = seconds_of([&] {
            const ckpt::detail::pages to{static_cast<std::size_t>(2 * bytes)};
            in_parts(bytes / 2, [&](std::uint64_t begin, std::uint64_t end) {
                const std::byte* const in = file->mapped().data();
                std::byte* const out = to.bytes().data();
                for (std::uint64_t i = begin; i < end; ++i) {
                    std::uint16_t half{};
                    std::memcpy(&half, in + 2 * i, 2);
                    const std::uint32_t wide = std::uint32_t{half} << 16;
                    std::memcpy(out + 4 * i, &wide, 4);
                }
            });
        });
    } else if (what == "host-f32") {
        loaded(cast_to_float32(weights), 0, false);
    } else if (what == "host" || what == "host-verify") {
        loaded(weights, 0, what == "host-verify");
    } else {
        return std::fprintf(stderr, "bench_bytes: no load is called that\n"), 3;
    }
    std::printf("%.4f\n", seconds);
    return 0;
}

} // namespace

int main(int count, char** arguments) {
    if (count == 4 && std::string_view(arguments[1]) == "load") return load(arguments[2], arguments[3]);
    return conversions(count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 256,
                       count > 2 ? std::atoi(arguments[2]) : 7, count > 3 ? arguments[3] : "");
}
