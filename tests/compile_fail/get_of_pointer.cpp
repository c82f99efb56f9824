// expect: ckpt: get reads bool, integers, float, double
#include <ckpt/ckpt.hpp>

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    return file.get<const char*>("name").has_value() ? 0 : 1;
}
