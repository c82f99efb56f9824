// tests/support/pickle_writer.hpp: pickles for tests, opcode by opcode, and what became of them.
//
// SPDX-License-Identifier: MIT
// In:      names of opcodes' arguments; a pickle, a policy, limits.
// Out:     the bytes of an opcode; `parsed`: the graph of a pickle, or its error; `show`: a value as short text.
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/pickle/machine.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/torch/policies.hpp>
#include <ckpt/torch/resolve.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test_support {

using namespace std::string_literals;

namespace pickles {

inline std::string number(std::uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
    return out;
}
inline std::string text(std::string_view s) { return 'X' + number(s.size(), 4) + std::string(s); }
inline std::string short_text(std::string_view s) { return "\x8c" + number(s.size(), 1) + std::string(s); }
inline std::string bytes(std::string_view s) { return 'B' + number(s.size(), 4) + std::string(s); }
inline std::string int4(std::int64_t v) { return 'J' + number(static_cast<std::uint64_t>(v), 4); }
inline std::string long1(std::string_view s) { return "\x8a" + number(s.size(), 1) + std::string(s); }
inline std::string global(std::string_view module, std::string_view name) {
    return 'c' + std::string(module) + '\n' + std::string(name) + '\n';
}
inline std::string stack_global(std::string_view module, std::string_view name) {
    return text(module) + text(name) + "\x93";
}
inline std::string put(std::uint32_t i) { return i < 256 ? 'q' + number(i, 1) : 'r' + number(i, 4); }
inline std::string get(std::uint32_t i) { return i < 256 ? 'h' + number(i, 1) : 'j' + number(i, 4); }
inline std::string real(double v) {
    const auto bits = std::bit_cast<std::uint64_t>(v);
    std::string out = "G";
    for (int i = 7; i >= 0; --i) out += static_cast<char>(static_cast<unsigned char>(bits >> (8 * i)));
    return out;
}
inline std::string times(std::size_t n, std::string_view what) {
    std::string out;
    out.reserve(n * what.size());
    for (std::size_t i = 0; i < n; ++i) out += what;
    return out;
}
/// ('storage', class, key, 'cpu', numel) and BINPERSID.
inline std::string storage(std::string_view type, std::string_view key, std::uint64_t numel) {
    return '(' + text("storage") + global("torch", type) + text(key) + text("cpu") +
           int4(static_cast<std::int64_t>(numel)) + "tQ";
}
/// A one-dimensional tensor of the first `numel` elements.
inline std::string tensor(std::string_view type, std::string_view key, std::uint64_t numel) {
    return global("torch._utils", "_rebuild_tensor_v2") + '(' + storage(type, key, numel) + "K\0"s +
           int4(static_cast<std::int64_t>(numel)) + "\x85K\1\x85\x89" + global("collections", "OrderedDict") + ")RtR";
}

} // namespace pickles

/// Storages "0" to "3" of 16, 32, 64 and 128 bytes, and what arrays bring.
class pickle_storages final : public ckpt::detail::storage_source, public ckpt::detail::storage_maker {
  public:
    pickle_storages() {
        for (std::size_t i = 0; i < 4; ++i) known_[i] = std::span{zeros_}.first(std::size_t{16} << i);
    }
    ckpt::errc find(std::string_view key, std::uint32_t& storage) override {
        if (key.size() != 1 || key[0] < '0' || key[0] > '3') return ckpt::errc::record_missing;
        storage = static_cast<std::uint32_t>(key[0] - '0');
        return ckpt::errc::none;
    }
    std::uint32_t add(std::span<const std::byte> bytes, ckpt::byte_order, std::uint64_t) override {
        known_.push_back(bytes);
        return static_cast<std::uint32_t>(known_.size() - 1);
    }
    [[nodiscard]] std::uint64_t nbytes(std::uint32_t s) const noexcept override { return known_[s].size(); }
    [[nodiscard]] ckpt::byte_order order(std::uint32_t) const noexcept override { return ckpt::byte_order::little; }
    [[nodiscard]] std::string_view key(std::uint32_t s) const noexcept override {
        return s < 4 ? std::string_view{"0123"}.substr(s, 1) : std::string_view{};
    }
    [[nodiscard]] ckpt::result<std::uint64_t> file_offset(std::uint32_t) const override { return std::uint64_t{0}; }
    [[nodiscard]] ckpt::result<std::span<const std::byte>> bytes(std::uint32_t s) const override { return known_[s]; }
    [[nodiscard]] ckpt::result<void> read(std::uint32_t s, std::uint64_t offset,
                                          std::span<std::byte> out) const override {
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = known_[s][static_cast<std::size_t>(offset) + i];
        return {};
    }

  private:
    std::vector<std::byte> zeros_ = std::vector<std::byte>(128);
    std::vector<std::span<const std::byte>> known_{4};
};

/// What became of a pickle: it begins at 0x100 of its file.
class parsed {
  public:
    static constexpr std::uint64_t base = 0x100;

