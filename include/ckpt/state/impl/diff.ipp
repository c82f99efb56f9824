// ckpt/state/impl/diff.ipp: the definitions of diff.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/diff.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/quantized.hpp>
#include <ckpt/tensor/strided.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Compares two tensors of one dtype and one shape, part by part.
class value_comparison {
  public:
    value_comparison(const tensor& a, const tensor& b, storage_readers& left, storage_readers& right) noexcept;

    /// Whether all values are equal; `max_abs_diff` then says how far apart they are.
    [[nodiscard]] result<bool> run();
    [[nodiscard]] std::optional<double> max_abs_diff() const noexcept { return largest_; }

  private:
    /// Every dimension by itself, but those of size 1.
    [[nodiscard]] static box plain_box(const tensor_data& t) noexcept;
    /// Several values share a byte: their sums are compared.
    [[nodiscard]] result<bool> by_digest();

    /// Takes one difference. A compiler may assume that there are no NaN, so a NaN is told by its bits.
    void take(double d) noexcept;
    void measure(const std::byte* left, const std::byte* right, std::uint64_t n);

    const tensor_data* a_;
    const tensor_data* b_;
    const storage_source* from_a_;
    const storage_source* from_b_;
    storage_readers& left_;
    storage_readers& right_;
    bool equal_{true};
    std::optional<double> largest_{};
};

/// Compares tensors one after another, and goes on in the compressed storages that they share.
class tensor_comparer {
  public:
    /// How two tensors differ; nothing where they are equal. The key is empty.
    [[nodiscard]] std::optional<changed_tensor> compare(const tensor& a, const tensor& b);

  private:
    /// The same of what hangs below two tensors: parts by their names, and quantizers.
    [[nodiscard]] std::optional<changed_tensor> compare_parts(const tensor& a, const tensor& b);

    storage_readers left_{};
    storage_readers right_{};
};

CKPT_DETAIL_DEF value_comparison::value_comparison(const tensor& a, const tensor& b, storage_readers& left,
                                                   storage_readers& right) noexcept
    : a_{tensor_access::data(a)},
      b_{tensor_access::data(b)},
      from_a_{tensor_access::source(a)},
      from_b_{tensor_access::source(b)},
      left_{left},
      right_{right} {}

