// ckpt/folder/impl/ranks.ipp: the definitions of ranks.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/ranks.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/state/object_walk.hpp>
#include <ckpt/state/state_dict_data.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF shared<checkpoint_file> rank_reader::run() {
    for (one_rank& r : ranks_) open(r);
    if (!work_.report.findings.empty()) return {};
    if (total_ == 0) {
        is_whole_ = ranks_.size() == 1;
        std::vector<std::string> names;
        for (const one_rank& r : ranks_) names.push_back(r.name);
        if (const std::uint64_t ranks = part_faults::fairscale_ranks(ranks_.front().opened->root()); ranks > 1)
            work_.find(part_faults::fairscale_shards(ranks, names));
        else if (!is_whole_)
            work_.find(part_faults::not_joined(
                str_cat("the files of ", ranks_.size(),
                        " ranks hold whole tensors alone, and nothing that says whether they are copies or slices"),
                part_faults::join_by_hand));
        return {};
    }
    find_missing();
    if (work_.report.findings.empty()) compare();
    if (!work_.report.findings.empty()) return {};
    corners_ = 1'000'000;
    for (const one_rank& r : ranks_) corners_ += 16 * r.part->content().graph().metadata_bytes();
    const std::uint32_t root = build();
    if (!work_.report.findings.empty()) return {};
    std::uint64_t bytes = 0;
    std::vector<std::string> files;
    for (const one_rank& r : ranks_) {
        bytes += r.opened->file_bytes();
        files.push_back(r.name);
    }
    out_->finish(root, std::move(files), bytes);
    return shared<checkpoint_file>{out_};
}

CKPT_DETAIL_DEF bool rank_reader::is_cut(const tensor_data& t) noexcept {
    if (t.extra == nullptr) return false;
    if (t.extra->place != nullptr || is_distributed(t.extra->class_name)) return true;
    for (const named_data& part : t.extra->parts()) // at most most_part_depth deep
        if (is_cut(part.data)) return true;
    return false;
}

CKPT_DETAIL_DEF void rank_reader::open(one_rank& r) {
    r.opened = work_.open_part(r.name);
    if (!r.opened) return;
    r.part = out_->add_part(r.name, checkpoint_access::file(*r.opened));
    const value root = r.opened->root();
    walk_budget budget{root, work_.options.limits.entries};
    std::optional<std::uint64_t> said;
    auto done = walk_tensors(root, budget, errc::limit, [&](const std::vector<path_element>& path, const value& v) {
        if (v.kind() != kind::tensor) return;
        std::string text = path_text(path);
        const tensor_data* data = tensor_access::data(*v.as_tensor());
        if (const rank_place* place = place_of(*data)) {
            r.ranks = (std::max)(r.ranks, place->ranks);
            if (!said && place->rank != rank_place::unknown) said = place->rank;
        } else if (is_cut(*data)) {
            r.ranks = (std::max)(r.ranks, std::uint64_t{1});
        }
        r.rows.push_back({std::move(text), data, value_access::node(v)});
    });
    if (!done) {
        done.error().file = r.name;
        return work_.find(std::move(done).error());
    }
    for (std::size_t i = 0; i < r.rows.size(); ++i) r.by_path.try_emplace(r.rows[i].path, i);
    if (said) r.rank = *said;
    total_ = (std::max)(total_, r.ranks);
}

