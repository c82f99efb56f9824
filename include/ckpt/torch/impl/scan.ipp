// ckpt/torch/impl/scan.ipp: the definitions of scan.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/attributes.hpp>
#include <ckpt/torch/scan.hpp>
#include <ckpt/torch/sniff.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF global_scan global_scanner::finish(std::optional<error> damage) {
    // Several pickles may name a global: keeps the first place, and adds the counts.
    std::vector<std::size_t> firsts;
    for_each_run(
        seen_.size(), [this](std::size_t i) -> const global_use& { return seen_[i]; },
        [&](std::span<const std::uint32_t> same) {
            global_use& first = seen_[same.front()];
            for (const std::uint32_t i : same.subspan(1)) {
                first.count += seen_[i].count;
                first.verdict = (std::max)(first.verdict, seen_[i].verdict);
            }
            firsts.push_back(same.front());
        });
    std::sort(firsts.begin(), firsts.end());
    std::vector<global_use> out;
    out.reserve(firsts.size());
    for (const std::size_t i : firsts) {
        global_use& u = seen_[i];
        const canonical_name canonical{u.module, u.name};
        u.canonical_module = canonical.module();
        u.canonical_name = canonical.name();
        u.verdict = (std::max)(look_up(judge_, u.module, u.name).verdict, u.verdict);
        out.push_back(std::move(u));
    }
    seen_.clear();
    if (!damage) damage = std::move(too_deep_);
    return global_scan{std::move(out), std::move(damage)};
}

CKPT_DETAIL_DEF std::optional<error> global_scanner::scan_region(const region& from, std::string_view record,
                                                                 int depth) {
    if (depth > 2) {
        too_deep_ = error{.code = errc::limit,
                          .offset = from.base,
                          .record = std::string(record),
                          .detail = "a pickle in the bytes of a pickle, more than three deep: it was not looked into"};
        return {};
    }
    constexpr int most_pickles = 10'000; // each takes time beyond that for its bytes; files of torch have five at most
    const auto left = [&](errc code, std::uint64_t offset, std::string detail) {
        return error{.code = code,
                     .offset = from.base + (from.in_file ? offset : 0),
                     .record = std::string(record),
                     .detail = std::move(detail)};
    };
    if (from.bytes.empty()) return left(errc::pickle_truncated, 0, "a pickle without any byte");
    std::uint64_t at = 0;
    for (int n = 0; at < from.bytes.size(); ++n) {
        if (n == most_pickles)
            return left(errc::limit, at,
                        "more than " + decimal(std::uint64_t{most_pickles}) +
                            " pickles one after another: the rest was not looked into");
        graph g{pool_};
        g.pickle = from.bytes;
        g.base = from.base;
        g.record = record;
        g.transcoded = !from.in_file;
        machine reader{g, everything_, limits_, at};
        reader.admit_class_ids();
        observed context{this};
        reader.observe(
            [](void* c, const machine& self, std::uint32_t) {
                auto& o = *static_cast<observed*>(c);
                o.self->note_path(self, o.paths);
            },
            &context);
        const auto read = reader.run();
        collect(g, from, context.paths);
        scan_nested(g, from, record, depth);
        // The bytes of a value may hold something else behind a pickle: the storages of a legacy stream.
        if (!read) return n == 0 || depth == 0 ? std::optional{read.error()} : std::nullopt;
        at = reader.end_offset();
    }
    return {};
}

CKPT_DETAIL_DEF void global_scanner::note_path(const machine& reader, std::vector<std::string>& paths) {
    if (paths.size() > 4096 || path_bytes_ > (1u << 18) || path_steps_ > (1u << 22)) return;
    path_steps_ += reader.depth();
    path_bytes_ += paths.emplace_back(reader.path_here()).size();
}

CKPT_DETAIL_DEF void global_scanner::collect(const graph& g, const region& from, std::vector<std::string>& paths) {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> firsts; // occurrence, count
    bool strays = false;
    for_each_run(
        g.globals.size(), [&g](std::size_t i) -> const global_occurrence& { return g.globals[i]; },
        [&](std::span<const std::uint32_t> same) { firsts.emplace_back(same.front(), same.size()); });
    std::sort(firsts.begin(), firsts.end());
    const auto is_getattr = [&g](std::uint32_t i) {
        return g.globals[i].entry != nullptr && g.globals[i].entry->kind == global_kind::attribute;
    };
    if (std::any_of(firsts.begin(), firsts.end(), [&](const auto& first) { return is_getattr(first.first); }))
        for_each_stray_attribute(g, judge_, [&](std::uint32_t) { strays = true; });
    for (const auto& [i, count] : firsts) {
        const global_occurrence& o = g.globals[i];
        seen_.push_back({.module = std::string(o.module),
                         .name = std::string(o.name),
                         .count = count,
                         .offset = from.base + (from.in_file ? o.offset : 0),

                         .verdict = strays && is_getattr(i) ? verdict::dangerous : verdict::build});
        if (i < paths.size()) seen_.back().path = std::move(paths[i]);
    }
}

