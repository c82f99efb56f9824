// ckpt/write/gguf.hpp: writes a state_dict as a GGUF file.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict of any container, remapped, gathered or distributed; metadata; which tensors to quantise.
// Out:     version 3 of the format, little-endian, byte for byte as the gguf package writes it.
// Refuses: tensors that the format cannot hold, each by name; a path that exists; what the system refuses.
//
// The format: ggml/docs/gguf.md. Blocks of quantised values: gguf/quants.py, in gguf_blocks.hpp.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/core/progress.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/path.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/write/gguf_metadata.hpp>
#include <ckpt/write/gguf_quant.hpp>
#include <ckpt/write/write_types.hpp>

#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How tensors are quantised whose keys a pattern matches.
struct gguf_quantisation {
    pattern keys;
    gguf_quant how{};
};

/// How a GGUF file is written.
struct gguf_options {
    bool overwrite{false};              ///< replaces a file that exists
    std::vector<gguf_entry> metadata{}; ///< in this order; programs want "general.architecture" first
    /// Which tensors are quantised; of several patterns that match a key the last counts. Only floating tensors can be,
    /// whose last dimension is a multiple of 32. A pattern with a wildcard passes over others, and over those of one
    /// dimension, as llama.cpp does.
    std::vector<gguf_quantisation> quantise{};
    std::vector<pattern> allow_loss{}; ///< keys of tensors that may be left out where the format cannot hold them
    progress_callback progress{};      ///< counts the bytes of the tensors as they are read
    output_check check{};              ///< looks at the file before it gets its name
};

/// A tensor that is quantised.
struct quantised_tensor {
    std::string key{};
    gguf_quant how{};
};
/// A tensor that a pattern of `gguf_options::quantise` passed over.
struct kept_tensor {
    std::string key{};
    std::string why{}; ///< a clause: "it has one dimension"
};

/// What was written, or would be.
struct gguf_report : write_report {
    std::vector<quantised_tensor> quantised{}; ///< in the order of the state_dict, as `kept`
    std::vector<kept_tensor> kept{};
};

/// What `write_gguf` would write. Writes nothing, and looks at no path. `left_out` has every tensor that the format
/// cannot hold, allowed or not: of a dtype without a type, without elements, of more than four dimensions, with a key
/// of more than 64 bytes or one that is not UTF-8. Fails with `format_lacks` where a key that is to be quantised, and
/// was given without a wildcard, cannot be, where two entries of the metadata have one key, and where an entry would
/// change the alignment.
[[nodiscard]] result<gguf_report> plan_gguf(const state_dict& weights, path_arg out, const gguf_options& options = {});

/// Writes the tensors of `weights` to `out`, in the order of the state_dict. Each key has its tensor, also where
/// several are one, because the format cannot say so; a scalar has the dimensions [1]. The file appears when it is
/// whole, or not at all. Fails as `write_safetensors` does.
[[nodiscard]] result<gguf_report> write_gguf(const state_dict& weights, path_arg out, const gguf_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/gguf.ipp>
#endif
