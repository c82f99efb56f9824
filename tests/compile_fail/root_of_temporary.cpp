// expect: deleted
#include <ckpt/ckpt.hpp>

int main(int, char** argv) {
    auto root = ckpt::open(argv[1]).value().root();
    return root.find("epoch").has_value() ? 0 : 1;
}
