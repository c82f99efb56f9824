// ckpt/gpu/impl/plan_copies.ipp: the definitions of plan_copies.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/gpu/plan_copies.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF plan_copies::plan_copies(const plan_inputs& inputs, plan_grouping& grouping, upload_plan_data& plan)
    : stored_{inputs.stored()}, groups_{grouping.groups()}, converted_{grouping.converted()}, plan_{plan} {
    sort_unsorted(grouping.groups(), [](const byte_group& a, const byte_group& b) {
        if (place_of(a) != place_of(b)) return place_of(a) < place_of(b);
        return a.begin < b.begin;
    });
    sort_unsorted(grouping.converted(), [this](std::uint32_t a, std::uint32_t b) {
        const stored_bytes& x = stored_[a];
        const stored_bytes& y = stored_[b];
        if (place_of(x) != place_of(y)) return place_of(x) < place_of(y);
        return x.begin < y.begin;
    });
}

CKPT_DETAIL_DEF std::uint64_t plan_copies::end_of_piece(const read_place& of, upload_piece& piece,
                                                        std::uint64_t most) const {
    constexpr std::uint64_t page = file::direct_alignment;
    const std::uint64_t begin = piece.begin / page * page;
    std::uint64_t moved = 0; // bytes of the slot
    piece.apart = converted_.empty();
    for (const std::size_t i : open_groups_) {
        moved += groups_[i].moved;
        piece.apart = piece.apart && groups_[i].moved != 0;
    }
    if (moved > plan_.piece_bytes / 2) { // to many targets
        piece.apart = false;
        return most;
    }
    std::uint64_t limit = begin + plan_.piece_bytes - (piece.apart ? 0 : moved);
    for (std::size_t i = next_group_; i < groups_.size(); ++i) {
        const byte_group& g = groups_[i];
        if (place_of(g) != of || g.begin >= most || g.begin >= limit) break;
        // What is not moved stays where it was read: in the slot, before what is moved.
        const bool ends = g.moved == 0 ? piece.apart && g.begin - begin + moved > plan_.piece_bytes / 2
                                       : (piece.apart ? 0 : g.end - begin) + moved + g.moved > plan_.piece_bytes;
        if (ends) {
            limit = g.begin;
            break;
        }
        moved += g.moved;
        piece.apart = piece.apart && g.moved != 0;
        if (!piece.apart) limit = begin + plan_.piece_bytes - moved;
    }
    piece.apart = piece.apart && moved != 0;
    if (limit >= most) return most;
    if (limit / page * page > piece.begin) return limit / page * page;
    if (converted_.empty() && limit > piece.begin) return limit; // no element is cut that a device loads
    piece.apart = false;
    return most;
}

CKPT_DETAIL_DEF void plan_copies::add_piece(const read_place& of, upload_piece& piece) {
    const std::uint64_t end = piece.begin + piece.bytes;
    for (; next_group_ < groups_.size(); ++next_group_) {
        if (place_of(groups_[next_group_]) != of || groups_[next_group_].begin >= end) break;
        open_groups_.push_back(next_group_);
    }
    for (; next_converted_ < converted_.size(); ++next_converted_) {
        const stored_bytes& s = stored_[converted_[next_converted_]];
        if (place_of(s) != of || s.begin >= end) break;
        open_converted_.push_back(next_converted_);
    }
    moved_begin_ = moved_end_ = piece.apart ? 0 : align_up(piece.bytes, 16);
    for (std::uint32_t t = 0; t < plan_.targets.size(); ++t) add_copies(t, piece);
    if (!open_converted_.empty()) add_conversions(piece.begin, end);
    std::erase_if(open_groups_, [&](std::size_t i) { return groups_[i].end <= end; });
    std::erase_if(open_converted_, [&](std::size_t i) { return stored_[converted_[i]].end <= end; });
    piece.copies = count_of(plan_.copies) - piece.first_copy;
    piece.moves = count_of(plan_.moves) - piece.first_move;
    piece.casts = count_of(plan_.casts) - piece.first_cast;
}

CKPT_DETAIL_DEF void plan_copies::add_copies(std::uint32_t target, const upload_piece& piece) {
    const std::uint64_t end = piece.begin + piece.bytes;
    bool small_before = false; // the last copy is of such as may be moved
    for (const std::size_t i : open_groups_) {
        const byte_group& from = groups_[i];
        if (from.target != target) continue;
        const std::uint64_t first = (std::max)(from.begin, piece.begin), last = (std::min)(from.end, end);
        const staged_copy next{target, copy_place::memory, first - piece.begin, last - first,
                               from.to + (first - from.begin)};
        const bool is_small = from.moved != 0;
        if (is_small && small_before && add_move(plan_.copies.back(), next, piece)) continue;
        plan_.copies.push_back(next);
        if (piece.apart) {
            plan_.moves.push_back({next.from, moved_end_, next.bytes});
            plan_.copies.back().from = std::exchange(moved_end_, moved_end_ + next.bytes);
            plan_.slot_bytes = (std::max)(plan_.slot_bytes, align_up(moved_end_, file::direct_alignment));
        }
        small_before = is_small;
    }
}

