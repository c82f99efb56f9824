// `ckpt convert`: writes the weights of anything that opens to a file of another format.
#include "cast.hpp"
#include "common.hpp"
#include "gguf.hpp"
#include "merge.hpp"
#include "progress.hpp"
#include "render.hpp"
#include "weight_norm.hpp"

#include <ckpt/core/short_list.hpp>
#include <ckpt/io/file.hpp>
#include <ckpt/write.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace tool {

namespace {

enum class output_format : std::uint8_t { safetensors, torch, gguf, npz, npy };

struct suffix_row {
    std::string_view suffix{};
    output_format format{};
};
// Of a format the first is its name, too.
constexpr suffix_row suffixes[]{
    {"safetensors", output_format::safetensors},
    {"pt", output_format::torch},
    {"pth", output_format::torch},
    {"ckpt", output_format::torch},
    {"bin", output_format::torch},
    {"gguf", output_format::gguf},
    {"npz", output_format::npz},
    {"npy", output_format::npy},
};

[[nodiscard]] std::string_view name_of(output_format f) {
    return std::ranges::find(suffixes, f, &suffix_row::format)->suffix;
}

/// The format for a path, told by its suffix.
[[nodiscard]] std::optional<output_format> format_of(std::string_view path) {
    for (const suffix_row& row : suffixes) {
        const std::string suffix = "." + std::string(row.suffix);
        if (path.size() <= suffix.size() || !path.ends_with(suffix)) continue;
        const char before = path[path.size() - suffix.size() - 1];
        if (before != '/' && before != '\\') return row.format;
    }
    return {};
}

/// Entries that are lost for one reason share it.
using keyed_error = std::pair<std::string, std::shared_ptr<const ckpt::error>>;

[[nodiscard]] bool is_tensor(const ckpt::value& v) {
    return v.kind() == ckpt::kind::tensor || v.kind() == ckpt::kind::array;
}

/// What becomes of the weights, or of the whole object.
struct conversion {
    output_format format{};
    std::optional<ckpt::value> whole{};        // what is written around the weights; of .pt only
    std::string selected{};                    // the path of the whole, where it is not the root
    std::optional<ckpt::state_dict> weights{}; // none where the whole is written as it is
    std::string path_in{};                     // of the state_dict in IN
    std::vector<cast_tensor> casts{};
    std::vector<ckpt::kept_tensor> kept{}; // what a cast passed over
    std::vector<std::string> notes{};
    std::vector<std::string> dropped{}; // by rules
    /// Entries that are no tensors, and tensors that the format lacks; of .pt every value that it lacks.
    std::vector<keyed_error> left_out{};
    std::vector<ckpt::tied_key> shared{};
    std::vector<ckpt::replaced_value> replaced{};
    std::optional<based_weights> based{};             // of --base
    std::optional<ckpt::weight_norm_folded> folded{}; // of --fold-weight-norm
    ckpt::safetensors_options options{};              // those of most other formats are among them
    ckpt::gguf_options gguf{};                        // metadata, and what is quantised
    ckpt::gguf_report gguf_plan{};                    // before casts, which are of other tensors
};

/// Casts the weights as --dtype says.
[[nodiscard]] ckpt::result<void> use_casts(const options& wanted, conversion& to) {
    if (wanted.casts.empty()) return {};
    auto done = cast(wanted, *to.weights, to.gguf_plan.quantised);
    if (!done) return std::move(done).error();
    to.weights = std::move(done->weights);
    to.casts = std::move(done->casts);
    to.kept = std::move(done->kept);
    to.notes = std::move(done->notes);
    return {};
}

/// The metadata of a safetensors file that is converted goes along; what it says of tied keys only if no rule may have
/// changed them.
void keep_metadata(const ckpt::checkpoint& file, const ckpt::state_dict& weights, bool has_rules, conversion& to) {
    const auto kept = file.root().state().at("__metadata__");
    if (file.container() != "safetensors" || !kept) return;
    for (const auto entry : kept->entries()) {
        const auto name = entry.key.as_string(), content = entry.mapped.as_string();
        if (!name || !content || (has_rules && weights.contains(*content))) continue;
        const bool given = std::any_of(to.options.metadata.begin(), to.options.metadata.end(),
                                       [&](const ckpt::metadata_entry& m) { return m.key == *name; });
        if (!given) to.options.metadata.push_back({std::string(*name), std::string(*content)});
    }
}

[[nodiscard]] bool is_allowed(const conversion& done, std::string_view key) {
    return std::ranges::any_of(done.options.allow_loss, [&](const ckpt::pattern& p) { return p.matches(key); });
}

/// Whether --allow-loss names every key of a list.
template <class List, class Key>
[[nodiscard]] bool are_allowed(const conversion& done, const List& list, const Key& key_of) {
    return std::ranges::all_of(list, [&](std::string_view key) { return is_allowed(done, key); }, key_of);
}
template <class Why>
[[nodiscard]] bool are_allowed(const conversion& done, const std::vector<std::pair<std::string, Why>>& list) {
    return are_allowed(done, list, &std::pair<std::string, Why>::first);
}
[[nodiscard]] bool are_allowed(const conversion& done, const ckpt::weight_norm_folded& folded) {
    return are_allowed(done, folded.left, &ckpt::weight_norm_folded::unfolded::key);
}

[[nodiscard]] ckpt::result<ckpt::write_report> make_torch(const conversion& from, const options& wanted, bool writes) {
    const std::string& path = wanted.files[1];
    const ckpt::torch_options options{.overwrite = from.options.overwrite,
                                      .plain = wanted.plain,
                                      .allow_loss = from.options.allow_loss,
                                      .progress = from.options.progress,
                                      .check = from.options.check};
    if (!from.whole)
        return writes ? ckpt::write_torch(*from.weights, path, options)
                      : ckpt::plan_torch(*from.weights, path, options);
    if (!from.weights)
        return writes ? ckpt::write_torch(*from.whole, path, options) : ckpt::plan_torch(*from.whole, path, options);
    return writes ? ckpt::write_torch(*from.whole, *from.weights, path, options)
                  : ckpt::plan_torch(*from.whole, *from.weights, path, options);
}

/// Plans the output, or writes it.
[[nodiscard]] ckpt::result<ckpt::write_report> make(const conversion& from, const options& wanted, bool writes) {
    const std::string& path = wanted.files[1];
    if (from.format == output_format::torch) return make_torch(from, wanted, writes);
    if (from.format == output_format::safetensors)
        return writes ? ckpt::write_safetensors(*from.weights, path, from.options)
                      : ckpt::plan_safetensors(*from.weights, path, from.options);
    if (from.format == output_format::gguf) {
        ckpt::gguf_options options = from.gguf;
        options.allow_loss = from.options.allow_loss;
        options.progress = from.options.progress;
        options.check = from.options.check;
        const auto made =
            writes ? ckpt::write_gguf(*from.weights, path, options) : ckpt::plan_gguf(*from.weights, path, options);
        return made ? ckpt::result<ckpt::write_report>{*made} : made.error();
    }
    const ckpt::numpy_options options{.overwrite = from.options.overwrite,
                                      .raw = wanted.raw,
                                      .allow_loss = from.options.allow_loss,
                                      .progress = from.options.progress,
                                      .check = from.options.check};
    if (from.format == output_format::npz)
        return writes ? ckpt::write_npz(*from.weights, path, options) : ckpt::plan_npz(*from.weights, path, options);
    return writes ? ckpt::write_npy(*from.weights, path, options) : ckpt::plan_npy(*from.weights, path, options);
}

/// Compares the state_dict at a path of an output with what should have been written; counts its tensors.
[[nodiscard]] ckpt::result<void> compare(const conversion& done, const ckpt::finished_file& written,
                                         std::string_view select, std::size_t& found) {
    const auto file = ckpt::open(std::string(written.at), {.io = ckpt::io_mode::read});
    if (!file) return file.error();
    if (!file->refused_globals().empty()) return differs_from_written(written.path, "every value");
    if (!done.weights) return {};
    const auto weights = file->state_dict(select);
    if (!weights) return weights.error();
    const bool is_lone = is_tensor(weights->root()) && done.weights->size() == 1; // its key is no part of the file
    for (const auto entry : *weights) {
        const auto source = done.weights->at(is_lone ? (*done.weights->begin()).key : entry.key);
        if (!source || source->dtype() != entry.tensor.dtype() ||
            !std::ranges::equal(source->shape(), entry.tensor.shape()))
            return differs_from_written(written.path, '"' + printable(entry.key) + '"');
        ++found;
    }
    return {};
}

/// The tensors of a state_dict that a .pt has; nothing where other things that are left out may have had some.
[[nodiscard]] std::optional<std::size_t> expected_of_torch(const conversion& done, const ckpt::write_report& plan) {
    if (!done.weights) return 0;
    if (done.whole && !plan.left_out.empty()) return {};
    std::size_t out = done.weights->size();
    for (const ckpt::left_out_tensor& t : plan.left_out) out -= done.weights->contains(t.key);
    return out;
}

/// Compares a finished file with what was planned: its size, and every key with its dtype and shape.
[[nodiscard]] ckpt::result<void> read_back(const conversion& done, const ckpt::write_report& plan,
                                           const ckpt::finished_file& written) {
    const auto planned = std::ranges::find(plan.files, written.path, &ckpt::written_file::path);
    const auto file = ckpt::detail::file::open(std::string(written.at));
    if (!file) return file.error();
    if (planned == plan.files.end() || file->size() != planned->bytes)
        return differs_from_written(written.path, "all of its bytes");
    if (done.format == output_format::gguf)
        return check_gguf(*file, *planned, *done.weights, done.gguf_plan.quantised, plan.left_out);
    const bool is_torch = done.format == output_format::torch;
    if (!is_torch && (planned->tensors == 0 || done.format != output_format::safetensors)) return {};
    std::size_t found = 0;
    const std::string at = done.whole && done.weights && done.selected.empty() ? done.weights->path() : std::string();
    if (auto same = compare(done, written, at, found); !same) return same;
    const auto expected = is_torch ? expected_of_torch(done, plan) : std::optional{planned->tensors};
    if (found != expected.value_or(found)) return differs_from_written(written.path, "all keys");
    return {};
}

/// Writes the output as it was planned, shows how far that is, and reads each file back before it gets its name.
[[nodiscard]] ckpt::result<ckpt::write_report> write(conversion& from, const ckpt::write_report& plan,
                                                     const options& wanted) {
    progress_line line{wanted};
    const auto check = [&](const ckpt::finished_file& written) {
        auto same = read_back(from, plan, written);
        if (!same) same.error().file = written.path; // not that of the moment
        return same;
    };
    from.options.progress = line;
    from.options.check = check;
    auto out = make(from, wanted, true);
    from.options.progress = {};
    from.options.check = {};
    return out;
}

void write_path(json& to, const conversion& done, std::string_view key, const ckpt::error& why) {
    if (done.whole) {
        key_path path = elements_of(done.selected);
        std::ranges::copy(elements_of(why.path, *done.whole), std::back_inserter(path));
        return write(to, path);
    }
    key_path path = elements_of(done.weights->path(), done.weights->root());
    if (!is_tensor(done.weights->root())) path.emplace_back().text = key;
    write(to, path);
}

void write_document(json& to, const options& wanted, const conversion& done, const ckpt::write_report& report,
                    bool ok) {
    to.begin_object().member("schema", "ckpt.convert/1").member("in", wanted.file()).key("out").begin_array();
    for (const ckpt::written_file& f : report.files) to.text(f.path);
    to.end_array()
        .member("format", name_of(done.format))
        .member("tensors", report.tensors())
        .member("bytes", report.bytes());
    to.key("left_out").begin_array();
    for (const auto& [key, why] : done.left_out) {
        to.line().begin_object().key("path");
        write_path(to, done, key, *why);
        to.key("why");
        write(to, *why);
        to.end_object();
    }
    to.end_array().key("dropped").texts(done.dropped).key("casts").begin_array();
    for (const cast_tensor& c : done.casts)
        to.line()
            .begin_object()
            .member("key", c.key)
            .member("from", ckpt::name(c.from))
            .member("to", c.to)
            .end_object();
    to.end_array().key("shared").begin_array();
    for (const ckpt::tied_key& t : done.shared)
        to.line().begin_object().member("key", t.key).member("same_as", t.same_as).end_object();
    to.end_array().key("replaced").begin_array();
    for (const ckpt::replaced_value& r : done.replaced)
        to.line()
            .begin_object()
            .member("was", r.was)
            .member("now", r.now)
            .member("count", r.count)
            .member("first", r.path)
            .end_object();
    to.end_array().key("kept").begin_array();
    for (const auto* list : {&done.gguf_plan.kept, &done.kept})
        for (const ckpt::kept_tensor& t : *list)
            to.line().begin_object().member("key", t.key).member("why", t.why).end_object();
    to.end_array().key("notes").texts(done.notes);
    if (!report.removed.empty()) to.key("removed").texts(report.removed);
    if (!report.not_removed.empty()) to.key("not_removed").texts(report.not_removed);
    if (done.based) write_based(to, wanted, *done.based);
    if (done.folded) write_folded(to, *done.folded);
    to.member("ok", ok).end_object();
}

/// The entries of a file's root that the selection at `path` is no part of.
[[nodiscard]] std::vector<std::string> outside(const ckpt::checkpoint& file, std::string_view path) {
    std::vector<std::string> out;
    const key_path at = elements_of(path, file.root());
    if (at.empty() || file.root().kind() != ckpt::kind::dictionary) return out;
    for (const auto entry : file.root().entries())
        if (element_of(entry.key).text != at.front().text) out.push_back(printable(element_of(entry.key).text));
    return out;
}

[[nodiscard]] std::string what_helps(const conversion& done) {
    std::string out;
    if (done.folded && !done.folded->left.empty()) out += "What is not folded stays where --allow-loss names it; ";
    if (done.based && !done.based->unused.empty()) out += "--rules brings keys of IN together with those of the base; ";
    switch (done.format) {
    case output_format::safetensors: return out + "--dtype casts";
    case output_format::gguf: return out + "--rules shorten names and join dimensions; --dtype casts";
    case output_format::torch: return out + "--plain writes objects as dictionaries";
    default: return out + "--raw writes the bits of dtypes that numpy lacks; --dtype casts";
    }
}

/// For people: what is not in the output, or not as it was.
void print_changes(const ckpt::checkpoint& file, const conversion& done) {
    const auto print_outside = [](const std::vector<std::string>& others, const char* of) {
        if (others.empty()) return;
        std::string names;
        ckpt::detail::short_list list{names, {.most = 6}};
        for (const std::string& name : others)
            if (list.next()) names += name;
        list.end();
        print(paint(colour::dim, left("outside", 10)) + counted(others.size(), "entry is", "entries are") +
              " outside the state_dict" + of + ": " + names + '\n');
    };
    if (!done.whole) print_outside(outside(file, done.path_in), done.based ? " of IN" : "");
    if (done.based) print_outside(outside(done.based->base, done.based->from_base.path()), " of the base");
    if (done.based) print_based(*done.based, are_allowed(done, done.based->unused));
    if (done.folded) print_folded(*done.folded, are_allowed(done, *done.folded));
    print_each("left out", are_allowed(done, done.left_out) ? colour::dim : colour::yellow, done.left_out,
               [](const keyed_error& l) { return printable(l.first) + ": " + printable(l.second->detail); });
    print_each("left out", colour::dim, done.dropped,
               [](const std::string& key) { return printable(key) + ": by a rule"; });
    print_each("shared", colour::dim, done.shared, [](const ckpt::tied_key& t) {
        return printable(t.key) + " = " + printable(t.same_as) + ", written once";
    });
    print_each("cast", colour::dim, done.casts, [](const cast_tensor& c) {
        return printable(c.key) + ": " + std::string(ckpt::name(c.from)) + " -> " + std::string(c.to);
    });
    print_each("kept", colour::dim, done.gguf_plan.kept,
               [](const ckpt::kept_tensor& t) { return printable(t.key) + ": not quantised, " + printable(t.why); });
    print_each("kept", colour::dim, done.kept,
               [](const ckpt::kept_tensor& t) { return printable(t.key) + ": not cast, " + printable(t.why); });
    print_each("replaced", colour::dim, done.replaced, [](const ckpt::replaced_value& r) {
        return printable(r.was) + " -> " + printable(r.now) + ": " + (r.path.empty() ? "the root" : printable(r.path)) +
               (r.count > 1 ? " and " + counted(r.count - 1, "other", "others") : "");
    });
    print_some("note", colour::yellow, done.notes);
}

void print_conversion(const options& wanted, const ckpt::checkpoint& file, const conversion& done,
                      const ckpt::write_report& report, bool ok) {
    print_changes(file, done);
    if (!ok) {
        print(paint(colour::red, "nothing was written") + ": what is left out would be lost. " + what_helps(done) +
              ", --allow-loss PATTERN lets go\n");
        return;
    }
    print_each("removed", colour::dim, report.removed, [&](const std::string& old) {
        return printable(old) +
               (wanted.dry_run ? ": of the set that would be replaced" : ": of the set that was replaced");
    });
    print_each("note", colour::yellow, report.not_removed, [](const std::string& old) {
        return printable(old) +
               " is of an older set and cannot be removed: readers would take it for a part of the new one";
    });
    for (const ckpt::written_file& f : report.files)
        print(paint(colour::bold, printable(f.path)) + "  " +
              (f.tensors > 0 ? counted(f.tensors, "tensor", "tensors") + ", " : std::string()) + human_bytes(f.bytes) +
              (wanted.dry_run ? ", not written: --dry-run" : "") + '\n');
}

/// Applies the rules that were asked for.
[[nodiscard]] ckpt::result<void> rename(const ckpt::key_map& rules, conversion& to) {
    const ckpt::remap_plan plan = ckpt::plan_remap(*to.weights, rules);
    auto renamed = ckpt::remap(plan);
    if (!renamed) return std::move(renamed).error();
    to.weights = *std::move(renamed);
    for (const auto& d : plan.dropped) to.dropped.push_back(d.from);
    return {};
}

/// Lists entries that are no tensors.
void leave_out(const std::vector<ckpt::state_dict::other>& others, conversion& to) {
    const auto why = std::make_shared<const ckpt::error>(
        ckpt::error{.code = ckpt::errc::format_lacks,
                    .detail = "it is no tensor, and " + std::string(name_of(to.format)) + " holds tensors only"});
    for (const auto& other : others) to.left_out.emplace_back(other.key, why);
}

/// Whether an object is no flat dictionary: it holds others, as an optimizer does, or is a tensor.
[[nodiscard]] bool is_written_whole(const ckpt::value& v) {
    const auto holds = [](const ckpt::value& inner) {
        return inner.kind() == ckpt::kind::dictionary || inner.kind() == ckpt::kind::list ||
               inner.kind() == ckpt::kind::tuple;
    };
    if (v.kind() == ckpt::kind::list || v.kind() == ckpt::kind::tuple || is_tensor(v)) return true;
    for (const auto entry : v.entries())
        if (holds(entry.mapped)) return true;
    return false;
}

/// Lays the weights over a base, and folds them, where that was asked for. False where that fails: the command ends
/// then.
[[nodiscard]] bool change_weights(const options& wanted, const ckpt::checkpoint& file, conversion& to, int& exit_code) {
    if (wanted.base) {
        auto laid = lay_over_base(wanted, file, *to.weights);
        if (!laid) {
            exit_code = fail(wanted, laid.error());
            return false;
        }
        to.weights = laid->weights;
        if (to.format != output_format::torch) leave_out(laid->from_base.others(), to);
        to.based = *std::move(laid);
    }
    if (wanted.fold_weight_norm) {
        auto folded = fold_weights(wanted, *to.weights);
        if (!folded) {
            exit_code = interrupted() ? exit_of_interrupt() : fail(wanted, folded.error(), file.root());
            return false;
        }
        to.weights = folded->weights;
        to.folded = *std::move(folded);
    }
    return true;
}

/// Reads the metadata, and finds what is quantised, before casts. False where that fails: the command ends then.
[[nodiscard]] bool plan_blocks(const options& wanted, const ckpt::checkpoint& file, conversion& to, int& exit_code) {
    auto chosen = gguf_options_of(wanted);
    if (!chosen) {
        exit_code = fail(wanted, chosen.error(), {}, exit_usage);
        return false;
    }
    to.gguf = *std::move(chosen);
    auto plan = ckpt::plan_gguf(*to.weights, wanted.files[1], to.gguf);
    if (!plan) {
        exit_code = fail(wanted, plan.error(), file.root());
        return false;
    }
    to.gguf_plan = *std::move(plan);
    return true;
}

/// Reads the rules, the weights and the casts. Nothing where that fails: the command ends then.
[[nodiscard]] std::optional<conversion> prepare(const options& wanted, output_format format,
                                                const ckpt::checkpoint& file, int& exit_code) {
    std::optional<ckpt::key_map> rules;
    if (wanted.has_rules() && !read_rules(wanted, rules, exit_code)) return {};
    conversion out{.format = format};
    const bool is_torch = format == output_format::torch;
    const bool changes = rules || !wanted.casts.empty() || wanted.base || wanted.fold_weight_norm;
    if (is_torch && !wanted.select && !wanted.base) out.whole = file.root();
    if (!out.whole || changes) {
        auto weights = weights_of(file, wanted.select);
        if (!weights) {
            exit_code = fail(wanted, weights.error(), file.root());
            return {};
        }
        out.weights = *std::move(weights);
        out.path_in = out.weights->path();
    }
    if (is_torch && !out.whole && !wanted.base && is_written_whole(out.weights->root())) {
        out.whole = out.weights->root();
        out.selected = out.weights->path();
        if (!changes) out.weights.reset();
    }
    if (!is_torch) leave_out(out.weights->others(), out);
    out.options = {.overwrite = wanted.force,
                   .duplicate_shared = wanted.duplicate_shared,
                   .metadata = wanted.metadata,
                   .max_shard_bytes = wanted.max_shard_size};
    const std::optional<ckpt::state_dict> stored = out.weights;
    if (rules)
        if (auto done = rename(*rules, out); !done) {
            exit_code = fail(wanted, done.error());
            return {};
        }
    if (!change_weights(wanted, file, out, exit_code)) return {};
    if (format == output_format::safetensors)
        keep_metadata(out.based ? out.based->base : file, out.based ? out.based->from_base : *stored,
                      wanted.has_rules() || wanted.fold_weight_norm, out);
    if (format == output_format::gguf && !plan_blocks(wanted, file, out, exit_code)) return {};
    if (auto done = use_casts(wanted, out); !done) {
        exit_code = fail(wanted, done.error(), {}, exit_usage);
        return {};
    }
    for (const std::string& p : wanted.allow_loss) out.options.allow_loss.push_back(ckpt::pattern::parse(p).value());
    return out;
}

/// What a run that writes would fail with, for one that does not.
void add_obstacles(const options& wanted, const ckpt::write_report& plan, conversion& to) {
    std::error_code unknown;
    const std::filesystem::path folder = std::filesystem::path(wanted.files[1]).parent_path();
    if (!folder.empty() && !std::filesystem::is_directory(folder, unknown))
        to.notes.push_back('"' + printable(folder.string()) + "\" is no folder");
    for (const ckpt::written_file& f : plan.files)
        if (std::filesystem::is_directory(f.path, unknown))
            to.notes.push_back('"' + printable(f.path) + "\" is a folder");
        else if (!wanted.force && std::filesystem::exists(std::filesystem::symlink_status(f.path, unknown)))
            to.notes.push_back('"' + printable(f.path) + "\" exists: --force replaces it");
}

/// Adds what people should know of a conversion: patterns of --allow-loss that are none of what would be lost, and what
/// programs that read the format want.
void add_notes(const options& wanted, conversion& to) {
    const auto is_lost = [&](const ckpt::pattern& p) {
        return std::ranges::any_of(to.left_out, [&](const auto& l) { return p.matches(l.first); }) ||
               (to.based && std::ranges::any_of(to.based->unused, [&](const auto& u) { return p.matches(u.first); })) ||
               (to.folded && std::ranges::any_of(to.folded->left, [&](const auto& l) { return p.matches(l.key); }));
    };
    const auto is_key = [&](const ckpt::pattern& p) {
        return to.weights && std::ranges::any_of(*to.weights, [&](const auto& e) { return p.matches(e.key); });
    };
    const bool has_losses =
        !to.left_out.empty() || (to.based && !to.based->unused.empty()) || (to.folded && !to.folded->left.empty());
    for (std::size_t i = 0; has_losses && i < wanted.allow_loss.size(); ++i)
        if (const ckpt::pattern& p = to.options.allow_loss[i]; !is_lost(p) && !is_key(p))
            to.notes.push_back("--allow-loss " + wanted.allow_loss[i] + ": no key matches it");
    if (to.format == output_format::gguf)
        std::ranges::move(gguf_notes(to.gguf, *to.weights), std::back_inserter(to.notes));
}

/// What is wrong with the options for a format; empty where nothing is.
[[nodiscard]] std::string misplaced(const options& wanted, output_format format) {
    std::string_view belongs;
    if (format != output_format::safetensors &&
        (!wanted.metadata.empty() || wanted.max_shard_size != 0 || wanted.duplicate_shared))
        belongs = "--metadata, --max-shard-size and --duplicate-shared belong to .safetensors";
    else if (wanted.raw && format != output_format::npz && format != output_format::npy)
        belongs = "--raw belongs to .npz and .npy, whose format lacks dtypes";
    else if (wanted.plain && format != output_format::torch)
        belongs = "--plain belongs to .pt, .pth, .ckpt and .bin, which hold other values than tensors";
    else if (format != output_format::gguf &&
             (wanted.gguf_meta || std::ranges::any_of(wanted.casts, [](const options::cast_word& c) {
                  return c.quant != ckpt::gguf_quant::none;
              })))
        belongs = "--gguf-meta, Q8_0 and Q4_0 belong to .gguf";
    if (belongs.empty()) return {};
    return std::string(belongs) + "; OUT is \"" + printable(wanted.files[1]) + '"';
}

/// Opens IN. Objects of classes that nobody allowed are read only for their attributes: a file that names something
/// dangerous does not come so far.
[[nodiscard]] ckpt::result<ckpt::checkpoint> open_input(const options& wanted) {
    auto file = open(wanted.file(), wanted.policy);
    if (!file || !wanted.plain || wanted.has_policy || file->refused_globals().empty()) return file;
    return open(wanted.file(), policy_name::inspect);
}

} // namespace

