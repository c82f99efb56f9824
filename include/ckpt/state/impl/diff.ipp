// ckpt/state/impl/diff.ipp: the definitions of diff.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/crew.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/state/diff.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/quantized.hpp>
#include <ckpt/tensor/stored_run.hpp>
#include <ckpt/tensor/strided.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Compares two tensors of one shape, whose dtypes are the same or both floating.
class value_comparison {
  public:
    value_comparison(const tensor& a, const tensor& b, const diff_tolerance* within, storage_readers& left,
                     storage_readers& right) noexcept;

    /// Whether all values are equal, or near; `distance` then says how far apart they are.
    [[nodiscard]] result<bool> run();
    [[nodiscard]] std::optional<double> max_abs_diff() const noexcept { return largest_; }
    /// Nothing where values are bits.
    [[nodiscard]] std::optional<value_distance> distance() const noexcept {
        return measured_ ? std::optional(distance_) : std::nullopt;
    }

  private:
    /// Every dimension by itself, but those of size 1.
    [[nodiscard]] static box plain_box(const tensor_data& t) noexcept;
    /// Several values share a byte: their sums are compared.
    [[nodiscard]] result<bool> by_digest();

    /// Two values as numbers, and their distance. Compilers may assume that there are no NaN, so that it is told by its
    /// bits.
    void take(double x, double y, double apart) noexcept;
    void measure(const std::byte* left, const std::byte* right, std::uint64_t n);
    void measure_integers(const std::byte* left, const std::byte* right, std::uint64_t n);

    const tensor_data* a_;
    const tensor_data* b_;
    const storage_source* from_a_;
    const storage_source* from_b_;
    const diff_tolerance* within_;
    storage_readers& left_;
    storage_readers& right_;
    bool equal_{true};
    bool measured_{false};
    std::optional<double> largest_{};
    value_distance distance_{};
};

/// Compares tensors one after another, and goes on in the compressed storages that they share.
class tensor_comparer {
  public:
    explicit tensor_comparer(const diff_tolerance* within, progress_meter* meter = nullptr) noexcept : within_{within} {
        left_.meter = right_.meter = meter;
    }

    /// How two tensors differ; nothing where they are equal, or near. The key is empty.
    [[nodiscard]] std::optional<changed_tensor> compare(const tensor& a, const tensor& b);

  private:
    /// The same of what hangs below two tensors: parts by their names, and quantizers.
    [[nodiscard]] std::optional<changed_tensor> compare_parts(const tensor& a, const tensor& b);

    const diff_tolerance* within_;
    storage_readers left_{};
    storage_readers right_{};
};

CKPT_DETAIL_DEF value_comparison::value_comparison(const tensor& a, const tensor& b, const diff_tolerance* within,
                                                   storage_readers& left, storage_readers& right) noexcept
    : a_{tensor_access::data(a)},
      b_{tensor_access::data(b)},
      from_a_{tensor_access::source(a)},
      from_b_{tensor_access::source(b)},
      within_{within},
      left_{left},
      right_{right} {}

