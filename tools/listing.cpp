// tools/listing.cpp: rows of a state_dict, as it is or after key rules, or of the whole file.
#include "listing.hpp"

#include "render.hpp"

#include <ckpt/core/edit_distance.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/sorting.hpp>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace tool {

namespace {

/// The rows of a state_dict after the rules. A key of the result stands at no place of the file: its path is the
/// selected one with the new key as the last element.
[[nodiscard]] ckpt::result<void> remap_rows(listing& all, const ckpt::state_dict& weights, const ckpt::key_map& rules,
                                            const options& wanted) {
    const ckpt::remap_plan plan = ckpt::plan_remap(weights, rules);
    auto made = ckpt::remap(plan);
    if (!made) return std::move(made).error();
    all.weights = std::move(*made);
    if (all.weights->size() > wanted.max_nodes)
        return ckpt::error{.code = ckpt::errc::output_limit,
                           .detail = "there are more than " + decimal(wanted.max_nodes) + " tensors",
                           .hint = "give a larger --max-nodes"};
    std::unordered_map<std::string_view, std::size_t> source; // numbers of rows
    for (std::size_t i = 0; i < all.rows.size(); ++i) source.emplace(all.rows[i].key, i);
    std::unordered_map<std::string_view, std::vector<std::size_t>> sources;
    for (const ckpt::remap_plan::move& m : plan.moves)
        if (const auto from = source.find(m.from); from != source.end()) sources[m.to].push_back(from->second);
    const std::unordered_set<std::string_view> filled(plan.filled.begin(), plan.filled.end());
    std::vector<row> rows;
    for (const auto entry : *all.weights) {
        row made_row{entry.tensor, std::string(entry.key), all.selected, false, {}};
        made_row.path.push_back({made_row.key, false});
        std::vector<std::size_t> from;
        if (const auto moved = sources.find(entry.key); moved != sources.end()) from = moved->second;
        else if (const auto same = source.find(entry.key); same != source.end() && !filled.contains(entry.key))
            from.push_back(same->second);
        for (const std::size_t i : from) {
            made_row.made_of.push_back(all.rows[i].tensor);
            made_row.is_array = made_row.is_array || all.rows[i].is_array;
        }
        rows.push_back(std::move(made_row));
    }
    all.rows = std::move(rows);
    return {};
}

/// Whether a key stands before another: numbers by their size, so that layers.2 comes before layers.10.
[[nodiscard]] bool is_before(std::string_view a, std::string_view b) {
    while (!a.empty() && !b.empty()) {
        std::string_view rest_a = a;
        std::string_view rest_b = b;
        std::uint64_t m = 0;
        std::uint64_t n = 0;
        if (ckpt::detail::take_decimal(rest_a, m) && ckpt::detail::take_decimal(rest_b, n)) {
            if (m != n) return m < n;
        } else if (a[0] != b[0]) {
            return a[0] < b[0];
        } else {
            rest_a = a.substr(1);
            rest_b = b.substr(1);
        }
        a = rest_a;
        b = rest_b;
    }
    return a.size() < b.size();
}

void sort_rows(std::vector<row>& rows, sort_order by) {
    const auto size = [](const row& r) { return r.tensor.refusal() != nullptr ? 0 : r.tensor.nbytes(); };
    // Where a tensor's bytes are: what lies nowhere comes last.
    const auto place = [](const row& r) {
        const auto offset = r.tensor.refusal() != nullptr || r.tensor.is_gathered()
                                ? ckpt::result<std::uint64_t>{ckpt::error{.code = ckpt::errc::no_data}}
                                : r.tensor.file_offset();
        return std::pair{std::string(r.tensor.file()), offset ? *offset : ~std::uint64_t{0}};
    };
    std::vector<std::pair<std::pair<std::string, std::uint64_t>, std::size_t>> order;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (by == sort_order::file) order.emplace_back(place(rows[i]), i);
        else order.emplace_back(std::pair{std::string(), by == sort_order::size ? ~size(rows[i]) : 0}, i);
    }
    ckpt::detail::sort_values(order, [&](const auto& a, const auto& b) {
        if (by == sort_order::key) return is_before(rows[a.second].key, rows[b.second].key);
        return a.first < b.first;
    });
    std::vector<row> sorted;
    sorted.reserve(rows.size());
    for (const auto& [where, i] : order) sorted.push_back(std::move(rows[i]));
    rows = std::move(sorted);
}

