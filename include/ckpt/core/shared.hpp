// ckpt/core/shared.hpp: shared ownership without <memory>.
//
// SPDX-License-Identifier: MIT
// In:      an object that derives from `counted`.
// Out:     `shared<T>`, a handle that is cheap to copy; the last one deletes the object. Safe across threads.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A reference count. The destructor is virtual, so that a lower layer can own objects of a higher layer's types.
class counted {
  public:
    counted() noexcept = default;
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    CKPT_DETAIL_DEF virtual ~counted();

    void retain() const noexcept;
    void release() const noexcept;

  private:
    mutable std::uint32_t count_{0}; // only ever touched by atomic operations
};

/// A handle to a counted object, or null. `T` may be incomplete except where the object is made or used, so a class can
/// hold, copy, move and destroy a handle to a type that is only declared.
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

    [[nodiscard]] T* get() const noexcept { return static_cast<T*>(object_); }
    [[nodiscard]] T& operator*() const noexcept { return *get(); }
    [[nodiscard]] T* operator->() const noexcept { return get(); }
    [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }

  private:
    counted* object_{nullptr};
};

template <class T, class... Args> [[nodiscard]] shared<T> make_shared(Args&&... args) {
    return shared<T>{new T(std::forward<Args>(args)...)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/shared.ipp>
#endif
