// tests/gpu/on_double.hpp: what tests of uploads over the double of the CUDA runtime have in common.
//
// SPDX-License-Identifier: MIT
// In:      bytes of a file; tensors in device memory, and what they came from.
// Out:     checks of doctest; options for small files; the double of GPUDirect Storage.
#pragma once

#include <ckpt/cuda.hpp>

#include "../support/quantised_files.hpp"
#include "../support/temporary_file.hpp"
#include "../support/upload_files.hpp"
#include "cuda_double.hpp"
#include "cufile_double.hpp"
#include "double_kernels.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <pthread.h>

namespace on_double {

using namespace test_support;
using ckpt::cuda::upload_options;

struct opened {
    temporary_file path;
    ckpt::state_dict weights;
    explicit opened(const std::string& bytes, ckpt::io_mode how = ckpt::io_mode::map)
        : path{bytes}, weights{ckpt::open(path.path(), {.io = how}).value().state_dict().value()} {}
};

/// Compares all tensors of a target with what they came from; the double is asked without waiting.
inline void compare(const ckpt::cuda::device_tensors& there, const ckpt::state_dict& from, std::size_t target = 0) {
    for (const std::string_view key : there.keys(target)) {
        CAPTURE(std::string(key));
        const auto t = there.at(key, target).value();
        const auto origin = from.at(key).value();
        CHECK(std::vector<std::int64_t>(t.shape.begin(), t.shape.end()) ==
              std::vector<std::int64_t>(origin.shape().begin(), origin.shape().end()));
        if (t.data == nullptr) {
            CHECK(origin.numel() == 0);
            continue;
        }
        std::uint64_t last = 0;
        for (std::size_t d = 0; d < t.shape.size(); ++d)
            last += static_cast<std::uint64_t>((t.shape[d] - 1) * t.strides[d]);
        const auto bytes = cuda_double::read(t.data, static_cast<std::size_t>(last + 1) * ckpt::itemsize(t.dtype));
        CHECK(dense_of(bytes, t.shape, t.strides, t.dtype) == numbers_of(origin, t.dtype));
    }
}

/// No violation, and nothing left behind.
inline void clean_end() {
    cuda_double::end();
    CHECK_MESSAGE(cuda_double::violations().empty(), cuda_double::report());
}

#if defined(__GLIBC__)
/// While it lives the system starts no thread.
class no_threads {
  public:
    no_threads() {
        REQUIRE(pthread_getattr_default_np(&before_) == 0);
        pthread_attr_t without_room;
        REQUIRE(pthread_getattr_default_np(&without_room) == 0);
        // More than there are addresses.
        REQUIRE(pthread_attr_setstacksize(&without_room, std::size_t{1} << 47) == 0);
        REQUIRE(pthread_setattr_default_np(&without_room) == 0);
        pthread_attr_destroy(&without_room);
    }
    no_threads(const no_threads&) = delete;
    no_threads& operator=(const no_threads&) = delete;
    ~no_threads() {
        CHECK(pthread_setattr_default_np(&before_) == 0);
        pthread_attr_destroy(&before_);
    }

  private:
    pthread_attr_t before_;
};
#endif

/// Small pieces and few slots, so that a small file goes round the ring many times.
inline upload_options busy(unsigned readers = 0) {
    upload_options out;
    out.piece_bytes = 4'096;
    out.slots = 2;
    out.readers = readers;
    return out;
}

/// What `file_for_kernels` has: narrowed, widened and made dense on the device.
inline upload_options on_the_device(unsigned readers) {
    upload_options out = busy(readers);
    out.casts = {{"brain", ckpt::dtype::float32}, {"few", ckpt::dtype::float64}, {"**", ckpt::dtype::bfloat16}};
    out.kernels = &double_kernels::table;
    return out;
}

/// The functions by which a test steers the double of GPUDirect Storage, which the program opens as any library.
struct storage_double {
    void* library{dlopen("libcufile.so.0", RTLD_NOW)};
    template <class F> F* find(const char* name) const {
        REQUIRE(library != nullptr);
        return reinterpret_cast<F*>(dlsym(library, name));
    }
    void reset(cufile_failure failure, unsigned long good_reads = 0) const {
        find<void(cufile_failure, unsigned long)>("cufile_double_reset")(failure, good_reads);
    }
    unsigned long reads() const { return find<unsigned long()>("cufile_double_reads")(); }
    unsigned long registered() const { return find<unsigned long()>("cufile_double_registered")(); }
    void together(unsigned long reads) const { find<void(unsigned long)>("cufile_double_together")(reads); }
    unsigned long most_in_flight() const { return find<unsigned long()>("cufile_double_most_in_flight")(); }
    void end() const { find<void()>("cufile_double_end")(); }
};

} // namespace on_double
