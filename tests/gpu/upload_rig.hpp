// tests/gpu/upload_rig.hpp: what tests of uploads over the double begin and end with.
//
// SPDX-License-Identifier: MIT
// In:      bytes of a file; an upload.
// Out:     its state_dict; whether the upload has the tensors, and leaves nothing behind.
#pragma once

#include <ckpt/cuda.hpp>

#include "../support/temporary_file.hpp"
#include "../support/upload_files.hpp"
#include "cuda_double.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace upload_rig {

struct opened {
    test_support::temporary_file path;
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
        CHECK(test_support::dense_of(bytes, t.shape, t.strides, t.dtype) == test_support::values_of(origin, t.dtype));
    }
}

/// No violation, and nothing left behind.
inline void clean_end() {
    cuda_double::end();
    CHECK_MESSAGE(cuda_double::violations().empty(), cuda_double::report());
}

/// Small pieces and few slots, so that a small file goes round the ring many times.
inline ckpt::cuda::upload_options busy(unsigned readers = 0) {
    ckpt::cuda::upload_options out;
    out.piece_bytes = 4'096;
    out.slots = 2;
    out.readers = readers;
    return out;
}

} // namespace upload_rig
