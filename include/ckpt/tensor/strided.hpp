// ckpt/tensor/strided.hpp: strided copies, from memory and by positioned reads.
//
// SPDX-License-Identifier: MIT
// In:      a geometry that was checked against its storage, and the storage's bytes or a way to read them.
// Out:     the stored elements in row-major order, whole or in parts of a bounded size.
// Refuses: nothing of its own; a failed read is passed on.
//
// Everything is plain code over bytes: memcpy makes alignment irrelevant, and sizes come from the dtype.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/tensor/odometer.hpp>
#include <ckpt/tensor/storage.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The elements of a tensor, in elements, without dimensions of size 1, and with adjacent dimensions merged where they
/// are contiguous to each other: shape [2, 3] with strides [3, 1] is one dimension of 6. Sizes are 2 or more, so 64
/// bits of elements have at most 63 dimensions. There is at least one element.
struct box {
    std::uint64_t offset{}; ///< of the first element in the storage
    std::uint32_t rank{};
    std::array<std::uint64_t, 64> sizes{};
    std::array<std::uint64_t, 64> strides{};
};

/// False where numbers overflow or a size is 0, which a checked geometry with elements does not have.
[[nodiscard]] bool make_box(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides,
                            std::uint64_t offset, box& out) noexcept;

/// Elements from the start of the storage to the end of the last one; false where that overflows.
[[nodiscard]] bool reach(const box& b, std::uint64_t& out) noexcept;

[[nodiscard]] inline bool is_dense(const box& b) noexcept { return b.rank == 0 || (b.rank == 1 && b.strides[0] == 1); }

/// The number of elements. Does not check for overflow.
[[nodiscard]] std::uint64_t count(const box& b) noexcept;

/// Calls `f(part, first, count)` for parts of at most `most` elements, in row-major order, until one fails.
[[nodiscard]] result<void>
for_each_part(const box& whole, std::uint64_t most,
              function_ref<result<void>(const box&, std::uint64_t first, std::uint64_t count)> f);

/// Copies `n` elements of `Size` bytes; both steps are in bytes.
template <std::size_t Size>
inline void copy_run(const std::byte* in, std::uint64_t in_step, std::byte* out, std::uint64_t out_step,
                     std::uint64_t n) noexcept {
    for (std::uint64_t i = 0; i < n; ++i) std::memcpy(out + i * out_step, in + i * in_step, Size);
}

void copy_run(std::size_t size, const std::byte* in, std::uint64_t in_step, std::byte* out, std::uint64_t out_step,
              std::uint64_t n) noexcept;

/// One dimension of a copy: its size, and the strides of source and destination in elements.
struct copy_axis {
    std::uint64_t size{};
    std::uint64_t in{};
    std::uint64_t out{};
};

/// Axes without those of one step, and with adjacent ones merged where they are one in source and destination.
struct merged_axes {
    std::array<copy_axis, 64> axis;
    std::size_t count{0};
};
void merge_axes(std::span<const copy_axis> axes, merged_axes& out) noexcept;

/// Copies along `axes`, the last one innermost; `in` and `out` are the elements with all indices 0. `whole_bytes`: of
/// the copy that this is a part of, where there is one; much goes around the cache.
void copy_axes(std::span<const copy_axis> axes, std::size_t size, const std::byte* in, std::byte* out,
               std::uint64_t whole_bytes = 0) noexcept;

/// The axes of a copy of `b` into row-major order, in the order of the dimensions.
[[nodiscard]] std::array<copy_axis, 64> axes_of(const box& b) noexcept;

/// Copies the elements of `b` from a storage in memory to `out`, in row-major order.
void gather(const std::byte* storage, const box& b, std::size_t size, std::byte* out) noexcept;

inline constexpr std::size_t staging_bytes = std::size_t{1} << 19;
inline constexpr std::uint64_t worthwhile_gap = 1024; // in bytes: smaller gaps are read, too, because a read costs more

/// The same by positioned reads into `staging`, for storages that are not in memory. Reads in the order of the storage,
/// so that a transposed tensor is read once.
result<void> gather(const storage_cursor& from, const box& b, std::size_t size, std::byte* out,
                    std::vector<std::byte>& staging);

/// Whether row-major order is, but for the gaps, the order of the storage.
[[nodiscard]] bool goes_forward(const box& b) noexcept;

/// The axes of a copy of `b` into row-major order, in the order of the storage: the largest steps there first.
[[nodiscard]] std::array<copy_axis, 64> stored_axes(const box& b) noexcept;

/// A part of a box whose elements follow each other in the order of the storage.
struct stored_part {
    box elements{};                    ///< in that order, adjacent dimensions merged
    std::span<const copy_axis> axes{}; ///< from dense elements in that order to row-major places of the whole
    std::uint64_t first{};             ///< the row-major place of its first element
    std::uint64_t count{};
    /// Whether its elements follow each other in row-major order, too.
    [[nodiscard]] bool is_in_place() const noexcept;
    /// The row-major place of its element `n`.
    [[nodiscard]] std::uint64_t place(std::uint64_t n) const noexcept;
};

/// Calls `f` for parts of at most `most` elements, in the order of the storage, until one fails.
[[nodiscard]] result<void> for_each_stored_part(const box& whole, std::uint64_t most,
                                                function_ref<result<void>(const stored_part&)> f);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/strided.ipp>
#endif
