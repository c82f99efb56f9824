// ckpt/state/impl/candidate_finder.ipp: the definitions of candidate_finder.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/candidate_finder.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE bool is_averaged_name(std::string_view name) noexcept {
    constexpr std::size_t longest = 8;
    char word[longest]{};
    std::size_t n = 0;
    const auto known = [&] { return n <= longest && is_among(average_words, {word, n}); };
    bool lower = false; // the letter before
    for (const char c : name) {
        const bool capital = c >= 'A' && c <= 'Z';
        const bool letter = capital || (c >= 'a' && c <= 'z');
        if (!letter || (capital && lower)) {
            if (known()) return true;
            n = 0;
        }
        lower = letter && !capital;
        if (!letter) continue;
        if (n < longest) word[n] = capital ? static_cast<char>(c - 'A' + 'a') : c;
        ++n;
    }
    return known();
}

CKPT_DETAIL_RARE tensor_count count_tensors(const value& dictionary, walk_budget& budget) {
    tensor_count out;
    const std::uint64_t entries = dictionary.entries().size();
    if (entries > budget.steps) {
        budget.steps = 0;
        return out;
    }
    budget.steps -= entries;
    for (const value::entry e : dictionary.entries()) {
        ++out.entries;
        const bool array = e.mapped.kind() == kind::array;
        out.direct += array || e.mapped.kind() == kind::tensor;
        out.direct_arrays += array;
    }
    budget.text = no_offset; // no path is kept
    (void)walk_state_dict(
        dictionary, budget, errc::limit,
        [&out](const std::vector<path_element>&, const value& v) {
            const bool array = v.kind() == kind::array;
            out.below += array || v.kind() == kind::tensor;
            out.arrays += array;
        },
        [&out](const std::vector<path_element>&, std::string_view, const value&) { ++out.below; });
    return out;
}

CKPT_DETAIL_RARE std::vector<candidate> candidate_finder::run() {
    if (root_.is_module()) {
        const std::size_t n = count_tensors(root_, budget_).below;
        if (n > 0) out_.push_back({{}, str_cat("the root is a whole module with ", counted(n)), n, rank_bare, false});
        return std::move(out_);
    }
    tensor_count at_root = count_tensors(root_, budget_);
    arrays_only_ = at_root.arrays == at_root.below;
    if (!arrays_only_) at_root.direct -= at_root.direct_arrays;
    const bool optimizer = is_optimizer(root_);
    if (!optimizer) look(root_, {}, 0, below::anything);
    const auto named = [](const candidate& c) { return c.rank == rank_named; };
    const bool has_named = std::any_of(out_.begin(), out_.end(), named);
    const bool has_raw =
        std::any_of(out_.begin(), out_.end(), [&](const candidate& c) { return named(c) && !c.averaged; });
    // A root that is a state_dict itself holds tensors in most of its entries. With averages in it, it is the raw
    // one.
    const bool mostly_tensors = at_root.direct > 0 && at_root.direct * 2 >= at_root.entries;
    if (mostly_tensors && !has_raw) {
        out_.insert(out_.begin(),
                    {{},
                     str_cat("the root holds ", counted(at_root.direct), " in ", at_root.entries, " entries"),
                     at_root.below,
                     has_named ? rank_named : rank_bare,
                     false});
    } else if (at_root.below > 0 && root_.kind() != kind::tensor && root_.kind() != kind::array) {
        out_.push_back(
            {{},
             optimizer ? "the root is the state of an optimizer, not a model" : "the root, with everything in it",
             at_root.below,
             rank_mixed,
             false});
    }
    sort_values(out_, [](const candidate& a, const candidate& b) { return a.rank > b.rank; });
    return std::move(out_);
}

CKPT_DETAIL_RARE bool candidate_finder::pay(std::uint64_t n) noexcept {
    const bool enough = n < budget_.steps;
    budget_.steps = enough ? budget_.steps - n : 0;
    return enough;
}

CKPT_DETAIL_RARE tensor_count candidate_finder::count(const value& dictionary) {
    tensor_count n = count_tensors(dictionary, budget_);
    if (!arrays_only_) n.direct -= n.direct_arrays;
    return n;
}

