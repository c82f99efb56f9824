// ckpt/folder/impl/zero.ipp: the definitions of zero.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/folder/zero.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::optional<zero_name> parse_zero_name(std::string_view name) noexcept {
    const auto skip = [&name](std::string_view prefix) {
        return name.starts_with(prefix) && (name.remove_prefix(prefix.size()), true);
    };
    const auto number = [&name](std::uint32_t& value) {
        const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), value);
        if (failure != std::errc{}) return false;
        name.remove_prefix(static_cast<std::size_t>(end - name.data()));
        return true;
    };
    zero_name out;
    (void)skip("bf16_");
    if (skip("zero_pp_rank_")) {
        out.has_rank = true;
        if (!number(out.rank) || !skip("_")) return std::nullopt;
    }
    if (!skip("mp_rank_") || !number(out.model_rank)) return std::nullopt;
    (void)skip("_"); // not in files before 0.3
    out.optimizer = name == "optim_states.pt";
    if (!out.optimizer && name != "model_states.pt") return std::nullopt;
    return out;
}

CKPT_DETAIL_DEF void tensor_pieces::add(std::uint64_t n, std::uint32_t node) {
    parts.push_back(node);
    size += n;
}

CKPT_DETAIL_DEF void tensor_pieces::lose(std::uint64_t n, std::uint64_t rank) {
    missing.push_back({rank, size, n});
    size += n;
}

CKPT_DETAIL_DEF std::string tensor_pieces::what_is_missing() const {
    std::string ranges;
    std::vector<std::uint64_t> ranks;
    for (const lost& l : missing) {
        if (ranks.size() < 3)
            ranges += (ranks.empty() ? "" : ", ") + decimal(l.first) +
                      (l.count > 1 ? " to " + decimal(l.first + l.count - 1) : std::string());
        ranks.push_back(l.rank);
    }
    if (ranks.size() > 3) ranges += ", +" + decimal(std::uint64_t{ranks.size() - 3}) + " more";
    const bool one = missing.size() == 1 && missing[0].count == 1;
    return (one ? "element " : "elements ") + ranges + " of this tensor " + (one ? "is" : "are") +
           " in the partition of " + listed_ranks(ranks) + ", which is missing";
}

CKPT_DETAIL_DEF void flat_vector::add(std::uint64_t n, std::uint32_t node, std::uint32_t rank) {
    stretches.push_back({size, n, node, rank});
    size += n;
}

CKPT_DETAIL_DEF void flat_vector::cut(gather_plan& plan, std::uint64_t first, std::uint64_t n,
                                      tensor_pieces& out) const {
    auto at = std::upper_bound(stretches.begin(), stretches.end(), first,
                               [](std::uint64_t f, const stretch& s) { return f < s.begin + s.size; });
    for (std::uint64_t done = 0; done < n; ++at) {
        const std::uint64_t skip = first + done - at->begin;
        const std::uint64_t here = (std::min)(at->size - skip, n - done);
        if (here == 0) continue;
        if (at->node == gather_plan::none) out.lose(here, at->rank);
        else out.add(here, plan.narrow(at->node, 0, static_cast<std::int64_t>(skip), static_cast<std::int64_t>(here)));
        done += here;
    }
}

CKPT_DETAIL_DEF shared<checkpoint_file> zero_reader::run() {
    if (work_.report.findings.empty() && pick_model_rank()) open_all();
    if (work_.report.findings.empty()) read_facts();
    if (!work_.report.findings.empty()) return {};
    read_groups();
    read_frozen();
    if (!work_.report.findings.empty()) return {};
    const std::uint32_t root = build();
    if (!work_.report.findings.empty()) return {};
    std::uint64_t bytes = 0;
    std::vector<std::string> files;
    for (const auto* list : {&models_, &optimizers_})
        for (const file& f : *list)
            if (f.opened) {
                bytes += f.opened->file_bytes();
                files.push_back(f.name);
            }
    out_->finish(root, std::move(files), bytes);
    return shared<checkpoint_file>{out_};
}

