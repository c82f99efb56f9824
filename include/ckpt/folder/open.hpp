// ckpt/folder/open.hpp: opens the model of a folder.
//
// SPDX-License-Identifier: MIT
// In:      a directory, or the "*.index.json" of a set of shards; a policy; options.
// Out:     the same `checkpoint` that `open` gives, of the one file, the set of shards or the distributed checkpoint
// that
//          holds the weights.
// Refuses: folders with several candidate sets or none, and sets that disagree with their index or with each other:
//          everything that is wrong is told at once.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/folder/contents.hpp>
#include <ckpt/folder/distributed.hpp>
#include <ckpt/folder/index.hpp>
#include <ckpt/folder/ranks.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/shard_set.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// What the files of a folder may name.
struct folder_policy {
    allowlist files{};
    allowlist metadata{}; // .metadata of a distributed checkpoint

    template <policy P> [[nodiscard]] static constexpr folder_policy of() {
        if constexpr (admits_attacks_part<P>) return {allowlist_of<P>(), allowlist_of<P>()};
        else return {allowlist_of<P>(), allowlist_of<allow<dcp_globals, P>>()};
    }
};

/// What was found in a folder, and opened.
struct examined_folder {
    folder_report report{};
    std::vector<shard> shards{};      // of a set, opened
    std::optional<checkpoint> file{}; // or the one file
    shared<checkpoint_file> joined{}; // or what a distributed checkpoint, or the files of all ranks, became
};

/// What stands between a directory and its model.
class folder_examiner {
  public:
    folder_examiner(std::string path, const folder_policy& allowed, const open_options& options,
                    const folder_options& how)
        : work_{std::move(path), allowed.files, allowed.metadata, options, how, {}} {}

    /// Fails only where the path itself cannot be looked at.
    [[nodiscard]] result<examined_folder> run() {
        std::string index;
        std::string& folder = work_.folder;
        if (folder.ends_with(".json") && !list_folder(folder)) {
            const std::size_t slash = folder.find_last_of('/');
            index = folder.substr(slash == std::string::npos ? 0 : slash + 1);
            folder = slash == std::string::npos ? "." : folder.substr(0, slash + 1);
        }
        auto entries = list_folder(folder);
        if (!entries) return std::move(entries).error();
        contents_ = folder_contents::of(*entries);
        folder_report& report = work_.report;
        report.files = contents_.files;
        for (const weight_set& set : contents_.sets) report.candidates.push_back(set.name);

        weight_set chosen{index, index, {}, 0, true};
        if (!index.empty()) {
            report.reason = "it was asked for";
            open_set(chosen);
        } else if (distributed_finder distributed{work_, contents_}; distributed.run(*entries)) {
            out_.joined = std::move(distributed.joined);
            if (!distributed.file.empty()) open_single(distributed.file);
        } else if (choose(chosen)) {
            open_set(chosen);
        }
        if (!report.findings.empty()) out_.shards.clear();
        out_.report = std::move(report);
        return std::move(out_);
    }

  private:
    void find(error e) { work_.find(std::move(e)); }
    void inconsistent(std::string_view file, std::string detail, std::string_view hint) {
        work_.inconsistent(file, std::move(detail), hint);
    }

    void open_set(const weight_set& chosen) {
        work_.report.chosen = chosen.name;
        if (!chosen.index.empty()) open_indexed(chosen.index);
        else if (chosen.ranks) open_ranks(chosen);
        else if (chosen.count > 0) open_family(chosen);
        else open_single(chosen.files.front());
    }

