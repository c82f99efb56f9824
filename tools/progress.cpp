// The line that shows how far a command has come.
#include "progress.hpp"
#include "render.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#if defined(_WIN32)
#include <io.h>
#else
#include <sys/ioctl.h>
#include <unistd.h>
#endif

namespace tool {

namespace {

volatile std::sig_atomic_t stopped_by = 0; // the number of a signal
volatile std::sig_atomic_t is_reading = 0; // and the library asks whether to go on
std::size_t width_of_line = 0;             // that stands on the terminal

extern "C" void note_interrupt(int signal) {
    if (is_reading == 0 || stopped_by != 0) {
#if !defined(_WIN32)
        if (width_of_line != 0) (void)!::write(STDERR_FILENO, "\r\x1b[K", 4);
#endif
        std::_Exit(exit_stopped + signal);
    }
    stopped_by = signal;
    (void)std::signal(signal, note_interrupt); // some systems reset it
}

[[nodiscard]] bool errors_are_on_a_terminal() noexcept {
#if defined(_WIN32)
    return _isatty(_fileno(stderr)) != 0;
#else
    return isatty(STDERR_FILENO) != 0;
#endif
}

/// Columns of standard error's terminal, which need not be that of the output.
[[nodiscard]] std::size_t columns_of_errors() noexcept {
#if !defined(_WIN32)
    winsize size{};
    if (std::getenv("COLUMNS") == nullptr && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        return size.ws_col;
#endif
    return columns();
}

/// "0:07", "2:13:00"
[[nodiscard]] std::string clock_text(double seconds) {
    const auto all = static_cast<std::uint64_t>(std::min(seconds, 359'999.0));
    const auto two = [](std::uint64_t n) { return (n < 10 ? "0" : "") + decimal(n); };
    return (all >= 3600 ? decimal(all / 3600) + ':' + two(all / 60 % 60) : decimal(all / 60)) + ':' + two(all % 60);
}

/// As much as fits: percent, bytes, rate, time left, and a bar in what room there is.
[[nodiscard]] std::string line_of(std::uint64_t done, std::uint64_t total, double seconds, std::size_t room) {
    const double part = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
    const double rate = static_cast<double>(done) / seconds;
    std::string out = right(decimal(static_cast<std::uint64_t>(part * 100)), 3) + " %";
    std::string more[]{"  " + human_bytes(done) + " of " + human_bytes(total), {}, {}};
    if (rate >= 1) {
        more[1] = "  " + human_bytes(static_cast<std::uint64_t>(rate)) + "/s";
        more[2] = "  " + clock_text(static_cast<double>(total - done) / rate + 0.5) + " left";
    }
    for (const std::string& text : more) {
        if (out.size() + text.size() > room) break;
        out += text;
    }
    constexpr std::size_t least = 8; // cells of a bar that says anything
    if (out.size() + 3 + least > room) return out;
    const std::size_t cells = std::min<std::size_t>(room - out.size() - 3, 40);
    const auto full = static_cast<std::size_t>(part * static_cast<double>(cells));
    return '[' + std::string(full, '#') + std::string(cells - full, '.') + "] " + out;
}

} // namespace

void catch_interrupts() noexcept {
    // Who runs it in the background may have made it deaf, as nohup does.
    for (const int signal : {
             SIGINT,
             SIGTERM,
#if defined(SIGHUP)
             SIGHUP,
#endif
         })
        if (std::signal(signal, SIG_IGN) != SIG_IGN) (void)std::signal(signal, note_interrupt);
}

bool interrupted() noexcept { return stopped_by != 0; }
int exit_of_interrupt() noexcept { return exit_stopped + static_cast<int>(stopped_by); }

void hide_progress() noexcept {
    if (width_of_line == 0) return;
    std::fprintf(stderr, "\r%*s\r", static_cast<int>(width_of_line), "");
    std::fflush(stderr);
    width_of_line = 0;
}

progress_line::progress_line(const options& wanted, std::uint64_t total) noexcept
    : began_{std::chrono::steady_clock::now()},
      written_{began_},
      total_{total},
      // A JSON document on the terminal would be torn.
      is_shown_{!wanted.quiet && !(wanted.json && is_terminal()) && errors_are_on_a_terminal()} {
    is_reading = 1;
}

progress_line::~progress_line() {
    hide_progress();
    is_reading = 0;
}

bool progress_line::operator()(const ckpt::progress& of_this_call) {
    using namespace std::chrono_literals;
    if (interrupted()) return false;
    if (!is_shown_) return true;
    const auto now = std::chrono::steady_clock::now();
    if (now - began_ < 1s || (width_of_line != 0 && now - written_ < 100ms)) return true;
    written_ = now;
    const std::uint64_t total = total_ != 0 ? total_ : of_this_call.total;
    write(std::min(before_ + of_this_call.done, total), total, now - began_);
    return true;
}

void progress_line::write(std::uint64_t done, std::uint64_t total, std::chrono::duration<double> elapsed) {
    const std::string text = line_of(done, total, elapsed.count(), columns_of_errors() - 1);
    std::fflush(stdout); // rows that are above it
    std::fprintf(stderr, "\r%-*s", static_cast<int>(width_of_line), text.c_str());
    std::fflush(stderr);
    width_of_line = std::max(width_of_line, text.size());
}

std::uint64_t bytes_to_read(const ckpt::tensor& t) {
    if (t.refusal() != nullptr) return 0;
    std::uint64_t out = t.layout() == ckpt::layout::strided ? t.nbytes() : 0;
    for (const ckpt::named_part p : t.parts()) out += bytes_to_read(p.tensor); // at most eight levels down
    return out;
}

} // namespace tool
