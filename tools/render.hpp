// tools/render.hpp: text for people.
//
// SPDX-License-Identifier: MIT
// In:      text from files, which is not trusted; numbers.
// Out:     lines that a terminal shows as they are: control characters and what reorders text are escaped.
// Refuses: nothing.
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

enum class colour : std::uint8_t { plain, bold, dim, red, green, yellow, cyan };

/// Whether standard output shows colours: a terminal, and NO_COLOR is not set.
[[nodiscard]] bool has_colours() noexcept;
/// From now on colours are "always" shown, "never", or as `has_colours` finds: "auto".
void choose_colours(std::string_view when) noexcept;
/// Whether standard output is a terminal.
[[nodiscard]] bool is_terminal() noexcept;
/// Columns of the output: COLUMNS, else the terminal's, else 80.
[[nodiscard]] std::size_t columns() noexcept;
/// The longest line that is written: `columns()` on a terminal, any elsewhere.
[[nodiscard]] std::size_t line_width() noexcept;
/// `n` on a terminal; elsewhere, where programs read, no limit.
[[nodiscard]] std::size_t on_terminal(std::size_t n) noexcept;

/// `text` in a colour where there are colours.
[[nodiscard]] std::string paint(colour c, std::string_view text);

/// One line of printable UTF-8: \n, \t, \xNN for everything that is not.
[[nodiscard]] std::string printable(std::string_view text);
/// Columns that printable text takes: its code points.
[[nodiscard]] std::size_t width(std::string_view text) noexcept;
/// Cut to `most` columns, with an ellipsis at the end or in the middle.
[[nodiscard]] std::string shortened(std::string text, std::size_t most);
[[nodiscard]] std::string shortened_in_the_middle(std::string text, std::size_t most);
/// A key cut to `most` columns; what folding put into braces, as {0..31}, stays as long as it fits.
[[nodiscard]] std::string shortened_key(std::string key, std::size_t most);
/// Filled with blanks to `n` columns.
[[nodiscard]] std::string left(std::string text, std::size_t n);
[[nodiscard]] std::string right(std::string text, std::size_t n);

/// 1234567 as "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t n);
/// 30720 as "30.0 KiB".
[[nodiscard]] std::string human_bytes(std::uint64_t n);
/// "3 tensors", "1 tensor".
[[nodiscard]] std::string counted(std::uint64_t n, std::string_view one, std::string_view many);
using ckpt::detail::decimal;
using ckpt::detail::shape_text;

/// The nearest of `all` to what somebody typed; empty where none is near.
[[nodiscard]] std::string nearest(std::string_view typed, const std::vector<std::string>& all);

/// Writes to standard output; whether it succeeded shows at the end, by `written`.
void print(std::string_view text);
/// The line below a list of which `n` elements are not shown; none where that is 0.
void print_rest(std::size_t indent, std::uint64_t n);
/// A line for each of the first entries of a list, behind the label, as the text that a function makes of it, and how
/// many there are more.
template <class List, class TextOf>
void print_each(std::string_view label, colour c, const List& list, const TextOf& text_of) {
    const std::size_t most = on_terminal(20);
    std::size_t n = 0;
    for (const auto& one : list)
        if (n++ < most) print(paint(c, left(std::string(label), 10)) + text_of(one) + '\n');
    if (n > most) print_rest(10, n - most);
}
/// The same for texts.
void print_some(std::string_view label, colour c, const std::vector<std::string>& lines);
/// Ends the output: the exit code, or that of a stream that took no more.
[[nodiscard]] int written(int exit_code);

} // namespace tool
