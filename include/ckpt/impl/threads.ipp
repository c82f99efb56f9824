// ckpt/impl/threads.ipp: the definitions of threads.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/threads.hpp>

#include <algorithm>
#include <thread>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct joined_threads {
    std::vector<std::thread> all{};
    ~joined_threads() {
        for (std::thread& t : all) t.join();
    }
};

inline void run_in_threads(void*, unsigned count, void (*work)(void*, unsigned), void* argument) {
    joined_threads started;
    started.all.reserve(count);
#if CKPT_EXCEPTIONS
    try {
        for (unsigned i = 1; i < count; ++i) started.all.emplace_back(work, argument, i);
    } catch (...) { // the system starts no more of them
    }
#else
    for (unsigned i = 1; i < count; ++i) started.all.emplace_back(work, argument, i);
#endif
    work(argument, 0);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF workers threads(unsigned count) noexcept {
    if (count == 0) count = (std::max)(1u, std::thread::hardware_concurrency());
    return {count, detail::run_in_threads, nullptr};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
