// ckpt/archive/inflate.hpp: inflates deflated records piece by piece, by the caller's `inflater`.
//
// SPDX-License-Identifier: MIT
// In:      a record, and an `inflater`.
// Out:     its content in order, checked against its CRC. The memory for it does not depend on sizes.
// Refuses: other methods than deflate (rule Z8 of docs/errors.md); before it allocates, a size that so few deflated
//          bytes cannot become; content that is not exactly as long as the directory says.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/archive/record.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The offset of a deflated record's data, of which it reads and checks the local header only. Fails with `compressed`
/// for another method or without an inflater, and with `limit` for a size that the data cannot become.
[[nodiscard]] result<std::uint64_t> locate_deflated(const source& from, const record& r, const inflater& inflate);

/// Inflates one record from its first byte to its last. The source, the record and the inflater must outlive it.
class inflate_stream {
  public:
    /// The record's data begin at `at`, as `locate_deflated` found.
    inflate_stream(const source& from, const record& r, std::uint64_t at, const inflater& inflate)
        : from_{from}, record_{r}, at_{at}, inflate_{inflate} {}
    inflate_stream(const inflate_stream&) = delete;
    inflate_stream& operator=(const inflate_stream&) = delete;
    ~inflate_stream() { close(); }

    /// Bytes that were read or skipped.
    [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
    /// Reads the next bytes; no more than are left. With the record's last byte it checks that the data end there, and
    /// the CRC, unless it is 0 (the writer computed none). Fails with `checksum_mismatch`.
    [[nodiscard]] result<void> read(std::span<std::byte> out);
    /// Goes on to a later position.
    [[nodiscard]] result<void> skip_to(std::uint64_t position);
    /// Goes on to the end, unless that was checked before.
    [[nodiscard]] result<void> finish();
    /// Goes back to the first byte.
    void rewind() noexcept;

  private:
    [[nodiscard]] result<void> fill(std::span<std::byte> out);
    [[nodiscard]] result<void> check_end();
    [[nodiscard]] error wrong_length() const;
    void close() noexcept;

    const source& from_;
    const record& record_;
    std::uint64_t at_;
    const inflater& inflate_;
    void* state_{nullptr};
    std::uint64_t position_{0};
    std::uint64_t taken_{0}; // deflated bytes that were read from the source
    std::uint32_t crc_{0};
    bool ended_{false};
    bool checked_{false};
    std::span<const std::byte> in_{}; // in `deflated_`, not yet inflated
    std::vector<std::byte> deflated_{};
    std::vector<std::byte> skipped_{};
};

/// The content of a record, stored or deflated, in memory of the arena; its CRC is checked. A deflated one may have
/// `most` bytes at most.
[[nodiscard]] result<std::span<const std::byte>>
read_content(const source& from, const record& r, const inflater& inflate, std::uint64_t most, arena& memory);

/// The content of a record that will be parsed, within `pickle_bytes` and `inflated_per_byte` of `budget`.
[[nodiscard]] result<std::span<const std::byte>> read_parsed(const source& from, const record& r, const limits& budget,
                                                             const inflater& inflate, arena& memory);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/inflate.ipp>
#endif
