// This one compiles.
#include <ckpt/ckpt.hpp>

inline ckpt::result<ckpt::value> one(ckpt::call& call) { return call.make_real(1.0); }

int main(int, char** argv) {
    using policy = ckpt::allow<ckpt::torch_globals, ckpt::global<"mine", "scalar", one>, ckpt::global<"mine.*", "*">>;
    auto file = ckpt::open<policy>(argv[1]).value();
    auto weights = file.state_dict().value();
    return file.root().find("epoch").has_value() && weights.view<float, 2>("fc1.weight").has_value() ? 0 : 1;
}
