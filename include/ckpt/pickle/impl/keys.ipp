// ckpt/pickle/impl/keys.ipp: the definitions of keys.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/pickle/keys.hpp>
#include <ckpt/pickle/names.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF errc key_table::unique(container& c, std::uint32_t stride) {
    const std::uint32_t n = c.count / stride;
    spent_ = false;
    if (!charge(n)) return errc::limit;
    for (std::uint32_t i = 0; i < n; ++i) {
        const std::uint32_t key = c.data[std::size_t{i} * stride];
        if (graph_.nodes[key].kind != node_kind::string && !hashable(key))
            return spent_ ? errc::limit : errc::unhashable_key;
    }
    if (n < 2) return errc::none;
    kept_ = 0;
    if (n <= 8) {
        for (std::uint32_t i = 0; i < n && !spent_; ++i) place(c, stride, i, find_short(c, stride, i));
    } else {
        slots_.resize(index_table::slots_for(n));
        table_ = {slots_, n};
        for (std::uint32_t i = 0; i < n && !spent_; ++i) {
            const std::uint64_t h = hash(c.data[std::size_t{i} * stride]);
            const std::uint32_t found = find_hashed(c, stride, i, h);
            if (crowded_) return unique_sorted(c, stride, i, n) ? errc::none : errc::limit;
            if (found == none && kept_ == i) ++kept_;
            else place(c, stride, i, found);
        }
    }
    c.count = kept_ * stride;
    return spent_ ? errc::limit : errc::none;
}

CKPT_DETAIL_RARE errc key_table::count(container& c, std::vector<std::uint32_t>& times) {
    times.assign(c.count, 1);
    times_ = &times;
    const errc failed = unique(c, 1);
    times_ = nullptr;
    times.resize(c.count);
    return failed;
}

CKPT_DETAIL_DEF bool key_table::hashable(std::uint32_t index) {
    if (graph_.nodes[index].kind != node_kind::tuple) return has_hash(graph_.nodes[index].kind);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> open{{index, 0}};
    while (!open.empty()) {
        auto& [at, next] = open.back();
        node& t = graph_.nodes[at];
        if ((t.flags & node_flag::hash_known) != 0 || next == t.a) {
            if (t.a != 0) t.flags |= node_flag::hash_known;
            open.pop_back();
            continue;
        }
        if (!charge(1)) return false;
        const std::uint32_t element = t.items[next++];
        if (graph_.nodes[element].kind == node_kind::tuple) open.emplace_back(element, 0);
        else if (!has_hash(graph_.nodes[element].kind)) return false;
    }
    return true;
}

CKPT_DETAIL_DEF void key_table::place(container& c, std::uint32_t stride, std::uint32_t from,
                                      std::uint32_t found) noexcept {
    if (found != none) {
        if (times_ != nullptr) ++(*times_)[found];
        if (stride == 2) c.data[std::size_t{found} * 2 + 1] = c.data[std::size_t{from} * 2 + 1];
        return;
    }
    if (kept_ != from)
        for (std::uint32_t k = 0; k < stride; ++k)
            c.data[std::size_t{kept_} * stride + k] = c.data[std::size_t{from} * stride + k];
    ++kept_;
}

CKPT_DETAIL_DEF std::uint32_t key_table::find_short(const container& c, std::uint32_t stride, std::uint32_t i) {
    for (std::uint32_t k = 0; k < kept_; ++k)
        if (equal(c.data[std::size_t{k} * stride], c.data[std::size_t{i} * stride])) return k;
    return none;
}

CKPT_DETAIL_DEF std::uint32_t key_table::find_hashed(const container& c, std::uint32_t stride, std::uint32_t i,
                                                     std::uint64_t h) {
    const std::uint32_t found = table_.insert(
        h, kept_,
        [&](std::uint32_t k) { return equal(c.data[std::size_t{k} * stride], c.data[std::size_t{i} * stride]); },
        most_steps);
    crowded_ = found == none;
    return found == kept_ ? none : found;
}

