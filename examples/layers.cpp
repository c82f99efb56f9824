#include <ckpt/cuda_async.hpp>

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    auto weights = file.state_dict().value();
    cudaStream_t compute{};
    auto pending = ckpt::cuda::start_upload(weights, {.order = {"fc1.weight", "fc1.bias"}}).value();
    for (const char* key : {"fc1.weight", "fc1.bias"}) {
        const auto tensor = pending.await(key, compute).value(); // as soon as its copies are issued
        if (tensor.data == nullptr) return 1;                    // kernels on `compute` run behind them
    }
    auto on_gpu = pending.get().value();
    on_gpu.wait().value();
    return 0;
}
