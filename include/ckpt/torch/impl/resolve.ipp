// ckpt/torch/impl/resolve.ipp: the definitions of resolve.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/torch/quantized_module.hpp>
#include <ckpt/torch/resolve.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE resolver::resolver(graph& g, storage_maker& storages, const limits& budget, const allowlist& allowed,
                                    id_form form)
    : graph_{g},
      storages_{storages},
      limits_{budget},
      allowed_{allowed},
      form_{form},
      parsed_{g.nodes.size()},
      made_left_{budget_for(budget.made_per_byte, g.pickle.size(), 1u << 20)},
      work_left_{budget_for(budget.work_per_byte, g.pickle.size(), 1'000'000)} {}

CKPT_DETAIL_RARE result<void> resolver::run() {
    if (auto done = settle_all(); !done) return done;
    if (auto unique = unique_keys(); !unique) return unique;
    quantised_modules quantised{graph_, storages_, made_left_};
    for (const std::uint32_t object : objects_) {
        note_module(object);
        const node& state = graph_.nodes[graph_.nodes[object + 1].a];
        const bool convolution = state.kind == node_kind::tuple && state.a == quantised_modules::convolution_state;
        if (convolution && !quantised.adapt_convolution(object)) return limit_error();
        if ((state.extra & (of_module | of_quantised)) == (of_module | of_quantised) &&
            state.kind == node_kind::dictionary && !quantised.adapt_packed(object))
            return limit_error();
    }
    graph_.resolved_nodes = graph_.nodes.size();
    graph_.resolved_pending = graph_.pending.size();
    return {};
}

CKPT_DETAIL_DEF result<void> resolver::settle_all() {
    graph_.maker = &storages_;
    for (std::size_t i = first_pending_; i < graph_.pending.size() && !spent_; ++i) {
        const std::uint32_t index = graph_.pending[i];
        const node& n = graph_.nodes[index];
        if (n.kind == node_kind::persistent) resolve_persistent(index);
        else if (n.kind == node_kind::application && n.extra == unseen && !settle(index)) break;
    }
    graph_.maker = nullptr;
    if (fatal_) return std::move(*fatal_);
    if (spent_) return limit_error();
    return {};
}

CKPT_DETAIL_DEF bool resolver::spend() noexcept {
    work_left_ = 0;
    spent_ = true;
    return false;
}

CKPT_DETAIL_RARE error resolver::limit_error() const {
    return {.code = errc::limit,
            .offset = graph_.base,
            .record = std::string(graph_.record),
            .detail = "the values of this pickle cost more to build than its size allows",
            .hint = "raise limits.made_per_byte and limits.work_per_byte if the file is trusted"};
}

CKPT_DETAIL_RARE void resolver::refuse(std::uint32_t index, error e, bool tensor) {
    const std::uint32_t kept = graph_.keep(std::move(e));
    node& n = graph_.nodes[index];
    if (!tensor) {
        n = node::of(node_kind::refused, kept);
        return;
    }
    tensor_data t{};
    t.refusal = graph_.errors[kept];
    graph_.tensors.push_back(graph_.memory, t);
    n = node::of(node_kind::tensor, static_cast<std::uint32_t>(graph_.tensors.size() - 1));
}

CKPT_DETAIL_DEF bool resolver::refuse_with_class(std::uint32_t index) noexcept {
    const node& called = graph_.nodes[graph_.nodes[index].link.b];
    if (called.kind != node_kind::refused) return false;
    graph_.nodes[index] = called;
    return true;
}

CKPT_DETAIL_DEF const error* resolver::refused_element(std::uint32_t tuple) const noexcept {
    // Many calls may share a long tuple, and no builder takes one.
    constexpr std::uint32_t most = 64;
    if (graph_.nodes[tuple].kind != node_kind::tuple || graph_.nodes[tuple].a > most) return nullptr;
    for (const std::uint32_t element : graph_.elements(graph_.nodes[tuple]))
        if (const node& n = graph_.nodes[element]; n.kind == node_kind::refused) return graph_.errors[n.a];
    return nullptr;
}

