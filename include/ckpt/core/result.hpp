// ckpt/core/result.hpp: a value or an error.
//
// SPDX-License-Identifier: MIT
// In:      a `T` or an `error`.
// Out:     the names and the meaning of std::expected, the same in every build.
// Refuses: `value()` of a failure throws `checkpoint_error`, or ends the program where exceptions are off.
//
// One deliberate difference: `value() &&` and `operator*() &&` return by value, so that a range-for over
// the value of a temporary is sound. `operator->` on a temporary is deleted for the same reason.
#pragma once

#include <ckpt/core/error.hpp>

#include <concepts>
#include <cstdio>
#include <exception>
#include <new>
#include <type_traits>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Thrown by `result::value()`; holds the whole error. `what()` is its message, and lives as long as the exception.
class checkpoint_error : public std::exception {
  public:
    explicit checkpoint_error(ckpt::error failure) : failure_{std::move(failure)}, text_{failure_.message()} {}
    [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }
    [[nodiscard]] const ckpt::error& error() const noexcept { return failure_; }

  private:
    ckpt::error failure_;
    std::string text_;
};

namespace detail {

/// The error of a failure whose own error was moved away.
[[nodiscard]] ckpt::error moved_from();

// Errors of results live on the heap. These make one, copy it (null stays null) and destroy it.
[[nodiscard]] ckpt::error* boxed(ckpt::error&& error);
[[nodiscard]] ckpt::error* copied(const ckpt::error* error);
void drop(ckpt::error* error) noexcept;

/// The only place of the library that throws; `failed` is null after a move.
[[noreturn]] inline void raise(const ckpt::error* failed) {
    const ckpt::error failure = failed != nullptr ? *failed : moved_from();
#if CKPT_EXCEPTIONS
    throw checkpoint_error{failure};
#else
    std::fprintf(stderr, "ckpt: %s\n", failure.message().c_str());
    std::terminate();
#endif
}

/// std::invoke of one argument, for `and_then` and `transform`, without <functional>.
template <class F, class T> constexpr decltype(auto) apply(F&& f, T&& value) {
    if constexpr (std::is_member_function_pointer_v<std::remove_cvref_t<F>>) return (std::forward<T>(value).*f)();
    else if constexpr (std::is_member_object_pointer_v<std::remove_cvref_t<F>>) return (std::forward<T>(value).*f);
    else return std::forward<F>(f)(std::forward<T>(value));
}

} // namespace detail

template <class T> class [[nodiscard]] result;

/// A failure on its way to a result. What `std::move(read).failure()` returns; it becomes a result of any type, and the
/// error stays where it is; or it becomes the error.
class failure {
  public:
    failure(ckpt::error error) : error_{detail::boxed(std::move(error))} {}
    failure(failure&& other) noexcept : error_{std::exchange(other.error_, nullptr)} {}
    failure& operator=(failure&&) = delete;
    ~failure() {
        if (error_ != nullptr) detail::drop(error_);
    }
    operator ckpt::error() && { return error_ != nullptr ? std::move(*error_) : detail::moved_from(); }

  private:
    template <class T> friend class result;
    explicit failure(ckpt::error* error) noexcept : error_{error} {}

    ckpt::error* error_; // null where the result had been moved from
};

/// Whether `T` is a `result`.
template <class T> inline constexpr bool is_result = false;
template <class T> inline constexpr bool is_result<result<T>> = true;

