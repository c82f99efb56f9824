// ckpt/state/candidate_finder.hpp: the names under which weights are saved, and the search for them.
//
// SPDX-License-Identifier: MIT
// In:      the root of a checkpoint.
// Out:     what may be a state_dict, and why.
// Refuses: nothing: where the budget is spent, counts are lower bounds.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/candidate.hpp>
#include <ckpt/state/object_walk.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr std::uint8_t rank_bare = 100;  // the root is the state_dict
inline constexpr std::uint8_t rank_named = 80;  // stands under a name that means weights
inline constexpr std::uint8_t rank_plain = 40;  // a dictionary of tensors under another name
inline constexpr std::uint8_t rank_mixed = 20;  // the root holds tensors beside other things
inline constexpr std::uint8_t rank_arrays = 10; // numpy arrays alone, in a file that has tensors

// Raw and averaged weights have one rank, so that a file with both is ambiguous.
inline constexpr std::string_view model_names[]{
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "params",
    "weights",
    "weight",
    "best_state",
    "model_dict",
    "current_model_state",
};
inline constexpr std::string_view part_names[]{
    "netG",    "netD",    "net_g",    "net_d",          "generator",      "discriminator", "student", "teacher",
    "encoder", "decoder", "backbone", "target_encoder", "online_encoder", "actor",         "critic",  "policy",
};
// A name with one of these words in it means an average: "state_dict_ema", "EMA", "netEma", "params-ema",
// "average_model_state".
inline constexpr std::string_view average_words[]{"ema", "swa", "avg", "average", "averaged", "averages", "shadow"};
// Never weights, whatever they hold, but for averages that a callback keeps.
inline constexpr std::string_view other_names[]{
    "optimizer",
    "optimizers",
    "optimizer_state",
    "optimizer_states",
    "optimizer_state_dict",
    "optim",
    "optim_state_dict",
    "opt",
    "opt_state",
    "lr_scheduler",
    "lr_schedulers",
    "scheduler",
    "schedulers",
    "scheduler_state_dict",
    "lr_scheduler_state_dict",
    "scaler",
    "grad_scaler",
    "amp",
    "amp_scaling_state",
    "callbacks",
    "loops",
    "rng_state",
    "rng_states",
    "random_state",
    "rng",
    "cuda_rng_state",
    "torch_rng_state",
    "numpy_rng_state",
    "message_hub",
    "loss_scaler",
    "native_amp_scaling_state",
    "MixedPrecisionPlugin",
    "MixedPrecision",
    "metrics",
    "sampler",
    "dataloader",
    "hyper_parameters",
    "meta",
    "args",
    "config",
};

template <std::size_t N>
[[nodiscard]] constexpr bool is_among(const std::string_view (&names)[N], std::string_view name) noexcept {
    for (const std::string_view n : names)
        if (n == name) return true;
    return false;
}

/// Tensors and numpy arrays of a dictionary.
struct tensor_count {
    std::size_t direct{0};
    std::size_t below{0};
    std::size_t entries{0};
    std::size_t direct_arrays{0}; ///< of `direct`
    std::size_t arrays{0};        ///< of `below`
};

/// Whether a name has a word that means an average; words end where no letter follows, and before a capital.
[[nodiscard]] bool is_averaged_name(std::string_view name) noexcept;

/// What is in a dictionary and below it; counting stops where the budget, of all counts together, is spent.
[[nodiscard]] tensor_count count_tensors(const value& dictionary, walk_budget& budget);

/// The state of an optimizer: {"state": {...}, "param_groups": [...]}, under any name.
[[nodiscard]] inline bool is_optimizer(const value& v) {
    return v.kind() == kind::dictionary && v.at("param_groups") && v.at("state");
}

[[nodiscard]] inline std::string tensors_text(std::size_t n) {
    return decimal(std::uint64_t{n}) + (n == 1 ? " tensor" : " tensors");
}

/// Goes through the containers below a root, where training programs put weights, and lists what may be a state_dict.
class candidate_finder {
  public:
    explicit candidate_finder(const value& root) : root_{root}, budget_{root, no_offset} {}

    [[nodiscard]] std::vector<candidate> run();

    /// Whether everything was looked at and counted.
    [[nodiscard]] bool complete() const noexcept { return budget_.steps > 0; }

  private:
    static constexpr int deepest = 3; // "callbacks/StochasticWeightAveraging/average_model_state"

    /// What counts below a container: anything, averages (below a name that means no weights), or what stands beside
    /// averages.
    enum class below : std::uint8_t { anything, averages, beside_averages };

    /// "3 tensors", or "at least 3 tensors".
    [[nodiscard]] std::string counted(std::size_t n) const { return (complete() ? "" : "at least ") + tensors_text(n); }

    /// Takes `n` steps; false where the budget is spent.
    [[nodiscard]] bool pay(std::uint64_t n) noexcept;

    /// Counts what is in a dictionary and below it. Numpy arrays count only where nothing in the file is a tensor.
    [[nodiscard]] tensor_count count(const value& dictionary);
    void look(const value& container, const std::string& path, int depth, below counted);
    [[nodiscard]] static bool holds_averages(const value& dictionary);
    void add(const value& what, std::string path, std::string_view name, const tensor_count& n, bool named,
             bool averaged);

    value root_;
    walk_budget budget_;
    bool arrays_only_{false}; // nothing below the root is a tensor: its arrays may be the weights
    std::vector<candidate> out_{};
    std::vector<value> found_{}; // of the first candidates, what they are
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/candidate_finder.ipp>
#endif
