// ckpt/tensor/access.hpp: how the library reads the elements of a tensor.
//
// SPDX-License-Identifier: MIT
// In:      a geometry that was checked against its storage, and the storages of the file.
// Out:     a storage that is opened for one access; errors that say what works instead.
// Refuses: what has no elements of its own, types that cannot be converted, outputs out of proportion to the storage.
#pragma once

#include <ckpt/core/result.hpp>
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

/// What is common to every access to elements.
[[nodiscard]] result<void> check_access(const tensor_data* data, const storage_source* source);

[[nodiscard]] error not_contiguous();

[[nodiscard]] error lazy_bit_error(const tensor_data& data);

[[nodiscard]] error rank_error(const tensor_data& data, std::size_t rank);

/// A storage as a copy sees it: all its bytes, or, where they are not in memory, a way to read them.
struct storage_access {
    const storage_source* source{};
    std::uint32_t storage{};
    const std::byte* memory{};        ///< null: by reads
    std::vector<std::byte> staging{}; ///< of reads; or what `memory` points to

    [[nodiscard]] result<void> gather_part(const box& part, std::size_t size, std::byte* out);
    [[nodiscard]] result<void> copy(std::uint64_t offset, std::span<std::byte> out) const;
};

/// Opens the storage of a tensor with elements. That its geometry fits was checked when it was made, and is again here.
/// `inflate`: for one copy of it; a compressed storage is then inflated once, into memory of the access.
[[nodiscard]] result<storage_access> open_storage(const tensor_data& data, const storage_source& source,
                                                  bool inflate = false);

/// Bytes that are in memory at once while elements are converted or summed, beside the staging of reads.
inline constexpr std::uint64_t part_bytes = std::uint64_t{1} << 17;

/// Calls `f(values, first, count)` with the values of a packed type of less than 8 bits, one in a byte, in parts of at
/// most `most`. The tensor is contiguous.
template <class F>
[[nodiscard]] inline result<void> unpack_parts(const tensor_data& data, storage_access& access, std::uint64_t most,
                                               F&& f) {
    const std::size_t width = bits(data.type);
    const std::uint64_t per_byte = 8 / width;
    std::vector<std::byte> buffer(static_cast<std::size_t>(bytes_of(data.type, most) + 1));
    std::vector<std::byte> values(static_cast<std::size_t>(most));
    for (std::uint64_t done = 0; done < data.numel;) {
        const std::uint64_t first = data.storage_offset + done;
        const std::uint64_t skip = first % per_byte;
        const std::uint64_t n = data.numel - done < most ? data.numel - done : most;
        auto read =
            access.copy(first / per_byte, {buffer.data(), static_cast<std::size_t>(bytes_of(data.type, skip + n))});
        if (!read) return read;
        unpack(width, buffer.data(), skip, n, values.data());
        f(static_cast<const std::byte*>(values.data()), done, n);
        done += n;
    }
    return {};
}

/// The values of a packed type with less than 8 bits, one in a byte.
[[nodiscard]] result<void> copy_unpacked(const tensor_data& data, storage_access& access, std::byte* out);

/// Whether the elements are copied as they are: `to` is their type, or what it is stored as. `exact`: no conversions.
[[nodiscard]] constexpr bool is_plain_copy(ckpt::dtype type, ckpt::dtype to, bool exact) noexcept {
    return type == to || (stored_integer(type) == to && !(type == ckpt::dtype::bool_ && !exact));
}

/// What a copy of all elements as type `to` asks of a tensor; nothing is read.
[[nodiscard]] result<void> check_copy(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                      bool exact);

/// Whether reading all values is in proportion to what is stored: an expanded tensor may claim any shape.
[[nodiscard]] result<void> check_output(const tensor_data& data, const storage_source& source);

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
