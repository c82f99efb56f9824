// `ckpt info`: what a file is, on one screen.
#include "common.hpp"
#include "render.hpp"

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/object_walk.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>

namespace tool {

namespace {

using ckpt::kind;

/// Tensors of one dtype, each counted once however many paths reach it.
struct dtype_sum {
    std::string_view name{};
    std::uint64_t tensors{};
    std::uint64_t elements{};
    std::uint64_t nbytes{};
};

struct census {
    std::vector<dtype_sum> dtypes{};
    std::uint64_t tensors{};
    std::uint64_t elements{};
    std::uint64_t nbytes{};
    std::uint64_t stored{};  // bytes of the storages
    std::uint64_t refused{}; // tensors that could not be built
};

/// Counts every tensor below `root`; linear in what is there.
[[nodiscard]] census count(const ckpt::value& root) {
    census out;
    std::vector<bool> seen;
    std::vector<bool> storages;
    const auto is_new = [](std::vector<bool>& marks, std::size_t id) {
        if (id >= marks.size()) marks.resize(id + 1 + marks.size() / 2);
        if (marks[id]) return false;
        marks[id] = true;
        return true;
    };
    std::vector<ckpt::value> todo{root};
    const auto add = [&](const ckpt::value& v) {
        if (v) todo.push_back(v);
    };
    while (!todo.empty()) {
        const ckpt::value v = todo.back();
        todo.pop_back();
        if (!is_new(seen, v.object_id())) continue;
        switch (v.kind()) {
        case kind::object:
        case kind::dictionary:
        case kind::list:
        case kind::tuple: ckpt::detail::each_below(v, add); break;
        case kind::tensor:
        case kind::array: {
            const ckpt::tensor t = *v.as_tensor();
            if (t.refusal() != nullptr) {
                ++out.refused;
                break;
            }
            const std::string_view name = ckpt::name(t.dtype());
            auto at = std::find_if(out.dtypes.begin(), out.dtypes.end(),
                                   [name](const dtype_sum& d) { return d.name == name; });
            if (at == out.dtypes.end()) at = out.dtypes.insert(at, {name, 0, 0, 0});
            ++at->tensors;
            at->elements += t.numel();
            at->nbytes += t.nbytes();
            ++out.tensors;
            out.elements += t.numel();
            out.nbytes += t.nbytes();
            if (t.layout() == ckpt::layout::strided && is_new(storages, t.storage_id()))
                out.stored += t.storage_nbytes();
            break;
        }
        default: break;
        }
    }
    ckpt::detail::sort_values(out.dtypes, [](const dtype_sum& a, const dtype_sum& b) { return a.nbytes > b.nbytes; });
    return out;
}

struct judgement {
    ckpt::file_verdict verdict{ckpt::file_verdict::clean};
    std::vector<ckpt::global_use> outside{}; // the worst first
    std::size_t names{};
};

[[nodiscard]] judgement judge(const options& wanted) {
    judgement out;
    // What the default policy says; --policy of info only says what may be shown.
    (void)scan_each(wanted.file(), policy_name::training,
                    [&out](const std::string&, const ckpt::result<ckpt::global_scan>& scanned) {
                        out.verdict =
                            std::max(out.verdict, scanned ? scanned->verdict() : ckpt::file_verdict::unreadable);
                        if (!scanned) return;
                        out.names += scanned->size();
                        for (const ckpt::global_use& u : *scanned)
                            if (u.verdict >= ckpt::verdict::refuse) out.outside.push_back(u);
                    });
    ckpt::detail::sort_values(out.outside, [](const auto& a, const auto& b) { return a.verdict > b.verdict; });
    return out;
}

/// A value in a few words.
[[nodiscard]] std::string brief(const ckpt::value& v) {
    switch (v.kind()) {
    case kind::none: return "None";
    case kind::boolean: return *v.as_bool() ? "True" : "False";
    case kind::integer: return integer_bytes(v) > 16 ? "int" : integer_text(v);
    case kind::real: return number_text(*v.as_real());
    case kind::string: return '\'' + shortened(printable((*v.as_string()).substr(0, 200)), 24) + '\'';
    case kind::object: return shortened(printable(class_name(v.class_of())), 32);
    case kind::global: return shortened(printable(class_name(v)), 32);
    case kind::tensor:
    case kind::array:
        return v.refusal() != nullptr
                   ? std::string("refused")
                   : std::string(ckpt::name((*v.as_tensor()).dtype())) + ' ' + shape_text((*v.as_tensor()).shape());
    case kind::dictionary:
    case kind::list:
    case kind::tuple:
    case kind::set: return std::string(ckpt::name(v.kind())) + " of " + grouped(v.size());
    default: return std::string(ckpt::name(v.kind()));
    }
}

/// Lines with a label before the first, at most as many as fit.
class screen {
  public:
    screen() : columns_{std::min<std::size_t>(columns(), 200)} {}

