// tests/pickle/resources.cpp: rules R1 and R2: what a pickle may cost. Counts what operator new hands out.
//
// SPDX-License-Identifier: MIT
#include "../support/pickle_writer.hpp"
#include "../support/processor_time.hpp"
#include "../support/sanitized.hpp"

#include <ckpt/core/hash.hpp>
#include <ckpt/torch/scan.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#if defined(__unix__)
#include <pthread.h>
#endif

namespace resources_test {

namespace {

std::atomic<std::size_t> in_use{0};
std::atomic<std::size_t> peak{0};

// A header before each allocation holds its size.
void* counted_new(std::size_t bytes, std::size_t alignment) {
    const std::size_t before = alignment < 16 ? 16 : alignment;
    void* const raw = std::aligned_alloc(before, (before + bytes + before - 1) / before * before);
    if (raw == nullptr) throw std::bad_alloc{};
    *static_cast<std::size_t*>(raw) = bytes;
    const std::size_t now = in_use += bytes;
    for (std::size_t most = peak; now > most && !peak.compare_exchange_weak(most, now);) {}
    return static_cast<char*>(raw) + before;
}
void counted_delete(void* p, std::size_t alignment) noexcept {
    if (p == nullptr) return;
    const std::size_t before = alignment < 16 ? 16 : alignment;
    void* const raw = static_cast<char*>(p) - before;
    in_use -= *static_cast<std::size_t*>(raw);
    std::free(raw);
}

} // namespace

} // namespace resources_test

