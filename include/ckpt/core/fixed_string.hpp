// ckpt/core/fixed_string.hpp: text as a template argument.
//
// SPDX-License-Identifier: MIT
// In:      a string literal.
// Out:     a structural type that holds it, for `global<"module", "name">` and similar templates.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A string literal as a template argument. `N` counts the terminator; `view()` leaves it out.
template <std::size_t N> struct fixed_string {
    char text[N]{};

    consteval fixed_string(const char (&literal)[N]) {
        for (std::size_t i = 0; i < N; ++i) text[i] = literal[i];
    }
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {text, N - 1}; }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
