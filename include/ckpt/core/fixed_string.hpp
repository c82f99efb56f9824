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

namespace detail {

template <bool Holds, fixed_string Sentence> struct requirement {
    static constexpr bool holds = Holds;
};
template <fixed_string Sentence> struct requirement<false, Sentence> {
    static_assert(Sentence.view().empty(), "ckpt: this requirement does not hold");
    static constexpr bool holds = true;
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

// A static_assert whose sentence stands first in what compilers say. GCC begins with the name of what it instantiates,
// and comes to the text of a static_assert some lines later: there the sentence is a part of a name.
#if defined(__GNUC__) && !defined(__clang__) && !defined(__EDG__)
#define CKPT_DETAIL_REQUIRE(sentence, ...)                                                                             \
    static_assert(::ckpt::detail::requirement<(__VA_ARGS__), sentence>::holds, sentence)
#else
#define CKPT_DETAIL_REQUIRE(sentence, ...) static_assert((__VA_ARGS__), sentence)
#endif
