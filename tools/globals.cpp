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
    std::string_view verdict{"clean"};
    int exit_code{exit_fine};
};

[[nodiscard]] judged judge(const std::string& file, policy_name policy) {
    judged out;
    out.file = file;
    auto scanned = scan(file, policy);
    if (!scanned) {
        out.stopped = scanned.error();
    } else {
        out.uses.assign(scanned->begin(), scanned->end());
        if (scanned->stopped() != nullptr) out.stopped = *scanned->stopped();
    }
    const auto has = [&out](ckpt::verdict v) {
        return std::any_of(out.uses.begin(), out.uses.end(), [v](const auto& u) { return u.verdict == v; });
    };
    if (out.stopped) {
        out.verdict = "unreadable";
        const int code = ckpt::info(out.stopped->code).exit_code;
        out.exit_code = code < exit_unreadable ? exit_unreadable : code;
    } else if (has(ckpt::verdict::dangerous)) {
        out.verdict = "dangerous";
        out.exit_code = exit_finding;
    } else if (has(ckpt::verdict::refuse)) {
        out.verdict = "foreign";
        out.exit_code = exit_finding;
    }
    return out;
}

void write_file(json& to, const judged& of) {
    to.begin_object().member("file", of.file).member("verdict", of.verdict).key("globals").begin_array();
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
    std::string line = printable(of.file) + ": " + paint(colour_of(of.verdict), of.verdict) + ", " +
                       counted(of.uses.size(), "name", "names");
    if (of.verdict == "foreign")
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

} // namespace

int run_globals(const options& wanted) {
    int worst = exit_fine;
    std::vector<std::string> files;
    for (const std::string& given : wanted.files) {
        const auto report = is_folder(given) ? examine(given, policy_name::inspect) : ckpt::folder_report{};
        for (std::string& file : each_file(given, report ? &*report : nullptr)) files.push_back(std::move(file));
    }
    if (wanted.json) {
        json out{stdout};
        out.begin_object().member("schema", "ckpt.globals/1").key("files").begin_array();
        for (const std::string& file : files) {
            const judged one = judge(file, wanted.policy);
            worst = std::max(worst, one.exit_code);
            write_file(out, one);
        }
        out.end_array().end_object();
        return finish(out, worst);
    }
    for (std::size_t i = 0; i < files.size(); ++i) {
        if (i > 0) print("\n");
        const judged one = judge(files[i], wanted.policy);
        worst = std::max(worst, one.exit_code);
        print_file(one, wanted.policy);
    }
    return written(worst);
}

} // namespace tool
