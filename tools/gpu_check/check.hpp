// tools/gpu_check/check.hpp: what the parts of gpu_check share.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/cuda.hpp>

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

namespace gpu_check {

inline constexpr std::uint64_t mib = std::uint64_t{1} << 20;

// ---- the checks; each returns the exit code of the program

/// Writes the checkpoints of the checks: shapes of a llama, `gib` GiB as float32, half of that as bfloat16, 20,000
/// small tensors, and files whose data begins at 0 and at 8 modulo 16.
int make_files(const std::string& folder, double gib);
/// Uploads every state_dict below the paths in each layout, source and cast, reads it back and compares it.
int verify(std::span<const std::string> paths);
/// Suspicions that only a device settles. A line each, which begins with FOUND where one is true.
int probe(const std::string& file);
/// Rates beside their limits: a JSON object a line.
int bench(const std::string& f32, const std::string& bf16, const std::string& small);

// ---- tools

/// `ckpt::cuda::kernels()`, which nvcc compiles.
const ckpt::device_kernels* device_kernels();

/// What was compared so far.
struct tally {
    std::size_t passed{};
    std::size_t failed{};
    std::size_t refused{}; ///< state_dicts that have no values
    std::size_t parts{};   ///< tensors that are parts of others, or have several elements to a byte
};
/// Reads the tensors of a target back and compares them with the file. Prints a line for each that differs.
void compare(const ckpt::cuda::device_tensors& there, const ckpt::state_dict& from, const std::string& what,
             tally& so_far, std::size_t target = 0);

/// Ends the program where a call of the runtime failed.
inline void must(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    std::printf("%s: %s\n", what, cudaGetErrorString(status));
    std::exit(3);
}

inline double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

} // namespace gpu_check
