// fuzz/key_rules.cpp: key rules: their text, their plan over some keys, and its inverse.
//
// SPDX-License-Identifier: MIT
// In:      a rules text; behind a zero byte, more keys, one a line. The words of the rules are keys too, so that
//          rules match; the shapes and dtypes are derived from the keys.
// Invariants: a text is a map whose text is the same map, or an error with a place in the text; no plan ends with
//          errc::internal; every source key stands in the result, among the moves, the dropped or the aliased; keys
//          of the result are unique; values can be read wherever nothing is refused; the inverse gives back all keys
//          and values; no rules change nothing.
#include "target.hpp"

#include <ckpt/checkpoint.hpp>
#include <ckpt/state/remap.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using fuzzing::check_error;
using fuzzing::digest;
using fuzzing::require;

/// The words of the rules as keys, captures filled in, and the lines of `more`.
std::vector<std::string> keys_of(std::string_view rules, std::string_view more) {
    std::set<std::string> seen;
    std::vector<std::string> out;
    const auto add = [&](const std::string& key) {
        if (key.empty() || key.size() > 200 || out.size() == 40 || key == "__metadata__" || !seen.insert(key).second)
            return;
        for (std::size_t i = 0; i < key.size();) {
            const std::size_t n = ckpt::detail::utf8_length(key, i);
            if (n == 0 || static_cast<unsigned char>(key[i]) < 0x20) return;
            i += n;
        }
        out.push_back(key);
    };
    std::string word;
    std::string other;
    for (std::size_t i = 0; i <= rules.size(); ++i) {
        const char c = i < rules.size() ? rules[i] : ' ';
        if (c == ' ' || c == '\n' || c == ',' || c == '\t' || c == '=') {
            add(word);
            add(other);
            word.clear();
            other.clear();
        } else if (c == '{') {
            const std::size_t close = rules.find('}', i);
            if (close == std::string_view::npos) continue;
            const std::string_view inside = rules.substr(i + 1, close - i - 1);
            const std::size_t colon = inside.find(':');
            const std::string_view type =
                colon == std::string_view::npos ? std::string_view{} : inside.substr(colon + 1);
            word += type == "int" ? "0" : type == "**" ? "x.y" : std::string(type.substr(0, type.find('|')));
            other += type == "int"  ? "1"
                     : type == "**" ? "z"
                     : type.empty() ? "t"
                                    : std::string(type.substr(type.rfind('|') + 1));
            if (type.empty()) word += 's';
            i = close;
        } else if (c != '"' && c != '\\' && c != '*') {
            word += c;
            other += c;
        } else if (c == '*') {
            word += 'w';
        }
    }
    while (!more.empty()) {
        const std::size_t end = more.find('\n');
        add(std::string(more.substr(0, end)));
        more.remove_prefix(end == std::string_view::npos ? more.size() : end + 1);
    }
    return out;
}

