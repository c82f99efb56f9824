// ckpt/folder/dcp_tree.hpp: the nested object that a distributed checkpoint's flat keys stand for.
//
// SPDX-License-Identifier: MIT
// In:      planner_data: for each key its path, of texts and positions in lists; then the values by key.
// Out:     dictionaries and lists of them.
// Refuses: two values at one place, a place that is a list and a dictionary, positions beyond what the file pays for.
#pragma once

#include <ckpt/folder/joined.hpp>
#include <ckpt/pickle/value.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class dcp_tree {
  public:
    /// `budget` is how many positions the lists may have together.
    dcp_tree(const value& planner_data, std::uint64_t budget);

    /// Puts a node of the graph where the path of `key` leads; a key without a path stands at the root. False where it
    /// cannot.
    [[nodiscard]] bool add(std::string_view key, std::uint32_t node);

    [[nodiscard]] std::uint32_t build(joined_checkpoint& out);

  private:
    struct step {
        std::string_view text{};
        std::uint64_t position{};
        bool is_text{};
        // An operator< instead of <=>, because std::string_view has no <=> before libc++ 16.
        friend bool operator<(const step& a, const step& b) noexcept {
            if (a.text != b.text) return a.text < b.text;
            return a.position != b.position ? a.position < b.position : a.is_text < b.is_text;
        }
    };
    struct child {
        step name{};
        std::uint32_t node{}; // of the graph, or a place
        bool is_place{};
    };
    struct place {
        bool is_list{};
        std::uint64_t length{0};
        std::vector<child> children{};
        std::map<step, std::uint32_t> by_name{};
    };

    /// Makes room for a child; null where one is there, or where the place is of the other kind.
    [[nodiscard]] child* new_child(std::size_t at, const step& name);
    [[nodiscard]] bool put(std::size_t at, const step& name, std::uint32_t node);
    /// Goes to the place inside `at` under a name.
    [[nodiscard]] bool enter(std::size_t& at, const step& name);
    [[nodiscard]] static std::uint32_t list_of_nodes(joined_checkpoint& out, const std::vector<std::uint32_t>& parts);

    std::map<std::string_view, value> paths_{};
    std::vector<place> places_{1};
    std::uint64_t budget_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/dcp_tree.ipp>
#endif
