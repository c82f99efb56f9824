// ckpt/torch/tensordict.hpp: TensorDict of the package tensordict, as dictionaries and lists of tensors.
//
// SPDX-License-Identifier: MIT
// In:      the state of a TensorDict or of a lazy stack; the metadata and the bytes of a consolidated one.
// Out:     a dictionary with the class and the attributes of the TensorDict; the list that a lazy stack has.
// Refuses: metadata of another form. A leaf whose range, dtype and shape do not fit is an error at its key.
//
// Source: tensordict/_reductions.py of tensordict 0.15, and files that it wrote.
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/torch/containers.hpp>
#include <ckpt/torch/rebuild.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Makes the dictionaries of a consolidated TensorDict, whose tensors are ranges of one tensor of bytes. Metadata of
/// metadata are worked off from a list, so that their depth costs no stack; each entry is paid for.
class tensordict_leaves {
  public:
    /// `bytes`: a tensor of uint8 with one dimension, whose elements lie one behind the other.
    tensordict_leaves(call& c, const tensor_data& bytes) noexcept : call_{c}, bytes_{bytes} {}

    [[nodiscard]] result<value> read(const value& metadata);

  private:
    struct pending {
        value metadata{};
        std::uint32_t node{}; // the dictionary that it becomes
    };

    /// Adds a dictionary without entries; they follow when `metadata` is worked off.
    [[nodiscard]] result<std::uint32_t> add(const value& metadata);
    /// Fills the dictionary of one level: what is no tensor, then tensors, then further dictionaries.
    [[nodiscard]] result<void> fill(const pending& of);
    /// The node of a tensor, or of its error. `about`: dtype, shape, first byte, end, padding.
    [[nodiscard]] result<std::uint32_t> leaf(const value& about);
    [[nodiscard]] result<value> tensor_of(const value& about);
    [[nodiscard]] error other_form() const;

    call& call_;
    const tensor_data bytes_;
    plain_list<pending> todo_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/tensordict.ipp>
#endif
