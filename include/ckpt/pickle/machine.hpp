// ckpt/pickle/machine.hpp: reads the opcodes of one pickle into a graph.
//
// SPDX-License-Identifier: MIT
// In:      the bytes of a pickle, in memory that the graph owns; an allowlist; limits.
// Out:     nodes: literals, containers, and *applications*, which record calls without making them. A verdict for every
//          global, with its place.
// Refuses: unknown, unsupported or misplaced opcodes, stack underflow, a missing STOP, malformed text, lengths past the
//          end, opcodes on values of another type; and globals outside the allowlist, after the rest was read, so that
//          the error can count them.
//
// Nothing is called or imported. The machine does not depend on PyTorch: a persistent id is a node. Time is linear in
// the pickle: the work of an opcode is constant, or in proportion to opcodes before it.
#pragma once

#include <ckpt/core/index_table.hpp>
#include <ckpt/core/key_path.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/opcode.hpp>
#include <ckpt/pickle/text.hpp>
#include <ckpt/pickle/whole_call.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class machine {
  public:
    /// For one pickle at `begin` of `out.pickle`; the caller has set `out.pickle`, `out.base` and `out.record`.
    machine(graph& out, const allowlist& allowed, const limits& budget, std::uint64_t begin = 0);

    /// Runs to STOP, and sets the graph's root. A global that refuses the file is the error even where the pickle is
    /// damaged behind it. One that is refused at its place becomes a node of kind `refused`.
    [[nodiscard]] result<void> run();

    /// The offset in `out.pickle` behind STOP.
    [[nodiscard]] std::uint64_t end_offset() const noexcept { return static_cast<std::uint64_t>(at_ - first_); }

    /// The damage of the pickle, without regard to refused globals.
    [[nodiscard]] result<void> damage() const;

    /// The path of the value that is being read, from the keys below the open marks: "optimizer/state/0".
    [[nodiscard]] std::string path_here() const;
    /// Allows calls of persistent ids, which name classes in legacy files of whole modules. The resolver checks them.
    void admit_class_ids() noexcept { class_ids_ = true; }
    /// Has calls that stand as one run of opcodes made by `maker`, which must outlive the machine's run. A pickle with
    /// which anything is wrong, or that uses such a call as no tensor is used, is read again without.
    void make_whole_calls(whole_call_maker& maker) noexcept { maker_ = &maker; }
    /// The number of steps that `path_here` takes at most.
    [[nodiscard]] std::size_t depth() const noexcept { return stack_.size() + marks_.size(); }

    /// Called for each GLOBAL before the next opcode; used by scans to note paths.
    using observer = void (*)(void* context, const machine& self, std::uint32_t occurrence);
    void observe(observer function, void* context) noexcept;

  private:
    struct fault {
        errc code{errc::none};
        std::uint64_t at{0};
        std::uint8_t opcode{0};
        const char* what{""};
        std::uint64_t wanted{no_offset};
        std::uint64_t left{0};
    };

    bool fail(errc code, const char* what, std::uint64_t wanted = no_offset, std::uint64_t left = 0) noexcept;
    /// For an opcode that needs more bytes than there are up to `end_`: the pickle is cut, or a frame ends inside it.
    bool fail_short(const char* what, std::uint64_t wanted = no_offset) noexcept;

    [[nodiscard]] std::uint32_t offset_here() const noexcept { return static_cast<std::uint32_t>(opcode_at_ - first_); }
    [[nodiscard]] CKPT_DETAIL_INLINE std::size_t remaining() const noexcept {
        return static_cast<std::size_t>(end_ - at_);
    }

    [[nodiscard]] CKPT_DETAIL_INLINE bool need_bytes(std::uint64_t n) {
        return n <= remaining() ? true : fail_short("the pickle ends inside an opcode's argument", n);
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
    [[nodiscard]] bool take_signed_counted(std::string_view& out);
    [[nodiscard]] bool take_line(std::string_view& out);

    // --- frames
    /// Readers of Python differ in which opcodes they see where a frame ends inside an opcode, inside another frame or
    /// behind STOP. All of these are refused. While a frame is open, `end_` is its end, so that no opcode checks it.
    [[nodiscard]] bool open_frame();
    /// Goes on behind the frame that ends at `at_`. False where the pickle ends here.
    [[nodiscard]] bool close_frame() noexcept {
        if (!framed_) return false;
        framed_ = false;
        end_ = last_;
        return at_ != last_;
    }
    [[nodiscard]] bool stop();

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
    bool push_integer(std::int64_t value);
    bool push_unicode(std::string_view text) {
        const utf8_verdict v = check_utf8(text);
        if (v == utf8_verdict::invalid) return fail(errc::pickle_text, "a str that is not UTF-8");
        return push_text(node_kind::string, text,
                         v == utf8_verdict::surrogates ? node_flag::not_utf8 : std::uint8_t{0});
    }
    bool push_eight_bit(std::string_view text);
    [[nodiscard]] std::string_view copy(std::string_view text);

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
    bool push_filled(node_kind kind, std::span<const std::uint32_t> values);

    // --- memo
    CKPT_DETAIL_INLINE bool put(std::uint64_t index) {
        if (!need_values(1)) return false;
        // Indices may have gaps: memory for them is taken up to the size of the pickle.
        if (index >= memo_.size()) {
            if (index > graph_.pickle.size()) return put_far(index);
            memo_.extend((std::max)(static_cast<std::size_t>(index) + 1, memo_.size() * 2), absent_node);
        }
        std::uint32_t& entry = memo_[static_cast<std::size_t>(index)];
        if (entry == absent_node && !count_entry(index)) return false;
        entry = stack_.back();
        return true;
    }
    CKPT_DETAIL_INLINE bool get(std::uint64_t index) {
        if (index >= memo_.size() || memo_[static_cast<std::size_t>(index)] == absent_node) return get_far(index);
        return push(memo_[static_cast<std::size_t>(index)]);
    }
    /// Counts an entry that was not there. Whole calls leave entries out that hardly any pickle reads: one that puts
    /// something there is read again.
    CKPT_DETAIL_INLINE bool count_entry(std::uint64_t index) noexcept {
        if (index != memo_count_) {
            if (whole_made_) return read_again();
            gaps_ = true;
        }
        ++memo_count_;
        return true;
    }
    /// The same for an index beyond the number of bytes in the pickle.
    bool put_far(std::uint64_t index);
    bool get_far(std::uint64_t index);
    /// Pushes the key of a whole call, whose entry was left out.
    bool get_key(std::uint64_t index);
    [[nodiscard]] bool take_index(std::uint64_t& out);

    // --- whole calls
    /// Makes the call whose callable is on the stack, and whose two MARKs begin at `at_ - 1`. False where it is not one
    /// that can be made at once; then nothing has changed.
    [[nodiscard]] bool call_whole();
    /// Asks for the pickle to be read again, opcode by opcode. Returns false.
    bool read_again() noexcept {
        again_ = true;
        return false;
    }
    /// Goes back to before the first opcode, and forgets the maker.
    void start_over();

    // --- numbers
    bool push_binary_integer(std::string_view bytes);
    bool push_decimal(std::string_view line);

    // --- globals and applications
    [[nodiscard]] bool charge_names(std::uint64_t bytes) noexcept;
    bool push_global(std::string_view module, std::string_view name);
    [[nodiscard]] bool take_name_line(std::string_view& out);

    [[nodiscard]] const global_entry* entry_of(std::uint32_t callable) const noexcept;

    /// Records `callable(*arguments, **keywords)`.
    bool apply(std::uint32_t callable, std::uint32_t arguments, std::uint32_t keywords, bool new_object);
    /// NEWOBJ and NEWOBJ_EX, which take two or three values.
    bool push_new_object(std::size_t values);
    /// BUILD, whose two values are there.
    bool set_state();
    /// Whether Python can call the result of the application.
    [[nodiscard]] bool callable_result(const node& application) const noexcept;
    /// Replaces the top of the stack by the persistent id that has it as its argument.
    bool push_persistent(std::uint8_t flags);

    bool set_items(std::uint32_t target, std::span<const std::uint32_t> pairs);
    bool append_items(std::uint32_t target, std::span<const std::uint32_t> values);
    /// Appends to a container of the graph, and notes when.
    void grow(std::uint32_t& container_index, std::span<const std::uint32_t> values);
    /// Whether a container can have so many elements more. Always true, because a pickle has less than 4 GiB; checked
    /// anyway.
    [[nodiscard]] bool room_for(std::uint32_t container_index, std::size_t more);

    /// Whether Python can hash the value. Each tuple is checked once, also where it is shared.
    [[nodiscard]] bool hashable(std::uint32_t index);

    /// Notes a global that refuses the file.
    void note_refused(std::uint32_t occurrence);
    /// The error for a global that the policy does not admit.
    [[nodiscard]] error refusal_of(const global_occurrence& g, std::string path) const;
    [[nodiscard]] error refused_global() const;
    [[nodiscard]] error describe_fault() const;

    void run_opcodes();
    [[nodiscard]] CKPT_DETAIL_INLINE bool step(opcode op);

    graph& graph_;
    const allowlist& allowed_;
    const limits& limits_;
    const char* first_;
    const char* last_; // the end of the bytes
    const char* end_;  // the same, or the end of the open frame
    const char* at_;
    const char* opcode_at_{first_};
    work_array<std::uint32_t> stack_{graph_.memory.pool()};
    work_array<std::size_t> marks_{graph_.memory.pool()};        // heights of the stack
    std::size_t floor_{0};                                       // the last of the heights
    work_array<std::uint32_t> memo_{graph_.memory.pool()};       // unused entries are `absent_node`
    std::vector<std::pair<std::uint64_t, std::uint32_t>> far_{}; // entries of larger indices: index, node
    std::vector<std::uint32_t> far_slots_{};
    index_table far_table_{};
    std::uint64_t memo_count_{0};
    std::uint64_t named_bytes_{0}; // bytes of the names of all STACK_GLOBALs
    fault fault_{};
    bool stopped_{false};
    bool framed_{false}; // whether a frame is open
    bool class_ids_{false};
    bool attributes_{false}; // whether the pickle names getattr
    bool gaps_{false};       // whether an entry of the memo is there and one of a lower index is not
    bool whole_made_{false}; // whether a call was made at once
    bool again_{false};
    whole_call_maker* maker_{nullptr};
    graph_mark begin_;
    std::uint64_t refused_count_{0};
    std::uint32_t first_refused_{0};
    std::string refused_path_{};
    observer observer_{nullptr};
    void* observer_context_{nullptr};
};

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
    case opcode::mark:
        if (maker_ != nullptr && remaining() > whole_call_reader::most_bytes && *at_ == '(' && call_whole())
            return true;
        open_mark();
        return true;
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
        // Each look-up reads both texts, which may be long and used many times.
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
        grow(t.a, above_mark());
        drop_mark();
        return true;
    }
    case opcode::build: return need_values(2) && set_state();
    case opcode::newobj:
    case opcode::newobj_ex: return push_new_object(op == opcode::newobj ? 2 : 3);
    case opcode::obj: {
        if (!need_mark() || !need_values(1)) return false;
        const auto above = above_mark();
        const std::uint32_t callable = above.front();
        const std::uint32_t arguments = make_tuple(above.subspan(1));
        drop_mark();
        return apply(callable, arguments, absent_node, arguments == empty_tuple_node);
    }
    case opcode::inst: {
        std::string_view module{};
        if (!take_name_line(module) || !take_name_line(text) || !need_mark()) return false;
        const std::uint32_t arguments = make_tuple(above_mark());
        drop_mark();
        if (!push_global(module, text)) return false;
        const std::uint32_t callable = stack_.back();
        stack_.pop_back();
        return apply(callable, arguments, absent_node, arguments == empty_tuple_node);
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
        if (text == "+0" || text == "+1" || text == "-0")
            return fail(errc::pickle_text, "a number that one of Python's readers takes for a boolean");
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
        if (!std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
            return fail(errc::pickle_text, "a persistent id that is not ASCII");
        return push_text(node_kind::string, text) && push_persistent(node_flag::text_form);
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
    case opcode::frame: return open_frame();
    case opcode::stop: return stop();
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

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/machine.ipp>
#endif
