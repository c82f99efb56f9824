// ckpt/state/lora_names.hpp: the names of low-rank adapters: PEFT, diffusers, loralib, kohya's scripts.
//
// SPDX-License-Identifier: MIT
// In:      a key of an adapter; the keys of a base.
// Out:     which half of which pair the key is; the entry of the base that a pair belongs to.
// Refuses: nothing.
//
// From peft 0.21 save_and_load.py and tuners/lora; diffusers 0.3x loaders; loralib 0.1; sd-scripts networks/lora.py.
#pragma once

#include <ckpt/state/state_dict.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// One half of a pair.
struct lora_half {
    std::string path{}; ///< of the module, with the adapter's name in brackets where it is not PEFT's "default"
    bool is_b{false};
    bool embedding{false};
    std::string_view key{}; ///< the key that was split
};

/// Splits a key at the ending of a LoRA dialect: "x.lora_A.weight", or "x.lora_A.NAME.weight" of PEFT.
[[nodiscard]] std::optional<lora_half> split_lora_key(std::string_view key);

/// Whether a key that is no part of a pair says that pairs mean something else than scale * B * A:
/// `lora_magnitude_vector` of PEFT and `dora_scale` of others (DoRA), `lora_B.bias` (lora_bias), `lora_mid` (a third
/// factor of convolutions).
[[nodiscard]] inline bool changes_lora(std::string_view key) noexcept {
    return key.find(".lora_") != std::string_view::npos || key.ends_with(".dora_scale");
}

/// The modules of a base by the names that adapters give them.
class lora_targets {
  public:
    explicit lora_targets(const state_dict& base);
    /// The entry that `path` means; none where no tensor, or more than one, answers to it.
    [[nodiscard]] std::optional<std::uint32_t> find(std::string_view path) const;

  private:
    void add(std::string name, std::uint32_t entry);
    [[nodiscard]] std::optional<std::uint32_t> exact(std::string_view name) const;

    std::vector<std::pair<std::string, std::uint32_t>> names_{}; ///< sorted
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/lora_names.ipp>
#endif
