// tests/gpu/upload_dequantize.cpp: quantised tensors that arrive as numbers, over the double of the CUDA runtime.
//
// SPDX-License-Identifier: MIT
#include <ckpt/cuda.hpp>
#include <ckpt/cuda_async.hpp>

#include "../support/quantised_files.hpp"
#include "cuda_double.hpp"
#include "double_kernels.hpp"
#include "on_double.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace upload_dequantize_test {

using ckpt::dtype;
using ckpt::errc;
using ckpt::upload_layout;
using ckpt::upload_way;
using ckpt::cuda::upload;
using ckpt::cuda::upload_options;
using cuda_double::mode;
using namespace on_double;
using namespace test_support;

namespace {

/// All of `quantised_file`, by kernels where there are any.
upload_options as_numbers(unsigned readers, const ckpt::device_kernels* kernels) {
    upload_options out = busy(readers);
    out.dequantize = {"**"};
    out.kernels = kernels;
    return out;
}

std::map<std::string_view, upload_way> ways_of(const ckpt::upload_plan& plan) {
    std::map<std::string_view, upload_way> out;
    for (std::size_t i = 0; i < plan.size(); ++i) out.emplace(plan[i].key, plan[i].way);
    return out;
}

const ckpt::detail::upload_plan_data& data_of(const ckpt::upload_plan& plan) {
    return *ckpt::detail::upload_plan_access::data(plan);
}

} // namespace

TEST_CASE("upload: quantised tensors arrive as numbers, bit for bit, by kernels and by the host, in every mode") {
    double_kernels::give_bodies();
    for (const bool big_endian : {false, true}) {
        const opened file{quantised_file(big_endian)};
        for (const auto* kernels : {static_cast<const ckpt::device_kernels*>(nullptr), &double_kernels::table})
            for (const mode how : {mode::eager, mode::lazy, mode::random})
                for (const auto layout : {upload_layout::file_image, upload_layout::packed})
                    for (const unsigned readers : {0u, 2u})
                        for (const dtype to : {dtype::float32, dtype::bfloat16, dtype::float64}) {
                            CAPTURE(big_endian);
                            CAPTURE(kernels != nullptr);
                            cuda_double::reset({.how = how, .seed = readers + 1});
                            {
                                upload_options options = as_numbers(readers, kernels);
                                options.layout = layout;
                                if (to != dtype::float32) options.casts = {{"**", to}};
                                auto there = upload(file.weights, options).value();
                                REQUIRE(there.wait().has_value());
                                CHECK(there.size() == file.weights.size()); // no scales, no zero points
                                compare(there, file.weights);
                                for (const std::string_view key : there.keys()) {
                                    const auto t = there.at(key).value();
                                    CHECK(t.dtype == to);
                                    CHECK(t.scale == 1);
                                    CHECK(t.zero_point == 0);
                                }
                                CHECK((cuda_double::totals().kernels > 10) == (kernels != nullptr));
                            }
                            clean_end();
                        }
    }
}

TEST_CASE("upload: kernels dequantise what is dense and of whole bytes, the host the rest, and what no table has") {
    const opened file{quantised_file()};
    const auto plan_with = [&](const ckpt::device_kernels& kernels, const std::vector<ckpt::upload_cast>& casts = {}) {
        return ckpt::plan_upload(file.weights, {.casts = casts, .dequantize = {"**"}, .kernels = &kernels}).value();
    };
    const auto plan = plan_with(double_kernels::table);
    auto ways = ways_of(plan);
    for (const char* key : {"bytes", "rows", "again", "tied", "middle", "wide", "plain", "floats"}) {
        CAPTURE(key);
        CHECK(ways.at(key) == upload_way::device);
    }
    for (const char* key : {"turned", "slice", "nibbles", "crumbs"}) {
        CAPTURE(key);
        CHECK(ways.at(key) == upload_way::host);
    }
    CHECK(ways.at("scaled") == upload_way::stored);
    // Scales that the file has once are there once: of 6, 7, 400 and 10 channels, each array at a multiple of 256.
    CHECK(data_of(plan).targets[0].parameters == 256 * (2 + 2 + 13 + 7 + 1) + 4 * 10);
    CHECK(plan.scratch_bytes(0) == 2 * data_of(plan).targets[0].scratch + data_of(plan).targets[0].parameters);
    CHECK(plan.text(100).find("rows float32 [6, 1500] at ") != std::string::npos);

    ckpt::device_kernels other = double_kernels::table;
    other.dequantize = nullptr;
    const auto by_host = plan_with(other);
    ways = ways_of(by_host);
    CHECK(std::none_of(ways.begin(), ways.end(), [](const auto& w) { return w.second == upload_way::device; }));
    CHECK(by_host.scratch_bytes(0) == 0);
    other = double_kernels::table;
    other.can_cast = [](dtype, dtype) { return false; };
    CHECK(ways_of(plan_with(other)).at("rows") == upload_way::device);
    CHECK(ways_of(plan_with(other, {{"rows", dtype::float16}})).at("rows") == upload_way::host);
    CHECK(ways_of(plan_with(double_kernels::table, {{"rows", dtype::float16}})).at("rows") == upload_way::device);
}

