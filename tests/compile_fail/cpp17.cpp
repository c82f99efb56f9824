// expect: ckpt needs C++20
// most: 10
// flags: -std=c++17
#include <ckpt/ckpt.hpp>

int main() {}
