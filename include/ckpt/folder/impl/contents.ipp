// ckpt/folder/impl/contents.ipp: the definitions of contents.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/contents.hpp>
#include <ckpt/pickle/names.hpp>

#include <algorithm>
#include <system_error>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::optional<shard_name> parse_shard(std::string_view name) noexcept {
    const std::size_t of = name.rfind("-of-");
    if (of == std::string_view::npos || of == 0) return std::nullopt;
    const std::size_t dash = name.rfind('-', of - 1);
    const std::size_t dot = name.find('.', of);
    if (dash == std::string_view::npos || dot == std::string_view::npos) return std::nullopt;
    shard_name out{name.substr(0, dash), name.substr(of), name.substr(dot), 0, 0};
    if (!parse_decimal(name.substr(dash + 1, of - dash - 1), out.number) ||
        !parse_decimal(name.substr(of + 4, dot - of - 4), out.count))
        return std::nullopt;
    if (out.number == 0 || out.number > out.count ||
        (out.extension != ".bin" && out.extension != ".safetensors" && out.extension != ".pt" &&
         out.extension != ".pth"))
        return std::nullopt;
    return out;
}

CKPT_DETAIL_DEF std::optional<rank_name> parse_rank_name(std::string_view name) noexcept {
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const std::size_t dot = name.rfind('.');
    if (dot == std::string_view::npos) return std::nullopt;
    const std::string_view extension = name.substr(dot);
    if (extension != ".pt" && extension != ".pth" && extension != ".bin" && extension != ".ckpt") return std::nullopt;
    for (const std::string_view word : {"rank", "local_"}) {
        const std::size_t at = name.rfind(word);
        if (at == std::string_view::npos || (at > 0 && is_letter(name[at - 1]))) continue;
        std::size_t begin = at + word.size();
        if (begin < name.size() && std::string_view("_-=.").find(name[begin]) != std::string_view::npos) ++begin;
        std::size_t end = begin;
        while (end < name.size() && is_digit(name[end])) ++end;
        rank_name out{name.substr(0, begin), name.substr(end), 0};
        if (is_letter(name[end]) || !parse_decimal(name.substr(begin, end - begin), out.rank)) continue;
        return out;
    }
    return std::nullopt;
}

CKPT_DETAIL_DEF bool folder_contents::has(std::string_view name) const noexcept {
    const auto at = std::lower_bound(files.begin(), files.end(), name,
                                     [](const folder_file& f, std::string_view n) { return f.name < n; });
    return at != files.end() && at->name == name;
}

CKPT_DETAIL_DEF std::string family_of_index(std::string_view index) {
    const std::size_t at = index.rfind(".index");
    const std::size_t dot = at == std::string_view::npos ? at : index.substr(0, at).rfind('.');
    if (dot == std::string_view::npos || !index.ends_with(".json")) return {};
    const std::string_view variant = index.substr(at + 6, index.size() - at - 11);
    return std::string(index.substr(0, dot)).append(variant).append(index.substr(dot, at - dot));
}

CKPT_DETAIL_DEF void folder_contents::add_shard(const folder_entry& e, const shard_name& s,
                                                std::map<std::string, std::size_t>& families) {
    const std::string family = std::string(s.stem).append("-*").append(s.tail);
    shards.push_back(e.name);
    files.push_back({e.name, str_cat("shard ", s.number, " of ", s.count), e.size, true});
    const auto [place, is_new] = families.try_emplace(family, sets.size());
    if (is_new) sets.push_back({family, {}, {}, s.count, true});
    sets[place->second].files.push_back(e.name);
}

CKPT_DETAIL_DEF void folder_contents::add_rank(const folder_entry& e, const rank_name& r,
                                               std::map<std::string, std::size_t>& families) {
    const std::string family = std::string(r.before).append("*").append(r.after);
    files.push_back({e.name, str_cat("what rank ", r.rank, " saved"), e.size, true});
    const auto [place, is_new] = families.try_emplace(family, sets.size());
    if (is_new) sets.push_back({family, {}, {}, 0, false, set_kind::ranks});
    sets[place->second].files.push_back(e.name);
}

