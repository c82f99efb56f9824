// Passes a plain pointer: the other translation unit may be compiled without exceptions.
#include "everything.hpp"

std::size_t count_tensors_in(const char* path);

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]);
    return file && count_tensors_in(argv[1]) == 2 ? 0 : 1;
}
