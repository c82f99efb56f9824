// ckpt/archive/impl/inflate.ipp: the definitions of inflate.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/digest.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<std::uint64_t> locate_deflated(const source& from, const record& r, const inflater& inflate) {
    // The densest deflate data are matches of 258 bytes that take two bits each, one for the length and one for the
    // distance: 4 * 258 bytes for each byte.
    constexpr std::uint64_t most_per_byte = 1032;
    if (r.method != 8 || !inflate) return zip::not_stored(from, r);
    auto at = zip::locate(from, r);
    if (!at) return at;
    if (r.size > budget_for(most_per_byte, r.stored_size, 64))
        return zip::fail(from, errc::limit, r.header_offset, r.name,
                         decimal(r.size) + " bytes are declared, which no " + decimal(r.stored_size) +
                             " deflated bytes become",
                         zip::damage_hint);
    return at;
}

CKPT_DETAIL_RARE result<void> inflate_record(const source& from, const record& r, std::uint64_t at,
                                             const inflater& inflate, std::span<std::byte> out) {
    std::vector<std::byte> kept;
    std::span<const std::byte> in;
    if (from.is_mapped()) {
        in = from.mapped().subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(r.stored_size));
    } else {
        kept.resize(static_cast<std::size_t>(r.stored_size));
        if (auto done = from.read(at, kept); !done) {
            done.error().record = r.name;
            return done;
        }
        in = kept;
    }
    const std::size_t wrote = inflate.function(inflate.context, in, out);
    if (wrote != out.size())
        return zip::fail(from, errc::checksum_mismatch, at, r.name,
                         decimal(r.stored_size) + " deflated bytes do not become the " + decimal(r.size) +
                             " that the directory says",
                         zip::damage_hint);
    if (r.crc32 == 0) return {};
    const std::uint32_t computed = crc32(out);
    if (computed != r.crc32) return zip::wrong_checksum(from, r, at, computed);
    return {};
}

CKPT_DETAIL_RARE result<std::span<const std::byte>>
read_content(const source& from, const record& r, const inflater& inflate, std::uint64_t most, arena& memory) {
    if (r.method == 0) return zip::read_record(from, r, memory, true);
    auto at = locate_deflated(from, r, inflate);
    if (!at) return std::move(at).error();
    std::size_t length = 0;
    if (r.size > most || !checked_narrow(r.size, length))
        return zip::fail(from, errc::limit, *at, r.name,
                         decimal(r.stored_size) + " deflated bytes would become " + decimal(r.size) +
                             ", the limit is " + decimal(most),
                         "raise limits.inflated_per_byte if the file is trusted");
    const std::span<std::byte> out{memory.allocate<std::byte>(length), length};
    if (auto done = inflate_record(from, r, *at, inflate, out); !done) return std::move(done).error();
    return std::span<const std::byte>{out};
}

CKPT_DETAIL_RARE result<std::span<const std::byte>>
read_parsed(const source& from, const record& r, const limits& budget, const inflater& inflate, arena& memory) {
    const std::uint64_t ceiling = (std::min<std::uint64_t>)(budget.pickle_bytes, 0xFFFF'FFFFu);
    if (r.size > ceiling)
        return zip::fail(from, errc::limit, r.header_offset, r.name,
                         "the record has " + decimal(r.size) + " bytes, limits.pickle_bytes is " + decimal(ceiling),
                         {});
    return read_content(from, r, inflate, budget_for(budget.inflated_per_byte, r.stored_size, 1u << 20), memory);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
