// ckpt/pickle/value.hpp: reading the value graph, and making values in a builder.
//
// SPDX-License-Identifier: MIT
// In:      a graph that the resolver has finished, or is working on (`call`).
// Out:     `value`, a borrowed handle whose accessors never throw and never guess: a wrong type is an error.
// Refuses: nothing; every accessor of a value that could not be built returns that value's own error.
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/names.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What a value is. Mappings of every class are `dictionary`; what has no meaning is `object`.
enum class kind : std::uint8_t {
    absent,
    none,
    boolean,
    integer,
    real,
    complex,
    string,
    bytes,
    tuple,
    list,
    dictionary,
    set,
    tensor,
    storage,
    array,
    global,
    object,
    persistent,
    refused,
};

[[nodiscard]] constexpr std::string_view name(kind k) noexcept {
    switch (k) {
    case kind::absent: return "absent";
    case kind::none: return "None";
    case kind::boolean: return "bool";
    case kind::integer: return "int";
    case kind::real: return "float";
    case kind::complex: return "complex";
    case kind::string: return "str";
    case kind::bytes: return "bytes";
    case kind::tuple: return "tuple";
    case kind::list: return "list";
    case kind::dictionary: return "dict";
    case kind::set: return "set";
    case kind::tensor: return "tensor";
    case kind::storage: return "storage";
    case kind::array: return "ndarray";
    case kind::global: return "global";
    case kind::object: return "object";
    case kind::persistent: return "persistent id";
    case kind::refused: return "refused value";
    }
    return "absent";
}

/// A module and a name, as written in the file. Borrows from the checkpoint.
struct global_name {
    std::string_view module{};
    std::string_view name{};
    friend bool operator==(const global_name&, const global_name&) = default;
};

/// The dotted name in present spelling: "numpy._core.multiarray.scalar" and "builtins.set", also where numpy 1 or
/// Python 2 wrote another.
[[nodiscard]] inline std::string canonical(const global_name& g) {
    const detail::canonical_name present{g.module, g.name};
    return std::string(present.module()).append(1, '.').append(present.name());
}

/// A storage that stands in the object for itself, or below a tensor.
struct storage_value {
    std::uint32_t id{};     ///< equal for tensors that share it
    std::string_view key{}; ///< in the archive
    std::uint64_t nbytes{};
    std::optional<ckpt::dtype> type{}; ///< none for an untyped storage
};

/// A numpy array: how numpy described it, and the tensor that reads it.
struct numpy_array {
    std::string_view type{}; ///< "<f8"
    bool fortran_order{};
    ckpt::tensor tensor{};
};

/// One value of the file. A borrowed handle, cheap to copy; it must not outlive the checkpoint.
/// A default-constructed value is absent: every accessor fails, every range is empty.
class value {
  public:
    class range;
    struct entry;
    class entry_range;

    value() noexcept = default;

    [[nodiscard]] ckpt::kind kind() const noexcept;
    [[nodiscard]] explicit operator bool() const noexcept { return node_ != detail::absent_node; }
    [[nodiscard]] bool is_none() const noexcept { return kind() == ckpt::kind::none; }

    [[nodiscard]] result<bool> as_bool() const;
    /// Fails with `wrong_type` for an integer beyond 64 bits; `as_integer_bytes` reads those.
    [[nodiscard]] result<std::int64_t> as_int() const;
    /// Any integer, as little-endian two's complement; the span is empty for zero and for small ones use `as_int`.
    [[nodiscard]] result<std::span<const std::byte>> as_integer_bytes() const;
    /// A float, or an integer that a double holds exactly.
    [[nodiscard]] result<double> as_real() const;
    [[nodiscard]] result<detail::complex_value> as_complex() const;
    /// The text of a str. Usually UTF-8; see `is_utf8`.
    [[nodiscard]] result<std::string_view> as_string() const;
    /// bytes, bytearray, or a Python 2 str.
    [[nodiscard]] result<std::span<const std::byte>> as_bytes() const;
    [[nodiscard]] result<ckpt::tensor> as_tensor() const;
    [[nodiscard]] result<ckpt::dtype> as_dtype() const;
    [[nodiscard]] result<storage_value> as_storage() const;
    [[nodiscard]] result<numpy_array> as_array() const;
    /// A class or a function that stands as a value.
    [[nodiscard]] result<global_name> as_global() const;

