// `ckpt map`: what key rules would do to the weights; rules that would lead to a target. Writes nothing.
#include "common.hpp"
#include "fold.hpp"
#include "render.hpp"

#include <ckpt/core/utf8.hpp>
#include <ckpt/state/nearest.hpp>
#include <ckpt/state/remap_access.hpp>
#include <ckpt/state/suggest.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace tool {

namespace {

using ckpt::detail::planned_tensor;
using sizes = std::vector<std::int64_t>;

// --- the target ---

/// A key that shall come out, and its shape where that is known.
struct wanted_key {
    std::string key{};
    std::optional<sizes> shape{};
};

struct target_keys {
    std::vector<wanted_key> keys{};
    std::unordered_map<std::string_view, std::size_t> by_key{};
};

/// Reads a list of keys: on each line a key, in quotes if it has blanks, and its sizes, bare or in brackets.
class key_list {
  public:
    explicit key_list(std::string_view text) : text_{text} {}

    /// Empty, or what is wrong, with the number of the line.
    [[nodiscard]] std::string read(std::vector<wanted_key>& out) {
        if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
        std::unordered_map<std::string, std::size_t> seen;
        for (std::size_t number = 1; !text_.empty(); ++number) {
            const std::size_t end = text_.find('\n');
            line_ = text_.substr(0, end);
            text_.remove_prefix(end == std::string_view::npos ? text_.size() : end + 1);
            if (line_.ends_with('\r')) line_.remove_suffix(1);
            wanted_key w;
            std::string why = read_line(w);
            if (why.empty() && !w.key.empty())
                if (const auto [it, is_new] = seen.try_emplace(w.key, number); !is_new)
                    why = "the key \"" + w.key + "\" stands on line " + decimal(it->second) + " already";
            if (!why.empty()) return decimal(number) + ": " + why;
            if (!w.key.empty()) out.push_back(std::move(w));
        }
        return {};
    }

  private:
    void blanks() {
        while (!line_.empty() && (line_[0] == ' ' || line_[0] == '\t')) line_.remove_prefix(1);
        if (line_.starts_with('#')) line_ = {};
    }
    [[nodiscard]] std::string read_line(wanted_key& out) {
        blanks();
        if (line_.empty()) return {};
        if (line_[0] == '"') {
            std::size_t i = 1;
            for (; i < line_.size() && line_[i] != '"'; ++i) {
                if (line_[i] == '\\' && i + 1 < line_.size()) ++i;
                out.key += line_[i];
            }
            if (i >= line_.size()) return "a key in quotes that do not end";
            if (out.key.empty()) return "an empty key";
            line_.remove_prefix(i + 1);
            if (!line_.empty() && line_[0] != ' ' && line_[0] != '\t') return "text right behind the quotes of a key";
        } else {
            const std::size_t end = std::min(line_.find_first_of(" \t"), line_.size());
            out.key = line_.substr(0, end);
            line_.remove_prefix(end);
        }
        blanks();
        if (line_.empty()) return {};
        sizes shape;
        const char open = line_[0];
        const char close = open == '[' ? ']' : open == '(' ? ')' : '\0';
        if (close != '\0') line_.remove_prefix(1);
        bool comma = false; // a size follows
        for (blanks(); !line_.empty() && line_[0] != close; blanks()) {
            std::int64_t n = 0;
            const std::string_view word = line_.substr(0, std::min(line_.find_first_of(" \t,])"), line_.size()));
            if (!ckpt::detail::parse_decimal(word, n) || n < 0)
                return '"' + std::string(word.empty() ? line_.substr(0, 1) : word) +
                       "\" is no size: a line is a key, or a key and its shape, as in: fc.weight [10, 512]";
            line_.remove_prefix(word.size());
            shape.push_back(n);
            if (shape.size() > 64) return "a shape of more than 64 dimensions";
            blanks();
            comma = line_.starts_with(',');
            if (comma) line_.remove_prefix(1);
        }
        if (close == '\0' && comma) return "a comma without a size behind it";
        if (close != '\0') {
            if (line_.empty()) return std::string("a shape without its \"") + close + '"';
            line_.remove_prefix(1);
            blanks();
        }
        if (!line_.empty()) return "text behind the shape: \"" + std::string(line_) + '"';
        out.shape = std::move(shape);
        return {};
    }

