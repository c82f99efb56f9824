// Passes an object of ckpt to another translation unit: both must be of the same kind.
#include "everything.hpp"

std::size_t count_tensors_of(const ckpt::checkpoint& file);

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]);
    return file && count_tensors_of(*file) == 2 ? 0 : 1;
}