CKPT_DETAIL_DEF void zero_reader::note(const folder_entry& e) {
    if (e.is_folder || !e.name.ends_with(".pt")) return;
    if (const auto name = parse_zero_name(e.name)) {
        auto& list = name->optimizer ? optimizers_ : models_;
        ranks_of_models_ = ranks_of_models_ || (!name->optimizer && name->has_rank);
        list.push_back({step_ + e.name, name->rank, name->model_rank, {}, {}, {}, {}});
    } else if (const bool expert = e.name.starts_with("layer_") && e.name.find("_expert_") != std::string::npos;
               expert || e.name.starts_with("expp_rank_") || e.name.starts_with("layer_")) {
        work_.find({.code = errc::container_not_supported,
                    .file = step_ + e.name,
                    .detail = expert || e.name.starts_with("expp")
                                  ? "experts of a mixture, which are not joined with the other weights"
                                  : "one stage of a pipeline, which is not joined with the others",
                    .hint = "open the file by itself; convert the folder with DeepSpeed's ds_to_universal.py"});
    }
}

CKPT_DETAIL_DEF bool zero_reader::pick_model_rank() {
    std::vector<std::uint64_t> ranks;
    for (const auto* list : {&models_, &optimizers_})
        for (const file& f : *list) ranks.push_back(f.model_rank);
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    if (ranks.size() > 1) {
        work_.find({.code = errc::container_not_supported,
                    .detail = "the model is cut over " + decimal(std::uint64_t{ranks.size()}) +
                              " ranks of tensor parallelism (mp_rank), and no file says along which dimensions",
                    .hint = "open one rank: move the files of one mp_rank to a folder of their own"});
        return false;
    }
    const auto by_rank = [](const file& a, const file& b) {
        return a.rank != b.rank ? a.rank < b.rank : a.name < b.name;
    };
    for (auto* list : {&models_, &optimizers_}) {
        std::sort(list->begin(), list->end(), by_rank);
        for (std::size_t i = 1; i < list->size(); ++i)
            if ((*list)[i].rank == (*list)[i - 1].rank)
                work_.inconsistent((*list)[i].name, "the rank of " + quoted((*list)[i - 1].name),
                                   "the folder holds two runs: keep the files of one");
    }
    if (models_.empty())
        work_.inconsistent(step_, "there is no file *_model_states.pt: it holds the names and shapes of the parameters",
                           "get the missing file");
    if (optimizers_.empty())
        work_.inconsistent(step_, "there is no file *_optim_states.pt: they hold the 32-bit weights",
                           "get the missing files, or open the file of the model's states by itself");
    return work_.report.findings.empty();
}

CKPT_DETAIL_DEF void zero_reader::open_all() {
    for (auto* list : {&models_, &optimizers_})
        for (file& f : *list) {
            f.opened = work_.open_part(f.name);
            if (!f.opened) continue;
            f.part = out_->add_part(f.name, checkpoint_access::file(*f.opened));
            f.content = f.opened->root();
        }
}

CKPT_DETAIL_DEF std::optional<std::int64_t> zero_reader::number_at(const value& in, std::string_view key) {
    const auto found = in.at(key);
    if (!found) return std::nullopt;
    if (const auto n = found->as_int()) return *n;
    return std::nullopt;
}

CKPT_DETAIL_DEF void zero_reader::compare(std::vector<file>& files, std::string_view what,
                                          std::string (*text)(const file&)) {
    const file* first = nullptr;
    std::string expected;
    for (const file& f : files) {
        std::string own = text(f);
        if (own.empty()) continue;
        if (first == nullptr) {
            first = &f;
            expected = std::move(own);
        } else if (own != expected) {
            work_.inconsistent(f.name,
                               std::string(what) + " " + own + ", and of " + quoted(first->name) + " " + expected,
                               "these files are of different runs or steps: get all files of one step");
        }
    }
}

CKPT_DETAIL_DEF std::string zero_reader::text_at(const value& in, std::string_view key) {
    const auto found = in.at(key);
    const auto text = found ? found->as_string() : result<std::string_view>{std::string_view{}};
    return text && !text->empty() ? quoted(*text) : std::string{};
}

CKPT_DETAIL_DEF std::uint64_t zero_reader::partitions(const value& content) {
    const auto found = content.at("partition_count");
    if (!found) return 0;
    std::int64_t most = 0;
    if (const auto n = found->as_int()) most = *n;
    for (const value v : found->elements())
        if (const auto n = v.as_int()) most = (std::max)(most, *n);
    return most > 0 ? static_cast<std::uint64_t>(most) : 0;
}

