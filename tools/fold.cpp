#include "fold.hpp"
#include "key_parts.hpp"

#include <ckpt/core/number.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace tool {

namespace {

using ckpt::detail::decimal;

constexpr std::size_t most_names = 8; // in one pair of braces

struct line {
    key_parts from{};
    key_parts to{};
    std::string label{};
    std::uint64_t count{1};
};

[[nodiscard]] bool is_folded(std::string_view s) { return s.starts_with('{'); }
/// How many numbers stand before position `at`.
[[nodiscard]] std::size_t numbers_before(const key_parts& all, std::size_t at) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < at && i < all.size(); ++i)
        n += counter(all[i]) || (is_folded(all[i]) && all[i].find("..") != std::string::npos) ? 1u : 0u;
    return n;
}

/// Where the number or the name at one position of a line comes back on its other side.
struct echo {
    std::size_t at{};
    std::int64_t offset{};
};

/// The numbers of `to` that go with the number `n` at `from[at]`: the one in the same place among the numbers, where
/// both sides have as many; else those that are equal.
[[nodiscard]] std::vector<echo> echoes_of_number(const line& l, std::size_t at, std::int64_t n) {
    std::vector<echo> out;
    const bool aligned = numbers_before(l.from, l.from.size()) == numbers_before(l.to, l.to.size());
    const std::size_t ordinal = numbers_before(l.from, at);
    for (std::size_t i = 0; i < l.to.size(); ++i) {
        const auto m = counter(l.to[i]);
        if (m && (aligned ? numbers_before(l.to, i) == ordinal : *m == n)) out.push_back({i, *m - n});
    }
    return out;
}

/// Lines that are alike but for a number or a name.
struct member {
    std::size_t line{};
    std::int64_t number{};
    std::string name{};
    std::vector<echo> echoes{};
};

class folding {
  public:
    explicit folding(std::vector<line> lines) : lines_{std::move(lines)} {}

    [[nodiscard]] std::vector<line> run() {
        for (std::size_t at = 0; at < deepest_part && lines_.size() > 1; ++at) numbers(at, false);
        for (std::size_t at = 0; at < deepest_part && lines_.size() > 1; ++at) numbers(at, true);
        // From the right: leaves before their modules.
        std::size_t longest = 0;
        for (const line& l : lines_) longest = std::max({longest, l.from.size(), l.to.size()});
        for (const bool to : {false, true})
            for (std::size_t at = std::min(longest, deepest_part); at-- > 0 && lines_.size() > 1;) names(at, to);
        return std::move(lines_);
    }

  private:
    using groups = std::vector<std::vector<member>>;

    /// What is left of a line without the places that may differ.
    [[nodiscard]] static std::string rest(line& l, key_parts& side, std::size_t at, const std::vector<echo>& echoes) {
        const std::string kept = std::exchange(side[at], "{}");
        std::vector<std::string> others;
        for (const echo& e : echoes) others.push_back(std::exchange(l.to[e.at], "{" + decimal(e.offset) + '}'));
        std::string out = joined(l.from) + '\n' + joined(l.to) + '\n' + l.label + '\n' + decimal(l.count);
        for (std::size_t i = 0; i < echoes.size(); ++i) l.to[echoes[i].at] = std::move(others[i]);
        side[at] = kept;
        return out;
    }
    void put(std::string key, member m) {
        const auto [it, is_new] = index_.try_emplace(std::move(key), groups_.size());
        if (is_new) groups_.emplace_back();
        groups_[it->second].push_back(std::move(m));
    }
    void begin() {
        index_.clear();
        groups_.clear();
        gone_.assign(lines_.size(), false);
    }
    void end() {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < lines_.size(); ++i)
            if (!gone_[i]) {
                if (kept != i) lines_[kept] = std::move(lines_[i]);
                ++kept;
            }
        lines_.resize(kept);
    }

    /// Merges over consecutive numbers at one position: of the left side, or of the right one alone.
    void numbers(std::size_t at, bool right) {
        begin();
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            line& l = lines_[i];
            key_parts& side = right ? l.to : l.from;
            if (at >= side.size()) continue;
            const auto n = counter(side[at]);
            if (!n) continue;
            std::vector<echo> echoes;
            if (!right) echoes = echoes_of_number(l, at, *n);
            std::string key = rest(l, side, at, echoes);
            put(std::move(key), {i, *n, {}, std::move(echoes)});
        }
        for (std::vector<member>& all : groups_) {
            std::sort(all.begin(), all.end(), [](const member& a, const member& b) {
                return a.number != b.number ? a.number < b.number : a.line < b.line;
            });
            for (std::size_t from = 0; from < all.size();) {
                std::size_t to = from + 1;
                while (to < all.size() && all[to].number == all[to - 1].number + 1) ++to;
                if (to - from > 1) {
                    line& l = merge(all, from, to);
                    const std::int64_t first = all[from].number;
                    const std::int64_t last = all[to - 1].number;
                    (right ? l.to : l.from)[at] = range(first, last);
                    for (const echo& e : all[from].echoes) l.to[e.at] = range(first + e.offset, last + e.offset);
                }
                from = to;
            }
        }
        end();
    }
    /// Merges over a few names at one position.
    void names(std::size_t at, bool right) {
        begin();
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            line& l = lines_[i];
            key_parts& side = right ? l.to : l.from;
            if (at >= side.size() || counter(side[at]) || is_folded(side[at])) continue;
            std::vector<echo> echoes;
            for (std::size_t k = 0; k < l.to.size() && !right; ++k)
                if (l.to[k] == side[at]) echoes.push_back({k, 0});
            std::string name = side[at];
            std::string key = rest(l, side, at, echoes);
            put(std::move(key), {i, 0, std::move(name), std::move(echoes)});
        }
        for (const std::vector<member>& all : groups_) {
            if (all.size() < 2 || all.size() > most_names) continue;
            std::string braces = "{";
            for (const member& m : all) (braces += braces.size() > 1 ? "," : "") += m.name;
            braces += '}';
            line& l = merge(all, 0, all.size());
            (right ? l.to : l.from)[at] = braces;
            for (const echo& e : all.front().echoes) l.to[e.at] = braces;
        }
        end();
    }
    /// The first of the lines, which stands for all of them then.
    [[nodiscard]] line& merge(const std::vector<member>& all, std::size_t from, std::size_t to) {
        std::size_t first = all[from].line;
        std::uint64_t count = 0;
        for (std::size_t i = from; i < to; ++i) {
            first = std::min(first, all[i].line);
            count += lines_[all[i].line].count;
        }
        for (std::size_t i = from; i < to; ++i) gone_[all[i].line] = all[i].line != first;
        lines_[first].count = count;
        return lines_[first];
    }

    std::vector<line> lines_;
    std::unordered_map<std::string, std::size_t> index_{};
    groups groups_{};
    std::vector<bool> gone_{};
};

} // namespace

std::vector<key_pair> folded(const std::vector<key_pair>& pairs) {
    std::vector<line> lines;
    lines.reserve(pairs.size());
    for (const key_pair& p : pairs)
        lines.push_back({split(p.from), p.to.empty() ? key_parts{} : split(p.to), p.label, p.count});
    std::vector<key_pair> out;
    for (const line& l : folding{std::move(lines)}.run())
        out.push_back({joined(l.from), joined(l.to), l.label, l.count});
    return out;
}

} // namespace tool
