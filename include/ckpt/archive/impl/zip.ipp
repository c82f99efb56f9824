// ckpt/archive/impl/zip.ipp: the definitions of zip.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/zip.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip {

CKPT_DETAIL_DEF zip64_field find_zip64(std::span<const std::byte> extra) noexcept {
    zip64_field out;
    while (extra.size() >= 4) {
        const auto id = load_le<std::uint16_t>(extra.data());
        const std::size_t length = load_le<std::uint16_t>(extra.data() + 2);
        if (length > extra.size() - 4) {
            out.broken = true;
            return out;
        }
        if (id == extra_zip64) {
            out.broken = out.broken || out.data != nullptr;
            out.data = extra.data() + 4;
            out.words = length / 8;
            out.rest = length % 8;
        }
        extra = extra.subspan(4 + length);
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<zip_archive> zip_archive::read(const source& from, const limits& budget, arena& memory) {
    auto tail = read_tail(from, budget, memory);
    if (!tail) return std::move(tail).error();
    auto end = find_end(from, *tail);
    if (!end) return std::move(end).error();
    auto directory = read_directory(from, *tail, *end, budget, memory);
    if (!directory) return std::move(directory).error();
    zip_archive out;
    out.directory_offset_ = end->directory_offset;
    auto parsed = out.parse(from, *directory, static_cast<std::size_t>(end->count), memory);
    if (!parsed) return std::move(parsed).error();
    auto placed = out.set_bounds(from);
    if (!placed) return std::move(placed).error();
    return out;
}

CKPT_DETAIL_DEF const record* zip_archive::find(std::string_view name) const noexcept {
    const record* const out = index_.find(records_, name);
    return out != nullptr && !out->is_folder() ? out : nullptr;
}

CKPT_DETAIL_DEF std::uint64_t zip_archive::predict(const record& r, std::uint64_t alignment) noexcept {
    if (r.method != 0 || alignment == 0) return 0;
    const bool large = r.size >= zip::full32, far_off = r.header_offset >= zip::full32;
    std::uint64_t before = zip::local_bytes + 4 + r.name.size() + (large ? 16u : 0u) + (far_off ? 8u : 0u);
    before += large || far_off ? 4u : 0u;
    const std::uint64_t descriptor = (r.flags & zip::flag_deferred) == 0 ? 0u : large || far_off ? 24u : 16u;
    std::uint64_t at = 0, end = 0;
    if (!checked_add(r.header_offset, before, at) || !checked_add(at, alignment - 1, at)) return 0;
    at -= at % alignment;
    if (!checked_add(at, r.size, end) || !checked_add(end, descriptor, end)) return 0;
    return end == r.bound ? at : 0;
}

CKPT_DETAIL_DEF result<std::uint64_t> zip_archive::payload_offset(const source& from, const record& r,
                                                                  std::uint64_t alignment) {
    const std::uint64_t predicted = predict(r, alignment);
    if (predicted != 0) return predicted;
    return locate(from, r);
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> zip_archive::read_record(const source& from, const record& r,
                                                                            arena& memory, bool check) {
    if (r.method != 0) return not_stored(from, r);
    auto at = locate(from, r);
    if (!at) return std::move(at).error();
    std::size_t length = 0;
    if (!checked_narrow(r.size, length))
        return fail(from, errc::limit, *at, r.name, decimal(r.size) + " bytes are more than this program can address",
                    {});
    const std::span<std::byte> out{memory.allocate<std::byte>(length), length};
    if (auto done = from.read(*at, out); !done) {
        done.error().record = r.name;
        return std::move(done).error();
    }
    if (check && r.crc32 != 0) {
        const std::uint32_t computed = detail::crc32(out);
        if (computed != r.crc32) return wrong_checksum(from, r, *at, computed);
    }
    return std::span<const std::byte>{out};
}

CKPT_DETAIL_DEF error zip_archive::not_stored(const source& from, const record& r) {
    const std::string method = r.method == 8 ? "deflated" : "compressed by method " + decimal(std::uint64_t{r.method});
    return fail(from, errc::compressed, r.header_offset, r.name,
                "the record is " + method + ": " + decimal(r.stored_size) + " bytes for " + decimal(r.size),
                r.method == 8 ? "Give open_options.inflate a function that inflates, or pack the archive again "
                                "without compression: zip -0"
                              : "Pack the archive again without compression: torch.save, or zip -0");
}

CKPT_DETAIL_DEF error zip_archive::wrong_checksum(const source& from, const record& r, std::uint64_t at,
                                                  std::uint32_t computed) {
    return fail(from, errc::checksum_mismatch, at, r.name,
                "the CRC-32 is " + hexadecimal(computed) + ", the directory says " + hexadecimal(r.crc32),
                zip::damage_hint);
}

CKPT_DETAIL_DEF error zip_archive::fail(const source& from, errc code, std::uint64_t at, std::string_view name,
                                        std::string seen, std::string_view hint) {
    return error{
        .code = code, .offset = from.base() + at, .record = std::string(name), .detail = std::move(seen), .hint = hint};
}

CKPT_DETAIL_DEF bool zip_archive::least_end(const record& r, std::uint64_t& out) noexcept {
    return checked_add(r.header_offset, zip::local_bytes + r.name.size(), out) && checked_add(out, r.stored_size, out);
}

CKPT_DETAIL_DEF result<zip_archive::tail_bytes> zip_archive::read_tail(const source& from, const limits& budget,
                                                                       arena& memory) {
    constexpr std::size_t all = zip::end64_bytes + zip::locator_bytes + zip::end_bytes;
    const std::uint64_t size = from.size();
    if (size < zip::end_bytes) {
        return fail(from, errc::zip_truncated, 0, {}, "no end record: the whole file has " + decimal(size) + " bytes",
                    zip::download_hint);
    }
    std::uint64_t start =
        size - (std::min<std::uint64_t>)(size, zip::end_window + zip::end64_bytes + zip::locator_bytes);
    std::array<std::byte, all> last{};
    const std::size_t had = static_cast<std::size_t>((std::min<std::uint64_t>)(size, all));
    if (auto done = from.read(size - had, {last.data() + (all - had), had}); !done) return std::move(done).error();
    const std::byte* const end = last.data() + (all - zip::end_bytes);
    if (load_le<std::uint32_t>(end) == zip::end_signature && load_le<std::uint16_t>(end + 20) == 0) {
        std::uint64_t length = load_le<std::uint32_t>(end + 12), offset = load_le<std::uint32_t>(end + 16),
                      stop = size - zip::end_bytes;
        if (had == all && load_le<std::uint32_t>(end - zip::locator_bytes) == zip::locator_signature) {
            length = load_le<std::uint64_t>(last.data() + 40);
            offset = load_le<std::uint64_t>(last.data() + 48);
            stop = size - all;
        }
        if (offset < start && length <= budget.directory_bytes && length <= stop && offset == stop - length)
            start = offset;
    }
    std::size_t length = 0;
    if (!checked_narrow(size - start, length))
        return fail(from, errc::limit, start, {}, "a directory of " + decimal(size - start) + " bytes", {});
    const std::span<std::byte> bytes{memory.allocate<std::byte>(length), length};
    if (auto whole = from.read(start, bytes); !whole) return std::move(whole).error();
    return tail_bytes{bytes, start};
}

CKPT_DETAIL_DEF bool zip_archive::is_rival(const tail_bytes& tail, std::size_t at, std::uint64_t size) noexcept {
    const std::byte* const p = tail.bytes.data() + at;
    const std::uint64_t position = tail.offset + at;
    if (position + zip::end_bytes + load_le<std::uint16_t>(p + 20) != size) return false;
    const std::uint64_t directory = std::uint64_t{load_le<std::uint32_t>(p + 12)} + load_le<std::uint32_t>(p + 16);
    if (directory == position) return true;
    return at >= zip::locator_bytes && load_le<std::uint32_t>(p - zip::locator_bytes) == zip::locator_signature;
}

CKPT_DETAIL_DEF result<zip_archive::end_facts> zip_archive::find_end(const source& from, const tail_bytes& tail) {
    const std::uint64_t size = from.size();
    const std::byte* const data = tail.bytes.data();
    const std::size_t last = tail.bytes.size() - zip::end_bytes;
    const std::size_t first = tail.bytes.size() - (std::min)(tail.bytes.size(), zip::end_window);
    std::size_t at = last;
    while (load_le<std::uint32_t>(data + at) != zip::end_signature) {
        if (at == first) {
            return fail(from, errc::zip_truncated, size, {},
                        "no end record in the last " + decimal(std::uint64_t{tail.bytes.size() - first}) + " of " +
                            decimal(size) + " bytes",
                        zip::download_hint);
        }
        --at;
    }
    const std::byte* const p = data + at;
    const std::uint64_t position = tail.offset + at;
    const std::size_t comment = load_le<std::uint16_t>(p + 20);
    if (comment > last - at) {
        return fail(from, errc::zip_truncated, position, {},
                    "the end record has a comment of " + decimal(std::uint64_t{comment}) + " bytes, " +
                        decimal(std::uint64_t{last - at}) + " are left",
                    zip::download_hint);
    }
    // Looks for the signature's last byte, which is rarer in directories than its first.
    for (std::size_t from_here = first + 3; from_here < at;) {
        const void* const hit = std::memchr(data + from_here, 0x06, at - from_here);
        if (hit == nullptr) break;
        const std::size_t there = static_cast<std::size_t>(static_cast<const std::byte*>(hit) - data);
        if (load_le<std::uint32_t>(data + there - 3) == zip::end_signature && is_rival(tail, there - 3, size)) {
            return fail(from, errc::zip_ambiguous_end, position, {},
                        "two complete end records, at " + decimal(tail.offset + there - 3) + " and " +
                            decimal(position),
                        zip::resave_hint);
        }
        from_here = there + 1;
    }

    const auto disk = load_le<std::uint16_t>(p + 4), directory_disk = load_le<std::uint16_t>(p + 6);
    const auto here = load_le<std::uint16_t>(p + 8), entries = load_le<std::uint16_t>(p + 10);
    end_facts out;
    out.count = entries;
    out.directory_size = load_le<std::uint32_t>(p + 12);
    out.directory_offset = load_le<std::uint32_t>(p + 16);
    out.position = position;
    const bool has_locator =
        at >= zip::locator_bytes && load_le<std::uint32_t>(p - zip::locator_bytes) == zip::locator_signature;
    const auto on_first = [&](std::uint16_t number) { return number == 0 || (has_locator && number == zip::full16); };
    if (!on_first(disk) || !on_first(directory_disk) || here != entries) {
        return fail(from, errc::zip_multi_disk, position, {},
                    "disk " + decimal(std::uint64_t{disk}) + ", directory on disk " +
                        decimal(std::uint64_t{directory_disk}) + ", " + decimal(std::uint64_t{here}) + " of " +
                        decimal(std::uint64_t{entries}) + " entries here",
                    "Join the parts into one archive first: zip -s 0 parts.zip --out whole.zip");
    }
    if (has_locator) {
        auto widened = apply_zip64(from, tail, at, out);
        if (!widened) return std::move(widened).error();
    } else if (out.directory_size == zip::full32 || out.directory_offset == zip::full32) {
        return fail(from, errc::zip64_invalid, position, {}, "the end record asks for a ZIP64 one, which is not there",
                    zip::damage_hint);
    }
    return out;
}

CKPT_DETAIL_DEF result<void> zip_archive::apply_zip64(const source& from, const tail_bytes& tail, std::size_t at,
                                                      end_facts& facts) {
    const std::byte* const plain = tail.bytes.data() + at;
    const std::byte* const locator = plain - zip::locator_bytes;
    const std::uint64_t locator_offset = tail.offset + at - zip::locator_bytes;
    const std::uint64_t position = load_le<std::uint64_t>(locator + 8);
    const auto bad = [&](std::string seen) {
        return fail(from, errc::zip64_invalid, locator_offset, {}, std::move(seen), zip::damage_hint);
    };
    if (load_le<std::uint32_t>(locator + 4) != 0 || load_le<std::uint32_t>(locator + 16) > 1) {
        return fail(from, errc::zip_multi_disk, locator_offset, {},
                    "the ZIP64 locator counts " + decimal(std::uint64_t{load_le<std::uint32_t>(locator + 16)}) +
                        " disks",
                    "Join the parts into one archive first: zip -s 0 parts.zip --out whole.zip");
    }
    if (!range_inside(position, zip::end64_bytes, locator_offset))
        return bad("the ZIP64 locator at " + decimal(locator_offset) + " points to " + decimal(position));
    std::array<std::byte, zip::end64_bytes> bytes{};
    if (position >= tail.offset) {
        std::memcpy(bytes.data(), tail.bytes.data() + (position - tail.offset), bytes.size());
    } else {
        // Only where it holds more than any writer puts there.
        if (auto done = from.read(position, bytes); !done) return std::move(done).error();
    }
    const std::byte* const p = bytes.data();
    if (load_le<std::uint32_t>(p) != zip::end64_signature)
        return bad("no ZIP64 end record at " + decimal(position) + ", where its locator points");
    // The field counts what follows it: the record must reach to its locator.
    const std::uint64_t length = load_le<std::uint64_t>(p + 4);
    if (length != locator_offset - position - 12)
        return bad("the ZIP64 end record at " + decimal(position) + " has " + decimal(length) +
                   " bytes, its locator is at " + decimal(locator_offset));
    const std::uint64_t here = load_le<std::uint64_t>(p + 24);
    end_facts wide;
    wide.count = load_le<std::uint64_t>(p + 32);
    wide.directory_size = load_le<std::uint64_t>(p + 40);
    wide.directory_offset = load_le<std::uint64_t>(p + 48);
    wide.position = position;
    if (load_le<std::uint32_t>(p + 16) != 0 || load_le<std::uint32_t>(p + 20) != 0 || here != wide.count) {
        return fail(from, errc::zip_multi_disk, position, {},
                    decimal(here) + " of " + decimal(wide.count) + " entries are on this disk",
                    "Join the parts into one archive first: zip -s 0 parts.zip --out whole.zip");
    }
    if ((facts.count != zip::full16 && facts.count != wide.count) ||
        (facts.directory_size != zip::full32 && facts.directory_size != wide.directory_size) ||
        (facts.directory_offset != zip::full32 && facts.directory_offset != wide.directory_offset)) {
        return fail(from, errc::zip_ambiguous_end, facts.position, {},
                    "the end records disagree: " + decimal(facts.count) + " entries, " + decimal(facts.directory_size) +
                        " bytes at " + decimal(facts.directory_offset) + " here, " + decimal(wide.count) + ", " +
                        decimal(wide.directory_size) + " at " + decimal(wide.directory_offset) + " in the ZIP64 one",
                    zip::damage_hint);
    }
    facts = wide;
    return {};
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> zip_archive::read_directory(const source& from,
                                                                               const tail_bytes& tail,
                                                                               const end_facts& end,
                                                                               const limits& budget, arena& memory) {
    std::uint64_t stop = 0;
    const auto place = [&] {
        return decimal(end.directory_size) + " bytes at " + decimal(end.directory_offset) + ", end record at " +
               decimal(end.position);
    };
    if (!checked_add(end.directory_offset, end.directory_size, stop) || stop > from.size())
        return fail(from, errc::zip_bounds, end.position, {}, "the directory lies outside the file: " + place(),
                    zip::download_hint);
    if (stop != end.position) {
        // A whole directory right before the end record means that all offsets are off by one distance.
        std::array<std::byte, 4> first{};
        const bool moved = stop < end.position && end.directory_size >= zip::central_bytes &&
                           from.read(end.position - end.directory_size, first).has_value() &&
                           load_le<std::uint32_t>(first.data()) == zip::central_signature;
        if (moved) {
            return fail(from, errc::zip_prefix, end.position, {},
                        decimal(end.position - stop) +
                            " bytes stand before the archive, or two archives were joined: " + place(),
                        "Cut them off, or open the part of the file that holds the archive");
        }
        return fail(from, errc::zip_count_mismatch, end.position, {},
                    "the directory does not end at its end record: " + place(), zip::damage_hint);
    }
    if (end.count > end.directory_size / zip::central_bytes) {
        return fail(from, errc::zip_count_mismatch, end.position, {},
                    decimal(end.count) + " entries do not fit in a directory of " + decimal(end.directory_size) +
                        " bytes",
                    zip::damage_hint);
    }
    constexpr std::uint64_t most_records = (std::uint64_t{1} << 31) - 1; // the index numbers them by 31 bits
    if (end.count > (std::min)(budget.records, most_records)) {
        return fail(from, errc::limit, end.position, {},
                    decimal(end.count) + " records, the limit is " + decimal((std::min)(budget.records, most_records)),
                    "Raise limits::records if the file is trusted");
    }
    if (end.directory_size > budget.directory_bytes) {
        return fail(from, errc::limit, end.position, {},
                    "a directory of " + decimal(end.directory_size) + " bytes, the limit is " +
                        decimal(budget.directory_bytes),
                    "Raise limits::directory_bytes if the file is trusted");
    }
    std::array<std::byte, 4> begin{};
    if (auto done = from.read(0, begin); !done) return std::move(done).error();
    if (load_le<std::uint32_t>(begin.data()) != zip::local_signature) {
        return fail(from, errc::zip_prefix, 0, {}, "the first bytes are not a local header",
                    "Cut off what stands before the archive, or open the part of the file that holds it");
    }
    if (end.directory_offset >= tail.offset) {
        return tail.bytes.subspan(static_cast<std::size_t>(end.directory_offset - tail.offset),
                                  static_cast<std::size_t>(end.directory_size));
    }
    std::size_t length = 0;
    if (!checked_narrow(end.directory_size, length))
        return fail(from, errc::limit, end.position, {}, "a directory of " + decimal(end.directory_size) + " bytes",
                    {});
    const std::span<std::byte> out{memory.allocate<std::byte>(length), length};
    if (auto done = from.read(end.directory_offset, out); !done) return std::move(done).error();
    return std::span<const std::byte>{out};
}

CKPT_DETAIL_DEF std::string_view zip_archive::widen(record& r, std::span<const std::byte> extra) noexcept {
    const zip::zip64_field field = zip::find_zip64(extra);
    if (field.broken) return "two ZIP64 fields, or an extra field that is longer than the area for them";
    std::array<std::uint64_t*, 3> values{&r.size, &r.stored_size, &r.header_offset};
    std::size_t asked = 0;
    for (std::uint64_t* const value : values) {
        if (*value != zip::full32) continue;
        if (asked >= field.words) return "a ZIP64 field that is asked for is missing or too short";
        *value = load_le<std::uint64_t>(field.data + 8 * asked++);
    }
    if (field.words > asked) {
        if (field.words > values.size()) return "a ZIP64 field that is too long";
        for (std::size_t i = 0; i < field.words; ++i)
            if (load_le<std::uint64_t>(field.data + 8 * i) != *values[i])
                return "a ZIP64 field that contradicts the entry";
    }
    if (field.rest != 0 && (field.rest != 4 || load_le<std::uint32_t>(field.data + 8 * field.words) != 0))
        return "a ZIP64 field of an odd length, or one that names another disk";
    return {};
}

CKPT_DETAIL_DEF error zip_archive::bad_name(const source& from, std::uint64_t at, const record& r, name_fault fault) {
    std::string_view why = "ends in '/' and yet has content";
    switch (fault) {
    case name_fault::none: break;
    case name_fault::empty: why = "is empty"; break;
    case name_fault::nul: why = "has a NUL byte"; break;
    case name_fault::backslash: why = "has a backslash"; break;
    case name_fault::absolute: why = "is absolute"; break;
    case name_fault::parent: why = "has a '..' component"; break;
    }
    return fail(from, errc::zip_name_invalid, at, r.name, "the name " + quoted(r.name) + " " + std::string(why),
                "PyTorch writes no such names; pack the archive again with plain ones");
}

CKPT_DETAIL_DEF error zip_archive::duplicate(const source& from, const record& first, const record& second) const {
    const bool equal = first.name == second.name;
    return fail(from, errc::zip_duplicate_name, second.header_offset, second.name,
                equal ? quoted(first.name) + " is there twice, at " + decimal(first.header_offset) + " and " +
                            decimal(second.header_offset)
                      : quoted(first.name) + " and " + quoted(second.name) +
                            " differ only in case, which PyTorch ignores",
                "Which of the two is meant depends on the reader; pack the archive again without one of them");
}

CKPT_DETAIL_DEF result<void> zip_archive::parse(const source& from, std::span<const std::byte> directory,
                                                std::size_t count, arena& memory) {
    records_ = {memory.allocate<record>(count), count};
    index_ = name_index(count, memory);
    const std::byte* at = directory.data();
    const std::byte* const end = at + directory.size();
    const auto offset = [&] { return directory_offset_ + static_cast<std::uint64_t>(at - directory.data()); };
    for (std::size_t i = 0; i < count; ++i) {
        const auto left = static_cast<std::size_t>(end - at);
        if (left < zip::central_bytes || load_le<std::uint32_t>(at) != zip::central_signature) {
            return fail(from, errc::zip_count_mismatch, offset(), {},
                        "entry " + decimal(std::uint64_t{i + 1}) + " of " + decimal(std::uint64_t{count}) +
                            (left < zip::central_bytes ? " is not there" : " does not begin with its signature"),
                        zip::damage_hint);
        }
        const std::size_t name_length = load_le<std::uint16_t>(at + 28), extra_length = load_le<std::uint16_t>(at + 30);
        const std::size_t length = zip::central_bytes + name_length + extra_length + load_le<std::uint16_t>(at + 32);
        record& r = *::new (static_cast<void*>(&records_[i])) record;
        if (length > left) {
            return fail(from, errc::zip_bounds, offset(), {},
                        "entry " + decimal(std::uint64_t{i + 1}) + " has " + decimal(std::uint64_t{length}) +
                            " bytes, the directory " + decimal(std::uint64_t{left}) + " more",
                        zip::damage_hint);
        }
        r.name = {reinterpret_cast<const char*>(at + zip::central_bytes), name_length};
        r.flags = load_le<std::uint16_t>(at + 8);
        r.method = load_le<std::uint16_t>(at + 10);
        r.crc32 = load_le<std::uint32_t>(at + 16);
        r.stored_size = load_le<std::uint32_t>(at + 20);
        r.size = load_le<std::uint32_t>(at + 24);
        r.header_offset = load_le<std::uint32_t>(at + 42);
        if (extra_length != 0 || r.size == zip::full32 || r.stored_size == zip::full32 ||
            r.header_offset == zip::full32) {
            const std::string_view wrong = widen(r, {at + zip::central_bytes + name_length, extra_length});
            if (!wrong.empty())
                return fail(from, errc::zip64_invalid, offset(), r.name, std::string(wrong), zip::damage_hint);
        }
        const name_facts name = look_at_name(r.name);
        if (name.fault != name_fault::none || (r.is_folder() && r.size != 0))
            return bad_name(from, offset(), r, name.fault);
        if ((r.flags & (zip::flags_encrypted | zip::flag_patch)) != 0 || load_le<std::uint16_t>(at + 34) != 0) {
            if ((r.flags & zip::flags_encrypted) != 0) {
                return fail(from, errc::zip_encrypted, offset(), r.name,
                            "the record is encrypted: flags " + hexadecimal(r.flags),
                            "Unpack it with its password and pack it again without");
            }
            return fail(from, errc::zip_multi_disk, offset(), r.name,
                        (r.flags & zip::flag_patch) != 0
                            ? std::string("the record is a patch to another archive")
                            : "the record is on disk " + decimal(std::uint64_t{load_le<std::uint16_t>(at + 34)}),
                        zip::resave_hint);
        }
        if (r.method == 0 && r.size != r.stored_size) {
            return fail(from, errc::zip_header_mismatch, offset(), r.name,
                        "stored as it is, and yet " + decimal(r.stored_size) + " bytes for " + decimal(r.size),
                        zip::damage_hint);
        }
        std::uint64_t least = 0;
        if (!least_end(r, least) || least > directory_offset_) return misplaced(from, r, nullptr);
        in_order_ = in_order_ && (i == 0 || records_[i - 1].header_offset < r.header_offset);
        const std::size_t same = index_.add(records_, i, name.hash);
        if (same != i) return duplicate(from, records_[same], r);
        at += length;
    }
    if (at != end) {
        return fail(from, errc::zip_count_mismatch, offset(), {},
                    decimal(static_cast<std::uint64_t>(end - at)) + " bytes follow the last of " +
                        decimal(std::uint64_t{count}) + " entries",
                    zip::damage_hint);
    }
    std::size_t first = 0, second = 0;
    if (!index_.seal(records_, memory, first, second)) return duplicate(from, records_[first], records_[second]);
    return {};
}

CKPT_DETAIL_DEF error zip_archive::misplaced(const source& from, const record& r, const record* next) const {
    std::uint64_t least = 0;
    const bool inside = least_end(r, least) && least <= from.size();
    const std::string place = decimal(r.stored_size) + " bytes with the header at " + decimal(r.header_offset);
    if (!inside) {
        return fail(from, errc::zip_bounds, directory_offset_, r.name,
                    place + " lie outside a file of " + decimal(from.size()), zip::download_hint);
    }
    return fail(from, errc::zip_overlap, r.header_offset, r.name,
                place + (next != nullptr ? " overlap " + quoted(next->name) + " at " + decimal(next->header_offset)
                                         : " overlap the directory at " + decimal(directory_offset_)),
                zip::damage_hint);
}

CKPT_DETAIL_DEF result<void> zip_archive::set_bounds(const source& from) {
    std::vector<std::uint32_t> order;
    if (!in_order_) {
        order.resize(records_.size());
        for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
        std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
            return records_[a].header_offset < records_[b].header_offset;
        });
    }
    const auto nth = [&](std::size_t i) -> record& { return records_[in_order_ ? i : order[i]]; };
    if (records_.empty() || nth(0).header_offset != 0) {
        return fail(from, errc::zip_prefix, 0, {},
                    records_.empty() ? std::string("the directory is empty, and yet the file begins with a record")
                                     : "the first record begins at " + decimal(nth(0).header_offset) + ", not at 0",
                    zip::resave_hint);
    }
    for (std::size_t i = 0; i < records_.size(); ++i) {
        record& r = nth(i);
        const record* const next = i + 1 < records_.size() ? &nth(i + 1) : nullptr;
        r.bound = next != nullptr ? next->header_offset : directory_offset_;
        std::uint64_t least = 0;
        if (!least_end(r, least) || least > r.bound) return misplaced(from, r, next);
    }
    return {};
}

CKPT_DETAIL_DEF result<std::uint64_t> zip_archive::locate(const source& from, const record& r) {
    // One read takes the header, the name and, but for large alignments, the extra fields.
    std::array<std::byte, 512> buffer;
    const std::uint64_t room = r.bound - r.header_offset;
    const std::span<std::byte> head{buffer.data(),
                                    static_cast<std::size_t>((std::min<std::uint64_t>)(room, buffer.size()))};
    const auto bad = [&](errc code, std::string seen) {
        return fail(from, code, r.header_offset, r.name, std::move(seen), zip::damage_hint);
    };
    if (r.bound < r.header_offset || room < zip::local_bytes) return bad(errc::internal, "a record without a bound");
    if (auto done = from.read(r.header_offset, head); !done) {
        done.error().record = r.name;
        return std::move(done).error();
    }
    const std::byte* p = head.data();
    if (load_le<std::uint32_t>(p) != zip::local_signature)
        return bad(errc::zip_header_mismatch, "no local header where the directory says");
    const auto flags = load_le<std::uint16_t>(p + 6), method = load_le<std::uint16_t>(p + 8);
    const std::size_t name_length = load_le<std::uint16_t>(p + 26), extra_length = load_le<std::uint16_t>(p + 28);
    const auto differs = [&](const char* what, std::uint64_t here, std::uint64_t there) {
        return bad(errc::zip_header_mismatch, "the local header has " + std::string(what) + " " + decimal(here) +
                                                  ", the directory " + decimal(there));
    };
    if (flags != r.flags) return differs("flags", flags, r.flags);
    if (method != r.method) return differs("method", method, r.method);
    if (name_length != r.name.size()) return differs("a name length of", name_length, r.name.size());
    const std::size_t whole = zip::local_bytes + name_length + extra_length;
    if (whole > room || r.stored_size > room - whole) {
        return bad(errc::zip_overlap, "a header of " + decimal(std::uint64_t{whole}) + " and a payload of " +
                                          decimal(r.stored_size) + " bytes, the next record or the directory begins " +
                                          decimal(room) + " on");
    }
    std::vector<std::byte> rest;
    if (whole > head.size()) {
        rest.resize(whole);
        if (auto done = from.read(r.header_offset, rest); !done) {
            done.error().record = r.name;
            return std::move(done).error();
        }
        // What was decided above was read before: it stands, whatever the file says by now.
        std::memcpy(rest.data(), head.data(), head.size());
        p = rest.data();
    }
    const std::string_view name{reinterpret_cast<const char*>(p + zip::local_bytes), name_length};
    if (name != r.name) return bad(errc::zip_header_mismatch, "the local header has the name " + quoted(name));

    // With bit 3 the numbers stand behind the payload; here they are zero, or right all the same. PyTorch's ZIP64 field
    // may come without the sentinels that ask for one: size, a zero, and the header's own offset where it is past 4
    // GiB; or that offset alone.
    const bool deferred = (flags & zip::flag_deferred) != 0;
    std::uint64_t size = load_le<std::uint32_t>(p + 22), stored = load_le<std::uint32_t>(p + 18);
    const bool size_asked = size == zip::full32, stored_asked = stored == zip::full32;
    const auto fits = [deferred](std::uint64_t here, std::uint64_t there) {
        return here == there || (deferred && here == 0);
    };
    const zip::zip64_field field = zip::find_zip64({p + zip::local_bytes + name_length, extra_length});
    if (field.broken || field.rest != 0 || field.words > 3)
        return bad(errc::zip64_invalid, "the local header's extra fields are malformed, or have two ZIP64 fields");
    const auto word = [&](std::size_t i) { return load_le<std::uint64_t>(field.data + 8 * i); };
    if (field.words >= 2) {
        const std::uint64_t wide_size = word(0), wide_stored = word(1);
        if (!fits(wide_size, r.size) || !fits(wide_stored, r.stored_size) ||
            (field.words == 3 && word(2) != r.header_offset))
            return bad(errc::zip64_invalid, "the local header's ZIP64 field contradicts the directory");
        if (size_asked) size = wide_size;
        if (stored_asked) stored = wide_stored;
    } else if (size_asked && stored_asked) {
        return bad(errc::zip64_invalid, "the local header asks for a ZIP64 field that is missing or too short");
    } else if (size_asked || stored_asked) {
        if (field.words == 0)
            return bad(errc::zip64_invalid, "the local header asks for a ZIP64 field that is missing");
        (size_asked ? size : stored) = word(0);
    } else if (field.words == 1 && word(0) != r.header_offset) {
        return bad(errc::zip64_invalid,
                   "the local header's ZIP64 field has " + decimal(word(0)) + ", which is not its own offset");
    }
    const auto crc = load_le<std::uint32_t>(p + 14);
    if (!fits(size, r.size)) return differs("a size of", size, r.size);
    if (!fits(stored, r.stored_size)) return differs("a stored size of", stored, r.stored_size);
    if (!fits(crc, r.crc32)) return differs("a CRC-32 of", crc, r.crc32);
    return r.header_offset + whole;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