CKPT_DETAIL_DEF std::string zero_reader::steps_of(const file& f) {
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

CKPT_DETAIL_DEF void zero_reader::read_facts() {
    for (file& f : optimizers_) {
        const auto content = f.content.at("optimizer_state_dict");
        const auto z3 = content ? content->at("fp32_flat_groups") : content;
        const auto z12 = content ? content->at("single_partition_of_fp32_groups") : content;
        if (!content || (!z3 && !z12)) {
            work_.inconsistent(f.name, "the file holds no partition of 32-bit weights",
                               "it was not written with ZeRO: open the file of the model's states by itself");
            continue;
        }
        f.content = *content;
        stage3_ = stage3_ || bool(z3);
        read_flat(f, z3 ? *z3 : *z12);
    }
    for (const file& f : models_) {
        if (!f.content.at("module")) work_.inconsistent(f.name, "the file holds no module", "get the file again");
        if (!f.content.at("param_shapes"))
            work_.inconsistent(f.name, "the file holds no param_shapes",
                               "it was not written with ZeRO: open it by itself");
    }
    if (!work_.report.findings.empty()) return;
    compare(optimizers_, "this rank's partition_count is",
            [](const file& f) { return decimal(partitions(f.content)); });
    compare(optimizers_, "this rank's stage is",
            [](const file& f) { return std::string(f.content.at("fp32_flat_groups") ? "3" : "1 or 2"); });
    compare(optimizers_, "the number of groups of this rank is",
            [](const file& f) { return decimal(std::uint64_t{f.flat.size()}); });
    compare(optimizers_, "the optimizer's step of this rank is", steps_of);
    compare(optimizers_, "the version of DeepSpeed of this rank is",
            [](const file& f) { return text_at(f.opened->root(), "ds_version"); });
    compare(models_, "this rank's global_steps is", [](const file& f) {
        const auto n = number_at(f.content, "global_steps");
        return n ? decimal(*n) : std::string{};
    });
    compare(models_, "the version of DeepSpeed of this rank is",
            [](const file& f) { return text_at(f.content, "ds_version"); });
    ranks_ = partitions(optimizers_.front().content);
    if (ranks_ == 0 || ranks_ > 0xFFFF'FFFFu)
        return work_.inconsistent(optimizers_.front().name, "partition_count is " + decimal(ranks_),
                                  "get the file again");
    if (const auto dp = number_at(models_.front().content, "dp_world_size");
        dp && static_cast<std::uint64_t>(*dp) != ranks_)
        work_.inconsistent(models_.front().name,
                           "dp_world_size is " + decimal(*dp) + ", the optimizer's partition_count " + decimal(ranks_),
                           "these files are of different runs: get all files of one step");
    find_missing(optimizers_, "_optim_states.pt");
    if (stage3_ && ranks_of_models_) find_missing(models_, "_model_states.pt");
}

CKPT_DETAIL_DEF void zero_reader::read_flat(file& f, const value& groups) {
    for (const value v : groups.elements()) {
        const auto t = v.as_tensor();
        if (!t ||
            (t->refusal() == nullptr && (t->rank() != 1 || t->layout() != layout::strided || !t->is_contiguous()))) {
            work_.inconsistent(f.name,
                               "group " + decimal(std::uint64_t{f.flat.size()}) + " of the partition is no vector",
                               "get the file again");
            return;
        }
        if (t->refusal() != nullptr) {
            error e = *t->refusal();
            e.file = f.name;
            return work_.find(std::move(e));
        }
        if (!type_) type_ = t->dtype();
        if (*type_ != t->dtype())
            work_.inconsistent(f.name,
                               "group " + decimal(std::uint64_t{f.flat.size()}) + " of the partition is " +
                                   std::string(name(t->dtype())) + ", another one " + std::string(name(*type_)),
                               "these files are of different runs: get all files of one step");
        f.flat.push_back(tensor_access::data(*t));
    }
}

CKPT_DETAIL_DEF void zero_reader::find_missing(const std::vector<file>& files, std::string_view kind) {
    std::uint64_t missing = ranks_;
    for (const file& f : files) {
        if (f.rank < ranks_) --missing;
        else
            work_.inconsistent(f.name,
                               "a file of rank " + decimal(std::uint64_t{f.rank}) + " where partition_count says " +
                                   decimal(ranks_) + " ranks",
                               "it is left from another run: remove it, or get all files of one step");
    }
    if (missing == 0 || work_.how.partial) return;
    std::vector<std::uint64_t> which;
    std::size_t at = 0;
    for (std::uint64_t r = 0; r < ranks_ && which.size() < 3; ++r) { // a file may claim any number of ranks
        if (at < files.size() && files[at].rank == r) ++at;
        else which.push_back(r);
    }
    which.resize(static_cast<std::size_t>((std::min)(missing, std::uint64_t{4})), which.back());
    std::string ranks = missing == 1 ? "rank " : "ranks ";
    for (std::size_t i = 0; i < which.size() && i < 3; ++i) ranks.append(i > 0 ? ", " : "") += decimal(which[i]);
    if (missing > 3) ranks += ", +" + decimal(missing - 3) + " more";
    work_.inconsistent(step_.empty() ? std::string("*") + std::string(kind) : step_ + "*" + std::string(kind),
                       decimal(missing) + " of " + decimal(ranks_) + " files are missing: " + ranks,
                       "get the missing files; folder_options::partial opens what is there");
}

CKPT_DETAIL_DEF const zero_reader::file* zero_reader::of_rank(const std::vector<file>& files,
                                                              std::uint64_t rank) const {
    for (const file& f : files)
        if (f.rank == rank) return &f;
    return nullptr;
}

CKPT_DETAIL_DEF void zero_reader::read_shapes(const value& dictionary, std::vector<parameter>& to) {
    for (const value::entry e : dictionary.entries()) {
        const auto key = e.key.as_string();
        parameter p{key ? *key : std::string_view{}, {}, 1};
        bool good =
            key.has_value() && e.mapped.kind() == kind::tuple && e.mapped.size() <= work_.options.limits.tensor_rank;
        for (const value v : e.mapped.elements()) {
            const auto n = v.as_int();
            good = good && n && *n >= 0;
            if (good) p.shape.push_back(*n);
        }
        if (good && std::find(p.shape.begin(), p.shape.end(), 0) != p.shape.end()) p.numel = 0;
        for (const std::int64_t n : p.shape)
            good = good && (p.numel == 0 || checked_mul(p.numel, static_cast<std::uint64_t>(n), p.numel));
        std::uint64_t bytes = 0;
        if (!good || !checked_mul(p.numel, 16, bytes)) {
            work_.inconsistent(models_.front().name, "the shape of " + quoted(p.name) + " is no list of sizes",
                               "get the file again");
            continue;
        }
        to.push_back(std::move(p));
    }
}

CKPT_DETAIL_DEF void zero_reader::read_groups() {
    const auto shapes = models_.front().content.at("param_shapes");
    std::vector<std::vector<parameter>> groups;
    if (shapes->kind() == kind::list)
        for (const value v : shapes->elements()) read_shapes(v, groups.emplace_back());
    else read_shapes(*shapes, groups.emplace_back()); // one group, before 0.3.16
    if (!work_.report.findings.empty()) return;
    if (stage3_) {
        std::vector<parameter> all;
        for (auto& g : groups) std::move(g.begin(), g.end(), std::back_inserter(all));
        return gather_stage3(all);
    }
    if (groups.size() != optimizers_.front().flat.size())
        return work_.inconsistent(models_.front().name,
                                  "param_shapes has " + decimal(std::uint64_t{groups.size()}) +
                                      " groups, the partitions " +
                                      decimal(std::uint64_t{optimizers_.front().flat.size()}),
                                  "these files are of different runs: get all files of one step");
    for (std::size_t i = 0; i < groups.size(); ++i) gather_group(i, groups[i]);
}

CKPT_DETAIL_DEF void zero_reader::gather_group(std::size_t group, const std::vector<parameter>& parameters) {
    std::uint64_t size = 0; // of every partition but those at the end
    for (const file& f : optimizers_) size = (std::max)(size, f.flat[group]->numel);
    std::uint64_t needed = 0;
    const std::vector<std::uint64_t> paddings = alignment_paddings(group, parameters.size());
    if (!work_.report.findings.empty()) return;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        std::uint64_t after = paddings.empty() ? 0 : paddings[i];
        if (!checked_add(needed, parameters[i].numel, needed) || !checked_add(needed, after, needed))
            needed = largest_signed;
    }
    flat_vector whole;
    std::uint64_t total = 0;
    if (!checked_mul(size, ranks_, total)) return adds_up(group, size, needed);
    bool ended = false; // behind a partition that was cut
    std::uint64_t next = 0;
    for (const file& f : optimizers_) {
        if (f.rank > next) whole.add((f.rank - next) * size, gather_plan::none, static_cast<std::uint32_t>(next));
        next = f.rank + std::uint64_t{1};
        const std::uint64_t own = f.flat[group]->numel;
        if (ended && own > 0) {
            work_.inconsistent(f.name,
                               "the partition of group " + decimal(std::uint64_t{group}) + " has " + decimal(own) +
                                   " elements behind one that is shorter than " + decimal(size),
                               "a partition is too short: get all files of one step");
            return;
        }
        ended = ended || own < size;
        whole.add(own, out_->leaf(f.part, f.flat[group]), f.rank);
    }
    if (next < ranks_) whole.add((ranks_ - next) * size, gather_plan::none, static_cast<std::uint32_t>(next));
    const std::uint64_t align = 2 * ranks_;
    const auto aligned = [align](std::uint64_t n) { return n / align + (n % align != 0); };
    const bool all_there = optimizers_.size() == ranks_;
    if (whole.size < needed || (all_there && aligned(whole.size) != aligned(needed)))
        return adds_up(group, whole.size, needed);
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        tensor_pieces pieces;
        whole.cut(out_->plan(), at, parameters[i].numel, pieces);
        keep(parameters[i], pieces);
        at += parameters[i].numel + (paddings.empty() ? 0 : paddings[i]);
    }
}

