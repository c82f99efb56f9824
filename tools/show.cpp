// `ckpt show`: the values of a file, as JSON or as a tree.
#include "common.hpp"
#include "render.hpp"
#include "values.hpp"

#include <ckpt/state/object_walk.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <unordered_map>
#include <utility>

namespace tool {

namespace {

using ckpt::kind;
using ckpt::detail::is_slots_pair;

/// Writes values as JSON, with an explicit stack: a value may be nested as deeply as its file is long.
class value_writer {
  public:
    /// With `measure`, nothing is read or converted: the output goes nowhere. `wanted`: --values.
    value_writer(json& to, const ckpt::value& root, std::uint64_t budget, bool measure,
                 std::optional<std::uint64_t> wanted)
        : to_{to}, root_{root}, left_{budget}, wanted_{wanted}, measure_{measure} {}

    /// False past the budget; the document is then unfinished.
    [[nodiscard]] bool write_value(const found_value& from) {
        path_ = from.path;
        if (from.part) return begin_tensor(*from.part);
        if (!begin(from.value)) return false;
        while (!stack_.empty())
            if (!advance()) return false;
        return true;
    }

  private:
    enum class form : std::uint8_t {
        sequence, // elements, each under its position
        flat,     // elements under the path of what they belong to: arguments, slots
        items,    // of an object, each under its position
        object,   // a dictionary whose keys JSON can have
        pairs,    // another dictionary
        call,     // class, args, kwargs, state, items
    };
    struct frame {
        ckpt::value at{};
        form as{};
        std::uint8_t phase{0};
        std::uint8_t closers{0}; // objects around it that end with it
        bool marked{false};      // stands in open_
        std::size_t path_size{0};
        std::size_t next{0};
    };

    /// Takes `nodes` from the budget.
    [[nodiscard]] bool charge(std::uint64_t nodes) {
        if (nodes > left_) return false;
        left_ -= nodes;
        return true;
    }
    void push(const ckpt::value& v, form as, unsigned closers, bool marks) {
        if (marks) open_.emplace(v.object_id(), path_.size());
        stack_.push_back({v, as, 0, static_cast<std::uint8_t>(closers), marks, path_.size(), 0});
    }
    /// Ends the innermost frame; its own brackets are closed already.
    bool end() {
        const frame f = stack_.back();
        for (unsigned i = 0; i < f.closers; ++i) to_.end_object();
        if (f.marked) open_.erase(f.at.object_id());
        path_.resize(f.path_size);
        stack_.pop_back();
        return true;
    }

    /// Writes what a frame has next.
    [[nodiscard]] bool advance() {
        frame& f = stack_.back(); // not valid any more once begin() or push() was called
        path_.resize(f.path_size);
        const ckpt::value at = f.at;
        switch (f.as) {
        case form::sequence:
        case form::flat:
        case form::items: {
            const ckpt::value::range all = f.as == form::items ? at.items() : at.elements();
            const std::size_t i = f.next++;
            if (i >= all.size()) {
                to_.end_array();
                return end();
            }
            if (f.as != form::flat) path_.push_back(element_of(i));
            return begin(all[i]);
        }
        case form::object: {
            const std::size_t i = f.next++;
            if (i >= at.entries().size()) {
                to_.end_object();
                return end();
            }
            const ckpt::value::entry e = entry_of(at, i);
            const std::string_view key = *e.key.as_string();
            if (!charge(key.size() / text_unit)) return false;
            to_.key(key);
            path_.push_back(element_of(e.key));
            return begin(e.mapped);
        }
        case form::pairs: {
            if (f.phase == 2) {
                to_.end_array();
                f.phase = 0;
                ++f.next;
            }
            if (f.next >= at.entries().size()) {
                to_.end_array();
                return end();
            }
            const ckpt::value::entry e = entry_of(at, f.next);
            if (f.phase++ == 0) {
                to_.begin_array();
                return begin(e.key);
            }
            path_.push_back(element_of(e.key));
            return begin(e.mapped);
        }
        case form::call: return next_part(f);
        }
        return false;
    }

    [[nodiscard]] static ckpt::value::entry entry_of(const ckpt::value& dictionary, std::size_t i) {
        auto it = dictionary.entries().begin();
        it.skip(i);
        return *it;
    }

