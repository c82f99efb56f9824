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

/// The steps that lead on from one value, one after another. `whole`: from a module also to packed parameters of
/// quantised ones, which are attributes.
class step_cursor {
  public:
    explicit step_cursor(const value& v, bool whole = false);
    /// The next value below, and its key (absent: `position` counts). False at the end.
    [[nodiscard]] bool next(value& key, std::uint64_t& position, value& below) noexcept;

    /// What making the cursor cost, beyond one step.
    [[nodiscard]] std::uint64_t cost() const noexcept { return cost_; }

  private:
    static constexpr std::size_t parts_of_modules = 3;
    static constexpr std::size_t all_parts = parts_of_modules + 2;
    static constexpr std::string_view module_parts[parts_of_modules]{"_parameters", "_buffers", "_modules"};

    /// Attributes: the state, or a pair of it (or None) and the slots. False where it is neither.
    [[nodiscard]] bool take_attributes(const value& state, std::size_t at) noexcept;
    /// As Module.state_dict() goes: without those that are None, and without the buffers that are not persistent. Then,
    /// of the whole, the attributes that are packed parameters.
    [[nodiscard]] bool next_of_module(value& key, value& below) noexcept;
    /// Whether torch.ao.nn.quantized would have it in its state_dict: an object of torch's own, with a weight in its
    /// state.
    [[nodiscard]] static bool is_packed(const value& v) noexcept;
    [[nodiscard]] bool is_skipped(const value& key) const noexcept;
    [[nodiscard]] bool entry_of(const value& dictionary, value& key, value& below) noexcept;

    value at_;
    value attributes_[all_parts]{};           // of a whole module, then its state, or what is in its slots, too
    value elements_{};                        // of an object whose state is a tuple or a list
    std::vector<std::string_view> skipped_{}; // sorted names of buffers that are not persistent
    std::uint64_t cost_{0};
    std::size_t part_{0};
    std::size_t i_{0};
};

[[nodiscard]] inline bool is_walked(kind k) noexcept {
    return k == kind::dictionary || k == kind::list || k == kind::tuple || k == kind::object;
}

/// Calls `f` for every value directly below one, except what an object was called with: once each, whatever it means.
template <class F> void each_below(const value& v, const F& f) {
    if (v.kind() == kind::object) f(v.state());
    if (v.kind() == kind::dictionary)
        for (const value::entry e : v.entries()) f(e.mapped);
    for (const value e : v.elements()) f(e);
    for (const value e : v.items()) f(e);
}

/// Marks the values from which a tensor can be reached, so that a walk enters little else. Linear in what is below:
/// objects lead to their state as a whole, which many of them may share, so that it is looked through once.
class tensor_reach {
  public:
    explicit tensor_reach(const value& root);
    [[nodiscard]] bool has_tensors(const value& v) const noexcept {
        return v.object_id() < marks_.size() && (marks_[v.object_id()] & reaches) != 0;
    }

  private:
    enum mark : std::uint8_t { seen = 1, reaches = 2 };
    [[nodiscard]] bool note(const value& v);
    std::vector<std::uint8_t> marks_{};
};

/// What a walk may cost. Shared containers lead along more paths than any memory holds, in a file of a kilobyte too, so
/// steps and the text of paths are paid for by the size of the pickle.
struct walk_budget {
    std::uint64_t visits{};
    std::uint64_t steps{};
    std::uint64_t text{};

    walk_budget(const value& root, std::uint64_t limit) noexcept;
};

