// ckpt/core/short_list.hpp: a list in a message that may be long: its first elements, and how many more there are.
//
// SPDX-License-Identifier: MIT
// In:      elements one by one, or their number.
// Out:     "a, b, c, +4 more".
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct list_style {
    std::size_t most{3}; ///< elements that are shown
    std::string_view separator{", "};
    std::string_view before_rest{", +"}; ///< before and after the number of the others
    std::string_view after_rest{" more"};
};

/// Appends to a text whose elements the caller writes:
///
///     short_list list{out};
///     for (const std::string& name : names)
///         if (list.next()) out += quoted(name);
///     list.end();
class short_list {
  public:
    explicit short_list(std::string& out, const list_style& style = {}) noexcept : out_{out}, style_{style} {}

    /// Counts an element. True where the caller must append it; the separator is appended already.
    [[nodiscard]] bool next() {
        if (count_++ >= style_.most) return false;
        if (count_ > 1) out_ += style_.separator;
        return true;
    }
    /// Counts elements that are not shown.
    void skip(std::uint64_t n) noexcept { skipped_ += n; }
    /// Appends how many elements were not shown, if there are any: ", +4 more".
    void end();

  private:
    std::string& out_;
    list_style style_;
    std::uint64_t count_{0};
    std::uint64_t skipped_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/short_list.ipp>
#endif
