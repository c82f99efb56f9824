// ckpt/maps/llama.hpp: the names and the order of rows of Llama in Hugging Face's form, in Meta's and in GGUF.
//
// SPDX-License-Identifier: MIT
// In:      the numbers of heads and their size, which shapes do not determine (num_attention_heads,
//          num_key_value_heads and head_dim of config.json; head_dim is hidden_size / num_attention_heads where it is
//          not there).
// Out:     maps in both directions, for models of any size. The rows of q and k are permuted: the rotation pairs the
//          halves of a head in Hugging Face's form, and neighbouring rows in the other two.
// Refuses: numbers that no model has. q and k whose sizes do not fit these numbers keep their names.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/key_map.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// The configuration of a Llama that its shapes do not determine.
struct llama_heads {
    std::int64_t heads{0};    ///< num_attention_heads
    std::int64_t kv_heads{0}; ///< num_key_value_heads
    std::int64_t head_dim{0}; ///< size of a head
    bool tied{false};         ///< tie_word_embeddings: the head has the values of the embedding; GGUF has none then
};

/// LlamaForCausalLM of transformers (4 and 5) to the names of GGUF's architecture `llama` (gguf 0.19, MODEL_ARCH.LLAMA)
/// and the rows in its order, which is that of LlamaModel.permute in llama.cpp's convert_hf_to_gguf.py.
[[nodiscard]] result<key_map> hf_llama_to_gguf(const llama_heads& of);

/// The reverse. The factors of the rotation, `rope_freqs.weight`, are computed from the configuration and dropped. A
/// tied head is a second name for the embedding.
[[nodiscard]] result<key_map> gguf_to_hf_llama(const llama_heads& of);

/// LlamaForCausalLM to the names and the order of rows of Meta's own files (consolidated.NN.pth), which have no tied
/// heads: the embedding is there twice.
[[nodiscard]] result<key_map> hf_llama_to_meta(const llama_heads& of);

/// The reverse. The factors of the rotation, `rope.freqs`, are computed from the configuration and dropped. A tied head
/// is a second name for the embedding.
[[nodiscard]] result<key_map> meta_llama_to_hf(const llama_heads& of);

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/llama.ipp>
#endif
