// ckpt/torch/impl/legacy_layout.ipp: the definitions of legacy_layout.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/legacy_layout.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::legacy {

CKPT_DETAIL_RARE bool begins(std::string_view head) noexcept {
    if (head.starts_with("L119547037146038801333356L\n")) return true;
    if (head.size() < 2 || head[0] != '\x80') return false;
    head.remove_prefix(2);
    if (head.size() >= 9 && head[0] == '\x95') head.remove_prefix(9);
    return head.starts_with("\x8a\x0a") && head.substr(2).starts_with(magic);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::legacy

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<legacy_pickles> legacy_pickles::find(read_window& window, const source& from,
                                                             std::uint64_t begin, const limits& budget) {
    legacy_pickles out;
    out.at[0] = begin;
    for (std::size_t i = 0; i < 5; ++i) {
        constexpr std::uint64_t longest_magic = 256; // so that other files are not read to their end
        const std::uint64_t most = pickle_ceiling(budget) - (std::min)(pickle_ceiling(budget), out.at[i] - begin);
        auto end = pickle_end(window, from, out.at[i], i == 0 ? (std::min)(most, longest_magic) : most);
        if (!end && i == 0 && most > longest_magic && end.error().code == errc::limit)
            return legacy::invalid(from.base() + begin, "no magic number where a checkpoint should begin");
        if (!end) return std::move(end).failure();
        out.at[i + 1] = *end;
    }
    return out;
}

CKPT_DETAIL_RARE result<legacy_layout> legacy_layout::read(const source& from, const legacy_pickles& pickles, graph& g,
                                                           const allowlist& allowed, const limits& budget,
                                                           std::uint64_t base) {
    auto bytes = read_owned(from, pickles.at[0], pickles.at[5], g.memory);
    if (!bytes) return std::move(bytes).failure();
    g.pickle = *bytes;
    g.base = base + pickles.at[0];
    constexpr std::string_view names[]{"the magic number", "the protocol version", "the system information",
                                       "the object", "the list of storage keys"};
    std::array<std::uint32_t, 5> roots{};
    chunked_array<std::uint32_t> pending{};
    for (std::size_t i = 0; i < 5; ++i) {
        machine reader{g, allowed, budget, pickles.at[i] - pickles.at[0]};
        reader.admit_class_ids();
        if (auto read = reader.run(); !read) return std::move(read).failure();
        roots[i] = g.root;
        if (reader.end_offset() != pickles.at[i + 1] - pickles.at[0])
            return error{.code = errc::internal, .offset = g.base, .detail = "two readings of one pickle differ"};
        if (i == 3) pending = g.pending;
        g.pending = {}; // only the calls of the object are resolved
        if (!is_what_it_should_be(g, i, roots[i]))
            return i == 1 ? error{.code = errc::format_version,
                                  .offset = base + pickles.at[i],
                                  .detail = "the stream's protocol version is not 1001",
                                  .hint = "a newer ckpt may read it"}
                          : legacy::invalid(base + pickles.at[i],
                                            str_cat("the pickle where ", names[i], " belongs holds something else"));
    }
    g.root = roots[3];
    g.pending = pending;
    plain_list<named> ids = named_by(g);
    legacy_layout out;
    if (auto placed = out.place(from, base, pickles.at[5], g, roots[4], ids); !placed)
        return std::move(placed).failure();
    for (const named& id : ids)
        if (!id.placed)
            return legacy::invalid(base + pickles.at[4], str_cat("the object names storage ", quoted(id.key),
                                                                 ", which the list of keys has not"));
    return out;
}

CKPT_DETAIL_RARE bool legacy_layout::is_what_it_should_be(const graph& g, std::size_t i, std::uint32_t root) noexcept {
    const node& n = g.nodes[root];
    switch (i) {
    case 0: return n.kind == node_kind::big_integer && graph::text_of(n) == legacy::magic;
    case 1: return n.kind == node_kind::integer && n.integer == legacy::version;
    case 2: return n.kind == node_kind::dictionary;
    case 4: return n.kind == node_kind::list;
    default: return true;
    }
}

CKPT_DETAIL_RARE plain_list<legacy_layout::named> legacy_layout::named_by(const graph& g) {
    plain_list<named> out;
    storage_class_memory last{};
    for (std::size_t i = 0; i < g.pending.size(); ++i) {
        const node& n = g.nodes[g.pending[i]];
        if (n.kind != node_kind::persistent) continue;
        storage_id id{};
        const bool known = (n.flags & node_flag::text_form) != 0
                               ? read_storage_text(graph::text_of(g.nodes[n.a]), id_form::legacy, id)
                               : read_storage_tuple(g, n.a, id_form::legacy, id, last);
        if (known) out.push_back({id.key, id.numel, id.type, false, i});
    }
    // Equal keys usually have the same address, which is compared first, so that long texts are not compared often.
    for (const bool by_text : {false, true}) {
        const auto compare = [by_text](const named& a, const named& b) {
            if (by_text) return a.key.compare(b.key);
            const auto x = reinterpret_cast<std::uintptr_t>(a.key.data()),
                       y = reinterpret_cast<std::uintptr_t>(b.key.data());
            return x != y                         ? (x < y ? -1 : 1)
                   : a.key.size() != b.key.size() ? (a.key.size() < b.key.size() ? -1 : 1)
                                                  : 0;
        };
        sort_values(out, [&](const named& a, const named& b) {
            const int order = compare(a, b);
            return order != 0 ? order < 0 : a.order < b.order;
        });
        std::size_t kept = 0;
        for (std::size_t i = 0; i < out.size(); ++i)
            if (i == 0 || compare(out[kept - 1], out[i]) != 0) out[kept++] = out[i];
        out.shrink(kept);
    }
    return out;
}

CKPT_DETAIL_RARE result<void> legacy_layout::place(const source& from, std::uint64_t base, std::uint64_t at,
                                                   const graph& g, std::uint32_t list, std::span<named> ids) {
    read_window window{from, 512};
    for (const std::uint32_t index : g.elements(g.nodes[list])) {
        const node& n = g.nodes[index];
        if (n.kind != node_kind::string) return legacy::invalid(base + at, "a storage key that is no str");
        const std::string_view key = graph::text_of(n);
        const auto found =
            std::lower_bound(ids.begin(), ids.end(), key, [](const named& a, std::string_view b) { return a.key < b; });
        if (found == ids.end() || found->key != key)
            return legacy::invalid(
                base + at, str_cat("the list of keys has storage ", quoted(key), ", which the object does not name"));
        if (found->placed)
            return legacy::invalid(base + at, str_cat("the list of keys has storage ", quoted(key), " twice"));
        found->placed = true;
        const std::span<const std::byte> head = window.at(at, 8);
        if (window.failure()) return *window.failure();
        if (head.size() < 8) return cut(base, from.size(), key, at, 8);
        const auto count = load_le<std::uint64_t>(head.data());
        at += 8;
        if (count != found->numel)
            return legacy::invalid(base + at - 8, str_cat("storage ", quoted(key), " has ", count,
                                                          " elements, the object says ", found->numel));
        std::uint64_t bytes = 0;
        if (!storage_bytes({.key = key, .type = found->type, .numel = count}, bytes))
            return legacy::invalid(
                base + at - 8, str_cat("storage ", quoted(key), " has ", count, " elements, which overflows 64 bits"));
        if (!range_inside(at, bytes, from.size())) return cut(base, from.size(), key, at, bytes);
        storages.push_back({key, at, bytes});
        at += bytes;
    }
    end = at;
    return {};
}

CKPT_DETAIL_RARE error legacy_layout::cut(std::uint64_t base, std::uint64_t size, std::string_view key,
                                          std::uint64_t at, std::uint64_t wanted) {
    return {.code = errc::truncated,
            .offset = base + size,
            .detail = str_cat("storage ", quoted(key), " needs ", wanted, " bytes, ", size - at, " are there"),
            .hint = "the file was cut; compare its size with the original"};
}

CKPT_DETAIL_RARE legacy_keys::legacy_keys(const legacy_layout& layout, stream_maker& places)
    : layout_{layout}, places_{places} {
    for (const legacy_storage& s : layout.storages) {
        sorted_.push_back(static_cast<std::uint32_t>(numbers_.size()));
        numbers_.push_back(places.place(s.key, s.offset, s.nbytes));
    }
    sort_indices(sorted_,
                 [&](std::uint32_t a, std::uint32_t b) { return layout_.storages[a].key < layout_.storages[b].key; });
}

CKPT_DETAIL_RARE errc legacy_keys::find(std::string_view key, std::uint32_t& storage) {
    const auto at = std::lower_bound(sorted_.begin(), sorted_.end(), key,
                                     [&](std::uint32_t a, std::string_view b) { return layout_.storages[a].key < b; });
    if (at == sorted_.end() || layout_.storages[*at].key != key) return errc::record_missing;
    storage = numbers_[*at];
    last_ = *at;
    return errc::none;
}

CKPT_DETAIL_RARE errc legacy_keys::view(std::uint32_t, std::string_view key, std::uint64_t offset, std::uint64_t nbytes,
                                        std::uint32_t& storage) {
    const legacy_storage& whole = layout_.storages[last_]; // the storage that `find` found last
    if (!range_inside(offset, nbytes, whole.nbytes)) return errc::out_of_bounds;
    const auto number = static_cast<std::uint32_t>(views_.size());
    const std::uint32_t known = by_key_.insert(
        hash_bytes(key), number, [&](std::uint32_t i) { return views_[i].key == key; },
        [&](std::uint32_t i) { return hash_bytes(views_[i].key); });
    if (known == number)
        views_.push_back({key, whole.offset + offset, nbytes, places_.place(key, whole.offset + offset, nbytes)});
    const known_view& v = views_[known];
    storage = v.number;
    return v.offset == whole.offset + offset && v.nbytes == nbytes ? errc::none : errc::storage_size_mismatch;
}

CKPT_DETAIL_RARE std::uint32_t nested_places::place(std::string_view, std::uint64_t offset, std::uint64_t nbytes) {
    return add(bytes_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(nbytes)), byte_order::little,
               offset_ == no_offset ? no_offset : offset_ + offset);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
