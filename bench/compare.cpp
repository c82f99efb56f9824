// bench/compare.cpp: ckpt's part of compare.py, and the floors: each call does one thing, once, and times it.
//
// SPDX-License-Identifier: MIT
// Prints `SECONDS TENSORS DIGEST`, of what is cold also the bytes of the file that are in memory afterwards. The digest
// of an opening is the number of elements, that of bytes is described at `digest`; a floor that knows none prints `-`.
//
//   bench_compare write FILE TENSORS [ROWS COLUMNS]   a file as torch.save writes it; with a shape its weights are
//   holes bench_compare model FILE.safetensors MEBIBYTES    random bfloat16 numbers in tensors of 4 MiB bench_compare
//   torch FILE.safetensors FILE.pt      the same as torch.save writes it bench_compare open FILE opens, takes the
//   state_dict, walks over it; the fastest of many bench_compare walk FILE.pkl                       the opcodes of a
//   pickle; the fastest of many bench_compare tensor FILE KEY                     opens, copies one tensor to memory;
//   the fastest of many bench_compare pread FILE OFFSET BYTES             opens, reads these bytes; the fastest of many
//   bench_compare load|owned|cast FILE                host::load, owned(), host::load to float32
//   bench_compare copy|widen FILE                     two threads copy a mapping; the same, from bfloat16 to float32
//   bench_compare cold-open FILE                      what follows forgets the file's pages first
//   bench_compare cold-headers FILE                   touches the local header of every record in a mapping
//   bench_compare cold-tensor FILE KEY                as tensor, with a prefetch
//   bench_compare cold-pread FILE OFFSET BYTES
#include "floor.hpp"
#include "inputs.hpp"

#include <ckpt/ckpt.hpp>
#include <ckpt/host.hpp>
#include <ckpt/io/pages.hpp>
#include <ckpt/prefetch.hpp>
#include <ckpt/threads.hpp>
#include <ckpt/write.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;

[[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "bench_compare: %s\n", why.c_str());
    std::exit(1);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// A file, mapped where that is asked for.
struct whole_file {
    explicit whole_file(const std::string& path) : descriptor{::open(path.c_str(), O_RDONLY | O_CLOEXEC)} {
        struct ::stat status{};
        if (descriptor < 0 || ::fstat(descriptor, &status) != 0) fail(path + " cannot be opened");
        size = static_cast<std::size_t>(status.st_size);
    }
    whole_file(const whole_file&) = delete;
    whole_file& operator=(const whole_file&) = delete;
    ~whole_file() {
        if (pages != nullptr) ::munmap(pages, size);
        ::close(descriptor);
    }
    const std::byte* map() {
        if (pages == nullptr) pages = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
        return static_cast<const std::byte*>(pages);
    }
    void forget() const {
        if (::fsync(descriptor) != 0 || ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) != 0 || resident() != 0)
            fail("the file system keeps the pages of the file");
    }
    [[nodiscard]] std::uint64_t resident() const {
        const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        std::vector<unsigned char> states((size + page - 1) / page);
        void* const at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
        if (::mincore(at, size, states.data()) != 0) fail("mincore");
        ::munmap(at, size);
        std::uint64_t count = 0;
        for (const unsigned char s : states) count += s & 1u;
        return count * page;
    }

    int descriptor;
    std::size_t size{0};
    void* pages{nullptr};
};

/// Calls `work(begin, end)` for the two halves of [0, count), in two threads; halves are multiples of 4096.
template <class Work> void in_two_threads(std::size_t count, const Work& work) {
    const std::size_t half = count / 2 / 4096 * 4096;
    std::thread second([&] { work(half, count); });
    work(std::size_t{0}, half);
    second.join();
}

/// So that a virtual machine has the memory that the clock will see: it is touched, and given back.
void touch(std::size_t bytes) {
    const ckpt::detail::pages memory(bytes);
    std::byte* const at = memory.bytes().data();
    if (at == nullptr) fail("not enough memory");
    in_two_threads(bytes, [at](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; i += 4096) at[i] = std::byte{1};
    });
}

/// The sum of the words of eight bytes, and of the bytes behind them.
std::uint64_t sum(std::span<const std::byte> bytes) {
    std::uint64_t out = 0, word = 0;
    std::size_t at = 0;
    for (; at + sizeof word <= bytes.size(); at += sizeof word) {
        std::memcpy(&word, bytes.data() + at, sizeof word);
        out += word;
    }
    for (; at < bytes.size(); ++at) out += static_cast<std::uint64_t>(bytes[at]);
    return out;
}