CKPT_DETAIL_DEF void zero_reader::adds_up(std::size_t group, std::uint64_t have, std::uint64_t needed) {
    work_.inconsistent(step_,
                       "the partitions of group " + decimal(std::uint64_t{group}) + " hold " + decimal(have) +
                           " elements together, param_shapes asks for " + decimal(needed),
                       "a file is of another run, or was cut: get all files of one step");
}

CKPT_DETAIL_DEF std::vector<std::uint64_t> zero_reader::alignment_paddings(std::size_t group, std::size_t parameters) {
    std::vector<std::uint64_t> out;
    const auto all = optimizers_.front().content.at("param_alignment_paddings");
    if (!all || all->is_none()) return out;
    const value own = (*all)[group];
    for (const value v : own.elements()) {
        const auto n = v.as_int();
        out.push_back(n && *n >= 0 ? static_cast<std::uint64_t>(*n) : largest_signed);
    }
    if (out.size() != parameters)
        work_.inconsistent(optimizers_.front().name,
                           "param_alignment_paddings of group " + decimal(std::uint64_t{group}) + " has " +
                               decimal(std::uint64_t{out.size()}) + " entries, param_shapes " +
                               decimal(std::uint64_t{parameters}),
                           "these files are of different runs: get all files of one step");
    return out;
}

