// `ckpt globals`: which names a file asks for. Builds nothing and refuses nothing.
#include "common.hpp"
#include "render.hpp"

#include <ckpt/core/sorting.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

namespace tool {

namespace {

struct judged {
    std::string file{};
    std::vector<ckpt::global_use> uses{};
    std::optional<ckpt::error> stopped{};
    ckpt::file_verdict verdict{ckpt::file_verdict::unreadable};
    int exit_code{exit_fine};
};

[[nodiscard]] int exit_of(const judged& of) {
    if (of.verdict == ckpt::file_verdict::clean) return exit_fine;
    if (of.verdict != ckpt::file_verdict::unreadable) return exit_finding;
    return std::max(int{ckpt::info(of.stopped->code).exit_code}, exit_unreadable);
}

[[nodiscard]] judged judge(const std::string& file, const ckpt::result<ckpt::global_scan>& scanned) {
    judged out;
    out.file = file;
    if (!scanned) {
        out.stopped = scanned.error();
    } else {
        out.verdict = scanned->verdict();
        out.uses.assign(scanned->begin(), scanned->end());
        if (scanned->stopped() != nullptr) out.stopped = *scanned->stopped();
    }
    out.exit_code = exit_of(out);
    return out;
}

void write_file(json& to, const judged& of) {
    to.begin_object().member("file", of.file).member("verdict", ckpt::name(of.verdict)).key("globals").begin_array();
    for (const ckpt::global_use& u : of.uses) {
        to.line().begin_object().member("module", u.module).member("name", u.name);
        if (u.canonical_module != u.module || u.canonical_name != u.name)
            to.key("canonical").begin_array().text(u.canonical_module).text(u.canonical_name).end_array();
        to.member("count", u.count)
            .member("offset", u.offset)
            .member("verdict", ckpt::name(u.verdict))
            .member("key", u.path)
            .end_object();
    }
    to.end_array();
    if (of.stopped) {
        to.key("stopped");
        write(to, *of.stopped);
    }
    to.end_object();
}

[[nodiscard]] colour colour_of(std::string_view verdict) {
    if (verdict == "dangerous" || verdict == "unreadable") return colour::red;
    if (verdict == "foreign" || verdict == "refuse") return colour::yellow;
    if (verdict == "clean" || verdict == "build") return colour::green;
    return colour::plain;
}

void print_file(const judged& of, policy_name policy) {
    constexpr std::string_view policies[]{"weights", "training", "inspect"};
    std::string line = printable(of.file) + ": " + paint(colour_of(ckpt::name(of.verdict)), ckpt::name(of.verdict)) +
                       ", " + counted(of.uses.size(), "name", "names");
    if (of.verdict == ckpt::file_verdict::foreign)
        line += " (not all of them in the policy " + std::string(policies[static_cast<std::size_t>(policy)]) + ')';
    print(line + '\n');
    // The worst first, otherwise in the file's order.
    std::vector<const ckpt::global_use*> order;
    for (const ckpt::global_use& u : of.uses) order.push_back(&u);
    ckpt::detail::sort_values(order, [](const auto* a, const auto* b) { return a->verdict > b->verdict; });
    std::size_t name_columns = 4;
    for (const auto* u : order)
        name_columns = std::max(name_columns, width(printable(u->module)) + 1 + width(printable(u->name)));
    name_columns = std::min(name_columns, is_terminal() ? columns() / 2 : std::size_t{120});
    if (!order.empty())
        print(paint(colour::dim, "  " + left("verdict", 9) + "  " + left("name", name_columns) + "  " +
                                     right("count", 7) + "  " + right("offset", 10) + "  first under") +
              '\n');
    for (const auto* u : order) {
        std::string name = printable(u->module) + '.' + printable(u->name);
        name = is_terminal() ? shortened_in_the_middle(std::move(name), name_columns) : name;
        std::string row = "  " +
                          paint(colour_of(ckpt::name(u->verdict)), left(std::string(ckpt::name(u->verdict)), 9)) +
                          "  " + left(name, name_columns) + "  " + right(grouped(u->count), 7) + "  ";
        char offset[24];
        std::snprintf(offset, sizeof offset, "%#llx", static_cast<unsigned long long>(u->offset));
        row += right(offset, 10);
        const std::string under = printable(u->path);
        const std::size_t used = 2 + 9 + 2 + name_columns + 2 + 7 + 2 + 10 + 2;
        if (!under.empty())
            row += "  " + (is_terminal() ? shortened(under, columns() > used + 8 ? columns() - used : 8) : under);
        print(row + '\n');
    }
    if (of.stopped) {
        std::fflush(stdout);
        ckpt::error e = *of.stopped;
        if (e.file.empty() && static_cast<unsigned>(e.code) >= 200) e.file = of.file;
        std::fprintf(stderr, "ckpt: %s\n", printable(e.message()).c_str());
    }
}

/// What a folder without a file that can hold pickles is.
[[nodiscard]] judged nothing_in(const std::string& folder) {
    judged out;
    out.file = folder;
    out.stopped = ckpt::error{
        .code = ckpt::errc::not_a_checkpoint, .file = folder, .detail = "no file of the folder can hold a pickle"};
    out.exit_code = exit_of(out);
    return out;
}

/// What was skipped, and one line about all files where there are several.
void print_summary(const std::vector<judged>& files, const std::vector<skipped_file>& skipped) {
    if (files.size() + skipped.size() < 2) return;
    if (!skipped.empty()) print("\nskipped\n");
    for (const skipped_file& s : skipped) print("  " + printable(s.file) + ": " + printable(s.why) + '\n');
    std::string line = counted(files.size(), "file", "files");
    for (const auto v : {ckpt::file_verdict::dangerous, ckpt::file_verdict::unreadable, ckpt::file_verdict::foreign,
                         ckpt::file_verdict::clean}) {
        const auto n = std::count_if(files.begin(), files.end(), [v](const judged& f) { return f.verdict == v; });
        if (n > 0) line += ", " + grouped(static_cast<std::uint64_t>(n)) + ' ' + std::string(ckpt::name(v));
    }
    print('\n' + line + (skipped.empty() ? "" : "; " + grouped(skipped.size()) + " skipped") + '\n');
}

} // namespace

int run_globals(const options& wanted) {
    int worst = exit_fine;
    std::vector<judged> files;
    std::vector<skipped_file> skipped;
    for (const std::string& given : wanted.files) {
        const std::size_t before = files.size();
        auto left_out = scan_each(given, wanted.policy, [&files](const std::string& file, const auto& scanned) {
            files.push_back(judge(file, scanned));
        });
        if (files.size() == before && !left_out.empty()) files.push_back(nothing_in(given));
        skipped.insert(skipped.end(), left_out.begin(), left_out.end());
    }
    for (const judged& one : files) worst = std::max(worst, one.exit_code);
    if (wanted.json) {
        json out{stdout};
        out.begin_object().member("schema", "ckpt.globals/1").key("files").begin_array();
        for (const judged& one : files) write_file(out, one);
        out.end_array().key("skipped").begin_array();
        for (const skipped_file& s : skipped)
            out.line().begin_object().member("file", s.file).member("why", s.why).end_object();
        out.end_array().end_object();
        return finish(out, worst);
    }
    bool first = true;
    for (const judged& one : files) {
        if (wanted.quiet && one.verdict == ckpt::file_verdict::clean) continue;
        if (!first) print("\n");
        first = false;
        print_file(one, wanted.policy);
    }
    if (!wanted.quiet) print_summary(files, skipped);
    return written(worst);
}

} // namespace tool
