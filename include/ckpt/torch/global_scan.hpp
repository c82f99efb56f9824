// ckpt/torch/global_scan.hpp: which globals a file asks for.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/pickle/globals.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class global_scanner; // torch/scan.hpp

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One name that a file asks for.
struct global_use {
    std::string module{};           ///< as written
    std::string name{};             ///< as written
    std::string canonical_module{}; ///< in present spelling; equal to `module` for most
    std::string canonical_name{};
    std::uint64_t count{};   ///< how often it is named
    std::uint64_t offset{};  ///< of the first GLOBAL, in the file
    ckpt::verdict verdict{}; ///< of the policy that was asked about
    std::string path{};      ///< where in the object, as text
};

/// The names of one file, in the order in which they first occur.
class global_scan {
  public:
    /// Of a file that asks for no globals.
    global_scan() noexcept = default;

    [[nodiscard]] auto begin() const noexcept { return uses_.begin(); }
    [[nodiscard]] auto end() const noexcept { return uses_.end(); }
    [[nodiscard]] std::size_t size() const noexcept { return uses_.size(); }
    [[nodiscard]] bool empty() const noexcept { return uses_.empty(); }
    [[nodiscard]] const global_use& operator[](std::size_t i) const noexcept { return uses_[i]; }
    /// The damage that ended the scan early; null where the whole pickle was read.
    [[nodiscard]] const ckpt::error* stopped() const noexcept { return stopped_ ? &*stopped_ : nullptr; }

  private:
    friend class detail::global_scanner;
    global_scan(std::vector<global_use> uses, std::optional<ckpt::error> stopped)
        : uses_{std::move(uses)}, stopped_{std::move(stopped)} {}

    std::vector<global_use> uses_{};
    std::optional<ckpt::error> stopped_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
