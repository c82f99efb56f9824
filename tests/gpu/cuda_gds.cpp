// tests/gpu/cuda_gds.cpp: GPUDirect Storage by its double, which the program finds as libcufile.so.0.
//
// SPDX-License-Identifier: MIT
#include <ckpt/cuda_gds.hpp>

#include "cuda_double.hpp"
#include "cufile_double.hpp"
#include "opened_gds.hpp"

#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <type_traits>
#include <utility>

namespace cuda_gds_test {

namespace {

using driver = ckpt::cuda::gds_driver;
static_assert(!std::is_copy_constructible_v<driver> && std::is_nothrow_move_constructible_v<driver> &&
              std::is_nothrow_move_assignable_v<driver>);

template <class F> F* steering(const char* name) {
    static void* const library = dlopen("libcufile.so.0", RTLD_NOW | RTLD_LOCAL);
    REQUIRE(library != nullptr);
    void* const found = dlsym(library, name);
    REQUIRE_MESSAGE(found != nullptr, name);
    return reinterpret_cast<F*>(found);
}

/// Device memory and a file; whatever is still open at the end is a failure.
struct scene {
    explicit scene(cufile_failure failure = cufile_no_failure, unsigned long good_reads = 0) : file{text()} {
        cuda_double::reset();
        steering<void(cufile_failure, unsigned long)>("cufile_double_reset")(failure, good_reads);
        REQUIRE(cudaMalloc(&memory, 65'536) == cudaSuccess);
        fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
        REQUIRE(fd >= 0);
        descriptors = open_descriptors();
    }
    scene(const scene&) = delete;
    scene& operator=(const scene&) = delete;
    ~scene() {
        CHECK(open_descriptors() == descriptors);
        ::close(fd);
        cudaFree(memory);
        steering<void()>("cufile_double_end")();
        cuda_double::end();
        CHECK_MESSAGE(cuda_double::violations().empty(), cuda_double::report());
    }
    [[nodiscard]] static std::string text() {
        std::string out(10'000, '\0');
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>('a' + i % 23);
        return out;
    }
    [[nodiscard]] static std::size_t open_descriptors() {
        std::size_t n = 0;
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
            n += static_cast<std::size_t>(!entry.path().empty());
        return n;
    }
    [[nodiscard]] void* open(const driver& from, std::string& reason) const {
        return from.reader()->open(from.reader()->context, fd, reason);
    }
    [[nodiscard]] std::string at(std::size_t offset, std::size_t n) const {
        const auto bytes = cuda_double::read(static_cast<std::byte*>(memory) + offset, n);
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }

    test_support::temporary_file file;
    void* memory{};
    int fd{-1};
    std::size_t descriptors{};
};

} // namespace

TEST_CASE("a file is read to its place in device memory, by a handle that needs the descriptor no more") {
    const scene s;
    const driver gds = opened_gds();
    CHECK(gds.reason().empty());
    std::string reason;
    const int own = ::dup(s.fd);
    void* handle = gds.reader()->open(gds.reader()->context, own, reason);
    ::close(own);
    REQUIRE_MESSAGE(handle != nullptr, reason);
    CHECK(gds.reader()->read(handle, s.memory, 5000, 100, 300) == 5000);
    CHECK(s.at(300, 5000) == s.text().substr(100, 5000));
    CHECK(gds.reader()->read(handle, s.memory, 5000, 9990, 0) == 10); // the file ends
    CHECK(gds.reader()->read(handle, s.memory, 5000, 10'000, 0) == 0);
    gds.reader()->close(handle);
}

TEST_CASE("a short read goes on, a failing one gives its number") {
    for (const unsigned long good : {0ul, 1ul}) {
        const scene s{cufile_short_read, good};
        const driver gds = opened_gds();
        std::string reason;
        void* handle = s.open(gds, reason);
        REQUIRE(handle != nullptr);
        for (unsigned long i = 0; i <= good; ++i) CHECK(gds.reader()->read(handle, s.memory, 5000, 0, 0) == 5000);
        CHECK(s.at(0, 5000) == s.text().substr(0, 5000));
        CHECK(steering<unsigned long()>("cufile_double_reads")() == good + 2);
        gds.reader()->close(handle);
    }
    for (const auto& [failure, number] :
         {std::pair{cufile_failing_read, -5030}, std::pair{cufile_failing_file_read, -EIO}}) {
        const scene s{failure};
        const driver gds = opened_gds();
        std::string reason;
        void* handle = s.open(gds, reason);
        REQUIRE(handle != nullptr);
        const auto got = gds.reader()->read(handle, s.memory, 5000, 0, 0);
        CHECK(got == number);
        gds.reader()->close(handle);
    }
}

TEST_CASE("a driver that does not open and a file system that is not supported give a reason") {
    {
        const scene s{cufile_no_driver};
        const driver gds = opened_gds();
        CHECK(gds.reason() == "cuFileDriverOpen failed with 5001: the nvidia-fs driver is not loaded");
        std::string reason;
        CHECK(s.open(gds, reason) == nullptr);
        CHECK(reason == gds.reason());
    }
    {
        const scene s{cufile_no_file_system};
        const driver gds = opened_gds();
        CHECK(gds.reason().empty());
        std::string reason;
        CHECK(s.open(gds, reason) == nullptr);
        CHECK(reason == "cuFileHandleRegister failed with 5008: the file system is not supported");
        CHECK(gds.reader()->open(gds.reader()->context, -1, reason) == nullptr);
        CHECK(reason.find("cannot be opened once more") != std::string::npos);
    }
}

TEST_CASE("the library is not asked where it would not come back") {
    const scene s;
    const driver gds{ckpt::detail::gds_access::open("/no/such/modules")};
    std::string reason;
    CHECK(s.open(gds, reason) == nullptr);
    CHECK(reason == "/no/such/modules cannot be read, in which the library looks for its drivers");
}

TEST_CASE("the driver is closed once: by its owner, or after it by the last file") {
    const scene s;
    std::string reason;
    void* handle = nullptr;
    const ckpt::direct_reader table = [&] {
        driver first = opened_gds();
        driver moved = std::move(first);
        CHECK(first.reader() == nullptr); // NOLINT: what is moved from says so
        CHECK_FALSE(first.reason().empty());
        handle = s.open(moved, reason);
        return *moved.reader();
    }();
    REQUIRE(handle != nullptr);
    CHECK(table.read(handle, s.memory, 10, 0, 0) == 10);
    {
        const driver second = opened_gds(); // the driver is open already: used, and left open
        CHECK(second.reason().empty());
        void* other = s.open(second, reason);
        REQUIRE(other != nullptr);
        second.reader()->close(other);
    }
    CHECK(table.read(handle, s.memory, 10, 0, 0) == 10);
    table.close(handle);
}

} // namespace cuda_gds_test
