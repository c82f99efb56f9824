// tests/write/output.cpp: files that appear whole or not at all, while every call of the system fails once.
//
// SPDX-License-Identifier: MIT
#include <ckpt/io/output.hpp>
#include <ckpt/write.hpp>

#include "../support/named_floats.hpp"
#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#if defined(__linux__)
#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace output_test {

using ckpt::errc;
using ckpt::detail::output_file;
using test_support::temporary_folder;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text.data(), text.size()});
}

/// Every name in a folder, with its content.
std::map<std::string, std::string> content(const temporary_folder& folder) {
    std::map<std::string, std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
        out[entry.path().filename().string()] = test_support::read_file(entry.path());
    return out;
}
using files = std::map<std::string, std::string>;

errc write_all(const std::filesystem::path& path, bool replace, std::string_view text) {
    auto out = output_file::create(path, replace);
    if (!out) return out.error().code;
    for (const char& c : text)
        if (auto done = out->write(bytes_of({&c, 1})); !done) return done.error().code;
    if (auto done = out->finish(); !done) return done.error().code;
    auto named = out->publish();
    return named ? errc::none : named.error().code;
}

} // namespace

TEST_CASE("a file appears when it is published, and not before") {
    const temporary_folder folder;
    {
        auto out = output_file::create(folder.path() / "x", false).value();
        REQUIRE(out.write(bytes_of("abc")).has_value());
        CHECK(out.size() == 3);
        CHECK(content(folder).count("x") == 0);
        CHECK(content(folder).size() == 1);
        REQUIRE(out.finish().has_value());
        CHECK(content(folder).count("x") == 0);
        REQUIRE(out.publish().has_value());
        CHECK(content(folder) == files{{"x", "abc"}});
    }
    CHECK(content(folder) == files{{"x", "abc"}});
    { // what is not published leaves nothing
        auto out = output_file::create(folder.path() / "y", false).value();
        REQUIRE(out.write(bytes_of("abc")).has_value());
        REQUIRE(out.finish().has_value());
        const output_file moved = std::move(out);
    }
    CHECK(content(folder) == files{{"x", "abc"}});
}

TEST_CASE("a path that exists is kept, unless it is to be replaced") {
    const temporary_folder folder;
    folder.add("x", "old");
    CHECK(write_all(folder.path() / "x", false, "new") == errc::output_exists);
    CHECK(content(folder) == files{{"x", "old"}});
    CHECK(write_all(folder.path() / "x", true, "new") == errc::none);
    CHECK(content(folder) == files{{"x", "new"}});
    // Two writers of one path: the second one finds it.
    auto one = output_file::create(folder.path() / "y", false).value();
    auto two = output_file::create(folder.path() / "y", false).value();
    for (output_file* out : {&one, &two}) {
        REQUIRE(out->write(bytes_of("y")).has_value());
        REQUIRE(out->finish().has_value());
    }
    CHECK(one.publish().has_value());
    CHECK(two.publish().error().code == errc::output_exists);
}

TEST_CASE("a check sees each file when it is whole, before any of the set has its name") {
    const temporary_folder folder;
    const test_support::named_floats named{{"a", {1}, {1}}, {"b", {1}, {2}}, {"c", {1}, {3}}};
    std::vector<std::string> seen;
    auto check = [&](const ckpt::finished_file& f) -> ckpt::result<void> {
        CHECK(std::filesystem::path(f.at).parent_path() == folder.path());
        CHECK(!test_support::read_file(f.at).empty());
        seen.push_back(std::filesystem::path(f.path).filename().string());
        CHECK(content(folder).count(seen.back()) == 0);
        if (seen.size() == 4) return ckpt::error{.code = errc::truncated};
        return {};
    };
    const ckpt::safetensors_options sharded{.max_shard_bytes = 4, .check = check};
    const auto out = folder.path() / "x.safetensors";
    CHECK(ckpt::write_safetensors(named.weights(), out, sharded).error().code == errc::truncated);
    CHECK(seen == std::vector<std::string>{"x-00001-of-00003.safetensors", "x-00002-of-00003.safetensors",
                                           "x-00003-of-00003.safetensors", "x.safetensors.index.json"});
    CHECK(content(folder).empty());
    CHECK(ckpt::write_safetensors(named.weights(), out, sharded).has_value());
    CHECK(content(folder).size() == 4);
}