    /// False for a str with lone surrogates or with bytes of another encoding (Python 2).
    [[nodiscard]] bool is_utf8() const noexcept;
    [[nodiscard]] bool is_byte_array() const noexcept;
    [[nodiscard]] bool is_frozen_set() const noexcept;
    /// A dictionary, or an object of another mapping class: its items are keys and values in turn. An object without
    /// items does not show what it is.
    [[nodiscard]] bool is_mapping() const noexcept;
    /// A torch.nn.Module that was pickled as a whole, of whatever class: an object with the attributes `_parameters`,
    /// `_buffers` and `_modules`; or a module of a TorchScript archive, whose attributes are tensors and modules. Its
    /// tensors are found under their state_dict names.
    [[nodiscard]] bool is_module() const noexcept;

    /// Elements of a list, tuple or set, entries of a dictionary, items of an object; 0 otherwise.
    [[nodiscard]] std::size_t size() const noexcept;
    /// The element of a list or a tuple; absent past its end.
    [[nodiscard]] value operator[](std::size_t index) const noexcept;
    /// The elements of a list, a tuple or a set.
    [[nodiscard]] range elements() const noexcept;
    /// The entries of a dictionary, in the file's order; also those of an object that is a mapping.
    [[nodiscard]] entry_range entries() const noexcept;

    /// The class of an object or of a dictionary; absent for plain ones. A global, or an inert application.
    [[nodiscard]] value class_of() const noexcept;
    /// What an object was called with: a tuple.
    [[nodiscard]] value args() const noexcept;
    /// The keyword arguments of an object made by NEWOBJ_EX: a dictionary, or absent.
    [[nodiscard]] value kwargs() const noexcept;
    /// What BUILD gave an object or a dictionary; usually a dictionary of attributes.
    [[nodiscard]] value state() const noexcept;
    /// What was set or appended to an object: keys and values in turn, or elements.
    [[nodiscard]] range items() const noexcept;
    /// The argument of a persistent id that has no meaning here.
    [[nodiscard]] value persistent_argument() const noexcept;

    /// One step: an entry of a dictionary, an attribute of an object; of a module also a parameter, a buffer or a
    /// submodule by its dotted name ("layer1.0.weight").
    [[nodiscard]] result<value> at(std::string_view key) const;
    /// One step: an element of a list or a tuple, an integer key of a dictionary, an item of an object, or an element
    /// of its state where that is a list or a tuple.
    [[nodiscard]] result<value> at(std::int64_t index) const;
    /// Several steps: elements joined by '/', with `\/` and `\\` for those characters inside one.
    /// Fails with `path_missing`, naming the longest part that exists.
    [[nodiscard]] result<value> find(std::string_view path) const;

    /// The error of a value that could not be built; null for every other.
    [[nodiscard]] const ckpt::error* refusal() const noexcept;
    /// Two handles to one object of the file, not merely equal ones.
    [[nodiscard]] bool same_object(const value& other) const noexcept {
        return graph_ == other.graph_ && node_ == other.node_;
    }
    /// A number that is the same for the same object of one file.
    [[nodiscard]] std::uint32_t object_id() const noexcept { return node_; }

  private:
    friend class call;
    friend struct detail_access;
    friend class range;

    value(const detail::graph* graph, std::uint32_t node) noexcept : graph_{graph}, node_{node} {}

    [[nodiscard]] const detail::node& at_node(std::uint32_t index) const noexcept { return graph_->nodes[index]; }
    [[nodiscard]] detail::node self() const noexcept {
        return graph_ != nullptr ? graph_->nodes[node_] : detail::node{};
    }
    [[nodiscard]] value child(std::uint32_t node) const noexcept {
        return node == detail::absent_node ? value{} : value{graph_, node};
    }
    [[nodiscard]] ckpt::error wrong(std::string_view wanted) const;
    /// The entry of a dictionary under a str; absent for anything else.
    [[nodiscard]] value entry_named(std::string_view key) const noexcept;
    /// An attribute of an object: its state is a dictionary, or a pair of one (or None) and the slots.
    [[nodiscard]] value attribute(std::string_view name) const noexcept;
    [[nodiscard]] value module_member(std::string_view dotted) const noexcept;

