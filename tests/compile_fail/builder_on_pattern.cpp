// expect: ckpt: a pattern cannot have a builder; name the global exactly
#include <ckpt/ckpt.hpp>

inline ckpt::result<ckpt::value> one(ckpt::call& call) { return call.make_real(1.0); }

int main(int, char** argv) {
    using policy = ckpt::allow<ckpt::torch_globals, ckpt::global<"mine.*", "*", one>>;
    return ckpt::open<policy>(argv[1]).has_value() ? 0 : 1;
}
