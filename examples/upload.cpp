#include <ckpt/cuda.hpp>

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    auto weights = file.state_dict().value();
    cudaStream_t stream{};
    auto on_gpu = ckpt::cuda::upload(weights, {.stream = stream}).value();
    on_gpu.wait().value();
    const float* on_device = on_gpu.data<float>("fc1.weight").value();
    return on_device != nullptr ? 0 : 1;
}
