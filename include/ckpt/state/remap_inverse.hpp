// ckpt/state/remap_inverse.hpp: the map that leads from a plan's result back to its source.
//
// SPDX-License-Identifier: MIT
// In:      the record of a plan that is ok.
// Out:     rules about single keys that undo its changes, step by step from the last to the first.
// Refuses: plans in which a rule did what cannot be undone: it dropped, merged names, cut, filled, or a cast lost
//          values.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/remap_record.hpp>
#include <ckpt/state/rule_code.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class inverse_writer {
  public:
    explicit inverse_writer(const remap_record& record) : r_{record} {}

    /// Fails where some rule did what cannot be undone; the first of them in the order of the rules.
    [[nodiscard]] result<void> check() const;
    /// Of a plan that `check` has found reversible.
    [[nodiscard]] key_map run();

  private:
    /// Why the change cannot be undone; empty where it can.
    [[nodiscard]] std::string obstacle(const remap_change& change) const;
    /// Whether every value of `from` survives the way to `to` and back.
    [[nodiscard]] static bool holds_all(ckpt::dtype from, ckpt::dtype to) noexcept;

    [[nodiscard]] std::string_view name_of(std::uint32_t item) const noexcept { return r_.items[item].name; }
    [[nodiscard]] bool is_rename(const remap_change& change) const noexcept {
        return r_.rule(change.rule).verb <= rule_verb::rename;
    }

    void add(const std::string& line, bool in_group = false) { out_->add_known(line, in_group); }
    /// `verb from -> to`.
    void add_move(std::string_view verb, std::string_view from, std::string_view to, bool in_group);
    /// `line key`.
    void add_about(std::string line, std::string_view key);

    /// Undoes the changes of one step.
    void undo_step(std::span<const remap_change> changes);
    /// The name that an item gets back in this step. Where another item still bears it, a name that nobody has, from
    /// which the end of the step takes it to its own.
    [[nodiscard]] std::string target(std::uint32_t item);
    void undo(const remap_change& change);
    /// Joins what a split or unstack took apart.
    void join_parts(const remap_change& change, const rule_code& code);
    /// Takes apart what a merge or stack joined.
    void separate_parts(const remap_change& change, const rule_code& code);

    const remap_record& r_;
    shared<key_map_data> out_{detail::make_shared<key_map_data>()};
    std::vector<std::string_view> borne_{}; ///< names that the step's outputs bear, sorted
    std::vector<std::pair<std::string, std::string>> pending_{};
    std::string unused_{"ckpt_inverse."}; ///< no key begins with it
    std::uint64_t next_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_inverse.ipp>
#endif
