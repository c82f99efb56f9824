// expect: ckpt needs C++20
// flags: -std=c++17
#include <ckpt/ckpt.hpp>

int main() {}
