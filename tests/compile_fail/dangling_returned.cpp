// expect: associated with local variable 'weights' returned
// expect: associated with local variable 'file' returned
// expect: associated with local variable 'net' returned
// expect: associated with local variable 'copy' returned
// within: 10
// compilers: clang
// What borrows from a variable of the function that returns it: Clang warns.
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};
template <> struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"weight", &linear::weight>> {};

ckpt::result<ckpt::tensor_view<float, 2>> view(const char* path) {
    auto weights = ckpt::open(path).value().state_dict().value();
    return weights.view<float, 2>("weight");
}
ckpt::value root(const char* path) {
    auto file = ckpt::open(path).value();
    return file.root();
}
const linear& loaded(const char* path) {
    auto net = ckpt::load<linear>(ckpt::open(path).value().state_dict().value()).value();
    return *net;
}
ckpt::tensor_view<float, 2> copied(const ckpt::tensor& weight) {
    auto copy = ckpt::tensor_copy<float, 2>::of(weight).value();
    return copy.view();
}
