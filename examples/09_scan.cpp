#include <ckpt/ckpt.hpp>
#include <cstdio>

using curious = ckpt::allow<ckpt::torch_globals, ckpt::inert_others>; // keep foreign classes as inert values

int main(int, char** argv) {
    for (const auto& g : ckpt::scan_globals(argv[1]).value()) // what does this file ask for?
        std::printf("%s %s\n", g.module.c_str(), g.name.c_str());
    return ckpt::open<curious>(argv[1]).has_value() ? 0 : 1;
}
