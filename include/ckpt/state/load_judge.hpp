// ckpt/state/load_judge.hpp: whether tensors fit what is asked of them, and the report of it.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, targets, what may be missing or unexpected.
// Out:     the outcome of each target, copies of values, a report.
// Refuses: copies that would need far more memory than the storages that they read.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/binding.hpp>
#include <ckpt/state/load_report.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/state/state_dict_data.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

struct load_options; // state/load.hpp

namespace detail {

struct load_fit {
    const std::byte* address{nullptr};
    std::size_t bytes{0};
};

[[nodiscard]] bool sizes_fit(std::span<const std::int64_t> want, std::span<const std::int64_t> got) noexcept;

/// Whether a target can take a tensor. Reads no values.
[[nodiscard]] result<load_fit> fit(const tensor& from, const target_type& want, bool convert);

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

    void place(error& failure, std::string_view key) const { data_->place(failure, key); }

    /// The keys that no pattern matches.
    [[nodiscard]] static std::vector<std::string_view> not_allowed(std::span<const std::string> keys,
                                                                   const std::vector<pattern>& allowed);

  private:
    static constexpr std::size_t most_hints = 8;

    [[nodiscard]] std::size_t index(const load_target& t) const noexcept {
        return static_cast<std::size_t>(t.found - data_->entries.data());
    }
    [[nodiscard]] static std::vector<std::int64_t> wanted_sizes(const load_target& t);
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

/// What of a report is not as it was asked for: counts and the first keys.
[[nodiscard]] std::string incomplete_text(const load_report& report, const std::vector<pattern>& allow_missing,
                                          const std::vector<pattern>& allow_unexpected);
/// The error of a load whose report is not as it was asked for.
[[nodiscard]] error incomplete_error(const load_report& report, const load_options& options,
                                     const state_dict_data& weights);

/// Sets the checksum of a loaded tensor; left out where the tensor has none by its nature.
[[nodiscard]] result<void> add_digest(const tensor& from, loaded_tensor& to, storage_readers& readers);

/// A load between its two halves that depend on the user's types. Targets, options and weights outlive it.
class load_job {
  public:
    load_job(target_list& targets, const state_dict& weights, const load_options& options);

    /// Judges all targets.
    [[nodiscard]] load_report plan();
    /// Judges all targets and makes all copies, so that nothing is left that can fail.
    [[nodiscard]] result<load_report> prepare();

  private:
    [[nodiscard]] error at(const load_target& t, error e) const;
    /// What a target adds to the total of the progress.
    [[nodiscard]] std::uint64_t bytes_to_read(const load_target& t) const noexcept;
    [[nodiscard]] static bool is_copy(const load_target& t) noexcept;
    /// Bytes that all copies together may take: tensors of a small file can share one storage a million times.
    [[nodiscard]] std::uint64_t copy_budget() const;

    target_list& targets_;
    load_judge judge_;
    const load_options* options_;
    const state_dict_data* data_;
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/load_judge.ipp>
#endif
