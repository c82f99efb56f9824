// ckpt/core/impl/progress_meter.ipp: the definitions of progress_meter.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/progress_meter.hpp>
#include <ckpt/core/str_cat.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE bool progress_meter::add(std::uint64_t bytes) {
    done_ = bytes < end_ - done_ ? done_ + bytes : end_;
    // The last call is left to `finish`: what follows the last byte may still fail.
    if (stopped_ || done_ - told_ < step || done_ == total_) return !stopped_;
    told_ = done_;
    stopped_ = !tell_({done_, total_});
    return !stopped_;
}

CKPT_DETAIL_RARE bool progress_meter::finish() {
    done_ = end_;
    if (stopped_ || told_ == done_ || (done_ - told_ < step && done_ != total_)) return !stopped_;
    told_ = done_;
    stopped_ = !tell_({done_, total_});
    return !stopped_;
}

CKPT_DETAIL_RARE error progress_meter::stopped() const {
    return {.code = errc::cancelled,
            .detail = str_cat("the progress callback said so after ", told_, " of ", total_, " bytes")};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