CKPT_DETAIL_DEF result<bool> value_comparison::run() {
    for (auto usable : {check_access(a_, from_a_), check_access(b_, from_b_)})
        if (!usable) return std::move(usable).failure();
    if (a_->numel == 0) return true;
    if (bits(a_->type) < 8) return by_digest();
    for (auto bounded : {check_output(*a_, *from_a_), check_output(*b_, *from_b_)})
        if (!bounded) return std::move(bounded).failure();
    auto in_a = open_storage(*a_, *from_a_, true, &left_);
    auto in_b = open_storage(*b_, *from_b_, true, &right_);
    if (!in_a) return std::move(in_a).failure();
    if (!in_b) return std::move(in_b).failure();
    // The parts of both follow from the shape alone.
    const box whole = plain_box(*a_);
    const box other = plain_box(*b_);
    const std::size_t size_a = itemsize(a_->type);
    const std::size_t size_b = itemsize(b_->type);
    const bool same_type = a_->type == b_->type;
    const std::size_t bound = unordered_part_bytes / 2 / (std::max)(size_a, size_b); // there are two buffers
    const std::size_t most =
        (std::min)(bound, (std::max)(in_a->part_size(whole, size_a) / size_a, in_b->part_size(other, size_b) / size_b));
    std::vector<std::byte> left(most * size_a);
    std::vector<std::byte> right(most * size_b);
    distance_.values = a_->numel;
    auto done = for_each_part(whole, most, [&](const box& part, std::uint64_t first, std::uint64_t n) -> result<void> {
        box twin = part;
        twin.offset = other.offset;
        for (std::uint32_t i = other.rank; i-- > 0; first /= other.sizes[i])
            twin.offset += first % other.sizes[i] * other.strides[i];
        for (std::uint32_t i = 0; i < part.rank; ++i) twin.strides[i] = other.strides[other.rank - part.rank + i];
        if (auto read = in_a->gather_part(part, size_a, left.data()); !read) return read;
        if (auto read = in_b->gather_part(twin, size_b, right.data()); !read) return read;
        finish_elements(a_->type, from_a_->order(a_->storage), native_order(), a_->neg, a_->conj, left.data(), n);
        finish_elements(b_->type, from_b_->order(b_->storage), native_order(), b_->neg, b_->conj, right.data(), n);
        if (same_type && std::memcmp(left.data(), right.data(), static_cast<std::size_t>(n * size_a)) == 0) return {};
        if (within_ == nullptr) equal_ = false;
        measure(left.data(), right.data(), n);
        return {};
    });
    if (!done) return std::move(done).failure();
    for (const storage_access* in : {&*in_a, &*in_b})
        if (auto finish = in->from.finish(); !finish) return std::move(finish).failure();
    return equal_;
}

CKPT_DETAIL_DEF box value_comparison::plain_box(const tensor_data& t) noexcept {
    box out;
    out.offset = t.storage_offset;
    for (std::uint32_t i = 0; i < t.rank; ++i) {
        if (t.shape[i] == 1) continue;
        out.sizes[out.rank] = static_cast<std::uint64_t>(t.shape[i]);
        out.strides[out.rank++] = static_cast<std::uint64_t>(t.strides[i]);
    }
    return out;
}

CKPT_DETAIL_DEF result<bool> value_comparison::by_digest() {
    const auto left = digest_tensor(a_, from_a_, &left_);
    const auto right = digest_tensor(b_, from_b_, &right_);
    if (!left) return left.error();
    if (!right) return right.error();
    return *left == *right;
}

CKPT_DETAIL_DEF void value_comparison::take(double x, double y, double apart) noexcept {
    constexpr std::uint64_t infinity = std::uint64_t{0x7FF} << 53; // without the sign
    const auto magnitude = [](double d) { return std::bit_cast<std::uint64_t>(d) << 1; };
    const bool x_is_nan = magnitude(x) > infinity;
    const bool y_is_nan = magnitude(y) > infinity;
    if (x_is_nan || y_is_nan) {
        largest_ = x_is_nan ? x : y;
        distance_.nans += x_is_nan != y_is_nan;
        equal_ = equal_ && x_is_nan && y_is_nan;
        return;
    }
    const bool is_same = x == y && !(apart > 0); // two infinities have no difference
    if (is_same) apart = 0;
    distance_.different += !is_same;
    const bool is_finite = magnitude(x) < infinity && magnitude(y) < infinity;
    if (!is_same && (!is_finite || apart > distance_.max_abs)) distance_.max_abs = apart;
    const double larger = (std::max)(std::fabs(x), std::fabs(y));
    if (!is_same && is_finite && apart / larger > distance_.max_rel) distance_.max_rel = apart / larger;
    if (within_ != nullptr && !is_same && !(is_finite && apart <= within_->atol + within_->rtol * std::fabs(y)))
        equal_ = false;
    if (distance_.nans == 0 && !(largest_ && magnitude(*largest_) > infinity)) largest_ = distance_.max_abs;
}

