// ckpt/write/impl/torch_object.ipp: the definitions of torch_object.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/core/key_path.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/core/utf8.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/state/object_walk.hpp>
#include <ckpt/state/walk.hpp>
#include <ckpt/write/chosen_tensors.hpp>
#include <ckpt/write/torch_object.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

namespace torch_words {

/// The present spelling of the class of an object or a dictionary; empty for a plain dict.
inline std::string class_of(const value& v) {
    const value of = v.class_of();
    if (!of) return {};
    return of.kind() == kind::global ? canonical(*of.as_global()) : "a call of an object";
}

inline const node& node_of(const value& v) { return value_access::graph(v)->nodes[v.object_id()]; }

/// The bytes of an int that does not fit in 64 bits; 0 for others, of which `as_integer_bytes` would make an error.
inline std::uint32_t integer_bytes(const value& v) {
    const node& n = node_of(v);
    return n.kind == node_kind::big_integer ? n.a : 0;
}

/// Whether a str of Python 2 is no text, and so bytes.
inline bool is_raw(const value& v) {
    const node& n = node_of(v);
    return (n.flags & node_flag::eight_bit) != 0 && (n.flags & node_flag::not_utf8) != 0;
}

/// Whether bytes are too many: they are written as a text, in which each may become two.
inline bool is_too_long(const value& v) {
    return (v.kind() == kind::bytes || is_raw(v)) && node_of(v).a > pickle_writer::longest_text / 2;
}

/// A class or a constant that torch's safe mode reads as a value.
inline bool is_constant(const value& v) {
    const auto named = v.as_global();
    if (!named) return false;
    if (named->module == "torch") {
        if (v.as_dtype()) return true;
        for (const qscheme s : {qscheme::per_tensor_affine, qscheme::per_tensor_symmetric, qscheme::per_channel_affine,
                                qscheme::per_channel_symmetric, qscheme::per_channel_affine_float_qparams})
            if (named->name == name(s)) return true;
    }
    const std::string full = canonical(*named);
    return full == "collections.OrderedDict" || full == "collections.Counter" || full == "torch.Tensor" ||
           full == "torch.Size" || full == "torch.device" || full == "torch.nn.parameter.Parameter";
}

/// A call that torch's safe mode makes, and that is kept as it is.
inline bool is_known_call(const value& v) {
    if (v.kind() != kind::object || v.kwargs() || v.state() || v.size() > 0) return false;
    const std::string called = class_of(v);
    return called == "torch.device" || called == "torch.serialization._get_layout";
}

inline bool is_size(const value& v) {
    return (value_access::graph(v)->nodes[v.object_id()].flags & node_flag::torch_size) != 0;
}

inline bool is_empty_state(const value& state) {
    return !state || state.is_none() || (state.kind() == kind::dictionary && state.size() == 0);
}

/// Whether an object has attributes by name, entries or elements.
inline bool has_members(const value& v) {
    return v.size() > 0 || v.state().kind() == kind::dictionary || is_slots_pair(v.state());
}

/// What an object without members was made of: a state of another form, or what it was called with, which of an Enum
/// is its value. Absent where that does not say all.
inline value made_of(const value& v) {
    if (!is_empty_state(v.state())) return v.state();
    if (v.kwargs().size() > 0) return {};
    return v.args().size() > 1 ? v.args() : v.args()[0];
}

/// The text of a path of Python's pathlib, which was made of its parts; empty for others.
inline std::string path_text(const value& v) {
    const std::string called = class_of(v);
    if (!called.starts_with("pathlib.") || !called.ends_with("Path")) return {};
    constexpr std::size_t most = 4'096; // of Linux: characters of a path
    if (v.args().size() == 0 || v.args().size() > most) return {};
    const char separator = called.find("Windows") == std::string::npos ? '/' : '\\';
    std::string out;
    for (const value part : v.args().elements()) {
        const auto text = part.as_string();
        if (!text || is_raw(part) || out.size() + 1 + text->size() > pickle_writer::longest_text) return {};
        if (!out.empty() && out.back() != separator) out += separator;
        out += *text;
    }
    return out;
}

/// What is written for an object where objects are written as plain data: itself, where it has members; what it stands
/// for or was made of. Absent where that says too little, or is behind very many others.
inline value plain_of(const value& v) {
    constexpr int deepest = 16;
    value here = v;
    for (int i = 0; here && i < deepest; ++i) {
        here = here.plain();
        if (here.kind() != kind::object || here.is_module() || is_known_call(here) || has_members(here) ||
            !path_text(here).empty())
            return here;
        here = made_of(here);
    }
    return {};
}

/// Whether a path leads to another one, or through it.
inline bool leads_through(std::string_view path, std::string_view other) {
    bool more = !path.empty();
    for (bool expected = !other.empty(); expected;) {
        if (!more) return false;
        if (take_path_element(path, &more) != take_path_element(other, &expected)) return false;
    }
    return true;
}

} // namespace torch_words

