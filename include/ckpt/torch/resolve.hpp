// ckpt/torch/resolve.hpp: gives every node of a parsed graph its meaning, once.
//
// SPDX-License-Identifier: MIT
// In:      a graph that the machine has filled; the storages of the container.
// Out:     the same graph: persistent ids are storages, applications with a builder are what it made.
// Refuses: nothing but a spent budget: where a builder refuses, its node becomes an error, and the rest is unharmed.
//
// Nodes are visited in the order of the pickle, in which arguments nearly always come before the call; where they do
// not (state set later, containers filled later), an explicit stack visits them first. No recursion, no repetition.
#pragma once

#include <ckpt/core/limits.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/pickle/keys.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/torch/legacy_layout.hpp>
#include <ckpt/torch/storage_class.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class resolver {
  public:
    resolver(graph& g, storage_maker& storages, const limits& budget, const allowlist& allowed,
             id_form form = id_form::zip);

    [[nodiscard]] result<void> run();

  private:
    // What is known of an application or a container while this runs; bits of `node::extra`.
    enum progress : std::uint16_t { unseen = 0, open = 1, settled = 2, cyclic = 4, judged = 8, of_module = 16 };

    [[nodiscard]] std::uint16_t& mark(std::uint32_t index) noexcept { return graph_.nodes[index].extra; }

    /// Gives every call and every persistent id of the pickle its meaning.
    [[nodiscard]] result<void> settle_all();

    /// Takes `n` steps of work. False: the budget is gone, and the file does not open.
    [[nodiscard]] bool work(std::uint64_t n) noexcept {
        if (n > work_left_) return spend();
        work_left_ -= n;
        return true;
    }
    /// Notes that a budget is gone.
    [[nodiscard]] bool spend() noexcept;
    [[nodiscard]] error limit_error() const;

    [[nodiscard]] const global_entry* entry_of(const node& application) const noexcept {
        const node& callable = graph_.nodes[application.link.b];
        return callable.kind == node_kind::global ? graph_.globals[callable.a].entry : nullptr;
    }

    [[nodiscard]] static bool builds(const global_entry* e) noexcept {
        return e != nullptr && (e->build != nullptr || e->kind == global_kind::nested);
    }

    void refuse(std::uint32_t index, error e, bool tensor);

    // S1: a form that the container defines, and a storage that exists. S2: as many bytes as its record holds.
    void resolve_persistent(std::uint32_t index);
    /// The ids of other containers than torch.save's archives that name no storage by a tuple. False: it is such a
    /// tuple.
    [[nodiscard]] bool resolve_other(std::uint32_t index);
    /// The key of a tensor or of a storage, as decimal text.
    void resolve_key(std::uint32_t index);
    /// ('module', class, file, source) of a legacy file, and (class, file, source) of a tar: stands for the class, if
    /// it is one without a builder, which nobody can subclass.
    [[nodiscard]] bool name_class(std::uint32_t index);
    void refuse_storage(std::uint32_t index, errc code, std::string seen);

    /// Builds the application `root`, after everything that it is called with. False: a budget is spent.
    [[nodiscard]] CKPT_DETAIL_INLINE bool settle(std::uint32_t root) {
        // The common case, without a stack: the arguments are done.
        const global_entry* e = entry_of(graph_.nodes[root]);
        if (!builds(e)) { // called through a persistent id
            const node_kind called = graph_.nodes[graph_.nodes[root].link.b].kind;
            mark(root) = settled;
            if (called != node_kind::global && called != node_kind::application)
                refuse(root,
                       {.code = errc::persistent_id,
                        .offset = graph_.base + graph_.nodes[root + 1].link.c,
                        .record = std::string(graph_.record),
                        .detail = "a call of a persistent id that names no class"},
                       false);
            return true;
        }
        if (!waits_for_state(*e, root) && arguments_done(root)) return build(root, *e);
        return settle_slowly(root);
    }

    [[nodiscard]] bool waits_for_state(const global_entry& e, std::uint32_t index) const noexcept {
        return e.kind != global_kind::mapping && graph_.nodes[index + 1].a != absent_node;
    }

    /// Whether no argument, looked at one level deep, still waits for a builder.
    [[nodiscard]] bool arguments_done(std::uint32_t index) const noexcept;

    struct frame {
        std::uint32_t node{};
        std::uint32_t next{}; // of its children
    };

    /// What must be done before a node can be used as an argument.
    [[nodiscard]] std::uint32_t child(std::uint32_t index, std::uint32_t i, bool& more) const noexcept;

    [[nodiscard]] bool settle_slowly(std::uint32_t root);

    /// `again` is open further down the stack. Every object between there and here that has a builder is made from
    /// itself; plain containers and inert objects may be cyclic. False: the budget is spent.
    [[nodiscard]] bool note_cycle(std::uint32_t again);

    [[nodiscard]] bool build(std::uint32_t index, const global_entry& e);

    /// torch.storage._load_from_bytes(bytes): a whole legacy stream, read with the same allowlist and what is left of
    /// the same budgets, at most two deep. False: the file does not open.
    [[nodiscard]] bool load_nested(std::uint32_t index);
    [[nodiscard]] result<void> read_nested(std::span<const std::byte> bytes, std::uint64_t at);

    /// Marks an object that stayed inert and has a state as a torch.nn.Module where the state is one's, or
    /// TorchScript's. Objects may share a state, which is read once.
    void note_module(std::uint32_t object);
    /// What torch.jit.save writes of a module: NEWOBJ of a class below __torch__, with its attributes.
    [[nodiscard]] bool is_script_object(const node& object, const node& state) const noexcept;
    [[nodiscard]] bool is_module_state(std::uint32_t state);

    /// Dictionaries keep the last value of equal keys at the place of the first, sets the first of equal elements, as
    /// Python's do. Notes the objects that have a state on the way.
    [[nodiscard]] result<void> unique_keys();

    graph& graph_;
    storage_maker& storages_;
    const limits& limits_;
    const allowlist& allowed_;
    id_form form_;
    std::size_t first_pending_{graph_.resolved_pending};
    std::size_t parsed_; // nodes that the machine made; builders add more, which need nothing
    std::uint64_t made_left_;
    std::uint64_t work_left_;
    storage_class_memory last_class_{};
    plain_list<frame> stack_{};
    std::vector<std::uint32_t> objects_{}; // inert, with a state
    std::optional<error> fatal_{};         // why the file does not open, where it is more than a spent budget
    int depth_{0};                         // of checkpoints in bytes of checkpoints
    bool in_file_{!graph_.transcoded};     // the pickle lies in the file as it is, not transcoded
    bool spent_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/resolve.ipp>
#endif
