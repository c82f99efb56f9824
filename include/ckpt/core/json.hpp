// ckpt/core/json.hpp: a pull reader for JSON text.
//
// SPDX-License-Identifier: MIT
// In:      a whole text in memory: the header of a safetensors file, the index of a set of shards, a configuration.
// Out:     names, strings and numbers as the caller asks for them; everything else can be skipped.
// Refuses: what RFC 8259 refuses, and what readers treat differently: bytes that are not UTF-8, lone surrogates,
//          nesting beyond 127 levels (the limit of serde_json, with which the safetensors library reads headers). The
//          first fault is kept.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class json_kind : std::uint8_t { none, null, boolean, number, string, array, object };

/// A cursor over a JSON text. A call that does not fit the text sets `fault()`, and all calls after it fail.
class json_reader {
  public:
    /// Strings that are read borrow from `text`, or from `memory` where they have escapes.
    json_reader(std::string_view text, arena& memory) : text_{text}, memory_{memory} {
        if (check_utf8(text) != utf8_verdict::valid) fail("bytes that are not UTF-8");
    }

    /// What went wrong, as a clause; empty where nothing did.
    [[nodiscard]] std::string_view fault() const noexcept { return fault_; }
    /// How far the text was read.
    [[nodiscard]] std::size_t offset() const noexcept { return at_; }

    /// What comes next; `none` at the end, after a fault, and before what begins no value.
    [[nodiscard]] json_kind peek() noexcept;

    /// Enters an object or an array. `next_member` or `next_element` then goes to its first member or element.
    [[nodiscard]] bool enter_object() { return enter('{', "an object was expected"); }
    [[nodiscard]] bool enter_array() { return enter('[', "an array was expected"); }

    /// Goes to the next member of an object and reads its name; false at the object's end, and after a fault.
    [[nodiscard]] bool next_member(std::string_view& name);
    /// Goes to the next element of an array; false at the array's end, and after a fault.
    [[nodiscard]] bool next_element() { return next(']'); }
    /// Reads a whole object: `visit(name)` reads the value of each member, and returns whether it could.
    [[nodiscard]] bool members(function_ref<bool(std::string_view)> visit);

    [[nodiscard]] bool string(std::string_view& out);

    /// A whole number that is not negative, without a fraction or an exponent, below 2^64.
    [[nodiscard]] bool whole(std::uint64_t& out);

    /// Any number as it is written. NaN, Infinity and -Infinity are numbers here, too, as Python's json writes them.
    [[nodiscard]] bool number_text(std::string_view& out);

    [[nodiscard]] bool boolean(bool& out);
    [[nodiscard]] bool null();

    /// Skips one value of any kind.
    [[nodiscard]] bool skip();

    /// Whether only blanks are left; anything else is a fault.
    [[nodiscard]] bool finish();

  private:
    static constexpr int deepest = 127;

    [[nodiscard]] static bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20; }

    bool fail(std::string_view what) noexcept;
    /// Notes the end of a value: a comma must come before the next one. Returns true.
    bool done() noexcept;
    void blanks() noexcept;
    bool take(char c) noexcept;
    bool enter(char opener, std::string_view expected);
    bool next(char closer);
    bool word(std::string_view whole_word);
    bool digits() noexcept;
    bool number();

    std::string_view text_;
    arena& memory_;
    std::size_t at_{0};
    int depth_{0};
    bool first_{true};
    std::string_view fault_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/json.ipp>
#endif