CKPT_DETAIL_DEF void resolver::resolve_persistent(std::uint32_t index) {
    if (form_ != id_form::zip && resolve_other(index)) return;
    node& n = graph_.nodes[index];
    storage_id id{};
    const bool known = (n.flags & node_flag::text_form) != 0
                           ? read_storage_text(graph::text_of(graph_.nodes[n.a]), form_, id)
                           : read_storage_tuple(graph_, n.a, form_, id, last_class_);
    std::uint64_t declared{};
    std::uint32_t storage{};
    // Every look-up reads the key, which may be long and shared by many ids.
    if (!work((id.key.size() + id.view_key.size()) / 16)) return;
    if (!known) {
        if (const error* cause = refused_element(n.a)) return refuse(index, *cause, false);
        return refuse_storage(
            index, errc::persistent_id,
            form_ == id_form::legacy
                ? "a persistent id that is neither ('storage', class, key, location, number of elements, view) nor "
                  "('module', class, file, source)"
                : "a persistent id that is not ('storage', class, key, location, number of elements)");
    }
    if (!storage_bytes(id, declared))
        return refuse_storage(
            index, errc::storage_size_mismatch,
            str_cat("storage ", quoted(id.key), " declares ", id.numel, " elements, which overflows 64 bits"));
    if (const errc found = storages_.find(id.key, storage); found != errc::none)
        return refuse_storage(index, found, str_cat("storage ", quoted(id.key), " has no record in the archive"));
    const std::uint64_t held = graph_.storages->nbytes(storage);
    const bool no_data = id.meta && held == 0;
    if (held != declared && !no_data)
        return refuse_storage(
            index, errc::storage_size_mismatch,
            str_cat("storage ", quoted(id.key), " declares ", declared, " bytes, its record holds ", held));
    if (!id.view_key.empty()) {
        std::uint64_t offset{}, bytes{};
        const bool fits = storage_bytes({.type = id.type, .numel = id.view_offset}, offset) &&
                          storage_bytes({.type = id.type, .numel = id.view_numel}, bytes);
        if (const errc found =
                fits ? storages_.view(storage, id.view_key, offset, bytes, storage) : errc::out_of_bounds;
            found != errc::none)
            return refuse_storage(index, found,
                                  str_cat("view ", quoted(id.view_key), " of storage ", quoted(id.key), ": ",
                                          id.view_numel, " elements from ", id.view_offset,
                                          found == errc::out_of_bounds ? ", which the storage has not"
                                                                       : ", elsewhere it is another part"));
        id.numel = id.view_numel;
    }
    n = node::of(node_kind::storage, storage);
    n.flags = no_data ? node_flag::no_data : std::uint8_t{0};
    n.extra = id.type;
    n.integer = static_cast<std::int64_t>(id.numel);
}

CKPT_DETAIL_RARE bool resolver::resolve_other(std::uint32_t index) {
    node& n = graph_.nodes[index];
    if (form_ == id_form::none) {
        refuse_storage(index, errc::persistent_id, "a persistent id, which a plain pickle cannot have");
        return true;
    }
    if ((form_ == id_form::legacy || form_ == id_form::tar) && (n.flags & node_flag::text_form) == 0 &&
        name_class(index))
        return true;
    if (form_ == id_form::tar) {
        resolve_key(index);
        return true;
    }
    if (form_ != id_form::package || !is_reduced(graph_, n)) return false;
    n = graph_.nodes[n.a]; // an object with a pack function of its own: keep the tuple
    return true;
}

