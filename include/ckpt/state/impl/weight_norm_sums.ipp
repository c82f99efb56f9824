// ckpt/state/impl/weight_norm_sums.ipp: the definitions of weight_norm_sums.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/weight_norm_sums.hpp>
#include <ckpt/tensor/convert.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A value that went through memory: so it is rounded to its type, and no compiler contracts or reorders what it is
/// part of.
template <class T> [[nodiscard]] inline T stored(T x) noexcept {
    volatile T kept = x;
    return kept;
}
template <class T> [[nodiscard]] inline T add_square(T sum, T x) noexcept { return stored(sum + stored(x * x)); }
template <class T> [[nodiscard]] inline T fused_square(T sum, T x) noexcept { return std::fma(x, x, sum); }

/// The square root and the quotient of floats are those of doubles, rounded.
template <class T> [[nodiscard]] inline T root_of(T sum) noexcept {
    return static_cast<T>(std::sqrt(static_cast<double>(sum)));
}
template <class T> [[nodiscard]] inline T quotient(T g, T norm) noexcept {
    return static_cast<T>(static_cast<double>(g) / static_cast<double>(norm));
}

/// `x` as an element of a type of 16 bits, and back.
[[nodiscard]] inline float rounded_to(dtype type, float x) noexcept {
    std::array<std::byte, 2> element{};
    (void)convert(dtype::float32, reinterpret_cast<const std::byte*>(&x), type, element.data(), 1);
    (void)convert(type, element.data(), dtype::float32, reinterpret_cast<std::byte*>(&x), 1);
    return x;
}

/// The sum of the squares of one row, which comes in pieces: all but the last are multiples of 16 elements.
template <class T> class row_sum {
  public:
    /// `fused`: the kernel of weight normalisation itself, for the first dimension; else a norm over the last
    /// dimension, as `Tensor.norm` has it.
    row_sum(bool fused, dtype type) noexcept : fused_{fused}, type_{type} {}

    void add(std::span<const T> x) noexcept {
        count_ += x.size();
        if (fused_) {
            const std::size_t lanes = is_small() ? 2 * width : width;
            for (std::size_t i = 0; i < x.size(); ++i) sums_[i % lanes] = add_square(sums_[i % lanes], x[i]);
            return;
        }
        const std::size_t group = type_ == dtype::float16 ? 1 : type_ == dtype::bfloat16 ? 2 * width : width;
        const std::size_t whole = x.size() - x.size() % group;
        const std::size_t lanes = type_ == dtype::float16 ? 1 : width;
        for (std::size_t i = 0; i < whole; ++i) sums_[i % lanes] = add_square(sums_[i % lanes], x[i]);
        rest_ = x.subspan(whole);
        finish_rest();
    }
    [[nodiscard]] T total() const noexcept { return fused_ ? fused_total() : total_; }

  private:
    static constexpr std::size_t width = std::is_same_v<T, float> ? 8 : 4; // elements of a vector of AVX2

    [[nodiscard]] bool is_small() const noexcept { return itemsize(type_) == 2; }
    [[nodiscard]] T in_order() const noexcept {
        T out = sums_[0];
        for (std::size_t i = 1; i < width; ++i) out = stored(out + sums_[i]);
        return out;
    }
    /// What the lanes have, one after another, then the elements behind the last whole group.
    void finish_rest() noexcept {
        total_ = in_order();
        const std::size_t plain = is_small() ? rest_.size() : rest_.size() - rest_.size() % 4;
        for (std::size_t i = 0; i < rest_.size(); ++i)
            total_ = i < plain ? add_square(total_, rest_[i]) : fused_square(total_, rest_[i]);
    }
    [[nodiscard]] T fused_total() const noexcept {
        row_sum lanes = *this;
        if (is_small())
            for (std::size_t i = 0; i < width; ++i) lanes.sums_[i] = stored(sums_[i] + sums_[i + width]);
        if (std::is_same_v<T, double> || count_ < (is_small() ? 2 * width : width)) return lanes.in_order();
        for (std::size_t half = width / 2; half > 0; half /= 2)
            for (std::size_t i = 0; i < half; ++i) lanes.sums_[i] = stored(lanes.sums_[i] + lanes.sums_[i + half]);
        return lanes.sums_[0];
    }

    bool fused_;
    dtype type_;
    std::array<T, 16> sums_{};
    std::uint64_t count_{0};
    std::span<const T> rest_{};
    T total_{0};
};

