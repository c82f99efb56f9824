// ckpt/state/lora.hpp: low-rank adapters: finding their pairs, and merging them into a base.
//
// SPDX-License-Identifier: MIT
// In:      the state_dict of an adapter, in the names of PEFT, diffusers, loralib or kohya's scripts; a base.
// Out:     the pairs A and B; a state_dict with base + scale * B * A in place of the weights of the base.
// Refuses: a pair without a tensor in the base, shapes that do not fit, an unknown scale; adapters that do more than
//          add scale * B * A: DoRA's magnitudes, biases of the updates, a third factor.
//
// Values are computed when a tensor is read, piece by piece. Every product is summed in float64 and rounded once to
// float32; a base of another floating type is rounded once more.
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
    std::string path{};  ///< of the module, as the adapter spells it, without LoRA's own parts of the key
    std::string a{};     ///< [rank, in]
    std::string b{};     ///< [out, rank]
    std::string alpha{}; ///< key of the scalar alpha; empty where the adapter has none
    std::int64_t rank{0};
    bool embedding{false}; ///< lora_embedding_A and _B: the base has the update transposed
};

/// The low-rank pairs of a state_dict. Owns its text.
struct lora_set {
    std::vector<lora_pair> pairs{};
    std::vector<std::string> unpaired{}; ///< an A without its B or the reverse, or shapes that do not fit together
    std::vector<std::string> others{};   ///< keys that are not part of a pair
};

/// How adapters are merged.
struct lora_options {
    std::optional<double> scale{}; ///< the factor of B * A; without it alpha / rank, where the file or `alpha` has one
    std::optional<double> alpha{}; ///< lora_alpha of adapter_config.json, for pairs without an alpha in the file
    /// The factor of each pair, in the order of `find_lora`, where they differ; of others `scale` and `alpha` count.
    std::vector<std::optional<double>> scales{};
    bool fan_in_fan_out{false};  ///< square weights of the base are stored as [in, out] (GPT-2's Conv1D)
    bool allow_unmatched{false}; ///< pairs whose module the base does not have are listed, and not an error
};

/// A base with adapters merged into it.
struct lora_merged {
    struct merge {
        std::string key{};  ///< in the base
        std::string path{}; ///< in the adapter
        double scale{1};
        std::vector<std::string> tied{}; ///< other keys of the base that are the same tensor, and stay so
    };
    state_dict weights;
    std::vector<merge> merged{};
    std::vector<lora_pair> unmatched{}; ///< pairs that were not used: the base does not have their modules
    std::vector<std::string> others{};  ///< keys of the adapter that were not used, such as replaced modules
};

/// Finds the low-rank pairs among the keys of `adapter`. Never fails, reads no element.
[[nodiscard]] lora_set find_lora(const state_dict& adapter);

/// The base with every pair of the adapter merged into it: base + scale * B * A. Keys of the base that are one tensor,
/// such as tied embeddings, stay one. Its other tensors do not change; `others` lists keys of the adapter that are not
/// in pairs (`overlay` can apply them). Elements are computed when they are read; the result shares ownership of the
/// files of both. Fails with `adapter_unmatched` where the base has no tensor for a pair, where the scale is unknown,
/// and where the adapter has tensors that give its pairs another meaning, as DoRA does; with `shapes_differ` where an
/// update does not fit its tensor.
[[nodiscard]] result<lora_merged> merge_lora(const state_dict& base, const state_dict& adapter,
                                             const lora_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/lora.ipp>
#endif