CKPT_DETAIL_RARE bool key_table::unique_sorted(container& c, std::uint32_t stride, std::uint32_t from,
                                               std::uint32_t n) {
    crowded_ = false;
    std::vector<std::uint32_t> all(c.data, c.data + std::size_t{kept_} * stride);
    all.insert(all.end(), c.data + std::size_t{from} * stride, c.data + std::size_t{n} * stride);
    const std::size_t count = all.size() / stride;
    std::vector<std::uint32_t> times; // of `all`
    if (times_ != nullptr) times.assign(times_->begin(), times_->begin() + kept_);
    times.resize(count, 1);
    std::vector<std::pair<std::uint64_t, std::uint32_t>> order;
    order.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) order.emplace_back(hash(all[std::size_t{i} * stride]), i);
    sort_values(order);
    std::vector<std::uint32_t> first(count, none); // position of the first equal key, or `none`
    for (std::size_t a = 0, b = 0; a < count; a = b) {
        for (b = a + 1; b < count && order[b].first == order[a].first;) ++b;
        for (std::size_t i = a + 1; i < b; ++i)
            for (std::size_t k = a; k < i && first[order[i].second] == none; ++k) {
                if (!charge(1)) return false;
                if (first[order[k].second] == none &&
                    equal(all[std::size_t{order[k].second} * stride], all[std::size_t{order[i].second} * stride]))
                    first[order[i].second] = order[k].second;
            }
    }
    kept_ = 0;
    std::vector<std::uint32_t> place_of(count, none);
    for (std::uint32_t i = 0; i < count; ++i) {
        if (first[i] != none) {
            if (times_ != nullptr) (*times_)[place_of[first[i]]] += times[i];
            if (stride == 2) c.data[std::size_t{place_of[first[i]]} * 2 + 1] = all[std::size_t{i} * 2 + 1];
            continue;
        }
        for (std::uint32_t k = 0; k < stride; ++k)
            c.data[std::size_t{kept_} * stride + k] = all[std::size_t{i} * stride + k];
        if (times_ != nullptr) (*times_)[kept_] = times[i];
        place_of[i] = kept_++;
    }
    c.count = kept_ * stride;
    return !spent_;
}

/// Sets the double that is equal to the integer, as two's complement of more than 8 bytes. False where there is no such
/// double.
CKPT_DETAIL_COLD inline bool exact_double(std::string_view bytes, double& out) noexcept {
    const bool negative = (static_cast<unsigned char>(bytes.back()) & 0x80) != 0;
    // The magnitude, from its lowest byte on: inverted, and one more, where the number is negative.
    std::uint64_t significant = 0;
    std::size_t low = 0; // the lowest byte that is not zero: it and those below it are as they are in the magnitude
    while (low < bytes.size() && bytes[low] == 0) ++low;
    const auto byte = [&](std::size_t i) -> std::uint64_t {
        const auto b = static_cast<unsigned char>(bytes[i]);
        return !negative ? b : i == low ? (0x100u - b) & 0xFFu : 0xFFu - b;
    };
    std::size_t high = bytes.size(); // behind the highest byte that is not zero in the magnitude
    while (high > low + 1 && byte(high - 1) == 0) --high;
    if (low == bytes.size() || high - low > 8 || high > 128) return false; // 53 bits lie in 8 bytes, 2^1024 in 129
    for (std::size_t i = high; i-- > low;) significant = significant << 8 | byte(i);
    const int width = 64 - std::countl_zero(significant);
    const int zeros = std::countr_zero(significant);
    if (width - zeros > 53) return false;
    const int exponent = static_cast<int>(low) * 8 + width - 1; // below 1024, because `high` is at most 128
    const std::uint64_t fraction = ((significant >> zeros) << (53 - (width - zeros))) & ((std::uint64_t{1} << 52) - 1);
    out = std::bit_cast<double>((std::uint64_t{negative} << 63) | static_cast<std::uint64_t>(exponent + 1023) << 52 |
                                fraction);
    return true;
}

