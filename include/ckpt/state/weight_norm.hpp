// ckpt/state/weight_norm.hpp: weights that torch's weight normalisation keeps as a direction and a length.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict with "X.weight_g" and "X.weight_v", or "X.parametrizations.weight.original0" and "…original1".
// Out:     a state_dict with "X.weight" in their place, bit for bit as torch computes it.
// Refuses: nothing of a pair that does not fit: it stays as it is, and is listed with the reason.
//
// The weight is v * (g / |v|), where |v| is the norm of each slice of v along one dimension, or of all of v. Norms are
// summed in the order in which torch's kernels for AVX2 do it, which are those that it uses with AVX-512, too.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/progress.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/state_dict.hpp>

#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How weights are folded.
struct weight_norm_options {
    progress_callback progress{}; ///< counts the bytes of v, all of which are read for their norms
};

/// A state_dict whose normalised weights are plain ones.
struct weight_norm_folded {
    struct fold {
        std::string key{}; ///< of the weight
        std::string g{};
        std::string v{};
    };
    struct unfolded {
        std::string key{};
        error why{};
    };
    state_dict weights;
    std::vector<fold> folded{};
    /// Keys in the names of weight normalisation that stay as they are: one half without the other, shapes or dtypes
    /// that do not fit, another parametrization on top, a weight that is there already.
    std::vector<unfolded> left{};
};

/// The state_dict with every pair g and v replaced by its weight, at the place of the first of the two. Pairs are
/// "X.weight_g" and "X.weight_v" (torch.nn.utils.weight_norm), "X.parametrizations.weight.original0" and "…original1"
/// (torch.nn.utils.parametrizations.weight_norm), and the same with other names than "weight". A file does not say
/// which parametrization "original0" and "original1" belong to, and one of a program's own may have two tensors, too:
/// those whose shapes fit are taken for g and v. Dtypes are float32, float64, bfloat16 and float16. Reads v once for
/// its norms, in bounded pieces; the weights themselves are computed when they are read. The result shares ownership of
/// the file. Fails with the error of a tensor that cannot be read, and with `cancelled`.
[[nodiscard]] result<weight_norm_folded> fold_weight_norm(const state_dict& weights,
                                                          const weight_norm_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/weight_norm.ipp>
#endif
