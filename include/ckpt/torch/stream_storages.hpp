// ckpt/torch/stream_storages.hpp: storages of a file that is not an archive.
//
// SPDX-License-Identifier: MIT
// In:      ranges of the source, which its reader has checked; bytes that lie in a pickle.
// Out:     a number for each storage, and their bytes: mapped in place, or by positioned reads.
// Refuses: nothing.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/tensor/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Makes storages from ranges of a stream, which is a file or bytes of a pickle.
class stream_maker : public storage_maker {
  public:
    /// Makes a storage. The range must lie in the stream, and the key must live as long as the graph.
    [[nodiscard]] virtual std::uint32_t place(std::string_view key, std::uint64_t offset, std::uint64_t nbytes) = 0;
    [[nodiscard]] errc find(std::string_view, std::uint32_t&) final { return errc::record_missing; }
};

class stream_storages final : public storage_source, public stream_maker {
  public:
    /// Both must outlive the storages.
    stream_storages(const source& from, arena& memory) noexcept : from_{from}, memory_{memory} {}

    // storage_maker, while resolving
    [[nodiscard]] CKPT_DETAIL_DEF std::uint32_t place(std::string_view key, std::uint64_t offset,
                                                      std::uint64_t nbytes) override;

    [[nodiscard]] CKPT_DETAIL_DEF std::uint32_t add(std::span<const std::byte> bytes, byte_order order,
                                                    std::uint64_t offset) override;

    // storage_source, afterwards
    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        return entries_[storage].nbytes;
    }
    [[nodiscard]] byte_order order(std::uint32_t storage) const noexcept override { return entries_[storage].order; }
    [[nodiscard]] std::string_view key(std::uint32_t storage) const noexcept override { return entries_[storage].key; }
    [[nodiscard]] CKPT_DETAIL_DEF result<std::uint64_t> file_offset(std::uint32_t storage) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<stored_place> place_of(std::uint32_t storage) const override;
    CKPT_DETAIL_DEF void find_touched(std::uint32_t storage, std::uint64_t begin, std::uint64_t end,
                                      range_visitor visit) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<std::span<const std::byte>> bytes(std::uint32_t storage) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<void> read(std::uint32_t storage, std::uint64_t offset,
                                                    std::span<std::byte> out) const override;

  private:
    struct entry {
        std::string_view key{};
        const std::byte* memory{nullptr}; // null: in the file
        std::uint64_t nbytes{0};
        std::uint64_t offset{no_offset}; // in the source; for bytes in memory in the whole file, or none
        byte_order order{byte_order::little};
    };

    const source& from_;
    arena& memory_;
    chunked_array<entry> entries_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/stream_storages.ipp>
#endif