CKPT_DETAIL_DEF void value_comparison::measure_integers(const std::byte* left, const std::byte* right,
                                                        std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto x = load<std::uint64_t>(left + 8 * i, native_order());
        const auto y = load<std::uint64_t>(right + 8 * i, native_order());
        if (x == y) continue;
        const bool has_sign = a_->type == ckpt::dtype::int64;
        const auto number = [has_sign](std::uint64_t bits) {
            return has_sign ? static_cast<double>(static_cast<std::int64_t>(bits)) : static_cast<double>(bits);
        };
        const bool less = has_sign ? static_cast<std::int64_t>(x) < static_cast<std::int64_t>(y) : x < y;
        take(number(x), number(y), static_cast<double>(less ? y - x : x - y));
    }
}

CKPT_DETAIL_DEF void value_comparison::measure(const std::byte* left, const std::byte* right, std::uint64_t n) {
    const ckpt::dtype from[2]{stored_integer(a_->type), stored_integer(b_->type)};
    if (info(from[0]).kind == dtype_kind::integer && itemsize(from[0]) == 8) {
        measured_ = true;
        return measure_integers(left, right, n);
    }
    const ckpt::dtype parts[2]{component_type(from[0]), component_type(from[1])};
    if (!is_convertible(parts[0], ckpt::dtype::float64) || !is_convertible(parts[1], ckpt::dtype::float64)) {
        equal_ = false; // bits: what differs is not near
        return;
    }
    measured_ = true;
    const bool complex = parts[0] != from[0];
    const bool same_type = a_->type == b_->type;
    const std::size_t size_a = itemsize(from[0]);
    const std::size_t size_b = itemsize(from[1]);
    constexpr std::uint64_t batch = 256; // conversions of many values cost less each
    const std::size_t numbers = complex ? 2 : 1;
    double a[2 * batch];
    double b[2 * batch];
    for (std::uint64_t first = 0; first < n; first += batch) {
        const std::byte* const x = left + first * size_a;
        const std::byte* const y = right + first * size_b;
        const auto some = static_cast<std::size_t>((std::min)(n - first, batch));
        if (same_type && std::memcmp(x, y, some * size_a) == 0) continue;
        (void)convert(parts[0], x, ckpt::dtype::float64, reinterpret_cast<std::byte*>(a), numbers * some);
        (void)convert(parts[1], y, ckpt::dtype::float64, reinterpret_cast<std::byte*>(b), numbers * some);
        for (std::size_t i = 0; i < some; ++i) {
            if (same_type && std::memcmp(x + i * size_a, y + i * size_b, size_a) == 0) continue;
            if (!complex) {
                take(a[i], b[i], std::fabs(b[i] - a[i]));
                continue;
            }
            const double* const p = a + 2 * i;
            const double* const q = b + 2 * i;
            take(std::hypot(p[0], p[1]), std::hypot(q[0], q[1]), std::hypot(q[0] - p[0], q[1] - p[1]));
        }
    }
}

CKPT_DETAIL_DEF std::optional<changed_tensor> tensor_comparer::compare_parts(const tensor& a, const tensor& b) {
    const auto p = a.quantizer();
    const auto q = b.quantizer();
    const bool same = p.has_value() == q.has_value() &&
                      (!p || (p->scheme == q->scheme && p->axis == q->axis && p->zero_point == q->zero_point &&
                              std::bit_cast<std::uint64_t>(p->scale) == std::bit_cast<std::uint64_t>(q->scale)));
    if (!same || a.parts().size() != b.parts().size()) return changed_tensor{{}, difference::values, {}, {}, {}};
    auto right = b.parts().begin();
    for (const named_part left : a.parts()) { // at most eight levels down
        if (left.name != (*right).name) return changed_tensor{{}, difference::values, {}, {}, {}};
        if (auto changed = compare(left.tensor, (*right).tensor)) return changed;
        ++right;
    }
    return std::nullopt;
}