CKPT_DETAIL_RARE void resolver::resolve_key(std::uint32_t index) {
    const node& argument = graph_.nodes[graph_.nodes[index].a];
    const std::string number = argument.kind == node_kind::integer ? decimal(argument.integer) : std::string{};
    const std::string_view key = argument.kind == node_kind::string ? graph::text_of(argument) : number;
    if (!work(key.size() / 16)) return;
    if (key.empty() || key.find_first_not_of("0123456789") != std::string_view::npos)
        return refuse_storage(
            index, errc::persistent_id,
            "a persistent id that is neither the decimal key of a tensor or a storage nor (class, file, source)");
    node found{};
    if (const errc failed = storages_.object(key, found); failed != errc::none)
        return refuse_storage(index, failed, str_cat("no tensor and no storage has the key ", quoted(key)));
    graph_.nodes[index] = found;
}

CKPT_DETAIL_RARE bool resolver::name_class(std::uint32_t index) {
    const node& tuple = graph_.nodes[graph_.nodes[index].a];
    const std::uint32_t before = form_ == id_form::legacy ? 1 : 0;
    if (tuple.kind != node_kind::tuple || tuple.a != 3 + before) return false;
    if (before == 1 && (graph_.nodes[tuple.items[0]].kind != node_kind::string ||
                        graph::text_of(graph_.nodes[tuple.items[0]]) != "module"))
        return false;
    const node& type = graph_.nodes[tuple.items[before]];
    if (type.kind != node_kind::global && type.kind != node_kind::refused) return false;
    if (const global_entry* e = type.kind == node_kind::global ? graph_.globals[type.a].entry : nullptr;
        e != nullptr && (e->build != nullptr || e->kind != global_kind::other))
        return false;
    for (std::uint32_t i = before + 1; i < tuple.a; ++i)
        if (const node_kind k = graph_.nodes[tuple.items[i]].kind; k != node_kind::string && k != node_kind::none)
            return false;
    graph_.nodes[index] = type;
    return true;
}

CKPT_DETAIL_RARE void resolver::refuse_storage(std::uint32_t index, errc code, std::string seen) {
    refuse(index,
           {.code = code,
            .offset = graph_.place(graph_.nodes[index].link.b),
            .record = std::string(graph_.record),
            .detail = std::move(seen)},
           false);
}

CKPT_DETAIL_DEF bool resolver::arguments_done(std::uint32_t index) const noexcept {
    const node& n = graph_.nodes[index];
    // Many calls may share a tuple: the slow way remembers long ones, and visits them once.
    constexpr std::uint32_t short_tuple = 64;
    if (n.link.c != absent_node || graph_.nodes[n.a].a > short_tuple) return false;
    for (const std::uint32_t argument : graph_.elements(graph_.nodes[n.a])) {
        const node& a = graph_.nodes[argument];
        switch (a.kind) {
        case node_kind::application: // builders may read an inert object and its state
        case node_kind::persistent:
        case node_kind::list:
        case node_kind::set:
        case node_kind::frozen_set: return false;
        case node_kind::dictionary: // the hooks of a tensor, which are empty
            if (a.a != 0) return false;
            break;
        case node_kind::tuple:
            if (a.a > short_tuple) return false;
            for (const std::uint32_t inner : graph_.elements(a)) {
                const node_kind k = graph_.nodes[inner].kind;
                if (k != node_kind::integer && k != node_kind::boolean && k != node_kind::string) return false;
            }
            break;
        default: break;
        }
    }
    return true;
}

CKPT_DETAIL_RARE std::uint32_t resolver::child(std::uint32_t index, std::uint32_t i, bool& more) const noexcept {
    const node& n = graph_.nodes[index];
    more = true;
    switch (n.kind) {
    case node_kind::application: {
        if (i == 0) return n.a;
        if (i == 1) return n.link.b;
        if (i == 2) return n.link.c;
        // The items of a mapping or a sequence are not arguments. Builders of programs may read them, and those of
        // inert objects.
        const global_entry* e = entry_of(n);
        if (i == 3 && (e == nullptr || e->kind != global_kind::mapping)) return graph_.nodes[index + 1].a;
        if (e != nullptr && e->build != nullptr && e->kind == global_kind::other) {
            const auto items = graph_.items_of(graph_.nodes[index + 1].link.b);
            if (i >= 4 && i - 4 < items.size()) return items[i - 4];
        }
        if (i == 3) return absent_node;
        break;
    }
    case node_kind::tuple:
    case node_kind::list:
    case node_kind::set:
    case node_kind::frozen_set:
    case node_kind::dictionary: {
        const auto elements = graph_.elements(n);
        if (i < elements.size()) return elements[i];
        break;
    }
    default: break;
    }
    more = false;
    return absent_node;
}