CKPT_DETAIL_RARE std::uint32_t& torch_object::seen(const value& v) {
    const graph* const of = value_access::graph(v);
    for (file_memory& f : files_)
        if (f.of == of) return f.numbers[v.object_id()];
    files_.push_back({of, std::vector<std::uint32_t>(of->nodes.size())});
    return files_.back().numbers[v.object_id()];
}

CKPT_DETAIL_RARE bool torch_object::recall(const value& v) {
    const std::uint32_t number = seen(v);
    if (number >= first_number) out_.recall(number - first_number);
    return number >= first_number;
}

CKPT_DETAIL_RARE torch_object::known_tensor& torch_object::known(const tensor_data* data) {
    const auto hash_of = [](const tensor_data* t) { return mix(reinterpret_cast<std::uintptr_t>(t)); };
    const auto next = static_cast<std::uint32_t>(known_.size());
    const std::uint32_t found = table_.insert(
        hash_of(data), next, [&](std::uint32_t i) { return known_[i].data == data; },
        [&](std::uint32_t i) { return hash_of(known_[i].data); });
    if (found == next) known_.push_back({data, unseen});
    return known_[found];
}

CKPT_DETAIL_RARE result<bool> torch_object::match_weights(const state_dict_data& weights) {
    walk_budget budget{there_, limits{}.entries};
    std::size_t tensors_there = 0;
    bool same = true;
    const auto match = [&](const std::vector<path_element>& path, const value& v) {
        if (!same || (v.kind() != kind::tensor && v.kind() != kind::array)) return;
        ++tensors_there;
        const std::string key = path.empty() ? lone_key(weights.path) : located_tensor{.path = path}.key();
        const state_dict_entry* const entry = weights.find(key);
        if (entry == nullptr) {
            same = false;
            return;
        }
        known_tensor& k = known(tensor_access::data(*v.as_tensor()));
        // One object under several keys stays one only where all of them still have the same tensor.
        if (k.stand_in != nullptr)
            same =
                compare_places(*k.stand_in->data, *entry->data) == 0 && k.stand_in->data->extra == entry->data->extra;
        else k.stand_in = entry;
    };
    auto walked = walk_state_dict(there_, budget, errc::limit, match);
    if (!walked) return std::move(walked).failure();
    same = same && tensors_there == weights.entries.size();
    if (!same)
        for (known_tensor& k : known_) k.stand_in = nullptr;
    return same;
}

CKPT_DETAIL_RARE torch_object::outgoing torch_object::outgoing_of(const tensor_data& data, const storage_source* from,
                                                                  std::string_view entry) {
    const state_dict_entry* const stand_in = known(&data).stand_in;
    if (stand_in == nullptr) return {data, from, entry};
    outgoing out{*stand_in->data, weights_->source, stand_in->key};
    out.data.parameter = data.parameter;
    const dtype_kind values = info(out.data.type).kind;
    out.data.requires_grad = data.requires_grad && (values == dtype_kind::floating || values == dtype_kind::complex);
    return out;
}

