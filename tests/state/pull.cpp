// tests/state/pull.cpp: tensors by name, one request at a time, and what was asked for in the end.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/pull.hpp>

#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace pull_test {

using ckpt::errc;
using namespace test_support;

static_assert(!std::is_constructible_v<ckpt::puller, ckpt::state_dict> &&
              !std::is_constructible_v<ckpt::puller, const ckpt::state_dict>);
static_assert(std::is_constructible_v<ckpt::puller, ckpt::state_dict&> &&
              std::is_constructible_v<ckpt::puller, const ckpt::state_dict&>);

namespace {

using keys = std::vector<std::string>;

std::string pulled_file() {
    using namespace pkl;
    const std::string matrix = tensor(storage("FloatStorage", "0", 4), 0, {2, 2}, {2, 1});
    return torch_file(
        dict({{str("model"), dict({{str("blocks.0.w"), matrix},
                                   {str("blocks.0.b"), floats("0", 4)},
                                   {str("blocks.1.w"), matrix},
                                   {str("head"), floats("1", 2)},
                                   {str("bad"), tensor(storage("FloatStorage", "0", 4), 1, {4}, {1})}})}}),
        {{"0", raw<float>({1, 2, 3, 4})}, {"1", raw<float>({5, 6})}});
}
ckpt::state_dict pulled() {
    static const std::string file = pulled_file();
    return ckpt::open_bytes(bytes_of(file)).value().state_dict("model").value();
}

} // namespace

TEST_CASE("a puller gives what is asked for, and its report knows what was not") {
    const auto weights = pulled();
    const ckpt::puller p{weights};
    const auto block = p.scope("blocks.0");
    CHECK(block.prefix() == "blocks.0");
    CHECK(block.view<float, 2>("w", {ckpt::any, 2}).value()(1, 0) == 3);
    CHECK(block.copy<float, 1>("b").value()(3) == 4);
    CHECK(p.scope("blocks").scope("1").get("w").value().rank() == 2);
    CHECK(block.contains("w"));
    CHECK_FALSE(p.contains("w"));
    CHECK(p.contains("head"));
    CHECK_FALSE(block.optional_view<float, 1>("c").value().has_value());
    const auto report = p.report();
    CHECK(report.loaded.size() == 3);
    CHECK(report.loaded[0].key == "blocks.0.w");
    CHECK(report.absent == keys{"blocks.0.c"});
    CHECK(report.unexpected_keys == keys{"head", "bad"}); // to ask whether it is there is not to use it
    CHECK(report.complete());
    CHECK_FALSE(report.ok());
    CHECK(block.report().unexpected_keys == report.unexpected_keys);
    CHECK(ckpt::puller{weights, {.allow_unexpected = {"**"}}}.report().ok());
}

TEST_CASE("what fails is in the report as missing or mismatched") {
    const auto weights = pulled();
    const ckpt::puller p{weights, {.allow_missing = {"nothing"}, .allow_unexpected = {"**"}}};
    const auto missing = p.view<float, 1>("heat");
    CHECK(missing.error().code == errc::key_missing);
    CHECK(missing.error().detail.find(R"(nearest: "head")") != std::string::npos);
    CHECK(p.get("nothing").error().code == errc::key_missing);
    CHECK(p.view<double, 1>("head").error().code == errc::dtype_mismatch);
    CHECK(p.view<float, 1>("blocks.0.w").error().code == errc::rank_mismatch);
    CHECK(p.view<float, 2>("blocks.1.w", {ckpt::any, 3}).error().code == errc::size_mismatch);
    CHECK(p.optional_view<float, 2>("blocks.0.b").error().code == errc::rank_mismatch);
    const auto refused = p.get("bad");
    CHECK(refused.error().code == errc::out_of_bounds);
    CHECK(refused.error().path == "model/bad");
    const auto report = p.report();
    CHECK(report.loaded.empty());
    CHECK(report.missing_keys == keys{"heat", "nothing"});
    CHECK(report.missing_not_allowed == 1);
    REQUIRE(report.mismatched.size() == 5);
    CHECK(report.mismatched[2].want_shape == std::vector<std::int64_t>{ckpt::any, 3}); // the sizes outlived the request
    CHECK(report.nearest.empty());                                                     // "head" was asked for
    const ckpt::puller again{weights};
    CHECK_FALSE(again.view<float, 1>("heat").has_value());
    CHECK(again.report().nearest.at(0).nearest == keys{"head"});
}

TEST_CASE("of several requests for one key the last one counts") {
    const auto weights = pulled();
    const ckpt::puller p{weights, {.allow_unexpected = {"**"}}};
    CHECK_FALSE(p.view<ckpt::f16, 1>("head").has_value());
    CHECK(p.view<float, 1>("head").has_value());
    CHECK(p.report().ok());
    CHECK(p.report().loaded.size() == 1);
    CHECK_FALSE(p.view<ckpt::f16, 1>("head").has_value());
    CHECK(p.report().loaded.empty());
    CHECK(p.report().mismatched.size() == 1);
}

