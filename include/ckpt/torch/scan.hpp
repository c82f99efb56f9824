// ckpt/torch/scan.hpp: which globals a file asks for, without building anything.
//
// SPDX-License-Identifier: MIT
// In:      the pickle of an opened archive.
// Out:     each name once, with its verdict, count, first place; also of pickles behind the first, and of those nested
//          in the bytes that torch.storage._load_from_bytes would read.
// Refuses: nothing: names that were seen before damage are kept, and the damage is told.
#pragma once

#include <ckpt/core/limits.hpp>
#include <ckpt/pickle/machine.hpp>
#include <ckpt/pickle/names.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/torch/policies.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One name that a file asks for.
struct global_use {
    std::string module{};           ///< as written
    std::string name{};             ///< as written
    std::string canonical_module{}; ///< in present spelling; equal to `module` for most
    std::string canonical_name{};
    std::uint64_t count{};          ///< how often it is named
    std::uint64_t offset{};         ///< of the first GLOBAL, in the file
    ckpt::verdict verdict{};        ///< of the policy that was asked about
    std::string path{};             ///< where in the object, as text
};

/// The names of one file, in the order in which they first occur.
class global_scan {
  public:
    [[nodiscard]] auto begin() const noexcept { return uses_.begin(); }
    [[nodiscard]] auto end() const noexcept { return uses_.end(); }
    [[nodiscard]] std::size_t size() const noexcept { return uses_.size(); }
    [[nodiscard]] bool empty() const noexcept { return uses_.empty(); }
    [[nodiscard]] const global_use& operator[](std::size_t i) const noexcept { return uses_[i]; }
    /// The damage that ended the scan early; null where the whole pickle was read.
    [[nodiscard]] const ckpt::error* stopped() const noexcept { return stopped_ ? &*stopped_ : nullptr; }

    explicit global_scan(std::vector<global_use> uses, std::optional<ckpt::error> stopped) : uses_{std::move(uses)}, stopped_{std::move(stopped)} {}

  private:
    std::vector<global_use> uses_;
    std::optional<ckpt::error> stopped_;
};

namespace detail {

/// Scans one region of pickles, and what is nested in it.
class global_scanner {
  public:
    global_scanner(const allowlist& judge, const limits& budget) : judge_{judge}, everything_{allowlist_of<inspect_policy>()}, limits_{budget} {}

    /// One pickle, then whatever follows it that still reads as pickles. The first one's damage is returned.
    std::optional<error> scan(std::span<const std::byte> bytes, std::uint64_t base, std::string_view record, int depth = 0) {
        std::optional<error> first_damage;
        std::uint64_t at = 0;
        for (bool first = true; at < bytes.size(); first = false) {
            graph g{shared<block_pool>{}};
            g.pickle = bytes;
            g.base = base;
            g.record = record;
            machine reader{g, everything_, limits_, at};
            context_ = {this, &g};
            reader.observe([](void* c, const machine& self, std::uint32_t number) {
                auto& context = *static_cast<observed*>(c);
                context.self->note(context.from->globals[number], context.from->base, self);
            }, &context_);
            const auto read = reader.run();
            if (depth < 2) scan_nested(g, record, depth);
            if (!read) {
                if (first) first_damage = read.error();
                break;
            }
            at = reader.end_offset();
        }
        return first_damage;
    }

    [[nodiscard]] std::vector<global_use> take() {
        std::vector<global_use> out;
        // Occurrences in order of name, then of place: each run is one name.
        std::vector<std::size_t> order(seen_.size());
        for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
            if (seen_[a].module != seen_[b].module) return seen_[a].module < seen_[b].module;
            return seen_[a].name != seen_[b].name ? seen_[a].name < seen_[b].name : a < b;
        });
        std::vector<std::pair<std::size_t, global_use>> uses;
        for (std::size_t i = 0; i < order.size();) {
            const occurrence& o = seen_[order[i]];
            std::size_t end = i + 1;
            while (end < order.size() && seen_[order[end]].module == o.module && seen_[order[end]].name == o.name) ++end;
            const canonical_name canonical{o.module, o.name};
            const global_lookup found = look_up(judge_, o.module, o.name);
            uses.emplace_back(order[i], global_use{o.module, o.name, std::string(canonical.module()), std::string(canonical.name()), end - i, o.offset, found.verdict, o.path});
            i = end;
        }
        std::sort(uses.begin(), uses.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
        for (auto& u : uses) out.push_back(std::move(u.second));
        return out;
    }

  private:
    struct occurrence {
        std::string module{};
        std::string name{};
        std::uint64_t offset{};
        std::string path{};
    };
    struct observed {
        global_scanner* self{};
        const graph* from{};
    };

    void note(const global_occurrence& g, std::uint64_t base, const machine& reader) {
        // Paths are worth their cost for the first thousands of names, and no file needs more.
        constexpr std::size_t with_paths = 4096;
        seen_.push_back({std::string(g.module), std::string(g.name), base + g.offset, seen_.size() < with_paths ? reader.path_here() : std::string{}});
    }

    /// Bytes that are the argument of torch.storage._load_from_bytes hold a whole checkpoint.
    void scan_nested(const graph& g, std::string_view record, int depth) {
        for (std::size_t i = first_free_node; i < g.nodes.size(); ++i) {
            const node& n = g.nodes[i];
            if (n.kind != node_kind::application || g.nodes[n.link.b].kind != node_kind::global || n.a == absent_node) continue;
            const global_occurrence& called = g.globals[g.nodes[n.link.b].a];
            if (called.module != "torch.storage" || called.name != "_load_from_bytes") continue;
            for (const std::uint32_t argument : g.elements(g.nodes[n.a])) {
                const node& bytes = g.nodes[argument];
                if (bytes.kind == node_kind::bytes || bytes.kind == node_kind::byte_array) {
                    const std::string_view text = graph::text_of(bytes);
                    const auto in_file = static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(text.data()) - g.pickle.data());
                    (void)scan(std::as_bytes(std::span<const char>{text.data(), text.size()}), g.base + in_file, record, depth + 1);
                } else if (bytes.kind == node_kind::application) {
                    scan_encoded(g, bytes, record, depth);
                }
            }
        }
    }
    /// The same bytes as protocol 2 writes them: _codecs.encode(text, 'latin1').
    void scan_encoded(const graph& g, const node& encode, std::string_view record, int depth) {
        if (g.nodes[encode.a].kind != node_kind::tuple || g.nodes[encode.a].a < 1) return;
        const node& text = g.nodes[g.nodes[encode.a].items[0]];
        if (text.kind != node_kind::string) return;
        std::string bytes;
        const std::string_view from = graph::text_of(text);
        for (std::size_t i = 0; i < from.size(); ++i) {
            const auto lead = static_cast<unsigned char>(from[i]);
            if (lead >= 0xC2 && lead <= 0xC3 && i + 1 < from.size()) bytes += static_cast<char>(static_cast<unsigned char>(((lead & 3) << 6) | (static_cast<unsigned char>(from[++i]) & 0x3F)));
            else bytes += from[i];
        }
        // The names are copied out while `bytes` lives. Offsets inside transcoded bytes have no place: they count from the text.
        (void)scan(std::as_bytes(std::span<const char>{bytes.data(), bytes.size()}), g.base + static_cast<std::uint64_t>(from.data() - reinterpret_cast<const char*>(g.pickle.data())), record, depth + 1);
    }

    const allowlist& judge_;
    allowlist everything_;
    const limits& limits_;
    observed context_{};
    std::vector<occurrence> seen_{};
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI
