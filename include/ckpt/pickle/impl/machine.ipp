// ckpt/pickle/impl/machine.ipp: the definitions of machine.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/hash.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/attributes.hpp>
#include <ckpt/pickle/machine.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF machine::machine(graph& out, const allowlist& allowed, const limits& budget, std::uint64_t begin)
    : graph_{out},
      allowed_{allowed},
      limits_{budget},
      first_{reinterpret_cast<const char*>(out.pickle.data())},
      last_{first_ + out.pickle.size()},
      end_{last_},
      at_{first_ + begin},
      begin_{out.mark(begin)} {
    // Checkpoints have about seven memo entries for each hundred bytes of pickle.
    memo_.extend(std::min<std::size_t>(out.pickle.size() / 16 + 16, std::size_t{1} << 16), absent_node);
}

CKPT_DETAIL_DEF result<void> machine::run() {
    run_opcodes();
    if (whole_made_ && (again_ || attributes_ || refused_count_ > 0 || fault_.code != errc::none)) {
        start_over();
        run_opcodes();
    }
    if (attributes_ && !allowed_.admits_attacks)
        for_each_stray_attribute(graph_, allowed_, [this](std::uint32_t occurrence) {
            graph_.globals[occurrence].verdict = static_cast<std::uint8_t>(verdict::dangerous);
            note_refused(occurrence);
        });
    if (refused_count_ > 0) return refused_global();
    if (fault_.code != errc::none) return describe_fault();
    return {};
}

CKPT_DETAIL_DEF result<void> machine::damage() const {
    if (fault_.code == errc::none) return {};
    return describe_fault();
}

CKPT_DETAIL_DEF void machine::observe(observer function, void* context) noexcept {
    observer_ = function;
    observer_context_ = context;
}

CKPT_DETAIL_DEF bool machine::fail(errc code, const char* what, std::uint64_t wanted, std::uint64_t left) noexcept {
    fault_ = {code,
              static_cast<std::uint64_t>(opcode_at_ - first_),
              opcode_at_ < last_ ? static_cast<std::uint8_t>(*opcode_at_) : std::uint8_t{0},
              what,
              wanted,
              left};
    return false;
}

CKPT_DETAIL_RARE bool machine::fail_short(const char* what, std::uint64_t wanted) noexcept {
    if (end_ != last_)
        return fail(errc::pickle_opcode, "a frame ends inside an opcode, which readers take differently");
    return fail(errc::pickle_truncated, what, wanted, wanted == no_offset ? 0 : remaining());
}

CKPT_DETAIL_DEF bool machine::open_frame() {
    std::uint64_t length{};
    if (!take(length)) return false;
    if (at_ == end_) (void)close_frame();
    if (framed_) return fail(errc::pickle_opcode, "a frame inside a frame, which readers take differently");
    if (!need_bytes(length)) return false;
    framed_ = true;
    end_ = at_ + length;
    return true;
}

CKPT_DETAIL_DEF bool machine::stop() {
    if (!need_values(1)) return false;
    if (framed_ && at_ != end_)
        return fail(errc::pickle_opcode, "STOP before the end of its frame, which readers take differently");
    graph_.root = stack_.back();
    stopped_ = true;
    return true;
}

