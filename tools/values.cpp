// tools/values.cpp: numbers as numpy prints them.
#include "values.hpp"

#include "render.hpp"

#include <ckpt/core/reader.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/pieces.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace tool {

namespace {

using ckpt::dtype;
using ckpt::detail::tensor_access;
using ckpt::detail::tensor_data;

/// Values in row-major order, all of them of one type that is no packed one.
struct read_values {
    dtype type{};
    std::vector<std::byte> bytes{};
    std::size_t count{};

    [[nodiscard]] const std::byte* at(std::size_t i) const { return bytes.data() + i * ckpt::itemsize(type); }
    [[nodiscard]] bool is_complex() const { return ckpt::info(type).kind == ckpt::dtype_kind::complex; }
    [[nodiscard]] bool is_floating() const { return ckpt::info(type).kind == ckpt::dtype_kind::floating; }
    /// The real part, or with 1 the imaginary one.
    [[nodiscard]] double real(std::size_t i, std::size_t part = 0) const {
        const dtype one = ckpt::detail::component_type(type);
        double out = 0;
        (void)ckpt::detail::convert(one, at(i) + part * ckpt::itemsize(one), dtype::float64,
                                    reinterpret_cast<std::byte*>(&out), 1);
        return out;
    }
    [[nodiscard]] std::string integer(std::size_t i) const {
        if (type == dtype::uint64)
            return decimal(ckpt::detail::load<std::uint64_t>(at(i), ckpt::detail::native_order()));
        std::int64_t out = 0;
        (void)ckpt::detail::convert(type, at(i), dtype::int64, reinterpret_cast<std::byte*>(&out), 1);
        return decimal(out);
    }
    [[nodiscard]] bool truth(std::size_t i) const { return *at(i) != std::byte{0}; }
};

/// The first and the last `edge` elements of each dimension; all with `edge` 0.
[[nodiscard]] ckpt::result<read_values> read(const ckpt::tensor& t, std::size_t edge) {
    constexpr std::uint64_t always = std::uint64_t{1} << 20;
    const ckpt::detail::storage_source* const source = tensor_access::source(t);
    const tensor_data& whole = *tensor_access::data(t);
    std::optional<ckpt::detail::edges_of> edges;
    if (edge > 0 && t.layout() == ckpt::layout::strided) edges.emplace(whole, edge);
    const tensor_data& data = edges ? edges->data() : whole;
    if (data.numel > always)
        if (auto bounded = ckpt::detail::check_output(data, *source); !bounded) return std::move(bounded).error();
    read_values out{ckpt::detail::piece_type(data), {}, static_cast<std::size_t>(data.numel)};
    const std::size_t size = ckpt::itemsize(out.type);
    out.bytes.reserve(out.count * size);
    const auto take = [&](const ckpt::detail::value_piece& piece) {
        out.bytes.insert(out.bytes.end(), piece.values, piece.values + piece.count * size);
    };
    auto done =
        edges ? ckpt::detail::for_each_piece(*edges, source, take) : ckpt::detail::for_each_piece(&whole, source, take);
    if (!done) return std::move(done).error();
    return out;
}

// --- one number ---

/// As which type numpy would have a number: what its shortest digits are depends on it.
enum class precision : std::uint8_t { half, single, full };

[[nodiscard]] precision precision_of(dtype type) {
    switch (ckpt::detail::component_type(type)) {
    case dtype::float64: return precision::full;
    case dtype::float16: return precision::half;
    default: return precision::single;
    }
}

/// A number rounded to the type.
[[nodiscard]] double rounded(double x, precision p) {
    if (p == precision::full) return x;
    const float single = ckpt::detail::to_float(x);
    return static_cast<double>(p == precision::single ? single : ckpt::f16::from_float(single).to_float());
}

[[nodiscard]] std::string formatted(const char* format, int digits, double x) {
    std::string out(400, '\0');
    out.resize(static_cast<std::size_t>(std::snprintf(out.data(), out.size(), format, digits, x)));
    return out;
}

/// The shortest digits that read back as `x`, and the power of ten of the first: "125", -1 for 0.125.
struct shortest_digits {
    std::string digits{};
    int exponent{};
};
[[nodiscard]] shortest_digits digits_of(double x, precision p) {
    x = std::fabs(x);
    for (int n = 0;; ++n) {
        const std::string text = formatted("%.*e", n, x);
        if (n < 17 && rounded(std::strtod(text.c_str(), nullptr), p) != x) continue;
        const std::size_t e = text.find('e');
        shortest_digits out{text.substr(0, e), std::atoi(text.c_str() + e + 1)};
        std::erase(out.digits, '.');
        return out;
    }
}

void trim_zeros(std::string& text) {
    while (text.ends_with('0')) text.pop_back();
}

/// Without an exponent: "0.125", "3."; at most `most` digits behind the point.
[[nodiscard]] std::string positional(double x, precision p, int most) {
    const shortest_digits d = digits_of(x, p);
    const int behind = static_cast<int>(d.digits.size()) - 1 - d.exponent;
    std::string out;
    if (behind > most) {
        out = formatted("%.*f", most, std::fabs(x));
    } else if (d.exponent < 0) {
        out = "0." + std::string(static_cast<std::size_t>(-d.exponent - 1), '0') + d.digits;
    } else {
        const auto before = static_cast<std::size_t>(d.exponent) + 1;
        out = d.digits + std::string(d.digits.size() < before ? before - d.digits.size() : 0, '0');
        out.insert(before, ".");
    }
    trim_zeros(out);
    return std::signbit(x) ? '-' + out : out;
}

/// With an exponent of at least two digits: "1.25e-05", "1.e+20".
[[nodiscard]] std::string scientific(double x, precision p, int most) {
    const shortest_digits d = digits_of(x, p);
    std::string mantissa;
    int exponent = d.exponent;
    if (static_cast<int>(d.digits.size()) - 1 > most) {
        const std::string text = formatted("%.*e", most, std::fabs(x));
        mantissa = text.substr(0, text.find('e'));
        exponent = std::atoi(text.c_str() + text.find('e') + 1);
    } else {
        mantissa = d.digits;
        mantissa.insert(1, ".");
    }
    trim_zeros(mantissa);
    const std::string power = decimal(std::abs(exponent));
    return (std::signbit(x) ? "-" : "") + mantissa + (exponent < 0 ? "e-" : "e+") + (power.size() < 2 ? "0" : "") +
           power;
}

/// A number that stands alone, as str() of a numpy scalar: "1.5", "1e+20"; of a complex one, "2" instead of "2.0".
[[nodiscard]] std::string alone(double x, precision p, bool keeps_point) {
    if (const std::string_view special = not_finite(x); !special.empty()) return std::string(special);
    constexpr int all = 400;
    const double magnitude = std::fabs(x);
    std::string out;
    if (magnitude == 0 || (magnitude >= rounded(1e-4, p) && magnitude < 1e16)) {
        out = positional(x, p, all);
        if (!out.ends_with('.')) return out;
        return keeps_point ? out + '0' : out.substr(0, out.size() - 1);
    }
    out = scientific(x, p, all);
    if (const std::size_t point = out.find(".e"); point != out.npos) out.erase(point, 1);
    return out;
}

// --- columns of numbers ---

/// Chooses a form for all numbers and writes each as wide as the widest, as numpy's FloatingFormat does.
class float_column {
  public:
    float_column(std::span<const double> all, precision p, bool always_signed)
        : precision_{p}, always_signed_{always_signed} {
        choose_form(all);
        measure(all);
    }

