// ckpt/maps/gpt2.hpp: GPT-2 in transformers' form and in that of llm.c.
//
// SPDX-License-Identifier: MIT
// In:      the size of the vocabulary, where it cannot be told from the shapes.
// Out:     maps in both directions, for models of any size. llm.c keeps the tensors of all layers as one, [layers, …],
//          matrices as [outputs, inputs] and the token embedding with a number of rows that is a multiple of 128.
// Refuses: a vocabulary that no model has.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/key_map.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// GPT2LMHeadModel or GPT2Model of transformers (4 and 5) to the 16 tensors of llm.c under the names of its struct
/// ParameterTensors, in the order in which its files hold them: wte, wpe, ln1w, ln1b, qkvw, … lnfw, lnfb.
[[nodiscard]] key_map gpt2_hf_to_llm_c();

/// The reverse, to GPT2LMHeadModel. `vocabulary` is the number of tokens (50,257 in the published models): the rows
/// behind them were added.
[[nodiscard]] result<key_map> gpt2_llm_c_to_hf(std::int64_t vocabulary);

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/gpt2.ipp>
#endif
