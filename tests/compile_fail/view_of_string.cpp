// expect: ckpt: this is no element type of a tensor
#include <ckpt/ckpt.hpp>

int main(int, char** argv) {
    auto weights = ckpt::open(argv[1]).value().state_dict().value();
    return weights.view<std::string, 2>("fc1.weight").has_value() ? 0 : 1;
}