CKPT_DETAIL_RARE bool resolver::settle_slowly(std::uint32_t root) {
    stack_.clear();
    stack_.push_back({root, 0});
    mark(root) = open;
    while (!stack_.empty()) {
        if (!work(1)) return false;
        frame& top = stack_.back();
        bool more = false;
        const std::uint32_t next = child(top.node, top.next++, more);
        if (more) {
            if (next < first_free_node || next >= parsed_) continue;
            const node& n = graph_.nodes[next];
            if (n.kind == node_kind::persistent) {
                resolve_persistent(next);
                continue;
            }
            if (n.kind == node_kind::tensor && next > root && !walk_whole(next)) return false;
            const bool walks = n.kind == node_kind::application || n.kind == node_kind::tuple ||
                               n.kind == node_kind::list || n.kind == node_kind::set ||
                               n.kind == node_kind::frozen_set || n.kind == node_kind::dictionary;
            if (!walks || (n.extra & settled) != 0) continue;
            if ((n.extra & open) != 0) {
                if (!note_cycle(next)) return false;
                continue;
            }
            mark(next) = open;
            stack_.push_back({next, 0});
            continue;
        }
        const std::uint32_t done = top.node;
        stack_.pop_back();
        if (graph_.nodes[done].kind == node_kind::application) {
            const global_entry* e = entry_of(graph_.nodes[done]);
            if (builds(e)) {
                const bool own_result = (mark(done) & cyclic) != 0;
                if (const char* const fault = own_result ? nullptr : not_as_called(done, *e)) {
                    mark(done) = settled;
                    refuse(done,
                           {.code = errc::bad_arguments,
                            .offset = graph_.place(graph_.nodes[done + 1].link.c),
                            .record = std::string(graph_.record),
                            .detail = quoted(e->module) + ' ' + quoted(e->name) + fault},
                           e->kind == global_kind::tensor);
                } else if (!build(done, *e)) {
                    return false;
                }
                continue;
            }
            if (refuse_with_class(done)) continue;
        }
        mark(done) = settled;
    }
    return true;
}

CKPT_DETAIL_RARE bool resolver::walk_whole(std::uint32_t index) noexcept {
    if (graph_.nodes[index].link.b == 0 || mark(index) != unseen) return true;
    mark(index) = settled;
    const std::uint64_t rank = graph_.tensors[graph_.nodes[index].a].rank;
    // The call and its arguments: 5 steps and 7; the empty dictionary: 5; sizes and strides that are not the empty
    // tuple: one for each element and one for each end.
    return work(17 + (rank == 0 ? 0 : 2 * (rank + 1)));
}

CKPT_DETAIL_RARE bool resolver::note_cycle(std::uint32_t again) {
    for (std::size_t i = stack_.size(); i-- > 0;) {
        if (!work(1)) return false;
        const std::uint32_t at = stack_[i].node;
        const node& n = graph_.nodes[at];
        if (n.kind == node_kind::application)
            if (builds(entry_of(n))) mark(at) |= cyclic;
        if (at == again) break;
    }
    return true;
}

