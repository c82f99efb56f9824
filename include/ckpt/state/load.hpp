// ckpt/state/load.hpp: fills a struct from a state_dict.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, a struct with a `binding`, what may be missing or unexpected.
// Out:     the struct, filled, and a report; or the report alone, as a plan.
// Refuses: a load that leaves a target unwritten or a source unused, unless it was allowed; a tensor that does not fit
//          its target, always. A load that fails leaves the struct as it was.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/binding.hpp>
#include <ckpt/state/load_report.hpp>
#include <ckpt/state/state_dict.hpp>

#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What a load may do. By default it is strict in both directions.
struct load_options {
    std::vector<pattern> allow_missing{};    ///< targets that may be missing: they keep their value
    std::vector<pattern> allow_unexpected{}; ///< keys of the state_dict that may have no target
    bool casts{false};                       ///< a `tensor_copy` converts other dtypes, as `tensor::copy_as` does
    bool digests{false};                     ///< adds the CRC-32 of the values to the report; reads all of them
};

namespace detail {

/// Judges all targets, and makes the report.
[[nodiscard]] load_report plan_targets(target_list& targets, const state_dict& weights, const load_options& options);
/// Judges all targets and makes all copies, so that nothing is left that can fail.
[[nodiscard]] result<load_report> prepare_targets(target_list& targets, const state_dict& weights,
                                                  const load_options& options);

} // namespace detail

/// The report that `load` would make; `loaded` are the targets that it would write. Never fails, reads no values and
/// changes nothing.
template <class T>
[[nodiscard]] load_report plan_load(const state_dict& weights, const T& /*model*/, const load_options& options = {}) {
    detail::check_model<T>();
    detail::target_list targets{weights};
    detail::collect_targets<T, detail::no_shape>(targets);
    return detail::plan_targets(targets, weights, options);
}

/// Fills `model` from a state_dict. Views and tensors in it borrow from the state_dict, which must outlive them. Fails
/// with `load_incomplete` where a target is missing or mismatched, or a key is unexpected, and `options` does not allow
/// it; and with the error of reading where the values of a copy cannot be read. It then leaves `model` as it was. A
/// missing target that is allowed keeps its value; an absent optional is reset; a vector is resized to its elements in
/// the state_dict. (Where memory runs out while vectors grow, they may stay longer; tensors are written only after
/// that.)
template <class T>
[[nodiscard]] result<load_report> load(const state_dict& weights, T& model, const load_options& options = {}) {
    detail::check_model<T>();
    detail::target_list targets{weights};
    detail::collect_targets<T, detail::no_shape>(targets);
    auto report = detail::prepare_targets(targets, weights, options);
    if (!report) return report;
    for (const bool writes : {false, true}) {
        detail::target_reader reader{targets, writes};
        detail::assign_targets(model, reader);
    }
    return report;
}
/// Deleted: views in the struct would refer to a state_dict that no longer exists.
template <class T> result<load_report> load(const state_dict&&, T&, const load_options& = {}) = delete;

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/load.ipp>
#endif
