// ckpt/torch/global_scan.hpp: the list of globals that a file names.
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

/// One global that a file names. Owns its texts.
struct global_use {
    std::string module{};           ///< as written in the file
    std::string name{};             ///< as written in the file
    std::string canonical_module{}; ///< in present spelling: "numpy._core" for "numpy.core"
    std::string canonical_name{};   ///< in present spelling
    std::uint64_t count{};          ///< the number of opcodes that name it
    std::uint64_t offset{};         ///< of the first of these opcodes, in the file
    ckpt::verdict verdict{};        ///< of the policy that was given to the scan
    std::string path{};             ///< where in the object it is used first: "optimizer/state"; text for people
};

/// The globals of one file, in the order in which they first occur. Owns them.
class global_scan {
  public:
    /// An empty list, for a file that names no globals.
    global_scan() noexcept = default;

    [[nodiscard]] auto begin() const noexcept { return uses_.begin(); }
    [[nodiscard]] auto end() const noexcept { return uses_.end(); }
    [[nodiscard]] std::size_t size() const noexcept { return uses_.size(); }
    [[nodiscard]] bool empty() const noexcept { return uses_.empty(); }
    [[nodiscard]] const global_use& operator[](std::size_t i) const noexcept { return uses_[i]; }
    /// The error that ended the scan early; null where all pickles were read. Valid as long as this object.
    [[nodiscard]] const ckpt::error* stopped() const noexcept { return stopped_ ? &*stopped_ : nullptr; }

  private:
    friend class detail::global_scanner;
    global_scan(std::vector<global_use> uses, std::optional<ckpt::error> stopped)
        : uses_{std::move(uses)}, stopped_{std::move(stopped)} {}

    std::vector<global_use> uses_{};
    std::optional<ckpt::error> stopped_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