    /// The parts of an object, one a call; those that it has not are left out.
    [[nodiscard]] bool next_part(frame& f) {
        const ckpt::value at = f.at;
        switch (f.phase++) {
        case 0:
            if (at.kind() == kind::persistent) {
                to_.key("args").begin_array();
                if (!begin(at.persistent_argument())) return false;
                return true;
            }
            if (const ckpt::value args = at.args(); args.size() > 0) {
                to_.key("args").begin_array();
                push(args, form::flat, 0, false);
            }
            return true;
        case 1:
            if (at.kind() == kind::persistent) to_.end_array();
            if (const ckpt::value kwargs = at.kwargs(); kwargs.size() > 0) {
                to_.key("kwargs");
                return begin(kwargs);
            }
            return true;
        case 2: {
            const ckpt::value state = at.state();
            if (!state) return true;
            to_.key("state");
            if (!is_slots_pair(state)) return begin(state);
            if (!charge(1)) return false;
            to_.begin_object().key("$tuple").begin_array();
            push(state, form::flat, 1, false);
            return true;
        }
        case 3:
            if (!at.items().empty()) {
                to_.key("items").begin_array();
                push(at, form::items, 0, false);
            }
            return true;
        default: to_.end_object(); return end();
        }
    }

    /// Writes a value, or begins to.
    [[nodiscard]] bool begin(const ckpt::value& raw) {
        if (!charge(1)) return false;
        const ckpt::value v = raw.plain();
        switch (v.kind()) {
        case kind::absent:
        case kind::none: to_.null(); return true;
        case kind::boolean: to_.boolean(*v.as_bool()); return true;
        case kind::integer: return write_integer(v);
        case kind::real: to_.real(*v.as_real()); return true;
        case kind::complex: {
            const auto c = *v.as_complex();
            to_.begin_object().key("$complex").begin_array();
            to_.real(c.real).real(c.imaginary);
            to_.end_array().end_object();
            return true;
        }
        case kind::string: {
            const std::string_view text = *v.as_string();
            if (!charge(text.size() / text_unit)) return false;
            if (v.is_utf8()) to_.text(text);
            else write_bytes(std::as_bytes(std::span<const char>{text.data(), text.size()}), true);
            return true;
        }
        case kind::bytes: {
            const auto bytes = *v.as_bytes();
            if (!charge(bytes.size() / text_unit)) return false;
            write_bytes(bytes, false);
            return true;
        }
        case kind::tensor: {
            if (const ckpt::error* refusal = v.refusal()) return write_error(*refusal);
            return begin_tensor(*v.as_tensor());
        }
        case kind::array: return write_array(v);
        case kind::storage: {
            const auto s = *v.as_storage();
            to_.begin_object().key("$storage").begin_object();
            to_.member("key", s.key).member("nbytes", s.nbytes).end_object().end_object();
            return true;
        }
        case kind::global: to_.begin_object().member("$global", class_name(v)).end_object(); return true;
        case kind::refused: return write_error(*v.refusal());
        case kind::tuple:
        case kind::list:
        case kind::set:
        case kind::dictionary:
        case kind::object:
        case kind::persistent: return begin_container(v);
        }
        return true;
    }

    /// Writes a tensor that is no numpy array.
    [[nodiscard]] bool begin_tensor(const ckpt::tensor& t) {
        if (const ckpt::error* refusal = t.refusal()) return write_error(*refusal);
        const bool has_values = shows_values(t);
        if (!charge(t.rank() + 4 * count_parts(t, left_) + (has_values ? t.numel() : 0))) return false;
        to_.begin_object().key("$tensor").begin_object();
        if (!measure_) (void)write_fields(to_, t, false, names_, nullptr, root_);
        if (has_values && !measure_) add_values(t);
        to_.end_object().end_object();
        return true;
    }

    /// Whether the document has the values of a tensor: with --values of every one that has at most so many, else of a
    /// small one that a PATH leads to.
    [[nodiscard]] bool shows_values(const ckpt::tensor& t) const {
        if (t.layout() != ckpt::layout::strided) return false;
        return wanted_ ? t.numel() <= *wanted_ : stack_.empty() && !path_.empty() && t.numel() <= few_values;
    }
    void add_values(const ckpt::tensor& t) {
        if (const auto fault = t.file_offset(); !fault && fault.error().code != ckpt::errc::no_data && !t.is_gathered())
            return; // the fields have the error
        to_.key("values");
        if (auto done = write_values(to_, t); !done) {
            to_.begin_object().key("$error");
            write(to_, done.error(), root_);
            to_.end_object();
        }
    }