/// Drops the rows that no pattern matches, sorts the others, and drops those behind the first --top.
[[nodiscard]] ckpt::result<void> keep_wanted(listing& all, const options& wanted) {
    all.found = all.rows.size();
    std::vector<ckpt::pattern> patterns;
    for (const std::string& text : wanted.patterns) {
        auto parsed = ckpt::pattern::parse(text);
        if (!parsed) return std::move(parsed).error();
        const bool matches =
            std::any_of(all.rows.begin(), all.rows.end(), [&](const row& r) { return parsed->matches(r.key); });
        if (!matches) {
            ckpt::detail::nearest_name near{text};
            for (const row& r : all.rows)
                if (!near.offer(r.key)) break;
            return ckpt::error{.code = ckpt::errc::key_missing,
                               .detail = "no key matches \"" + printable(shortened(text, 64)) +
                                         "\", and there is no file of this name" +
                                         (near.best().empty() ? "" : "; nearest: \"" + printable(near.best()) + '"'),
                               .hint = "a pattern matches whole keys: layers.*.weight, or **.weight"};
        }
        patterns.push_back(std::move(*parsed));
    }
    ckpt::detail::pattern_list any{patterns};
    if (!patterns.empty()) std::erase_if(all.rows, [&](const row& r) { return !any.matches(r.key); });
    if (wanted.sort) sort_rows(all.rows, *wanted.sort);
    if (wanted.top && all.rows.size() > *wanted.top) all.rows.resize(static_cast<std::size_t>(*wanted.top));
    return {};
}

} // namespace

ckpt::result<listing> list(const ckpt::checkpoint& file, const options& wanted, const ckpt::key_map* rules) {
    listing out;
    const ckpt::value root = file.root();
    found_value start{root, {}};
    if (wanted.select) {
        auto found = find(file, *wanted.select);
        if (!found) return std::move(found).error();
        start = std::move(*found);
    }
    std::optional<ckpt::state_dict> weights;
    // A file that is one tensor, and a path that leads to one, have no state_dict.
    const bool is_tensor = rules == nullptr && start.value.as_tensor().has_value();
    if (!wanted.all && !is_tensor) {
        // Where several are equally likely, or none, the library says so.
        auto chosen = wanted.select ? file.state_dict(path_text(start.path)) : file.state_dict();
        if (!chosen) return std::move(chosen).error();
        weights = std::move(*chosen);
        if (!wanted.select) start = {weights->root(), elements_of(weights->path(), root)};
    }
    auto tensors = ckpt::find_tensors(start.value, wanted.max_nodes);
    if (!tensors) {
        ckpt::error e = std::move(tensors).error();
        e.path = path_text(start.path);
        e.hint = "select a smaller part with --select, or give a larger --max-nodes";
        return e;
    }
    out.selected = start.path;
    // A state_dict has the tensors of its dictionaries, lists and tuples, not those inside other objects: the rows of
    // the search, in the same order, without some.
    auto entry = weights ? std::optional(weights->begin()) : std::nullopt;
    for (ckpt::located_tensor& t : *tensors) {
        std::string key = t.key();
        if (weights) {
            if (*entry == weights->end() || (**entry).key != key) {
                ++out.outside;
                continue;
            }
            ++*entry;
        }
        t.path.insert(t.path.begin(), start.path.begin(), start.path.end());
        if (wanted.all || is_tensor) key = t.key();
        out.rows.push_back({t.tensor, std::move(key), std::move(t.path), t.value.kind() == ckpt::kind::array, {}});
    }
    std::uint64_t parts = 0;
    for (const row& r : out.rows) {
        if (parts + out.rows.size() > wanted.max_nodes) break;
        parts += count_parts(r.tensor, wanted.max_nodes);
    }
    if (parts > 0 && parts + out.rows.size() > wanted.max_nodes)
        return ckpt::error{.code = ckpt::errc::output_limit,
                           .path = path_text(start.path),
                           .detail =
                               "there are more than " + decimal(wanted.max_nodes) + " tensors and parts of tensors",
                           .hint = "select a smaller part with --select, or give a larger --max-nodes"};
    out.weights = weights;
    if (rules != nullptr)
        if (auto renamed = remap_rows(out, *weights, *rules, wanted); !renamed) return std::move(renamed).error();
    if (auto chosen = keep_wanted(out, wanted); !chosen) return std::move(chosen).error();
    return out;
}

} // namespace tool
