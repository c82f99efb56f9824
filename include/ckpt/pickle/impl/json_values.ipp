// ckpt/pickle/impl/json_values.ipp: the definitions of json_values.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/json.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/json_values.hpp>
#include <ckpt/pickle/text.hpp>

#include <cstring>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Reads one text. Recurses once for each level, of which json_reader allows 127.
class json_values {
  public:
    json_values(std::string_view text, graph& to, const limits& budget)
        : in_{text, to.memory}, to_{to}, budget_{budget} {}

    [[nodiscard]] result<void> run() {
        if (read(to_.root) && in_.finish()) return {};
        if (failed_.code != errc::none) return std::move(failed_);
        return at_here(errc::json_invalid, std::string(in_.fault()));
    }

  private:
    bool read(std::uint32_t& out);
    bool read_array(std::uint32_t& out);
    bool read_object(std::uint32_t& out);
    bool read_number(std::uint32_t& out);
    bool read_integer(std::string_view text, std::uint32_t& out);

    [[nodiscard]] error at_here(errc code, std::string what) const {
        return {.code = code,
                .detail = str_cat("byte ", in_.offset(), ": ", what),
                .hint = "the file is read as JSON; get it again, or name another one"};
    }
    bool fail(errc code, std::string what) {
        failed_ = at_here(code, std::move(what));
        return false;
    }

    json_reader in_;
    graph& to_;
    const limits& budget_;
    error failed_{};
};

CKPT_DETAIL_RARE bool json_values::read(std::uint32_t& out) {
    std::string_view text;
    bool truth = false;
    switch (in_.peek()) {
    case json_kind::object: return read_object(out);
    case json_kind::array: return read_array(out);
    case json_kind::null: out = none_node; return in_.null();
    case json_kind::boolean:
        if (!in_.boolean(truth)) return false;
        out = truth ? true_node : false_node;
        return true;
    case json_kind::string:
        if (!in_.string(text)) return false;
        out = to_.add_text(text);
        return true;
    default: return read_number(out);
    }
}

CKPT_DETAIL_RARE bool json_values::read_array(std::uint32_t& out) {
    if (!in_.enter_array()) return false;
    plain_list<std::uint32_t> elements;
    while (in_.next_element()) {
        std::uint32_t element = absent_node;
        if (!read(element)) return false;
        elements.push_back(element);
    }
    if (!in_.fault().empty()) return false;
    std::uint32_t container = 0;
    to_.append(container, {elements.data(), elements.size()});
    out = to_.add(node::of(node_kind::list, container));
    return true;
}

CKPT_DETAIL_RARE bool json_values::read_object(std::uint32_t& out) {
    plain_list<std::uint32_t> pairs;
    plain_list<std::string_view> names;
    const bool whole = in_.members([&](std::string_view name) {
        names.push_back(name);
        pairs.push_back(to_.add_text(name));
        std::uint32_t mapped = absent_node;
        if (!read(mapped)) return false;
        pairs.push_back(mapped);
        return true;
    });
    if (!whole) return false;
    sort_values(names);
    for (std::size_t i = 1; i < names.size(); ++i)
        if (names[i] == names[i - 1])
            return fail(errc::json_invalid, str_cat("the object that ends here has ", quoted(names[i]), " twice"));
    out = to_.add_dictionary({pairs.data(), pairs.size()});
    return true;
}

CKPT_DETAIL_RARE bool json_values::read_number(std::uint32_t& out) {
    std::string_view text;
    if (!in_.number_text(text)) return false;
    const bool special = text.ends_with('N') || text.ends_with('y'); // NaN, Infinity
    if (!special && text.find_first_of(".eE") == std::string_view::npos) return read_integer(text, out);
    node n = node::of(node_kind::real);
    if (!parse_double(text, n.real))
        return fail(errc::json_invalid, str_cat("no double holds the number ", quoted(text)));
    out = to_.add(n);
    return true;
}

CKPT_DETAIL_RARE bool json_values::read_integer(std::string_view text, std::uint32_t& out) {
    const std::size_t digits = text.size() - (text.starts_with('-') ? 1 : 0);
    if (digits > budget_.integer_digits)
        return fail(errc::limit,
                    str_cat("an integer of ", digits, " digits, limits.integer_digits is ", budget_.integer_digits));
    node n = node::of(node_kind::integer);
    std::string large;
    if (!parse_integer(text, n.integer, large)) return fail(errc::json_invalid, "a malformed number");
    const std::string_view bytes = minimal_integer(large);
    if (!bytes.empty() && !fits_in_64_bits(bytes, n.integer)) {
        char* const kept = to_.memory.allocate<char>(bytes.size());
        std::memcpy(kept, bytes.data(), bytes.size());
        n = node::of(node_kind::big_integer, static_cast<std::uint32_t>(bytes.size()));
        n.text = kept;
    }
    out = to_.add(n);
    return true;
}

CKPT_DETAIL_RARE result<void> read_json(std::string_view text, graph& to, const limits& budget) {
    return json_values{text, to, budget}.run();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
