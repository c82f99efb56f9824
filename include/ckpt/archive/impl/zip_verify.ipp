// ckpt/archive/impl/zip_verify.ipp: the definitions of zip_verify.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/archive/zip_verify.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip {

CKPT_DETAIL_RARE result<bool> has_descriptor(const source& from, const record& r, std::uint64_t at) {
    std::array<std::byte, 24> bytes{};
    const auto room = static_cast<std::size_t>((std::min<std::uint64_t>)(r.bound - at, bytes.size()));
    auto done = from.read(at, {bytes.data(), room});
    if (!done) return std::move(done).error();
    for (const std::size_t signature : {std::size_t{4}, std::size_t{0}}) {
        const std::byte* const p = bytes.data() + signature;
        if (signature != 0 && (room < 4 || load_le<std::uint32_t>(bytes.data()) != descriptor_signature)) continue;
        if (room >= signature + 20 && load_le<std::uint32_t>(p) == r.crc32 &&
            load_le<std::uint64_t>(p + 4) == r.stored_size && load_le<std::uint64_t>(p + 12) == r.size)
            return true;
        if (room >= signature + 12 && load_le<std::uint32_t>(p) == r.crc32 &&
            load_le<std::uint32_t>(p + 4) == r.stored_size && load_le<std::uint32_t>(p + 8) == r.size)
            return true;
    }
    return false;
}

CKPT_DETAIL_RARE result<std::uint32_t> checksum(const source& from, const record& r, std::uint64_t at,
                                                std::vector<std::byte>& buffer, progress_meter* meter) {
    std::uint32_t crc = 0;
    for (std::uint64_t left = r.stored_size; left != 0;) {
        const std::span<std::byte> piece{buffer.data(),
                                         static_cast<std::size_t>((std::min<std::uint64_t>)(left, buffer.size()))};
        auto done = from.read(at, piece);
        if (!done) return std::move(done).error();
        crc = detail::crc32(piece, crc);
        if (meter != nullptr && !meter->add(piece.size())) return meter->stopped();
        at += piece.size();
        left -= piece.size();
    }
    return crc;
}

CKPT_DETAIL_RARE result<void> inflates_soundly(const source& from, const record& r, const inflater& inflate) {
    auto at = locate_deflated(from, r, inflate);
    if (!at) return std::move(at).error();
    return inflate_stream{from, r, *at, inflate}.finish();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE zip_check verify_zip(const source& from, const zip_archive& archive, const zip_check_options& options,
                                      finding_sink sink, void* context) {
    zip_check out;
    std::vector<std::byte> buffer(options.checksums ? std::size_t{1} << 18 : 0); // stays in the second-level cache
    const auto report = [&](error found, const record& r) {
        found.record = r.name;
        ++out.findings;
        sink(context, found);
    };
    for (const record& r : archive.records()) {
        if (options.meter != nullptr && options.meter->is_stopped()) return out;
        ++out.records;
        auto at = zip::locate(from, r);
        if (!at) {
            report(std::move(at).error(), r);
            continue;
        }
        const std::uint64_t end = *at + r.stored_size; // `locate` has checked that this lies before the bound
        if ((r.flags & zip::flag_deferred) != 0) {
            auto described = zip::has_descriptor(from, r, end);
            if (!described) {
                report(std::move(described).error(), r);
            } else if (!*described) {
                report(zip::fail(from, errc::zip_header_mismatch, end, r.name,
                                 "no data descriptor behind the payload that agrees with the directory",
                                 zip::damage_hint),
                       r);
            }
        }
        const bool inflates = r.method == 8 && options.inflate;
        if ((r.method != 0 && !inflates) || (r.crc32 == 0 && r.size != 0)) {
            ++out.unchecked_crc;
            continue;
        }
        if (!options.checksums) continue;
        if (inflates) {
            auto sound = zip::inflates_soundly(from, r, options.inflate);
            if (sound) out.bytes += r.stored_size;
            else report(std::move(sound).error(), r);
            if (options.meter != nullptr) (void)options.meter->add(r.stored_size);
            continue;
        }
        auto crc = zip::checksum(from, r, *at, buffer, options.meter);
        if (!crc && crc.error().code == errc::cancelled) return out;
        if (!crc) {
            report(std::move(crc).error(), r);
            continue;
        }
        out.bytes += r.stored_size;
        if (*crc != r.crc32) report(zip::wrong_checksum(from, r, *at, *crc), r);
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
