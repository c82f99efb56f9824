// ckpt/archive/impl/zip_end.ipp: the definitions of zip_end.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/zip_end.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/str_cat.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip {

CKPT_DETAIL_RARE result<tail> read_tail(const source& from, const limits& budget, arena& memory) {
    constexpr std::size_t all = end64_bytes + locator_bytes + end_bytes;
    const std::uint64_t size = from.size();
    if (size < end_bytes) {
        return fail(from, errc::zip_truncated, 0, {}, str_cat("no end record: the whole file has ", size, " bytes"),
                    download_hint);
    }
    std::uint64_t start = size - (std::min<std::uint64_t>)(size, end_window + end64_bytes + locator_bytes);
    std::array<std::byte, all> last{};
    const std::size_t had = static_cast<std::size_t>((std::min<std::uint64_t>)(size, all));
    if (auto done = from.read(size - had, {last.data() + (all - had), had}); !done) return std::move(done).failure();
    const std::byte* const end = last.data() + (all - end_bytes);
    if (load_le<std::uint32_t>(end) == end_signature && load_le<std::uint16_t>(end + 20) == 0) {
        std::uint64_t length = load_le<std::uint32_t>(end + 12), offset = load_le<std::uint32_t>(end + 16),
                      stop = size - end_bytes;
        if (had == all && load_le<std::uint32_t>(end - locator_bytes) == locator_signature) {
            length = load_le<std::uint64_t>(last.data() + 40);
            offset = load_le<std::uint64_t>(last.data() + 48);
            stop = size - all;
        }
        if (offset < start && length <= budget.directory_bytes && length <= stop && offset == stop - length)
            start = offset;
    }
    std::size_t length = 0;
    if (!checked_narrow(size - start, length))
        return fail(from, errc::limit, start, {}, str_cat("a directory of ", size - start, " bytes"), {});
    const std::span<std::byte> bytes{memory.allocate<std::byte>(length), length};
    if (auto whole = from.read(start, bytes); !whole) return std::move(whole).failure();
    from.keep(start, bytes);
    return tail{bytes, start};
}

CKPT_DETAIL_RARE bool is_rival(const tail& in, std::size_t at, std::uint64_t size) noexcept {
    const std::byte* const p = in.bytes.data() + at;
    const std::uint64_t position = in.offset + at;
    if (position + end_bytes + load_le<std::uint16_t>(p + 20) != size) return false;
    const std::uint64_t directory = std::uint64_t{load_le<std::uint32_t>(p + 12)} + load_le<std::uint32_t>(p + 16);
    if (directory == position) return true;
    return at >= locator_bytes && load_le<std::uint32_t>(p - locator_bytes) == locator_signature;
}

CKPT_DETAIL_RARE result<std::size_t> last_end(const source& from, const tail& in) {
    const std::size_t last = in.bytes.size() - end_bytes;
    const std::size_t first = in.bytes.size() - (std::min)(in.bytes.size(), end_window);
    std::size_t at = last;
    while (load_le<std::uint32_t>(in.bytes.data() + at) != end_signature) {
        if (at == first) {
            return fail(from, errc::zip_truncated, from.size(), {},
                        str_cat("no end record in the last ", in.bytes.size() - first, " of ", from.size(), " bytes"),
                        download_hint);
        }
        --at;
    }
    const std::size_t comment = load_le<std::uint16_t>(in.bytes.data() + at + 20);
    if (comment > last - at) {
        return fail(from, errc::zip_truncated, in.offset + at, {},
                    str_cat("the end record has a comment of ", comment, " bytes, ", last - at, " are left"),
                    download_hint);
    }
    return at;
}

CKPT_DETAIL_RARE result<void> refuse_rivals(const source& from, const tail& in, std::size_t at) {
    const std::byte* const data = in.bytes.data();
    const std::size_t first = in.bytes.size() - (std::min)(in.bytes.size(), end_window);
    // Looks for the signature's last byte, which is rarer in directories than its first.
    for (std::size_t from_here = first + 3; from_here < at;) {
        const void* const hit = std::memchr(data + from_here, 0x06, at - from_here);
        if (hit == nullptr) break;
        const std::size_t there = static_cast<std::size_t>(static_cast<const std::byte*>(hit) - data);
        if (load_le<std::uint32_t>(data + there - 3) == end_signature && is_rival(in, there - 3, from.size())) {
            return fail(from, errc::zip_ambiguous_end, in.offset + at, {},
                        str_cat("two complete end records, at ", in.offset + there - 3, " and ", in.offset + at),
                        resave_hint);
        }
        from_here = there + 1;
    }
    return {};
}

CKPT_DETAIL_RARE error several_disks(const source& from, std::uint64_t at, std::string seen) {
    return fail(from, errc::zip_multi_disk, at, {}, std::move(seen),
                "Join the parts into one archive first: zip -s 0 parts.zip --out whole.zip");
}

CKPT_DETAIL_RARE result<end_record> find_end(const source& from, const tail& in) {
    const auto found = last_end(from, in);
    if (!found) return found.error();
    const std::size_t at = *found;
    if (auto single = refuse_rivals(from, in, at); !single) return std::move(single).failure();

    const std::byte* const p = in.bytes.data() + at;
    const auto disk = load_le<std::uint16_t>(p + 4), directory_disk = load_le<std::uint16_t>(p + 6);
    const auto here = load_le<std::uint16_t>(p + 8), entries = load_le<std::uint16_t>(p + 10);
    end_record out;
    out.count = entries;
    out.directory_size = load_le<std::uint32_t>(p + 12);
    out.directory_offset = load_le<std::uint32_t>(p + 16);
    out.position = in.offset + at;
    const bool has_locator = at >= locator_bytes && load_le<std::uint32_t>(p - locator_bytes) == locator_signature;
    const auto on_first = [&](std::uint16_t number) { return number == 0 || (has_locator && number == full16); };
    if (!on_first(disk) || !on_first(directory_disk) || here != entries) {
        return several_disks(from, out.position,
                             str_cat("disk ", disk, ", directory on disk ", directory_disk, ", ", here, " of ", entries,
                                     " entries here"));
    }
    if (!has_locator) {
        if (out.directory_size != full32 && out.directory_offset != full32) return out;
        return fail(from, errc::zip64_invalid, out.position, {},
                    "the end record asks for a ZIP64 one, which is not there", damage_hint);
    }
    const auto wide = read_end64(from, in, at);
    if (!wide) return wide.error();
    if ((out.count != full16 && out.count != wide->count) ||
        (out.directory_size != full32 && out.directory_size != wide->directory_size) ||
        (out.directory_offset != full32 && out.directory_offset != wide->directory_offset)) {
        return fail(from, errc::zip_ambiguous_end, out.position, {},
                    str_cat("the end records disagree: ", out.count, " entries, ", out.directory_size, " bytes at ",
                            out.directory_offset, " here, ", wide->count, ", ", wide->directory_size, " at ",
                            wide->directory_offset, " in the ZIP64 one"),
                    damage_hint);
    }
    return *wide;
}

CKPT_DETAIL_RARE result<end_record> read_end64(const source& from, const tail& in, std::size_t at) {
    const std::byte* const locator = in.bytes.data() + at - locator_bytes;
    const std::uint64_t locator_offset = in.offset + at - locator_bytes;
    const std::uint64_t position = load_le<std::uint64_t>(locator + 8);
    const auto bad = [&](std::string seen) {
        return fail(from, errc::zip64_invalid, locator_offset, {}, std::move(seen), damage_hint);
    };
    const auto disks = load_le<std::uint32_t>(locator + 16);
    if (load_le<std::uint32_t>(locator + 4) != 0 || disks > 1)
        return several_disks(from, locator_offset, str_cat("the ZIP64 locator counts ", disks, " disks"));
    if (!range_inside(position, end64_bytes, locator_offset))
        return bad(str_cat("the ZIP64 locator at ", locator_offset, " points to ", position));
    std::array<std::byte, end64_bytes> bytes{};
    if (position >= in.offset) {
        std::memcpy(bytes.data(), in.bytes.data() + (position - in.offset), bytes.size());
    } else {
        // The record is longer than the tail: it has an extensible data sector, which no known writer adds.
        if (auto done = from.read(position, bytes); !done) return std::move(done).failure();
    }
    const std::byte* const p = bytes.data();
    if (load_le<std::uint32_t>(p) != end64_signature)
        return bad(str_cat("no ZIP64 end record at ", position, ", where its locator points"));
    // The field counts what follows it: the record must reach to its locator.
    const std::uint64_t length = load_le<std::uint64_t>(p + 4);
    if (length != locator_offset - position - 12)
        return bad(str_cat("the ZIP64 end record at ", position, " has ", length, " bytes, its locator is at ",
                           locator_offset));
    const std::uint64_t here = load_le<std::uint64_t>(p + 24);
    end_record out;
    out.count = load_le<std::uint64_t>(p + 32);
    out.directory_size = load_le<std::uint64_t>(p + 40);
    out.directory_offset = load_le<std::uint64_t>(p + 48);
    out.position = position;
    if (load_le<std::uint32_t>(p + 16) != 0 || load_le<std::uint32_t>(p + 20) != 0 || here != out.count)
        return several_disks(from, position, str_cat(here, " of ", out.count, " entries are on this disk"));
    return out;
}

