// ckpt/state/impl/load_report.ipp: the definitions of load_report.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/load_report.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::string sizes_text(std::span<const std::int64_t> sizes) {
    std::string out = "[";
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        if (i == 16) return out + ", ...]";
        out += i == 0 ? "" : ", ";
        out += sizes[i] < 0 ? std::string("any") : decimal(sizes[i]);
    }
    return out + "]";
}

CKPT_DETAIL_DEF void append_list(std::string& out, std::string_view title, std::span<const std::string> keys) {
    if (keys.empty()) return;
    out.append(title) += ":\n";
    key_folding{keys}.append_to(out, "  ", 200);
}

CKPT_DETAIL_DEF json_members& json_members::next() {
    if (!first_) *out_ += ", ";
    first_ = false;
    return *this;
}

CKPT_DETAIL_DEF json_members& json_members::name(std::string_view key) {
    next();
    append_json(*out_, key);
    *out_ += ": ";
    return *this;
}

CKPT_DETAIL_DEF void json_members::text(std::string_view key, std::string_view s) {
    name(key);
    append_json(*out_, s);
}

CKPT_DETAIL_DEF void json_members::dtype(std::string_view key, const std::optional<ckpt::dtype>& type) {
    if (type) return text(key, ckpt::name(*type));
    name(key);
    *out_ += "null";
}

CKPT_DETAIL_DEF void append_member(std::string& out, const loaded_tensor& t) {
    json_members o{out, '{', '}'};
    o.text("key", t.key);
    o.texts("from", t.from);
    o.text("file", t.file);
    o.text("chain", t.chain);
    o.texts("aliases", t.aliases);
    o.boolean("aliased", t.aliased);
    o.boolean("converted", t.converted);
    o.boolean("cast", t.cast);
    o.name("crc32");
    if (t.crc32) {
        out += '"';
        append_hex(out, *t.crc32);
        out += '"';
    } else {
        out += "null";
    }
    o.end();
}

CKPT_DETAIL_DEF void append_member(std::string& out, const mismatched_tensor& t) {
    json_members o{out, '{', '}'};
    o.text("key", t.key);
    o.sizes("want_shape", t.want_shape);
    o.sizes("got_shape", t.got_shape);
    o.dtype("want_dtype", t.want_dtype);
    o.dtype("got_dtype", t.got_dtype);
    o.text("why", t.why);
    o.end();
}

CKPT_DETAIL_DEF void append_member(std::string& out, const dropped_tensor& t) {
    json_members o{out, '{', '}'};
    o.text("from", t.from);
    o.text("rule", t.rule);
    o.end();
}

CKPT_DETAIL_DEF void append_member(std::string& out, const nearest_keys& t) {
    json_members o{out, '{', '}'};
    o.text("key", t.key);
    o.texts("nearest", t.nearest);
    o.end();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF std::string load_report::to_text() const {
    constexpr std::size_t most_lines = 50;
    const auto count = [](std::size_t n) { return detail::decimal(std::uint64_t{n}); };
    std::string out = "loaded " + count(loaded.size()) + ", missing " + count(missing_keys.size()) + ", mismatched " +
                      count(mismatched.size()) + ", absent " + count(absent.size()) + "; used " + count(used.size()) +
                      ", dropped " + count(dropped.size()) + ", unexpected " + count(unexpected_keys.size()) + ": ";
    out += complete() ? "complete" : "incomplete";
    if (!ok()) out += ", not as it was asked for";
    else if (!complete() || !unexpected_keys.empty()) out += ", as it was allowed";
    out += '\n';
    detail::append_list(out, "missing", missing_keys);
    for (const nearest_keys& n : nearest) {
        out += "  " + detail::report_text(n.key) + ": perhaps";
        for (std::size_t i = 0; i < n.nearest.size(); ++i)
            out += (i > 0 ? ", " : " ") + detail::report_text(n.nearest[i]);
        out += '\n';
    }
    if (!mismatched.empty()) out += "mismatched:\n";
    for (std::size_t i = 0; i < mismatched.size(); ++i) {
        if (i == most_lines) {
            out += "  +" + count(mismatched.size() - i) + " more\n";
            break;
        }
        const mismatched_tensor& m = mismatched[i];
        out += "  " + detail::report_text(m.key) + ": ";
        if (m.got_dtype)
            out += "wanted " + (m.want_dtype ? std::string(name(*m.want_dtype)) + ' ' : std::string()) +
                   detail::sizes_text(m.want_shape) + ", got " + std::string(name(*m.got_dtype)) + ' ' +
                   detail::sizes_text(m.got_shape) + ": ";
        out += m.why + '\n';
    }
    detail::append_list(out, "unexpected", unexpected_keys);
    detail::append_list(out, "absent", absent);
    std::vector<std::string> keys;
    for (const dropped_tensor& d : dropped) keys.push_back(d.from);
    detail::append_list(out, "dropped", keys);
    keys.clear();
    for (const loaded_tensor& t : loaded)
        if (t.cast) keys.push_back(t.key);
    detail::append_list(out, "cast", keys);
    return out;
}

CKPT_DETAIL_DEF std::string load_report::json() const {
    std::string out;
    detail::json_members o{out, '{', '}'};
    o.boolean("complete", complete());
    o.boolean("ok", ok());
    detail::append_members(out, o, "loaded", loaded);
    o.texts("missing_keys", missing_keys);
    detail::append_members(out, o, "mismatched", mismatched);
    o.texts("absent", absent);
    o.texts("used", used);
    detail::append_members(out, o, "dropped", dropped);
    o.texts("unexpected_keys", unexpected_keys);
    detail::append_members(out, o, "nearest", nearest);
    o.name("missing_not_allowed");
    out += detail::decimal(std::uint64_t{missing_not_allowed});
    o.name("unexpected_not_allowed");
    out += detail::decimal(std::uint64_t{unexpected_not_allowed});
    o.end();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
