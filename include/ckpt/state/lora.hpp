// ckpt/state/lora.hpp: low-rank adapters: finding their pairs, and merging them into a base.
//
// SPDX-License-Identifier: MIT
// In:      the state_dict of an adapter, in the names of PEFT, diffusers, loralib or kohya's scripts; a base.
// Out:     the pairs with their places in the base; a state_dict in which base + scale * B * A stands for each.
// Refuses: a pair that belongs to no tensor of the base, shapes that do not fit, a scale that nobody gave; adapters
// that do
//          more than add scale * B * A: DoRA's magnitudes, biases of the updates, a third factor.
//
// Merging is a gather plan with arithmetic: nothing is computed before a tensor is read, and then piece by piece. Every
// product is summed in float64 and rounded once to float32; a base of another floating type is rounded once more.
// Names: peft 0.21 save_and_load.py and tuners/lora; diffusers 0.3x loaders; loralib 0.1; sd-scripts networks/lora.py.
#pragma once

#include <ckpt/state/assemble.hpp>
#include <ckpt/state/nearest.hpp>
#include <ckpt/state/state_dict.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

namespace detail {

struct lora_ending {
    std::string_view text{};
    bool is_b{false};
    bool embedding{false};
};
inline constexpr lora_ending lora_endings[]{
    {".lora_A.weight", false, false},    {".lora_B.weight", true, false},
    {".lora_embedding_A", false, true},  {".lora_embedding_B", true, true},
    {".lora_down.weight", false, false}, {".lora_up.weight", true, false},
    {".lora.down.weight", false, false}, {".lora.up.weight", true, false},
    {".lora_A", false, false},           {".lora_B", true, false},
};

/// Splits `key` at the ending of a LoRA dialect; PEFT's adapter name (`.lora_A.default.weight`) may stand in it.
[[nodiscard]] bool split_lora_key(std::string_view key, std::string& path, bool& is_b, bool& embedding);

/// Whether a key that is no part of a pair says that pairs mean something else than scale * B * A:
/// `lora_magnitude_vector` of PEFT and `dora_scale` of others (DoRA), `lora_B.bias` (lora_bias), `lora_mid` (a third
/// factor of convolutions).
[[nodiscard]] inline bool changes_lora(std::string_view key) noexcept {
    return key.find(".lora_") != std::string_view::npos || key.ends_with(".dora_scale");
}

} // namespace detail

/// Finds the low-rank pairs among the keys of `adapter`.
[[nodiscard]] lora_set find_lora(const state_dict& adapter);

namespace detail {

/// The modules of a base by the names that adapters give them.
class lora_targets {
  public:
    explicit lora_targets(const state_dict& base);
    /// The entry that `path` means; none where no tensor, or more than one, answers to it.
    [[nodiscard]] std::optional<std::uint32_t> find(std::string_view path) const;

  private:
    void add(std::string name, std::uint32_t entry);
    [[nodiscard]] std::optional<std::uint32_t> exact(std::string_view name) const;
    std::vector<std::pair<std::string, std::uint32_t>> names_{};
};

/// The factor of B * A.
[[nodiscard]] result<double> lora_scale(const state_dict& adapter, const lora_pair& pair, const lora_options& options);

/// The node of base + scale * B * A, in the base's dtype; an error where the shapes do not fit.
[[nodiscard]] result<std::uint32_t> lora_node(gather_plan& plan, std::uint32_t base, std::uint32_t a, std::uint32_t b,
                                              const lora_pair& pair, double scale, bool fan_in_fan_out);

} // namespace detail

/// The base with every pair of the adapter merged into it: base + scale * B * A. The other tensors of the base stay as
/// they are; keys of the adapter that are no pairs are listed in `others` (lay them over with `overlay`).
/// Fails where a pair belongs to nothing in the base, so that no part of an adapter is lost silently, and where the
/// adapter holds what gives its pairs another meaning, as DoRA does.
[[nodiscard]] result<lora_merged> merge_lora(const state_dict& base, const state_dict& adapter,
                                             const lora_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/lora.ipp>
#endif
