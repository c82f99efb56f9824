// ckpt/folder/impl/zero_files.ipp: the definitions of zero_files.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/folder/zero_files.hpp>

#include <algorithm>
#include <system_error>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::optional<zero_name> parse_zero_name(std::string_view name) noexcept {
    const auto skip = [&name](std::string_view prefix) {
        if (!name.starts_with(prefix)) return false;
        name.remove_prefix(prefix.size());
        return true;
    };
    zero_name out;
    (void)skip("bf16_");
    if (skip("zero_pp_rank_")) {
        out.has_rank = true;
        if (!take_decimal(name, out.rank) || !skip("_")) return std::nullopt;
    }
    if (!skip("mp_rank_") || !take_decimal(name, out.model_rank)) return std::nullopt;
    (void)skip("_"); // not in files before 0.3
    out.optimizer = name == "optim_states.pt";
    if (!out.optimizer && name != "model_states.pt") return std::nullopt;
    return out;
}

CKPT_DETAIL_DEF zero_files::zero_files(folder_work& work, std::string step, std::span<const folder_entry> entries)
    : work_{work}, step_{std::move(step)} {
    for (const folder_entry& e : entries) note(e);
    if (!layers_.empty()) work_.find(part_faults::layers(step_, layers_));
}

CKPT_DETAIL_DEF void zero_files::note(const folder_entry& e) {
    if (e.is_folder || !e.name.ends_with(".pt")) return;
    if (const auto name = parse_zero_name(e.name)) {
        auto& list = name->optimizer ? optimizers_ : models_;
        ranks_of_models_ = ranks_of_models_ || (!name->optimizer && name->has_rank);
        list.push_back({.name = step_ + e.name, .rank = name->rank, .model_rank = name->model_rank});
    } else if (e.name.starts_with("expp_rank_") ||
               (e.name.starts_with("layer_") && e.name.find("_expert_") != std::string::npos)) {
        work_.find(zero_faults::experts(step_ + e.name));
    } else if (const auto part = parse_part(e.name); part && part->kind == set_kind::layers) {
        layers_.push_back(e.name);
    }
}

CKPT_DETAIL_DEF bool zero_files::open(joined_checkpoint& out) {
    if (is_sound() && pick_model_rank() && check_ranks()) open_all(out);
    if (is_sound()) find_partitions();
    if (is_sound()) {
        compare_runs();
        count_ranks();
    }
    return is_sound();
}

CKPT_DETAIL_DEF bool zero_files::pick_model_rank() {
    std::vector<std::uint64_t> ranks;
    for (const auto* list : {&models_, &optimizers_})
        for (const zero_file& f : *list) ranks.push_back(f.model_rank);
    sort_values(ranks);
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    if (ranks.size() > 1) work_.find(part_faults::tensor_parallelism(ranks.size()));
    return ranks.size() <= 1;
}

CKPT_DETAIL_DEF bool zero_files::check_ranks() {
    const auto by_rank = [](const zero_file& a, const zero_file& b) {
        return a.rank != b.rank ? a.rank < b.rank : a.name < b.name;
    };
    for (auto* list : {&models_, &optimizers_}) {
        sort_values(*list, by_rank);
        for (std::size_t i = 1; i < list->size(); ++i)
            if ((*list)[i].rank == (*list)[i - 1].rank)
                work_.find(zero_faults::same_rank((*list)[i].name, (*list)[i - 1].name));
    }
    if (models_.empty()) work_.find(zero_faults::no_model_states(step_));
    if (optimizers_.empty()) work_.find(zero_faults::no_optimizer_states(step_));
    return is_sound();
}

CKPT_DETAIL_DEF void zero_files::open_all(joined_checkpoint& out) {
    for (auto* list : {&models_, &optimizers_})
        for (zero_file& f : *list) {
            f.opened = work_.open_part(f.name);
            if (!f.opened) continue;
            f.part = out.add_part(f.name, checkpoint_access::file(*f.opened));
            f.content = f.opened->root();
        }
}

CKPT_DETAIL_DEF void zero_files::find_partitions() {
    for (zero_file& f : optimizers_) {
        const auto content = f.content.at("optimizer_state_dict");
        const auto z3 = content ? content->at("fp32_flat_groups") : content;
        const auto z12 = content ? content->at("single_partition_of_fp32_groups") : content;
        if (!content || (!z3 && !z12)) {
            work_.find(zero_faults::no_partition(f.name));
            continue;
        }
        f.content = *content;
        stage3_ = stage3_ || bool(z3);
        read_partition(f, z3 ? *z3 : *z12);
    }
    for (const zero_file& f : models_) {
        if (!f.content.at("module")) work_.find(zero_faults::no_module(f.name));
        if (!f.content.at("param_shapes")) work_.find(zero_faults::no_shapes(f.name));
    }
}