    const detail::graph* graph_{nullptr};
    std::uint32_t node_{detail::absent_node};
};

/// The library's own way between handles and nodes.
struct detail_access {
    [[nodiscard]] static value make(const detail::graph& g, std::uint32_t node) noexcept {
        return node == detail::absent_node ? value{} : value{&g, node};
    }
    [[nodiscard]] static std::uint32_t node(const value& v) noexcept { return v.node_; }
    [[nodiscard]] static const detail::graph* graph(const value& v) noexcept { return v.graph_; }
};

/// Values in a row. Borrows.
class value::range {
  public:
    class iterator {
      public:
        using value_type = value;
        using difference_type = std::ptrdiff_t;
        iterator() noexcept = default;
        iterator(const detail::graph* graph, const std::uint32_t* at) noexcept : graph_{graph}, at_{at} {}
        [[nodiscard]] value operator*() const noexcept { return detail_access::make(*graph_, *at_); }
        iterator& operator++() noexcept { return ++at_, *this; }
        iterator operator++(int) noexcept { return {graph_, at_++}; }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

      private:
        const detail::graph* graph_{nullptr};
        const std::uint32_t* at_{nullptr};
    };

    range() noexcept = default;
    range(const detail::graph* graph, std::span<const std::uint32_t> nodes) noexcept : graph_{graph}, nodes_{nodes} {}
    [[nodiscard]] iterator begin() const noexcept { return {graph_, nodes_.data()}; }
    [[nodiscard]] iterator end() const noexcept { return {graph_, nodes_.data() + nodes_.size()}; }
    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
    [[nodiscard]] bool empty() const noexcept { return nodes_.empty(); }
    /// Absent past the end.
    [[nodiscard]] value operator[](std::size_t i) const noexcept {
        return i < nodes_.size() ? detail_access::make(*graph_, nodes_[i]) : value{};
    }

  private:
    const detail::graph* graph_{nullptr};
    std::span<const std::uint32_t> nodes_{};
};

/// One entry of a dictionary.
struct value::entry {
    value key{};
    value mapped{};
};

/// The entries of a dictionary. Borrows.
class value::entry_range {
  public:
    class iterator {
      public:
        using value_type = entry;
        using difference_type = std::ptrdiff_t;
        iterator() noexcept = default;
        iterator(const range& all, std::size_t at) noexcept : all_{all}, at_{at} {}
        [[nodiscard]] entry operator*() const noexcept { return {all_[at_], all_[at_ + 1]}; }
        iterator& operator++() noexcept { return at_ += 2, *this; }
        iterator operator++(int) noexcept { return {all_, (at_ += 2) - 2}; }
        /// Goes on by `n` entries.
        void skip(std::size_t n) noexcept { at_ += 2 * n; }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

      private:
        range all_{};
        std::size_t at_{0};
    };
    entry_range() noexcept = default;
    explicit entry_range(const range& all) noexcept : all_{all} {}
    [[nodiscard]] iterator begin() const noexcept { return {all_, 0}; }
    [[nodiscard]] iterator end() const noexcept { return {all_, all_.size()}; }
    [[nodiscard]] std::size_t size() const noexcept { return all_.size() / 2; }

  private:
    range all_{};
};

inline ckpt::kind value::kind() const noexcept {
    using detail::node_kind;
    switch (self().kind) {
    case node_kind::absent: return ckpt::kind::absent;
    case node_kind::none: return ckpt::kind::none;
    case node_kind::boolean: return ckpt::kind::boolean;
    case node_kind::integer:
    case node_kind::big_integer: return ckpt::kind::integer;
    case node_kind::real: return ckpt::kind::real;
    case node_kind::string: return ckpt::kind::string;
    case node_kind::bytes:
    case node_kind::byte_array: return ckpt::kind::bytes;
    case node_kind::tuple: return ckpt::kind::tuple;
    case node_kind::list: return ckpt::kind::list;
    case node_kind::dictionary: return ckpt::kind::dictionary;
    case node_kind::set:
    case node_kind::frozen_set: return ckpt::kind::set;
    case node_kind::global: return ckpt::kind::global;
    case node_kind::persistent: return ckpt::kind::persistent;
    case node_kind::application: return ckpt::kind::object;
    case node_kind::extension: return ckpt::kind::absent;
    case node_kind::complex: return ckpt::kind::complex;
    case node_kind::tensor: return ckpt::kind::tensor;
    case node_kind::storage: return ckpt::kind::storage;
    case node_kind::array: return ckpt::kind::array;
    case node_kind::refused: return ckpt::kind::refused;
    }
    return ckpt::kind::absent;
}

