// ckpt/torch/impl/containers.ipp: the definitions of containers.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/keys.hpp>
#include <ckpt/torch/containers.hpp>

#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether NEWOBJ made the object: `__new__` of Python's mutable containers ignores its arguments.
inline bool by_new(const call& c) {
    return (call_access::graph(c).nodes[call_access::node(c)].flags & node_flag::new_object) != 0;
}

CKPT_DETAIL_RARE result<value> builders::ordered_dict(call& c) {
    if (by_new(c)) return mapping(c, {}, true);
    if (c.args.size() > 1) return c.fail(errc::bad_arguments, "OrderedDict takes at most one argument");
    return mapping(c, c.args[0], false);
}

CKPT_DETAIL_RARE result<value> builders::default_dict(call& c) {
    if (by_new(c)) return mapping(c, {}, true);
    const kind factory = c.args[0].kind();
    if (factory != kind::absent && factory != kind::none && factory != kind::global && factory != kind::object &&
        factory != kind::persistent && factory != kind::refused)
        return c.fail(errc::bad_arguments, "the factory of a defaultdict cannot be called");
    if (c.args.size() > 2) return c.fail(errc::bad_arguments, "defaultdict takes at most two arguments");
    return mapping(c, c.args[1], true);
}

CKPT_DETAIL_RARE result<value> builders::counter(call& c) {
    if (by_new(c)) return mapping(c, {}, true);
    if (c.args.size() > 1) return c.fail(errc::bad_arguments, "Counter takes at most one argument");
    const kind k = c.args[0].kind();
    if (k != kind::list && k != kind::tuple) return mapping(c, c.args[0], true);
    const auto dictionary = counted(c, c.args[0]);
    return dictionary ? mapping(c, *dictionary, false) : dictionary;
}

CKPT_DETAIL_RARE result<value> builders::counted(call& c, const value& elements) {
    if (!c.charge(elements.size() * 2 * sizeof(std::uint32_t))) return c.over_budget();
    std::vector<std::uint32_t> keys;
    keys.reserve(elements.size());
    for (const value v : elements.elements()) keys.push_back(value_access::node(v));
    graph& g = call_access::graph(c);
    const auto n = static_cast<std::uint32_t>(keys.size());
    container unique{keys.data(), n, n, 0};
    std::vector<std::uint32_t> times;
    const errc failed = key_table{g, call_access::budget(c)}.count(unique, times); // each step is charged as a byte
    if (failed == errc::unhashable_key)
        return c.fail(errc::bad_arguments, "a Counter of elements that Python cannot hash");
    if (failed != errc::none) {
        (void)c.charge(1); // fails: the budget is spent
        return c.over_budget();
    }
    node dictionary = node::of(node_kind::dictionary);
    for (std::uint32_t i = 0; i < unique.count; ++i) {
        const auto count = c.make_int(times[i]);
        if (!count) return count;
        const std::uint32_t pair[2]{keys[i], value_access::node(*count)};
        g.append(dictionary.a, pair);
    }
    return call_access::make(c, dictionary, 0);
}

CKPT_DETAIL_RARE result<value> builders::size(call& c) {
    const value sizes = c.args[0];
    if (c.args.size() != 1 || (sizes.kind() != kind::tuple && sizes.kind() != kind::list))
        return c.fail(errc::bad_arguments, "torch.Size takes one tuple of integers");
    if (!c.charge(sizes.size())) return c.over_budget();
    for (const value v : sizes.elements())
        if (v.kind() != kind::integer) return c.fail(errc::bad_arguments, "torch.Size takes one tuple of integers");
    value tuple = sizes;
    if (sizes.kind() == kind::list) {
        if (!c.charge(sizes.size() * sizeof(value))) return c.over_budget();
        std::vector<value> copy;
        for (const value v : sizes.elements()) copy.push_back(v);
        auto made = c.make_tuple(copy);
        if (!made) return made;
        tuple = *made;
    }
    node n = call_access::graph(c).nodes[value_access::node(tuple)];
    n.flags |= node_flag::torch_size;
    return call_access::make(c, n, 0);
}

CKPT_DETAIL_RARE result<value> builders::codecs_encode(call& c) {
    const auto text = c.args[0].as_string();
    const auto encoding = c.args.size() == 1 ? result<std::string_view>{"utf-8"} : c.args[1].as_string();
    if (c.args.size() > 2 || !text || !encoding)
        return c.fail(errc::bad_arguments, "_codecs.encode takes a str and the name of an encoding");
    return encoded(c, *text, *encoding);
}

CKPT_DETAIL_RARE result<value> builders::byte_array(call& c) {
    result<value> out = by_new(c) ? c.make_bytes({}) : bytes_like(c);
    if (!out) return out;
    node n = call_access::graph(c).nodes[value_access::node(*out)];
    n.kind = node_kind::byte_array;
    return call_access::make(c, n, 0);
}

CKPT_DETAIL_RARE result<value> builders::complex_number(call& c) {
    const auto re = c.args[0].as_real();
    const auto im = c.args.size() < 2 ? result<double>{0.0} : c.args[1].as_real();
    if (c.args.size() > 2 || !re || !im) return c.fail(errc::bad_arguments, "complex takes one or two numbers");
    return c.make_complex(*re, *im);
}

CKPT_DETAIL_RARE result<value> builders::typed_container(call& c) {
    if (c.args.size() != 1 && c.args.size() != 2)
        return c.fail(errc::bad_arguments, "a typed container is made from a value and the name of its type");
    return c.args[0];
}

