// ckpt/state/push.hpp: copies tensors into memory of the caller's.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict; places in memory, by key or from a visitor.
// Out:     the values in these places, row-major, in this machine's byte order, converted where `convert` is set; a
//          report.
// Refuses: what `load` refuses, and places of the wrong size, all before the first byte is written.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/load.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Memory for one tensor. Borrows all members.
struct destination {
    std::string_view key{};
    ckpt::dtype dtype{};
    std::span<const std::int64_t> shape{}; ///< the sizes that the tensor must have; `any` for every size
    std::span<std::byte> bytes{};          ///< exactly as many bytes as the elements of type `dtype` take
};

/// A tensor that `push` offers. Borrows from the state_dict.
struct offered_tensor {
    std::string_view key{};
    ckpt::dtype dtype{};
    std::span<const std::int64_t> shape{};
    std::uint64_t nbytes{};              ///< of its elements in its own dtype
    const ckpt::error* refusal{nullptr}; ///< not null for a tensor that cannot be read
};

/// The memory for an offered tensor, and the dtype in which its elements are written.
struct sink {
    ckpt::dtype dtype{};
    std::span<std::byte> bytes{};
};

namespace detail {

struct place_target {
    load_target target{};
    std::byte* out{nullptr};
};

[[nodiscard]] place_target make_place(const state_dict& weights, std::string_view key,
                                      std::span<const std::int64_t> sizes, ckpt::dtype type,
                                      std::span<std::byte> bytes);

/// Judges all places, then writes all of them.
[[nodiscard]] result<load_report> write_places(const state_dict& weights, std::span<place_target> places,
                                               const load_options& options);

} // namespace detail

/// Copies tensors into `places`, by key. Fails as `load` does, with nothing written; where the file cannot be read, a
/// value does not fit its new type, or `progress` stops it, some places may have been written already. The message of
/// `cancelled` says which were not.
[[nodiscard]] result<load_report> load_into(const state_dict& weights, std::span<const destination> places,
                                            const load_options& options = {});

/// Calls `visitor(offered_tensor)` for each tensor in the file's order; it returns a `sink`, or `std::nullopt` to skip
/// the tensor, which then is unexpected. After all calls, copies the values into the sinks, which must not overlap.
/// Fails as `load_into` does.
template <class Visitor>
[[nodiscard]] result<load_report> push(const state_dict& weights, Visitor&& visitor, const load_options& options = {}) {
    std::vector<detail::place_target> targets;
    for (const auto entry : weights) {
        const tensor& t = entry.tensor;
        const std::optional<sink> answer =
            visitor(offered_tensor{entry.key, t.dtype(), t.shape(), t.nbytes(), t.refusal()});
        if (answer) targets.push_back(detail::make_place(weights, entry.key, t.shape(), answer->dtype, answer->bytes));
    }
    return detail::write_places(weights, targets, options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/push.ipp>
#endif
