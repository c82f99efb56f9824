// `ckpt ls`: the tensors of a state_dict, as it is or after key rules, or of the whole file.
#include "common.hpp"
#include "key_parts.hpp"
#include "listing.hpp"
#include "progress.hpp"
#include "render.hpp"
#include "stat.hpp"

#include <ckpt/core/short_list.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

namespace tool {

namespace {

/// Faults of records, for --strict.
class record_faults {
  public:
    explicit record_faults(const ckpt::checkpoint& file) : report_{file.verify({.checksums = false})} {
        for (const ckpt::error& e : report_.findings) {
            const bool of_a_value = static_cast<unsigned>(e.code) >= 300 || e.code == ckpt::errc::record_missing ||
                                    e.code == ckpt::errc::compressed;
            if (of_a_value) values_.push_back(&e); // not of a record
            if (of_a_value) continue;
            const std::size_t at = e.record.rfind("/data/");
            if (at != std::string::npos) by_storage_.emplace(place{e.file, e.record.substr(at + 6)}, &e);
            else if (homeless_ == nullptr) homeless_ = &e;
        }
    }
    record_faults(const record_faults&) = delete;
    record_faults& operator=(const record_faults&) = delete;

    [[nodiscard]] bool any() const noexcept { return !report_.ok(); }
    /// The fault of a record that a tensor lies in, or null.
    [[nodiscard]] const ckpt::error* of(const row& r) const {
        if (r.made_of.empty()) return of(r.tensor);
        for (const ckpt::tensor& t : r.made_of)
            if (const ckpt::error* fault = of(t)) return fault;
        return nullptr;
    }
    /// A fault of a record that no row shows, or null.
    [[nodiscard]] const ckpt::error* without_a_row(const std::vector<row>& rows) const {
        if (homeless_ != nullptr) return homeless_;
        auto left = by_storage_;
        for (const row& r : rows) {
            if (left.empty()) break;
            if (r.made_of.empty()) take(r.tensor, left);
            for (const ckpt::tensor& t : r.made_of) take(t, left);
        }
        return left.empty() ? nullptr : left.begin()->second;
    }

    /// A fault of a value that no row shows, or null. `shown`: the errors of the rows.
    [[nodiscard]] const ckpt::error* value_without_a_row(const std::vector<ckpt::error>& shown) const {
        for (const ckpt::error* e : values_)
            if (std::none_of(shown.begin(), shown.end(), [e](const ckpt::error& s) {
                    return s.code == e->code && (s.detail == e->detail || s.record == e->record);
                }))
                return e;
        return nullptr;
    }

  private:
    using place = std::pair<std::string, std::string>; // a file of a set, and the storage's key
    /// Of the tensor's own record, or of one that a part lies in.
    [[nodiscard]] const ckpt::error* of(const ckpt::tensor& t) const {
        const auto found = by_storage_.find(place_of(t));
        if (found != by_storage_.end()) return found->second;
        if (by_storage_.empty()) return nullptr;
        for (const ckpt::named_part p : t.parts())
            if (const ckpt::error* fault = of(p.tensor)) return fault;
        return nullptr;
    }
    /// Takes out what the row of `t` shows.
    static void take(const ckpt::tensor& t, std::map<place, const ckpt::error*>& left) {
        // A tensor that was refused because of its record says which one.
        if (const ckpt::error* refusal = t.refusal())
            std::erase_if(left, [&](const auto& f) { return f.second->record == refusal->record; });
        else left.erase(place_of(t));
        for (const ckpt::named_part p : t.parts()) take(p.tensor, left);
    }
    [[nodiscard]] static place place_of(const ckpt::tensor& t) {
        return {std::string(t.file()), std::string(t.storage_key())};
    }