CKPT_DETAIL_RARE result<void> check_directory_place(const source& from, const end_record& end) {
    std::uint64_t stop = 0;
    const auto place = [&] {
        return str_cat(end.directory_size, " bytes at ", end.directory_offset, ", end record at ", end.position);
    };
    if (!checked_add(end.directory_offset, end.directory_size, stop) || stop > from.size())
        return fail(from, errc::zip_bounds, end.position, {}, str_cat("the directory lies outside the file: ", place()),
                    download_hint);
    if (stop == end.position) return {};
    // A whole directory right before the end record means that all offsets are off by one distance.
    std::array<std::byte, 4> first{};
    const bool moved = stop < end.position && end.directory_size >= central_bytes &&
                       from.read(end.position - end.directory_size, first).has_value() &&
                       load_le<std::uint32_t>(first.data()) == central_signature;
    if (moved) {
        return fail(
            from, errc::zip_prefix, end.position, {},
            str_cat(end.position - stop, " bytes stand before the archive, or two archives were joined: ", place()),
            "Cut them off, or open the part of the file that holds the archive");
    }
    return fail(from, errc::zip_count_mismatch, end.position, {},
                str_cat("the directory does not end at its end record: ", place()), damage_hint);
}

CKPT_DETAIL_RARE result<void> check_directory_size(const source& from, const end_record& end, const limits& budget) {
    if (end.count > end.directory_size / central_bytes) {
        return fail(from, errc::zip_count_mismatch, end.position, {},
                    str_cat(end.count, " entries do not fit in a directory of ", end.directory_size, " bytes"),
                    damage_hint);
    }
    constexpr std::uint64_t most_records = (std::uint64_t{1} << 31) - 1; // the index numbers them by 31 bits
    const std::uint64_t most = (std::min)(budget.records, most_records);
    if (end.count > most) {
        return fail(from, errc::limit, end.position, {}, str_cat(end.count, " records, the limit is ", most),
                    "Raise limits::records if the file is trusted");
    }
    if (end.directory_size > budget.directory_bytes) {
        return fail(from, errc::limit, end.position, {},
                    str_cat("a directory of ", end.directory_size, " bytes, the limit is ", budget.directory_bytes),
                    "Raise limits::directory_bytes if the file is trusted");
    }
    return {};
}

CKPT_DETAIL_RARE result<std::span<const std::byte>>
read_directory(const source& from, const tail& in, const end_record& end, const limits& budget, arena& memory) {
    if (auto placed = check_directory_place(from, end); !placed) return std::move(placed).failure();
    if (auto sized = check_directory_size(from, end, budget); !sized) return std::move(sized).failure();
    std::array<std::byte, 4> begin{};
    if (auto done = from.read(0, begin); !done) return std::move(done).failure();
    if (load_le<std::uint32_t>(begin.data()) != local_signature) {
        return fail(from, errc::zip_prefix, 0, {}, "the first bytes are not a local header",
                    "Cut off what stands before the archive, or open the part of the file that holds it");
    }
    if (end.directory_offset >= in.offset) {
        return in.bytes.subspan(static_cast<std::size_t>(end.directory_offset - in.offset),
                                static_cast<std::size_t>(end.directory_size));
    }
    std::size_t length = 0;
    if (!checked_narrow(end.directory_size, length))
        return fail(from, errc::limit, end.position, {}, str_cat("a directory of ", end.directory_size, " bytes"), {});
    const std::span<std::byte> out{memory.allocate<std::byte>(length), length};
    if (auto done = from.read(end.directory_offset, out); !done) return std::move(done).failure();
    return std::span<const std::byte>{out};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip
