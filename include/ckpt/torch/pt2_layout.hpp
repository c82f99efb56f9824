// ckpt/torch/pt2_layout.hpp: the tensors of a PT2 archive, which torch.export.save writes since torch 2.8.
//
// SPDX-License-Identifier: MIT
// In:      the records of the archive: one JSON text for the weights and one for the constants of each model.
// Out:     name, record and geometry of each tensor; which records are whole files of torch.save instead.
// Refuses: JSON of another form. A tensor with impossible numbers becomes an error later, and does not affect others.
//
// Source: torch/_export/serde/schema.py (PayloadConfig, TensorMeta), torch/export/pt2_archive/_package.py. The numbers
// of dtypes and layouts are those of the schema, not of C++.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/json.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/geometry.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// One tensor or object of a configuration.
struct pt2_entry {
    std::string_view name{};
    std::string_view path{}; // of its record, below the configuration's folder
    bool pickled{false};     // whether the record is a file of torch.save, or a pickle
    bool described{false};   // whether it has a tensor_meta
    bool symbolic{false};    // whether a size is an expression
    bool requires_grad{false};
    std::uint64_t dtype{0};
    std::uint64_t layout{0};
    std::uint64_t offset{0};
    std::uint32_t rank{0};
    std::uint32_t strides_rank{0};
    const std::int64_t* shape{nullptr};
    const std::int64_t* strides{nullptr};
};

/// The weights or the constants of one model.
struct pt2_config {
    const record* from{nullptr};
    std::string_view model{};
    std::string_view folder{}; // "archive/data/weights/"
    bool constants{false};
    plain_list<pt2_entry> entries{};
};

/// The dtype for a number of schema.py's ScalarType.
[[nodiscard]] constexpr std::optional<ckpt::dtype> dtype_of_pt2(std::uint64_t number) noexcept {
    using enum ckpt::dtype;
    constexpr struct {
        std::uint8_t number{};
        ckpt::dtype type{};
    } rows[]{
        {1, uint8},
        {2, int8},
        {3, int16},
        {4, int32},
        {5, int64},
        {6, float16},
        {7, float32},
        {8, float64},
        {9, complex32},
        {10, complex64},
        {11, complex128},
        {12, bool_},
        {13, bfloat16},
        {28, uint16},
        {29, float8_e4m3fn},
        {30, float8_e5m2},
        {31, float8_e4m3fnuz},
        {32, float8_e5m2fnuz},
        {33, float8_e8m0fnu},
        {34, uint32},
        {35, uint64},
    };
    for (const auto& row : rows)
        if (row.number == number) return row.type;
    return std::nullopt;
}
inline constexpr std::uint64_t pt2_strided = 7;

/// Reads one configuration.
class pt2_config_reader {
  public:
    pt2_config_reader(std::string_view text, arena& memory) : json_{text, memory}, memory_{memory} {}

    /// {"config": {name: {...}}}
    [[nodiscard]] bool read(plain_list<pt2_entry>& out);
    [[nodiscard]] std::string_view fault() const noexcept {
        return json_.fault().empty() ? "a number beyond what a size can be" : json_.fault();
    }
    [[nodiscard]] std::size_t offset() const noexcept { return json_.offset(); }

  private:
    [[nodiscard]] bool entry(pt2_entry& e);
    [[nodiscard]] bool meta(pt2_entry& e);
    /// {"as_int": 3}; {"as_expr": ...} makes the entry symbolic.
    [[nodiscard]] bool number(pt2_entry& e, std::uint64_t& out);
    [[nodiscard]] bool numbers(pt2_entry& e, const std::int64_t*& out, std::uint32_t& count);

    json_reader json_;
    arena& memory_;
    std::vector<std::int64_t> read_{}; // of the list that is being read
};

/// Reads the configurations of an archive, in the order of its directory. `folder`: its top folder, with the slash.
[[nodiscard]] result<std::vector<pt2_config>> read_pt2(const source& from, const zip_archive& archive,
                                                       std::string_view folder, const limits& budget,
                                                       const inflater& inflate, arena& memory);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/pt2_layout.ipp>
#endif
