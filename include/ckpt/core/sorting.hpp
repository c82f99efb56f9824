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

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Which of two elements, told by their numbers, comes first. Borrows the function that it is made of.
class index_order {
  public:
    template <class Before>
    index_order(const Before& before) noexcept
        : context_{&before}, call_{[](const void* context, std::uint32_t a, std::uint32_t b) -> bool {
              return (*static_cast<const Before*>(context))(a, b);
          }} {}
    [[nodiscard]] bool operator()(std::uint32_t a, std::uint32_t b) const { return call_(context_, a, b); }

  private:
    const void* context_;
    bool (*call_)(const void*, std::uint32_t, std::uint32_t);
};

/// Sorts numbers of elements; equal elements stand in the order of their numbers.
void sort_indices(std::span<std::uint32_t> numbers, const index_order& before);

/// The numbers 0 to count - 1, sorted.
[[nodiscard]] std::vector<std::uint32_t> sorted_indices(std::size_t count, const index_order& before);

/// Sorts a list by `before(x, y)`; equal elements keep their places.
template <class T, class Before> void sort_values(std::vector<T>& list, const Before& before) {
    const auto by_number = [&](std::uint32_t a, std::uint32_t b) { return before(list[a], list[b]); };
    const std::vector<std::uint32_t> order = sorted_indices(list.size(), by_number);
    std::vector<T> sorted;
    sorted.reserve(list.size());
    for (const std::uint32_t i : order) sorted.push_back(std::move(list[i]));
    list = std::move(sorted);
}
template <class T> void sort_values(std::vector<T>& list) {
    sort_values(list, [](const T& a, const T& b) { return a < b; });
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/sorting.ipp>
#endif