    [[nodiscard]] bool begin_container(const ckpt::value& v) {
        if (const auto known = open_.find(v.object_id()); known != open_.end()) {
            to_.begin_object().key("$cycle");
            write(to_, std::span(path_).first(known->second));
            to_.end_object();
            return true;
        }
        if (v.size() > left_) return false;
        switch (v.is_mapping() ? kind::dictionary : v.kind()) {
        case kind::list:
            to_.begin_array();
            push(v, form::sequence, 0, true);
            return true;
        case kind::tuple:
        case kind::set:
            to_.begin_object().key(v.kind() == kind::tuple ? "$tuple" : "$set").begin_array();
            push(v, form::sequence, 1, true);
            return true;
        case kind::dictionary: {
            const auto entries = v.entries();
            const bool plain = std::all_of(entries.begin(), entries.end(), [](const ckpt::value::entry& e) {
                return e.key.kind() == kind::string && e.key.is_utf8() && !(*e.key.as_string()).starts_with('$');
            });
            if (plain) {
                to_.begin_object();
                push(v, form::object, 0, true);
            } else {
                to_.begin_object().key("$dict").begin_array();
                push(v, form::pairs, 1, true);
            }
            return true;
        }
        default:
            to_.begin_object().key("$object").begin_object();
            to_.member("class", v.kind() == kind::persistent ? std::string("persistent id") : class_name(v.class_of()));
            push(v, form::call, 1, true);
            return true;
        }
    }

    [[nodiscard]] bool write_integer(const ckpt::value& v) {
        constexpr std::int64_t exact = std::int64_t{1} << 53;
        if (const auto small = v.as_int(); small && *small >= -exact && *small <= exact) {
            to_.number(*small);
            return true;
        }
        // Decimal text takes time by the square of the length.
        const std::uint64_t bytes = integer_bytes(v);
        if (!charge(bytes / text_unit + (bytes < 2000 ? bytes * bytes / 4096 : 0))) return false;
        to_.begin_object().member("$int", measure_ ? std::string() : integer_text(v)).end_object();
        return true;
    }
    void write_bytes(std::span<const std::byte> bytes, bool was_text) {
        to_.begin_object().member("$bytes", measure_ ? std::string() : base64(bytes));
        if (was_text) to_.member("was", "str");
        to_.end_object();
    }
    [[nodiscard]] bool write_error(const ckpt::error& e) {
        to_.begin_object().key("$error");
        write(to_, e, root_);
        to_.end_object();
        return charge(e.detail.size() / text_unit);
    }
    [[nodiscard]] bool write_array(const ckpt::value& v) {
        const auto a = *v.as_array();
        if (const ckpt::error* refusal = a.tensor.refusal()) return write_error(*refusal);
        if (!charge(a.tensor.rank() + a.tensor.nbytes() / 4096)) return false;
        to_.begin_object()
            .key("$ndarray")
            .begin_object()
            .member("dtype", a.type)
            .key("shape")
            .numbers(a.tensor.shape())
            .member("fortran_order", a.fortran_order);
        if (!measure_) {
            if (const auto crc = a.tensor.crc32()) {
                to_.member("crc32", hex8(*crc));
            } else {
                to_.key("error");
                write(to_, crc.error(), root_);
            }
        }
        to_.end_object().end_object();
        return true;
    }

    static constexpr std::uint64_t text_unit = 128; // bytes of text that count as one more node