    /// The one set that may be the weights, or a finding.
    [[nodiscard]] bool choose(weight_set& chosen) {
        if (contents_.sets.size() == 1) {
            chosen = contents_.sets.front();
            work_.report.reason = chosen.known   ? "its name means weights"
                                  : chosen.ranks ? "one file for each rank"
                                                 : "no other file of the folder can hold the weights";
            return true;
        }
        error e{.code = errc::state_dict_ambiguous};
        if (contents_.sets.empty()) {
            const bool any = std::any_of(contents_.files.begin(), contents_.files.end(),
                                         [](const folder_file& f) { return f.is_checkpoint; });
            e.code = any ? errc::state_dict_missing : errc::not_a_checkpoint;
            e.detail = "no file in " + quoted(work_.folder) + " is known to hold weights" + some_names();
            e.hint = "open the file that you mean by its own path";
        } else {
            e.detail = "several files in " + quoted(work_.folder) + " may hold the weights: " +
                       listed(work_.report.candidates, contents_.sets.size() == 2 ? " and " : ", ");
            e.hint = "open the one you mean: the file itself, or the index of a set of shards";
        }
        find(std::move(e));
        return false;
    }
    /// "; it has ..., +2 more", so that somebody who named the wrong folder sees it.
    [[nodiscard]] std::string some_names() const {
        if (contents_.files.empty()) return "; it is empty";
        std::vector<std::string> names;
        for (const folder_file& f : contents_.files) names.push_back(f.name);
        return "; it has " + listed(names, ", ");
    }
    void open_single(const std::string& name) {
        work_.report.parts.push_back(name);
        auto opened = work_.open_one(name, work_.options);
        if (!opened) return find(std::move(opened).error());
        checkpoint_access::file(*opened)->found_as(name);
        out_.file = std::move(*opened);
    }
    void open_ranks(const weight_set& set) {
        rank_reader reader{work_, set.files};
        out_.joined = reader.run();
        if (reader.is_whole()) open_single(set.files.front());
    }
    /// Opens a shard; its tensors are those of its root.
    void open_shard(const std::string& name) {
        const auto opened = work_.open_part(name);
        if (!opened) return;
        auto weights = opened->state_dict("");
        if (!weights) {
            weights.error().file = name;
            return find(std::move(weights).error());
        }
        out_.shards.push_back({name, checkpoint_access::file(*opened), std::move(*weights)});
    }

    /// Shards without an index: their names say how many belong together.
    void open_family(const weight_set& set) {
        std::vector<std::uint32_t> there;
        for (const std::string& name : set.files) there.push_back(parse_shard(name)->number);
        std::sort(there.begin(), there.end());
        there.erase(std::unique(there.begin(), there.end()), there.end());
        if (const std::uint64_t missing = set.count - there.size(); missing > 0) {
            std::string which; // the first of them; a name may claim any number
            std::uint64_t told = 0;
            for (std::uint32_t i = 1; i <= set.count && told < 3; ++i) {
                if (std::binary_search(there.begin(), there.end(), i)) continue;
                which.append(told++ > 0 ? ", number " : "number ") += decimal(std::uint64_t{i});
            }
            inconsistent(set.name,
                         decimal(missing) + " of " + decimal(std::uint64_t{set.count}) + " shards are missing: " +
                             which + (missing > told ? ", +" + decimal(missing - told) + " more" : ""),
                         "get the missing files; the names of the others say how many there are");
        }
        for (const std::string& name : set.files) open_shard(name);
        find_duplicates();
    }

