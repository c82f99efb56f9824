// ckpt/state/remap_result.hpp: makes the state_dict of a plan.
//
// SPDX-License-Identifier: MIT
// In:      a plan that is ok.
// Out:     its tensors under their new names, and where each came from.
// Refuses: nothing: the planner has checked.
#pragma once

#include <ckpt/core/shared.hpp>
#include <ckpt/state/assemble.hpp>
#include <ckpt/state/lineage.hpp>
#include <ckpt/state/remap_record.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

struct remap_plan;

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class remapped_maker {
  public:
    remapped_maker(const remap_plan& plan, const shared<remap_record>& record);

    [[nodiscard]] state_dict run();

  private:
    /// Where the tensors of roots_ came from, taken together.
    [[nodiscard]] lineage::origin origin_of_roots() const;
    /// What rules did on the way to an item.
    void add_chain(std::uint32_t item, lineage::origin& origin) const;
    /// What the file calls a key of the source, with the names that were merged into it: a map before this one may have
    /// given it its name.
    [[nodiscard]] std::vector<std::string> names_in_file(std::string_view key) const;
    void note_dropped();
    void note_aliased();

    const remap_plan& plan_;
    const remap_record& r_;
    const state_dict_data& from_;
    assembler out_;
    std::vector<std::uint32_t> roots_{};
    std::vector<std::uint32_t>
        entry_of_; ///< by root, 1 + its first entry in the result; empty where nothing was merged
    std::vector<std::size_t> dropped_by_; ///< by root, the rule that dropped it; as long as entry_of_
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_result.ipp>
#endif
