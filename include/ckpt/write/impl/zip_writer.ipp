// ckpt/write/impl/zip_writer.ipp: the definitions of zip_writer.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/zip_format.hpp>
#include <ckpt/core/append_le.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/write/zip_writer.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Numbers of the format, least byte first.
class zip_fields {
  public:
    zip_fields& u16(std::uint64_t x) { return number(x, 2); }
    zip_fields& u32(std::uint64_t x) { return number(x, 4); }
    zip_fields& u64(std::uint64_t x) { return number(x, 8); }
    /// 32 bits, all ones where the number stands in a ZIP64 field instead.
    zip_fields& short32(std::uint64_t x) { return u32(x < zip::full32 ? x : zip::full32); }

    std::string bytes{};

  private:
    zip_fields& number(std::uint64_t x, unsigned size) {
        append_le(bytes, x, size);
        return *this;
    }
};

namespace zip {
inline constexpr std::uint16_t extra_padding = 0x4246; // "FB", as torch writes it
inline constexpr std::uint16_t version_20 = 20, version_zip64 = 45;
inline constexpr std::uint16_t first_day = 0x0021; // 1 January 1980

/// Whether the end record has no room for these numbers.
inline bool needs_zip64(std::uint64_t count, std::uint64_t directory_at, std::uint64_t directory_size) noexcept {
    return count >= full16 || directory_at >= full32 || directory_size >= full32;
}
} // namespace zip

CKPT_DETAIL_RARE zip_margins zip_margins::of(std::size_t name, std::uint64_t size, std::uint64_t header,
                                             std::uint32_t alignment) noexcept {
    zip_margins out;
    out.large = size >= zip::full32;
    out.beyond = alignment > 1 && header >= zip::full32;
    out.zip64 = out.large || out.beyond ? 4u + (out.large ? 16u : 0u) + (out.beyond ? 8u : 0u) : 0u;
    out.behind = alignment > 1 && size == 0 ? 0u : out.zip64 > 0 ? 24u : 16u;
    if (alignment > 1) {
        const std::uint64_t payload = header + zip::local_bytes + name + out.zip64 + 4;
        out.padding = 4 + (alignment - payload % alignment) % alignment;
    }
    return out;
}

CKPT_DETAIL_RARE void zip_size::add(std::size_t name, std::uint64_t size) noexcept {
    const zip_margins around = zip_margins::of(name, size, records_, alignment_);
    const bool far_away = records_ >= zip::full32;
    const std::uint64_t numbers = (around.large ? 16u : 0u) + (far_away ? 8u : 0u);
    directory_ += zip::central_bytes + name + numbers + (numbers > 0 ? 4u : 0u);
    records_ += zip::local_bytes + name + around.zip64 + around.padding + size + around.behind;
    ++count_;
}

CKPT_DETAIL_RARE std::uint64_t zip_size::bytes() const noexcept {
    const bool large = zip::needs_zip64(count_, records_, directory_);
    return records_ + directory_ + (large ? zip::end64_bytes + zip::locator_bytes : 0) + zip::end_bytes;
}

CKPT_DETAIL_RARE result<void> zip_writer::put(const std::string& bytes) {
    return out_.write(std::as_bytes(std::span{bytes.data(), bytes.size()}));
}

CKPT_DETAIL_RARE result<void> zip_writer::begin(std::string_view name, std::uint64_t size) {
    name_ = name;
    header_ = out_.size();
    size_ = size;
    crc_ = 0;
    margins_ = zip_margins::of(name.size(), size, header_, alignment_);
    const bool large = margins_.large;
    zip_fields f;
    f.u32(zip::local_signature).u16(large ? zip::version_zip64 : zip::version_20).u16(margins_.flags()).u16(0);
    f.u16(0).u16(zip::first_day).u32(0);
    f.u32(large ? zip::full32 : 0).u32(large ? zip::full32 : 0);
    f.u16(name.size()).u16(margins_.zip64 + margins_.padding);
    f.bytes += name;
    if (margins_.zip64 > 0) f.u16(zip::extra_zip64).u16(margins_.zip64 - 4);
    if (large) f.u64(0).u64(0);
    if (margins_.beyond) f.u64(header_);
    if (margins_.padding > 0) {
        f.u16(zip::extra_padding).u16(margins_.padding - 4);
        f.bytes.append(static_cast<std::size_t>(margins_.padding - 4), 'Z');
    }
    return put(f.bytes);
}

CKPT_DETAIL_RARE result<void> zip_writer::add(std::span<const std::byte> bytes) {
    crc_ = crc32(bytes, crc_);
    return out_.write(bytes);
}

CKPT_DETAIL_RARE result<void> zip_writer::end() {
    zip_fields behind;
    if (margins_.behind > 0) behind.u32(zip::descriptor_signature).u32(crc_);
    if (margins_.behind == 24) behind.u64(size_).u64(size_);
    else if (margins_.behind > 0) behind.u32(size_).u32(size_);

    zip_fields extra;
    if (margins_.large) extra.u64(size_).u64(size_);
    if (header_ >= zip::full32) extra.u64(header_);
    zip_fields f;
    const std::uint16_t version = extra.bytes.empty() ? zip::version_20 : zip::version_zip64;
    f.u32(zip::central_signature).u16(version).u16(version).u16(margins_.flags()).u16(0).u16(0).u16(zip::first_day);
    f.u32(crc_).short32(size_).short32(size_).u16(name_.size());
    f.u16(extra.bytes.empty() ? 0 : extra.bytes.size() + 4).u16(0).u16(0).u16(0).u32(0).short32(header_);
    f.bytes += name_;
    if (!extra.bytes.empty()) f.u16(zip::extra_zip64).u16(extra.bytes.size()).bytes += extra.bytes;
    directory_ += f.bytes;
    ++count_;
    return put(behind.bytes);
}

CKPT_DETAIL_RARE result<void> zip_writer::finish() {
    const std::uint64_t at = out_.size(), length = directory_.size();
    if (auto done = put(directory_); !done) return done;
    zip_fields f;
    if (zip::needs_zip64(count_, at, length)) {
        f.u32(zip::end64_signature).u64(zip::end64_bytes - 12).u16(zip::version_zip64).u16(zip::version_zip64);
        f.u32(0).u32(0).u64(count_).u64(count_).u64(length).u64(at);
        f.u32(zip::locator_signature).u32(0).u64(at + length).u32(1);
    }
    const std::uint64_t short_count = count_ < zip::full16 ? count_ : zip::full16;
    f.u32(zip::end_signature).u16(0).u16(0).u16(short_count).u16(short_count).short32(length).short32(at).u16(0);
    return put(f.bytes);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
