// ckpt: looks into PyTorch checkpoints. The one file that knows CLI11.
#include "commands.hpp"
#include "common.hpp"
#include "render.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using tool::misused;
using tool::options;
using tool::policy_name;

struct command {
    const char* name;
    const char* about;
    int (*run)(const options&);
    policy_name policy;
};

constexpr command commands[]{
    {"info", "What the file is: container, weights, dtypes, globals, on one screen", tool::run_info,
     policy_name::inspect},
    {"ls", "The tensors of the weights, or with --all of the whole file", tool::run_ls, policy_name::training},
    {"stat", "Smallest, largest, mean, deviation, zeros, NaN and a histogram of each tensor; reads all values",
     tool::run_stat, policy_name::training},
    {"show", "The values at paths: numbers, texts, containers", tool::run_show, policy_name::inspect},
    {"globals", "The classes and functions that files ask for; runs none of them", tool::run_globals,
     policy_name::training},
    {"verify", "Checks checksums, headers and the bounds of every tensor", tool::run_verify, policy_name::inspect},
    {"diff", "What is different in the weights of two checkpoints; exit code 1 if anything is", tool::run_diff,
     policy_name::training},
    {"map", "What key rules would do to the weights: a dry run, which writes nothing", tool::run_map,
     policy_name::training},
};

/// CLI11 takes what begins with '[' for a list of values: this hides it.
constexpr char hidden = '\x01';
void uncover(std::string& text) {
    if (text.size() > 1 && text[0] == hidden && text[1] == '[') text.erase(0, 1);
}

/// Whether a first argument is meant as a file: it exists, or it looks like a name of one.
bool is_file_like(const std::string& text) {
    if (text.find_first_of("./\\") != std::string::npos) return true;
    std::FILE* const opened = std::fopen(text.c_str(), "rb");
    if (opened != nullptr) std::fclose(opened);
    return opened != nullptr;
}

/// The arguments and options of one command.
void add_options(CLI::App& sub, const std::string& name, options& wanted, std::string& file, std::string& policy,
                 std::string& values, std::string& sort) {
    sub.add_flag("--json", wanted.json, "One JSON document for scripts");
    sub.add_option("--policy", policy,
                   name == "globals" ? "Judge by this policy: weights, training (default) or inspect"
                                     : "Which globals the file may name: weights, training or inspect")
        ->check(CLI::IsMember({"weights", "training", "inspect"}))
        ->type_name("NAME");
    if (name == "globals") {
        sub.add_option("FILE", wanted.files, "Checkpoints, and folders, in which every file is looked at")
            ->required()
            ->type_name("");
        sub.add_flag("--quiet", wanted.quiet, "Only what is not clean");
    } else if (name == "diff") {
        sub.add_option("A B", wanted.files, "Two checkpoints: files, folders or indices")
            ->required()
            ->expected(2)
            ->type_name("");
        sub.add_option("--select-a", wanted.select_a, "The path of the state_dict in A")->type_name("PATH");
        sub.add_option("--select-b", wanted.select_b, "The path of the state_dict in B")->type_name("PATH");
    } else {
        sub.add_option("FILE", file, "A checkpoint: a file, a folder, or the index of a set of shards")
            ->required()
            ->type_name("");
    }
    if (name == "show") {
        sub.add_option("PATH", wanted.paths,
                       "Keys and positions joined by '/', or a JSON array; the whole file if none")
            ->type_name("");
        sub.add_flag("--values{1000}", values,
                     "Show all values of tensors with up to N of them (1000; without the option 64), of others the "
                     "edges: --values=5000");
    }
    if (name == "ls" || name == "stat") {
        sub.add_option("PATTERN", wanted.patterns,
                       "Only keys that match one of these patterns of key rules: 'layers.*.weight', '**.bias'")
            ->type_name("");
        sub.add_option("--sort", sort, "The largest first, by key, or by the place in the file: size, key or file")
            ->check(CLI::IsMember({"size", "key", "file"}))
            ->type_name("BY");
        sub.add_option("--top", wanted.top, "Only the first N rows")->type_name("N");
    }
    if (name == "stat") {
        sub.add_flag("--all", wanted.all, "Every tensor in the file, under every path");
        sub.add_option("--select", wanted.select, "The path of the state_dict")->type_name("PATH");
        sub.add_flag("--fail-on-nan", wanted.fail_on_nan, "Exit with 1 if any value is NaN, or cannot be read");
    }
    if (name == "ls") {
        sub.add_flag("--all", wanted.all, "Every tensor in the file, under every path");
        sub.add_option("--select", wanted.select, "The path of the state_dict")->type_name("PATH");
        sub.add_flag("--digest", wanted.digest, "CRC-32 of the values; reads them");
        sub.add_flag("--strict", wanted.strict, "Exit with 1 if anything is wrong with any tensor or record");
        sub.add_flag("--stats", wanted.stats, "What `ckpt stat` prints: mean, deviation, NaN and more; reads them");
        sub.add_flag("--no-fold", wanted.no_fold, "One line for each tensor, without layers.{0..31}");
    }
    if (name == "ls" || name == "stat" || name == "diff" || name == "map")
        sub.add_option("--rules", wanted.rules,
                       name == "diff" ? "Key rules for A: a text file" : "Key rules: a text file")
            ->type_name("RULES");
    if (name == "map") {
        sub.add_option("--target", wanted.target,
                       "What shall come out: a checkpoint, or a text with a key on each line, and its shape if "
                       "you like: fc.weight [10, 512]")
            ->type_name("FILE");
        sub.add_option("--select", wanted.select, "The path of the state_dict")->type_name("PATH");
        sub.add_option("--select-target", wanted.select_target, "The path of the state_dict in the target")
            ->type_name("PATH");
        sub.add_flag("--strict", wanted.strict, "Exit with 1 also if a rule is unused");
        sub.add_option("--explain", wanted.explain, "The way of one key, rule by rule")->type_name("KEY");
        sub.add_flag("--suggest", wanted.suggest,
                     "Print rules that would lead to the target, for you to read; applies none");
        sub.add_flag("--no-fold", wanted.no_fold, "One line for each key, without layers.{0..31}");
        sub.footer("Exit code 1 on a collision, a rule that does not fit the keys, or a key that --target misses, "
                   "does not want, or wants in another shape;\nwith --suggest, on a guess, or a key of the target "
                   "that the rules do not make;\n3 where the rules cannot be read.");
    }
    if (name == "ls" || name == "stat" || name == "show")
        sub.add_option("--max-nodes", wanted.max_nodes, "Most rows or values to write (1000000)")->type_name("N");
}

