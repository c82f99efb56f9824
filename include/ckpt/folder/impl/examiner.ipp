// ckpt/folder/impl/examiner.ipp: the definitions of examiner.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/short_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/distributed.hpp>
#include <ckpt/folder/examiner.hpp>
#include <ckpt/folder/llama.hpp>
#include <ckpt/folder/ranks.hpp>
#include <ckpt/io/folder.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/open_source.hpp>
#include <ckpt/torch/zip_layout.hpp>

#include <algorithm>
#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<examined_folder> folder_examiner::examine(path_arg path, allowlist files, allowlist metadata,
                                                                 const open_options& options,
                                                                 const folder_options& how) {
    if (!path.usable()) return error{.code = errc::cannot_open, .detail = "the path is null or has a NUL byte inside"};
    return folder_examiner{path.text(), files, metadata, options, how}.run();
}

CKPT_DETAIL_DEF result<examined_folder> folder_examiner::run() {
    std::string index;
    std::string& folder = work_.folder;
    if (folder.ends_with(".json") && !list_folder(folder)) {
        index = folder.substr(name_offset(folder));
        folder = folder_of(folder);
    }
    out_.folder = folder;
    auto entries = list_folder(folder);
    if (!entries) return std::move(entries).failure();
    contents_ = folder_contents::of(*entries, [this](std::string_view name) { return holds_checkpoint(name); });
    folder_report& report = work_.report;
    report.files = contents_.files;
    for (const weight_set& set : contents_.sets) report.candidates.push_back(set.name);

    weight_set chosen{index, index, {}, 0, true};
    if (!index.empty()) {
        report.reason = "it was asked for";
        open_set(chosen);
    } else if (distributed_finder distributed{work_, contents_}; distributed.run(*entries)) {
        out_.joined = std::move(distributed.joined);
        if (!distributed.file.empty()) open_alone(distributed.file);
    } else if (choose(chosen)) {
        open_set(chosen);
    }
    if (!report.findings.empty()) out_.shards.clear();
    out_.report = std::move(report);
    return std::move(out_);
}

CKPT_DETAIL_DEF bool folder_examiner::holds_checkpoint(std::string_view name) const {
    const auto opened = source::open(path_in(work_.folder, name), {io_mode::read, 0, ~std::uint64_t{0}});
    if (!opened) return false;
    const auto chosen = chosen_source::of(*opened, work_.options);
    if (!chosen) return false;
    if (chosen->is != container_kind::zip) return chosen->is != container_kind::none;
    arena memory{work_.options.scratch.pool()}; // most archives are none of PyTorch's
    const auto archive = zip_archive::read(*chosen->from, work_.options.limits, memory);
    return archive && zip_layout::read(*chosen->from, *archive, work_.options.inflate, memory).has_value();
}

CKPT_DETAIL_DEF void folder_examiner::open_set(const weight_set& chosen) {
    work_.report.chosen = chosen.name;
    if (!chosen.index.empty()) open_indexed(chosen.index);
    else if (chosen.kind == set_kind::ranks) open_ranks(chosen);
    else if (chosen.kind == set_kind::layers) find(part_faults::layers({}, chosen.files));
    else if (chosen.kind == set_kind::fairscale) open_fairscale(chosen);
    else if (chosen.kind == set_kind::llama) open_llama(chosen);
    else if (chosen.count > 0) open_family(chosen);
    else open_single(chosen.files.front());
}

