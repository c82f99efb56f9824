// ckpt/tensor/impl/index_walk.ipp: the definitions of index_walk.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/index_walk.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<integer_line> integer_line::open(const tensor_data& data, storage_access& access,
                                                         std::uint32_t along, std::uint64_t line) {
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
    // Reads the first piece now, so that a read error is reported before any check, mapped or not.
    if (!out.fill()) return *std::move(out.failure_);
    return out;
}

CKPT_DETAIL_RARE bool integer_line::next(std::int64_t& out) {
    if (used_ == have_ && !fill()) return false;
    const std::byte* from = buffer_.data() + used_++ * itemsize(data_->type);
    out = data_->type == ckpt::dtype::int64 ? static_cast<std::int64_t>(load<std::uint64_t>(from, native_order()))
                                            : static_cast<std::int32_t>(load<std::uint32_t>(from, native_order()));
    return true;
}

CKPT_DETAIL_RARE bool integer_line::fill() {
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
    finish_elements(data_->type, access_->from.source->order(data_->storage), native_order(), data_->neg, data_->conj,
                    buffer_.data(), n);
    used_ = 0;
    have_ = static_cast<std::size_t>(n);
    left_ -= n;
    at_ += n * step_;
    return true;
}

CKPT_DETAIL_RARE result<storage_access> open_part(const tensor_data& data, const storage_source* source) {
    if (data.numel == 0) return storage_access{};
    auto access = open_storage(data, *source, true);
    if (!access || access->memory != nullptr || access->from.reader) return access;
    if (auto there = source->read(data.storage, 0, {}); !there) return std::move(there).failure();
    return access;
}

CKPT_DETAIL_RARE error index_walk::wrong(std::string what) const {
    return {.code = errc::indices_invalid,
            .detail = str_cat("a ", name(data_.kind), " tensor of shape ", list_of(data_.sizes()), " has ", what)};
}

CKPT_DETAIL_RARE error index_walk::ended(const integer_line& line) {
    if (line.failure()) return *line.failure();
    return {.code = errc::internal, .detail = "a line of indices that is shorter than its shape"};
}

inline error wrong_row(const tensor_data& data, std::uint64_t row, std::string what) {
    return {.code = errc::indices_invalid, .detail = str_cat("row ", row, " of a ", name(data.kind), " tensor ", what)};
}

/// Checks that each tensor in a nested one lies in the common buffer. `access[1]` to `access[3]`: sizes, strides,
/// offsets.
inline result<void> check_nested_rows(const tensor_data& data, std::span<storage_access, 4> access) {
    const std::span<const named_data> parts = data.extra->parts();
    const auto rows = static_cast<std::uint64_t>(data.shape[0]);
    auto offsets = integer_line::open(parts[3].data, access[3], 0, 0);
    if (!offsets) return std::move(offsets).failure();
    for (std::uint64_t row = 0; row < rows; ++row) {
        auto sizes = integer_line::open(parts[1].data, access[1], 1, row);
        auto strides = integer_line::open(parts[2].data, access[2], 1, row);
        if (!sizes) return std::move(sizes).failure();
        if (!strides) return std::move(strides).failure();
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
            return wrong_row(
                data, row, str_cat("does not lie in its buffer: ", geometry_error(code, one, bytes, one.rank).detail));
    }
    return {};
}

/// Checks that each row of a jagged tensor lies in its values. `access[1]` and `access[2]`: offsets and lengths.
inline result<void> check_jagged_rows(const tensor_data& data, std::span<storage_access, 4> access) {
    const std::span<const named_data> parts = data.extra->parts();
    const auto rows = static_cast<std::uint64_t>(data.shape[0]);
    const tensor_data& values = parts[0].data;
    const std::int64_t most = values.shape[data.extra->axis - 1];
    const bool has_lengths = parts.size() > 2 && parts[2].name == "lengths";
    auto offsets = integer_line::open(parts[1].data, access[1], 0, 0);
    if (!offsets) return std::move(offsets).failure();
    auto lengths = integer_line::open(parts[has_lengths ? 2 : 1].data, access[has_lengths ? 2 : 1], 0, 0);
    if (!lengths) return std::move(lengths).failure();
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
            return wrong_row(data, row,
                             str_cat("reaches from ", begin,
                                     has_lengths ? str_cat(" over ", length) : str_cat(" to ", next), ", of ", most,
                                     " in its values"));
        begin = next;
    }
    return {};
}

CKPT_DETAIL_RARE result<void> check_nested(const tensor_data& data, const storage_source* source) {
    const std::span<const named_data> parts = data.extra->parts();
    for (const named_data& part : parts.subspan(1))
        if (auto bounded = check_output(part.data, *source); !bounded) return bounded;
    std::array<storage_access, 4> access{};
    for (std::size_t i = 1; i < parts.size() && i < access.size(); ++i) {
        auto opened = open_part(parts[i].data, source);
        if (!opened) return std::move(opened).failure();
        access[i] = *std::move(opened);
    }
    return data.kind == layout::nested ? check_nested_rows(data, access) : check_jagged_rows(data, access);
}

CKPT_DETAIL_RARE result<void> check_values(const tensor_data* data, const storage_source* source) {
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
                e.detail = str_cat("part ", quoted(part.name), ": ", e.detail);
                return e;
            }
        return {};
    case layout::strided:
    case layout::meta: break;
    }
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
