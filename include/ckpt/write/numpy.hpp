// ckpt/write/numpy.hpp: writes tensors as numpy's .npz and .npy files.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict of any container, remapped, gathered or distributed; a path.
// Out:     what numpy.load reads with allow_pickle=False: arrays in row-major order, little-endian.
// Refuses: tensors of a dtype that numpy does not have, each by name; a path that exists; what the system refuses.
//
// The format: numpy/lib/format.py, version 1.0. An .npz file is a zip archive with "KEY.npy" for each key.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/core/progress.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/path.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/write/write_types.hpp>

#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How arrays are written.
struct numpy_options {
    bool overwrite{false}; ///< replaces a file that exists
    bool raw{false};       ///< bfloat16 and the types of 8 bits, which numpy does not have, as uint16 and uint8
    std::vector<pattern> allow_loss{}; ///< keys of tensors that may be left out where numpy cannot hold them
    progress_callback progress{};      ///< counts the bytes of the tensors
    output_check check{};              ///< looks at the file before it gets its name
};

/// What `write_npz` would write. Writes nothing, and looks at no path. Fails where a key is no name of a record: not
/// UTF-8, longer than 65,531 bytes, or with a NUL inside.
[[nodiscard]] result<write_report> plan_npz(const state_dict& weights, path_arg out, const numpy_options& options = {});

/// Writes an archive of arrays. Each key has its array, also where several are one tensor, because the format cannot
/// say so. The file appears when it is whole, or not at all. Fails as `write_safetensors` does.
[[nodiscard]] result<write_report> write_npz(const state_dict& weights, path_arg out,
                                             const numpy_options& options = {});

/// The same of one array in an .npy file: the only tensor of a state_dict. Fails with `format_lacks` where there is not
/// just one.
[[nodiscard]] result<write_report> plan_npy(const state_dict& weights, path_arg out, const numpy_options& options = {});
[[nodiscard]] result<write_report> write_npy(const state_dict& weights, path_arg out,
                                             const numpy_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/numpy.ipp>
#endif