    json& to_;
    ckpt::value root_;
    std::uint64_t left_;
    std::optional<std::uint64_t> wanted_;
    bool measure_;
    key_path path_{};
    std::vector<frame> stack_{};
    std::unordered_map<std::uint32_t, std::size_t>
        open_{}; // objects around the current one, and how long their paths are
    storage_names names_{};
};

/// Writes all values; false past the budget.
[[nodiscard]] bool write_all(json& to, const std::vector<found_value>& values, const ckpt::value& root,
                             const options& wanted, bool measure) {
    value_writer writer{to, root, wanted.max_nodes, measure, wanted.values};
    if (values.size() != 1) to.begin_array();
    for (const found_value& v : values)
        if (!writer.write_value(v)) return false;
    if (values.size() != 1) to.end_array();
    return true;
}

// --- for people ---

/// A tree, cut where it gets too long or too deep for reading.
class tree {
  public:
    explicit tree(const options& wanted)
        : most_values_{wanted.values.value_or(few_values)},
          most_lines_{is_terminal() ? 2'000 : wanted.max_nodes},
          deepest_{std::min(on_terminal(12), deepest_anywhere)} {}

    void show(const std::string& label, const found_value& found) {
        if (found.part) {
            const ckpt::error* const refusal = found.part->refusal();
            line(0, label,
                 refusal != nullptr ? paint(colour::red, printable(refusal->message())) : described(*found.part));
            if (refusal == nullptr) values(*found.part);
            return;
        }
        item(0, label, found.value);
        if (const auto t = found.value.plain().as_tensor(); t && t->refusal() == nullptr) values(*t);
    }

  private:
    // Elsewhere than on a terminal everything is shown that --max-nodes allows, and as deep as recursion may go.
    static constexpr std::size_t deepest_anywhere = 200;

    void line(std::size_t depth, const std::string& label, const std::string& text) {
        lines_ += 1 + text.size() / 128; // as JSON counts text
        std::string out(2 * depth, ' ');
        if (!label.empty()) out += paint(colour::bold, label) + (text.empty() ? ":" : ": ");
        print(out + text + '\n');
    }
    [[nodiscard]] static std::string quoted(std::string_view text, std::size_t most) {
        std::string shown = printable(text.substr(0, 4 * most));
        if (text.size() > 4 * most) shown += ' '; // so that it is cut
        return '\'' + shortened(std::move(shown), most) + '\'';
    }
    /// Dtype, shape, layout, size and kind of a tensor.
    [[nodiscard]] static std::string described(const ckpt::tensor& t, bool is_array = false) {
        std::string out = paint(colour::cyan, ckpt::name(t.dtype())) + ' ' + shape_text(t.shape());
        if (is_array) out += " numpy";
        if (t.layout() != ckpt::layout::strided) out += ' ' + std::string(ckpt::name(t.layout()));
        if (t.layout() != ckpt::layout::meta) out += paint(colour::dim, "  " + human_bytes(t.nbytes()));
        if (const std::string more = kind_text(t); !more.empty()) out += paint(colour::dim, "  " + more);
        return out;
    }
    /// A value without anything below it; nothing for containers.
    [[nodiscard]] static std::optional<std::string> leaf(const ckpt::value& v, std::size_t most) {
        switch (v.kind()) {
        case kind::absent: return "absent";
        case kind::none: return "None";
        case kind::boolean: return *v.as_bool() ? "True" : "False";
        case kind::integer:
            return shortened(
                integer_bytes(v) > 64 ? "<an int of " + human_bytes(integer_bytes(v)) + '>' : integer_text(v), most);
        case kind::real: return number_text(*v.as_real());
        case kind::complex: {
            const auto c = *v.as_complex();
            return "complex(" + number_text(c.real) + ", " + number_text(c.imaginary) + ')';
        }
        case kind::string: return quoted(*v.as_string(), most);
        case kind::bytes:
            return std::string(v.is_byte_array() ? "bytearray" : "bytes") + ", " + human_bytes((*v.as_bytes()).size());
        case kind::tensor:
        case kind::array: {
            if (const ckpt::error* e = v.refusal()) return paint(colour::red, printable(e->message()));
            return described(*v.as_tensor(), v.kind() == kind::array);
        }
        case kind::storage:
            return "storage " + printable((*v.as_storage()).key) + ", " + human_bytes((*v.as_storage()).nbytes);
        case kind::global: return printable(class_name(v));
        case kind::refused: return paint(colour::red, printable(v.refusal()->message()));
        default: break;
        }
        return std::nullopt;
    }
    /// Short sequences of leaves on one line.
    [[nodiscard]] static std::optional<std::string> inline_sequence(const ckpt::value& v) {
        const bool is_sequence = v.kind() == kind::list || v.kind() == kind::tuple || v.kind() == kind::set;
        if (!is_sequence || v.size() > 16) return std::nullopt;
        const std::string_view brackets = v.kind() == kind::list ? "[]" : v.kind() == kind::tuple ? "()" : "{}";
        std::string out(1, brackets[0]);
        for (const ckpt::value element : v.elements()) {
            const ckpt::value below = element.plain();
            if (below.kind() == kind::tensor || below.kind() == kind::array) return std::nullopt;
            const auto text = leaf(below, 40);
            if (!text) return std::nullopt;
            if (out.size() > 1) out += ", ";
            out += *text;
        }
        if (v.kind() == kind::tuple && v.size() == 1) out += ',';
        out += brackets[1];
        if (width(out) > 72) return std::nullopt;
        return out;
    }
    /// A class that was called with a single leaf, as a member of an enum is: "Color('red')".
    [[nodiscard]] static std::optional<std::string> member(const ckpt::value& v) {
        if (v.kind() != kind::object || v.args().size() != 1 || v.state() || v.kwargs().size() > 0 ||
            !v.items().empty())
            return std::nullopt;
        const auto text = leaf(v.args()[0], 60);
        if (!text || !v.class_of().as_global()) return std::nullopt;
        return printable(class_name(v.class_of())) + '(' + *text + ')';
    }
    [[nodiscard]] static std::string summary(const ckpt::value& v) {
        switch (v.is_mapping() ? kind::dictionary : v.kind()) {
        case kind::dictionary: {
            const ckpt::value made_by = v.class_of();
            return (made_by ? printable(class_name(made_by)) : "dict") + ", " +
                   counted(v.entries().size(), "entry", "entries");
        }
        case kind::object: return printable(class_name(v.class_of()));
        case kind::persistent: return "persistent id";
        case kind::set: return (v.is_frozen_set() ? "frozenset, " : "set, ") + counted(v.size(), "element", "elements");
        default: return std::string(ckpt::name(v.kind())) + ", " + counted(v.size(), "element", "elements");
        }
    }

    /// The values of a tensor, or of its parts, which go at most eight levels deep.
    void values(const ckpt::tensor& t) {
        if (t.layout() == ckpt::layout::meta) return;
        if (t.layout() == ckpt::layout::strided) {
            const auto text = values_text(t, most_values_, line_width());
            return print((text ? *text : paint(colour::red, printable(text.error().message()))) + '\n');
        }
        for (const ckpt::named_part p : t.parts()) {
            if (p.tensor.refusal() != nullptr) continue;
            print(paint(colour::bold, printable(p.name) + ": ") + described(p.tensor) + '\n');
            values(p.tensor);
        }
    }

    // Recursion is as deep as what is shown: `deepest_`.
    void item(std::size_t depth, const std::string& label, const ckpt::value& raw) {
        if (is_over_) return;
        const ckpt::value v = raw.plain();
        is_over_ = lines_ >= most_lines_;
        if (is_over_) return line(0, {}, paint(colour::dim, "\u2026 and more: ask for a part by its path"));
        if (const auto text = leaf(v, depth == 0 && label.empty() ? on_terminal(100'000) : on_terminal(60)))
            return line(depth, label, *text);
        if (const auto text = inline_sequence(v)) return line(depth, label, *text);
        if (const auto text = member(v)) return line(depth, label, *text);
        if (std::find_if(around_.begin(), around_.end(), [&v](const ckpt::value& a) { return a.same_object(v); }) !=
            around_.end())
            return line(depth, label, paint(colour::dim, "(one of the values around it)"));
        if (depth >= deepest_) return line(depth, label, summary(v) + paint(colour::dim, "  \u2026"));
        line(depth, label, raw.same_object(v) ? summary(v) : printable(class_name(raw.class_of())) + ", " + summary(v));
        around_.push_back(v);
        below(depth + 1, v);
        around_.pop_back();
    }
    void elided(std::size_t depth, std::size_t n) {
        if (n > 0) line(depth, {}, paint(colour::dim, "\u2026 " + grouped(n) + " more"));
    }
    void entries(std::size_t depth, const ckpt::value& dictionary) {
        const std::size_t most = on_terminal(depth <= 1 ? 60 : 24);
        std::size_t n = 0;
        for (const ckpt::value::entry e : dictionary.entries()) {
            if (n++ == most) break;
            item(depth, shortened(printable(ckpt::key_text(e.key)), on_terminal(100)), e.mapped);
        }
        if (dictionary.entries().size() > most) elided(depth, dictionary.entries().size() - most);
    }
    void elements(std::size_t depth, const ckpt::value::range& all) {
        const std::size_t most = on_terminal(depth <= 1 ? 30 : 8);
        for (std::size_t i = 0; i < all.size() && i < most; ++i) item(depth, decimal(i), all[i]);
        if (all.size() > most) elided(depth, all.size() - most);
    }
    void below(std::size_t depth, const ckpt::value& v) {
        switch (v.is_mapping() ? kind::dictionary : v.kind()) {
        case kind::dictionary: return entries(depth, v);
        case kind::list:
        case kind::tuple:
        case kind::set: return elements(depth, v.elements());
        case kind::persistent: return item(depth, "argument", v.persistent_argument());
        case kind::object: break;
        default: return;
        }
        if (v.args().size() > 0) item(depth, "(called with)", v.args());
        if (v.kwargs().size() > 0) item(depth, "(keywords)", v.kwargs());
        const ckpt::value state = v.state();
        if (state.kind() == kind::dictionary) entries(depth, state);
        else if (is_slots_pair(state))
            for (const ckpt::value part : state.elements()) entries(depth, part);
        else if (state) item(depth, "(state)", state);
        elements(depth, v.items());
    }

    std::uint64_t most_values_;
    std::uint64_t most_lines_;
    std::size_t deepest_;
    std::uint64_t lines_{0};
    bool is_over_{false};
    std::vector<ckpt::value> around_{};
};

/// Ends a command of which some paths lead nowhere: the error of the first, beside the values of the others.
[[nodiscard]] int fail_in_part(const options& wanted, const std::vector<ckpt::result<found_value>>& all,
                               const ckpt::value& root) {
    const auto first = std::find_if(all.begin(), all.end(), [](const auto& one) { return !one; });
    if (wanted.json)
        return fail(wanted, first->error(), root, {}, [&](json& to) {
            if (all.size() < 2) return;
            to.key("values").begin_array();
            value_writer writer{to, root, wanted.max_nodes, false, wanted.values};
            for (const auto& one : all) {
                if (one) (void)writer.write_value(*one);
                else to.null();
            }
            to.end_array();
        });
    int exit_code = exit_fine;
    for (const auto& one : all)
        if (!one) exit_code = worse(exit_code, fail(wanted, one.error(), root));
    return exit_code;
}

/// The value at a path, or the part of a tensor as `ls` prints it: "key:part", "key:part:part".
[[nodiscard]] ckpt::result<found_value> find_value(const ckpt::checkpoint& file, std::string_view text) {
    auto found = find(file, text);
    if (found || found.error().code != ckpt::errc::path_missing || text.starts_with('[')) return found;
    constexpr int deepest = 8; // of parts
    std::size_t colon = text.size();
    for (int i = 0; i < deepest && colon > 0; ++i) {
        colon = text.rfind(':', colon - 1);
        if (colon == std::string_view::npos) break;
        auto whole = find(file, text.substr(0, colon));
        const auto tensor = whole ? whole->value.as_tensor() : whole.error();
        if (!tensor) continue;
        std::string part(text.substr(colon + 1));
        std::replace(part.begin(), part.end(), ':', '.');
        auto of = tensor->part(part);
        if (!of) return std::move(of).error();
        whole->part = *of;
        whole->part_name = text.substr(colon);
        return whole;
    }
    return found;
}

} // namespace

int run_show(const options& wanted) {
    const auto file = open(wanted.file(), wanted.policy);
    if (!file) return fail(wanted, file.error());
    const ckpt::value root = file->root();
    std::vector<ckpt::result<found_value>> found;
    std::vector<found_value> values; // of the paths that lead somewhere
    for (const std::string& text : wanted.paths)
        if (const auto& one = found.emplace_back(find_value(*file, text))) values.push_back(*one);
    const bool is_whole = found.size() == values.size();
    if (wanted.paths.empty()) values.push_back({root, {}});

    if (!wanted.json) {
        tree out{wanted};
        for (const found_value& v : values)
            out.show(wanted.paths.size() > 1 ? printable(path_text(v.path) + v.part_name) : std::string{}, v);
        const int exit_code = written(exit_fine);
        return is_whole ? exit_code : fail_in_part(wanted, found, root);
    }
    // Once without output, so that what is too large costs neither memory nor half a document.
    json nowhere{nullptr};
    if (!write_all(nowhere, values, root, wanted, true))
        return fail(wanted,
                    {.code = ckpt::errc::output_limit,
                     .path = values.size() == 1 ? path_text(values.front().path) : std::string{},
                     .detail = "the values have more than " + decimal(wanted.max_nodes) +
                               " nodes, counted under every path that reaches them; 128 bytes of text count as one",
                     .hint = "ask for a smaller part by its path, or give a larger --max-nodes"},
                    root);
    if (!is_whole) return fail_in_part(wanted, found, root);
    json out{stdout};
    (void)write_all(out, values, root, wanted, false);
    return finish(out, exit_fine);
}

} // namespace tool
