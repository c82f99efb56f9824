// `ckpt diff`: what is different in the weights of two checkpoints.
#include "common.hpp"
#include "render.hpp"

#include <ckpt/state/diff.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>

namespace tool {

namespace {

void write_difference(json& to, const ckpt::changed_tensor& c) {
    to.line().begin_object().member("key", c.key).member("why", ckpt::name(c.why));
    if (c.max_abs_diff) {
        to.key("max_abs_diff");
        to.real(*c.max_abs_diff);
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

[[nodiscard]] std::string in_words(const ckpt::changed_tensor& c, const ckpt::state_dict& a,
                                   const ckpt::state_dict& b) {
    const auto left = a.at(c.key);
    const auto right = b.at(c.key);
    switch (c.why) {
    case ckpt::difference::dtype:
        return std::string(ckpt::name(left->dtype())) + " against " + std::string(ckpt::name(right->dtype()));
    case ckpt::difference::shape: return shape_text(left->shape()) + " against " + shape_text(right->shape());
    case ckpt::difference::layout:
        return std::string(ckpt::name(left->layout())) + " against " + std::string(ckpt::name(right->layout()));
    case ckpt::difference::values:
        if (!c.max_abs_diff) return "other values";
        return "other values, at most " + number_text(*c.max_abs_diff) + " apart";
    case ckpt::difference::unreadable: break;
    }
    return printable(c.failure->message());
}

/// A list for people, cut where it gets too long.
template <class Range, class Line> void print_list(const Range& all, colour c, std::string_view label, Line&& line) {
    constexpr std::size_t most = 40;
    constexpr std::size_t label_columns = 9;
    for (std::size_t i = 0; i < all.size() && i < most; ++i)
        print(paint(c, left(std::string(label), label_columns)) + line(all[i]) + '\n');
    if (all.size() > most) print_rest(label_columns, all.size() - most);
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
    const ckpt::state_diff found = ckpt::diff(a, b);
    const int exit_code = found.same() ? exit_fine : exit_finding;
    if (wanted.json) {
        json out{stdout};
        out.begin_object().member("schema", "ckpt.diff/1");
        write_keys(out, "only_a", found.only_a);
        write_keys(out, "only_b", found.only_b);
        out.key("changed").begin_array();
        for (const ckpt::changed_tensor& c : found.changed) write_difference(out, c);
        out.end_array().member("equal", found.equal).end_object();
        return finish(out, exit_code);
    }
    print_list(found.only_a, colour::red, "only a", [](const std::string& key) { return printable(key); });
    print_list(found.only_b, colour::green, "only b", [](const std::string& key) { return printable(key); });
    print_list(found.changed, colour::yellow, "differ",
               [&](const ckpt::changed_tensor& c) { return printable(c.key) + ": " + in_words(c, a, b); });
    print(counted(found.equal, "tensor is", "tensors are") + " equal" +
          (found.same() ? ": the same keys, dtypes, shapes and values" : "") + '\n');
    return written(exit_code);
}

} // namespace tool
