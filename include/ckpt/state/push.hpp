// ckpt/state/push.hpp: copies tensors into memory of the caller's, or hands them out in pieces.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict; places in memory, by key or from a visitor; or a function that takes rows.
// Out:     the values in these places, row-major, in this machine's byte order, converted where `convert` is set; a
//          report.
// Refuses: what `load` refuses, and places of the wrong size, all before the first byte is written.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/load.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Memory for one tensor. Borrows all members.
struct destination {
    std::string_view key{};
    ckpt::dtype dtype{};
    /// The sizes that the tensor must have; `any` for every size. Absent: every shape fits; an empty span is the shape
    /// of a scalar.
    std::optional<std::span<const std::int64_t>> shape{};
    std::span<std::byte> bytes{}; ///< exactly as many bytes as the elements of type `dtype` take
};

/// A tensor that `push` offers. Borrows from the state_dict.
struct offered_tensor {
    std::string_view key{};
    ckpt::dtype dtype{};
    std::span<const std::int64_t> shape{};
    std::uint64_t nbytes{};              ///< of its elements in its own dtype
    const ckpt::error* refusal{nullptr}; ///< not null for a tensor that cannot be read
};

/// For `sink::rows`: the whole tensor at once.
inline constexpr std::uint64_t all_rows = ~std::uint64_t{0};

/// Where an offered tensor goes, and the dtype in which its elements are written.
struct sink {
    ckpt::dtype dtype{};
    std::span<std::byte> bytes{}; ///< exactly as many bytes as the elements of type `dtype` take
    /// The sizes that the tensor must have; `any` for every size. Absent: every shape fits.
    std::optional<std::vector<std::int64_t>> shape{};
    /// Not 0: the tensor is not written to `bytes`, but handed to the function for rows, at most so many rows at once.
    std::uint64_t rows{0};
};

/// Rows of a tensor for the function that takes them. A row is what one index of the first dimension leads to; a tensor
/// without dimensions is one row. Borrows from the state_dict; `bytes` is valid during the call only.
struct pushed_rows {
    std::string_view key{};
    ckpt::dtype dtype{};                   ///< of the elements, as the sink asked for them
    std::span<const std::int64_t> shape{}; ///< of the whole tensor
    std::uint64_t first{};                 ///< number of the first of these rows
    std::uint64_t count{};                 ///< number of these rows
    /// Their elements, row-major, from an address that is a multiple of 64: a block that is used for all tensors.
    std::span<const std::byte> bytes{};
};

namespace detail {

struct place_target {
    load_target target{};
    std::byte* out{nullptr};
    std::vector<std::int64_t> sizes{}; ///< that `target` asks for
    std::uint64_t rows{0};
};

[[nodiscard]] place_target make_place(const state_dict& weights, std::string_view key, sink to);

/// Takes rows for a function of the program's.
using rows_taker = result<void> (*)(void* context, const pushed_rows& rows);

/// Judges all places, then writes all of them, or has their rows taken.
[[nodiscard]] result<load_report> write_places(const state_dict& weights, std::span<place_target> places,
                                               const load_options& options, rows_taker take = nullptr,
                                               void* context = nullptr);

template <class Visitor>
[[nodiscard]] std::vector<place_target> places_from(const state_dict& weights, Visitor& visitor) {
    std::vector<place_target> out;
    for (const auto entry : weights) {
        const tensor& t = entry.tensor;
        std::optional<sink> answer = visitor(offered_tensor{entry.key, t.dtype(), t.shape(), t.nbytes(), t.refusal()});
        if (answer) out.push_back(make_place(weights, entry.key, *std::move(answer)));
    }
    return out;
}

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
    auto places = detail::places_from(weights, visitor);
    return detail::write_places(weights, places, options);
}

/// The same for destinations that are no memory of this process, or have another form than a tensor: a device's
/// buffers, tiles, quantised blocks. Tensors whose sink has `rows` are handed to `take(pushed_rows)`, converted to the
/// sink's dtype, a few rows at once and all rows in their order, one tensor after the other. `take` returns nothing, or
/// a `result<void>`, whose failure ends the call. Needs one block of memory for the largest rows that it hands out; a
/// tensor without elements is not handed out. Fails as `load_into` does, and with `load_incomplete` for values of more
/// than 16 times their storage's bytes plus 64 MiB.
template <class Visitor, class Take>
    requires std::invocable<Take&, const pushed_rows&>
[[nodiscard]] result<load_report> push(const state_dict& weights, Visitor&& visitor, Take&& take,
                                       const load_options& options = {}) {
    auto places = detail::places_from(weights, visitor);
    std::remove_reference_t<Take>* context = &take;
    const auto call = [](void* at, const pushed_rows& rows) -> result<void> {
        auto& function = **static_cast<std::remove_reference_t<Take>**>(at);
        if constexpr (std::is_void_v<decltype(function(rows))>) return function(rows), result<void>{};
        else return function(rows);
    };
    return detail::write_places(weights, places, options, call, &context);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/push.ipp>
#endif
