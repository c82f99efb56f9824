// bench/floor.hpp: the least work that opening cannot avoid, to measure the rest against.
//
// SPDX-License-Identifier: MIT
// In:      the bytes of data.pkl, or the path of a file.
// Out:     counts, so that the work is not optimised away and can be checked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace bench {

/// How the argument of an opcode is skipped, for the opcodes of protocol 2: so many bytes, or one of the forms below.
struct skip_table {
    static constexpr std::uint8_t lines_1 = 101, lines_2 = 102, counted_1 = 103, counted_4 = 104, unknown = 255;
    std::array<std::uint8_t, 256> how{};

    consteval skip_table() {
        how.fill(unknown);
        for (const char c : std::string_view("}])(tsuaebRQ\x81\x85\x86\x87\x88\x89N.012dlo"))
            how[static_cast<unsigned char>(c)] = 0;
        for (const char c : std::string_view("Kqh\x80")) how[static_cast<unsigned char>(c)] = 1;
        how['M'] = 2;
        for (const char c : std::string_view("Jrj")) how[static_cast<unsigned char>(c)] = 4;
        how['G'] = 8;
        for (const char c : std::string_view("FILSVPgp")) how[static_cast<unsigned char>(c)] = lines_1;
        for (const char c : std::string_view("ci")) how[static_cast<unsigned char>(c)] = lines_2;
        for (const char c : std::string_view("UC\x8A")) how[static_cast<unsigned char>(c)] = counted_1;
        for (const char c : std::string_view("XTB\x8B")) how[static_cast<unsigned char>(c)] = counted_4;
    }
};

/// Walks over the opcodes and looks at nothing else. Returns how many there are; 0 for damage.
[[nodiscard]] inline std::size_t skip_walk(std::string_view pickle) noexcept {
    static constexpr skip_table table{};
    const char* at = pickle.data();
    const char* const end = at + pickle.size();
    std::size_t count = 0;
    while (at < end) {
        const char op = *at++;
        ++count;
        const std::uint8_t how = table.how[static_cast<unsigned char>(op)];
        if (op == '.') return count;
        if (how <= 8) {
            at += how;
            continue;
        }
        if (how == skip_table::counted_1) {
            if (at == end) return 0;
            at += 1 + static_cast<unsigned char>(*at);
        } else if (how == skip_table::counted_4) {
            std::uint32_t length{};
            if (end - at < 4) return 0;
            std::memcpy(&length, at, 4);
            if (length > static_cast<std::size_t>(end - at) - 4) return 0;
            at += 4 + length;
        } else if (how == skip_table::lines_1 || how == skip_table::lines_2) {
            for (int i = how == skip_table::lines_2 ? 2 : 1; i > 0; --i) {
                const void* const line = at < end ? std::memchr(at, '\n', static_cast<std::size_t>(end - at)) : nullptr;
                if (line == nullptr) return 0;
                at = static_cast<const char*>(line) + 1;
            }
        } else {
            return 0;
        }
    }
    return 0;
}

} // namespace bench