/// A safetensors file of these keys.
std::vector<std::byte> file_of(const std::vector<std::string>& keys) {
    struct type {
        const char* name;
        std::size_t bytes;
    };
    constexpr type types[]{{"F32", 4}, {"F32", 4}, {"F16", 2}, {"I64", 8}, {"BOOL", 1}, {"F8_E4M3", 1}};
    std::string header = "{";
    std::size_t at = 0;
    for (const std::string& key : keys) {
        std::uint64_t pick = ckpt::detail::hash_bytes(key);
        if (pick % 3 != 0) pick = 0x1234'5678; // most keys alike, so that they fit together
        const type& t = types[pick / 7 % std::size(types)];
        std::size_t numel = 1;
        std::string shape;
        for (std::uint64_t rank = pick / 64 % 4, rest = pick >> 10; rank > 0; --rank, rest /= 8) {
            const std::uint64_t n = rest % 8 == 7 ? 12 : rest % 8;
            shape += (shape.empty() ? "" : ",") + std::to_string(n);
            numel *= n;
        }
        std::string quoted;
        for (const char c : key) {
            if (c == '"' || c == '\\') quoted += '\\';
            quoted += c;
        }
        header += (header.size() == 1 ? "" : ",") +
                  ('"' + quoted + R"(":{"dtype":")" + t.name + R"(","shape":[)" + shape + R"(],"data_offsets":[)" +
                   std::to_string(at) + ',' + std::to_string(at + numel * t.bytes) + "]}");
        at += numel * t.bytes;
    }
    header += '}';
    std::vector<std::byte> out(8 + header.size() + at);
    for (std::size_t i = 0; i < 8; ++i)
        out[i] = static_cast<std::byte>(static_cast<unsigned char>(std::uint64_t{header.size()} >> (8 * i)));
    std::memcpy(out.data() + 8, header.data(), header.size());
    for (std::size_t i = 0; i < at; ++i)
        out[8 + header.size() + i] = static_cast<std::byte>(static_cast<unsigned char>(i % 120));
    return out;
}

/// Reads what is small enough.
bool is_small(const ckpt::tensor& t) { return t.nbytes() < (std::uint64_t{1} << 18); }

void check_plan(const ckpt::state_dict& weights, const ckpt::key_map& map) {
    digest seen;
    const auto plan = ckpt::plan_remap(weights, map);
    for (const ckpt::error& e : plan.errors) check_error(e, 0, seen);
    const auto made = ckpt::remap(plan);
    if (!made) {
        check_error(made.error(), 0, seen);
        require(!plan.ok() || made.error().code == ckpt::errc::equality_broken ||
                    made.error().code == ckpt::errc::conversion,
                "a plan that is ok and fails");
        const auto back = plan.inverse(); // of a plan that only the values refute there is one
        require(back.has_value() == plan.ok() || back.error().code == ckpt::errc::not_reversible,
                "an inverse of no plan");
        return;
    }
    std::set<std::string> accounted;
    std::set<std::string> result;
    for (const auto& [key, tensor] : *made) {
        require(result.insert(std::string(key)).second, "two tensors under one key");
        if (tensor.refusal() == nullptr && is_small(tensor)) {
            const auto crc = tensor.crc32();
            require(crc.has_value() || crc.error().code == ckpt::errc::conversion ||
                        crc.error().code == ckpt::errc::output_limit,
                    "values that cannot be read");
        }
    }
    require(plan.keys().size() == result.size(), "a plan with other keys");
    for (const auto& m : plan.moves) {
        require(result.count(m.to) == 1, "a move to nowhere");
        require(m.rule >= 1 && m.rule <= map.size(), "a move without a rule");
        accounted.insert(m.from);
    }
    for (const auto& d : plan.dropped) accounted.insert(d.from);
    for (const auto& a : plan.aliased) accounted.insert(a.key);
    for (const auto& [key, tensor] : weights) {
        require(accounted.count(std::string(key)) == 1 || result.count(std::string(key)) == 1,
                "a tensor that disappeared");
        require(plan.explain(key).has_value(), "a key without a way");
    }
    const auto back = plan.inverse();
    if (!back) {
        require(back.error().code == ckpt::errc::not_reversible, "an inverse that fails otherwise");
        check_error(back.error(), 0, seen);
        return;
    }
    const auto again = ckpt::remap(*made, *back);
    require(again.has_value() && again->size() == weights.size(), "an inverse that cannot be carried out");
    for (const auto& [key, tensor] : weights) {
        require(again->contains(key), "a key that does not come back");
        const auto now = again->at(key).value();
        require(now.dtype() == tensor.dtype() &&
                    std::equal(now.shape().begin(), now.shape().end(), tensor.shape().begin(), tensor.shape().end()),
                "another dtype or shape");
        const auto crc = now.crc32();
        require(crc.has_value() && *crc == tensor.crc32().value(), "other values");
    }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input{reinterpret_cast<const char*>(data), size};
    const std::string_view rules = input.substr(0, input.find('\0'));
    const std::string_view more = rules.size() < input.size() ? input.substr(rules.size() + 1) : std::string_view{};
    digest seen;
    ckpt::parse_error where;
    const auto map = ckpt::key_map::parse(rules, "rules", &where);
    if (!map) {
        check_error(map.error(), rules.size(), seen);
        require(map.error().code == ckpt::errc::rules_unreadable ||
                    where.line <= 1 + static_cast<std::size_t>(std::count(rules.begin(), rules.end(), '\n')),
                "a line behind the text");
        require(where.line == 0 ||
                    (where.column >= 1 && where.column <= rules.size() + 1 && where.width >= 1 && where.caret <= 110),
                "a place behind the line");
        (void)where.pretty();
    }
    const auto pattern = ckpt::pattern::parse(rules.substr(0, rules.find('\n')));
    const std::vector<std::string> keys = keys_of(rules.substr(0, 4096), more);
    if (pattern)
        for (const std::string& key : keys) seen.add(std::uint64_t{pattern->matches(key)});
    else check_error(pattern.error(), rules.size(), seen);
    if (!map) return 0;
    const auto again = ckpt::key_map::parse(map->text());
    require(again.has_value() && again->text() == map->text() && again->size() == map->size(),
            "a text that is another map");
    // Copies of copies are as many as they are asked for: only time limits them.
    std::size_t multiplied = 0;
    for (const char* verb : {"copy", "tie", "split", "stack"})
        for (std::size_t at = rules.find(verb); at != std::string_view::npos; at = rules.find(verb, at + 1))
            ++multiplied;
    if (multiplied > 8) return 0;
    const std::vector<std::byte> file = file_of(keys);
    const auto opened = ckpt::open_bytes(file);
    require(opened.has_value(), "a file that this target wrote");
    const auto weights = opened->state_dict("");
    require(weights.has_value() && weights->size() == keys.size(), "a file that this target wrote");
    check_plan(*weights, *map);
    check_plan(*weights, ckpt::key_map{});
    require(ckpt::plan_remap(*weights, ckpt::key_map{}).moves.empty(), "no rules that move something");
    return 0;
}