CKPT_DETAIL_DEF const char* resolver::not_as_called(std::uint32_t index, const global_entry& e) noexcept {
    const node& n = graph_.nodes[index];
    if (e.kind == global_kind::other) return nullptr; // builders of programs read what they like
    const bool ignored = (n.flags & node_flag::new_object) != 0 && e.kind == global_kind::mapping;
    if (!ignored && n.link.c != absent_node && !graph_.elements(graph_.nodes[n.link.c]).empty())
        return " is called with keyword arguments, which are not read";
    const std::uint32_t called_at = graph_.nodes[index + 1].link.c;
    const auto grew = [&](std::uint32_t argument) {
        const node& a = graph_.nodes[argument];
        const bool holds = a.kind == node_kind::list || a.kind == node_kind::set || a.kind == node_kind::dictionary;
        return holds && graph_.containers[a.a].grown > called_at;
    };
    constexpr const char* changed = " is called with a list, a set or a dictionary that grew after the call";
    constexpr std::size_t most_arguments = 16; // that a builder takes; calls may share a long tuple
    const std::span<const std::uint32_t> arguments = graph_.elements(graph_.nodes[n.a]);
    for (const std::uint32_t argument : arguments.first((std::min)(arguments.size(), most_arguments))) {
        const node_kind k = graph_.nodes[argument].kind;
        // Tensors and storages keep dictionaries as they are, and read lists.
        const bool reads = k == node_kind::list || e.kind == global_kind::mapping || e.kind == global_kind::sequence;
        if (reads && grew(argument)) return changed;
        if (e.kind != global_kind::mapping || (k != node_kind::list && k != node_kind::tuple)) continue;
        const std::span<const std::uint32_t> pairs = graph_.elements(graph_.nodes[argument]);
        if (!work(pairs.size())) return nullptr; // the budget is spent
        for (const std::uint32_t pair : pairs)
            if (grew(pair)) return changed;
    }
    return nullptr;
}

CKPT_DETAIL_DEF bool resolver::build(std::uint32_t index, const global_entry& e) {
    const bool own_result = (mark(index) & cyclic) != 0;
    mark(index) = settled;
    if (own_result) {
        refuse(index,
               {.code = errc::cyclic_arguments,
                .offset = graph_.place(graph_.nodes[index + 1].link.c),
                .record = std::string(graph_.record),
                .detail = str_cat(quoted(e.module), " ", quoted(e.name), " is called with its own result")},
               e.kind == global_kind::tensor);
        return true;
    }
    if (e.kind == global_kind::nested) return load_nested(index);
    if (e.kind == global_kind::tensor &&
        !graph_.errors.empty()) // the class among its arguments may be refused, or the storage
        if (const error* cause = refused_element(graph_.nodes[index].a)) {
            refuse(index, *cause, true);
            return true;
        }
    const std::size_t before = graph_.nodes.size();
    call c = call_access::make_call(graph_, index, made_left_, limits_.tensor_rank);
    result<value> made = e.build(c);
    if (call_access::over_limit(c)) return spend();
    if (!made) {
        const error* const cause = refused_element(graph_.nodes[index].a);
        refuse(index, cause != nullptr ? *cause : std::move(made).error(), e.kind == global_kind::tensor);
        return true;
    }
    const std::uint32_t to = value_access::node(*made);
    if (to != index) {
        graph_.nodes[index] = graph_.nodes[to];
        // An application has its extension in the next node.
        if (graph_.nodes[to].kind == node_kind::application) graph_.nodes[index + 1] = graph_.nodes[to + 1];
        if (graph_.nodes[to].kind == node_kind::tensor) graph_.nodes[index].link.b = 0; // not a whole call itself
    }
    // The last node is the builder's result, which was copied: nothing else refers to it.
    if (to >= before && to + 1 == graph_.nodes.size()) graph_.nodes.pop_back();
    return true;
}

