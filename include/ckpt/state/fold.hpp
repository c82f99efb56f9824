// ckpt/state/fold.hpp: long lists of keys as people read them.
//
// SPDX-License-Identifier: MIT
// In:      keys, in any order.
// Out:     lines such as `blocks.{0..31}.attn.{q,k,v}.weight (96)`, in the order of the first key of each.
// Refuses: nothing. Keys past the first ten thousand are only counted.
//
// One position after another, from the right: keys that differ in nothing but a number there become one, and then those
// that differ in nothing but one of a few names.
#pragma once

#include <ckpt/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Text from a file on a line of a report: printable, the middle left out where it is very long.
[[nodiscard]] std::string report_text(std::string_view text);

class key_folding {
  public:
    explicit key_folding(std::span<const std::string> keys);

    /// Appends a line for each group, at most `most`, each after `indent`.
    void append_to(std::string& out, std::string_view indent, std::size_t most) const;

  private:
    static constexpr std::size_t most_keys = 10'000;
    static constexpr std::size_t most_segments = 16; // longer keys are shown as they are
    static constexpr std::size_t most_names = 8;     // of one position

    struct row {
        std::vector<std::string> segments{};
        std::size_t first{}; ///< place of its first key
        std::size_t count{1};
    };

    [[nodiscard]] static row split(std::string_view key, std::size_t place);
    [[nodiscard]] static bool is_number(std::string_view s) noexcept;
    [[nodiscard]] static std::uint32_t number(std::string_view s) noexcept;
    [[nodiscard]] static std::string ranges(std::vector<std::uint32_t> numbers);

    /// Makes one row of rows that agree everywhere but at `at`, where all have numbers, or all have names.
    void merge(std::size_t at, bool numbers);

    std::vector<row> rows_{};
    std::size_t unseen_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/fold.ipp>
#endif