    ckpt::verify_report report_;
    std::map<place, const ckpt::error*> by_storage_{};
    std::vector<const ckpt::error*> values_{};
    const ckpt::error* homeless_{nullptr};
};

/// What is wrong with a row: with a record that it lies in, or with its indices. Null for nothing; `room` keeps what
/// was found.
[[nodiscard]] const ckpt::error* fault_of(const row& r, const record_faults* faults, ckpt::error& room) {
    if (faults == nullptr || r.tensor.refusal() != nullptr) return nullptr;
    if (const ckpt::error* fault = faults->of(r)) return fault;
    auto valid = ckpt::check_values(r.tensor);
    if (valid) return nullptr;
    room = std::move(valid).error();
    return &room;
}

/// The errors that the rows show under --strict.
[[nodiscard]] std::vector<ckpt::error> errors_of(const std::vector<row>& rows, const record_faults& faults) {
    std::vector<ckpt::error> out;
    for (const row& r : rows) {
        ckpt::error found;
        if (r.tensor.refusal() != nullptr) out.push_back(*r.tensor.refusal());
        else if (const ckpt::error* fault = fault_of(r, &faults, found)) out.push_back(*fault);
        else if (const auto offset = r.tensor.file_offset(); !offset) out.push_back(offset.error());
        for (const ckpt::named_part part : r.tensor.parts())
            if (part.tensor.refusal() != nullptr) out.push_back(*part.tensor.refusal());
    }
    return out;
}

// --- for people ---

/// One line, which may stand for many tensors.
struct folded_line {
    key_parts parts{};
    std::string dtype{};
    std::string shape{};
    std::string kind{}; // of a tensor that is more than one array
    std::string tied{}; // to which earlier tensor
    std::string note{}; // digest or error
    std::uint64_t nbytes{};
    std::uint64_t tensors{1};
    bool refused{};
};

/// Merges lines that differ in one number of the key only, over consecutive numbers.
void fold(std::vector<folded_line>& lines) {
    for (std::size_t position = 0; position < deepest_part; ++position) {
        std::map<std::tuple<std::string, std::string, std::string, std::string, std::uint64_t>,
                 std::vector<std::pair<std::int64_t, std::size_t>>>
            alike;
        for (std::size_t i = 0; i < lines.size(); ++i) {
            folded_line& line = lines[i];
            if (position >= line.parts.size() || line.refused || !line.note.empty()) continue;
            const auto n = counter(line.parts[position]);
            if (!n) continue;
            const std::string kept = std::exchange(line.parts[position], "{}");
            alike[{joined(line.parts), line.dtype, line.shape, line.kind, line.tensors}].emplace_back(*n, i);
            line.parts[position] = kept;
        }
        std::vector<bool> gone(lines.size());
        for (auto& [what, numbers] : alike) {
            std::sort(numbers.begin(), numbers.end());
            for (std::size_t begin = 0; begin < numbers.size();) {
                std::size_t end = begin + 1;
                while (end < numbers.size() && numbers[end].first == numbers[end - 1].first + 1) ++end;
                if (end - begin > 1) {
                    std::size_t first = numbers[begin].second;
                    for (std::size_t i = begin; i < end; ++i) first = std::min(first, numbers[i].second);
                    folded_line& into = lines[first];
                    into.parts[position] = range(numbers[begin].first, numbers[end - 1].first);
                    for (std::size_t i = begin; i < end; ++i) {
                        if (numbers[i].second == first) continue;
                        into.nbytes += lines[numbers[i].second].nbytes;
                        into.tensors += lines[numbers[i].second].tensors;
                        if (into.tied != lines[numbers[i].second].tied) into.tied = "some are tied";
                        gone[numbers[i].second] = true;
                    }
                }
                begin = end;
            }
        }
        std::size_t kept = 0;
        for (std::size_t i = 0; i < lines.size(); ++i)
            if (!gone[i]) {
                if (kept != i) lines[kept] = std::move(lines[i]);
                ++kept;
            }
        lines.resize(kept);
    }
}

/// Bytes of each storage that a tensor or a part of it lies in.
void add_storages(const ckpt::tensor& t, std::map<std::uint32_t, std::uint64_t>& stored) {
    if (t.refusal() != nullptr) return;
    if (t.layout() == ckpt::layout::strided) stored[t.storage_id()] = t.storage_nbytes();
    for (const ckpt::named_part p : t.parts()) add_storages(p.tensor, stored);
}

/// The line of a tensor, and one for each part of a tensor that consists of parts: "key:part".
void add_lines(std::vector<folded_line>& lines, const std::string& key, const ckpt::tensor& t, bool is_array,
               const tensor_digests* digest) {
    folded_line& line = lines.emplace_back();
    line.parts = split(printable(key));
    if (t.refusal() != nullptr) return;
    line.dtype = ckpt::name(t.dtype());
    if (t.layout() != ckpt::layout::strided) line.dtype += ", " + std::string(ckpt::name(t.layout()));
    if (is_array) line.dtype += ", numpy";
    line.shape = shape_text(t.shape());
    line.kind = kind_text(t);
    line.nbytes = t.nbytes();
    if (t.layout() == ckpt::layout::strided) return;
    for (const ckpt::named_part p : t.parts()) {
        const std::size_t at = lines.size();
        add_lines(lines, key + ':' + std::string(p.name), p.tensor, false, digest);
        if (const ckpt::error* refusal = p.tensor.refusal()) {
            lines[at].refused = true;
            lines[at].note = std::string(ckpt::info(refusal->code).name) + ": " + printable(refusal->detail);
        } else if (digest != nullptr && p.tensor.layout() == ckpt::layout::strided) {
            if (const auto crc = digest->of(p.tensor)) lines[at].note = hex8(*crc);
        }
    }
}

/// The table: a head, and a row for each line, in columns as wide as they need to be and the terminal lets them.
class table {
  public:
    table(const std::vector<folded_line>& lines, bool has_digests) : digests_{has_digests ? std::size_t{10} : 0} {
        for (const folded_line& line : lines) {
            keys_ = std::max(keys_, width(joined(line.parts)));
            dtypes_ = std::max(dtypes_, width(line.dtype));
            shapes_ = std::max(shapes_, width(line.shape));
            if (line.tensors > 1) counts_ = std::max(counts_, 3 + decimal(line.tensors).size());
        }
        shapes_ = std::min<std::size_t>(shapes_, 40);
        const std::size_t others = 2 + dtypes_ + 2 + shapes_ + 2 + size_columns + digests_ + counts_;
        keys_ = std::min(keys_, on_terminal(std::max<std::size_t>(columns() > others ? columns() - others : 0, 16)));
    }

