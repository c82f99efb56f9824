// ckpt/tensor/view.hpp: a typed, strided, read-only view.
//
// SPDX-License-Identifier: MIT
// In:      elements of a checkpoint, checked when the view was made.
// Out:     `w(row, column)`, shape, strides; a span where the elements lie one after another.
// Refuses: bool and what is no element type, at compile time. Indices are not checked.
#pragma once

#include <ckpt/core/fixed_string.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/tensor/half.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// The sizes or strides of a view: an array, and callable, as `tensor::shape()` is: `w.shape[0]` and `w.shape()[0]`.
template <std::size_t Rank> struct dimensions : std::array<std::int64_t, Rank> {
    [[nodiscard]] constexpr std::array<std::int64_t, Rank> operator()() const noexcept { return *this; }
};

/// A typed, strided, read-only view of a tensor's elements. It borrows them: it is valid as long as the checkpoint,
/// state_dict or `tensor_copy` that it came from.
template <class T, std::size_t Rank> struct tensor_view {
    CKPT_DETAIL_REQUIRE("ckpt: there is no view of bool, because a stored byte may be neither 0 nor 1: "
                        "use std::uint8_t, or copy_to with bool",
                        !std::same_as<T, bool>);
    CKPT_DETAIL_REQUIRE("ckpt: this is no element type of a tensor (dtype_of does not know it): use float, double, "
                        "std::int8_t to std::uint64_t, ckpt::f16, ckpt::bf16, ckpt::f8_*, ckpt::c64 and their kin, "
                        "or specialise ckpt::dtype_of",
                        element<T>);

    const T* data{nullptr};     ///< the element whose indices are all 0; null without elements
    dimensions<Rank> shape{};   ///< sizes, as PyTorch prints them
    dimensions<Rank> strides{}; ///< in elements, never negative

    /// The element at `index`, one number for each dimension, each in [0, shape[i]); not checked.
    template <std::integral... Index>
        requires(sizeof...(Index) == Rank)
    [[nodiscard]] constexpr const T& operator()(Index... index) const noexcept {
        [[maybe_unused]] std::size_t dimension = 0;
        std::int64_t at = 0;
        ((at += static_cast<std::int64_t>(index) * strides[dimension++]), ...);
        return data[at];
    }

    [[nodiscard]] constexpr std::int64_t numel() const noexcept {
        std::int64_t out = 1;
        for (const std::int64_t size : shape) {
            if (size == 0) return 0;
            out = at_most_all(out, size);
        }
        return out;
    }

    /// Whether the elements lie one after another, the last index fastest.
    [[nodiscard]] constexpr bool is_contiguous() const noexcept {
        std::int64_t expected = 1;
        bool out = true;
        for (std::size_t i = Rank; i-- > 0;) {
            if (shape[i] == 0) return true;
            if (shape[i] == 1) continue;
            out = out && strides[i] == expected;
            expected = at_most_all(expected, shape[i]);
        }
        return out;
    }

    /// All elements, the last index fastest. Fails with `needs_copy` where they do not lie one after another.
    [[nodiscard]] result<std::span<const T>> span() const {
        if (is_contiguous()) return std::span<const T>{data, static_cast<std::size_t>(numel())};
        return error{.code = errc::needs_copy,
                     .detail = "the elements of the view do not lie one after another",
                     .hint = "index the view, or copy the tensor with copy_to"};
    }

  private:
    // a * b, or INT64_MAX where that overflows: a shape with a zero in it may have sizes whose product does.
    static constexpr std::int64_t at_most_all(std::int64_t a, std::int64_t b) noexcept {
        constexpr std::int64_t most = INT64_MAX;
        return a > most / b ? most : a * b;
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

// `auto [rows, columns] = w.shape;`
template <std::size_t Rank>
struct std::tuple_size<ckpt::dimensions<Rank>> : std::integral_constant<std::size_t, Rank> {};
template <std::size_t Element, std::size_t Rank> struct std::tuple_element<Element, ckpt::dimensions<Rank>> {
    using type = std::int64_t;
};
