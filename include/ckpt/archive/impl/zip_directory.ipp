// ckpt/archive/impl/zip_directory.ipp: the definitions of zip_directory.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/archive/zip_end.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>

#include <array>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<zip_archive> zip_archive::read(const source& from, const limits& budget, arena& memory) {
    auto tail = zip::read_tail(from, budget, memory);
    if (!tail) return std::move(tail).failure();
    auto end = zip::find_end(from, *tail);
    if (!end) return std::move(end).failure();
    auto directory = zip::read_directory(from, *tail, *end, budget, memory);
    if (!directory) return std::move(directory).failure();
    zip_archive out;
    out.directory_offset_ = end->directory_offset;
    auto parsed = out.parse(from, *directory, static_cast<std::size_t>(end->count), memory);
    if (!parsed) return std::move(parsed).failure();
    auto placed = out.set_bounds(from);
    if (!placed) return std::move(placed).failure();
    return out;
}

CKPT_DETAIL_DEF const record* zip_archive::find(std::string_view name) const noexcept {
    const record* const out = index_.find(records_, name);
    return out != nullptr && !out->is_folder() ? out : nullptr;
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

CKPT_DETAIL_DEF result<void> zip_archive::parse(const source& from, std::span<const std::byte> directory,
                                                std::size_t count, arena& memory) {
    records_ = {memory.allocate<record>(count), count};
    index_ = name_index(count, memory);
    const std::byte* at = directory.data();
    const std::byte* const end = at + directory.size();
    const auto offset = [&] { return directory_offset_ + static_cast<std::uint64_t>(at - directory.data()); };
    for (std::size_t i = 0; i < count; ++i) {
        const auto left = static_cast<std::size_t>(end - at);
        if (left < zip::central_bytes || load_le<std::uint32_t>(at) != zip::central_signature)
            return broken_entry(from, offset(), i, count, {at, left});
        const std::size_t name_length = load_le<std::uint16_t>(at + 28), extra_length = load_le<std::uint16_t>(at + 30);
        const std::size_t length = zip::central_bytes + name_length + extra_length + load_le<std::uint16_t>(at + 32);
        if (length > left) return broken_entry(from, offset(), i, count, {at, left});
        record& r = *::new (static_cast<void*>(&records_[i])) record;
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
                return zip::fail(from, errc::zip64_invalid, offset(), r.name, std::string(wrong), zip::damage_hint);
        }
        const name_facts name = look_at_name(r.name);
        if (name.fault != name_fault::none || (r.is_folder() && r.size != 0))
            return bad_name(from, offset(), r, name.fault);
        const auto disk = load_le<std::uint16_t>(at + 34);
        if ((r.flags & (zip::flags_encrypted | zip::flag_patch)) != 0 || disk != 0)
            return unreadable(from, offset(), r, disk);
        if (r.method == 0 && r.size != r.stored_size) {
            return zip::fail(from, errc::zip_header_mismatch, offset(), r.name,
                             str_cat("stored as it is, and yet ", r.stored_size, " bytes for ", r.size),
                             zip::damage_hint);
        }
        std::uint64_t least = 0;
        if (!zip::least_end(r, least) || least > directory_offset_) return misplaced(from, r, nullptr);
        in_order_ = in_order_ && (i == 0 || records_[i - 1].header_offset < r.header_offset);
        const std::size_t same = index_.add(records_, i, name.hash);
        if (same != i) return duplicate(from, records_[same], r);
        at += length;
    }
    if (at != end) {
        return zip::fail(from, errc::zip_count_mismatch, offset(), {},
                         str_cat(static_cast<std::uint64_t>(end - at), " bytes follow the last of ", count, " entries"),
                         zip::damage_hint);
    }
    std::size_t first = 0, second = 0;
    if (!index_.seal(records_, memory, first, second)) return duplicate(from, records_[first], records_[second]);
    return {};
}

CKPT_DETAIL_RARE result<void> zip_archive::set_bounds(const source& from) {
    std::vector<std::uint32_t> order;
    if (!in_order_) {
        order = sorted_indices(records_.size(), [&](std::uint32_t a, std::uint32_t b) {
            return records_[a].header_offset < records_[b].header_offset;
        });
    }
    const auto nth = [&](std::size_t i) -> record& { return records_[in_order_ ? i : order[i]]; };
    if (records_.empty() || nth(0).header_offset != 0) {
        return zip::fail(from, errc::zip_prefix, 0, {},
                         records_.empty() ? std::string("the directory is empty, and yet the file begins with a record")
                                          : str_cat("the first record begins at ", nth(0).header_offset, ", not at 0"),
                         zip::resave_hint);
    }
    for (std::size_t i = 0; i < records_.size(); ++i) {
        record& r = nth(i);
        const record* const next = i + 1 < records_.size() ? &nth(i + 1) : nullptr;
        r.bound = next != nullptr ? next->header_offset : directory_offset_;
        std::uint64_t least = 0;
        if (!zip::least_end(r, least) || least > r.bound) return misplaced(from, r, next);
    }
    return {};
}

