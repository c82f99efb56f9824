// ckpt/state/impl/discovery.ipp: the definitions of discovery.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/short_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/state/candidate_finder.hpp>
#include <ckpt/state/discovery.hpp>
#include <ckpt/state/object_path.hpp>
#include <ckpt/state/object_walk.hpp>

#include <optional>
#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The error where nothing but refused values can hold the weights: of the first one, with its path. Absent where no
/// value was refused by the policy.
CKPT_DETAIL_COLD inline std::optional<error> refused_weights(const value& root) {
    std::optional<error> out;
    std::size_t more = 0;
    walk_budget budget{root, 1'000'000};
    budget.text = no_offset; // no path is kept
    (void)walk_state_dict(root, budget, errc::limit, [&](const std::vector<path_element>& path, const value& v) {
        if (v.kind() != kind::refused || v.refusal()->code != errc::global_not_allowed) return;
        if (out) {
            ++more;
            return;
        }
        out = *v.refusal();
        out->path = path_text(path);
        out->detail = str_cat("no dictionary of tensors was found, and ", path.empty() ? "the root" : quoted(out->path),
                              " is refused: ", out->detail);
    });
    if (more > 0) out->detail += str_cat(" (and ", more, " other values are refused)");
    return out;
}

CKPT_DETAIL_RARE result<candidate> choose(const value& root) {
    candidate_finder finder{root};
    const std::vector<candidate> all = finder.run();
    if (!finder.complete())
        return error{.code = errc::state_dict_ambiguous,
                     .detail = "the containers of this file are shared so often that not all places could be looked at",
                     .hint = "give the path of the one you mean: state_dict(path)"};
    if (all.empty()) {
        if (auto refused = refused_weights(root)) return std::move(*refused);
        if (root.kind() == kind::tensor || root.kind() == kind::array)
            return candidate{.reason = "the root is a tensor", .tensors = 1};
        return error{.code = errc::state_dict_missing,
                     .detail = str_cat("no dictionary of tensors was found: the root is ", with_article(root.kind())),
                     .hint = "look at what root() holds, and give its path to state_dict(path)"};
    }
    if (all.size() == 1 || all[0].rank > all[1].rank) return all[0];
    error e{.code = errc::state_dict_ambiguous, .detail = "several dictionaries may be the weights: "};
    short_list list{e.detail, {.most = 20}};
    bool likely = true;
    for (const candidate& c : all) { // the likeliest come first
        if (!list.next()) continue;
        if (likely && c.rank < all[0].rank) {
            likely = false;
            e.detail += "less likely: ";
        }
        e.detail += str_cat(quoted(c.path), " (", c.path.empty() ? "the root, " : "", tensors_text(c.tensors),
                            c.averaged ? ", averaged)" : ")");
    }
    list.end();
    e.hint = "give the path of the one you mean: state_dict(path)";
    return e;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE std::vector<candidate> find_candidates(const value& root) {
    return detail::candidate_finder{root}.run();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