CKPT_DETAIL_DEF std::optional<changed_tensor> tensor_comparer::compare(const tensor& a, const tensor& b) {
    changed_tensor out;
    for (const tensor& t : {a, b})
        if (t.refusal() != nullptr) {
            out.why = difference::unreadable;
            out.failure = *t.refusal();
            return out;
        }
    const bool same_shape = std::equal(a.shape().begin(), a.shape().end(), b.shape().begin(), b.shape().end());
    const bool same_type = a.dtype() == b.dtype();
    const auto is_floating = [](const tensor& t) {
        return info(t.dtype()).kind == dtype_kind::floating && is_convertible(t.dtype(), ckpt::dtype::float64) &&
               t.layout() == layout::strided;
    };
    if (!same_type && !(same_shape && is_floating(a) && is_floating(b))) {
        out.why = difference::dtype;
        return out;
    }
    if (!same_shape) {
        out.why = difference::shape;
        return out;
    }
    if (a.layout() != b.layout()) {
        out.why = difference::layout;
        return out;
    }
    if (a.layout() == layout::meta) return std::nullopt; // neither has values
    if (auto changed = compare_parts(a, b); changed || a.layout() != layout::strided) return changed;
    value_comparison values{a, b, within_, left_, right_};
    const auto equal = values.run();
    if (equal && *equal && (same_type || within_ != nullptr)) return std::nullopt;
    out.why = !equal ? difference::unreadable : same_type ? difference::values : difference::dtype;
    if (same_type) out.max_abs_diff = values.max_abs_diff();
    out.distance = values.distance();
    if (!equal) out.failure = equal.error();
    return out;
}

