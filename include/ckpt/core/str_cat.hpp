// ckpt/core/str_cat.hpp: sentences out of texts and numbers.
//
// SPDX-License-Identifier: MIT
// In:      texts, characters and whole numbers.
// Out:     str_cat("a shard of ", 2, " bytes") is "a shard of 2 bytes".
// Refuses: nothing; `std::bad_alloc` passes through.
//
// A chain of operator+ makes a string at each step, which has to be destroyed on two paths. Of the code of header-only
// programs a tenth were such paths.
#pragma once

#include <ckpt/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// One argument of str_cat: a view of a text of the caller, or the digits of a number.
class text_part {
  public:
    text_part(std::string_view text) noexcept : data_{text.data()}, size_{text.size()} {}
    text_part(const std::string& text) noexcept : data_{text.data()}, size_{text.size()} {}
    text_part(const char* text) noexcept : text_part{std::string_view{text}} {}
    text_part(char character) noexcept : data_{digits_}, size_{1} { digits_[0] = character; }
    template <std::signed_integral Number> text_part(Number number) noexcept {
        set_signed(static_cast<std::int64_t>(number));
    }
    template <std::unsigned_integral Number> text_part(Number number) noexcept {
        set_unsigned(static_cast<std::uint64_t>(number));
    }
    text_part(bool) = delete;
    text_part(const text_part&) = delete; // data_ may be its own digits
    text_part& operator=(const text_part&) = delete;

    [[nodiscard]] std::string_view text() const noexcept { return {data_, size_}; }

  private:
    void set_signed(std::int64_t number) noexcept;
    void set_unsigned(std::uint64_t number) noexcept;

    const char* data_;
    std::size_t size_;
    char digits_[20]; // of the smallest signed and of the largest unsigned number
};

[[nodiscard]] std::string joined(std::span<const text_part> parts);

/// The texts, one after the other.
template <class... Parts> [[nodiscard]] std::string str_cat(const Parts&... parts) {
    const text_part list[]{parts...};
    return joined(list);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/str_cat.ipp>
#endif
