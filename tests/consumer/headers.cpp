// What a project compiles here that uses the headers alone. The examples compile more of them so.
#include <ckpt/core/error.hpp>

#include <cstdio>

#ifdef CKPT_COMPILED
#error "this target has the headers alone"
#endif

int main() {
    ckpt::error wrong;
    wrong.module = "os";
    wrong.hint = "what {module} names is not read";
    std::puts(wrong.advice().c_str());
}
