// expect: a literal is checked while compiling; other text is for key_map::parse | it is a deleted function
// within: 8
#include <ckpt/ckpt.hpp>
#include <string>

int main(int, char** argv) {
    const ckpt::key_map map{ckpt::rule(std::string(argv[1]))};
    return map.empty() ? 1 : 0;
}
