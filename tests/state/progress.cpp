// tests/state/progress.cpp: how far loads, checks, digests and comparisons have come, and what stopping them leaves.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/diff.hpp>
#include <ckpt/state/pull.hpp>
#include <ckpt/state/push.hpp>
#include <ckpt/tensor/statistics.hpp>

#include "../support/sanitized.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace progress_test {

using ckpt::errc;
using namespace test_support;

namespace {

constexpr std::int64_t rows = 2'200'000; // of float32: a little more than two steps of 4 MiB
constexpr std::uint64_t big_bytes = 4 * std::uint64_t{rows};

struct net {
    ckpt::tensor_copy<float, 1> first;
    ckpt::tensor_copy<double, 2> turned;
    ckpt::tensor_copy<float, 1> last;
};

} // namespace

} // namespace progress_test

template <>
struct ckpt::binding<progress_test::net>
    : ckpt::fields<ckpt::field<"first", &progress_test::net::first>, ckpt::field<"turned", &progress_test::net::turned>,
                   ckpt::field<"last", &progress_test::net::last>> {};

namespace progress_test {

namespace {

/// Three tensors: one in the order of the file, one transposed, a small one.
const temporary_file& big_file() {
    static const temporary_file file = [] {
        std::string bytes(big_bytes, '\0');
        for (std::size_t i = 0; i < bytes.size(); i += 4096) bytes[i] = static_cast<char>(i / 4096 % 100);
        using namespace pkl;
        const auto count = static_cast<int>(rows);
        return temporary_file{
            torch_file(dict({{str("first"), tensor(storage("FloatStorage", "0", count), 0, {rows}, {1})},
                             {str("turned"), tensor(storage("FloatStorage", "1", count), 0, {1000, 2200}, {1, 1000})},
                             {str("last"), floats("2", 3)}}),
                       {{"0", bytes}, {"1", bytes}, {"2", raw<float>({1, 2, 3})}})};
    }();
    return file;
}

/// Notes the calls, and answers false in one of them.
struct watch {
    std::size_t stop_at{0}; // 0: never
    std::vector<ckpt::progress> calls{};
    bool operator()(const ckpt::progress& p) {
        calls.push_back(p);
        return calls.size() != stop_at;
    }
};

/// A call with a callback; how it ended.
using call = std::function<errc(const ckpt::progress_callback&)>;

template <class T> errc code_of(const ckpt::result<T>& of) { return of ? errc::none : of.error().code; }

std::vector<std::pair<std::string, call>> calls_on(const ckpt::checkpoint& file) {
    const auto weights = file.state_dict("").value();
    const auto into = [weights](const ckpt::progress_callback& tell, bool digests) {
        std::vector<float> a(rows), c(3);
        std::vector<double> b(rows);
        const std::int64_t any[]{ckpt::any};
        const std::int64_t any2[]{ckpt::any, ckpt::any};
        const ckpt::destination places[]{{"first", ckpt::dtype::float32, any, std::as_writable_bytes(std::span{a})},
                                         {"turned", ckpt::dtype::float64, any2, std::as_writable_bytes(std::span{b})},
                                         {"last", ckpt::dtype::float32, any, std::as_writable_bytes(std::span{c})}};
        return code_of(ckpt::load_into(weights, places, {.convert = true, .digests = digests, .progress = tell}));
    };
    return {
        {"load",
         [weights](const auto& tell) {
             return code_of(ckpt::load<net>(weights, {.convert = true, .progress = tell}));
         }},
        {"load with digests",
         [weights](const auto& tell) {
             return code_of(ckpt::load<net>(weights, {.convert = true, .digests = true, .progress = tell}));
         }},
        {"load_into", [into](const auto& tell) { return into(tell, false); }},
        {"load_into with digests", [into](const auto& tell) { return into(tell, true); }},
        {"push",
         [weights](const auto& tell) {
             std::vector<std::byte> a(big_bytes), b(big_bytes), c(12);
             return code_of(ckpt::push(weights,
                                       [&](const ckpt::offered_tensor& t) {
                                           return std::optional(ckpt::sink{t.dtype, t.key == "first" ? std::span{a}
                                                                                    : t.key == "turned"
                                                                                        ? std::span{b}
                                                                                        : std::span{c}});
                                       },
                                       {.progress = tell}));
         }},
        {"pull",
         [weights](const auto& tell) {
             return code_of(ckpt::puller{weights, {.progress = tell}}.template copy<float, 2>("turned"));
         }},
        {"pull into memory",
         [weights](const auto& tell) {
             std::vector<std::byte> to(big_bytes);
             return code_of(ckpt::puller{weights, {.progress = tell}}.copy_into("first", ckpt::dtype::float32, to));
         }},
        {"crc32",
         [weights](const auto& tell) { return code_of(ckpt::digester{}.crc32(weights.at("turned").value(), tell)); }},
        {"statistics",
         [weights](const auto& tell) { return code_of(ckpt::statistics(weights.at("first").value(), tell)); }},
        {"checkpoint_digest", [weights](const auto& tell) { return code_of(ckpt::checkpoint_digest(weights, tell)); }},
        {"diff",
         [weights](const auto& tell) {
             const auto found = ckpt::diff(weights, weights, {.progress = tell});
             CHECK(found.only_a.empty());
             CHECK(found.changed.empty());
             CHECK(found.equal + found.not_compared.size() == 3);
             return found.same() ? errc::none : errc::cancelled;
         }},
        {"verify",
         [file](const auto& tell) {
             const auto report = file.verify({.progress = tell});
             CHECK(report.findings.size() <= 1);
             return report.ok() ? errc::none : report.findings.back().code;
         }},
    };
}

} // namespace

TEST_CASE("progress: it goes forward in steps of 4 MiB and ends at the total" * doctest::test_suite("slow")) {
    for (const auto io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const auto file = ckpt::open(big_file().path(), {.io = io}).value();
        for (const auto& [name, call] : calls_on(file)) {
            const std::string what = name; // no structured binding is captured
            CAPTURE(what);
            watch seen;
            CHECK(call(seen) == errc::none);
            REQUIRE(seen.calls.size() >= 2);
            CHECK(seen.calls.size() <= 2 + seen.calls[0].total / (std::uint64_t{4} << 20));
            std::uint64_t before = 0;
            for (const ckpt::progress& p : seen.calls) {
                CHECK(p.done > before);
                CHECK(p.total == seen.calls[0].total);
                before = p.done;
            }
            CHECK(before == seen.calls[0].total);
        }
    }
}

TEST_CASE("progress: false in the first, in the middle or in the last call ends it, and nothing is called after that" *
          doctest::test_suite("slow")) {
    for (const auto io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        if (test_support::sanitized && io == ckpt::io_mode::map) continue; // they are slow
        const auto file = ckpt::open(big_file().path(), {.io = io}).value();
        for (const auto& [name, call] : calls_on(file)) {
            watch all;
            (void)call(all);
            for (const std::size_t stop : {std::size_t{1}, all.calls.size() / 2 + 1, all.calls.size()}) {
                const std::string what = name;
                CAPTURE(what);
                CAPTURE(stop);
                watch seen{stop, {}};
                // A comparison that is stopped in its last call has compared everything.
                CHECK((call(seen) == errc::cancelled || (name == "diff" && stop == all.calls.size())));
                CHECK(seen.calls.size() == stop);
            }
        }
    }
}

TEST_CASE("progress: a stopped load leaves the struct, and a stopped copy to places says which were not written") {
    const auto file = ckpt::open(big_file().path(), {.io = ckpt::io_mode::read}).value();
    const auto weights = file.state_dict("").value();
    net model;
    watch second{2, {}};
    const auto stopped = ckpt::load(weights, model, {.convert = true, .progress = second});
    REQUIRE(!stopped);
    CHECK(stopped.error().detail ==
          "the progress callback said so after 8388608 of 17600012 bytes; the struct is as it was");
    CHECK(stopped.error().path == "first");
    CHECK(model.first.numel() == 0);

    std::vector<std::byte> a(big_bytes), b(big_bytes), c(12);
    const auto to = [&](const ckpt::offered_tensor& t) {
        return std::optional(ckpt::sink{t.dtype, t.key == "first"    ? std::span{a}
                                                 : t.key == "turned" ? std::span{b}
                                                                     : std::span{c}});
    };
    watch first{1, {}};
    CHECK(ckpt::push(weights, to, {.progress = first}).error().detail ==
          "the progress callback said so after 4194304 of 17600012 bytes; \"first\" was written in part; 2 were not "
          "written: \"turned\", \"last\"");
    watch last;
    (void)ckpt::push(weights, to, {.progress = last});
    last.stop_at = last.calls.size();
    last.calls.clear();
    CHECK(ckpt::push(weights, to, {.progress = last}).error().detail ==
          "the progress callback said so after 17600012 of 17600012 bytes; 0 were not written");
}

TEST_CASE("progress: digests that are stopped are left out of a puller's report") {
    const auto file = ckpt::open(big_file().path()).value();
    const auto weights = file.state_dict("").value();
    watch seen{1, {}};
    const ckpt::puller model{weights, {.digests = true, .progress = seen}};
    CHECK(model.get("first"));
    CHECK(model.get("turned"));
    const auto report = model.report();
    CHECK(seen.calls.size() == 1);
    REQUIRE(report.loaded.size() == 2);
    CHECK_FALSE(report.loaded[0].crc32);
    CHECK_FALSE(report.loaded[1].crc32);
}

} // namespace progress_test
