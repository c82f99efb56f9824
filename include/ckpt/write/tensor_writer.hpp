// ckpt/write/tensor_writer.hpp: appends the values of tensors to a file.
//
// SPDX-License-Identifier: MIT
// In:      tensors of one state_dict, one after another; a file; a meter that expects their bytes.
// Out:     their bytes: by `output_file::copy` where a file has them as they are wanted, otherwise a piece at a time.
// Refuses: what reading and writing refuse; to go on, where the progress callback says so.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/progress_meter.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/output.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/access.hpp>

#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Reads tensors of a state_dict into files. What was begun of compressed storages is kept from tensor to tensor.
class tensor_writer {
  public:
    tensor_writer(const state_dict_data& weights, progress_meter& meter) noexcept : weights_{weights}, meter_{meter} {
        readers_.meter = &meter;
    }

    /// Appends the bytes of a tensor, row-major and little-endian. The error of a tensor names its key.
    [[nodiscard]] result<void> append(const state_dict_entry& entry, output_file& out);
    /// Passes the same bytes to `take`, a piece at a time.
    using taker = function_ref<result<void>(std::span<const std::byte>)>;
    [[nodiscard]] result<void> read(const state_dict_entry& entry, const taker& take);

  private:
    [[nodiscard]] result<void> append_bytes(const tensor_data& data, output_file& out);
    /// Ends a tensor: the meter has all of it, and an error has its key.
    [[nodiscard]] result<void> end(result<void> done, const state_dict_entry& entry);
    [[nodiscard]] result<void> copy(const file& from, std::uint64_t offset, std::uint64_t length, output_file& out);

    const state_dict_data& weights_;
    progress_meter& meter_;
    storage_readers readers_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/tensor_writer.ipp>
#endif
