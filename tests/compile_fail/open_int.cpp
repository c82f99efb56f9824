// expect: policy | no instance of function template "ckpt
// within: 7
#include <ckpt/ckpt.hpp>

int main(int, char** argv) { return ckpt::open<int>(argv[1]).has_value() ? 0 : 1; }