TEST_CASE("every writer keeps the old file where a check fails") {
    const temporary_folder folder;
    const test_support::named_floats named{{"a", {1}, {1}}};
    const ckpt::state_dict weights = named.weights();
    auto check = [](const ckpt::finished_file&) -> ckpt::result<void> { return ckpt::error{.code = errc::truncated}; };
    const auto code = [&](auto write, auto options) {
        folder.add("x", "old");
        options.overwrite = true;
        options.check = check;
        const auto made = write(weights, folder.path() / "x", options);
        CHECK(content(folder) == files{{"x", "old"}});
        return made.error().code;
    };
    CHECK(code([](auto... a) { return ckpt::write_safetensors(a...); }, ckpt::safetensors_options{}) ==
          errc::truncated);
    CHECK(code([](auto... a) { return ckpt::write_torch(a...); }, ckpt::torch_options{}) == errc::truncated);
    CHECK(code([](auto... a) { return ckpt::write_gguf(a...); }, ckpt::gguf_options{}) == errc::truncated);
    CHECK(code([](auto... a) { return ckpt::write_npz(a...); }, ckpt::numpy_options{}) == errc::truncated);
    CHECK(code([](auto... a) { return ckpt::write_npy(a...); }, ckpt::numpy_options{}) == errc::truncated);
}

TEST_CASE("paths that no file can have") {
    const temporary_folder folder;
    folder.add("x", "old");
    CHECK(write_all(folder.path() / "none" / "x", false, "new") == errc::write_failed);
    CHECK(write_all(folder.path() / "x" / "y", false, "new") == errc::write_failed);
    CHECK(write_all("", false, "new") == errc::write_failed);
    CHECK(output_file::create(static_cast<const char*>(nullptr), false).error().code == errc::write_failed);
    CHECK(output_file::create(std::string("a\0b", 3), false).error().code == errc::write_failed);
    for (const bool replace : {false, true})
        CHECK(output_file::create(folder.path(), replace).error().detail == "it is a directory");
    CHECK(content(folder) == files{{"x", "old"}});
}

TEST_CASE("small and large pieces, and parts of other files, stand in their order") {
    std::string large(3'000'000, 'a');
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 7 + i / 251);
    const temporary_folder folder;
    folder.add("from", large);
    const auto from = ckpt::detail::file::open(folder.path() / "from").value();
    auto out = output_file::create(folder.path() / "to", false).value();
    std::string want;
    for (const std::size_t n : {std::size_t{1}, std::size_t{65'535}, std::size_t{65'536}, std::size_t{2'500'000}}) {
        REQUIRE(out.write(bytes_of(std::string_view(large).substr(3, n))).has_value());
        REQUIRE(out.copy(from, 5, n).has_value());
        want += large.substr(3, n) + large.substr(5, n);
        CHECK(out.size() == want.size());
    }
    CHECK(out.copy(from, large.size() - 1, 2).error().code == errc::truncated);
    REQUIRE(out.finish().has_value());
    REQUIRE(out.publish().has_value());
    CHECK(content(folder)["to"].starts_with(want));
}

#if defined(__linux__)

// These stand before the library's in every call of this program.
namespace {

struct {
    std::uint64_t calls{0};
    std::uint64_t failing{~std::uint64_t{0}}; // number of the call that fails
    std::size_t most{~std::size_t{0}};        // that one call writes or copies
    std::uint64_t copies{0};                  // calls of copy_file_range
    bool server{false};                       // file systems say that they are NFS
} injected;

bool fails() {
    if (injected.calls++ != injected.failing) return false;
    errno = EIO;
    return true;
}
template <class... Args> long direct(long number, Args... args) { return ::syscall(number, args...); }

} // namespace

} // namespace output_test