// --- what can be written ---

CKPT_DETAIL_RARE result<void> torch_object::judge_object(const value& v) {
    if (seen(v) >= first_number) return {};
    if (torch_words::is_known_call(v) && is_key(v.args())) return {};
    if (v.is_module()) return {};
    if (plain_)
        if (const value inside = torch_words::plain_of(v))
            return inside.same_object(v) ? result<void>{} : judge(inside);
    error out = torch_lacks(
        str_cat("an object of the class ", quoted(torch_words::class_of(v)), ", which torch's safe mode refuses"));
    if (!plain_ && (torch_words::has_members(v) || torch_words::made_of(v)))
        out.hint = "Write it as a dictionary of its attributes: torch_options::plain";
    return out;
}

CKPT_DETAIL_RARE result<void> torch_object::judge(const value& v) {
    switch (v.kind()) {
    case kind::integer:
        if (const std::uint32_t bytes = torch_words::integer_bytes(v); bytes > pickle_writer::longest_integer)
            return torch_lacks(str_cat("an int of ", bytes, " bytes; torch's safe mode reads at most 255"));
        return {};
    case kind::string:
    case kind::bytes:
        if (!torch_words::is_too_long(v)) return {};
        return torch_lacks("bytes of 2 GiB and more");
    case kind::tuple:
        return seen(v) == open ? result<void>{torch_lacks("a tuple that contains itself")} : result<void>{};
    case kind::tensor:
    case kind::array: {
        const auto tensor = *v.as_tensor();
        if (seen(tensor_access::data(tensor)) == open) return torch_lacks("a tensor whose attributes contain itself");
        const outgoing one = outgoing_of(*tensor_access::data(tensor), tensor_access::source(tensor), {});
        return torch_tensors::check(one.data, one.from);
    }
    case kind::storage: {
        const graph& g = *value_access::graph(v);
        if ((g.nodes[v.object_id()].flags & node_flag::no_data) == 0) return {};
        return torch_lacks("a storage that was saved without its bytes");
    }
    case kind::global:
        if (plain_ || torch_words::is_constant(v)) return {};
        return torch_lacks(
            str_cat("the class or function ", quoted(canonical(*v.as_global())), ", which torch's safe mode refuses"));
    case kind::object: return judge_object(v);
    case kind::persistent: return torch_lacks("a persistent id that has no meaning here");
    case kind::refused: return *v.refusal();
    case kind::absent: return error{.code = errc::internal, .detail = "a value that does not exist"};
    default: return {};
    }
}

CKPT_DETAIL_RARE result<void> torch_object::judge_child(const frame& in, const child& c) {
    if (in.named && (check_utf8(c.name) == utf8_verdict::invalid || c.name.size() > pickle_writer::longest_text))
        return torch_lacks("the value of a key that is no UTF-8, or longer than 4 GiB");
    if (c.tensor != nullptr) return torch_tensors::check(*c.tensor, in.from);
    if (!c.content) return torch_lacks("a second value of its key");
    if (in.how == form::dictionary && !in.named && !is_key(c.key))
        return torch_lacks(
            str_cat("the value of a key that torch's safe mode cannot make: ", with_article(c.key.kind())));
    return judge(c.content);
}

CKPT_DETAIL_RARE bool torch_object::is_key(const value& v, std::uint32_t& budget) const {
    if (budget == 0) return false;
    --budget;
    switch (v.kind()) {
    case kind::none:
    case kind::boolean:
    case kind::real:
    case kind::complex: return true;
    case kind::string: return !torch_words::is_too_long(v);
    case kind::integer: return torch_words::integer_bytes(v) <= pickle_writer::longest_integer;
    case kind::bytes: return !v.is_byte_array() && !torch_words::is_too_long(v);
    case kind::global: return plain_ || torch_words::is_constant(v);
    case kind::object: return torch_words::is_known_call(v) && is_key(v.args(), budget);
    case kind::tuple:
        for (const value e : v.elements())
            if (!is_key(e, budget)) return false;
        return true;
    default: return false;
    }
}