/// Whether keys of this kind have a text of their own.
inline bool is_plain_key(kind k) noexcept {
    return k == kind::string || k == kind::integer || k == kind::real || k == kind::boolean;
}

CKPT_DETAIL_RARE void candidate_finder::look(const value& container, const std::string& path, int depth,
                                             below counted) {
    step_cursor cursor{container};
    value key{};
    value next{};
    std::string_view of_tensor{};
    for (std::uint64_t position = 0;;) {
        while (cursor.next_tensor(of_tensor))
            if (!pay(1)) return;
        if (!cursor.next(key, position, next)) return;
        if (!pay(1)) return;
        if (!is_walked(next.kind()) || (key && !is_plain_key(key.kind()))) continue;
        if (!pay(next.size())) return;
        if (is_optimizer(next)) continue;
        const std::string name = key ? key_text(key) : decimal(position);
        std::string there = path;
        append_path_element(there, name, depth == 0);
        const bool text_key = key.kind() == kind::string;
        const bool averaged = text_key && is_averaged_name(name);
        // Names of parts mean something at the top only: models have an encoder inside too.
        const bool raw = counted == below::beside_averages ||
                         (text_key && (is_among(model_names, name) || (depth == 0 && is_among(part_names, name))));
        const bool other = counted == below::averages || (text_key && is_among(other_names, name));
        if (other && !averaged) {
            if (depth + 1 < deepest) look(next, there, depth + 1, below::averages);
            continue;
        }
        const tensor_count n = count(next);
        if (n.below == 0) continue;
        const std::size_t before = out_.size();
        // {"checkpoint": {"state_dict": ...}}, {"model": {"raw": ..., "ema": ...}}: what means weights is further
        // down.
        const bool has_averages = holds_averages(next);
        if (!next.is_module() && n.direct == 0 && depth + 1 < deepest && (has_averages || !(averaged || raw)))
            look(next, there, depth + 1, has_averages ? below::beside_averages : below::anything);
        const bool weights =
            next.kind() == kind::dictionary || next.is_module() || (averaged && next.kind() != kind::object);
        if (out_.size() == before && weights && (averaged || raw || depth == 0))
            add(next, std::move(there), name, n, averaged || raw, averaged);
    }
}

CKPT_DETAIL_RARE bool candidate_finder::holds_averages(const value& dictionary) {
    for (const value::entry e : dictionary.entries())
        if (const auto name = e.key.as_string(); name && is_walked(e.mapped.kind()) && is_averaged_name(*name))
            return true;
    return false;
}

CKPT_DETAIL_RARE void candidate_finder::add(const value& what, std::string path, std::string_view name,
                                            const tensor_count& n, bool named, bool averaged) {
    const std::size_t tensors = n.below;
    std::string reason;
    if (averaged) reason = str_cat("the name ", quoted(name), " means averaged weights, and ");
    else if (is_among(model_names, name) || is_among(part_names, name))
        reason = str_cat("the name ", quoted(name), " means weights, and ");
    else if (named) reason = "it stands beside averaged weights, and ";
    if (what.is_module()) reason += (named ? "it is a whole module with " : "a whole module with ") + counted(tensors);
    else if (named) reason += counted(tensors) + (tensors == 1 ? " is below it" : " are below it");
    else reason += str_cat("a dictionary with ", counted(tensors));
    const bool arrays = n.arrays == n.below;
    if (arrays) reason += ", all of them numpy arrays";
    const std::uint8_t rank = arrays && !arrays_only_ ? rank_arrays : named ? rank_named : rank_plain;
    candidate made{std::move(path), std::move(reason), tensors, rank, averaged};
    for (std::size_t i = 0; i < found_.size(); ++i) {
        if (!found_[i].same_object(what)) continue; // one object under two names: the better one counts
        if (made.rank > out_[i].rank) out_[i] = std::move(made);
        return;
    }
    constexpr std::size_t remembered = 64;
    if (found_.size() == out_.size() && found_.size() < remembered) found_.push_back(what);
    out_.push_back(std::move(made));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
