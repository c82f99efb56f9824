// expect: {it} is no verb of a key rule
#include <ckpt/ckpt.hpp>

int main() {
    const ckpt::key_map map{ckpt::rule("renam a -> b")};
    return map.empty() ? 1 : 0;
}
