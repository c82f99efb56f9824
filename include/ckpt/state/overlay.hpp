// ckpt/state/overlay.hpp: several state_dicts as one, where later ones replace earlier ones.
//
// SPDX-License-Identifier: MIT
// In:      layers: a base, then adapters or files of changed tensors, each with a name for reports.
// Out:     one state_dict, whose tensors have the name of their layer; lists of replaced and added keys.
// Refuses: no layers; a replacement of another shape, unless it is allowed.
//
// Nothing is copied: the result shares ownership of the files of all layers. Layers with different spellings of keys
// are remapped first: `remap(adapter, map)`.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <span>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One state_dict of an overlay. `name` is what `tensor::file()` returns for its tensors in the result.
struct layer {
    state_dict weights;
    std::string name{};
};

/// How layers replace each other.
struct overlay_options {
    bool allow_other_shapes{false}; ///< a later layer may replace a tensor by one of another shape
};

/// The result of `overlay`. Its lists are sorted by the bytes of the keys.
struct overlaid {
    struct replacement {
        std::string key{};
        std::string layer{};    ///< the layer whose tensor is used
        std::string replaced{}; ///< the layer whose tensor is not used
        dtype type{};           ///< of the tensor that is used
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

/// Combines `layers`: a key of several layers has the tensor of the last one. The keys are in the order of the first
/// layer, followed by those that others add. Reads no element. Fails with `shapes_differ` where a later layer would
/// replace a tensor by one of another shape, and with `state_dict_missing` where there is no layer.
[[nodiscard]] result<overlaid> overlay(std::span<const layer> layers, const overlay_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/overlay.ipp>
#endif