void* operator new(std::size_t n) { return resources_test::counted_new(n, 0); }
void* operator new[](std::size_t n) { return resources_test::counted_new(n, 0); }
void* operator new(std::size_t n, std::align_val_t a) {
    return resources_test::counted_new(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
    return resources_test::counted_new(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { resources_test::counted_delete(p, 0); }
void operator delete[](void* p) noexcept { resources_test::counted_delete(p, 0); }
void operator delete(void* p, std::size_t) noexcept { resources_test::counted_delete(p, 0); }
void operator delete[](void* p, std::size_t) noexcept { resources_test::counted_delete(p, 0); }
void operator delete(void* p, std::align_val_t a) noexcept {
    resources_test::counted_delete(p, static_cast<std::size_t>(a));
}
void operator delete[](void* p, std::align_val_t a) noexcept {
    resources_test::counted_delete(p, static_cast<std::size_t>(a));
}
void operator delete(void* p, std::size_t, std::align_val_t a) noexcept {
    resources_test::counted_delete(p, static_cast<std::size_t>(a));
}
void operator delete[](void* p, std::size_t, std::align_val_t a) noexcept {
    resources_test::counted_delete(p, static_cast<std::size_t>(a));
}

namespace resources_test {

using ckpt::errc;
using namespace test_support;
using namespace test_support::pickles;

namespace {

constexpr double most_seconds = test_support::bound_of(5);

struct cost {
    errc code{};
    double seconds{};
    std::size_t bytes{};
};

template <class F> cost measure(F&& work) {
    cost out;
    const std::size_t before = in_use;
    peak = before;
    const test_support::processor_time passed;
    out.code = work();
    out.seconds = passed.seconds();
    out.bytes = peak - before;
    return out;
}

/// Reads a pickle under each policy: memory is at most 64 times the pickle and a mebibyte, and there is an end to it.
void check_cost(const std::string& what, std::string pickle, errc expected = errc::none) {
    CAPTURE(what);
    const std::size_t bound = 64 * pickle.size() + (std::size_t{1} << 20);
    for (const bool weights : {true, false}) {
        const cost c = measure([&] {
            const parsed p{pickle, weights ? ckpt::detail::allowlist_of<ckpt::weights_policy>()
                                           : ckpt::detail::allowlist_of<ckpt::inspect_policy>()};
            return p.code();
        });
        CAPTURE(pickle.size());
        CAPTURE(c.seconds);
        if (!weights || c.code != errc::global_not_allowed) CHECK(ckpt::info(c.code).name == ckpt::info(expected).name);
        CHECK(c.bytes - pickle.size() <= bound); // `parsed` keeps a copy
        CHECK(c.seconds < most_seconds);
    }
    const auto judge = ckpt::detail::allowlist_of<ckpt::training_policy>();
    const ckpt::limits limits{};
    const cost scanned = measure([&] {
        ckpt::detail::global_scanner scanner{judge, limits};
        (void)scanner.scan(std::as_bytes(std::span{pickle}), 0, "archive/data.pkl");
        (void)scanner.finish(std::nullopt);
        return errc::none;
    });
    CAPTURE(scanned.bytes);
    CHECK(scanned.seconds < most_seconds);
    CHECK(scanned.bytes <= 4 * bound);
}

TEST_CASE("R2: nesting of a hundred thousand levels is read, walked and destroyed") {
    const std::size_t n = 100'000;
    check_cost("lists", times(n, "(") + times(n, "l") + '.');
    check_cost("lists by append", times(n, "]") + times(n - 1, "a") + '.');
    check_cost("tuples", "N" + times(n, "\x85") + '.');
    check_cost("dictionaries", times(n, "}N") + 'N' + times(n, "s") + '.');
    check_cost("keys", "N" + times(n, "\x85") + "q\0000}h\0Ns."s);
    check_cost("objects", global("m", "n") + times(n, ")R") + '.');
    check_cost("states", global("m", "n") + "q\0000"s + times(n, "h\0)R"s) + times(n - 1, "b") + '.');
    check_cost("arguments", global("collections", "OrderedDict") + "q\0000"s + times(n, "h\0"s) + ')' +
                                times(n, "\x85R").substr(1) + '.');
    check_cost("persistent ids", "N" + times(n, "Q") + '.');
    check_cost("marks", times(n, "(") + "N" + times(n, "t") + '.');
}

TEST_CASE("R1: a million tiny objects cost what their bytes justify" * doctest::test_suite("slow")) {
    const std::size_t n = 900'000 / one_of;
    check_cost("tuples", '(' + times(n, "N\x85") + "t.");
    check_cost("lists", '(' + times(n, "]") + "l.");
    check_cost("sets with one element", '(' + times(n / 4, "(N\x91") + "l.");
    check_cost("integers", '(' + times(n / 3, "M\xff\xff") + "l.");
    check_cost("marks", times(n, "(") + "N.");
    check_cost("frames", times(80'000, "\x95\0\0\0\0\0\0\0\0"s) + "N.");
    check_cost("objects", global("m", "n") + "q\0000("s + times(n / 4, "h\0)R"s) + "l.");
    check_cost("globals", '(' + times(n / 5, "ca\nb\n") + "l.");
    check_cost("refused tensors",
               global("torch._utils", "_rebuild_tensor_v2") + "q\0000("s + times(n / 4, "h\0)R"s) + "l.");
    check_cost("few refused tensors",
               global("torch._utils", "_rebuild_tensor_v2") + "q\0000("s + times(5'000, "h\0)R"s) + "l.");
    check_cost("refused ids", '(' + times(n / 2, "NQ") + "l.");
    check_cost("few refused ids", '(' + times(5'000, "NQ") + "l.");
    check_cost("dictionaries", global("collections", "OrderedDict") + "q\0000("s + times(n / 4, "h\0)R"s) + "l.");
}

TEST_CASE("R1: what is shared is not visited again and again" * doctest::test_suite("slow")) {
    const std::string doubled = times(60, "h\0h\0\x86q\0000"s);
    check_cost("a DAG", "N\x85q\0000"s + doubled + "h\0."s);
    check_cost("a DAG as a key", "N\x85q\0000"s + doubled + "}h\0Ns."s);
    check_cost("two DAGs as keys", "}(N\x85q\0000"s + doubled + "h\0NN\x85q\0000"s + doubled + "h\0Nu."s, errc::limit);
    check_cost("two DAGs by DUP as keys", "}(N\x85" + times(60, "2\x86") + "NN\x85" + times(60, "2\x86") + "Nu.",
               errc::limit);
    check_cost("a list doubled by DUP", "]" + times(60, "2\x86") + '.');
    const std::string big_tuple = "(" + times(100'000, "N") + "tq\0000"s;
    check_cost("a long tuple as arguments",
               big_tuple + global("torch._utils", "_rebuild_tensor_v2") + "q\1" + times(100'000, "h\1h\0R0"s) + "N.");
    check_cost("a long tuple inside arguments", big_tuple + global("torch._utils", "_rebuild_tensor_v2") + "q\1" +
                                                    times(100'000, "h\1h\0\x85R0"s) + "N.");
    check_cost("a long tuple as a size",
               "(" + times(100'000, "K\1") + "tq\0000"s + global("torch", "Size") + "q\1" +
                   times(10'000, "h\1h\0\x85R0"s) + "N.",
               errc::limit);
    check_cost("a long list as a set",
               "](" + times(100'000, "N") + "eq\0000"s + global("builtins", "set") + "q\1" +
                   times(10'000, "h\1h\0\x85R0"s) + "N.",
               errc::limit);
    check_cost("metadata that repeats itself", "}(" + times(50'000, text("conj") + "\x88") + "uq\0000"s +
                                                   global("torch._utils", "_rebuild_tensor_v2") + "q\1" +
                                                   times(100'000, "h\1(NNNN\x89Nh\0tR0"s) + "N.");
    check_cost("long text in short dictionaries",
               text(std::string(1'000'000, 'x')) + "q\0000"s + text(std::string(1'000'000, 'x')) +
                   "q\1"
                   "0" +
                   times(200'000, "}(h\0Nh\1Nu0"s) + "N.",
               errc::limit);
    check_cost("long text in long dictionaries",
               text(std::string(1'000'000, 'x')) + "q\0000"s +
                   times(20'000, "}(K\1NK\2NK\3NK\4NK\5NK\6NK\7NK\x8NK\x9Nh\0Nu0"s) + "N.",
               errc::limit);
    check_cost("long keys of storages",
               text(std::string(1'000'000, '0')) +
                   "q\1"
                   "0(" +
                   text("storage") + global("torch", "FloatStorage") + "h\1" + text("cpu") + "K\4tq\0000"s +
                   times(200'000, "h\0Q0"s) + "N.",
               errc::limit);
    check_cost("long names of globals",
               text(std::string(500'000, 'a')) + "q\0000"s +
                   times(200'000, "h\0h\0\x93"
                                  "0"s) +
                   "N.",
               errc::limit);
    check_cost("long dotted names of globals",
               text(times(250'000, "a.")) + "q\0000"s +
                   times(200'000, "h\0h\0\x93"
                                  "0"s) +
                   "N.",
               errc::limit);
}

TEST_CASE("R1: cycles inside arguments cost what their edges do") {
    const std::string set = global("builtins", "set") + "q\1"
                                                        "0";
    check_cost("edges back to the outermost",
               set + "h\1]q\0"s + times(20'000, "]") + '(' + times(100'000, "h\0"s) + 'l' + times(20'001, "a") +
                   "\x85R.",
               errc::limit);
    CHECK(read(global("collections", "OrderedDict") + "]q\0\x85Rq\1h\0h\1a0."s) == "refused cyclic_arguments");
}

TEST_CASE("R1: keys that collide are compared within the budget, or refused") {
    std::string same_hash = "}(";
    for (std::uint64_t i = 1; i < 20'000; ++i) same_hash += long1(number(i * 0x1FFF'FFFF'FFFF'FFFFu, 8)) + 'N';
    check_cost("multiples of Python's prime", same_hash + "u.");
    // Tuples are hashed by their first elements only, so these all collide.
    std::string deep = "}(";
    for (std::uint32_t i = 0; i < 20'000; ++i) deep += "(NNNNNNNNM" + number(i % 65536, 2) + "tN";
    check_cost("tuples of one hash", deep + "u.", errc::limit);
    std::string few = "}(";
    for (std::uint32_t i = 0; i < 300; ++i) few += "(NNNNNNNNM" + number(i, 2) + "tN";
    check_cost("some tuples of one hash", few + "u.");
}

TEST_CASE("R1: 64 memo indices beyond the pickle's size may collide, and not one more") {
    const auto put = [](int count) {
        std::string pickle = "N";
        for (std::uint32_t index = 1'000'000; count > 0; ++index) {
            if ((ckpt::detail::mix(index) & 255) != 0) continue; // the table has 256 slots for 65 indices
            pickle += 'r' + number(index, 4);
            --count;
        }
        return read(pickle + '.');
    };
    CHECK(put(64) == read("N."));
    CHECK(put(65) == "limit");
}

TEST_CASE("R1: numbers, names and lengths of any size end soon" * doctest::test_suite("slow")) {
    check_cost("a long LONG", "L" + std::string(500'000, '9') + "L\n.", errc::limit);
    check_cost("many LONGs", times(1'000, "L" + std::string(4'300, '9') + "L\n0") + "N.");
    check_cost("a binary LONG", "\x8b" + number(500'000, 4) + std::string(500'000, '\x55') + '.');
    check_cost("a line without end", "I" + std::string(1'000'000, '1'), errc::pickle_truncated);
    check_cost("a length of 2 GiB", "X\xff\xff\xff\x7f", errc::pickle_truncated);
    check_cost("a memo index of 2^32 - 1", "Nr\xff\xff\xff\xff.");
    check_cost("memo entries with gaps", times(1'000, "Nr\0\1\0\0"s + "Nq\1") + "N.");
    check_cost("a name of 500 KB", global(std::string(500'000, 'm'), std::string(500'000, 'n')) + '.');
    check_cost("many pickles", times(500'000, "N."));
    check_cost("many globals under many keys",
               '}' + times(5'000, "(" + text(std::string(100, 'k')) + "]" + "ca\nb\na}") + '.');
    check_cost("nested pickles that are shared", bytes(times(100'000, "N0") + "N.") + "q\0000"s +
                                                     global("torch.storage", "_load_from_bytes") + "q\1" +
                                                     times(50'000, "h\1h\0\x85R0"s) + "N.");
}

TEST_CASE("R1: the budgets of limits hold" * doctest::test_suite("slow")) {
    ckpt::limits small;
    small.work_per_byte = 0;
    std::string keys = "}(";
    for (std::uint32_t i = 0; i < 400'000; ++i) keys += 'M' + number(i, 2) + 'N';
    CHECK(code_of(times(3, keys + "u0") + "N.", small) == errc::limit);
    CHECK(code_of(times(3, keys + "u0") + "N.") == errc::none);
    std::string million = "}(";
    for (std::uint32_t i = 0; i < 1'000'000; ++i) million += 'J' + number(i, 4) + 'N';
    CHECK(code_of(million + "u.", small) == errc::none); // one for each key, and a million are free
    CHECK(code_of(million + text("k") + "Nu.", small) == errc::limit);
    small = {};
    small.made_per_byte = 0;
    CHECK(code_of('(' + times(100'000, global("collections", "OrderedDict") + ")R") + "l.", small) == errc::limit);
    small = {};
    small.work_per_byte = small.made_per_byte = ~std::uint64_t{0};
    CHECK(code_of("}K\1K\1s.", small) == errc::none);
}

TEST_CASE("R1: names of globals may be as long as the work for them, a sixteenth of a byte each") {
    const auto named = [](std::size_t length) { return stack_global("m", std::string(length, 'n')) + "0N."; };
    ckpt::limits none;
    none.work_per_byte = 0;
    CHECK(code_of(named(62'499), none) == errc::none);
    CHECK(code_of(named(62'500), none) == errc::limit);
}

TEST_CASE("R1: past a thousand faults, further ones of a kind share a description; long names of records are cut") {
    ckpt::detail::graph g{ckpt::detail::shared<ckpt::detail::block_pool>{}};
    std::uint32_t last = 0;
    for (int i = 0; i < 1000; ++i) last = g.keep({.code = errc::bad_arguments, .detail = "its own"});
    CHECK(last == 999);
    CHECK(g.errors[999]->detail == "its own");
    CHECK(g.keep({.code = errc::bad_arguments, .detail = "its own"}) == 1000);
    CHECK(g.errors[1000]->detail.empty());
    CHECK(g.keep({.code = errc::bad_arguments, .detail = "its own"}) == 1000);
    CHECK(g.keep({.code = errc::limit, .detail = "its own"}) == 1001);
    ckpt::detail::graph names{ckpt::detail::shared<ckpt::detail::block_pool>{}};
    const auto kept = [&](std::size_t length) {
        return names.errors[names.keep({.code = errc::limit, .record = std::string(length, 'r')})]->record.size();
    };
    CHECK(kept(256) == 256);
    CHECK(kept(257) == 63);
}

#if defined(__unix__)
TEST_CASE("R2: a thread with a small stack reads, walks and destroys everything") {
    constexpr std::size_t stack = test_support::sanitized ? 512 * 1024 : 64 * 1024; // sanitizers make frames larger
    static std::size_t visited;
    visited = 0;
    const auto work = [](void*) -> void* {
        const std::size_t n = 200'000;
        const std::string set = global("builtins", "set") + "q\0000"s;
        const std::string pickles[]{times(n, "(") + times(n, "l") + '.',
                                    "N" + times(n, "\x85") + '.',
                                    global("m", "n") + times(n, ")R") + '.',
                                    times(n, "}N") + 'N' + times(n, "s") + '.',
                                    set + "h\0("s + times(n, "(") + times(n, "l") + "ltR.",
                                    "N" + times(n, "\x85") + "q\0000}h\0Ns."s,
                                    "}(N" + times(n, "\x85") + "NN" + times(n, "\x85") + "Nu."};
        for (const std::string& p : pickles) {
            const parsed out{p};
            std::vector<ckpt::value> todo{out.root()};
            while (!todo.empty()) {
                const ckpt::value v = todo.back();
                todo.pop_back();
                ++visited;
                for (const ckpt::value e : v.elements()) todo.push_back(e);
                for (const ckpt::value::entry e : v.entries()) todo.push_back(e.mapped);
                if (v.class_of()) todo.push_back(v.class_of());
            }
        }
        return nullptr;
    };
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstacksize(&attributes, stack) == 0);
    pthread_t thread{};
    REQUIRE(pthread_create(&thread, &attributes, work, nullptr) == 0);
    REQUIRE(pthread_join(thread, nullptr) == 0);
    pthread_attr_destroy(&attributes);
    CHECK(visited > 800'000);
}
#endif

} // namespace

} // namespace resources_test