    [[nodiscard]] std::string operator()(double x) const {
        if (const std::string_view special = not_finite(x); !special.empty()) {
            const std::string_view sign = always_signed_ && special[0] != '-' ? "+" : "";
            return right(std::string(sign).append(special), left_ + right_ + 1);
        }
        std::string out = signed_text(exponents_ ? padded_scientific(x) : positional(x, precision_, most_digits));
        const std::size_t point = out.find('.');
        out.insert(0, point < left_ ? left_ - point : 0, ' ');
        return left(std::move(out), exponents_ ? 0 : left_ + 1 + right_);
    }

  private:
    static constexpr int most_digits = 8;

    [[nodiscard]] std::string signed_text(std::string text) const {
        return always_signed_ && text[0] != '-' ? '+' + text : text;
    }
    /// numpy's limits, in the arithmetic of the type.
    void choose_form(std::span<const double> all) {
        double least = 0;
        double most = 0;
        for (const double x : all) {
            if (!not_finite(x).empty() || x == 0) continue;
            const double magnitude = std::fabs(x);
            least = least == 0 ? magnitude : std::min(least, magnitude);
            most = std::max(most, magnitude);
        }
        if (most == 0) return;
        const double large = precision_ == precision::half ? 1e3 : precision_ == precision::single ? 1e6 : 1e8;
        exponents_ = most >= large || least < rounded(1e-4, precision_) || rounded(most / least, precision_) > 1000;
    }
    void measure(std::span<const double> all) {
        bool has_special = false;
        bool has_negative_infinity = always_signed_;
        for (const double x : all) {
            if (const std::string_view special = not_finite(x); !special.empty()) {
                has_special = true;
                has_negative_infinity = has_negative_infinity || special == "-inf";
                continue;
            }
            const std::string text = signed_text(exponents_ ? scientific(x, precision_, most_digits)
                                                            : positional(x, precision_, most_digits));
            const std::size_t point = text.find('.');
            const std::size_t end = std::min(text.find('e'), text.size());
            left_ = std::max(left_, point);
            right_ = std::max(right_, end - point - 1);
            if (exponents_) power_ = std::max(power_, text.size() - end - 2);
        }
        digits_ = static_cast<int>(right_);
        if (exponents_) right_ += power_ + 2;
        if (!has_special) return;
        const std::size_t longest = has_negative_infinity ? 4 : 3;
        left_ = std::max(left_, longest > right_ + 1 ? longest - right_ - 1 : 0);
    }
    /// With the digits behind the point and the digits of the exponent that all have.
    [[nodiscard]] std::string padded_scientific(double x) const {
        const std::string text = formatted("%.*e", digits_, x);
        const std::size_t e = text.find('e');
        std::string power = text.substr(e + 2);
        power.insert(0, power.size() < power_ ? power_ - power.size() : 0, '0');
        return text.substr(0, e) + (digits_ == 0 ? "." : "") + text.substr(e, 2) + power;
    }