CKPT_DETAIL_DEF result<bool> value_comparison::run() {
    for (auto usable : {check_access(a_, from_a_), check_access(b_, from_b_)})
        if (!usable) return std::move(usable).error();
    if (a_->numel == 0) return true;
    if (bits(a_->type) < 8) return by_digest();
    for (auto bounded : {check_output(*a_, *from_a_), check_output(*b_, *from_b_)})
        if (!bounded) return std::move(bounded).error();
    auto in_a = open_storage(*a_, *from_a_, true, &left_);
    auto in_b = open_storage(*b_, *from_b_, true, &right_);
    if (!in_a) return std::move(in_a).error();
    if (!in_b) return std::move(in_b).error();
    // The parts of both follow from the shape alone.
    const box whole = plain_box(*a_);
    const box other = plain_box(*b_);
    const std::size_t size = itemsize(a_->type);
    constexpr std::size_t most = unordered_part_bytes / 2; // there are two buffers
    std::vector<std::byte> left(
        (std::min)(most, (std::max)(in_a->part_size(whole, size), in_b->part_size(other, size))));
    std::vector<std::byte> right(left.size());
    auto done = for_each_part(
        whole, left.size() / size, [&](const box& part, std::uint64_t first, std::uint64_t n) -> result<void> {
            box twin = part;
            twin.offset = other.offset;
            for (std::uint32_t i = other.rank; i-- > 0; first /= other.sizes[i])
                twin.offset += first % other.sizes[i] * other.strides[i];
            for (std::uint32_t i = 0; i < part.rank; ++i) twin.strides[i] = other.strides[other.rank - part.rank + i];
            if (auto read = in_a->gather_part(part, size, left.data()); !read) return read;
            if (auto read = in_b->gather_part(twin, size, right.data()); !read) return read;
            finish_elements(a_->type, from_a_->order(a_->storage), native_order(), a_->neg, a_->conj, left.data(), n);
            finish_elements(b_->type, from_b_->order(b_->storage), native_order(), b_->neg, b_->conj, right.data(), n);
            if (std::memcmp(left.data(), right.data(), static_cast<std::size_t>(n * size)) == 0) return {};
            equal_ = false;
            measure(left.data(), right.data(), n);
            return {};
        });
    if (!done) return std::move(done).error();
    for (const storage_access* in : {&*in_a, &*in_b})
        if (auto finish = in->from.finish(); !finish) return std::move(finish).error();
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

CKPT_DETAIL_DEF void value_comparison::take(double d) noexcept {
    constexpr std::uint64_t infinity = std::uint64_t{0x7FF} << 52;
    const auto is_nan = [](double x) { return (std::bit_cast<std::uint64_t>(x) << 1) > (infinity << 1); };
    if (largest_ && is_nan(*largest_)) return;
    if (!largest_ || is_nan(d) || d > *largest_) largest_ = d;
}

CKPT_DETAIL_DEF void value_comparison::measure(const std::byte* left, const std::byte* right, std::uint64_t n) {
    const ckpt::dtype type = stored_integer(a_->type);
    const std::size_t size = itemsize(type);
    if (info(type).kind == dtype_kind::integer && size == 8) {
        for (std::uint64_t i = 0; i < n; ++i) {
            const auto x = load<std::uint64_t>(left + 8 * i, native_order());
            const auto y = load<std::uint64_t>(right + 8 * i, native_order());
            const bool less =
                type == ckpt::dtype::int64 ? static_cast<std::int64_t>(x) < static_cast<std::int64_t>(y) : x < y;
            if (x != y) take(static_cast<double>(less ? y - x : x - y));
        }
        return;
    }
    const bool complex = info(type).kind == dtype_kind::complex;
    const ckpt::dtype part = !complex                          ? type
                             : type == ckpt::dtype::complex128 ? ckpt::dtype::float64
                             : type == ckpt::dtype::complex64  ? ckpt::dtype::float32
                             : type == ckpt::dtype::complex32  ? ckpt::dtype::float16
                                                               : ckpt::dtype::bfloat16;
    if (!is_convertible(part, ckpt::dtype::float64)) return;
    for (std::uint64_t i = 0; i < n; ++i) {
        const std::byte* x = left + i * size;
        const std::byte* y = right + i * size;
        if (std::memcmp(x, y, size) == 0) continue;
        double from[2]{};
        double to[2]{};
        (void)convert(part, x, ckpt::dtype::float64, reinterpret_cast<std::byte*>(from), complex ? 2 : 1);
        (void)convert(part, y, ckpt::dtype::float64, reinterpret_cast<std::byte*>(to), complex ? 2 : 1);
        take(complex ? std::hypot(to[0] - from[0], to[1] - from[1]) : std::fabs(to[0] - from[0]));
    }
}

CKPT_DETAIL_DEF std::optional<changed_tensor> tensor_comparer::compare_parts(const tensor& a, const tensor& b) {
    const auto p = a.quantizer();
    const auto q = b.quantizer();
    const bool same = p.has_value() == q.has_value() &&
                      (!p || (p->scheme == q->scheme && p->axis == q->axis && p->zero_point == q->zero_point &&
                              std::bit_cast<std::uint64_t>(p->scale) == std::bit_cast<std::uint64_t>(q->scale)));
    if (!same || a.parts().size() != b.parts().size()) return changed_tensor{{}, difference::values, {}, {}};
    auto right = b.parts().begin();
    for (const named_part left : a.parts()) { // at most eight levels down
        if (left.name != (*right).name) return changed_tensor{{}, difference::values, {}, {}};
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
    if (a.dtype() != b.dtype()) {
        out.why = difference::dtype;
        return out;
    }
    if (!std::equal(a.shape().begin(), a.shape().end(), b.shape().begin(), b.shape().end())) {
        out.why = difference::shape;
        return out;
    }
    if (a.layout() != b.layout()) {
        out.why = difference::layout;
        return out;
    }
    if (a.layout() == layout::meta) return std::nullopt; // neither has values
    if (auto changed = compare_parts(a, b); changed || a.layout() != layout::strided) return changed;
    value_comparison values{a, b, left_, right_};
    const auto equal = values.run();
    if (equal && *equal) return std::nullopt;
    out.why = equal ? difference::values : difference::unreadable;
    out.max_abs_diff = values.max_abs_diff();
    if (!equal) out.failure = equal.error();
    return out;
}

CKPT_DETAIL_DEF std::optional<changed_tensor> compare(const tensor& a, const tensor& b) {
    return tensor_comparer{}.compare(a, b);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF state_diff diff(const state_dict& a, const state_dict& b) {
    state_diff out;
    detail::tensor_comparer tensors;
    for (const auto entry : a)
        if (!b.contains(entry.key)) out.only_a.emplace_back(entry.key);
    for (const auto entry : b) {
        if (!a.contains(entry.key)) {
            out.only_b.emplace_back(entry.key);
            continue;
        }
        const auto left = a.at(entry.key);
        auto changed =
            left ? tensors.compare(*left, entry.tensor) : changed_tensor{{}, difference::unreadable, {}, left.error()};
        if (!changed) {
            ++out.equal;
            continue;
        }
        changed->key = entry.key;
        out.changed.push_back(std::move(*changed));
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
