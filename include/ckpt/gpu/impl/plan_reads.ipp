// ckpt/gpu/impl/plan_reads.ipp: the definitions of plan_reads.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/gpu/plan_reads.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void plan_reads::run() {
    find_runs();
    std::uint32_t r = 0;
    for (std::uint32_t phase = 0; phase < plan_.phases; ++phase) {
        add_built_pieces(phase, copy_place::parameters, grouping_.built_places(), options_.alignment, plan_);
        for (; r < runs_.size() && runs_[r].of.phase == phase; ++r) cut_pieces(r);
        add_built_pieces(phase, copy_place::memory, grouping_.built_places(), options_.alignment, plan_);
    }
    for (const built_use& use : grouping_.built_uses())
        plan_.tensors[use.tensor].pieces = plan_.built[use.built].pieces;
    find_checksums();
}

CKPT_DETAIL_DEF void plan_reads::find_runs() {
    for (const stored_bytes& s : inputs_.stored()) order_.push_back(&s);
    sort_unsorted(order_, [](const stored_bytes* a, const stored_bytes* b) {
        if (place_of(*a) != place_of(*b)) return place_of(*a) < place_of(*b);
        return a->begin < b->begin;
    });
    for (std::size_t i = 0; i < order_.size(); ++i) {
        const stored_bytes& s = *order_[i];
        if (!runs_.empty()) {
            byte_run& last = plan_.runs.back();
            // Between buffers in memory there may be nothing that can be read.
            if (runs_.back().of == place_of(s) && s.begin <= last.end + (s.file != 0 ? bridged_gap : 0)) {
                last.end = (std::max)(last.end, s.end);
                continue;
            }
        }
        const planned_file& of = inputs_.files()[s.file];
        plan_.runs.push_back({of.from, of.in, s.begin, s.end, of.name});
        runs_.push_back({place_of(s), i});
    }
}

CKPT_DETAIL_DEF void plan_reads::cut_pieces(std::uint32_t run) {
    const std::uint32_t first = count_of(plan_.pieces);
    const auto [begin, last] = std::pair{plan_.runs[run].begin, plan_.runs[run].end};
    for (std::uint64_t at = begin; at < last;) {
        const std::uint64_t cut = at / file::direct_alignment * file::direct_alignment + plan_.piece_bytes;
        upload_piece piece{.run = run,
                           .begin = at,
                           .first_copy = count_of(plan_.copies),
                           .first_move = count_of(plan_.moves),
                           .first_cast = count_of(plan_.casts)};
        const std::uint64_t end = copies_.end_of_piece(runs_[run].of, piece, (std::min)(cut, last));
        piece.bytes = end - at;
        copies_.add_piece(runs_[run].of, piece);
        plan_.pieces.push_back(piece);
        plan_.read_bytes += end - at;
        at = end;
    }
    note_pieces(run, first);
}

CKPT_DETAIL_DEF void plan_reads::note_pieces(std::uint32_t run, std::uint32_t first) {
    const auto end_of = [](const upload_piece& p) { return p.begin + p.bytes; };
    auto from = plan_.pieces.begin() + first; // the piece in which the tensor in hand begins
    const std::size_t end = run + std::size_t{1} < runs_.size() ? runs_[run + std::size_t{1}].first : order_.size();
    for (std::size_t i = runs_[run].first; i < end; ++i) {
        const stored_bytes& s = *order_[i];
        while (end_of(*from) <= s.begin) ++from;
        auto last = from;
        if (end_of(*last) < s.end)
            last = std::partition_point(last, plan_.pieces.end(),
                                        [&](const upload_piece& p) { return end_of(p) < s.end; });
        plan_.tensors[s.tensor].pieces = static_cast<std::uint32_t>(last - plan_.pieces.begin()) + 1;
    }
}

CKPT_DETAIL_DEF void plan_reads::find_checksums() {
    std::vector<used_storage> used = inputs_.storages();
    sort_unsorted(used, [](const used_storage& a, const used_storage& b) {
        if (a.file != b.file) return a.file < b.file;
        return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    if (plan_.phases > 1) keep_whole(used);
    used.erase(std::unique(used.begin(), used.end()), used.end());
    std::uint32_t r = 0;
    for (const used_storage& s : used) {
        while (r < runs_.size() &&
               (runs_[r].of < place_of(s) || (runs_[r].of == place_of(s) && plan_.runs[r].end < s.end)))
            ++r;
        const bool whole = r < runs_.size() && runs_[r].of == place_of(s) && plan_.runs[r].begin <= s.begin;
        if (whole && s.crc32 != 0) plan_.checksums.push_back({r, s.begin, s.end, s.crc32, s.key});
        else ++plan_.unchecked;
    }
}

CKPT_DETAIL_DEF void plan_reads::keep_whole(std::vector<used_storage>& used) {
    auto kept = used.begin();
    for (auto at = used.begin(); at != used.end();) {
        const used_storage first = *at;
        const auto end = std::find_if(at, used.end(), [&](const used_storage& s) { return !(s == first); });
        const bool whole = std::all_of(at, end, [&](const used_storage& s) { return s.phase == first.phase; });
        if (whole) *kept++ = first;
        else ++plan_.unchecked;
        at = end;
    }
    used.erase(kept, used.end());
    sort_unsorted(used, [](const used_storage& a, const used_storage& b) {
        if (place_of(a) != place_of(b)) return place_of(a) < place_of(b);
        return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