CKPT_DETAIL_DEF void folder_contents::add_part(const folder_entry& e, const part_name& p,
                                               std::map<std::string, std::size_t>& families) {
    files.push_back({e.name, what_part_is(p), e.size, true});
    const auto [place, is_new] = families.try_emplace(p.family, sets.size());
    if (is_new) sets.push_back({p.family, {}, {}, 0, p.kind == set_kind::llama, p.kind});
    weight_set& set = sets[place->second];
    set.files.push_back(e.name);
    // A part that is alone has the name of its file.
    set.name = set.files.size() == 1 ? e.name : p.family;
}

CKPT_DETAIL_DEF void folder_contents::prune_sets() {
    // Shards that an index names are no set of their own: "model-00001-of-00002.safetensors" beside
    // "model.safetensors.index.json".
    std::vector<std::string> named;
    for (const weight_set& set : sets)
        if (!set.index.empty()) named.push_back(family_of_index(set.index));
    sort_values(named);
    std::erase_if(sets, [&](const weight_set& set) {
        if (set.count == 0 ||
            !std::binary_search(named.begin(), named.end(), family_of_shard(*parse_shard(set.files.front()))))
            return false;
        indexed.push_back(set);
        return true;
    });
    const bool has_known = std::any_of(sets.begin(), sets.end(), [](const weight_set& set) { return set.known; });
    if (has_known) std::erase_if(sets, [](const weight_set& set) { return !set.known; });
    else if (std::any_of(sets.begin(), sets.end(), [](const weight_set& set) { return set.kind == set_kind::ranks; }))
        std::erase_if(sets, [](const weight_set& set) { return set.kind != set_kind::ranks; });
    // A model is opened as files, whatever lies beside it: a Trainer's folder has one beside DeepSpeed's
    // global_step10/.
    if (has_known) kind = folder_kind::files;
}

CKPT_DETAIL_DEF folder_contents folder_contents::of(std::span<const folder_entry> entries,
                                                    function_ref<bool(std::string_view name)> holds_checkpoint) {
    static constexpr known_file by_content{{}, file_role::possible, "a checkpoint by its content"};
    folder_contents out;
    std::map<std::string, std::size_t> families; // by name: the numbers of their sets
    for (const folder_entry& e : entries) {
        if (e.is_folder) {
            out.files.push_back({e.name, "a folder", 0, false});
            out.folders.push_back(e.name);
            if (out.kind == folder_kind::files && e.name.starts_with("global_step")) out.kind = folder_kind::zero;
            if (out.kind == folder_kind::files && e.name.starts_with("mp_rank_")) out.kind = folder_kind::megatron;
            continue;
        }
        if (e.name == ".metadata" || e.name.ends_with(".distcp")) out.kind = folder_kind::dcp;
        if (e.name == "latest" || e.name.ends_with("optim_states.pt") || e.name.ends_with("_model_states.pt"))
            out.kind = folder_kind::zero;
        if (e.name == "latest_checkpointed_iteration.txt") out.kind = folder_kind::megatron;
        if (const auto shard = parse_shard(e.name)) {
            out.add_shard(e, *shard, families);
            continue;
        }
        if (const auto part = parse_part(e.name)) {
            out.add_part(e, *part, families);
            continue;
        }
        const known_file* known = nullptr;
        for (const known_file& k : known_files)
            if (matches_segment(k.pattern, e.name)) {
                known = &k;
                break;
            }
        if (known == nullptr && holds_checkpoint(e.name)) known = &by_content;
        const file_role role = known != nullptr ? known->role : file_role::other;
        if (const auto rank = parse_rank_name(e.name);
            rank && (role == file_role::possible || role == file_role::weights)) {
            out.add_rank(e, *rank, families);
            continue;
        }
        out.files.push_back({e.name, known != nullptr ? std::string(known->is) : std::string("not known here"), e.size,
                             role == file_role::weights || role == file_role::possible || role == file_role::state});
        if (role == file_role::index) out.sets.push_back({e.name, e.name, {}, 0, true});
        if (role == file_role::weights || role == file_role::possible)
            out.sets.push_back({e.name, {}, {e.name}, 0, role == file_role::weights});
    }
    out.prune_sets();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
