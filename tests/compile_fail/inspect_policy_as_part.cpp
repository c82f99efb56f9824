// expect: ckpt: inspect_policy cannot be part of another policy
#include <ckpt/ckpt.hpp>

int main(int, char** argv) {
    using policy = ckpt::allow<ckpt::inspect_policy, ckpt::global<"mine", "scalar">>;
    return ckpt::open<policy>(argv[1]).has_value() ? 0 : 1;
}
