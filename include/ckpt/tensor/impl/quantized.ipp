// ckpt/tensor/impl/quantized.ipp: the definitions of quantized.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/reader.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/quantized.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Widens `n` contiguous quantised elements to 32 bits.
inline void load_integers(ckpt::dtype type, const std::byte* in, std::size_t n, std::int32_t* out) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
        if (type == ckpt::dtype::qint32)
            out[i] = static_cast<std::int32_t>(load<std::uint32_t>(in + 4 * i, native_order()));
        else if (type == ckpt::dtype::qint8) out[i] = static_cast<std::int8_t>(std::to_integer<std::uint8_t>(in[i]));
        else out[i] = std::to_integer<std::int32_t>(in[i]);
    }
}

/// Converts quantised integers to numbers, in row-major order.
class dequantizer {
  public:
    [[nodiscard]] static result<dequantizer> make(const tensor_data& data, const storage_source* source);

    /// Converts the next `n` elements, with torch's arithmetic. Per tensor, the difference is of integers. Per channel,
    /// it is of float32, and the product is of float64, or of float32 where the parameters are floating.
    void next(const std::int32_t* in, std::size_t n, float* out) noexcept;

  private:
    qscheme scheme_{};
    float scale_{};
    std::uint32_t zero_point_{};
    std::vector<double> scales_{};
    std::vector<float> zeros_{};
    std::uint64_t inner_{1}; // elements for each index of the axis
    std::uint64_t at_{0};
    std::size_t channel_{0};
};

CKPT_DETAIL_RARE result<dequantizer> dequantizer::make(const tensor_data& data, const storage_source* source) {
    dequantizer out;
    const tensor_extra& extra = *data.extra;
    out.scheme_ = extra.scheme;
    out.scale_ = static_cast<float>(extra.scale);
    out.zero_point_ = static_cast<std::uint32_t>(static_cast<std::int32_t>(extra.zero_point));
    if (!is_per_channel(extra.scheme)) return out;
    for (std::uint32_t i = extra.axis + 1; i < data.rank; ++i) out.inner_ *= static_cast<std::uint64_t>(data.shape[i]);
    const auto channels = static_cast<std::size_t>(data.shape[extra.axis]);
    out.scales_.resize(channels);
    out.zeros_.resize(channels);
    if (extra.scheme != qscheme::per_channel_affine_float_qparams) {
        std::vector<std::int64_t> integers(channels);
        if (auto read = copy_tensor(&extra.first[1].data, source, ckpt::dtype::int64, false,
                                    reinterpret_cast<std::byte*>(integers.data()), channels);
            !read)
            return std::move(read).error();
        for (std::size_t i = 0; i < channels; ++i) out.zeros_[i] = static_cast<float>(integers[i]);
    } else if (auto read = copy_tensor(&extra.first[1].data, source, ckpt::dtype::float32, false,
                                       reinterpret_cast<std::byte*>(out.zeros_.data()), channels);
               !read) {
        return std::move(read).error();
    }
    if (auto read = copy_tensor(&extra.first[0].data, source, ckpt::dtype::float64, false,
                                reinterpret_cast<std::byte*>(out.scales_.data()), channels);
        !read)
        return std::move(read).error();
    return out;
}

CKPT_DETAIL_RARE void dequantizer::next(const std::int32_t* in, std::size_t n, float* out) noexcept {
    if (!is_per_channel(scheme_)) {
        for (std::size_t i = 0; i < n; ++i)
            out[i] =
                static_cast<float>(static_cast<std::int32_t>(static_cast<std::uint32_t>(in[i]) - zero_point_)) * scale_;
        return;
    }
    for (std::size_t i = 0; i < n; ++i) {
        const float distance = static_cast<float>(in[i]) - zeros_[channel_];
        if (scheme_ == qscheme::per_channel_affine_float_qparams)
            out[i] = distance * static_cast<float>(scales_[channel_]);
        else out[i] = static_cast<float>(static_cast<double>(distance) * scales_[channel_]);
        if (++at_ < inner_) continue;
        at_ = 0;
        if (++channel_ == scales_.size()) channel_ = 0;
    }
}

inline result<void> copy_dequantized(const tensor_data* handle, const storage_source* source, std::span<float> out) {
    if (auto usable = check_access(handle, source); !usable) return usable;
    const tensor_data& data = *handle;
    if (!is_quantised(data))
        return error{.code = errc::dtype_mismatch,
                     .detail = "the tensor is " + std::string(name(data.type)) + ", not quantised",
                     .hint = "copy_to and copy_as give its values"};
    if (out.size() != data.numel)
        return error{.code = errc::size_mismatch,
                     .detail = "the tensor has " + decimal(data.numel) + " elements, the destination " +
                               decimal(std::uint64_t{out.size()})};
    if (data.numel == 0) return {};
    const bool packs = bits(data.type) < 8;
    if (packs && !is_contiguous(data)) return packed_error(data.type);
    auto numbers = dequantizer::make(data, source);
    if (!numbers) return std::move(numbers).error();
    std::vector<std::int32_t> integers;
    const auto take = [&](const std::byte* in, ckpt::dtype type, std::uint64_t first, std::uint64_t n) {
        const auto count = static_cast<std::size_t>(n);
        integers.resize((std::max)(integers.size(), count));
        load_integers(type, in, count, integers.data());
        numbers->next(integers.data(), count, out.data() + static_cast<std::size_t>(first));
    };
    auto access = open_storage(data, *source, true);
    if (!access) return std::move(access).error();
    if (packs) {
        auto done =
            unpack_parts(data, *access, part_bytes / 4, [&](const std::byte* in, std::uint64_t first, std::uint64_t n) {
                take(in, ckpt::dtype::quint8, first, n);
            });
        return done ? access->from.finish() : done;
    }
    box whole;
    if (!make_box(data.sizes(), data.steps(), data.storage_offset, whole))
        return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    const std::size_t size = itemsize(data.type);
    std::vector<std::byte> buffer(access->part_size(whole, size));
    auto done = for_each_part(whole, buffer.size() / size,
                              [&](const box& part, std::uint64_t first, std::uint64_t n) -> result<void> {
                                  if (auto read = access->gather_part(part, size, buffer.data()); !read) return read;
                                  finish_elements(data.type, source->order(data.storage), native_order(), data.neg,
                                                  data.conj, buffer.data(), n);
                                  take(buffer.data(), data.type, first, n);
                                  return {};
                              });
    return done ? access->from.finish() : done;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE result<void> copy_dequantized(const tensor& from, std::span<float> out) {
    return detail::copy_dequantized(detail::tensor_access::data(from), detail::tensor_access::source(from), out);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
