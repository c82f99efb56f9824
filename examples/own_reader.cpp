// Reads the weights with an engine's own threads: the library says where in which file each tensor lies, and reads
// none of them. The argument is a file, a folder or an index of shards.
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

struct piece {
    std::string file{};
    std::uint64_t offset{}; // in the file
    std::uint64_t bytes{};
    std::byte* to{};
};

std::string path_of(const std::filesystem::path& opened, std::string_view file) {
    if (file.empty()) return opened.string(); // a checkpoint of one file
    return ((std::filesystem::is_directory(opened) ? opened : opened.parent_path()) / file).string();
}

bool read(const piece& p) { // an engine has pread, O_DIRECT or io_uring here
    std::ifstream file(p.file, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(p.offset));
    return static_cast<bool>(file.read(reinterpret_cast<char*>(p.to), static_cast<std::streamsize>(p.bytes)));
}

} // namespace

int main(int, char** argv) {
    const auto file = ckpt::open_any(argv[1]);
    const auto weights = file.and_then([](const ckpt::checkpoint& f) { return f.state_dict(); });
    if (!weights) {
        std::fprintf(stderr, "%s\n", weights.error().message().c_str());
        return 1;
    }

    // What lies in a file as it is wanted has an offset there. The rest is transposed, compressed, or gathered.
    std::uint64_t total = 0;
    for (const auto& [key, tensor] : *weights) total += tensor.nbytes();
    std::vector<std::byte> block(total);
    std::vector<piece> pieces;
    std::vector<std::string> left;
    std::byte* to = block.data();
    for (const auto& [key, tensor] : *weights) {
        const auto offset = tensor.file_offset();
        if (tensor.is_contiguous() && !tensor.is_neg() && !tensor.is_conj() && offset)
            pieces.push_back({path_of(argv[1], tensor.file()), *offset, tensor.nbytes(), to});
        else left.emplace_back(key);
        to += tensor.nbytes();
    }
    std::sort(pieces.begin(), pieces.end(),
              [](const piece& a, const piece& b) { return a.file != b.file ? a.file < b.file : a.offset < b.offset; });

    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i)
        readers.emplace_back([&] {
            for (std::size_t p; (p = next++) < pieces.size();)
                if (!read(pieces[p])) failed = true;
        });
    for (std::thread& t : readers) t.join();
    if (failed) return 1;

    // They are the bytes that the library maps.
    to = block.data();
    std::size_t equal = 0;
    for (const auto& [key, tensor] : *weights) {
        if (const auto bytes = tensor.bytes()) equal += std::memcmp(bytes->data(), to, bytes->size()) == 0;
        to += tensor.nbytes();
    }
    std::printf("%zu of %zu tensors read by own threads, %zu equal, %zu left to the library\n", pieces.size(),
                weights->size(), equal, left.size());
}
