// ckpt/tensor/impl/statistics.ipp: the definitions of statistics.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/reader.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/pieces.hpp>
#include <ckpt/tensor/statistics.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr std::size_t most_bins = 128;

/// Makes bins twice as wide: two neighbours become one.
inline void widen_bins(value_histogram& h) {
    const std::int64_t first = h.first >> 1;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < h.counts.size(); ++i) {
        const auto to = static_cast<std::size_t>(((h.first + static_cast<std::int64_t>(i)) >> 1) - first);
        const std::uint64_t n = std::exchange(h.counts[i], 0);
        h.counts[to] += n;
        kept = to + 1;
    }
    h.counts.resize(kept);
    h.first = first;
    h.width *= 2;
}

/// The number of the bin in which a value lies; nothing beyond 2^53 bins from zero.
[[nodiscard]] inline std::optional<std::int64_t> bin_of(const value_histogram& h, double x) noexcept {
    const double at = std::floor(x / h.width);
    if (!(std::fabs(at) < 0x1p53)) return std::nullopt;
    return static_cast<std::int64_t>(at);
}

/// Makes the bins reach from `least` to `most`, which are finite.
inline void cover(value_histogram& h, double least, double most) {
    if (h.counts.empty()) {
        int exponent = 0; // bins as narrow as the largest number's digits allow
        (void)std::frexp((std::max)(std::fabs(least), std::fabs(most)), &exponent);
        h.width = std::ldexp(1.0, (std::max)(exponent - 50, -1000));
    }
    for (;; widen_bins(h)) {
        const auto low = bin_of(h, least);
        const auto high = bin_of(h, most);
        if (!low || !high) continue;
        const std::int64_t first = h.counts.empty() ? *low : (std::min)(*low, h.first);
        const std::int64_t last =
            h.counts.empty() ? *high : (std::max)(*high, h.first + static_cast<std::int64_t>(h.counts.size()) - 1);
        if (last - first >= static_cast<std::int64_t>(most_bins)) continue;
        if (!h.counts.empty())
            h.counts.insert(h.counts.begin(), static_cast<std::size_t>(h.first - first), std::uint64_t{0});
        h.first = first;
        h.counts.resize(static_cast<std::size_t>(last - first) + 1);
        return;
    }
}

/// Adds one histogram to another.
inline void join(value_histogram& to, value_histogram other) {
    if (other.counts.empty()) return;
    if (to.counts.empty()) {
        to = std::move(other);
        return;
    }
    while (to.width < other.width) widen_bins(to);
    for (;;) {
        while (other.width < to.width) widen_bins(other);
        const std::int64_t last = other.first + static_cast<std::int64_t>(other.counts.size()) - 1;
        const double width = to.width;
        cover(to, static_cast<double>(other.first) * width, static_cast<double>(last) * width);
        if (to.width == width) break;
    }
    for (std::size_t i = 0; i < other.counts.size(); ++i)
        to.counts[static_cast<std::size_t>(other.first - to.first) + i] += other.counts[i];
}

/// Sums the values of one tensor, a batch at a time.
class value_sums {
  public:
    static constexpr std::size_t batch = 4096;

    /// Adds at most `batch` values, which it may move.
    void add(std::span<double> values);
    void add_exact(ckpt::dtype type, const std::byte* in, std::size_t n) noexcept;
    [[nodiscard]] value_statistics& all() noexcept { return all_; }

  private:
    /// Moves the finite values to the front, counts the others, and returns the number of the former.
    [[nodiscard]] std::size_t keep_finite(std::span<double> values) noexcept;
    void add_moments(std::span<const double> finite, double largest) noexcept;

    value_statistics all_{};
};

CKPT_DETAIL_RARE std::size_t value_sums::keep_finite(std::span<double> values) noexcept {
    constexpr std::uint64_t infinity = std::uint64_t{0x7FF} << 53; // without the sign
    std::size_t kept = 0;
    for (const double x : values) { // by the bits: compilers may assume that there is no NaN
        const std::uint64_t magnitude = std::bit_cast<std::uint64_t>(x) << 1;
        all_.zeros += magnitude == 0;
        all_.infinities += magnitude == infinity;
        all_.nans += magnitude > infinity;
        values[kept] = x;
        kept += magnitude < infinity;
    }
    all_.count += values.size();
    return kept;
}

/// Joins means and squared distances of `n` values and of `more` others.
inline void join_moments(value_statistics& to, double n, double mean, double squares, double more) noexcept {
    if (n == 0) { // the first ones: products of zero would not be zero for the largest numbers
        to.mean = mean;
        to.squares = squares;
        return;
    }
    const double apart = mean - to.mean;
    const double share = more / (n + more);
    to.mean += apart * share;
    to.squares += squares + apart * apart * n * share;
}