    explicit parsed(std::string pickle,
                    const ckpt::detail::allowlist& allowed = ckpt::detail::allowlist_of<ckpt::inspect_policy>(),
                    const ckpt::limits& limits = {})
        : bytes_{std::move(pickle)}, allowed_{allowed}, limits_{limits} {
        graph.pickle = std::as_bytes(std::span<const char>{bytes_.data(), bytes_.size()});
        graph.base = base;
        graph.record = "archive/data.pkl";
        graph.storages = &storages;
        machine = std::make_unique<ckpt::detail::machine>(graph, allowed_, limits_);
        auto run = machine->run();
        if (!run) {
            error = run.error();
            return;
        }
        ckpt::detail::resolver meaning{graph, storages, limits_, allowed_};
        if (auto resolved = meaning.run(); !resolved) error = resolved.error();
    }

    [[nodiscard]] ckpt::errc code() const { return error.code; }
    [[nodiscard]] bool ok() const { return code() == ckpt::errc::none; }
    [[nodiscard]] ckpt::value root() const {
        return ok() ? ckpt::detail::value_access::make(graph, graph.root) : ckpt::value{};
    }

  private:
    std::string bytes_;
    ckpt::detail::allowlist allowed_;
    ckpt::limits limits_;

  public:
    pickle_storages storages{};
    ckpt::detail::graph graph{ckpt::detail::shared<ckpt::detail::block_pool>{}};
    std::unique_ptr<ckpt::detail::machine> machine{};
    ckpt::error error{};
};

template <class Policy> [[nodiscard]] parsed parse(std::string pickle, const ckpt::limits& limits = {}) {
    return parsed{std::move(pickle), ckpt::detail::allowlist_of<Policy>(), limits};
}
template <class Policy = ckpt::inspect_policy>
[[nodiscard]] ckpt::errc code_of(std::string pickle, const ckpt::limits& limits = {}) {
    return parse<Policy>(std::move(pickle), limits).code();
}

/// A value much as Python's `repr` shows it; "..." for a value inside itself.
inline std::string show(const ckpt::value& v, std::vector<std::uint32_t> path = {}) {
    using ckpt::kind;
    for (const std::uint32_t id : path)
        if (id == v.object_id() && v) return "...";
    path.push_back(v.object_id());
    const auto list = [&](auto range) {
        std::string out;
        for (const ckpt::value e : range) out += (out.empty() ? "" : ", ") + show(e, path);
        return out;
    };
    const auto hex = [](std::span<const std::byte> bytes) {
        std::string out;
        for (const std::byte b : bytes) {
            const auto n = std::to_integer<unsigned>(b);
            if (n >= 0x20 && n < 0x7F) out += static_cast<char>(n);
            else out += "\\x"s + "0123456789abcdef"[n >> 4] + "0123456789abcdef"[n & 15];
        }
        return out;
    };
    switch (v.kind()) {
    case kind::absent: return "absent";
    case kind::none: return "None";
    case kind::boolean: return *v.as_bool() ? "True" : "False";
    case kind::integer:
        if (const auto i = v.as_int()) return ckpt::detail::decimal(*i);
        return "int:" + hex(*v.as_integer_bytes());
    case kind::real: return "f" + ckpt::detail::shortest(*v.as_real());
    case kind::complex:
        return "complex(" + ckpt::detail::shortest(v.as_complex().value().real) + ", " +
               ckpt::detail::shortest(v.as_complex().value().imaginary) + ')';
    case kind::string: return (v.is_utf8() ? "'" : "?'") + hex(std::as_bytes(std::span{*v.as_string()})) + '\'';
    case kind::bytes: return (v.is_byte_array() ? "bytearray'" : "b'") + hex(*v.as_bytes()) + '\'';
    case kind::tuple: return '(' + list(v.elements()) + ')';
    case kind::list: return '[' + list(v.elements()) + ']';
    case kind::set: return (v.is_frozen_set() ? "frozenset{" : "set{") + list(v.elements()) + '}';
    case kind::dictionary: {
        std::string out;
        for (const ckpt::value::entry e : v.entries())
            out += (out.empty() ? "" : ", ") + show(e.key, path) + ": " + show(e.mapped, path);
        out = '{' + out + '}';
        if (v.class_of()) out = show(v.class_of(), path) + out;
        return v.state() ? out + '!' + show(v.state(), path) : out;
    }
    case kind::tensor:
        return v.refusal() != nullptr ? "tensor refused " + std::string(ckpt::info(v.refusal()->code).name) : "tensor";
    case kind::storage: return "storage " + std::string(v.as_storage().value().key);
    case kind::array: return "array";
    case kind::global: return std::string(v.as_global().value().module) + '.' + std::string(v.as_global().value().name);
    case kind::object: {
        std::string out = show(v.class_of(), path) + show(v.args(), path);
        if (v.kwargs()) out += "**" + show(v.kwargs(), path);
        if (v.state()) out += '!' + show(v.state(), path);
        if (!v.items().empty()) out += "+[" + list(v.items()) + ']';
        return out;
    }
    case kind::persistent: return "persistent(" + show(v.persistent_argument(), path) + ')';
    case kind::refused: return "refused " + std::string(ckpt::info(v.refusal()->code).name);
    }
    return "?";
}

/// The value of a pickle as text, or the name of its error.
template <class Policy = ckpt::inspect_policy> [[nodiscard]] std::string read(std::string pickle) {
    const parsed p = parse<Policy>(std::move(pickle));
    return p.ok() ? show(p.root()) : std::string(ckpt::info(p.code()).name);
}

} // namespace test_support
