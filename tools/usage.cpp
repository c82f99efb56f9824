// tools/usage.cpp: the table, the parser, and the texts that are made from the table.
#include "usage.hpp"

#include "common.hpp"
#include "render.hpp"

#include <ckpt/core/checked.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/tensor/convert.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>

namespace tool {

namespace {

constexpr command commands[]{
    {"info",
     "FILE...",
     "What the file is: container, weights, dtypes, globals, on one screen",
     {"ckpt info model.pt", "ckpt info run/ --json"},
     "",
     run_info,
     policy_name::inspect},
    {"ls",
     "FILE... [PATTERN...]",
     "The tensors of the weights, or with --all of the whole file",
     {"ckpt ls model.pt 'layers.*.weight' --sort size --top 10", "ckpt ls model.pt --all --digest"},
     "A PATTERN is one of key rules and matches whole keys: 'layers.*.weight', '**.bias'. An argument that names an "
     "existing file is a FILE.",
     run_ls,
     policy_name::training},
    {"stat",
     "FILE... [PATTERN...]",
     "Smallest, largest, mean, deviation, zeros, NaN and a histogram of each tensor; reads all values",
     {"ckpt stat model.pt '**.weight'", "ckpt stat model.pt --fail-on-nan > /dev/null"},
     "",
     run_stat,
     policy_name::training},
    {"show",
     "FILE [PATH...]",
     "The values at paths: numbers, texts, containers, tensors",
     {"ckpt show run.pt optimizer/param_groups/0/lr", "ckpt show model.pt fc.bias --values=5000"},
     "A PATH is keys and positions joined by '/', a JSON array of them, or a key as ls prints it; the whole file if "
     "there is none.",
     run_show,
     policy_name::inspect},
    {"globals",
     "FILE...",
     "The classes and functions that files ask for; runs none of them",
     {"ckpt globals download.bin", "ckpt globals models/ --quiet"},
     "Of a folder every file is looked at.",
     run_globals,
     policy_name::training},
    {"verify",
     "FILE...",
     "Checks checksums, headers and the bounds of every tensor",
     {"ckpt verify model.pt", "ckpt verify shards/ --json"},
     "",
     run_verify,
     policy_name::inspect},
    {"diff",
     "A B...",
     "What is different in the weights of two checkpoints; exit code 1 if anything is",
     {"ckpt diff before.pt after.pt", "ckpt diff float32.pt bfloat16.pt --rtol 0.01"},
     "A is compared with each B. Without --atol and --rtol values are equal bit by bit.",
     run_diff,
     policy_name::training},
    {"map",
     "FILE",
     "What key rules would do to the weights: a dry run, which writes nothing",
     {"ckpt map model.pt --rules names.rules --target other.pt", "ckpt map model.pt --suggest --target other.pt"},
     "Exit code 1 on a collision, a rule that does not fit the keys, or a key that --target misses, does not want, or "
     "wants in another shape; with --suggest, on a guess, or a key of the target that the rules do not make; 3 where "
     "the rules cannot be read.",
     run_map,
     policy_name::training},
    {"convert",
     "IN OUT",
     "Writes the weights to a file of another format, by the suffix of OUT: .safetensors, .gguf, .npz or .npy; to .pt, "
     ".pth, .ckpt or .bin, which torch.load reads in its safe mode, the whole object",
     {"ckpt convert training.pt model.safetensors", "ckpt convert training.pt clean.pt"},
     "OUT appears when it is whole, or not at all. What the format cannot hold is listed, and nothing is written then, "
     "unless --allow-loss names it. What lies outside the state_dict is only counted. A .pt has all of IN without "
     "--select, and rules and casts act on the state_dict in it; with --select it has what is there alone.",
     run_convert,
     policy_name::training},
};

// --- options ---

struct option_row {
    std::string_view name{};
    char letter{};
    std::string_view value{};    // what it is called in the help; empty for a flag; "[N]" where it may be left out
    std::string_view choices{};  // joined by '|'
    std::string_view commands{}; // joined by blanks; empty: all
    std::string_view about{};
    bool (*set)(options&, std::string_view){}; // false for a value that it does not take
    std::string_view wants{};                  // "a number"
    bool repeats{};                            // each occurrence counts, not only the last
};

bool set_text(std::optional<std::string>& to, std::string_view text) {
    to = std::string(text);
    return true;
}
bool set_flag(bool& to) { return to = true; }
bool set_number(std::optional<std::uint64_t>& to, std::string_view text) {
    return ckpt::detail::parse_decimal(text, to.emplace());
}
bool set_tolerance(std::optional<double>& to, std::string_view text) {
    return ckpt::detail::parse_double(text, to.emplace()) && std::isfinite(*to) && *to >= 0;
}
bool set_policy(options& to, std::string_view text) {
    to.policy = text == "weights"    ? policy_name::weights
                : text == "training" ? policy_name::training
                                     : policy_name::inspect;
    return to.has_policy = true;
}
bool set_sort(options& to, std::string_view text) {
    to.sort = text == "size" ? sort_order::size : text == "key" ? sort_order::key : sort_order::file;
    return true;
}

/// The two sides of the last '=' of a word; false where one is missing.
bool split_word(std::string_view text, std::string& before, std::string& behind) {
    const std::size_t at = text.rfind('=');
    if (at == std::string_view::npos || at == 0 || at + 1 == text.size()) return false;
    before = text.substr(0, at);
    behind = text.substr(at + 1);
    return true;
}
/// Whether any tensor of another dtype can be cast to this one.
bool is_cast_target(ckpt::dtype to) {
    return !ckpt::info(to).packed && std::ranges::any_of(ckpt::dtype_table, [&](const ckpt::dtype_info& from) {
        return from.type != to && ckpt::detail::is_convertible(from.type, to);
    });
}
/// What somebody probably meant who wrote a dtype that there is not; empty where nothing is near.
std::string nearest_dtype(std::string_view text) {
    constexpr std::pair<std::string_view, std::string_view> aliases[]{
        {"bf16", "bfloat16"}, {"half", "float16"}, {"fp16", "float16"},     {"f16", "float16"},  {"float", "float32"},
        {"fp32", "float32"},  {"f32", "float32"},  {"double", "float64"},   {"fp64", "float64"}, {"f64", "float64"},
        {"int", "int32"},     {"i32", "int32"},    {"long", "int64"},       {"i64", "int64"},    {"short", "int16"},
        {"q8_0", "Q8_0"},     {"q4_0", "Q4_0"},    {"fp8", "float8_e4m3fn"}};
    if (text.starts_with("torch.")) text.remove_prefix(6);
    std::string lower(text);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    for (const auto& [alias, name] : aliases)
        if (alias == lower) return std::string(name);
    std::vector<std::string> names;
    for (const ckpt::dtype_info& row : ckpt::dtype_table)
        if (is_cast_target(row.type)) names.emplace_back(row.name);
    return nearest(lower, names);
}
bool set_cast(options& to, std::string_view text) {
    options::cast_word& word = to.casts.emplace_back();
    std::string type;
    if (!split_word(text, word.pattern, type)) return false;
    for (const ckpt::gguf_quant quant : {ckpt::gguf_quant::q8_0, ckpt::gguf_quant::q4_0})
        if (type == ckpt::name(quant)) word.quant = quant;
    if (word.quant != ckpt::gguf_quant::none) return true;
    const auto found = ckpt::parse_dtype(type);
    if (found && is_cast_target(*found)) {
        word.type = *found;
        return true;
    }
    to.wrong_cast = found ? "nothing can be cast to " + type : "no dtype is called \"" + type + '"';
    if (const std::string near = nearest_dtype(type); !found && !near.empty())
        to.wrong_cast += "; did you mean " + near + '?';
    return false;
}
bool set_metadata(options& to, std::string_view text) {
    const std::size_t at = text.find('=');
    if (at == std::string_view::npos) return false;
    to.metadata.push_back({std::string(text.substr(0, at)), std::string(text.substr(at + 1))});
    return true;
}
/// Bytes with the units of huggingface_hub: powers of 1000 with B, of 1024 with iB.
bool set_size(options& to, std::string_view text) {
    constexpr struct {
        std::string_view name{};
        std::uint64_t bytes{};
    } units[]{{"kib", 1u << 10}, {"mib", 1u << 20},     {"gib", 1u << 30}, {"kb", 1'000},
              {"mb", 1'000'000}, {"gb", 1'000'000'000}, {"b", 1},          {"", 1}};
    std::string lower(text);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const std::size_t digits = std::min(lower.find_first_not_of("0123456789"), lower.size());
    std::uint64_t n = 0, bytes = 0;
    if (!ckpt::detail::parse_decimal(std::string_view(lower).substr(0, digits), n) || n == 0) return false;
    for (const auto& unit : units)
        if (std::string_view(lower).substr(digits) == unit.name && ckpt::detail::checked_mul(n, unit.bytes, bytes)) {
            to.max_shard_size = bytes;
            return true;
        }
    return false;
}

constexpr std::string_view a_number = "a whole number";

constexpr option_row rows[]{
    {"all", 'a', "", "", "ls stat", "Every tensor in the file, under every path",
     [](options& o, std::string_view) { return set_flag(o.all); }, ""},
    {"select", 's', "PATH", "", "ls stat map convert", "The path of the state_dict",
     [](options& o, std::string_view v) { return set_text(o.select, v); }, ""},
    {"select-a", 0, "PATH", "", "diff", "The path of the state_dict in A",
     [](options& o, std::string_view v) { return set_text(o.select_a, v); }, ""},
    {"select-b", 0, "PATH", "", "diff", "The path of the state_dict in B",
     [](options& o, std::string_view v) { return set_text(o.select_b, v); }, ""},
    {"rules", 'r', "RULES", "", "ls stat diff map convert", "Key rules: a text file; of diff those for A",
     [](options& o, std::string_view v) { return set_text(o.rules, v); }, ""},
    {"map", 'm', "NAME", "", "ls stat diff map convert",
     "A ready-made map instead of rules: whisper_hf_to_openai, hf_llama_to_gguf:heads=32,kv_heads=8,head_dim=128; a "
     "wrong name lists them",
     [](options& o, std::string_view v) { return set_text(o.map, v); }, ""},
    {"target", 't', "FILE", "", "map",
     "What shall come out: a checkpoint, or a text with a key on each line, and its shape if you like: fc.weight "
     "[10, 512]",
     [](options& o, std::string_view v) { return set_text(o.target, v); }, ""},
    {"select-target", 0, "PATH", "", "map", "The path of the state_dict in the target",
     [](options& o, std::string_view v) { return set_text(o.select_target, v); }, ""},
    {"explain", 0, "KEY", "", "map", "The way of one key, rule by rule",
     [](options& o, std::string_view v) { return set_text(o.explain, v); }, ""},
    {"suggest", 0, "", "", "map", "Print rules that would lead to the target, for you to read; applies none",
     [](options& o, std::string_view) { return set_flag(o.suggest); }, ""},
    {"digest", 'd', "", "", "ls", "CRC-32 of the values; reads them",
     [](options& o, std::string_view) { return set_flag(o.digest); }, ""},
    {"stats", 0, "", "", "ls", "What ckpt stat prints: mean, deviation, NaN and more; reads the values",
     [](options& o, std::string_view) { return set_flag(o.stats); }, ""},
    {"fail-on-nan", 0, "", "", "stat", "Exit with 1 if any value is NaN, or cannot be read",
     [](options& o, std::string_view) { return set_flag(o.fail_on_nan); }, ""},
    {"values", 0, "[N]", "", "show",
     "Show all values of tensors with up to N of them (1000; without the option 64), of others the edges",
     [](options& o, std::string_view v) { return set_number(o.values, v); }, a_number},
    {"sort", 0, "BY", "size|key|file", "ls stat", "The largest first, by key, or by the place in the file", set_sort,
     ""},
    {"top", 0, "N", "", "ls stat", "Only the first N rows",
     [](options& o, std::string_view v) { return set_number(o.top, v); }, a_number},
    {"atol", 0, "X", "", "diff", "Values a and b are equal if they are at most X + RTOL * |b| apart",
     [](options& o, std::string_view v) { return set_tolerance(o.atol, v); }, "a number of at least 0"},
    {"rtol", 0, "X", "", "diff", "The same with X as the factor of |b|; floats of other dtypes are compared, too",
     [](options& o, std::string_view v) { return set_tolerance(o.rtol, v); }, "a number of at least 0"},
    {"dtype", 0, "PATTERN=DTYPE", "", "convert",
     "Cast the tensors whose keys PATTERN matches: '**=bfloat16'; to a floating dtype only floating ones. To .gguf "
     "also Q8_0 and Q4_0, which take tensors of two dimensions and more with rows of a multiple of 32 values. Of "
     "several that match a key the last counts",
     set_cast, "a pattern and a dtype, as in '**.weight=float16'", true},
    {"base", 0, "FILE", "", "convert",
     "Lay the weights of IN over those of FILE: the output has all of FILE, and what IN replaces or adds",
     [](options& o, std::string_view v) { return set_text(o.base, v); }, ""},
    {"merge-lora", 0, "", "", "convert",
     "IN is a low-rank adapter of --base: add it to the weights, as PEFT's merge_and_unload does",
     [](options& o, std::string_view) { return set_flag(o.merge_lora); }, ""},
    {"fold-weight-norm", 0, "", "", "convert",
     "Weights that torch's weight normalisation keeps as weight_g and weight_v become what they stand for",
     [](options& o, std::string_view) { return set_flag(o.fold_weight_norm); }, ""},
    {"metadata", 0, "KEY=TEXT", "", "convert", "An entry of the file's metadata, beside those that IN has",
     set_metadata, "a key and a text, as in format=pt", true},
    {"gguf-meta", 0, "FILE", "", "convert",
     "To .gguf: the metadata, a JSON object; {\"type\": \"uint8\", \"value\": 1} where a type is not the usual one",
     [](options& o, std::string_view v) { return set_text(o.gguf_meta, v); }, ""},
    {"max-shard-size", 0, "SIZE", "", "convert",
     "Several files of at most SIZE bytes of tensors each, and their index: 5GB, 500MiB", set_size,
     "a number of bytes, as in 5GB or 500MiB"},
    {"duplicate-shared", 0, "", "", "convert", "Write tied tensors once for each of their keys",
     [](options& o, std::string_view) { return set_flag(o.duplicate_shared); }, ""},
    {"raw", 0, "", "", "convert",
     "To .npz and .npy: bfloat16 and types of 8 bits, which numpy does not have, as their bits",
     [](options& o, std::string_view) { return set_flag(o.raw); }, ""},
    {"plain", 0, "", "", "convert",
     "To .pt: objects of classes that torch's safe mode refuses as dictionaries of their attributes",
     [](options& o, std::string_view) { return set_flag(o.plain); }, ""},
    {"allow-loss", 0, "PATTERN", "", "convert",
     "Keys that may be left out where the format cannot hold them, unused where IN is an adapter, or unfolded",
     [](options& o, std::string_view v) { return !o.allow_loss.emplace_back(v).empty(); }, "a pattern of keys", true},
    {"dry-run", 'n', "", "", "convert", "Write nothing, and say what would be written",
     [](options& o, std::string_view) { return set_flag(o.dry_run); }, ""},
    {"force", 'f', "", "", "convert",
     "Replace OUT if it exists; with --max-shard-size also remove an older set of its name",
     [](options& o, std::string_view) { return set_flag(o.force); }, ""},
    {"strict", 0, "", "", "ls map",
     "Exit with 1 if anything is wrong with any tensor or record; of map, if a rule is unused",
     [](options& o, std::string_view) { return set_flag(o.strict); }, ""},
    {"no-fold", 0, "", "", "ls diff map", "One line for each key, without layers.{0..31}; always so in a pipe",
     [](options& o, std::string_view) { return set_flag(o.no_fold); }, ""},
    {"quiet", 'q', "", "", "ls stat globals verify diff convert",
     "No progress on a terminal; of globals, only what is not clean",
     [](options& o, std::string_view) { return set_flag(o.quiet); }, ""},
    {"max-nodes", 0, "N", "", "ls stat show", "Most rows or values to write (1000000)",
     [](options& o, std::string_view v) { return ckpt::detail::parse_decimal(v, o.max_nodes); }, a_number},
    {"policy", 0, "NAME", "weights|training|inspect", "",
     "Which globals the file may name; of globals, by which policy they are judged", set_policy, ""},
    {"json", 'j', "", "", "", "One JSON document for scripts; of several files one each",
     [](options& o, std::string_view) { return set_flag(o.json); }, ""},
    {"color", 0, "WHEN", "always|never|auto", "", "Colours: on a terminal without NO_COLOR, unless told otherwise",
     [](options&, std::string_view v) { return choose_colours(v), true; }, ""},
    {"help", 'h', "", "", "", "This text", nullptr, ""},
};

[[nodiscard]] bool has_word(std::string_view words, std::string_view word, char between) {
    while (!words.empty()) {
        const std::size_t end = std::min(words.find(between), words.size());
        if (words.substr(0, end) == word) return true;
        words.remove_prefix(std::min(end + 1, words.size()));
    }
    return false;
}
[[nodiscard]] bool belongs(const option_row& row, const command& to) {
    return row.commands.empty() || has_word(row.commands, to.name, ' ');
}
[[nodiscard]] std::string spelled(const option_row& row) {
    std::string out = "--" + std::string(row.name);
    if (row.value == "[N]") return out + "[=N]";
    return row.value.empty() ? out : out + ' ' + std::string(row.value);
}
[[nodiscard]] const command* find_command(std::string_view name) {
    const auto at =
        std::find_if(std::begin(commands), std::end(commands), [&](const command& c) { return c.name == name; });
    return at == std::end(commands) ? nullptr : at;
}
[[nodiscard]] std::string listed(std::string_view choices) {
    std::string out;
    for (const char c : choices) out += c == '|' ? std::string(", ") : std::string(1, c);
    if (const std::size_t last = out.rfind(", "); last != out.npos) out.replace(last, 2, " or ");
    return out;
}

// --- parsing ---

/// CLI11 takes what begins with '[' for a list of values: this hides it.
constexpr char hidden = '\x01';
void cover(std::string& text) {
    if (text.starts_with('[')) text.insert(0, 1, hidden);
}
[[nodiscard]] std::string uncovered(const std::string& text) {
    return text.size() > 1 && text[0] == hidden && text[1] == '[' ? text.substr(1) : text;
}

/// Reads the words behind a command by CLI11, which knows the rows of the table that belong to it.
class reader {
  public:
    reader(const command& of, request& out) : of_{of}, out_{out} {}

    /// Sets `out.wrong` where a word has no meaning.
    void read(std::vector<std::string> words) {
        CLI::App app;
        app.set_help_flag(); // the table has its own
        app.allow_extras();
        std::vector<std::string> names;
        app.add_option("NAME", names);
        std::vector<std::pair<const option_row*, CLI::Option*>> known;
        for (const option_row& row : rows)
            if (belongs(row, of_)) known.emplace_back(&row, add(app, row));
        for (std::string& word : words) cover(word);
        std::reverse(words.begin(), words.end()); // as CLI11 wants it
        try {
            app.parse(std::move(words));
        } catch (const CLI::ArgumentMismatch& e) { // "--top: 1 required missing"
            const std::string_view said = e.what();
            for (const auto& [row, option] : known)
                if (said.starts_with("--" + std::string(row->name) + ':'))
                    out_.wrong = "--" + std::string(row->name) + " needs a value: " + spelled(*row);
            if (out_.wrong.empty()) out_.wrong = std::string(said);
            return;
        } catch (const CLI::ParseError& e) {
            out_.wrong = std::string(e.what()) + ". See: ckpt " + std::string(of_.name) + " --help";
            return;
        }
        for (const auto& [row, option] : known) {
            const std::vector<std::string> given = option->results();
            if (!row->repeats && !given.empty() && given.front() != given.back() && out_.wrong.empty())
                out_.wrong = "--" + std::string(row->name) + " is given twice: \"" + uncovered(given.front()) +
                             "\" and \"" + uncovered(given.back()) + '"';
            for (const std::string& text : given)
                if (row->repeats || &text == &given.back()) apply(*row, uncovered(text));
        }
        for (const std::string& word : app.remaining())
            if (word.size() > 1 && word[0] == '-' && word != "--" && out_.wrong.empty()) refuse(word);
        for (std::string& name : names) name = uncovered(name);
        if (out_.wrong.empty() && out_.text.empty()) place(names);
    }

  private:
    static CLI::Option* add(CLI::App& app, const option_row& row) {
        std::string names = "--" + std::string(row.name);
        if (row.letter != 0) names += std::string(",-") + row.letter;
        if (row.value.empty()) return app.add_flag(names);
        if (row.value == "[N]") return app.add_flag(names + "{1000}");
        const auto policy = row.repeats ? CLI::MultiOptionPolicy::TakeAll : CLI::MultiOptionPolicy::TakeLast;
        return app.add_option(names)->expected(1)->multi_option_policy(policy);
    }
    void apply(const option_row& row, const std::string& text) {
        if (!out_.wrong.empty()) return;
        const std::string named = "--" + std::string(row.name);
        if (row.set == nullptr) out_.text = help(&of_);
        else if (row.value.empty() && text != "true") out_.wrong = named + " takes no value";
        else if (!row.choices.empty() && !has_word(row.choices, text, '|'))
            out_.wrong = named + " takes " + listed(row.choices) + ", not \"" + text + '"';
        else if (!row.set(out_.wanted, text))
            out_.wrong = out_.wanted.wrong_cast.empty()
                             ? named + " takes " + std::string(row.wants) + ", not \"" + text + '"'
                             : named + ' ' + text + ": " + out_.wanted.wrong_cast;
    }
    /// An option that there is not, or not here.
    void refuse(std::string_view word) {
        const std::string given(word.substr(0, word.find('=')));
        std::vector<std::string> known;
        std::string elsewhere;
        for (const option_row& row : rows) {
            const std::string name = "--" + std::string(row.name);
            if (belongs(row, of_)) known.push_back(name);
            else if (name == given) elsewhere = row.commands;
        }
        const std::string near = given.starts_with("--") ? nearest(given, known) : std::string();
        out_.wrong = "there is no option \"" + given + "\" of ckpt " + std::string(of_.name);
        if (!near.empty()) out_.wrong += "; did you mean \"" + near + "\"?";
        else if (!elsewhere.empty()) out_.wrong += "; it belongs to: " + elsewhere + '.';
        else out_.wrong += '.';
        out_.wrong += " See: ckpt " + std::string(of_.name) + " --help";
    }
    /// The first name is a file; what the others are depends on the command.
    void place(const std::vector<std::string>& names) {
        options& wanted = out_.wanted;
        const std::size_t least = of_.name == "diff" || of_.name == "convert" ? 2 : 1;
        if (names.size() < least) {
            out_.wrong = "ckpt " + std::string(of_.name) + " needs " +
                         (least == 2 ? "two files: " + std::string(of_.name == "diff" ? "A B" : of_.arguments)
                                     : std::string("a FILE")) +
                         ". See: ckpt " + std::string(of_.name) + " --help";
            return;
        }
        for (std::size_t i = 0; i < names.size(); ++i) {
            const bool may_be_pattern = of_.arguments.ends_with("[PATTERN...]");
            if (i > 0 && of_.name == "show") wanted.paths.push_back(names[i]);
            else if (i > 0 && may_be_pattern && names[i] != "-" && !exists(names[i]))
                wanted.patterns.push_back(names[i]);
            else wanted.files.push_back(names[i]);
        }
        const std::size_t most = of_.name == "map" ? 1 : of_.name == "convert" ? 2 : wanted.files.size();
        if (wanted.files.size() > most)
            out_.wrong = "ckpt " + std::string(of_.name) + " takes " +
                         (most == 1 ? "one FILE" : std::string(of_.arguments)) + ", not also \"" + wanted.files[most] +
                         '"';
    }

    const command& of_;
    request& out_;
};

/// Whether a first word is meant as a file: it exists, or it looks like a name of one.
[[nodiscard]] bool is_file_like(const std::string& text) {
    return text.find_first_of("./\\") != std::string::npos || exists(text);
}

[[nodiscard]] std::string version() {
    return std::string("ckpt ") + decimal(CKPT_VERSION_MAJOR) + '.' + decimal(CKPT_VERSION_MINOR) + '.' +
           decimal(CKPT_VERSION_PATCH) + '\n';
}

/// `ckpt help`, `ckpt help CMD`, and what the build makes of the table.
void read_help(const std::vector<std::string>& words, request& out) {
    if (words.empty()) out.text = help(nullptr);
    else if (const command* const of = find_command(words[0])) out.text = help(of);
    else if (words[0] == "--man") out.text = man_page();
    else if (words[0].starts_with("--")) out.text = completions(words[0].substr(2));
    if (out.text.empty()) out.wrong = "there is no command \"" + words[0] + "\". See: ckpt help";
}

// --- texts ---

/// A text in lines of at most `most` columns, each but the first with an indent.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t indent, std::size_t most) {
    std::string out;
    std::size_t column = indent;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (column > indent && column + 1 + end > most) {
            out += '\n' + std::string(indent, ' ');
            column = indent;
        } else if (column > indent) {
            out += ' ';
            ++column;
        }
        out += text.substr(0, end);
        column += end;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

[[nodiscard]] std::string about_with_choices(const option_row& row) {
    return std::string(row.about) + (row.choices.empty() ? "" : ": " + listed(row.choices));
}

constexpr std::string_view exit_codes =
    "Exit codes: 0 fine, 1 a finding, 2 the file is unreadable, 3 wrong usage, 4 valid but not supported, 5 "
    "the output cannot be written; of several files the highest. 130 after Ctrl-C, 143 after "
    "SIGTERM.";
constexpr std::string_view file_word = "FILE is a checkpoint: a file, a folder, or the index of a set of shards.";
constexpr std::string_view in_word = "IN is a checkpoint: a file, a folder, or the index of a set of shards.";

/// Text for roff, where a backslash and a minus have a meaning.
[[nodiscard]] std::string roff(std::string_view text) {
    std::string out;
    for (const char c : text) out += c == '\\' ? std::string("\\e") : c == '-' ? std::string("\\-") : std::string(1, c);
    return out;
}

/// Text in single quotes of a shell.
[[nodiscard]] std::string shell(std::string_view text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + '\'';
}

[[nodiscard]] std::string bash_completions() {
    std::string out =
        "_ckpt() {\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options=\n"
        "    case $before in\n";
    for (const option_row& row : rows) {
        if (row.choices.empty()) continue;
        std::string words(row.choices);
        std::replace(words.begin(), words.end(), '|', ' ');
        out += "        --" + std::string(row.name) + ") COMPREPLY=($(compgen -W \"" + words +
               "\" -- \"$word\")); return ;;\n";
    }
    out += "    esac\n    case ${COMP_WORDS[1]} in\n";
    std::string names;
    for (const command& c : commands) {
        names += std::string(c.name) + ' ';
        out += "        " + std::string(c.name) + ") options=\"";
        for (const option_row& row : rows)
            if (belongs(row, c)) out += "--" + std::string(row.name) + ' ';
        out += "\" ;;\n";
    }
    return out + "    esac\n    if [[ $COMP_CWORD == 1 && $word != -* ]]; then\n        COMPREPLY=($(compgen -W \"" +
           names +
           "help\" -- \"$word\") $(compgen -f -- \"$word\"))\n    elif [[ $word == -* ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n    else\n"
           "        COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}\ncomplete -o filenames -F _ckpt ckpt\n";
}

[[nodiscard]] std::string zsh_completions() {
    const auto plain = [](std::string_view text) { // what _arguments would read is escaped
        std::string out;
        for (const char c : text) out += c == '[' || c == ']' || c == ':' ? std::string("\\") + c : std::string(1, c);
        return out;
    };
    std::string out = "#compdef ckpt\n_ckpt() {\n    if (( CURRENT == 2 )); then\n        local -a commands=(\n";
    for (const command& c : commands) out += "            " + shell(std::string(c.name) + ':' + plain(c.about)) + '\n';
    out += "            'help:How to use it'\n        )\n        _describe command commands\n        _files\n"
           "        return\n    fi\n    case $words[2] in\n";
    for (const command& c : commands) {
        out += "        " + std::string(c.name) + ")\n            _arguments";
        for (const option_row& row : rows) {
            if (!belongs(row, c)) continue;
            std::string choices(row.choices);
            std::replace(choices.begin(), choices.end(), '|', ' ');
            const bool optional = row.value == "[N]";
            std::string spec = (row.repeats ? "*--" : "--") + std::string(row.name) + (optional ? "=-" : "") + '[' +
                               plain(row.about) + ']';
            if (!row.value.empty())
                spec += (optional ? "::" : ":") + std::string(row.value == "[N]" ? "N" : row.value) + ':' +
                        (choices.empty() ? row.value == "FILE" || row.value == "RULES" ? "_files" : ""
                                         : '(' + choices + ')');
            out += " \\\n                " + shell(spec);
        }
        out += " \\\n                '*:file:_files' ;;\n";
    }
    return out + "    esac\n}\n_ckpt \"$@\"\n";
}

[[nodiscard]] std::string fish_completions() {
    std::string names;
    for (const command& c : commands) names += std::string(c.name) + ' ';
    std::string out;
    for (const command& c : commands)
        out += "complete -c ckpt -n '__fish_use_subcommand' -a " + std::string(c.name) + " -d " + shell(c.about) + '\n';
    for (const option_row& row : rows) {
        out += "complete -c ckpt -n '__fish_seen_subcommand_from " +
               (row.commands.empty() ? names.substr(0, names.size() - 1) : std::string(row.commands)) + "' -l " +
               std::string(row.name);
        if (row.letter != 0) (out += " -s ") += row.letter;
        std::string choices(row.choices);
        std::replace(choices.begin(), choices.end(), '|', ' ');
        if (!choices.empty()) out += " -x -a " + shell(choices);
        else if (row.value == "FILE" || row.value == "RULES") out += " -r";
        else if (!row.value.empty() && row.value != "[N]") out += " -x";
        out += " -d " + shell(row.about) + '\n';
    }
    return out;
}

} // namespace

std::string help(const command* of) {
    const std::size_t most = std::min<std::size_t>(columns(), 100);
    std::string out;
    if (of == nullptr) {
        out =
            "Looks into PyTorch checkpoints. Nothing in them is ever run.\n\nUsage: ckpt COMMAND FILE... [OPTION...]\n"
            "       ckpt FILE                the same as ckpt info FILE\n       ckpt help COMMAND        its options"
            "\n\nCommands\n";
        for (const command& c : commands)
            out += "  " + left(std::string(c.name), 9) + wrapped(c.about, 11, most) + '\n';
        out += "\nExamples\n  ckpt model.pt\n  ckpt ls model.pt --all\n\n" + wrapped(file_word, 0, most) + '\n' +
               wrapped(exit_codes, 0, most) + '\n';
        return out + "Options of the program: --help, --version\n";
    }
    out = "Usage: ckpt " + std::string(of->name) + ' ' + std::string(of->arguments) + " [OPTION...]\n\n" +
          wrapped(of->about, 0, most) + ".\n" + wrapped(of->arguments == "IN OUT" ? in_word : file_word, 0, most) +
          '\n';
    if (!of->more.empty()) out += wrapped(of->more, 0, most) + '\n';
    out += "\nOptions\n";
    constexpr std::size_t option_columns = 28;
    for (const option_row& row : rows) {
        if (!belongs(row, *of)) continue;
        const std::string letter = row.letter != 0 ? std::string("-") + row.letter + ", " : "    ";
        out += left("  " + letter + spelled(row), option_columns - 1) + ' ' +
               wrapped(about_with_choices(row), option_columns, most) + '\n';
    }
    out += "\nExamples\n";
    for (const std::string_view example : of->examples) (out += "  ").append(example) += '\n';
    return out + '\n' + wrapped(exit_codes, 0, most) + '\n';
}

std::string man_page() {
    std::string out = ".TH CKPT 1\n.SH NAME\nckpt \\- looks into PyTorch checkpoints; nothing in them is ever run\n"
                      ".SH SYNOPSIS\n.B ckpt\nCOMMAND FILE... [OPTION...]\n.SH DESCRIPTION\n" +
                      roff(file_word) + '\n' + roff("`ckpt FILE` is `ckpt info FILE`.") + "\n.SH COMMANDS\n";
    for (const command& c : commands) {
        out += ".TP\n.B " + std::string(c.name) + ' ' + roff(c.arguments) + '\n' + roff(c.about) + ".\n";
        if (!c.more.empty()) out += roff(c.more) + '\n';
    }
    out += ".SH OPTIONS\n";
    for (const option_row& row : rows)
        out += ".TP\n.B " + (row.letter != 0 ? roff(std::string("-") + row.letter + ", ") : std::string()) +
               roff(spelled(row)) + '\n' + roff(about_with_choices(row)) +
               (row.commands.empty() ? "" : " (" + std::string(row.commands) + ')') + ".\n";
    out += ".SH EXAMPLES\n";
    for (const command& c : commands)
        for (const std::string_view example : c.examples) out += ".PP\n" + roff(example) + '\n';
    return out + ".SH EXIT STATUS\n" + roff(exit_codes) + '\n';
}

std::string completions(std::string_view of) {
    return of == "bash" ? bash_completions() : of == "zsh" ? zsh_completions() : of == "fish" ? fish_completions() : "";
}

request parse(std::vector<std::string> words) {
    request out;
    const auto first = std::find_if(words.begin(), words.end(),
                                    [](const std::string& w) { return w.empty() || w[0] != '-' || w == "-"; });
    if (!words.empty() && (words[0] == "--help" || words[0] == "-h")) out.text = help(nullptr);
    else if (!words.empty() && words[0] == "--version") out.text = version();
    else if (words.empty()) out.wrong = "a command is missing. See: ckpt --help";
    else if (words[0] == "help" && !exists("help")) read_help({words.begin() + 1, words.end()}, out);
    if (!out.text.empty() || !out.wrong.empty()) return out;
    out.chosen = first == words.end() ? nullptr : find_command(*first);
    if (out.chosen != nullptr) {
        words.erase(first);
    } else if (first != words.end() && !is_file_like(*first)) {
        std::vector<std::string> names;
        for (const command& c : commands) names.emplace_back(c.name);
        const std::string near = nearest(*first, names);
        out.wrong = "there is no command \"" + *first + '"' +
                    (near.empty() ? "." : "; did you mean \"" + near + "\"?") + " See: ckpt --help";
        return out;
    } else {
        out.chosen = find_command("info"); // `ckpt FILE`
    }
    reader{*out.chosen, out}.read(std::move(words));
    if (!out.wanted.has_policy) out.wanted.policy = out.chosen->policy;
    return out;
}

} // namespace tool
