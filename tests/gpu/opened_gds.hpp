// tests/gpu/opened_gds.hpp: GPUDirect Storage on its double, in containers, too.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/cuda_gds.hpp>

/// `ckpt::cuda::gds()` where the kernel's modules can be read, which is not so in every container.
inline ckpt::cuda::gds_driver opened_gds() { return ckpt::detail::gds_access::open("/proc/self/maps"); }
