// ckpt/gpu/impl/upload_effort.ipp: the definitions of upload_effort.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/gpu/upload_effort.hpp>
#include <ckpt/io/residency.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether the system's cache has less than half of the files that a plan reads, as far as it says so.
inline bool is_cold(const upload_plan_data& plan) {
    constexpr std::uint64_t worthwhile = std::uint64_t{64} << 20;
    constexpr std::uint64_t places = 64;
    if (plan.read_bytes < worthwhile) return false;
    const std::uint64_t apart = plan.read_bytes / places;
    std::uint64_t cached = 0, known = 0, passed = 0, next = apart / 2;
    for (const byte_run& run : plan.runs) {
        for (; next - passed < run.end - run.begin; next += apart) {
            if (run.in == nullptr) continue;
            const auto is_there = is_resident(*run.in, run.begin + (next - passed));
            if (!is_there) continue;
            ++known;
            cached += *is_there ? 1U : 0U;
        }
        passed += run.end - run.begin;
    }
    return cached * 2 < known;
}

CKPT_DETAIL_RARE upload_effort choose_effort(const upload_plan_data& plan, const wanted_effort& wanted,
                                             unsigned cores) {
    upload_effort out;
    out.source = wanted.source ? *wanted.source : is_cold(plan) ? upload_source::direct : upload_source::buffered;
    const unsigned most = plan.built_bytes > plan.read_bytes / 8 ? 16 : 8;
    out.readers = wanted.readers.value_or(cores > 2 ? (std::min)(cores - 1, most) : 1);
    out.slots = wanted.slots.value_or(2 * out.readers + 2);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
