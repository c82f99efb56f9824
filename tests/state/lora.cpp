// tests/state/lora.cpp: low-rank adapters are found in every dialect, and merged exactly.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/lora.hpp>
#include <ckpt/state/overlay.hpp>
#include <ckpt/state/pull.hpp>
#include <ckpt/state/shard.hpp>

#include "../support/named_floats.hpp"
#include "../support/processor_time.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace lora_test {

using namespace test_support;

namespace {

ckpt::state_dict file(const char* name) {
    return ckpt::open(std::string(CKPT_TEST_DATA "/frameworks/peft-0.21/") + name).value().state_dict("").value();
}

/// base + scale * B * A of row-major matrices, in double, rounded once.
std::vector<float> by_hand(const std::vector<float>& base, const std::vector<float>& b, const std::vector<float>& a,
                           std::size_t rank, double scale) {
    const std::size_t rows = b.size() / rank;
    const std::size_t columns = a.size() / rank;
    std::vector<float> out(base.size());
    for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < columns; ++j) {
            double sum = 0;
            for (std::size_t k = 0; k < rank; ++k) sum += double(b[i * rank + k]) * double(a[k * columns + j]);
            out[i * columns + j] = float(double(base[i * columns + j]) + scale * sum);
        }
    return out;
}

} // namespace

TEST_CASE("PEFT's own merge of linear, convolution and embedding, to the last places of a float32 sum") {
    const auto base = file("merge_base.pt");
    const auto adapter = file("merge_adapter.pt");
    const auto expected = file("merge_result.pt");
    const auto merged = ckpt::merge_lora(base, adapter, {.alpha = 8}).value();
    CHECK(merged.merged.size() == 4);
    CHECK(merged.others.empty());
    REQUIRE(merged.weights.size() == expected.size());
    for (const auto& [key, tensor] : expected) {
        const std::string shown_key(key); // a structured binding cannot be captured
        CAPTURE(shown_key);
        const auto got = values(merged.weights, key);
        const auto want = values(expected, key);
        REQUIRE(got.size() == want.size());
        for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - want[i]) <= 4e-6f);
        CHECK(tensor.dtype() == merged.weights.at(key).value().dtype());
    }
    CHECK(values(merged.weights, "head.weight") == values(base, "head.weight"));
    // And exactly: one rounding.
    CHECK(values(merged.weights, "wide.weight") ==
          by_hand(values(base, "wide.weight"), values(adapter, "base_model.model.wide.lora_B.weight"),
                  values(adapter, "base_model.model.wide.lora_A.weight"), 4, 2));
    CHECK(values(merged.weights, "conv.weight") ==
          by_hand(values(base, "conv.weight"), values(adapter, "base_model.model.conv.lora_B.weight"),
                  values(adapter, "base_model.model.conv.lora_A.weight"), 4, 2));
}

TEST_CASE("every dialect's names") {
    const struct {
        const char* a;
        const char* b;
        const char* base;
    } cases[]{
        {"base_model.model.layers.0.q.lora_A.weight", "base_model.model.layers.0.q.lora_B.weight", "layers.0.q.weight"},
        {"base_model.model.layers.0.q.lora_A.default.weight", "base_model.model.layers.0.q.lora_B.default.weight",
         "layers.0.q.weight"},
        {"unet.mid.attn.lora.down.weight", "unet.mid.attn.lora.up.weight", "mid.attn.weight"},
        {"unet.mid.attn.lora_A.weight", "unet.mid.attn.lora_B.weight", "mid.attn.weight"},
        {"layers.0.q.lora_A", "layers.0.q.lora_B", "layers.0.q.weight"},
        {"lora_unet_down_blocks_0_attn_1.lora_down.weight", "lora_unet_down_blocks_0_attn_1.lora_up.weight",
         "down_blocks.0.attn.1.weight"},
        {"layers.0.q.lora_A", "layers.0.q.lora_B", "layers.0.q"},
    };
    for (const auto& c : cases) {
        CAPTURE(c.a);
        const named_floats adapter{{c.a, {1, 2}, {1, 2}}, {c.b, {3, 1}, {1, 10, 100}}};
        const named_floats base{{"other.weight", {3, 2}, {0, 0, 0, 0, 0, 0}}, {c.base, {3, 2}, {0.5f, 0, 0, 0, 0, 0}}};
        const auto merged = ckpt::merge_lora(base.weights(), adapter.weights(), {.scale = 1}).value();
        REQUIRE(merged.merged.size() == 1);
        CHECK(merged.merged[0].key == c.base);
        CHECK(values(merged.weights, c.base) == std::vector<float>{1.5f, 2, 10, 20, 100, 200});
        CHECK(values(merged.weights, "other.weight") == std::vector<float>(6, 0));
    }
}

