// ckpt/folder/impl/distributed.ipp: the definitions of distributed.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/dcp.hpp>
#include <ckpt/folder/distributed.hpp>
#include <ckpt/folder/index.hpp>
#include <ckpt/folder/zero.hpp>
#include <ckpt/folder/zero_files.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool distributed_finder::run(const std::vector<folder_entry>& entries) {
    switch (contents_.kind) {
    case folder_kind::zero: open_zero(entries); return true;
    case folder_kind::dcp: open_dcp({}, "a distributed checkpoint"); return true;
    case folder_kind::megatron: open_megatron(entries); return true;
    case folder_kind::files: break;
    }
    return contents_.sets.empty() && (open_inner() || open_iterations());
}

CKPT_DETAIL_DEF void distributed_finder::chose(std::string what, std::string why) {
    work_.report.chosen = std::move(what);
    work_.report.reason = std::move(why);
}

CKPT_DETAIL_DEF void distributed_finder::open_dcp(const std::string& step, std::string why) {
    chose(str_cat(step, ".metadata"), std::move(why));
    joined = dcp_reader{work_, step}.run();
}

CKPT_DETAIL_DEF std::string distributed_finder::first_line(const std::string& name) const {
    auto from = source::open(path_in(work_.folder, name), {.mode = io_mode::read});
    if (!from || (*from)->size() > 256) return {};
    std::string out(static_cast<std::size_t>((*from)->size()), '\0');
    if (!(*from)->read(0, std::as_writable_bytes(std::span<char>{out.data(), out.size()}))) return {};
    return out.substr(0, out.find_first_of("\r\n"));
}

CKPT_DETAIL_DEF std::optional<std::vector<folder_entry>> distributed_finder::inside(const std::string& name,
                                                                                    const std::string& named_by) {
    if (!is_plain_name(name)) {
        work_.inconsistent(named_by, str_cat("it names no folder beside it, ", quoted(name)),
                           "open the folder of one step");
        return std::nullopt;
    }
    auto out = list_folder(path_in(work_.folder, name));
    if (out) return std::move(*out);
    work_.inconsistent(named_by, str_cat("the folder ", quoted(name), " is missing (", out.error().detail, ")"),
                       "get the folder, or open that of another step");
    return std::nullopt;
}

CKPT_DETAIL_DEF bool distributed_finder::has_states(const std::vector<folder_entry>& in) {
    return std::any_of(in.begin(), in.end(), [](const folder_entry& e) {
        return !e.is_folder && (e.name.ends_with("optim_states.pt") || e.name.ends_with("_model_states.pt") ||
                                e.name.ends_with("-model_states.pt"));
    });
}

CKPT_DETAIL_DEF void distributed_finder::open_zero(const std::vector<folder_entry>& entries) {
    if (has_states(entries)) return open_step({}, entries, "one step of DeepSpeed");
    std::vector<std::string> steps;
    for (const std::string& f : contents_.folders)
        if (f.starts_with("global_step")) steps.push_back(f);
    const bool latest = contents_.has("latest");
    if (!latest && steps.size() > 1)
        return work_.find(
            {.code = errc::state_dict_ambiguous,
             .detail = str_cat(quoted(work_.folder), " holds several steps and no file latest: ", listed(steps)),
             .hint = "open the folder of one step"});
    const std::string step = latest ? first_line("latest") : steps.front();
    const auto files = inside(step, latest ? "latest" : step);
    if (!files) return;
    if (!has_states(*files))
        return work_.find({.code = errc::state_dict_missing,
                           .file = step,
                           .detail = "no file of the folder is named *_model_states.pt or *_optim_states.pt",
                           .hint = "open the file that you mean by its own path"});
    open_step(step + '/', *files, latest ? "latest names it" : "the only step");
}

CKPT_DETAIL_DEF void distributed_finder::open_step(const std::string& step, const std::vector<folder_entry>& entries,
                                                   std::string why) {
    const folder_entry* states = nullptr;
    std::size_t count = 0;
    for (const folder_entry& e : entries) {
        if (e.is_folder || !e.name.ends_with("_states.pt")) continue;
        ++count;
        if (const auto name = parse_zero_name(e.name); name && !name->optimizer && !name->has_rank) states = &e;
    }
    if (count == 1 && states != nullptr) {
        file = step + states->name;
        return chose(file, str_cat(why, "; its only file, without a 32-bit copy of the weights"));
    }
    chose(step.empty() ? "*_states.pt" : step.substr(0, step.size() - 1), std::move(why));
    joined = read_zero(work_, step, entries);
}