/// 0.0 for -0.0, other numbers themselves.
inline double one_zero(double v) noexcept {
    return std::bit_cast<std::uint64_t>(v) == std::uint64_t{1} << 63 ? 0.0 : v;
}

/// Whether a node is a str of Python 2 that is not UTF-8. Python 3 reads no text out of it, so no str is equal to it.
inline bool undecoded(const node& n) noexcept {
    constexpr auto both = static_cast<std::uint8_t>(node_flag::eight_bit | node_flag::not_utf8);
    return n.kind == node_kind::string && (n.flags & both) == both;
}

CKPT_DETAIL_DEF bool key_table::number(const node& n, std::int64_t& whole, double& part) const noexcept {
    if (n.kind == node_kind::integer || n.kind == node_kind::boolean) {
        whole = n.integer;
        part = 0;
        return true;
    }
    whole = 0;
    if (n.kind == node_kind::big_integer) return exact_double(graph::text_of(n), part);
    double real{};
    if (n.kind == node_kind::real) real = n.real;
    else if (n.kind == node_kind::complex && graph_.complexes[n.a].imaginary == 0) real = graph_.complexes[n.a].real;
    else return false;
    // A double that is an integer of 64 bits becomes that integer; other doubles stay.
    const auto bits = std::bit_cast<std::uint64_t>(real);
    const auto exponent = static_cast<int>((bits >> 52) & 0x7FF) - 1023;
    part = real;
    constexpr std::uint64_t least_integer = 0xC3E0'0000'0000'0000u; // -2^63
    if (exponent < 63 || bits == least_integer) {
        const auto truncated = static_cast<std::int64_t>(real);
        if (static_cast<double>(truncated) == real) {
            whole = truncated;
            part = 0;
        }
    }
    return true;
}

CKPT_DETAIL_DEF bool key_table::same_real(double a, double b) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(a);
    return bits == std::bit_cast<std::uint64_t>(b) && (bits & ~(std::uint64_t{1} << 63)) <= 0x7FF0'0000'0000'0000u;
}

CKPT_DETAIL_DEF std::uint64_t key_table::hash_leaf(std::uint32_t index) noexcept {
    const node& n = graph_.nodes[index];
    std::int64_t whole{};
    double part{};
    if (number(n, whole, part)) return mix(static_cast<std::uint64_t>(whole) ^ std::bit_cast<std::uint64_t>(part));
    switch (n.kind) {
    case node_kind::string:
    case node_kind::big_integer:
    case node_kind::bytes: return hash_text(n);
    case node_kind::global: {
        const canonical_name g{graph_.globals[n.a].module, graph_.globals[n.a].name};
        return hash_bytes(g.module()) ^ mix(hash_bytes(g.name()));
    }
    case node_kind::tuple: return mix(n.a);
    case node_kind::frozen_set: return mix(static_cast<std::uint64_t>(n.kind));
    case node_kind::complex: {
        const complex_value& c = graph_.complexes[n.a];
        return mix(std::bit_cast<std::uint64_t>(one_zero(c.real)) ^ mix(std::bit_cast<std::uint64_t>(c.imaginary)));
    }
    default: return mix(index);
    }
}

CKPT_DETAIL_DEF std::uint64_t key_table::hash(std::uint32_t index) noexcept {
    const node& n = graph_.nodes[index];
    if (n.kind == node_kind::string) return hash_text(n);
    std::uint64_t out = hash_leaf(index);
    if (n.kind == node_kind::tuple)
        for (std::uint32_t i = 0; i < n.a && i < 8; ++i) out = mix(out ^ hash_leaf(n.items[i]));
    if (n.kind == node_kind::frozen_set) {
        // Neither order nor duplicates count.
        const std::span<const std::uint32_t> elements = graph_.elements(n);
        std::uint64_t least = ~std::uint64_t{0}, most = 0;
        for (const std::uint32_t e : elements) {
            if (!charge(1)) break;
            const std::uint64_t h = hash_leaf(e);
            least = (std::min)(least, h);
            most = (std::max)(most, h);
        }
        out = mix(out ^ least ^ mix(most));
    }
    return out;
}

