// `ckpt diff`: what is different in the weights of two checkpoints.
#include "common.hpp"
#include "fold.hpp"
#include "progress.hpp"
#include "render.hpp"

#include <ckpt/core/number.hpp>
#include <ckpt/state/diff.hpp>
#include <ckpt/threads.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace tool {

namespace {

void write_difference(json& to, const ckpt::changed_tensor& c) {
    to.line().begin_object().member("key", c.key).member("why", ckpt::name(c.why));
    if (c.max_abs_diff) {
        to.key("max_abs_diff");
        to.real(*c.max_abs_diff);
    }
    if (c.distance) {
        to.key("distance").begin_object().member("values", c.distance->values);
        to.member("different", c.distance->different).key("max_abs");
        to.real(c.distance->max_abs).key("max_rel");
        to.real(c.distance->max_rel).member("nan", c.distance->nans).end_object();
    }
    if (c.failure) {
        to.key("error");
        write(to, *c.failure);
    }
    to.end_object();
}

void write_keys(json& to, std::string_view member, const std::vector<std::string>& keys) {
    to.key(member).begin_array();
    for (const std::string& key : keys) to.text(key);
    to.end_array();
}

/// A difference of numbers: exact where it is short, else rounded.
[[nodiscard]] std::string rounded(double x) {
    std::string exact = number_text(x);
    if (exact.size() <= 8) return exact;
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", x);
    return text;
}

[[nodiscard]] std::string apart(const ckpt::value_distance& d) {
    std::string out;
    if (d.different > 0)
        out = ", at most " + rounded(d.max_abs) + " apart" +
              (d.max_rel > 0 ? " (relative " + rounded(d.max_rel) + ')' : "");
    if (d.nans > 0) out += ", NaN on one side only in " + grouped(d.nans);
    return out;
}

/// `d`: how far apart the values are, of this tensor or of all on one line.
[[nodiscard]] std::string in_words(const ckpt::changed_tensor& c, const std::optional<ckpt::value_distance>& d,
                                   const ckpt::state_dict& a, const ckpt::state_dict& b) {
    const auto left = a.at(c.key);
    const auto right = b.at(c.key);
    switch (c.why) {
    case ckpt::difference::dtype:
        return std::string(ckpt::name(left->dtype())) + " against " + std::string(ckpt::name(right->dtype())) +
               (d ? d->different + d->nans > 0 ? apart(*d) : ", the same values" : "");
    case ckpt::difference::shape: return shape_text(left->shape()) + " against " + shape_text(right->shape());
    case ckpt::difference::layout:
        return std::string(ckpt::name(left->layout())) + " against " + std::string(ckpt::name(right->layout()));
    case ckpt::difference::values: return "other values" + (d ? apart(*d) : "");
    case ckpt::difference::unreadable: break;
    }
    return printable(c.failure->message());
}

/// The largest distances of the keys that differ in numbers only: they may stand on one line.
class distances {
  public:
    explicit distances(bool fold) : fold_{fold} {}

    void add(const ckpt::changed_tensor& c) {
        if (!fold_ || !c.distance) return;
        auto& all = by_form_[form(c)];
        if (!all) all = ckpt::value_distance{};
        all->different = std::max(all->different, c.distance->different);
        all->nans = std::max(all->nans, c.distance->nans);
        all->max_abs = std::max(all->max_abs, c.distance->max_abs);
        all->max_rel = std::max(all->max_rel, c.distance->max_rel);
    }
    [[nodiscard]] std::optional<ckpt::value_distance> of(const ckpt::changed_tensor& c) {
        return fold_ && c.distance ? by_form_[form(c)] : c.distance;
    }

  private:
    /// The key with every number as one sign.
    [[nodiscard]] static std::string form(const ckpt::changed_tensor& c) {
        std::string out(ckpt::name(c.why));
        for (const char ch : c.key)
            if (!ckpt::detail::is_digit(ch)) out += ch;
            else if (!out.ends_with('#')) out += '#';
        return out;
    }

