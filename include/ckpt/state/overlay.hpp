// ckpt/state/overlay.hpp: several state_dicts as one; later ones win.
//
// SPDX-License-Identifier: MIT
// In:      layers: a base, then adapters or files of changed tensors, each with a name for reports.
// Out:     one state_dict whose tensors say from which layer they are; what was replaced, and what was added.
// Refuses: no layers; a replacement of another shape, unless it is asked for.
//
// Nothing is copied: the result shares the files of all layers. Keys of different spellings are brought together by a
// map before (`remap(adapter, map)`), so that the names meet.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <span>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One state_dict of an overlay. `name` is what `tensor::file()` of its tensors says.
struct layer {
    state_dict weights;
    std::string name{};
};

struct overlay_options {
    bool allow_other_shapes{false}; ///< a later layer may replace a tensor by one of another shape
};

/// What an overlay became. Its lists are in the order of the keys' bytes.
struct overlaid {
    struct replacement {
        std::string key{};
        std::string layer{};    ///< the one that won
        std::string replaced{}; ///< the one whose tensor is not used
        dtype type{};           ///< of the tensor that won
        dtype type_before{};    ///< of the tensor that is not used
    };
    struct addition {
        std::string key{};
        std::string layer{};
    };
    state_dict weights;
    std::vector<replacement> replaced{}; ///< one for each tensor that is not used
    std::vector<addition> added{};       ///< keys that the first layer does not have
};

/// Lays `layers` over one another. The keys stand in the order of the first layer, those that others add behind them.
/// Reads no element. Fails with `shapes_differ` where a later layer would replace a tensor by one of another shape, and
/// with `state_dict_missing` where there is no layer.
[[nodiscard]] result<overlaid> overlay(std::span<const layer> layers, const overlay_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/overlay.ipp>
#endif
