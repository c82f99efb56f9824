// ckpt/write/impl/zip_writer.ipp: the definitions of zip_writer.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/zip_format.hpp>
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
    zip_fields& number(std::uint64_t x, int size) {
        for (int i = 0; i < size; ++i) bytes += static_cast<char>(static_cast<unsigned char>(x >> (8 * i)));
        return *this;
    }
};

namespace zip {
inline constexpr std::uint16_t flags_written = 0x0808; // sizes behind the payload, names in UTF-8
inline constexpr std::uint16_t version_20 = 20, version_zip64 = 45;
inline constexpr std::uint16_t first_day = 0x0021; // 1 January 1980

/// Whether the end record has no room for these numbers.
inline bool needs_zip64(std::uint64_t count, std::uint64_t directory_at, std::uint64_t directory_size) noexcept {
    return count >= full16 || directory_at >= full32 || directory_size >= full32;
}
} // namespace zip

CKPT_DETAIL_RARE void zip_size::add(std::size_t name, std::uint64_t size) noexcept {
    const bool large = size >= zip::full32, far_away = records_ >= zip::full32;
    directory_ += zip::central_bytes + name + (large ? 16u : 0u) + (far_away ? 8u : 0u) + (large || far_away ? 4u : 0u);
    records_ += zip::local_bytes + name + size + (large ? 20u + 24u : 16u);
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
    const bool large = size >= zip::full32;
    zip_fields f;
    f.u32(zip::local_signature).u16(large ? zip::version_zip64 : zip::version_20).u16(zip::flags_written).u16(0);
    f.u16(0).u16(zip::first_day).u32(0);
    f.u32(large ? zip::full32 : 0).u32(large ? zip::full32 : 0).u16(name.size()).u16(large ? 20 : 0);
    f.bytes += name;
    if (large) f.u16(zip::extra_zip64).u16(16).u64(0).u64(0);
    return put(f.bytes);
}

CKPT_DETAIL_RARE result<void> zip_writer::add(std::span<const std::byte> bytes) {
    crc_ = crc32(bytes, crc_);
    return out_.write(bytes);
}

CKPT_DETAIL_RARE result<void> zip_writer::end() {
    const bool large = size_ >= zip::full32;
    zip_fields behind;
    behind.u32(zip::descriptor_signature).u32(crc_);
    if (large) behind.u64(size_).u64(size_);
    else behind.u32(size_).u32(size_);

    zip_fields extra;
    if (large) extra.u64(size_).u64(size_);
    if (header_ >= zip::full32) extra.u64(header_);
    zip_fields f;
    const std::uint16_t version = extra.bytes.empty() ? zip::version_20 : zip::version_zip64;
    f.u32(zip::central_signature).u16(version).u16(version).u16(zip::flags_written).u16(0).u16(0).u16(zip::first_day);
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
