// ckpt/torch/tensordict.hpp: TensorDict of the package tensordict, as dictionaries and lists of tensors.
//
// SPDX-License-Identifier: MIT
// In:      the state of a TensorDict or of a lazy stack; the metadata of one, with its tensors or with bytes.
// Out:     a dictionary with the class and the attributes of the TensorDict; the list that a lazy stack has.
// Refuses: metadata of another form. A leaf whose range, dtype and shape do not fit is an error at its key.
//
// Source: tensordict/_reductions.py of tensordict 0.5 to 0.15, and files that it wrote.
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/torch/containers.hpp>
#include <ckpt/torch/nested.hpp>
#include <ckpt/torch/rebuild.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Makes the dictionaries of a TensorDict from its metadata. Its tensors are ranges of one tensor of bytes
/// (consolidated), or stand in a dictionary under tuples of names. A jagged tensor is three leaves, which become one.
/// Metadata of metadata are worked off from a list, so that their depth costs no stack; each entry is paid for.
class tensordict_leaves {
  public:
    /// `bytes`: a tensor of uint8 with one dimension, whose elements lie one behind the other.
    tensordict_leaves(call& c, const tensor_data& bytes) noexcept : call_{c}, bytes_{bytes} {}
    /// `tensors`: a dictionary of tensors, whose keys are tuples of names.
    tensordict_leaves(call& c, const value& tensors) noexcept : call_{c}, tensors_{tensors} {}

    [[nodiscard]] result<value> read(const value& metadata);

  private:
    struct dictionary_place {
        value name{};          // under which it stands in the dictionary above
        std::uint32_t above{}; // the number of that one
    };
    struct pending {
        value metadata{};
        std::uint32_t node{};  // the dictionary that it becomes
        std::uint32_t level{}; // its number
    };
    /// The nodes of what a jagged tensor is made of; absent ones were not read yet.
    struct jagged_nodes {
        std::uint32_t values{absent_node};
        std::uint32_t lengths{absent_node};
    };

    /// Adds a dictionary without entries; they follow when `metadata` is worked off.
    [[nodiscard]] result<std::uint32_t> add(const value& metadata, const dictionary_place& at);
    /// Fills the dictionary of one level: what is no tensor, then tensors, then further dictionaries.
    [[nodiscard]] result<void> fill(const pending& of);
    [[nodiscard]] result<void> add_leaves(const value& leaves, std::uint32_t level, std::uint32_t& entries);
    /// Makes the dictionary of a lazy stack, whose keys count from "0", the list of what it stacks.
    void make_list(const pending& of, std::uint32_t entries);
    void put(std::uint32_t& entries, const value& key, std::uint32_t mapped);
    /// The node of a tensor, or of its error; no node where the budget is spent.
    [[nodiscard]] result<std::uint32_t> or_error(result<value> made);
    /// The tensor under `key` of a level. `about`: dtype, shape, first byte, end, padding.
    [[nodiscard]] result<value> tensor_of(const value& key, const value& about, std::uint32_t level);
    [[nodiscard]] result<value> tensor_in_bytes(const value& about);
    [[nodiscard]] result<value> tensor_under(const value& key, std::uint32_t level);
    [[nodiscard]] result<value> jagged(const jagged_nodes& parts, std::uint32_t offsets, const value& about);
    [[nodiscard]] bool is_path(const value& tuple, const value& key, std::uint32_t level) const noexcept;
    [[nodiscard]] error other_form() const;

    call& call_;
    const tensor_data bytes_{};
    const value tensors_{};
    std::size_t next_{0}; // the entry of `tensors_` behind the one that was found last
    plain_list<dictionary_place> levels_{};
    plain_list<pending> todo_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/tensordict.ipp>
#endif