CKPT_DETAIL_RARE bool machine::take_signed_counted(std::string_view& out) {
    std::uint32_t length{};
    if (!take(length)) return false;
    if (length > 0x7FFF'FFFFu) return fail(errc::pickle_text, "a negative length");
    return take_text(length, out);
}

CKPT_DETAIL_DEF bool machine::take_line(std::string_view& out) {
    const void* const newline = std::memchr(at_, '\n', remaining());
    if (newline == nullptr) return fail_short("a text argument without the end of its line");
    const char* const stop = static_cast<const char*>(newline);
    out = {at_, static_cast<std::size_t>(stop - at_)};
    at_ = stop + 1;
    return true;
}

CKPT_DETAIL_RARE bool machine::push_integer(std::int64_t value) {
    if (value >= 0 && value < 256) return push(small_integers + static_cast<std::uint32_t>(value));
    node n = node::of(node_kind::integer);
    n.integer = value;
    return push_node(n);
}

CKPT_DETAIL_RARE bool machine::push_eight_bit(std::string_view text) {
    const bool valid = check_utf8(text) == utf8_verdict::valid;
    return push_text(node_kind::string, text,
                     static_cast<std::uint8_t>(node_flag::eight_bit | (valid ? 0 : node_flag::not_utf8)));
}

CKPT_DETAIL_DEF std::string_view machine::copy(std::string_view text) {
    char* to = graph_.memory.allocate<char>(text.size() + 1);
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    return {to, text.size()};
}

CKPT_DETAIL_DEF bool machine::push_filled(node_kind kind, std::span<const std::uint32_t> values) {
    node n = node::of(kind);
    graph_.append(n.a, values);
    drop_mark();
    return push_node(n);
}

CKPT_DETAIL_DEF bool machine::call_whole() {
    if (gaps_ || stack_.size() == floor_) return false;
    const char* run = at_ + 1; // behind the two MARKs
    whole_call call;
    call.callable = stack_.back();
    const auto commit = [&](const whole_call_reader& reader, std::uint32_t index) {
        const auto next = static_cast<std::size_t>(reader.next());
        if (next > memo_.size()) {
            // As many for the whole pickle as for what was read of it; a quarter more where that is few, so that what
            // grows late is not moved too often.
            const std::size_t have = memo_.size();
            const double parts = static_cast<double>(graph_.pickle.size()) / static_cast<double>(reader.at() - first_);
            const auto likely = static_cast<std::size_t>(static_cast<double>(next) * (std::min)(parts, 8.0));
            memo_.extend((std::max)({next, likely, have + have / 4}), absent_node);
        }
        memo_[next - 1] = index;
        memo_count_ = next;
        at_ = reader.at();
    };
    for (bool made_one = false;; made_one = true) {
        whole_call_reader reader{graph_, {memo_.data(), memo_.size()}, run, end_, memo_count_};
        node made{};
        if (!reader.read(call) || !maker_->make(call, made)) return made_one;
        made.link.b = static_cast<std::uint32_t>(run - first_); // where `get_key` looks
        stack_.back() = graph_.add(made);
        commit(reader, stack_.back());
        whole_made_ = true;
        // Nearly always a key follows, and another call of the same.
        std::string_view key{};
        whole_call_reader behind{
            graph_, {memo_.data(), memo_.size()}, at_, end_, memo_count_}; // the memo may have moved
        if (remaining() <= whole_call_reader::most_bytes || !behind.read_next(key, call.callable)) return true;
        node name = node::of(node_kind::string, static_cast<std::uint32_t>(key.size()));
        name.text = key.data();
        const std::uint32_t index = graph_.add(name);
        commit(behind, index);
        stack_.push_back(index);
        stack_.push_back(call.callable);
        if (remaining() < whole_call_reader::most_bytes + 2 || at_[0] != '(' || at_[1] != '(') return true;
        run = at_ + 2;
    }
}

CKPT_DETAIL_RARE bool machine::get_key(std::uint64_t index) {
    constexpr std::size_t most_entries = 7; // of a whole call
    auto at = static_cast<std::size_t>(index);
    if (index == 0 || index >= memo_count_ || memo_[at - 1] == absent_node) return read_again();
    while (at < index + most_entries && at < memo_count_ && memo_[at] == absent_node) ++at;
    const node& result = graph_.nodes[memo_[at]];
    if (result.kind != node_kind::tensor || result.link.b == 0) return read_again();
    const char* const run = first_ + result.link.b;
    whole_call_reader reader{graph_, {memo_.data(), memo_.size()}, run, last_, index};
    whole_call call;
    if (!reader.read(call) || reader.next() != at + 1) return read_again();
    // A key out of the memo stands elsewhere.
    if (call.key.data() < run || call.key.data() >= reader.at()) return read_again();
    (void)push_text(node_kind::string, call.key);
    memo_[static_cast<std::size_t>(index)] = stack_.back();
    return true;
}

CKPT_DETAIL_RARE void machine::start_over() {
    maker_->forget();
    maker_ = nullptr;
    graph_.go_back(begin_);
    at_ = first_ + begin_.offset;
    end_ = last_;
    stack_.shrink(0);
    marks_.shrink(0);
    floor_ = 0;
    memo_.shrink(0);
    memo_.extend(1, absent_node);
    far_.clear();
    far_slots_.clear();
    far_table_ = {};
    memo_count_ = named_bytes_ = refused_count_ = 0;
    fault_ = {};
    stopped_ = framed_ = attributes_ = whole_made_ = again_ = false;
    refused_path_.clear();
}

CKPT_DETAIL_RARE bool machine::put_far(std::uint64_t index) {
    if (whole_made_) return read_again();
    gaps_ = true;
    if (far_slots_.size() < index_table::slots_for(far_.size() + 1)) {
        far_slots_.assign(index_table::slots_for(far_.size() + 1), index_table::none);
        far_table_ = {far_slots_, far_slots_.size()};
        for (std::uint32_t i = 0; i < far_.size(); ++i)
            (void)far_table_.insert(mix(far_[i].first), i, [](std::uint32_t) { return false; });
    }
    constexpr std::size_t most_steps = 63;
    const auto added = static_cast<std::uint32_t>(far_.size());
    const std::uint32_t found =
        far_table_.insert(mix(index), added, [&](std::uint32_t i) { return far_[i].first == index; }, most_steps);
    if (found == index_table::none) return fail(errc::limit, "memo indices that were chosen to collide");
    if (found == added) {
        far_.emplace_back(index, stack_.back());
        ++memo_count_;
    }
    far_[found].second = stack_.back();
    return true;
}

CKPT_DETAIL_RARE bool machine::get_far(std::uint64_t index) {
    if (whole_made_) return get_key(index);
    const std::uint32_t found = far_table_.find(mix(index), [&](std::uint32_t i) { return far_[i].first == index; });
    if (found == index_table::none) return fail(errc::memo_missing, "a memo entry that was never stored", index);
    return push(far_[found].second);
}

CKPT_DETAIL_RARE bool machine::take_index(std::uint64_t& out) {
    std::string_view line{};
    if (!take_line(line)) return false;
    if (line.size() > limits_.integer_digits)
        return fail(errc::limit, "a memo index with more digits than limits.integer_digits", line.size(),
                    limits_.integer_digits);
    if (!parse_decimal(line, out)) return fail(errc::pickle_text, "a memo index that is not a decimal number");
    return true;
}

CKPT_DETAIL_DEF bool machine::push_binary_integer(std::string_view bytes) {
    std::int64_t number{};
    if (fits_in_64_bits(bytes, number)) return push_integer(number);
    return push_text(node_kind::big_integer, minimal_integer(bytes));
}

CKPT_DETAIL_RARE bool machine::push_decimal(std::string_view line) {
    const std::size_t digits = line.size() - (line.starts_with('-') || line.starts_with('+') ? 1 : 0);
    if (digits > limits_.integer_digits)
        return fail(errc::limit, "a decimal integer with more digits than limits.integer_digits", digits,
                    limits_.integer_digits);
    std::int64_t number{};
    std::string bytes;
    if (!parse_integer(line, number, bytes)) return fail(errc::pickle_text, "an integer that is not a decimal number");
    if (bytes.empty()) return push_integer(number);
    return fits_in_64_bits(bytes, number) ? push_integer(number)
                                          : push_text(node_kind::big_integer, copy(minimal_integer(bytes)));
}

CKPT_DETAIL_DEF bool machine::charge_names(std::uint64_t bytes) noexcept {
    named_bytes_ += bytes;
    return named_bytes_ <= budget_for(limits_.work_per_byte, graph_.pickle.size(), 1'000'000) / 16;
}

CKPT_DETAIL_DEF bool machine::push_global(std::string_view module, std::string_view name) {
    if (module.empty() || name.empty()) return fail(errc::pickle_text, "a global without a module or a name");
    const global_lookup found = look_up(allowed_, module, name);
    const bool admitted = found.verdict == verdict::build || found.verdict == verdict::inert ||
                          (found.verdict == verdict::dangerous && allowed_.admits_attacks);
    graph_.globals.push_back(graph_.memory,
                             {module, name, offset_here(), static_cast<std::uint8_t>(found.verdict), found.entry});
    const auto occurrence = static_cast<std::uint32_t>(graph_.globals.size() - 1);
    const bool at_place = !admitted && found.verdict == verdict::refuse && !allowed_.refuses_file;
    if (!admitted && !at_place) note_refused(occurrence);
    attributes_ = attributes_ || (found.entry != nullptr && found.entry->kind == global_kind::attribute);
    if (observer_ != nullptr) observer_(observer_context_, *this, occurrence);
    if (!at_place) return push_node(node::of(node_kind::global, occurrence));
    std::string path = graph_.describes_errors() ? path_here() : std::string{};
    return push_node(
        node::of(node_kind::refused, graph_.keep(refusal_of(graph_.globals[occurrence], std::move(path)))));
}

CKPT_DETAIL_RARE bool machine::take_name_line(std::string_view& out) {
    if (!take_line(out)) return false;
    return check_utf8(out) == utf8_verdict::valid ? true : fail(errc::pickle_text, "the name of a global is not UTF-8");
}

CKPT_DETAIL_DEF const global_entry* machine::entry_of(std::uint32_t callable) const noexcept {
    const node& n = graph_.nodes[callable];
    return n.kind == node_kind::global ? graph_.globals[n.a].entry : nullptr;
}

CKPT_DETAIL_DEF bool machine::apply(std::uint32_t callable, std::uint32_t arguments, std::uint32_t keywords,
                                    bool new_object) {
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
    } else if ((c.kind == node_kind::persistent && class_ids_) || c.kind == node_kind::refused) {
        builds = true; // refused: the resolver refuses the call, too
    } else if (c.kind != node_kind::application || !callable_result(c)) {
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

CKPT_DETAIL_DEF bool machine::callable_result(const node& application) const noexcept {
    const global_entry* const e = entry_of(application.link.b);
    if (e == nullptr) return true;
    switch (e->kind) {
    case global_kind::tensor:
    case global_kind::storage:
    case global_kind::constant:
    case global_kind::mapping:
    case global_kind::sequence:
    case global_kind::scalar: return false;
    default: break;
    }
    const bool array = e->build != nullptr && e->module.starts_with("numpy.");
    return !array && !(e->module == "torch" && e->name == "Tensor");
}

CKPT_DETAIL_DEF bool machine::push_new_object(std::size_t values) {
    if (!need_values(values)) return false;
    const std::uint32_t callable = stack_[stack_.size() - values];
    const std::uint32_t arguments = stack_[stack_.size() - values + 1];
    const std::uint32_t keywords = values == 3 ? stack_.back() : absent_node;
    if (values == 3) {
        const node& words = graph_.nodes[keywords];
        if (words.kind != node_kind::dictionary)
            return fail(errc::pickle_target, "the keyword arguments of NEWOBJ_EX are not a dictionary");
        const std::span<const std::uint32_t> entries = graph_.elements(words);
        // Many calls may share a dictionary.
        if (!charge_names(entries.size()))
            return fail(errc::limit, "the names of keyword arguments are too many for a pickle of this size");
        for (std::size_t i = 0; i < entries.size(); i += 2)
            if (graph_.nodes[entries[i]].kind != node_kind::string)
                return fail(errc::pickle_target, "the name of a keyword argument that is no str");
    }
    const global_entry* const e = entry_of(callable);
    const bool inert_function = e != nullptr && (e->kind == global_kind::function || e->kind == global_kind::attribute);
    // NEWOBJ takes classes only. Of the names with a builder, those of builtins and collections are classes, and so are
    // those that begin with a capital.
    if (inert_function ||
        (e != nullptr && (e->build != nullptr || e->kind == global_kind::nested) && e->kind != global_kind::storage &&
         e->module != "builtins" && e->module != "collections" && !(e->name[0] >= 'A' && e->name[0] <= 'Z') &&
         (e->module == "_codecs" || e->module.starts_with("torch.") || e->module.starts_with("numpy."))))
        return fail(errc::pickle_target, "NEWOBJ of a function, which is no class");
    stack_.shrink(stack_.size() - values);
    return apply(callable, arguments, keywords, true);
}

CKPT_DETAIL_DEF bool machine::set_state() {
    const std::uint32_t state = stack_.back();
    const std::uint32_t target = stack_[stack_.size() - 2];
    node& t = graph_.nodes[target];
    if (t.kind != node_kind::application || (t.flags & node_flag::state) == 0)
        return fail(errc::pickle_target, "BUILD on a value that has no state");
    if ((t.flags & node_flag::built) != 0) return fail(errc::pickle_target, "BUILD twice on one object");
    const global_entry* const e = entry_of(t.link.b);
    const auto attributes = [this](std::uint32_t i) {
        const node& n = graph_.nodes[i];
        if (n.kind != node_kind::application)
            return n.kind == node_kind::none || n.kind == node_kind::dictionary || n.kind == node_kind::refused;
        const global_entry* const made = entry_of(n.link.b);
        return (made != nullptr && made->kind == global_kind::mapping) ||
               graph_.nodes[n.link.b].kind == node_kind::refused; // of an unknown class
    };
    const node& s = graph_.nodes[state];
    const bool pair = s.kind == node_kind::tuple && s.a == 2; // attributes and slots
    const bool possible = pair ? attributes(s.items[0]) && attributes(s.items[1]) : attributes(state);
    if (e != nullptr && e->kind == global_kind::mapping && !possible)
        return fail(errc::pickle_target, "BUILD of a mapping with a state that is no dictionary");
    t.flags |= node_flag::built;
    graph_.nodes[target + 1].a = state;
    stack_.pop_back();
    return true;
}

CKPT_DETAIL_DEF bool machine::push_persistent(std::uint8_t flags) {
    node n = node::of(node_kind::persistent, stack_.back(), flags);
    n.link.b = offset_here();
    n.link.c = 0;
    stack_.back() = graph_.add(n);
    graph_.pending.push_back(graph_.memory, stack_.back());
    return true;
}

CKPT_DETAIL_DEF bool machine::set_items(std::uint32_t target, std::span<const std::uint32_t> pairs) {
    if (pairs.size() % 2 != 0) return fail(errc::pickle_target, "an odd number of keys and values");
    node& t = graph_.nodes[target];
    const bool dictionary = t.kind == node_kind::dictionary;
    if (!dictionary && (t.kind != node_kind::application || (t.flags & node_flag::items) == 0))
        return fail(errc::pickle_target, "items set on a value that is not a dictionary");
    for (std::size_t i = 0; i < pairs.size(); i += 2)
        if (!hashable(pairs[i])) return fail(errc::unhashable_key, "a dictionary key that Python cannot hash");
    if (!room_for(dictionary ? t.a : graph_.nodes[target + 1].link.b, pairs.size())) return false;
    if (!dictionary) t.flags |= node_flag::pairs;
    grow(dictionary ? t.a : graph_.nodes[target + 1].link.b, pairs);
    return true;
}

CKPT_DETAIL_DEF bool machine::append_items(std::uint32_t target, std::span<const std::uint32_t> values) {
    node& t = graph_.nodes[target];
    const bool list = t.kind == node_kind::list;
    if (!list && (t.kind != node_kind::application || (t.flags & node_flag::appends) == 0))
        return fail(errc::pickle_target, "an element appended to a value that is not a list");
    if (!room_for(list ? t.a : graph_.nodes[target + 1].link.b, values.size())) return false;
    if (!list) t.flags |= node_flag::elements;
    grow(list ? t.a : graph_.nodes[target + 1].link.b, values);
    return true;
}

CKPT_DETAIL_DEF void machine::grow(std::uint32_t& container_index, std::span<const std::uint32_t> values) {
    if (values.empty()) return;
    graph_.append(container_index, values);
    graph_.containers[container_index].grown = offset_here();
}

CKPT_DETAIL_DEF bool machine::room_for(std::uint32_t container_index, std::size_t more) {
    return graph_.containers[container_index].count + std::uint64_t{more} < 0xFFFF'FFFFu
               ? true
               : fail(errc::limit, "a container with four billion elements");
}

CKPT_DETAIL_RARE bool machine::hashable(std::uint32_t index) {
    if (graph_.nodes[index].kind != node_kind::tuple) return has_hash(graph_.nodes[index].kind);
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
        else if (!has_hash(graph_.nodes[element].kind)) return false;
    }
    return true;
}

CKPT_DETAIL_DEF void machine::note_refused(std::uint32_t occurrence) {
    if (refused_count_++ != 0) return;
    first_refused_ = occurrence;
    refused_path_ = path_here();
}

CKPT_DETAIL_RARE error machine::describe_fault() const {
    error e{.code = fault_.code,
            .opcode = fault_.opcode,
            .offset = graph_.place(fault_.at),
            .record = std::string(graph_.record),
            .path = path_here(),
            .detail = fault_.what,
            .opcode_name = opcode_table[fault_.opcode].name};
    if (fault_.wanted != no_offset) {
        e.detail += str_cat(": ", fault_.wanted);
        if (fault_.code != errc::memo_missing) e.detail += str_cat(", ", fault_.left, " are there");
    }
    if (fault_.code == errc::pickle_truncated)
        e.hint = "the file is probably truncated; compare its size with the original";
    return e;
}

CKPT_DETAIL_DEF void machine::run_opcodes() {
    while (!stopped_) {
        opcode_at_ = at_;
        if (at_ == end_ && !close_frame()) {
            fail(errc::pickle_truncated, "the pickle ends without STOP");
            return;
        }
        const auto op = static_cast<opcode>(static_cast<unsigned char>(*at_++));
        if (!step(op)) return;
    }
}

CKPT_DETAIL_RARE error machine::refused_global() const {
    error e = refusal_of(graph_.globals[first_refused_], refused_path_);
    if (refused_count_ > 1)
        e.detail +=
            str_cat(" (and ", refused_count_ - 1, " other use", refused_count_ > 2 ? "s" : "", " of refused names)");
    return e;
}

CKPT_DETAIL_RARE error machine::refusal_of(const global_occurrence& g, std::string path) const {
    const bool attack = static_cast<verdict>(g.verdict) == verdict::dangerous;
    error e{.code = errc::global_not_allowed,
            .offset = graph_.place(g.offset),
            .record = std::string(graph_.record),
            .path = std::move(path),
            .module = std::string(g.module),
            .name = std::string(g.name)};
    e.opcode = g.offset < graph_.pickle.size() ? static_cast<std::uint8_t>(first_[g.offset]) : std::uint8_t{0};
    e.opcode_name = opcode_table[e.opcode].name;
    const bool attribute = g.entry != nullptr && g.entry->kind == global_kind::attribute;
    e.detail = quoted(g.module) + ' ' + quoted(g.name) +
               (attribute ? " of something else than a member of a known enum can only be an attack"
                : attack  ? " can only be an attack"
                          : " is not in the allowlist");
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

CKPT_DETAIL_RARE std::string machine::path_here() const {
    // A path is text for people: the length of its elements and their number are limited.
    std::string path;
    std::size_t depth = 0;
    const auto key_text = [&](std::uint32_t index) -> std::string {
        const node& n = graph_.nodes[index];
        if (n.kind == node_kind::string)
            return n.a <= 2 * quoted_limit ? std::string(graph::text_of(n)) : printable(graph::text_of(n));
        if (n.kind == node_kind::integer) return decimal(n.integer);
        return std::string("?");
    };
    // Adds the element for one segment of the stack, between two marks. The value below a mark is the container that is
    // being filled, not a key.
    const auto segment = [&](std::size_t begin, std::size_t end, bool below_is_owner) {
        if (depth > 24) return;
        if (below_is_owner && begin > 0) {
            const node& owner = graph_.nodes[stack_[begin - 1]];
            const bool mapping = owner.kind == node_kind::dictionary ||
                                 (owner.kind == node_kind::application && (owner.flags & node_flag::items) != 0);
            if (mapping && (end - begin) % 2 == 1) {
                // Parts of an incomplete value may be above the key.
                std::size_t at = end - 1;
                const auto is_key = [&](std::size_t i) {
                    return graph_.nodes[stack_[i]].kind == node_kind::string ||
                           graph_.nodes[stack_[i]].kind == node_kind::integer;
                };
                while (!is_key(at) && at >= begin + 2 && end - at < 64) at -= 2;
                append_path_element(path, key_text(stack_[is_key(at) ? at : end - 1]), depth++ == 0);
                return;
            }
            // A class or an incomplete object is on top: the key is below it.
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
        // For SETITEM and APPEND there is no mark: a container, and above it a key without a value yet. Searches only
        // the top of a long stack.
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
