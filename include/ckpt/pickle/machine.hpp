// ckpt/pickle/machine.hpp: reads the opcodes of one pickle into a graph.
//
// SPDX-License-Identifier: MIT
// In:      the bytes of a pickle, in memory that the graph owns; an allowlist; limits.
// Out:     nodes: literals, containers, and *applications* that record what would have been called. A verdict for
//          every global, with its place.
// Refuses: unknown, unsupported or misplaced opcodes (P1), underflow (P2), a missing end (P3), malformed text (P4),
//          lengths past the end (P5), opcodes applied to what they are not for (P6), and globals outside the
//          allowlist (G1), after the rest was read, so that the error can count them.
//
// Nothing is called, imported or looked up. The machine knows no PyTorch: a persistent id is a node. Time is linear in
// the pickle: every opcode does constant work, or work that is paid for by the opcodes before it.
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/opcode.hpp>
#include <ckpt/pickle/text.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class machine {
  public:
    /// `out.pickle`, `out.base` and `out.record` are set. Reads one pickle from `begin` on.
    machine(graph& out, const allowlist& allowed, const limits& budget, std::uint64_t begin = 0)
        : graph_{out},
          allowed_{allowed},
          limits_{budget},
          first_{reinterpret_cast<const char*>(out.pickle.data())},
          end_{first_ + out.pickle.size()},
          at_{first_ + begin} {
        // Real pickles hold some seven memo entries for each hundred bytes.
        memo_.extend(std::min<std::size_t>(out.pickle.size() / 16 + 16, std::size_t{1} << 16), absent_node);
    }

    /// Runs to STOP. On success the graph's root is set. A refused global is the error even if damage follows it.
    [[nodiscard]] result<void> run() {
        run_opcodes();
        if (refused_count_ > 0) return refused_global();
        if (fault_.code != errc::none) return describe_fault();
        return {};
    }

    /// Where the pickle ended, after STOP (an offset into the pickle's bytes).
    [[nodiscard]] std::uint64_t end_offset() const noexcept { return static_cast<std::uint64_t>(at_ - first_); }

    /// Only the damage, whatever the verdicts of the globals were.
    [[nodiscard]] result<void> damage() const {
        if (fault_.code == errc::none) return {};
        return describe_fault();
    }

    /// The path of the place that is being read, from the pending keys of the open marks.
    [[nodiscard]] std::string path_here() const;
    /// Persistent ids may name classes, which may be called (legacy files of whole modules). Whoever resolves the graph
    /// judges what they are.
    void admit_class_ids() noexcept { class_ids_ = true; }
    /// How many steps that takes at most.
    [[nodiscard]] std::size_t depth() const noexcept { return stack_.size() + marks_.size(); }

    /// Called for each GLOBAL before the next opcode; used by scans to note paths.
    using observer = void (*)(void* context, const machine& self, std::uint32_t occurrence);
    void observe(observer function, void* context) noexcept {
        observer_ = function;
        observer_context_ = context;
    }

  private:
    struct fault {
        errc code{errc::none};
        std::uint64_t at{0};
        std::uint8_t opcode{0};
        const char* what{""};
        std::uint64_t wanted{no_offset};
        std::uint64_t left{0};
    };

    bool fail(errc code, const char* what, std::uint64_t wanted = no_offset, std::uint64_t left = 0) noexcept {
        fault_ = {code,
                  static_cast<std::uint64_t>(opcode_at_ - first_),
                  opcode_at_ < end_ ? static_cast<std::uint8_t>(*opcode_at_) : std::uint8_t{0},
                  what,
                  wanted,
                  left};
        return false;
    }

    [[nodiscard]] std::uint32_t offset_here() const noexcept { return static_cast<std::uint32_t>(opcode_at_ - first_); }
    [[nodiscard]] CKPT_DETAIL_INLINE std::size_t remaining() const noexcept {
        return static_cast<std::size_t>(end_ - at_);
    }

    [[nodiscard]] CKPT_DETAIL_INLINE bool need_bytes(std::uint64_t n) {
        return n <= remaining()
                   ? true
                   : fail(errc::pickle_truncated, "the pickle ends inside an opcode's argument", n, remaining());
    }
    [[nodiscard]] CKPT_DETAIL_INLINE bool need_values(std::size_t n) {
        return stack_.size() - floor_ >= n
                   ? true
                   : fail(errc::stack_underflow, "the opcode needs more values than the stack holds", n,
                          stack_.size() - floor_);
    }
    [[nodiscard]] bool need_mark() {
        return !marks_.empty() ? true : fail(errc::stack_underflow, "the opcode needs a MARK, and none is open");
    }

    template <class T> [[nodiscard]] CKPT_DETAIL_INLINE bool take(T& out) {
        if (!need_bytes(sizeof(T))) return false;
        out = load_le<T>(reinterpret_cast<const std::byte*>(at_));
        at_ += sizeof(T);
        return true;
    }
    [[nodiscard]] CKPT_DETAIL_INLINE bool take_text(std::uint64_t length, std::string_view& out) {
        if (!need_bytes(length)) return false;
        out = {at_, static_cast<std::size_t>(length)};
        at_ += length;
        return true;
    }
    template <class Length> [[nodiscard]] CKPT_DETAIL_INLINE bool take_counted(std::string_view& out) {
        Length length{};
        return take(length) && take_text(length, out);
    }
    [[nodiscard]] bool take_signed_counted(std::string_view& out) {
        std::uint32_t length{};
        if (!take(length)) return false;
        if (length > 0x7FFF'FFFFu) return fail(errc::pickle_text, "a negative length");
        return take_text(length, out);
    }
    [[nodiscard]] bool take_line(std::string_view& out) {
        const void* const newline = std::memchr(at_, '\n', remaining());
        if (newline == nullptr) return fail(errc::pickle_truncated, "a text argument without the end of its line");
        const char* const stop = static_cast<const char*>(newline);
        out = {at_, static_cast<std::size_t>(stop - at_)};
        at_ = stop + 1;
        return true;
    }

    CKPT_DETAIL_INLINE bool push(std::uint32_t node) {
        stack_.push_back(node);
        return true;
    }
    CKPT_DETAIL_INLINE bool push_node(const node& n) { return push(graph_.add(n)); }
    bool push_text(node_kind kind, std::string_view text, std::uint8_t flags = 0) {
        node n = node::of(kind, static_cast<std::uint32_t>(text.size()), flags);
        n.text = text.data();
        return push_node(n);
    }
    bool push_integer(std::int64_t value) {
        if (value >= 0 && value < 256) return push(small_integers + static_cast<std::uint32_t>(value));
        node n = node::of(node_kind::integer);
        n.integer = value;
        return push_node(n);
    }
    bool push_unicode(std::string_view text) {
        const utf8_verdict v = check_utf8(text);
        if (v == utf8_verdict::invalid) return fail(errc::pickle_text, "a str that is not UTF-8");
        return push_text(node_kind::string, text,
                         v == utf8_verdict::surrogates ? node_flag::not_utf8 : std::uint8_t{0});
    }
    bool push_eight_bit(std::string_view text) {
        const bool valid = check_utf8(text) == utf8_verdict::valid;
        return push_text(node_kind::string, text,
                         static_cast<std::uint8_t>(node_flag::eight_bit | (valid ? 0 : node_flag::not_utf8)));
    }
    [[nodiscard]] std::string_view copy(std::string_view text) {
        char* to = graph_.memory.allocate<char>(text.size() + 1);
        if (!text.empty()) std::memcpy(to, text.data(), text.size());
        return {to, text.size()};
    }

    [[nodiscard]] CKPT_DETAIL_INLINE std::span<const std::uint32_t> above_mark() const noexcept {
        return {stack_.data() + marks_.back(), stack_.size() - marks_.back()};
    }
    CKPT_DETAIL_INLINE void open_mark() {
        marks_.push_back(stack_.size());
        floor_ = stack_.size();
    }
    CKPT_DETAIL_INLINE void close_mark() noexcept {
        marks_.pop_back();
        floor_ = marks_.empty() ? 0 : marks_.back();
    }
    CKPT_DETAIL_INLINE void drop_mark() noexcept {
        stack_.shrink(marks_.back());
        close_mark();
    }

    [[nodiscard]] std::uint32_t make_tuple(std::span<const std::uint32_t> values) {
        if (values.empty()) return empty_tuple_node;
        node n = node::of(node_kind::tuple, static_cast<std::uint32_t>(values.size()));
        auto* items = graph_.memory.allocate<std::uint32_t>(values.size());
        std::memcpy(items, values.data(), values.size_bytes());
        n.items = items;
        return graph_.add(n);
    }
    bool push_small_tuple(std::size_t n) {
        if (!need_values(n)) return false;
        const std::uint32_t tuple = make_tuple({stack_.data() + stack_.size() - n, n});
        stack_.shrink(stack_.size() - n);
        return push(tuple);
    }
    bool push_filled(node_kind kind, std::span<const std::uint32_t> values) {
        node n = node::of(kind);
        graph_.append(n.a, values);
        drop_mark();
        return push_node(n);
    }

    // --- memo -------------------------------------------------------------------------------------------------------
    CKPT_DETAIL_INLINE bool put(std::uint64_t index) {
        if (!need_values(1)) return false;
        // An index is bounded by the pickle, not by the entries: files with gaps are legal, and this keeps them cheap.
        if (index >= memo_.size()) {
            if (index > graph_.pickle.size())
                return fail(errc::limit, "a memo index beyond the number of bytes in the pickle", index,
                            graph_.pickle.size());
            memo_.extend((std::max)(static_cast<std::size_t>(index) + 1, memo_.size() * 2), absent_node);
        }
        std::uint32_t& entry = memo_[static_cast<std::size_t>(index)];
        if (entry == absent_node) ++memo_count_;
        entry = stack_.back();
        return true;
    }
    CKPT_DETAIL_INLINE bool get(std::uint64_t index) {
        if (index >= memo_.size() || memo_[static_cast<std::size_t>(index)] == absent_node)
            return fail(errc::memo_missing, "a memo entry that was never stored", index);
        return push(memo_[static_cast<std::size_t>(index)]);
    }
    [[nodiscard]] bool take_index(std::uint64_t& out) {
        std::string_view line{};
        if (!take_line(line)) return false;
        const auto [end, failure] = std::from_chars(line.data(), line.data() + line.size(), out);
        if (failure != std::errc{} || end != line.data() + line.size() || line.empty())
            return fail(errc::pickle_text, "a memo index that is not a decimal number");
        return true;
    }

    // --- numbers ----------------------------------------------------------------------------------------------------
    bool push_binary_integer(std::string_view bytes) {
        std::int64_t number{};
        if (fits_in_64_bits(bytes, number)) return push_integer(number);
        return push_text(node_kind::big_integer, minimal_integer(bytes));
    }
    bool push_decimal(std::string_view line) {
        if (line.size() > std::uint64_t{limits_.integer_digits} + 1)
            return fail(errc::limit, "a decimal integer with more digits than limits.integer_digits", line.size(),
                        limits_.integer_digits);
        std::int64_t number{};
        std::string bytes;
        if (!parse_integer(line, number, bytes))
            return fail(errc::pickle_text, "an integer that is not a decimal number");
        if (bytes.empty()) return push_integer(number);
        return fits_in_64_bits(bytes, number) ? push_integer(number)
                                              : push_text(node_kind::big_integer, copy(minimal_integer(bytes)));
    }

    // --- globals and applications -----------------------------------------------------------------------------------
    [[nodiscard]] bool charge_names(std::uint64_t bytes) noexcept {
        named_bytes_ += bytes;
        return named_bytes_ <= budget_for(limits_.work_per_byte, graph_.pickle.size(), 1'000'000) / 16;
    }
    bool push_global(std::string_view module, std::string_view name) {
        const global_lookup found = look_up(allowed_, module, name);
        const bool admitted = found.verdict == verdict::build || found.verdict == verdict::inert ||
                              (found.verdict == verdict::dangerous && allowed_.admits_attacks);
        graph_.globals.push_back(graph_.memory,
                                 {module, name, offset_here(), static_cast<std::uint8_t>(found.verdict), found.entry});
        const auto occurrence = static_cast<std::uint32_t>(graph_.globals.size() - 1);
        if (!admitted) note_refused(occurrence);
        if (observer_ != nullptr) observer_(observer_context_, *this, occurrence);
        return push_node(node::of(node_kind::global, occurrence));
    }
    [[nodiscard]] bool take_name_line(std::string_view& out) {
        if (!take_line(out)) return false;
        return check_utf8(out) == utf8_verdict::valid ? true
                                                      : fail(errc::pickle_text, "the name of a global is not UTF-8");
    }

    [[nodiscard]] const global_entry* entry_of(std::uint32_t callable) const noexcept {
        const node& n = graph_.nodes[callable];
        return n.kind == node_kind::global ? graph_.globals[n.a].entry : nullptr;
    }

    /// Records `callable(*arguments, **keywords)`.
    bool apply(std::uint32_t callable, std::uint32_t arguments, std::uint32_t keywords, bool new_object) {
        const node& c = graph_.nodes[callable];
        const node& a = graph_.nodes[arguments];
        if (a.kind != node_kind::tuple) return fail(errc::pickle_target, "the arguments of a call are not a tuple");
        auto accepts = global_accepts::everything;
        bool builds = false;
        if (c.kind == node_kind::global) {
            if (const global_entry* e = graph_.globals[c.a].entry) {
                if (e->kind == global_kind::constant || (e->kind == global_kind::storage && e->build == nullptr))
                    return fail(errc::pickle_target, "a call of a name that is not callable");
                accepts = e->accepts;
                builds = e->build != nullptr || e->kind == global_kind::nested;
            }
        } else if (c.kind == node_kind::persistent && class_ids_) {
            builds = true;
        } else if (c.kind != node_kind::application) {
            return fail(errc::pickle_target, "a call of a value that is neither a global nor an object");
        }
        node n = node::of(node_kind::application, arguments,
                          static_cast<unsigned>(accepts) | (new_object ? node_flag::new_object : 0u));
        n.link.b = callable;
        n.link.c = keywords;
        const std::uint32_t index = graph_.add(n);
        node more = node::of(node_kind::extension, absent_node);
        more.link.b = 0;
        more.link.c = offset_here();
        (void)graph_.add(more);
        if (builds) graph_.pending.push_back(graph_.memory, index);
        return push(index);
    }
    /// Records the persistent id whose argument is on the stack.
    bool push_persistent(std::uint8_t flags) {
        node n = node::of(node_kind::persistent, stack_.back(), flags);
        n.link.b = offset_here();
        n.link.c = 0;
        stack_.back() = graph_.add(n);
        graph_.pending.push_back(graph_.memory, stack_.back());
        return true;
    }

    bool set_items(std::uint32_t target, std::span<const std::uint32_t> pairs) {
        if (pairs.size() % 2 != 0) return fail(errc::pickle_target, "an odd number of keys and values");
        node& t = graph_.nodes[target];
        const bool dictionary = t.kind == node_kind::dictionary;
        if (!dictionary && (t.kind != node_kind::application || (t.flags & node_flag::items) == 0))
            return fail(errc::pickle_target, "items set on a value that is not a dictionary");
        for (std::size_t i = 0; i < pairs.size(); i += 2)
            if (!hashable(pairs[i])) return fail(errc::unhashable_key, "a dictionary key that Python cannot hash");
        if (!room_for(dictionary ? t.a : graph_.nodes[target + 1].link.b, pairs.size())) return false;
        if (!dictionary) t.flags |= node_flag::pairs;
        graph_.append(dictionary ? t.a : graph_.nodes[target + 1].link.b, pairs);
        return true;
    }
    bool append_items(std::uint32_t target, std::span<const std::uint32_t> values) {
        node& t = graph_.nodes[target];
        const bool list = t.kind == node_kind::list;
        if (!list && (t.kind != node_kind::application || (t.flags & node_flag::appends) == 0))
            return fail(errc::pickle_target, "an element appended to a value that is not a list");
        if (!room_for(list ? t.a : graph_.nodes[target + 1].link.b, values.size())) return false;
        if (!list) t.flags |= node_flag::elements;
        graph_.append(list ? t.a : graph_.nodes[target + 1].link.b, values);
        return true;
    }
    /// Containers count in 32 bits, and so do pickles, so this cannot happen before another limit; it is checked
    /// anyway.
    [[nodiscard]] bool room_for(std::uint32_t container_index, std::size_t more) {
        return graph_.containers[container_index].count + std::uint64_t{more} < 0xFFFF'FFFFu
                   ? true
                   : fail(errc::limit, "a container with four billion elements");
    }

    /// Whether Python could hash the value. Tuples are walked once and remembered, so sharing costs nothing.
    [[nodiscard]] bool hashable(std::uint32_t index) {
        const auto leaf = [](const node& n) {
            return n.kind != node_kind::list && n.kind != node_kind::dictionary && n.kind != node_kind::set &&
                   n.kind != node_kind::byte_array;
        };
        if (graph_.nodes[index].kind != node_kind::tuple) return leaf(graph_.nodes[index]);
        std::vector<std::pair<std::uint32_t, std::uint32_t>> open{{index, 0}};
        while (!open.empty()) {
            auto& [at, next] = open.back();
            node& t = graph_.nodes[at];
            if ((t.flags & node_flag::hashable) != 0 || next == t.a) {
                t.flags |= node_flag::hashable;
                open.pop_back();
                continue;
            }
            const std::uint32_t element = t.items[next++];
            if (graph_.nodes[element].kind == node_kind::tuple) open.emplace_back(element, 0);
            else if (!leaf(graph_.nodes[element])) return false;
        }
        return true;
    }

    void note_refused(std::uint32_t occurrence) {
        if (refused_count_++ != 0) return;
        first_refused_ = occurrence;
        refused_path_ = path_here();
    }
    [[nodiscard]] error refused_global() const;
    [[nodiscard]] error describe_fault() const {
        error e{.code = fault_.code,
                .opcode = fault_.opcode,
                .offset = graph_.place(fault_.at),
                .record = std::string(graph_.record),
                .path = path_here(),
                .detail = fault_.what,
                .opcode_name = opcode_table[fault_.opcode].name};
        if (fault_.wanted != no_offset) {
            e.detail += ": " + decimal(fault_.wanted);
            if (fault_.code != errc::memo_missing) e.detail += ", " + decimal(fault_.left) + " are there";
        }
        if (fault_.code == errc::pickle_truncated)
            e.hint = "the file is probably truncated; compare its size with the original";
        return e;
    }

    void run_opcodes();
    [[nodiscard]] CKPT_DETAIL_INLINE bool step(opcode op);

    graph& graph_;
    const allowlist& allowed_;
    const limits& limits_;
    const char* first_;
    const char* end_;
    const char* at_;
    const char* opcode_at_{first_};
    work_array<std::uint32_t> stack_{graph_.memory.pool()};
    work_array<std::size_t> marks_{graph_.memory.pool()};  // heights of the stack
    std::size_t floor_{0};                                 // the last of them
    work_array<std::uint32_t> memo_{graph_.memory.pool()}; // filled to its end with `absent_node`
    std::uint64_t memo_count_{0};
    std::uint64_t named_bytes_{0}; // by STACK_GLOBAL
    fault fault_{};
    bool stopped_{false};
    bool class_ids_{false};
    std::uint64_t refused_count_{0};
    std::uint32_t first_refused_{0};
    std::string refused_path_{};
    observer observer_{nullptr};
    void* observer_context_{nullptr};
};

