// ckpt/state/impl/load_report.ipp: the definitions of load_report.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/json_writer.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sha256.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/fold.hpp>
#include <ckpt/state/load_report.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <span>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline void append_list(std::string& out, std::string_view title, std::span<const std::string> keys) {
    if (keys.empty()) return;
    out.append(title) += ":\n";
    key_folding{keys}.append_to(out, "  ", 200);
}

inline void write_sizes(json_writer& to, std::string_view key, std::span<const std::int64_t> sizes) {
    to.key(key).begin_array();
    for (const std::int64_t n : sizes) {
        if (n < 0) to.null();
        else to.number(n);
    }
    to.end_array();
}

inline void write_dtype(json_writer& to, std::string_view key, const std::optional<dtype>& type) {
    to.key(key);
    if (type) to.text(name(*type));
    else to.null();
}

inline void write_element(json_writer& to, const loaded_tensor& t) {
    to.begin_object().member("key", t.key).key("from").texts(t.from);
    to.member("file", t.file).member("chain", t.chain).key("aliases").texts(t.aliases);
    to.member("aliased", t.aliased).member("converted", t.converted).member("cast", t.cast).key("crc32");
    if (t.crc32) {
        std::string digits;
        append_hex(digits, *t.crc32);
        to.text(digits);
    } else {
        to.null();
    }
    to.end_object();
}

inline void write_element(json_writer& to, const mismatched_tensor& t) {
    to.begin_object().member("key", t.key);
    write_sizes(to, "want_shape", t.want_shape);
    write_sizes(to, "got_shape", t.got_shape);
    write_dtype(to, "want_dtype", t.want_dtype);
    write_dtype(to, "got_dtype", t.got_dtype);
    to.member("why", t.why).end_object();
}

inline void write_element(json_writer& to, const dropped_tensor& t) {
    to.begin_object().member("from", t.from).member("rule", t.rule).end_object();
}

inline void write_element(json_writer& to, const nearest_keys& t) {
    to.begin_object().member("key", t.key).key("nearest").texts(t.nearest).end_object();
}

template <class T> void write_elements(json_writer& to, std::string_view key, const std::vector<T>& all) {
    to.key(key).begin_array();
    for (const T& element : all) write_element(to, element);
    to.end_array();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF std::string load_report::to_text() const {
    constexpr std::size_t most_lines = 50;
    const auto count = [](std::size_t n) { return detail::decimal(std::uint64_t{n}); };
    std::string out =
        detail::str_cat("loaded ", count(loaded.size()), ", missing ", count(missing_keys.size()), ", mismatched ",
                        count(mismatched.size()), ", absent ", count(absent.size()), "; used ", count(used.size()),
                        ", dropped ", count(dropped.size()), ", unexpected ", count(unexpected_keys.size()), ": ");
    out += complete() ? "complete" : "incomplete";
    if (!ok()) out += ", not as it was asked for";
    else if (!complete() || !unexpected_keys.empty()) out += ", as it was allowed";
    out += '\n';
    detail::append_list(out, "missing", missing_keys);
    for (const nearest_keys& n : nearest) {
        out += detail::str_cat("  ", detail::report_text(n.key), ": perhaps");
        for (std::size_t i = 0; i < n.nearest.size(); ++i)
            out += (i > 0 ? ", " : " ") + detail::report_text(n.nearest[i]);
        out += '\n';
    }
    if (!mismatched.empty()) out += "mismatched:\n";
    detail::short_list lines{out, {.most = most_lines, .separator = {}, .before_rest = "  +", .after_rest = " more\n"}};
    for (const mismatched_tensor& m : mismatched) {
        if (!lines.next()) continue;
        out += detail::str_cat("  ", detail::report_text(m.key), ": ");
        if (m.got_dtype)
            out += detail::str_cat("wanted ", m.want_dtype ? std::string(name(*m.want_dtype)) + ' ' : std::string(),
                                   detail::shape_text(m.want_shape, detail::sizes_style), ", got ", name(*m.got_dtype),
                                   " ", detail::shape_text(m.got_shape, detail::sizes_style), ": ");
        out += m.why + '\n';
    }
    lines.end();
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
    detail::json_writer to;
    to.begin_object().member("complete", complete()).member("ok", ok());
    detail::write_elements(to, "loaded", loaded);
    to.key("missing_keys").texts(missing_keys);
    detail::write_elements(to, "mismatched", mismatched);
    to.key("absent").texts(absent).key("used").texts(used);
    detail::write_elements(to, "dropped", dropped);
    to.key("unexpected_keys").texts(unexpected_keys);
    detail::write_elements(to, "nearest", nearest);
    to.member("missing_not_allowed", missing_not_allowed).member("unexpected_not_allowed", unexpected_not_allowed);
    return to.end_object().take();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
