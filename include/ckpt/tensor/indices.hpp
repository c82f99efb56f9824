// ckpt/tensor/indices.hpp: the values that say where others lie: indices of sparse tensors, sizes and offsets of nested
// ones.
//
// SPDX-License-Identifier: MIT
// In:      a tensor whose parts were checked against each other when it was made, without reading them.
// Out:     a verdict on its indices.
// Refuses: indices outside the shape, out of order or there twice where the layout forbids it (rule V3); offsets and
// sizes
//          outside the buffer.
//
// Opening a file reads no values, so this is done where they are used: by `verify`, by strict listings, before a dense
// copy.
#pragma once

#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// One line of an integer tensor, read from its beginning to its end in bounded pieces.
class integer_line {
  public:
    /// `line` counts in row-major order over all dimensions but the one called `along`. The access outlives the line.
    [[nodiscard]] static result<integer_line> open(const tensor_data& data, storage_access& access, std::uint32_t along,
                                                   std::uint64_t line) {
        integer_line out;
        out.data_ = &data;
        out.access_ = &access;
        out.left_ = data.numel == 0 ? 0 : static_cast<std::uint64_t>(data.shape[along]);
        if (out.left_ == 0) return out;
        out.at_ = data.storage_offset;
        out.step_ = static_cast<std::uint64_t>(data.strides[along]);
        for (std::uint32_t i = data.rank; i-- > 0;) {
            if (i == along) continue;
            const auto n = static_cast<std::uint64_t>(data.shape[i]);
            out.at_ += line % n * static_cast<std::uint64_t>(data.strides[i]);
            line /= n;
        }
        // At once, so that what cannot be read says so before anything is checked, mapped or not.
        if (!out.fill()) return *std::move(out.failure_);
        return out;
    }

    /// False at the end, and where reading fails: `failure` then says why.
    [[nodiscard]] bool next(std::int64_t& out) {
        if (used_ == have_ && !fill()) return false;
        const std::byte* from = buffer_.data() + used_++ * itemsize(data_->type);
        out = data_->type == ckpt::dtype::int64 ? static_cast<std::int64_t>(load<std::uint64_t>(from, native_order()))
                                                : static_cast<std::int32_t>(load<std::uint32_t>(from, native_order()));
        return true;
    }
    [[nodiscard]] const std::optional<error>& failure() const noexcept { return failure_; }

  private:
    static constexpr std::uint64_t most = 1024; // numbers in memory

    [[nodiscard]] bool fill() {
        if (left_ == 0) return false;
        const std::uint64_t n = left_ < most ? left_ : most;
        box part;
        part.offset = at_;
        part.rank = n > 1 ? 1 : 0;
        part.sizes[0] = n;
        part.strides[0] = step_;
        const std::size_t size = itemsize(data_->type);
        buffer_.resize(static_cast<std::size_t>(n) * size);
        if (auto read = access_->gather_part(part, size, buffer_.data()); !read) {
            failure_ = std::move(read).error();
            left_ = 0;
            return false;
        }
        finish_elements(data_->type, access_->source->order(data_->storage), native_order(), data_->neg, data_->conj,
                        buffer_.data(), n);
        used_ = 0;
        have_ = static_cast<std::size_t>(n);
        left_ -= n;
        at_ += n * step_;
        return true;
    }

    const tensor_data* data_{nullptr};
    storage_access* access_{nullptr};
    std::vector<std::byte> buffer_{};
    std::uint64_t at_{0}; // of the next piece, in elements
    std::uint64_t step_{0};
    std::uint64_t left_{0}; // behind the piece in memory
    std::size_t used_{0};
    std::size_t have_{0};
    std::optional<error> failure_{};
};

/// The storage of a part that is read line by line: opened, and inflated where it is compressed, once for all lines.
/// What is wrong with its header is said here, mapped or not, so that the first of several damaged parts is the same
/// either way.
[[nodiscard]] inline result<storage_access> open_part(const tensor_data& data, const storage_source* source) {
    if (data.numel == 0) return storage_access{};
    auto access = open_storage(data, *source, true);
    if (!access || access->memory != nullptr) return access;
    if (auto there = source->read(data.storage, 0, {}); !there) return std::move(there).error();
    return access;
}

/// Walks over the indices of a sparse tensor and checks them on the way.
class index_walk {
  public:
    index_walk(const tensor_data& data, const storage_source* source) noexcept : data_{data}, source_{source} {}

    /// Calls `visit(position, k)` for every value: where it lies among the sparse dimensions of the shape, and its
    /// number.
    template <class Visit> [[nodiscard]] result<void> run(Visit&& visit) {
        const std::span<const named_data> parts = data_.extra->parts();
        // An expanded part may claim any shape.
        for (const named_data& part : parts.first(parts.size() - 1))
            if (auto bounded = check_output(part.data, *source_); !bounded) return bounded;
        return data_.kind == layout::sparse_coo ? coordinates(visit) : compressed(visit);
    }