// --- paths ---

CKPT_DETAIL_RARE std::string torch_object::here(bool dotted) const {
    std::string out(dotted ? std::string_view{} : path_);
    bool first = out.empty();
    for (const frame& f : frames_) {
        if (f.how == form::state || f.how == form::attributes || f.next == 0) continue;
        const child& c = f.children[f.next - 1];
        const std::string element = f.how != form::dictionary ? decimal(std::uint64_t{f.next - 1})
                                    : f.named                 ? std::string(c.name)
                                                              : key_text(c.key);
        if (!dotted) append_path_element(out, element, first);
        else (out += first ? "" : ".") += element;
        first = false;
    }
    return out;
}

CKPT_DETAIL_RARE result<void> torch_object::leave_out(error why) {
    std::string key = here(true);
    const std::uint64_t cost = 2 * key.size() + sizeof why;
    if (cost > text_left_)
        return error{.code = errc::limit,
                     .detail = "so much of the object cannot be written that a list of it would take more than 64 MiB",
                     .hint = "Write a part of it: its state_dict"};
    text_left_ -= cost;
    why.path = here(false);
    if (why.file.empty()) why.file = file_;
    left_out.push_back({std::move(key), std::move(why)});
    return {};
}

CKPT_DETAIL_RARE void torch_object::note_replaced(std::string was, std::string_view now) {
    constexpr std::size_t most = 100; // classes
    for (replaced_value& r : replaced)
        if (r.was == was && r.now == now) {
            ++r.count;
            return;
        }
    if (replaced.size() < most) replaced.push_back({std::move(was), std::string(now), here(false), 1});
}

// --- values without children ---

CKPT_DETAIL_RARE void torch_object::write_bytes(std::span<const std::byte> bytes, bool as_array) {
    std::string latin; // as UTF-8
    latin.reserve(bytes.size());
    for (const std::byte b : bytes) {
        const auto c = std::to_integer<unsigned char>(b);
        if (c >= 0x80) latin += static_cast<char>(0xC0 | (c >> 6));
        latin += static_cast<char>(c < 0x80 ? c : 0x80 | (c & 0x3F));
    }
    if (as_array) out_.global("builtins", "bytearray");
    out_.global("_codecs", "encode");
    out_.text(latin);
    out_.word("latin1");
    out_.tuple(2);
    out_.op(opcode::reduce);
    if (!as_array) return;
    out_.tuple(1);
    out_.op(opcode::reduce);
}

CKPT_DETAIL_RARE void torch_object::write_text(const value& v) {
    if (torch_words::is_raw(v)) {
        note_replaced("str of Python 2", "bytes");
        write_bytes(*v.as_bytes(), false);
    } else {
        out_.text(*v.as_string());
    }
}

CKPT_DETAIL_RARE void torch_object::write_storage(const value& v) {
    const auto storage = *v.as_storage();
    tensors_.write_storage(*value_access::graph(v)->storages, storage.id, storage.type);
}