/// Reads v for its norms.
template <class T> class norm_reader {
  public:
    norm_reader(gather_plan& plan, std::uint32_t v, storage_readers& readers, progress_meter& meter)
        : plan_{plan}, v_{v}, readers_{readers}, meter_{meter} {}

    /// The norm of each of `count` rows.
    [[nodiscard]] result<void> rows(bool fused, std::uint64_t count, plain_list<T>& norms) {
        const dtype type = plan_.node(v_).type;
        const std::uint64_t length = plan_.node(v_).numel / count;
        const std::uint64_t at_once = (std::max)(most / length, std::uint64_t{1}); // rows of a piece, or one in pieces
        for (std::uint64_t row = 0; row < count; row += at_once) {
            const std::uint64_t all = length * (std::min)(at_once, count - row);
            row_sum<T> sum{fused, type};
            for (std::uint64_t done = 0; done < all; done += most) {
                if (auto read = load(row * length + done, (std::min)(most, all - done)); !read) return read;
                const auto step = static_cast<std::size_t>((std::min)(length, std::uint64_t{values_.size()}));
                for (std::size_t at = 0; at < values_.size(); at += step) {
                    sum.add(std::span<const T>{values_}.subspan(at, step));
                    if (done + step != length && length > most) continue; // the row goes on in the next piece
                    norms.push_back(root_of(sum.total()));
                    sum = row_sum<T>{fused, type};
                }
            }
        }
        return {};
    }
    /// The norm of each of `count` columns, summed row by row.
    [[nodiscard]] result<void> columns(std::uint64_t count, plain_list<T>& norms) {
        for (std::uint64_t i = 0; i < count; ++i) norms.push_back(0);
        const std::uint64_t numel = plan_.node(v_).numel;
        for (std::uint64_t done = 0; done < numel; done += most) {
            if (auto read = load(done, (std::min)(most, numel - done)); !read) return read;
            std::size_t column = static_cast<std::size_t>(done % count);
            for (const T x : values_) {
                norms[column] = fused_square(norms[column], x);
                if (++column == count) column = 0;
            }
        }
        for (T& sum : norms) sum = root_of(sum);
        return {};
    }
    /// Elements of any node, as `T`.
    [[nodiscard]] result<void> load(std::uint32_t node, std::uint64_t first, std::uint64_t n, std::vector<T>& to) {
        const dtype type = plan_.node(node).type;
        bytes_.resize(static_cast<std::size_t>(n) * itemsize(type));
        if (auto read = plan_.read(node, first, n, bytes_.data(), readers_); !read) return read;
        to.resize(static_cast<std::size_t>(n));
        (void)convert(type, bytes_.data(), std::is_same_v<T, float> ? dtype::float32 : dtype::float64,
                      reinterpret_cast<std::byte*>(to.data()), n);
        return {};
    }

  private:
    static constexpr std::uint64_t most = std::uint64_t{1} << 16; // elements of a piece, a multiple of 16

    [[nodiscard]] result<void> load(std::uint64_t first, std::uint64_t n) {
        if (auto read = load(v_, first, n, values_); !read) return read;
        return meter_.add(bytes_.size()) ? result<void>{} : result<void>{meter_.stopped()};
    }

    gather_plan& plan_;
    std::uint32_t v_;
    storage_readers& readers_;
    progress_meter& meter_;
    std::vector<std::byte> bytes_{};
    std::vector<T> values_{};
};

template <class T>
[[nodiscard]] inline result<plain_list<double>> factors_of(gather_plan& plan, std::uint32_t v, std::uint32_t g,
                                                           std::uint32_t dimension, storage_readers& readers,
                                                           progress_meter& meter) {
    const gather_node of = plan.node(v);
    const bool is_first = dimension == 0, is_last = dimension + 1 == of.rank;
    std::uint32_t source = v;
    if (!is_first && !is_last && dimension != all_dimensions) { // torch swaps it with the first one
        std::vector<std::int64_t> order;
        for (std::uint32_t d = 0; d < of.rank; ++d) order.push_back(d == 0 ? dimension : d == dimension ? 0 : d);
        source = plan.permute(v, order);
    }
    norm_reader<T> reader{plan, source, readers, meter};
    plain_list<T> norms;
    const std::uint64_t slices = plan.node(g).numel;
    auto read = is_last && !is_first ? reader.columns(slices, norms) : reader.rows(is_first, slices, norms);
    if (!read) return std::move(read).failure();
    std::vector<T> lengths;
    if (auto loaded = reader.load(g, 0, slices, lengths); !loaded) return std::move(loaded).failure();
    const bool rounds = !is_first && !is_last && itemsize(of.type) == 2; // each operation is one of the small type
    plain_list<double> out;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        if constexpr (std::is_same_v<T, float>)
            if (rounds) {
                out.push_back(
                    static_cast<double>(rounded_to(of.type, quotient(lengths[i], rounded_to(of.type, norms[i])))));
                continue;
            }
        out.push_back(static_cast<double>(quotient(lengths[i], norms[i])));
    }
    return out;
}

CKPT_DETAIL_RARE result<plain_list<double>> weight_norm_factors(gather_plan& plan, std::uint32_t v, std::uint32_t g,
                                                                std::uint32_t dimension, storage_readers& readers,
                                                                progress_meter& meter) {
    return plan.node(v).type == dtype::float64 ? factors_of<double>(plan, v, g, dimension, readers, meter)
                                               : factors_of<float>(plan, v, g, dimension, readers, meter);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
