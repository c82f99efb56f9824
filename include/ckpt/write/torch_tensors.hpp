// ckpt/write/torch_tensors.hpp: writes tensors into the pickle of a torch zip file.
//
// SPDX-License-Identifier: MIT
// In:      tensors of any layout, and what has their storages; a pickle.
// Out:     the calls that rebuild them, as torch.save writes them; the storages that the file must have, each once.
// Refuses: tensors that torch's safe mode cannot rebuild.
//
// Sources: torch/_utils.py and torch/_tensor.py (the functions), torch/serialization.py (ids of storages).
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/index_table.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/write/pickle_writer.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The error for something that torch's safe mode does not read. `what`: a noun.
[[nodiscard]] error torch_lacks(std::string what);

/// A storage of the output.
struct torch_storage {
    const storage_source* from{nullptr};
    tensor_data data{};       ///< its bytes, as one tensor
    std::uint64_t bytes{0};   ///< of the record
    bool typed{false};        ///< whether its class has the dtype of `data`; it counts bytes otherwise
    std::string_view entry{}; ///< the key of a state_dict that led to it first; empty elsewhere
};

class torch_tensors {
  public:
    explicit torch_tensors(pickle_writer& out) noexcept : out_{out} {}

    /// Whether `write` can write a tensor. Fails with `format_lacks`, with the tensor's refusal, or where its values
    /// cannot be read.
    [[nodiscard]] static result<void> check(const tensor_data& data, const storage_source* from);

    /// Writes a tensor that passed `check`. `entry`: as in `torch_storage`.
    void write(const tensor_data& data, const storage_source* from, std::string_view entry = {});
    /// The same of a tensor that has attributes: they are to be written next, then `end_attributes`.
    void begin_attributes(const tensor_data& data, const storage_source* from);
    void end_attributes();
    /// Writes a storage as a value of its own. `type`: its dtype; nothing where it counts bytes.
    void write_storage(const storage_source& from, std::uint32_t storage, std::optional<ckpt::dtype> type);

    [[nodiscard]] const plain_list<torch_storage>& storages() const noexcept { return storages_; }

  private:
    /// Where the elements of a tensor are in the output.
    struct placed {
        std::uint32_t storage{};
        std::uint64_t offset{};
        const std::int64_t* strides{};
    };
    [[nodiscard]] placed place(const tensor_data& data, const storage_source& from, std::string_view entry);
    /// The number of a whole storage. `type`: of the tensor that leads to it first.
    [[nodiscard]] std::uint32_t whole(const storage_source& user, std::uint32_t number, ckpt::dtype type);
    [[nodiscard]] std::uint32_t add(const torch_storage& one);
    [[nodiscard]] bool holds(std::uint32_t storage, ckpt::dtype type) const noexcept {
        return storages_[storage].typed && storages_[storage].data.type == type;
    }

    void write_id(std::uint32_t storage);
    void write_plain(const tensor_data& data, const storage_source* from, bool requires_grad, std::string_view entry);
    void write_arguments(const tensor_data& data, const placed& at, bool requires_grad);
    void write_quantizer(const tensor_data& data, const storage_source* from);
    void write_sparse(const tensor_data& data, const storage_source* from);
    void write_meta(const tensor_data& data);

    struct known_storage {
        const storage_source* from{nullptr};
        std::uint32_t storage{};
        std::uint32_t number{};
    };
    pickle_writer& out_;
    arena memory_{}; // of shapes and strides
    plain_list<torch_storage> storages_{};
    plain_list<known_storage> known_{};
    growing_index_table table_{}; // over known_
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/torch_tensors.ipp>
#endif
