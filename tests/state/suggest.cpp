// tests/state/suggest.cpp: suggested rules on pairs of public naming schemes: what is right, a guess, wrong or missing.
//
// SPDX-License-Identifier: MIT
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/remap.hpp>
#include <ckpt/state/suggest.hpp>

#include "../support/named_floats.hpp"
#include "../support/naming_schemes.hpp"
#include "../support/sanitized.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace suggest_test {

namespace {

using sizes = std::vector<std::int64_t>;

/// Tensors of one model on both sides, and for each wanted one the sources that become it, in their order.
struct naming {
    std::vector<std::pair<std::string, sizes>> from{};
    std::vector<std::pair<std::string, sizes>> to{};
    std::map<std::string, std::vector<std::string>> right{}; ///< by wanted key
    std::map<std::string, std::vector<std::string>> parts{}; ///< what a source becomes, in the order of its rows
};

/// Reads the rows of a pair: see tests/support/naming_schemes.hpp.
class naming_reader {
  public:
    [[nodiscard]] naming read(std::string_view rows) {
        while (!rows.empty()) {
            const std::size_t end = std::min(rows.find('\n'), rows.size());
            if (end > 0) row(rows.substr(0, end));
            rows.remove_prefix(std::min(end + 1, rows.size()));
        }
        return std::move(out_);
    }

  private:
    [[nodiscard]] static std::string trimmed(std::string_view s) {
        while (s.starts_with(' ')) s.remove_prefix(1);
        while (s.ends_with(' ')) s.remove_suffix(1);
        return std::string(s);
    }
    [[nodiscard]] static std::vector<std::string> cut(std::string_view s, char at) {
        std::vector<std::string> out;
        for (;;) {
            const std::size_t end = s.find(at);
            out.push_back(trimmed(s.substr(0, end)));
            if (end == std::string_view::npos) return out;
            s.remove_prefix(end + 1);
        }
    }
    /// The alternatives of the one `{a,b}` in a name, or the name.
    [[nodiscard]] static std::vector<std::string> alternatives(const std::string& name) {
        const std::size_t comma = name.find(',');
        if (comma == std::string::npos) return {name};
        const std::size_t open = name.rfind('{', comma);
        const std::size_t close = name.find('}', comma);
        std::vector<std::string> out;
        for (const std::string& a : cut(std::string_view(name).substr(open + 1, close - open - 1), ','))
            out.push_back(name.substr(0, open) + a + name.substr(close + 1));
        return out;
    }
    [[nodiscard]] static std::string with(std::string name, std::string_view mark, std::string_view by) {
        for (std::size_t at = name.find(mark); at != std::string::npos; at = name.find(mark))
            name.replace(at, mark.size(), by);
        return name;
    }
    [[nodiscard]] sizes shape_of(const std::string& text) const {
        sizes out;
        for (const std::string& word : cut(text, ' '))
            if (!word.empty()) out.push_back(std::stoll(word == "d" ? prefix_.at(2) : word));
        return out;
    }