TEST_CASE("the scale: given, from a stored alpha, from a given alpha; never guessed") {
    const named_floats base{{"w.weight", {1, 1}, {0}}};
    const named_floats plain{{"w.lora_A", {2, 1}, {1, 1}}, {"w.lora_B", {1, 2}, {1, 1}}};
    const named_floats stored{{"w.lora_A", {2, 1}, {1, 1}}, {"w.lora_B", {1, 2}, {1, 1}}, {"w.alpha", {}, {8}}};
    const auto one = [&](const named_floats& adapter, const ckpt::lora_options& options) {
        return values(ckpt::merge_lora(base.weights(), adapter.weights(), options).value().weights, "w.weight")[0];
    };
    CHECK(one(plain, {.scale = 3}) == 6);
    CHECK(one(plain, {.alpha = 6}) == 6);
    CHECK(one(stored, {}) == 8);
    CHECK(one(stored, {.alpha = 6}) == 8); // what the file says is nearer
    CHECK(one(stored, {.scale = 1}) == 2);
    const auto refused = ckpt::merge_lora(base.weights(), plain.weights());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == ckpt::errc::adapter_unmatched);
    CHECK(refused.error().detail.find("stores no alpha") != std::string::npos);
}

TEST_CASE("no part of an adapter is lost silently") {
    const named_floats base{{"w.weight", {2, 2}, {0, 0, 0, 0}}};
    const auto error_of = [&](const named_floats& adapter) {
        const auto merged = ckpt::merge_lora(base.weights(), adapter.weights(), {.scale = 1});
        REQUIRE_FALSE(merged.has_value());
        return merged.error();
    };
    CHECK(error_of(named_floats{{"v.lora_A", {1, 2}, {1, 1}}, {"v.lora_B", {2, 1}, {1, 1}}})
              .detail.find("no module for \"v\"; nearest: \"w.weight\"") != std::string::npos);
    CHECK(error_of(named_floats{{"w.lora_A", {1, 2}, {1, 1}}}).detail.find("no partner, the first: \"w.lora_A\"") !=
          std::string::npos);
    CHECK(error_of(named_floats{{"w.lora_A", {1, 3}, {1, 1, 1}}, {"w.lora_B", {2, 1}, {1, 1}}}).code ==
          ckpt::errc::shapes_differ);
    CHECK(error_of(named_floats{{"w.lora_A", {2, 2}, {1, 1, 1, 1}}, {"w.lora_B", {2, 1}, {1, 1}}})
              .detail.find("no partner") != std::string::npos);
    CHECK(error_of(named_floats{{"w", {1}, {1}}}).detail.find("no low-rank pairs") != std::string::npos);

    // DoRA scales the sum, and other kinds have biases or a third factor.
    for (const char* extra : {"w.lora_magnitude_vector", "w.lora_magnitude_vector.default.weight", "w.dora_scale",
                              "w.lora_B.bias", "w.lora_mid.weight"})
        CHECK(error_of(named_floats{{"w.lora_A.weight", {1, 2}, {1, 1}},
                                    {"w.lora_B.weight", {2, 1}, {1, 1}},
                                    {extra, {2}, {1, 1}}})
                  .detail.starts_with('"' + std::string(extra) + "\" says that"));

    const named_floats more{
        {"w.lora_A", {1, 2}, {1, 1}}, {"w.lora_B", {2, 1}, {1, 1}}, {"head.weight", {1}, {1}}, {"x.alpha", {}, {1}}};
    CHECK(ckpt::merge_lora(base.weights(), more.weights(), {.scale = 1}).value().others ==
          std::vector<std::string>{"head.weight", "x.alpha"});
}

TEST_CASE("what a map dropped before is still in the report after a merge, a cut and an overlay") {
    const named_floats base{{"w.weight", {2, 2}, {0, 0, 0, 0}}, {"old", {1}, {1}}};
    const named_floats adapter{{"w.lora_A", {1, 2}, {1, 1}}, {"w.lora_B", {2, 1}, {1, 1}}};
    const auto weights = ckpt::remap(base.weights(), ckpt::key_map{ckpt::drop("old")}).value();
    const std::vector<ckpt::layer> layers{{weights, "base"}, {base.weights(), "more"}};
    const std::vector<ckpt::shard_rule> rules{{"**.weight", 0}};
    for (const ckpt::state_dict& made :
         {ckpt::merge_lora(weights, adapter.weights(), {.scale = 1}).value().weights,
          ckpt::shard(weights, rules, 1, 2).value(), ckpt::overlay(std::span{layers}.first(1)).value().weights}) {
        const ckpt::load_report report = ckpt::puller{made}.report();
        REQUIRE(report.dropped.size() == 1);
        CHECK(report.dropped[0].from == "old");
    }
}

