// ckpt/core/callback.hpp: a function of the program's, for the options of a call.
//
// SPDX-License-Identifier: MIT
// In:      a function, or an object with a call operator that exists while the call runs.
// Out:     one type for all of them; without one, a call that says yes.
// Refuses: at compile time, a temporary object.
#pragma once

#include <ckpt/core/config.hpp>

#include <type_traits>

namespace ckpt::inline CKPT_DETAIL_ABI {

template <class Signature> class callback;

/// A reference to a function `R(const T&)` or to an object with such a call operator, which must exist while the call
/// runs that it is given to; a temporary object does not compile.
template <class R, class T> class callback<R(const T&)> {
  public:
    callback() noexcept = default;
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, callback> && std::is_invocable_r_v<R, F&, const T&> &&
                 (std::is_lvalue_reference_v<F> || std::is_convertible_v<F, R (*)(const T&)>))
    callback(F&& f) noexcept {
        if constexpr (std::is_convertible_v<F, R (*)(const T&)>) {
            function_ = f;
        } else {
            object_ = const_cast<void*>(static_cast<const void*>(&f));
            call_ = [](void* object, const T& x) -> R {
                return (*static_cast<std::remove_reference_t<F>*>(object))(x);
            };
        }
    }
    /// Calls the function. Where there is none: true, or the result of a success.
    [[nodiscard]] R operator()(const T& x) const {
        if (function_ != nullptr) return function_(x);
        if (call_ != nullptr) return call_(object_, x);
        if constexpr (std::is_same_v<R, bool>) return true;
        else return R{};
    }

  private:
    R (*function_)(const T&){nullptr};
    void* object_{nullptr};
    R (*call_)(void*, const T&){nullptr};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