inline const ckpt::error* value::refusal() const noexcept {
    const detail::node n = self();
    if (n.kind == detail::node_kind::tensor) return graph_->tensors[n.a].refusal;
    return n.kind == detail::node_kind::refused ? graph_->errors[n.a] : nullptr;
}

inline ckpt::error value::wrong(std::string_view wanted) const {
    if (const ckpt::error* own = refusal()) return *own;
    return {.code = errc::wrong_type,
            .detail = "expected " + std::string(wanted) + ", found " + std::string(name(kind()))};
}

inline result<bool> value::as_bool() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::boolean) return wrong("bool");
    return n.integer != 0;
}

inline result<std::int64_t> value::as_int() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::big_integer)
        return ckpt::error{.code = errc::wrong_type,
                           .detail = "the integer does not fit in 64 bits",
                           .hint = "read it with as_integer_bytes()"};
    if (n.kind != detail::node_kind::integer) return wrong("int");
    return n.integer;
}

inline result<std::span<const std::byte>> value::as_integer_bytes() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::big_integer) return std::as_bytes(std::span<const char>{n.text, n.a});
    if (n.kind != detail::node_kind::integer) return wrong("int beyond 64 bits");
    return ckpt::error{
        .code = errc::wrong_type, .detail = "the integer fits in 64 bits", .hint = "read it with as_int()"};
}

inline result<double> value::as_real() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::real) return n.real;
    if (n.kind == detail::node_kind::integer && n.integer >= -(std::int64_t{1} << 53) &&
        n.integer <= (std::int64_t{1} << 53))
        return static_cast<double>(n.integer);
    return wrong("float");
}

inline result<detail::complex_value> value::as_complex() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::complex) return wrong("complex");
    return graph_->complexes[n.a];
}

inline result<std::string_view> value::as_string() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::string) return wrong("str");
    return detail::graph::text_of(n);
}

inline result<std::span<const std::byte>> value::as_bytes() const {
    const detail::node n = self();
    using detail::node_kind;
    const bool python2 = n.kind == node_kind::string && (n.flags & detail::node_flag::eight_bit) != 0;
    if (n.kind != node_kind::bytes && n.kind != node_kind::byte_array && !python2) return wrong("bytes");
    return std::as_bytes(std::span<const char>{n.text, n.a});
}

inline result<ckpt::tensor> value::as_tensor() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::array)
        return detail::tensor_access::make(&graph_->tensors[graph_->arrays[n.a].tensor], graph_->storages);
    if (n.kind != detail::node_kind::tensor) return wrong("tensor");
    return detail::tensor_access::make(&graph_->tensors[n.a], graph_->storages);
}

inline result<ckpt::dtype> value::as_dtype() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::global) {
        const detail::global_occurrence& g = graph_->globals[n.a];
        if (g.module == "torch")
            if (const auto type = parse_dtype(g.name)) return *type;
    }
    return wrong("torch.dtype");
}

inline result<storage_value> value::as_storage() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::storage) return wrong("storage");
    storage_value out{.id = n.a, .key = graph_->storages->key(n.a), .nbytes = graph_->storages->nbytes(n.a)};
    if (n.extra != 0xFFFF) out.type = static_cast<ckpt::dtype>(n.extra);
    return out;
}

inline result<numpy_array> value::as_array() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::array) return wrong("ndarray");
    const detail::array_value& a = graph_->arrays[n.a];
    return numpy_array{a.type, a.fortran_order,
                       detail::tensor_access::make(&graph_->tensors[a.tensor], graph_->storages)};
}

inline result<global_name> value::as_global() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::global) return wrong("a class or a function");
    return global_name{graph_->globals[n.a].module, graph_->globals[n.a].name};
}

inline bool value::is_utf8() const noexcept { return (self().flags & detail::node_flag::not_utf8) == 0; }
inline bool value::is_byte_array() const noexcept { return self().kind == detail::node_kind::byte_array; }
inline bool value::is_frozen_set() const noexcept { return self().kind == detail::node_kind::frozen_set; }

