// tests/gpu/double_storage.cpp: the double of GPUDirect Storage, opened as a program would open the library.
//
// SPDX-License-Identifier: MIT
#include "cuda_double.hpp"
#include "cufile_double.hpp"

#include <doctest/doctest.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <numeric>
#include <thread>
#include <tuple>
#include <vector>

namespace double_storage_test {

using cuda_double::kind;

namespace {

struct status {
    int err;
    int cu_err;
};
struct descriptor {
    int type;
    union {
        int fd;
        void* handle;
    } handle;
    const void* operations;
};

struct library {
    void* opened{dlopen("libcufile.so.0", RTLD_NOW | RTLD_LOCAL)};

    template <class F> [[nodiscard]] F* find(const char* name) const {
        REQUIRE(opened != nullptr);
        void* const f = dlsym(opened, name);
        REQUIRE_MESSAGE(f != nullptr, name);
        return reinterpret_cast<F*>(f);
    }

    status (*open)() = find<status()>("cuFileDriverOpen");
    status (*close)() = find<status()>("cuFileDriverClose_v2");
    status (*add)(void**, descriptor*) = find<status(void**, descriptor*)>("cuFileHandleRegister");
    void (*remove)(void*) = find<void(void*)>("cuFileHandleDeregister");
    status (*add_buffer)(const void*, std::size_t,
                         int) = find<status(const void*, std::size_t, int)>("cuFileBufRegister");
    status (*remove_buffer)(const void*) = find<status(const void*)>("cuFileBufDeregister");
    ssize_t (*read)(void*, void*, std::size_t, off_t,
                    off_t) = find<ssize_t(void*, void*, std::size_t, off_t, off_t)>("cuFileRead");
    void (*start)(cufile_failure, unsigned long) = find<void(cufile_failure, unsigned long)>("cufile_double_reset");
    void (*end)() = find<void()>("cufile_double_end");
    unsigned long (*reads)() = find<unsigned long()>("cufile_double_reads");
    unsigned long (*bytes)() = find<unsigned long()>("cufile_double_bytes");
    status (*properties)(void*) = find<status(void*)>("cuFileDriverGetProperties");
    void (*together)(unsigned long) = find<void(unsigned long)>("cufile_double_together");
    unsigned long (*most_in_flight)() = find<unsigned long()>("cufile_double_most_in_flight");
    unsigned long (*registered)() = find<unsigned long()>("cufile_double_registered");
};

const library& cufile() {
    static const library only;
    return only;
}

constexpr std::size_t file_bytes = 1000;

/// A file, device memory and a handle, for one test.
struct rig {
    std::FILE* file{std::tmpfile()};
    std::vector<std::byte> content{file_bytes};
    std::byte* device{nullptr};
    void* handle{nullptr};

    explicit rig(cufile_failure failure = cufile_no_failure, unsigned long good_reads = 0) {
        cuda_double::reset();
        cufile().start(failure, good_reads);
        for (std::size_t i = 0; i < file_bytes; ++i) content[i] = static_cast<std::byte>(i * 7);
        REQUIRE(write(fileno(file), content.data(), file_bytes) == file_bytes);
        void* p = nullptr;
        cudaMalloc(&p, file_bytes);
        device = static_cast<std::byte*>(p);
        opened = cufile().open().err;
        descriptor d{1, {fileno(file)}, nullptr};
        added = cufile().add(&handle, &d).err;
    }
    rig(const rig&) = delete;
    rig& operator=(const rig&) = delete;
    ~rig() { std::fclose(file); }

    void give_back() const {
        if (added == 0) cufile().remove(handle);
        if (opened == 0) cufile().close();
        cudaFree(device);
        cufile().end();
        cuda_double::end();
    }
    [[nodiscard]] std::vector<std::byte> part(std::size_t begin, std::size_t bytes) const {
        return {content.begin() + static_cast<std::ptrdiff_t>(begin),
                content.begin() + static_cast<std::ptrdiff_t>(begin + bytes)};
    }