TEST_CASE("a square weight stored as [in, out] is transposed when it is asked for, another one by its shape") {
    const named_floats adapter{{"w.lora_A", {1, 2}, {1, 2}}, {"w.lora_B", {2, 1}, {1, 10}}};
    const named_floats square{{"w.weight", {2, 2}, {0, 0, 0, 0}}};
    CHECK(values(ckpt::merge_lora(square.weights(), adapter.weights(), {.scale = 1}).value().weights, "w.weight") ==
          std::vector<float>{1, 2, 10, 20});
    CHECK(
        values(
            ckpt::merge_lora(square.weights(), adapter.weights(), {.scale = 1, .fan_in_fan_out = true}).value().weights,
            "w.weight") == std::vector<float>{1, 10, 2, 20});
    const named_floats tall{{"w.lora_A", {1, 2}, {1, 2}}, {"w.lora_B", {3, 1}, {1, 10, 100}}};
    const named_floats turned{{"w.weight", {2, 3}, {0, 0, 0, 0, 0, 0}}};
    CHECK(values(ckpt::merge_lora(turned.weights(), tall.weights(), {.scale = 1}).value().weights, "w.weight") ==
          std::vector<float>{1, 10, 100, 2, 20, 200});
}

TEST_CASE("a base of another floating type is rounded once more, and large matrices are read in pieces") {
    const std::size_t n = 300; // 360 KB: more than the parts in which digests read
    std::vector<float> a(2 * n);
    std::vector<float> b(2 * n);
    std::vector<float> base(n * n);
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = float(int(i * 7 % 31) - 15) / 8;
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = float(int(i * 5 % 29) - 14) / 4;
    for (std::size_t i = 0; i < base.size(); ++i) base[i] = float(int(i % 101) - 50);
    const auto wide = static_cast<std::int64_t>(n);
    const named_floats adapter(std::vector<named_floats::one>{{"w.lora_A", {2, wide}, a}, {"w.lora_B", {wide, 2}, b}});
    const named_floats whole(std::vector<named_floats::one>{{"w.weight", {wide, wide}, base}});
    const auto merged = ckpt::merge_lora(whole.weights(), adapter.weights(), {.scale = 0.3}).value();
    const auto expected = by_hand(base, b, a, 2, 0.3);
    CHECK(values(merged.weights, "w.weight") == expected);
    const named_floats same(std::vector<named_floats::one>{{"w.weight", {wide, wide}, expected}});
    const auto same_weights = same.weights();
    CHECK(merged.weights.at("w.weight").value().crc32().value() == same_weights.at("w.weight").value().crc32().value());

    const auto half = ckpt::remap(whole.weights(), ckpt::key_map{ckpt::rule("cast bfloat16 **")}).value();
    const auto rounded = ckpt::merge_lora(half, adapter.weights(), {.scale = 0.3}).value();
    CHECK(rounded.weights.at("w.weight").value().dtype() == ckpt::dtype::bfloat16);
    const auto again = ckpt::remap(same_weights, ckpt::key_map{ckpt::rule("cast bfloat16 **")}).value();
    CHECK(rounded.weights.at("w.weight").value().crc32().value() == again.at("w.weight").value().crc32().value());
}

TEST_CASE("sixty adapters of one module can be merged: each is an operation, and a merge takes up to five of the 64") {
    const auto merged = [](int adapters) {
        std::vector<named_floats::one> pairs;
        for (int i = 0; i < adapters; ++i) {
            const std::string name = "a" + std::to_string(i);
            pairs.push_back({"l.lora_A." + name + ".weight", {1, 2}, {1, 1}});
            pairs.push_back({"l.lora_B." + name + ".weight", {2, 1}, {1, 1}});
        }
        const named_floats base{{"l.weight", {2, 2}, {1, 2, 3, 4}}};
        const named_floats update{pairs};
        const auto out = ckpt::merge_lora(base.weights(), update.weights(), {.scale = 1});
        if (!out) return out.error().detail;
        CHECK(values(out->weights, "l.weight")[3] == 4.0f + float(adapters));
        return std::string();
    };
    CHECK(merged(60) == "");
    CHECK(merged(61).find("too many operations on one tensor") != std::string::npos);
}

