// ckpt/core/sorting.hpp: sorting that is compiled once, whatever is sorted.
//
// SPDX-License-Identifier: MIT
// In:      how many elements there are, and which of two comes first.
// Out:     their numbers in order; equal elements keep their places.
// Refuses: nothing.
//
// Every std::sort is some five kilobytes of code and a quarter of a second of compiling. Here only the comparison is
// compiled for each use, and called through a pointer: for lists that are not on the way of every tensor.
#pragma once

#include <ckpt/core/function_ref.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Which of two elements, told by their numbers, comes first.
using index_order = function_ref<bool(std::uint32_t, std::uint32_t)>;

/// Sorts numbers of elements; equal elements stand in the order of their numbers.
void sort_indices(std::span<std::uint32_t> numbers, const index_order& before);

/// The numbers 0 to count - 1, sorted.
[[nodiscard]] std::vector<std::uint32_t> sorted_indices(std::size_t count, const index_order& before);

/// Sorts a std::vector or a plain_list by `before(x, y)`; equal elements keep their places.
template <class List, class Before> CKPT_DETAIL_COLD void sort_values(List& list, const Before& before) {
    const auto by_number = [&](std::uint32_t a, std::uint32_t b) { return before(list[a], list[b]); };
    const std::vector<std::uint32_t> order = sorted_indices(list.size(), by_number);
    List sorted;
    sorted.reserve(list.size());
    for (const std::uint32_t i : order) sorted.push_back(std::move(list[i]));
    list = std::move(sorted);
}
template <class List> void sort_values(List& list) {
    sort_values(list, [](const auto& a, const auto& b) { return a < b; });
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/sorting.ipp>
#endif