    std::string_view text_;
    std::string_view line_{};
};

[[nodiscard]] bool is_text(std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size();) {
        const std::size_t n = ckpt::detail::utf8_length(bytes, i);
        const char c = bytes[i];
        if (n == 0 || (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7F)
            return false;
        i += n;
    }
    return !bytes.empty();
}

/// Reads the target: a checkpoint if the file is one, else a list of keys. False where it is neither: the command ends
/// then.
[[nodiscard]] bool read_target(const options& wanted, target_keys& out, int& exit_code) {
    const std::string& name = *wanted.target;
    const auto failed = [&](ckpt::error e, const ckpt::value& root = {}) {
        if (e.file.empty()) e.file = name;
        exit_code = fail(wanted, std::move(e), root);
        return false;
    };
    const auto file = open(name, wanted.policy);
    if (file) {
        const auto weights = weights_of(*file, wanted.select_target);
        if (!weights) return failed(weights.error(), file->root());
        for (const auto entry : *weights) {
            out.keys.push_back({std::string(entry.key), {}});
            if (entry.tensor.refusal() == nullptr)
                out.keys.back().shape.emplace(entry.tensor.shape().begin(), entry.tensor.shape().end());
        }
    } else {
        if (file.error().code != ckpt::errc::not_a_checkpoint || is_folder(name)) return failed(file.error());
        constexpr std::size_t most = std::size_t{64} << 20;
        const auto text = read_text(name, most);
        if (!text) return failed(text.error());
        if (text->size() > most || !is_text(*text)) return failed(file.error());
        if (const std::string why = key_list{*text}.read(out.keys); !why.empty()) {
            exit_code = misused(wanted.json, name + ':' + why);
            return false;
        }
        if (wanted.select_target) {
            exit_code = misused(wanted.json, "--select-target: " + name + " is a list of keys, which has no paths");
            return false;
        }
    }
    for (std::size_t i = 0; i < out.keys.size(); ++i) out.by_key.emplace(out.keys[i].key, i);
    return true;
}

// --- what comes out, against what is wanted ---

struct mismatch {
    std::string_view key{};
    sizes want{};
    std::optional<sizes> got{};
};

struct comparison {
    std::vector<const wanted_key*> missing{};
    std::vector<const planned_tensor*> unexpected{};
    std::vector<mismatch> mismatched{};
    [[nodiscard]] bool same() const noexcept { return missing.empty() && unexpected.empty() && mismatched.empty(); }
};

[[nodiscard]] comparison compare(const target_keys& target, const std::vector<planned_tensor>& results) {
    comparison out;
    std::unordered_map<std::string_view, const planned_tensor*> made;
    for (const planned_tensor& o : results) {
        made.emplace(o.key, &o);
        if (!target.by_key.contains(o.key)) out.unexpected.push_back(&o);
    }
    for (const wanted_key& w : target.keys) {
        const auto found = made.find(w.key);
        if (found == made.end()) out.missing.push_back(&w);
        else if (w.shape && found->second->shape != w.shape)
            out.mismatched.push_back({w.key, *w.shape, found->second->shape});
    }
    return out;
}

// --- JSON ---

void write_shape(json& to, std::string_view member, const std::optional<sizes>& shape) {
    to.key(member);
    if (shape) to.numbers(*shape);
    else to.null();
}

void write_errors(json& to, const ckpt::remap_plan& plan) {
    if (plan.errors.empty()) return;
    to.key("errors").begin_array();
    for (const ckpt::error& e : plan.errors) {
        to.line().begin_object().key("error");
        write(to, e);
        to.end_object();
    }
    to.end_array();
}

template <class Range> void write_texts(json& to, std::string_view member, const Range& all) {
    to.key(member).begin_array();
    for (const auto& s : all) to.text(s);
    to.end_array();
}

void write_map(json& to, const ckpt::remap_plan& plan, const comparison& with, bool ok) {
    to.begin_object().member("schema", "ckpt.map/1").key("moves").begin_array();
    for (const auto& m : plan.moves)
        to.line()
            .begin_object()
            .member("from", m.from)
            .member("to", m.to)
            .member("op", m.op)
            .member("rule", m.rule)
            .end_object();
    to.end_array().key("dropped").begin_array();
    for (const auto& d : plan.dropped)
        to.line().begin_object().member("from", d.from).member("rule", d.rule).end_object();
    to.end_array().key("aliased").begin_array();
    for (const auto& a : plan.aliased)
        to.line().begin_object().member("key", a.key).member("same_as", a.same_as).end_object();
    to.end_array();
    write_texts(to, "filled", plan.filled);
    to.key("unused_rules").numbers(plan.unused_rules);
    to.key("collisions").begin_array();
    for (const auto& c : plan.collisions) {
        to.line().begin_object().member("to", c.to);
        write_texts(to, "from", c.from);
        to.key("rules").begin_array();
        for (const std::size_t rule : c.rules) rule == 0 ? to.null() : to.number(rule);
        to.end_array().end_object();
    }
    to.end_array().key("missing").begin_array();
    for (const wanted_key* w : with.missing) to.text(w->key);
    to.end_array().key("unexpected").begin_array();
    for (const planned_tensor* o : with.unexpected) to.text(o->key);
    to.end_array().key("mismatched").begin_array();
    for (const mismatch& m : with.mismatched) {
        to.line().begin_object().member("key", m.key);
        to.key("want").numbers(m.want);
        write_shape(to, "got", m.got);
        to.end_object();
    }
    to.end_array();
    write_errors(to, plan);
    to.member("ok", ok).end_object();
}

// --- for people ---

[[nodiscard]] std::string rule_and_text(const ckpt::remap_plan& plan, std::size_t rule) {
    return "rule " + decimal(rule) + ", " + printable(plan.rule_text(rule));
}

/// Pairs that differ in a prefix only become one: `module.** -> **`.
[[nodiscard]] std::vector<key_pair> with_prefixes(const std::vector<key_pair>& pairs, std::vector<key_pair>& rest) {
    std::vector<key_pair> out;
    std::unordered_map<std::string, std::size_t> known;
    std::vector<std::size_t> group(pairs.size(), 0); // 1 + number in `out`
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const key_pair& p = pairs[i];
        const bool shorter = p.from.size() > p.to.size();
        const std::string_view longer = shorter ? p.from : p.to;
        const std::string_view other = shorter ? p.to : p.from;
        if (longer.size() == other.size() || !longer.ends_with(other) ||
            longer[longer.size() - other.size() - 1] != '.')
            continue;
        const std::string prefix(longer.substr(0, longer.size() - other.size()));
        const auto [it, is_new] = known.try_emplace(prefix + (shorter ? "<" : ">") + p.label, out.size());
        if (is_new) out.push_back({shorter ? prefix + "**" : "**", shorter ? "**" : prefix + "**", p.label, 0});
        ++out[it->second].count;
        group[i] = it->second + 1;
    }
    std::vector<bool> worth(out.size());
    for (std::size_t i = 0; i < out.size(); ++i) worth[i] = out[i].count > 2;
    for (std::size_t i = 0; i < pairs.size(); ++i)
        if (group[i] == 0 || !worth[group[i] - 1]) rest.push_back(pairs[i]);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < out.size(); ++i)
        if (worth[i]) std::swap(out[kept++], out[i]);
    out.resize(kept);
    return out;
}

