// bench/upload.cpp: loading a checkpoint into the host's memory, and uploading it over simulated links.
//
// SPDX-License-Identifier: MIT
//
//     bench_upload [--mebibytes=N] [--rounds=N] [options of Google Benchmark]
//
// Groups of runs over one file of float32 weights (1,024 MiB) take turns for some rounds (4), so that what else the
// machine does disturbs all of them alike; the fastest turn of each counts. The file is written first and lies in the
// page cache; every turn opens it anew, outside the clock, and checks what it got. Exit code 1 where something was
// wrong.
//   host   ckpt::host::load. Counters: how many times as long it takes as one thread that copies the tensors out of a
//          mapping into memory that was used before, into fresh memory of huge pages, into fresh memory of operator
//          new; as owned().
//   link   staged uploads over links that are simulated, so that their rates are exact. Counters: host, the time that
//          the same staging takes when copies take no time; link, the time of the bytes at that rate; efficiency, the
//          larger of the two divided by the time that it took; streaming, the same from when the ring was pinned.
//          Where host and link are equal: x_serial, how many times as long a loop takes that reads a piece, copies it
//          and waits, and x_whole, reading everything before one copy.
//   small  100,000 tensors of 16 bytes: planning, and an upload where each copy costs 5 us beside its bytes.
//   cpu    seconds of the processor, in the program and in the system, for each GiB that is staged.
// None of this says how fast a GPU is fed: see docs/performance.md.
#include "inputs.hpp"
#include "simulated_link.hpp"

#include <ckpt/core/digest.hpp>
#include <ckpt/gpu/engine.hpp>
#include <ckpt/host.hpp>
#include <ckpt/io/source.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

using ckpt::upload_layout;
using ckpt::upload_source;

constexpr double infinite = std::numeric_limits<double>::infinity();
constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;

std::size_t rounds = 4;
std::uint64_t mebibytes = 1'024;
bool all_good = true;

void require(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "wrong: %s\n", what);
    all_good = false;
}

template <class F> double seconds_of(F&& f) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Seconds that all threads of this program used, here and in the system.
double processor_seconds() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto of = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return of(used.ru_utime) + of(used.ru_stime);
}

// ---- the file

/// Square matrices of 16 MiB of floats that look like nothing in particular; the first element of each is its number.
class weights_file {
  public:
    static constexpr std::uint64_t side = 2'048, bytes_each = side * side * 4;

    weights_file() {
        const std::size_t tensors =
            (std::max)(std::size_t{2}, static_cast<std::size_t>(mebibytes * mebibyte / bytes_each));
        const bench::input_size size{tensors, side, side, true};
        const auto zip = bench::zip_of(size, "archive");
        file_.write_sparse(zip.pieces);
        std::fstream out(path(), std::ios::binary | std::ios::in | std::ios::out);
        std::vector<float> block(side * side);
        std::uint32_t x = 1;
        for (float& f : block) {
            x ^= x << 13, x ^= x >> 17, x ^= x << 5;
            f = static_cast<float>(static_cast<std::int32_t>(x)) / 65'536.0f;
        }
        const auto write = [&](std::uint64_t at, const void* from, std::size_t n) {
            out.seekp(static_cast<std::streamoff>(at));
            out.write(static_cast<const char*>(from), static_cast<std::streamsize>(n));
        };
        for (std::size_t i = 0; i < tensors; ++i) {
            block[0] = static_cast<float>(i);
            const std::size_t member = i + 4; // behind data.pkl, .format_version, .storage_alignment, byteorder
            const std::string crc = test_support::le32(ckpt::detail::crc32(std::as_bytes(std::span{block})));
            write(zip.payload[member], block.data(), bytes_each);
            write(zip.payload[member] + bytes_each + 4, crc.data(), 4);
            write(zip.central[member] + 16, crc.data(), 4);
        }
        out.close();
        // What was not yet written would have to be when it is first read past the cache.
        const int descriptor = ::open(path().c_str(), O_RDONLY | O_CLOEXEC);
        require(out.good() && descriptor >= 0 && ::fsync(descriptor) == 0, "the file could not be written");
        ::close(descriptor);
        tensors_ = tensors;
    }
    [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }
    [[nodiscard]] std::size_t tensors() const { return tensors_; }
    [[nodiscard]] std::uint64_t bytes() const { return tensors_ * bytes_each; }
    [[nodiscard]] ckpt::state_dict open(ckpt::io_mode mode = ckpt::io_mode::map) const {
        return ckpt::open(path(), {.io = mode}).value().state_dict("").value();
    }
    void drop_from_cache() const {
#if defined(POSIX_FADV_DONTNEED)
        const int descriptor = ::open(path().c_str(), O_RDONLY | O_CLOEXEC);
        require(descriptor >= 0 && ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0,
                "the page cache keeps the file");
        ::close(descriptor);
#endif
    }

