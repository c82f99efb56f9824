// ckpt/state/load.hpp: fills a struct from a state_dict.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, a struct with a `binding`, what may be missing or unexpected.
// Out:     the struct, filled, and a report; or the report alone, as a plan.
// Refuses: a load that leaves a target unwritten or a source unused, unless it was allowed; a tensor that does not fit
// its
//          target, always. A load that fails leaves the struct as it was.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/binding.hpp>
#include <ckpt/state/lineage.hpp>
#include <ckpt/state/load_report.hpp>
#include <ckpt/state/nearest.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/copy.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What a load may do. By default it is strict in both directions.
struct load_options {
    std::vector<pattern> allow_missing{};    ///< targets that may stay as they are
    std::vector<pattern> allow_unexpected{}; ///< keys of the state_dict that no target needs to ask for
    bool casts{false};                       ///< a `tensor_copy` converts other dtypes, as `tensor::copy_as` does
    bool digests{false};                     ///< the report has the CRC-32 of the values: all of them are read
};

namespace detail {

struct load_fit {
    const std::byte* address{nullptr};
    std::size_t bytes{0};
};

[[nodiscard]] bool sizes_fit(std::span<const std::int64_t> want, std::span<const std::int64_t> got) noexcept;

/// Whether a target can take a tensor. Reads no values.
[[nodiscard]] result<load_fit> fit(const tensor& from, const target_type& want, bool casts);

/// Why a tensor does not fit, for a report: what was seen, and what would take it.
[[nodiscard]] std::string why_not(const error& e, const target_type& want, ckpt::dtype got);

/// Judges targets one by one and writes the report. Work is linear in targets and keys, but for sorting.
class load_judge {
  public:
    load_judge(const state_dict& weights, const load_options& options)
        : data_{state_dict_access::data(weights).get()}, options_{&options}, asked_(data_->entries.size(), char{0}) {}

    /// Sets the outcome of a target and notes it. The error, where there is one, is for callers that hand it on.
    [[nodiscard]] result<void> judge(load_target& t);
    /// The same for a target that does not fit for a reason of its caller's.
    void mismatch(load_target& t, std::string why);
    void absent(std::string key) { report_.absent.push_back(std::move(key)); }

    /// The whole report, once every target was judged.
    [[nodiscard]] load_report finish();

    [[nodiscard]] std::string where(std::string_view key) const { return data_->where(key); }

    /// The keys that no pattern matches.
    [[nodiscard]] static std::vector<std::string_view> not_allowed(std::span<const std::string> keys,
                                                                   const std::vector<pattern>& allowed);

  private:
    static constexpr std::size_t most_hints = 8;

    [[nodiscard]] std::size_t index(const load_target& t) const noexcept {
        return static_cast<std::size_t>(t.found - data_->entries.data());
    }
    [[nodiscard]] static std::vector<std::int64_t> wanted_sizes(const target_type& type);
    [[nodiscard]] const state_dict_data::other* find_other(std::string_view key);
    void accept(load_target& t);

    /// Fills `used` and `dropped`: keys of the file, each once.
    void list_sources();

    /// For one missing key, the unexpected keys that are near it: those of the wanted shape first, then by spelling.
    void add_hint(const std::string& key, const std::vector<std::int64_t>& sizes);

    const state_dict_data* data_;
    const load_options* options_;
    std::vector<char> asked_;
    std::vector<const state_dict_data::other*> others_{};
    std::vector<std::vector<std::int64_t>> missing_types_{};
    std::size_t comparisons_left_{40'000}; // a hint is not worth more than some tens of milliseconds
    load_report report_{};
};

/// The error of a report that is not as it was asked for: counts and the first keys.
[[nodiscard]] error incomplete_error(const load_report& report, const load_options& options, std::string path);

/// Sets the checksum of a loaded tensor; left out where the tensor has none by its nature.
[[nodiscard]] result<void> add_digest(const tensor& from, loaded_tensor& to);

/// A load between its two halves that depend on the user's types. Options and weights outlive it.
class load_job {
  public:
    load_job(const state_dict& weights, const load_options& options);

    target_list targets;

    /// Judges all targets.
    [[nodiscard]] load_report plan();
    /// Judges all targets and makes all copies, so that nothing is left that can fail.
    [[nodiscard]] result<load_report> prepare();

  private:
    [[nodiscard]] error at(const load_target& t, error e) const;
    [[nodiscard]] static bool is_copy(const load_target& t) noexcept;
    /// Bytes that all copies together may take: tensors of a small file can share one storage a million times.
    [[nodiscard]] std::uint64_t copy_budget() const;

    load_judge judge_;
    const load_options* options_;
    const storage_source* source_;
    std::string path_;
};

} // namespace detail

/// What `load` would do. Never fails, reads no values and changes nothing: `loaded` are the targets that would be.
template <class T>
[[nodiscard]] load_report plan_load(const state_dict& weights, const T& /*model*/, const load_options& options = {}) {
    detail::check_model<T>();
    detail::load_job job{weights, options};
    detail::collect_targets<T, detail::no_shape>(job.targets);
    return job.plan();
}

/// Fills `model` from a state_dict, of which views and tensors in it then borrow: the state_dict must live on.
/// Fails with `load_incomplete` where a target is missing or mismatched, or a key is unexpected, and `options` does not
/// allow it; and with the error of reading where the values of a copy cannot be read. It then leaves `model` as it was.
/// A target that is missing and may be stays as it was; an optional that is absent is emptied; a vector gets its size.
/// (Where memory runs out while vectors grow, they may stay longer; tensors are written only after that.)
template <class T>
[[nodiscard]] result<load_report> load(const state_dict& weights, T& model, const load_options& options = {}) {
    detail::check_model<T>();
    detail::load_job job{weights, options};
    detail::collect_targets<T, detail::no_shape>(job.targets);
    auto report = job.prepare();
    if (!report) return report;
    for (const bool writes : {false, true}) {
        detail::target_reader reader{job.targets, writes};
        detail::assign_targets(model, reader);
    }
    return report;
}
/// What is loaded would borrow from a state_dict that is gone.
template <class T> result<load_report> load(const state_dict&&, T&, const load_options& = {}) = delete;

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/load.ipp>
#endif
