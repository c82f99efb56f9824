// expect: ckpt: the same global is listed twice with different builders
#include <ckpt/ckpt.hpp>

inline ckpt::result<ckpt::value> one(ckpt::call& call) { return call.make_real(1.0); }
inline ckpt::result<ckpt::value> two(ckpt::call& call) { return call.make_real(2.0); }

int main(int, char** argv) {
    using policy =
        ckpt::allow<ckpt::torch_globals, ckpt::global<"mine", "scalar", one>, ckpt::global<"mine", "scalar", two>>;
    return ckpt::open<policy>(argv[1]).has_value() ? 0 : 1;
}
