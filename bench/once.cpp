// bench/once.cpp: what noise cannot disturb: instructions (under callgrind) and bytes of heap of an open.
//
// SPDX-License-Identifier: MIT
//   once write FILE TENSORS      a file as torch.save writes it
//   once write-huge FILE         the sparse one, past 16 GiB
//   once open FILE TIMES         opens it so many times with one scratch, and checks what it found
//   once weights FILE TIMES      the same, with its state_dict and a walk over it
//   once time FILE TIMES         opens it so many times with one scratch; prints the seconds of the fastest time
//   once plan FILE TIMES         opens it once and plans a map of 20 rules over its keys so many times
//   once plan-time FILE TIMES    the same; prints the seconds of the fastest time
//   once upload-plan FILE TIMES  opens it once and plans an upload of all of it so many times
//   once convert-plan FILE TIMES opens it once and plans a conversion of all of it so many times
//   once digest BYTES TIMES      digests a tensor of so many bytes so many times
//   once heap FILE               opens it once, without a scratch; prints tensors and peak bytes of the heap
//   once plan-heap FILE          opens it, plans the map of 20 rules; prints keys and peak bytes that the plan added
//   once walk FILE               the opcodes of a pickle, by the floor's walk
#include "floor.hpp"
#include "inputs.hpp"
#include "once_more.hpp"
#include "rules.hpp"

#include <ckpt/ckpt.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace {

std::uint64_t heap_now = 0;
std::uint64_t heap_peak = 0;

// The size and the way back to what malloc gave stand before each block.
struct prefix {
    void* block;
    std::size_t bytes;
};

void* counted_new(std::size_t bytes, std::size_t alignment) {
    const std::size_t room = bytes + alignment + sizeof(prefix);
    void* const block = room < bytes ? nullptr : std::malloc(room);
    if (block == nullptr) std::abort();
    const auto begin = reinterpret_cast<std::uintptr_t>(block) + sizeof(prefix);
    auto* const out =
        reinterpret_cast<std::byte*>((begin + alignment - 1) & ~static_cast<std::uintptr_t>(alignment - 1));
    reinterpret_cast<prefix*>(out)[-1] = {block, bytes};
    heap_now += bytes;
    if (heap_now > heap_peak) heap_peak = heap_now;
    return out;
}

void counted_delete(void* p) {
    if (p == nullptr) return;
    const prefix before = static_cast<prefix*>(p)[-1];
    heap_now -= before.bytes;
    std::free(before.block);
}

/// The seconds of the fastest of so many runs; below zero where a run says that it went wrong.
template <class Run> double fastest(std::size_t runs, const Run& run) {
    double best = 1e9;
    for (std::size_t i = 0; i < runs; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        if (!run()) return -1;
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        if (seconds < best) best = seconds;
    }
    return best;
}

/// Prints what was counted and, if wanted, its time; the exit status of the program.
int printed(std::size_t count, double seconds, bool with_time) {
    if (seconds < 0) return 1;
    if (with_time) std::printf("%zu %.9f\n", count, seconds);
    else std::printf("%zu\n", count);
    return 0;
}

} // namespace

void* operator new(std::size_t bytes) { return counted_new(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return counted_new(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept { counted_delete(p); }
void operator delete(void* p, std::size_t) noexcept { counted_delete(p); }
void operator delete(void* p, std::align_val_t) noexcept { counted_delete(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { counted_delete(p); }

int main(int argc, char** argv) {
    const std::string_view command = argc > 2 ? argv[1] : "";
    const std::string path = argc > 2 ? argv[2] : "";
    const std::size_t number = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1;
    if (command == "write") return bench::write_input(path, {number}) ? 0 : 1;
    if (command == "write-huge") return bench::write_input(path, bench::huge_input) ? 0 : 1;
    if (command == "walk") {
        std::ifstream file(path, std::ios::binary);
        const std::string pickle{std::istreambuf_iterator<char>(file), {}};
        const std::size_t opcodes = bench::skip_walk(pickle);
        std::printf("%zu\n", opcodes);
        return opcodes != 0 ? 0 : 1;
    }
    if (command == "heap") {
        const std::uint64_t before = heap_now;
        heap_peak = heap_now;
        const auto file = ckpt::open(path).value();
        std::printf("%zu %llu\n", file.root().size(), static_cast<unsigned long long>(heap_peak - before));
        return 0;
    }
    if (command == "plan-heap") {
        const auto weights = ckpt::open(path).value().state_dict().value();
        const std::uint64_t before = heap_now;
        heap_peak = heap_now;
        const ckpt::remap_plan plan = ckpt::plan_remap(weights, bench::twenty_rules());
        std::printf("%zu %llu\n", plan.moves.size(), static_cast<unsigned long long>(heap_peak - before));
        return 0;
    }
    if (command == "open" || command == "time") {
        const ckpt::open_options options{.scratch = ckpt::scratch::make()};
        std::size_t tensors = 0;
        const double best = fastest(number, [&] {
            const auto file = ckpt::open(path, options).value();
            const std::size_t before = std::exchange(tensors, file.root().size());
            return tensors != 0 && (before == 0 || before == tensors);
        });
        return printed(tensors, best, command == "time");
    }
    if (command == "weights") {
        const ckpt::open_options options{.scratch = ckpt::scratch::make()};
        std::size_t tensors = 0;
        for (std::size_t i = 0; i < number; ++i) {
            const auto weights = ckpt::open(path, options).value().state_dict().value();
            std::uint64_t elements = 0;
            for (const auto& [key, tensor] : weights) elements += key.size() + tensor.numel();
            tensors = weights.size();
            if (elements < tensors) return 1;
        }
        std::printf("%zu\n", tensors);
        return tensors != 0 ? 0 : 1;
    }
    if (command == "plan" || command == "plan-time") {
        const auto weights = ckpt::open(path).value().state_dict().value();
        const ckpt::key_map map = bench::twenty_rules();
        const double best = fastest(number, [&] {
            const ckpt::remap_plan plan = ckpt::plan_remap(weights, map);
            return plan.ok() && plan.moves.size() == weights.size();
        });
        return printed(weights.size(), best, command == "plan-time");
    }
    if (command == "upload-plan" || command == "convert-plan") {
        const auto weights = ckpt::open(path).value().state_dict().value();
        const auto planned = command == "upload-plan" ? bench::planned_tensors : bench::converted_tensors;
        for (std::size_t i = 0; i < number; ++i)
            if (planned(weights) != weights.size()) return 1;
        std::printf("%zu\n", weights.size());
        return 0;
    }
    if (command == "digest") return bench::digests_are_equal(std::strtoul(path.c_str(), nullptr, 10), number) ? 0 : 1;
    std::fprintf(stderr, "see the first lines of once.cpp\n");
    return 2;
}
