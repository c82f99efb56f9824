// tests/support/processor_time.hpp: a guard against work that is out of proportion.
//
// SPDX-License-Identifier: MIT
#pragma once

#include "sanitized.hpp"

#include <doctest/doctest.h>

#include <ctime>

namespace test_support {

/// Seconds of processor time of this process: other programs on the machine do not change them.
class processor_time {
  public:
    [[nodiscard]] double seconds() const noexcept {
        return static_cast<double>(std::clock() - start_) / CLOCKS_PER_SEC;
    }

  private:
    std::clock_t start_{std::clock()};
};

/// The bound is for a machine of any age. A sanitizer makes everything slower.
[[nodiscard]] constexpr double bound_of(double seconds) noexcept { return sanitized ? 12 * seconds : seconds; }

/// Checks at its end that less processor time has passed.
class ends_soon {
  public:
    explicit ends_soon(double seconds) : most_{bound_of(seconds)} {}
    ends_soon(const ends_soon&) = delete;
    ends_soon& operator=(const ends_soon&) = delete;
    ~ends_soon() { CHECK(passed_.seconds() < most_); }

  private:
    double most_;
    processor_time passed_{};
};

} // namespace test_support
