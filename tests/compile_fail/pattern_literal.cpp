// expect: ** stands alone between dots
// within: 8
#include <ckpt/ckpt.hpp>

int main() {
    const ckpt::pattern adapter{"adapter.**weight"};
    return adapter.matches("adapter.weight") ? 1 : 0;
}
