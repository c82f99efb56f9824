// tests/gpu/cuda_history.hpp: who worked on which bytes, and what orders it.
//
// SPDX-License-Identifier: MIT
// In:      work in streams: where it stands in its stream, and what must have been done before it.
// Out:     the first earlier work on the same bytes that nothing orders.
//
// A clock says of every stream up to which number its work is known to be done. Work is recorded when it is done,
// and it is done in an order that keeps to the clocks; so it is enough to ask whether what is there is in the clock of
// what comes, and to keep the last write and the reads since.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace cuda_double::detail {

using stream_id = std::uint32_t;

class clock {
  public:
    [[nodiscard]] std::uint64_t of(stream_id stream) const { return stream < done_.size() ? done_[stream] : 0; }
    [[nodiscard]] std::size_t streams() const { return done_.size(); }
    /// Whether all of the other is known here.
    [[nodiscard]] bool covers(const clock& other) const {
        for (stream_id s = 0; s < other.streams(); ++s)
            if (of(s) < other.of(s)) return false;
        return true;
    }
    void raise(stream_id stream, std::uint64_t number) {
        if (stream >= done_.size()) done_.resize(stream + 1, 0);
        if (done_[stream] < number) done_[stream] = number;
    }
    void raise(const clock& other) {
        for (stream_id s = 0; s < other.streams(); ++s)
            if (of(s) < other.of(s)) raise(s, other.of(s));
    }

  private:
    std::vector<std::uint64_t> done_{};
};
using shared_clock = std::shared_ptr<const clock>;

/// One piece of work; number 0 is nothing. The copies of a batch are parts, which nothing orders.
struct moment {
    stream_id stream{0};
    std::uint32_t part{0};
    std::uint64_t number{0};
    std::uint64_t call{0}; ///< for messages
};
inline constexpr std::uint32_t several_parts = ~std::uint32_t{0};

[[nodiscard]] inline bool is_ordered(const moment& earlier, const moment& later, const clock& before) {
    if (earlier.number == 0) return true;
    if (earlier.stream != later.stream) return before.of(earlier.stream) >= earlier.number;
    return earlier.number != later.number || (earlier.part == later.part && earlier.part != several_parts);
}

/// The bytes of one allocation or registration.
class history {
  public:
    explicit history(std::size_t bytes) : bytes_{bytes} { ranges_.emplace(0, range{}); }

    /// Records work on [begin, end), and gives what conflicts with it.
    std::optional<moment> record(std::size_t begin, std::size_t end, bool writes, const moment& at,
                                 const clock& before) {
        std::optional<moment> conflict;
        if (begin >= end) return conflict;
        const auto first = split(begin), last = split(end);
        const auto check = [&](const moment& earlier) {
            if (!conflict && !is_ordered(earlier, at, before)) conflict = earlier;
        };
        for (auto i = first; i != last; ++i) {
            check(i->second.written);
            if (writes)
                for (const moment& read : i->second.reads) check(read);
            else i->second.add_read(at);
        }
        if (writes) {
            first->second = range{at, {}};
            ranges_.erase(std::next(first), last);
        }
        return conflict;
    }

    /// The first write to [begin, end) that is not in the clock.
    [[nodiscard]] std::optional<moment> unknown_write(std::size_t begin, std::size_t end, const clock& known) const {
        for (auto i = std::prev(ranges_.upper_bound(begin)); i != ranges_.end() && i->first < end; ++i)
            if (known.of(i->second.written.stream) < i->second.written.number) return i->second.written;
        return std::nullopt;
    }

  private:
    struct range {
        moment written{};
        std::vector<moment> reads{}; ///< since, one of each stream

        void add_read(const moment& at) {
            for (moment& read : reads) {
                if (read.stream != at.stream) continue;
                const bool same = read.number == at.number && read.part != at.part;
                read = at;
                if (same) read.part = several_parts;
                return;
            }
            reads.push_back(at);
        }
    };

    /// The range that begins there, made where there is none.
    std::map<std::size_t, range>::iterator split(std::size_t at) {
        if (at >= bytes_) return ranges_.end();
        const auto after = ranges_.upper_bound(at);
        const auto here = std::prev(after);
        return here->first == at ? here : ranges_.emplace_hint(after, at, here->second);
    }

    std::size_t bytes_;
    std::map<std::size_t, range> ranges_{};
};

} // namespace cuda_double::detail