CKPT_DETAIL_DEF void rank_reader::find_missing() {
    sort_values(ranks_, [](const one_rank& a, const one_rank& b) { return a.rank < b.rank; });
    for (std::size_t i = 1; i < ranks_.size(); ++i) {
        if (ranks_[i].rank == ranks_[i - 1].rank)
            work_.inconsistent(ranks_[i].name,
                               str_cat("what rank ", ranks_[i].rank, " saved, as ", quoted(ranks_[i - 1].name), " is"),
                               "keep the files of one run, each once");
        if (ranks_[i].ranks != ranks_[0].ranks)
            work_.inconsistent(ranks_[i].name,
                               str_cat("its tensors are cut over ", ranks_[i].ranks, " ranks, those of ",
                                       quoted(ranks_[0].name), " over ", ranks_[0].ranks),
                               again);
    }
    if (!work_.report.findings.empty() || ranks_.size() >= total_) return;
    const std::uint64_t missing = total_ - ranks_.size();
    std::vector<std::uint64_t> which;
    std::size_t at = 0;
    // A file may claim any number of ranks.
    for (std::uint64_t r = 0; r < total_ && which.size() < (std::min)(missing, std::uint64_t{3}); ++r) {
        while (at < ranks_.size() && ranks_[at].rank < r) ++at;
        if (at == ranks_.size() || ranks_[at].rank != r) which.push_back(r);
    }
    missing_ = listed_ranks(which, missing);
    if (!work_.how.partial)
        work_.inconsistent(work_.report.chosen, str_cat(missing, " of ", total_, " files are missing: ", missing_),
                           "get the missing files; folder_options::partial opens what is there");
}

CKPT_DETAIL_DEF void rank_reader::compare() {
    const one_rank& first = ranks_.front();
    for (const one_rank& r : std::span<const one_rank>{ranks_}.subspan(1)) {
        std::vector<std::string_view> lacks;
        std::vector<std::string_view> more;
        std::string differs;
        short_list list{differs, {.most = 1}};
        for (const row& mine : first.rows) {
            const auto found = r.by_path.find(mine.path);
            if (found == r.by_path.end()) {
                lacks.push_back(mine.path);
                continue;
            }
            const tensor_data& own = *r.rows[found->second].data;
            if (own.refusal != nullptr || mine.data->refusal != nullptr || text_of(own) == text_of(*mine.data))
                continue;
            if (list.next())
                differs += str_cat(quoted(mine.path), " is ", text_of(own), ", and in ", quoted(first.name), " ",
                                   text_of(*mine.data));
        }
        for (const row& own : r.rows)
            if (first.by_path.count(own.path) == 0) more.push_back(own.path);
        if (!lacks.empty())
            work_.inconsistent(
                r.name,
                str_cat("it lacks ", tensors(lacks.size()), " that ", quoted(first.name), " has: ", listed(lacks)),
                again);
        if (!more.empty())
            work_.inconsistent(
                r.name,
                str_cat("it has ", tensors(more.size()), " that ", quoted(first.name), " has not: ", listed(more)),
                again);
        list.end();
        if (!differs.empty()) work_.inconsistent(r.name, std::move(differs), again);
    }
}

CKPT_DETAIL_DEF std::string rank_reader::text_of(const tensor_data& t) {
    std::string out = std::string(name(t.type)) + ' ' + list_of(t.sizes());
    const rank_place* place = place_of(t);
    if (place == nullptr) return out + (is_cut(t) ? ", distributed" : "");
    if (place->ranks > 1) out += str_cat(" over ", place->ranks, " ranks");
    for (const mesh_cut& c : place->all()) {
        out += ", ";
        if (c.kind == mesh_cut::how::cut)
            out += str_cat("cut along ", c.dimension,
                           c.split_factor > 1 ? str_cat(" in ", c.split_factor, " blocks") : "", " over ");
        else out += "whole on ";
        out += decimal(c.size);
    }
    return out;
}

CKPT_DETAIL_DEF std::uint32_t rank_reader::build() {
    const one_rank& first = ranks_.front();
    auto copies = out_->grafter_of(first.part);
    std::map<std::uint32_t, std::uint32_t> done; // tensors that are reached along several paths
    for (const row& r : first.rows) {
        if (!is_cut(*r.data) || done.count(r.node) > 0) continue;
        const std::uint32_t made = tensor_of(r);
        if (made == absent_node) continue; // a finding says why
        done.emplace(r.node, made);
        copies.replace(r.node, made);
    }
    if (!work_.report.findings.empty()) return absent_node;
    const value root = first.opened->root();
    auto made = copies.copy(value_access::node(root));
    if (made) return *made;
    work_.find(std::move(made).error());
    return absent_node;
}

