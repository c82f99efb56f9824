// ckpt/core/progress.hpp: how far a call has come, and a way to stop it.
//
// SPDX-License-Identifier: MIT
// In:      a function of the program's.
// Out:     one type for all calls that read much: loads, checks, digests, comparisons, uploads.
// Refuses: at compile time, a temporary as callback.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>
#include <type_traits>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How far a call has come. `done` never goes back, and is `total` in the last call of one that reads everything.
struct progress {
    std::uint64_t done{};  ///< bytes that are through; each function says of what
    std::uint64_t total{}; ///< bytes when all is through
};

/// A reference to a function `bool(const progress&)` or to an object with such a call operator, which must exist while
/// the call runs that it is given to; a temporary object does not compile. It is called about once for 4 MiB, or for a
/// larger piece that is read at once, only by the thread that made the call. Where it returns false, it is not called
/// again, and the call ends with `cancelled`.
class progress_callback {
  public:
    progress_callback() noexcept = default;
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, progress_callback> &&
                 std::is_invocable_r_v<bool, F&, const progress&> &&
                 (std::is_lvalue_reference_v<F> || std::is_convertible_v<F, bool (*)(const progress&)>))
    progress_callback(F&& f) noexcept {
        if constexpr (std::is_convertible_v<F, bool (*)(const progress&)>) {
            function_ = f;
        } else {
            object_ = const_cast<void*>(static_cast<const void*>(&f));
            call_ = [](void* object, const progress& p) -> bool {
                return (*static_cast<std::remove_reference_t<F>*>(object))(p);
            };
        }
    }
    /// Calls the function; true where there is none.
    [[nodiscard]] bool operator()(const progress& p) const {
        if (function_ != nullptr) return function_(p);
        return call_ == nullptr || call_(object_, p);
    }

  private:
    bool (*function_)(const progress&){nullptr};
    void* object_{nullptr};
    bool (*call_)(void*, const progress&){nullptr};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