CKPT_DETAIL_DEF bool folder_examiner::choose(weight_set& chosen) {
    if (contents_.sets.size() == 1) {
        chosen = contents_.sets.front();
        work_.report.reason = chosen.known                     ? "its name means weights"
                              : chosen.kind == set_kind::ranks ? "one file for each rank"
                              : chosen.kind != set_kind::plain ? "parts of one model"
                              : contents_.folders.empty()
                                  ? "no other file looks like weights"
                                  : "no other file looks like weights; folders in the folder were not looked into";
        return true;
    }
    if (are_fairscale_shards()) return false;
    error e{.code = errc::state_dict_ambiguous};
    if (contents_.sets.empty()) {
        const bool any = std::any_of(contents_.files.begin(), contents_.files.end(),
                                     [](const folder_file& f) { return f.is_checkpoint; });
        e.code = any ? errc::state_dict_missing : errc::not_a_checkpoint;
        e.detail = str_cat("no file in ", quoted(work_.folder), " is known to hold weights", some_names());
        e.hint = contents_.folders.empty() ? "open the file that you mean by its own path"
                                           : "open the file, or the folder in it, that you mean by its own path";
    } else {
        e.detail = str_cat("several files in ", quoted(work_.folder), " may hold the weights: ",
                           listed(work_.report.candidates, contents_.sets.size() == 2 ? " and " : ", "));
        for (const weight_set& set : contents_.sets)
            if (!set.index.empty() && names_nothing_here(set.index))
                e.detail += str_cat("; of the shards that ", quoted(set.index), " names none is here");
        e.hint = "open the one you mean: the file itself, or the index of a set of shards";
    }
    find(std::move(e));
    return false;
}

CKPT_DETAIL_DEF bool folder_examiner::are_fairscale_shards() {
    std::uint64_t ranks = 0;
    std::vector<std::string> files;
    for (const weight_set& set : contents_.sets) {
        if (set.kind != set_kind::plain || set.files.size() != 1) return false;
        const auto opened = work_.open_one(set.files.front(), work_.options);
        if (!opened) return false;
        const std::uint64_t said = part_faults::fairscale_ranks(opened->root());
        if (said < 2) return false;
        ranks = (std::max)(ranks, said);
        files.push_back(set.files.front());
    }
    if (files.empty()) return false;
    find(part_faults::fairscale_shards(ranks, files));
    return true;
}

CKPT_DETAIL_DEF std::string folder_examiner::some_names() const {
    if (contents_.files.empty()) return "; it is empty";
    std::vector<std::string> names;
    for (const folder_file& f : contents_.files) names.push_back(f.name);
    return str_cat("; it has ", listed(names, ", "));
}

CKPT_DETAIL_DEF void folder_examiner::open_single(const std::string& name) {
    work_.report.parts.push_back(name);
    auto opened = work_.open_one(name, work_.options);
    if (!opened) return find(std::move(opened).error());
    if (const std::uint64_t ranks = part_faults::fairscale_ranks(opened->root()); ranks > 1)
        return find(part_faults::fairscale_shards(ranks, {name}));
    checkpoint_access::file(*opened)->found_in_folder(name);
    out_.file = std::move(*opened);
}

CKPT_DETAIL_DEF void folder_examiner::open_ranks(const weight_set& set) {
    rank_reader reader{work_, set.files};
    out_.joined = reader.run();
    if (reader.is_whole()) open_single(set.files.front());
}

CKPT_DETAIL_DEF void folder_examiner::open_llama(const weight_set& set) {
    llama_reader reader{work_, set.files};
    out_.joined = reader.run();
    if (reader.is_whole()) open_single(set.files.front());
}

CKPT_DETAIL_DEF void folder_examiner::open_fairscale(const weight_set& set) {
    if (set.files.size() > 1 || parse_part(set.files.front())->number > 0)
        return find(part_faults::fairscale(set.name, set.files.size()));
    open_single(set.files.front());
}

CKPT_DETAIL_DEF void folder_examiner::open_alone(const std::string& name) {
    open_single(name);
    if (!out_.file) return;
    if (auto others = part_faults::is_one_of_several(out_.file->root(), name)) find(std::move(*others));
}

CKPT_DETAIL_DEF void folder_examiner::open_shard(const std::string& name) {
    const auto opened = work_.open_part(name);
    if (!opened) return;
    auto weights = opened->state_dict("");
    if (!weights) {
        weights.error().file = name;
        return find(std::move(weights).error());
    }
    out_.shards.push_back({name, checkpoint_access::file(*opened), std::move(*weights)});
}

