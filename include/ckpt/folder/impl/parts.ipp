// ckpt/folder/impl/parts.ipp: the definitions of parts.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/parts.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/pickle/names.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// "a-shard12.pt" becomes "a-shard*.pt" and 12: the last place where a number stands behind the word. False where none
/// does.
[[nodiscard]] inline bool star_number(std::string& name, std::string_view word, std::uint32_t& number) {
    for (std::size_t at = name.rfind(word); at != std::string::npos; at = at == 0 ? at - 1 : name.rfind(word, at - 1)) {
        std::string_view rest = std::string_view(name).substr(at + word.size());
        if (!take_decimal(rest, number)) continue;
        name = name.substr(0, at + word.size()).append("*").append(rest);
        return true;
    }
    return false;
}

CKPT_DETAIL_DEF std::optional<part_name> parse_part(std::string_view name) {
    part_name out{.family = std::string(name)};
    std::uint32_t second = 0;
    if (name.starts_with("consolidated.") && star_number(out.family, "consolidated.", out.number)) {
        out.kind = set_kind::llama;
        for (const char* const family : {"consolidated.*.pth", "consolidated.*.pt", "consolidated.*.safetensors"})
            if (out.family == family) return out;
        return std::nullopt;
    }
    if (name.starts_with("layer_") && name.ends_with("-model_states.pt")) {
        out.kind = set_kind::layers;
        if (!star_number(out.family, "layer_", out.number)) return std::nullopt;
        (void)star_number(out.family, "-model_", second);
        if (out.family != "layer_*-model_states.pt" && out.family != "layer_*-model_*-model_states.pt")
            return std::nullopt;
        return out;
    }
    if (!name.ends_with(".pt")) return std::nullopt;
    out.kind = set_kind::fairscale;
    const bool is_shard = star_number(out.family, "-shard", out.number);
    const bool is_part = star_number(out.family, "-model_part-", second);
    if (!out.family.ends_with("*.pt") || !(is_shard || is_part)) return std::nullopt;
    out.number = (std::max)(out.number, second);
    return out;
}

CKPT_DETAIL_DEF std::string what_part_is(const part_name& part) {
    const std::string number = decimal(std::uint64_t{part.number});
    if (part.kind == set_kind::llama) return str_cat("the weights, or part ", number, " of them");
    if (part.kind == set_kind::layers) return str_cat("layer ", number, " of a pipeline");
    return "a shard of fairscale";
}

