#include <ckpt/ckpt.hpp>
#include <cstdio>

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    auto weights = file.state_dict("model").value();
    auto w = weights.view<float, 2>("fc1.weight").value();
    float sum = 0;
    for (int r = 0; r < w.shape[0]; ++r)
        for (int c = 0; c < w.shape[1]; ++c) sum += w(r, c);
    std::printf("%g\n", double(sum));
}
