// ckpt/gpu/impl/staging.ipp: the definitions of staging.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/digest.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/staging.hpp>
#include <ckpt/state/gather.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF stager::stager(const upload_plan_data& plan, upload_source source, bool verify)
    : plan_{plan}, verify_{verify}, runs_(plan.runs.size()) {
    if (verify_) partial_.resize(plan.pieces.size());
    if (source != upload_source::direct) return;
    for (std::size_t r = 0; r < runs_.size(); ++r) {
        if (plan.runs[r].in == nullptr) continue;
        open_direct(*plan.runs[r].in);
        runs_[r] = direct_of(*plan.runs[r].in);
    }
    const auto open = [this](const ckpt::detail::source& from, std::uint64_t, std::uint64_t) {
        if (from.whole_file() != nullptr) open_direct(*from.whole_file());
    };
    for (std::uint32_t i = 0; i < plan.plan.size(); ++i) {
        const gather_node& node = plan.plan.node(i);
        if (node.op != gather_op::leaf || node.data->numel == 0) continue;
        const std::uint32_t storage = node.data->storage;
        node.source->find_touched(storage, 0, node.source->nbytes(storage), open);
        if (node.source->is_compressed(storage) && !node.source->is_gathered(storage))
            note("compressed records are read through the system's cache");
    }
}

CKPT_DETAIL_DEF void stager::open_direct(const file& in) {
    if (std::any_of(direct_.begin(), direct_.end(), [&](const direct_file& f) { return f.in == &in; })) return;
    direct_file& made = direct_.emplace_back();
    made.in = &in;
    auto opened = in.reopen_direct();
    made.failed = !opened;
    if (opened) made.opened = *std::move(opened);
    else note(opened.error().detail);
}

CKPT_DETAIL_DEF direct_file* stager::direct_of(const file& in) noexcept {
    for (direct_file& f : direct_)
        if (f.in == &in) return f.failed.load(std::memory_order_relaxed) ? nullptr : &f;
    return nullptr;
}

CKPT_DETAIL_DEF result<void> stager::fill(std::uint32_t number, std::byte* slot, std::byte* room,
                                          storage_readers& leaves) {
    const upload_piece& piece = plan_.pieces[number];
    if (piece.run == no_run) return build(piece, slot, leaves);
    std::byte* const place = piece.apart ? room : slot;
    std::byte* const data = place + plan_.lead(piece);
    if (auto done = read_checked(number, piece.begin, {data, static_cast<std::size_t>(piece.bytes)}, place); !done)
        return done;
    for (const staged_move& m : plan_.moves_of(piece))
        std::memcpy(slot + plan_.slot_lead(piece) + m.to, data + m.from, static_cast<std::size_t>(m.bytes));
    return {};
}

CKPT_DETAIL_DEF result<void> stager::read_checked(std::uint32_t number, std::uint64_t begin, std::span<std::byte> out,
                                                  std::byte* room) {
    // With checksums, buffered reads are 256 KiB each: the bytes are still in the cache when they are summed. Direct
    // reads are faster the larger they are.
    constexpr std::size_t hot = std::size_t{256} << 10;
    const std::uint32_t run = plan_.pieces[number].run;
    const std::size_t step = verify_ && runs_[run] == nullptr ? hot : out.size();
    for (std::size_t at = 0; at < out.size(); at += step) {
        const auto part = out.subspan(at, (std::min)(step, out.size() - at));
        if (auto done = read(run, begin + at, part, room); !done) return done;
        checked(number, begin + at, part);
    }
    return {};
}

CKPT_DETAIL_DEF result<void> stager::read(std::uint32_t run, std::uint64_t begin, std::span<std::byte> out,
                                          std::byte* room) {
    const byte_run& from = plan_.runs[run];
    if (from.in == nullptr) {
        std::memcpy(out.data(), reinterpret_cast<const std::byte*>(static_cast<std::uintptr_t>(begin)), out.size());
        return {};
    }
    direct_file* const direct = runs_[run];
    if (direct != nullptr && room != nullptr && !direct->failed.load(std::memory_order_relaxed)) {
        if (read_direct(direct->opened, begin, out, room)) return {};
        direct->failed = true;
    }
    auto done = from.in->read(begin, out);
    if (!done) done.error().file = from.file_name;
    return done;
}

CKPT_DETAIL_DEF result<void> stager::build(const upload_piece& piece, std::byte* slot, storage_readers& leaves) const {
    for (std::uint32_t i = 0; i < piece.parts; ++i) {
        const built_part& part = plan_.parts[piece.first_part + i];
        if (auto done = build(part, slot + part.at, leaves); !done) return done;
    }
    return {};
}