[[nodiscard]] std::string times(std::uint64_t n) {
    return n > 1 ? paint(colour::dim, "  x" + decimal(n)) : std::string();
}

/// How the tensor of a move changes: "[2, 3] -> [3, 2]", "float32 -> float16"; empty where it does not.
[[nodiscard]] std::string change_of(const ckpt::tensor& from, const planned_tensor& to) {
    if (from.refusal() != nullptr || !to.shape) return {};
    std::string out;
    if (!std::equal(to.shape->begin(), to.shape->end(), from.shape().begin(), from.shape().end()))
        out = shape_text(from.shape()) + " -> " + shape_text(*to.shape);
    if (to.type != from.dtype())
        out += (out.empty() ? "" : ", ") + std::string(ckpt::name(from.dtype())) + " -> " +
               std::string(ckpt::name(to.type));
    return out;
}

/// A row for each move. Behind a line break its label has how the tensor changes: on a terminal without room for that a
/// line of its own.
void print_move_table(const std::vector<key_pair>& pairs) {
    std::size_t from = 3;
    std::size_t to = 3;
    std::size_t label = 2;
    for (const key_pair& p : pairs) {
        from = std::max(from, width(p.from));
        to = std::max(to, width(p.to));
        label = std::max(label, width(p.label.substr(0, p.label.find('\n'))));
    }
    const std::size_t others = 4 + 2 + label + 6;
    const std::size_t room = on_terminal(columns() > others + 30 ? columns() - others : 30);
    if (from + to > room) {
        to = std::min(to, std::max(room / 2, room - std::min(from, room)));
        from = room - to;
    }
    print(paint(colour::dim, left("old", from) + "    " + left("new", to) + "  by") + '\n');
    for (const key_pair& p : pairs) {
        const std::size_t line_break = p.label.find('\n');
        const std::string by = p.label.substr(0, line_break);
        const std::string change = line_break == p.label.npos ? "" : p.label.substr(line_break + 1);
        std::string behind = p.count > 1 ? left(by, label) : by;
        const bool has_room = from + 4 + to + 2 + width(by) + 2 + width(change) + 6 <= line_width();
        if (!change.empty() && has_room) behind = by + ", " + change;
        print(left(shortened_key(p.from, from), from) + " -> " + left(shortened_key(p.to, to), to) + "  " +
              paint(colour::cyan, behind) + times(p.count) + '\n');
        if (!change.empty() && !has_room) print("    " + paint(colour::cyan, change) + '\n');
    }
}

