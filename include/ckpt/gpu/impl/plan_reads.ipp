// ckpt/gpu/impl/plan_reads.ipp: the definitions of plan_reads.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/gpu/plan_reads.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void plan_reads::run() {
    find_runs();
    cut_pieces();
    find_checksums();
}

CKPT_DETAIL_DEF void plan_reads::find_runs() {
    std::vector<const stored_bytes*> order;
    for (const stored_bytes& s : inputs_.stored()) order.push_back(&s);
    sort_unsorted(order, [](const stored_bytes* a, const stored_bytes* b) {
        if (a->file != b->file) return a->file < b->file;
        return a->begin < b->begin;
    });
    for (const stored_bytes* s : order) {
        if (!plan_.runs.empty()) {
            byte_run& last = plan_.runs.back();
            // Between buffers in memory there may be nothing that can be read.
            if (run_files_.back() == s->file && s->begin <= last.end + (s->file != 0 ? bridged_gap : 0)) {
                last.end = (std::max)(last.end, s->end);
                continue;
            }
        }
        const planned_file& of = inputs_.files()[s->file];
        plan_.runs.push_back({of.from, of.in, s->begin, s->end, of.name});
        run_files_.push_back(s->file);
    }
}

CKPT_DETAIL_DEF void plan_reads::cut_pieces() {
    for (std::uint32_t r = 0; r < plan_.runs.size(); ++r) {
        const byte_run& run = plan_.runs[r];
        for (std::uint64_t at = run.begin; at < run.end;) {
            const std::uint64_t cut = at / file::direct_alignment * file::direct_alignment + plan_.piece_bytes;
            upload_piece piece{.run = r,
                               .begin = at,
                               .first_copy = count_of(plan_.copies),
                               .first_move = count_of(plan_.moves),
                               .first_cast = count_of(plan_.casts)};
            const std::uint64_t end = copies_.end_of_piece(run_files_[r], piece, (std::min)(cut, run.end));
            piece.bytes = end - at;
            copies_.add_piece(run_files_[r], piece);
            plan_.pieces.push_back(piece);
            plan_.read_bytes += end - at;
            at = end;
        }
    }
}

CKPT_DETAIL_DEF void plan_reads::find_checksums() {
    std::vector<used_storage> used = inputs_.storages();
    sort_unsorted(used, [](const used_storage& a, const used_storage& b) {
        if (a.file != b.file) return a.file < b.file;
        return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    used.erase(std::unique(used.begin(), used.end()), used.end());
    std::uint32_t r = 0;
    for (const used_storage& s : used) {
        while (r < plan_.runs.size() &&
               (run_files_[r] < s.file || (run_files_[r] == s.file && plan_.runs[r].end < s.end)))
            ++r;
        const bool whole = r < plan_.runs.size() && run_files_[r] == s.file && plan_.runs[r].begin <= s.begin;
        if (whole && s.crc32 != 0) plan_.checksums.push_back({r, s.begin, s.end, s.crc32, s.key});
        else ++plan_.unchecked;
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
