// expect: nodiscard
#include <ckpt/ckpt.hpp>

int main(int, char** argv) { ckpt::open(argv[1]); }