void print_moves(const ckpt::state_dict& weights, const ckpt::remap_plan& plan,
                 const std::vector<planned_tensor>& results, bool fold) {
    std::unordered_map<std::string_view, const planned_tensor*> made;
    for (const planned_tensor& one : results) made.emplace(one.key, &one);
    std::vector<key_pair> pairs;
    constexpr std::size_t most = 200'000; // rules that grow may make millions of moves
    for (std::size_t i = 0; i < plan.moves.size() && i < most; ++i) {
        const auto& m = plan.moves[i];
        const auto to = made.find(m.to);
        const std::string change =
            to != made.end() && weights.contains(m.from) ? change_of(*weights.at(m.from), *to->second) : std::string();
        if (m.from != m.to || !change.empty() ||
            (m.op != "strip" && m.op != "add" && m.op != "rename")) // its own name again: nothing to see
            pairs.push_back({printable(m.from), printable(m.to),
                             std::string(m.op) + ", rule " + decimal(m.rule) + (change.empty() ? "" : '\n' + change)});
    }
    if (pairs.empty()) return;
    if (fold) {
        std::vector<key_pair> rest;
        std::vector<key_pair> lines = with_prefixes(pairs, rest);
        for (key_pair& p : folded(rest)) lines.push_back(std::move(p));
        pairs = std::move(lines);
    }
    print_move_table(pairs);
    if (plan.moves.size() > most) print_rest(0, plan.moves.size() - most);
}

/// Rows of one list on a terminal.
[[nodiscard]] std::size_t most_rows() { return on_terminal(40); }
constexpr std::size_t label_columns = 12;

/// A folded list behind a label, cut where it gets too long.
void print_list(std::string_view label, colour c, const std::vector<key_pair>& pairs, bool fold,
                std::string_view between) {
    const std::vector<key_pair> lines = fold ? folded(pairs) : pairs;
    std::uint64_t shown = 0;
    std::uint64_t all = 0;
    for (const key_pair& p : lines) all += p.count;
    for (std::size_t i = 0; i < lines.size() && i < most_rows(); ++i) {
        const key_pair& p = lines[i];
        std::string text = paint(c, left(std::string(label), label_columns)) + p.from;
        if (!p.label.empty()) text += ' ' + p.label;
        if (!p.to.empty()) (text += between) += p.to;
        print(text + times(p.count) + '\n');
        shown += p.count;
    }
    print_rest(label_columns, all - shown);
}

