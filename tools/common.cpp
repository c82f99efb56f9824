#include "common.hpp"

#include "render.hpp"

#include <ckpt/core/json_text.hpp>
#include <ckpt/core/key_path.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/folder/index.hpp>
#include <ckpt/io/output.hpp>
#include <ckpt/state/digests.hpp>
#include <ckpt/threads.hpp>
#include <ckpt/torch/scan.hpp>
#include <ckpt/torch/sniff.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace tool {

namespace {

using ckpt::detail::is_index_name;

[[nodiscard]] ckpt::open_options reading(std::string member = {}, bool strict = false) {
    ckpt::open_options out;
    if (strict) out.foreign = ckpt::foreign_globals::refuse_file;
    out.io = ckpt::io_mode::read;
    out.inflate = inflater();
    out.member = std::move(member);
    return out;
}

/// Calls `f` with the policy of that name as its template argument.
template <class F> [[nodiscard]] auto with_policy(policy_name policy, F&& f) {
    switch (policy) {
    case policy_name::training: return f.template operator()<ckpt::training_policy>();
    case policy_name::inspect: return f.template operator()<ckpt::inspect_policy>();
    case policy_name::weights: break;
    }
    return f.template operator()<ckpt::weights_policy>();
}

/// A file, or behind the path of a tar archive the name of one of its members:
/// "model.nemo/mp_rank_00/model_weights.ckpt".
struct file_place {
    std::string file{};
    std::string member{};
};
[[nodiscard]] file_place place_of(const std::string& named) {
    std::error_code ignored;
    if (!std::filesystem::exists(named, ignored))
        for (std::size_t slash = named.rfind('/'); slash != std::string::npos && slash > 0;
             slash = named.rfind('/', slash - 1))
            if (std::filesystem::is_regular_file(named.substr(0, slash), ignored))
                return {named.substr(0, slash), named.substr(slash + 1)};
    return {named, {}};
}

} // namespace

bool exists(const std::string& file) {
    std::error_code ignored;
    return std::filesystem::exists(file, ignored) || !place_of(file).member.empty();
}

bool is_folder(const std::string& file) {
    std::error_code ignored;
    return is_index_name(file) || std::filesystem::is_directory(file, ignored);
}

ckpt::result<ckpt::checkpoint> open(const std::string& file, policy_name policy, bool strict) {
    const file_place at = place_of(file);
    return with_policy(policy, [&]<class P>() { return ckpt::open_any<P>(at.file, reading(at.member, strict)); });
}

ckpt::result<ckpt::folder_report> examine(const std::string& folder, policy_name policy) {
    return with_policy(policy, [&]<class P>() { return ckpt::inspect_folder<P>(folder, reading()); });
}

ckpt::result<ckpt::global_scan> scan(const std::string& file, policy_name policy) {
    const file_place at = place_of(file);
    return with_policy(policy, [&]<class P>() { return ckpt::scan_globals<P>(at.file, reading(at.member)); });
}

std::string beside(const std::string& folder, const std::string& name) {
    const std::filesystem::path base =
        is_index_name(folder) ? std::filesystem::path(folder).parent_path() : std::filesystem::path(folder);
    return (base / name).string();
}

