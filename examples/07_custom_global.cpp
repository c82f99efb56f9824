#include <ckpt/ckpt.hpp>

// numpy scalar: numpy._core.multiarray.scalar(dtype, bytes)
inline ckpt::result<ckpt::value> numpy_scalar(ckpt::call& call) {
    auto bytes = call.args[1].as_bytes();
    if (!bytes || bytes->size() != sizeof(double))
        return call.fail(ckpt::errc::bad_arguments, "only float64 scalars are handled here");
    double x{};
    std::memcpy(&x, bytes->data(), sizeof x);
    return call.make_real(x);
}
using my_policy = ckpt::allow<ckpt::torch_globals,
                              ckpt::global<"numpy._core.multiarray", "scalar", numpy_scalar>,
                              ckpt::global<"numpy", "dtype">>; // no builder: kept as an inert value

int main(int, char** argv) {
    auto file = ckpt::open<my_policy>(argv[1]).value();
    return file.root().find("best_loss").value().as_real().value() < 1.0 ? 0 : 1;
}
