// ckpt/state/object_walk.hpp: goes through an object depth first, along every path (see state/walk.hpp).
//
// SPDX-License-Identifier: MIT
// In:      a value, what to enter, a budget.
// Out:     calls of a function with a path and a value.
// Refuses: more visits, steps or text than the budget has.
//
// Explicit stack; a container that is on its own path is not entered again; what holds no tensor is not entered at all.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/object_path.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether an object's state is a pair of its attributes and its slots, each a dictionary or None.
[[nodiscard]] bool is_slots_pair(const value& state) noexcept;

/// The steps that lead on from one value, one after another. `whole`: from a module also to what is no part of its
/// state_dict, which is its other attributes and the buffers that are not persistent.
class step_cursor {
  public:
    explicit step_cursor(const value& v, bool whole = false);
    /// The next value below, and its key (absent: `position` counts). False at the end.
    [[nodiscard]] bool next(value& key, std::uint64_t& position, value& below) noexcept;

    /// The same step where it leads from a dictionary to a tensor under a str; absent, and no step, where the next does
    /// not.
    [[nodiscard]] value next_tensor(std::string_view& key) noexcept;

    /// Whether the last step led from a module to one of its attributes: to no parameter, buffer or submodule.
    [[nodiscard]] bool is_beside() const noexcept {
        return at_.is_module() && (part_ == parts_of_modules || part_ == parts_of_modules + 1);
    }
    /// What making the cursor cost, beyond one step.
    [[nodiscard]] std::uint64_t cost() const noexcept { return cost_; }

  private:
    static constexpr std::size_t parts_of_modules = 3;
    static constexpr std::size_t all_parts = parts_of_modules + 3;
    static constexpr std::string_view module_parts[parts_of_modules]{"_parameters", "_buffers", "_modules"};

    /// Attributes: the state, or a pair of it (or None) and the slots. False where it is neither.
    [[nodiscard]] bool take_attributes(const value& state, std::size_t at) noexcept;
    /// As Module.state_dict() goes: without those that are None, and without the buffers that are not persistent. Then,
    /// of the whole, the attributes and those buffers.
    [[nodiscard]] bool next_of_module(value& key, value& below) noexcept;
    /// Takes the state of a module of TorchScript, which has parameters and buffers, then "training", then everything
    /// else: other attributes and submodules.
    void take_script(const value& state, bool whole) noexcept;
    /// Whether the entry that was reached belongs to this part of a module of TorchScript: its tensors, its submodules,
    /// and, of the whole, the rest.
    [[nodiscard]] bool is_of_script_part(const value& below) const noexcept;
    /// The same for other modules.
    [[nodiscard]] bool is_of_module_part(const value& key, const value& below) const noexcept;
    [[nodiscard]] bool is_skipped(const value& key) const noexcept;
    [[nodiscard]] bool entry_of(const value& dictionary, value& key, value& below) noexcept;

    value at_;
    value attributes_[all_parts]{}; // of a whole module, then its state, what is in its slots, its buffers again
    std::size_t first_{0};          // of an object: the position where what has no name begins
    std::size_t unnamed_state_{0};  // of an object: the elements of a state that is a pair of attributes and slots
    std::size_t own_{0};            // of a module of TorchScript: the entries before "training"
    bool script_{false};
    std::vector<std::string_view> skipped_{}; // sorted names of buffers that are not persistent
    std::uint64_t cost_{0};
    std::size_t part_{0};
    std::size_t i_{0};
};

[[nodiscard]] inline bool is_walked(kind k) noexcept {
    return k == kind::dictionary || k == kind::list || k == kind::tuple || k == kind::object;
}

/// Calls `f` for every value directly below one: once each, whatever it means. What an object was called with is below
/// it as one tuple and one dictionary, which many objects may share. Below a tensor are its attributes.
template <class F> void each_below(const value& v, const F& f) {
    if (v.kind() == kind::tensor && v.state()) f(v.state());
    if (v.kind() == kind::object) {
        if (v.args().size() > 0) f(v.args());
        if (v.kwargs().size() > 0) f(v.kwargs());
        f(v.state());
    }
    if (v.kind() == kind::dictionary)
        for (const value::entry e : v.entries()) f(e.mapped);
    for (const value e : v.elements()) f(e);
    for (const value e : v.items()) f(e);
}

/// Marks the values from which a tensor can be reached, so that a walk enters little else, and those that are reached
/// without attributes of modules, which are not walked below an attribute again: a module of torch keeps lists of the
/// weights in its submodules. Linear in what is below: objects lead to their state as a whole, which many of them may
/// share, so that it is looked through once.
class tensor_reach {
  public:
    explicit tensor_reach(const value& root);
    [[nodiscard]] bool has_tensors(const value& v) const noexcept {
        return v.object_id() < marks_.size() && (marks_[v.object_id()] & reaches) != 0;
    }
    /// Whether a way leads to it that goes through no attribute of a module.
    [[nodiscard]] bool is_kept(const value& v) const noexcept {
        return v.object_id() < marks_.size() && (marks_[v.object_id()] & kept) != 0;
    }

  private:
    enum mark : std::uint8_t { seen = 1, reaches = 2, kept = 4 };
    [[nodiscard]] bool note(const value& v, mark what);
    void mark_kept(const value& root);
    std::vector<std::uint8_t> marks_{};
};

/// What a walk may cost. Shared containers lead along more paths than any memory holds, in a file of a kilobyte too, so
/// steps and the text of paths are paid for by the size of the pickle. Several walks may share one.
struct walk_budget {
    std::uint64_t visits{};
    std::uint64_t steps{};
    std::uint64_t text{};
    std::vector<std::uint8_t> open{}; ///< by object id: is on the path; all 0 between walks

    walk_budget(const value& root, std::uint64_t limit) noexcept;
};

/// What a walk calls: with the path to a value, and the value.
using walk_visitor = function_ref<void(const std::vector<path_element>&, const value&)>;
/// The same for a tensor in a dictionary: with the path to the dictionary, and the tensor's key.
using tensor_visitor = function_ref<void(const std::vector<path_element>&, std::string_view, const value&)>;

/// Walks depth first to every tensor and array, and calls `visit` for each, once for every path that leads to it.
/// Fails with `code` where the budget is spent.
[[nodiscard]] result<void> walk_tensors(const value& root, walk_budget& budget, errc code, walk_visitor visit);

/// Walks depth first through what belongs to a state_dict, which is dictionaries, lists, tuples and modules, and calls
/// `visit` for everything else: tensors, leaves, and other objects as a whole. Fails with `code` where the budget is
/// spent.
[[nodiscard]] result<void> walk_state_dict(const value& root, walk_budget& budget, errc code, walk_visitor visit);
/// The same. `tensor` is called in place of `visit` for nearly all tensors of a usual file, for which no path is made.
[[nodiscard]] result<void> walk_state_dict(const value& root, walk_budget& budget, errc code, walk_visitor visit,
                                           tensor_visitor tensor);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/object_walk.ipp>
#endif
