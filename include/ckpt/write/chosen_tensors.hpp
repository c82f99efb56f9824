// ckpt/write/chosen_tensors.hpp: which tensors of a state_dict a format can hold, and which are one.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict; a function that judges one tensor for a format.
// Out:     the tensors to write, keys that stand for another key's tensor, tensors that are left out.
// Refuses: nothing.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/write/write_types.hpp>

#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct chosen_tensors {
    plain_list<state_dict_entry> written{}; ///< in the order of the state_dict
    std::vector<tied_key> shared{};         ///< in the order of their keys
    std::vector<left_out_tensor> left_out{};
};

/// Why a format cannot hold a tensor; nothing where it can.
using format_judge = function_ref<result<void>(const state_dict_entry&)>;

/// `once`: of several keys with the same elements of the same storage, the first in the order of their bytes is
/// written.
[[nodiscard]] chosen_tensors choose_tensors(const state_dict_data& weights, const format_judge& judge, bool once);

/// Less than, equal to or greater than 0, as the first tensor's elements come before, are, or come behind the second's.
/// Both are of one source.
[[nodiscard]] int compare_places(const tensor_data& a, const tensor_data& b) noexcept;

/// Fails with the reason of the first tensor that is left out and that no pattern allows to be.
[[nodiscard]] result<void> check_losses(std::span<const left_out_tensor> left_out, std::span<const pattern> allowed);
[[nodiscard]] inline result<void> check_losses(const chosen_tensors& chosen, std::span<const pattern> allowed) {
    return check_losses(chosen.left_out, allowed);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/chosen_tensors.ipp>
#endif
