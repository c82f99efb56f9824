// ckpt/tensor/impl/pieces.ipp: the definitions of pieces.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/reader.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/pieces.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Converts quantised integers to numbers, in row-major order.
class dequantizer {
  public:
    [[nodiscard]] static result<dequantizer> make(const tensor_data& data, const storage_source* source);

    /// Converts the next `n` elements.
    void next(const std::int32_t* in, std::size_t n, float* out) noexcept {
        how_.scales = scales_.empty() ? nullptr : scales_.data();
        how_.zero_points = zeros_.data();
        dequantize(how_, std::exchange(done_, done_ + n), in, n, out);
    }

  private:
    dequantization how_{};
    std::vector<double> scales_{};
    std::vector<float> zeros_{};
    std::uint64_t done_{0};
};

CKPT_DETAIL_RARE result<dequantizer> dequantizer::make(const tensor_data& data, const storage_source* source) {
    dequantizer out;
    const tensor_extra& extra = *data.extra;
    out.how_ = dequantization_of(extra, data.sizes());
    if (!is_per_channel(extra.scheme)) return out;
    const auto channels = static_cast<std::size_t>(extra.first[0].data.numel);
    out.how_.channels = channels; // at the edges of a tensor, of two dimensions
    out.scales_.resize(channels);
    out.zeros_.resize(channels);
    const auto read = [&](const tensor_data& part, ckpt::dtype type, auto& to) {
        return copy_tensor(&part, source, type, false, reinterpret_cast<std::byte*>(to.data()), channels);
    };
    if (has_rounded_scales(extra.scheme)) {
        std::vector<float> scales(channels);
        if (auto done = read(extra.first[0].data, ckpt::dtype::float32, scales); !done)
            return std::move(done).failure();
        for (std::size_t i = 0; i < channels; ++i) out.scales_[i] = to_double(scales[i]);
        if (auto done = read(extra.first[1].data, ckpt::dtype::float32, out.zeros_); !done)
            return std::move(done).failure();
        return out;
    }
    std::vector<std::int64_t> zeros(channels);
    if (auto done = read(extra.first[1].data, ckpt::dtype::int64, zeros); !done) return std::move(done).failure();
    for (std::size_t i = 0; i < channels; ++i) out.zeros_[i] = static_cast<float>(zeros[i]);
    if (auto done = read(extra.first[0].data, ckpt::dtype::float64, out.scales_); !done)
        return std::move(done).failure();
    return out;
}

CKPT_DETAIL_RARE ckpt::dtype piece_type(const tensor_data& data) noexcept {
    if (is_quantised(data)) return ckpt::dtype::float32;
    if (bits(data.type) < 8) return ckpt::dtype::uint8;
    return data.type == ckpt::dtype::bool_ ? data.type : stored_integer(data.type);
}

/// Passes on pieces of stored integers or values, dequantised where there is a dequantizer.
class piece_reader {
  public:
    piece_reader(const tensor_data& data, const storage_source& source, function_ref<void(const value_piece&)> f,
                 progress_meter* meter) noexcept
        : data_{data}, source_{source}, f_{f} {
        readers_.meter = meter;
    }

    [[nodiscard]] result<void> run();

  private:
    [[nodiscard]] result<void> read(storage_access& access);
    void take(const std::byte* in, ckpt::dtype type, std::uint64_t first, std::uint64_t n);

    const tensor_data& data_;
    const storage_source& source_;
    function_ref<void(const value_piece&)> f_;
    storage_readers readers_{};
    std::optional<dequantizer> numbers_{};
    std::vector<std::int32_t> integers_{};
    std::vector<float> floats_{};
};

CKPT_DETAIL_RARE result<void> piece_reader::run() {
    if (is_quantised(data_)) {
        auto made = dequantizer::make(data_, &source_);
        if (!made) return std::move(made).failure();
        numbers_.emplace(std::move(*made));
    }
    auto access = open_storage(data_, source_, true, &readers_);
    if (!access) return std::move(access).failure();
    auto done = read(*access);
    return done ? access->from.finish() : done;
}

