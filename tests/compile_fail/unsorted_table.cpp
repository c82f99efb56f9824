// expect: ckpt: the entries of a table must be sorted by module, then name, without duplicates
#include <ckpt/ckpt.hpp>

struct mine {
    static constexpr ckpt::global_entry entries[]{{"mine.b", "scalar"}, {"mine.a", "scalar"}};
};

int main(int, char** argv) { return ckpt::open<ckpt::allow<ckpt::torch_globals, mine>>(argv[1]).has_value() ? 0 : 1; }