inline void machine::run_opcodes() {
    while (!stopped_) {
        opcode_at_ = at_;
        if (at_ == end_) {
            fail(errc::pickle_truncated, "the pickle ends without STOP");
            return;
        }
        const auto op = static_cast<opcode>(static_cast<unsigned char>(*at_++));
        if (!step(op)) return;
    }
}

CKPT_DETAIL_INLINE bool machine::step(opcode op) {
    std::string_view text{};
    switch (op) {
    case opcode::binget: {
        std::uint8_t i{};
        return take(i) && get(i);
    }
    case opcode::binput: {
        std::uint8_t i{};
        return take(i) && put(i);
    }
    case opcode::long_binget: {
        std::uint32_t i{};
        return take(i) && get(i);
    }
    case opcode::long_binput: {
        std::uint32_t i{};
        return take(i) && put(i);
    }
    case opcode::memoize: return put(memo_count_);
    case opcode::mark: open_mark(); return true;
    case opcode::binint1: {
        std::uint8_t v{};
        return take(v) && push(small_integers + v);
    }
    case opcode::binint2: {
        std::uint16_t v{};
        return take(v) && push_integer(v);
    }
    case opcode::binint: {
        std::uint32_t v{};
        return take(v) && push_integer(static_cast<std::int32_t>(v));
    }
    case opcode::binunicode: return take_counted<std::uint32_t>(text) && push_unicode(text);
    case opcode::short_binunicode: return take_counted<std::uint8_t>(text) && push_unicode(text);
    case opcode::binunicode8: return take_counted<std::uint64_t>(text) && push_unicode(text);
    case opcode::tuple1: return push_small_tuple(1);
    case opcode::tuple2: return push_small_tuple(2);
    case opcode::tuple3: return push_small_tuple(3);
    case opcode::tuple: {
        if (!need_mark()) return false;
        const std::uint32_t t = make_tuple(above_mark());
        drop_mark();
        return push(t);
    }
    case opcode::empty_tuple: return push(empty_tuple_node);
    case opcode::reduce: {
        if (!need_values(2)) return false;
        const std::uint32_t arguments = stack_.back();
        const std::uint32_t callable = stack_[stack_.size() - 2];
        stack_.shrink(stack_.size() - 2);
        return apply(callable, arguments, absent_node, false);
    }
    case opcode::binpersid: return need_values(1) && push_persistent(0);
    case opcode::newfalse: return push(false_node);
    case opcode::newtrue: return push(true_node);
    case opcode::none: return push(none_node);
    case opcode::global: {
        std::string_view module{};
        return take_name_line(module) && take_name_line(text) && push_global(module, text);
    }
    case opcode::stack_global: {
        if (!need_values(2)) return false;
        const node& n = graph_.nodes[stack_.back()];
        const node& m = graph_.nodes[stack_[stack_.size() - 2]];
        if (n.kind != node_kind::string || m.kind != node_kind::string)
            return fail(errc::pickle_target, "the module and the name of a global are not both str");
        if (((n.flags | m.flags) & node_flag::not_utf8) != 0)
            return fail(errc::pickle_text, "the name of a global is not UTF-8");
        // Both may be long and named again and again, and every look-up reads them. Real names are written once.
        if (!charge_names(std::uint64_t{n.a} + m.a))
            return fail(errc::limit, "the names of globals, counted each time, are too long for a pickle of this size");
        const std::string_view module = graph::text_of(m);
        text = graph::text_of(n);
        stack_.shrink(stack_.size() - 2);
        return push_global(module, text);
    }
    case opcode::setitems: {
        if (!need_mark()) return false;
        if (marks_.back() == 0 || (marks_.size() > 1 && marks_[marks_.size() - 2] == marks_.back()))
            return fail(errc::stack_underflow, "SETITEMS without a dictionary below its MARK");
        if (!set_items(stack_[marks_.back() - 1], above_mark())) return false;
        drop_mark();
        return true;
    }
    case opcode::setitem: {
        if (!need_values(3)) return false;
        if (!set_items(stack_[stack_.size() - 3], {stack_.data() + stack_.size() - 2, 2})) return false;
        stack_.shrink(stack_.size() - 2);
        return true;
    }
    case opcode::appends: {
        if (!need_mark()) return false;
        if (marks_.back() == 0 || (marks_.size() > 1 && marks_[marks_.size() - 2] == marks_.back()))
            return fail(errc::stack_underflow, "APPENDS without a list below its MARK");
        if (!append_items(stack_[marks_.back() - 1], above_mark())) return false;
        drop_mark();
        return true;
    }
    case opcode::append: {
        if (!need_values(2)) return false;
        if (!append_items(stack_[stack_.size() - 2], {&stack_.back(), 1})) return false;
        stack_.pop_back();
        return true;
    }
    case opcode::empty_dict: {
        node n = node::of(node_kind::dictionary);
        n.link.b = n.link.c = 0;
        return push_node(n);
    }
    case opcode::empty_list: return push_node(node::of(node_kind::list));
    case opcode::empty_set: return push_node(node::of(node_kind::set));
    case opcode::dict: {
        if (!need_mark()) return false;
        node n = node::of(node_kind::dictionary);
        n.link.b = n.link.c = 0;
        const std::uint32_t index = graph_.add(n);
        if (!set_items(index, above_mark())) return false;
        drop_mark();
        return push(index);
    }
    case opcode::list: return need_mark() && push_filled(node_kind::list, above_mark());
    case opcode::frozenset:
    case opcode::additems: {
        if (!need_mark()) return false;
        for (const std::uint32_t e : above_mark())
            if (!hashable(e)) return fail(errc::unhashable_key, "a set element that Python cannot hash");
        if (op == opcode::frozenset) return push_filled(node_kind::frozen_set, above_mark());
        if (marks_.back() == 0 || (marks_.size() > 1 && marks_[marks_.size() - 2] == marks_.back()))
            return fail(errc::stack_underflow, "ADDITEMS without a set below its MARK");
        node& t = graph_.nodes[stack_[marks_.back() - 1]];
        if (t.kind != node_kind::set) return fail(errc::pickle_target, "an element added to a value that is not a set");
        graph_.append(t.a, above_mark());
        drop_mark();
        return true;
    }
    case opcode::build: {
        if (!need_values(2)) return false;
        const std::uint32_t state = stack_.back();
        const std::uint32_t target = stack_[stack_.size() - 2];
        node& t = graph_.nodes[target];
        if (t.kind != node_kind::application || (t.flags & node_flag::state) == 0)
            return fail(errc::pickle_target, "BUILD on a value that has no state");
        if ((t.flags & node_flag::built) != 0) return fail(errc::pickle_target, "BUILD twice on one object");
        t.flags |= node_flag::built;
        graph_.nodes[target + 1].a = state;
        stack_.pop_back();
        return true;
    }
    case opcode::newobj:
    case opcode::newobj_ex: {
        const std::size_t n = op == opcode::newobj ? 2 : 3;
        if (!need_values(n)) return false;
        const std::uint32_t callable = stack_[stack_.size() - n];
        const std::uint32_t arguments = stack_[stack_.size() - n + 1];
        const std::uint32_t keywords = n == 3 ? stack_.back() : absent_node;
        if (n == 3 && graph_.nodes[keywords].kind != node_kind::dictionary)
            return fail(errc::pickle_target, "the keyword arguments of NEWOBJ_EX are not a dictionary");
        stack_.shrink(stack_.size() - n);
        return apply(callable, arguments, keywords, true);
    }
    case opcode::obj: {
        if (!need_mark() || !need_values(1)) return false;
        const auto above = above_mark();
        const std::uint32_t callable = above.front();
        const std::uint32_t arguments = make_tuple(above.subspan(1));
        drop_mark();
        return apply(callable, arguments, absent_node, true);
    }
    case opcode::inst: {
        std::string_view module{};
        if (!take_name_line(module) || !take_name_line(text) || !need_mark()) return false;
        const std::uint32_t arguments = make_tuple(above_mark());
        drop_mark();
        if (!push_global(module, text)) return false;
        const std::uint32_t callable = stack_.back();
        stack_.pop_back();
        return apply(callable, arguments, absent_node, true);
    }
    case opcode::binfloat: {
        std::uint64_t bits{};
        if (!take(bits)) return false;
        node n = node::of(node_kind::real);
        n.real = std::bit_cast<double>(byte_swap(bits)); // big-endian in the file; `take` read little-endian
        return push_node(n);
    }
    case opcode::float_text: {
        node n = node::of(node_kind::real);
        double v{};
        if (!take_line(text)) return false;
        if (!parse_real(text, v)) return fail(errc::pickle_text, "a float that is not a number");
        n.real = v;
        return push_node(n);
    }
    case opcode::int_text: {
        if (!take_line(text)) return false;
        if (text == "00") return push(false_node);
        if (text == "01") return push(true_node);
        return push_decimal(text);
    }
    case opcode::long_text: {
        if (!take_line(text)) return false;
        if (text.ends_with('L')) text.remove_suffix(1);
        return push_decimal(text);
    }
    case opcode::long1: return take_counted<std::uint8_t>(text) && push_binary_integer(text);
    case opcode::long4: return take_signed_counted(text) && push_binary_integer(text);
    case opcode::string_text: {
        if (!take_line(text)) return false;
        if (text.size() < 2 || (text.front() != '\'' && text.front() != '"') || text.back() != text.front())
            return fail(errc::pickle_text, "a STRING without matching quotes");
        std::string out;
        if (!unescape_string(text.substr(1, text.size() - 2), out))
            return fail(errc::pickle_text, "a STRING with a malformed escape");
        return push_eight_bit(copy(out));
    }
    case opcode::unicode_text: {
        std::string out;
        if (!take_line(text)) return false;
        if (!unescape_unicode(text, out)) return fail(errc::pickle_text, "a UNICODE with a malformed escape");
        return push_unicode(copy(out));
    }
    case opcode::binstring: return take_signed_counted(text) && push_eight_bit(text);
    case opcode::short_binstring: return take_counted<std::uint8_t>(text) && push_eight_bit(text);
    case opcode::binbytes: return take_counted<std::uint32_t>(text) && push_text(node_kind::bytes, text);
    case opcode::short_binbytes: return take_counted<std::uint8_t>(text) && push_text(node_kind::bytes, text);
    case opcode::binbytes8: return take_counted<std::uint64_t>(text) && push_text(node_kind::bytes, text);
    case opcode::bytearray8: return take_counted<std::uint64_t>(text) && push_text(node_kind::byte_array, text);
    case opcode::get: {
        std::uint64_t i{};
        return take_index(i) && get(i);
    }
    case opcode::put: {
        std::uint64_t i{};
        return take_index(i) && put(i);
    }
    case opcode::persid: {
        if (!take_line(text)) return false;
        if (check_utf8(text) == utf8_verdict::invalid || !push_text(node_kind::string, text))
            return fail(errc::pickle_text, "a persistent id that is not UTF-8");
        return push_persistent(node_flag::text_form);
    }
    case opcode::pop: {
        if (!marks_.empty() && marks_.back() == stack_.size()) {
            close_mark();
            return true;
        }
        if (!need_values(1)) return false;
        stack_.pop_back();
        return true;
    }
    case opcode::pop_mark:
        if (!need_mark()) return false;
        drop_mark();
        return true;
    case opcode::dup: return need_values(1) && push(stack_.back());
    case opcode::proto: {
        std::uint8_t version{};
        if (!take(version)) return false;
        return version <= 5 ? true : fail(errc::pickle_not_supported, "a pickle protocol beyond 5", version, 5);
    }
    case opcode::frame: {
        std::uint64_t length{};
        return take(length) && need_bytes(length);
    }
    case opcode::stop:
        if (!need_values(1)) return false;
        graph_.root = stack_.back();
        stopped_ = true;
        return true;
    case opcode::ext1:
    case opcode::ext2:
    case opcode::ext4:
        return fail(errc::pickle_not_supported, "the extension registry, which has no meaning in a checkpoint");
    case opcode::next_buffer:
    case opcode::readonly_buffer:
        return fail(errc::pickle_not_supported, "an out-of-band buffer, which a file cannot hold");
    }
    return fail(errc::pickle_opcode, "an unknown opcode");
}

