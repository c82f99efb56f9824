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

#include <ckpt/core/error.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
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

/// Compares the tensors of two state_dicts by key. Reads all values that both have. Entries that are no tensors do not
/// count.
[[nodiscard]] state_diff diff(const state_dict& a, const state_dict& b);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/diff.ipp>
#endif
