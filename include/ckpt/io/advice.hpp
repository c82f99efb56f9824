// ckpt/io/advice.hpp: what of which files will be read soon, for the system.
//
// SPDX-License-Identifier: MIT
// In:      ranges of sources, in any order, which may overlap.
// Out:     few ranges of whole blocks, in the order of the files; how many bytes the system was told of.
// Refuses: nothing: memory of the caller's is left out, and so is what the system takes no advice about.
#pragma once

#include <ckpt/io/source.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Bytes [begin, end) of a file.
struct advised_range {
    std::uint32_t file{};
    std::uint64_t begin{};
    std::uint64_t end{};
};

/// What systems read at once. Where pages are larger, so is what they read.
inline constexpr std::uint64_t advised_block = 4096;

/// The ranges in whole blocks, sorted; what touches or overlaps is one.
[[nodiscard]] std::vector<advised_range> merge_ranges(std::vector<advised_range> ranges);

/// Collects ranges, then tells the system of them.
class advice {
  public:
    /// The range lies in the source, which must outlive the call of `give`.
    void add(const source& from, std::uint64_t begin, std::uint64_t end);

    struct given {
        std::uint64_t bytes{0};
        std::uint64_t ranges{0};
    };
    [[nodiscard]] given give() const;

  private:
    [[nodiscard]] static std::uint64_t give(const source& from, std::uint64_t begin, std::uint64_t end);

    std::vector<const source*> files_{};
    std::vector<advised_range> ranges_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/advice.ipp>
#endif