CKPT_DETAIL_RARE bool torch_object::write_leaf(const value& v) {
    switch (v.kind()) {
    case kind::none: out_.op(opcode::none); return true;
    case kind::boolean: out_.boolean(*v.as_bool()); return true;
    case kind::integer:
        if (torch_words::integer_bytes(v) > 0) out_.long_integer(*v.as_integer_bytes());
        else out_.integer(*v.as_int());
        return true;
    case kind::real: out_.real(*v.as_real()); return true;
    case kind::complex: {
        const complex_value number = *v.as_complex();
        out_.global("builtins", "complex");
        out_.real(number.real);
        out_.real(number.imaginary);
        out_.tuple(2);
        out_.op(opcode::reduce);
        return true;
    }
    case kind::storage: write_storage(v); return true;
    case kind::global: {
        const std::string full = canonical(*v.as_global());
        if (!torch_words::is_constant(v)) {
            note_replaced("a class or function", "its name");
            out_.text(full);
            return true;
        }
        const std::string_view words = full;
        const std::size_t dot = words.rfind('.');
        out_.global(words.substr(0, dot), words.substr(dot + 1));
        return true;
    }
    case kind::string:
    case kind::bytes:
        if (recall(v)) return true;
        if (v.kind() == kind::string) write_text(v);
        else write_bytes(*v.as_bytes(), v.is_byte_array());
        keep(v);
        return true;
    default: return false;
    }
}

CKPT_DETAIL_RARE void torch_object::write_key(const value& v) {
    if (write_leaf(v) || recall(v)) return;
    if (v.kind() == kind::object) {
        const auto called = *v.class_of().as_global();
        if (called.name == "device") out_.global("torch", "device");
        else out_.global("torch.serialization", "_get_layout");
        write_key(v.args());
        out_.op(opcode::reduce);
        keep(v);
    } else {
        write_tuple(v);
    }
}

CKPT_DETAIL_RARE void torch_object::write_tuple(const value& v) {
    const bool size = torch_words::is_size(v);
    if (size) out_.global("torch", "Size");
    out_.tuple_mark(v.size());
    for (const value e : v.elements()) write_key(e);
    out_.tuple(v.size());
    if (size) {
        out_.tuple(1);
        out_.op(opcode::reduce);
    }
    if (size || v.size() > 0) keep(v); // one object is every empty tuple
}

CKPT_DETAIL_RARE result<void> torch_object::write_set(const value& v) {
    if (v.is_frozen_set()) note_replaced("frozenset", "set");
    out_.global("builtins", "set");
    out_.op(opcode::empty_list);
    out_.op(opcode::mark);
    for (const value e : v.elements()) {
        if (is_key(e)) {
            write_key(e);
            continue;
        }
        auto noted = leave_out(
            torch_lacks(str_cat("an element of a set that torch's safe mode cannot make: ", with_article(e.kind()))));
        if (!noted) return noted;
    }
    out_.op(opcode::appends);
    out_.tuple(1);
    out_.op(opcode::reduce);
    keep(v);
    return {};
}

// --- values with children ---

CKPT_DETAIL_RARE void torch_object::begin_sequence(const value& v) {
    const bool list = v.kind() == kind::list;
    if (list) {
        out_.op(opcode::empty_list);
        keep(v);
    } else {
        seen(v) = open;
    }
    frame& f = push(list ? form::list : form::tuple, v);
    f.children.reserve(v.size());
    for (const value e : v.elements()) f.children.push_back({.content = e});
}

CKPT_DETAIL_RARE result<void> torch_object::begin_dictionary(const value& v) {
    const std::string called = torch_words::class_of(v);
    const value state = v.state();
    const bool stated = !torch_words::is_empty_state(state);
    const bool keeps_state = stated && state.kind() == kind::dictionary;
    const bool counter = called == "collections.Counter";
    const bool ordered = called == "collections.OrderedDict" || called == "typing.OrderedDict" ||
                         (called.empty() && keeps_state && !v.class_of());
    if (stated && !(ordered && keeps_state))
        if (auto noted =
                leave_out(torch_lacks(str_cat("the attributes of a dictionary of the class ", quoted(called))));
            !noted)
            return noted;
    if (ordered) {
        out_.empty_ordered_dict();
    } else if (counter) {
        out_.global("collections", "Counter");
        out_.op(opcode::empty_tuple);
        out_.op(opcode::reduce);
    } else {
        out_.op(opcode::empty_dict);
        if (v.class_of()) note_replaced(called, "dict");
    }
    keep(v);
    frame& f = push(form::dictionary, v);
    f.children.reserve(v.size());
    for (const value::entry e : v.entries()) f.children.push_back({.key = e.key, .content = e.mapped});
    if (ordered && keeps_state) push(form::state, v).children.push_back({.content = state});
    return {};
}

