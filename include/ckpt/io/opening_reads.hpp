// ckpt/io/opening_reads.hpp: fewer system calls while a file is opened.
//
// SPDX-License-Identifier: MIT
// In:      a source that one thread opens.
// Out:     the same bytes from `source::read`, small reads out of pages that were read before.
// Refuses: nothing of its own.
//
// To open a file that torch.save wrote takes 15 reads, most of them of a few bytes that lie beside one another. A
// system call costs half a microsecond, as much as three tensors.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/io/source.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// While it lives, `read` of a source gives bytes that were read already. Only the thread that made it may read the
/// source then.
class opening_reads {
  public:
    explicit opening_reads(shared<source> of) noexcept;
    opening_reads(const opening_reads&) = delete;
    opening_reads& operator=(const opening_reads&) = delete;
    ~opening_reads();

    [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> out);
    /// Takes reads out of `bytes`, too, which were read at `offset` and outlive this object.
    void keep(std::uint64_t offset, std::span<const std::byte> bytes) noexcept { kept_ = {offset, bytes}; }

  private:
    struct stretch {
        std::uint64_t begin{0};
        std::span<const std::byte> bytes{};

        [[nodiscard]] bool give(std::uint64_t offset, std::span<std::byte> out) const noexcept;
    };

    shared<source> of_;
    std::array<std::array<std::byte, 4096 + 512>, 2> pages_; // two: the first page is needed again after the others
    std::array<stretch, 2> held_{};
    std::size_t next_{0};
    stretch kept_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/opening_reads.ipp>
#endif
