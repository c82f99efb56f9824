// ckpt/archive/impl/tar.ipp: the definitions of tar.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/tar.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::tar {

CKPT_DETAIL_RARE bool number(std::string_view field, std::uint64_t& out) noexcept {
    out = 0;
    if (!field.empty() && (static_cast<unsigned char>(field[0]) & 0x80) != 0) {
        if (static_cast<unsigned char>(field[0]) != 0x80)
            return false; // a negative number, or one with bits in the first byte
        for (const char c : field.substr(1)) {
            if (out >> 55 != 0) return false;
            out = out << 8 | static_cast<unsigned char>(c);
        }
        return true;
    }
    while (!field.empty() && field.front() == ' ') field.remove_prefix(1);
    std::size_t digits = 0;
    for (; digits < field.size() && field[digits] >= '0' && field[digits] <= '7'; ++digits) {
        if (out >> 60 != 0) return false;
        out = out << 3 | static_cast<std::uint64_t>(field[digits] - '0');
    }
    return digits > 0 && field.find_first_not_of(std::string_view(" \0", 2), digits) == std::string_view::npos;
}

CKPT_DETAIL_RARE bool checksum_holds(std::string_view header) noexcept {
    std::uint64_t wanted = 0;
    if (!number(header.substr(148, 8), wanted)) return false;
    std::uint64_t sum = 0;
    std::int64_t with_signs = 0;
    for (std::size_t i = 0; i < block; ++i) {
        const char c = i >= 148 && i < 156 ? ' ' : header[i];
        sum += static_cast<unsigned char>(c);
        with_signs += static_cast<signed char>(c);
    }
    return sum == wanted || (with_signs >= 0 && static_cast<std::uint64_t>(with_signs) == wanted);
}

CKPT_DETAIL_RARE bool begins(std::string_view head) noexcept {
    if (head.size() < block) return false;
    return head.substr(257, 5) == "ustar" || (head[0] != '\0' && checksum_holds(head.substr(0, block)));
}

