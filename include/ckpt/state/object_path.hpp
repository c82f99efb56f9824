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

/// The text of a dictionary key: a str as it is, numbers, None and booleans as Python shows them, tuples of those in
/// parentheses, bytes as b'...', a class by its qualified name; other objects by their kind in angle brackets.
[[nodiscard]] std::string key_text(const value& key);

namespace detail {

/// A path as text: its elements joined by '/', as `value::find` reads it.
[[nodiscard]] std::string path_text(std::span<const path_element> path);

} // namespace detail

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/object_path.ipp>
#endif
