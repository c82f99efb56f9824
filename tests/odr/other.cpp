// The second translation unit of both programs.
#include "everything.hpp"

std::size_t count_tensors_of(const ckpt::checkpoint& file);
std::size_t count_tensors_in(const char* path);

std::size_t count_tensors_of(const ckpt::checkpoint& file) {
    auto weights = file.state_dict();
    return weights ? weights->size() : 0;
}

std::size_t count_tensors_in(const char* path) {
    auto file = ckpt::open(path);
    return file ? count_tensors_of(*file) : 0;
}
