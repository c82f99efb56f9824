// Runs a fuzz target over files, or all files below folders, without libFuzzer: every compiler can replay a corpus.
//
// A failed invariant ends the process; finding no file at all is a failure too.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::size_t replayed = 0;

bool replay(const std::filesystem::path& path) {
    std::ifstream in{path, std::ios::binary};
    const std::vector<char> bytes{std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
    if (!in) {
        std::fprintf(stderr, "cannot read %s\n", path.c_str());
        return false;
    }
    // An allocation of exactly the size, so that a sanitizer sees a read past the end.
    const std::unique_ptr<std::uint8_t[]> copy{new std::uint8_t[bytes.size()]};
    for (std::size_t i = 0; i < bytes.size(); ++i) copy[i] = static_cast<std::uint8_t>(bytes[i]);
    std::fprintf(stderr, "%s\n", path.c_str()); // the last line tells which file ended the process
    LLVMFuzzerTestOneInput(copy.get(), bytes.size());
    ++replayed;
    return true;
}

} // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const std::filesystem::path path{argv[i]};
        if (!std::filesystem::is_directory(path)) {
            if (!replay(path)) return 1;
            continue;
        }
        for (const auto& entry : std::filesystem::recursive_directory_iterator{path})
            if (entry.is_regular_file() && !replay(entry.path())) return 1;
    }
    std::printf("%zu inputs replayed\n", replayed);
    return replayed == 0 ? 1 : 0;
}