extern "C" {
ssize_t pwrite64(int file, const void* from, size_t length, off64_t at) {
    return output_test::fails()
               ? -1
               : output_test::direct(SYS_pwrite64, file, from, std::min(length, output_test::injected.most), at);
}
ssize_t copy_file_range(int from, off64_t* in, int to, off64_t* out, size_t length, unsigned flags) {
    ++output_test::injected.copies;
    return output_test::fails() ? -1
                                : output_test::direct(SYS_copy_file_range, from, in, to, out,
                                                      std::min(length, output_test::injected.most), flags);
}
int fstatfs(int file, struct ::statfs* status) noexcept {
    const long done = output_test::direct(SYS_fstatfs, file, status);
    if (done == 0 && output_test::injected.server) status->f_type = 0x6969;
    return static_cast<int>(done);
}
int fchmod(int file, mode_t mode) noexcept {
    return output_test::fails() ? -1 : static_cast<int>(output_test::direct(SYS_fchmod, file, mode));
}
int fsync(int file) { return output_test::fails() ? -1 : static_cast<int>(output_test::direct(SYS_fsync, file)); }
int link(const char* from, const char* to) noexcept {
    return output_test::fails() ? -1
                                : static_cast<int>(output_test::direct(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int rename(const char* from, const char* to) noexcept {
    return output_test::fails() ? -1
                                : static_cast<int>(output_test::direct(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
}

namespace output_test {

namespace {

/// A checkpoint in a file, so that some tensors are copied inside the system, and some are cast.
ckpt::state_dict weights_in(const temporary_folder& folder) {
    const std::vector<float> values(100'000, 1.5F);
    const std::string bytes = test_support::torch_file(
        test_support::pkl::dict({{test_support::pkl::str("a"), test_support::pkl::floats("0", 100'000)},
                                 {test_support::pkl::str("b"), test_support::pkl::floats("0", 100'000)},
                                 {test_support::pkl::str("c"), test_support::pkl::floats("1", 3)}}),
        {{"0", test_support::raw(values)}, {"1", test_support::raw(std::vector<float>{1, 2, 3})}});
    folder.add("in.pt", bytes);
    const auto file = ckpt::open(folder.path() / "in.pt", {.io = ckpt::io_mode::read}).value();
    return ckpt::remap(file.state_dict().value(), ckpt::key_map::parse("cast float64 c").value()).value();
}

} // namespace

/// Writes as often as the system is called, and each call fails once. Returns what was written without a failure.
template <class Write> ckpt::write_report fail_each_call(const temporary_folder& folder, Write write) {
    injected = {};
    const ckpt::write_report report = write().value();
    const files done = content(folder);
    const std::uint64_t calls = injected.calls;
    CHECK(calls >= 4);
    for (std::uint64_t n = 0; n < calls; ++n) {
        CAPTURE(n);
        for (const ckpt::written_file& f : report.files) std::ofstream(f.path) << "old";
        files old = content(folder);
        injected = {.failing = n};
        const auto again = write();
        injected = {};
        if (again) { // a copy inside the system that failed was made by reads and writes
            CHECK(content(folder) == done);
            continue;
        }
        CHECK(again.error().code == errc::write_failed);
        CHECK(again.error().os_code == EIO);
        for (const auto& file : content(folder)) {
            CAPTURE(file.first);
            CHECK((file.second == old[file.first] || file.second == done.at(file.first)));
        }
        CHECK(content(folder).size() == old.size());
    }
    for (const ckpt::written_file& f : report.files) folder.remove(f.path);
    return report;
}

TEST_CASE("whichever call fails, there is the old file or the new one, and nothing beside it") {
    const temporary_folder folder;
    const ckpt::state_dict weights = weights_in(folder);
    const std::string out = (folder.path() / "out").string();
    for (const bool shards : {false, true}) {
        const ckpt::safetensors_options options{.overwrite = true, .max_shard_bytes = shards ? 400'000u : 0u};
        const auto report = fail_each_call(folder, [&] { return ckpt::write_safetensors(weights, out, options); });
        CHECK(report.files.size() == (shards ? 3 : 1));
    }
    fail_each_call(folder, [&] { return ckpt::write_torch(weights, out, {.overwrite = true}); });
    const auto row = ckpt::remap(weights, ckpt::key_map::parse("reshape (-1, 32) a").value()).value();
    const ckpt::gguf_options blocks{.overwrite = true, .quantise = {{"a", ckpt::gguf_quant::q8_0}}};
    fail_each_call(folder, [&] { return ckpt::write_gguf(row, out, blocks); });
}

TEST_CASE("a file that replaces another has its permissions, and no other bits") {
    namespace fs = std::filesystem;
    const temporary_folder folder;
    const fs::path path = folder.path() / "x", link = folder.path() / "link";
    const auto mode = [](const fs::path& of) { return fs::status(of).permissions(); };
    for (const fs::perms kept : {fs::perms{0600}, fs::perms{0664}, fs::perms{0640}}) {
        folder.add("x", "old");
        fs::permissions(path, kept | fs::perms::set_uid);
        CHECK(write_all(path, true, "new") == errc::none);
        CHECK(mode(path) == kept);
    }
    fs::create_symlink(path, link); // which is replaced, and gets no more than what it led to
    CHECK(write_all(link, true, "new") == errc::none);
    CHECK(fs::is_regular_file(fs::symlink_status(link)));
    CHECK(mode(link) == mode(path));
    fs::permissions(path, fs::perms{0600});
    const files old = content(folder);
    injected = {.failing = 0};
    CHECK(output_file::create(path, true).error().code == errc::write_failed);
    injected = {};
    CHECK(content(folder) == old);
}

TEST_CASE("parts of files are copied inside the system where whole blocks lie apart, or a server copies") {
    const temporary_folder folder;
    std::string large;
    for (int i = 0; large.size() < 1'000'000; ++i) large += std::to_string(i);
    folder.add("from", large);
    const auto from = ckpt::detail::file::open(folder.path() / "from").value();
    // Copies a part to the beginning of a new file, and gives the number of copies inside the system.
    const auto copies = [&](std::uint64_t offset, bool server, std::uint64_t failing) {
        injected = {.failing = failing, .server = server};
        auto out = output_file::create(folder.path() / "to", true).value();
        CHECK(out.copy(from, offset, 300'000).has_value());
        const std::uint64_t seen = injected.copies;
        injected = {};
        CHECK((out.finish().has_value() && out.publish().has_value()));
        CHECK(content(folder)["to"] == large.substr(offset, 300'000));
        return seen;
    };
    constexpr std::uint64_t none = ~std::uint64_t{0};
    CHECK(copies(4096, false, none) == 1);
    CHECK(copies(4096, false, 0) == 1); // it fails: the part is read and written
    CHECK(copies(4095, false, none) == 0);
    CHECK(copies(4095, true, none) == 1);
}

TEST_CASE("where the system takes little at once, the file is the same") {
    const temporary_folder folder;
    const ckpt::state_dict weights = weights_in(folder);
    const std::string out = (folder.path() / "out.safetensors").string();
    REQUIRE(ckpt::write_safetensors(weights, out).has_value());
    const files want = content(folder);
    for (const std::size_t most : {std::size_t{997}, std::size_t{65'537}}) {
        injected = {.most = most};
        REQUIRE(ckpt::write_safetensors(weights, out, {.overwrite = true}).has_value());
        injected = {};
        CHECK(content(folder) == want);
    }
}

#endif

} // namespace output_test