    static const weights_file& get() {
        static std::vector<weights_file*> one;
        if (one.empty()) {
            one.push_back(new weights_file);
            std::atexit([] { delete one.front(); });
        }
        return *one.front();
    }

  private:
    test_support::temporary_file file_{};
    std::size_t tensors_{};
};

/// Element 0 of every matrix is its number.
void check(const ckpt::state_dict& got) {
    const weights_file& file = weights_file::get();
    require(got.size() == file.tensors(), "the number of tensors");
    for (std::size_t i = 0; i < file.tensors(); ++i) {
        const auto tensor = got.at(bench::key_of(i)).value();
        const auto bytes = tensor.bytes().value();
        const std::size_t width =
            tensor.dtype() == ckpt::dtype::bfloat16 ? 2 : 4; // a bfloat16 is the upper half of a float32
        std::uint32_t pattern{};
        std::memcpy(reinterpret_cast<std::byte*>(&pattern) + 4 - width, bytes.data(), width);
        require(std::bit_cast<float>(pattern) == static_cast<float>(i), "an element");
    }
}

// ---- runs that take turns

/// What a run took, and of that what is not its preparation, where they are told apart.
struct times {
    times(double all) : whole{all}, streaming{all} {}
    times(double all, double part) : whole{all}, streaming{part} {}
    double whole;
    double streaming;
};

struct contestant {
    std::string name;
    std::function<times()> once;
    std::map<std::string, std::function<double()>> counters{};
    double best{infinite};
    double streaming{infinite};
};

class contest {
  public:
    /// `fresh_mebibytes`: how much memory a run takes from the system.
    contest(std::string name, std::uint64_t fresh_mebibytes)
        : name_{std::move(name)}, fresh_{fresh_mebibytes * mebibyte} {}

    contestant& add(std::string name, std::function<times()> once) {
        return all_.emplace_back(contestant{std::move(name), std::move(once)});
    }
    void enter() {
        for (contestant& c : all_)
            benchmark::RegisterBenchmark((name_ + '/' + c.name).c_str(),
                                         [this, &c](benchmark::State& state) {
                                             hold();
                                             for (auto _ : state) state.SetIterationTime(c.best);
                                             for (const auto& [name, value] : c.counters)
                                                 state.counters[name] = value();
                                         })
                ->Iterations(1)
                ->UseManualTime()
                ->Unit(benchmark::kMillisecond);
    }

  private:
    void hold() {
        if (std::exchange(held_, true)) return;
        // Each round begins at another one, so that none always follows what leaves the machine in a bad state.
        for (std::size_t i = 0; i < rounds; ++i)
            for (std::size_t k = 0; k < all_.size(); ++k) {
                contestant& c = all_[(i * all_.size() / rounds + k) % all_.size()];
                recycle();
                const times took = c.once();
                c.best = (std::min)(c.best, took.whole);
                c.streaming = (std::min)(c.streaming, took.streaming);
            }
    }

    /// Memory that a virtual machine gave back to its host is slow to get, by a second for a GiB: which of the runs
    /// would have to get it is chance, so it is had before each of them.
    void recycle() const {
        const ckpt::detail::pages memory{static_cast<std::size_t>(fresh_)};
        for (std::size_t at = 0; at < memory.bytes().size(); at += ckpt::detail::page_bytes)
            memory.bytes()[at] = std::byte{1};
    }

    std::string name_;
    std::uint64_t fresh_;
    std::deque<contestant> all_{};
    bool held_{false};
};

// ---- host

/// Seconds that one thread takes to copy all tensors to where `memory()` says, getting that memory included.
double copied(const std::function<std::byte*()>& memory) {
    const ckpt::state_dict weights = weights_file::get().open();
    return seconds_of([&] {
        std::byte* to = memory();
        for (const auto [key, tensor] : weights) {
            const auto bytes = tensor.bytes().value();
            std::memcpy(to, bytes.data(), bytes.size());
            to += bytes.size();
        }
        benchmark::ClobberMemory();
    });
}