    void print_head() const {
        print(paint(colour::dim, left("key", keys_) + "  " + left("dtype", dtypes_) + "  " + left("shape", shapes_) +
                                     "  " + right("size", size_columns) + (digests_ > 0 ? "  crc32" : "")) +
              '\n');
    }
    void print_line(const folded_line& line) const {
        const std::string key = left(shortened_key(joined(line.parts), keys_), keys_) + "  ";
        if (line.refused) return print(key + paint(colour::red, fitted(line.note, width(key))) + '\n');
        const std::string shape = left(shortened(line.shape, on_terminal(shapes_)), shapes_);
        const std::string behind = "  " + shape + "  " + right(human_bytes(line.nbytes), size_columns) +
                                   (digests_ > 0 ? "  " + left(line.note, digests_ - 2) : "") +
                                   (line.tensors > 1 ? "  x" + decimal(line.tensors) : "");
        const std::size_t used = width(key) + dtypes_ + width(behind) + 2;
        const std::string more = line.kind + (line.kind.empty() || line.tied.empty() ? "" : ", ") + line.tied;
        const std::string kind = more.empty() ? "" : "  " + fitted(more, used);
        print(key + paint(colour::cyan, left(line.dtype, dtypes_)) + behind + paint(colour::dim, kind) + '\n');
    }

  private:
    static constexpr std::size_t size_columns = 10;

    /// What fits behind `used` columns.
    [[nodiscard]] static std::string fitted(const std::string& text, std::size_t used) {
        return shortened(text, on_terminal(columns() > used + 4 ? columns() - used : 4));
    }

    std::size_t keys_{3};
    std::size_t dtypes_{5};
    std::size_t shapes_{5};
    std::size_t digests_;
    std::size_t counts_{0};
};

/// Says of a tensor which shows the very elements of an earlier one that it does.
class tied_rows {
  public:
    void mark(const row& r, folded_line& line) {
        const ckpt::tensor& t = r.tensor;
        if (t.refusal() != nullptr || t.layout() != ckpt::layout::strided || t.is_gathered() || t.numel() == 0) return;
        std::string what = decimal(t.storage_id()) + ' ' + decimal(t.storage_offset()) + ' ' +
                           std::string(ckpt::name(t.dtype())) + shape_text(t.shape()) + shape_text(t.strides());
        const auto [first, is_new] = seen_.emplace(std::move(what), r.key);
        if (!is_new) line.tied = "= " + printable(first->second);
    }