CKPT_DETAIL_DEF std::uint32_t rank_reader::refuse(const row& r, const one_rank& of, std::string detail,
                                                  std::string_view hint) {
    return out_->refused(
        {.code = errc::unsupported_tensor, .path = printable(r.path), .detail = std::move(detail), .hint = hint},
        of.name);
}

CKPT_DETAIL_DEF std::uint32_t rank_reader::tensor_of(const row& r) {
    const tensor_data& whole = *r.data;
    if (bits(whole.type) < 8 || info(whole.type).kind == dtype_kind::quantised)
        return refuse(r, ranks_.front(), str_cat("a distributed tensor of ", name(whole.type)));
    note_flat(r);
    box_list boxes{.rank = whole.rank};
    std::vector<piece> pieces;
    for (const one_rank& of : ranks_) {
        const auto found = of.by_path.find(r.path);
        if (found == of.by_path.end()) continue;
        const tensor_data& own = *of.rows[found->second].data;
        if (own.refusal != nullptr) return out_->refused(*own.refusal, of.name);
        const rank_place* place = place_of(own);
        if (place == nullptr)
            return refuse(r, of,
                          str_cat("a tensor of class ", quoted(own.extra->class_name),
                                  " with pieces that are distributed, which are not joined"));
        if (!place->is_known)
            return refuse(
                r, of,
                str_cat("a tensor whose placement, ", own.extra->placement,
                        ", does not say where its elements lie; of a Partial one each rank has a term of the sum"));
        for (const named_data& part : own.extra->parts()) {
            if (part.data.refusal != nullptr) return out_->refused(*part.data.refusal, of.name);
            if (part.data.kind != layout::strided)
                return refuse(
                    r, of, str_cat("a distributed tensor whose pieces are tensors of layout ", name(part.data.kind)));
            const std::uint32_t made = add_piece(r, of, own, part.data, boxes, pieces);
            if (made != absent_node) return made;
            if (!work_.report.findings.empty()) return absent_node;
        }
    }
    if (whole.numel == 0) return out_->tensor_of(out_->plan().fill(whole.type, whole.sizes(), {}));
    drop_copies(boxes, pieces);
    std::vector<std::size_t> cut;
    if (auto gap = look_for_gap(r, boxes, cut)) {
        const std::uint32_t node = out_->refused(*gap);
        work_.lack(std::move(*gap));
        return node;
    }
    std::vector<std::uint32_t> parts;
    for (const piece& p : pieces) parts.push_back(p.node);
    return out_->tensor_of(join_boxes(out_->plan(), whole.sizes(), boxes, parts, cut));
}

CKPT_DETAIL_DEF std::uint32_t rank_reader::add_piece(const row& r, const one_rank& of, const tensor_data& own,
                                                     const tensor_data& part, box_list& boxes,
                                                     std::vector<piece>& pieces) {
    const std::size_t rank = own.rank;
    shard_boxes mine;
    if (part.extra != nullptr && part.extra->offsets != nullptr) {
        const std::span<const std::int64_t> offsets{part.extra->offsets, rank};
        mine = boxes_of_shard(part.sizes(), {});
        std::copy(offsets.begin(), offsets.begin() + static_cast<std::ptrdiff_t>(mine.whole.offsets.size()),
                  mine.whole.offsets.begin());
    } else {
        mine = boxes_of_shard(own.sizes(), own.extra->place->all());
    }
    if (!mine.fits) return refuse(r, of, str_cat("a tensor that is cut into too many pieces: ", own.extra->placement));
    if (part.type != own.type || part.rank != rank || !std::equal(mine.shape.begin(), mine.shape.end(), part.shape)) {
        work_.inconsistent(of.name,
                           str_cat("its piece of ", quoted(r.path), " is ", name(part.type), " ", list_of(part.sizes()),
                                   ", its placement says ", name(own.type), " ", list_of(mine.shape)),
                           "the file is damaged, or of a version that places tensors in another way");
        return absent_node;
    }
    if (mine.whole.count == 0) return absent_node;
    const std::uint32_t leaf = out_->leaf(of.part, &part);
    for (std::size_t i = 0; i < mine.whole.count; ++i) {
        std::uint32_t node = leaf;
        for (std::size_t d = 0; d < rank; ++d)
            node = out_->plan().narrow(node, static_cast<std::uint32_t>(d), mine.inner[i * rank + d],
                                       mine.whole.sizes[i * rank + d]);
        pieces.push_back({&of, node, boxes.count++});
    }
    boxes.offsets.insert(boxes.offsets.end(), mine.whole.offsets.begin(), mine.whole.offsets.end());
    boxes.sizes.insert(boxes.sizes.end(), mine.whole.sizes.begin(), mine.whole.sizes.end());
    return absent_node;
}

