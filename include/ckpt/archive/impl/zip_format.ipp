// ckpt/archive/impl/zip_format.ipp: the definitions of zip_format.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/zip_format.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/str_cat.hpp>

#include <utility>

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

CKPT_DETAIL_DEF error fail(const source& from, errc code, std::uint64_t at, std::string_view name, std::string seen,
                           std::string_view hint) {
    return error{
        .code = code, .offset = from.base() + at, .record = std::string(name), .detail = std::move(seen), .hint = hint};
}

CKPT_DETAIL_RARE error not_stored(const source& from, const record& r) {
    const std::string method = r.method == 8 ? "deflated" : str_cat("compressed by method ", r.method);
    return fail(from, errc::compressed, r.header_offset, r.name,
                str_cat("the record is ", method, ": ", r.stored_size, " bytes for ", r.size),
                r.method == 8 ? "Give open_options.inflate a function that inflates, or pack the archive again "
                                "without compression: zip -0"
                              : "Pack the archive again without compression: torch.save, or zip -0");
}

CKPT_DETAIL_RARE error wrong_checksum(const source& from, const record& r, std::uint64_t at, std::uint32_t computed) {
    return fail(from, errc::checksum_mismatch, at, r.name,
                str_cat("the CRC-32 is ", hexadecimal(computed), ", the directory says ", hexadecimal(r.crc32)),
                damage_hint);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip
