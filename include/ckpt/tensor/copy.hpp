// ckpt/tensor/copy.hpp: a copy of a tensor's values, which owns its memory.
//
// SPDX-License-Identifier: MIT
// In:      a tensor of a checkpoint, or the result of a gather; an element type and a number of dimensions.
// Out:     `tensor_copy`: row-major values, aligned to 64 bytes, in this machine's byte order, converted where asked.
// Refuses: another type, unless conversions are asked for; another number of dimensions; a copy that is far larger than
//          the storage: an expanded tensor may have any shape.
#pragma once

#include <ckpt/core/fixed_string.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/tensor/tensor.hpp>
#include <ckpt/tensor/view.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

void set_dense_strides(std::span<const std::int64_t>, bool, std::int64_t*) noexcept; // tensor/geometry.hpp

/// Owns bytes that begin at a multiple of 64.
class aligned_memory {
  public:
    static constexpr std::size_t alignment = 64;

    aligned_memory() noexcept = default;
    explicit aligned_memory(std::size_t size)
        : data_{size != 0 ? static_cast<std::byte*>(::operator new(size, std::align_val_t{alignment})) : nullptr} {}
    aligned_memory(aligned_memory&& other) noexcept : data_{std::exchange(other.data_, nullptr)} {}
    aligned_memory& operator=(aligned_memory&& other) noexcept;
    ~aligned_memory() { release(); }

    [[nodiscard]] std::byte* data() const noexcept { return data_; }

  private:
    void release() noexcept {
        if (data_ != nullptr) ::operator delete(data_, std::align_val_t{alignment});
    }
    std::byte* data_{nullptr};
};

/// Whether a tensor can be copied as `to` with `rank` dimensions; returns the bytes of the copy. Reads nothing.
[[nodiscard]] result<std::size_t> check_owned_copy(const tensor& from, ckpt::dtype to, std::size_t rank, bool convert);

/// Copies the values of a tensor that passed `check_owned_copy`. `readers`: as of `copy_tensor`.
[[nodiscard]] result<aligned_memory> make_owned_copy(const tensor& from, ckpt::dtype to, bool convert,
                                                     std::size_t bytes, storage_readers* readers = nullptr);

struct copy_access;

} // namespace detail

/// A copy of a tensor's values in row-major order, in memory of its own that is aligned to 64 bytes. It has the
/// interface of `tensor_view`, allows bool, and does not need the checkpoint any more. Move-only.
template <class T, std::size_t Rank> class tensor_copy {
    CKPT_DETAIL_REQUIRE(
        "ckpt: this is no element type of a tensor (dtype_of does not know it): use bool, float, double, "
        "std::int8_t to std::uint64_t, ckpt::f16, ckpt::bf16, ckpt::f8_*, ckpt::c64 and their kin, "
        "or specialise ckpt::dtype_of",
        element<T>);

  public:
    dimensions<Rank> shape{}; ///< sizes, as PyTorch prints them; to be read, not written

    /// Holds nothing; all sizes are 0.
    tensor_copy() noexcept = default;
    tensor_copy(tensor_copy&& other) noexcept
        : shape{std::exchange(other.shape, {})},
          memory_{std::move(other.memory_)},
          numel_{std::exchange(other.numel_, 0)} {}
    tensor_copy& operator=(tensor_copy&& other) noexcept {
        shape = std::exchange(other.shape, {});
        memory_ = std::move(other.memory_);
        numel_ = std::exchange(other.numel_, 0);
        return *this;
    }
    ~tensor_copy() = default;

    /// Copies the values of a tensor of `Rank` dimensions. `convert`: of another type, too, as `tensor::copy_as` does.
    /// Fails as `copy_to` (or `copy_as`) does, with `rank_mismatch`, and with `output_limit` for a copy of more than 16
    /// times the storage's bytes plus 64 MiB.
    [[nodiscard]] static result<tensor_copy> of(const tensor& from, bool convert = false) {
        const auto bytes = detail::check_owned_copy(from, dtype_of<T>::value, Rank, convert);
        if (!bytes) return bytes.error();
        auto memory = detail::make_owned_copy(from, dtype_of<T>::value, convert, *bytes);
        if (!memory) return std::move(memory).failure();
        return tensor_copy{from, *std::move(memory)};
    }

    /// The element at `index`, one number for each dimension, each in [0, shape[i]); not checked.
    template <std::integral... Index>
        requires(sizeof...(Index) == Rank)
    [[nodiscard]] T& operator()(Index... index) noexcept {
        return values()[place(static_cast<std::int64_t>(index)...)];
    }
    template <std::integral... Index>
        requires(sizeof...(Index) == Rank)
    [[nodiscard]] const T& operator()(Index... index) const noexcept {
        return values()[place(static_cast<std::int64_t>(index)...)];
    }

    [[nodiscard]] std::int64_t numel() const noexcept { return static_cast<std::int64_t>(numel_); }
    /// All elements, the last index fastest. Borrows from the copy.
    [[nodiscard]] std::span<T> span() & noexcept CKPT_DETAIL_BORROWED { return {values(), numel_}; }
    [[nodiscard]] std::span<const T> span() const& noexcept CKPT_DETAIL_BORROWED { return {values(), numel_}; }
    std::span<T> span() && = delete; // the memory goes with the copy: name the tensor_copy first

    /// A view of the elements; it borrows from the copy.
    [[nodiscard]] tensor_view<T, Rank> view() const& noexcept CKPT_DETAIL_BORROWED
        requires(!std::same_as<T, bool>)
    {
        tensor_view<T, Rank> out{};
        out.data = values();
        out.shape = shape;
        detail::set_dense_strides(shape, false, out.strides.data());
        return out;
    }
    void view() && = delete; // the memory goes with the copy: name the tensor_copy first

  private:
    friend struct detail::copy_access;
    static_assert(alignof(T) <= detail::aligned_memory::alignment);

    tensor_copy(const tensor& from, detail::aligned_memory memory) noexcept
        : memory_{std::move(memory)}, numel_{static_cast<std::size_t>(from.numel())} {
        for (std::size_t i = 0; i != Rank; ++i) shape[i] = from.shape()[i];
    }
    template <class... Index> [[nodiscard]] std::size_t place(Index... index) const noexcept {
        [[maybe_unused]] std::size_t dimension = 0;
        std::int64_t at = 0;
        ((at = at * shape[dimension++] + index), ...);
        return static_cast<std::size_t>(at);
    }
    [[nodiscard]] T* values() const noexcept { return reinterpret_cast<T*>(memory_.data()); }

    detail::aligned_memory memory_{};
    std::size_t numel_{0};
};

namespace detail {

/// For loads: makes copies from memory that is filled already.
struct copy_access {
    template <class T, std::size_t Rank>
    [[nodiscard]] static tensor_copy<T, Rank> make(const tensor& from, aligned_memory memory) noexcept {
        return {from, std::move(memory)};
    }
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/copy.ipp>
#endif
