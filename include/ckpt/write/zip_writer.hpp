// ckpt/write/zip_writer.hpp: a zip archive of records that are not compressed.
//
// SPDX-License-Identifier: MIT
// In:      records, one after another, each with its size before its bytes.
// Out:     an archive that every reader takes; checksums and sizes stand behind each payload, and in the directory.
//          Payloads are aligned as torch.save aligns them, where that is asked for.
// Refuses: what writing refuses. The caller gives names of at most 65,535 bytes, each once.
//
// Fields and signatures: PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3. ZIP64 fields are written where they are needed.
// Of an aligned archive torch computes where payloads are (torch/serialization.py, _get_offset), so the lengths of its
// headers are those of caffe2/serialize/inline_container.cc: a field "FB" fills up to the payload, an empty record has
// nothing behind it, and a record that begins beyond 4 GiB has its place in its local header.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/io/output.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The bytes around a payload.
struct zip_margins {
    std::uint64_t zip64{0};   ///< of the ZIP64 field in the local header
    std::uint64_t padding{0}; ///< of the field that fills up to the payload
    std::uint64_t behind{0};  ///< of what follows the payload
    bool large{false};        ///< whether its size stands in ZIP64 fields
    bool beyond{false};       ///< whether the local header says where it begins: beyond 4 GiB

    /// `header`: where the local header begins. `alignment`: of the payload; 1 for any.
    [[nodiscard]] static zip_margins of(std::size_t name, std::uint64_t size, std::uint64_t header,
                                        std::uint32_t alignment) noexcept;
    /// The flags of the record: names in UTF-8, sizes behind the payload where there is something behind it.
    [[nodiscard]] std::uint16_t flags() const noexcept { return behind > 0 ? 0x0808 : 0x0800; }
};

/// Counts the bytes of an archive before it is written.
class zip_size {
  public:
    explicit zip_size(std::uint32_t alignment = 1) noexcept : alignment_{alignment} {}
    /// A record with a name of `name` bytes.
    void add(std::size_t name, std::uint64_t size) noexcept;
    /// The bytes of an archive of these records.
    [[nodiscard]] std::uint64_t bytes() const noexcept;

  private:
    std::uint32_t alignment_;
    std::uint64_t records_{0};
    std::uint64_t directory_{0};
    std::uint64_t count_{0};
};

/// Where an archive's records end up. Borrows the file.
class zip_writer {
  public:
    /// `alignment`: of payloads; 1 for any.
    explicit zip_writer(output_file& out, std::uint32_t alignment = 1) noexcept : out_{out}, alignment_{alignment} {}

    /// Begins a record of `size` bytes.
    [[nodiscard]] result<void> begin(std::string_view name, std::uint64_t size);
    /// Appends bytes of the record that was begun.
    [[nodiscard]] result<void> add(std::span<const std::byte> bytes);
    /// Ends the record: all of its bytes were added.
    [[nodiscard]] result<void> end();
    /// The checksum of the record that was ended last.
    [[nodiscard]] std::uint32_t crc() const noexcept { return crc_; }
    /// Writes the directory. The archive has no more records then.
    [[nodiscard]] result<void> finish();

  private:
    [[nodiscard]] result<void> put(const std::string& bytes);

    output_file& out_;
    std::uint32_t alignment_;
    std::string directory_{};
    std::uint64_t count_{0};
    std::string name_{};      // of the record that was begun
    std::uint64_t header_{0}; // where its header begins
    std::uint64_t size_{0};
    zip_margins margins_{};
    std::uint32_t crc_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/zip_writer.ipp>
#endif