/// The sums of all tensors, each times its position, from 1 on; modulo 2^64, as everything here.
std::uint64_t digest(const ckpt::state_dict& weights) {
    std::vector<std::uint64_t> sums(weights.size());
    std::vector<std::span<const std::byte>> all;
    for (const auto& [key, tensor] : weights) all.push_back(tensor.bytes().value());
    const auto every_second = [&](std::size_t first) {
        for (std::size_t i = first; i < all.size(); i += 2) sums[i] = sum(all[i]);
    };
    std::thread second([&] { every_second(1); });
    every_second(0);
    second.join();
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) out += (i + 1) * sums[i];
    return out;
}

int printed(double seconds, std::size_t tensors, std::uint64_t digest) {
    std::printf("%.9f %zu %llu\n", seconds, tensors, static_cast<unsigned long long>(digest));
    return 0;
}
int printed(double seconds) {
    std::printf("%.9f - -\n", seconds);
    return 0;
}

/// The fastest of as many as fit into 0.3 s, but of three unless these take a second.
template <class Run> double fastest(const Run& run) {
    double best = 1e9, spent = 0;
    const double begin = now();
    for (int runs = 0; spent < 0.3 || runs == 0 || (runs < 3 && spent < 1); ++runs) {
        const double started = now();
        run();
        const double seconds = now() - started;
        if (seconds < best) best = seconds;
        spent = now() - begin;
    }
    return best;
}

std::pair<std::size_t, std::uint64_t> walk_over(const std::string& path) {
    const auto weights = ckpt::open(path).value().state_dict().value();
    std::uint64_t elements = 0;
    for (const auto& [key, tensor] : weights) elements += tensor.numel();
    return {weights.size(), elements};
}

int open_file(const std::string& path, bool cold) {
    std::pair<std::size_t, std::uint64_t> found{};
    if (!cold) {
        const double seconds = fastest([&] { found = walk_over(path); });
        return printed(seconds, found.first, found.second);
    }
    const whole_file file(path);
    file.forget();
    const double begin = now();
    found = walk_over(path);
    std::printf("%.9f %zu %llu %llu\n", now() - begin, found.first, static_cast<unsigned long long>(found.second),
                static_cast<unsigned long long>(file.resident()));
    return 0;
}

int touch_headers(const std::string& path) {
    const auto opened = ckpt::open(path).value();
    whole_file file(path);
    std::uint64_t found = 0;
    std::vector<std::uint64_t> offsets;
    for (const ckpt::record& r : opened.records()) offsets.push_back(r.header_offset);
    file.forget();
    const double begin = now();
    for (const std::uint64_t at : offsets) {
        std::uint16_t name = 0;
        std::memcpy(&name, file.map() + at + 26, sizeof name);
        found += name;
    }
    const double seconds = now() - begin;
    if (found == 0) fail("no local headers");
    std::printf("%.9f - - %llu\n", seconds, static_cast<unsigned long long>(file.resident()));
    return 0;
}

int one_tensor(const std::string& path, std::string_view key, bool cold) {
    std::vector<std::byte> out;
    const auto run = [&] {
        const auto weights = ckpt::open(path).value().state_dict().value();
        const auto tensor = weights.at(key).value();
        if (cold) (void)ckpt::prefetch(weights, std::span{&key, 1});
        out.resize(static_cast<std::size_t>(tensor.nbytes()));
        tensor.copy_to(std::span{out}).value();
    };
    if (!cold) {
        const double seconds = fastest(run);
        return printed(seconds, 1, sum(out));
    }
    const whole_file file(path);
    file.forget();
    const double begin = now();
    run();
    const double seconds = now() - begin;
    std::printf("%.9f 1 %llu %llu\n", seconds, static_cast<unsigned long long>(sum(out)),
                static_cast<unsigned long long>(file.resident()));
    return 0;
}

int read_range(const std::string& path, std::uint64_t offset, std::size_t bytes, bool cold) {
    std::vector<std::byte> out;
    const auto run = [&] {
        const whole_file file(path);
        out.resize(bytes);
        for (std::size_t done = 0; done < bytes;) {
            const auto n = ::pread(file.descriptor, out.data() + done, bytes - done, static_cast<off_t>(offset + done));
            if (n <= 0) fail("the file is too short");
            done += static_cast<std::size_t>(n);
        }
    };
    const whole_file file(path);
    double seconds = 0;
    if (cold) {
        file.forget();
        const double begin = now();
        run();
        seconds = now() - begin;
    } else {
        seconds = fastest(run);
    }
    std::printf("%.9f 1 %llu", seconds, static_cast<unsigned long long>(sum(out)));
    if (cold) std::printf(" %llu", static_cast<unsigned long long>(file.resident()));
    std::printf("\n");
    return 0;
}

