// ckpt/folder/impl/zero_messages.ipp: the definitions of zero_messages.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/zero_messages.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zero_faults {

inline constexpr std::string_view get_again = "get the file again";
inline constexpr std::string_view get_missing = "get the missing files";
inline constexpr std::string_view other_run = "these files are of different runs: get all files of one step";
inline constexpr std::string_view other_run_or_cut =
    "the file is of another run, or was cut: get all files of one step";

CKPT_DETAIL_DEF error inconsistent(std::string_view file, std::string detail, std::string_view hint) {
    return {.code = errc::shards_inconsistent, .file = std::string(file), .detail = std::move(detail), .hint = hint};
}

CKPT_DETAIL_DEF error experts(std::string file) {
    return {.code = errc::parts_not_joined,
            .file = std::move(file),
            .detail = "experts of a mixture, which are not joined with the other weights",
            .hint = "open the file by itself; convert the folder with DeepSpeed's ds_to_universal.py"};
}

CKPT_DETAIL_DEF error same_rank(std::string_view file, std::string_view other) {
    return inconsistent(file, str_cat("the rank of ", quoted(other)),
                        "the folder holds two runs: keep the files of one");
}

CKPT_DETAIL_DEF error no_model_states(std::string_view step) {
    return inconsistent(step, "there is no file *_model_states.pt: it holds the names and shapes of the parameters",
                        "get the missing file");
}

CKPT_DETAIL_DEF error no_optimizer_states(std::string_view step) {
    return inconsistent(step, "there is no file *_optim_states.pt: they hold the 32-bit weights",
                        "get the missing files, or open the file of the model's states by itself");
}

CKPT_DETAIL_DEF error surplus_rank(std::string_view file, std::uint64_t rank, std::uint64_t ranks) {
    return inconsistent(file, str_cat("a file of rank ", rank, " where partition_count says ", ranks, " ranks"),
                        "it is left from another run: remove it, or get all files of one step");
}

CKPT_DETAIL_DEF error missing_ranks(std::string_view step, std::string_view kind, std::uint64_t missing,
                                    std::uint64_t ranks, const std::vector<std::uint64_t>& first) {
    return inconsistent(str_cat(step, "*", kind),
                        str_cat(missing, " of ", ranks, " files are missing: ", listed_ranks(first, missing)),
                        "get the missing files; folder_options::partial opens what is there");
}

CKPT_DETAIL_DEF error no_partition(std::string_view file) {
    return inconsistent(file, "the file holds no partition of 32-bit weights",
                        "it was not written with ZeRO: open the file of the model's states by itself");
}

CKPT_DETAIL_DEF error no_module(std::string_view file) {
    return inconsistent(file, "the file holds no module", get_again);
}

CKPT_DETAIL_DEF error no_shapes(std::string_view file) {
    return inconsistent(file, "the file holds no param_shapes", "it was not written with ZeRO: open it by itself");
}

CKPT_DETAIL_DEF error differs(std::string_view file, std::string_view what, const std::string& own,
                              std::string_view other, const std::string& expected) {
    return inconsistent(file, str_cat(what, " ", own, ", and of ", quoted(other), " ", expected),
                        "these files are of different runs or steps: get all files of one step");
}

CKPT_DETAIL_DEF error partition_count(std::string_view file, std::uint64_t ranks) {
    return inconsistent(file, str_cat("partition_count is ", ranks), get_again);
}

CKPT_DETAIL_DEF error world_size(std::string_view file, std::int64_t says, std::uint64_t ranks) {
    return inconsistent(file, str_cat("dp_world_size is ", says, ", the optimizer's partition_count ", ranks),
                        other_run);
}

CKPT_DETAIL_DEF error no_vector(std::string_view file, std::uint64_t group) {
    return inconsistent(file, str_cat("group ", group, " of the partition is no vector"), get_again);
}

CKPT_DETAIL_DEF error mixed_types(std::string_view file, std::uint64_t group, dtype own, dtype other) {
    return inconsistent(
        file, str_cat("group ", group, " of the partition is ", name(own), ", another one ", name(other)), other_run);
}

CKPT_DETAIL_DEF error bad_shape(std::string_view file, std::string_view key) {
    return inconsistent(file, str_cat("the shape of ", quoted(key), " is no list of sizes"), get_again);
}

CKPT_DETAIL_DEF error key_twice(std::string_view file, std::string_view key) {
    return inconsistent(file, str_cat("param_shapes has ", quoted(key), " twice"), get_again);
}

CKPT_DETAIL_DEF error group_count(std::string_view file, std::uint64_t shapes, std::uint64_t partitions) {
    return inconsistent(file, str_cat("param_shapes has ", shapes, " groups, the partitions ", partitions), other_run);
}

CKPT_DETAIL_DEF error behind_short_partition(std::string_view file, std::uint64_t group, std::uint64_t own,
                                             std::uint64_t size) {
    return inconsistent(
        file,
        str_cat("the partition of group ", group, " has ", own, " elements behind one that is shorter than ", size),
        "a partition is too short: get all files of one step");
}

CKPT_DETAIL_DEF error group_size(std::string_view step, std::uint64_t group, std::uint64_t have, std::uint64_t needed) {
    return inconsistent(step,
                        str_cat("the partitions of group ", group, " hold ", have,
                                " elements together, param_shapes asks for ", needed),
                        "a file is of another run, or was cut: get all files of one step");
}

CKPT_DETAIL_DEF error padding_count(std::string_view file, std::uint64_t group, std::uint64_t entries,
                                    std::uint64_t parameters) {
    return inconsistent(
        file,
        str_cat("param_alignment_paddings of group ", group, " has ", entries, " entries, param_shapes ", parameters),
        other_run);
}

CKPT_DETAIL_DEF error rank_size(std::string_view file, std::uint64_t have, std::uint64_t needed) {
    return inconsistent(
        file, str_cat("the partition holds ", have, " elements, param_shapes asks for ", needed, " of each rank"),
        other_run_or_cut);
}

CKPT_DETAIL_DEF error no_frozen_piece(std::string_view file, std::string_view key, std::uint64_t elements) {
    return inconsistent(file,
                        str_cat("frozen_param_fragments has no piece of ", elements, " elements of ", quoted(key)),
                        other_run_or_cut);
}

CKPT_DETAIL_DEF error incomplete(std::string_view key, std::string missing) {
    return {
        .code = errc::shards_inconsistent, .path = std::string(key), .detail = std::move(missing), .hint = get_missing};
}

CKPT_DETAIL_DEF error tied_to_incomplete(std::string_view key, std::string_view source) {
    return {.code = errc::shards_inconsistent,
            .path = printable(key),
            .detail = str_cat("this tensor is tied to ", quoted(source), ", of which a part is missing"),
            .hint = get_missing};
}

CKPT_DETAIL_DEF error unknown_weight(std::string_view key, bool without_ranks) {
    std::string detail = "a weight of stage 3 that neither param_shapes nor frozen_param_shapes has";
    if (without_ranks) detail += "; model states of other ranks, which may, are missing";
    return {.code = errc::shards_inconsistent,
            .path = printable(key),
            .detail = std::move(detail),
            .hint = "get all files of one step"};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zero_faults
