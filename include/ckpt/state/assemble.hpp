// ckpt/state/assemble.hpp: makes a state_dict of named nodes of a gather plan.
//
// SPDX-License-Identifier: MIT
// In:      a plan, and names in their order, each with a node and where it came from. The names are unique.
// Out:     a state_dict that keeps the plan and its files alive.
// Refuses: nothing: whoever planned has checked.
#pragma once

#include <ckpt/state/gather.hpp>
#include <ckpt/state/gathered_storages.hpp>
#include <ckpt/state/lineage.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/parts.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class assembler {
  public:
    /// Path, root, entries that are no tensors and what was dropped before are those of `like`. `owner` keeps the names
    /// alive.
    assembler(shared<gather_plan> plan, const state_dict& like, shared<counted> owner);

    void add(std::string_view name, std::uint32_t index, lineage::origin origin);
    [[nodiscard]] lineage& history() noexcept { return *out_->history; }

    [[nodiscard]] state_dict finish();

  private:
    shared<gather_plan> plan_;
    shared<gathered_storages> storages_;
    shared<state_dict_data> out_{detail::make_shared<state_dict_data>()};
    part_copies copies_{out_->memory};
};

/// Where an entry of a state_dict came from: itself, or what an earlier map or overlay says.
[[nodiscard]] lineage::origin origin_of(const state_dict_data& from, std::size_t entry);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/assemble.ipp>
#endif