    bool fold_;
    std::unordered_map<std::string, std::optional<ckpt::value_distance>> by_form_{};
};

/// A list for people, on a terminal cut where it gets too long.
void print_list(const std::vector<key_pair>& lines, colour c, std::string_view label) {
    constexpr std::size_t label_columns = 9;
    std::uint64_t left_out = 0;
    for (const key_pair& p : lines) left_out += p.count;
    for (std::size_t i = 0; i < lines.size() && i < on_terminal(40); ++i) {
        const key_pair& p = lines[i];
        std::string text = p.from + (p.label.empty() ? "" : ": " + p.label);
        const std::string times = p.count > 1 ? "  x" + decimal(p.count) : std::string();
        text = shortened_in_the_middle(std::move(text), on_terminal(columns() - label_columns - times.size()));
        print(paint(c, left(std::string(label), label_columns)) + text + paint(colour::dim, times) + '\n');
        left_out -= p.count;
    }
    print_rest(label_columns, left_out);
}

void print_diff(const ckpt::state_diff& found, const ckpt::state_dict& a, const ckpt::state_dict& b,
                const options& wanted) {
    const bool fold = is_terminal() && !wanted.no_fold;
    const auto pairs_of = [fold](const std::vector<std::string>& keys) {
        std::vector<key_pair> out;
        for (const std::string& key : keys) out.push_back({printable(key), {}, {}});
        return fold ? folded(out) : out;
    };
    print_list(pairs_of(found.only_a), colour::red, "only a");
    print_list(pairs_of(found.only_b), colour::green, "only b");
    distances far{fold};
    for (const ckpt::changed_tensor& c : found.changed) far.add(c);
    std::vector<key_pair> changed;
    std::unordered_map<std::string, std::string> own; // what is said of one key alone
    for (const ckpt::changed_tensor& c : found.changed) {
        changed.push_back({printable(c.key), {}, in_words(c, far.of(c), a, b)});
        own.emplace(changed.back().from, in_words(c, c.distance, a, b));
    }
    if (fold) changed = folded(changed);
    for (key_pair& p : changed)
        if (p.count == 1) p.label = own[p.from];
    print_list(changed, colour::yellow, "differ");
    const bool is_near = wanted.atol || wanted.rtol;
    print(counted(found.equal, "tensor is", "tensors are") + (is_near ? " near enough" : " equal") +
          (!found.same() ? ""
           : is_near     ? ": the same keys and shapes, and values within the tolerance"
                         : ": the same keys, dtypes, shapes and values") +
          '\n');
}

[[nodiscard]] ckpt::state_diff compare(const ckpt::state_dict& a, const ckpt::state_dict& b,
                                       const std::optional<ckpt::diff_tolerance>& within, const options& wanted) {
    std::uint64_t total = 0;
    for (const auto entry : b)
        if (const auto left = a.at(entry.key)) total += left->nbytes() + entry.tensor.nbytes();
    progress_line line{wanted, total};
    return ckpt::diff(a, b, {.within = within, .workers = ckpt::threads(), .progress = line});
}

} // namespace

int run_diff(const options& wanted) {
    std::optional<ckpt::key_map> rules;
    int failed = exit_fine;
    if (wanted.has_rules() && !read_rules(wanted, rules, failed)) return failed;
    std::vector<ckpt::checkpoint> files;
    for (const std::string& name : wanted.files) {
        auto opened = open(name, wanted.policy);
        if (!opened) {
            if (opened.error().file.empty()) opened.error().file = name;
            return fail(wanted, opened.error());
        }
        files.push_back(std::move(*opened));
    }
    std::vector<ckpt::state_dict> weights;
    for (std::size_t i = 0; i < 2; ++i) {
        auto chosen = weights_of(files[i], i == 0 ? wanted.select_a : wanted.select_b);
        if (chosen && i == 0 && rules) chosen = ckpt::remap(*chosen, *rules);
        if (!chosen) {
            ckpt::error e = chosen.error();
            e.file = wanted.files[i];
            return fail(wanted, std::move(e), files[i].root());
        }
        weights.push_back(std::move(*chosen));
    }
    const ckpt::state_dict& a = weights[0];
    const ckpt::state_dict& b = weights[1];
    std::optional<ckpt::diff_tolerance> within;
    if (wanted.atol || wanted.rtol) within = ckpt::diff_tolerance{wanted.atol.value_or(0), wanted.rtol.value_or(0)};
    const ckpt::state_diff found = compare(a, b, within, wanted);
    if (interrupted()) return exit_of_interrupt();
    const int exit_code = found.same() ? exit_fine : exit_finding;
    if (wanted.json) {
        json out{stdout};
        out.begin_object().member("schema", "ckpt.diff/1");
        if (wanted.is_one_of_several) out.member("a", wanted.files[0]).member("b", wanted.files[1]);
        write_keys(out, "only_a", found.only_a);
        write_keys(out, "only_b", found.only_b);
        out.key("changed").begin_array();
        for (const ckpt::changed_tensor& c : found.changed) write_difference(out, c);
        out.end_array().member("equal", found.equal).end_object();
        return finish(out, exit_code);
    }
    print_diff(found, a, b, wanted);
    return written(exit_code);
}

} // namespace tool