/// Seconds that host::load takes.
double loaded(const ckpt::host::load_options& how) {
    const ckpt::state_dict weights = weights_file::get().open();
    std::vector<ckpt::host::loaded> out;
    const double took = seconds_of([&] { out.push_back(ckpt::host::load(weights, how).value()); });
    check(out[0].weights);
    require(out[0].report.fallback.empty(), "a fallback");
    require(!how.verify || out[0].report.verified == weights_file::get().tensors(), "checksums that were not compared");
    return took;
}

void host_runs(contest& of) {
    const contestant& reused = of.add("floor, memcpy to reused memory", [block = std::vector<std::byte>{}]() mutable {
        block.resize(static_cast<std::size_t>(weights_file::get().bytes()));
        return copied([&] { return block.data(); });
    });
    const contestant& fresh = of.add("floor, memcpy to fresh huge pages", [] {
        ckpt::detail::pages block;
        return copied([&] {
            block = ckpt::detail::pages{static_cast<std::size_t>(weights_file::get().bytes())};
            return block.bytes().data();
        });
    });
    const contestant& plain = of.add("floor, memcpy to fresh memory of new", [] {
        void* block = nullptr;
        const double took = copied([&] {
            return static_cast<std::byte*>(block =
                                               ::operator new(static_cast<std::size_t>(weights_file::get().bytes())));
        });
        ::operator delete(block);
        return took;
    });
    const contestant& owned = of.add("state_dict.owned()", [] {
        const ckpt::state_dict weights = weights_file::get().open();
        std::vector<ckpt::state_dict> out;
        const double took = seconds_of([&] { out.push_back(weights.owned()); });
        check(out[0]);
        return took;
    });
    const auto load = [&](std::string name, ckpt::host::load_options how) {
        contestant& c = of.add("load, " + name, [how = std::move(how)] { return loaded(how); });
        c.counters["x_reused"] = [&] { return c.best / reused.best; };
        c.counters["x_fresh"] = [&] { return c.best / fresh.best; };
        c.counters["x_new"] = [&] { return c.best / plain.best; };
        c.counters["x_owned"] = [&] { return c.best / owned.best; };
    };
    for (const unsigned readers : {0u, 1u, 2u}) {
        const std::string by = ", " + std::to_string(readers) + " readers";
        load("file image" + by, {.readers = readers});
        load("packed" + by, {.plan = {.layout = upload_layout::packed}, .readers = readers});
    }
    for (const unsigned readers : {0u, 2u}) {
        const std::string by = ", " + std::to_string(readers) + " readers";
        load("file image, direct" + by, {.source = upload_source::direct, .readers = readers});
        load("file image, verified" + by, {.readers = readers, .verify = true});
        load("file image, float32 to bfloat16" + by,
             {.plan = {.casts = {{"**", ckpt::dtype::bfloat16}}}, .readers = readers});
    }
}

// ---- simulated links

ckpt::upload_plan plan_of(std::uint64_t piece, int devices) {
    const ckpt::state_dict weights = weights_file::get().open(ckpt::io_mode::read);
    std::vector<ckpt::upload_target> targets;
    for (int d = 0; d < devices; ++d) targets.push_back({d, weights});
    return ckpt::plan_upload(targets, {.piece_bytes = piece}).value();
}

struct staging {
    unsigned slots{8};
    std::uint64_t piece{8 * mebibyte};
    unsigned readers{2};
    int devices{1};
    upload_source source{upload_source::buffered};
};

