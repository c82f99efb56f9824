// ckpt/state/impl/digests.ipp: the definitions of digests.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/crew.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/state/digests.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/stored_run.hpp>

#include <optional>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Sums the tensors that are stored runs. `pieces` are those of tensors in their order, and so are `runs`.
inline void sum_stored(std::span<const stored_run> runs, plain_list<crew_piece>& pieces, const digest_options& options,
                       progress_meter& meter) {
    std::uint64_t bytes = 0;
    for (const crew_piece& piece : pieces) bytes += piece.length;
    meter.begin(bytes);
    sum_pieces({pieces.data(), pieces.size()}, options.workers, meter,
               [runs](std::uint32_t run, std::uint64_t offset, std::span<std::byte> buffer) {
                   return runs[run].read(offset, buffer);
               });
    if (!meter.is_stopped()) (void)meter.finish();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE std::vector<result<std::uint32_t>> digests(std::span<const tensor> of, const digest_options& options) {
    using namespace detail;
    plain_list<stored_run> runs; // of each tensor; without a source where it is none
    plain_list<crew_piece> pieces;
    progress_meter meter{options.progress};
    for (std::size_t i = 0; i < of.size(); ++i) {
        runs.push_back(find_stored_run(tensor_access::data(of[i]), tensor_access::source(of[i])));
        if (runs.back().source != nullptr) add_pieces(pieces, static_cast<std::uint32_t>(i), runs.back().length);
        meter.expect(of[i].nbytes());
    }
    sum_stored({runs.data(), runs.size()}, pieces, options, meter);
    std::vector<result<std::uint32_t>> out;
    out.reserve(of.size());
    storage_readers readers;
    readers.meter = &meter;
    std::size_t first = 0;
    for (std::size_t i = 0; i < of.size(); ++i) {
        std::size_t last = first;
        while (last < pieces.size() && pieces[last].run == i) ++last;
        std::uint32_t crc = 0;
        const bool summed = runs[i].source != nullptr && joined_sum({pieces.data() + first, last - first}, crc);
        first = last;
        if (summed) {
            out.emplace_back(crc);
        } else if (meter.is_stopped()) {
            out.emplace_back(meter.stopped());
        } else {
            meter.begin(runs[i].source != nullptr ? 0 : of[i].nbytes());
            out.push_back(digest_tensor(tensor_access::data(of[i]), tensor_access::source(of[i]), &readers));
            (void)meter.finish();
        }
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
