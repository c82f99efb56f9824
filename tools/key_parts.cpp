// SPDX-License-Identifier: MIT
#include "key_parts.hpp"

#include <ckpt/core/number.hpp>

namespace tool {

using ckpt::detail::decimal;

key_parts split(std::string_view key) {
    key_parts out;
    for (std::size_t dot; (dot = key.find('.')) != std::string_view::npos; key.remove_prefix(dot + 1))
        out.emplace_back(key.substr(0, dot));
    out.emplace_back(key);
    return out;
}

std::string joined(const key_parts& parts) {
    std::string out;
    for (std::size_t i = 0; i < parts.size(); ++i) (out += i > 0 ? "." : "") += parts[i];
    return out;
}

std::optional<std::int64_t> counter(std::string_view part) {
    if (part.empty() || part.size() > 9 || (part[0] == '0' && part.size() > 1)) return std::nullopt;
    std::uint64_t n = 0;
    if (!ckpt::detail::parse_decimal(part, n)) return std::nullopt;
    return static_cast<std::int64_t>(n);
}

std::string range(std::int64_t first, std::int64_t last) { return '{' + decimal(first) + ".." + decimal(last) + '}'; }

} // namespace tool
