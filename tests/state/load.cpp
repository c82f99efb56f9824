// tests/state/load.cpp: what a load takes, what it refuses, and that a refused one changes nothing.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/core/reader.hpp>

#include "../support/processor_time.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace load_test {

using ckpt::errc;
using namespace test_support;

namespace {

struct linear {
    ckpt::tensor_view<float, 2> weight;
    ckpt::tensor_view<float, 1> bias;
};
struct copied {
    ckpt::tensor_copy<float, 2> weight;
    ckpt::tensor_copy<float, 1> bias;
};
struct untyped {
    ckpt::tensor weight, bias;
};
struct sized {
    ckpt::tensor_view<float, 2> weight;
};
struct many_copies {
    std::vector<ckpt::tensor_copy<float, 1>> all;
};
struct attention {
    ckpt::tensor_copy<float, 2> qkv;
    ckpt::tensor_view<float, 1> scale;
};
struct viewed_attention {
    ckpt::tensor_view<float, 2> qkv;
};
struct half_model {
    ckpt::tensor_copy<ckpt::f16, 1> w;
};

struct wrapped {
    linear inner;
    ckpt::tensor_view<float, 1> bias;
};

template <class T>
concept load_of_temporary = requires(T x, linear& model) { ckpt::load(std::forward<T>(x), model); };

} // namespace

} // namespace load_test

template <>
struct ckpt::binding<load_test::linear>
    : ckpt::fields<ckpt::field<"weight", &load_test::linear::weight>, ckpt::field<"bias", &load_test::linear::bias>> {};
template <>
struct ckpt::binding<load_test::copied>
    : ckpt::fields<ckpt::field<"weight", &load_test::copied::weight>, ckpt::field<"bias", &load_test::copied::bias>> {};
template <>
struct ckpt::binding<load_test::untyped>
    : ckpt::fields<ckpt::field<"weight", &load_test::untyped::weight, ckpt::shape<2, ckpt::any>>,
                   ckpt::field<"bias", &load_test::untyped::bias>> {};
template <>
struct ckpt::binding<load_test::sized>
    : ckpt::fields<ckpt::field<"weight", &load_test::sized::weight, ckpt::shape<ckpt::any, 3>>> {};
template <>
struct ckpt::binding<load_test::many_copies> : ckpt::fields<ckpt::field<"w", &load_test::many_copies::all>> {};
template <>
struct ckpt::binding<load_test::attention>
    : ckpt::fields<ckpt::field<"qkv", &load_test::attention::qkv>, ckpt::field<"scale", &load_test::attention::scale>> {
};
template <>
struct ckpt::binding<load_test::viewed_attention>
    : ckpt::fields<ckpt::field<"qkv", &load_test::viewed_attention::qkv>> {};
template <>
struct ckpt::binding<load_test::wrapped>
    : ckpt::fields<ckpt::field<"", &load_test::wrapped::inner>, ckpt::field<"bias", &load_test::wrapped::bias>> {};
template <> struct ckpt::binding<load_test::half_model> : ckpt::fields<ckpt::field<"w", &load_test::half_model::w>> {};