CKPT_DETAIL_DEF void zero_files::read_partition(zero_file& f, const value& groups) {
    for (const value v : groups.elements()) {
        const auto t = v.as_tensor();
        if (!t ||
            (t->refusal() == nullptr && (t->rank() != 1 || t->layout() != layout::strided || !t->is_contiguous())))
            return work_.find(zero_faults::no_vector(f.name, f.flat.size()));
        if (t->refusal() != nullptr) {
            error e = *t->refusal();
            e.file = f.name;
            return work_.find(std::move(e));
        }
        if (!type_) type_ = t->dtype();
        if (*type_ != t->dtype()) work_.find(zero_faults::mixed_types(f.name, f.flat.size(), t->dtype(), *type_));
        f.flat.push_back(tensor_access::data(*t));
    }
}

CKPT_DETAIL_DEF std::optional<std::int64_t> zero_files::number_at(const value& in, std::string_view key) {
    const auto found = in.at(key);
    if (!found) return std::nullopt;
    if (const auto n = found->as_int()) return *n;
    return std::nullopt;
}

CKPT_DETAIL_DEF std::string zero_files::text_at(const value& in, std::string_view key) {
    const auto found = in.at(key);
    const auto text = found ? found->as_string() : result<std::string_view>{std::string_view{}};
    return text && !text->empty() ? quoted(*text) : std::string{};
}

CKPT_DETAIL_DEF std::uint64_t zero_files::partitions(const value& content) {
    const auto found = content.at("partition_count");
    if (!found) return 0;
    std::int64_t most = 0;
    if (const auto n = found->as_int()) most = *n;
    for (const value v : found->elements())
        if (const auto n = v.as_int()) most = (std::max)(most, *n);
    return most > 0 ? static_cast<std::uint64_t>(most) : 0;
}

CKPT_DETAIL_DEF std::string zero_files::steps_of(const zero_file& f) {
    for (const std::string_view path : {"base_optimizer_state/state/0/step", "optimizer_state_dict/state/0/step"}) {
        const auto step = f.content.find(path);
        if (!step) continue;
        if (const auto n = step->as_int()) return decimal(*n);
        double steps = 0;
        if (const auto t = step->as_tensor(); t && t->numel() == 1 && t->copy_as(std::span(&steps, 1)))
            return decimal(static_cast<std::int64_t>((std::min)((std::max)(steps, 0.0), 1e15)));
    }
    return {};
}

CKPT_DETAIL_DEF void zero_files::compare(const std::vector<zero_file>& files, std::string_view what,
                                         std::string (*text)(const zero_file&)) {
    const zero_file* first = nullptr;
    std::string expected;
    for (const zero_file& f : files) {
        std::string own = text(f);
        if (own.empty()) continue;
        if (first == nullptr) {
            first = &f;
            expected = std::move(own);
        } else if (own != expected) {
            work_.find(zero_faults::differs(f.name, what, own, first->name, expected));
        }
    }
}

CKPT_DETAIL_DEF void zero_files::compare_runs() {
    compare(optimizers_, "this rank's partition_count is",
            [](const zero_file& f) { return decimal(partitions(f.content)); });
    compare(optimizers_, "this rank's stage is",
            [](const zero_file& f) { return std::string(f.content.at("fp32_flat_groups") ? "3" : "1 or 2"); });
    compare(optimizers_, "the number of groups of this rank is",
            [](const zero_file& f) { return decimal(std::uint64_t{f.flat.size()}); });
    compare(optimizers_, "the optimizer's step of this rank is", steps_of);
    compare(optimizers_, "the version of DeepSpeed of this rank is",
            [](const zero_file& f) { return text_at(f.opened->root(), "ds_version"); });
    compare(models_, "this rank's global_steps is", [](const zero_file& f) {
        const auto n = number_at(f.content, "global_steps");
        return n ? decimal(*n) : std::string{};
    });
    compare(models_, "the version of DeepSpeed of this rank is",
            [](const zero_file& f) { return text_at(f.content, "ds_version"); });
}

CKPT_DETAIL_DEF void zero_files::count_ranks() {
    ranks_ = partitions(optimizers_.front().content);
    if (ranks_ == 0 || ranks_ > 0xFFFF'FFFFu)
        return work_.find(zero_faults::partition_count(optimizers_.front().name, ranks_));
    const zero_file& model = models_.front();
    if (const auto dp = number_at(model.content, "dp_world_size"); dp && static_cast<std::uint64_t>(*dp) != ranks_)
        work_.find(zero_faults::world_size(model.name, *dp, ranks_));
    find_missing(optimizers_, "_optim_states.pt");
    if (stage3_ && ranks_of_models_) find_missing(models_, "_model_states.pt");
}

CKPT_DETAIL_DEF void zero_files::find_missing(const std::vector<zero_file>& files, std::string_view kind) {
    std::uint64_t missing = ranks_;
    for (const zero_file& f : files) {
        if (f.rank < ranks_) --missing;
        else work_.find(zero_faults::surplus_rank(f.name, f.rank, ranks_));
    }
    if (missing == 0 || work_.how.partial) return;
    std::vector<std::uint64_t> first;
    std::size_t at = 0;
    for (std::uint64_t r = 0; r < ranks_ && first.size() < 3; ++r) { // a file may claim any number of ranks
        if (at < files.size() && files[at].rank == r) ++at;
        else first.push_back(r);
    }
    work_.find(zero_faults::missing_ranks(step_, kind, missing, ranks_, first));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
