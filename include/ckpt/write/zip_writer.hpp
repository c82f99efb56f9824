// ckpt/write/zip_writer.hpp: a zip archive of records that are not compressed.
//
// SPDX-License-Identifier: MIT
// In:      records, one after another, each with its size before its bytes.
// Out:     an archive that every reader takes; checksums and sizes stand behind each payload, and in the directory.
// Refuses: what writing refuses. The caller gives names of at most 65,535 bytes, each once.
//
// Fields and signatures: PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3. ZIP64 fields are written where they are needed.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/io/output.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Counts the bytes of an archive before it is written.
class zip_size {
  public:
    /// A record with a name of `name` bytes.
    void add(std::size_t name, std::uint64_t size) noexcept;
    /// The bytes of an archive of these records.
    [[nodiscard]] std::uint64_t bytes() const noexcept;

  private:
    std::uint64_t records_{0};
    std::uint64_t directory_{0};
    std::uint64_t count_{0};
};

/// Where an archive's records end up. Borrows the file.
class zip_writer {
  public:
    explicit zip_writer(output_file& out) noexcept : out_{out} {}

    /// Begins a record of `size` bytes.
    [[nodiscard]] result<void> begin(std::string_view name, std::uint64_t size);
    /// Appends bytes of the record that was begun.
    [[nodiscard]] result<void> add(std::span<const std::byte> bytes);
    /// Ends the record: all of its bytes were added.
    [[nodiscard]] result<void> end();
    /// Writes the directory. The archive has no more records then.
    [[nodiscard]] result<void> finish();

  private:
    [[nodiscard]] result<void> put(const std::string& bytes);

    output_file& out_;
    std::string directory_{};
    std::uint64_t count_{0};
    std::string name_{};      // of the record that was begun
    std::uint64_t header_{0}; // where its header begins
    std::uint64_t size_{0};
    std::uint32_t crc_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/zip_writer.ipp>
#endif
