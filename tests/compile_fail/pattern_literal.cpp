// expect: ** stands alone between dots
#include <ckpt/ckpt.hpp>

int main() {
    const ckpt::pattern adapter{"adapter.**weight"};
    return adapter.matches("adapter.weight") ? 1 : 0;
}
