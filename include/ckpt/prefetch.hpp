// ckpt/prefetch.hpp: tells the system which tensors will be read soon, `ckpt::prefetch(weights, keys)`.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, and which of its tensors.
// Out:     what the system was asked for: it reads that from the disk while the program goes on, in the order of the
//          files, and nothing beside it.
// Refuses: keys that do not exist, and tensors that were refused; no system, and no kind of file.
//
// A mapped file that is not in memory is otherwise read around each page that is touched: by 128 KiB on most machines,
// by 8 MiB on some, while the program waits.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstdint>
#include <span>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What a call of `prefetch` asked the system for.
struct prefetched {
    std::uint64_t bytes{0};  ///< in whole blocks of 4096; 0 for memory, and where the system takes no such advice
    std::uint64_t ranges{0}; ///< separate ranges of the files; tensors that lie behind one another are in one
};

/// Tells the system that the tensors of these keys will be read soon, with their parts and what they are gathered from.
/// Returns when it has noted that, which for more than it keeps in its queue is when the first of them are read.
/// Changes nothing that can be seen but the time of later reads. Fails as `state_dict::at` does, and then tells
/// nothing.
[[nodiscard]] result<prefetched> prefetch(const state_dict& weights, std::span<const std::string_view> keys);

/// The same for all tensors; those that were refused are left out.
prefetched prefetch(const state_dict& weights);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/prefetch.ipp>
#endif