/// Walks depth first and calls `visit(path, value)` for every tensor, array, and, where `enter.leaves()`, every other
/// value that is not entered. `enter(value)` says whether to go below one. Fails with `code` where the budget is spent.
template <class Enter, class Visit>
[[nodiscard]] result<void> walk(const value& root, walk_budget& budget, errc code, Enter&& enter, Visit&& visit) {
    struct frame {
        value at;
        step_cursor cursor;
        std::size_t before{}; // bytes of the last element of the path that belong to what is around it, or `fresh`
        bool joins{false};    // a submodule: what is below goes on in the last element of the path
    };
    constexpr std::size_t fresh = ~std::size_t{0}; // the step made an element of its own
    std::vector<frame> stack;
    std::vector<path_element> path;
    std::uint64_t path_text = 0;    // bytes that one visit costs who keeps its path
    std::vector<std::uint8_t> open; // by object id: is on the path
    const std::uint64_t limit = budget.visits;
    const std::uint64_t element = enter.leaves() ? 1 : sizeof(path_element);
    const auto push = [&](const value& v, std::size_t before, bool joins) {
        if (v.object_id() >= open.size()) open.resize(std::size_t{v.object_id()} + 1 + open.size() / 2);
        open[v.object_id()] = 1;
        stack.push_back({v, step_cursor{v, !enter.leaves()}, before, joins});
    };
    const auto pop = [&](std::size_t before) {
        if (before != fresh) {
            path_text -= path.back().text.size() - before;
            path.back().text.resize(before);
            return;
        }
        path_text -= path.back().text.size() + element;
        path.pop_back();
    };
    const auto take = [](std::uint64_t& left, std::uint64_t n) {
        const bool enough = n <= left;
        left = enough ? left - n : 0;
        return enough;
    };
    const auto too_many = [&] {
        return error{.code = code,
                     .detail = "more than " + decimal(limit) +
                               " values are below this one, counted under every path that reaches them",
                     .hint = "select a smaller part by its path"};
    };
    const auto too_far = [&] {
        return error{.code = code,
                     .detail = "the paths below this value cost more than the size of the pickle allows: its "
                               "containers are shared, or nested, very often",
                     .hint = "select a smaller part by its path"};
    };
    if (!is_walked(root.kind()) || !enter(root)) {
        visit(path, root);
        return {};
    }
    push(root, fresh, false);
    while (!stack.empty()) {
        value key{};
        value below{};
        std::uint64_t position = 0;
        if (!stack.back().cursor.next(key, position, below)) {
            open[stack.back().at.object_id()] = 0;
            const std::size_t before = stack.back().before;
            stack.pop_back();
            if (!path.empty()) pop(before);
            continue;
        }
        if (!take(budget.steps, 1)) return too_far();
        const bool walked = is_walked(below.kind()) && enter(below);
        if (walked && below.object_id() < open.size() && open[below.object_id()] != 0) continue; // a cycle
        if (!walked && is_walked(below.kind()) && !enter.leaves()) continue;
        std::size_t before = fresh;
        if (stack.back().joins) {
            before = path.back().text.size();
            (path.back().text += '.') += key_text(key);
            path_text += path.back().text.size() - before;
        } else {
            path.push_back(key ? path_element{key_text(key), key.kind() == kind::integer}
                               : path_element{decimal(position), true});
            path_text += path.back().text.size() + element;
        }
        if (!take(budget.steps, path.back().text.size() / 64) || path_text > budget.text) return too_far();
        if (walked) {
            push(below, before, stack.back().at.is_module() && below.is_module());
            if (!take(budget.steps, stack.back().cursor.cost())) return too_far();
            continue;
        }
        if (enter.leaves() || below.kind() == kind::tensor || below.kind() == kind::array) {
            if (!take(budget.visits, 1)) return too_many();
            if (!take(budget.text, path_text)) return too_far();
            visit(path, below);
        }
        pop(before);
    }
    return {};
}

/// Goes where tensors are, and nowhere else.
class toward_tensors {
  public:
    explicit toward_tensors(const value& root) : reach_{root} {}
    [[nodiscard]] bool operator()(const value& v) const noexcept { return reach_.has_tensors(v); }
    [[nodiscard]] static bool leaves() noexcept { return false; }

  private:
    tensor_reach reach_;
};

/// What belongs to a state_dict: dictionaries, lists, tuples and modules. Other objects and leaves are told as they
/// are.
struct state_dict_parts {
    [[nodiscard]] bool operator()(const value& v) const noexcept { return v.kind() != kind::object || v.is_module(); }
    [[nodiscard]] static bool leaves() noexcept { return true; }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/object_walk.ipp>
#endif
