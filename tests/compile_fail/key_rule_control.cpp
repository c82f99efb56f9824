// expect: a control character in a rule
// within: 9
#include <ckpt/ckpt.hpp>

int main() {
    const ckpt::key_map map{ckpt::drop("a\nb")};
    return map.empty() ? 1 : 0;
}
