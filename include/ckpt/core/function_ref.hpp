// ckpt/core/function_ref.hpp: a function that is called through a pointer.
//
// SPDX-License-Identifier: MIT
// In:      a lambda that lives as long as the call which it is passed to.
// Out:     one type for all lambdas, so that what calls them is compiled once.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

template <class Signature> class function_ref;

/// Borrows the function that it is made of: for parameters, never for members that stay.
template <class R, class... Args> class function_ref<R(Args...)> {
  public:
    template <class F>
    function_ref(const F& function) noexcept
        : function_{&function}, call_{[](const void* f, Args... args) -> R {
              return (*static_cast<const F*>(f))(std::forward<Args>(args)...);
          }} {}
    R operator()(Args... args) const { return call_(function_, std::forward<Args>(args)...); }

  private:
    const void* function_;
    R (*call_)(const void*, Args...);
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
