// expect: a star stands for nothing in a template | did not produce a valid constant expression
// within: 7
#include <ckpt/ckpt.hpp>

int main() {
    const ckpt::key_map map{ckpt::rename("a.*", "c.*")};
    return map.empty() ? 1 : 0;
}
