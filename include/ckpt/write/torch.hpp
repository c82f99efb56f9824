// ckpt/write/torch.hpp: writes a checkpoint as torch.save does.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict of any container, remapped, gathered or distributed; a whole object of a checkpoint; a path.
// Out:     a zip file that torch.load reads with weights_only=True.
// Refuses: what torch's safe mode does not read, each value by its path; a path that exists; what the system refuses.
//
// The layout is that of torch 2.7 and later: records at multiples of 64 bytes, a pickle of protocol 2, each storage
// once. torch 1.13 reads the weights; docs/convert.md says which values need a later version.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/core/progress.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/path.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/write/write_types.hpp>

#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How a torch zip file is written.
struct torch_options {
    bool overwrite{false}; ///< replaces a file that exists
    /// Writes objects of classes that torch's safe mode refuses as dictionaries of their attributes, lists of their
    /// elements, or what they were made of, as the value of an Enum; paths, classes and functions as texts; those of
    /// configuration libraries as what they stand for. Otherwise they are left out.
    bool plain{false};
    /// Keys of what may be left out: of a state_dict its keys, of a whole object paths, whose elements are joined by
    /// dots: "hyper_parameters.**".
    std::vector<pattern> allow_loss{};
    progress_callback progress{}; ///< counts the bytes of the storages
    output_check check{};         ///< looks at the file before it gets its name
};

/// What `write_torch` would write. Writes nothing, and looks at no path. `left_out` has every value that torch's safe
/// mode does not read, allowed or not, `replaced` what is written as something else: a row for each of at most 100
/// pairs of classes.
[[nodiscard]] result<write_report> plan_torch(const state_dict& weights, path_arg out,
                                              const torch_options& options = {});

/// Writes a state_dict as one OrderedDict with its "_metadata". Strides and offsets stay, and tensors that share a
/// storage share it again; requires_grad and parameters stay where no rule computes the tensor. Attributes of tensors
/// are none of a state_dict's. Conj and neg bits are resolved. Entries that are no tensors are written, too. The file
/// appears when all of it is on the disk: until then, and after a failure, the path has what it had. Fails with
/// `format_lacks` where something cannot be written and `allow_loss` does not have its key, `output_exists`,
/// `write_failed`, `cancelled`, and with the error of a tensor that cannot be read.
[[nodiscard]] result<write_report> write_torch(const state_dict& weights, path_arg out,
                                               const torch_options& options = {});

/// The same of a whole object, such as `file.root()`: dictionaries, lists, tuples, sets, numbers, texts, bytes, tensors
/// and storages, with what is shared among them. A module becomes its state_dict, a numpy array a tensor, another
/// mapping a dict. What cannot be written is left out of a dictionary, and None stands for it in a list or a tuple.
/// Fails as `write_torch` of a state_dict does, and with `limit` where paths of more than 64 MiB would be left out.
[[nodiscard]] result<write_report> plan_torch(const value& whole, path_arg out, const torch_options& options = {});
[[nodiscard]] result<write_report> write_torch(const value& whole, path_arg out, const torch_options& options = {});

/// The same of a whole object in which a state_dict, after rules or casts, stands where it was: at `weights.path()`, or
/// in place of the whole. Where it still has the keys that it had, each tensor stands in its place in the containers
/// that are there, with the attributes and flags of the one before; otherwise all entries stand in one OrderedDict.
/// Fails also with `path_missing`.
[[nodiscard]] result<write_report> plan_torch(const value& whole, const state_dict& weights, path_arg out,
                                              const torch_options& options = {});
[[nodiscard]] result<write_report> write_torch(const value& whole, const state_dict& weights, path_arg out,
                                               const torch_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/torch.ipp>
#endif