CKPT_DETAIL_RARE bool resolver::load_nested(std::uint32_t index) {
    const std::uint64_t called_at = graph_.place(graph_.nodes[index + 1].link.c);
    const auto refused = [&](errc code, std::string seen) {
        refuse(index,
               {.code = code, .offset = called_at, .record = std::string(graph_.record), .detail = std::move(seen)},
               false);
        return true;
    };
    const std::span<const std::uint32_t> arguments = graph_.elements(graph_.nodes[graph_.nodes[index].a]);
    const node content = arguments.size() == 1 ? graph_.nodes[arguments[0]] : node{};
    if (content.kind == node_kind::refused) {
        graph_.nodes[index] = content;
        return true;
    }
    const bool held = content.kind == node_kind::bytes || content.kind == node_kind::byte_array ||
                      (content.kind == node_kind::string && (content.flags & node_flag::eight_bit) != 0);
    if (!held) return refused(errc::bad_arguments, "_load_from_bytes takes bytes");
    if (depth_ == 2) {
        fatal_ = error{.code = errc::limit,
                       .offset = called_at,
                       .record = std::string(graph_.record),
                       .detail = "checkpoints inside checkpoints inside a checkpoint: two deep is the most"};
        return spend();
    }
    const std::span<const std::byte> bytes = std::as_bytes(std::span<const char>{content.text, content.a});
    const std::byte* const outside = graph_.pickle.data();
    const bool in_file =
        in_file_ && !bytes.empty() && bytes.data() >= outside && bytes.data() < outside + graph_.pickle.size();
    const std::uint64_t at = in_file ? graph_.base + static_cast<std::uint64_t>(bytes.data() - outside) : no_offset;
    if (!work(64)) return false;

    // The graph refers to the inner pickle until its nodes are resolved.
    const auto saved = std::pair{std::pair{graph_.pickle, graph_.base}, std::pair{graph_.pending, graph_.root}};
    const std::size_t errors = graph_.errors.size();
    graph_.pending = {};
    const bool transcoded = std::exchange(graph_.transcoded, !in_file);
    auto done = read_nested(bytes, at);
    graph_.transcoded = transcoded;
    graph_.pickle = saved.first.first;
    graph_.base = saved.first.second;
    graph_.pending = saved.second.first;
    const std::uint32_t root = std::exchange(graph_.root, saved.second.second);
    graph_.maker = &storages_;
    if (!in_file) // transcoded bytes have no place in the file: use that of the call
        for (std::size_t i = errors; i < graph_.errors.size(); ++i) graph_.errors[i]->offset = called_at;
    if (!done) {
        error e = std::move(done).error();
        if (!in_file) e.offset = called_at;
        if (e.code != errc::global_not_allowed && e.code != errc::limit) {
            refuse(index, std::move(e), false);
            return true;
        }
        fatal_ = std::move(e);
        return spend();
    }
    graph_.nodes[index] = graph_.nodes[root];
    if (graph_.nodes[root].kind == node_kind::application) graph_.nodes[index + 1] = graph_.nodes[root + 1];
    return true;
}

CKPT_DETAIL_RARE result<void> resolver::read_nested(std::span<const std::byte> bytes, std::uint64_t at) {
    auto stream = source::memory(bytes);
    if (!stream) return std::move(stream).failure();
    const std::uint64_t base = at == no_offset ? 0 : at;
    const auto placed = [&](error e) {
        if (e.offset != no_offset) e.offset += base;
        e.record = graph_.record;
        return e;
    };
    read_window window{**stream, 256};
    auto pickles = legacy_pickles::find(window, **stream, 0, limits_);
    if (!pickles) return placed(std::move(pickles).error());
    // Bytes that many calls share are parsed for each of them, so each is charged.
    constexpr std::uint64_t work_for_a_byte = 24;
    if (!work(work_for_a_byte * pickles->bytes())) return limit_error();
    auto layout = legacy_layout::read(**stream, *pickles, graph_, allowed_, limits_, base);
    if (!layout) {
        error e = std::move(layout).error();
        e.record = graph_.record;
        return e;
    }
    if (layout->end != bytes.size())
        return placed(legacy::invalid(
            layout->end, str_cat(bytes.size() - layout->end, " bytes behind the storages of a nested checkpoint")));
    nested_places places{storages_, bytes, at};
    legacy_keys keys{*layout, places};
    resolver inner{graph_, keys, limits_, allowed_, id_form::legacy};
    inner.depth_ = depth_ + 1;
    inner.first_pending_ = 0;
    inner.in_file_ = at != no_offset;
    inner.made_left_ = made_left_;
    inner.work_left_ = work_left_;
    auto done = inner.settle_all();
    made_left_ = inner.made_left_;
    work_left_ = inner.work_left_;
    return done;
}