CKPT_DETAIL_DEF void global_scanner::scan_nested(const graph& g, const region& from, std::string_view record,
                                                 int depth) {
    std::vector<bool> scanned;
    std::uint64_t called_at = from.base; // where bytes that are not in the file as they are come from
    const auto scan_held = [&](const node& content) {
        const std::span<const std::byte> bytes = std::as_bytes(std::span<const char>{content.text, content.a});
        const bool in_file = from.in_file && !bytes.empty() && bytes.data() >= g.pickle.data() &&
                             bytes.data() < g.pickle.data() + g.pickle.size();
        (void)scan_region({bytes,
                           in_file ? from.base + static_cast<std::uint64_t>(bytes.data() - g.pickle.data()) : called_at,
                           in_file},
                          record, depth + 1);
    };
    for (std::size_t i = first_free_node; i < g.nodes.size(); ++i) {
        const node& n = g.nodes[i];
        if (n.kind != node_kind::application || g.nodes[n.link.b].kind != node_kind::global || n.a == absent_node)
            continue;
        const global_entry* const called = g.globals[g.nodes[n.link.b].a].entry;
        if (called == nullptr || called->kind != global_kind::nested) continue;
        const std::span<const std::uint32_t> arguments = g.elements(g.nodes[n.a]);
        if (arguments.empty()) continue;
        // Calls may make the bytes: bytearray(_codecs.encode(text, 'latin1')).
        std::uint32_t index = arguments.front();
        for (int calls = 0; calls < 4 && g.nodes[index].kind == node_kind::application &&
                            g.nodes[g.nodes[index].a].kind == node_kind::tuple && g.nodes[g.nodes[index].a].a > 0;
             ++calls)
            index = g.nodes[g.nodes[index].a].items[0];
        const node& content = g.nodes[index];
        if (content.kind != node_kind::string && content.kind != node_kind::bytes &&
            content.kind != node_kind::byte_array)
            continue;
        scanned.resize(g.nodes.size());
        if (scanned[index]) continue;
        scanned[index] = true;
        called_at = from.base + (from.in_file ? g.nodes[i + 1].link.c : 0);
        if (content.kind == node_kind::string && (content.flags & node_flag::eight_bit) == 0) {
            const std::string_view text = graph::text_of(content);
            scan_encoded(text, called_at, record, depth);
            if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
                continue;
            // Text that was encoded as UTF-8 has the bytes of `text`.
        }
        scan_held(content);
    }
    scanned.resize(g.nodes.size());
    for (std::size_t i = first_free_node; i < g.nodes.size(); ++i) {
        const node& n = g.nodes[i];
        if (!scanned[i] && (n.kind == node_kind::bytes || n.kind == node_kind::byte_array) &&
            sniffing::looks_like_pickle(graph::text_of(n).substr(0, 512)))
            scan_held(n);
    }
}

CKPT_DETAIL_DEF void global_scanner::scan_encoded(std::string_view from, std::uint64_t called_at,
                                                  std::string_view record, int depth) {
    std::string bytes;
    for (std::size_t i = 0; i < from.size(); ++i) {
        const auto lead = static_cast<unsigned char>(from[i]);
        if (lead >= 0xC2 && lead <= 0xC3 && i + 1 < from.size())
            bytes += static_cast<char>(
                static_cast<unsigned char>(((lead & 3) << 6) | (static_cast<unsigned char>(from[++i]) & 0x3F)));
        else bytes += from[i];
    }
    // Names are copied while `bytes` lives. Transcoded bytes have no place in the file: uses that of the call.
    (void)scan_region({std::as_bytes(std::span<const char>{bytes.data(), bytes.size()}), called_at, false}, record,
                      depth + 1);
}

CKPT_DETAIL_DEF result<global_scan> scan_stream(const source& from, bool legacy, const allowlist& judge,
                                                const limits& budget) {
    global_scanner scanner{judge, budget};
    std::optional<error> stopped;
    read_window window{from, 4096};
    for (std::uint64_t at = 0; at < from.size() && !stopped;) {
        // Pickles before the damage are scanned.
        std::uint64_t end = at, next = at;
        arena memory;
        const auto note = [&](const error& e) {
            stopped = e;
            if (e.offset != no_offset && e.offset > from.base() + end) end = e.offset - from.base();
        };
        if (legacy) {
            const auto pickles = legacy_pickles::find(window, from, at, budget);
            if (pickles) {
                end = pickles->at[5];
                graph g{shared<block_pool>{}};
                const auto layout =
                    legacy_layout::read(from, *pickles, g, allowlist_of<inspect_policy>(), budget, from.base());
                if (layout) next = layout->end;
                else stopped = layout.error();
            } else {
                note(pickles.error());
            }
        } else if (const auto found = pickle_end(window, from, at, pickle_ceiling(budget))) {
            end = next = *found;
        } else {
            note(found.error());
        }
        if (end > from.size()) end = from.size();
        if (end - at > pickle_ceiling(budget)) break;
        const auto bytes = read_owned(from, at, end, memory);
        if (!bytes) return bytes.error();
        if (auto damage = scanner.scan(*bytes, from.base() + at, {}); damage && !stopped) stopped = std::move(damage);
        at = next;
    }
    return scanner.finish(std::move(stopped));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
