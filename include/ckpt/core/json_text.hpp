// ckpt/core/json_text.hpp: writes text and numbers as JSON.
//
// SPDX-License-Identifier: MIT
// In:      any bytes.
// Out:     a JSON string of valid UTF-8. A byte that is none becomes a lone surrogate, as Python writes it (\udcff for
// 0xff). Refuses: nothing.
#pragma once

#include <ckpt/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Appends `text` between double quotes, escaped.
void append_json(std::string& out, std::string_view text);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/json_text.ipp>
#endif