    void open_indexed(const std::string& index_name) {
        auto index = shard_index::read(path_in(work_.folder, index_name), work_.options.limits);
        if (!index) {
            if (index.error().file.empty()) index.error().file = index_name;
            return find(std::move(index).error());
        }
        std::vector<std::uint64_t> keys_of(index->files.size());
        for (const shard_index::entry& e : index->entries) ++keys_of[e.file];
        if (index->files.empty()) inconsistent(index_name, "the index names no shard", "get the index again");
        std::vector<std::size_t> place(index->files.size(), no_shard); // among the opened ones
        for (std::size_t i = 0; i < index->files.size(); ++i) {
            const std::string name(index->files[i]);
            const std::string keys = " for " + decimal(keys_of[i]) + (keys_of[i] == 1 ? " key" : " keys");
            if (!is_plain_name(name)) {
                inconsistent(index_name, "the index names a file outside the folder, " + quoted(name) + keys,
                             "shards lie beside their index; do not trust this one");
            } else if (!contents_.has(name)) {
                inconsistent(index_name, "the shard " + quoted(name) + " is missing, which the index names" + keys,
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
                inconsistent(name, "a shard that the index " + quoted(index_name) + " does not name",
                             "it belongs to another set, or the index is of another: get both again");
        compare_keys(index_name, *index, place);
        find_duplicates();
    }

    /// Keys that the index names and their shard has not, and keys of a shard that the index does not know.
    void compare_keys(const std::string& index_name, const shard_index& index, const std::vector<std::size_t>& place) {
        std::vector<std::vector<std::string_view>> absent(index.files.size());
        for (const shard_index::entry& e : index.entries) {
            const std::size_t at = place[e.file];
            if (at != no_shard && !out_.shards[at].has(e.key)) absent[e.file].push_back(e.key);
        }
        for (std::size_t i = 0; i < index.files.size(); ++i) {
            if (!absent[i].empty())
                inconsistent(index.files[i],
                             "the index names " + decimal(std::uint64_t{absent[i].size()}) +
                                 (absent[i].size() == 1 ? " key" : " keys") +
                                 " that this shard has not: " + listed(absent[i], ", "),
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
                             "this shard has " + decimal(std::uint64_t{unknown.size()}) +
                                 (unknown.size() == 1 ? " key" : " keys") + " that the index " + quoted(index_name) +
                                 " does not name: " + listed(unknown, ", "),
                             "index and shards are of different models, or of different saves: get them again");
        }
    }
    void find_duplicates() {
        for (const shard_set::duplicate& d : shard_set::duplicates(out_.shards))
            inconsistent(d.files[1], "the key " + quoted(d.key) + " is also in " + quoted(d.files[0]),
                         "two shards of one model share no key: get them again");
    }

    static constexpr std::size_t no_shard = ~std::size_t{0};

    folder_work work_;
    folder_contents contents_{};
    examined_folder out_{};
};

/// One error for all findings. A refused global outranks damage, as in one file.
[[nodiscard]] inline error joined_findings(const std::vector<error>& findings) {
    for (const error& e : findings)
        if (e.code == errc::global_not_allowed) return e;
    error out = findings.front();
    if (findings.size() == 1) return out;
    out = {.code = errc::shards_inconsistent, .hint = "`ckpt verify` lists each finding by itself"};
    constexpr std::size_t most = 100; // a set may lack any number of shards
    for (const error& e : findings) {
        if (&e - findings.data() == most) {
            out.detail += "; +" + decimal(std::uint64_t{findings.size() - most}) + " more";
            break;
        }
        if (!out.detail.empty()) out.detail += "; ";
        if (!e.file.empty()) out.detail += printable(e.file) + ": ";
        out.detail += e.detail.empty() ? std::string(info(e.code).meaning) : e.detail;
        if (e.code != errc::shards_inconsistent) out.detail += " (" + std::string(info(e.code).name) + ')';
    }
    return out;
}

[[nodiscard]] inline result<checkpoint> open_folder(const std::string& path, const folder_policy& allowed,
                                                    const open_options& options, const folder_options& how) {
    auto seen = folder_examiner{path, allowed, options, how}.run();
    if (!seen) return std::move(seen).error();
    if (!seen->report.findings.empty()) return joined_findings(seen->report.findings);
    if (seen->file) return std::move(*seen->file);
    if (seen->joined) return checkpoint{std::move(seen->joined), options.storages};
    return checkpoint{shared<checkpoint_file>{detail::make_shared<shard_set>(std::move(seen->shards), options.limits)},
                      options.storages};
}

} // namespace detail

/// Opens the model in a directory (a Trainer's or accelerate's checkpoint folder, a downloaded model, a distributed
/// checkpoint of PyTorch or of DeepSpeed), or in the set of shards that an "*.index.json" describes.
/// `checkpoint::files` says which files were opened. The options concern each file; `offset` and `length` do not apply.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open_folder(path_arg path, const open_options& options = {},
                                             const folder_options& how = {}) {
    if (!path.usable()) return error{.code = errc::cannot_open, .detail = "the path is null or has a NUL byte inside"};
    constexpr auto allowed = detail::folder_policy::of<P>();
    return detail::open_folder(path.text(), allowed, options, how);
}

/// Looks through a directory as `open_folder` does, and tells what each file is and everything that is wrong. Fails
/// only where the directory cannot be read.
template <policy P = training_policy>
[[nodiscard]] result<folder_report> inspect_folder(path_arg path, const open_options& options = {},
                                                   const folder_options& how = {}) {
    if (!path.usable()) return error{.code = errc::cannot_open, .detail = "the path is null or has a NUL byte inside"};
    constexpr auto allowed = detail::folder_policy::of<P>();
    auto seen = detail::folder_examiner{path.text(), allowed, options, how}.run();
    if (!seen) return std::move(seen).error();
    return std::move(seen->report);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