namespace load_test {

static_assert(!load_of_temporary<ckpt::state_dict> && !load_of_temporary<const ckpt::state_dict>);
static_assert(load_of_temporary<ckpt::state_dict&> && load_of_temporary<const ckpt::state_dict&>);

namespace {

using entries = std::vector<std::pair<std::string, std::string>>;
using keys = std::vector<std::string>;

std::string vec() { return pkl::floats("0", 4); }
std::string mat() { return pkl::tensor(pkl::storage("FloatStorage", "0", 4), 0, {2, 2}, {2, 1}); }
std::string transposed() { return pkl::tensor(pkl::storage("FloatStorage", "0", 4), 0, {2, 2}, {1, 2}); }
std::string doubles() { return pkl::tensor(pkl::storage("DoubleStorage", "1", 2), 0, {2}, {1}); }
std::string refused() { return pkl::tensor(pkl::storage("FloatStorage", "0", 4), 3, {2, 2}, {2, 1}); }

std::string file_of(const entries& of) {
    entries pickled;
    for (const auto& [key, value] : of) pickled.emplace_back(pkl::str(key), value);
    return torch_file(pkl::dict({{pkl::str("model"), pkl::dict(pickled)}}),
                      {{"0", raw<float>({1, 2, 3, 4})}, {"1", raw<double>({0.5, 1e300})}});
}
ckpt::state_dict weights_of(const entries& of, const ckpt::open_options& options = {}) {
    static std::deque<std::string> files;
    files.push_back(file_of(of));
    return ckpt::open_bytes(bytes_of(files.back()), options).value().state_dict("model").value();
}

/// Every target is in one list, and every source too.
void check_partition(const ckpt::load_report& report, keys targets, keys sources) {
    keys in_report;
    for (const auto& t : report.loaded) in_report.push_back(t.key);
    for (const auto& t : report.mismatched) in_report.push_back(t.key);
    in_report.insert(in_report.end(), report.missing_keys.begin(), report.missing_keys.end());
    in_report.insert(in_report.end(), report.absent.begin(), report.absent.end());
    std::sort(in_report.begin(), in_report.end());
    std::sort(targets.begin(), targets.end());
    CHECK(in_report == targets);
    keys from = report.used;
    for (const auto& d : report.dropped) from.push_back(d.from);
    from.insert(from.end(), report.unexpected_keys.begin(), report.unexpected_keys.end());
    std::sort(from.begin(), from.end());
    std::sort(sources.begin(), sources.end());
    CHECK(from == sources);
}

} // namespace

TEST_CASE("a strict load wants every key, both ways; the error counts and names the first ones") {
    linear model{};
    const auto good = weights_of({{"weight", mat()}, {"bias", vec()}});
    const auto report = ckpt::load(good, model).value();
    CHECK(report.complete());
    CHECK(report.ok());
    CHECK(model.weight(1, 0) == 3);
    CHECK(model.bias(3) == 4);
    check_partition(report, {"weight", "bias"}, {"weight", "bias"});
    CHECK(report.loaded[0].from == keys{"weight"});
    CHECK(report.loaded[0].chain.empty());
    CHECK_FALSE(report.loaded[0].crc32.has_value());

    linear untouched{};
    const auto bad =
        weights_of({{"weight", vec()}, {"a", vec()}, {"b", vec()}, {"c", vec()}, {"d", vec()}, {"e", vec()}});
    const auto failure = ckpt::load(bad, untouched).error();
    CHECK(failure.code == errc::load_incomplete);
    CHECK(failure.path == "model");
    CHECK(
        failure.detail ==
        R"(1 missing: "bias"; 1 mismatched: "weight" (the tensor has 1 dimensions, asked for were 2; its shape is [4]); )"
        R"(5 unexpected: "a", "b", "c", +2 more)");
    CHECK(failure.hint.find("allow_missing") != std::string_view::npos);
    CHECK(untouched.weight.data == nullptr);
    check_partition(ckpt::plan_load(bad, untouched), {"weight", "bias"}, {"weight", "a", "b", "c", "d", "e"});
}

TEST_CASE("a loaded struct keeps its file open, moved and copied, and fails as a load does") {
    const auto open = [] {
        const temporary_file file{file_of({{"weight", mat()}, {"bias", vec()}})};
        return ckpt::load<linear>(ckpt::open(file.path()).value().state_dict("model").value()).value();
    };
    auto net = open();
    CHECK(net->weight(1, 0) == 3);
    CHECK(net.report().complete());
    const auto moved = std::move(net);
    CHECK((*moved).bias(3) == 4);
    auto other = open();
    other = moved;
    CHECK(other->bias(3) == 4);
    CHECK(other->bias.data == moved->bias.data);
    CHECK(other.weights().size() == 2);
    other->bias = {};
    CHECK(moved->bias(0) == 1);

    const auto partial = weights_of({{"weight", mat()}});
    CHECK(ckpt::load<linear>(partial).error().detail == R"(1 missing: "bias")");
    const auto lenient = ckpt::load<linear>(partial, {.allow_missing = {"bias"}}).value();
    CHECK(lenient.report().missing_keys == keys{"bias"});
    CHECK(ckpt::load<std::vector<sized>>(weights_of({{"0.weight", mat()}, {"1.weight", mat()}})).error().code ==
          errc::load_incomplete);
    const auto copies = ckpt::load<copied>(weights_of({{"weight", mat()}, {"bias", vec()}})).value();
    CHECK(copies->bias.span()[2] == 3);
}

TEST_CASE("leniency is by patterns; complete() ignores it, ok() honours it, and a mismatch is never allowed") {
    linear model{};
    model.bias.shape[0] = 99;
    const auto weights = weights_of({{"weight", mat()}, {"head.weight", vec()}, {"head.bias", vec()}});
    CHECK(ckpt::load(weights, model, {.allow_unexpected = {"head.*"}}).error().detail ==
          R"(1 missing: "bias" (nearest: "head.bias"))");
    CHECK(ckpt::load(weights, model, {.allow_missing = {"bias"}}).error().detail ==
          R"(2 unexpected: "head.weight", "head.bias")");
    CHECK(ckpt::load(weights, model, {.allow_missing = {"bia"}, .allow_unexpected = {"*.weight"}}).error().detail ==
          R"(1 missing: "bias" (nearest: "head.bias"); 1 unexpected: "head.bias")");
    CHECK(model.weight.data == nullptr);
    const auto report =
        ckpt::load(weights, model, {.allow_missing = {"bias"}, .allow_unexpected = {"x", "head.{leaf:weight|bias}"}})
            .value();
    CHECK(report.ok());
    CHECK_FALSE(report.complete());
    CHECK(report.missing_keys == keys{"bias"});
    CHECK(report.unexpected_keys == keys{"head.weight", "head.bias"});
    CHECK(model.weight(0, 1) == 2);
    CHECK(model.bias.shape[0] == 99); // what is missing stays

    const auto wrong = weights_of({{"weight", vec()}, {"bias", vec()}});
    const auto failure = ckpt::load(wrong, model, {.allow_missing = {"**"}, .allow_unexpected = {"**"}}).error();
    CHECK(failure.code == errc::load_incomplete);
    CHECK(failure.hint.find("allow_missing") == std::string_view::npos);
    const auto plan = ckpt::plan_load(wrong, model, {.allow_missing = {"**"}, .allow_unexpected = {"**"}});
    CHECK_FALSE(plan.ok());
    CHECK_FALSE(plan.complete());
    CHECK(plan.loaded.size() == 1);

    const auto only_extra = ckpt::plan_load(weights_of({{"weight", mat()}, {"bias", vec()}, {"x", vec()}}), model);
    CHECK(only_extra.complete());
    CHECK_FALSE(only_extra.ok());
}

TEST_CASE("sizes: the wanted and the found shape are in the report, and any fits all") {
    sized model{};
    const auto report = ckpt::plan_load(weights_of({{"weight", mat()}}), model);
    REQUIRE(report.mismatched.size() == 1);
    CHECK(report.mismatched[0].key == "weight");
    CHECK(report.mismatched[0].want_shape == std::vector<std::int64_t>{ckpt::any, 3});
    CHECK(report.mismatched[0].got_shape == std::vector<std::int64_t>{2, 2});
    CHECK(report.mismatched[0].want_dtype == ckpt::dtype::float32);
    CHECK(report.mismatched[0].got_dtype == ckpt::dtype::float32);
    CHECK(report.mismatched[0].why == "the tensor's shape is [2, 2], asked for was [any, 3]");
    CHECK(report.used == keys{"weight"});
    CHECK(report.unexpected_keys.empty());
    untyped handles{};
    const auto fits = weights_of({{"weight", transposed()}, {"bias", doubles()}});
    CHECK(ckpt::load(fits, handles).value().complete());
    CHECK(handles.bias.dtype() == ckpt::dtype::float64);
    const auto rank = ckpt::plan_load(weights_of({{"weight", vec()}, {"bias", vec()}}), handles);
    CHECK(rank.mismatched.at(0).why == "the tensor's shape is [4], asked for was [2, any]");
    CHECK_FALSE(rank.mismatched[0].want_dtype.has_value());
}

TEST_CASE("dtypes are exact unless conversions are asked for, and views never convert") {
    const auto weights = weights_of({{"weight", mat()}, {"bias", doubles()}});
    linear views{};
    copied copies{};
    CHECK(ckpt::plan_load(weights, views, {.convert = true}).mismatched.at(0).why ==
          "the tensor is float64, asked for was float32: a tensor_copy converts where load_options::convert is set");
    CHECK(ckpt::plan_load(weights, copies).mismatched.at(0).why ==
          "the tensor is float64, asked for was float32: it is converted where load_options::convert is set");
    const auto report = ckpt::load(weights, copies, {.convert = true}).value();
    CHECK(copies.bias(0) == 0.5f);
    CHECK(copies.weight(1, 1) == 4);
    CHECK_FALSE(report.loaded[0].cast);
    CHECK_FALSE(report.loaded[0].converted);
    CHECK(report.loaded[1].cast);
    CHECK(report.loaded[1].converted);
    CHECK(report.loaded[1].chain == "cast float32");
    half_model half{};
    const auto integers = weights_of({{"w", pkl::tensor(pkl::storage("ComplexFloatStorage", "0", 2), 0, {2}, {1})}});
    CHECK(ckpt::plan_load(integers, half, {.convert = true}).mismatched.at(0).why ==
          "the tensor is complex64, asked for was float16");
}

TEST_CASE("two fields of one key are refused also where only the keys of structs around them make them one") {
    wrapped both{};
    const auto report = ckpt::plan_load(weights_of({{"weight", mat()}, {"bias", vec()}}), both);
    CHECK_FALSE(report.ok());
    REQUIRE(report.mismatched.size() == 1);
    CHECK(report.mismatched[0].key == "bias");
    CHECK(report.mismatched[0].why == "another field of the struct has this key, too");
    CHECK(report.loaded.size() == 2);
    CHECK(report.unexpected_keys.empty());
    CHECK(ckpt::plan_load(weights_of({{"weight", mat()}}), both).mismatched.size() == 1);
}

TEST_CASE("a tensor that was refused, and an entry that is no tensor, are mismatched and say why") {
    linear model{};
    const auto report = ckpt::plan_load(weights_of({{"weight", refused()}, {"bias", pkl::num(5)}}), model);
    REQUIRE(report.mismatched.size() == 2);
    CHECK(report.mismatched[0].why.starts_with("out_of_bounds (403): "));
    CHECK(report.mismatched[0].why.find("under model/weight") != std::string::npos);
    CHECK_FALSE(report.mismatched[0].got_dtype.has_value());
    CHECK(report.mismatched[1].why == "the entry is no tensor but a value of kind int");
    check_partition(report, {"weight", "bias"}, {"weight"});
    // A refused tensor that nobody wants is merely unexpected.
    CHECK(ckpt::plan_load(weights_of({{"weight", mat()}, {"bias", vec()}, {"x", refused()}}), model).unexpected_keys ==
          keys{"x"});
}

TEST_CASE("where bytes are not in memory a view is mismatched and a copy is made") {
    const auto weights = weights_of({{"weight", transposed()}, {"bias", vec()}}, {.io = ckpt::io_mode::read});
    linear views{};
    const auto report = ckpt::plan_load(weights, views);
    REQUIRE(report.mismatched.size() == 2);
    CHECK(report.mismatched[0].why == "the storage is not in memory: use tensor_copy");
    copied copies{};
    CHECK(ckpt::load(weights, copies).value().complete());
    CHECK(copies.weight(0, 1) == 3);
}

TEST_CASE("misaligned elements and those in the other byte order are mismatched as views, and copied") {
    const std::string pickled = pkl::pickle(pkl::dict({{pkl::str("weight"), mat()}, {pkl::str("bias"), vec()}}));
    const auto check = [](const std::string& file, std::string_view why) {
        const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("").value();
        linear views{};
        const auto plan = ckpt::plan_load(weights, views);
        REQUIRE(plan.mismatched.size() == 2);
        CHECK(plan.mismatched[0].why.find(why) != std::string::npos);
        CHECK(plan.mismatched[0].why.ends_with(": use tensor_copy"));
        copied copies{};
        CHECK(ckpt::load(weights, copies).value().complete());
        return copies.weight(0, 1);
    };
    std::uint32_t swapped = 0;
    const std::string foreign = ckpt::detail::native_order() == ckpt::byte_order::little ? "big" : "little";
    const float two = check(torch_file(pkl::dict({{pkl::str("weight"), mat()}, {pkl::str("bias"), vec()}}),
                                       {{"0", raw<std::uint32_t>({0, 0x40, 0, 0})}}, {.byte_order = foreign}),
                            "-endian");
    std::memcpy(&swapped, &two, 4);
    CHECK(swapped == 0x4000'0000);
    int misaligned = 0;
    for (std::size_t shift = 0; shift < 4; ++shift) {
        auto members = torch_records(pickled, {{"0", raw<float>({1, 2, 3, 4})}});
        members[0].gap = std::string(shift, 'x');
        const std::string file = write_zip(members, {.torch = false, .end64 = false}).bytes;
        const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("").value();
        if (reinterpret_cast<std::uintptr_t>(weights.at("weight").value().bytes().value().data()) % alignof(float) == 0)
            continue;
        CHECK(check(file, "multiple of 4 bytes") == 2);
        ++misaligned;
    }
    CHECK(misaligned > 0);
}

TEST_CASE("a copy that fails midway leaves the struct as it was, and the error names the key") {
    entries pickled{{pkl::str("weight"), mat()}, {pkl::str("bias"), pkl::floats("1", 4)}};
    const temporary_file file(torch_file(pkl::dict({{pkl::str("model"), pkl::dict(pickled)}}),
                                         {{"0", raw<float>({5, 6, 7, 8})}, {"1", raw<float>({1, 2, 3, 4})}}));
    copied model{};
    {
        const auto first = weights_of({{"weight", mat()}, {"bias", vec()}});
        REQUIRE(ckpt::load(first, model).has_value());
    }
    const auto weights = ckpt::open(file.path(), {.io = ckpt::io_mode::read}).value().state_dict("model").value();
    std::filesystem::resize_file(file.path(), weights.at("bias").value().file_offset().value() + 8);
    CHECK(ckpt::plan_load(weights, model).ok()); // a plan reads nothing
    const auto failure = ckpt::load(weights, model).error();
    CHECK(failure.code == errc::truncated);
    CHECK(failure.path == "model/bias");
    CHECK(model.weight(0, 0) == 1);
    CHECK(model.weight(1, 1) == 4);
    CHECK(model.bias(0) == 1);
    untyped handles{};
    CHECK(ckpt::load(weights, handles).has_value());
    untyped nothing{};
    CHECK(ckpt::load(weights, nothing, {.digests = true}).error().code == errc::truncated);
    CHECK_FALSE(nothing.weight);
}

TEST_CASE("digests are those of the values") {
    untyped model{};
    const auto weights = weights_of({{"weight", transposed()}, {"bias", doubles()}});
    const auto report = ckpt::load(weights, model, {.digests = true}).value();
    CHECK(report.loaded[0].crc32 == weights.at("weight").value().crc32().value());
    CHECK(report.loaded[1].crc32 == weights.at("bias").value().crc32().value());
    CHECK_FALSE(ckpt::plan_load(weights, model, {.digests = true}).loaded[0].crc32.has_value());
}

TEST_CASE("after a remap the report leads back to the keys of the file") {
    const auto source = weights_of({{"m.q.weight", mat()},
                                    {"m.k.weight", mat()},
                                    {"m.scale", vec()},
                                    {"m.tied", vec()},
                                    {"m.old", vec()},
                                    {"m.x", vec()}});
    const ckpt::key_map map{ckpt::strip_prefix("m."), ckpt::rule("merge 0 q.weight, k.weight -> qkv"),
                            ckpt::rule("rename tied -> scale"), ckpt::drop("old")};
    const auto ours = ckpt::remap(source, map).value();
    attention model{};
    const auto report = ckpt::load(ours, model, {.allow_unexpected = {"x"}}).value();
    REQUIRE(report.loaded.size() == 2);
    CHECK(report.loaded[0].from == keys{"m.q.weight", "m.k.weight"});
    CHECK(report.loaded[0].converted);
    CHECK_FALSE(report.loaded[0].cast);
    CHECK_FALSE(report.loaded[0].chain.empty());
    CHECK(model.qkv.shape == std::array<std::int64_t, 2>{4, 2});
    CHECK(model.qkv(3, 1) == 4);
    CHECK(report.loaded[1].from == keys{"m.scale"});
    CHECK(report.loaded[1].aliased);
    CHECK(report.loaded[1].aliases == keys{"m.tied"});
    CHECK(report.used == keys{"m.q.weight", "m.k.weight", "m.scale", "m.tied"});
    REQUIRE(report.dropped.size() == 1);
    CHECK(report.dropped[0].from == "m.old");
    CHECK(report.dropped[0].rule.find("drop") != std::string::npos);
    CHECK(report.unexpected_keys == keys{"x"});
    // A gather has no bytes to view.
    viewed_attention views{};
    const auto plan = ckpt::plan_load(ours, views, {.allow_unexpected = {"**"}});
    REQUIRE(plan.mismatched.size() == 1);
    CHECK(plan.mismatched[0].why.ends_with(": use tensor_copy"));
    CHECK(ckpt::load(ours, views, {.allow_unexpected = {"**"}}).error().code == errc::load_incomplete);
}

TEST_CASE("a source is used, dropped or unexpected, and one of them only") {
    const auto source = weights_of({{"weight", mat()}, {"bias", vec()}, {"old", vec()}});
    const ckpt::key_map map{ckpt::rule("copy bias -> again"), ckpt::drop("bias"), ckpt::drop("old"),
                            ckpt::rename("again", "bias")};
    linear model{};
    const auto ours = ckpt::remap(source, map).value();
    check_partition(ckpt::load(ours, model).value(), {"weight", "bias"}, {"weight", "bias", "old"});
}

TEST_CASE("names of one tensor are used or dropped with the one that stands for them") {
    const auto source = weights_of({{"a", vec()}, {"b", vec()}, {"c", vec()}, {"weight", mat()}, {"bias", vec()}});
    linear model{};
    const auto report_of = [&](const ckpt::state_dict& weights, const char* rules) {
        const auto ours = ckpt::remap(weights, ckpt::key_map::parse(rules).value()).value();
        return ckpt::load(ours, model).value();
    };
    // What stands for a name is merged away itself.
    const auto merged = report_of(source, "rename {x:b|c} -> both\nrename both -> bias\nrename a -> bias\n");
    check_partition(merged, {"weight", "bias"}, {"a", "b", "c", "weight", "bias"});
    CHECK(merged.dropped.empty());
    CHECK(merged.loaded[1].from == keys{"a"}); // the earlier place stays
    CHECK(merged.loaded[1].aliases == keys{"c", "bias", "b"});
    // And it is dropped.
    const auto dropped = report_of(source, "rename {x:a|b|c} -> all\ndrop all\n");
    check_partition(dropped, {"weight", "bias"}, {"a", "b", "c", "weight", "bias"});
    REQUIRE(dropped.dropped.size() == 3);
    for (const auto& d : dropped.dropped) CHECK(d.rule == "drop all");
    // Two merges of pieces that lie behind one another are one view, and both pieces of the second are listed.
    const auto half = [](std::int64_t at) { return pkl::tensor(pkl::storage("FloatStorage", "0", 4), at, {2}, {1}); };
    const auto pieces = weights_of({{"weight", mat()}, {"q", half(0)}, {"k", half(2)}, {"r", half(0)}, {"l", half(2)}});
    const ckpt::key_map joined{ckpt::rule("merge 0 q, k -> bias"), ckpt::rule("merge 0 r, l -> bias")};
    const auto plan = ckpt::plan_remap(pieces, joined);
    REQUIRE(plan.aliased.size() == 2);
    CHECK(plan.aliased[0].key == "r");
    CHECK(plan.aliased[0].same_as == "q");
    CHECK(plan.aliased[1].key == "l");
    CHECK(plan.aliased[1].same_as == "k");
    check_partition(report_of(pieces, "merge 0 q, k -> bias\nmerge 0 r, l -> bias\n"), {"weight", "bias"},
                    {"weight", "q", "k", "r", "l"});
    // Parts that are dropped one by one are one key of the file.
    check_partition(report_of(source, "drop {x:b|c}\nsplit 0 a -> x, y\ndrop x\ndrop y\n"), {"weight", "bias"},
                    {"a", "b", "c", "weight", "bias"});
}

TEST_CASE("after two remaps the report leads back to the keys of the file") {
    const auto source = weights_of({{"module.a", vec()},
                                    {"module.b", vec()},
                                    {"module.c", vec()},
                                    {"module.old", vec()},
                                    {"module.weight", mat()}});
    const auto once = ckpt::remap(source, ckpt::key_map{ckpt::strip_wrappers(), ckpt::rename("c", "b")}).value();
    const auto report_of = [&](const char* rules) {
        linear model{};
        const auto twice = ckpt::remap(once, ckpt::key_map::parse(rules).value()).value();
        return ckpt::load(twice, model).value();
    };
    const auto used = report_of("drop old\nrename {x:a|b} -> bias\n");
    check_partition(used, {"weight", "bias"}, {"module.a", "module.b", "module.c", "module.old", "module.weight"});
    CHECK(used.loaded[1].from == keys{"module.a"});
    CHECK(used.loaded[1].aliases == keys{"module.b", "module.c"});
    REQUIRE(used.dropped.size() == 1);
    CHECK(used.dropped[0].from == "module.old");
    const auto dropped = report_of("drop old\ndrop b\nrename a -> bias\n");
    check_partition(dropped, {"weight", "bias"}, {"module.a", "module.b", "module.c", "module.old", "module.weight"});
    CHECK(dropped.dropped.size() == 3);
}

TEST_CASE("a source of several targets is used once") {
    const auto source = weights_of({{"v", vec()}});
    const auto ours = ckpt::remap(source, ckpt::key_map{ckpt::rule("split 0 v -> w.0, w.1")}).value();
    many_copies model;
    const auto report = ckpt::load(ours, model).value();
    CHECK(model.all.at(1)(1) == 4);
    CHECK(report.loaded.size() == 2);
    CHECK(report.used == keys{"v"});
}

TEST_CASE("a missing key is told its nearest: of the wanted shape first") {
    const auto hint = [](const entries& of, auto model) {
        const auto report = ckpt::plan_load(weights_of(of), model);
        return report.nearest.empty() ? keys{} : report.nearest.front().nearest;
    };
    CHECK(hint({{"bias", vec()}, {"wieght", mat()}, {"weigh", vec()}}, linear{}) == keys{"wieght", "weigh"});
    CHECK(hint({{"bias", vec()}, {"model.weight", vec()}, {"weihgt", mat()}}, linear{}) ==
          keys{"weihgt", "model.weight"});
    CHECK(hint({{"bias", vec()}, {"something else", vec()}}, linear{}).empty());
    CHECK(hint({{"bias", vec()}, {"weigh1", mat()}, {"weigh2", mat()}, {"weigh3", mat()}, {"weigh4", mat()}},
               linear{}) == keys{"weigh1", "weigh2", "weigh3"});
    // A third of the longer key may differ, of one with known sizes that agree two thirds.
    CHECK(hint({{"bias", vec()}, {"weigXY", mat()}}, linear{}) == keys{"weigXY"});
    CHECK(hint({{"bias", vec()}, {"weiXYZ", mat()}}, linear{}).empty());
    // Sizes that are known and agree make up for spelling.
    const std::string wide = pkl::tensor(pkl::storage("FloatStorage", "0", 4), 0, {1, 3}, {3, 1});
    CHECK(hint({{"wght.e", wide}}, sized{}) == keys{"wght.e"});
    CHECK(hint({{"wght.e", mat()}}, sized{}).empty());
    CHECK(hint({{"wXXXXt", wide}}, sized{}) == keys{"wXXXXt"});
    CHECK(hint({{"XXXXXt", wide}}, sized{}).empty());
    // Eight missing keys are told theirs.
    entries of{{"w.0", vec()}, {"w.10", vec()}};
    for (char c = 'a'; c < 'j'; ++c) of.emplace_back(std::string("w.") + c, vec());
    many_copies model;
    const auto report = ckpt::plan_load(weights_of(of), model);
    CHECK(report.missing_keys.size() == 9);
    CHECK(report.nearest.size() == 8);
}

TEST_CASE("a load that is not complete names the file, what is missing first, and the nearest key beside it") {
    const temporary_file file{file_of({{"model.weight", mat()}, {"bias", vec()}, {"other", vec()}})};
    const auto weights = ckpt::open(file.path()).value().state_dict("model").value();
    linear model{};
    const auto failure = ckpt::load(weights, model).error();
    CHECK(failure.detail == R"(1 missing: "weight" (nearest: "model.weight"); 2 unexpected: "model.weight", "other")");
    CHECK(failure.file == file.path().string());
    CHECK(failure.path == "model");
    const auto owned = weights.owned();
    CHECK(ckpt::load(owned, model).error().file == file.path().string());
    const auto renamed = ckpt::remap(weights, {ckpt::rename("model.weight", "wight")}).value();
    CHECK(ckpt::load<linear>(renamed).error().file == file.path().string());
    half_model half{};
    CHECK(ckpt::load(weights, half, {.allow_unexpected = {"**"}}).error().detail == R"(1 missing: "w")");
}

TEST_CASE("many copies of one storage are refused before they are made") {
    entries of;
    const std::string shared = pkl::tensor(pkl::storage("FloatStorage", "0", 4), 0, {1 << 22}, {0}); // 16 MiB each
    for (int i = 0; i < 100; ++i) of.emplace_back("w." + std::to_string(i), shared);
    many_copies model;
    const auto report = ckpt::plan_load(weights_of(of), model);
    CHECK(report.loaded.size() == 4); // 64 MiB are free
    CHECK(report.mismatched.size() == 96);
    CHECK(report.unexpected_keys.empty());
    CHECK(report.mismatched[0].got_shape == std::vector<std::int64_t>{1 << 22});
}

TEST_CASE("copies of a load take 64 MiB and 16 times their storages, each counted once") {
    constexpr std::int64_t whole = 1 << 22; // elements of 16 MiB
    const auto loaded = [](std::int64_t last) {
        entries of;
        for (const std::int64_t n : {whole, whole, whole, last})
            of.emplace_back("w." + std::to_string(of.size()),
                            pkl::tensor(pkl::storage("FloatStorage", "0", 4), 0, {n}, {0}));
        many_copies model;
        return ckpt::plan_load(weights_of(of), model).loaded.size();
    };
    CHECK(loaded(whole + 16 * 4) == 4); // the storage has four elements
    CHECK(loaded(whole + 16 * 4 + 1) == 3);
}

TEST_CASE("work is linear in keys that fit nothing") {
    constexpr std::size_t many = test_support::sanitized ? 20'000 : 100'000;
    entries of;
    for (std::size_t i = 0; i < many; ++i) of.emplace_back("layer." + std::to_string(i) + ".w", vec());
    const auto weights = weights_of(of);
    many_copies model;
    const ends_soon guard{20}; // about one tenth of a second
    const auto report = ckpt::plan_load(weights, model, {.allow_unexpected = {"layer.**"}});
    CHECK(report.ok());
    CHECK(report.unexpected_keys.size() == many);
    const std::string text = report.to_text();
    CHECK(text.find("layer.{0..9999}.w (10000)\n  +" + std::to_string(many - 10'000) + " more\n") != std::string::npos);
    linear missing{};
    CHECK(ckpt::plan_load(weights, missing).missing_keys.size() == 2);
}

} // namespace load_test
