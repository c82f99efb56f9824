// ckpt/pickle/impl/keys.ipp: the definitions of keys.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/keys.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF errc key_table::unique(container& c, std::uint32_t stride) {
    const std::uint32_t n = c.count / stride;
    spent_ = false;
    if (!charge(n)) return errc::limit;
    for (std::uint32_t i = 0; i < n; ++i)
        if (const node_kind k = graph_.nodes[c.data[std::size_t{i} * stride]].kind;
            k == node_kind::list || k == node_kind::dictionary || k == node_kind::set || k == node_kind::byte_array)
            return errc::unhashable_key;
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
            place(c, stride, i, found);
        }
    }
    c.count = kept_ * stride;
    return spent_ ? errc::limit : errc::none;
}

CKPT_DETAIL_DEF void key_table::place(container& c, std::uint32_t stride, std::uint32_t from,
                                      std::uint32_t found) noexcept {
    if (found != none) {
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

CKPT_DETAIL_DEF bool key_table::unique_sorted(container& c, std::uint32_t stride, std::uint32_t from, std::uint32_t n) {
    crowded_ = false;
    std::vector<std::uint32_t> all(c.data, c.data + std::size_t{kept_} * stride);
    all.insert(all.end(), c.data + std::size_t{from} * stride, c.data + std::size_t{n} * stride);
    const std::size_t count = all.size() / stride;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> order;
    order.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) order.emplace_back(hash(all[std::size_t{i} * stride]), i);
    std::sort(order.begin(), order.end());
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
            if (stride == 2) c.data[std::size_t{place_of[first[i]]} * 2 + 1] = all[std::size_t{i} * 2 + 1];
            continue;
        }
        for (std::uint32_t k = 0; k < stride; ++k)
            c.data[std::size_t{kept_} * stride + k] = all[std::size_t{i} * stride + k];
        place_of[i] = kept_++;
    }
    c.count = kept_ * stride;
    return !spent_;
}

CKPT_DETAIL_DEF bool key_table::number(const node& n, std::int64_t& whole, double& part) const noexcept {
    if (n.kind == node_kind::integer || n.kind == node_kind::boolean) {
        whole = n.integer;
        part = 0;
        return true;
    }
    if (n.kind != node_kind::real) return false;
    // A double that is an integer of 64 bits becomes that integer; other doubles stay.
    const auto bits = std::bit_cast<std::uint64_t>(n.real);
    const auto exponent = static_cast<int>((bits >> 52) & 0x7FF) - 1023;
    whole = 0;
    part = n.real;
    constexpr std::uint64_t least_integer = 0xC3E0'0000'0000'0000u; // -2^63
    if (exponent < 63 || bits == least_integer) {
        const auto truncated = static_cast<std::int64_t>(n.real);
        if (static_cast<double>(truncated) == n.real) {
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
    case node_kind::bytes:
        return charge_text(n) ? hash_bytes(graph::text_of(n)) + static_cast<std::uint64_t>(n.kind) : 0;
    case node_kind::global: return hash_bytes(graph_.globals[n.a].module) ^ mix(hash_bytes(graph_.globals[n.a].name));
    case node_kind::tuple: return mix(n.a);
    default: return mix(index);
    }
}

CKPT_DETAIL_DEF std::uint64_t key_table::hash(std::uint32_t index) noexcept {
    const node& n = graph_.nodes[index];
    std::uint64_t out = hash_leaf(index);
    if (n.kind == node_kind::tuple)
        for (std::uint32_t i = 0; i < n.a && i < 8; ++i) out = mix(out ^ hash_leaf(n.items[i]));
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
    case node_kind::bytes: return x.a == y.a && charge_text(x) && graph::text_of(x) == graph::text_of(y);
    case node_kind::global:
        return graph_.globals[x.a].module == graph_.globals[y.a].module &&
               graph_.globals[x.a].name == graph_.globals[y.a].name;
    default: return false;
    }
}

CKPT_DETAIL_DEF bool key_table::equal(std::uint32_t a, std::uint32_t b) {
    if (graph_.nodes[a].kind != node_kind::tuple || graph_.nodes[b].kind != node_kind::tuple) return equal_leaf(a, b);
    pairs_.clear();
    pairs_.emplace_back(a, b);
    while (!pairs_.empty()) {
        const auto [x, y] = pairs_.back();
        pairs_.pop_back();
        if (x == y) continue;
        const node& p = graph_.nodes[x];
        const node& q = graph_.nodes[y];
        if (p.kind != node_kind::tuple || q.kind != node_kind::tuple) {
            if (!equal_leaf(x, y)) return false;
            continue;
        }
        if (p.a != q.a) return false;
        if (!charge(p.a)) return false;
        for (std::uint32_t i = 0; i < p.a; ++i) pairs_.emplace_back(p.items[i], q.items[i]);
    }
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
