// ckpt/core/shared.hpp: shared ownership without <memory>.
//
// SPDX-License-Identifier: MIT
// In:      an object that derives from `counted`.
// Out:     `shared<T>`, a handle that is cheap to copy; the last one deletes the object. Safe across threads.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <atomic>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A reference count. The destructor is virtual so that a layer can own what a higher layer made.
class counted {
  public:
    counted() noexcept = default;
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    virtual ~counted() = default;

    void retain() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
    void release() const noexcept {
        if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

  private:
    mutable std::atomic<std::uint32_t> count_{0};
};

/// A handle to a counted object, or nothing.
template <class T> class shared {
  public:
    constexpr shared() noexcept = default;
    explicit shared(T* object) noexcept : object_{object} {
        if (object_ != nullptr) object_->retain();
    }
    constexpr shared(const shared& other) noexcept : object_{other.object_} {
        if (object_ != nullptr) object_->retain();
    }
    constexpr shared(shared&& other) noexcept : object_{std::exchange(other.object_, nullptr)} {}
    template <class U>
        requires std::is_convertible_v<U*, T*>
    shared(const shared<U>& other) noexcept : shared{other.get()} {}
    shared& operator=(shared other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    constexpr ~shared() {
        if (object_ != nullptr) object_->release();
    }

    [[nodiscard]] T* get() const noexcept { return object_; }
    [[nodiscard]] T& operator*() const noexcept { return *object_; }
    [[nodiscard]] T* operator->() const noexcept { return object_; }
    [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }

  private:
    T* object_{nullptr};
};

template <class T, class... Args> [[nodiscard]] shared<T> make_shared(Args&&... args) {
    return shared<T>{new T(std::forward<Args>(args)...)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