/// Messages that differ in numbers and names only become one, with their number: one mistake in a rule is one line.
[[nodiscard]] std::vector<key_pair> alike(const std::vector<key_pair>& messages) {
    std::vector<key_pair> out;
    std::unordered_map<std::string, std::size_t> known;
    for (const key_pair& m : messages) {
        std::string form;
        bool quoted = false;
        for (const char c : m.from) {
            if (c == '"') quoted = !quoted;
            if (!quoted && !ckpt::detail::is_digit(c)) form += c;
        }
        const auto [at, is_new] = known.emplace(std::move(form), out.size());
        if (is_new) out.push_back(m);
        else ++out[at->second].count;
    }
    return out;
}

/// For missing keys the unexpected ones that were probably meant: of the same shape first, then by spelling.
class hints {
  public:
    explicit hints(const comparison& with) : with_{with} {}

    [[nodiscard]] std::string of(const wanted_key& missing) {
        const planned_tensor* best = nullptr;
        std::size_t least = 0;
        bool best_fits = false;
        for (const planned_tensor* o : with_.unexpected) {
            if (left_ == 0) return {}; // hints are not worth more than some tens of milliseconds
            --left_;
            const bool fits = missing.shape && o->shape && *missing.shape == *o->shape && !missing.shape->empty();
            const std::size_t longest =
                std::min(std::max(missing.key.size(), o->key.size()), ckpt::detail::compared_bytes);
            const std::size_t distance = ckpt::detail::edit_distance(missing.key, o->key);
            // Sizes that agree are worth as much as half of the spelling.
            if (distance > (fits ? 2 * longest / 3 : longest / 3)) continue;
            if (best != nullptr && (fits != best_fits ? best_fits : distance >= least)) continue;
            best = o;
            least = distance;
            best_fits = fits;
        }
        return best == nullptr ? std::string() : printable(best->key);
    }