times upload(const staging& how, double rate) {
    const auto plan = plan_of(how.piece, how.devices);
    bench::simulated_devices devices{rate, how.devices};
    ckpt::detail::engine_options options;
    options.source = how.source;
    options.readers = how.readers;
    options.slots = how.slots;
    const double took = seconds_of([&] {
        const auto memory = ckpt::detail::run_upload(bench::simulated_link{devices}, plan, options).value();
        require(memory->wait().has_value() && memory->report.fallback.empty(), "an upload");
    });
    const auto end = std::chrono::steady_clock::now();
    const auto counted = devices.counted();
    const auto links = static_cast<std::uint64_t>(how.devices);
    require(counted.bytes <= plan.read_bytes() * links && counted.bytes >= weights_file::get().bytes() * links &&
                counted.copies == plan.copies(),
            "what was copied");
    require(counted.pinned == 0 && counted.most_pinned <= how.slots * (how.piece + 4'096), "what was pinned");
    return {took, std::chrono::duration<double>(end - counted.ready).count()};
}

/// Reads `piece` bytes into pinned memory, copies them and waits, until everything is there.
double read_then_copy(std::uint64_t piece, double rate) {
    const auto plan = plan_of(8 * mebibyte, 1);
    const auto runs = plan.runs();
    const auto file = ckpt::detail::source::open(weights_file::get().path(), {.mode = ckpt::io_mode::read}).value();
    bench::simulated_devices devices{rate};
    const bench::simulated_link link{devices};
    return seconds_of([&] {
        ckpt::detail::pages room{static_cast<std::size_t>(piece)};
        bench::simulated_link::stream stream{};
        require(link.make_stream(stream) == 0 && link.pin(room.bytes().data(), room.bytes().size(), false) == 0,
                "pinning");
        void* memory{};
        require(link.allocate(memory, static_cast<std::size_t>(plan.device_bytes(0)), stream) == 0, "memory");
        for (const auto& run : runs)
            for (std::uint64_t at = 0; at < run.bytes; at += piece) {
                const auto part = room.bytes().first(static_cast<std::size_t>((std::min)(piece, run.bytes - at)));
                require(file->read(run.offset + at, part).has_value(), "reading");
                const ckpt::device_copy one[]{{memory, part.data(), part.size()}};
                require(link.copy(one, stream) == 0 && link.synchronise(stream) == 0, "copying");
            }
        require(link.unpin(room.bytes().data()) == 0 && link.drop_stream(stream) == 0, "unpinning");
    });
}

/// The rate at which a plain loop reads the file, measured once for a run: the link that is as fast as the host.
double host_rate() {
    static const double rate = [] {
        double best = infinite;
        for (int i = 0; i < 5; ++i) best = (std::min)(best, read_then_copy(8 * mebibyte, infinite));
        return static_cast<double>(weights_file::get().bytes()) / best;
    }();
    return rate;
}

void link_runs(contest& of) {
    of.add("read a piece, copy, wait, copies in no time", [] { return read_then_copy(8 * mebibyte, infinite); });
    const contestant& serial = of.add("read a piece, copy, wait, link as fast as that reads",
                                      [] { return read_then_copy(8 * mebibyte, host_rate()); });
    const contestant& whole = of.add("read everything, copy, the same link", [] {
        return read_then_copy(weights_file::get().bytes() + mebibyte, host_rate());
    });
    const auto uploads = [&](const staging& how, std::span<const double> rates) {
        const std::string name = (how.devices > 1 ? std::to_string(how.devices) + " devices, " : "") +
                                 std::to_string(how.slots) + " slots of " + std::to_string(how.piece / mebibyte) +
                                 " MiB, " + std::to_string(how.readers) + " readers, ";
        const contestant& host = of.add(name + "copies in no time", [=] { return upload(how, infinite); });
        for (const double rate : rates) {
            const auto actual = [=] { return rate != 0 ? rate * 1e9 : host_rate(); };
            contestant& c = of.add(
                name + (rate != 0 ? std::to_string(static_cast<int>(rate)) + " GB/s" : "as fast as the loop reads"),
                [=] { return upload(how, actual()); });
            const auto link = [=] { return static_cast<double>(weights_file::get().bytes()) / actual(); };
            c.counters["host"] = [&] { return host.best; };
            c.counters["link"] = link;
            c.counters["efficiency"] = [=, &host, &c] { return (std::max)(host.best, link()) / c.best; };
            c.counters["streaming"] = [=, &host, &c] { return (std::max)(host.streaming, link()) / c.streaming; };
            if (rate != 0) continue;
            c.counters["x_serial"] = [&] { return serial.best / c.best; };
            c.counters["x_whole"] = [&] { return whole.best / c.best; };
        }
    };
    constexpr double rates[]{3, 6, 12, 25, 55, 0};
    constexpr double few[]{6, 25};
    for (const unsigned readers : {1u, 2u})
        for (const std::uint64_t piece : {4u, 8u})
            for (const unsigned slots : {1u, 2u, 4u, 8u}) uploads({slots, piece * mebibyte, readers}, rates);
    uploads({8, 8 * mebibyte, 2, 2}, few);
}

// ---- many small tensors

void small_runs(contest& of, std::size_t tensors) {
    const auto open = [=] { return ckpt::open(bench::inputs::of({tensors}).path).value().state_dict("").value(); };
    contestant& planned = of.add("plan", [=] {
        const ckpt::state_dict weights = open();
        std::vector<ckpt::upload_plan> out;
        const double took = seconds_of([&] { out.push_back(ckpt::plan_upload(weights).value()); });
        require(out[0].size() == tensors, "the number of tensors");
        return took;
    });
    planned.counters["ns/tensor"] = [=, &planned] { return planned.best * 1e9 / static_cast<double>(tensors); };
    static std::uint64_t copies, pieces, pinned, file_bytes;
    contestant& uploaded = of.add("upload, 25 GB/s and 5 us a copy", [=] {
        const auto plan = ckpt::plan_upload(open()).value();
        bench::simulated_devices devices{25e9, 1, 5e-6};
        const double took = seconds_of([&] {
            const auto memory = ckpt::detail::run_upload(bench::simulated_link{devices}, plan, {}).value();
            require(memory->wait().has_value(), "an upload");
        });
        copies = devices.counted().copies;
        pieces = plan.pieces();
        pinned = devices.counted().most_pinned;
        file_bytes = std::filesystem::file_size(bench::inputs::of({tensors}).path);
        require(copies <= file_bytes / (8 * mebibyte) + plan.runs().size(), "more copies than pieces of the file");
        require(pinned <= 8 * (8 * mebibyte + 4'096), "more pinned memory than the ring");
        return took;
    });
    uploaded.counters["copies"] = [] { return static_cast<double>(copies); };
    uploaded.counters["pieces"] = [] { return static_cast<double>(pieces); };
    uploaded.counters["pinned"] = [] { return static_cast<double>(pinned); };
    uploaded.counters["file"] = [] { return static_cast<double>(file_bytes); };
    contestant& single = of.add("one copy for each tensor, by this arithmetic",
                                [=] { return static_cast<double>(tensors) * (5e-6 + 16 / 25e9); });
    single.counters["x_upload"] = [&] { return single.best / uploaded.best; };
}

// ---- the processor's time

void cpu_runs(contest& of) {
    const double gib = static_cast<double>(weights_file::get().bytes()) / static_cast<double>(1'024 * mebibyte);
    const contestant* buffered = nullptr;
    const auto add = [&](std::string name, upload_source source, bool cold, unsigned readers) -> contestant& {
        contestant& c = of.add(std::move(name), [=] {
            if (cold) weights_file::get().drop_from_cache();
            const double before = processor_seconds();
            (void)upload({.readers = readers, .source = source}, infinite);
            return (processor_seconds() - before) / gib;
        });
        return c;
    };
    buffered = &add("staged, buffered, page cache", upload_source::buffered, false, 1);
    const contestant& cold = add("staged, buffered, cold", upload_source::buffered, true, 1);
    for (const unsigned readers : {1u, 2u}) {
        contestant& direct =
            add("staged, direct, " + std::to_string(readers) + " readers", upload_source::direct, true, readers);
        direct.counters["buffered/direct"] = [=, &direct] { return buffered->best / direct.best; };
        direct.counters["cold/direct"] = [&] { return cold.best / direct.best; };
    }
    const auto host = [&](std::string name, upload_source source) {
        of.add(std::move(name), [=] {
            weights_file::get().drop_from_cache();
            const ckpt::state_dict weights = weights_file::get().open();
            const double before = processor_seconds();
            const auto out = ckpt::host::load(weights, {.source = source, .readers = 1}).value();
            return (processor_seconds() - before) / gib;
        });
    };
    host("host, buffered, cold", upload_source::buffered);
    host("host, direct", upload_source::direct);
}

} // namespace

int main(int count, char** arguments) {
    benchmark::Initialize(&count, arguments);
    for (int i = 1; i < count; ++i) {
        const std::string_view a = arguments[i];
        if (a.starts_with("--mebibytes=")) mebibytes = std::strtoull(arguments[i] + 12, nullptr, 10);
        else if (a.starts_with("--rounds=")) rounds = std::strtoull(arguments[i] + 9, nullptr, 10);
        else return std::fprintf(stderr, "see the first lines of upload.cpp\n"), 2;
    }
    contest host{"host", mebibytes + 128}, link{"link", 128}, small{"small", 128}, cpu{"cpu", mebibytes + 128};
    host_runs(host);
    link_runs(link);
    small_runs(small, 100'000);
    cpu_runs(cpu);
    for (contest* c : {&host, &link, &small, &cpu}) c->enter();
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return all_good ? 0 : 1;
}