CKPT_DETAIL_DEF void rank_reader::drop_copies(box_list& boxes, std::vector<piece>& pieces) {
    const std::size_t n = boxes.rank;
    const auto compare = [&](const piece& a, const piece& b) {
        for (const auto* list : {&boxes.offsets, &boxes.sizes})
            for (std::size_t d = 0; d < n; ++d)
                if ((*list)[a.at * n + d] != (*list)[b.at * n + d])
                    return (*list)[a.at * n + d] < (*list)[b.at * n + d] ? -1 : 1;
        return 0;
    };
    sort_values(pieces, [&](const piece& a, const piece& b) { return compare(a, b) < 0; });
    pieces.erase(std::unique(pieces.begin(), pieces.end(),
                             [&](const piece& a, const piece& b) { return compare(a, b) == 0 && a.of != b.of; }),
                 pieces.end());
    box_list left{.rank = n};
    left.count = pieces.size();
    for (const piece& p : pieces)
        for (std::size_t d = 0; d < n; ++d) {
            left.offsets.push_back(boxes.offsets[p.at * n + d]);
            left.sizes.push_back(boxes.sizes[p.at * n + d]);
        }
    boxes = std::move(left);
}

CKPT_DETAIL_DEF std::optional<error> rank_reader::look_for_gap(const row& r, const box_list& boxes,
                                                               std::vector<std::size_t>& cut) {
    tiling fit{.fits = true, .element = std::vector<std::int64_t>(boxes.rank), .covered = 0};
    if (boxes.count > 0) fit = check_tiling(r.data->sizes(), boxes, corners_);
    cut = fit.cut;
    if (!fit.fits)
        return error{.code = errc::limit,
                     .path = printable(r.path),
                     .detail = str_cat("the pieces of ", quoted(r.path), " are cut along ", fit.cut.size(),
                                       " dimensions, too many to check")};
    if (fit.covered == 1 && boxes.count > 0) return std::nullopt;
    return error{.code = errc::shards_inconsistent,
                 .path = printable(r.path),
                 .detail =
                     str_cat(fit.covered == 0 ? std::string("no rank has") : str_cat(fit.covered, " pieces overlap at"),
                             " the element at ", list_of(fit.element), " of ", quoted(r.path),
                             missing_.empty() || fit.covered != 0 ? "" : str_cat("; missing: ", missing_)),
                 .hint = "get all files of one save; folder_options::partial opens what is there"};
}

CKPT_DETAIL_DEF void rank_reader::note_flat(const row& r) {
    const std::size_t at = r.path.rfind("_flat_param");
    if (at == std::string::npos || r.path.find('/', at) != std::string::npos || r.data->rank != 1) return;
    if (!has_flat_) work_.report.reason += "; flat parameters of FSDP, without the names and shapes in them";
    has_flat_ = true;
    work_.report.absent.push_back(
        {.code = errc::unsupported_tensor,
         .path = printable(r.path),
         .detail = str_cat("a flat parameter of FSDP's LOCAL_STATE_DICT: ", r.data->numel,
                           " elements of several parameters, whose names and shapes are not in the files"),
         .hint = "load the files into the same FSDP model, and save it with FULL_STATE_DICT; or cut the vector "
                 "with key rules (narrow, reshape)"});
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