    void row(std::string_view text) {
        if (text.starts_with('@')) {
            prefix_ = cut(text.substr(1), '|');
            return;
        }
        const std::vector<std::string> parts = cut(text, '|');
        const std::vector<std::string> shapes = cut(parts.at(2), '>');
        const sizes from = shape_of(shapes.front());
        const sizes to = shape_of(shapes.back());
        const auto before = [this](std::size_t side) { return alternatives(prefix_.at(side)); };
        const std::vector<std::string> left = before(0);
        const std::vector<std::string> right = before(1);
        for (std::size_t p = 0; p < std::max(left.size(), right.size()); ++p) {
            const std::string& l = left[std::min(p, left.size() - 1)];
            const std::string& r = right[std::min(p, right.size() - 1)];
            const bool layered = (l + parts[0] + r + parts[1]).find("{i}") != std::string::npos;
            for (const char* layer : {"0", "1"}) {
                if (!layered && *layer == '1') continue;
                const bool both = (parts[0] + parts[1]).find('*') != std::string::npos;
                for (const char* leaf : {"weight", "bias"}) {
                    if (!both && *leaf == 'b') continue;
                    const bool vector = both && *leaf == 'b';
                    const auto named = [&](const std::string& prefix, const std::string& name) {
                        return with(with(prefix + name, "{i}", layer), "*", leaf);
                    };
                    const auto first = [&](const sizes& s) { return vector ? sizes{s.front()} : s; };
                    tensors(parts[0] == "-" ? "" : named(l, parts[0]), parts[1] == "-" ? "" : named(r, parts[1]),
                            first(from), first(to));
                }
            }
        }
    }
    void tensors(const std::string& left, const std::string& right, const sizes& from, const sizes& to) {
        const std::vector<std::string> a = alternatives(left);
        const std::vector<std::string> b = alternatives(right);
        const auto whole = [](sizes s, std::size_t parts) {
            s.front() *= static_cast<std::int64_t>(parts);
            return s;
        };
        for (const std::string& name : a)
            if (!name.empty()) out_.from.emplace_back(name, b.size() > a.size() ? whole(from, b.size()) : from);
        for (const std::string& name : b)
            if (!name.empty()) out_.to.emplace_back(name, a.size() > b.size() ? whole(to, a.size()) : to);
        for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
            const std::string& source = a[std::min(i, a.size() - 1)];
            const std::string& target = b[std::min(i, b.size() - 1)];
            if (source.empty() || target.empty()) continue;
            out_.right[target].push_back(source);
            out_.parts[source].push_back(target);
        }
    }

    naming out_{};
    std::vector<std::string> prefix_{"", ""};
};

[[nodiscard]] naming turned(const naming& n) { return {n.to, n.from, n.parts, n.right}; }

struct score {
    std::size_t right{};
    std::size_t guessed{};        ///< marked as a guess
    std::size_t guessed_right{};  ///< of these
    std::size_t wrong{};          ///< and not marked
    std::size_t missing{};        ///< that has a source, and none is suggested
    std::size_t contradictions{}; ///< between the text and guessed_targets
    std::string what_is_wrong{};
};

/// Suggests rules and compares what they do with what is right.
[[nodiscard]] score judged(const naming& n) {
    std::vector<test_support::named_floats::one> tensors;
    for (const auto& [name, shape] : n.from) {
        std::int64_t count = 1;
        for (const std::int64_t size : shape) count *= size;
        tensors.push_back({name, shape, std::vector<float>(static_cast<std::size_t>(count))});
    }
    const test_support::named_floats file{tensors};
    std::vector<ckpt::wanted_tensor> wanted;
    for (const auto& [name, shape] : n.to) wanted.push_back({name, shape});
    const ckpt::state_dict weights = file.weights();
    const ckpt::rule_suggestion found = ckpt::suggest_rules(weights, wanted);

    // Rules below a comment that says so are guesses, up to the next comment.
    std::set<std::size_t> guesses;
    bool guess = false;
    std::size_t rule = 0;
    for (std::string_view rest = found.text; !rest.empty();) {
        const std::size_t end = rest.find('\n');
        std::string_view line = rest.substr(0, end);
        rest.remove_prefix(end + 1);
        while (line.starts_with(' ')) line.remove_prefix(1);
        if (line.starts_with('#')) guess = line.starts_with("# guesses:");
        else if (line != "first {" && line != "}" && guess) guesses.insert(++rule);
        else if (line != "first {" && line != "}") ++rule;
    }
    const ckpt::key_map map = ckpt::key_map::parse(found.text).value();
    const ckpt::remap_plan plan = ckpt::plan_remap(weights, map);
    REQUIRE(plan.ok());
    std::map<std::string, std::vector<std::string>> made;
    std::map<std::string, std::vector<std::string>> parts; // of what is split, in their order
    std::set<std::string> moved;
    for (const auto& m : plan.moves) {
        made[m.to].push_back(m.from);
        parts[m.from].push_back(m.to);
        moved.insert(m.from);
    }
    for (const auto& [name, shape] : n.from)
        if (!moved.contains(name)) {
            made[name].push_back(name);
            parts[name].push_back(name);
        }
    const auto is_marked = [&](const std::vector<std::string>& sources) {
        bool out = false;
        for (const std::string& s : sources)
            if (const auto trace = plan.explain(s))
                for (const auto& step : *trace) out = out || guesses.contains(step.rule);
        return out;
    };
    const std::set<std::string> guessed(found.guessed_targets.begin(), found.guessed_targets.end());
    score out;
    for (const auto& [target, shape] : n.to) {
        const auto got = made.find(target);
        const auto right = n.right.find(target);
        const bool open = std::find(found.unexplained_targets.begin(), found.unexplained_targets.end(), target) !=
                          found.unexplained_targets.end();
        if (got == made.end() || open) {
            out.missing += right != n.right.end() ? 1U : 0U;
            continue;
        }
        bool fits = right != n.right.end() && got->second == right->second;
        if (fits && right->second.size() == 1) fits = parts[got->second.front()] == n.parts.at(got->second.front());
        // The text and the list agree; what keeps its name has no rule to mark.
        const bool marked = is_marked(got->second);
        if (marked != guessed.contains(target) && (marked || got->second.front() != target)) ++out.contradictions;
        if (marked || guessed.contains(target)) {
            ++out.guessed;
            out.guessed_right += fits ? 1U : 0U;
        } else if (fits) {
            ++out.right;
        } else {
            ++out.wrong;
            out.what_is_wrong += '\n' + got->second.front() + " -> " + target;
        }
    }
    return out;
}

