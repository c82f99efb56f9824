// ckpt/pickle/impl/value.ipp: the definitions of value.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/edit_distance.hpp>
#include <ckpt/core/key_path.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/names.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/tensor/convert.hpp>

#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether Python finds a key by an int.
inline bool equals_int(const node& key, std::int64_t wanted) noexcept {
    if (key.kind == node_kind::integer || key.kind == node_kind::boolean) return key.integer == wanted;
    constexpr double most = 9'007'199'254'740'992.0; // up to which every int is a float
    return key.kind == node_kind::real && key.real >= -most && key.real <= most &&
           static_cast<std::int64_t>(key.real) == wanted && static_cast<double>(wanted) == key.real;
}

/// Bytes as Python shows them: b'a\x00'.
CKPT_DETAIL_COLD inline void append_bytes(std::string& out, std::string_view raw) {
    constexpr char digits[] = "0123456789abcdef";
    const char quote = raw.find('\'') != raw.npos && raw.find('"') == raw.npos ? '"' : '\'';
    (out += 'b') += quote;
    for (const char c : raw) {
        const auto b = static_cast<unsigned char>(c);
        if (c == quote || c == '\\') (out += '\\') += c;
        else if (c == '\n') out += "\\n";
        else if (c == '\r') out += "\\r";
        else if (c == '\t') out += "\\t";
        else if (b < 0x20 || b >= 0x7F) ((out += "\\x") += digits[b >> 4]) += digits[b & 15];
        else out += c;
    }
    out += quote;
}

/// A float as Python shows it: 1 is "1.0".
CKPT_DETAIL_COLD inline void append_real(std::string& out, double real) {
    const std::string text = shortest(real);
    out += text;
    if (text.find_first_not_of("-0123456789") == std::string_view::npos) out += ".0";
}