namespace part_faults {

CKPT_DETAIL_DEF error not_joined(std::string detail, std::string_view hint) {
    return {.code = errc::parts_not_joined, .detail = std::move(detail), .hint = hint};
}

inline constexpr std::string_view consolidate =
    "join them with fairscale's FullyShardedDataParallel.consolidate_shard_weights; or open one part by its own path";

CKPT_DETAIL_DEF error fairscale(const std::string& family, std::size_t files) {
    const bool by_parts = family.find("-model_part-") != std::string::npos;
    return not_joined(
        str_cat(files, files == 1 ? " file" : " files", " named as parts of one model, ", quoted(family),
                ": fairscale's ",
                by_parts ? "tensor parallelism cuts it so"
                         : "FullyShardedDataParallel cuts it so, in vectors of several "
                           "parameters"),
        by_parts
            ? "join them with metaseq's scripts reshard_fsdp.py and reshard_mp.py; or open one part by its own path"
            : consolidate);
}

/// The elements of whole parameters, which stand in `described["numels"]`; 0 where they do not.
inline std::uint64_t whole_elements(const value& described, std::size_t& steps) {
    const auto sizes = described.at("numels");
    std::uint64_t out = 0;
    if (!sizes || sizes->size() > steps) return 0;
    steps -= sizes->size();
    for (const value size : sizes->elements()) {
        const auto n = size.as_int();
        if (!n || *n < 0 || !checked_add(out, static_cast<std::uint64_t>(*n), out)) return 0;
    }
    return out;
}

CKPT_DETAIL_DEF std::uint64_t fairscale_ranks(const value& root) {
    const auto modules = root.find("shard_metadata/param_metadata");
    if (!modules) return 0;
    std::size_t steps = 100'000; // one parameter tells; lists may be shared
    for (const value module : modules->elements()) {
        const auto path = module.at("fsdp_path");
        const auto parameters = module.at("params");
        const auto prefix = path ? path->as_string() : result<std::string_view>{std::string_view{}};
        if (!prefix || !parameters) continue;
        for (const auto [name, described] : parameters->entries()) {
            if (steps-- == 0) return 0;
            const auto own = name.as_string();
            const std::uint64_t whole = own ? whole_elements(described, steps) : 0;
            if (whole == 0) continue;
            const std::string key =
                prefix->empty() ? std::string(*own) : std::string(*prefix) + '.' + std::string(*own);
            for (const char* const where : {"model", "state_dict", ""}) {
                const auto weights = root.find(where);
                const auto found = weights ? weights->at(key) : weights;
                const auto tensor = found ? found->as_tensor() : result<ckpt::tensor>{ckpt::tensor{}};
                if (tensor && tensor->numel() != 0) return (whole - 1) / tensor->numel() + 1;
            }
        }
    }
    return 0;
}

CKPT_DETAIL_DEF error fairscale_shards(std::uint64_t ranks, const std::vector<std::string>& files) {
    const std::string cut = str_cat("that fairscale's FullyShardedDataParallel cut the model over ", ranks,
                                    " ranks, in vectors of several parameters");
    if (files.size() > 1)
        return not_joined(str_cat("the files say (shard_metadata) ", cut, ": ", listed(files)), consolidate);
    error out =
        not_joined(str_cat("the file says (shard_metadata) ", cut, ", and it is the only one here"), consolidate);
    out.file = files.front();
    return out;
}

CKPT_DETAIL_DEF error layers(std::string folder, const std::vector<std::string>& names) {
    std::uint64_t ranks = 0; // of tensor parallelism
    std::vector<std::uint32_t> numbers;
    for (const std::string& name : names) {
        std::string text = name;
        std::uint32_t rank = 0;
        (void)star_number(text, "-model_", rank);
        ranks = (std::max)(ranks, rank + std::uint64_t{1});
        numbers.push_back(parse_part(name)->number);
    }
    sort_values(numbers);
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    const std::uint64_t count = numbers.size();
    error out =
        not_joined(str_cat("a model whose layers are files of their own, as GPT-NeoX and DeepSpeed's pipelines save "
                           "it: ",
                           count, count == 1 ? " layer" : " layers",
                           ranks > 1 ? str_cat(", each cut over ", ranks, " ranks") : "", ", ", listed(names)),
                   "convert it with GPT-NeoX's tools/ckpts/convert_neox_to_hf.py, or with DeepSpeed's "
                   "ds_to_universal.py; or open one layer by its own path");
    out.file = std::move(folder);
    return out;
}

CKPT_DETAIL_DEF error megatron(const std::vector<std::string>& ranks) {
    std::vector<std::string> names[3]; // of ranks of tensor, pipeline and expert parallelism
    for (const std::string& rank : ranks) {
        std::string_view rest = rank;
        rest.remove_prefix(rest.rfind("mp_rank_") + 8);
        for (auto& list : names) {
            const std::size_t end = (std::min)(rest.find('_'), rest.size());
            if (end > 0 && std::find(list.begin(), list.end(), rest.substr(0, end)) == list.end())
                list.emplace_back(rest.substr(0, end));
            rest.remove_prefix((std::min)(end + 1, rest.size()));
        }
    }
    std::string cut;
    static constexpr std::string_view kinds[]{" of tensor parallelism", " of the pipeline", " of experts"};
    for (std::size_t i = 0; i < 3; ++i)
        if (names[i].size() > 1)
            cut += (cut.empty() ? "" : ", ") + decimal(std::uint64_t{names[i].size()}) + std::string(kinds[i]);
    return not_joined(str_cat("a model of Megatron-LM, cut over ", ranks.size(), " ranks: ", listed(ranks),
                              cut.empty() ? "" : str_cat(" (", cut, ")"), "; no file says along which dimensions"),
                      join_by_hand);
}

CKPT_DETAIL_DEF error tensor_parallelism(std::uint64_t ranks) {
    return not_joined(str_cat("the model is cut over ", ranks,
                              " ranks of tensor parallelism (mp_rank), and no file says along which dimensions"),
                      join_by_hand);
}

CKPT_DETAIL_DEF std::optional<error> is_one_of_several(const value& root, const std::string& file) {
    std::uint64_t ranks = 1;
    for (const std::string_view path : {"mp_world_size", "args/tensor_model_parallel_size", "args/model_parallel_size",
                                        "args/pipeline_model_parallel_size", "args/expert_model_parallel_size"}) {
        const auto found = root.find(path);
        const auto number = found ? found->as_int() : result<std::int64_t>{std::int64_t{1}};
        if (!number || *number < 2 || *number > 1'000'000) continue;
        if (path == "args/model_parallel_size" && ranks > 1) continue; // another name of the one before
        ranks *= static_cast<std::uint64_t>(*number);
    }
    if (ranks == 1) return std::nullopt;
    error out = not_joined(str_cat("the file says that the model was cut over ", ranks,
                                   " ranks, and it is the only one here: ", ranks - 1,
                                   ranks == 2 ? " is missing" : " are missing"),
                           "get the files of the other ranks; this part opens by its own path");
    out.file = file;
    return out;
}

} // namespace part_faults

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