    int opened{-1};
    int added{-1};
};

TEST_CASE("bytes of a file reach device memory") {
    const rig r;
    CHECK(cufile().add_buffer(r.device, file_bytes, 0).err == 0);
    CHECK(cufile().read(r.handle, r.device, 300, 500, 10) == 300);
    CHECK(cuda_double::read(r.device + 10, 300) == r.part(500, 300));
    CHECK(cufile().read(r.handle, r.device, 300, 900, 0) == 100); // the file ends
    CHECK(cufile().reads() == 2);
    CHECK(cufile().bytes() == 400);
    CHECK(cufile().remove_buffer(r.device).err == 0);
    r.give_back();
    CHECK(cuda_double::report() == "");
}

TEST_CASE("failures as asked for") {
    {
        const rig r{cufile_no_driver};
        CHECK(r.opened == 5001);
        r.give_back();
        CHECK(cuda_double::report() == "");
    }
    {
        const rig r{cufile_no_file_system};
        CHECK(r.opened == 0);
        CHECK(r.added == 5008);
        r.give_back();
        CHECK(cuda_double::report() == "");
    }
    {
        const rig r{cufile_no_buffer};
        CHECK(cufile().add_buffer(r.device, file_bytes, 0).err != 0);
        r.give_back();
    }
    const auto reads = [](cufile_failure failure, ssize_t expected) {
        const rig r{failure, 1};
        CHECK(cufile().read(r.handle, r.device, 100, 0, 0) == 100);
        errno = 0;
        CHECK(cufile().read(r.handle, r.device, 100, 100, 100) == expected);
        CHECK((errno == EIO) == (failure == cufile_failing_file_read));
        CHECK(cufile().read(r.handle, r.device, 100, 100, 100) == 100);
        r.give_back();
        CHECK(cuda_double::report() == "");
    };
    reads(cufile_short_read, 50);
    reads(cufile_failing_read, -5030);
    reads(cufile_failing_file_read, -1);
}

TEST_CASE("misuse of storage") {
    {
        const rig r; // nothing given back
        cufile().add_buffer(r.device, file_bytes, 0);
        cufile().end();
        CHECK(cuda_double::count(kind::storage) == 3);
    }
    for (const bool right : {false, true}) { // memory that is freed, or the driver closed, while a buffer is registered
        const rig r;
        REQUIRE(cufile().add_buffer(r.device, file_bytes, 0).err == 0);
        CHECK(cufile().registered() == 1);
        if (right) cufile().remove_buffer(r.device);
        cufile().remove(r.handle);
        cufile().close();
        cudaFree(r.device);
        if (!right) cufile().remove_buffer(r.device);
        CHECK(cuda_double::count(kind::storage) == (right ? 0u : 2u));
    }
    {
        const rig r;
        int on_the_host = 0;
        CHECK(cufile().add_buffer(&on_the_host, sizeof on_the_host, 0).err != 0);
        CHECK(cufile().add_buffer(r.device, file_bytes + 1, 0).err != 0);
        CHECK(cuda_double::count(kind::storage) == 2);
        cufile().remove(r.handle);
        cufile().close();
        unsigned properties[64]{};
        CHECK(cufile().properties(properties).err == 0);
        CHECK(cuda_double::count(kind::storage) == 3); // the driver is not open
    }
    {
        const rig r;
        r.give_back();
        CHECK(cufile().read(r.handle, r.device, 1, 0, 0) < 0);
        CHECK(cuda_double::count(kind::storage) == 1);
    }
    {
        const rig r;
        cufile().add_buffer(r.device, 10, 0);
        CHECK(cufile().read(r.handle, r.device, 10, 0, 1) < 0);
        CHECK(cuda_double::count(kind::storage) == 1);
        CHECK(cufile().remove_buffer(r.device + 1).err != 0);
        CHECK(cuda_double::count(kind::storage) == 2);
    }
    {
        const rig r;
        CHECK(cufile().read(r.handle, r.device, 100, 0, file_bytes - 99) < 0);
        CHECK(cuda_double::count(kind::out_of_bounds) == 1);
    }
}

TEST_CASE("reads of several threads are counted while they run; the driver says what it can do") {
    for (const unsigned long threads : {1ul, 2ul}) {
        const rig r;
        cufile().together(threads);
        std::vector<std::thread> readers;
        for (unsigned long i = 0; i < threads; ++i)
            readers.emplace_back(
                [&r, i] { CHECK(cufile().read(r.handle, r.device, 100, 0, static_cast<off_t>(100 * i)) == 100); });
        for (std::thread& t : readers) t.join();
        CHECK(cufile().most_in_flight() == threads);
        r.give_back();
        CHECK(cuda_double::report() == "");
    }
    for (const auto& [failure, err, major] :
         {std::tuple{cufile_no_failure, 0, 2u}, {cufile_no_direct_way, 0, 0u}, {cufile_no_properties, 5030, 77u}}) {
        const rig r{failure};
        unsigned properties[64]{77};
        CHECK(cufile().properties(properties).err == err);
        CHECK(properties[0] == major);
        r.give_back();
        CHECK(cuda_double::report() == "");
    }
}

TEST_CASE("storage writes at once, so other work on the same bytes must be known to be done") {
    for (const auto how : {cuda_double::mode::eager, cuda_double::mode::lazy}) {
        for (const bool right : {false, true}) {
            const rig r;
            cuda_double::options way;
            way.how = how;
            cuda_double::reset(way);
            void* p = nullptr;
            cudaMalloc(&p, file_bytes);
            cudaStream_t s = nullptr;
            cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
            cudaMemsetAsync(p, 0, 10, s);
            if (right) cudaStreamSynchronize(s);
            CHECK(cufile().read(r.handle, p, 100, 0, 0) == 100);
            cudaMemsetAsync(p, 1, 5, s); // after it, since the read had returned
            CHECK(cuda_double::count(kind::race) == (right ? 0u : 1u));
        }
    }
}

} // namespace

} // namespace double_storage_test
