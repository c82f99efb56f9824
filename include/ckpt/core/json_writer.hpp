// ckpt/core/json_writer.hpp: writes one JSON document.
//
// SPDX-License-Identifier: MIT
// In:      values and names of members, in the order of the document.
// Out:     UTF-8 with `", "` between values and `": "` behind names.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Calls are made in the order of the document. The writer adds commas, quotes and escapes.
class json_writer {
  public:
    /// Receives a long document in pieces.
    using sink = void (*)(void* to, std::string_view piece);

    json_writer() = default;
    explicit json_writer(sink where, void* to) noexcept : sink_{where}, to_{to} {}
    ~json_writer() = default;
    json_writer(const json_writer&) = delete;
    json_writer& operator=(const json_writer&) = delete;

    json_writer& begin_object() { return open('{'); }
    json_writer& end_object() { return close('}'); }
    json_writer& begin_array() { return open('['); }
    json_writer& end_array() { return close(']'); }
    /// Begins a new line before the next element.
    json_writer& line();

    json_writer& key(std::string_view name);
    json_writer& text(std::string_view s);
    json_writer& boolean(bool b) { return raw(b ? "true" : "false"); }
    json_writer& null() { return raw("null"); }
    template <std::integral Integer> json_writer& number(Integer x) {
        if constexpr (std::signed_integral<Integer>) return whole(std::int64_t{x});
        else return whole(std::uint64_t{x});
    }
    /// Writes a value that is JSON text already.
    json_writer& raw(std::string_view value);

    json_writer& member(std::string_view name, std::string_view s) { return key(name).text(s); }
    json_writer& member(std::string_view name, const char* s) { return key(name).text(s); }
    json_writer& member(std::string_view name, bool b) { return key(name).boolean(b); }
    template <std::integral Integer> json_writer& member(std::string_view name, Integer x) {
        return key(name).number(x);
    }
    template <class Range> json_writer& numbers(const Range& all) {
        begin_array();
        for (const auto x : all) number(x);
        return end_array();
    }
    template <class Range> json_writer& texts(const Range& all) {
        begin_array();
        for (const auto& s : all) text(s);
        return end_array();
    }

    /// Passes what is not written yet to the sink.
    void flush();
    /// Moves the document out; for a writer without a sink.
    [[nodiscard]] std::string take() noexcept { return std::move(out_); }

  private:
    json_writer& open(char c);
    json_writer& close(char c);
    json_writer& whole(std::int64_t x);
    json_writer& whole(std::uint64_t x);
    void separate();
    json_writer& done();

    sink sink_{nullptr};
    void* to_{nullptr};
    std::string out_{};
    bool comma_{false};
    bool newline_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/json_writer.ipp>
#endif
