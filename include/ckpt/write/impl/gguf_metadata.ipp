// ckpt/write/impl/gguf_metadata.ipp: the definitions of gguf_metadata.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/write/gguf_format.hpp>
#include <ckpt/write/gguf_metadata.hpp>

#include <optional>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace detail {

namespace gguf {

/// A type of GGUF, its name in `read_gguf_metadata`, and for numbers their bytes.
struct type_row {
    std::string_view name{};
    gguf_type type{};
    unsigned bytes{0};
};
inline constexpr type_row types[]{
    {"uint8", gguf_type::uint8, 1},     {"int8", gguf_type::int8, 1},     {"uint16", gguf_type::uint16, 2},
    {"int16", gguf_type::int16, 2},     {"uint32", gguf_type::uint32, 4}, {"int32", gguf_type::int32, 4},
    {"float32", gguf_type::float32, 4}, {"bool", gguf_type::boolean, 1},  {"string", gguf_type::string, 0},
    {"array", gguf_type::array, 0},     {"uint64", gguf_type::uint64, 8}, {"int64", gguf_type::int64, 8},
    {"float64", gguf_type::float64, 8},
};
static_assert(sizeof types / sizeof types[0] == static_cast<std::size_t>(gguf_type::float64) + 1);
inline const type_row& row_of(gguf_type type) noexcept { return types[static_cast<std::size_t>(type)]; }

/// An int of JSON, of -2^63 to 2^64 - 1.
struct json_integer {
    bool negative{};
    std::uint64_t bits{}; ///< two's complement
};
inline std::optional<json_integer> integer_of(const value& v) {
    if (const auto fits = v.as_int()) return json_integer{*fits < 0, static_cast<std::uint64_t>(*fits)};
    const auto bytes = v.as_integer_bytes();
    // Little-endian: eight bytes, and one more because the highest bit is set.
    if (!bytes || bytes->size() != 9 || bytes->back() != std::byte{0}) return {};
    return json_integer{false, load_le<std::uint64_t>(bytes->data())};
}

inline bool fits(gguf_type type, const json_integer& x) noexcept {
    const unsigned bits = 8 * row_of(type).bytes;
    const bool is_signed =
        type == gguf_type::int8 || type == gguf_type::int16 || type == gguf_type::int32 || type == gguf_type::int64;
    const std::uint64_t most = ~std::uint64_t{0} >> (64 - bits + (is_signed ? 1 : 0));
    return x.negative ? is_signed && ~x.bits <= most : x.bits <= most;
}

/// The type of an integer that is not in an array.
inline gguf_type type_of(const json_integer& x) noexcept {
    if (x.negative) return fits(gguf_type::int32, x) ? gguf_type::int32 : gguf_type::int64;
    return fits(gguf_type::uint32, x) ? gguf_type::uint32 : gguf_type::uint64;
}

} // namespace gguf

/// Makes values of one JSON file into those of GGUF.
class gguf_metadata_reader {
  public:
    [[nodiscard]] result<gguf_entry> read(std::string_view key, const value& from);

  private:
    [[nodiscard]] result<void> array(gguf_entry& to, std::optional<gguf_type> elements, const value& from);
    [[nodiscard]] result<gguf_type> type_of_elements(const value& list);
    [[nodiscard]] result<void> append(std::string& out, gguf_type type, const value& from);
    [[nodiscard]] result<void> written_out(gguf_entry& to, const value& from);
    [[nodiscard]] error refuse(const value& at, std::string what) const {
        return value_access::in_file(
            at, {.code = errc::format_lacks,
                 .path = path_,
                 .detail = std::move(what),
                 .hint = "Give a text, a number, true, false, a list of those of one type, or an object that names the "
                         "type, as in {\"type\": \"uint32\", \"value\": 32}"});
    }

    std::string path_{};
};

CKPT_DETAIL_RARE result<void> gguf_metadata_reader::append(std::string& out, gguf_type type, const value& from) {
    const gguf::type_row& row = gguf::row_of(type);
    const auto wrong = [&] {
        return refuse(from, str_cat("the value is ", with_article(from.kind()), ", and the type is ", row.name));
    };
    if (type == gguf_type::string) {
        const auto text = from.as_string();
        if (!text) return wrong();
        gguf::append_string(out, *text);
        return {};
    }
    if (type == gguf_type::boolean) {
        const auto truth = from.as_bool();
        if (!truth) return wrong();
        out += *truth ? '\1' : '\0';
        return {};
    }
    if (type == gguf_type::float32 || type == gguf_type::float64) {
        const auto number = from.as_real();
        if (!number) return wrong();
        if (type == gguf_type::float64) {
            append_le(out, bit_cast<std::uint64_t>(*number), row.bytes);
            return {};
        }
        const auto bits = bit_cast<std::uint32_t>(to_float(*number));
        const bool was_finite = (bit_cast<std::uint64_t>(*number) >> 52 & 0x7FFu) != 0x7FF;
        if (was_finite && (bits & 0x7F80'0000u) == 0x7F80'0000u)
            return refuse(from, str_cat("no float32 holds ", shortest(*number)));
        append_le(out, bits, row.bytes);
        return {};
    }
    if (from.kind() != kind::integer) return wrong();
    const auto number = gguf::integer_of(from);
    if (!number || !gguf::fits(type, *number))
        return refuse(from, str_cat("the integer does not fit in the type ", row.name));
    append_le(out, number->bits, row.bytes);
    return {};
}

CKPT_DETAIL_RARE result<gguf_type> gguf_metadata_reader::type_of_elements(const value& list) {
    if (list.size() == 0) return refuse(list, "an empty list has no type");
    const kind first = list[0].kind();
    bool reals = first == kind::real, int32 = true, uint32 = true, int64 = true;
    const std::string key = path_;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const value v = list[i];
        path_ = key + '/' + decimal(std::uint64_t{i});
        const kind k = v.kind();
        const bool number = k == kind::integer || k == kind::real;
        if (!number && k != kind::string && k != kind::boolean)
            return refuse(v, str_cat("GGUF has no type for ", with_article(k), " in an array"));
        if (k != first && !(number && (first == kind::integer || first == kind::real)))
            return refuse(v, str_cat("the list begins with ", with_article(first), ", and this is ", with_article(k)));
        reals = reals || k == kind::real;
        if (k != kind::integer) continue;
        const auto x = gguf::integer_of(v);
        if (!x) return refuse(v, "the integer does not fit in 64 bits");
        int32 = int32 && gguf::fits(gguf_type::int32, *x);
        uint32 = uint32 && gguf::fits(gguf_type::uint32, *x);
        int64 = int64 && gguf::fits(gguf_type::int64, *x);
    }
    path_ = key;
    if (first == kind::string) return gguf_type::string;
    if (first == kind::boolean) return gguf_type::boolean;
    if (reals) return gguf_type::float32;
    return int32 ? gguf_type::int32 : uint32 ? gguf_type::uint32 : int64 ? gguf_type::int64 : gguf_type::uint64;
}