/// A key that is no tuple. Inside a tuple a str stands in quotes: ('a', 1).
CKPT_DETAIL_COLD inline void append_key(std::string& out, const value& v, bool in_tuple) {
    switch (v.kind()) {
    case kind::string:
        if (in_tuple) (out += '\'').append(*v.as_string()) += '\'';
        else out += *v.as_string();
        return;
    case kind::integer:
        if (const auto i = v.as_int()) out += decimal(*i);
        else out += "<int>";
        return;
    case kind::bytes: {
        const auto bytes = *v.as_bytes();
        append_bytes(out, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        return;
    }
    case kind::boolean: out += *v.as_bool() ? "True" : "False"; return;
    case kind::none: out += "None"; return;
    case kind::real: append_real(out, *v.as_real()); return;
    case kind::global: {
        const auto g = *v.as_global();
        (out.append(g.module) += '.').append(g.name);
        return;
    }
    default: (out += '<').append(name(v.kind())) += '>'; return;
    }
}

CKPT_DETAIL_RARE result<void> read_scalar(const tensor& from, ckpt::dtype to, std::byte* out) {
    if (from.numel() == 1 || from.refusal() != nullptr) return from.copy_as(to, {out, itemsize(to)});
    return error{.code = errc::size_mismatch,
                 .detail = str_cat("the tensor has ", from.numel(), " elements, asked for was a single number")};
}

/// Writes a value that is no tensor, read as the widest type of its kind.
template <class T>
inline result<void> write_scalar(ckpt::dtype from, const result<T>& number, ckpt::dtype to, std::byte* out) {
    if (!number) return number.error();
    if (is_convertible(from, to) && convert(from, reinterpret_cast<const std::byte*>(&*number), to, out, 1) == 1)
        return {};
    return error{.code = errc::conversion, .detail = str_cat("the number does not fit into ", name(to))};
}

inline result<void> read_scalar(const value& from, ckpt::dtype to, std::byte* out) {
    if (from.kind() == kind::tensor || from.kind() == kind::array) return read_scalar(*from.as_tensor(), to, out);
    switch (info(to).kind) {
    case dtype_kind::boolean: return write_scalar(ckpt::dtype::bool_, from.as_bool(), to, out);
    case dtype_kind::integer: return write_scalar(ckpt::dtype::int64, from.as_int(), to, out);
    case dtype_kind::complex: return write_scalar(ckpt::dtype::complex128, from.as_complex(), to, out);
    default: return write_scalar(ckpt::dtype::float64, from.as_real(), to, out);
    }
}

CKPT_DETAIL_RARE result<void> read_scalar(const result<value>& found, std::string_view path, ckpt::dtype to,
                                          std::byte* out) {
    if (!found) return found.error();
    auto done = read_scalar(*found, to, out);
    if (done) return done;
    done.error().path = path;
    return found->in_file(std::move(done).error());
}

CKPT_DETAIL_RARE result<std::string> read_text(const result<value>& found, std::string_view path) {
    if (!found) return found.error();
    const auto text = found->as_string();
    if (text) return std::string(*text);
    error failure = text.error();
    failure.path = path;
    return failure;
}

CKPT_DETAIL_RARE bool is_nothing(const result<value>& found) noexcept {
    return found ? found->is_none() : found.error().code == errc::path_missing;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE std::string canonical(const global_name& g) {
    const detail::canonical_name present{g.module, g.name};
    return std::string(present.module()).append(1, '.').append(present.name());
}

CKPT_DETAIL_DEF const detail::node& value::at_node(std::uint32_t index) const noexcept { return graph_->nodes[index]; }

CKPT_DETAIL_INLINE detail::node value::self() const noexcept {
    return graph_ != nullptr ? graph_->nodes[node_] : detail::node{};
}

CKPT_DETAIL_DEF ckpt::kind value::kind() const noexcept {
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

CKPT_DETAIL_DEF const ckpt::error* value::refusal() const noexcept {
    const detail::node n = self();
    if (n.kind == detail::node_kind::tensor) return graph_->tensors[n.a].refusal;
    return n.kind == detail::node_kind::refused ? graph_->errors[n.a] : nullptr;
}

CKPT_DETAIL_RARE ckpt::error value::wrong(std::string_view wanted) const {
    if (const ckpt::error* own = refusal()) return in_file(*own);
    return failure(errc::wrong_type, detail::str_cat("expected ", wanted, ", found ", name(kind())));
}

CKPT_DETAIL_RARE ckpt::error value::failure(errc code, std::string detail, std::string_view hint) const {
    return in_file({.code = code, .detail = std::move(detail), .hint = hint});
}

CKPT_DETAIL_RARE ckpt::error value::in_file(ckpt::error e) const {
    if (graph_ != nullptr && e.file.empty()) e.file = graph_->file;
    return e;
}

CKPT_DETAIL_DEF result<bool> value::as_bool() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::boolean) return wrong("bool");
    return n.integer != 0;
}

CKPT_DETAIL_DEF result<std::int64_t> value::as_int() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::big_integer)
        return failure(errc::wrong_type, "the integer does not fit in 64 bits", "read it with as_integer_bytes()");
    if (n.kind != detail::node_kind::integer) return wrong("int");
    return n.integer;
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> value::as_integer_bytes() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::big_integer) return std::as_bytes(std::span<const char>{n.text, n.a});
    if (n.kind != detail::node_kind::integer) return wrong("int beyond 64 bits");
    return failure(errc::wrong_type, "the integer fits in 64 bits", "read it with as_int()");
}

CKPT_DETAIL_DEF result<double> value::as_real() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::real) return n.real;
    if (n.kind == detail::node_kind::integer && n.integer >= -(std::int64_t{1} << 53) &&
        n.integer <= (std::int64_t{1} << 53))
        return static_cast<double>(n.integer);
    return wrong("float");
}

CKPT_DETAIL_DEF result<detail::complex_value> value::as_complex() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::complex) return wrong("complex");
    return graph_->complexes[n.a];
}

CKPT_DETAIL_DEF result<std::string_view> value::as_string() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::string) return wrong("str");
    return detail::graph::text_of(n);
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> value::as_bytes() const {
    const detail::node n = self();
    using detail::node_kind;
    const bool python2 = n.kind == node_kind::string && (n.flags & detail::node_flag::eight_bit) != 0;
    if (n.kind != node_kind::bytes && n.kind != node_kind::byte_array && !python2) return wrong("bytes");
    return std::as_bytes(std::span<const char>{n.text, n.a});
}

