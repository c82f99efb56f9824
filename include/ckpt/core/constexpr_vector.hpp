// ckpt/core/constexpr_vector.hpp: a vector that also works in constant expressions.
//
// SPDX-License-Identifier: MIT
// In:      values of a type that can be default-constructed.
// Out:     a contiguous array of them, in the order of push_back.
// Refuses: nothing.
//
// std::vector is not constexpr in libc++ before 15, so a literal rule could not be checked there.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Unused capacity holds default-constructed values. Growing moves the elements and invalidates pointers.
template <class T> class constexpr_vector {
  public:
    constexpr constexpr_vector() noexcept = default;
    constexpr constexpr_vector(const constexpr_vector& other) : constexpr_vector() {
        grow_to(other.size_);
        for (const T& value : other) items_[size_++] = value;
    }
    constexpr constexpr_vector(constexpr_vector&& other) noexcept
        : items_{std::exchange(other.items_, nullptr)},
          size_{std::exchange(other.size_, 0)},
          capacity_{std::exchange(other.capacity_, 0)} {}
    constexpr constexpr_vector& operator=(const constexpr_vector& other) { return *this = constexpr_vector(other); }
    constexpr constexpr_vector& operator=(constexpr_vector&& other) noexcept {
        std::swap(items_, other.items_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        return *this;
    }
    constexpr ~constexpr_vector() { delete[] items_; }

    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
    [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] constexpr T* data() noexcept { return items_; }
    [[nodiscard]] constexpr const T* data() const noexcept { return items_; }
    [[nodiscard]] constexpr T* begin() noexcept { return items_; }
    [[nodiscard]] constexpr const T* begin() const noexcept { return items_; }
    [[nodiscard]] constexpr T* end() noexcept { return items_ + size_; }
    [[nodiscard]] constexpr const T* end() const noexcept { return items_ + size_; }
    [[nodiscard]] constexpr T& operator[](std::size_t i) noexcept { return items_[i]; }
    [[nodiscard]] constexpr const T& operator[](std::size_t i) const noexcept { return items_[i]; }
    [[nodiscard]] constexpr T& front() noexcept { return items_[0]; }
    [[nodiscard]] constexpr const T& front() const noexcept { return items_[0]; }
    [[nodiscard]] constexpr T& back() noexcept { return items_[size_ - 1]; }
    [[nodiscard]] constexpr const T& back() const noexcept { return items_[size_ - 1]; }

    constexpr void push_back(T value) {
        if (size_ == capacity_) grow_to(capacity_ == 0 ? 1 : 2 * capacity_);
        items_[size_++] = std::move(value);
    }

    /// Replaces all elements by `count` copies of `value`.
    constexpr void assign(std::size_t count, const T& value) {
        grow_to(count);
        for (std::size_t i = 0; i < count; ++i) items_[i] = value;
        size_ = count;
    }

  private:
    constexpr void grow_to(std::size_t capacity) {
        if (capacity <= capacity_) return;
        T* const larger = new T[capacity]{};
        for (std::size_t i = 0; i < size_; ++i) larger[i] = std::move(items_[i]);
        delete[] items_;
        items_ = larger;
        capacity_ = capacity;
    }

    T* items_{nullptr};
    std::size_t size_{0};
    std::size_t capacity_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