CKPT_DETAIL_DEF std::vector<std::uint32_t> folder_examiner::numbers_of(const weight_set& set) {
    std::vector<std::uint32_t> out;
    for (const std::string& name : set.files) out.push_back(parse_shard(name)->number);
    sort_values(out);
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

CKPT_DETAIL_DEF void folder_examiner::open_family(const weight_set& set) {
    const std::vector<std::uint32_t> there = numbers_of(set);
    if (const std::uint64_t missing = set.count - there.size(); missing > 0) {
        std::string which;
        short_list list{which};
        std::uint64_t told = 0;
        for (std::uint32_t i = 1; i <= set.count && told < 3; ++i) { // a name may claim any number
            if (std::binary_search(there.begin(), there.end(), i)) continue;
            ++told;
            if (list.next()) which += str_cat("number ", i);
        }
        list.skip(missing - told);
        list.end();
        find({.code = errc::parts_not_joined,
              .file = set.name,
              .detail = str_cat(missing, " of ", set.count, " shards are missing: ", which),
              .hint = "get the missing files; the names of the others say how many there are"});
    }
    for (const std::string& name : set.files) open_shard(name);
    const std::vector<shard_set::duplicate> twice = shard_set::duplicates(out_.shards);
    if (!twice.empty())
        find({.code = errc::parts_not_joined,
              .file = set.name,
              .detail = str_cat(twice.size(), twice.size() == 1 ? " key is" : " keys are",
                                " in several files of the set: ", quoted(twice.front().key), " in ",
                                quoted(twice.front().files[0]), " and ", quoted(twice.front().files[1]),
                                "; no index says which one counts"),
              .hint = "get the index, and the files again; if they are slices of one model: open one by its own path, "
                      "in C++ they are joined by rules (docs/formats.md, Parts of one model)"});
}

CKPT_DETAIL_DEF bool folder_examiner::names_nothing_here(const std::string& index_name) const {
    const auto index = shard_index::read(path_in(work_.folder, index_name), work_.options.limits);
    return index && !index->files.empty() &&
           std::none_of(index->files.begin(), index->files.end(),
                        [&](std::string_view name) { return contents_.has(name); });
}

CKPT_DETAIL_DEF bool folder_examiner::is_stale(const std::string& index_name, const shard_index& index) {
    std::vector<std::string_view> missing;
    for (const std::string_view name : index.files)
        if (is_plain_name(name) && !contents_.has(name)) missing.push_back(name);
    if (missing.empty()) return false;
    for (const weight_set& set : contents_.indexed) {
        if (!belongs_to_index(index_name, *parse_shard(set.files.front())) || numbers_of(set).size() != set.count)
            continue;
        inconsistent(index_name,
                     str_cat("the index names ", missing.size(),
                             missing.size() == 1 ? " shard that is" : " shards that are", " not here, ",
                             listed(missing), ", while ", quoted(set.name),
                             " is a whole set by itself: the index is of another save"),
                     "get the index of these files; or move this one away: they open without an index");
        return true;
    }
    return false;
}

CKPT_DETAIL_DEF void folder_examiner::open_indexed(const std::string& index_name) {
    auto index = shard_index::read(path_in(work_.folder, index_name), work_.options.limits);
    if (!index) {
        if (index.error().file.empty()) index.error().file = index_name;
        return find(std::move(index).error());
    }
    if (is_stale(index_name, *index)) return;
    std::vector<std::uint64_t> keys_of(index->files.size());
    for (const shard_index::entry& e : index->entries) ++keys_of[e.file];
    if (index->files.empty()) inconsistent(index_name, "the index names no shard", "get the index again");
    std::vector<std::size_t> place(index->files.size(), no_shard); // among the opened ones
    for (std::size_t i = 0; i < index->files.size(); ++i) {
        const std::string name(index->files[i]);
        const std::string keys = str_cat(" for ", keys_of[i], keys_of[i] == 1 ? " key" : " keys");
        if (!is_plain_name(name)) {
            inconsistent(index_name, str_cat("the index names a file outside the folder, ", quoted(name), keys),
                         "shards lie beside their index; do not trust this one");
        } else if (!contents_.has(name)) {
            inconsistent(index_name, str_cat("the shard ", quoted(name), " is missing, which the index names", keys),
                         "get the missing file");
        } else {
            const std::size_t before = out_.shards.size();
            open_shard(name);
            if (out_.shards.size() > before) place[i] = before;
        }
    }
    for (const std::string& name : contents_.shards)
        if (!std::binary_search(index->files.begin(), index->files.end(), name) &&
            belongs_to_index(index_name, *parse_shard(name)))
            inconsistent(name, str_cat("a shard that the index ", quoted(index_name), " does not name"),
                         "it belongs to another set, or the index is of another: get both again");
    compare_keys(index_name, *index, place);
    find_duplicates();
}

CKPT_DETAIL_DEF void folder_examiner::compare_keys(const std::string& index_name, const shard_index& index,
                                                   const std::vector<std::size_t>& place) {
    std::vector<std::vector<std::string_view>> absent(index.files.size());
    for (const shard_index::entry& e : index.entries) {
        const std::size_t at = place[e.file];
        if (at != no_shard && !out_.shards[at].has(e.key)) absent[e.file].push_back(e.key);
    }
    for (std::size_t i = 0; i < index.files.size(); ++i) {
        if (!absent[i].empty())
            inconsistent(index.files[i],
                         str_cat("the index names ", absent[i].size(), absent[i].size() == 1 ? " key" : " keys",
                                 " that this shard has not: ", listed(absent[i], ", ")),
                         "index and shards are of different models, or of different saves: get them again");
        if (place[i] == no_shard) continue;
        std::vector<std::string_view> unknown;
        for (const auto entry : out_.shards[place[i]].weights) {
            const auto found =
                std::lower_bound(index.entries.begin(), index.entries.end(), entry.key,
                                 [](const shard_index::entry& e, std::string_view key) { return e.key < key; });
            if (found == index.entries.end() || found->key != entry.key)
                unknown.push_back(entry.key); // a tensor; what else is there need not be named
        }
        if (!unknown.empty())
            inconsistent(index.files[i],
                         str_cat("this shard has ", unknown.size(), unknown.size() == 1 ? " key" : " keys",
                                 " that the index ", quoted(index_name), " does not name: ", listed(unknown, ", ")),
                         "index and shards are of different models, or of different saves: get them again");
    }
}

CKPT_DETAIL_DEF void folder_examiner::find_duplicates() {
    for (const shard_set::duplicate& d : shard_set::duplicates(out_.shards))
        inconsistent(d.files[1], str_cat("the key ", quoted(d.key), " is also in ", quoted(d.files[0])),
                     "two shards of one model share no key: get them again");
}

CKPT_DETAIL_DEF error joined_findings(const std::vector<error>& findings) {
    for (const error& e : findings)
        if (e.code == errc::global_not_allowed) return e;
    error out = findings.front();
    if (findings.size() == 1) return out;
    const bool are_parts =
        std::all_of(findings.begin(), findings.end(), [](const error& e) { return e.code == errc::parts_not_joined; });
    out = {.code = are_parts ? errc::parts_not_joined : errc::shards_inconsistent,
           .hint = "inspect_folder gives each finding by itself"};
    // A set may lack any number of shards.
    short_list list{out.detail, {.most = 100, .separator = "; ", .before_rest = "; +"}};
    for (const error& e : findings) {
        if (!list.next()) continue;
        if (!e.file.empty()) out.detail += str_cat(printable(e.file), ": ");
        out.detail += e.detail.empty() ? std::string(info(e.code).meaning) : e.detail;
        if (e.code != out.code) out.detail += str_cat(" (", info(e.code).name, ")");
    }
    list.end();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