  private:
    [[nodiscard]] error wrong(std::string what) const {
        return {.code = errc::indices_invalid,
                .detail = "a " + std::string(name(data_.kind)) + " tensor of shape " + list_of(data_.sizes()) +
                          " has " + std::move(what)};
    }
    /// Why a line ended early.
    [[nodiscard]] static error ended(const integer_line& line) {
        if (line.failure()) return *line.failure();
        return {.code = errc::internal, .detail = "a line of indices that is shorter than its shape"};
    }

    template <class Visit> [[nodiscard]] result<void> coordinates(Visit& visit) {
        const tensor_data& indices = data_.extra->first[0].data;
        const auto dimensions = static_cast<std::uint32_t>(indices.shape[0]);
        const auto count = static_cast<std::uint64_t>(indices.shape[1]);
        auto access = open_part(indices, source_);
        if (!access) return std::move(access).error();
        std::vector<integer_line> lines;
        for (std::uint32_t i = 0; i < dimensions; ++i) {
            auto line = integer_line::open(indices, *access, 1, i);
            if (!line) return std::move(line).error();
            lines.push_back(*std::move(line));
        }
        std::vector<std::int64_t> before(dimensions, -1);
        std::vector<std::int64_t> here(dimensions);
        if (dimensions == 0 && count > 1 && data_.extra->coalesced)
            return wrong(decimal(count) + " values in one place, and says that it is coalesced");
        for (std::uint64_t k = 0; k < count; ++k) {
            std::uint64_t position = 0;
            for (std::uint32_t i = 0; i < dimensions; ++i) {
                if (!lines[i].next(here[i])) return ended(lines[i]);
                if (here[i] < 0 || here[i] >= data_.shape[i])
                    return wrong("the index " + decimal(here[i]) + " in dimension " + decimal(std::uint64_t{i}));
                position = position * static_cast<std::uint64_t>(data_.shape[i]) + static_cast<std::uint64_t>(here[i]);
            }
            if (data_.extra->coalesced && k > 0 &&
                !std::lexicographical_compare(before.begin(), before.end(), here.begin(), here.end()))
                return wrong("the index " + list_of(here) + " behind " + list_of(before) +
                             ", and says that it is coalesced");
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
        if (!outer_access) return std::move(outer_access).error();
        auto inner_access = open_part(inner, source_);
        if (!inner_access) return std::move(inner_access).error();
        for (std::uint64_t b = 0; b < batches; ++b) {
            auto bounds = integer_line::open(outer, *outer_access, batch, b);
            if (!bounds) return std::move(bounds).error();
            auto places = integer_line::open(inner, *inner_access, batch, b);
            if (!places) return std::move(places).error();
            std::int64_t begin = 0;
            if (!bounds->next(begin)) return ended(*bounds);
            if (begin != 0) return wrong("a first compressed index of " + decimal(begin) + ", not 0");
            for (std::int64_t line = 0; line < lines; ++line) {
                std::int64_t end = 0;
                if (!bounds->next(end)) return ended(*bounds);
                if (end < begin || end - begin > most || end > count)
                    return wrong("compressed indices " + decimal(begin) + " and " + decimal(end) + " around " + called +
                                 ' ' + decimal(line) + ", of " + decimal(count) + " values and " + decimal(most) +
                                 " places");
                std::int64_t last = -1;
                for (; begin < end; ++begin) {
                    std::int64_t place = 0;
                    if (!places->next(place)) return ended(*places);
                    if (place <= last || place >= most)
                        return wrong("the index " + decimal(place) +
                                     (last < 0 ? std::string() : " behind " + decimal(last)) + " in " + called + ' ' +
                                     decimal(line) + ", of " + decimal(most) + " places");
                    last = place;
                    const auto row = static_cast<std::uint64_t>(by_rows ? line : place);
                    const auto column = static_cast<std::uint64_t>(by_rows ? place : line);
                    visit((b * static_cast<std::uint64_t>(rows) + row) * static_cast<std::uint64_t>(columns) + column,
                          b * static_cast<std::uint64_t>(count) + static_cast<std::uint64_t>(begin));
                }
            }
            if (begin != count)
                return wrong("compressed indices that end at " + decimal(begin) + ", with " + decimal(count) +
                             " values");
        }
        return {};
    }

    const tensor_data& data_;
    const storage_source* source_;
};

/// Sizes, strides and offsets of the tensors in a nested one; offsets and lengths of the rows of a jagged one.
[[nodiscard]] inline result<void> check_nested(const tensor_data& data, const storage_source* source) {
    const std::span<const named_data> parts = data.extra->parts();
    const auto wrong = [&](std::uint64_t row, std::string what) {
        return error{.code = errc::indices_invalid,
                     .detail = "row " + decimal(row) + " of a " + std::string(name(data.kind)) + " tensor " +
                               std::move(what)};
    };
    for (const named_data& part : parts.subspan(1))
        if (auto bounded = check_output(part.data, *source); !bounded) return bounded;
    std::array<storage_access, 4> access{}; // of nested: sizes, strides, offsets; of jagged: offsets, lengths
    for (std::size_t i = 1; i < parts.size() && i < access.size(); ++i) {
        auto opened = open_part(parts[i].data, source);
        if (!opened) return std::move(opened).error();
        access[i] = *std::move(opened);
    }
    const auto rows = static_cast<std::uint64_t>(data.shape[0]);
    if (data.kind == layout::nested) {
        auto offsets = integer_line::open(parts[3].data, access[3], 0, 0);
        if (!offsets) return std::move(offsets).error();
        for (std::uint64_t row = 0; row < rows; ++row) {
            auto sizes = integer_line::open(parts[1].data, access[1], 1, row);
            auto strides = integer_line::open(parts[2].data, access[2], 1, row);
            if (!sizes) return std::move(sizes).error();
            if (!strides) return std::move(strides).error();
            std::vector<std::int64_t> shape(data.rank - 1);
            std::vector<std::int64_t> steps(data.rank - 1);
            std::int64_t offset = 0;
            bool read = offsets->next(offset);
            for (std::uint32_t i = 0; i + 1 < data.rank; ++i)
                read = read && sizes->next(shape[i]) && strides->next(steps[i]);
            for (const integer_line* line : {&*offsets, &*sizes, &*strides})
                if (line->failure()) return *line->failure();
            if (!read) return error{.code = errc::internal, .detail = "a nested tensor with fewer sizes than rows"};
            tensor_data one{};
            one.type = data.type;
            one.rank = data.rank - 1;
            one.shape = shape.data();
            one.strides = steps.data();
            one.storage_offset = static_cast<std::uint64_t>(offset);
            const std::uint64_t bytes = bytes_of(data.type, parts[0].data.numel);
            if (const errc code = check_geometry(one, bytes, one.rank); code != errc::none)
                return wrong(row, "does not lie in its buffer: " + geometry_error(code, one, bytes, one.rank).detail);
        }
        return {};
    }
    const tensor_data& values = parts[0].data;
    const std::int64_t most = values.shape[data.extra->axis - 1];
    const bool has_lengths = parts.size() > 2 && parts[2].name == "lengths";
    auto offsets = integer_line::open(parts[1].data, access[1], 0, 0);
    if (!offsets) return std::move(offsets).error();
    auto lengths = integer_line::open(parts[has_lengths ? 2 : 1].data, access[has_lengths ? 2 : 1], 0, 0);
    if (!lengths) return std::move(lengths).error();
    std::int64_t begin = 0;
    if (!offsets->next(begin) && offsets->failure()) return *offsets->failure();
    for (std::uint64_t row = 0; row < rows; ++row) {
        std::int64_t next = 0;
        std::int64_t length = 0;
        const bool read = offsets->next(next) && (!has_lengths || lengths->next(length));
        for (const integer_line* line : {&*offsets, &*lengths})
            if (line->failure()) return *line->failure();
        if (!read) return error{.code = errc::internal, .detail = "a jagged tensor with fewer offsets than rows"};
        if (begin < 0 || begin > most ||
            (has_lengths ? length < 0 || length > most - begin : next < begin || next > most))
            return wrong(row, "reaches from " + decimal(begin) +
                                  (has_lengths ? " over " + decimal(length) : " to " + decimal(next)) + ", of " +
                                  decimal(most) + " in its values");
        begin = next;
    }
    return {};
}

[[nodiscard]] inline result<void> check_values(const tensor_data* data, const storage_source* source) {
    if (data == nullptr || source == nullptr) return {};
    if (data->refusal != nullptr) return *data->refusal;
    if (data->extra == nullptr) return {};
    switch (data->kind) {
    case layout::sparse_coo:
    case layout::sparse_csr:
    case layout::sparse_csc:
    case layout::sparse_bsr:
    case layout::sparse_bsc: return index_walk{*data, source}.run([](std::uint64_t, std::uint64_t) {});
    case layout::nested:
    case layout::jagged: return check_nested(*data, source);
    case layout::wrapper:
        for (const named_data& part : data->extra->parts()) // at most most_part_depth deep
            if (auto checked = check_values(&part.data, source); !checked) {
                error e = std::move(checked).error();
                e.detail = "part " + quoted(part.name) + ": " + e.detail;
                return e;
            }
        return {};
    case layout::strided:
    case layout::meta: break;
    }
    return {};
}

} // namespace detail

/// Checks what opening leaves for later: the indices of a sparse tensor, the sizes and offsets of a nested or jagged
/// one, those of the parts of a wrapper. Reads them all, in bounded memory. Tensors of other kinds pass. Fails with
/// `indices_invalid`.
[[nodiscard]] inline result<void> check_values(const tensor& of) {
    return detail::check_values(detail::tensor_access::data(of), detail::tensor_access::source(of));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
