// ckpt/torch/safetensors_types.hpp: the types of safetensors headers as dtypes.
//
// SPDX-License-Identifier: MIT
// In:      the name of a type in a header, or a dtype.
// Out:     the other; the order in which writers put the types.
// Refuses: types that PyTorch does not have (F6), dtypes that the format does not have.
#pragma once

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <optional>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The dtype for a type of a safetensors header (bindings/python/py_src/safetensors/torch.py, _TYPES); nothing for F6.
[[nodiscard]] std::optional<ckpt::dtype> dtype_of_safetensors(std::string_view name) noexcept;

/// The number of a dtype's type in `safetensors_types`, which is its place in the order of the reference's enum;
/// nothing for a dtype that the format does not have.
[[nodiscard]] std::optional<std::size_t> safetensors_type_of(ckpt::dtype type) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/safetensors_types.ipp>
#endif
