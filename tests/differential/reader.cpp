// tests/differential/reader.cpp: our reading of many pickles or archives, for check.py and archives.py beside it.
//
// SPDX-License-Identifier: MIT
// In:      "pickles", "weights", "zips" or "tars"; on standard input, for each its length in 4 bytes, little-endian,
// and its bytes. Out:     a line for each, which begins with "ok", or "error", the name of the code and the detail.
//          Of a pickle: the names, a question mark if a value was refused at its place, and the value; check.py has the
//          grammar of values. Of an archive: each member as "name=content" in hexadecimal, folders without content.
#include "../support/inflate.hpp"
#include "../support/pickle_writer.hpp"

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/tar.hpp>
#include <ckpt/archive/zip_directory.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

using ckpt::kind;

constexpr int most_visits = 2000; // a DAG has many paths

std::string hex(std::span<const std::byte> bytes) {
    std::string out;
    for (const std::byte b : bytes) {
        out += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4];
        out += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15];
    }
    return out;
}
std::string hex(std::string_view text) { return hex(std::as_bytes(std::span{text.data(), text.size()})); }

class writer {
  public:
    std::string write(const ckpt::value& v) {
        std::string out = text(v);
        return visits_ > most_visits ? "big" : out;
    }

  private:
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
    for (std::size_t i = 0; i < g.globals.size(); ++i)
        out += ',' + hex(std::string(g.globals[i].module) + '.' + std::string(g.globals[i].name));
    return out;
}

std::string failed(const ckpt::error& e) { return "error " + std::string(ckpt::info(e.code).name) + ' ' + e.detail; }

std::string of_pickle(std::string pickle, const ckpt::detail::allowlist& allowed) {
    const test_support::parsed p{std::move(pickle), allowed};
    if (!p.ok()) return "error " + std::string(ckpt::info(p.code()).name) + ' ' + p.error.detail;
    return "ok " + names(p.graph) + (p.graph.errors.empty() ? " " : " ?") + writer{}.write(p.root());
}

std::string of_zip(std::string_view bytes) {
    const auto from = ckpt::detail::source::memory(std::as_bytes(std::span{bytes.data(), bytes.size()}));
    ckpt::detail::arena memory;
    const auto archive = ckpt::detail::zip_archive::read(**from, ckpt::limits{}, memory);
    if (!archive) return failed(archive.error());
    const ckpt::inflater inflate = test_support::test_inflater();
    std::string out = "ok";
    for (const ckpt::record& r : archive->records()) {
        out += ' ' + hex(r.name);
        if (r.is_folder()) continue;
        const auto content = ckpt::detail::read_content(**from, r, inflate, 1 << 20, memory);
        if (!content) return failed(content.error());
        out += '=' + hex(*content);
    }
    return out;
}

std::string of_tar(std::string_view bytes) {
    const auto from = ckpt::detail::source::memory(std::as_bytes(std::span{bytes.data(), bytes.size()}));
    ckpt::detail::arena memory;
    const auto archive = ckpt::detail::tar_archive::read(**from, ckpt::limits{}, memory);
    if (!archive) return failed(archive.error());
    std::string out = "ok";
    for (const ckpt::detail::tar_entry& e : archive->entries()) {
        out += ' ' + hex(e.name);
        if (e.kind == ckpt::detail::tar_kind::file)
            out += '=' + hex(bytes.substr(static_cast<std::size_t>(e.offset), static_cast<std::size_t>(e.size)));
    }
    return out;
}

bool read_all(char* to, std::size_t n) { return std::fread(to, 1, n, stdin) == n; }

} // namespace

int main(int count, char** given) {
    const std::string_view kind = count > 1 ? given[1] : "";
    const auto allowed = kind == "weights" ? ckpt::detail::allowlist_of<ckpt::weights_policy>()
                                           : ckpt::detail::allowlist_of<ckpt::inspect_policy>();
    unsigned char head[4];
    while (read_all(reinterpret_cast<char*>(head), 4)) {
        std::string input(head[0] | unsigned{head[1]} << 8 | unsigned{head[2]} << 16 | unsigned{head[3]} << 24, '\0');
        if (!read_all(input.data(), input.size())) return 1;
        const std::string line = kind == "zips"   ? of_zip(input)
                                 : kind == "tars" ? of_tar(input)
                                                  : of_pickle(std::move(input), allowed);
        std::printf("%s\n", line.c_str());
    }
    return 0;
}