CKPT_DETAIL_RARE result<void> piece_reader::read(storage_access& access) {
    if (bits(data_.type) < 8)
        return unpack_parts(data_, access, part_bytes / 4,
                            [this](const std::byte* in, std::uint64_t first, std::uint64_t n) {
                                take(in, ckpt::dtype::quint8, first, n);
                            });
    box whole;
    if (!make_box(data_.sizes(), data_.steps(), data_.storage_offset, whole))
        return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    const std::size_t size = itemsize(data_.type);
    std::vector<std::byte> buffer(access.part_size(whole, size));
    return for_each_part(whole, buffer.size() / size,
                         [&](const box& part, std::uint64_t first, std::uint64_t n) -> result<void> {
                             if (auto read = access.gather_part(part, size, buffer.data()); !read) return read;
                             finish_elements(data_.type, source_.order(data_.storage), native_order(), data_.neg,
                                             data_.conj, buffer.data(), n);
                             take(buffer.data(), data_.type, first, n);
                             return {};
                         });
}

CKPT_DETAIL_RARE void piece_reader::take(const std::byte* in, ckpt::dtype type, std::uint64_t first, std::uint64_t n) {
    const auto count = static_cast<std::size_t>(n);
    if (!numbers_) return f_({piece_type(data_), in, first, count});
    integers_.resize((std::max)(integers_.size(), count));
    floats_.resize(integers_.size());
    load_integers(type, in, count, integers_.data());
    numbers_->next(integers_.data(), count, floats_.data());
    f_({ckpt::dtype::float32, reinterpret_cast<const std::byte*>(floats_.data()), first, count});
}

/// Whether the values of a tensor, or some of them, can be read piece by piece.
inline result<void> check_pieces(const tensor_data* handle, const storage_source* source) {
    if (auto usable = check_access(handle, source); !usable) return usable;
    if (handle->neg && !has_negation(handle->type)) return lazy_bit_error(*handle);
    if (bits(handle->type) < 8 && !is_contiguous(*handle)) return packed_error(handle->type);
    return {};
}

CKPT_DETAIL_RARE result<void> for_each_piece(const tensor_data* handle, const storage_source* source,
                                             function_ref<void(const value_piece&)> f, progress_meter* meter) {
    if (auto usable = check_pieces(handle, source); !usable || handle->numel == 0) return usable;
    return piece_reader{*handle, *source, f, meter}.run();
}

CKPT_DETAIL_RARE result<void> for_each_piece(const edges_of& edges, const storage_source* source,
                                             function_ref<void(const value_piece&)> f) {
    if (auto usable = check_pieces(&edges.whole(), source); !usable || edges.data().numel == 0) return usable;
    return piece_reader{edges.data(), *source, f, nullptr}.run();
}

CKPT_DETAIL_RARE edges_of::edges_of(const tensor_data& whole, std::size_t edge) : whole_{whole} {
    cut(whole, edge, data_, sizes_);
    if (!is_quantised(whole) || !is_per_channel(whole.extra->scheme)) return;
    extra_ = *whole.extra;
    extra_.first = parameters_;
    for (std::size_t i = 0; i < 2; ++i) {
        parameters_[i].name = whole.extra->first[i].name;
        cut(whole.extra->first[i].data, edge, parameters_[i].data, parameter_sizes_[i]);
    }
    // Its channels are the last of the dimensions that the quantised one became.
    extra_.axis = 0;
    for (std::uint32_t i = 0; i <= whole.extra->axis; ++i)
        extra_.axis += static_cast<std::uint64_t>(whole.shape[i]) > 2 * edge ? 2u : 1u;
    --extra_.axis;
    data_.extra = &extra_;
}

CKPT_DETAIL_RARE void edges_of::cut(const tensor_data& from, std::size_t edge, tensor_data& to,
                                    std::vector<std::int64_t>& sizes) {
    std::vector<std::int64_t> steps;
    to = from;
    to.numel = 1;
    for (std::uint32_t i = 0; i < from.rank; ++i) {
        const std::int64_t n = from.shape[i];
        const auto kept = static_cast<std::int64_t>(edge);
        if (static_cast<std::uint64_t>(n) > 2 * edge) {
            sizes.push_back(2);
            steps.push_back((n - kept) * from.strides[i]);
        }
        sizes.push_back(static_cast<std::uint64_t>(n) > 2 * edge ? kept : n);
        steps.push_back(from.strides[i]);
        to.numel *= static_cast<std::uint64_t>(static_cast<std::uint64_t>(n) > 2 * edge ? 2 * kept : n);
    }
    to.rank = static_cast<std::uint32_t>(sizes.size());
    sizes.insert(sizes.end(), steps.begin(), steps.end());
    to.shape = sizes.data();
    to.strides = sizes.data() + to.rank;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
