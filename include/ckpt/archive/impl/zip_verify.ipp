// ckpt/archive/impl/zip_verify.ipp: the definitions of zip_verify.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/archive/zip_verify.hpp>
#include <ckpt/core/crew.hpp>
#include <ckpt/core/plain_list.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip {

CKPT_DETAIL_RARE result<bool> has_descriptor(const source& from, const record& r, std::uint64_t at) {
    std::array<std::byte, 24> bytes{};
    const auto room = static_cast<std::size_t>((std::min<std::uint64_t>)(r.bound - at, bytes.size()));
    auto done = from.read(at, {bytes.data(), room});
    if (!done) return std::move(done).failure();
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

CKPT_DETAIL_RARE result<std::uint32_t> checksum(const source& from, const record& r, std::uint64_t at) {
    std::vector<std::byte> buffer(crew_buffer);
    std::uint32_t crc = 0;
    for (std::uint64_t left = r.stored_size; left != 0;) {
        const std::span<std::byte> piece{buffer.data(),
                                         static_cast<std::size_t>((std::min<std::uint64_t>)(left, buffer.size()))};
        auto done = from.read(at, piece);
        if (!done) return std::move(done).failure();
        crc = detail::crc32(piece, crc);
        at += piece.size();
        left -= piece.size();
    }
    return crc;
}

CKPT_DETAIL_RARE result<void> inflates_soundly(const source& from, const record& r, const inflater& inflate) {
    auto at = locate_deflated(from, r, inflate);
    if (!at) return std::move(at).failure();
    return inflate_stream{from, r, *at, inflate}.finish();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A walk over the records of an archive. The checksums of some records at a time are computed first, by all threads;
/// then these records are checked one after another.
class zip_verifier {
  public:
    zip_verifier(const source& from, const zip_check_options& options, progress_meter& meter, finding_sink sink,
                 void* context) noexcept
        : from_{from}, options_{options}, meter_{meter}, sink_{sink}, context_{context} {}

    [[nodiscard]] zip_check run(std::span<const record> records);

  private:
    static constexpr std::size_t most_records = 1024; // at a time, and about so many bytes
    static constexpr std::uint64_t most_bytes = std::uint64_t{1} << 28;

    [[nodiscard]] bool inflates(const record& r) const noexcept { return r.method == 8 && options_.inflate; }
    [[nodiscard]] bool has_checksum(const record& r) const noexcept {
        return (r.method == 0 || inflates(r)) && !(r.crc32 == 0 && r.size != 0);
    }
    /// Computes the checksums of stored records, as many as are taken at a time. Returns their number.
    [[nodiscard]] std::size_t sum(std::span<const record> records);
    void check(const record& r, std::span<const crew_piece> pieces);
    void check_payload(const record& r, std::uint64_t at, std::span<const crew_piece> pieces);
    void report(error found, const record& r) {
        found.record = r.name;
        ++out_.findings;
        sink_(context_, found);
    }

    const source& from_;
    const zip_check_options& options_;
    progress_meter& meter_;
    finding_sink sink_;
    void* context_;
    zip_check out_{};
    plain_list<crew_piece> pieces_{};
    plain_list<std::uint64_t> places_{}; // where payloads begin
};

CKPT_DETAIL_RARE zip_check zip_verifier::run(std::span<const record> records) {
    while (!records.empty()) {
        const std::size_t taken = sum(records);
        std::size_t first = 0;
        for (std::size_t i = 0; i < taken; ++i) {
            if (meter_.is_stopped()) return out_;
            std::size_t last = first;
            while (last < pieces_.size() && pieces_[last].run == i) ++last;
            check(records[i], {pieces_.data() + first, last - first});
            first = last;
        }
        records = records.subspan(taken);
    }
    return out_;
}

CKPT_DETAIL_RARE std::size_t zip_verifier::sum(std::span<const record> records) {
    pieces_.clear();
    places_.clear();
    std::uint64_t bytes = 0;
    std::size_t taken = 0;
    for (; taken < records.size() && taken < most_records && bytes < most_bytes; ++taken) {
        const record& r = records[taken];
        places_.push_back(0);
        if (!options_.checksums || !has_checksum(r) || r.method != 0) continue;
        const auto at = zip::locate(from_, r); // `check` says what is wrong with it
        if (!at) continue;
        places_.back() = *at;
        add_pieces(pieces_, static_cast<std::uint32_t>(taken), r.stored_size);
        bytes += r.stored_size;
    }
    sum_pieces({pieces_.data(), pieces_.size()}, options_.lent, meter_,
               [this](std::uint32_t run, std::uint64_t offset, std::span<std::byte> buffer) {
                   return from_.read(places_[run] + offset, buffer) ? std::span<const std::byte>{buffer}
                                                                    : std::span<const std::byte>{};
               });
    return taken;
}

CKPT_DETAIL_RARE void zip_verifier::check(const record& r, std::span<const crew_piece> pieces) {
    ++out_.records;
    auto at = zip::locate(from_, r);
    if (!at) return report(std::move(at).error(), r);
    if ((r.flags & zip::flag_deferred) != 0) {
        const std::uint64_t end = *at + r.stored_size; // `locate` has checked that this lies before the bound
        auto described = zip::has_descriptor(from_, r, end);
        if (!described) {
            report(std::move(described).error(), r);
        } else if (!*described) {
            report(zip::fail(from_, errc::zip_header_mismatch, end, r.name,
                             "no data descriptor behind the payload that agrees with the directory", zip::damage_hint),
                   r);
        }
    }
    if (!has_checksum(r)) ++out_.unchecked_crc;
    else if (options_.checksums) check_payload(r, *at, pieces);
}

CKPT_DETAIL_RARE void zip_verifier::check_payload(const record& r, std::uint64_t at,
                                                  std::span<const crew_piece> pieces) {
    if (inflates(r)) {
        auto sound = zip::inflates_soundly(from_, r, options_.inflate);
        if (sound) out_.bytes += r.stored_size;
        else report(std::move(sound).error(), r);
        (void)meter_.add(r.stored_size);
        return;
    }
    std::uint32_t crc = 0;
    if ((pieces.empty() && r.stored_size != 0) || !joined_sum(pieces, crc)) {
        auto again = zip::checksum(from_, r, at);
        if (!again) return report(std::move(again).error(), r);
        crc = *again;
    }
    out_.bytes += r.stored_size;
    if (crc != r.crc32) report(zip::wrong_checksum(from_, r, at, crc), r);
}

CKPT_DETAIL_RARE zip_check verify_zip(const source& from, const zip_archive& archive, const zip_check_options& options,
                                      progress_meter& meter, finding_sink sink, void* context) {
    return zip_verifier{from, options, meter, sink, context}.run(archive.records());
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
