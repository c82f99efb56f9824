// ckpt/core/limits.hpp: budgets that a hostile file cannot exceed.
//
// SPDX-License-Identifier: MIT
// In:      numbers set by the caller; the defaults admit every real checkpoint that is known.
// Out:     plain data, read by the archive, the pickle machine and the resolver.
// Refuses: nothing itself; a stage that meets a limit fails with errc::limit.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Budgets for one `open`. A value may be lowered freely; the hard ceilings of the formats still hold.
struct limits {
    /// Bytes of one pickle; 4 GiB - 1 at most, because nodes refer to it by 32-bit numbers.
    std::uint64_t pickle_bytes{0xFFFF'FFFFu};
    /// Opcodes executed plus elements visited by the resolver, per pickle byte (plus one million).
    std::uint64_t work_per_byte{64};
    /// Bytes that builders may make, per pickle byte (plus one mebibyte).
    std::uint64_t made_per_byte{16};
    /// Bytes that a compressed pickle may become, per byte that is stored (plus one mebibyte); see
    /// `open_options::inflate`.
    std::uint64_t inflated_per_byte{64};
    /// Records in one archive.
    std::uint64_t records{2'000'000};
    /// Bytes of the archive's directory, and of a JSON file that is read.
    std::uint64_t directory_bytes{1u << 27};
    /// Dimensions of one tensor.
    std::uint32_t tensor_rank{64};
    /// Keys of one state_dict, and tensors in each of the files that ranks saved.
    std::uint64_t entries{4'000'000};
    /// Bytes that the rules of one key map make by `fill` and `pad`, all together. Maps have this default.
    std::uint64_t filled_bytes{std::uint64_t{1} << 34};
    /// Digits of a decimal integer in a text-form pickle (CPython's own bound), or in a JSON file.
    std::uint32_t integer_digits{4300};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
