// ckpt/core/impl/str_cat.ipp: the definitions of str_cat.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE void text_part::set_unsigned(std::uint64_t number) noexcept {
    char* const end = digits_ + sizeof digits_;
    data_ = write_digits(number, 10, end);
    size_ = static_cast<std::size_t>(end - data_);
}

CKPT_DETAIL_RARE void text_part::set_signed(std::int64_t number) noexcept {
    char* const end = digits_ + sizeof digits_;
    data_ = write_decimal(number, end);
    size_ = static_cast<std::size_t>(end - data_);
}

CKPT_DETAIL_RARE std::string joined(std::span<const text_part> parts) {
    std::size_t size = 0;
    for (const text_part& p : parts) size += p.text().size();
    std::string out;
    out.reserve(size);
    for (const text_part& p : parts) out += p.text();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
