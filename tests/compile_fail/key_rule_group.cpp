// expect: a group takes strip, add, rename and drop
// within: 7
#include <ckpt/ckpt.hpp>

int main() {
    const ckpt::key_map map{ckpt::first(ckpt::rename("a", "b"), ckpt::rule("merge 0 b, c -> d"))};
    return map.empty() ? 1 : 0;
}