CKPT_DETAIL_DEF result<ckpt::tensor> value::as_tensor() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::array)
        return detail::tensor_access::make(&graph_->tensors[graph_->arrays[n.a].tensor], graph_->storages);
    if (n.kind != detail::node_kind::tensor) return wrong("tensor");
    return detail::tensor_access::make(&graph_->tensors[n.a], graph_->storages);
}

CKPT_DETAIL_RARE result<ckpt::dtype> value::as_dtype() const {
    const detail::node n = self();
    if (n.kind == detail::node_kind::global) {
        const detail::global_occurrence& g = graph_->globals[n.a];
        if (g.module == "torch")
            if (const auto type = parse_dtype(g.name)) return *type;
    }
    return wrong("torch.dtype");
}

CKPT_DETAIL_DEF result<storage_value> value::as_storage() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::storage) return wrong("storage");
    storage_value out{.id = n.a, .key = graph_->storages->key(n.a), .nbytes = graph_->storages->nbytes(n.a)};
    if (n.extra != 0xFFFF) out.type = static_cast<ckpt::dtype>(n.extra);
    return out;
}

CKPT_DETAIL_DEF result<numpy_array> value::as_array() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::array) return wrong("ndarray");
    const detail::array_value& a = graph_->arrays[n.a];
    return numpy_array{a.type, a.fortran_order,
                       detail::tensor_access::make(&graph_->tensors[a.tensor], graph_->storages)};
}

CKPT_DETAIL_DEF result<global_name> value::as_global() const {
    const detail::node n = self();
    if (n.kind != detail::node_kind::global) return wrong("a class or a function");
    return global_name{graph_->globals[n.a].module, graph_->globals[n.a].name};
}

CKPT_DETAIL_DEF bool value::is_utf8() const noexcept { return (self().flags & detail::node_flag::not_utf8) == 0; }

CKPT_DETAIL_DEF bool value::is_byte_array() const noexcept { return self().kind == detail::node_kind::byte_array; }

CKPT_DETAIL_DEF bool value::is_frozen_set() const noexcept { return self().kind == detail::node_kind::frozen_set; }

CKPT_DETAIL_DEF value::range value::elements() const noexcept {
    const detail::node n = self();
    using detail::node_kind;
    if (n.kind == node_kind::tuple || n.kind == node_kind::list || n.kind == node_kind::set ||
        n.kind == node_kind::frozen_set)
        return {graph_, graph_->elements(n)};
    return {};
}

CKPT_DETAIL_DEF bool value::is_mapping() const noexcept {
    const detail::node n = self();
    if (n.kind != detail::node_kind::application) return n.kind == detail::node_kind::dictionary;
    return (n.flags & (detail::node_flag::pairs | detail::node_flag::elements)) == detail::node_flag::pairs;
}

CKPT_DETAIL_DEF bool value::is_module() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::application && (n.flags & detail::node_flag::module) != 0;
}

CKPT_DETAIL_DEF value::entry_range value::entries() const noexcept {
    const detail::node n = self();
    if (n.kind == detail::node_kind::application && is_mapping()) return entry_range{items()};
    if (n.kind != detail::node_kind::dictionary) return entry_range{};
    return entry_range{range{graph_, graph_->elements(n)}};
}

CKPT_DETAIL_DEF value::range value::items() const noexcept {
    if (self().kind != detail::node_kind::application) return {};
    return {graph_, graph_->items_of(at_node(node_ + 1).link.b)};
}

CKPT_DETAIL_DEF std::size_t value::size() const noexcept {
    switch (self().kind) {
    case detail::node_kind::dictionary: return entries().size();
    case detail::node_kind::application: return items().size();
    default: return elements().size();
    }
}

CKPT_DETAIL_DEF value value::operator[](std::size_t index) const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::tuple || n.kind == detail::node_kind::list ? elements()[index] : value{};
}

CKPT_DETAIL_DEF value value::class_of() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::application || n.kind == detail::node_kind::dictionary ? child(n.link.b)
                                                                                               : value{};
}

CKPT_DETAIL_DEF value value::args() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::application ? child(n.a) : value{};
}

CKPT_DETAIL_DEF value value::kwargs() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::application ? child(n.link.c) : value{};
}

