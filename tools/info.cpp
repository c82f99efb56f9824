// `ckpt info`: what a file is, on one screen.
#include "common.hpp"
#include "render.hpp"

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/candidate_finder.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace tool {

namespace {

using ckpt::kind;

/// What one part of the file has of one dtype: its tensors under every path, their elements and bytes once each.
struct tensor_sum {
    std::string_view dtype{};
    std::uint64_t tensors{};
    std::uint64_t elements{};
    std::uint64_t nbytes{}; // of the tensors, shared ones counted again
    std::uint64_t stored{}; // of the tensors, each byte of a storage once
};

/// A part of the file: the weights, averages of them, or what else stands under one key of the root.
struct group {
    std::string name{};
    std::vector<ckpt::tensor> tensors{};
    std::vector<tensor_sum> dtypes{};
    std::uint64_t tied{};     // tensors that show the very bytes of an earlier one
    std::uint64_t repeated{}; // tensors whose elements are stored fewer times than they have them

    [[nodiscard]] tensor_sum all() const {
        tensor_sum out;
        for (const tensor_sum& d : dtypes) {
            out.tensors += d.tensors;
            out.elements += d.elements;
            out.nbytes += d.nbytes;
            out.stored += d.stored;
        }
        return out;
    }
};

/// The bits of a storage that one strided tensor, or one part of another, reaches.
struct stretch {
    std::uint32_t storage{};
    std::uint64_t begin{};
    std::uint64_t end{};
    std::uint64_t used{};    // at most the elements
    std::uint64_t element{}; // bits of one; 0 where the elements are counted elsewhere
    std::size_t dtype{};     // its row
};

[[nodiscard]] stretch stretch_of(const ckpt::tensor& t, std::size_t dtype, bool counts) {
    const std::uint64_t width = ckpt::bits(t.dtype());
    std::uint64_t reach = 1; // the geometry was checked: it lies in the storage
    std::uint64_t once = 1;
    for (std::size_t i = 0; i < t.rank(); ++i) {
        const auto size = static_cast<std::uint64_t>(t.shape()[i]), stride = static_cast<std::uint64_t>(t.strides()[i]);
        if (stride == 0) continue;
        reach += (size - 1) * stride;
        once *= size;
    }
    const std::uint64_t begin = t.storage_offset() * width;
    return {t.storage_id(), begin, begin + reach * width, std::min(reach, once) * width, counts ? width : 0, dtype};
}

/// Adds what a tensor has in storages: itself, or its parts.
void add_stretches(std::vector<stretch>& out, const ckpt::tensor& t, std::size_t dtype, bool counts) {
    if (t.refusal() != nullptr) return;
    if (t.layout() == ckpt::layout::strided && t.numel() > 0) out.push_back(stretch_of(t, dtype, counts));
    for (const ckpt::named_part p : t.parts()) add_stretches(out, p.tensor, dtype, false); // at most eight levels
}

/// Adds each element and each byte once, however many tensors show it.
void add_once(group& to, std::vector<stretch>& all) {
    const auto before = [](const stretch& a, const stretch& b) {
        return std::tie(a.storage, a.begin, a.end) < std::tie(b.storage, b.begin, b.end);
    };
    ckpt::detail::sort_values(all, before);
    for (std::size_t i = 0; i < all.size();) {
        std::uint64_t end = all[i].end, used = 0;
        std::size_t next = i;
        std::uint64_t element = 0;
        for (; next < all.size() && all[next].storage == all[i].storage && all[next].begin < end; ++next) {
            end = std::max(end, all[next].end);
            used += all[next].used;
            if (element == 0) element = all[next].element;
        }
        used = std::min(used, end - all[i].begin);
        tensor_sum& sum = to.dtypes[all[i].dtype];
        sum.stored += (used + 7) / 8;
        if (element != 0) sum.elements += used / element;
        i = next;
    }
}

void count(group& to) {
    std::vector<stretch> once;
    std::set<std::tuple<std::uint32_t, std::uint64_t, std::uint64_t>> seen; // storage, begin, elements
    for (const ckpt::tensor& t : to.tensors) {
        const std::string_view name = ckpt::name(t.dtype());
        auto at =
            std::find_if(to.dtypes.begin(), to.dtypes.end(), [&](const tensor_sum& d) { return d.dtype == name; });
        if (at == to.dtypes.end()) at = to.dtypes.insert(at, {.dtype = name});
        ++at->tensors;
        at->nbytes += t.nbytes();
        const bool strided = t.layout() == ckpt::layout::strided;
        const std::size_t first = once.size();
        add_stretches(once, t, static_cast<std::size_t>(at - to.dtypes.begin()), strided);
        if (first == once.size()) { // meta, or without elements
            at->elements += t.numel();
            continue;
        }
        const stretch& own = once[first];
        const bool is_new = seen.emplace(own.storage, own.begin, t.numel()).second;
        to.tied += !is_new;
        to.repeated += strided && own.used / ckpt::bits(t.dtype()) < t.numel();
        if (is_new && !strided) at->elements += t.numel();
    }
    add_once(to, once);
    ckpt::detail::sort_values(to.dtypes, [](const tensor_sum& a, const tensor_sum& b) { return a.nbytes > b.nbytes; });
}

/// How many of the first candidates are equally likely.
[[nodiscard]] std::size_t equally_likely(const std::vector<ckpt::candidate>& candidates) {
    std::size_t equal = 0;
    while (equal < candidates.size() && candidates[equal].rank == candidates.front().rank) ++equal;
    return equal;
}

[[nodiscard]] std::string place(const ckpt::candidate& c) { return c.path.empty() ? "the root" : printable(c.path); }

struct census {
    std::vector<group> groups{}; // the weights first
    group whole{};
    bool has_model{};              // the first group is the one place where the weights are
    std::uint64_t refused{};       // tensors that could not be built
    std::uint64_t uninitialized{}; // parameters and buffers of lazy modules, without values
    std::uint64_t storages{};      // bytes of the storages that the tensors lie in
    std::uint64_t outside{};       // tensors below the weights that are no part of the state_dict
    std::optional<ckpt::error> failure{};
};

/// The name of the group that a tensor belongs to: the weights or averages that it is of, or the first key of its path.
class group_names {
  public:
    group_names(const ckpt::value& root, const std::vector<ckpt::candidate>& candidates) : root_{root} {
        const std::size_t equal = equally_likely(candidates);
        for (std::size_t i = 0; i < candidates.size(); ++i)
            if (i < equal || candidates[i].averaged)
                places_.emplace_back(elements_of(candidates[i].path, root), place(candidates[i]));
    }
    [[nodiscard]] std::string of(const key_path& path) {
        const std::pair<key_path, std::string>* best = nullptr;
        for (const auto& p : places_)
            if (p.first.size() <= path.size() && std::equal(p.first.begin(), p.first.end(), path.begin()) &&
                (best == nullptr || p.first.size() > best->first.size()))
                best = &p;
        if (best != nullptr && (!best->first.empty() || path.empty() || !is_beside(path.front()))) return best->second;
        return path.empty() ? std::string("the root") : printable(path.front().text);
    }

  private:
    /// Whether a key of a root that holds the weights itself stands for something else.
    [[nodiscard]] bool is_beside(const ckpt::path_element& key) {
        const auto [known, is_new] = beside_.emplace(key.text, false);
        if (!is_new) return known->second;
        const auto below = root_.at(key.text);
        known->second = below && below->kind() == kind::dictionary &&
                        (ckpt::detail::is_among(ckpt::detail::other_names, key.text) ||
                         ckpt::detail::is_averaged_name(key.text) || ckpt::detail::is_optimizer(*below));
        return known->second;
    }

    ckpt::value root_;
    std::vector<std::pair<key_path, std::string>> places_{};
    std::map<std::string, bool> beside_{};
};

/// Tells the tensors below the weights that are no part of the state_dict: attributes of modules, what is in objects.
class outsiders {
  public:
    outsiders(const ckpt::checkpoint& file, const ckpt::candidate& weights)
        : place_{elements_of(weights.path, file.root())} {
        if (auto chosen = file.state_dict(weights.path)) entries_ = std::move(*chosen);
        if (entries_) next_ = entries_->begin();
    }
    /// Asked for each tensor of the file, in the order of the search, which the state_dict has too.
    [[nodiscard]] bool has(const ckpt::located_tensor& t) {
        if (!entries_ || t.path.size() < place_.size() || !std::equal(place_.begin(), place_.end(), t.path.begin()))
            return false;
        const ckpt::located_tensor below{{t.path.begin() + static_cast<std::ptrdiff_t>(place_.size()), t.path.end()}};
        if (next_ == entries_->end() || (*next_).key != below.key()) return true;
        ++next_;
        return false;
    }

  private:
    key_path place_;
    std::optional<ckpt::state_dict> entries_{};
    ckpt::state_dict::iterator next_{};
};

/// Counts every tensor that `ls --all` lists.
[[nodiscard]] census count(const ckpt::checkpoint& file, const std::vector<ckpt::candidate>& candidates,
                           std::uint64_t most) {
    census out;
    const ckpt::value root = file.root();
    auto found = ckpt::find_tensors(root, most);
    if (!found) {
        out.failure = std::move(found).error();
        return out;
    }
    group_names names{root, candidates};
    std::map<std::string, std::size_t> numbers;
    const auto add = [&](const std::string& name) -> group& {
        const auto [at, is_new] = numbers.emplace(name, out.groups.size());
        if (is_new) out.groups.push_back({.name = name});
        return out.groups[at->second];
    };
    out.has_model = !candidates.empty() && equally_likely(candidates) == 1;
    if (out.has_model) (void)add(place(candidates.front()));
    std::optional<outsiders> outside;
    if (out.has_model) outside.emplace(file, candidates.front());
    std::map<std::uint32_t, std::uint64_t> storages;
    for (const ckpt::located_tensor& t : *found) {
        const bool is_outside = outside && outside->has(t);
        if (const ckpt::error* refusal = t.tensor.refusal()) {
            ++(refusal->code == ckpt::errc::uninitialized ? out.uninitialized : out.refused);
            continue;
        }
        out.outside += is_outside;
        if (t.tensor.layout() == ckpt::layout::strided) storages[t.tensor.storage_id()] = t.tensor.storage_nbytes();
        out.whole.tensors.push_back(t.tensor);
        add(is_outside ? "outside the state_dict" : names.of(t.path)).tensors.push_back(t.tensor);
    }
    for (const auto& [id, bytes] : storages) out.storages += bytes;
    for (group& g : out.groups) count(g);
    count(out.whole);
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
    case kind::string:
        return '\'' + shortened(printable((*v.as_string()).substr(0, on_terminal(200))), on_terminal(24)) + '\'';
    case kind::object: return shortened(printable(class_name(v.class_of())), on_terminal(32));
    case kind::global: return shortened(printable(class_name(v)), on_terminal(32));
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
    screen() : columns_{on_terminal(std::min<std::size_t>(columns(), 200))} {}

    void line(std::string_view label, std::string text, colour c = colour::plain) {
        text = shortened(std::move(text), columns_ - indent);
        print(paint(colour::bold, left(std::string(label), indent)) + paint(c, text) + '\n');
    }
    [[nodiscard]] std::size_t room() const noexcept { return columns_ - indent; }

  private:
    static constexpr std::size_t indent = 10;
    std::size_t columns_;
};

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
        metadata += (metadata.empty() ? "" : "; ") + shortened(printable(ckpt::key_text(e.key)), on_terminal(30)) +
                    ": " + brief(e.mapped);
    if (!metadata.empty()) out.line("metadata", std::move(metadata));
}

/// Where the weights are: one best place, several equal ones, or none.
void print_places(screen& out, const std::vector<ckpt::candidate>& candidates) {
    const std::size_t equal = equally_likely(candidates);
    if (candidates.empty()) out.line("weights", "no dictionary of tensors was found", colour::yellow);
    else if (equal > 1)
        out.line("weights", "ambiguous: " + decimal(equal) + " places are equally likely; choose with --select",
                 colour::yellow);
    const std::size_t most = on_terminal(4);
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

/// What of the tensors of a group is stored once and shown several times.
[[nodiscard]] std::string sharing(const group& of) {
    std::string out;
    if (of.tied > 0) out += "; " + grouped(of.tied) + " tied";
    if (of.repeated > 0) out += "; " + grouped(of.repeated) + " expanded";
    return out;
}

/// The tensors of each part of the file by dtype: how many, and their elements and bytes, shared ones once.
void print_tensors(screen& out, const census& sums) {
    if (sums.failure) return out.line("tensors", "not counted: " + printable(sums.failure->detail), colour::yellow);
    if (sums.has_model && !sums.groups.front().tensors.empty()) {
        const group& model = sums.groups.front();
        const tensor_sum all = model.all();
        out.line("model", grouped(all.elements) + (all.elements == 1 ? " parameter" : " parameters") + " in " +
                              human_bytes(all.stored) + sharing(model));
    }
    const auto row = [&](const std::string& where, std::string_view dtype, const std::string& tensors,
                         const std::string& elements, const std::string& bytes, colour c) {
        out.line(c == colour::dim ? "tensors" : "",
                 left(shortened(where, on_terminal(22)), 22) + ' ' + left(std::string(dtype), 14) + right(tensors, 8) +
                     right(elements, 15) + right(bytes, 10),
                 c);
    };
    const auto sum_row = [&](const std::string& where, const tensor_sum& d) {
        row(where, d.dtype, grouped(d.tensors), grouped(d.elements), human_bytes(d.stored), colour::plain);
    };
    if (sums.whole.tensors.empty()) {
        out.line("tensors", "none");
    } else {
        row("under", "dtype", "tensors", "elements", "bytes", colour::dim);
        const std::size_t most_rows = on_terminal(4);
        std::size_t rows = 0;
        tensor_sum rest;
        for (const group& g : sums.groups)
            for (const tensor_sum& d : g.dtypes) {
                if (++rows <= most_rows) {
                    sum_row(&d == g.dtypes.data() ? g.name : std::string(), d);
                    continue;
                }
                rest.tensors += d.tensors;
                rest.elements += d.elements;
                rest.stored += d.stored;
            }
        if (rows > most_rows) sum_row("others", rest);
        if (rows > 1) sum_row("all", sums.whole.all());
        if (sums.storages > sums.whole.all().stored)
            out.line("", "the storages that they lie in have " + human_bytes(sums.storages));
    }
    if (sums.outside > 0)
        out.line("", counted(sums.outside, "tensor is an attribute, or is in an object,",
                             "tensors are attributes, or are in objects,") +
                         " outside the state_dict: see ckpt ls --all");
    if (sums.uninitialized > 0)
        out.line("",
                 counted(sums.uninitialized, "parameter or buffer was", "parameters or buffers were") +
                     " not initialised: saved before the first forward of a lazy module",
                 colour::yellow);
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
        const std::size_t most = on_terminal(2);
        for (std::size_t i = 0; i < said.outside.size() && i < most; ++i) {
            const ckpt::global_use& u = said.outside[i];
            out.line("",
                     "  " + printable(u.module) + '.' + printable(u.name) +
                         (u.verdict == ckpt::verdict::dangerous ? "  (dangerous)" : ""),
                     u.verdict == ckpt::verdict::dangerous ? colour::red : colour::plain);
        }
        if (said.outside.size() > most)
            out.line("", "  +" + decimal(said.outside.size() - most) + " more: see ckpt globals");
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
        const std::string item = shortened(key, on_terminal(30)) + ": " + brief(e.mapped);
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
    names = std::min(names, on_terminal(48));
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

/// The one place where the weights are: shared elements and bytes are counted once.
void write_model(json& to, const group& model) {
    const tensor_sum all = model.all();
    to.key("model").begin_object().member("tensors", all.tensors).member("parameters", all.elements);
    to.member("nbytes", all.nbytes).member("stored", all.stored).member("tied", model.tied).end_object();
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
    const census sums = count(*file, candidates, wanted.max_nodes);
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
    for (const tensor_sum& d : sums.whole.dtypes)
        out.key(d.dtype).begin_object().member("tensors", d.tensors).member("nbytes", d.nbytes).end_object();
    out.end_object();
    if (sums.has_model) write_model(out, sums.groups.front());
    if (sums.outside > 0) out.member("outside", sums.outside);
    if (sums.uninitialized > 0) out.member("uninitialized", sums.uninitialized);
    out.member("verdict", ckpt::name(said.verdict));
    if (folder) write_files(out, *folder);
    out.end_object();
    return finish(out, exit_fine);
}

} // namespace tool
