// Uploads with the kernels of ckpt, so that the device widens what the file has in fewer bits; for nvcc.
#include <ckpt/cuda.hpp>
#include <ckpt/cuda_kernels.cuh>
#include <cstdio>

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    auto weights = file.state_dict().value();
    ckpt::cuda::upload_options options;
    options.casts = {{"**", ckpt::dtype::float64}};
    options.kernels = ckpt::cuda::kernels();
    auto on_gpu = ckpt::cuda::upload(weights, options).value();
    on_gpu.wait().value();

    double bias[10]{};
    const double* from = on_gpu.data<double>("fc1.bias").value();
    if (cudaMemcpy(bias, from, sizeof bias, cudaMemcpyDeviceToHost) != cudaSuccess) return 1;
    std::printf("%g\n", bias[0]);
}