int run_convert(const options& wanted) {
    const std::string& path = wanted.files[1];
    const std::optional<output_format> format = format_of(path);
    if (!format)
        return misused(wanted.json, "the format is told by the suffix of OUT: .safetensors, .pt (.pth, .ckpt, .bin), "
                                    ".gguf, .npz or .npy, not \"" +
                                        printable(path) + '"');
    if (const std::string wrong = misplaced(wanted, *format); !wrong.empty()) return misused(wanted.json, wrong);
    if (wanted.merge_lora && !wanted.base)
        return misused(wanted.json, "--merge-lora needs the model that the adapter belongs to: --base FILE");
    const auto file = open_input(wanted);
    if (!file) return fail(wanted, file.error());
    int exit_code = exit_fine;
    std::optional<conversion> done = prepare(wanted, *format, *file, exit_code);
    if (!done) return exit_code;
    auto report = make(*done, wanted, false);
    if (!report) return fail(wanted, report.error(), file->root());
    done->shared.insert(done->shared.end(), report->shared.begin(), report->shared.end());
    for (ckpt::left_out_tensor& t : report->left_out)
        done->left_out.emplace_back(t.key, std::make_shared<const ckpt::error>(std::move(t.why)));
    done->replaced = report->replaced;
    add_notes(wanted, *done);
    if (wanted.dry_run) add_obstacles(wanted, *report, *done);
    const bool ok = are_allowed(*done, done->left_out) && (!done->based || are_allowed(*done, done->based->unused)) &&
                    (!done->folded || are_allowed(*done, *done->folded));
    if (ok && !wanted.dry_run) {
        report = write(*done, *report, wanted);
        if (interrupted()) return exit_of_interrupt();
        if (!report) return fail(wanted, report.error(), file->root());
    }
    exit_code = ok && report->not_removed.empty() ? exit_fine : exit_finding;
    if (wanted.json) {
        json out{stdout};
        write_document(out, wanted, *done, *report, ok);
        return finish(out, exit_code);
    }
    print_conversion(wanted, *file, *done, *report, ok);
    return written(exit_code);
}

} // namespace tool
