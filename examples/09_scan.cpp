#include <ckpt/ckpt.hpp>
#include <cstdio>

using curious = ckpt::allow<ckpt::torch_globals, ckpt::inert_others>; // keep foreign classes as inert values

int main(int, char** argv) {
    const auto names = ckpt::scan_globals(argv[1]).value(); // what does this file ask for?
    for (const auto& g : names) std::printf("%s %s\n", g.module.c_str(), g.name.c_str());
    if (names.verdict() >= ckpt::file_verdict::unreadable) return 2; // damage hides names, and some are attacks
    return ckpt::open<curious>(argv[1]).has_value() ? 0 : 1;
}