using chance = std::mt19937;

[[nodiscard]] std::size_t below(chance& of, std::size_t n) { return static_cast<std::size_t>(of()) % n; }

template <class List> void shuffle(List& list, chance& of) {
    for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[below(of, i)]);
}

/// Gives the wanted tensors other names.
template <class F> [[nodiscard]] naming with_targets(const naming& n, const F& name_of) {
    naming out{n.from, {}, {}, n.parts};
    std::map<std::string, std::string> others;
    for (const auto& [name, shape] : n.to) {
        const std::string& other = others[name] = name_of(name);
        out.to.emplace_back(other, shape);
        if (const auto right = n.right.find(name); right != n.right.end()) out.right[other] = right->second;
    }
    for (auto& [source, targets] : out.parts)
        for (std::string& t : targets) t = others.at(t);
    return out;
}

/// Names that mean nothing: m0.a, m0.b, m1.a.
[[nodiscard]] naming opaque(const naming& n, chance& of) {
    std::vector<std::size_t> numbers(n.to.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
    shuffle(numbers, of);
    std::size_t at = 0;
    return with_targets(n, [&](const std::string&) {
        const std::size_t k = numbers[at++];
        return 'm' + std::to_string(k / 4) + '.' + "abcd"[k % 4];
    });
}

/// Some segments, everywhere the same, become such that mean nothing; numbers stay, and so do weight and bias.
[[nodiscard]] naming half_opaque(const naming& n, std::size_t percent, chance& of) {
    std::map<std::string, std::string> known;
    std::vector<std::size_t> numbers(1000);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
    shuffle(numbers, of);
    return with_targets(n, [&](const std::string& name) {
        std::string out;
        for (std::size_t at = 0; at <= name.size();) {
            const std::size_t end = std::min(name.find('.', at), name.size());
            const std::string segment = name.substr(at, end - at);
            at = end + 1;
            const bool kept = segment == "weight" || segment == "bias" || (segment[0] >= '0' && segment[0] <= '9');
            auto [it, is_new] = known.try_emplace(segment, segment);
            if (is_new && !kept && below(of, 100) < percent) it->second = 'm' + std::to_string(numbers[known.size()]);
            out += (out.empty() ? "" : ".") + it->second;
        }
        return out;
    });
}

/// Without some tensors, of all layers the same.
[[nodiscard]] naming without_some(const naming& n, std::size_t percent, chance& of) {
    std::map<std::string, bool> known;
    const auto gone = [&](std::string name, char side) {
        for (char& c : name)
            if (c >= '0' && c <= '9') c = '#';
        const auto [it, is_new] = known.try_emplace(side + name, false);
        if (is_new) it->second = below(of, 100) < percent;
        return it->second;
    };
    naming out;
    std::set<std::string> lost;
    for (const auto& one : n.from) gone(one.first, 's') ? void(lost.insert(one.first)) : out.from.push_back(one);
    for (const auto& one : n.to) {
        if (gone(one.first, 't')) continue;
        out.to.push_back(one);
        const auto right = n.right.find(one.first);
        if (right == n.right.end()) continue;
        bool whole = true;
        for (const std::string& s : right->second) whole = whole && !lost.contains(s);
        if (whole) out.right.insert(*right);
    }
    out.parts = n.parts;
    return out;
}

/// With a copy of all source tensors under a prefix: averaged weights, which are not asked for.
[[nodiscard]] naming doubled(const naming& n, std::string_view prefix) {
    naming out = n;
    for (const auto& [name, shape] : n.from) out.from.emplace_back(std::string(prefix) + name, shape);
    return out;
}

constexpr std::size_t kinds_of_variants = 8;

[[nodiscard]] naming variant(const naming& n, std::size_t kind, chance& of) {
    naming out = n;
    switch (kind % 8) {
    case 0: break;
    case 1: out = opaque(n, of); break;
    case 2: out = half_opaque(n, 100, of); break;
    case 3: out = half_opaque(n, 40, of); break;
    case 4: out = half_opaque(n, 15, of); break;
    case 5: out = without_some(n, 20, of); break;
    case 6: out = without_some(half_opaque(n, 20, of), 10, of); break;
    case 7: out = doubled(n, "ema."); break;
    default: break;
    }
    shuffle(out.from, of);
    shuffle(out.to, of);
    return out;
}

} // namespace

