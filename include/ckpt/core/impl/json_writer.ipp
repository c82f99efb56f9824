// ckpt/core/impl/json_writer.ipp: the definitions of json_writer.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/json_text.hpp>
#include <ckpt/core/json_writer.hpp>
#include <ckpt/core/number.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF json_writer& json_writer::line() {
    newline_ = true;
    return *this;
}

CKPT_DETAIL_DEF json_writer& json_writer::key(std::string_view name) {
    separate();
    append_json(out_, name);
    out_ += ": ";
    comma_ = false;
    return *this;
}

CKPT_DETAIL_DEF json_writer& json_writer::text(std::string_view s) {
    separate();
    append_json(out_, s);
    return done();
}

CKPT_DETAIL_DEF json_writer& json_writer::raw(std::string_view value) {
    separate();
    out_ += value;
    return done();
}

CKPT_DETAIL_DEF void json_writer::flush() {
    if (sink_ == nullptr) return;
    sink_(to_, out_);
    out_.clear();
}

CKPT_DETAIL_DEF json_writer& json_writer::open(char c) {
    separate();
    out_ += c;
    comma_ = false;
    return *this;
}

CKPT_DETAIL_DEF json_writer& json_writer::close(char c) {
    newline_ = false;
    out_ += c;
    return done();
}

CKPT_DETAIL_DEF json_writer& json_writer::whole(std::int64_t x) { return raw(decimal(x)); }
CKPT_DETAIL_DEF json_writer& json_writer::whole(std::uint64_t x) { return raw(decimal(x)); }

CKPT_DETAIL_DEF void json_writer::separate() {
    if (comma_) out_ += newline_ ? "," : ", ";
    if (newline_) out_ += "\n  ";
    newline_ = false;
}

CKPT_DETAIL_DEF json_writer& json_writer::done() {
    constexpr std::size_t much = std::size_t{1} << 16;
    comma_ = true;
    if (out_.size() > much) flush();
    return *this;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
