// bench/folder.cpp: what it costs to consolidate a distributed checkpoint into the caller's memory.
//
// SPDX-License-Identifier: MIT
//
//     bench_folder FOLDER [MEBIBYTES]
//
// Writes a checkpoint of ZeRO 2 (eight ranks) and one of DCP (each tensor in four chunks of rows, and in a grid of two
// by two) to FOLDER, each with that many MiB of weights (default 1024), and copies all tensors. Fifteen times in turns
// with a plain copy of the same bytes: prints the medians, the median of the ratios of each turn, and the most memory
// that operator new had handed out meanwhile. The verdict is by the time of the processor, which a busy machine
// disturbs less; the clock's is beside it. Exit code 1 where throughput is below 0.8 of the plain copy, or memory above
// the largest tensor and 64 MiB.
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/io/source.hpp>

#include "../tests/support/dcp_writer.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <new>
#include <optional>
#include <string>
#include <vector>

namespace {

std::size_t in_use = 0, most_in_use = 0;

void* take(std::size_t n, std::size_t alignment) {
    const std::size_t room = (std::max)(alignment, std::size_t{16});
    auto* at = static_cast<char*>(std::aligned_alloc(room, (n + room + room - 1) / room * room));
    if (at == nullptr) std::abort();
    *reinterpret_cast<std::size_t*>(at) = n;
    in_use += n;
    most_in_use = (std::max)(most_in_use, in_use);
    return at + room;
}
void give(void* p, std::size_t alignment) noexcept {
    if (p == nullptr) return;
    auto* at = static_cast<char*>(p) - (std::max)(alignment, std::size_t{16});
    in_use -= *reinterpret_cast<std::size_t*>(at);
    std::free(at);
}

} // namespace

