#include <ckpt/cuda_async.hpp>

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    auto weights = file.state_dict().value();
    cudaStream_t compute{};
    auto pending = ckpt::cuda::start_upload(weights, {.order = {"fc1.*", "fc2.*"}}).value();
    for (const char* layer : {"fc1.weight", "fc2.weight"}) {
        const auto weight = pending.await(layer, compute).value(); // as soon as its copies are issued
        if (weight.data == nullptr) return 1;                      // kernels on `compute` run behind them
    }
    auto on_gpu = pending.get().value();
    on_gpu.wait().value();
    return 0;
}
