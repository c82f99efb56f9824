// ckpt/state/impl/gather_region.ipp: the definitions of gather_region.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/gather_region.hpp>
#include <ckpt/tensor/strided.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::uint64_t gather_region::count() const noexcept {
    std::uint64_t n = 1;
    for (std::uint32_t i = 0; i < rank; ++i) n *= size[i];
    return n;
}

CKPT_DETAIL_RARE bool gather_region::is_dense() const noexcept {
    std::uint64_t expected = 1;
    for (std::uint32_t i = rank; i-- > 0;) {
        if (size[i] != 1 && stride[i] != expected) return false;
        expected *= size[i];
    }
    return true;
}

CKPT_DETAIL_RARE void gather_region::make_dense() noexcept {
    std::uint64_t step = 1;
    for (std::uint32_t i = rank; i-- > 0;) {
        stride[i] = step;
        step *= size[i];
    }
}

CKPT_DETAIL_RARE void scatter(const gather_region& region, std::size_t size, const std::byte* in, std::byte* out,
                              const gather_region& whole) noexcept {
    std::array<copy_axis, 64> axes{};
    gather_region dense = region;
    dense.make_dense();
    for (std::uint32_t i = 0; i < region.rank; ++i) axes[i] = {region.size[i], dense.stride[i], region.stride[i]};
    copy_axes({axes.data(), region.rank}, size, in, out, whole.count() * size);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