CKPT_DETAIL_RARE result<void> gguf_metadata_reader::array(gguf_entry& to, std::optional<gguf_type> elements,
                                                          const value& from) {
    if (!elements) {
        auto found = type_of_elements(from);
        if (!found) return std::move(found).failure();
        elements = *found;
    }
    to.type = gguf_type::array;
    append_le(to.bytes, static_cast<std::uint32_t>(*elements), 4);
    append_le(to.bytes, from.size(), 8);
    const std::string key = path_;
    for (std::size_t i = 0; i < from.size(); ++i) {
        path_ = key + '/' + decimal(std::uint64_t{i});
        if (auto done = append(to.bytes, *elements, from[i]); !done) return done;
    }
    path_ = key;
    return {};
}

CKPT_DETAIL_RARE result<void> gguf_metadata_reader::written_out(gguf_entry& to, const value& from) {
    const auto named = from.at("type"), content = from.at("value");
    if (!named || !content || from.size() != 2)
        return refuse(from, "an object here has the members \"type\" and \"value\"");
    const auto word = named->as_string();
    for (const gguf::type_row& row : gguf::types) {
        if (!word || row.name != *word || row.type == gguf_type::array) continue;
        if (content->kind() == kind::list) return array(to, row.type, *content);
        to.type = row.type;
        return append(to.bytes, row.type, *content);
    }
    return refuse(from, str_cat(word ? str_cat("GGUF has no type ", quoted(*word)) : std::string("the type is no text"),
                                ": there are uint8 to uint64, int8 to int64, float32, float64, bool and string"));
}

CKPT_DETAIL_RARE result<gguf_entry> gguf_metadata_reader::read(std::string_view key, const value& from) {
    path_ = key;
    gguf_entry out{.key = std::string(key)};
    const auto scalar = [&](gguf_type type) {
        out.type = type;
        return append(out.bytes, type, from);
    };
    result<void> done;
    switch (from.kind()) {
    case kind::string: done = scalar(gguf_type::string); break;
    case kind::boolean: done = scalar(gguf_type::boolean); break;
    case kind::real: done = scalar(gguf_type::float32); break;
    case kind::integer: {
        const auto x = gguf::integer_of(from);
        done = scalar(x ? gguf::type_of(*x) : gguf_type::uint64);
        break;
    }
    case kind::list: done = array(out, {}, from); break;
    case kind::dictionary: done = written_out(out, from); break;
    default: return refuse(from, "GGUF has no type for null");
    }
    if (!done) return std::move(done).failure();
    return out;
}

} // namespace detail

CKPT_DETAIL_RARE gguf_entry gguf_entry::of(std::string key, std::string_view text) {
    gguf_entry out{.key = std::move(key)};
    detail::gguf::append_string(out.bytes, text);
    return out;
}
CKPT_DETAIL_RARE gguf_entry gguf_entry::make(std::string key, gguf_type type, std::uint64_t bits) {
    gguf_entry out{.key = std::move(key), .type = type};
    detail::append_le(out.bytes, bits, detail::gguf::row_of(type).bytes);
    return out;
}

CKPT_DETAIL_RARE result<std::vector<gguf_entry>> read_gguf_metadata(const value& object) {
    if (const error* const why = object.refusal()) return *why;
    if (object.kind() != kind::dictionary)
        return detail::value_access::in_file(
            object,
            {.code = errc::format_lacks,
             .detail = detail::str_cat("the metadata of a GGUF file is an object of keys and values, and this is ",
                                       detail::with_article(object.kind())),
             .hint = "Write it as {\"general.architecture\": \"llama\", \"llama.block_count\": 32}"});
    std::vector<gguf_entry> out;
    detail::gguf_metadata_reader reader;
    for (const auto entry : object.entries()) {
        auto made = reader.read(entry.key.as_string().value_or(""), entry.mapped);
        if (!made) return std::move(made).failure();
        out.push_back(*std::move(made));
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