CKPT_DETAIL_RARE error invalid(const source& from, std::uint64_t offset, std::string detail) {
    return {.code = errc::tar_invalid,
            .offset = from.base() + (std::min)(offset, from.size()),
            .detail = std::move(detail),
            .hint = hint};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::tar

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<tar_archive> tar_archive::read(const source& from, const limits& budget, arena& memory) {
    tar_archive out;
    pending next;
    std::array<char, tar::block> bytes{};
    const std::string_view header{bytes.data(), bytes.size()};
    std::uint64_t extended = 0; // bytes of extended headers
    for (std::uint64_t at = 0;;) {
        if (!range_inside(at, tar::block, from.size()))
            return tar::invalid(from, at, "the archive ends without a block of zeros behind its last member");
        if (auto got = from.read(at, std::as_writable_bytes(std::span<char>{bytes})); !got)
            return std::move(got).failure();
        if (is_zero(header)) {
            if (next.extended) return tar::invalid(from, at, "an extended header without a member behind it");
            if (auto rest = check_end(from, at); !rest) return std::move(rest).failure();
            break;
        }
        if (!tar::checksum_holds(header))
            return tar::invalid(from, at, "a header whose checksum is not that of its bytes");
        if (out.entries_.size() >= budget.records)
            return error{
                .code = errc::limit, .offset = from.base() + at, .detail = "more members than limits.records allows"};
        const auto found = read_header(from, at, header, next.size);
        if (!found) return found.error();
        at = found->end;
        if (!found->is_extension()) {
            if (auto added = out.add(from, header, *found, next, memory); !added) return std::move(added).failure();
            next = {};
            continue;
        }
        extended += found->size;
        if (extended > budget.directory_bytes)
            return error{.code = errc::limit,
                         .offset = from.base() + found->content,
                         .detail = "extended headers of more bytes than limits.directory_bytes allows"};
        if (auto taken = out.extend(from, *found, next, memory); !taken) return std::move(taken).failure();
        next.extended = true;
    }
    if (auto unique = out.check_names(from); !unique) return std::move(unique).failure();
    return out;
}

CKPT_DETAIL_RARE result<tar_archive::member> tar_archive::read_header(const source& from, std::uint64_t at,
                                                                      std::string_view header,
                                                                      std::optional<std::uint64_t> wanted_size) {
    member out{.type = header[156], .content = at + tar::block};
    if (!tar::number(header.substr(124, 12), out.size))
        return tar::invalid(from, at, "a size that is no number, is negative or has more than 63 bits");
    if (!out.is_extension() && wanted_size) out.size = *wanted_size;
    if (!out.is_extension() && !out.has_content()) {
        if (out.type != '5' && (out.type < '1' || out.type > '6'))
            return tar::invalid(from, at,
                                str_cat("a member of the type ", quoted(std::string_view{&out.type, 1}),
                                        ", which is none of a plain archive"));
        out.size = 0; // old programs write a size for links and folders, but no content
    }
    std::uint64_t padded = 0;
    if (!checked_add(out.size, tar::block - 1, padded) ||
        !range_inside(out.content, padded / tar::block * tar::block, from.size()))
        return tar::invalid(
            from, at, str_cat("a member of ", out.size, " bytes at ", out.content, ", the file has ", from.size()));
    out.end = out.content + padded / tar::block * tar::block;
    return out;
}

CKPT_DETAIL_RARE result<void> tar_archive::extend(const source& from, const member& found, pending& next,
                                                  arena& memory) {
    if (found.type == 'K') return {}; // the target of a link
    const auto padded = static_cast<std::size_t>(found.end - found.content);
    const std::span<char> bytes{memory.allocate<char>(padded + 1), padded};
    if (auto got = from.read(found.content, std::as_writable_bytes(bytes)); !got) return got;
    const std::string_view text{bytes.data(), static_cast<std::size_t>(found.size)};
    pending set;
    if (found.type == 'L') set.name = tar::text(text);
    if (!is_zero({bytes.data() + text.size(), padded - text.size()}) ||
        (found.type != 'L' && !read_pax(text, found.type == 'x' ? set : global_)))
        return tar::invalid(from, found.content,
                            "an extended header that is not \"length key=value\", one of a sparse file, or one with "
                            "bytes behind it");
    if ((set.name && next.name) || (set.size && next.size))
        return tar::invalid(from, found.content, "two extended headers that set the name or the size of one member");
    if (set.name) next.name = set.name;
    if (set.size) next.size = set.size;
    if (global_.set())
        return tar::invalid(from, found.content, "a global extended header that sets the name or the size of members");
    return {};
}

CKPT_DETAIL_RARE result<void> tar_archive::add(const source& from, std::string_view header, const member& found,
                                               const pending& extended, arena& memory) {
    tar_entry e;
    e.kind = found.has_content() ? tar_kind::file : found.type == '5' ? tar_kind::folder : tar_kind::other;
    e.header_offset = found.content - tar::block;
    e.offset = found.content;
    e.size = found.size;
    if (extended.name) {
        e.name = *extended.name;
    } else {
        std::string name;
        if (header.substr(257, 6) == std::string_view("ustar\0", 6) && header[345] != '\0')
            name.append(tar::text(header.substr(345, 155))).append(1, '/');
        name += tar::text(header.substr(0, 100));
        e.name = keep(name, memory);
    }
    if (e.kind == tar_kind::file && e.name.ends_with('/'))
        e.kind = tar_kind::folder; // the old form has no type for folders
    if (e.name.empty() || e.name.find('\0') != std::string_view::npos)
        return tar::invalid(from, e.header_offset, "a member without a name, or with a NUL in it");
    if (e.kind == tar_kind::folder && e.size != 0)
        return tar::invalid(from, e.header_offset, str_cat("a folder with ", e.size, " bytes of content"));
    entries_.push_back(e);
    return {};
}

CKPT_DETAIL_RARE const tar_entry* tar_archive::find(std::string_view name) const noexcept {
    for (const tar_entry& e : entries_)
        if (e.name == name) return &e;
    return nullptr;
}

CKPT_DETAIL_RARE std::string_view tar_archive::keep(std::string_view text, arena& memory) {
    auto* out = memory.allocate<char>(text.size() + 1);
    std::memcpy(out, text.data(), text.size());
    return {out, text.size()};
}

CKPT_DETAIL_RARE bool tar_archive::read_pax(std::string_view text, pending& out) noexcept {
    while (!text.empty()) {
        std::uint64_t length = 0;
        std::string_view rest = text;
        if (!take_decimal(rest, length) || !rest.starts_with(' ')) return false;
        const std::size_t digits = text.size() - rest.size();
        if (digits > 10 || length > text.size() || length < digits + 3 ||
            text[static_cast<std::size_t>(length) - 1] != '\n')
            return false;
        const std::string_view line = text.substr(digits + 1, static_cast<std::size_t>(length) - digits - 2);
        text.remove_prefix(static_cast<std::size_t>(length));
        const std::size_t equals = line.find('=');
        if (equals == 0 || equals == std::string_view::npos) return false;
        const std::string_view key = line.substr(0, equals), value = line.substr(equals + 1);
        if (key.starts_with("GNU.sparse.")) return false;
        if (key == "path") {
            out.name = value;
        } else if (key == "size") {
            std::uint64_t size = 0;
            if (value.size() > 18 || !parse_decimal(value, size)) return false;
            out.size = size;
        }
    }
    return true;
}

CKPT_DETAIL_RARE result<void> tar_archive::check_end(const source& from, std::uint64_t at) {
    constexpr std::uint64_t longest_padding = std::uint64_t{1} << 20;
    if (from.size() - at > longest_padding)
        return tar::invalid(from, at, str_cat(from.size() - at, " bytes behind the last member"));
    std::vector<char> bytes(static_cast<std::size_t>(from.size() - at));
    if (auto got = from.read(at, std::as_writable_bytes(std::span<char>{bytes})); !got) return got;
    const std::size_t found = std::string_view{bytes.data(), bytes.size()}.find_first_not_of('\0');
    if (found != std::string_view::npos)
        return tar::invalid(from, at + found, "bytes behind the end of the archive that are not zeros");
    return {};
}

CKPT_DETAIL_RARE result<void> tar_archive::check_names(const source& from) const {
    const std::vector<std::uint32_t> order = sorted_indices(
        entries_.size(), [this](std::uint32_t a, std::uint32_t b) { return entries_[a].name < entries_[b].name; });
    for (std::size_t i = 1; i < order.size(); ++i)
        if (const tar_entry& e = entries_[order[i]]; e.name == entries_[order[i - 1]].name)
            return tar::invalid(from, e.header_offset, str_cat("two members are named ", quoted(e.name)));
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