CKPT_DETAIL_DEF void zero_reader::gather_stage3(const std::vector<parameter>& parameters) {
    std::uint64_t needed = 0;
    for (const parameter& p : parameters)
        if (!checked_add(needed, per_rank(p.numel), needed)) needed = largest_signed;
    std::vector<flat_vector> vectors;
    for (const file& f : optimizers_) {
        flat_vector& own = vectors.emplace_back();
        for (const tensor_data* t : f.flat) own.add(t->numel, out_->leaf(f.part, t), f.rank);
        if (own.size != needed)
            work_.inconsistent(f.name,
                               "the partition holds " + decimal(own.size) + " elements, param_shapes asks for " +
                                   decimal(needed) + " of each rank",
                               "the file is of another run, or was cut: get all files of one step");
    }
    if (!work_.report.findings.empty()) return;
    std::uint64_t at = 0;
    for (const parameter& p : parameters) {
        gather_ranks(
            p, [&](std::size_t i, std::uint64_t n, tensor_pieces& out) { vectors[i].cut(out_->plan(), at, n, out); },
            optimizers_);
        at += per_rank(p.numel);
    }
}

CKPT_DETAIL_DEF void zero_reader::keep(const parameter& p, const tensor_pieces& pieces) {
    entry out{};
    const std::vector<std::uint32_t>& parts = pieces.parts;
    if (!pieces.missing.empty()) {
        error e{.code = errc::shards_inconsistent,
                .path = std::string(p.name),
                .detail = pieces.what_is_missing(),
                .hint = "get the missing files"};
        out.node = out_->refused(e);
        out.lacks = true;
        work_.report.absent.push_back(std::move(e));
    } else {
        std::uint32_t node = parts.empty() ? out_->plan().fill(type_.value_or(ckpt::dtype::float32), p.shape, {})
                                           : out_->plan().concat(parts, 0);
        out.node = out_->tensor_of(parts.empty() ? node : out_->plan().reshape(node, p.shape));
    }
    if (!named_.try_emplace(p.name, out).second)
        work_.inconsistent(models_.front().name, "param_shapes has " + quoted(p.name) + " twice", "get the file again");
}

