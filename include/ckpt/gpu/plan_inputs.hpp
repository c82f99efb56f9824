// ckpt/gpu/plan_inputs.hpp: what each tensor of an upload is made from.
//
// SPDX-License-Identifier: MIT
// In:      state_dicts, each for a target; which keys, and casts.
// Out:     the plan's tensors; for each of them bytes of a file or of memory, or the gather by which the host builds
//          it.
// Refuses: tensors without values, casts that do not exist, two tensors of one key, patterns that match no key.
#pragma once

#include <ckpt/core/index_table.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/upload_types.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Bytes of a file, or of memory, that a tensor is made from.
struct stored_bytes {
    std::uint32_t tensor{};
    std::uint32_t target{};
    std::uint32_t file{};  ///< among `plan_inputs::files`; 0 for memory
    std::uint32_t phase{}; ///< the first in which these bytes, or others that overlap them, are wanted
    std::uint64_t begin{}; ///< in the file, or the address
    std::uint64_t end{};
    std::uint64_t storage{}; ///< where its storage begins
    bool aligned{};          ///< the storage begins in its file at a multiple of its elements' size
    bool converted{};        ///< by the device, to the type of the plan's tensor
    dtype type{};            ///< as stored
    bool swap_bytes{};
    bool behind_others{};      ///< what lies before it in its file is wanted in another phase
    const tensor_data* view{}; ///< the tensor, where it is made dense: by the device, or if it is sparse; else null
    const storage_source* source{};    ///< of one that is sparse
    bool sparse{};                     ///< the tensor uses few of these bytes, as a slice by columns does
    std::uint32_t quantizer{};         ///< of integers that the device dequantises: as of `host_tensor`
    std::uint32_t numbers{no_numbers}; ///< of these, in `upload_plan_data::numbers`
};

/// Whether two tensors of the same stored bytes are the same once they are dense. Null: they are so already.
[[nodiscard]] bool same_view(const tensor_data* a, const tensor_data* b) noexcept;

/// What the host builds of a tensor: the tensor, or parameters of its channels.
enum class host_part : std::uint8_t { tensor, numbers, scales, rounded_scales, zero_points };

/// A tensor that the host builds, as it is or as the numbers that it stands for; or parameters by which the device
/// dequantises one.
struct host_tensor {
    std::uint32_t tensor{};
    const tensor_data* data{}; ///< what it is made of
    const storage_source* source{};
    std::uint32_t source_number{}; ///< so that two plans of one state_dict are equal
    dtype wanted{};
    host_part part{};
    std::uint32_t quantizer{};         ///< of a tensor that is dequantised: 1 for the first one that was met; else 0
    std::uint32_t numbers{no_numbers}; ///< of parameters, in `upload_plan_data::numbers`

    /// Whether the device needs it before it dequantises.
    [[nodiscard]] bool is_parameter() const noexcept { return part >= host_part::scales; }
};

/// What is read together: bytes of a file that are wanted in one phase.
struct read_place {
    std::uint32_t file{};
    std::uint32_t phase{};
    /// By which runs are sorted: one number, because planning compares it more often than anything.
    [[nodiscard]] std::uint64_t rank() const noexcept { return std::uint64_t{phase} << 32 | file; }
    [[nodiscard]] friend bool operator==(const read_place& a, const read_place& b) noexcept {
        return a.rank() == b.rank();
    }
    [[nodiscard]] friend bool operator<(const read_place& a, const read_place& b) noexcept {
        return a.rank() < b.rank();
    }
};
template <class T> [[nodiscard]] read_place place_of(const T& bytes) noexcept { return {bytes.file, bytes.phase}; }

/// A storage that a tensor is made from, for its checksum.
struct used_storage {
    std::uint32_t tensor{};
    std::uint32_t crc32{};
    std::uint32_t file{};
    std::uint32_t phase{};
    std::uint64_t begin{};
    std::uint64_t end{};
    std::string_view key{};
    [[nodiscard]] friend bool operator==(const used_storage& a, const used_storage& b) noexcept {
        return a.file == b.file && a.begin == b.begin && a.end == b.end;
    }
};

/// A file of a plan, by one of the sources that read it.
struct planned_file {
    const source* from{};
    const file* in{};
    std::string_view name{}; ///< in its folder
};

