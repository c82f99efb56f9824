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
#include <string_view>
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

/// What a scan says of a file as a whole, the better first.
enum class file_verdict : std::uint8_t {
    clean,      ///< all pickles were read, and every name is in the policy
    foreign,    ///< a name is not in the policy
    unreadable, ///< damage, encryption or a limit ended the scan: names may be missing
    dangerous,  ///< a name can only be an attack, wherever the scan ended
};

/// "clean", "foreign", "unreadable" or "dangerous".
[[nodiscard]] constexpr std::string_view name(file_verdict v) noexcept {
    switch (v) {
    case file_verdict::clean: return "clean";
    case file_verdict::foreign: return "foreign";
    case file_verdict::unreadable: return "unreadable";
    case file_verdict::dangerous: return "dangerous";
    }
    return "unreadable";
}

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
    /// What the scan says of the file. Only `clean` means that all of it was read and every name is in the policy: a
    /// list without names may be that of a damaged file.
    [[nodiscard]] file_verdict verdict() const noexcept {
        auto worst = stopped_ ? file_verdict::unreadable : file_verdict::clean;
        for (const global_use& u : uses_) {
            if (u.verdict == ckpt::verdict::dangerous) return file_verdict::dangerous;
            if (u.verdict == ckpt::verdict::refuse && !stopped_) worst = file_verdict::foreign;
        }
        return worst;
    }
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
