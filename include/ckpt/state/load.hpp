// ckpt/state/load.hpp: fills a struct from a state_dict.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, a struct with a `binding`, what may be missing or unexpected.
// Out:     the struct, filled, and a report; or the report alone, as a plan.
// Refuses: a load that leaves a target unwritten or a source unused, unless it was allowed; a tensor that does not fit
//          its target, always. A load that fails leaves the struct as it was.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/core/progress.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/binding.hpp>
#include <ckpt/state/load_report.hpp>
#include <ckpt/state/state_dict.hpp>

#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What a load may do. By default it is strict in both directions.
struct load_options {
    std::vector<pattern> allow_missing{};    ///< targets that may be missing: they keep their value
    std::vector<pattern> allow_unexpected{}; ///< keys of the state_dict that may have no target
    bool convert{false};                     ///< a `tensor_copy` converts other dtypes, as `tensor::copy_as` does
    bool digests{false};                     ///< adds the CRC-32 of the values to the report; reads all of them
    /// Gets the stored bytes of the tensors that are copied, and those of all loaded ones again where `digests` is set.
    /// A load that it stops fails with `cancelled`, which says what was not written.
    progress_callback progress{};
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
/// it; with the error of reading where the values of a copy cannot be read; and with `cancelled` where `progress` stops
/// it. It then leaves `model` as it was. A
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
template <class T>
result<load_report> load(const state_dict&&, T&, // views would outlive the file: load<T>(weights) keeps it open
                         const load_options& = {}) = delete;

template <class T> class loaded;
/// Makes a `T` and fills it, as the function above fills one that exists, and fails as that does. The result owns the
/// state_dict, which may be a temporary: `auto net = ckpt::load<model>(file.state_dict().value()).value();`
template <class T> [[nodiscard]] result<loaded<T>> load(const state_dict& weights, const load_options& options = {});

/// A struct that was loaded, and the state_dict that views in it borrow from: they are valid as long as this object or
/// a copy of it, also after it was moved. Copying it copies the struct, and shares the file.
template <class T> class loaded {
  public:
    [[nodiscard]] T& operator*() & noexcept CKPT_DETAIL_BORROWED { return model_; }
    [[nodiscard]] const T& operator*() const& noexcept CKPT_DETAIL_BORROWED { return model_; }
    const T& operator*() const&& = delete; // the file would close: name the loaded<T> first
    [[nodiscard]] T* operator->() & noexcept CKPT_DETAIL_BORROWED { return &model_; }
    [[nodiscard]] const T* operator->() const& noexcept CKPT_DETAIL_BORROWED { return &model_; }
    const T* operator->() const&& = delete; // the file would close: name the loaded<T> first

    /// The report of the load.
    [[nodiscard]] const load_report& report() const& noexcept CKPT_DETAIL_BORROWED { return report_; }
    const load_report& report() const&& = delete; // it goes with it: name the loaded<T> first
    /// The state_dict that the struct was loaded from. A copy of it keeps the file open, too.
    [[nodiscard]] const state_dict& weights() const& noexcept CKPT_DETAIL_BORROWED { return weights_; }
    const state_dict& weights() const&& = delete; // it goes with it: name the loaded<T> first

  private:
    template <class U> friend result<loaded<U>> load(const state_dict& weights, const load_options& options);
    explicit loaded(const state_dict& weights) : weights_{weights} {}

    state_dict weights_;
    load_report report_{};
    T model_{};
};

template <class T> result<loaded<T>> load(const state_dict& weights, const load_options& options) {
    detail::check_model<T>();
    loaded<T> out{weights};
    auto report = load(weights, out.model_, options);
    if (!report) return std::move(report).failure();
    out.report_ = *std::move(report);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/load.ipp>
#endif
