// `ckpt stat`: what the values of tensors are like.
#include "stat.hpp"
#include "common.hpp"
#include "listing.hpp"
#include "progress.hpp"
#include "render.hpp"

#include <ckpt/tensor/statistics.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace tool {

namespace {

using ckpt::value_statistics;

/// One tensor, or a part of one that is no single array.
struct measured {
    std::string key{};
    ckpt::tensor tensor{};
    bool has_values{}; // false of what is made of parts, and of a meta tensor
    value_statistics of{};
    std::optional<ckpt::error> failure{};
};

/// Sums over a file.
struct totals {
    std::map<std::string_view, std::pair<std::uint64_t, value_statistics>> dtypes{}; // with the number of tensors
    std::uint64_t failed{};

    void add(const measured& m) {
        failed += m.failure.has_value();
        if (!m.has_values || m.failure) return;
        auto& [tensors, sum] = dtypes[ckpt::name(m.tensor.dtype())];
        ++tensors;
        sum.add(m.of);
    }
    [[nodiscard]] std::uint64_t nans() const {
        std::uint64_t n = 0;
        for (const auto& [name, of] : dtypes) n += of.second.nans;
        return n;
    }
    [[nodiscard]] int exit_code(const options& wanted) const {
        return wanted.fail_on_nan && (nans() > 0 || failed > 0) ? exit_finding : exit_fine;
    }
};

[[nodiscard]] measured measure(std::string key, const ckpt::tensor& t, progress_line& line) {
    measured out{std::move(key), t, false, {}, {}};
    if (const ckpt::error* refusal = t.refusal()) {
        out.failure = *refusal;
    } else if (t.layout() == ckpt::layout::strided) {
        out.has_values = true;
        auto known = ckpt::statistics(t, line);
        line.next(t.nbytes());
        if (known) out.of = std::move(*known);
        else out.failure = std::move(known).error();
    }
    return out;
}

[[nodiscard]] std::uint64_t bytes_of(const listing& all) {
    std::uint64_t out = 0;
    for (const row& r : all.rows) out += bytes_to_read(r.tensor);
    return out;
}

// --- JSON ---

/// A number in the form of the dtype: integers and bools without a point.
void write_number(json& to, double x, std::uint64_t bits, ckpt::dtype type) {
    const bool is_whole = ckpt::info(type).kind == ckpt::dtype_kind::integer || type == ckpt::dtype::bool_;
    if (!is_whole) return (void)to.real(x);
    std::string text = type == ckpt::dtype::uint64  ? decimal(bits)
                       : type == ckpt::dtype::int64 ? decimal(static_cast<std::int64_t>(bits))
                                                    : decimal(static_cast<std::int64_t>(x));
    write_integer(to, text);
}

void write_counts(json& to, const value_statistics& of) {
    to.member("zeros", of.zeros).member("nan", of.nans).member("inf", of.infinities);
}

void write_statistics(json& to, const value_statistics& of, ckpt::dtype type) {
    to.member("count", of.count);
    if (of.finite() > 0) {
        to.key("min");
        write_number(to, of.min, of.min_bits, type);
        to.key("max");
        write_number(to, of.max, of.max_bits, type);
        to.key("mean");
        to.real(of.mean).key("std");
        to.real(of.deviation());
    }
    write_counts(to, of);
    if (of.histogram.counts.empty()) return;
    to.key("histogram").begin_object().key("from");
    to.real(static_cast<double>(of.histogram.first) * of.histogram.width).key("width");
    to.real(of.histogram.width).key("counts").numbers(of.histogram.counts);
    to.end_object();
}

/// The members of a row behind key and path; parts go at most eight levels deep.
void write_measured(json& to, const measured& m, const ckpt::value& root, totals& sums, progress_line& line) {
    sums.add(m);
    if (m.tensor.refusal() == nullptr) {
        to.member("dtype", ckpt::name(m.tensor.dtype())).key("shape").numbers(m.tensor.shape());
        to.member("layout", ckpt::name(m.tensor.layout()));
    }
    if (m.failure) {
        to.key("error");
        write(to, *m.failure, root);
    } else if (m.has_values) {
        write_statistics(to, m.of, m.tensor.dtype());
    } else if (!m.tensor.parts().empty()) {
        to.key("parts").begin_array();
        for (const ckpt::named_part p : m.tensor.parts()) {
            to.begin_object().member("key", p.name);
            write_measured(to, measure(std::string(p.name), p.tensor, line), root, sums, line);
            to.end_object();
        }
        to.end_array();
    }
}

[[nodiscard]] int write_document(const options& wanted, const listing& all, const ckpt::value& root) {
    totals sums;
    progress_line line{wanted, bytes_of(all)};
    json out{stdout};
    out.begin_object().member("schema", "ckpt.stat/1").member("file", wanted.file()).key("selected");
    write(out, all.selected);
    out.key("tensors").begin_array();
    for (const row& r : all.rows) {
        out.line().begin_object().member("key", r.key).key("path");
        write(out, r.path);
        write_measured(out, measure(r.key, r.tensor, line), root, sums, line);
        out.end_object();
        if (interrupted()) return exit_of_interrupt();
    }
    out.end_array().key("dtypes").begin_object();
    for (const auto& [name, of] : sums.dtypes) {
        out.key(name).begin_object().member("tensors", of.first).member("count", of.second.count);
        if (of.second.finite() > 0) {
            out.key("min");
            out.real(of.second.min).key("max");
            out.real(of.second.max).key("mean");
            out.real(of.second.mean).key("std");
            out.real(of.second.deviation());
        }
        write_counts(out, of.second);
        out.end_object();
    }
    out.end_object().member("nan", sums.nans()).end_object();
    return finish(out, sums.exit_code(wanted));
}

// --- for people ---

[[nodiscard]] std::string brief(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", x);
    return text;
}

constexpr std::size_t number_columns = 10;
constexpr std::size_t spark_columns = 9;

/// The histogram from the smallest to the largest value, each column as high as it has values.
[[nodiscard]] std::string sparkline(const value_statistics& of) {
    constexpr std::size_t n = spark_columns;
    const ckpt::value_histogram& h = of.histogram;
    if (h.counts.empty()) return {};
    std::vector<double> columns(n);
    const double range = of.max > of.min ? of.max / 2 - of.min / 2 : 1; // halves: the difference may be infinite
    for (std::size_t i = 0; i < h.counts.size(); ++i) {
        // A bin that reaches over several columns has its values in all of them evenly.
        const double begin = static_cast<double>(h.first + static_cast<std::int64_t>(i)) * h.width;
        const auto place = [&](double x) {
            const double at = (std::clamp(x, of.min, of.max) / 2 - of.min / 2) / range * static_cast<double>(n);
            return std::min(at, static_cast<double>(n));
        };
        const double low = place(begin);
        const double high = std::max(place(begin + h.width), low);
        for (std::size_t c = static_cast<std::size_t>(low); c < n && static_cast<double>(c) <= high; ++c) {
            const double from = std::max(low, static_cast<double>(c));
            const double to = std::min(high, static_cast<double>(c) + 1);
            const double share =
                high > low ? std::max(to - from, 0.0) / (high - low) : c == static_cast<std::size_t>(low);
            columns[c] += share * static_cast<double>(h.counts[i]);
        }
        if (low >= static_cast<double>(n)) columns[n - 1] += static_cast<double>(h.counts[i]); // the largest value
    }
    const double highest = *std::max_element(columns.begin(), columns.end());
    constexpr const char* bars[]{" ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
    std::string out;
    for (const double c : columns) // what has any value has a bar
        out += bars[highest > 0 ? static_cast<std::size_t>(std::ceil(c / highest * 8 - 1e-9)) : 0];
    out.resize(out.find_last_not_of(' ') + 1);
    return out;
}

[[nodiscard]] std::string number_cells(const value_statistics& of) {
    const bool any = of.finite() > 0;
    std::string out;
    for (const double x : {of.min, of.max, of.mean, of.deviation()})
        out += ' ' + right(any ? brief(x) : "-", number_columns);
    return out + ' ' + right(of.zeros > 0 ? grouped(of.zeros) : "0", 7);
}

[[nodiscard]] std::string alarms(const value_statistics& of) {
    std::string out;
    if (of.nans > 0) out += "  " + grouped(of.nans) + " NaN";
    if (of.infinities > 0) out += "  " + grouped(of.infinities) + " Inf";
    return paint(colour::red, out);
}

/// A table, a row as soon as its tensor is read.
class stat_table {
  public:
    explicit stat_table(const listing& all) {
        for (const row& r : all.rows) widen(r.key, r.tensor);
        if (is_terminal()) {
            const std::size_t others = 4 * (number_columns + 1) + 8 + 2 + spark_columns;
            const bool has_room = columns() >= others + 2 + dtypes_ + 24;
            if (!has_room) dtypes_ = 0;
            const std::size_t taken = others + (dtypes_ > 0 ? 2 + dtypes_ : 0);
            keys_ = std::min(keys_, std::max<std::size_t>(columns() > taken ? columns() - taken : 0, 12));
        }
        std::string head = left("key", keys_) + dtype_cell("dtype");
        for (const char* name : {"min", "max", "mean", "std"}) head += ' ' + right(name, number_columns);
        print(paint(colour::dim, head + ' ' + right("zeros", 7) + "  histogram") + '\n');
    }

    void add(const std::string& key, const ckpt::tensor& t, totals& sums, progress_line& line) {
        const measured m = measure(key, t, line);
        if (interrupted()) return;
        sums.add(m);
        const std::string name = key_cell(printable(key));
        if (m.failure) {
            const ckpt::error& e = *m.failure;
            print(name + "  " + paint(colour::red, std::string(ckpt::info(e.code).name) + ": " + printable(e.detail)) +
                  '\n');
        } else if (m.has_values) {
            print(name + paint(colour::cyan, dtype_cell(ckpt::name(t.dtype()))) + number_cells(m.of) + "  " +
                  sparkline(m.of) + alarms(m.of) + '\n');
        }
        if (m.has_values || m.failure) return;
        for (const ckpt::named_part p : t.parts()) add(key + ':' + std::string(p.name), p.tensor, sums, line);
    }
    void add_totals(const totals& sums) {
        for (const auto& [name, of] : sums.dtypes)
            print(paint(colour::dim, key_cell("all " + std::string(name)) + dtype_cell(grouped(of.first)) +
                                         number_cells(of.second) + "  " + sparkline(of.second)) +
                  alarms(of.second) + '\n');
    }

  private:
    void widen(const std::string& key, const ckpt::tensor& t) {
        keys_ = std::max(keys_, width(printable(key)));
        if (t.refusal() != nullptr) return;
        dtypes_ = std::max(dtypes_, ckpt::name(t.dtype()).size());
        if (t.layout() == ckpt::layout::strided) return;
        for (const ckpt::named_part p : t.parts()) widen(key + ':' + std::string(p.name), p.tensor);
    }
    [[nodiscard]] std::string key_cell(std::string key) const {
        return left(is_terminal() ? shortened_in_the_middle(std::move(key), keys_) : std::move(key), keys_);
    }
    [[nodiscard]] std::string dtype_cell(std::string_view name) const {
        return dtypes_ > 0 ? "  " + left(std::string(name), dtypes_) : std::string();
    }

    std::size_t keys_{4 + 17}; // "all float4_e2m1fn_x2"
    std::size_t dtypes_{5};
};

[[nodiscard]] int print_table(const options& wanted, const listing& all) {
    totals sums;
    stat_table out{all};
    {
        progress_line line{wanted, bytes_of(all)};
        for (const row& r : all.rows) {
            out.add(r.key, r.tensor, sums, line);
            if (interrupted()) return written(exit_of_interrupt());
        }
    }
    out.add_totals(sums);
    if (sums.failed > 0)
        print(paint(colour::red, counted(sums.failed, "tensor", "tensors") + " could not be read") + '\n');
    return written(sums.exit_code(wanted));
}

} // namespace

void write_stats(json& to, const ckpt::tensor& t, const ckpt::value& root, progress_line& line) {
    totals unused;
    to.key("stats").begin_object();
    write_measured(to, measure({}, t, line), root, unused, line);
    to.end_object();
}

int run_stat(const options& wanted) {
    std::optional<ckpt::key_map> rules;
    int failed = exit_fine;
    if (wanted.has_rules() && !read_rules(wanted, rules, failed)) return failed;
    const auto file = open(wanted.file(), wanted.policy);
    if (!file) return fail(wanted, file.error());
    const auto all = list(*file, wanted, rules ? &*rules : nullptr);
    if (!all) return fail(wanted, all.error(), file->root());
    return wanted.json ? write_document(wanted, *all, file->root()) : print_table(wanted, *all);
}

} // namespace tool
