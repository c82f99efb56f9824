// Passes tensors on a device to another translation unit: both must mean the same default stream.
#include <ckpt/cuda.hpp>

std::size_t count_uploaded(const ckpt::cuda::device_tensors& tensors);

std::size_t (*volatile counting)(const ckpt::cuda::device_tensors&) = &count_uploaded;

int main() { return counting == nullptr ? 1 : 0; }