CKPT_DETAIL_RARE result<value> builders::numbered_tensor(call& c) {
    const auto table = call_access::graph(c).tensor_table;
    const auto number = c.args[0].as_int();
    if (c.args.size() != 1 || !number || static_cast<std::uint64_t>(*number) >= table.size())
        return c.fail(errc::bad_arguments, "a tensor by a number that no tensor of the archive has");
    return value_access::make(call_access::graph(c), table[static_cast<std::size_t>(*number)]);
}

CKPT_DETAIL_RARE result<value> builders::mapping(call& c, const value& initial, bool none_allowed) {
    graph& g = call_access::graph(c);
    const node self = g.nodes[call_access::node(c)];
    node n = node::of(node_kind::dictionary, g.nodes[call_access::node(c) + 1].link.b);
    n.link.b = self.link.b;
    n.link.c = call_access::node(c) + 1;
    if (!initial || (none_allowed && initial.is_none())) return call_access::make(c, n, 0);
    std::uint32_t merged = 0;
    const std::span<const std::uint32_t> after = g.items_of(n.a);
    const auto add = [&](std::uint32_t k, std::uint32_t v) {
        const std::uint32_t pair[2]{k, v};
        g.append(merged, pair);
    };
    if (!c.charge((initial.size() * 2 + after.size()) * sizeof(std::uint32_t) * 2)) return c.over_budget();
    if (initial.kind() == kind::dictionary) {
        for (const value::entry e : initial.entries()) add(value_access::node(e.key), value_access::node(e.mapped));
    } else if (initial.kind() == kind::list || initial.kind() == kind::tuple) {
        for (const value pair : initial.elements()) {
            if ((pair.kind() != kind::list && pair.kind() != kind::tuple) || pair.size() != 2)
                return c.fail(errc::bad_arguments, "a mapping is made from pairs of a key and a value");
            add(value_access::node(pair[0]), value_access::node(pair[1]));
        }
    } else {
        return c.fail(errc::bad_arguments, "a mapping is made from a dictionary or from pairs");
    }
    const std::uint32_t grown = g.containers[n.a].grown;
    g.append(merged, after);
    if (merged != 0) g.containers[merged].grown = grown;
    n.a = merged;
    return call_access::make(c, n, 0);
}

CKPT_DETAIL_RARE result<value> builders::set_of(call& c, node_kind kind_of_set) {
    const bool empty = by_new(c) && kind_of_set == node_kind::set;
    const value from = empty ? value{} : c.args[0];
    if ((c.args.size() > 1 && !empty) ||
        (from && from.kind() != kind::list && from.kind() != kind::tuple && from.kind() != kind::set))
        return c.fail(errc::bad_arguments, "a set is made from a list of elements");
    graph& g = call_access::graph(c);
    node n = node::of(kind_of_set);
    if (!c.charge(from.size() * sizeof(std::uint32_t) * 2)) return c.over_budget();
    std::vector<std::uint32_t> elements;
    elements.reserve(from.size());
    for (const value v : from.elements()) elements.push_back(value_access::node(v));
    g.append(n.a, elements);
    return call_access::make(c, n, 0);
}

CKPT_DETAIL_RARE result<value> builders::bytes_like(call& c) {
    if (c.args.size() == 0) return c.make_bytes({});
    if (c.args.size() == 1)
        if (const auto raw = c.args[0].as_bytes()) return c.make_bytes(*raw);
    const auto text = c.args[0].as_string();
    const auto encoding = c.args[1].as_string();
    if (c.args.size() != 2 || !text || !encoding)
        return c.fail(errc::bad_arguments, "bytes are made from bytes, or from a str and the name of an encoding");
    return encoded(c, *text, *encoding);
}

CKPT_DETAIL_RARE result<value> builders::encoded(call& c, std::string_view text, std::string_view encoding) {
    const bool latin =
        encoding == "latin1" || encoding == "latin-1" || encoding == "iso-8859-1" || encoding == "iso8859-1";
    const bool ascii = encoding == "ascii" || encoding == "us-ascii";
    if (!latin && !ascii && encoding != "utf-8" && encoding != "utf8")
        return c.fail(errc::bad_arguments, "only latin1, ascii and utf-8 are read as encodings of bytes");
    if (!c.charge(text.size())) return c.over_budget();
    if (!latin) {
        if (ascii)
            for (const char ch : text)
                if (static_cast<unsigned char>(ch) >= 0x80)
                    return c.fail(errc::bad_arguments, "a character that ascii cannot encode");
        if (check_utf8(text) != utf8_verdict::valid)
            return c.fail(errc::bad_arguments, "half a character, which utf-8 cannot encode");
        return c.make_bytes(std::as_bytes(std::span<const char>{text.data(), text.size()}));
    }
    // Each byte of the result is a code point below 256, which is one byte of UTF-8, or C2 or C3 and another one.
    char* out = call_access::graph(c).memory.allocate<char>(text.size() + 1);
    std::size_t n = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto lead = static_cast<unsigned char>(text[i]);
        if (lead < 0x80) {
            out[n++] = text[i];
            continue;
        }
        if ((lead != 0xC2 && lead != 0xC3) || i + 1 == text.size())
            return c.fail(errc::bad_arguments, "a character that latin1 cannot encode");
        out[n++] = static_cast<char>(
            static_cast<unsigned char>(((lead & 3) << 6) | (static_cast<unsigned char>(text[++i]) & 0x3F)));
    }
    node bytes = node::of(node_kind::bytes, static_cast<std::uint32_t>(n));
    bytes.text = out;
    return call_access::make(c, bytes, 0);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
