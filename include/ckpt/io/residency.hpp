// ckpt/io/residency.hpp: whether the system has a part of a file in its cache.
//
// SPDX-License-Identifier: MIT
// In:      a file and an offset.
// Out:     whether a read there needs no disk.
// Refuses: nothing; no answer where the system gives none.
#pragma once

#include <ckpt/io/file.hpp>

#include <cstdint>
#include <optional>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Linux says of files that this process may neither write nor owns that all of them are cached.
[[nodiscard]] std::optional<bool> is_resident(const file& in, std::uint64_t offset) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/residency.ipp>
#endif