/// What is wrong with the names of files; empty where nothing is.
[[nodiscard]] std::string wrong_files(options& wanted) {
    std::vector<std::string*> named;
    for (std::string& f : wanted.files) named.push_back(&f);
    for (std::optional<std::string>* f : {&wanted.rules, &wanted.target})
        if (*f) named.push_back(&**f);
    for (std::string* f : named) {
        uncover(*f);
        if (*f == "-") return "\"-\" is not accepted: standard input cannot be read at any place; give a file";
        if (f->empty()) return "the name of a file is empty";
    }
    return {};
}

/// Which options do not go together; empty where all do.
[[nodiscard]] std::string contradiction(const options& wanted, std::string_view command) {
    if (wanted.all && wanted.rules)
        return "--rules work on the keys of a state_dict, and --all lists the whole file: give one of them";
    if (wanted.stats && !wanted.json && (wanted.digest || wanted.strict))
        return "--stats prints the table of ckpt stat, which has no --digest and no --strict; --json has all of them";
    if (wanted.select_target && !wanted.target) return "--select-target needs a --target";
    if (command == "map") {
        if (!wanted.rules && !wanted.suggest) return "map needs --rules RULES, or --suggest --target FILE";
        if (wanted.suggest && (wanted.rules || wanted.explain || wanted.strict))
            return "--suggest proposes rules from scratch: it takes no --rules, --explain or --strict";
        if (wanted.suggest && !wanted.target) return "--suggest needs a --target to lead to";
    }
    return {};
}

/// What is wrong with the patterns over keys and the paths into a file; empty where nothing is.
[[nodiscard]] std::string wrong_paths(options& wanted) {
    for (const std::string& text : wanted.patterns)
        if (const auto parsed = ckpt::pattern::parse(text); !parsed) return parsed.error().detail;
    tool::key_path parsed;
    for (std::string& p : wanted.paths) uncover(p);
    std::vector<std::string> paths = wanted.paths;
    for (std::optional<std::string>* selected :
         {&wanted.select, &wanted.select_a, &wanted.select_b, &wanted.select_target})
        if (*selected) {
            uncover(**selected);
            paths.push_back(**selected);
        }
    for (const std::string& p : paths)
        if (!tool::parse_path(p, parsed))
            return "not a path: " + p + "; give keys joined by '/', or a JSON array of strings and integers";
    return {};
}