CKPT_DETAIL_DEF std::optional<changed_tensor> compare(const tensor& a, const tensor& b, const diff_tolerance* within) {
    return tensor_comparer{within}.compare(a, b);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The key under which a state_dict has what another calls `key`: the same one, or the one that was written for it. A
/// safetensors file names that in its metadata (see write/safetensors.hpp). Nothing where there is none.
inline std::optional<std::string_view> key_in(const state_dict& weights, std::string_view key) {
    if (weights.contains(key)) return key;
    const auto metadata = weights.root().state().at("__metadata__");
    const auto named = metadata ? metadata->at(key) : metadata;
    const auto other = named ? named->as_string() : result<std::string_view>{std::string_view{}};
    return named && other && weights.contains(*other) ? std::optional{*other} : std::nullopt;
}

/// Two tensors that are compared; one of them may be refused.
struct compared_pair {
    std::string_view key{};
    result<tensor> a;
    result<tensor> b;
    stored_run left{}; // of both, or of none
    stored_run right{};
    bool differs{true}; // in its bytes, as far as is known

    /// What it adds to the progress, before and after its bytes were compared.
    [[nodiscard]] std::uint64_t bytes() const { return (a ? a->nbytes() : 0) + (b ? b->nbytes() : 0); }
    [[nodiscard]] std::uint64_t bytes_left() const { return left.source != nullptr ? left.length : bytes(); }
};

/// Compares two state_dicts, some tensors at a time: first by their bytes, in all threads, then those that differ by
/// their values.
class state_comparison {
  public:
    explicit state_comparison(const diff_options& options)
        : options_{options}, meter_{options.progress}, tensors_{options.within ? &*options.within : nullptr, &meter_} {}

    [[nodiscard]] state_diff run(const state_dict& a, const state_dict& b);

  private:
    static constexpr std::uint64_t most_bytes = std::uint64_t{1} << 29; // of both sides, at a time
    static constexpr std::size_t most_tensors = 4096;

    /// The pairs in the order of `b`, then those of keys that only `a` has and `b` names; other keys go to `out_`.
    void find_pairs(const state_dict& a, const state_dict& b);
    void compare_bytes(std::span<compared_pair> pairs);
    void compare_values(const compared_pair& p);

    const diff_options& options_;
    progress_meter meter_;
    tensor_comparer tensors_;
    std::vector<compared_pair> pairs_{};
    state_diff out_{};
};

CKPT_DETAIL_DEF void state_comparison::find_pairs(const state_dict& a, const state_dict& b) {
    for (const auto entry : b) {
        const auto other = key_in(a, entry.key);
        if (!other) out_.only_b.emplace_back(entry.key);
        else pairs_.push_back({entry.key, a.at(*other), entry.tensor, {}, {}, true});
    }
    for (const auto entry : a) {
        if (b.contains(entry.key)) continue;
        const auto other = key_in(b, entry.key);
        if (!other) out_.only_a.emplace_back(entry.key);
        else pairs_.push_back({entry.key, entry.tensor, b.at(*other), {}, {}, true});
    }
}

CKPT_DETAIL_DEF state_diff state_comparison::run(const state_dict& a, const state_dict& b) {
    find_pairs(a, b);
    for (const compared_pair& p : pairs_) meter_.expect(p.bytes());
    for (std::size_t first = 0; first < pairs_.size();) {
        std::size_t last = first;
        for (std::uint64_t bytes = 0; last < pairs_.size() && last - first < most_tensors && bytes < most_bytes; ++last)
            bytes += pairs_[last].bytes();
        const std::span<compared_pair> some{pairs_.data() + first, last - first};
        if (!meter_.is_stopped()) compare_bytes(some);
        for (const compared_pair& p : some) compare_values(p);
        first = last;
    }
    return std::move(out_);
}

CKPT_DETAIL_DEF void state_comparison::compare_bytes(std::span<compared_pair> pairs) {
    plain_list<crew_piece> pieces;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        compared_pair& p = pairs[i];
        if (!p.a || !p.b || p.a->dtype() != p.b->dtype() || tensor_access::data(*p.a)->extra != nullptr ||
            tensor_access::data(*p.b)->extra != nullptr ||
            !std::equal(p.a->shape().begin(), p.a->shape().end(), p.b->shape().begin(), p.b->shape().end()))
            continue;
        p.left = find_stored_run(tensor_access::data(*p.a), tensor_access::source(*p.a));
        p.right = find_stored_run(tensor_access::data(*p.b), tensor_access::source(*p.b));
        if (p.left.source == nullptr || p.right.source == nullptr) {
            p.left = p.right = {};
            continue;
        }
        p.differs = false;
        add_pieces(pieces, static_cast<std::uint32_t>(i), p.left.length);
        sum += p.left.length;
    }
    meter_.begin(sum); // half of their bytes: the others are for their values, where they differ
    work_through({pieces.data(), pieces.size()}, options_.workers, meter_,
                 [pairs](crew_piece& piece, std::span<std::byte> buffer) {
                     const compared_pair& p = pairs[piece.run];
                     const std::size_t half = buffer.size() / 2;
                     for (std::uint64_t at = 0; at < piece.length; at += half) {
                         const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(piece.length - at, half));
                         const auto left = p.left.read(piece.offset + at, buffer.first(n));
                         const auto right = p.right.read(piece.offset + at, buffer.subspan(half, n));
                         if (left.empty() || right.empty() || std::memcmp(left.data(), right.data(), n) != 0) return;
                     }
                     piece.failed = false;
                 });
    if (!meter_.is_stopped()) (void)meter_.finish();
    for (const crew_piece& piece : pieces) pairs[piece.run].differs |= piece.failed;
}

CKPT_DETAIL_DEF void state_comparison::compare_values(const compared_pair& p) {
    const bool readable = p.a && p.b;
    std::optional<changed_tensor> changed;
    const bool going = !meter_.is_stopped();
    if (going) meter_.begin(p.bytes_left());
    if (!readable) changed = changed_tensor{{}, difference::unreadable, {}, {}, (p.a ? p.b : p.a).error()};
    else if (going && p.differs) changed = tensors_.compare(*p.a, *p.b);
    if (meter_.is_stopped() && p.differs && readable) {
        out_.not_compared.emplace_back(p.key);
        return;
    }
    (void)meter_.finish();
    if (!changed) {
        ++out_.equal;
        return;
    }
    changed->key = p.key;
    out_.changed.push_back(std::move(*changed));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF state_diff diff(const state_dict& a, const state_dict& b, const diff_options& options) {
    return detail::state_comparison{options}.run(a, b);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
