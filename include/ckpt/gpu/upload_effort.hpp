// ckpt/gpu/upload_effort.hpp: how a plan is read where the caller leaves it open.
//
// SPDX-License-Identifier: MIT
// In:      a plan, what the caller chose, the cores of this process.
// Out:     a way to read, how many threads read, how many slots they fill.
// Refuses: nothing.
#pragma once

#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/upload_types.hpp>

#include <cstdint>
#include <optional>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What the caller chose; nothing where it is left open.
struct wanted_effort {
    std::optional<upload_source> source{};
    std::optional<unsigned> readers{};
    std::optional<unsigned> slots{};
};

struct upload_effort {
    upload_source source{};
    unsigned readers{};
    unsigned slots{};
};

/// What is left open becomes:
/// - `source`: `direct` for 64 MiB and more of files of which the system's cache has less than half; else `buffered`.
///   64 places are looked at, evenly over all that is read.
/// - `readers`: one for each core but the one that issues; at most 8, which fill the memory's bandwidth, and at most 16
///   where the host builds or converts, which is bound by cores; at least one.
/// - `slots`: two for each reader and two more, so that all can be filled while others are copied.
[[nodiscard]] upload_effort choose_effort(const upload_plan_data& plan, const wanted_effort& wanted, unsigned cores);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/upload_effort.ipp>
#endif
