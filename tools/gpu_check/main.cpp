// tools/gpu_check/main.cpp: ckpt's upload on a real device: is it right, what does only hardware show, how fast is it.
//
//   gpu_check files FOLDER GIB         writes the checkpoints that the checks want
//   gpu_check verify PATH...           every state_dict below the paths, in each layout, source and cast, compared
//   gpu_check probe FILE               what only a device settles; a line each, `FOUND` where a fault is there
//   gpu_check bench F32 BF16 SMALL     rates beside their limits; a JSON object a line
//
// gpu_check.sh builds and runs it.
//
// SPDX-License-Identifier: MIT
#include "check.hpp"

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    const std::size_t n = words.size();
    const std::string what = n > 0 ? words[0] : "";
    if (what == "files" && n == 3) return gpu_check::make_files(words[1], std::strtod(words[2].c_str(), nullptr));
    if (what == "verify" && n > 1) return gpu_check::verify(std::span(words).subspan(1));
    if (what == "probe" && n == 2) return gpu_check::probe(words[1]);
    if (what == "bench" && n == 4) return gpu_check::bench(words[1], words[2], words[3]);
    std::puts("see the first lines of main.cpp");
    return 2;
}