CKPT_DETAIL_RARE void torch_object::drop_repeated(plain_list<child>& children) {
    std::vector<std::uint32_t> named;
    for (std::uint32_t i = 0; i < children.size(); ++i)
        if (!children[i].key || children[i].key.kind() == kind::string) named.push_back(i);
    sort_indices(named, [&](std::uint32_t a, std::uint32_t b) { return children[a].name < children[b].name; });
    for (std::size_t i = 1; i < named.size(); ++i)
        if (children[named[i]].name == children[named[i - 1]].name) children[named[i]].content = {};
}

CKPT_DETAIL_RARE result<void> torch_object::begin_module(const value& v) {
    note_replaced(torch_words::class_of(v), "its state_dict");
    plain_list<child> children;
    auto walked = walk_state_dict(v, modules_, errc::limit, [&](const std::vector<path_element>& path, const value& e) {
        children.push_back({.name = joined_key(path, memory_), .content = e});
    });
    if (!walked) return walked;
    drop_repeated(children);
    out_.empty_ordered_dict();
    keep(v);
    frame& f = push(form::dictionary, v);
    f.named = f.detached = true;
    f.children = std::move(children);
    return {};
}

CKPT_DETAIL_RARE result<void> torch_object::begin_plain(const value& v, bool detached) {
    const value inside = torch_words::plain_of(v);
    if (!inside.same_object(v)) { // which is no object that stands for another one again
        note_replaced(torch_words::class_of(v),
                      inside.kind() == kind::object ? torch_words::class_of(inside) : std::string(name(inside.kind())));
        return begin(inside, detached);
    }
    if (const std::string path = torch_words::path_text(v); !path.empty()) {
        note_replaced(torch_words::class_of(v), "str");
        out_.text(path);
        keep(v);
        return {};
    }
    const bool mapping = v.is_mapping(), list = v.size() > 0 && !mapping;
    note_replaced(torch_words::class_of(v), list ? "list" : "dict");
    const value state = v.state();
    const bool named = state.kind() == kind::dictionary || is_slots_pair(state);
    if (!torch_words::is_empty_state(state) && (list || !named))
        if (auto noted = leave_out(torch_lacks(
                str_cat("the state of an object that is written as a ", list ? "list" : "dictionary of its entries")));
            !noted)
            return noted;
    out_.op(list ? opcode::empty_list : opcode::empty_dict);
    keep(v);
    frame& f = push(list ? form::list : form::dictionary, v);
    f.children.reserve(state.size() + (list ? v.size() : v.entries().size()));
    if (list) {
        for (const value e : v.items()) f.children.push_back({.content = e});
        return {};
    }
    for (const value& part :
         {state, is_slots_pair(state) ? state[0] : value{}, is_slots_pair(state) ? state[1] : value{}})
        for (const value::entry e : part.entries()) f.children.push_back({.key = e.key, .content = e.mapped});
    for (const value::entry e : v.entries()) f.children.push_back({.key = e.key, .content = e.mapped});
    for (child& c : f.children)
        if (c.key.kind() == kind::string) c.name = *c.key.as_string();
    drop_repeated(f.children);
    return {};
}

CKPT_DETAIL_RARE result<void> torch_object::begin_object(const value& v, bool detached) {
    if (v.is_module()) return begin_module(v);
    if (!torch_words::is_known_call(v) || !is_key(v.args())) return begin_plain(v, detached);
    write_key(v);
    return {};
}