TEST_CASE("pairs of naming schemes: what is wrong is marked as a guess, both ways" * doctest::test_suite("slow")) {
    // How many tensors are right and sure, from left to right and back. No change makes them less.
    constexpr std::size_t least[][2]{{89, 89}, {73, 57}, {36, 36}, {60, 84},   {88, 88}, {52, 36},
                                     {93, 69}, {48, 48}, {26, 26}, {21, 21},   {40, 32}, {29, 29},
                                     {43, 35}, {83, 67}, {51, 51}, {127, 127}, {70, 70}};
    static_assert(std::size(least) == std::size(test_support::naming_pairs));
    for (std::size_t i = 0; i < std::size(least); ++i) {
        const naming there = naming_reader{}.read(test_support::naming_pairs[i].rows);
        for (const bool back : {false, true}) {
            const score s = judged(back ? turned(there) : there);
            CAPTURE(test_support::naming_pairs[i].name);
            CAPTURE(back);
            CHECK_MESSAGE(s.wrong == 0, s.what_is_wrong);
            CHECK(s.contradictions == 0);
            CHECK(s.right >= least[i][back ? 1 : 0]);
        }
    }
}

TEST_CASE("the same in another order, with names that mean nothing, without some tensors, with averaged weights beside "
          "them" *
          doctest::test_suite("slow")) {
    chance of{20261129};
    std::size_t variants = 0;
    std::size_t runs = 0;
    for (const test_support::naming_pair& pair : test_support::naming_pairs) {
        const naming there = naming_reader{}.read(pair.rows);
        for (const bool back : {false, true})
            for (std::size_t kind = 0; kind < kinds_of_variants; ++kind) {
                if (++variants % test_support::one_of_many != 0) continue;
                const score s = judged(variant(back ? turned(there) : there, kind, of));
                CAPTURE(pair.name);
                CAPTURE(back);
                CAPTURE(kind);
                CHECK_MESSAGE(s.wrong == 0, s.what_is_wrong);
                CHECK(s.contradictions == 0);
                ++runs;
            }
    }
    CHECK(runs >= 200 / test_support::one_of_many);
}

} // namespace suggest_test