CKPT_DETAIL_DEF bool plan_copies::add_move(staged_copy& copy, const staged_copy& next, const upload_piece& piece) {
    const std::uint64_t behind = copy.to + copy.bytes;
    if (next.to < behind || next.to - behind > bridged_gap) return false;
    const bool was_moved = copy.from >= moved_begin_;
    const std::uint64_t at = was_moved ? copy.from : moved_end_;
    const std::uint64_t bytes = next.to + next.bytes - copy.to;
    const std::uint64_t whole = plan_.slot_lead(piece) + at + bytes;
    if (whole > plan_.piece_bytes) return false;
    if (!was_moved) plan_.moves.push_back({copy.from, at, copy.bytes});
    plan_.moves.push_back({next.from, at + (next.to - copy.to), next.bytes});
    copy.from = at;
    copy.bytes = bytes;
    moved_end_ = at + bytes;
    plan_.slot_bytes = (std::max)(plan_.slot_bytes, align_up(whole, file::direct_alignment));
    return true;
}

CKPT_DETAIL_DEF void plan_copies::add_conversions(std::uint64_t begin, std::uint64_t end) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> needed(plan_.targets.size(), {end, begin}); // first, last
    for (const std::size_t i : open_converted_) {
        const stored_bytes& s = stored_[converted_[i]];
        auto& [first, last] = needed[s.target];
        first = (std::min)(first, (std::max)(s.begin, begin));
        last = (std::max)(last, (std::min)(s.end, end));
    }
    for (std::uint32_t t = 0; t < needed.size(); ++t) {
        const auto& [first, last] = needed[t];
        if (first >= last) continue;
        const std::uint64_t lead = first % scratch_alignment;
        plan_.copies.push_back({t, copy_place::scratch, first - begin, last - first, lead});
        plan_.targets[t].scratch =
            (std::max)(plan_.targets[t].scratch, align_up(lead + last - first, scratch_alignment));
    }
    for (const std::size_t i : open_converted_) {
        const stored_bytes& s = stored_[converted_[i]];
        const placed_tensor& tensor = plan_.tensors[s.tensor];
        // Pieces end at multiples of 4,096 and elements are aligned, so none is cut.
        const std::uint64_t first = (std::max)(s.begin, begin), last = (std::min)(s.end, end);
        const std::uint64_t scratch = needed[s.target].first;
        const std::uint64_t size = itemsize(s.type);
        const std::uint64_t element = (first - s.begin) / size;
        plan_.casts.push_back({.target = s.target,
                               .from = scratch % scratch_alignment + (first - scratch),
                               .to = tensor.offset + (s.view == nullptr ? element * itemsize(tensor.type) : 0),
                               .count = (last - first) / size,
                               .type = s.type,
                               .wanted = tensor.type,
                               .swap_bytes = s.swap_bytes,
                               .view = s.view,
                               .first = element,
                               .is_last = last == s.end,
                               .numbers = s.numbers});
    }
}

CKPT_DETAIL_DEF void add_built_copy(upload_plan_data& plan, const upload_piece& piece, const staged_copy& copy) {
    for (std::size_t i = plan.copies.size(); i-- > piece.first_copy;) {
        staged_copy& last = plan.copies[i];
        if (last.target != copy.target) continue;
        if (copy.from < last.from + last.bytes || copy.from - last.from != copy.to - last.to || copy.to < last.to)
            break;
        last.bytes = copy.from + copy.bytes - last.from;
        return;
    }
    plan.copies.push_back(copy);
}

CKPT_DETAIL_DEF void add_built_pieces(std::uint32_t phase, copy_place into, const std::vector<built_place>& places,
                                      std::uint64_t alignment, upload_plan_data& plan) {
    const auto empty_piece = [&plan] {
        return upload_piece{.run = no_run, .first_copy = count_of(plan.copies), .first_part = count_of(plan.parts)};
    };
    upload_piece piece = empty_piece();
    const auto finish = [&] {
        if (piece.bytes == 0) return;
        piece.copies = count_of(plan.copies) - piece.first_copy;
        piece.parts = count_of(plan.parts) - piece.first_part;
        plan.pieces.push_back(piece);
        plan.built_bytes += piece.bytes;
        piece = empty_piece();
    };
    const auto is_before = [&](const built_tensor& t) { // in a phase, parameters come first
        return t.phase != phase ? t.phase < phase : t.into == copy_place::parameters && into == copy_place::memory;
    };
    const auto first_built = std::partition_point(plan.built.begin(), plan.built.end(), is_before);
    auto b = static_cast<std::uint32_t>(first_built - plan.built.begin());
    auto own = std::partition_point(places.begin(), places.end(), [&](const built_place& p) { return p.built < b; });
    for (; b < plan.built.size() && plan.built[b].phase == phase && plan.built[b].into == into; ++b) {
        built_tensor& t = plan.built[b];
        const std::uint64_t size = itemsize(t.type);
        auto end = own; // behind its places
        while (end != places.end() && end->built == b) ++end;
        for (std::uint64_t first = 0; first < t.numel;) {
            std::uint64_t at = align_up(piece.bytes, alignment);
            if (at >= plan.piece_bytes || (first == 0 && at != 0 && t.numel * size > plan.piece_bytes - at)) {
                finish();
                at = 0;
            }
            const std::uint64_t n = (std::min)(t.numel - first, (plan.piece_bytes - at) / size);
            plan.parts.push_back({b, first, n, at});
            for (auto place = own; place != end; ++place)
                add_built_copy(plan, piece, {place->target, into, at, n * size, place->to + first * size});
            piece.bytes = at + n * size;
            first += n;
        }
        t.pieces = count_of(plan.pieces) + 1; // with the piece in hand
        own = end;
    }
    finish();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