CKPT_DETAIL_DEF void stager::checked(std::uint32_t number, std::uint64_t begin, std::span<const std::byte> bytes) {
    if (!verify_) return;
    const std::uint32_t run = plan_.pieces[number].run;
    const auto& checks = plan_.checksums;
    const std::uint64_t end = begin + bytes.size();
    auto at = std::partition_point(checks.begin(), checks.end(), [&](const known_checksum& c) {
        return c.run < run || (c.run == run && c.end <= begin);
    });
    for (; at != checks.end() && at->run == run && at->begin < end; ++at) {
        const std::uint64_t first = (std::max)(at->begin, begin), last = (std::min)(at->end, end);
        const auto part =
            bytes.subspan(static_cast<std::size_t>(first - begin), static_cast<std::size_t>(last - first));
        partial_[number].push_back({static_cast<std::uint32_t>(at - checks.begin()), crc32(part), last - first});
    }
}

CKPT_DETAIL_DEF result<std::uint64_t> stager::verified() const {
    std::vector<partial_checksum> whole(plan_.checksums.size());
    for (const auto& of : partial_)
        for (const partial_checksum& p : of) {
            partial_checksum& w = whole[p.check];
            w.crc32 = w.bytes == 0 ? p.crc32 : crc32_joined(w.crc32, p.crc32, p.bytes);
            w.bytes += p.bytes;
        }
    std::uint64_t compared = 0;
    for (std::size_t i = 0; i < whole.size(); ++i) {
        const known_checksum& c = plan_.checksums[i];
        if (whole[i].bytes != c.end - c.begin) continue; // a part bypassed the host, or lies between two copies
        ++compared;
        if (whole[i].crc32 == c.crc32) continue;
        return error{.code = errc::checksum_mismatch,
                     .offset = c.begin,
                     .file = std::string(plan_.runs[c.run].file_name),
                     .record = std::string(c.key),
                     .detail = str_cat("the CRC-32 is ", hexadecimal(whole[i].crc32), ", the directory says ",
                                       hexadecimal(c.crc32)),
                     .hint = "the file is damaged: copy it again from where it came"};
    }
    return compared;
}

CKPT_DETAIL_DEF std::string stager::fallback() const {
    const auto n = std::count_if(direct_.begin(), direct_.end(), [](const direct_file& f) { return f.failed.load(); });
    return n != 0 && reason_.empty() ? str_cat("direct reads failed of ", n, " files") : reason_;
}

CKPT_DETAIL_DEF bool stager::read_direct(const file& from, std::uint64_t begin, std::span<std::byte> out,
                                         std::byte* room) noexcept {
    const std::uint64_t first = begin / page_bytes * page_bytes;
    const std::uint64_t wanted = begin + out.size() - first;
    const std::uint64_t last = (wanted + page_bytes - 1) / page_bytes * page_bytes;
    std::uint64_t have = 0;
    while (have < wanted) {
        std::size_t got = 0;
        // A direct read that meets the end of the file gives a part of a page. The next one would have to begin inside
        // a page, which direct reads cannot.
        if (have % page_bytes != 0 ||
            from.read_some(first + have, {room + have, static_cast<std::size_t>(last - have)}, got) != 0 || got == 0)
            return false;
        have += got;
    }
    if (out.data() != room + (begin - first)) std::memcpy(out.data(), room + (begin - first), out.size());
    return true;
}

CKPT_DETAIL_DEF bool staged_reads::has(const stored_place& place) const noexcept {
    return place.from != nullptr && place.from->whole_file() != nullptr;
}

CKPT_DETAIL_DEF result<void> staged_reads::read(const stored_place& place, std::uint64_t offset,
                                                std::span<std::byte> out) {
    const file& in = *place.from->whole_file();
    std::uint64_t begin = place.from->base() + place.offset + offset;
    while (!out.empty()) {
        direct_file* const direct = of_.direct_of(in);
        if (direct == nullptr) break;
        const std::size_t n = copy_direct(*direct, begin, out);
        if (n == 0) direct->failed = true;
        begin += n;
        out = out.subspan(n);
    }
    return in.read(begin, out);
}

CKPT_DETAIL_DEF std::size_t staged_reads::copy_direct(const direct_file& from, std::uint64_t begin,
                                                      std::span<std::byte> out) noexcept {
    constexpr std::uint64_t most = std::uint64_t{1} << 20, least = std::uint64_t{1} << 16;
    if (in_ != &from || begin < first_ || begin >= last_) {
        if (window_.bytes().empty()) window_ = pages{most};
        if (window_.bytes().empty()) return 0;
        in_ = &from;
        first_ = last_ = begin / page_bytes * page_bytes;
        const std::uint64_t wanted =
            align_up(begin - first_ + (std::max)(std::uint64_t{out.size()}, least), page_bytes);
        const std::span<std::byte> room = window_.bytes().first(static_cast<std::size_t>((std::min)(wanted, most)));
        std::size_t got = 0;
        if (from.opened.read_some(first_, room, got) != 0) return 0;
        last_ = first_ + got;
        if (begin >= last_) return 0;
    }
    const auto n = static_cast<std::size_t>((std::min)(std::uint64_t{out.size()}, last_ - begin));
    std::memcpy(out.data(), window_.bytes().data() + (begin - first_), n);
    return n;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