  private:
    std::unordered_map<std::string, std::string> seen_{};
};

/// Reads what --digest asks for: the rows, and for people the whole state_dict.
[[nodiscard]] tensor_digests digests_of(const listing& all, const options& wanted) {
    tensor_digests out;
    if (!wanted.digest) return out;
    for (const row& r : all.rows) out.add(r.tensor);
    if (all.weights && !wanted.json)
        for (const auto entry : *all.weights) out.add(entry.tensor);
    out.read(wanted);
    return out;
}

/// The digest of the state_dict; empty where one of its tensors has none, or nobody asked.
[[nodiscard]] std::string digest_of_all(const listing& all, const tensor_digests* digest) {
    if (digest == nullptr || !all.weights) return {};
    std::vector<std::uint32_t> sums;
    for (const auto entry : *all.weights) {
        const auto sum = entry.tensor.layout() == ckpt::layout::strided && entry.tensor.refusal() == nullptr
                             ? digest->of(entry.tensor)
                             : entry.tensor.crc32();
        if (!sum) return {};
        sums.push_back(*sum);
    }
    return ckpt::checkpoint_digest(*all.weights, sums);
}

[[nodiscard]] int print_listing(const listing& all, const options& wanted, const record_faults* faults,
                                const tensor_digests* digest) {
    std::vector<folded_line> lines;
    std::uint64_t elements = 0;
    std::uint64_t bytes = 0;
    std::map<std::uint32_t, std::uint64_t> stored; // bytes of each storage
    std::size_t wrong = 0;
    int worst = exit_fine;
    tied_rows tied;
    for (const row& r : all.rows) {
        const ckpt::tensor& t = r.tensor;
        ckpt::error found;
        const ckpt::error* error = t.refusal() != nullptr ? t.refusal() : fault_of(r, faults, found);
        if (t.refusal() == nullptr) {
            elements += t.numel();
            bytes += t.nbytes();
            add_storages(t, stored);
        }
        const std::size_t first = lines.size();
        add_lines(lines, r.key, t, r.is_array, digest);
        folded_line& line = lines[first];
        if (!r.is_array) tied.mark(r, line);
        if (error == nullptr && (digest != nullptr || wanted.strict)) {
            if (const auto offset = t.file_offset(); t.layout() == ckpt::layout::strided && !offset &&
                                                     !t.is_gathered() && offset.error().code != ckpt::errc::no_data)
                error = &(found = offset.error());
            else if (digest != nullptr && t.layout() == ckpt::layout::strided) {
                if (const auto crc = digest->of(t)) line.note = hex8(*crc);
                else error = &(found = crc.error());
            }
        }
        if (error != nullptr) {
            line.refused = true;
            ++wrong;
            worst = worse(worst, exit_of_row(*error));
            line.note =
                std::string(ckpt::info(error->code).name) + ": " +
                printable(error->detail.empty() ? ckpt::info(error->code).meaning : std::string_view(error->detail));
        }
    }
    if (is_terminal() && !wanted.no_fold && !wanted.sort && !wanted.top) fold(lines);

    const table out{lines, wanted.digest};
    out.print_head();
    for (const folded_line& line : lines) out.print_line(line);
    std::uint64_t on_disk = 0;
    for (const auto& [id, n] : stored) on_disk += n;
    std::string total = counted(all.rows.size(), "tensor", "tensors") +
                        (all.rows.size() < all.found ? " of " + grouped(all.found) : "") + ", " +
                        counted(elements, "element", "elements") + ", " + human_bytes(bytes);
    if (on_disk < bytes) total += " (" + human_bytes(on_disk) + " stored: some share their bytes)";
    if (wrong > 0) total += ", " + paint(colour::red, grouped(wrong) + " with an error");
    if (!wanted.all && !all.selected.empty()) total += ", under " + printable(path_text(all.selected));
    print(total + '\n');
    if (all.outside > 0)
        print(counted(all.outside, "tensor is", "tensors are") +
              " outside the state_dict, in attributes or objects; list all with: ckpt ls --all\n");
    if (wanted.strict && wrong == 0 && faults->any())
        print(paint(colour::red, "values that have no row here are damaged; list them with: ckpt verify") + '\n');
    if (const std::string whole = digest_of_all(all, digest); !whole.empty()) print("digest " + whole + '\n');
    return written(wanted.strict ? worse(worst, faults->any() ? exit_finding : exit_fine) : exit_fine);
}

/// Says on standard error which values the policy refused: they may hold tensors that have no row.
void print_refused(const std::vector<ckpt::error>& refused) {
    if (refused.empty()) return;
    std::string text = counted(refused.size(), "value has", "values have") + " a class outside the policy: ";
    ckpt::detail::short_list names{text};
    for (const ckpt::error& e : refused)
        if (names.next())
            text += '"' + printable(shortened(e.path, 64)) + "\" (" + printable(shortened(e.module, 64)) + ' ' +
                    printable(shortened(e.name, 64)) + ')';
    names.end();
    std::fprintf(stderr, "ckpt: %s; --policy inspect shows what is in them\n", text.c_str());
}

[[nodiscard]] int write_listing(const ckpt::checkpoint& file, const listing& all, const options& wanted,
                                const record_faults* faults, const tensor_digests* digest) {
    const ckpt::value root = file.root();
    std::uint64_t to_read = 0;
    if (wanted.stats)
        for (const row& r : all.rows) to_read += bytes_to_read(r.tensor);
    progress_line line{wanted, to_read};
    json out{stdout};
    out.begin_object()
        .member("schema", "ckpt.ls/1")
        .member("file", wanted.file())
        .member("container", file.container());
    out.member("byte_order", file.byte_order() == ckpt::byte_order::little ? "little" : "big").key("selected");
    write(out, all.selected);
    out.key("tensors").begin_array();
    storage_names names;
    int worst = exit_fine;
    const std::string chosen =
        is_folder(wanted.file()) && file.files().size() == 1 ? file.files().front() : std::string{};
    for (const row& r : all.rows) {
        out.line().begin_object().member("key", r.key).key("path");
        write(out, r.path);
        ckpt::error found;
        worst = worse(worst,
                      write_fields(out, r.tensor, r.is_array, names, digest, root, fault_of(r, faults, found), chosen));
        if (wanted.stats) write_stats(out, r.tensor, root, line);
        out.end_object();
        if (interrupted()) return exit_of_interrupt();
    }
    out.end_array();
    if (all.outside > 0) out.member("outside", all.outside);
    const std::vector<ckpt::error> refused = file.refused_globals();
    if (!refused.empty()) {
        out.key("refused").begin_array();
        for (const ckpt::error& e : refused) write(out, e, root);
        out.end_array();
    }
    out.end_object();
    return finish(out, wanted.strict ? worse(worst, faults->any() ? exit_finding : exit_fine) : exit_fine);
}

} // namespace

int run_ls(const options& wanted) {
    if (wanted.stats && !wanted.json) return run_stat(wanted);
    std::optional<ckpt::key_map> rules;
    int failed = exit_fine;
    if (wanted.has_rules() && !read_rules(wanted, rules, failed)) return failed;
    const auto file = open(wanted.file(), wanted.policy, wanted.strict);
    if (!file) return fail(wanted, file.error());
    const ckpt::value root = file->root();
    const auto all = list(*file, wanted, rules ? &*rules : nullptr);
    if (!all) return fail(wanted, all.error(), root);
    std::optional<record_faults> faults;
    if (wanted.strict) {
        faults.emplace(*file);
        if (const ckpt::error* e = faults->without_a_row(all->rows)) return fail(wanted, *e, root);
        if (wanted.json && faults->any())
            if (const ckpt::error* e = faults->value_without_a_row(errors_of(all->rows, *faults)))
                return fail(wanted, *e, root, exit_of_row(*e));
    }
    const record_faults* const found = faults ? &*faults : nullptr;
    const tensor_digests sums = digests_of(*all, wanted);
    if (interrupted()) return exit_of_interrupt();
    const tensor_digests* const digest = wanted.digest ? &sums : nullptr;
    if (wanted.json) return write_listing(*file, *all, wanted, found, digest);
    print_refused(file->refused_globals());
    return print_listing(*all, wanted, found, digest);
}

} // namespace tool
