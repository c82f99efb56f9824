// tests/gpu/gpu_check.cpp: tools/gpu_check on the double of the runtime: its kernels' bodies.
//
// SPDX-License-Identifier: MIT
#include "library_kernels.hpp"

namespace {

const bool ready = [] {
    implement_library_kernels();
    return true;
}();

} // namespace