  private:
    const comparison& with_;
    std::size_t left_{40'000};
};

[[nodiscard]] std::string shape_or_nothing(const std::optional<sizes>& shape) {
    return shape ? shape_text(*shape) : std::string();
}

void print_comparison(const comparison& with, bool fold) {
    hints near{with};
    std::vector<key_pair> lines;
    for (const wanted_key* w : with.missing)
        lines.push_back({printable(w->key), near.of(*w), shape_or_nothing(w->shape)});
    print_list("missing", colour::red, lines, fold, "; nearest: ");
    lines.clear();
    for (const planned_tensor* o : with.unexpected)
        lines.push_back({printable(o->key), {}, shape_or_nothing(o->shape)});
    print_list("unexpected", colour::red, lines, fold, {});
    lines.clear();
    for (const mismatch& m : with.mismatched)
        lines.push_back({printable(m.key),
                         {},
                         "should be " + shape_text(m.want) + ", is " +
                             (m.got ? shape_text(*m.got) : "a tensor that could not be built")});
    print_list("mismatched", colour::red, lines, fold, {});
}

void print_map(const ckpt::state_dict& weights, const ckpt::remap_plan& plan,
               const std::vector<planned_tensor>& results, const comparison& with, const options& wanted, bool ok) {
    const bool fold = is_terminal() && !wanted.no_fold;
    print_moves(weights, plan, results, fold);
    std::vector<key_pair> lines;
    for (const auto& d : plan.dropped)
        lines.push_back({printable(d.from), {}, "(" + rule_and_text(plan, d.rule) + ')'});
    print_list("dropped", colour::yellow, lines, fold, {});
    lines.clear();
    for (const auto& a : plan.aliased) lines.push_back({printable(a.key), printable(a.same_as), {}});
    print_list("aliased", colour::plain, lines, fold, " is the same view as ");
    lines.clear();
    for (const std::string& key : plan.filled) lines.push_back({printable(key), {}, {}});
    print_list("filled", colour::yellow, lines, fold, {});
    for (std::size_t i = 0; i < plan.collisions.size() && i < most_rows(); ++i) {
        const auto& c = plan.collisions[i];
        print(paint(colour::red, left("collision", label_columns)) + printable(c.to) + '\n');
        for (std::size_t k = 0; k < c.from.size() && k < most_rows(); ++k) {
            const std::string by = c.rules[k] == 0 ? " (untouched)" : " (" + rule_and_text(plan, c.rules[k]) + ')';
            const std::size_t used = label_columns + 7 + width(by);
            const std::size_t room = std::max<std::size_t>(columns() > used ? columns() - used : 0, 16);
            print(std::string(label_columns, ' ') + "  from " +
                  shortened_in_the_middle(printable(c.from[k]), on_terminal(room)) + by + '\n');
        }
        if (c.from.size() > most_rows()) print_rest(label_columns + 2, c.from.size() - most_rows());
    }
    if (plan.collisions.size() > most_rows()) print_rest(label_columns, plan.collisions.size() - most_rows());
    lines.clear();
    for (const ckpt::error& e : plan.errors) lines.push_back({printable(e.detail), {}, {}});
    print_list("error", colour::red, fold ? alike(lines) : lines, false, {});
    for (const std::size_t rule : plan.unused_rules)
        print(paint(wanted.strict ? colour::red : colour::yellow, left("unused", label_columns)) +
              rule_and_text(plan, rule) + '\n');
    const auto reversible = plan.reversible();
    if (!reversible && plan.ok()) print(left("one way", label_columns) + printable(reversible.error().detail) + '\n');
    print_comparison(with, fold);

    std::unordered_set<std::string_view> moved;
    for (const auto& m : plan.moves) moved.insert(m.from);
    std::string total = counted(weights.size(), "key", "keys");
    if (plan.ok()) total += " -> " + grouped(results.size());
    total += ": " + grouped(moved.size()) + " moved";
    const auto add = [&total](std::size_t n, std::string_view what) {
        if (n > 0) total.append(", ").append(grouped(n)).append(" ").append(what);
    };
    add(plan.dropped.size(), "dropped");
    add(plan.aliased.size(), "aliased");
    add(plan.filled.size(), "filled");
    add(plan.unused_rules.size(), plan.unused_rules.size() == 1 ? "rule unused" : "rules unused");
    add(plan.collisions.size(), plan.collisions.size() == 1 ? "collision" : "collisions");
    add(plan.errors.size(), plan.errors.size() == 1 ? "error" : "errors");
    if (reversible) total += ", reversible";
    add(with.missing.size(), "missing");
    add(with.unexpected.size(), "unexpected");
    add(with.mismatched.size(), "mismatched");
    if (!plan.ok() && wanted.target) total += "; not compared with the target, because the rules stopped";
    else if (wanted.target && with.same()) total += ", as the target wants them";
    print(total + "; " + (ok ? paint(colour::green, "ok") : paint(colour::red, "not ok")) + '\n');
}

// --- explain ---

[[nodiscard]] std::string listed(const std::vector<std::string>& keys) {
    std::string out;
    for (const std::string& key : keys) (out += out.empty() ? "" : ", ") += printable(key);
    return out;
}

/// The key of the tensor at a path; empty where the path leads elsewhere.
[[nodiscard]] std::string key_at(const ckpt::checkpoint& file, const ckpt::state_dict& weights,
                                 const std::string& path) {
    key_path parsed;
    if (!parse_path(path, parsed)) return {};
    const auto found = find(file, path);
    const key_path place = elements_of(weights.path(), file.root());
    if (!found || found->path.size() < place.size() || !std::equal(place.begin(), place.end(), found->path.begin()))
        return {};
    ckpt::located_tensor below;
    below.path.assign(found->path.begin() + static_cast<std::ptrdiff_t>(place.size()), found->path.end());
    return below.key();
}

[[nodiscard]] int explain(const options& wanted, const ckpt::checkpoint& file, const ckpt::remap_plan& plan,
                          const ckpt::state_dict& weights, const target_keys& target) {
    std::string key = *wanted.explain;
    auto trace = plan.explain(key);
    if (!trace) // a path instead of a key
        if (const std::string at_path = key_at(file, weights, key); !at_path.empty())
            if (auto of_path = plan.explain(at_path)) {
                trace = std::move(of_path);
                key = at_path;
            }
    if (!trace) {
        ckpt::error e = trace.error();
        std::vector<std::string> keys;
        for (const auto entry : weights) keys.emplace_back(entry.key);
        for (std::string& k : plan.keys()) keys.push_back(std::move(k));
        if (target.by_key.contains(key)) e.detail += ", which the target wants";
        if (const std::string near = nearest(key, keys); !near.empty())
            e.detail += "; nearest: \"" + printable(near) + '"';
        return fail(wanted, std::move(e));
    }
    const int exit_code = plan.ok() ? exit_fine : exit_finding;
    if (wanted.json) {
        json out{stdout};
        out.begin_object().member("schema", "ckpt.map.explain/1").member("key", key).key("trace").begin_array();
        for (const auto& line : *trace) {
            out.line().begin_object().member("rule", line.rule).member("text", plan.rule_text(line.rule));
            write_texts(out, "before", line.before);
            write_texts(out, "after", line.after);
            out.end_object();
        }
        out.end_array();
        write_errors(out, plan);
        out.end_object();
        return finish(out, exit_code);
    }
    if (trace->empty()) print(printable(key) + ": no rule touches it\n");
    for (const auto& line : *trace) {
        print(paint(colour::bold, "rule " + decimal(line.rule)) + ": " + printable(plan.rule_text(line.rule)) + '\n');
        std::string text = "  " + (line.before.empty() ? "nothing" : listed(line.before)) + " -> ";
        if (line.after.empty()) text += paint(colour::yellow, "dropped");
        else text += listed(line.after) + "  " + paint(colour::cyan, line.what);
        print(text + '\n');
    }
    if (!plan.ok())
        print(paint(colour::red, "the rules stop: ") + grouped(plan.collisions.size() + plan.errors.size()) +
              " collisions and errors; ckpt map without --explain lists them\n");
    return written(exit_code);
}

// --- suggest ---

[[nodiscard]] int suggest(const options& wanted, const ckpt::state_dict& weights, const target_keys& target) {
    std::vector<ckpt::wanted_tensor> goals;
    for (const wanted_key& w : target.keys) goals.push_back({w.key, w.shape});
    const ckpt::rule_suggestion found = ckpt::suggest_rules(weights, goals);
    const bool sure = found.guessed_targets.empty() && found.unexplained_targets.empty();
    const int exit_code = sure ? exit_fine : exit_finding;
    if (wanted.json) {
        json out{stdout};
        out.begin_object().member("rules", found.text);
        write_texts(out, "guesses", found.guessed_targets);
        out.end_object();
        return finish(out, exit_code);
    }
    print(found.text);
    return written(exit_code);
}

} // namespace