inline value::range value::elements() const noexcept {
    const detail::node n = self();
    using detail::node_kind;
    if (n.kind == node_kind::tuple || n.kind == node_kind::list || n.kind == node_kind::set ||
        n.kind == node_kind::frozen_set)
        return {graph_, graph_->elements(n)};
    return {};
}

inline bool value::is_mapping() const noexcept {
    const detail::node n = self();
    if (n.kind != detail::node_kind::application) return n.kind == detail::node_kind::dictionary;
    return (n.flags & (detail::node_flag::pairs | detail::node_flag::elements)) == detail::node_flag::pairs;
}

inline bool value::is_module() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::application && (n.flags & detail::node_flag::module) != 0;
}

inline value::entry_range value::entries() const noexcept {
    const detail::node n = self();
    if (n.kind == detail::node_kind::application && is_mapping()) return entry_range{items()};
    if (n.kind != detail::node_kind::dictionary) return entry_range{};
    return entry_range{range{graph_, graph_->elements(n)}};
}

inline value::range value::items() const noexcept {
    if (self().kind != detail::node_kind::application) return {};
    return {graph_, graph_->items_of(at_node(node_ + 1).link.b)};
}

inline std::size_t value::size() const noexcept {
    switch (self().kind) {
    case detail::node_kind::dictionary: return entries().size();
    case detail::node_kind::application: return items().size();
    default: return elements().size();
    }
}

inline value value::operator[](std::size_t index) const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::tuple || n.kind == detail::node_kind::list ? elements()[index] : value{};
}

inline value value::class_of() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::application || n.kind == detail::node_kind::dictionary ? child(n.link.b)
                                                                                               : value{};
}
inline value value::args() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::application ? child(n.a) : value{};
}
inline value value::kwargs() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::application ? child(n.link.c) : value{};
}
inline value value::state() const noexcept {
    const detail::node n = self();
    if (n.kind == detail::node_kind::application) return child(at_node(node_ + 1).a);
    if (n.kind == detail::node_kind::dictionary && n.link.c != 0) return child(at_node(n.link.c).a);
    return {};
}
inline value value::persistent_argument() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::persistent ? child(n.a) : value{};
}

inline value value::entry_named(std::string_view key) const noexcept {
    for (const entry e : entries())
        if (const detail::node n = e.key.self();
            n.kind == detail::node_kind::string && detail::graph::text_of(n) == key)
            return e.mapped;
    return {};
}

inline value value::attribute(std::string_view name) const noexcept {
    const value own = state();
    if (own.kind() != ckpt::kind::tuple) return own.entry_named(name);
    if (own.size() == 2)
        for (const value part : own.elements())
            if (const value found = part.entry_named(name)) return found;
    return {};
}

inline value value::module_member(std::string_view dotted) const noexcept {
    value here = *this;
    while (here.is_module()) {
        for (const std::string_view part : {"_parameters", "_buffers", "_modules"})
            if (const value found = here.attribute(part).entry_named(dotted)) return found;
        value submodules = here.attribute("_modules");
        if (!submodules) { // of TorchScript: tensors and submodules are attributes
            submodules = here.state();
            if (const value found = submodules.entry_named(dotted)) return found;
        } else if (const value found = here.attribute(dotted)) {
            return found; // what is no part of a state_dict
        }
        // The first submodule that leads on; PyTorch allows no dot in a name.
        here = {};
        for (std::size_t dot = dotted.find('.'); dot != std::string_view::npos && !here;
             dot = dotted.find('.', dot + 1))
            if (const value below = submodules.entry_named(dotted.substr(0, dot))) {
                here = below;
                dotted.remove_prefix(dot + 1);
            }
    }
    return {};
}

inline result<value> value::at(std::string_view key) const {
    if (kind() == ckpt::kind::dictionary) {
        if (const value found = entry_named(key)) return found;
    } else if (kind() == ckpt::kind::object) {
        if (const value found = attribute(key)) return found;
        if (const value found = module_member(key)) return found;
        // A mapping of a class without a builder: keys and values in turn.
        const range all = items();
        for (std::size_t i = 0; i + 1 < all.size(); i += 2)
            if (const detail::node n = all[i].self();
                n.kind == detail::node_kind::string && detail::graph::text_of(n) == key)
                return all[i + 1];
    }
    if (refusal() != nullptr) return *refusal();
    return ckpt::error{.code = errc::path_missing,
                       .detail = "no entry " + detail::quoted(key) + " in this " + std::string(name(kind()))};
}

