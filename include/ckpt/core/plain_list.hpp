// ckpt/core/plain_list.hpp: a list of elements that may be copied as bytes.
//
// SPDX-License-Identifier: MIT
// In:      elements without destructors: numbers, pointers, views, structs of those.
// Out:     what std::vector has of the same name, and `shrink`.
// Refuses: nothing; `std::bad_alloc` passes through.
//
// Each std::vector<T> costs a compiler 2 MB and 30 ms. Here everything that takes memory is compiled once for all
// elements.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <new>
#include <type_traits>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Bytes that grow at their end.
class plain_memory {
  public:
    plain_memory() noexcept = default;
    plain_memory(const plain_memory& other);
    plain_memory(plain_memory&& other) noexcept;
    plain_memory& operator=(plain_memory other) noexcept;
    ~plain_memory();

  protected:
    /// Makes room for `bytes` more than are used, for twice as much as there was at least.
    void grow(std::size_t bytes);
    /// Makes room and copies `bytes` of a value to the end. The value may be an element.
    void append_grown(const void* value, std::size_t bytes);

    /// The same bytes in larger memory.
    [[nodiscard]] plain_memory larger(std::size_t bytes) const;

    std::byte* first_{nullptr};
    std::byte* last_{nullptr}; // behind what is used
    std::byte* end_{nullptr};
};

/// A list; `T*` is its iterator. What moves elements makes pointers to them invalid, as in a std::vector.
template <class T> class plain_list : public plain_memory {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

  public:
    using value_type = T;

    [[nodiscard]] T* data() noexcept { return reinterpret_cast<T*>(first_); }
    [[nodiscard]] const T* data() const noexcept { return reinterpret_cast<const T*>(first_); }
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(last_ - first_) / sizeof(T); }
    [[nodiscard]] std::size_t capacity() const noexcept { return static_cast<std::size_t>(end_ - first_) / sizeof(T); }
    [[nodiscard]] bool empty() const noexcept { return first_ == last_; }

    [[nodiscard]] T* begin() noexcept { return data(); }
    [[nodiscard]] const T* begin() const noexcept { return data(); }
    [[nodiscard]] T* end() noexcept { return reinterpret_cast<T*>(last_); }
    [[nodiscard]] const T* end() const noexcept { return reinterpret_cast<const T*>(last_); }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return data()[i]; }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return data()[i]; }
    [[nodiscard]] T& front() noexcept { return *begin(); }
    [[nodiscard]] const T& front() const noexcept { return *begin(); }
    [[nodiscard]] T& back() noexcept { return end()[-1]; }
    [[nodiscard]] const T& back() const noexcept { return end()[-1]; }

    void push_back(const T& value) {
        if (static_cast<std::size_t>(end_ - last_) < sizeof(T)) return append_grown(&value, sizeof(T));
        ::new (static_cast<void*>(last_)) T(value);
        last_ += sizeof(T);
    }
    T& emplace_back() {
        push_back(T{});
        return back();
    }
    void pop_back() noexcept { last_ -= sizeof(T); }
    void clear() noexcept { last_ = first_; }
    /// Drops all elements but the first `count`.
    void shrink(std::size_t count) noexcept { last_ = first_ + count * sizeof(T); }
    /// Room for `count` elements in all.
    void reserve(std::size_t count) {
        if (count > capacity()) grow((count - size()) * sizeof(T));
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/plain_list.ipp>
#endif
