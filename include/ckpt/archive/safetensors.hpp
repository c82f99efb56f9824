// ckpt/archive/safetensors.hpp: the header of a safetensors file.
//
// SPDX-License-Identifier: MIT
// In:      a source.
// Out:     its tensors in the header's order: name, type, shape, range of bytes; its metadata.
// Refuses: what the reference reader refuses (safetensors/src/tensor.rs): a header beyond the file or beyond 100 MB,
//          JSON of another form, ranges that overlap, leave holes or do not end with the file, sizes that overflow or
//          differ from shape and type. And names that occur twice, which the format forbids.
//
// The format: 8 bytes, little-endian, which are the header's length; the header, a JSON object such as
// {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"text": "text"}}; the data.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/json.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// An element type by its name in the header, and the bits that one element takes.
struct safetensors_type {
    std::string_view name{};
    std::uint8_t bits{};
};

inline constexpr safetensors_type safetensors_types[]{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
};

struct safetensors_entry {
    std::string_view name{};
    const safetensors_type* type{nullptr};
    const std::int64_t* shape{nullptr};
    std::uint32_t rank{0};
    std::uint64_t begin{0}; ///< of its bytes, counted from the first byte of the data
    std::uint64_t end{0};
};

struct safetensors_pair {
    std::string_view key{};
    std::string_view text{};
};

struct safetensors_header {
    std::string_view json{};
    std::uint64_t data_offset{0};            ///< of the first byte of the data, in the source
    plain_list<safetensors_entry> entries{}; ///< in the header's order
    plain_list<safetensors_pair> metadata{};
    bool has_metadata{};

    /// Reads and checks the header; text and shapes live in `memory`.
    [[nodiscard]] static result<safetensors_header> read(const source& from, const limits& budget, arena& memory);

  private:
    [[nodiscard]] bool read_entries(json_reader& in, arena& memory, error& fault);
    [[nodiscard]] bool read_metadata(json_reader& in);
    [[nodiscard]] static bool read_entry(json_reader& in, safetensors_entry& out, std::vector<std::int64_t>& sizes,
                                         arena& memory, error& fault);
    [[nodiscard]] result<void> check_names(const source& from) const;
    [[nodiscard]] result<void> check_ranges(const source& from) const;
};

namespace safetensors {

inline constexpr std::uint64_t largest_header = 100'000'000; // the reference's MAX_HEADER_SIZE
inline constexpr std::string_view hint =
    "the file is damaged, or was not written by a safetensors library; get it again";

[[nodiscard]] error invalid(const source& from, std::uint64_t offset, std::string detail);

/// Whether the first bytes of a file are a header's length and the beginning of its JSON object. The length may be
/// wrong.
[[nodiscard]] bool begins(std::span<const std::byte> head) noexcept;

} // namespace safetensors

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/safetensors.ipp>
#endif