CKPT_DETAIL_RARE void value_sums::add_moments(std::span<const double> finite, double largest) noexcept {
    const auto n = static_cast<double>(finite.size());
    const double before = static_cast<double>(all_.finite()) - n;
    const double scale = largest > 0x1p+1000 ? 0x1p-13 : 1; // so that a sum does not overflow
    double sum = 0;
    for (const double x : finite) sum += x * scale;
    double mean = sum / n / scale;
    double rest = 0;
    double squares = 0;
    for (const double x : finite) {
        const double apart = x - mean;
        rest += apart;
        squares += apart * apart;
    }
    mean += rest / n;
    squares -= rest / n * rest;
    join_moments(all_, before, mean, squares, n);
}

CKPT_DETAIL_RARE void value_sums::add(std::span<double> values) {
    const std::size_t n = keep_finite(values);
    if (n == 0) return;
    const std::span<const double> finite = values.first(n);
    double least = finite[0];
    double most = finite[0];
    for (const double x : finite) {
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    const bool is_first = all_.finite() == n;
    all_.min = is_first ? least : (std::min)(all_.min, least);
    all_.max = is_first ? most : (std::max)(all_.max, most);
    add_moments(finite, (std::max)(std::fabs(least), std::fabs(most)));
    value_histogram& h = all_.histogram;
    cover(h, least, most);
    const double per_width = 1 / h.width; // exact: a power of two
    for (const double x : finite)
        ++h.counts[static_cast<std::size_t>(static_cast<std::int64_t>(std::floor(x * per_width)) - h.first)];
}

CKPT_DETAIL_RARE void value_sums::add_exact(ckpt::dtype type, const std::byte* in, std::size_t n) noexcept {
    // The numbers of int64 in the order of uint64.
    const std::uint64_t sign = type == ckpt::dtype::int64 ? std::uint64_t{1} << 63 : 0;
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint64_t x = load<std::uint64_t>(in + 8 * i, native_order());
        const bool is_first = all_.count == 0 && i == 0;
        if (is_first || (x ^ sign) < (all_.min_bits ^ sign)) all_.min_bits = x;
        if (is_first || (x ^ sign) > (all_.max_bits ^ sign)) all_.max_bits = x;
    }
}

inline void add_piece(value_sums& to, const value_piece& piece) {
    double values[2 * value_sums::batch];
    const ckpt::dtype type = component_type(piece.type);
    const std::size_t parts = type == piece.type ? 1 : 2;
    const std::size_t size = itemsize(piece.type);
    for (std::size_t done = 0; done < piece.count;) {
        const std::size_t n = (std::min)(piece.count - done, value_sums::batch);
        const std::byte* const in = piece.values + done * size;
        if (type == ckpt::dtype::int64 || type == ckpt::dtype::uint64) to.add_exact(type, in, n);
        (void)convert(type, in, ckpt::dtype::float64, reinterpret_cast<std::byte*>(values), parts * n);
        if (parts == 2)
            for (std::size_t i = 0; i < n; ++i) values[i] = std::hypot(values[2 * i], values[2 * i + 1]);
        to.add({values, n});
        done += n;
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE double value_statistics::deviation() const noexcept {
    return finite() == 0 ? 0 : std::sqrt(squares / static_cast<double>(finite()));
}

CKPT_DETAIL_RARE void value_statistics::add(const value_statistics& other) {
    if (other.finite() > 0) {
        const bool is_first = finite() == 0;
        min = is_first ? other.min : (std::min)(min, other.min);
        max = is_first ? other.max : (std::max)(max, other.max);
        detail::join_moments(*this, static_cast<double>(finite()), other.mean, other.squares,
                             static_cast<double>(other.finite()));
    }
    count += other.count;
    zeros += other.zeros;
    nans += other.nans;
    infinities += other.infinities;
    detail::join(histogram, other.histogram);
}

CKPT_DETAIL_RARE result<value_statistics> statistics(const tensor& of, const progress_callback& progress) {
    const detail::tensor_data* const data = detail::tensor_access::data(of);
    const detail::storage_source* const source = detail::tensor_access::source(of);
    if (auto usable = detail::check_access(data, source); !usable) return std::move(usable).failure();
    if (info(data->type).kind == dtype_kind::opaque || data->type == dtype::float4_e2m1fn_x2 ||
        !detail::is_convertible(detail::component_type(detail::piece_type(*data)), dtype::float64))
        return error{.code = errc::conversion,
                     .detail = detail::str_cat("the elements of ", name(data->type), " are bits, and no numbers")};
    if (data->numel > 0)
        if (auto bounded = detail::check_output(*data, *source); !bounded) return std::move(bounded).failure();
    detail::value_sums sums;
    detail::progress_meter meter{progress};
    meter.expect(of.nbytes());
    meter.begin(of.nbytes());
    auto done = detail::for_each_piece(
        data, source, [&](const detail::value_piece& piece) { detail::add_piece(sums, piece); }, &meter);
    if (!done) return std::move(done).failure();
    if (!meter.finish()) return meter.stopped();
    return std::move(sums.all());
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