CKPT_DETAIL_DEF value value::state() const noexcept {
    const detail::node n = self();
    if (n.kind == detail::node_kind::application) return child(at_node(node_ + 1).a);
    if (n.kind == detail::node_kind::dictionary && n.link.c != 0) return child(at_node(n.link.c).a);
    if (n.kind == detail::node_kind::tensor) return child(n.link.c);
    return {};
}

CKPT_DETAIL_RARE value value::at_position(std::size_t position) const noexcept {
    const range all = items();
    if (position < all.size()) return all[position];
    position -= all.size();
    const value own = state();
    if (own.kind() == ckpt::kind::tuple || own.kind() == ckpt::kind::list) {
        if (position < own.size()) return own[position];
        position -= own.size();
    }
    return args()[position];
}

CKPT_DETAIL_DEF value value::persistent_argument() const noexcept {
    const detail::node n = self();
    return n.kind == detail::node_kind::persistent ? child(n.a) : value{};
}

CKPT_DETAIL_DEF value value::entry_named(std::string_view key) const noexcept {
    for (const entry e : entries())
        if (const detail::node n = e.key.self();
            n.kind == detail::node_kind::string && detail::graph::text_of(n) == key)
            return e.mapped;
    return {};
}

CKPT_DETAIL_DEF value value::attribute(std::string_view name) const noexcept {
    const value own = state();
    if (own.kind() != ckpt::kind::tuple) return own.entry_named(name);
    if (own.size() == 2)
        for (const value part : own.elements())
            if (const value found = part.entry_named(name)) return found;
    return {};
}

