// ckpt/tensor/index_walk.hpp: reads the indices of sparse and nested tensors in bounded pieces, and checks them.
//
// SPDX-License-Identifier: MIT
// In:      a tensor with parts, its storages.
// Out:     the position of every value in the shape.
// Refuses: what tensor/indices.hpp refuses.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// One line of an integer tensor, for example a row, read from the first to the last element in bounded pieces.
class integer_line {
  public:
    /// Opens the line in dimension `along`. `line` numbers such lines in row-major order of the other dimensions. The
    /// access must outlive the line.
    [[nodiscard]] static result<integer_line> open(const tensor_data& data, storage_access& access, std::uint32_t along,
                                                   std::uint64_t line);

    /// Reads the next element. False at the end, and where reading fails; then `failure()` is set.
    [[nodiscard]] bool next(std::int64_t& out);
    [[nodiscard]] const std::optional<error>& failure() const noexcept { return failure_; }

  private:
    static constexpr std::uint64_t most = 1024; // numbers in memory

    [[nodiscard]] bool fill();

    const tensor_data* data_{nullptr};
    storage_access* access_{nullptr};
    std::vector<std::byte> buffer_{};
    std::uint64_t at_{0}; // offset of the next piece, in elements
    std::uint64_t step_{0};
    std::uint64_t left_{0}; // elements behind the piece in memory
    std::size_t used_{0};
    std::size_t have_{0};
    std::optional<error> failure_{};
};

/// Opens the storage of a part that is read line by line. Checks the header of its
/// record also where it is not mapped, so that of several damaged parts the same one is reported in both modes.
[[nodiscard]] result<storage_access> open_part(const tensor_data& data, const storage_source* source);

/// Reads the indices of a sparse tensor in order, and checks them.
class index_walk {
  public:
    index_walk(const tensor_data& data, const storage_source* source) noexcept : data_{data}, source_{source} {}

    /// Calls `visit(position, k)` for value k (or block, or dense slice): its row-major position in the sparse
    /// dimensions of the shape, counted in blocks where the layout has them.
    template <class Visit> [[nodiscard]] result<void> run(Visit&& visit) {
        const std::span<const named_data> parts = data_.extra->parts();
        // An expanded part may have any shape.
        for (const named_data& part : parts.first(parts.size() - 1))
            if (auto bounded = check_output(part.data, *source_); !bounded) return bounded;
        return data_.kind == layout::sparse_coo ? coordinates(visit) : compressed(visit);
    }

  private:
    [[nodiscard]] error wrong(std::string what) const;
    /// The error for a line that ended early.
    [[nodiscard]] static error ended(const integer_line& line);

    template <class Visit> [[nodiscard]] result<void> coordinates(Visit& visit) {
        const tensor_data& indices = data_.extra->first[0].data;
        const auto dimensions = static_cast<std::uint32_t>(indices.shape[0]);
        const auto count = static_cast<std::uint64_t>(indices.shape[1]);
        std::vector<storage_access> access; // one for each line: a compressed storage is read in its order
        std::vector<integer_line> lines;
        access.reserve(dimensions);
        for (std::uint32_t i = 0; i < dimensions; ++i) {
            auto opened = open_part(indices, source_);
            if (!opened) return std::move(opened).failure();
            access.push_back(*std::move(opened));
            auto line = integer_line::open(indices, access.back(), 1, i);
            if (!line) return std::move(line).failure();
            lines.push_back(*std::move(line));
        }
        std::vector<std::int64_t> before(dimensions, -1);
        std::vector<std::int64_t> here(dimensions);
        if (dimensions == 0 && count > 1 && data_.extra->coalesced)
            return wrong(str_cat(count, " values in one place, and says that it is coalesced"));
        for (std::uint64_t k = 0; k < count; ++k) {
            std::uint64_t position = 0;
            for (std::uint32_t i = 0; i < dimensions; ++i) {
                if (!lines[i].next(here[i])) return ended(lines[i]);
                if (here[i] < 0 || here[i] >= data_.shape[i])
                    return wrong(str_cat("the index ", here[i], " in dimension ", i));
                position = position * static_cast<std::uint64_t>(data_.shape[i]) + static_cast<std::uint64_t>(here[i]);
            }
            if (data_.extra->coalesced && k > 0 &&
                !std::lexicographical_compare(before.begin(), before.end(), here.begin(), here.end()))
                return wrong(str_cat("the index ", list_of(here), " behind ", list_of(before),
                                     ", and says that it is coalesced"));
            std::swap(before, here);
            visit(position, k);
        }
        return {};
    }

