// ckpt/archive/impl/zip_locate.ipp: the definitions of zip_locate.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/zip_format.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/str_cat.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip {

/// Reads one local header and compares it with the directory.
class local_header {
  public:
    local_header(const source& from, const record& r) noexcept : from_{from}, record_{r} {}
    /// The offset of the payload.
    [[nodiscard]] result<std::uint64_t> check();

  private:
    [[nodiscard]] result<void> read(std::uint64_t at, std::span<std::byte> out) const;
    [[nodiscard]] result<void> read_fixed();
    [[nodiscard]] result<void> read_names();
    [[nodiscard]] result<void> check_sizes() const;
    /// Whether a number of the local header is right. With flag bit 3 a data descriptor has the numbers, and the header
    /// has zeros or the same numbers.
    [[nodiscard]] bool fits(std::uint64_t here, std::uint64_t there) const noexcept {
        return here == there || ((record_.flags & flag_deferred) != 0 && here == 0);
    }
    [[nodiscard]] error bad(errc code, std::string seen) const;
    [[nodiscard]] error differs(const char* what, std::uint64_t here, std::uint64_t there) const;

    const source& from_;
    const record& record_;
    std::array<std::byte, 512> head_; // header, name and, except for large alignments, extra fields
    std::size_t head_bytes_{0};
    std::vector<std::byte> rest_{};
    const std::byte* bytes_{nullptr};
    std::size_t name_length_{0};
    std::size_t extra_length_{0};
    std::size_t whole_{0};
};

CKPT_DETAIL_DEF std::uint64_t predict(const record& r, std::uint64_t alignment) noexcept {
    if (r.method != 0 || alignment == 0) return 0;
    const bool large = r.size >= full32, far_off = r.header_offset >= full32;
    std::uint64_t before = local_bytes + 4 + r.name.size() + (large ? 16u : 0u) + (far_off ? 8u : 0u);
    before += large || far_off ? 4u : 0u;
    const std::uint64_t descriptor = (r.flags & flag_deferred) == 0 ? 0u : large || far_off ? 24u : 16u;
    std::uint64_t at = 0, end = 0;
    if (!checked_add(r.header_offset, before, at) || !checked_add(at, alignment - 1, at)) return 0;
    at -= at % alignment;
    if (!checked_add(at, r.size, end) || !checked_add(end, descriptor, end)) return 0;
    return end == r.bound ? at : 0;
}

CKPT_DETAIL_RARE error local_header::bad(errc code, std::string seen) const {
    return fail(from_, code, record_.header_offset, record_.name, std::move(seen), damage_hint);
}

CKPT_DETAIL_RARE error local_header::differs(const char* what, std::uint64_t here, std::uint64_t there) const {
    return bad(errc::zip_header_mismatch, str_cat("the local header has ", what, " ", here, ", the directory ", there));
}

CKPT_DETAIL_DEF result<void> local_header::read(std::uint64_t at, std::span<std::byte> out) const {
    auto done = from_.read(at, out);
    if (!done) done.error().record = record_.name;
    return done;
}

CKPT_DETAIL_RARE result<std::uint64_t> local_header::check() {
    if (auto done = read_fixed(); !done) return std::move(done).failure();
    if (auto done = read_names(); !done) return std::move(done).failure();
    if (auto done = check_sizes(); !done) return std::move(done).failure();
    return record_.header_offset + whole_;
}

