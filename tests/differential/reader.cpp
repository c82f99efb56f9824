// tests/differential/reader.cpp: our reading of many pickles, for tests/differential/check.py.
//
// SPDX-License-Identifier: MIT
// In:      on standard input, for each pickle its length in 4 bytes, little-endian, and its bytes.
// Out:     a line for each: "ok", the names, a question mark if a value was refused at its place, and the value; or
// "error", the name of the code and the detail; check.py has the
//          grammar of values.
#include "../support/pickle_writer.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

using ckpt::kind;

constexpr int most_visits = 2000; // a DAG has many paths

class writer {
  public:
    std::string write(const ckpt::value& v) {
        std::string out = text(v);
        return visits_ > most_visits ? "big" : out;
    }

  private:
    static std::string hex(std::span<const std::byte> bytes) {
        std::string out;
        for (const std::byte b : bytes) {
            out += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4];
            out += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15];
        }
        return out;
    }
    static std::string real(double v) {
        char out[32];
        std::snprintf(out, sizeof out, "f%016llx", static_cast<unsigned long long>(std::bit_cast<std::uint64_t>(v)));
        return out;
    }

    template <class Range> std::vector<std::string> parts(Range range) {
        std::vector<std::string> out;
        for (const ckpt::value e : range) out.push_back(text(e));
        return out;
    }
    static std::string joined(const std::vector<std::string>& all) {
        std::string out;
        for (const std::string& s : all) out += (out.empty() ? "" : ",") + s;
        return out;
    }
    std::string entries(const ckpt::value& v) {
        std::string out;
        for (const ckpt::value::entry e : v.entries())
            out += (out.empty() ? "" : ",") + text(e.key) + ':' + text(e.mapped);
        return '{' + out + '}';
    }

    std::string text(const ckpt::value& v) {
        if (++visits_ > most_visits) return {};
        for (const std::uint32_t id : path_)
            if (id == v.object_id()) return "...";
        path_.push_back(v.object_id());
        std::string out = of_kind(v);
        path_.pop_back();
        return out;
    }

    std::string of_kind(const ckpt::value& v) {
        switch (v.kind()) {
        case kind::none: return "N";
        case kind::boolean: return *v.as_bool() ? "T" : "F";
        case kind::integer:
            if (const auto i = v.as_int()) return 'i' + ckpt::detail::decimal(*i);
            return 'l' + hex(*v.as_integer_bytes());
        case kind::real: return real(*v.as_real());
        case kind::complex: return 'c' + real(v.as_complex().value().real) + real(v.as_complex().value().imaginary);
        case kind::string: return 's' + hex(std::as_bytes(std::span{*v.as_string()}));
        case kind::bytes: return (v.is_byte_array() ? 'y' : 'b') + hex(*v.as_bytes());
        case kind::tuple: return '(' + joined(parts(v.elements())) + ')';
        case kind::list: return '[' + joined(parts(v.elements())) + ']';
        case kind::set: {
            std::vector<std::string> all = parts(v.elements());
            std::sort(all.begin(), all.end());
            return (v.is_frozen_set() ? "z<" : "<") + joined(all) + '>';
        }
        case kind::dictionary: return (v.class_of() ? text(v.class_of()) : std::string{}) + entries(v);
        case kind::global:
            return "g" + std::string(v.as_global().value().module) + '.' + std::string(v.as_global().value().name);
        case kind::object: {
            std::string out = "o" + text(v.class_of()) + text(v.args());
            if (v.kwargs() && v.kwargs().size() != 0) out += entries(v.kwargs());
            if (v.state()) out += '!' + text(v.state());
            return out + '+' + joined(parts(v.items()));
        }
        default: return "?";
        }
    }

    std::vector<std::uint32_t> path_;
    int visits_{0};
};

/// The names of all globals, in hexadecimal, as "module.name" between commas.
std::string names(const ckpt::detail::graph& g) {
    std::string out = "names";
    for (std::size_t i = 0; i < g.globals.size(); ++i) {
        out += ',';
        for (const char c : std::string(g.globals[i].module) + '.' + std::string(g.globals[i].name)) {
            out += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
            out += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
        }
    }
    return out;
}

bool read_all(char* to, std::size_t n) { return std::fread(to, 1, n, stdin) == n; }

} // namespace

int main() {
    const auto allowed = ckpt::detail::allowlist_of<ckpt::inspect_policy>();
    unsigned char head[4];
    while (read_all(reinterpret_cast<char*>(head), 4)) {
        std::string pickle(head[0] | unsigned{head[1]} << 8 | unsigned{head[2]} << 16 | unsigned{head[3]} << 24, '\0');
        if (!read_all(pickle.data(), pickle.size())) return 1;
        const test_support::parsed p{std::move(pickle), allowed};
        if (p.ok())
            std::printf("ok %s %s%s\n", names(p.graph).c_str(), p.graph.errors.empty() ? "" : "?",
                        writer{}.write(p.root()).c_str());
        else std::printf("error %s %s\n", std::string(ckpt::info(p.code()).name).c_str(), p.error.detail.c_str());
    }
    return 0;
}