void* operator new(std::size_t n) { return take(n, 16); }
void* operator new(std::size_t n, std::align_val_t a) { return take(n, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { give(p, 16); }
void operator delete(void* p, std::size_t) noexcept { give(p, 16); }
void operator delete(void* p, std::align_val_t a) noexcept { give(p, static_cast<std::size_t>(a)); }
void operator delete(void* p, std::size_t, std::align_val_t a) noexcept { give(p, static_cast<std::size_t>(a)); }

namespace {

using namespace test_support;
using clock_type = std::chrono::steady_clock;

constexpr std::int64_t rows = 2048, columns = 2048; // 16 MiB of floats

void write(const std::filesystem::path& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string part(std::int64_t n, std::size_t seed) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((i + seed) % 8191);
    return raw(values);
}

void write_zero(const std::filesystem::path& folder, std::int64_t tensors) {
    std::filesystem::create_directories(folder);
    constexpr std::int64_t ranks = 8;
    std::vector<std::pair<std::string, std::string>> shapes;
    for (std::int64_t i = 0; i < tensors; ++i)
        shapes.emplace_back(pkl::str("layers." + std::to_string(i) + ".weight"), dcp_writer::size({rows, columns}));
    const auto model = pkl::dict({{pkl::str("module"), pkl::ordered()},
                                  {pkl::str("buffer_names"), "]"},
                                  {pkl::str("param_shapes"), pkl::list({pkl::ordered(shapes)})},
                                  {pkl::str("shared_params"), pkl::dict({})}});
    write(folder / "mp_rank_00_model_states.pt", torch_file(model));
    const std::int64_t n = tensors * rows * columns / ranks;
    for (std::int64_t r = 0; r < ranks; ++r) {
        const auto state = pkl::dict({{pkl::str("single_partition_of_fp32_groups"), pkl::list({pkl::floats("0", n)})},
                                      {pkl::str("partition_count"), pkl::list({pkl::num(ranks)})}});
        write(folder / ("zero_pp_rank_" + std::to_string(r) + "_mp_rank_00_optim_states.pt"),
              torch_file(pkl::dict({{pkl::str("optimizer_state_dict"), state}}),
                         {{"0", part(n, static_cast<std::size_t>(r))}}));
    }
}

void write_dcp(const std::filesystem::path& folder, std::int64_t tensors, bool grid) {
    std::filesystem::create_directories(folder);
    dcp_writer out;
    for (std::int64_t i = 0; i < tensors; ++i) {
        std::vector<dcp_writer::chunk> chunks;
        for (std::int64_t k = 0; k < 4; ++k) {
            const std::string file = "__" + std::to_string(k) + "_0.distcp";
            if (grid) chunks.push_back({{k / 2 * (rows / 2), k % 2 * (columns / 2)}, {rows / 2, columns / 2}, file});
            else chunks.push_back({{k * (rows / 4), 0}, {rows / 4, columns}, file});
        }
        out.tensor("layers." + std::to_string(i) + ".weight", {rows, columns}, chunks);
    }
    for (const auto& [name, bytes] : out.files()) write(folder / name, bytes);
}

/// How long something takes, by the clock and by the processor.
struct times {
    double wall{}, processor{};
};
template <class F> times timed(F&& f) {
    const auto begin = clock_type::now();
    const std::clock_t ticks = std::clock();
    f();
    return {std::chrono::duration<double>(clock_type::now() - begin).count(),
            static_cast<double>(std::clock() - ticks) / CLOCKS_PER_SEC};
}
double median(std::vector<double> of) {
    std::sort(of.begin(), of.end());
    return of[of.size() / 2];
}

/// The bytes of all files of a folder to `to`, as they come.
times plain_copy(const std::filesystem::path& folder, ckpt::io_mode mode, std::span<std::byte> to) {
    return timed([&] {
        std::size_t at = 0;
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            const auto f = ckpt::detail::source::open(entry.path(), {.mode = mode}).value();
            const std::size_t n = (std::min)(static_cast<std::size_t>(f->size()), to.size() - at);
            if (mode == ckpt::io_mode::map) std::memcpy(to.data() + at, f->mapped().data(), n);
            else f->read(0, to.subspan(at, n)).value();
            at += n;
        }
    });
}

bool measure(const char* name, const std::filesystem::path& folder, ckpt::io_mode mode, std::span<float> to) {
    std::vector<double> ours, plain, by_wall, by_processor, opening;
    std::size_t memory = 0;
    for (int round = 0; round < 15; ++round) {
        const times copy = plain_copy(folder, mode, std::as_writable_bytes(to));
        const std::size_t before = most_in_use = in_use;
        const times own = timed([&] {
            std::optional<ckpt::state_dict> weights;
            opening.push_back(timed([&] {
                                  weights = ckpt::open_folder(folder, {.io = mode}).value().state_dict().value();
                              }).processor);
            std::size_t at = 0;
            for (const auto& [key, tensor] : *weights) {
                tensor.copy_to(to.subspan(at, static_cast<std::size_t>(tensor.numel()))).value();
                at += static_cast<std::size_t>(tensor.numel());
            }
            if (at != to.size()) std::printf("only %zu of %zu elements\n", at, to.size());
        });
        memory = (std::max)(memory, most_in_use - before);
        ours.push_back(own.processor);
        plain.push_back(copy.processor);
        by_wall.push_back(copy.wall / own.wall);
        by_processor.push_back(copy.processor / own.processor);
    }
    const double gib = static_cast<double>(to.size_bytes()) / (1 << 30);
    const bool good =
        median(by_processor) >= 0.8 && memory <= (std::size_t{rows * columns * 4} + (std::size_t{64} << 20));
    const auto [low, high] = std::minmax_element(by_processor.begin(), by_processor.end());
    std::printf("%-9s %-4s %5.2f GiB/s, plain copy %5.2f GiB/s, ratio %.2f (%.2f to %.2f; by the clock %.2f); opening "
                "%.2f ms; at most %.2f MiB beside the destination%s\n",
                name, mode == ckpt::io_mode::map ? "map" : "read", gib / median(ours), gib / median(plain),
                median(by_processor), *low, *high, median(by_wall), median(opening) * 1e3,
                static_cast<double>(memory) / (1 << 20), good ? "" : "  <-- outside the bounds");
    std::fflush(stdout);
    return good;
}

} // namespace

int main(int count, char** arguments) {
    if (count < 2) return std::fprintf(stderr, "usage: bench_folder FOLDER [MEBIBYTES]\n"), 3;
    const std::filesystem::path folder = arguments[1];
    const std::int64_t tensors = (std::max)(1L, (count > 2 ? std::atol(arguments[2]) : 1024L) / 16);
    if (!std::filesystem::exists(folder / "zero")) {
        write_zero(folder / "zero", tensors);
        write_dcp(folder / "rows", tensors, false);
        write_dcp(folder / "grid", tensors, true);
    }
    std::vector<float> to(static_cast<std::size_t>(tensors * rows * columns));
    bool good = true;
    for (const ckpt::io_mode mode : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        good = measure("ZeRO 2", folder / "zero", mode, to) && good;
        good = measure("DCP rows", folder / "rows", mode, to) && good;
        good = measure("DCP grid", folder / "grid", mode, to) && good;
    }
    return good ? 0 : 1;
}
