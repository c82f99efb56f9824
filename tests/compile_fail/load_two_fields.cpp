// expect: ckpt: two fields of this struct have the same key
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
    ckpt::tensor_view<float, 2> bias;
};
template <>
struct ckpt::binding<linear>
    : ckpt::fields<ckpt::field<"weight", &linear::weight>, ckpt::field<"weight", &linear::bias>> {};

int main() {}