CKPT_DETAIL_RARE result<void> local_header::read_fixed() {
    const record& r = record_;
    const std::uint64_t room = r.bound - r.header_offset;
    if (r.bound < r.header_offset || room < local_bytes) return bad(errc::internal, "a record without a bound");
    head_bytes_ = static_cast<std::size_t>((std::min<std::uint64_t>)(room, head_.size()));
    if (auto done = read(r.header_offset, {head_.data(), head_bytes_}); !done) return done;
    bytes_ = head_.data();
    if (load_le<std::uint32_t>(bytes_) != local_signature)
        return bad(errc::zip_header_mismatch, "no local header where the directory says");
    const auto flags = load_le<std::uint16_t>(bytes_ + 6), method = load_le<std::uint16_t>(bytes_ + 8);
    name_length_ = load_le<std::uint16_t>(bytes_ + 26);
    extra_length_ = load_le<std::uint16_t>(bytes_ + 28);
    if (flags != r.flags) return differs("flags", flags, r.flags);
    if (method != r.method) return differs("method", method, r.method);
    if (name_length_ != r.name.size()) return differs("a name length of", name_length_, r.name.size());
    whole_ = local_bytes + name_length_ + extra_length_;
    if (whole_ > room || r.stored_size > room - whole_) {
        return bad(errc::zip_overlap, str_cat("a header of ", whole_, " and a payload of ", r.stored_size,
                                              " bytes, the next record or the directory begins ", room, " on"));
    }
    return {};
}

CKPT_DETAIL_RARE result<void> local_header::read_names() {
    if (whole_ > head_bytes_) {
        rest_.resize(whole_);
        if (auto done = read(record_.header_offset, rest_); !done) return done;
        // Keeps the first bytes as they were checked: the file may have changed between the two reads.
        std::memcpy(rest_.data(), head_.data(), head_bytes_);
        bytes_ = rest_.data();
    }
    const std::string_view name{reinterpret_cast<const char*>(bytes_ + local_bytes), name_length_};
    if (name != record_.name)
        return bad(errc::zip_header_mismatch, str_cat("the local header has the name ", quoted(name)));
    return {};
}

CKPT_DETAIL_RARE result<void> local_header::check_sizes() const {
    const record& r = record_;
    std::uint64_t size = load_le<std::uint32_t>(bytes_ + 22), stored = load_le<std::uint32_t>(bytes_ + 18);
    const bool size_asked = size == full32, stored_asked = stored == full32;
    const zip64_field field = find_zip64({bytes_ + local_bytes + name_length_, extra_length_});
    if (field.broken || field.rest != 0 || field.words > 3)
        return bad(errc::zip64_invalid, "the local header's extra fields are malformed, or have two ZIP64 fields");
    const auto word = [&](std::size_t i) { return load_le<std::uint64_t>(field.data + 8 * i); };
    // PyTorch's ZIP64 field may come without the sentinels that ask for one: size, a zero, and the header's own offset
    // where it is past 4 GiB; or that offset alone.
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
                   str_cat("the local header's ZIP64 field has ", word(0), ", which is not its own offset"));
    }
    const auto crc = load_le<std::uint32_t>(bytes_ + 14);
    if (!fits(size, r.size)) return differs("a size of", size, r.size);
    if (!fits(stored, r.stored_size)) return differs("a stored size of", stored, r.stored_size);
    if (!fits(crc, r.crc32)) return differs("a CRC-32 of", crc, r.crc32);
    return {};
}

CKPT_DETAIL_DEF result<std::uint64_t> locate(const source& from, const record& r) {
    return local_header{from, r}.check();
}

CKPT_DETAIL_RARE result<std::span<const std::byte>> read_record(const source& from, const record& r, arena& memory,
                                                                bool check) {
    if (r.method != 0) return not_stored(from, r);
    auto at = locate(from, r);
    if (!at) return std::move(at).failure();
    std::size_t length = 0;
    if (!checked_narrow(r.size, length))
        return fail(from, errc::limit, *at, r.name, str_cat(r.size, " bytes are more than this program can address"),
                    {});
    const std::span<std::byte> out{memory.allocate<std::byte>(length), length};
    if (auto done = from.read(*at, out); !done) {
        done.error().record = r.name;
        return std::move(done).failure();
    }
    if (check && r.crc32 != 0) {
        const std::uint32_t computed = detail::crc32(out);
        if (computed != r.crc32) return wrong_checksum(from, r, *at, computed);
    }
    return std::span<const std::byte>{out};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip
