// tests/support/kept.hpp: a checkpoint that outlives the expression that opened it.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/checkpoint.hpp>

#include <deque>
#include <utility>

namespace test_support {

/// For values that are looked at in the same expression.
inline const ckpt::checkpoint& kept(ckpt::result<ckpt::checkpoint> opened) {
    static std::deque<ckpt::checkpoint> all;
    return all.emplace_back(std::move(opened).value());
}

} // namespace test_support