int run_map(const options& wanted) {
    std::optional<ckpt::key_map> rules;
    int failed = exit_fine;
    if (wanted.has_rules() && !read_rules(wanted, rules, failed)) return failed;
    const auto file = open(wanted.file(), wanted.policy);
    if (!file) return fail(wanted, file.error());
    const auto weights = weights_of(*file, wanted.select);
    if (!weights) return fail(wanted, weights.error(), file->root());
    target_keys target;
    if (wanted.target && !read_target(wanted, target, failed)) return failed;
    if (wanted.suggest) return suggest(wanted, *weights, target);

    const ckpt::remap_plan plan = ckpt::plan_remap(*weights, *rules);
    if (wanted.explain) return explain(wanted, *file, plan, *weights, target);
    const std::vector<planned_tensor> results = ckpt::detail::planned_tensors(plan);
    comparison with;
    if (wanted.target && plan.ok()) with = compare(target, results); // names on the way are no answer
    const bool ok = plan.ok() && with.same() && !(wanted.strict && !plan.unused_rules.empty());
    const int exit_code = ok ? exit_fine : exit_finding;
    if (wanted.json) {
        json out{stdout};
        write_map(out, plan, with, ok);
        return finish(out, exit_code);
    }
    print_map(*weights, plan, results, with, wanted, ok);
    return written(exit_code);
}

} // namespace tool
