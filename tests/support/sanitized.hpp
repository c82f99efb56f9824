// tests/support/sanitized.hpp: whether a sanitizer makes everything slower and larger.
//
// SPDX-License-Identifier: MIT
#pragma once

namespace test_support {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool address_sanitized = true;
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
inline constexpr bool address_sanitized = __has_feature(address_sanitizer);
inline constexpr bool sanitized = __has_feature(address_sanitizer) || __has_feature(memory_sanitizer);
#else
inline constexpr bool address_sanitized = false;
inline constexpr bool sanitized = false;
#endif

/// Sanitizers make everything some ten times as slow: a test that tries many of one kind tries one of so many there.
inline constexpr int one_of = sanitized ? 3 : 1;
inline constexpr int one_of_many = one_of * one_of; // where it would take ten seconds all the same

} // namespace test_support