inline error machine::refused_global() const {
    const global_occurrence& g = graph_.globals[first_refused_];
    const bool attack = static_cast<verdict>(g.verdict) == verdict::dangerous;
    error e{.code = errc::global_not_allowed,
            .offset = graph_.place(g.offset),
            .record = std::string(graph_.record),
            .path = refused_path_,
            .module = std::string(g.module),
            .name = std::string(g.name)};
    e.opcode = g.offset < graph_.pickle.size() ? static_cast<std::uint8_t>(first_[g.offset]) : std::uint8_t{0};
    e.opcode_name = opcode_table[e.opcode].name;
    e.detail =
        quoted(g.module) + ' ' + quoted(g.name) + (attack ? " can only be an attack" : " is not in the allowlist");
    if (refused_count_ > 1)
        e.detail += " (and " + decimal(refused_count_ - 1) + " other use" + (refused_count_ > 2 ? "s" : "") +
                    " of refused names: see ckpt globals)";
    const bool code = g.module.starts_with("dill.") || g.module.starts_with("cloudpickle.");
    e.hint =
        code ? std::string_view{"It was pickled by dill or cloudpickle, which store code, and none is run here: save "
                                "tensors and plain values with torch.save; ckpt::inspect_policy shows what is in it"}
        : attack ? std::string_view{"Do not load this file with anything that executes pickles; ckpt::inspect_policy "
                                    "shows what is in it"}
                 : std::string_view{"Add ckpt::global<\"{module}\", \"{name}\"> to the policy given to ckpt::open, or "
                                    "open with ckpt::inspect_policy"};
    return e;
}

