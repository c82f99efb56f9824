// ckpt/state/discovery.hpp: where in a file the weights are.
//
// SPDX-License-Identifier: MIT
// In:      the root of a checkpoint.
// Out:     dictionaries of tensors, the likeliest first, each with the reason.
// Refuses: nothing. Two that are equally likely stay equal: raw or averaged weights are never chosen silently.
//
// The names are those under which training programs save (a survey of some thirty frameworks).
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/walk.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A place that may hold a state_dict.
struct candidate {
    std::string path{};   ///< as `checkpoint::state_dict` takes it; empty for the root
    std::string reason{}; ///< one clause
    std::size_t tensors{};
    std::uint8_t rank{};  ///< larger is likelier
};

namespace detail {

inline constexpr std::uint8_t rank_bare = 100;  // the root is the state_dict
inline constexpr std::uint8_t rank_named = 80;  // stands under a name that means weights
inline constexpr std::uint8_t rank_plain = 40;  // a dictionary of tensors under another name
inline constexpr std::uint8_t rank_mixed = 20;  // the root holds tensors beside other things

// Raw and averaged weights have one rank, so that a file with both is ambiguous.
inline constexpr std::string_view weight_names[]{
    "state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "params", "weights", "weight", "best_state", "model_dict", "netG", "netD",
    "net_g", "net_d", "generator", "discriminator", "student", "teacher", "encoder", "decoder", "backbone", "target_encoder", "online_encoder", "actor", "critic", "policy",
    "state_dict_ema", "model_ema", "ema", "ema_state_dict", "ema_model", "params_ema", "params-ema", "shadow_params", "average_model", "model_average",
};
// Never weights, whatever they hold.
inline constexpr std::string_view other_names[]{
    "optimizer", "optimizers", "optimizer_state", "optimizer_states", "optimizer_state_dict", "optim", "optim_state_dict", "opt", "opt_state", "lr_scheduler", "lr_schedulers", "scheduler", "schedulers",
    "scheduler_state_dict", "lr_scheduler_state_dict", "scaler", "grad_scaler", "amp", "amp_scaling_state", "callbacks", "loops", "rng_state", "rng_states", "random_state", "rng", "cuda_rng_state",
    "torch_rng_state", "numpy_rng_state", "message_hub", "loss_scaler", "native_amp_scaling_state", "MixedPrecisionPlugin", "MixedPrecision", "metrics", "sampler", "dataloader", "hyper_parameters", "meta", "args", "config",
};

template <std::size_t N>
[[nodiscard]] constexpr bool is_among(const std::string_view (&names)[N], std::string_view name) noexcept {
    for (const std::string_view n : names)
        if (n == name) return true;
    return false;
}

struct tensor_count {
    std::size_t direct{0};
    std::size_t below{0};
    std::size_t entries{0};
};

/// Tensors in a dictionary and below it; counting stops where the budget, of all counts together, is spent.
[[nodiscard]] inline tensor_count count_tensors(const value& dictionary, walk_budget& budget) {
    tensor_count out;
    for (const value::entry e : dictionary.entries()) {
        ++out.entries;
        out.direct += e.mapped.kind() == kind::tensor;
    }
    budget.text = no_offset; // no path is kept
    (void)walk(dictionary, budget, errc::limit, state_dict_parts{}, [&out](const std::vector<path_element>&, const value& v) { out.below += v.kind() == kind::tensor; });
    return out;
}

} // namespace detail

/// The dictionaries below `root` that may be state_dicts, likeliest first, in the file's order where equal.
[[nodiscard]] inline std::vector<candidate> find_candidates(const value& root) {
    std::vector<candidate> out;
    if (root.kind() != kind::dictionary) return out;
    detail::walk_budget budget{root, no_offset};
    const detail::tensor_count at_root = detail::count_tensors(root, budget);
    const auto plural = [](std::size_t n) { return detail::decimal(std::uint64_t{n}) + (n == 1 ? " tensor" : " tensors"); };

    for (const value::entry e : root.entries()) {
        if (e.key.kind() != kind::string || e.mapped.kind() != kind::dictionary) continue;
        const std::string_view name = *e.key.as_string();
        if (detail::is_among(detail::other_names, name) || (e.mapped.at("param_groups") && e.mapped.at("state"))) continue; // an optimizer, under any name
        const detail::tensor_count n = detail::count_tensors(e.mapped, budget);
        if (n.below == 0) continue;
        candidate c;
        detail::append_path_element(c.path, name, true);
        c.tensors = n.below;
        const bool named = detail::is_among(detail::weight_names, name);
        c.rank = named ? detail::rank_named : detail::rank_plain;
        c.reason = named ? "the name \"" + detail::printable(name) + "\" means weights, and " + plural(n.below) + (n.below == 1 ? " is" : " are") + " below it"
                         : "a dictionary with " + plural(n.below);
        out.push_back(std::move(c));
    }
    const bool has_named = std::any_of(out.begin(), out.end(), [](const candidate& c) { return c.rank == detail::rank_named; });
    // A root that is a state_dict itself holds tensors in most of its entries.
    const bool mostly_tensors = at_root.direct > 0 && at_root.direct * 2 >= at_root.entries;
    if (mostly_tensors && !has_named) {
        out.insert(out.begin(), {{}, "the root holds " + plural(at_root.direct) + " in " + detail::decimal(std::uint64_t{at_root.entries}) + " entries", at_root.below, detail::rank_bare});
    } else if (at_root.below > 0) {
        out.push_back({{}, "the root, with everything in it", at_root.below, detail::rank_mixed});
    }
    std::stable_sort(out.begin(), out.end(), [](const candidate& a, const candidate& b) { return a.rank > b.rank; });
    return out;
}

namespace detail {

/// The one best candidate, or why there is none.
[[nodiscard]] inline result<candidate> choose(const std::vector<candidate>& all, const value& root) {
    if (all.empty()) {
        error e{.code = errc::state_dict_missing, .detail = "no dictionary of tensors was found: the root is a " + std::string(name(root.kind()))};
        if (root.kind() == kind::tensor) e.hint = "the file holds a single tensor: read it with root().as_tensor()";
        else e.hint = "look at what is there with: ckpt show FILE; then give its path to state_dict(path)";
        return e;
    }
    if (all.size() == 1 || all[0].rank > all[1].rank) return all[0];
    error e{.code = errc::state_dict_ambiguous, .detail = "several dictionaries may be the weights:"};
    std::size_t shown = 0;
    std::size_t equal = 0;
    for (const candidate& c : all) {
        if (c.rank != all[0].rank) continue;
        if (++equal > 3) continue;
        e.detail += (shown++ > 0 ? ", " : " ") + quoted(c.path) + " (" + decimal(std::uint64_t{c.tensors}) + " tensors)";
    }
    if (equal > 3) e.detail += ", +" + decimal(std::uint64_t{equal - 3}) + " more";
    e.hint = "give the path of the one you mean: state_dict(path), or --select PATH";
    return e;
}

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI
