// expect: ckpt: there is no view of bool
#include <ckpt/ckpt.hpp>

int main(int, char** argv) {
    auto weights = ckpt::open(argv[1]).value().state_dict().value();
    return weights.view<bool, 2>("fc1.weight").has_value() ? 0 : 1;
}