    precision precision_;
    bool always_signed_;
    bool exponents_{false};
    int digits_{0};
    std::size_t left_{0};
    std::size_t right_{0};
    std::size_t power_{0};
};

[[nodiscard]] std::vector<double> parts_of(const read_values& values, std::size_t part) {
    std::vector<double> out(values.count);
    for (std::size_t i = 0; i < values.count; ++i) out[i] = values.real(i, part);
    return out;
}

/// The text of each value, all equally wide.
[[nodiscard]] std::vector<std::string> words_of(const read_values& values) {
    std::vector<std::string> out(values.count);
    const precision p = precision_of(values.type);
    if (values.is_complex()) {
        const float_column real{parts_of(values, 0), p, false};
        const float_column imaginary{parts_of(values, 1), p, true};
        for (std::size_t i = 0; i < values.count; ++i) {
            std::string second = imaginary(values.real(i, 1));
            second.insert(second.find_last_not_of(' ') + 1, "j");
            out[i] = real(values.real(i, 0)) + second;
        }
        return out;
    }
    if (values.is_floating()) {
        const float_column column{parts_of(values, 0), p, false};
        for (std::size_t i = 0; i < values.count; ++i) out[i] = column(values.real(i));
        return out;
    }
    std::size_t widest = 0;
    for (std::size_t i = 0; i < values.count; ++i) {
        out[i] = values.type != dtype::bool_ ? values.integer(i) : values.truth(i) ? "True" : "False";
        widest = std::max(widest, out[i].size());
    }
    for (std::string& word : out) word = right(std::move(word), values.type == dtype::bool_ ? 5 : widest);
    return out;
}

[[nodiscard]] std::string scalar_text(const read_values& values) {
    const precision p = precision_of(values.type);
    if (values.is_complex()) {
        const double real = values.real(0);
        std::string second = alone(values.real(0, 1), p, false);
        if (real == 0 && !std::signbit(real)) return second + 'j';
        if (second[0] != '-') second.insert(0, "+");
        return '(' + alone(real, p, false) + second + "j)";
    }
    if (values.is_floating()) return alone(values.real(0), p, true);
    if (values.type == dtype::bool_) return values.truth(0) ? "True" : "False";
    return values.integer(0);
}

// --- layout ---

/// Puts words into brackets and lines, as numpy's _formatArray does.
class array_text {
  public:
    array_text(std::span<const std::int64_t> shape, std::size_t edge, const std::vector<std::string>& words)
        : shape_{shape}, edge_{edge}, words_{words} {}

    /// `edge` 0: everything is shown.
    [[nodiscard]] std::string at(std::size_t axis, const std::string& indent, std::size_t line_width) {
        const auto n = static_cast<std::size_t>(shape_[axis]);
        const bool is_cut = edge_ > 0 && n > 2 * edge_;
        const std::size_t shown = is_cut ? 2 * edge_ : n;
        std::string out;
        std::string line = indent;
        const std::size_t axes_left = shape_.size() - axis;
        const auto add = [&](const std::string& word) { // of the last axis
            if (width(line) + width(word) > line_width - 1 && line.size() > indent.size()) {
                out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
                line = indent;
            }
            line += word;
        };
        for (std::size_t i = 0; i < shown; ++i) {
            const std::string between = axes_left == 1 ? " " : std::string(axes_left - 1, '\n');
            if (is_cut && i == edge_) {
                if (axes_left == 1) add("...");
                else out += indent + "...";
                (axes_left == 1 ? line : out) += between;
            }
            if (axes_left == 1) add(words_[next_++]);
            else out += indent + at(axis + 1, indent + ' ', line_width - 1);
            if (i + 1 < shown) (axes_left == 1 ? line : out) += between;
        }
        if (axes_left == 1) out += line;
        return '[' + out.substr(indent.size()) + ']';
    }

  private:
    std::span<const std::int64_t> shape_;
    std::size_t edge_;
    const std::vector<std::string>& words_;
    std::size_t next_{0};
};

/// Elements at each end of a dimension: fewer where there are many dimensions.
[[nodiscard]] std::size_t edge_for(std::size_t rank) { return rank <= 2 ? 3 : rank == 3 ? 2 : 1; }

constexpr std::uint64_t most_edges = 4096;

/// How many values the edges have; any number above `most_edges` where they have more.
[[nodiscard]] std::uint64_t count_edges(const ckpt::tensor& t, std::size_t edge) {
    std::uint64_t n = 1;
    for (const std::int64_t size : t.shape()) {
        n *= std::min(static_cast<std::uint64_t>(size), std::uint64_t{2} * edge);
        if (n > most_edges) return n;
    }
    return n;
}

} // namespace

ckpt::result<std::string> values_text(const ckpt::tensor& t, std::uint64_t most, std::size_t line_width) {
    if (const ckpt::error* refusal = t.refusal()) return *refusal;
    const bool is_whole = t.numel() <= most;
    const std::size_t edge = is_whole ? 0 : edge_for(t.rank());
    if (!is_whole && count_edges(t, edge) > most_edges)
        return ckpt::error{.code = ckpt::errc::output_limit,
                           .detail = "there are " + decimal(t.numel()) + " values in " +
                                     decimal(std::uint64_t{t.rank()}) +
                                     " dimensions, of which the edges alone are more than " + decimal(most_edges),
                           .hint = "show all of them with --values=N"};
    const auto values = read(t, edge);
    if (!values) return values.error();
    if (t.numel() == 0) return std::string("[]");
    if (t.rank() == 0) return scalar_text(*values);
    const std::vector<std::string> words = words_of(*values);
    return array_text{t.shape(), edge, words}.at(0, " ", line_width);
}

ckpt::result<void> write_values(json& to, const ckpt::tensor& t) {
    const auto values = read(t, 0);
    if (!values) return values.error();
    if (t.numel() == 0) {
        to.begin_array().end_array();
        return {};
    }
    const auto write = [&](std::size_t i) {
        if (values->is_complex()) {
            to.begin_object().key("$complex").begin_array();
            to.real(values->real(i, 0)).real(values->real(i, 1));
            to.end_array().end_object();
        } else if (values->is_floating()) {
            to.real(values->real(i));
        } else if (values->type == dtype::bool_) {
            to.boolean(values->truth(i));
        } else {
            write_integer(to, values->integer(i));
        }
    };
    // A bracket opens before the first element of each row of a dimension, and closes behind the last.
    std::vector<std::uint64_t> rows(t.rank()); // elements in one row
    std::uint64_t inner = 1;
    for (std::size_t i = t.rank(); i-- > 0;) rows[i] = inner *= static_cast<std::uint64_t>(t.shape()[i]);
    for (std::size_t i = 0; i < values->count; ++i) {
        for (const std::uint64_t row : rows)
            if (i % row == 0) to.begin_array();
        write(i);
        for (const std::uint64_t row : rows)
            if ((i + 1) % row == 0) to.end_array();
    }
    return {};
}

} // namespace tool