CKPT_DETAIL_DEF void distributed_finder::open_megatron(const std::vector<folder_entry>& entries) {
    if (!contents_.has("latest_checkpointed_iteration.txt")) return open_iteration({}, entries);
    std::string step = first_line("latest_checkpointed_iteration.txt");
    if (!step.empty() && step.find_first_not_of("0123456789") == std::string::npos)
        step = str_cat("iter_", std::string(step.size() < 7 ? 7 - step.size() : 0, '0'), step);
    if (const auto files = inside(step, "latest_checkpointed_iteration.txt")) open_iteration(step + '/', *files);
}

CKPT_DETAIL_DEF bool distributed_finder::open_iterations() {
    constexpr std::size_t most = 1000;
    std::vector<std::string> found;
    std::vector<folder_entry> files;
    for (std::size_t i = 0; i < contents_.folders.size() && i < most; ++i) {
        const std::string& name = contents_.folders[i];
        const bool is_named = name.size() > 5 && name.starts_with("iter_") &&
                              name.find_first_not_of("0123456789", 5) == std::string::npos;
        auto inner = is_named ? list_folder(path_in(work_.folder, name)) : result<std::vector<folder_entry>>{error{}};
        if (!inner || std::none_of(inner->begin(), inner->end(),
                                   [](const folder_entry& e) { return e.is_folder && e.name.starts_with("mp_rank_"); }))
            continue;
        found.push_back(name);
        files = std::move(*inner);
    }
    if (found.empty()) return false;
    if (found.size() == 1) {
        open_iteration(found.front() + '/', files);
        return true;
    }
    work_.find(
        {.code = errc::state_dict_ambiguous,
         .detail = str_cat(
             quoted(work_.folder),
             " holds several iterations of Megatron-LM and no file latest_checkpointed_iteration.txt: ", listed(found)),
         .hint = "open the folder of one iteration"});
    return true;
}

CKPT_DETAIL_DEF void distributed_finder::open_iteration(const std::string& step,
                                                        const std::vector<folder_entry>& entries) {
    std::vector<std::string> ranks;
    for (const folder_entry& e : entries) {
        if (e.name == ".metadata") return open_dcp(step, "a distributed checkpoint of Megatron-LM");
        if (e.is_folder && e.name.starts_with("mp_rank_")) ranks.push_back(step + e.name);
    }
    const auto model_of = [&](const std::string& rank) -> std::string {
        if (const auto files = list_folder(path_in(work_.folder, rank)))
            for (const std::string_view name : {"model_optim_rng.pt", "model_rng.pt", "model_weights.ckpt"})
                if (std::any_of(files->begin(), files->end(), [&](const folder_entry& e) { return e.name == name; }))
                    return rank + '/' + std::string(name);
        return {};
    };
    std::erase_if(ranks, [&](const std::string& rank) { return model_of(rank).empty(); });
    if (ranks.size() == 1) {
        file = model_of(ranks.front());
        chose(file, "the only rank");
    } else if (ranks.empty()) {
        work_.find({.code = errc::state_dict_missing,
                    .file = step,
                    .detail = "no folder mp_rank_* with a file model_optim_rng.pt",
                    .hint = "open the file that you mean by its own path"});
    } else {
        work_.find(part_faults::megatron(ranks));
    }
}

CKPT_DETAIL_DEF bool distributed_finder::open_inner() {
    constexpr std::size_t most = 64;
    std::vector<std::string> found;
    for (std::size_t i = 0; i < contents_.folders.size() && i < most; ++i) {
        const std::string& name = contents_.folders[i];
        if (!name.starts_with("optimizer") &&
            source::open(path_in(work_.folder, str_cat(name, "/.metadata")), {.mode = io_mode::read}))
            found.push_back(name);
    }
    if (found.empty()) return false;
    if (found.size() == 1) {
        open_dcp(found.front() + '/', "the only distributed checkpoint in the folder");
    } else {
        work_.find({.code = errc::state_dict_ambiguous,
                    .detail = str_cat("several folders in ", quoted(work_.folder),
                                      " are distributed checkpoints: ", listed(found)),
                    .hint = "open the one you mean"});
    }
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