int run(std::vector<std::string> arguments) {
    std::vector<std::string> names;
    for (const command& c : commands) names.emplace_back(c.name);
    const auto end_of_options = std::find(arguments.begin(), arguments.end(), "--");
    const bool as_json = std::find(arguments.begin(), end_of_options, "--json") != end_of_options;

    CLI::App app{"Looks into PyTorch checkpoints. Nothing in them is ever run.", "ckpt"};
    app.set_version_flag("--version", std::string("ckpt ") + tool::decimal(CKPT_VERSION_MAJOR) + '.' +
                                          tool::decimal(CKPT_VERSION_MINOR) + '.' + tool::decimal(CKPT_VERSION_PATCH));
    app.require_subcommand(1);
    app.footer("`ckpt FILE` is `ckpt info FILE`.\nExit codes: 0 fine, 1 a finding, 2 the file is unreadable, 3 wrong "
               "usage, 4 valid but not supported.");

    options wanted;
    const command* chosen = nullptr;
    std::string file;
    const std::map<std::string, policy_name> policies{
        {"weights", policy_name::weights}, {"training", policy_name::training}, {"inspect", policy_name::inspect}};
    std::string policy;
    std::string values;
    std::string sort;
    for (const command& c : commands) {
        CLI::App* const sub = app.add_subcommand(c.name, c.about);
        add_options(*sub, c.name, wanted, file, policy, values, sort);
        sub->callback([&chosen, &c] { chosen = &c; });
    }

    // `ckpt FILE` and mistyped commands: CLI11 would complain of the wrong thing.
    const auto first =
        std::find_if(arguments.begin(), arguments.end(), [](const std::string& a) { return a.empty() || a[0] != '-'; });
    if (first != arguments.end() && std::find(names.begin(), names.end(), *first) == names.end()) {
        if (!is_file_like(*first)) {
            const std::string near = tool::nearest(*first, names);
            return misused(as_json, "there is no command \"" + *first + '"' +
                                        (near.empty() ? "" : "; did you mean \"" + near + "\"?") + " See: ckpt --help");
        }
        arguments.insert(arguments.begin(), "info");
    }
    for (std::string& a : arguments)
        if (a.starts_with('[')) a.insert(0, 1, hidden);

    try {
        std::reverse(arguments.begin(), arguments.end()); // as CLI11 wants it
        app.parse(std::move(arguments));
    } catch (const CLI::ParseError& e) {
        if (e.get_exit_code() == 0) return app.exit(e); // --help, --version
        return misused(as_json, std::string(e.what()) + ". See: ckpt --help");
    }

    if (wanted.files.empty()) wanted.files.push_back(file);
    if (wanted.explain) uncover(*wanted.explain);
    if (const std::string wrong = wrong_files(wanted); !wrong.empty()) return misused(as_json, wrong);
    if (const std::string wrong = contradiction(wanted, chosen->name); !wrong.empty()) return misused(as_json, wrong);
    if (const std::string wrong = wrong_paths(wanted); !wrong.empty()) return misused(as_json, wrong);
    if (!values.empty() && !ckpt::detail::parse_decimal(values, wanted.values.emplace()))
        return misused(as_json, "--values takes a number: --values=5000");
    if (!sort.empty())
        wanted.sort = sort == "size"  ? tool::sort_order::size
                      : sort == "key" ? tool::sort_order::key
                                      : tool::sort_order::file;
    wanted.policy = policy.empty() ? chosen->policy : policies.at(policy);
    return chosen->run(wanted);
}

} // namespace

int main(int argc, char** argv) {
#if defined(SIGPIPE)
    std::signal(SIGPIPE, SIG_IGN); // who reads may have seen enough
#endif
    try {
        return run(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
    } catch (const std::bad_alloc&) {
        std::fputs("ckpt: out of memory\n", stderr);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "ckpt: a bug in ckpt: %s\n", e.what());
    }
    return tool::exit_unreadable;
}