    template <class Visit> [[nodiscard]] result<void> compressed(Visit& visit) {
        const tensor_data& outer = data_.extra->first[0].data;
        const tensor_data& inner = data_.extra->first[1].data;
        const tensor_data& values = data_.extra->first[2].data;
        const bool by_rows = data_.kind == layout::sparse_csr || data_.kind == layout::sparse_bsr;
        const bool blocks = data_.kind == layout::sparse_bsr || data_.kind == layout::sparse_bsc;
        const std::uint32_t batch = outer.rank - 1;
        std::uint64_t batches = 1;
        for (std::uint32_t i = 0; i < batch; ++i) batches *= static_cast<std::uint64_t>(data_.shape[i]);
        const auto count = inner.shape[batch]; // values of each batch
        const std::int64_t rows = data_.shape[batch] / (blocks ? values.shape[batch + 1] : 1);
        const std::int64_t columns = data_.shape[batch + 1] / (blocks ? values.shape[batch + 2] : 1);
        const std::int64_t lines = by_rows ? rows : columns;
        const std::int64_t most = by_rows ? columns : rows;
        const char* const called = by_rows ? "row" : "column";
        auto outer_access = open_part(outer, source_);
        if (!outer_access) return std::move(outer_access).failure();
        auto inner_access = open_part(inner, source_);
        if (!inner_access) return std::move(inner_access).failure();
        for (std::uint64_t b = 0; b < batches; ++b) {
            auto bounds = integer_line::open(outer, *outer_access, batch, b);
            if (!bounds) return std::move(bounds).failure();
            auto places = integer_line::open(inner, *inner_access, batch, b);
            if (!places) return std::move(places).failure();
            std::int64_t begin = 0;
            if (!bounds->next(begin)) return ended(*bounds);
            if (begin != 0) return wrong(str_cat("a first compressed index of ", begin, ", not 0"));
            for (std::int64_t line = 0; line < lines; ++line) {
                std::int64_t end = 0;
                if (!bounds->next(end)) return ended(*bounds);
                if (end < begin || end - begin > most || end > count)
                    return wrong(str_cat("compressed indices ", begin, " and ", end, " around ", called, " ", line,
                                         ", of ", count, " values and ", most, " places"));
                std::int64_t last = -1;
                for (; begin < end; ++begin) {
                    std::int64_t place = 0;
                    if (!places->next(place)) return ended(*places);
                    if (place <= last || place >= most)
                        return wrong(str_cat("the index ", place, last < 0 ? std::string() : str_cat(" behind ", last),
                                             " in ", called, " ", line, ", of ", most, " places"));
                    last = place;
                    const auto row = static_cast<std::uint64_t>(by_rows ? line : place);
                    const auto column = static_cast<std::uint64_t>(by_rows ? place : line);
                    visit((b * static_cast<std::uint64_t>(rows) + row) * static_cast<std::uint64_t>(columns) + column,
                          b * static_cast<std::uint64_t>(count) + static_cast<std::uint64_t>(begin));
                }
            }
            if (begin != count)
                return wrong(str_cat("compressed indices that end at ", begin, ", with ", count, " values"));
        }
        return {};
    }

    const tensor_data& data_;
    const storage_source* source_;
};

/// Checks sizes, strides and offsets of the tensors in a nested tensor, or offsets and lengths of the rows of a jagged
/// tensor. Fails with `indices_invalid`.
[[nodiscard]] result<void> check_nested(const tensor_data& data, const storage_source* source);

[[nodiscard]] result<void> check_values(const tensor_data* data, const storage_source* source);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/index_walk.ipp>
#endif
