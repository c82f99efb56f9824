// ckpt: looks into PyTorch checkpoints.
#include "commands.hpp"
#include "common.hpp"
#include "progress.hpp"
#include "render.hpp"
#include "usage.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using tool::misused;
using tool::options;

/// What is wrong with the names of files; empty where nothing is.
[[nodiscard]] std::string wrong_files(const options& wanted) {
    std::vector<const std::string*> named;
    for (const std::string& f : wanted.files) named.push_back(&f);
    for (const std::optional<std::string>* f : {&wanted.rules, &wanted.target})
        if (*f) named.push_back(&**f);
    for (const std::string* f : named) {
        if (*f == "-") return "\"-\" is not accepted: standard input cannot be read at any place; give a file";
        if (f->empty()) return "the name of a file is empty";
    }
    return {};
}

/// Which options do not go together; empty where all do.
[[nodiscard]] std::string contradiction(const options& wanted, std::string_view command) {
    if (wanted.rules && wanted.map) return "--map stands for a file of rules: give it or --rules";
    if (wanted.all && wanted.has_rules())
        return "--rules work on the keys of a state_dict, and --all lists the whole file: give one of them";
    if (wanted.stats && !wanted.json && (wanted.digest || wanted.strict))
        return "--stats prints the table of ckpt stat, which has no --digest and no --strict; --json has all of them";
    if (wanted.select_target && !wanted.target) return "--select-target needs a --target";
    if (command == "map") {
        if (!wanted.has_rules() && !wanted.suggest)
            return "map needs --rules RULES, --map NAME, or --suggest --target FILE";
        if (wanted.suggest && (wanted.has_rules() || wanted.explain || wanted.strict))
            return "--suggest proposes rules from scratch: it takes no --rules, --explain or --strict";
        if (wanted.suggest && !wanted.target) return "--suggest needs a --target to lead to";
    }
    return {};
}

/// What is wrong with the patterns over keys and the paths into a file; empty where nothing is.
[[nodiscard]] std::string wrong_paths(const options& wanted) {
    std::vector<std::string> patterns = wanted.patterns;
    patterns.insert(patterns.end(), wanted.allow_loss.begin(), wanted.allow_loss.end());
    for (const options::cast_word& cast : wanted.casts) patterns.push_back(cast.pattern);
    for (const std::string& text : patterns)
        if (const auto parsed = ckpt::pattern::parse(text); !parsed) return parsed.error().detail;
    tool::key_path parsed;
    std::vector<std::string> paths = wanted.paths;
    for (const std::optional<std::string>* selected :
         {&wanted.select, &wanted.select_a, &wanted.select_b, &wanted.select_target})
        if (*selected) paths.push_back(**selected);
    for (const std::string& p : paths)
        if (!tool::parse_path(p, parsed))
            return "not a path: " + p + "; give keys joined by '/', or a JSON array of strings and integers";
    return {};
}

/// Runs a command on each of several files, or pairs of them, one after another. Gives the highest exit code.
int run_each(const tool::command& of, const options& wanted) {
    if (of.name == "globals" || of.name == "show" || of.name == "convert" ||
        wanted.files.size() == (of.name == "diff" ? 2u : 1u))
        return of.run(wanted);
    int worst = tool::exit_fine;
    const std::size_t first = of.name == "diff" ? 1 : 0;
    for (std::size_t i = first; i < wanted.files.size(); ++i) {
        options one = wanted;
        one.is_one_of_several = true;
        one.files = {wanted.files[i]};
        if (of.name == "diff") one.files.insert(one.files.begin(), wanted.files[0]);
        if (!wanted.json) {
            std::string head = tool::printable(one.files[0]);
            if (of.name == "diff") head += " and " + tool::printable(one.files[1]);
            tool::print((i > first ? "\n" : "") + tool::paint(tool::colour::bold, "==> " + head + " <==") + '\n');
        }
        worst = std::max(worst, of.run(one));
        if (tool::interrupted()) break;
    }
    return worst;
}

int run(std::vector<std::string> words) {
    const auto end_of_options = std::find(words.begin(), words.end(), "--");
    const bool as_json =
        std::any_of(words.begin(), end_of_options, [](const std::string& w) { return w == "--json" || w == "-j"; });
    const tool::request asked = tool::parse(std::move(words));
    if (!asked.text.empty()) {
        tool::print(asked.text);
        return tool::written(tool::exit_fine);
    }
    const options& wanted = asked.wanted;
    for (const std::string& wrong : {asked.wrong, asked.wrong.empty() ? wrong_files(wanted) : std::string()})
        if (!wrong.empty()) return misused(as_json, wrong);
    if (const std::string wrong = contradiction(wanted, asked.chosen->name); !wrong.empty())
        return misused(as_json, wrong);
    if (const std::string wrong = wrong_paths(wanted); !wrong.empty()) return misused(as_json, wrong);
    const int exit_code = run_each(*asked.chosen, wanted);
    return tool::interrupted() ? tool::exit_of_interrupt() : exit_code;
}

} // namespace

int main(int argc, char** argv) {
#if defined(SIGPIPE)
    std::signal(SIGPIPE, SIG_IGN); // who reads may have seen enough
#endif
#if defined(SIGXFSZ)
    std::signal(SIGXFSZ, SIG_IGN); // a write beyond the limit fails then, and is cleaned up after
#endif
    tool::catch_interrupts();
    try {
        return run(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
    } catch (const std::bad_alloc&) {
        std::fputs("ckpt: out of memory\n", stderr);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "ckpt: a bug in ckpt: %s\n", e.what());
    }
    return tool::exit_unreadable;
}
