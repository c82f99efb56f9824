// ckpt/torch/impl/scan.ipp: the definitions of scan.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
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
    sort_values(firsts);
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
    if (!damage) damage = std::move(left_out_);
    return global_scan{std::move(out), std::move(damage)};
}

CKPT_DETAIL_DEF std::optional<error> global_scanner::scan_region(const region& from, std::string_view record,
                                                                 int depth) {
    if (depth > 2) {
        leave_out(errc::limit, from.base, record,
                  "a pickle in the bytes of a pickle, more than three deep: it was not looked into");
        return {};
    }
    constexpr int most_pickles = 10'000; // each takes time beyond that for its bytes; files of torch have five at most
    constexpr int of_checkpoint = 5;     // behind them are storages
    const auto left = [&](errc code, std::uint64_t offset, std::string detail) {
        return error{.code = code,
                     .offset = from.base + (from.in_file ? offset : 0),
                     .record = std::string(record),
                     .detail = std::move(detail)};
    };
    if (from.bytes.empty()) return left(errc::pickle_truncated, 0, "a pickle without any byte");
    std::uint64_t at = 0;
    for (int n = 0; at < from.bytes.size() && (n < of_checkpoint || !from.checkpoint); ++n) {
        if (n == most_pickles)
            return left(
                errc::limit, at,
                str_cat("more than ", most_pickles, " pickles one after another: the rest was not looked into"));
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
        // The bytes of a value may hold something else behind a pickle.
        if (!read) return n == 0 || depth == 0 || from.checkpoint ? std::optional{read.error()} : std::nullopt;
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
    sort_values(firsts);
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

CKPT_DETAIL_DEF void global_scanner::leave_out(errc code, std::uint64_t offset, std::string_view record,
                                               std::string_view why) {
    if (!left_out_)
        left_out_ = error{.code = code, .offset = offset, .record = std::string(record), .detail = std::string(why)};
}

namespace nested {

using form = held_bytes::form;

/// The bytes that an encoding makes of text; `unknown` for encodings that are not read.
inline form form_of(std::string_view encoding) {
    if (encoding == "latin1" || encoding == "latin-1" || encoding == "iso-8859-1" || encoding == "iso8859-1")
        return form::latin1;
    return encoding == "utf-8" || encoding == "utf8" || encoding == "ascii" || encoding == "us-ascii" ? form::utf8
                                                                                                      : form::unknown;
}

/// What a call of something known makes its bytes from; `as` is how, if that is text. absent_node for other calls.
inline std::uint32_t origin(const graph& g, std::uint32_t call, form& as) {
    const node& n = g.nodes[call];
    const node& named = g.nodes[n.link.b];
    const global_entry* const e = named.kind == node_kind::global ? g.globals[named.a].entry : nullptr;
    if (e == nullptr || n.link.c != absent_node || g.nodes[n.a].kind != node_kind::tuple) return absent_node;
    const std::span<const std::uint32_t> arguments = g.elements(g.nodes[n.a]);
    const bool makes = e->module == "builtins" && (e->name == "bytes" || e->name == "bytearray");
    if (makes || (e->module == "_codecs" && e->name == "encode")) {
        as = form::utf8;
        if (arguments.size() == 2) {
            const node& encoding = g.nodes[arguments[1]];
            as = encoding.kind == node_kind::string ? form_of(graph::text_of(encoding)) : form::unknown;
        }
        return arguments.empty() || arguments.size() > 2 || as == form::unknown ? absent_node : arguments[0];
    }
    if (e->module == "numpy._core.numeric" && e->name == "_frombuffer" && !arguments.empty()) return arguments[0];
    if (e->module != "numpy._core.multiarray" || e->name != "_reconstruct") return absent_node;
    const std::uint32_t state = g.nodes[call + 1].a; // version, shape, dtype, order, elements
    return state != absent_node && g.nodes[state].kind == node_kind::tuple && g.nodes[state].a == 5
               ? g.nodes[state].items[4]
               : absent_node;
}

/// The bytes that a value is, or that calls make it of.
inline held_bytes content_of(const graph& g, std::uint32_t at) {
    form as = form::utf8;
    constexpr int most_calls = 16;
    for (int calls = 0; calls <= most_calls && at != absent_node; ++calls) {
        const node& n = g.nodes[at];
        switch (n.kind) {
        case node_kind::bytes:
        case node_kind::byte_array: return {at, form::bytes};
        case node_kind::string: return {at, (n.flags & node_flag::eight_bit) != 0 ? form::bytes : as};
        case node_kind::list:
        case node_kind::tuple: return {at, calls > 0 ? form::numbers : form::unknown};
        case node_kind::application: at = origin(g, at, as); break;
        default: return {};
        }
    }
    return {};
}

/// The first bytes of a content, `most` at most. Each code point of text in latin1 is one byte; others are no latin1.
inline std::string made(const graph& g, const held_bytes& content, std::size_t most) {
    std::string out;
    const node& n = g.nodes[content.node];
    if (content.is == form::numbers) {
        for (const std::uint32_t i : g.elements(n).first((std::min)(g.elements(n).size(), most))) {
            const node& number = g.nodes[i];
            if (number.kind != node_kind::integer || number.integer < 0 || number.integer > 255) break;
            out += static_cast<char>(static_cast<unsigned char>(number.integer));
        }
        return out;
    }
    const std::string_view text = graph::text_of(n);
    for (std::size_t i = 0; i < text.size() && out.size() < most; ++i) {
        const auto lead = static_cast<unsigned char>(text[i]);
        if (content.is == form::latin1 && lead >= 0xC2 && lead <= 0xC3 && i + 1 < text.size())
            out += static_cast<char>(
                static_cast<unsigned char>(((lead & 3) << 6) | (static_cast<unsigned char>(text[++i]) & 0x3F)));
        else out += text[i];
    }
    return out;
}

inline bool is_call_of(const graph& g, std::size_t i, global_kind kind) {
    const node& n = g.nodes[i];
    if (n.kind != node_kind::application || g.nodes[n.link.b].kind != node_kind::global) return false;
    const global_entry* const called = g.globals[g.nodes[n.link.b].a].entry;
    return called != nullptr && called->kind == kind;
}

} // namespace nested

CKPT_DETAIL_DEF void global_scanner::scan_content(const graph& g, const region& from, const held_bytes& content,
                                                  std::uint64_t called_at, bool checkpoint, std::string_view record,
                                                  int depth) {
    std::string copy;
    std::string_view text;
    if (content.is != nested::form::latin1 && content.is != nested::form::numbers) {
        text = graph::text_of(g.nodes[content.node]);
    } else {
        // Names are copied while `copy` lives.
        copy = nested::made(g, content, checkpoint ? ~std::size_t{0} : 512);
        if (!checkpoint && sniffing::looks_like_pickle(copy)) copy = nested::made(g, content, ~std::size_t{0});
        text = copy;
    }
    if (!checkpoint && !sniffing::looks_like_pickle(text.substr(0, 512))) return;
    const auto* const pickle = reinterpret_cast<const char*>(g.pickle.data());
    const bool in_file = from.in_file && text.data() >= pickle && text.data() < pickle + g.pickle.size();
    const std::uint64_t place = in_file ? from.base + static_cast<std::uint64_t>(text.data() - pickle) : called_at;
    if (checkpoint)
        if (const auto closed = sealed_content(text.substr(0, 16)))
            return leave_out(closed->code, place, record, closed->detail);
    auto damage =
        scan_region({std::as_bytes(std::span<const char>{text}), place, in_file, checkpoint}, record, depth + 1);
    if (checkpoint && damage && !left_out_) left_out_ = std::move(damage);
}

CKPT_DETAIL_DEF void global_scanner::scan_nested(const graph& g, const region& from, std::string_view record,
                                                 int depth) {
    plain_list<std::uint8_t> scanned; // for each node, the forms in which it was
    scanned.reserve(g.nodes.size());
    for (std::size_t i = 0; i < g.nodes.size(); ++i) scanned.push_back(0);
    const auto is_new = [&](const held_bytes& content) {
        const auto bit = static_cast<std::uint8_t>(1u << static_cast<unsigned>(content.is));
        if ((scanned[content.node] & bit) != 0) return false;
        scanned[content.node] |= bit;
        return true;
    };
    const auto place_of = [&](std::size_t call) { return from.base + (from.in_file ? g.nodes[call + 1].link.c : 0); };
    bool loads = false;
    for (const bool checkpoint : {true, false}) // what is a checkpoint's is scanned as one
        for (std::size_t i = first_free_node; i < g.nodes.size(); ++i) {
            const node& n = g.nodes[i];
            held_bytes content;
            if (checkpoint) {
                if (!nested::is_call_of(g, i, global_kind::nested)) continue;
                loads = true;
                if (g.nodes[n.a].kind == node_kind::tuple && g.nodes[n.a].a > 0)
                    content = nested::content_of(g, g.nodes[n.a].items[0]);
                if (content.is == nested::form::unknown)
                    leave_out(errc::bad_arguments, place_of(i), record,
                              "_load_from_bytes gets what no rule here makes bytes of: it was not looked into");
            } else if (n.kind == node_kind::application || n.kind == node_kind::bytes ||
                       n.kind == node_kind::byte_array) {
                content = nested::content_of(g, static_cast<std::uint32_t>(i));
            }
            if (content.is != nested::form::unknown && is_new(content))
                scan_content(g, from, content, n.kind == node_kind::application ? place_of(i) : from.base, checkpoint,
                             record, depth);
        }
    const auto is_load = [&](const global_occurrence& o) {
        return o.entry != nullptr && o.entry->kind == global_kind::nested;
    };
    for (std::size_t i = 0; i < g.globals.size() && !loads; ++i) loads = is_load(g.globals[i]);
    if (!loads) return;
    for_each_use(
        g, [](const node&) { return true; },
        [&](std::uint32_t index) {
            const node& n = g.nodes[index];
            if (n.kind == node_kind::global && is_load(g.globals[n.a]))
                leave_out(errc::bad_arguments, from.base + (from.in_file ? g.globals[n.a].offset : 0), record,
                          "_load_from_bytes is handed on and not called: what it gets was not looked into");
        });
}

/// Scans the storages of a checkpoint that begin like a pickle, as those of an archive are. Damage in one is no
/// finding: numbers may begin so, too.
inline result<void> scan_storages(const source& from, const legacy_layout& layout, const limits& budget,
                                  global_scanner& scanner) {
    for (const legacy_storage& s : layout.storages) {
        std::byte head[512];
        const std::span<std::byte> first{head, static_cast<std::size_t>((std::min<std::uint64_t>)(s.nbytes, 512))};
        if (auto read = from.read(s.offset, first); !read) return read;
        const std::string_view text{reinterpret_cast<const char*>(head), first.size()};
        if (!sniffing::begins_as_binary_pickle(text) || !sniffing::looks_like_pickle(text) ||
            s.nbytes > pickle_ceiling(budget))
            continue;
        arena memory;
        const auto bytes = read_owned(from, s.offset, s.offset + s.nbytes, memory);
        if (!bytes) return bytes.error();
        (void)scanner.scan(*bytes, from.base() + s.offset, {});
    }
    return {};
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
                if (layout) {
                    next = layout->end;
                    if (auto read = scan_storages(from, *layout, budget, scanner); !read)
                        return std::move(read).failure();
                } else {
                    stopped = layout.error();
                }
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