TEST_CASE("what is one tensor in the base stays one, under every key") {
    const auto base =
        ckpt::open(CKPT_TEST_DATA "/frameworks/modules/gpt2.pt").value().state_dict("").value(); // wte and lm_head
    REQUIRE(base.at("transformer.wte.weight").value().storage_id() == base.at("lm_head.weight").value().storage_id());
    const auto shape = base.at("lm_head.weight").value().shape();
    const auto adapter_of = [&](const char* path) {
        return named_floats(std::vector<named_floats::one>{
            {std::string(path) + ".lora_A", {1, shape[1]}, std::vector<float>(std::size_t(shape[1]), 1)},
            {std::string(path) + ".lora_B", {shape[0], 1}, std::vector<float>(std::size_t(shape[0]), 1)}});
    };
    for (const char* path : {"transformer.wte", "lm_head"}) {
        const auto adapter = adapter_of(path);
        const auto merged = ckpt::merge_lora(base, adapter.weights(), {.scale = 1}).value();
        const std::string key = std::string(path) + ".weight";
        const std::string other = key == "lm_head.weight" ? "transformer.wte.weight" : "lm_head.weight";
        CHECK(merged.merged.at(0).key == key);
        CHECK(merged.merged.at(0).tied == std::vector<std::string>{other});
        CHECK(values(merged.weights, key)[0] == values(base, key)[0] + 1);
        CHECK(values(merged.weights, other) == values(merged.weights, key));
        CHECK(merged.weights.at(other).value().storage_id() == merged.weights.at(key).value().storage_id());
    }
}

TEST_CASE("many tensors without values are each the same as itself alone, and are not compared with one another" *
          doctest::test_suite("slow")) {
    using namespace pkl;
    const std::string meta = call(global("torch._utils", "_rebuild_meta_tensor_no_storage"),
                                  {global("torch", "float32"), tuple({num(1)}), tuple({num(1)}), no});
    std::vector<std::pair<std::string, std::string>> entries{{str("w.weight"), floats("0", 1)}};
    for (int i = 0; i < 100'000; ++i) entries.emplace_back(str("m" + std::to_string(i)), meta);
    const std::string bytes = torch_file(dict(entries), {{"0", raw(std::vector<float>{1})}});
    const auto base = ckpt::open_bytes(bytes_of(bytes)).value().state_dict("").value();
    const auto matrices = ckpt::remap(base, ckpt::key_map::parse("reshape (1, 1) w.weight").value()).value();
    const named_floats adapter{{"w.lora_A", {1, 1}, {1}}, {"w.lora_B", {1, 1}, {1}}};
    const ends_soon guard{20}; // about one
    const auto merged = ckpt::merge_lora(matrices, adapter.weights(), {.scale = 1}).value();
    CHECK(merged.merged.at(0).tied.empty());
    CHECK(values(merged.weights, "w.weight") == std::vector<float>{2});
}

TEST_CASE("a scale for each pair, and pairs without a module that are listed when that is asked for") {
    const named_floats base{{"v.weight", {1, 1}, {0}}, {"w.weight", {1, 1}, {0}}};
    const named_floats adapter{{"w.lora_A", {2, 1}, {1, 1}}, {"w.lora_B", {1, 2}, {1, 1}}, {"x.lora_A", {2, 1}, {1, 1}},
                               {"x.lora_B", {1, 2}, {1, 1}}, {"v.lora_A", {2, 1}, {1, 1}}, {"v.lora_B", {1, 2}, {1, 1}},
                               {"x.alpha", {}, {1}}};
    const auto pairs = ckpt::find_lora(adapter.weights()).pairs;
    REQUIRE(pairs.size() == 3);
    CHECK(pairs[1].path == "w");
    ckpt::lora_options options{.alpha = 6, .scales = {{}, 5.0}, .allow_unmatched = true}; // v, w; x has none of its own
    const auto merged = ckpt::merge_lora(base.weights(), adapter.weights(), options).value();
    CHECK(values(merged.weights, "v.weight")[0] == 6); // alpha / rank
    CHECK(values(merged.weights, "w.weight")[0] == 10);
    REQUIRE(merged.unmatched.size() == 1);
    CHECK(merged.unmatched[0].a == "x.lora_A");
    CHECK(merged.unmatched[0].alpha == "x.alpha");
    CHECK(merged.merged.size() == 2);
    options.allow_unmatched = false;
    CHECK(ckpt::merge_lora(base.weights(), adapter.weights(), options).error().code == ckpt::errc::adapter_unmatched);
}

} // namespace lora_test
