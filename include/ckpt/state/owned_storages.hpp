// ckpt/state/owned_storages.hpp: copies of the storages that a state_dict needs, in memory of its own.
//
// SPDX-License-Identifier: MIT
// In:      the tensors of a state_dict; threads that read.
// Out:     their storages, each read once, aligned to 64 bytes, in this machine's byte order; and tensors over them.
// Refuses: nothing as a whole: a storage that cannot be read fails where its bytes are asked for. One in the other byte
//          order whose tensors disagree on the size of a number stays as it is: its views fail with `byte_order`,
//          copies work.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/crew.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/io/pages.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class owned_storages final : public storage_source {
  public:
    owned_storages() = default;
    ~owned_storages() override;

    /// Reads the storages behind `tensors` and replaces each pointer by one to a tensor over the copy.
    [[nodiscard]] static shared<owned_storages> read(const storage_source& from, std::span<const tensor_data*> tensors,
                                                     const workers& lent);

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        return entries_[storage].nbytes;
    }
    [[nodiscard]] byte_order order(std::uint32_t storage) const noexcept override { return entries_[storage].order; }
    [[nodiscard]] std::string_view key(std::uint32_t storage) const noexcept override { return entries_[storage].key; }
    [[nodiscard]] std::string_view file(std::uint32_t storage) const noexcept override {
        return entries_[storage].file;
    }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t) const override {
        return error{.code = errc::no_data, .detail = "the storage is a copy in memory, without a place in the file"};
    }
    [[nodiscard]] CKPT_DETAIL_DEF result<std::span<const std::byte>> bytes(std::uint32_t storage) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<void> read(std::uint32_t storage, std::uint64_t offset,
                                                    std::span<std::byte> out) const override;

  private:
    struct entry {
        std::string key{};
        std::string file{};
        std::span<std::byte> bytes{};
        std::uint64_t nbytes{};
        byte_order order{};
        std::optional<error> failure{}; // of reading it; the other storages are not concerned
    };
    /// A storage of the file while all are numbered.
    struct source_storage {
        std::uint32_t there{};
        std::uint32_t here{};
        std::uint8_t unit{unknown}; // the bytes of one number, for swapping
    };
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    static constexpr std::uint8_t unknown = 0;
    static constexpr std::uint8_t mixed = 0xFF;

    /// Finds the room of each storage, and what is to be read into it. `wanted` has the storages in their order there.
    [[nodiscard]] plain_list<crew_piece> place(const storage_source& from, std::span<const source_storage> wanted);

    /// Reads a piece, in this machine's byte order where all tensors of its storage agree on the unit.
    [[nodiscard]] result<void> copy(const storage_source& from, const source_storage& s, const crew_piece& piece);

    pages block_{}; // of all storages but those of which the file only claims how large they are
    arena memory_{};
    std::vector<entry> entries_{};
    chunked_array<tensor_data> tensors_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/owned_storages.ipp>
#endif