CKPT_DETAIL_RARE void resolver::note_module(std::uint32_t object) {
    const std::uint32_t state = graph_.nodes[object + 1].a;
    bool found = is_module_state(state) || is_script_object(graph_.nodes[object], graph_.nodes[state]);
    if (const node& n = graph_.nodes[state]; n.kind == node_kind::tuple && n.a == 2) // attributes and slots
        for (const std::uint32_t part : graph_.elements(n)) found = is_module_state(part) || found;
    if (found) graph_.nodes[object].flags |= node_flag::module;
}

CKPT_DETAIL_DEF bool resolver::is_script_object(const node& object, const node& state) const noexcept {
    const node& called = graph_.nodes[object.link.b];
    if (called.kind != node_kind::global || state.kind != node_kind::dictionary ||
        (object.flags & node_flag::new_object) == 0)
        return false;
    const std::string_view module = graph_.globals[called.a].module;
    return module == "__torch__" || module.starts_with("__torch__.");
}

CKPT_DETAIL_RARE bool resolver::is_module_state(std::uint32_t state) {
    const node& n = graph_.nodes[state];
    if (n.kind != node_kind::dictionary) return false;
    if ((n.extra & judged) == 0) {
        unsigned parts = 0;
        const std::span<const std::uint32_t> entries = graph_.elements(n);
        for (std::size_t i = 0; i + 1 < entries.size(); i += 2) {
            const node& key = graph_.nodes[entries[i]];
            if (key.kind != node_kind::string) continue;
            const std::string_view name = graph::text_of(key);
            if (graph_.nodes[entries[i + 1]].kind != node_kind::dictionary) {
                if (quantised_modules::has_meaning(name)) mark(state) |= of_quantised;
            } else if (name == "_parameters") parts |= 1;
            else if (name == "_buffers") parts |= 2;
            else if (name == "_modules") parts |= 4;
        }
        mark(state) |= static_cast<std::uint16_t>(judged | (parts == 7 ? of_module : 0));
    }
    return (n.extra & of_module) != 0;
}

CKPT_DETAIL_DEF result<void> resolver::unique_keys() {
    key_table table{graph_, work_left_};
    for (std::size_t i = graph_.resolved_nodes; i < graph_.nodes.size();) {
        const std::span<const node> part = graph_.nodes.run(i);
        for (const node& n : part) {
            if (n.kind == node_kind::application && (n.flags & node_flag::built) != 0)
                objects_.push_back(static_cast<std::uint32_t>(i + static_cast<std::size_t>(&n - part.data())));
            static_assert(node_kind::dictionary < node_kind::set &&
                          static_cast<int>(node_kind::frozen_set) - static_cast<int>(node_kind::dictionary) == 2);
            if (n.kind < node_kind::dictionary || n.kind > node_kind::frozen_set || n.a == 0) continue;
            const errc failed = table.unique(graph_.containers[n.a], n.kind == node_kind::dictionary ? 2 : 1);
            if (failed == errc::unhashable_key)
                return error{.code = failed,
                             .offset = graph_.base,
                             .record = std::string(graph_.record),
                             .detail =
                                 "a dictionary key or a set element that a call makes, and that Python cannot hash"};
            if (failed != errc::none) return limit_error();
        }
        i += part.size();
    }
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