TEST_CASE("copies convert where that is asked for; digests are in the report") {
    const auto weights = pulled();
    const ckpt::puller strict{weights};
    CHECK(strict.copy<ckpt::f16, 1>("head").error().code == errc::dtype_mismatch);
    const ckpt::puller lenient{weights, {.convert = true, .digests = true}};
    CHECK(lenient.copy<ckpt::f16, 1>("head").value()(1).bits == 0x4600);
    const auto report = lenient.report();
    CHECK(report.loaded.at(0).cast);
    CHECK(report.loaded[0].crc32 == weights.at("head").value().crc32().value());
}

TEST_CASE("a copy whose bytes cannot be read is mismatched") {
    const temporary_file file(pulled_file());
    const auto weights = ckpt::open(file.path(), {.io = ckpt::io_mode::read}).value().state_dict("model").value();
    const ckpt::puller p{weights, {.allow_unexpected = {"**"}}};
    CHECK(p.copy<float, 1>("blocks.0.b").has_value());
    std::filesystem::resize_file(file.path(), 64);
    CHECK(p.copy<float, 1>("head").error().code == errc::truncated);
    const auto report = p.report();
    CHECK(report.loaded.size() == 1);
    CHECK(report.mismatched.at(0).key == "head");
    CHECK(report.mismatched[0].why.starts_with("truncated (107)"));
    CHECK_FALSE(report.complete());
}

TEST_CASE("a tensor is asked for with its shape, and may be missing") {
    const auto weights = pulled();
    const ckpt::puller p{weights, {.allow_unexpected = {"**"}}};
    const std::vector<std::int64_t> run_time{2, 2};
    CHECK(p.get("blocks.0.w", {2, 2}).has_value());
    CHECK(p.get("blocks.0.w", run_time).has_value());
    CHECK(p.get("blocks.0.w", {ckpt::any, 2}).has_value());
    CHECK(p.get("blocks.0.w", {}).has_value()); // any
    CHECK(p.view<float, 2>("blocks.0.w", run_time).has_value());
    CHECK(p.optional_get("blocks.0.b", {4}).value()->numel() == 4);
    CHECK_FALSE(p.optional_get("nothing").value().has_value());
    CHECK(p.get("blocks.1.w", {2, 3}).error().code == errc::size_mismatch);
    CHECK(p.get("head", std::span<const std::int64_t>{}).error().code == errc::rank_mismatch); // a scalar
    CHECK(p.optional_get("bad").error().code == errc::out_of_bounds);
    const auto report = p.report();
    CHECK(report.absent == keys{"nothing"});
    REQUIRE(report.mismatched.size() == 3);
    CHECK(report.mismatched[0].want_shape == std::vector<std::int64_t>{2, 3});
    CHECK(report.mismatched[1].want_shape.empty());
    CHECK(report.mismatched[1].why == "the tensor's shape is [2], asked for was []");
}

TEST_CASE("values are copied into memory of the caller's, which must have their size") {
    const auto weights = pulled();
    const ckpt::puller p{weights, {.allow_unexpected = {"**"}}};
    std::vector<float> w(4), head(3);
    const auto bytes = [](std::vector<float>& of) { return std::as_writable_bytes(std::span{of}); };
    CHECK(p.scope("blocks").copy_into("0.w", ckpt::dtype::float32, bytes(w), {2, 2}).has_value());
    CHECK(w == std::vector<float>{1, 2, 3, 4});
    CHECK(p.copy_into("head", ckpt::dtype::float32, bytes(head)).error().code == errc::size_mismatch);
    CHECK(p.report().mismatched.at(0).why == "the place has 12 bytes, the elements need 2 times 4");
    CHECK(p.report().mismatched[0].want_shape == std::vector<std::int64_t>{ckpt::any}); // no shape is any shape
    CHECK(p.copy_into("head", ckpt::dtype::float32, bytes(head).first(8), {3}).error().code == errc::size_mismatch);
    CHECK(p.copy_into("head", ckpt::dtype::float16, bytes(head).first(4)).error().code == errc::dtype_mismatch);
    CHECK(p.copy_into("heat", ckpt::dtype::float32, bytes(head)).error().code == errc::key_missing);
    CHECK(head == std::vector<float>(3));
    CHECK(p.copy_into("head", ckpt::dtype::float32, bytes(head).first(8)).has_value());
    CHECK(head == std::vector<float>{5, 6, 0});
    CHECK(p.report().missing_keys == keys{"heat"});
    CHECK(p.report().mismatched.empty()); // the last request counts
    const ckpt::puller lenient{weights, {.convert = true}};
    std::vector<double> wide(2);
    CHECK(lenient.copy_into("head", ckpt::dtype::float64, std::as_writable_bytes(std::span{wide})).has_value());
    CHECK(wide == std::vector<double>{5, 6});
    CHECK(lenient.report().loaded.at(0).cast);
}

} // namespace pull_test