std::vector<std::string> names_in(const std::string& folder, const ckpt::folder_report& report) {
    std::vector<std::string> out = report.parts; // what an index opens may have any name
    if (!is_index_name(folder))
        for (const ckpt::folder_file& f : report.files)
            if (f.is_checkpoint) out.push_back(f.name);
    std::erase_if(out, [](const std::string& name) {
        return name.ends_with(".distcp");
    }); // many files in one: nothing to open by itself
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

std::vector<std::string> each_file(const std::string& file, const ckpt::folder_report* report) {
    std::vector<std::string> out;
    if (report != nullptr)
        for (const std::string& name : names_in(file, *report)) out.push_back(beside(file, name));
    if (out.empty()) out.push_back(file);
    return out;
}

namespace {

/// The regular files of a directory and of those below it, sorted. Links to directories are not followed.
[[nodiscard]] std::vector<std::string> files_below(const std::string& folder, std::vector<skipped_file>& skipped) {
    namespace fs = std::filesystem;
    std::vector<std::string> out;
    std::error_code failed;
    auto at = fs::recursive_directory_iterator(folder, failed);
    for (; !failed && at != fs::recursive_directory_iterator(); at.increment(failed)) {
        std::error_code unknown;
        const fs::file_status is = at->status(unknown);
        if (fs::is_regular_file(is)) out.push_back(at->path().string());
        else if (unknown || !fs::is_directory(is)) skipped.push_back({at->path().string(), "no regular file"});
        else if (at->is_symlink(unknown)) skipped.push_back({at->path().string(), "a link to a folder"});
    }
    if (failed) skipped.push_back({folder, failed.message()});
    std::sort(out.begin(), out.end());
    return out;
}

/// Where .metadata of a distributed checkpoint says that an item lies.
struct item_place {
    std::string file{};
    std::uint64_t offset{};
    std::uint64_t length{};
};

/// The items of the distributed checkpoint whose .metadata is in a folder, by file. Nothing where it is none, or
/// damaged.
[[nodiscard]] std::vector<item_place> items_in(const std::string& folder) {
    std::vector<item_place> out;
    const auto metadata = open(beside(folder, ".metadata"), policy_name::inspect);
    if (!metadata) return out;
    const auto places = metadata->root().at("storage_data");
    if (!places || places->kind() != ckpt::kind::dictionary) return out;
    for (const ckpt::value::entry e : places->entries()) {
        const auto file = e.mapped.at("relative_path"), offset = e.mapped.at("offset"), length = e.mapped.at("length");
        if (!file || !offset || !length) return {};
        const auto name = file->as_string();
        const auto begin = offset->as_int(), bytes = length->as_int();
        if (!name || !begin || !bytes || *begin < 0 || *bytes < 0) return {};
        out.push_back({std::string(*name), static_cast<std::uint64_t>(*begin), static_cast<std::uint64_t>(*bytes)});
    }
    std::sort(out.begin(), out.end(), [](const item_place& a, const item_place& b) { return a.file < b.file; });
    return out;
}

/// Scans the items that are in one file of a distributed checkpoint, each of which is a whole file of torch.save.
[[nodiscard]] ckpt::result<ckpt::global_scan> scan_items(const std::string& file, policy_name policy,
                                                         const std::vector<item_place>& items) {
    const std::string name = std::filesystem::path(file).filename().string();
    return with_policy(policy, [&]<class P>() -> ckpt::result<ckpt::global_scan> {
        const ckpt::detail::allowlist judge = ckpt::detail::allowlist_of<P>();
        ckpt::open_options options = reading();
        ckpt::detail::global_scanner all{judge, options.limits};
        std::optional<ckpt::error> stopped;
        const auto first =
            std::partition_point(items.begin(), items.end(), [&](const item_place& item) { return item.file < name; });
        if (first == items.end() || first->file != name) return scan(file, policy);
        for (auto item = first; item != items.end() && item->file == name; ++item) {
            options.offset = item->offset;
            options.length = item->length;
            const auto one = ckpt::scan_globals<P>(file, options);
            // Of a tensor in safetensors .metadata has the length without the header, so that the item seems cut.
            if (!one && one.error().code == ckpt::errc::safetensors_invalid) continue;
            if (one) all.add(*one);
            if (!stopped && !one) stopped = one.error();
            else if (!stopped && one->stopped() != nullptr) stopped = *one->stopped();
        }
        return all.finish(std::move(stopped));
    });
}

/// Scans one file after another; of a distributed checkpoint the items of a file, unless it is one of safetensors. What
/// .metadata says of a folder is kept for the next file of it.
class file_scanner {
  public:
    explicit file_scanner(policy_name policy) : policy_{policy} {}

    [[nodiscard]] ckpt::result<ckpt::global_scan> operator()(const std::string& file) {
        const auto head = file.ends_with(".distcp") ? read_text(file, 64) : ckpt::result<std::string>{std::string{}};
        if (!head || head->empty() || ckpt::detail::safetensors::begins(std::as_bytes(std::span<const char>{*head})))
            return scan(file, policy_);
        std::string folder = std::filesystem::path(file).parent_path().string();
        if (!known_ || *known_ != folder) items_ = items_in(folder);
        known_ = std::move(folder);
        return scan_items(file, policy_, items_);
    }

  private:
    policy_name policy_;
    std::optional<std::string> known_{}; // the folder of `items_`
    std::vector<item_place> items_{};
};

/// Why a file needs no look: its bytes are no container of pickles, and nothing that could hide one. Empty otherwise.
[[nodiscard]] std::string why_skipped(const std::string& file, const ckpt::error& e) {
    if (e.code != ckpt::errc::not_a_checkpoint) return {};
    const auto head = read_text(file, 64);
    if (!head || ckpt::detail::sealed_content(*head) || ckpt::detail::sniffing::begins_as_binary_pickle(*head))
        return {};
    return e.detail;
}

} // namespace

std::vector<skipped_file>
scan_each(const std::string& file, policy_name policy,
          ckpt::detail::function_ref<void(const std::string&, ckpt::result<ckpt::global_scan>)> visit) {
    std::vector<skipped_file> skipped;
    file_scanner scan_file{policy};
    std::error_code unknown;
    if (!is_folder(file) || !std::filesystem::is_directory(file, unknown)) {
        const auto report = is_folder(file) ? examine(file, policy_name::inspect) : ckpt::folder_report{};
        for (const std::string& one : each_file(file, is_folder(file) && report ? &*report : nullptr))
            visit(one, scan_file(one));
        return skipped;
    }
    for (const std::string& one : files_below(file, skipped)) {
        auto scanned = scan_file(one);
        std::string why = scanned ? std::string{} : why_skipped(one, scanned.error());
        if (why.empty()) visit(one, std::move(scanned));
        else skipped.push_back({one, std::move(why)});
    }
    return skipped;
}

ckpt::result<ckpt::state_dict> weights_of(const ckpt::checkpoint& file, const std::optional<std::string>& select) {
    if (!select) return file.state_dict();
    auto found = find(file, *select);
    if (!found) return std::move(found).error();
    return file.state_dict(path_text(found->path));
}

ckpt::result<std::string> read_text(const std::string& file, std::size_t most) {
    const auto failure = [&](ckpt::errc code) {
        return ckpt::error{
            .code = code, .file = file, .detail = printable(file) + ": " + std::generic_category().message(errno)};
    };
    errno = 0;
    std::FILE* const opened = std::fopen(file.c_str(), "rb");
    if (opened == nullptr) return failure(ckpt::errc::cannot_open);
    std::string out;
    char part[16384];
    for (std::size_t n = 1; n > 0 && out.size() <= most; out.append(part, n))
        n = std::fread(part, 1, std::min(sizeof part, most + 1 - out.size()), opened);
    const bool whole = std::ferror(opened) == 0;
    if (whole) errno = 0;
    const int reason = errno;
    std::fclose(opened);
    errno = reason;
    if (!whole) return failure(ckpt::errc::read_failed);
    return out;
}

bool read_rules(const options& wanted, std::optional<ckpt::key_map>& out, int& exit_code) {
    if (wanted.map) {
        auto made = ready_map(*wanted.map);
        if (made) {
            out = std::move(*made);
            return true;
        }
        ckpt::error why = made.error();
        why.file = "--map"; // not the checkpoint
        exit_code = fail(wanted, why, {}, exit_usage);
        return false;
    }
    constexpr std::size_t most = std::size_t{1} << 20;
    const std::string& file = *wanted.rules;
    const auto text = read_text(file, most);
    if (!text) {
        exit_code = fail(wanted, text.error(), {}, exit_usage);
        return false;
    }
    ckpt::parse_error where;
    auto parsed = ckpt::key_map::parse(*text, file, &where);
    if (parsed) {
        out = std::move(*parsed);
        return true;
    }
    exit_code = exit_usage;
    where.error.file = file;
    if (wanted.json) exit_code = fail(wanted, where.error, {}, exit_usage);
    else std::fprintf(stderr, "%s\n", where.pretty().c_str());
    return false;
}

// --- paths ---

namespace {

/// Reads a JSON array of strings and integers.
class array_reader {
  public:
    explicit array_reader(std::string_view text) : text_{text} {}

    [[nodiscard]] bool read(key_path& out) {
        if (!take('[')) return false;
        if (!take(']')) {
            do {
                ckpt::path_element e;
                if (!element(e)) return false;
                out.push_back(std::move(e));
            } while (take(','));
            if (!take(']')) return false;
        }
        blanks();
        return at_ == text_.size();
    }

  private:
    void blanks() {
        while (at_ < text_.size() &&
               (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
            ++at_;
    }
    [[nodiscard]] bool take(char c) {
        blanks();
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    [[nodiscard]] bool element(ckpt::path_element& out) {
        blanks();
        if (at_ < text_.size() && text_[at_] != '"') {
            const std::size_t begin = at_;
            while (at_ < text_.size() && (text_[at_] == '-' || (text_[at_] >= '0' && text_[at_] <= '9'))) ++at_;
            std::int64_t n = 0;
            if (!ckpt::detail::parse_decimal(text_.substr(begin, at_ - begin), n)) return false;
            out = {decimal(n), true};
            return true;
        }
        if (!take('"')) return false;
        return ckpt::detail::unescape_json(text_, at_, out.text, ckpt::detail::json_dialect::python).empty();
    }

    std::string_view text_;
    std::size_t at_{0};
};

/// One step. `wanted` is a number, a text, or either (as typed: text first).
[[nodiscard]] ckpt::value step(const ckpt::value& from, const ckpt::path_element& wanted, bool either,
                               ckpt::path_element& found) {
    if (!wanted.is_number) {
        if (auto below = from.at(wanted.text)) {
            found = {wanted.text, false};
            return *below;
        }
    }
    std::int64_t n = 0;
    if ((wanted.is_number || either) && ckpt::detail::parse_decimal(wanted.text, n)) {
        if (auto below = from.at(n)) {
            found = {decimal(n), true};
            return *below;
        }
    }
    if (!wanted.is_number)
        for (const ckpt::value::entry e : from.plain().entries())
            if (e.key.kind() != ckpt::kind::string && e.key.kind() != ckpt::kind::integer &&
                ckpt::key_text(e.key) == wanted.text) {
                found = {wanted.text, false};
                return e.mapped;
            }
    return {};
}

/// How many keys of a dictionary have this text: 1 and "1" are two.
[[nodiscard]] std::size_t keys_with(const ckpt::value& v, std::string_view text) {
    std::size_t found = 0;
    for (const ckpt::value::entry e : v.plain().entries())
        found += e.key.kind() == ckpt::kind::string ? *e.key.as_string() == text : ckpt::key_text(e.key) == text;
    return found;
}

} // namespace

bool parse_path(std::string_view text, key_path& out) {
    if (text.starts_with('[')) return array_reader{text}.read(out);
    out = elements_of(text);
    for (ckpt::path_element& e : out) e.is_number = false; // what it is shows in the file
    return true;
}

ckpt::path_element element_of(const ckpt::value& key) {
    return {ckpt::key_text(key), key.kind() == ckpt::kind::integer && key.as_int().has_value()};
}
ckpt::path_element element_of(std::uint64_t position) { return {decimal(position), true}; }

key_path elements_of(std::string_view text, const ckpt::value& root) {
    key_path out;
    ckpt::value here = root;
    for (bool more = !text.empty(); more;) {
        ckpt::path_element e{ckpt::detail::take_path_element(text, &more), false};
        ckpt::path_element found;
        std::int64_t n = 0;
        if (here) here = step(here, e, true, found);
        if (here) e.is_number = found.is_number;
        else e.is_number = ckpt::detail::parse_decimal(e.text, n);
        out.push_back(std::move(e));
    }
    return out;
}

namespace {

/// Why a path ends behind `here`, and what is near.
[[nodiscard]] ckpt::error no_path(const found_value& here, const std::string& element) {
    ckpt::error missing{.code = ckpt::errc::path_missing,
                        .detail = "no \"" + printable(shortened(element, 64)) + "\" in the " +
                                  std::string(ckpt::name(here.value.kind())),
                        .hint = "see what is there with: ckpt show FILE"};
    const std::size_t known = missing.detail.size();
    ckpt::detail::say_what_exists(missing, here.value, path_text(here.path), element);
    if (missing.detail.find(';', known) != missing.detail.npos) return missing;
    if (here.value.entries().size() == 0) return missing;
    missing.detail += "; it has ";
    ckpt::detail::short_list list{missing.detail};
    for (const ckpt::value::entry entry : here.value.entries())
        if (list.next()) missing.detail += '"' + printable(shortened(ckpt::key_text(entry.key), 40)) + '"';
    list.end();
    return missing;
}

/// The value at a path; where there is none the error.
[[nodiscard]] ckpt::result<found_value> find_path(const ckpt::value& root, std::string_view text) {
    key_path wanted;
    (void)parse_path(text, wanted); // main.cpp has refused what cannot be parsed
    const bool exact = text.starts_with('[');
    found_value out{root, {}};
    for (const ckpt::path_element& e : wanted) {
        if (!exact && keys_with(out.value, e.text) > 1)
            return ckpt::error{.code = ckpt::errc::key_duplicate,
                               .path = path_text(out.path),
                               .detail = '"' + printable(shortened(e.text, 64)) +
                                         "\" is the text of several keys of the " +
                                         std::string(ckpt::name(out.value.kind())),
                               .hint = "give the path as JSON: [1] means the int, [\"1\"] the str"};
        ckpt::path_element found;
        const ckpt::value below = step(out.value, e, true, found);
        const bool is_outer = &e == &wanted.front() || &e == &wanted.back();
        if (!below && !exact && e.text.empty() && is_outer) continue; // a '/' at the beginning or at the end
        if (!below && out.value.refusal() != nullptr) return *out.value.refusal();
        if (!below) return no_path(out, e.text);
        out.value = below;
        out.path.push_back(std::move(found));
    }
    return out;
}

/// The tensor below `start` whose key is `text`, as `ls` prints it.
[[nodiscard]] std::optional<found_value> find_key(const ckpt::value& start, key_path place, std::string_view text) {
    const auto all = ckpt::find_tensors(start);
    if (!all) return std::nullopt;
    for (const ckpt::located_tensor& t : *all) {
        const std::string key = t.key();
        if (key != text && printable(key) != text) continue;
        place.insert(place.end(), t.path.begin(), t.path.end());
        return found_value{t.value, std::move(place)};
    }
    return std::nullopt;
}

} // namespace

ckpt::result<found_value> find(const ckpt::checkpoint& file, std::string_view text) {
    const ckpt::value root = file.root();
    auto found = find_path(root, text);
    if (found || found.error().code != ckpt::errc::path_missing || text.starts_with('[')) return found;
    if (const auto weights = file.state_dict())
        if (auto tensor = find_key(weights->root(), elements_of(weights->path(), root), text))
            return *std::move(tensor);
    if (auto tensor = find_key(root, {}, text)) return *std::move(tensor);
    return found;
}

void write(json& to, std::span<const ckpt::path_element> path) {
    to.begin_array();
    for (const ckpt::path_element& e : path) {
        std::int64_t n = 0;
        if (e.is_number && ckpt::detail::parse_decimal(e.text, n)) to.number(n);
        else to.text(e.text);
    }
    to.end_array();
}

// --- errors ---

namespace {

/// What to do about an error, in this program's terms: the library's hints name lines of C++.
[[nodiscard]] ckpt::error advised(ckpt::error e) {
    if (e.code == ckpt::errc::compressed && !inflater() && e.hint.find("open_options.inflate") != e.hint.npos)
        e.hint = "This ckpt was built without zlib: build it with zlib1g-dev installed, or pack the archive again "
                 "without compression: zip -0";
    static constexpr struct {
        std::string_view library; // the beginning of its hint
        std::string_view program;
    } hints[]{
        {ckpt::detail::replace_hint, "Choose another name, or replace it: --force"},
        {"Cast it with a key rule, as in \"cast float32 KEY\", or write its bits",
         "Cast it: --dtype KEY=float32, or write its bits: --raw"},
        {"Cast it with a key rule, as in \"cast int32",
         "Cast it: --dtype KEY=int32, or leave it out: --allow-loss KEY"},
        {"Cast it with a key rule, as in \"cast int64",
         "Cast it: --dtype KEY=int64, or leave it out: --allow-loss KEY"},
        {"Cast it with a key rule", "Cast it: --dtype KEY=float32, or leave it out: --allow-loss KEY"},
        {"Leave it out", "Leave it out: --allow-loss KEY"},
        {"Write it as a dictionary", "Write it as a dictionary of its attributes: --plain"},
        {"Drop it with a key rule", "Leave it out: --allow-loss KEY"},
        {"Rename it with a key rule", "Rename it: --rules FILE with a line such as \"rename OLD -> NEW\""},
        {"Shorten it with a key rule", "Shorten it: --rules FILE with a line such as \"rename "
                                       "model.language_model.{rest:**} -> lm.{rest}\""},
        {"Join some with a key rule", "Join some: --rules FILE with a line such as \"reshape (2, -1) KEY\""},
        {"Write several files: safetensors_options", "Write several files: --max-shard-size 5GB"},
        {"Add ckpt::global<", "Read the file with such objects as plain data, which runs nothing: --policy inspect"},
        {"Do not load this file", "Do not load this file with anything that executes pickles; --policy inspect shows "
                                  "what is in it"},
        {"It was pickled by dill",
         "It was pickled by dill or cloudpickle, which store code, and none is run here: save "
         "tensors and plain values with torch.save; --policy inspect shows what is in it"},
        {"look at what root() holds",
         "look at what is there with: ckpt show FILE; then give its path with --select PATH"},
        {"give the path of the one you mean", "give the path of the one you mean: --select PATH"},
        {"entries() and items() of a value", "list what exists with: ckpt show FILE"},
        {"a loop over the state_dict", "list the keys with: ckpt ls FILE"},
        {"plan_remap lists all", "ckpt map --rules RULES lists all of them"},
        {"inspect_folder gives", "ckpt verify lists each finding by itself"},
        {"choose one rank with open_options.member",
         "choose one rank by its name behind the archive's path (ckpt ls FILE.nemo/mp_rank_00/model_weights.ckpt): its "
         "tensors are slices of the model's"},
        {"choose one with open_options.member",
         "choose one by its name behind the archive's path: ckpt ls FILE.tar/NAME"},
        {"Copy its bytes to a file", "Copy its bytes to a file"},
    };
    for (const auto& hint : hints)
        if (e.hint.starts_with(hint.library)) e.hint = hint.program;
    return e;
}

} // namespace

void write(json& to, const ckpt::error& e, const ckpt::value& root) {
    to.begin_object();
    to.member("code", ckpt::info(e.code).name);
    to.member("number", static_cast<std::uint16_t>(e.code));
    if (e.offset != ckpt::no_offset) to.member("offset", e.offset);
    if (!e.file.empty()) to.member("file", e.file);
    if (!e.record.empty()) to.member("record", e.record);
    if (!e.opcode_name.empty()) to.member("opcode", e.opcode_name);
    if (!e.path.empty()) {
        to.key("path");
        write(to, elements_of(e.path, root));
    }
    to.member("message", e.detail.empty() ? ckpt::info(e.code).meaning : std::string_view(e.detail));
    if (const std::string advice = advised(e).advice(); !advice.empty()) to.member("hint", advice);
    to.end_object();
}

int finish(json& document, int exit_code) {
    if (document.finish() || errno == EPIPE) return exit_code;
    std::fputs("ckpt: the output could not be written\n", stderr);
    return exit_unreadable;
}

int fail(const options& wanted, ckpt::error e, const ckpt::value& root, std::optional<int> exit,
         ckpt::detail::function_ref<void(json&)> more) {
    // Most errors of the system name the file already.
    if (e.file.empty() && (wanted.json || static_cast<unsigned>(e.code) >= 200 ||
                           e.detail.find(printable(wanted.file())) == e.detail.npos))
        e.file = wanted.file();
    const int exit_code = exit.value_or(ckpt::info(e.code).exit_code);
    if (wanted.json) {
        json out{stdout};
        out.begin_object().key("error");
        write(out, e, root);
        more(out);
        out.end_object();
        return finish(out, exit_code);
    }
    hide_progress();
    std::fflush(stdout);
    std::fprintf(stderr, "ckpt: %s\n", printable(advised(std::move(e)).message()).c_str());
    return exit_code;
}

ckpt::error differs_from_written(std::string_view path, std::string_view what) {
    return {.code = ckpt::errc::write_failed,
            .file = std::string(path),
            .detail = "read back, it does not have " + std::string(what) +
                      " as it was written, and was removed: what had the path has it still"};
}

int misused(bool as_json, const std::string& what) {
    if (as_json) {
        json out{stdout};
        out.begin_object()
            .key("error")
            .begin_object()
            .member("code", "usage")
            .member("message", printable(what))
            .end_object()
            .end_object();
        return finish(out, exit_usage);
    }
    std::fprintf(stderr, "ckpt: %s\n", printable(what).c_str());
    return exit_usage;
}

// --- tensors ---

const std::string& storage_names::of(const ckpt::tensor& t) {
    const auto [it, is_new] = names_.try_emplace(t.storage_id());
    if (!is_new) return it->second;
    std::string name(t.storage_key());
    const std::uint32_t number = ++used_[name];
    if (number > 1) name += '#' + decimal(number);
    return it->second = std::move(name);
}

void tensor_digests::add(const ckpt::tensor& t) {
    if (t.refusal() != nullptr) return;
    if (t.layout() == ckpt::layout::strided &&
        numbers_.emplace(ckpt::detail::tensor_access::data(t), tensors_.size()).second)
        tensors_.push_back(t);
    for (const ckpt::named_part p : t.parts()) add(p.tensor); // at most eight levels down
}

void tensor_digests::read(const options& wanted) {
    std::uint64_t total = 0;
    for (const ckpt::tensor& t : tensors_) total += t.nbytes();
    progress_line line{wanted, total};
    sums_ = ckpt::digests(tensors_, {.workers = ckpt::threads(), .progress = line});
}

ckpt::result<std::uint32_t> tensor_digests::of(const ckpt::tensor& t) const {
    const auto found = numbers_.find(ckpt::detail::tensor_access::data(t));
    return found != numbers_.end() ? sums_[found->second] : t.crc32();
}

int exit_of_row(const ckpt::error& e) {
    return ckpt::info(e.code).exit_code == exit_unsupported ? exit_unsupported : exit_finding;
}

std::string kind_text(const ckpt::tensor& t) {
    std::string out;
    if (const auto q = t.quantizer())
        out = q->scales ? "per channel, axis " + decimal(q->axis)
                        : "scale " + number_text(q->scale) + ", zero point " + decimal(q->zero_point);
    const std::string_view called = t.class_name();
    for (const std::string& more : {printable(called.substr(called.rfind('.') + 1)), printable(t.placement())})
        if (!more.empty()) out += (out.empty() ? "" : ", ") + more;
    return out;
}

std::uint64_t count_parts(const ckpt::tensor& t, std::uint64_t most) {
    std::uint64_t n = t.parts().size();
    for (const ckpt::named_part p : t.parts()) {
        if (n >= most) break;
        n += count_parts(p.tensor, most - n);
    }
    return n;
}

int worse(int a, int b) noexcept { return a == exit_finding || b == exit_finding ? exit_finding : std::max(a, b); }

namespace {

/// The fields that say where a strided tensor lies. Gives its offset in the file, which is written if it is wanted;
/// a tensor that is made of pieces lies nowhere.
ckpt::result<std::uint64_t> write_place(json& to, const ckpt::tensor& t, bool is_array, storage_names& names,
                                        bool wants_offset) {
    const bool gathered = t.is_gathered();
    if (is_array || gathered) to.key("storage").null();
    else to.member("storage", names.of(t));
    to.member("storage_offset", t.storage_offset());
    ckpt::result<std::uint64_t> offset = gathered ? std::uint64_t{0} : t.file_offset();
    if (!gathered && offset && wants_offset) to.member("file_offset", *offset);
    to.member("nbytes", t.nbytes());
    return offset;
}

} // namespace

int write_fields(json& to, const ckpt::tensor& t, bool is_array, storage_names& names, const tensor_digests* digest,
                 const ckpt::value& root, const ckpt::error* fault, std::string_view file) {
    if (const std::string_view own = t.file().empty() ? file : t.file(); !own.empty()) to.member("file", own);
    if (const ckpt::error* refusal = t.refusal()) {
        to.key("error");
        write(to, *refusal, root);
        return exit_of_row(*refusal);
    }
    const bool strided = t.layout() == ckpt::layout::strided;
    to.member("dtype", ckpt::name(t.dtype()));
    to.key("shape").numbers(t.shape());
    if (strided) to.key("stride").numbers(t.strides());
    to.member("layout", ckpt::name(t.layout()));
    const ckpt::result<std::uint64_t> offset =
        strided ? write_place(to, t, is_array, names, fault == nullptr) : std::uint64_t{0};
    to.member("requires_grad", t.requires_grad());
    int worst = exit_fine;
    const auto part = [&](const ckpt::tensor& of) { // at most eight levels down
        worst = worse(worst, write_fields(to, of, false, names, digest, root, nullptr, file));
        to.end_object();
    };
    if (const auto quantizer = t.quantizer()) {
        to.key("quant").begin_object().member("scheme", ckpt::name(quantizer->scheme));
        if (quantizer->scales) {
            to.member("axis", quantizer->axis).key("scale").begin_object();
            part(quantizer->scales);
            to.key("zero_point").begin_object();
            part(quantizer->zero_points);
        } else {
            to.key("scale");
            to.real(quantizer->scale).member("zero_point", quantizer->zero_point);
        }
        to.end_object();
    }
    if (!t.class_name().empty()) to.member("class", t.class_name());
    if (!t.placement().empty()) to.member("placement", t.placement());
    const auto wrong = [&](const ckpt::error& e) {
        to.key("error");
        write(to, e, root);
        return exit_of_row(e);
    };
    if (!strided) {
        if (!t.parts().empty()) {
            to.key("parts").begin_array();
            for (const ckpt::named_part p : t.parts()) {
                to.begin_object().member("key", p.name);
                part(p.tensor);
            }
            to.end_array();
        }
        if (digest != nullptr) to.key("crc32").null();
        return fault != nullptr ? worse(worst, wrong(*fault)) : worst;
    }
    if (fault != nullptr) return wrong(*fault);
    if (!offset && offset.error().code != ckpt::errc::no_data) return wrong(offset.error());
    if (digest == nullptr) return worst;
    const auto crc = digest->of(t);
    if (!crc) return wrong(crc.error());
    to.member("crc32", hex8(*crc));
    return worst;
}

// --- text ---

std::string class_name(const ckpt::value& callable) {
    std::vector<std::string> attributes;
    ckpt::value at = callable;
    std::string out;
    for (std::size_t steps = 0; steps < 64; ++steps) {
        if (const auto g = at.as_global()) {
            out = ckpt::canonical(*g);
            break;
        }
        if (at.kind() != ckpt::kind::object) break;
        // What protocol 2 and 3 write for a nested class or a method: getattr(Outer, 'Inner').
        const auto called = at.class_of().as_global();
        const auto attribute = at.args()[1].as_string();
        if (called && attribute && ckpt::canonical(*called) == "builtins.getattr") {
            attributes.emplace_back(*attribute);
            at = at.args()[0];
        } else {
            out += "(...)"; // a callable that a call gave: only what was called has a name
            at = at.class_of();
            if (const auto g = at.as_global()) out = ckpt::canonical(*g) + out;
            break;
        }
    }
    if (out.empty()) out = '<' + std::string(ckpt::name(at.kind())) + '>';
    for (; !attributes.empty(); attributes.pop_back()) (out += '.') += attributes.back();
    return out;
}

std::size_t integer_bytes(const ckpt::value& v) {
    const auto bytes = v.as_integer_bytes();
    return bytes ? bytes->size() : 0;
}

std::string integer_text(const ckpt::value& v) {
    if (const auto small = v.as_int()) return decimal(*small);
    const auto bytes = v.as_integer_bytes();
    if (!bytes || bytes->empty()) return "0";
    // The magnitude, in words of 32 bits, the lowest first.
    const bool negative = (bytes->back() & std::byte{0x80}) != std::byte{0};
    std::vector<std::uint32_t> words((bytes->size() + 3) / 4);
    std::uint32_t carry = negative ? 1 : 0;
    for (std::size_t i = 0; i < bytes->size(); ++i) {
        std::uint32_t b = std::to_integer<std::uint32_t>((*bytes)[i]);
        if (negative) {
            b = (~b & 0xFF) + carry;
            carry = b >> 8;
            b &= 0xFF;
        }
        words[i / 4] |= b << (i % 4 * 8);
    }
    if (carry != 0 && negative) words.push_back(1);
    while (!words.empty() && words.back() == 0) words.pop_back();
    std::string out;
    constexpr std::size_t longest = 4300;
    if (words.size() <= longest / 9) { // 32 bits are more than 9 digits
        for (std::vector<std::uint32_t> rest = words; !rest.empty();) {
            std::uint64_t part = 0;
            for (std::size_t i = rest.size(); i-- > 0;) {
                part = part << 32 | rest[i];
                rest[i] = static_cast<std::uint32_t>(part / 1'000'000'000);
                part %= 1'000'000'000;
            }
            while (!rest.empty() && rest.back() == 0) rest.pop_back();
            for (int k = 0; k < 9 && (part != 0 || !rest.empty()); ++k, part /= 10)
                out += static_cast<char>('0' + part % 10);
        }
        std::reverse(out.begin(), out.end());
    }
    if (out.empty() || out.size() > longest) {
        constexpr char digits[] = "0123456789abcdef";
        out.clear();
        for (std::size_t i = words.size(); i-- > 0;)
            for (int shift = 28; shift >= 0; shift -= 4) out += digits[words[i] >> shift & 15];
        out.erase(0, std::min(out.find_first_not_of('0'), out.size() - 1));
        out.insert(0, "0x");
    }
    return negative ? '-' + out : out;
}

} // namespace tool