CKPT_DETAIL_RARE void torch_object::write_tensor(const tensor_data& data, const storage_source* from,
                                                 std::string_view entry, bool detached) {
    ++tensors;
    if (const std::uint32_t number = seen(&data); number >= first_number) return out_.recall(number - first_number);
    outgoing one = outgoing_of(data, from, entry);
    if (detached) one.data.parameter = one.data.requires_grad = false;
    tensors_.write(one.data, one.from, one.entry);
    seen(&data) = first_number + out_.keep();
}

CKPT_DETAIL_RARE result<void> torch_object::begin_tensor(const value& v, bool detached) {
    const ckpt::tensor tensor = *v.as_tensor();
    const tensor_data& data = *tensor_access::data(tensor);
    if (v.kind() == kind::array) note_replaced("numpy.ndarray", "torch.Tensor");
    else if (!tensor.class_name().empty()) note_replaced(std::string(tensor.class_name()), "torch.Tensor");
    const value state = v.state();
    const bool known = seen(&data) != unseen;
    if (known || detached || torch_words::is_empty_state(state)) {
        write_tensor(data, tensor_access::source(tensor), {}, detached);
        return {};
    }
    const bool takes = data.parameter || (data.kind == layout::strided && !is_quantised(data));
    if (!takes || (state.kind() != kind::dictionary && !is_slots_pair(state))) {
        auto noted = leave_out(torch_lacks("the attributes of a tensor"));
        if (noted) write_tensor(data, tensor_access::source(tensor), {}, detached);
        return noted;
    }
    ++tensors;
    const outgoing one = outgoing_of(data, tensor_access::source(tensor), {});
    tensors_.begin_attributes(one.data, one.from);
    seen(&data) = open;
    push(form::attributes, v).children.push_back({.content = state});
    return {};
}

CKPT_DETAIL_RARE void torch_object::begin_weights(const state_dict_data& weights, const value& there) {
    const auto holds_values = [](value v) {
        return v.kind() == kind::dictionary || v.kind() == kind::list || v.kind() == kind::tuple;
    };
    bool nested = false;
    for (const value::entry e : there.entries()) nested = nested || holds_values(e.mapped);
    if (nested || there.kind() == kind::list || there.kind() == kind::tuple)
        note_replaced("containers in a state_dict", "entries of one OrderedDict");
    const value state = weights.root.kind() == kind::dictionary ? weights.root.state() : value{};
    out_.empty_ordered_dict();
    if (there) keep(there);
    frame& f = push(form::dictionary, there);
    f.named = true;
    f.detached = weights.root.is_module();
    f.from = weights.source;
    f.children.reserve(weights.entries.size() + weights.others.size());
    for (const state_dict_entry& e : weights.entries) f.children.push_back({.name = e.key, .tensor = e.data});
    for (const state_dict_data::other& o : weights.others) f.children.push_back({.name = o.key, .content = o.content});
    if (state.kind() == kind::dictionary && state.size() > 0)
        push(form::state, there).children.push_back({.content = state});
}

CKPT_DETAIL_RARE result<void> torch_object::begin(const value& v, bool detached) {
    if (write_leaf(v)) return {};
    const bool is_tensor = v.kind() == kind::tensor || v.kind() == kind::array;
    if (!is_tensor && recall(v)) return {};
    if (weights_ != nullptr && v.same_object(there_)) {
        placed_ = true;
        if (!in_place_) {
            begin_weights(*weights_, v);
            return {};
        }
    }
    if (is_tensor) return begin_tensor(v, detached);
    switch (v.kind()) {
    case kind::dictionary: return begin_dictionary(v);
    case kind::set: return write_set(v);
    case kind::object: return begin_object(v, detached);
    default: break;
    }
    if (v.kind() == kind::tuple && (v.size() == 0 || (torch_words::is_size(v) && is_key(v)))) write_tuple(v);
    else begin_sequence(v);
    return {};
}

// --- the walk ---

