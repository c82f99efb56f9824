// expect: a prefix ends in a dot
// within: 7
#include <ckpt/ckpt.hpp>

int main() {
    const ckpt::key_map map{ckpt::strip_prefix("module")};
    return map.empty() ? 1 : 0;
}
