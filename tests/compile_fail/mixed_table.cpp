// expect: ckpt: a table holds either exact names or patterns, not both
#include <ckpt/ckpt.hpp>

struct mine {
    static constexpr ckpt::global_entry entries[]{{"mine", "scalar"}, {"mine.parts", "*"}};
};

int main(int, char** argv) { return ckpt::open<ckpt::allow<ckpt::torch_globals, mine>>(argv[1]).has_value() ? 0 : 1; }
