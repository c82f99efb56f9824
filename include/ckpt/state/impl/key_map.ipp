// ckpt/state/impl/key_map.ipp: the definitions of key_map.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/rule_text.hpp>

#include <cstdint>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF std::string rule::line() const {
    if (!short_form_) return std::string(words_[0]);
    std::string out(name(verb_));
    if (verb_ == detail::rule_verb::strip_wrappers) return detail::str_cat(out, " wrappers");
    for (std::size_t i = 0; i < count_; ++i) {
        out += i == 0 ? " " : verb_ == detail::rule_verb::keep ? ", " : " -> ";
        detail::append_rule_word(out, words_[i]);
    }
    return out;
}

CKPT_DETAIL_DEF std::string parse_error::pretty() const {
    std::string out = error.detail;
    if (line != 0) out += detail::str_cat("\n  ", line_text, "\n  ", std::string(caret, ' '), std::string(width, '^'));
    return out;
}

CKPT_DETAIL_DEF key_map::key_map(detail::shared<detail::key_map_data> data) noexcept : data_{std::move(data)} {}

CKPT_DETAIL_DEF key_map::key_map(const key_map& other) noexcept = default;

CKPT_DETAIL_DEF key_map::key_map(key_map&& other) noexcept = default;

CKPT_DETAIL_DEF key_map& key_map::operator=(const key_map& other) noexcept = default;

CKPT_DETAIL_DEF key_map& key_map::operator=(key_map&& other) noexcept = default;

CKPT_DETAIL_DEF key_map::~key_map() = default;

CKPT_DETAIL_DEF key_map::key_map(std::initializer_list<detail::rule_argument> steps) {
    auto made = detail::make_shared<detail::key_map_data>();
    for (const detail::rule_argument& step : steps) {
        if (step.is_group) made->begin_group();
        for (std::size_t i = 0; i < step.count; ++i) made->add_known(step.rules[i].line(), step.is_group);
    }
    data_ = std::move(made);
}

CKPT_DETAIL_DEF result<key_map> key_map::parse(std::string_view text, std::string_view name, parse_error* where) {
    auto made = detail::make_shared<detail::key_map_data>();
    const std::string_view kept = made->own(text);
    detail::syntax_fault fault;
    const bool too_long = text.size() > detail::rules_text_limit;
    if (!too_long && made->add_text(kept, fault)) return key_map{std::move(made)};
    parse_error problem;
    problem.name = name;
    problem.error.code = too_long ? errc::rules_unreadable : errc::rule_invalid;
    if (too_long) {
        problem.error.detail = detail::str_cat(detail::printable(name), ": the rules are ", text.size(),
                                               " bytes long, at most 1 MiB is read");
    } else {
        detail::locate(text, fault, problem);
        problem.error.offset = fault.from;
        problem.error.detail = detail::str_cat(detail::printable(name), ":", problem.line, ": ", fault.message(text));
    }
    if (where != nullptr) *where = problem;
    return std::move(problem.error);
}

CKPT_DETAIL_DEF std::size_t key_map::size() const noexcept { return data_->rules.size(); }

CKPT_DETAIL_DEF std::string key_map::text() const {
    std::string out;
    for (const detail::map_step& step : data_->steps) {
        if (step.group) out += "first {\n";
        for (std::uint32_t i = 0; i < step.count; ++i)
            out.append(step.group ? "  " : "").append(data_->rules[step.first + i].code.text).append("\n");
        if (step.group) out += "}\n";
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
