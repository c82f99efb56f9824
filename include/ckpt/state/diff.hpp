// ckpt/state/diff.hpp: compares two state_dicts.
//
// SPDX-License-Identifier: MIT
// In:      two state_dicts, of any containers.
// Out:     keys that only one has, tensors that differ and how, the number of equal ones.
// Refuses: nothing: a tensor that cannot be read counts as different, with its error.
//
// Tensors are equal if dtype, shape and all values are equal, bit by bit, or with a tolerance if shapes are equal and
// values near; strides, byte order and container do not count. Tensors with parts are compared part by part, quantised
// ones by their integers and their quantizer. Comparing needs two buffers of 128 KiB, and 256 KiB for each thread.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/progress.hpp>
#include <ckpt/core/workers.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How two tensors with the same key differ. `unreadable`: one of them cannot be read.
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

/// How far apart the values of two tensors are that have the same shape and numbers: of floats of any two types, and of
/// integers, bools and complex numbers of one.
struct value_distance {
    std::uint64_t values{};    ///< all pairs
    std::uint64_t different{}; ///< pairs of unequal numbers
    std::uint64_t nans{};      ///< pairs of which one is NaN: counted here only
    double max_abs{};          ///< the largest |a - b| of two numbers
    double max_rel{};          ///< the largest |a - b| / max(|a|, |b|) of two finite numbers
};

/// Values a and b count as equal if |a - b| <= atol + rtol * |b|, or both are NaN; dtypes may differ if both are
/// floating.
struct diff_tolerance {
    double atol{};
    double rtol{};
};

/// How `diff` compares.
struct diff_options {
    std::optional<diff_tolerance> within{}; ///< values that are near count as equal
    ckpt::workers workers{}; ///< threads that look for tensors whose bytes are equal; by default only the calling one
    /// Gets the bytes of the tensors of both sides whose keys are in both. Keys that are left where it stops the call
    /// are in `state_diff::not_compared`.
    progress_callback progress{};
};

/// A key whose tensors differ.
struct changed_tensor {
    std::string key{};
    difference why{};
    std::optional<double>
        max_abs_diff{}; ///< of values that have a difference; NaN where one of two unequal values is one
    std::optional<value_distance> distance{}; ///< where values have one, also where the dtypes differ
    std::optional<ckpt::error> failure{};     ///< why a tensor is unreadable
};

/// The result of `diff`. Owns its text.
struct state_diff {
    std::vector<std::string> only_a{}; ///< keys that only `a` has, in its order
    std::vector<std::string> only_b{}; ///< keys that only `b` has, in its order
    std::vector<changed_tensor> changed{};
    std::size_t equal{};                     ///< number of equal tensors
    std::vector<std::string> not_compared{}; ///< keys of both that were left when the progress callback stopped it
    [[nodiscard]] bool same() const noexcept {
        return only_a.empty() && only_b.empty() && changed.empty() && not_compared.empty();
    }
};

namespace detail {

/// How two tensors differ; nothing where they are equal. The key is empty.
[[nodiscard]] std::optional<changed_tensor> compare(const tensor& a, const tensor& b,
                                                    const diff_tolerance* within = nullptr);

} // namespace detail

/// Compares the tensors of two state_dicts by key. Reads all values of keys that both have. Ignores entries that are
/// not tensors. A key that only one has is compared with the one that the other's metadata names for it: a safetensors
/// file has a tied tensor once.
[[nodiscard]] state_diff diff(const state_dict& a, const state_dict& b, const diff_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/diff.ipp>
#endif
