#include "render.hpp"
#include "progress.hpp"

#include "commands.hpp"

#include <ckpt/core/edit_distance.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/utf8.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#if defined(_WIN32)
#include <io.h>
#else
#include <sys/ioctl.h>
#include <system_error>
#include <unistd.h>
#endif

namespace tool {

namespace {

/// The byte where column `n` begins.
[[nodiscard]] std::size_t byte_at(std::string_view text, std::size_t n) noexcept {
    std::size_t i = 0;
    for (; i < text.size() && n > 0; --n) {
        const std::size_t step = ckpt::detail::utf8_length(text, i);
        i += step == 0 ? 1 : step;
    }
    return i;
}

bool output_failed = false;
std::string_view colours = "auto";

} // namespace

bool is_terminal() noexcept {
#if defined(_WIN32)
    static const bool out = _isatty(_fileno(stdout)) != 0;
#else
    static const bool out = isatty(STDOUT_FILENO) != 0;
#endif
    return out;
}

void choose_colours(std::string_view when) noexcept {
    colours = when == "always" ? "always" : when == "never" ? "never" : "auto";
}

bool has_colours() noexcept {
    if (colours != "auto") return colours == "always";
    static const bool out = [] {
        const char* none = std::getenv("NO_COLOR");
        const char* term = std::getenv("TERM");
        return is_terminal() && (none == nullptr || *none == '\0') &&
               (term == nullptr || std::string_view(term) != "dumb");
    }();
    return out;
}

std::size_t columns() noexcept {
    if (const char* set = std::getenv("COLUMNS")) {
        std::size_t n = 0;
        std::string_view text(set);
        if (ckpt::detail::take_decimal(text, n) && n >= 20 && n <= 10'000) return n;
    }
#if !defined(_WIN32)
    winsize size{};
    if (is_terminal() && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
#endif
    return 80;
}

std::size_t on_terminal(std::size_t n) noexcept { return is_terminal() ? n : ~std::size_t{0} / 16; }

std::size_t line_width() noexcept { return on_terminal(columns()); }

std::string paint(colour c, std::string_view text) {
    if (!has_colours() || c == colour::plain || text.empty()) return std::string(text);
    std::string_view code;
    switch (c) {
    case colour::plain: break;
    case colour::bold: code = "1"; break;
    case colour::dim: code = "2"; break;
    case colour::red: code = "1;31"; break;
    case colour::green: code = "32"; break;
    case colour::yellow: code = "33"; break;
    case colour::cyan: code = "36"; break;
    }
    return "\x1b[" + std::string(code) + 'm' + std::string(text) + "\x1b[0m";
}

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (true) { // the library writes \r as \x0d
        const std::size_t end = text.find('\r');
        ckpt::detail::append_escaped(out, text.substr(0, end), false);
        if (end == std::string_view::npos) return out;
        out += "\\r";
        text.remove_prefix(end + 1);
    }
}

std::size_t width(std::string_view text) noexcept {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string shortened(std::string text, std::size_t most) {
    if (width(text) <= most) return text;
    text.resize(byte_at(text, most > 1 ? most - 1 : 0));
    return text + "\u2026";
}

std::string shortened_in_the_middle(std::string text, std::size_t most) {
    const std::size_t n = width(text);
    if (n <= most || most < 5) return shortened(std::move(text), most);
    const std::size_t head = (most - 1) / 3;
    const std::size_t tail = most - 1 - head;
    return text.substr(0, byte_at(text, head)) + "\u2026" + text.substr(byte_at(text, n - tail));
}

std::string shortened_key(std::string key, std::size_t most) {
    if (width(key) <= most) return key;
    const std::size_t open = key.find('{');
    const std::size_t close = key.find('}', open);
    if (open == key.npos || close == key.npos) return shortened_in_the_middle(std::move(key), most);
    // What is before the braces and behind them shares the room that they leave.
    const std::string braces = key.substr(open, close + 1 - open);
    if (width(braces) + 4 > most) return shortened_in_the_middle(std::move(key), most);
    const std::size_t room = most - width(braces);
    const std::string before = key.substr(0, open);
    const std::string behind = key.substr(close + 1);
    const std::size_t head = std::min(width(before), std::max(room / 3, room - std::min(room, width(behind))));
    return shortened(before, head) + braces + shortened_in_the_middle(behind, room - head);
}

std::string left(std::string text, std::size_t n) {
    const std::size_t have = width(text);
    if (have < n) text.append(n - have, ' ');
    return text;
}

std::string right(std::string text, std::size_t n) {
    const std::size_t have = width(text);
    return have < n ? std::string(n - have, ' ') + text : text;
}

std::string grouped(std::uint64_t n) {
    std::string out = decimal(n);
    for (std::size_t i = out.size(); i > 3;) out.insert(i -= 3, 1, ',');
    return out;
}

std::string human_bytes(std::uint64_t n) {
    if (n < 1024) return decimal(n) + " B";
    constexpr std::string_view units[]{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double x = static_cast<double>(n) / 1024;
    std::size_t unit = 0;
    for (; x >= 1023.95 && unit + 1 < std::size(units); ++unit) x /= 1024;
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.1f ", x);
    return std::string(buffer).append(units[unit]);
}

std::string counted(std::uint64_t n, std::string_view one, std::string_view many) {
    return grouped(n) + ' ' + std::string(n == 1 ? one : many);
}

std::string nearest(std::string_view typed, const std::vector<std::string>& all) {
    ckpt::detail::nearest_name near{typed};
    for (const std::string& name : all)
        if (!near.offer(name)) break;
    return near.best();
}

void print(std::string_view text) {
    hide_progress();
    output_failed |= std::fwrite(text.data(), 1, text.size(), stdout) != text.size();
}

void print_rest(std::size_t indent, std::uint64_t n) {
    if (n > 0) print(std::string(indent, ' ') + "\u2026 " + grouped(n) + " more: see --json\n");
}

void print_some(std::string_view label, colour c, const std::vector<std::string>& lines) {
    print_each(label, c, lines, [](const std::string& line) -> const std::string& { return line; });
}

int written(int exit_code) {
    if (std::fflush(stdout) != 0) output_failed = true;
    if (!output_failed || errno == EPIPE) return exit_code; // who reads may have seen enough
    std::fputs("ckpt: the output could not be written\n", stderr);
    return exit_unreadable;
}

} // namespace tool
