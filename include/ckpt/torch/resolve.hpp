// ckpt/torch/resolve.hpp: replaces persistent ids and calls of a parsed graph by their values.
//
// SPDX-License-Identifier: MIT
// In:      a graph that the machine has filled; the storages of the container.
// Out:     the same graph, with storages for persistent ids, and for applications with a builder what it made.
// Refuses: nothing, but fails where a budget is spent. Where a builder fails, its node becomes the error, and others
//          are not affected.
//
// Visits nodes once, in the order of the pickle, in which arguments usually come before the call. Where they do not
// (state set later, containers filled later), it visits them first, with an explicit stack instead of recursion.
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

    /// Counts bytes that were made before, while the pickle was read, and that the budget allows.
    void count_made(std::uint64_t bytes) noexcept { made_left_ -= bytes; }

  private:
    // The progress of an application or a container, as bits of `node::extra`.
    enum progress : std::uint16_t {
        unseen = 0,
        open = 1,
        settled = 2,
        cyclic = 4,
        judged = 8,
        of_module = 16,
        of_quantised = 32
    };

    [[nodiscard]] std::uint16_t& mark(std::uint32_t index) noexcept { return graph_.nodes[index].extra; }

    /// Resolves all calls and persistent ids of the pickle.
    [[nodiscard]] result<void> settle_all();

    /// Charges `n` steps of work. False where the budget is spent; then the file does not open.
    [[nodiscard]] bool work(std::uint64_t n) noexcept {
        if (n > work_left_) return spend();
        work_left_ -= n;
        return true;
    }
    /// Notes that a budget is spent. Returns false.
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
    /// Turns an object into the refusal of its class. False where its class is not refused.
    [[nodiscard]] bool refuse_with_class(std::uint32_t index) noexcept;
    /// The refusal that one of the elements of a short tuple is; null where there is none.
    [[nodiscard]] const error* refused_element(std::uint32_t tuple) const noexcept;

    /// Replaces a persistent id by its storage: it must have a form that the container defines, name a storage that
    /// exists, and have the number of bytes of its record.
    void resolve_persistent(std::uint32_t index);
    /// Resolves persistent ids that are not the tuple of a storage, in other containers than archives of torch.save.
    /// False for such a tuple.
    [[nodiscard]] bool resolve_other(std::uint32_t index);
    /// Resolves the key of a tensor or storage, which is decimal text.
    void resolve_key(std::uint32_t index);
    /// Resolves ('module', class, file, source) of a legacy file, or (class, file, source) of a tar, to the class.
    /// False for a class with a builder, which is no module.
    [[nodiscard]] bool name_class(std::uint32_t index);
    void refuse_storage(std::uint32_t index, errc code, std::string seen);

    /// Builds the application `root`, after all its arguments. False where a budget is spent.
    [[nodiscard]] CKPT_DETAIL_INLINE bool settle(std::uint32_t root) {
        // The usual case: all arguments are built already, and no stack is needed.
        const global_entry* e = entry_of(graph_.nodes[root]);
        if (!builds(e)) { // called through a persistent id, or its class is refused
            const node_kind called = graph_.nodes[graph_.nodes[root].link.b].kind;
            if (refuse_with_class(root)) return true;
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

    /// Whether all arguments are built; checks only one level, and answers false where there may be more.
    [[nodiscard]] bool arguments_done(std::uint32_t index) const noexcept;

    struct frame {
        std::uint32_t node{};
        std::uint32_t next{}; // of its children
    };

    /// The `i`th node that must be resolved before the node `index` is used as an argument.
    [[nodiscard]] std::uint32_t child(std::uint32_t index, std::uint32_t i, bool& more) const noexcept;

    [[nodiscard]] bool settle_slowly(std::uint32_t root);

    /// Charges for a tensor that was made while the pickle was read, and that is met before its call, what a walk over
    /// the call costs: limits are the same for all ways of reading a pickle. False where the budget is spent.
    [[nodiscard]] bool walk_whole(std::uint32_t index) noexcept;

    /// Handles a cycle: `again` is lower in the stack. All objects above it that have a builder become errors
    /// (`cyclic_arguments`); plain containers and inert objects may be cyclic. False where the budget is spent.
    [[nodiscard]] bool note_cycle(std::uint32_t again);

    [[nodiscard]] bool build(std::uint32_t index, const global_entry& e);
    /// Why a call cannot be built as Python makes it: keyword arguments that no builder reads, or a container among its
    /// arguments that grew after the call had read it. Null where there is no such fault.
    [[nodiscard]] const char* not_as_called(std::uint32_t index, const global_entry& e) noexcept;

    /// Resolves torch.storage._load_from_bytes(bytes): reads a whole legacy stream with the same allowlist and the rest
    /// of the budgets, at most two levels deep. False where the file does not open.
    [[nodiscard]] bool load_nested(std::uint32_t index);
    [[nodiscard]] result<void> read_nested(std::span<const std::byte> bytes, std::uint64_t at);

    /// Marks an inert object with a state as a torch.nn.Module, where it has the state of one or of a TorchScript
    /// module. A state that objects share is read once.
    void note_module(std::uint32_t object);
    /// Whether torch.jit.save wrote this object of a module: NEWOBJ of a class below __torch__, with its attributes.
    [[nodiscard]] bool is_script_object(const node& object, const node& state) const noexcept;
    [[nodiscard]] bool is_module_state(std::uint32_t state);

    /// Removes duplicate keys and elements as Python does: a dictionary keeps the last value at the place of the first
    /// key, a set the first element. Also lists the objects with a state.
    [[nodiscard]] result<void> unique_keys();

    graph& graph_;
    storage_maker& storages_;
    const limits& limits_;
    const allowlist& allowed_;
    id_form form_;
    std::size_t first_pending_{graph_.resolved_pending};
    std::size_t parsed_; // nodes that the machine made; those that builders add are complete
    std::uint64_t made_left_;
    std::uint64_t work_left_;
    storage_class_memory last_class_{};
    plain_list<frame> stack_{};
    std::vector<std::uint32_t> objects_{}; // inert, with a state
    std::optional<error> fatal_{};         // why the file does not open, unless a budget is spent
    int depth_{0};                         // levels of checkpoints in bytes of checkpoints
    bool in_file_{!graph_.transcoded};     // whether the file has the pickle uncompressed
    bool spent_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/resolve.ipp>
#endif
