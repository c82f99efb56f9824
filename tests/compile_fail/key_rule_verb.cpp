// expect: {it} is no verb of a key rule
// within: 7
#include <ckpt/ckpt.hpp>

int main() {
    const ckpt::key_map map{ckpt::rule("renam a -> b")};
    return map.empty() ? 1 : 0;
}