inline result<value> value::at(std::int64_t index) const {
    const auto unsigned_index = static_cast<std::uint64_t>(index);
    if (kind() == ckpt::kind::tuple || kind() == ckpt::kind::list) {
        if (unsigned_index < size()) return (*this)[static_cast<std::size_t>(unsigned_index)];
    } else if (kind() == ckpt::kind::dictionary) {
        for (const entry e : entries())
            if (const detail::node n = e.key.self(); n.kind == detail::node_kind::integer && n.integer == index)
                return e.mapped;
    } else if (kind() == ckpt::kind::object) {
        const range all = items();
        if (unsigned_index < all.size()) return all[static_cast<std::size_t>(unsigned_index)];
        const value own = state();
        if (all.empty() && (own.kind() == ckpt::kind::tuple || own.kind() == ckpt::kind::list) &&
            unsigned_index < own.size())
            return own[static_cast<std::size_t>(unsigned_index)];
    }
    if (refusal() != nullptr) return *refusal();
    return ckpt::error{.code = errc::path_missing,
                       .detail = "no element " + detail::decimal(index) + " in this " + std::string(name(kind())) +
                                 " of " + detail::decimal(std::uint64_t{size()})};
}

inline result<value> value::find(std::string_view path) const {
    value here = *this;
    std::string_view rest = path;
    std::string done;
    while (!rest.empty()) {
        const std::string element = detail::take_path_element(rest);
        const auto by_name = here.at(element);
        const auto index = by_name ? std::nullopt : detail::parse_index(element);
        const result<value> next = index ? here.at(*index) : by_name;
        if (!next) {
            ckpt::error failure = next.error();
            failure.path = done;
            failure.detail =
                failure.code == errc::path_missing
                    ? failure.detail + (done.empty() ? " at the root" : "; " + detail::quoted(done) + " exists")
                    : failure.detail;
            if (failure.hint.empty()) failure.hint = "list what exists with: ckpt show FILE";
            return failure;
        }
        detail::append_path_element(done, element, done.empty());
        here = *next;
    }
    return here;
}

/// What a builder sees: the arguments of one object, and the only ways to make a value.
class call {
  public:
    /// Bounds-checked: an index past the end is an absent value, whose accessors fail.
    value args{};
    value kwargs{};
    value state{};        ///< of BUILD; absent where there was none
    value::range items{}; ///< of APPENDS or SETITEMS (keys and values in turn)

    /// The error to return. `what` is shown; text from the file must go through `quoted` of the caller's own.
    [[nodiscard]] ckpt::error fail(errc code, std::string_view what) const {
        return {.code = code, .offset = offset(), .record = std::string(graph_->record), .detail = std::string(what)};
    }