CKPT_DETAIL_DEF void zero_reader::read_frozen() {
    const auto shapes = models_.front().content.at("frozen_param_shapes");
    if (!shapes || shapes->is_none()) return;
    std::vector<parameter> parameters;
    read_shapes(*shapes, parameters);
    if (!stage3_) return; // build() finds them
    std::vector<std::map<std::string_view, const tensor_data*>> fragments(models_.size());
    for (std::size_t i = 0; i < models_.size(); ++i)
        if (const auto own = models_[i].content.at("frozen_param_fragments"))
            for (const value::entry e : own->entries())
                if (const auto key = e.key.as_string())
                    if (const auto t = e.mapped.as_tensor(); t && t->refusal() == nullptr &&
                                                             t->layout() == layout::strided && t->rank() == 1 &&
                                                             t->is_contiguous())
                        fragments[i].emplace(*key, tensor_access::data(*t));
    for (const parameter& p : parameters) {
        bool good = true;
        std::optional<ckpt::dtype> type;
        for (std::size_t i = 0; i < models_.size() && p.numel > 0; ++i) {
            const auto found = fragments[i].find(p.name);
            good = found != fragments[i].end() && found->second->numel >= (std::min)(per_rank(p.numel), p.numel) &&
                   found->second->type == type.value_or(found->second->type);
            if (good) type = found->second->type;
            if (good) continue;
            work_.inconsistent(models_[i].name,
                               "frozen_param_fragments has no piece of " + decimal(per_rank(p.numel)) +
                                   " elements of " + quoted(p.name),
                               "the file is of another run, or was cut: get all files of one step");
            break;
        }
        if (!good) continue;
        gather_ranks(
            p,
            [&](std::size_t i, std::uint64_t n, tensor_pieces& out) {
                out.add(n, out_->plan().narrow(out_->leaf(models_[i].part, fragments[i].find(p.name)->second), 0, 0,
                                               static_cast<std::int64_t>(n)));
            },
            models_);
    }
}

CKPT_DETAIL_DEF std::uint32_t zero_reader::build() {
    graph& g = out_->values();
    const file& first = models_.front();
    auto copies = out_->grafter_of(first.part);
    const auto copy = [&](const value& v) -> std::uint32_t {
        auto made = copies.copy(detail_access::node(v));
        if (made) return *made;
        work_.find(std::move(made).error());
        return absent_node;
    };
    std::vector<std::uint32_t> pairs{out_->text("module"), module_of(copy)};
    for (const value::entry e : first.content.entries()) {
        const auto key = e.key.as_string();
        if (key && (*key == "module" || *key == "optimizer")) continue;
        pairs.push_back(copy(e.key));
        pairs.push_back(copy(e.mapped));
    }
    std::vector<std::uint32_t> of_ranks;
    for (const file& f : optimizers_) {
        auto own = out_->grafter_of(f.part);
        const value root = f.opened->root();
        auto made = own.copy(detail_access::node(root));
        if (!made) {
            work_.find(std::move(made).error());
            return absent_node;
        }
        of_ranks.push_back(out_->text(std::string_view(f.name).substr(step_.size())));
        of_ranks.push_back(*made);
    }
    pairs.push_back(out_->text("optimizer"));
    pairs.push_back(g.add_dictionary(of_ranks));
    return g.add_dictionary(pairs);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
