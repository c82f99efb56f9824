// ckpt/state/digest.hpp: a digest of the content of a state_dict.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict.
// Out:     SHA-256 over its keys, dtypes, shapes and values: the same for equal content, however it was written.
// Refuses: tensors without values of their own: refused, sparse, meta.
#pragma once

#include <ckpt/core/progress.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstdint>
#include <span>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// CRC-32 of many tensors, one after another. A compressed storage that several of them lie in is inflated once and
/// then read on, where `tensor::crc32` begins it again for each. For one thread; what the tensors came from must live
/// as long.
class digester {
  public:
    digester();
    /// What `tensor::crc32` returns. Fails with `output_limit`, too, where the tensors lie in such an order that a
    /// compressed storage would be inflated more than 64 times; and with `cancelled` where `progress`, which gets the
    /// bytes of this tensor, stops it.
    [[nodiscard]] result<std::uint32_t> crc32(const tensor& of, const progress_callback& progress = {});

  private:
    detail::shared<detail::storage_readers> readers_;
};

/// SHA-256, as 64 hexadecimal digits, of one line "KEY\tDTYPE\tSHAPE\tCRC32\n" for each tensor, the lines sorted by the
/// bytes of their keys. SHAPE is "[10, 784]", "[]" for a scalar; CRC32 is `tensor::crc32` in 8 hexadecimal digits; a
/// backslash, a tab and a line end in a key are written `\\`, `\t` and `\n`. Order, sharing, strides, byte order and
/// container do not count. It detects accidental changes, not malicious ones, because the values are summed by CRC-32.
/// Reads all values; fails with the error of the first tensor that has none, and with `cancelled` where `progress`,
/// which gets the bytes of all tensors, stops it.
[[nodiscard]] result<std::string> checkpoint_digest(const state_dict& weights, const progress_callback& progress = {});

/// The same from the checksums of all tensors, in the order of the state_dict, as `digests` (state/digests.hpp) gives
/// them. Reads nothing.
[[nodiscard]] std::string checkpoint_digest(const state_dict& weights, std::span<const std::uint32_t> sums);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/digest.ipp>
#endif