/// Collects what the tensors of all targets are made from. Files and sources have numbers in the order in which they
/// are met, so that equal state_dicts give equal plans.
class plan_inputs {
  public:
    plan_inputs(const upload_plan_options& options, upload_plan_data& plan);

    /// Adds the tensors of a state_dict that the options select.
    [[nodiscard]] result<void> add(const state_dict_data& weights, std::uint32_t target);
    /// Ends the additions.
    [[nodiscard]] result<void> finish();

    [[nodiscard]] const std::vector<planned_file>& files() const noexcept { return files_; }
    /// In the order of targets, phases, files and their bytes; what the device converts comes last.
    [[nodiscard]] const std::vector<stored_bytes>& stored() const noexcept { return stored_; }
    /// How many of them are copied as they are.
    [[nodiscard]] std::size_t unconverted() const noexcept { return unconverted_; }
    [[nodiscard]] const std::vector<host_tensor>& on_host() const noexcept { return on_host_; }
    [[nodiscard]] const std::vector<used_storage>& storages() const noexcept { return storages_; }

  private:
    [[nodiscard]] std::uint32_t file_number(const source& from, std::string_view name);
    [[nodiscard]] std::uint32_t source_number(const storage_source* of);
    [[nodiscard]] std::uint32_t quantizer_number(const tensor_extra* of);
    /// The number of the first pattern of the order that matches the key; how many there are, where none does.
    [[nodiscard]] std::uint32_t phase_of(std::string_view key);
    /// Whether each pattern matches the key of some tensor.
    [[nodiscard]] result<void> check_matches(const std::vector<pattern>& patterns) const;

    template <class T> [[nodiscard]] const T* copy(std::span<const T> numbers) {
        T* out = plan_.memory.allocate<T>(numbers.size() + 1);
        for (std::size_t i = 0; i < numbers.size(); ++i) out[i] = numbers[i];
        return out;
    }

    /// A tensor, and its parts under "key.part".
    [[nodiscard]] result<void> add_tensor(std::string_view key, const tensor_data& data, const storage_source& from,
                                          std::uint32_t target);
    /// A tensor that is a strided view of one storage.
    [[nodiscard]] result<void> add_strided(std::string_view key, const tensor_data& data, const storage_source& from,
                                           std::uint32_t target, bool dequantises);
    /// What the first cast for this key makes of `type`.
    [[nodiscard]] dtype wanted_type(std::string_view key, dtype type);
    /// Finds the tensor's storage in a file or in memory and notes it as used. False where only its source can give
    /// the elements.
    [[nodiscard]] result<bool> find_storage(const tensor_data& data, const storage_source& from, stored_bytes& out);
    /// Whether kernels make a dense tensor of this one.
    [[nodiscard]] bool made_by_device(const tensor_data& data, dtype wanted) const;
    /// Whether kernels make numbers of this quantised one.
    [[nodiscard]] bool dequantised_by_device(const tensor_data& data, dtype wanted) const;
    void build_on_host(std::uint32_t tensor, const tensor_data& data, const storage_source& from,
                       host_part part = host_part::tensor);
    /// Notes how the device dequantises a tensor, and the parameters of its channels as built by the host.
    [[nodiscard]] std::uint32_t add_numbers(std::uint32_t tensor, const tensor_data& data, const storage_source& from);
    /// Sparse views whose other bytes no tensor of the target needs are made dense, by the device or the host: else a
    /// slice by columns would take the room of the whole.
    void build_sparse_views();
    /// What overlaps is read once, in the first phase that wants any of it.
    void join_phases();
    void sort_stored();
    /// Makes a tensor's strides those of elements in row-major order.
    void make_dense(placed_tensor& placed, const tensor_data& data);
    [[nodiscard]] result<void> sort_keys();

    const upload_plan_options& options_;
    upload_plan_data& plan_;
    pattern_list selected_;
    pattern_list dequantised_;
    std::vector<pattern_list> order_{};
    std::vector<pattern_list> casts_{};
    std::vector<planned_file> files_{1}; // the first one stands for memory
    std::vector<const storage_source*> sources_{};
    std::vector<const tensor_extra*> quantizers_{};
    growing_index_table quantizer_numbers_{}; // over these
    std::vector<stored_bytes> stored_{};
    std::size_t unconverted_{0};
    std::vector<host_tensor> on_host_{};
    std::vector<used_storage> storages_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/plan_inputs.ipp>
#endif
