// ckpt/state/caster.hpp: casts of tensors of a state_dict, each by its number.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict; numbers of its entries, and the dtypes that they become.
// Out:     a state_dict with the same keys. Keys that are one tensor, and are cast to one dtype, stay one.
// Refuses: tensors whose elements cannot be cast, as a clause that says why.
#pragma once

#include <ckpt/core/index_table.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Why the elements of a node cannot be taken apart, as a sentence; empty where they can be: it is strided, in whole
/// bytes, not too deep.
[[nodiscard]] std::string elements_obstacle(const gather_node& node);

class tensor_caster {
  public:
    explicit tensor_caster(const state_dict& weights);
    tensor_caster(const tensor_caster&) = delete;
    tensor_caster& operator=(const tensor_caster&) = delete;
    ~tensor_caster() = default;

    /// Why an entry cannot be cast; empty where it can be. An entry has the number of its place in the state_dict.
    [[nodiscard]] std::string obstacle(std::size_t entry, dtype to) const;
    /// Casts an entry that has no obstacle, once.
    void cast(std::size_t entry, dtype to);

    [[nodiscard]] state_dict finish();

  private:
    struct done_cast {
        std::uint32_t from{};
        std::uint32_t to{};
    };

    const state_dict& from_;
    shared<gather_plan> plan_{detail::make_shared<gather_plan>()};
    std::vector<std::uint32_t> nodes_{};
    std::vector<std::uint32_t> results_{}; ///< of the entries, in place of `nodes_` where they are cast
    std::vector<done_cast> casts_{};       ///< one for each tensor
    growing_index_table table_{};          ///< of casts
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/caster.ipp>
#endif
