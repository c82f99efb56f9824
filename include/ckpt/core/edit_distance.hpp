// ckpt/core/edit_distance.hpp: how far apart two texts are.
//
// SPDX-License-Identifier: MIT
// In:      what somebody wrote, and what exists.
// Out:     the number of letters to add, to remove or to change.
// Refuses: nothing. Work is bounded: of long texts the ends are compared.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr std::size_t compared_bytes = 64;
/// Levenshtein distance of the last `compared_bytes` of each text.
[[nodiscard]] std::uint32_t edit_distance(std::string_view a, std::string_view b) noexcept;

/// The one of several names that somebody probably meant: offered one by one, at most 20,000 of them.
class nearest_name {
  public:
    explicit nearest_name(std::string_view wanted) noexcept : wanted_{wanted} {}

    /// False where further names are not looked at any more.
    bool offer(std::string_view name);
    /// Empty where less than half of the letters agree.
    [[nodiscard]] const std::string& best() const noexcept { return best_; }

  private:
    std::string_view wanted_;
    std::string best_{};
    std::size_t distance_{compared_bytes};
    std::size_t offered_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/edit_distance.ipp>
#endif
