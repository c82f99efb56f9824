// expect: deleted
// expect: views would outlive the file: load<T>(weights) keeps it open | it is a deleted function
// expect: the value would outlive the file: name the checkpoint first | it is a deleted function
// expect: it would outlive the file: name the state_dict first | it is a deleted function
// expect: the file would close: name the loaded<T> first | it is a deleted function
// expect: the bytes are borrowed and would be gone: name the vector first | it is a deleted function
// expect: the memory goes with the copy: name the tensor_copy first | it is a deleted function
// expect: the value goes with the result: name the result first | it is a deleted function
// within: 80
// What borrows from a temporary: the line that the compiler shows says why it is refused, and what to do.
#include <ckpt/ckpt.hpp>

struct linear {
    ckpt::tensor_view<float, 2> weight;
};
template <> struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"weight", &linear::weight>> {};

int main(int, char** argv) {
    auto file = ckpt::open(argv[1]).value();
    linear net{};
    const bool filled = ckpt::load(file.state_dict().value(), net).has_value();
    const auto epoch = ckpt::open(argv[1]).value().root();
    const auto tensor = file.state_dict().value().at("weight");
    const auto weight = ckpt::load<linear>(file.state_dict().value()).value()->weight;
    const auto in_memory = ckpt::open_bytes(std::vector<std::byte>(64));
    const auto numbers = ckpt::tensor_copy<float, 2>{}.span();
    const auto size = file.state_dict()->size();
    return filled && epoch && weight.numel() > 0 && in_memory && numbers.empty() && tensor && size != 0 ? 0 : 1;
}