CKPT_DETAIL_RARE error zip_archive::broken_entry(const source& from, std::uint64_t at, std::size_t i, std::size_t count,
                                                 std::span<const std::byte> left) {
    const std::string entry = str_cat("entry ", i + 1);
    const std::string of = str_cat(" of ", count);
    if (left.size() < zip::central_bytes)
        return zip::fail(from, errc::zip_count_mismatch, at, {}, str_cat(entry, of, " is not there"), zip::damage_hint);
    const std::byte* const p = left.data();
    if (load_le<std::uint32_t>(p) != zip::central_signature)
        return zip::fail(from, errc::zip_count_mismatch, at, {},
                         str_cat(entry, of, " does not begin with its signature"), zip::damage_hint);
    const std::size_t length = zip::central_bytes + load_le<std::uint16_t>(p + 28) + load_le<std::uint16_t>(p + 30) +
                               load_le<std::uint16_t>(p + 32);
    return zip::fail(from, errc::zip_bounds, at, {},
                     str_cat(entry, " has ", length, " bytes, the directory ", left.size(), " more"), zip::damage_hint);
}

CKPT_DETAIL_RARE error zip_archive::unreadable(const source& from, std::uint64_t at, const record& r,
                                               std::uint16_t disk) {
    if ((r.flags & zip::flags_encrypted) != 0) {
        return zip::fail(from, errc::zip_encrypted, at, r.name,
                         str_cat("the record is encrypted: flags ", hexadecimal(r.flags)),
                         "Unpack it with its password and pack it again without");
    }
    return zip::fail(from, errc::zip_multi_disk, at, r.name,
                     (r.flags & zip::flag_patch) != 0 ? std::string("the record is a patch to another archive")
                                                      : str_cat("the record is on disk ", disk),
                     zip::resave_hint);
}

CKPT_DETAIL_RARE error zip_archive::bad_name(const source& from, std::uint64_t at, const record& r, name_fault fault) {
    std::string_view why = "ends in '/' and yet has content";
    switch (fault) {
    case name_fault::none: break;
    case name_fault::empty: why = "is empty"; break;
    case name_fault::nul: why = "has a NUL byte"; break;
    case name_fault::backslash: why = "has a backslash"; break;
    case name_fault::absolute: why = "is absolute"; break;
    case name_fault::parent: why = "has a '..' component"; break;
    }
    return zip::fail(from, errc::zip_name_invalid, at, r.name, str_cat("the name ", quoted(r.name), " ", why),
                     "PyTorch writes no such names; pack the archive again with plain ones");
}

CKPT_DETAIL_RARE error zip_archive::duplicate(const source& from, const record& first, const record& second) const {
    const bool equal = first.name == second.name;
    return zip::fail(
        from, errc::zip_duplicate_name, second.header_offset, second.name,
        equal
            ? str_cat(quoted(first.name), " is there twice, at ", first.header_offset, " and ", second.header_offset)
            : str_cat(quoted(first.name), " and ", quoted(second.name), " differ only in case, which PyTorch ignores"),
        "Which of the two is meant depends on the reader; pack the archive again without one of them");
}

CKPT_DETAIL_RARE error zip_archive::misplaced(const source& from, const record& r, const record* next) const {
    std::uint64_t least = 0;
    const bool inside = zip::least_end(r, least) && least <= from.size();
    const std::string place = str_cat(r.stored_size, " bytes with the header at ", r.header_offset);
    if (!inside) {
        return zip::fail(from, errc::zip_bounds, directory_offset_, r.name,
                         str_cat(place, " lie outside a file of ", from.size()), zip::download_hint);
    }
    return zip::fail(from, errc::zip_overlap, r.header_offset, r.name,
                     place + (next != nullptr ? str_cat(" overlap ", quoted(next->name), " at ", next->header_offset)
                                              : str_cat(" overlap the directory at ", directory_offset_)),
                     zip::damage_hint);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
