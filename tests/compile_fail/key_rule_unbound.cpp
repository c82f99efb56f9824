// expect: {it} is not bound by the pattern
// within: 7
#include <ckpt/ckpt.hpp>

int main() {
    const ckpt::key_map map{ckpt::rename("encoder.{i:int}.{leaf}", "blocks.{j}.{leaf}")};
    return map.empty() ? 1 : 0;
}