/// Either a `T` or an `error`. The error is kept on the heap, so a `result` costs little more than its `T`.
/// A failure that was moved from stays a failure without an error: it can be tested, copied, assigned and destroyed,
/// `value()` refuses it with errc::internal, and only `error()` must not be called.
template <class T> class [[nodiscard]] result {
    static_assert(std::is_object_v<T> && !std::is_same_v<std::remove_cv_t<T>, ckpt::error>);

  public:
    using value_type = T;

    // The constraint that rejects an error comes first: most functions return one, and compilers skip the others then.
    template <class U = T>
        requires(!std::is_same_v<std::remove_cvref_t<U>, ckpt::error>) &&
                    (!std::is_same_v<std::remove_cvref_t<U>, ckpt::failure>) &&
                    (!is_result<std::remove_cvref_t<U>>) && std::is_constructible_v<T, U&&>
    constexpr explicit(!std::is_convertible_v<U&&, T>) result(U&& value) : value_(std::forward<U>(value)), ok_{true} {}
    result(ckpt::error error) : error_{detail::boxed(std::move(error))}, ok_{false} {}
    result(ckpt::failure failed) noexcept : error_{std::exchange(failed.error_, nullptr)}, ok_{false} {}

    result(const result& other) : ok_{other.ok_} {
        if (ok_) ::new (static_cast<void*>(&value_)) T(other.value_);
        else error_ = detail::copied(other.error_);
    }
    result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_{other.ok_} {
        if (ok_) ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
        else error_ = std::exchange(other.error_, nullptr);
    }
    result& operator=(result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
        destroy();
        ok_ = other.ok_;
        if (ok_) ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
        else error_ = std::exchange(other.error_, nullptr);
        return *this;
    }
    ~result() { destroy(); }

    [[nodiscard]] bool has_value() const noexcept { return ok_; }
    [[nodiscard]] explicit operator bool() const noexcept { return ok_; }

    /// The value. Without one: throws `checkpoint_error`, or prints the error and ends the program where exceptions are
    /// off; whoever wants only that may ignore what it returns. A reference is valid as long as this object; of a
    /// temporary the value itself is returned.
    T& value() & {
        require();
        return value_;
    }
    const T& value() const& {
        require();
        return value_;
    }
    T value() && {
        require();
        return std::move(value_);
    }
    T value() const&& {
        require();
        return value_;
    }

    /// The value, unchecked: only where `has_value()`.
    [[nodiscard]] T& operator*() & noexcept { return value_; }
    [[nodiscard]] const T& operator*() const& noexcept { return value_; }
    [[nodiscard]] T operator*() && { return std::move(value_); }
    [[nodiscard]] T* operator->() & noexcept { return &value_; }
    [[nodiscard]] const T* operator->() const& noexcept { return &value_; }
    T* operator->() && = delete;            // the value goes with the result: name the result first
    const T* operator->() const&& = delete; // the value goes with the result: name the result first

    /// The error, unchecked: only where `has_value()` is false and the error was not moved away.
    [[nodiscard]] const ckpt::error& error() const& noexcept { return *error_; }
    [[nodiscard]] ckpt::error& error() & noexcept { return *error_; }
    [[nodiscard]] ckpt::error error() && { return std::move(*error_); }

    /// The error for a result of another type, where `has_value()` is false:
    /// `if (!read) return std::move(read).failure();`. Unlike `error()` it neither copies nor allocates.
    [[nodiscard]] ckpt::failure failure() && noexcept { return ckpt::failure{std::exchange(error_, nullptr)}; }

    /// The value, or `other` in place of an error.
    template <class U> [[nodiscard]] T value_or(U&& other) const& {
        return ok_ ? value_ : static_cast<T>(std::forward<U>(other));
    }
    template <class U> [[nodiscard]] T value_or(U&& other) && {
        return ok_ ? std::move(value_) : static_cast<T>(std::forward<U>(other));
    }

    /// Returns `next(value)`, which is a result, or this object's error. `next` may be a pointer to a member:
    /// `file.root().find("epoch").and_then(&ckpt::value::as_int)`.
    template <class F> [[nodiscard]] auto and_then(F&& next) const& -> std::invoke_result_t<F, const T&> {
        if (ok_) return detail::apply(std::forward<F>(next), value_);
        return copied_error();
    }
    template <class F> [[nodiscard]] auto and_then(F&& next) && -> std::invoke_result_t<F, T> {
        if (ok_) return detail::apply(std::forward<F>(next), std::move(value_));
        return take_failure();
    }
    /// Returns `next(value)`, which is a plain value, as a result; or this object's error. `next` may be a pointer to a
    /// member.
    template <class F>
    [[nodiscard]] auto transform(F&& next) const& -> result<std::remove_cvref_t<std::invoke_result_t<F, const T&>>> {
        if (ok_) return detail::apply(std::forward<F>(next), value_);
        return copied_error();
    }
    template <class F>
    [[nodiscard]] auto transform(F&& next) && -> result<std::remove_cvref_t<std::invoke_result_t<F, T>>> {
        if (ok_) return detail::apply(std::forward<F>(next), std::move(value_));
        return take_failure();
    }

  private:
    void require() const {
        if (!ok_) detail::raise(error_);
    }
    ckpt::error copied_error() const { return error_ != nullptr ? *error_ : detail::moved_from(); }
    ckpt::failure take_failure() {
        if (error_ == nullptr) error_ = detail::boxed(detail::moved_from());
        return std::move(*this).failure();
    }
    void destroy() noexcept {
        if (ok_) value_.~T();
        else if (error_ != nullptr) detail::drop(error_);
    }

    union {
        T value_;
        ckpt::error* error_;
    };
    bool ok_;
};

/// Success without a value, or an error.
template <> class [[nodiscard]] result<void> {
  public:
    using value_type = void;

    result() noexcept = default;
    result(ckpt::error error) : error_{detail::boxed(std::move(error))} {}
    result(ckpt::failure failed) noexcept : error_{std::exchange(failed.error_, nullptr)}, moved_{error_ == nullptr} {}
    result(const result& other) : error_{detail::copied(other.error_)}, moved_{other.moved_} {}
    result(result&& other) noexcept : error_{std::exchange(other.error_, nullptr)}, moved_{other.moved_} {
        other.moved_ = moved_ || error_ != nullptr;
    }
    result& operator=(result other) noexcept {
        std::swap(error_, other.error_);
        std::swap(moved_, other.moved_);
        return *this;
    }
    ~result() {
        if (error_ != nullptr) detail::drop(error_);
    }

    [[nodiscard]] bool has_value() const noexcept { return error_ == nullptr && !moved_; }
    [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }
    /// Throws or ends the program, as `result<T>::value()` does, where this is a failure.
    void value() const {
        if (!has_value()) detail::raise(error_);
    }
    [[nodiscard]] const ckpt::error& error() const& noexcept { return *error_; }
    [[nodiscard]] ckpt::error& error() & noexcept { return *error_; }
    [[nodiscard]] ckpt::error error() && { return std::move(*error_); }
    [[nodiscard]] ckpt::failure failure() && noexcept {
        moved_ = true;
        return ckpt::failure{std::exchange(error_, nullptr)};
    }

  private:
    ckpt::error* error_{nullptr};
    bool moved_{false}; // a failure whose error was moved out is still no success
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/result.ipp>
#endif
