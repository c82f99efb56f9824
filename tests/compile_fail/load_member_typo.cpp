// expect: wieght
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};
template <> struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"weight", &linear::wieght>> {};

int main() {}