CKPT_DETAIL_DEF value value::module_member(std::string_view dotted) const noexcept {
    value here = *this;
    while (here.is_module()) {
        for (const std::string_view part : {"_parameters", "_buffers", "_modules"})
            if (const value found = here.attribute(part).entry_named(dotted)) return found;
        value submodules = here.attribute("_modules");
        if (!submodules) { // of TorchScript: tensors and submodules are attributes
            submodules = here.state();
            if (const value found = submodules.entry_named(dotted)) return found;
        } else if (const value found = here.attribute(dotted)) {
            return found; // an attribute that is not in the state_dict
        }
        // The first submodule whose name is a prefix. PyTorch allows no dot in a name.
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

CKPT_DETAIL_RARE value value::stands_for() const noexcept {
    if (self().kind != detail::node_kind::application) return {};
    const detail::node made_by = class_of().self();
    if (made_by.kind != detail::node_kind::global) return {};
    const detail::global_occurrence& g = graph_->globals[made_by.a];
    const auto either = [this](std::string_view name, std::string_view before) {
        const value found = attribute(name);
        return found ? found : attribute(before); // omegaconf 1
    };
    if (g.module == "omegaconf.dictconfig" || g.module == "omegaconf.listconfig" || g.module == "omegaconf.base")
        return either("_content", "content");
    if (g.module == "omegaconf.nodes") return either("_val", "val");
    if (g.module != "ml_collections.config_dict.config_dict") return {};
    if (g.name != "FieldReference") return attribute("_fields");
    const value steps = attribute("_ops"); // what Python would compute of it
    return steps.kind() == ckpt::kind::list && steps.size() == 0 ? attribute("_value") : value{};
}

CKPT_DETAIL_DEF value value::plain() const noexcept {
    constexpr int deepest = 16; // a reference to a reference, which may be a cycle
    value here = *this;
    for (int i = 0; i < deepest; ++i) {
        const value below = here.stands_for();
        if (!below) break;
        here = below;
    }
    return here;
}

CKPT_DETAIL_DEF value value::unwrapped() const noexcept {
    const value inner = plain();
    const ckpt::kind k = inner.kind();
    return k == ckpt::kind::dictionary || k == ckpt::kind::list ? *this : inner;
}

CKPT_DETAIL_DEF result<value> value::at(std::string_view key) const {
    if (kind() == ckpt::kind::dictionary) {
        if (const value found = entry_named(key)) return found;
        if (const value found = attribute(key)) return found;
    } else if (kind() == ckpt::kind::tensor) {
        if (const value found = attribute(key)) return found;
    } else if (kind() == ckpt::kind::object) {
        if (const value found = attribute(key)) return found;
        if (const value found = module_member(key)) return found;
        // An object of a mapping class without a builder: its items are keys and values in turn.
        const range all = items();
        for (std::size_t i = 0; i + 1 < all.size(); i += 2)
            if (const detail::node n = all[i].self();
                n.kind == detail::node_kind::string && detail::graph::text_of(n) == key)
                return all[i + 1];
        if (const value found = kwargs().entry_named(key)) return found;
        if (const value found = plain().entry_named(key)) return found.unwrapped();
    }
    if (refusal() != nullptr) return in_file(*refusal());
    return failure(errc::path_missing, detail::str_cat("no entry ", detail::quoted(key), " in this ", name(kind())));
}

CKPT_DETAIL_DEF result<value> value::at(std::int64_t index) const {
    const auto unsigned_index = static_cast<std::uint64_t>(index);
    if (kind() == ckpt::kind::tuple || kind() == ckpt::kind::list) {
        if (unsigned_index < size()) return (*this)[static_cast<std::size_t>(unsigned_index)];
    } else if (kind() == ckpt::kind::dictionary) {
        for (const entry e : entries())
            if (detail::equals_int(e.key.self(), index)) return e.mapped;
    } else if (kind() == ckpt::kind::object && index >= 0) {
        if (const value found = at_position(static_cast<std::size_t>(index))) return found;
        if (const value inner = plain(); inner.kind() != ckpt::kind::object)
            if (const auto found = inner.at(index)) return found->unwrapped();
    }
    if (refusal() != nullptr) return in_file(*refusal());
    return failure(errc::path_missing,
                   detail::str_cat("no element ", index, " in this ", name(kind()), " of ", size()));
}

CKPT_DETAIL_RARE std::string key_text(const value& key) {
    std::string out;
    if (key.kind() != kind::tuple) {
        detail::append_key(out, key, false);
        return out;
    }
    out += '(';
    std::size_t n = 0;
    for (const value v : key.elements()) {
        if (n++ > 0) out += ", ";
        if (n > 16) {
            out += "...";
            break;
        }
        detail::append_key(out, v, true);
    }
    if (n == 1) out += ',';
    out += ')';
    return out;
}

CKPT_DETAIL_RARE result<value> value::below(std::string_view element) const {
    value found = entry_named(element);
    std::size_t keys = found ? 1 : 0;
    for (const entry e : entries()) {
        if (e.key.kind() == ckpt::kind::string || key_text(e.key) != element) continue;
        if (++keys == 1) found = e.mapped;
    }
    if (keys > 1)
        return failure(
            errc::key_duplicate,
            detail::str_cat(detail::quoted(element), " is the text of ", keys, " keys of this ", name(kind())),
            "step down to it by value::at, which takes a str or an int; a path of the program ckpt is "
            "exact as JSON: [1] or [\"1\"]");
    if (found) return found;
    auto by_name = at(element);
    if (by_name) return by_name;
    const auto index = detail::parse_index(element);
    return index ? at(*index) : by_name;
}

CKPT_DETAIL_RARE std::string detail::nearest_key(const value& v, std::string_view wanted) {
    nearest_name closest{wanted};
    const auto offer = [&closest](const value& dictionary) {
        for (const value::entry e : dictionary.entries())
            if (!closest.offer(key_text(e.key))) return;
    };
    offer(v.plain());
    offer(v.state());
    for (const value part : v.state().elements()) offer(part);
    return closest.best();
}

CKPT_DETAIL_RARE void detail::say_what_exists(ckpt::error& missing, const value& here, const std::string& done,
                                              std::string_view element) {
    missing.path = done;
    if (missing.hint.empty()) missing.hint = "entries() and items() of a value give what it holds";
    if (missing.code != errc::path_missing) return;
    std::string closest = nearest_key(here, element);
    if (done.empty()) missing.detail += " at the root";
    else if (closest.empty()) missing.detail += str_cat("; ", quoted(done), " exists");
    if (closest.empty()) return;
    std::string path = done;
    append_path_element(path, closest, done.empty());
    missing.detail += str_cat("; nearest: ", quoted(path));
}

CKPT_DETAIL_DEF result<value> value::find(std::string_view path) const {
    value here = *this;
    std::string_view rest = path;
    std::string done;
    bool first = true; // nothing was passed yet
    for (bool more = !path.empty(), begins = true; more; begins = false) {
        const std::string element = detail::take_path_element(rest, &more);
        const result<value> next = here.below(element);
        if (!next && element.empty() && (begins || !more)) continue; // a '/' at the beginning or at the end
        if (!next) {
            ckpt::error failure = next.error();
            detail::say_what_exists(failure, here, done, element);
            return failure;
        }
        detail::append_path_element(done, element, std::exchange(first, false));
        here = *next;
    }
    return here;
}

CKPT_DETAIL_RARE result<value> call::make(const detail::node& n, std::uint64_t bytes) {
    if (!charge(sizeof(detail::node) + bytes)) return over_budget();
    return value{graph_, graph_->add(n)};
}

CKPT_DETAIL_RARE result<value> call::make_int(std::int64_t v) {
    detail::node n = detail::node::of(detail::node_kind::integer);
    n.integer = v;
    return make(n, 0);
}

CKPT_DETAIL_DEF result<value> call::make_unsigned(std::uint64_t v) {
    if (v <= ~std::uint64_t{0} >> 1) return make_int(static_cast<std::int64_t>(v));
    char bytes[9]{}; // little-endian, and a sign
    for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(static_cast<unsigned char>(v >> (8 * i)));
    return make_text(detail::node_kind::big_integer, {bytes, sizeof bytes});
}

CKPT_DETAIL_RARE result<value> call::make_real(double v) {
    detail::node n = detail::node::of(detail::node_kind::real);
    n.real = v;
    return make(n, 0);
}

CKPT_DETAIL_RARE result<value> call::make_complex(double re, double im) {
    graph_->complexes.push_back(graph_->memory, {re, im});
    return make(detail::node::of(detail::node_kind::complex, static_cast<std::uint32_t>(graph_->complexes.size() - 1)),
                sizeof(detail::complex_value));
}

CKPT_DETAIL_RARE result<value> call::make_tuple(std::span<const value> elements) {
    if (!charge(elements.size() * sizeof(std::uint32_t))) return over_budget();
    auto* nodes = graph_->memory.allocate<std::uint32_t>(elements.size());
    for (std::size_t i = 0; i < elements.size(); ++i) nodes[i] = elements[i].node_;
    detail::node n = detail::node::of(detail::node_kind::tuple, static_cast<std::uint32_t>(elements.size()));
    n.items = nodes;
    return make(n, 0);
}

CKPT_DETAIL_RARE ckpt::failure call::over_budget() const {
    return ckpt::error{.code = errc::limit,
                       .offset = offset(),
                       .record = std::string(graph_->record),
                       .detail = "building the values of this file needs more memory than limits.made_per_byte allows"};
}

CKPT_DETAIL_RARE result<value> call::make_text(detail::node_kind kind, std::string_view text) {
    if (text.size() > 0xFFFF'FFFFu || !charge(text.size())) return over_budget();
    char* copy = graph_->memory.allocate<char>(text.size() + 1);
    if (!text.empty()) std::memcpy(copy, text.data(), text.size());
    detail::node n = detail::node::of(kind, static_cast<std::uint32_t>(text.size()));
    n.text = copy;
    return make(n, 0);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE ckpt::failure call::fail(errc code, std::string_view what) const {
    return ckpt::error{
        .code = code, .offset = offset(), .record = std::string(graph_->record), .detail = std::string(what)};
}

CKPT_DETAIL_DEF result<value> call::make_none() { return value{graph_, detail::none_node}; }

CKPT_DETAIL_DEF result<value> call::make_bool(bool b) {
    return value{graph_, b ? detail::true_node : detail::false_node};
}

CKPT_DETAIL_DEF result<value> call::make_bytes(std::span<const std::byte> bytes) {
    return make_text(detail::node_kind::bytes, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

CKPT_DETAIL_DEF std::uint64_t call::offset() const noexcept { return graph_->place(graph_->nodes[node_ + 1].link.c); }

} // namespace ckpt::inline CKPT_DETAIL_ABI