CKPT_DETAIL_DEF bool key_table::equal_leaf(std::uint32_t a, std::uint32_t b) noexcept {
    if (a == b) return true;
    const node& x = graph_.nodes[a];
    const node& y = graph_.nodes[b];
    std::int64_t x_whole{}, y_whole{};
    double x_part{}, y_part{};
    const bool x_number = number(x, x_whole, x_part);
    const bool y_number = number(y, y_whole, y_part);
    if (x_number || y_number) return x_number && y_number && x_whole == y_whole && same_real(x_part, y_part);
    if (x.kind != y.kind) return false;
    switch (x.kind) {
    case node_kind::none: return true;
    case node_kind::string:
    case node_kind::big_integer:
    case node_kind::bytes:
        return x.a == y.a && undecoded(x) == undecoded(y) && charge_text(x) && graph::text_of(x) == graph::text_of(y);
    case node_kind::global: {
        const canonical_name p{graph_.globals[x.a].module, graph_.globals[x.a].name};
        const canonical_name q{graph_.globals[y.a].module, graph_.globals[y.a].name};
        return p.module() == q.module() && p.name() == q.name();
    }
    case node_kind::complex: {
        const complex_value& p = graph_.complexes[x.a];
        const complex_value& q = graph_.complexes[y.a];
        return same_real(one_zero(p.real), one_zero(q.real)) && same_real(p.imaginary, q.imaginary);
    }
    default: return false;
    }
}

CKPT_DETAIL_DEF bool key_table::equal(std::uint32_t a, std::uint32_t b, unsigned depth) {
    const auto plain = [this](std::uint32_t i) {
        return graph_.nodes[i].kind != node_kind::tuple && graph_.nodes[i].kind != node_kind::frozen_set;
    };
    if (plain(a) || plain(b)) return equal_leaf(a, b);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> own;
    auto& pairs = depth == 0 ? pairs_ : own;
    pairs.clear();
    pairs.emplace_back(a, b);
    while (!pairs.empty()) {
        const auto [x, y] = pairs.back();
        pairs.pop_back();
        if (x == y) continue;
        const node& p = graph_.nodes[x];
        const node& q = graph_.nodes[y];
        if (plain(x) || plain(y)) {
            if (!equal_leaf(x, y)) return false;
            continue;
        }
        if (p.kind != q.kind) return false;
        if (p.kind == node_kind::frozen_set) {
            if (!equal_sets(p, q, depth)) return false;
            continue;
        }
        if (p.a != q.a) return false;
        if (!charge(p.a)) return false;
        for (std::uint32_t i = 0; i < p.a; ++i) pairs.emplace_back(p.items[i], q.items[i]);
    }
    return true;
}

CKPT_DETAIL_DEF bool key_table::equal_sets(const node& a, const node& b, unsigned depth) {
    if (depth == most_depth) return charge(~std::uint64_t{0});
    const std::span<const std::uint32_t> p = graph_.elements(a);
    const std::span<const std::uint32_t> q = graph_.elements(b);
    // Either may still have duplicates: each element of one is looked for in the other.
    const auto within = [&](std::span<const std::uint32_t> these, std::span<const std::uint32_t> those) {
        for (const std::uint32_t e : these) {
            bool found = false;
            for (std::size_t i = 0; i < those.size() && !found; ++i) found = charge(1) && equal(e, those[i], depth + 1);
            if (!found) return false;
        }
        return true;
    };
    return within(p, q) && within(q, p);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
