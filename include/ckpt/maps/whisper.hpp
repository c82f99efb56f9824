// ckpt/maps/whisper.hpp: the names of Whisper in OpenAI's form and in transformers'.
//
// SPDX-License-Identifier: MIT
// In:      nothing; the maps fit models of any size.
// Out:     maps in both directions.
// Refuses: nothing of its own.
//
// Self-attention and cross-attention have equal shapes, so that only the names tell one from the other.
#pragma once

#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// OpenAI's names (`model_state_dict` of the published files, openai-whisper 20250625) to those of transformers'
/// WhisperForConditionalGeneration (4 and 5). The head is a second name for the token embedding.
[[nodiscard]] key_map whisper_openai_to_hf();

/// The reverse, from WhisperForConditionalGeneration or WhisperModel.
[[nodiscard]] key_map whisper_hf_to_openai();

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/whisper.ipp>
#endif