TEST_CASE("upload: scratch memory is what the plan says; what does not match arrives as integers, with its parts") {
    const opened file{quantised_file()};
    double_kernels::give_bodies();
    cuda_double::reset({.how = mode::lazy});
    {
        upload_options options = as_numbers(0, &double_kernels::table);
        options.dequantize = {"rows", "scaled"};
        options.select = {"rows", "scaled", "bytes", "middle"};
        const auto plan = ckpt::plan_upload(file.weights, {.select = options.select,
                                                           .dequantize = options.dequantize,
                                                           .piece_bytes = 4'096,
                                                           .kernels = options.kernels})
                              .value();
        auto there = upload(plan, options).value();
        REQUIRE(there.wait().has_value());
        CHECK(cuda_double::totals().peak_device_bytes[0] == plan.device_bytes(0) + plan.scratch_bytes(0));
        CHECK(cuda_double::totals().device_bytes[0] == plan.device_bytes(0));
        CHECK(there.keys() == std::vector<std::string_view>{"bytes", "middle", "middle.scales", "middle.zero_points",
                                                            "rows", "scaled"});
        CHECK(there.at("bytes").value().dtype == dtype::qint8);
        CHECK(there.at("bytes").value().scale == 0.1);
        CHECK(there.at("bytes").value().zero_point == 3);
        CHECK(there.at("middle").value().dtype == dtype::quint8);
        CHECK(there.data<float>("rows").has_value());
        const auto rows = there.at("rows").value();
        CHECK(rows.nbytes == 36'000);
        CHECK(dense_of(cuda_double::read(rows.data, 36'000), rows.shape, rows.strides, rows.dtype) ==
              numbers_of(file.weights.at("rows").value(), dtype::float32));
    }
    clean_end();
}

TEST_CASE("upload: what cannot be dequantised is refused before anything is read") {
    const opened file{quantised_file()};
    const auto code_of = [&](const std::vector<ckpt::pattern>& keys, const std::vector<ckpt::upload_cast>& casts,
                             const std::vector<ckpt::pattern>& select = {}) {
        const auto plan = ckpt::plan_upload(file.weights, {.select = select, .casts = casts, .dequantize = keys});
        return plan ? errc::none : plan.error().code;
    };
    CHECK(code_of({"**"}, {}) == errc::none);
    CHECK(code_of({"**", "nothing.*"}, {}) == errc::key_missing);
    CHECK(code_of({"rows"}, {}, {"middle"}) == errc::key_missing);
    CHECK(code_of({"rows"}, {{"rows", dtype::qint32}}) == errc::conversion);
    CHECK(code_of({"rows"}, {{"rows", dtype::int32}}) == errc::conversion);
    const opened packed{
        torch_file(pkl::ordered({{pkl::str("p"), pkl::qtensor(pkl::storage("QUInt4x2Storage", "0", 50), 0, {10, 10},
                                                              {1, 10}, pkl::per_tensor(1, 0))}}),
                   {{"0", noise(50, 1)}})};
    CHECK(ckpt::plan_upload(packed.weights, {.dequantize = {"p"}}).error().code == errc::packed);
}

TEST_CASE("upload: numbers in an order of the caller's: the parameters of a group come before its integers") {
    const opened file{quantised_file()};
    double_kernels::give_bodies();
    for (const mode how : {mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            cuda_double::reset({.how = how, .seed = readers + 1});
            {
                upload_options options = as_numbers(readers, &double_kernels::table);
                options.order = {"wide", "nibbles", "rows"};
                cudaStream_t user{};
                REQUIRE(cudaStreamCreateWithFlags(&user, cudaStreamNonBlocking) == cudaSuccess);
                auto pending = ckpt::cuda::start_upload(file.weights, options).value();
                for (const char* key : {"wide", "nibbles", "rows", "middle"}) {
                    CAPTURE(key);
                    const auto t = pending.await(key, user).value();
                    std::vector<std::byte> back(static_cast<std::size_t>(t.nbytes));
                    REQUIRE(cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault) == cudaSuccess);
                    REQUIRE(cudaMemcpyAsync(back.data(), t.data, back.size(), cudaMemcpyDeviceToHost, user) ==
                            cudaSuccess);
                    REQUIRE(cudaStreamSynchronize(user) == cudaSuccess);
                    REQUIRE(cudaHostUnregister(back.data()) == cudaSuccess);
                    CHECK(back == numbers_of(file.weights.at(key).value(), dtype::float32));
                }
                auto there = pending.get().value();
                REQUIRE(there.wait().has_value());
                compare(there, file.weights);
                REQUIRE(cudaStreamDestroy(user) == cudaSuccess);
            }
            clean_end();
        }
}

TEST_CASE("upload: replicas get the numbers of the first target, and no parameters") {
    const opened file{quantised_file()};
    double_kernels::give_bodies();
    const ckpt::upload_target both[]{{0, file.weights}, {1, file.weights}};
    const auto plan = ckpt::plan_upload(both, {.casts = {{"middle", dtype::float16}},
                                               .dequantize = {"**"},
                                               .piece_bytes = 4'096,
                                               .kernels = &double_kernels::table})
                          .value();
    CHECK(data_of(plan).targets[1].alike == 0);
    for (const bool reach : {true, false})
        for (const mode how : {mode::eager, mode::lazy, mode::random}) {
            cuda_double::reset({.how = how});
            cuda_double::set_peer_access(1, 0, reach);
            {
                auto there = upload(plan, busy(0)).value();
                REQUIRE(there.wait().has_value());
                for (const std::size_t t : {0u, 1u}) compare(there, file.weights, t);
                CHECK((there.report().peer_bytes != 0) == reach);
                CHECK(cuda_double::totals().peak_device_bytes[1] ==
                      plan.device_bytes(1) + (reach ? 0 : plan.scratch_bytes(1)));
            }
            clean_end();
        }
}

} // namespace upload_dequantize_test
