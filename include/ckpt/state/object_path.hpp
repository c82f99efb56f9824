// ckpt/state/object_path.hpp: paths of values, as text.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/value.hpp>

#include <span>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One element of a path. `is_number`: an integer key or a position, as decimal text.
struct path_element {
    std::string text{};
    bool is_number{};
    friend bool operator==(const path_element&, const path_element&) = default;
};

namespace detail {

/// A path as text: its elements joined by '/', as `value::find` reads it.
[[nodiscard]] std::string path_text(std::span<const path_element> path);

} // namespace detail

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/object_path.ipp>
#endif