    void line(std::string_view label, std::string text, colour c = colour::plain) {
        text = shortened(std::move(text), columns_ - indent);
        print(paint(colour::bold, left(std::string(label), indent)) + paint(c, text) + '\n');
    }
    [[nodiscard]] std::size_t room() const noexcept { return columns_ - indent; }

  private:
    static constexpr std::size_t indent = 10;
    std::size_t columns_;
};

[[nodiscard]] std::string place(const ckpt::candidate& c) { return c.path.empty() ? "the root" : printable(c.path); }

/// The file, what wrote it, and the metadata of its header.
void print_file(screen& out, const options& wanted, const ckpt::checkpoint& file) {
    const std::string_view order = file.byte_order() == ckpt::byte_order::little ? "little-endian" : "big-endian";
    out.line("file", shortened_in_the_middle(printable(wanted.file()), out.room()), colour::bold);
    out.line("", std::string(file.container()) + ", " + human_bytes(file.file_bytes()) + ", " + std::string(order) +
                     (file.byte_order_recorded() ? "" : " (not recorded)"));
    out.line("", "written by " + printable(file.writer()));
    if (const auto n = file.checkpoints_in_file(); n > 1)
        out.line("", "the first of " + grouped(n) + " checkpoints in the file: open_options.index opens the others");
    if (!is_folder(wanted.file()) && file.files().size() == 1)
        out.line("", "of a tar archive: " + printable(file.files().front()));
    std::string metadata;
    for (const ckpt::value::entry e : file.metadata().entries())
        metadata +=
            (metadata.empty() ? "" : "; ") + shortened(printable(ckpt::key_text(e.key)), 30) + ": " + brief(e.mapped);
    if (!metadata.empty()) out.line("metadata", std::move(metadata));
}

/// How many of the first candidates are equally likely.
[[nodiscard]] std::size_t equally_likely(const std::vector<ckpt::candidate>& candidates) {
    std::size_t equal = 0;
    while (equal < candidates.size() && candidates[equal].rank == candidates.front().rank) ++equal;
    return equal;
}

/// Where the weights are: one best place, several equal ones, or none.
void print_places(screen& out, const std::vector<ckpt::candidate>& candidates) {
    const std::size_t equal = equally_likely(candidates);
    if (candidates.empty()) out.line("weights", "no dictionary of tensors was found", colour::yellow);
    else if (equal > 1)
        out.line("weights", "ambiguous: " + decimal(equal) + " places are equally likely; choose with --select",
                 colour::yellow);
    constexpr std::size_t most = 4;
    for (std::size_t i = 0; i < candidates.size() && i < most; ++i) {
        const bool best = i == 0 && equal == 1;
        out.line(best ? "weights" : "",
                 (best        ? ""
                  : i < equal ? "  either "
                              : "  or ") +
                     place(candidates[i]) + " (" + counted(candidates[i].tensors, "tensor", "tensors") +
                     "): " + candidates[i].reason,
                 best ? colour::green : colour::plain);
    }
    if (candidates.size() > most) out.line("", "  +" + decimal(candidates.size() - most) + " more");
}

/// The tensors by dtype: how many, of how many elements and bytes.
void print_tensors(screen& out, const census& sums) {
    const auto row = [&](std::string_view label, std::string_view name, const std::string& tensors,
                         const std::string& elements, std::uint64_t bytes) {
        out.line(label, left(std::string(name), 16) + right(tensors, 12) + right(elements, 18) +
                            right(human_bytes(bytes), 12));
    };
    if (sums.tensors == 0) {
        out.line("tensors", "none");
    } else {
        out.line("tensors", left("dtype", 16) + right("tensors", 12) + right("parameters", 18) + right("bytes", 12),
                 colour::dim);
        constexpr std::size_t most_dtypes = 5;
        dtype_sum rest{"others", 0, 0, 0};
        for (std::size_t i = 0; i < sums.dtypes.size(); ++i) {
            const dtype_sum& d = sums.dtypes[i];
            if (i < most_dtypes) {
                row("", d.name, grouped(d.tensors), grouped(d.elements), d.nbytes);
                continue;
            }
            rest.tensors += d.tensors;
            rest.elements += d.elements;
            rest.nbytes += d.nbytes;
        }
        if (rest.tensors > 0) row("", rest.name, grouped(rest.tensors), grouped(rest.elements), rest.nbytes);
        if (sums.dtypes.size() > 1) row("", "all", grouped(sums.tensors), grouped(sums.elements), sums.nbytes);
        if (sums.stored < sums.nbytes)
            out.line("", "shared: " + human_bytes(sums.stored) + " are stored, some tensors share their bytes");
    }
    if (sums.refused > 0)
        out.line("", counted(sums.refused, "tensor", "tensors") + " could not be read: see ckpt ls --all", colour::red);
}

/// Whether the names that the file asks for are known, and the first of those that are not.
void print_globals(screen& out, const judgement& said) {
    if (said.verdict == ckpt::file_verdict::clean) {
        out.line("globals", "clean: " + counted(said.names, "name", "names") + ", all of them known", colour::green);
    } else if (said.verdict == ckpt::file_verdict::unreadable) {
        out.line("globals", "unreadable: see ckpt globals", colour::red);
    } else {
        const bool dangerous = said.verdict == ckpt::file_verdict::dangerous;
        const auto attacks = std::count_if(said.outside.begin(), said.outside.end(), [](const ckpt::global_use& u) {
            return u.verdict == ckpt::verdict::dangerous;
        });
        std::string text(ckpt::name(said.verdict));
        text += ": " + (dangerous ? counted(static_cast<std::uint64_t>(attacks), "name", "names") +
                                        " can only be an attack; nothing was run"
                                  : counted(said.outside.size(), "name", "names") +
                                        " outside the default policy; nothing was run");
        out.line("globals", std::move(text), dangerous ? colour::red : colour::yellow);
        for (std::size_t i = 0; i < said.outside.size() && i < 2; ++i) {
            const ckpt::global_use& u = said.outside[i];
            out.line("",
                     "  " + printable(u.module) + '.' + printable(u.name) +
                         (u.verdict == ckpt::verdict::dangerous ? "  (dangerous)" : ""),
                     u.verdict == ckpt::verdict::dangerous ? colour::red : colour::plain);
        }
        if (said.outside.size() > 2) out.line("", "  +" + decimal(said.outside.size() - 2) + " more: see ckpt globals");
    }
}

/// What stands beside the weights, as much as fits into three lines.
void print_beside(screen& out, const ckpt::value& root, const std::vector<ckpt::candidate>& candidates) {
    const std::size_t equal = equally_likely(candidates);
    const std::string_view weights =
        candidates.empty() ? std::string_view{} : std::string_view(candidates.front().path);
    if (root.kind() != kind::dictionary ||
        (!candidates.empty() && weights.empty() && equal == 1 && candidates.front().rank >= 100)) {
        if (root.kind() != kind::dictionary) out.line("root", brief(root));
        return;
    }
    constexpr std::size_t most_lines = 3;
    std::vector<std::string> lines(1);
    std::size_t left_out = 0;
    for (const ckpt::value::entry e : root.entries()) {
        const std::string key = printable(ckpt::key_text(e.key));
        if (key == weights && equal == 1) continue;
        const std::string item = shortened(key, 30) + ": " + brief(e.mapped);
        if (lines.back().empty()) lines.back() = item;
        else if (width(lines.back()) + 2 + width(item) <= out.room() - (lines.size() == most_lines ? 12 : 0))
            lines.back() += "; " + item;
        else if (lines.size() < most_lines) lines.push_back(item);
        else ++left_out;
    }
    if (lines.front().empty()) return;
    if (left_out > 0) lines.back() += "; +" + grouped(left_out) + " more";
    for (std::size_t i = 0; i < lines.size(); ++i) out.line(i == 0 ? "beside" : "", lines[i]);
}

void print_info(const options& wanted, const ckpt::checkpoint& file, const std::vector<ckpt::candidate>& candidates,
                const census& sums, const judgement& said) {
    screen out;
    print_file(out, wanted, file);
    print_places(out, candidates);
    print_tensors(out, sums);
    print_globals(out, said);
    print_beside(out, file.root(), candidates);
}

/// What is in the directory that was given; nothing for a file.
[[nodiscard]] std::optional<ckpt::folder_report> folder_of(const options& wanted) {
    if (!is_folder(wanted.file())) return std::nullopt;
    auto report = examine(wanted.file(), wanted.policy);
    if (!report) return std::nullopt;
    return std::move(*report);
}

/// What a file of a folder is, and whether it was chosen.
[[nodiscard]] std::string description(const ckpt::folder_report& folder, const ckpt::folder_file& file) {
    return file.is + (file.name == folder.chosen ? ", opened: " + folder.reason : "");
}
void print_files(const ckpt::folder_report& folder) {
    screen out;
    std::size_t names = 0;
    for (const ckpt::folder_file& f : folder.files) names = std::max(names, width(printable(f.name)));
    names = std::min<std::size_t>(names, 48);
    const bool one_file = std::any_of(folder.files.begin(), folder.files.end(),
                                      [&](const ckpt::folder_file& f) { return f.name == folder.chosen; });
    if (!folder.chosen.empty() && !one_file)
        out.line("opened", printable(folder.chosen) + ": " + folder.reason, colour::green);
    for (const ckpt::folder_file& f : folder.files)
        out.line(&f == folder.files.data() ? "files" : "",
                 left(shortened_in_the_middle(printable(f.name), names), names) + "  " +
                     right(human_bytes(f.bytes), 10) + "  " + printable(description(folder, f)),
                 f.name == folder.chosen ? colour::green : colour::plain);
}
void write_files(json& to, const ckpt::folder_report& folder) {
    to.key("files").begin_array();
    for (const ckpt::folder_file& f : folder.files)
        to.line().begin_object().member("file", f.name).member("is", description(folder, f)).end_object();
    to.end_array();
}

} // namespace

int run_info(const options& wanted) {
    const std::optional<ckpt::folder_report> folder = folder_of(wanted);
    const auto file = open(wanted.file(), wanted.policy);
    if (!file) {
        if (!wanted.json && folder) print_files(*folder);
        return fail(wanted, file.error());
    }
    const ckpt::value root = file->root();
    const std::vector<ckpt::candidate> candidates = file->state_dicts();
    const census sums = count(root);
    const judgement said = judge(wanted);
    if (!wanted.json) {
        print_info(wanted, *file, candidates, sums, said);
        if (folder) print_files(*folder);
        return written(exit_fine);
    }
    json out{stdout};
    out.begin_object()
        .member("schema", "ckpt.info/1")
        .member("file", wanted.file())
        .member("container", file->container())
        .member("writer", file->writer());
    out.member("byte_order", file->byte_order() == ckpt::byte_order::little ? "little" : "big")
        .key("candidates")
        .begin_array();
    for (const ckpt::candidate& c : candidates) {
        out.begin_object().key("path");
        write(out, elements_of(c.path, root));
        out.member("reason", c.reason).member("tensors", c.tensors).end_object();
    }
    out.end_array().key("dtypes").begin_object();
    for (const dtype_sum& d : sums.dtypes)
        out.key(d.name).begin_object().member("tensors", d.tensors).member("nbytes", d.nbytes).end_object();
    out.end_object().member("verdict", ckpt::name(said.verdict));
    if (folder) write_files(out, *folder);
    out.end_object();
    return finish(out, exit_fine);
}

} // namespace tool