    [[nodiscard]] result<value> make_none() { return value{graph_, detail::none_node}; }
    [[nodiscard]] result<value> make_bool(bool b) { return value{graph_, b ? detail::true_node : detail::false_node}; }
    [[nodiscard]] result<value> make_int(std::int64_t v) {
        detail::node n = detail::node::of(detail::node_kind::integer);
        n.integer = v;
        return make(n, 0);
    }
    [[nodiscard]] result<value> make_unsigned(std::uint64_t v) {
        if (v <= ~std::uint64_t{0} >> 1) return make_int(static_cast<std::int64_t>(v));
        char bytes[9]{}; // little-endian, and a sign
        for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(static_cast<unsigned char>(v >> (8 * i)));
        return make_text(detail::node_kind::big_integer, {bytes, sizeof bytes});
    }
    [[nodiscard]] result<value> make_real(double v) {
        detail::node n = detail::node::of(detail::node_kind::real);
        n.real = v;
        return make(n, 0);
    }
    [[nodiscard]] result<value> make_complex(double re, double im) {
        graph_->complexes.push_back(graph_->memory, {re, im});
        return make(
            detail::node::of(detail::node_kind::complex, static_cast<std::uint32_t>(graph_->complexes.size() - 1)),
            sizeof(detail::complex_value));
    }
    /// Copies the text.
    [[nodiscard]] result<value> make_string(std::string_view text) {
        return make_text(detail::node_kind::string, text);
    }
    [[nodiscard]] result<value> make_bytes(std::span<const std::byte> bytes) {
        return make_text(detail::node_kind::bytes, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    /// A tuple of values of the same file.
    [[nodiscard]] result<value> make_tuple(std::span<const value> elements) {
        if (!charge(elements.size() * sizeof(std::uint32_t))) return over_budget();
        auto* nodes = graph_->memory.allocate<std::uint32_t>(elements.size());
        for (std::size_t i = 0; i < elements.size(); ++i) nodes[i] = elements[i].node_;
        detail::node n = detail::node::of(detail::node_kind::tuple, static_cast<std::uint32_t>(elements.size()));
        n.items = nodes;
        return make(n, 0);
    }

    call(detail::graph& graph, std::uint32_t node, std::uint64_t& budget, std::uint32_t rank_limit) noexcept
        : graph_{&graph}, node_{node}, budget_{&budget}, rank_limit_{rank_limit} {
        const detail::node self = graph.nodes[node];
        const detail::node more = graph.nodes[node + 1];
        args = detail_access::make(graph, self.a);
        kwargs = detail_access::make(graph, self.link.c);
        state = detail_access::make(graph, more.a);
        items = {&graph, graph.items_of(more.link.b)};
    }

    /// Takes `bytes` from the budget of what builders may make or read; false when it is spent.
    [[nodiscard]] bool charge(std::uint64_t bytes) noexcept {
        if (bytes > *budget_) {
            *budget_ = 0;
            spent_ = true;
            return false;
        }
        *budget_ -= bytes;
        return true;
    }
    /// Whether a charge failed: the file does not open.
    [[nodiscard]] bool over_limit() const noexcept { return spent_; }
    [[nodiscard]] ckpt::error over_budget() const {
        return {.code = errc::limit,
                .offset = offset(),
                .record = std::string(graph_->record),
                .detail = "building the values of this file needs more memory than limits.made_per_byte allows"};
    }

    // For the library's own builders.
    [[nodiscard]] detail::graph& graph() const noexcept { return *graph_; }
    [[nodiscard]] std::uint32_t node() const noexcept { return node_; }
    [[nodiscard]] std::uint32_t rank_limit() const noexcept { return rank_limit_; }
    [[nodiscard]] std::span<const std::uint32_t> arguments() const noexcept {
        return graph_->elements(graph_->nodes[detail_access::node(args)]);
    }
    /// The same call with other arguments (a tuple node), for builders that wrap another.
    [[nodiscard]] call with_arguments(std::uint32_t tuple) const noexcept {
        call out = *this;
        out.args = detail_access::make(*graph_, tuple);
        return out;
    }
    [[nodiscard]] result<value> make_tensor(const detail::tensor_data& data) {
        graph_->tensors.push_back(graph_->memory, data);
        return make(detail::node::of(detail::node_kind::tensor, static_cast<std::uint32_t>(graph_->tensors.size() - 1)),
                    sizeof data);
    }
    /// The object stays what it is: name, arguments and state, without a meaning.
    [[nodiscard]] result<value> keep_inert() const noexcept { return value{graph_, node_}; }
    [[nodiscard]] result<value> make(const detail::node& n, std::uint64_t bytes) {
        if (!charge(sizeof(detail::node) + bytes)) return over_budget();
        return value{graph_, graph_->add(n)};
    }

  private:
    [[nodiscard]] std::uint64_t offset() const noexcept { return graph_->place(graph_->nodes[node_ + 1].link.c); }
    [[nodiscard]] result<value> make_text(detail::node_kind kind, std::string_view text) {
        if (text.size() > 0xFFFF'FFFFu || !charge(text.size())) return over_budget();
        char* copy = graph_->memory.allocate<char>(text.size() + 1);
        if (!text.empty()) std::memcpy(copy, text.data(), text.size());
        detail::node n = detail::node::of(kind, static_cast<std::uint32_t>(text.size()));
        n.text = copy;
        return make(n, 0);
    }

    detail::graph* graph_;
    std::uint32_t node_;
    std::uint64_t* budget_;
    std::uint32_t rank_limit_;
    bool spent_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