int load(const std::string& path, std::string_view how) {
    const auto opened = ckpt::open(path).value().state_dict().value();
    std::uint64_t bytes = 0;
    for (const auto& [key, tensor] : opened) bytes += tensor.nbytes() * (how == "cast" ? 2 : 1);
    touch(static_cast<std::size_t>(bytes));
    const double begin = now();
    const auto weights = ckpt::open(path).value().state_dict().value();
    if (how == "owned") {
        const auto owned = weights.owned(ckpt::threads());
        const double seconds = now() - begin;
        return printed(seconds, owned.size(), digest(owned));
    }
    ckpt::host::load_options options;
    if (how == "cast") options.plan.casts = {{"**", ckpt::dtype::float32}};
    const auto loaded = ckpt::host::load(weights, options).value();
    const double seconds = now() - begin;
    return printed(seconds, loaded.weights.size(), digest(loaded.weights));
}

/// What no load can beat: the bytes are mapped and in memory, the destination is the memory that host::load takes.
int copy(const std::string& path, bool widen) {
    whole_file file(path);
    const std::size_t bytes = file.size * (widen ? 2 : 1);
    const std::byte* const from = file.map();
    touch(bytes);
    const std::uint64_t before = sum({from, file.size});
    const double begin = now();
    const ckpt::detail::pages memory(bytes);
    std::byte* const to = memory.bytes().data();
    if (to == nullptr) fail("not enough memory");
    in_two_threads(file.size, [=](std::size_t first, std::size_t end) {
        if (!widen) {
            std::memcpy(to + first, from + first, end - first);
            return;
        }
        constexpr std::size_t block = 2048; // elements; a number that compilers vectorise
        for (; first + 2 * block <= end; first += 2 * block) {
            std::uint16_t halves[block];
            std::uint32_t words[block];
            std::memcpy(halves, from + first, sizeof halves);
            for (std::size_t i = 0; i < block; ++i) words[i] = std::uint32_t{halves[i]} << 16;
            std::memcpy(to + 2 * first, words, sizeof words);
        }
    });
    const double seconds = now() - begin;
    if (!widen && sum({to, file.size}) != before) fail("the copy differs");
    return printed(seconds);
}

int write_model(const std::string& path, std::uint64_t mebibytes) {
    constexpr std::uint64_t each = 4 * mib;
    const std::uint64_t count = mebibytes / 4;
    std::string header = "{";
    for (std::uint64_t i = 0; i < count; ++i)
        header += (i != 0 ? ",\"layers." : "\"layers.") + std::to_string(i) +
                  ".weight\":{\"dtype\":\"BF16\",\"shape\":[2048,1024],\"data_offsets\":[" + std::to_string(i * each) +
                  "," + std::to_string((i + 1) * each) + "]}";
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    const std::uint64_t length = header.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file.write(header.data(), static_cast<std::streamsize>(header.size()));
    std::vector<std::uint64_t> words(each / 8);
    std::uint64_t state = 88'172'645'463'325'252u;
    for (std::uint64_t i = 0; i < count; ++i) {
        for (std::uint64_t& w : words) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            w = state & 0xBFFF'BFFF'BFFF'BFFFu; // neither NaN nor infinity
        }
        file.write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(each));
    }
    return file.good() ? 0 : 1;
}

int write_file(const std::string& path, int argc, char** argv) {
    bench::input_size size{std::strtoul(argv[3], nullptr, 10)};
    if (argc > 5) {
        size.rows = std::strtoull(argv[4], nullptr, 10);
        size.columns = std::strtoull(argv[5], nullptr, 10);
        size.holes = true;
    }
    return bench::write_input(path, size) ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 3) fail("see the first lines of compare.cpp");
    const std::string_view what = argv[1];
    const std::string path = argv[2];
    const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
    if (what == "open" || what == "cold-open") return open_file(path, what == "cold-open");
    if (what == "cold-headers") return touch_headers(path);
    if (what == "load" || what == "owned" || what == "cast") return load(path, what);
    if (what == "copy" || what == "widen") return copy(path, what == "widen");
    if (what == "walk") {
        std::ifstream file(path, std::ios::binary);
        const std::string pickle{std::istreambuf_iterator<char>(file), {}};
        std::size_t opcodes = 0;
        const double seconds = fastest([&] { opcodes = bench::skip_walk(pickle); });
        if (opcodes == 0) fail("no pickle of protocol 2");
        return printed(seconds);
    }
    if (argc > 3 && what == "write") return write_file(path, argc, argv);
    if (argc > 3 && what == "model") return write_model(path, number(3));
    if (argc > 3 && what == "torch")
        return ckpt::write_torch(ckpt::open(path).value().state_dict().value(), argv[3]) ? 0 : 1;
    if (argc > 3 && (what == "tensor" || what == "cold-tensor"))
        return one_tensor(path, argv[3], what == "cold-tensor");
    if (argc > 4 && (what == "pread" || what == "cold-pread"))
        return read_range(path, number(3), static_cast<std::size_t>(number(4)), what == "cold-pread");
    fail("see the first lines of compare.cpp");
}
