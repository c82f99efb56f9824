// expect: ckpt: this global can only be an attack and is never allowed
#include <ckpt/ckpt.hpp>

int main(int, char** argv) {
    using policy = ckpt::allow<ckpt::torch_globals, ckpt::global<"os", "system">>;
    return ckpt::open<policy>(argv[1]).has_value() ? 0 : 1;
}
