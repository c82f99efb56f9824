// ckpt/io/impl/advice.ipp: the definitions of advice.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/io/advice.hpp>

#if defined(_WIN32)
#include <ckpt/io/detail/advice_win32.hpp>
#else
#include <ckpt/io/detail/advice_posix.hpp>
#endif

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::vector<advised_range> merge_ranges(std::vector<advised_range> ranges) {
    sort_values(ranges, [](const advised_range& a, const advised_range& b) {
        return a.file != b.file ? a.file < b.file : a.begin < b.begin;
    });
    std::vector<advised_range> out;
    for (advised_range r : ranges) {
        if (r.begin >= r.end) continue;
        r.begin -= r.begin % advised_block;
        const std::uint64_t over = r.end % advised_block;
        if (over != 0) r.end += advised_block - over;
        if (out.empty() || out.back().file != r.file || out.back().end < r.begin) out.push_back(r);
        else if (out.back().end < r.end) out.back().end = r.end;
    }
    return out;
}

CKPT_DETAIL_RARE void advice::add(const source& from, std::uint64_t begin, std::uint64_t end) {
    const file* const in = from.whole_file();
    if (in == nullptr || begin >= end || end > from.size()) return;
    std::size_t i = files_.size(); // what is added is nearly always of the last one
    while (i > 0 && files_[i - 1]->whole_file() != in) --i;
    if (i == 0) {
        files_.push_back(&from);
        i = files_.size();
    }
    ranges_.push_back({static_cast<std::uint32_t>(i - 1), from.base() + begin, from.base() + end});
}

CKPT_DETAIL_RARE advice::given advice::give() const {
    given out;
    for (const advised_range& r : merge_ranges(ranges_)) {
        const source& from = *files_[r.file];
        const std::uint64_t size = from.whole_file()->size();
        const std::uint64_t told = give(from, r.begin, r.end < size ? r.end : size);
        out.bytes += told;
        out.ranges += told != 0 ? 1 : 0;
    }
    return out;
}

CKPT_DETAIL_RARE std::uint64_t advice::give(const source& from, std::uint64_t begin, std::uint64_t end) {
    std::uint64_t told = 0;
    for (std::uint64_t at = begin; at < end;) {
        const std::uint64_t next = end - at < file_system::advised_at_once ? end : at + file_system::advised_at_once;
        const auto length = static_cast<std::size_t>(next - at);
        if (file_system::will_need(from.whole_file()->handle(), at, length, from.mapped_part(at, next).data()))
            told += length;
        at = next;
    }
    return told;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
