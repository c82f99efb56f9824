// tests/support/inflate.hpp: a small reader of deflate data, so that tests of compressed records need no library.
//
// SPDX-License-Identifier: MIT
// In:      one raw deflate stream (RFC 1951).
// Out:     `test_inflater`: what open_options::inflate takes; it counts its calls.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/core/digest.hpp>

#include "zip_writer.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace test_support {

class inflate_stream {
  public:
    inflate_stream(std::span<const std::byte> in, std::vector<std::byte>& out) : in_{in}, out_{out} {}

    /// Whether the stream was read to its end.
    [[nodiscard]] bool run() {
        for (bool last = false; !last;) {
            last = bits(1) != 0;
            switch (bits(2)) {
            case 0: stored(); break;
            case 1: coded(fixed_lengths(), std::vector<std::uint8_t>(30, 5)); break;
            case 2: dynamic(); break;
            default: failed_ = true;
            }
            if (failed_) return false;
        }
        return true;
    }

    /// Whether it failed because the data end too early.
    [[nodiscard]] bool wants_more() const { return cut_; }

  private:
    /// A canonical code: how many codes of each length there are, and the symbols in order.
    struct code {
        std::array<std::uint16_t, 16> count{};
        std::vector<std::uint16_t> symbols{};
        explicit code(const std::vector<std::uint8_t>& lengths) {
            for (const std::uint8_t n : lengths) ++count[n];
            count[0] = 0;
            for (std::uint8_t n = 1; n < 16; ++n)
                for (std::size_t i = 0; i < lengths.size(); ++i)
                    if (lengths[i] == n) symbols.push_back(static_cast<std::uint16_t>(i));
        }
    };
    unsigned bits(int n) {
        unsigned out = 0;
        for (int i = 0; i < n; ++i) {
            if (bit_ / 8 >= in_.size()) return failed_ = cut_ = true, 0u;
            out |= (std::to_integer<unsigned>(in_[bit_ / 8]) >> (bit_ % 8) & 1u) << i;
            ++bit_;
        }
        return out;
    }
    void put(std::byte b) {
        if (!failed_) out_.push_back(b);
    }
    unsigned symbol(const code& c) {
        int value = 0, first = 0, index = 0;
        for (std::size_t length = 1; length < 16 && !failed_; ++length) {
            value |= static_cast<int>(bits(1));
            const int count = c.count[length];
            if (value - count < first) return c.symbols[static_cast<std::size_t>(index + value - first)];
            index += count;
            first = (first + count) << 1;
            value <<= 1;
        }
        failed_ = true;
        return 0;
    }
    void stored() {
        bit_ = (bit_ + 7) / 8 * 8;
        const unsigned length = bits(16);
        if (bits(16) != (length ^ 0xFFFFu)) failed_ = true;
        for (unsigned i = 0; i < length && !failed_; ++i) put(static_cast<std::byte>(bits(8)));
    }
    static std::vector<std::uint8_t> fixed_lengths() {
        std::vector<std::uint8_t> out(288, 8);
        for (std::size_t i = 144; i < 256; ++i) out[i] = 9;
        for (std::size_t i = 256; i < 280; ++i) out[i] = 7;
        return out;
    }
    void dynamic() {
        const unsigned literals = bits(5) + 257, distances = bits(5) + 1, lengths = bits(4) + 4;
        constexpr std::uint8_t order[]{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
        std::vector<std::uint8_t> sizes(19);
        for (unsigned i = 0; i < lengths; ++i) sizes[order[i]] = static_cast<std::uint8_t>(bits(3));
        const code of_lengths{sizes};
        std::vector<std::uint8_t> all;
        while (all.size() < literals + distances && !failed_) {
            const unsigned s = symbol(of_lengths);
            if (s < 16) {
                all.push_back(static_cast<std::uint8_t>(s));
                continue;
            }
            const std::uint8_t repeated = s == 16 && !all.empty() ? all.back() : std::uint8_t{0};
            const unsigned times = s == 16 ? 3 + bits(2) : s == 17 ? 3 + bits(3) : 11 + bits(7);
            all.insert(all.end(), times, repeated);
        }
        if (failed_ || all.size() != literals + distances) return void(failed_ = true);
        const auto middle = all.begin() + static_cast<std::ptrdiff_t>(literals);
        coded({all.begin(), middle}, {middle, all.end()});
    }
    void coded(const std::vector<std::uint8_t>& literals, const std::vector<std::uint8_t>& distances) {
        constexpr std::uint16_t base[]{3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                       31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
        constexpr std::uint8_t extra[]{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                       2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
        const code of_literals{literals}, of_distances{distances};
        while (!failed_) {
            const unsigned s = symbol(of_literals);
            if (s < 256) put(static_cast<std::byte>(s));
            if (s <= 256 || failed_) {
                if (s == 256) return;
                continue;
            }
            if (s > 285) return void(failed_ = true);
            const unsigned length = base[s - 257] + bits(extra[s - 257]);
            const unsigned d = symbol(of_distances);
            if (d > 29) return void(failed_ = true);
            const int more = d < 4 ? 0 : static_cast<int>(d) / 2 - 1;
            const std::size_t distance = d < 4 ? d + 1 : ((2u + d % 2) << more) + 1 + bits(more);
            if (distance > out_.size()) return void(failed_ = true);
            for (unsigned i = 0; i < length && !failed_; ++i) put(out_[out_.size() - distance]);
        }
    }

    std::span<const std::byte> in_;
    std::vector<std::byte>& out_;
    std::size_t bit_{0};
    bool failed_{false};
    bool cut_{false};
};

/// What an inflater of these tests has done.
struct inflate_counts {
    int streams{0};
    int copies{0}; ///< of streams, that are begun in the middle
    std::uint64_t bytes{0};
};

/// A stream of `test_inflater`. It inflates all that it was given so far each time that there is more of it.
struct test_stream {
    std::vector<std::byte> in{}, out{};
    std::size_t given{0};
    bool whole{false};

    [[nodiscard]] ckpt::inflater::outcome next(std::span<const std::byte>& more, std::span<std::byte>& room) {
        using outcome = ckpt::inflater::outcome;
        if (!more.empty() && !whole) {
            in.insert(in.end(), more.begin(), more.end());
            more = {};
            out.clear();
            inflate_stream stream{in, out};
            whole = stream.run();
            if (!whole && !stream.wants_more()) return outcome::failed;
        }
        const std::size_t n = out.size() - given < room.size() ? out.size() - given : room.size();
        for (std::size_t i = 0; i < n; ++i) room[i] = out[given + i];
        given += n;
        room = room.subspan(n);
        return whole && given == out.size() ? outcome::finished : outcome::going;
    }
};

/// What open_options::inflate takes. `streams`, where it is given, counts the streams that were begun.
inline ckpt::inflater test_inflater(int* streams = nullptr) {
    return {[](void* context) -> void* {
                if (context != nullptr) ++*static_cast<int*>(context);
                return new test_stream{};
            },
            [](void* of, std::span<const std::byte>& in, std::span<std::byte>& out) {
                return static_cast<test_stream*>(of)->next(in, out);
            },
            [](void* of) { delete static_cast<test_stream*>(of); }, streams};
}

/// A stream of `copying_inflater`: of blocks that are stored, in little memory and time.
struct stored_stream {
    inflate_counts* counts{nullptr};
    std::array<std::uint8_t, 5> head{}; // of the present block
    std::size_t have{0};                // bytes of it
    std::size_t left{0};                // bytes of the block

    [[nodiscard]] ckpt::inflater::outcome next(std::span<const std::byte>& in, std::span<std::byte>& out) {
        using outcome = ckpt::inflater::outcome;
        for (;;) {
            while (have < head.size() && !in.empty()) {
                head[have++] = std::to_integer<std::uint8_t>(in.front());
                in = in.subspan(1);
                if (have == head.size()) left = head[1] + 256u * head[2];
            }
            if (have < head.size()) return outcome::going;
            const std::size_t n = (std::min)({left, in.size(), out.size()});
            std::copy_n(in.begin(), n, out.begin());
            in = in.subspan(n);
            out = out.subspan(n);
            left -= n;
            counts->bytes += n;
            if (left != 0) return outcome::going;
            if (head[0] == 1) return outcome::finished;
            have = 0;
        }
    }
};

/// An inflater of stored blocks that copies its streams, and counts all that it does.
inline ckpt::inflater copying_inflater(inflate_counts& counts) {
    return {[](void* context) -> void* {
                auto* const to = static_cast<inflate_counts*>(context);
                ++to->streams;
                return new stored_stream{.counts = to};
            },
            [](void* of, std::span<const std::byte>& in, std::span<std::byte>& out) {
                return static_cast<stored_stream*>(of)->next(in, out);
            },
            [](void* of) { delete static_cast<stored_stream*>(of); }, &counts,
            [](void* of) -> void* {
                ++static_cast<stored_stream*>(of)->counts->copies;
                return new stored_stream(*static_cast<stored_stream*>(of));
            }};
}

/// An inflater that makes zeros of any data, as many as `left` says.
inline ckpt::inflater zeros_inflater(std::uint64_t& left) {
    return {[](void* context) { return context; },
            [](void* of, std::span<const std::byte>& in, std::span<std::byte>& out) {
                std::uint64_t& rest = *static_cast<std::uint64_t*>(of);
                const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(rest, out.size()));
                std::fill_n(out.begin(), n, std::byte{});
                out = out.subspan(n);
                in = {};
                rest -= n;
                return rest == 0 ? ckpt::inflater::outcome::finished : ckpt::inflater::outcome::going;
            },
            [](void*) {}, &left};
}

/// Deflate data of blocks that are stored: five bytes for each 65,535.
inline std::string deflate_stored(std::string_view data) {
    std::string out;
    do {
        const std::string_view part = data.substr(0, 65'535);
        data.remove_prefix(part.size());
        const auto n = static_cast<unsigned>(part.size());
        for (const unsigned b : {data.empty() ? 1u : 0u, n & 0xFF, n >> 8, ~n & 0xFF, ~n >> 8 & 0xFF})
            out += static_cast<char>(static_cast<unsigned char>(b));
        out += part;
    } while (!data.empty());
    return out;
}

/// A record as a compressing writer leaves it.
inline zip_member deflated(zip_member m) {
    m.inflated = m.data.size();
    m.inflated_crc = ckpt::detail::crc32(std::as_bytes(std::span(m.data)));
    m.data = deflate_stored(m.data);
    m.method = 8;
    return m;
}

/// Deflate data of zeros: `bytes` of them, some thousand for each byte. Fixed codes: a literal, then lengths of 258.
inline std::string deflate_zeros(std::size_t bytes) {
    std::string out;
    unsigned held = 0, n = 0;
    const auto put = [&](unsigned value, unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            held |= (value >> i & 1u) << n;
            if (++n == 8) out += static_cast<char>(static_cast<unsigned char>(held)), held = n = 0;
        }
    };
    const auto code = [&](unsigned value, unsigned count) { // codes go from their first bit on
        for (unsigned i = count; i-- > 0;) put(value >> i & 1u, 1);
    };
    put(1, 1);
    put(1, 2);
    std::size_t left = bytes;
    if (left > 0) code(0x30, 8), --left; // the literal 0
    for (; left >= 258; left -= 258) code(0xC5, 8), code(0, 5);
    for (; left > 0; --left) code(0x30, 8);
    code(0, 7);
    if (n > 0) put(0, 8 - n);
    return out;
}

} // namespace test_support
