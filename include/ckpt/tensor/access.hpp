// ckpt/tensor/access.hpp: how the library reads the elements of a tensor.
//
// SPDX-License-Identifier: MIT
// In:      a geometry that was checked against its storage, and the storages of the file.
// Out:     a storage that is opened for one access; errors whose hint names a call that works.
// Refuses: tensors without elements of their own, conversions that do not exist, outputs far larger than the storage.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/index_table.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/strided.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// The checks of every access to elements. Fails with `no_data`, `not_strided` or the tensor's own refusal.
[[nodiscard]] result<void> check_access(const tensor_data* data, const storage_source* source);

[[nodiscard]] error not_contiguous();

[[nodiscard]] error lazy_bit_error(const tensor_data& data);

[[nodiscard]] error rank_error(const tensor_data& data, std::size_t rank);

class storage_readers;

/// A storage for one copy: its bytes in memory, or a way to read them.
struct storage_access {
    shared<counted> own_readers{}; ///< what `from` reads by, where it is not one of others
    storage_cursor from{};
    const std::byte* memory{};        ///< all bytes of the storage; null where they must be read
    std::vector<std::byte> staging{}; ///< a buffer for reads

    [[nodiscard]] result<void> gather_part(const box& part, std::size_t size, std::byte* out);
    [[nodiscard]] result<void> copy(std::uint64_t offset, std::span<std::byte> out) const;
    /// The size in bytes of the buffer through which the elements of a box are taken in parts: at most `part_bytes`,
    /// except where each part would inflate the storage again.
    [[nodiscard]] std::size_t part_size(const box& whole, std::size_t size) const noexcept;

  private:
    /// Of elements in memory, so that the meter moves.
    [[nodiscard]] result<void> gather_in_steps(const box& part, std::size_t size, std::byte* out) const;
};

/// The compressed storages that the reads of one thread have begun: the next read of one goes on where the last ended,
/// or at a place nearby, so that what is read in pieces inflates each of its storages once. What has the storages must
/// outlive it.
class storage_readers final : public counted {
  public:
    progress_meter* meter{nullptr}; ///< of the call that reads; null where nobody asks
    file_reads* files{nullptr};     ///< reads files that are mapped, too; null where their mappings are used

    /// A reader of a compressed storage, the same as last time.
    [[nodiscard]] result<shared<storage_reader>> open(const storage_source& source, std::uint32_t storage);
    /// Compares the storages that were begun with their checksums.
    [[nodiscard]] result<void> finish();

  private:
    static constexpr std::size_t most_ready = 8; ///< have buffers; others rest
    static constexpr std::size_t most = 128;     ///< keep a state of the inflater; others begin again
    struct known_storage {
        storage_cursor from{};
        std::uint64_t inflated{0}; ///< by readers that are no more
    };
    [[nodiscard]] result<void> make_room();

    std::vector<known_storage> known_{};
    growing_index_table table_{};
    std::vector<std::uint32_t> recent_{}; ///< those with a reader, the last used one last
};

/// Opens the storage of a tensor with elements, and checks again that the geometry fits. `inflate`: a compressed
/// storage may be read, too, by one of `readers`, or by one of its own; whoever has read what it needs calls
/// `from.finish()`.
[[nodiscard]] result<storage_access> open_storage(const tensor_data& data, const storage_source& source,
                                                  bool inflate = false, storage_readers* readers = nullptr);

/// The size in bytes of the buffer through which elements are converted or summed in pieces.
inline constexpr std::uint64_t part_bytes = std::uint64_t{1} << 17;
/// The same for elements that are read and then put to their places, in the order of their storage.
inline constexpr std::uint64_t stored_part_bytes = std::uint64_t{1} << 20;
/// The same for elements that do not lie in the order of their compressed storage: each part inflates all of it.
inline constexpr std::uint64_t unordered_part_bytes = std::uint64_t{1} << 24;

/// A buffer for rows that goes from one tensor to the next. It begins at a multiple of 64.
struct row_block {
    std::vector<std::byte> bytes{};

    [[nodiscard]] std::byte* of_size(std::size_t size) {
        constexpr std::size_t alignment = 64;
        if (bytes.size() < size + alignment) bytes.resize(size + alignment);
        const std::size_t over = reinterpret_cast<std::uintptr_t>(bytes.data()) % alignment;
        return bytes.data() + (alignment - over) % alignment;
    }
};

/// Unpacks the values of a type with less than 8 bits, one into each byte, and calls `f(values, first, count)` for
/// pieces of at most `most` values that follow each other in the storage. There is at least one value.
[[nodiscard]] result<void>
unpack_parts(const tensor_data& data, storage_access& access, std::uint64_t most,
             function_ref<void(const std::byte* values, std::uint64_t first, std::uint64_t count)> f);

/// Copies the values of a type with less than 8 bits, one into each byte. Fails with `packed` unless contiguous.
[[nodiscard]] result<void> copy_unpacked(const tensor_data& data, storage_access& access, std::byte* out);

/// Whether elements are copied without a conversion: `to` is their type, or the integer that it is stored as. A bool is
/// copied to uint8 without one only where `exact`, which means that conversions are not allowed.
[[nodiscard]] constexpr bool is_plain_copy(ckpt::dtype type, ckpt::dtype to, bool exact) noexcept {
    return type == to || (stored_integer(type) == to && !(type == ckpt::dtype::bool_ && !exact));
}

/// Whether all elements can be copied as type `to`; reads nothing. Fails with `dtype_mismatch` where `exact`, with
/// `conversion` otherwise, with `packed` or `lazy_bit`.
[[nodiscard]] result<void> check_copy(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                      bool exact);

/// Fails with `output_limit` where all values are more than 16 times as large as the storage: an expanded tensor may
/// have any shape.
[[nodiscard]] result<void> check_output(const tensor_data& data, const storage_source& source);

/// A copy may take 16 times the bytes of the storage that it reads, plus these.
inline constexpr std::uint64_t free_copy_bytes = std::uint64_t{64} << 20;

/// The bytes of a copy of all values as type `to`, of a tensor that passed `check_copy`. Fails with `output_limit`.
[[nodiscard]] result<std::size_t> copy_bytes(const tensor_data& data, const storage_source& source, ckpt::dtype to);

/// The first element of a tensor in memory, for a view of `as` and `rank`; null where there are no elements.
[[nodiscard]] result<const std::byte*> view_address(const tensor_data* handle, const storage_source* source,
                                                    ckpt::dtype as, std::size_t rank);

/// Why there is no pointer to the elements: the file is read, or the tensor is the result of a gather.
[[nodiscard]] error not_in_memory(const tensor_data& data, const storage_source& source);

[[nodiscard]] error misaligned_error(ckpt::dtype type, std::size_t alignment);

} // namespace detail

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/access.ipp>
#endif