inline std::string machine::path_here() const {
    // A path is for people: its elements and their number are cut, so that no file makes it long.
    std::string path;
    std::size_t depth = 0;
    const auto key_text = [&](std::uint32_t index) -> std::string {
        const node& n = graph_.nodes[index];
        if (n.kind == node_kind::string)
            return n.a <= 2 * quoted_limit ? std::string(graph::text_of(n)) : printable(graph::text_of(n));
        if (n.kind == node_kind::integer) return decimal(n.integer);
        return std::string("?");
    };
    // A segment of the stack between two marks. What lies under a mark is filled by that mark, so it is no key.
    const auto segment = [&](std::size_t begin, std::size_t end, bool below_is_owner) {
        if (depth > 24) return;
        if (below_is_owner && begin > 0) {
            const node& owner = graph_.nodes[stack_[begin - 1]];
            const bool mapping = owner.kind == node_kind::dictionary ||
                                 (owner.kind == node_kind::application && (owner.flags & node_flag::items) != 0);
            if (mapping && (end - begin) % 2 == 1) {
                // Above the key there may be the parts of a value that is not complete.
                std::size_t at = end - 1;
                const auto is_key = [&](std::size_t i) {
                    return graph_.nodes[stack_[i]].kind == node_kind::string ||
                           graph_.nodes[stack_[i]].kind == node_kind::integer;
                };
                while (!is_key(at) && at >= begin + 2 && end - at < 64) at -= 2;
                append_path_element(path, key_text(stack_[is_key(at) ? at : end - 1]), depth++ == 0);
                return;
            }
            // A key, its value's class or an object under construction: the key is one before.
            if (mapping && end - begin >= 2 && graph_.nodes[stack_[end - 2]].kind == node_kind::string &&
                (graph_.nodes[stack_[end - 1]].kind == node_kind::global ||
                 graph_.nodes[stack_[end - 1]].kind == node_kind::application)) {
                append_path_element(path, key_text(stack_[end - 2]), depth++ == 0);
                return;
            }
            if (owner.kind == node_kind::list) {
                append_path_element(path, decimal(std::uint64_t{graph_.containers[owner.a].count + (end - begin)}),
                                    depth++ == 0);
                return;
            }
        }
        // SETITEM and APPEND work without a mark: a container, and a key that waits for its value.
        // Only the top of a long stack is looked at: a place in words is not worth more.
        for (std::size_t i = end - begin > 64 ? end - 64 : begin; i + 1 < end && depth <= 24; ++i)
            if (graph_.nodes[stack_[i]].kind == node_kind::dictionary &&
                graph_.nodes[stack_[i + 1]].kind == node_kind::string)
                append_path_element(path, key_text(stack_[i + 1]), depth++ == 0);
    };
    std::size_t begin = 0;
    for (std::size_t m = 0; m <= marks_.size() && m <= 256 && depth <= 24; ++m) {
        const std::size_t top = m < marks_.size() ? marks_[m] : stack_.size();
        const std::size_t end = m < marks_.size() && top > begin ? top - 1 : top;
        segment(begin, end, m > 0);
        begin = top;
    }
    return path;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
