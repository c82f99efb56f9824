// ckpt/state/lora.hpp: low-rank adapters: finding their pairs, and merging them into a base.
//
// SPDX-License-Identifier: MIT
// In:      the state_dict of an adapter, in the names of PEFT, diffusers, loralib or kohya's scripts; a base.
// Out:     the pairs with their places in the base; a state_dict in which base + scale * B * A stands for each.
// Refuses: a pair that belongs to no tensor of the base, shapes that do not fit, a scale that nobody gave; adapters
//          that do more than add scale * B * A: DoRA's magnitudes, biases of the updates, a third factor.
//
// Merging is a gather plan with arithmetic: nothing is computed before a tensor is read, and then piece by piece. Every
// product is summed in float64 and rounded once to float32; a base of another floating type is rounded once more.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A and B of one low-rank update, by their keys in the adapter.
struct lora_pair {
    std::string path{};  ///< of the module, as the adapter spells it, without what belongs to LoRA
    std::string a{};     ///< [rank, in]
    std::string b{};     ///< [out, rank]
    std::string alpha{}; ///< key of a scalar that the file stores; empty where there is none
    std::int64_t rank{0};
    bool embedding{false}; ///< lora_embedding_A and _B: the update stands transposed in the base
};

/// What a state_dict holds of low-rank adapters.
struct lora_set {
    std::vector<lora_pair> pairs{};
    std::vector<std::string> unpaired{}; ///< an A without its B or the reverse, or shapes that do not fit together
    std::vector<std::string> others{};   ///< keys that are no part of a pair
};

struct lora_options {
    std::optional<double> scale{}; ///< of B * A. Without it alpha / rank, where an alpha is stored or given
    std::optional<double> alpha{}; ///< lora_alpha of adapter_config.json, for pairs whose file stores none
    bool fan_in_fan_out{false};    ///< square weights of the base are stored as [in, out] (GPT-2's Conv1D)
};

/// A base with adapters merged into it.
struct lora_merged {
    struct merge {
        std::string key{};  ///< in the base
        std::string path{}; ///< in the adapter
        double scale{1};
    };
    state_dict weights;
    std::vector<merge> merged{};
    std::vector<std::string> others{}; ///< keys of the adapter that were not used: whole modules that it replaces, say
};

/// Finds the low-rank pairs among the keys of `adapter`. Never fails, reads no element; the set owns its text.
[[nodiscard]] lora_set find_lora(const state_dict& adapter);

/// The base with every pair of the adapter merged into it: base + scale * B * A. The other tensors of the base stay as
/// they are; keys of the adapter that are no pairs are listed in `others` (lay them over with `overlay`). Elements are
/// computed when they are read; the result shares the files of both. Fails with `adapter_unmatched` where a pair
/// belongs to nothing in the base, so that no part of an adapter is lost silently, where nobody gave a scale, and where
/// the adapter holds what gives its pairs another meaning, as DoRA does; with `shapes_differ` where an update does not
/// fit its tensor.
[[nodiscard]] result<lora_merged> merge_lora(const state_dict& base, const state_dict& adapter,
                                             const lora_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/lora.ipp>
#endif
