// ckpt/state/diff.hpp: what is different in two state_dicts.
//
// SPDX-License-Identifier: MIT
// In:      two state_dicts, of any containers.
// Out:     keys of one only, tensors that differ and in what, how many are equal.
// Refuses: nothing: a tensor that cannot be read counts as different, with its error.
//
// Equal are tensors of one dtype, one shape and the same values, bit by bit, whatever their strides, their byte order
// and the file that they come from. Tensors that consist of parts are compared part by part, quantised ones by their
// integers and what these stand for. Two buffers of 128 KiB are all that it needs.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// In what two tensors of one key differ.
enum class difference : std::uint8_t { dtype, shape, layout, values, unreadable };

/// "dtype", "shape", "layout", "values", "unreadable".
[[nodiscard]] constexpr std::string_view name(difference d) noexcept {
    switch (d) {
    case difference::dtype: return "dtype";
    case difference::shape: return "shape";
    case difference::layout: return "layout";
    case difference::values: return "values";
    case difference::unreadable: return "unreadable";
    }
    return "unknown";
}

struct changed_tensor {
    std::string key{};
    difference why{};
    std::optional<double>
        max_abs_diff{}; ///< of values that have a difference; NaN where one of two unequal values is one
    std::optional<ckpt::error> failure{}; ///< why a tensor is unreadable
};

struct state_diff {
    std::vector<std::string> only_a{}; ///< keys, in the order of their file
    std::vector<std::string> only_b{};
    std::vector<changed_tensor> changed{};
    std::size_t equal{};
    [[nodiscard]] bool same() const noexcept { return only_a.empty() && only_b.empty() && changed.empty(); }
};

namespace detail {

/// Compares two tensors of one dtype and one shape, part by part.
class value_comparison {
  public:
    value_comparison(const tensor& a, const tensor& b) noexcept;

    /// Whether all values are equal; `max_abs_diff` then says how far apart they are.
    [[nodiscard]] result<bool> run();
    [[nodiscard]] std::optional<double> max_abs_diff() const noexcept { return largest_; }

  private:
    /// Every dimension by itself, but those of size 1.
    [[nodiscard]] static box plain_box(const tensor_data& t) noexcept;
    /// Several values share a byte: their sums are compared.
    [[nodiscard]] result<bool> by_digest();

    /// Compilers may assume that there are no NaN, so that it is told by its bits.
    void take(double d) noexcept;
    void measure(const std::byte* left, const std::byte* right, std::uint64_t n);

    const tensor_data* a_;
    const tensor_data* b_;
    const storage_source* from_a_;
    const storage_source* from_b_;
    bool equal_{true};
    std::optional<double> largest_{};
};

/// Nothing where the two are equal.
[[nodiscard]] inline std::optional<changed_tensor> compare(const tensor& a, const tensor& b);

/// The same of what hangs below two tensors: parts by their names, and quantizers.
[[nodiscard]] std::optional<changed_tensor> compare_parts(const tensor& a, const tensor& b);

[[nodiscard]] std::optional<changed_tensor> compare(const tensor& a, const tensor& b);

} // namespace detail

/// Compares the tensors of two state_dicts by key. Reads all values that both have. Entries that are no tensors do not
/// count.
[[nodiscard]] state_diff diff(const state_dict& a, const state_dict& b);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/diff.ipp>
#endif
