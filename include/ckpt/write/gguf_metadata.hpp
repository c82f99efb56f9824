// ckpt/write/gguf_metadata.hpp: entries of the metadata of a GGUF file.
//
// SPDX-License-Identifier: MIT
// In:      keys with numbers and text; an object of JSON.
// Out:     entries as the file has them.
// Refuses: values that have no type in GGUF, each by its key.
//
// The format: ggml/docs/gguf.md, version 3.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/fixed_string.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/pickle/value.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// The types of values in the metadata; the numbers are the format's.
enum class gguf_type : std::uint32_t {
    uint8,
    int8,
    uint16,
    int16,
    uint32,
    int32,
    float32,
    boolean,
    string,
    array,
    uint64,
    int64,
    float64,
};

/// An entry of a GGUF file's metadata: `gguf_entry::of("general.architecture", "llama")`.
struct gguf_entry {
    std::string key{};
    gguf_type type{gguf_type::string};
    std::string bytes{}; ///< the value as the file has it: a string and an array begin with their length

    /// An entry with a text, which is UTF-8.
    [[nodiscard]] static gguf_entry of(std::string key, std::string_view text);
    /// An entry with a number or a bool, of the type that it has in C++: `of("llama.block_count", std::uint32_t{32})`.
    template <class Number>
        requires std::is_arithmetic_v<Number>
    [[nodiscard]] static gguf_entry of(std::string key, Number number) {
        CKPT_DETAIL_REQUIRE("ckpt: GGUF has numbers of at most 8 bytes", sizeof(Number) <= 8);
        if constexpr (std::same_as<Number, bool>) return make(std::move(key), gguf_type::boolean, number ? 1 : 0);
        else if constexpr (std::same_as<Number, float>)
            return make(std::move(key), gguf_type::float32, std::bit_cast<std::uint32_t>(number));
        else if constexpr (std::floating_point<Number>)
            return make(std::move(key), gguf_type::float64, std::bit_cast<std::uint64_t>(number));
        else {
            constexpr gguf_type types[]{
                gguf_type::uint8,  gguf_type::int8,  gguf_type::uint16, gguf_type::int16,
                gguf_type::uint32, gguf_type::int32, gguf_type::uint64, gguf_type::int64,
            };
            constexpr std::size_t width = sizeof(Number) == 8 ? 3 : sizeof(Number) / 2;
            return make(std::move(key), types[2 * width + (std::signed_integral<Number> ? 1 : 0)],
                        static_cast<std::uint64_t>(number));
        }
    }

  private:
    [[nodiscard]] static gguf_entry make(std::string key, gguf_type type, std::uint64_t bits);
};

/// The entries of a JSON object, as `open_json(path).root()` has one, in its order. A text is a string; true and false
/// are bools; an integer is uint32, a negative one int32, one that does not fit uint64 or int64; a number with a point
/// or an exponent is float32. Elements of an array are of one type, integers of them int32. Another type is written
/// out:
/// {"type": "float64", "value": 0.1}, also for the elements of an array. Fails with `format_lacks` for null, objects
/// and what no type holds, and with the value's own error where it could not be read. The error's path is the key.
[[nodiscard]] result<std::vector<gguf_entry>> read_gguf_metadata(const value& object);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/gguf_metadata.ipp>
#endif