CKPT_DETAIL_RARE void torch_object::close(const frame& done) {
    const std::size_t n = done.children.size();
    switch (done.how) {
    case form::list:
        if (n > 0) out_.op(opcode::appends);
        break;
    case form::dictionary:
        if (n > 0) out_.op(opcode::setitems);
        break;
    case form::tuple:
        out_.tuple(n);
        keep(done.at);
        break;
    case form::state: out_.op(opcode::build); break;
    case form::attributes:
        tensors_.end_attributes();
        seen(tensor_access::data(*done.at.as_tensor())) = first_number + out_.keep();
        break;
    }
}

CKPT_DETAIL_RARE result<void> torch_object::step() {
    frame& top = frames_.back();
    const std::size_t n = top.children.size();
    if (top.next == 0) {
        if (top.how == form::tuple) out_.tuple_mark(n);
        else if (top.how == form::list || top.how == form::dictionary) out_.op(opcode::mark);
    }
    const child c = top.children[top.next++];
    if (auto fits = judge_child(top, c); !fits) {
        if (top.how == form::list || top.how == form::tuple) out_.op(opcode::none); // what follows keeps its place
        else if (top.how != form::dictionary) out_.op(opcode::empty_dict);          // without attributes
        if (weights_ != nullptr && torch_words::leads_through(weights_->path, here(false))) placed_ = true;
        return leave_out(std::move(fits).error());
    }
    if (top.how == form::dictionary) {
        if (top.named) out_.text(c.name);
        else write_key(c.key);
    }
    const bool detached = top.detached;
    if (c.tensor == nullptr) return begin(c.content, detached);
    write_tensor(*c.tensor, top.from, c.name, detached);
    return {};
}

CKPT_DETAIL_RARE result<void> torch_object::run() {
    while (!frames_.empty()) {
        if (frames_.back().next < frames_.back().children.size()) {
            if (auto done = step(); !done) return done;
            continue;
        }
        const frame done = std::move(frames_.back());
        frames_.pop_back();
        close(done);
    }
    pickle = out_.finish();
    return {};
}

CKPT_DETAIL_RARE result<void> torch_object::check_placed() const {
    if (weights_ == nullptr || placed_) return {};
    return error{.code = errc::path_missing,
                 .path = weights_->path,
                 .detail = "the state_dict is a part of something that is written as a whole, as a submodule is",
                 .hint = "Change the state_dict of the whole: of the module that it is in"};
}

/// A key of two entries would be read as the last of them.
inline result<void> check_keys(const state_dict_data& weights) {
    for (const state_dict_data::other& o : weights.others)
        if (weights.find(o.key) != nullptr)
            return error{.code = errc::key_duplicate,
                         .path = weights.path,
                         .detail = str_cat("the key ", quoted(o.key), " is that of a tensor and of another value"),
                         .hint = "Give one of them another name"};
    return {};
}

CKPT_DETAIL_RARE result<void> torch_object::write(const value& root, const state_dict_data* weights, value there) {
    weights_ = weights;
    there_ = there;
    modules_ = {root, limits{}.entries};
    if (root) file_ = value_access::graph(root)->file;
    if (weights != nullptr && there.kind() != kind::object) {
        auto same = match_weights(*weights);
        if (!same) return value_access::in_file(root, std::move(same).error());
        in_place_ = *same;
    }
    if (weights != nullptr && !in_place_)
        if (auto keys = check_keys(*weights); !keys) return keys;
    const bool replaced_whole = weights != nullptr && !in_place_ && root.same_object(there);
    if (!replaced_whole)
        if (auto fits = judge(root); !fits) return value_access::in_file(root, std::move(fits).error());
    if (auto begun = begin(root, false); !begun) return begun;
    if (auto done = run(); !done) return done;
    return check_placed();
}

CKPT_DETAIL_RARE result<void> torch_object::write(const state_dict_data& weights) {
    if (auto keys = check_keys(weights); !keys) return keys;
    modules_ = {weights.root, limits{}.entries};
    path_ = weights.path;
    file_ = weights.opened;
    begin_weights(weights, {});
    return run();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
