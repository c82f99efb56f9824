// ckpt/state/walk.hpp: finds all tensors in an object, with their paths.
//
// SPDX-License-Identifier: MIT
// In:      a value.
// Out:     every tensor below it, under every path that reaches it, in the file's order.
// Refuses: more tensors than a limit; more steps or longer paths than a budget that depends on the pickle's size.
//
// A path goes through keys of dictionaries, positions of lists and tuples, attributes, keyword arguments and items of
// objects, and positions of what has no name: a state that is a tuple, and the arguments of the call. A whole pickled
// module is walked as its state_dict() would be: parameters, persistent buffers, submodules, in this order, and one
// element of the path for the whole dotted name. A module of TorchScript is walked alike, then what else it holds.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/object_path.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A tensor and its path. The tensor and the value borrow from the checkpoint.
struct located_tensor {
    std::vector<path_element> path{}; ///< from the value where the search began to the tensor
    ckpt::tensor tensor{};
    ckpt::value value{};

    /// The elements of the path joined by dots: the key of the tensor in a state_dict.
    [[nodiscard]] std::string key() const;
};

/// Every tensor and every numpy array of a simple dtype below `root`, under every path that reaches it.
/// Fails with `output_limit` for more than `limit` tensors, or a spent budget of steps.
[[nodiscard]] result<std::vector<located_tensor>> find_tensors(const value& root, std::uint64_t limit = 1'000'000);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/walk.ipp>
#endif
