// expect: ckpt: this global can only be an attack and is never allowed
#include <ckpt/ckpt.hpp>

struct mine {
    static constexpr ckpt::global_entry entries[]{{"builtins", "eval"}};
};

int main(int, char** argv) { return ckpt::open<ckpt::allow<ckpt::torch_globals, mine>>(argv[1]).has_value() ? 0 : 1; }
