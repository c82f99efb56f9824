// tests/write/memory.cpp: every allocation of a writer fails once, and there is the old file or the new one.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/write.hpp>

#include "../support/named_floats.hpp"
#include "../support/sanitized.hpp"
#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <new>
#include <string>
#include <vector>

namespace memory_test {

#if CKPT_EXCEPTIONS

namespace {

/// Allocations since the last reset, and the number of the one that fails.
struct {
    std::uint64_t made{0};
    std::uint64_t failing{~std::uint64_t{0}};
} allocations;

void* allocate(std::size_t bytes, std::size_t alignment) {
    if (allocations.made++ == allocations.failing) throw std::bad_alloc{};
    const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
    void* const out = std::aligned_alloc(alignment, whole != 0 ? whole : alignment);
    if (out == nullptr) throw std::bad_alloc{};
    return out;
}
/// Not inlined: GCC would see `free` of what `operator new` returned, and warn.
[[gnu::noinline]] void give_back(void* p) noexcept { std::free(p); }

} // namespace

} // namespace memory_test

void* operator new(std::size_t n) { return memory_test::allocate(n, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new[](std::size_t n) { return memory_test::allocate(n, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t n, std::align_val_t a) { return memory_test::allocate(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) {
    return memory_test::allocate(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { memory_test::give_back(p); }
void operator delete[](void* p) noexcept { memory_test::give_back(p); }
void operator delete(void* p, std::size_t) noexcept { memory_test::give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { memory_test::give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { memory_test::give_back(p); }
void operator delete[](void* p, std::align_val_t) noexcept { memory_test::give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { memory_test::give_back(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { memory_test::give_back(p); }

namespace memory_test {

using namespace test_support;

namespace {

using files = std::map<std::string, std::string>;
files content(const temporary_folder& folder) {
    files out;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
        out[entry.path().filename().string()] = read_file(entry.path());
    return out;
}

/// Writes as often as memory is taken, and each time it is not there once.
template <class Write> void fail_each_allocation(const temporary_folder& folder, Write write) {
    allocations = {};
    const ckpt::write_report report = write();
    const std::uint64_t made = allocations.made;
    const files done = content(folder);
    CHECK(made >= 20);
    for (std::uint64_t n = 0; n < made; n += one_of) {
        CAPTURE(n);
        for (const ckpt::written_file& f : report.files) std::ofstream(f.path) << "old";
        files old = content(folder);
        bool failed = false;
        allocations = {.failing = n};
        try {
            (void)write();
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        allocations = {};
        CHECK(failed);
        const files now = content(folder);
        CHECK(now.size() == old.size());
        for (const auto& file : now) {
            CAPTURE(file.first);
            CHECK((file.second == old[file.first] || file.second == done.at(file.first)));
        }
    }
    for (const ckpt::written_file& f : report.files) folder.remove(f.path);
}

} // namespace

TEST_CASE("whichever allocation fails, there is the old file or the new one, and nothing beside it") {
    using namespace pkl;
    const temporary_folder folder;
    folder.add("in.pt",
               torch_file(dict({{str("a"), tensor(storage("FloatStorage", "0", 64), 0, {2, 32}, {1, 2})},
                                {str("tied"), tensor(storage("FloatStorage", "0", 64), 0, {2, 32}, {1, 2})},
                                {str("a key that is longer than what a string holds in itself"), floats("1", 3)},
                                {str("odd"), tensor(storage("ComplexDoubleStorage", "2", 1), 0, {1}, {1})}}),
                          {{"0", raw(std::vector<float>(64, 1.5F))},
                           {"1", raw(std::vector<float>{1, 2, 3})},
                           {"2", std::string(16, '\0')}}));
    const auto file = ckpt::open(folder.path() / "in.pt", {.io = ckpt::io_mode::read}).value();
    const auto weights = file.state_dict("").value();
    const auto one = ckpt::remap(weights, ckpt::key_map::parse("keep a\ncast float64 a").value()).value();
    const std::string out = (folder.path() / "out").string();
    for (const std::uint64_t most : {0u, 300u})
        fail_each_allocation(folder, [&] {
            return ckpt::write_safetensors(weights, out,
                                           {.overwrite = true,
                                            .metadata = {{"format", "pt"}},
                                            .max_shard_bytes = most,
                                            .allow_loss = {"odd"}})
                .value();
        });
    fail_each_allocation(folder, [&] { return ckpt::write_torch(weights, out, {.overwrite = true}).value(); });
    fail_each_allocation(folder, [&] { return ckpt::write_torch(file.root(), out, {.overwrite = true}).value(); });
    fail_each_allocation(folder, [&] { return ckpt::write_npz(weights, out, {.overwrite = true}).value(); });
    fail_each_allocation(folder, [&] { return ckpt::write_npy(one, out, {.overwrite = true}).value(); });
    fail_each_allocation(folder, [&]() -> ckpt::write_report {
        return ckpt::write_gguf(weights, out,
                                {.overwrite = true,
                                 .metadata = {ckpt::gguf_entry::of("general.architecture", "llama")},
                                 .quantise = {{"**", ckpt::gguf_quant::q8_0}, {"tied", ckpt::gguf_quant::q4_0}},
                                 .allow_loss = {"odd"}})
            .value();
    });
}

TEST_CASE("a value that can be written takes no memory of its own, nor does another reference to an object") {
    using namespace pkl;
    constexpr int count = 20'000;
    std::string many = "](" + call(global("pathlib", "PosixPath"), {str("/"), str("a"), str("b")}) + "q\5";
    for (int i = 0; i < count; ++i) many += num(i) + "}" + str("a") + "h\5";
    const std::string content = torch_file(many + "e");
    const auto file = ckpt::open_bytes(bytes_of(content)).value();
    allocations = {};
    REQUIRE(ckpt::plan_torch(file.root(), "x.pt", {.plain = true}).has_value());
    CHECK(allocations.made < count / 10);
}

#endif

} // namespace memory_test
