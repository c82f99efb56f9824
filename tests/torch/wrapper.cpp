// tests/torch/wrapper.cpp: tensor subclasses: parts by attribute name, classes, distributed tensors, tensors of other
// devices.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/diff.hpp>
#include <ckpt/state/overlay.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wrapper_test {

using ckpt::errc;
using namespace test_support;

namespace {

using test_support::pkl::call;
using test_support::pkl::dict;
using test_support::pkl::global;
using test_support::pkl::ints;
using test_support::pkl::no;
using test_support::pkl::none;
using test_support::pkl::num;
using test_support::pkl::object;
using test_support::pkl::ordered;
using test_support::pkl::str;
using test_support::pkl::tuple;

const std::string outside = global("torchao.dtypes", "Outside");

/// A wrapper of shape [4, 2] whose attributes are `state`.
std::string wrapper(const std::string& state, const std::string& of_class = outside,
                    const std::string& dtype = "bfloat16") {
    const std::string layout = call(global("torch.serialization", "_get_layout"), {str("torch.strided")});
    const std::string device = call(global("torch", "device"), {str("cpu")});
    const std::string shell =
        tuple({of_class, global("torch", dtype), ints({4, 2}), ints({2, 1}), num(0), layout, device, no});
    return call(global("torch._tensor", "_rebuild_from_type_v2"),
                {global("torch._utils", "_rebuild_wrapper_subclass"), of_class, shell, state});
}
std::string floats(const char* key) { return pkl::floats(key, 2); }

ckpt::checkpoint opened(const std::string& value, std::string& keep, const ckpt::open_options& options = {}) {
    keep = torch_file(value, {{"0", raw<float>({1, 2})}, {"1", raw<float>({3, 4})}, {"2", raw<float>({5, 6})}});
    return ckpt::open_bytes(bytes_of(keep), options).value();
}
/// Names of all parts, those of parts in brackets; or the code of the error.
std::string names(const ckpt::tensor& t) {
    if (t.refusal() != nullptr) return std::string(ckpt::info(t.refusal()->code).name);
    std::string out;
    for (const ckpt::named_part p : t.parts()) {
        out += (out.empty() ? "" : " ") + std::string(p.name);
        if (p.tensor.refusal() != nullptr) out += '!';
        else if (!p.tensor.parts().empty()) out += '(' + names(p.tensor) + ')';
    }
    return out;
}
std::string names(const std::string& value) {
    std::string keep;
    const auto file = opened(value, keep);
    return names(file.root().as_tensor().value());
}
std::string text_of(const std::string& value) {
    std::string keep;
    const auto file = opened(value, keep);
    const ckpt::tensor t = file.root().as_tensor().value();
    return t.refusal() != nullptr ? t.refusal()->message() : std::string(t.placement());
}

std::string placement(const char* name, const std::string& state) {
    return object("torch.distributed.tensor.placement_types", name, state);
}
std::string dtensor(const std::string& placements, const std::string& mesh_state) {
    const std::string mesh = object("torch.distributed.device_mesh", "DeviceMesh", mesh_state);
    const std::string spec = object("torch.distributed.tensor._dtensor_spec", "DTensorSpec",
                                    dict({{str("mesh"), mesh}, {str("placements"), placements}}));
    return wrapper(tuple({none, dict({{str("_local_tensor"), floats("0")}, {str("_spec"), spec}})}),
                   global("torch.distributed.tensor", "DTensor"), "float32");
}
std::string sharded(const std::vector<std::int64_t>& offsets, const std::vector<std::int64_t>& sizes) {
    const std::string metadata =
        object("torch.distributed._shard.metadata", "ShardMetadata",
               tuple({none, dict({{str("shard_offsets"), ints(offsets)}, {str("shard_sizes"), ints(sizes)}})}));
    const std::string piece = pkl::tensor(pkl::storage("FloatStorage", "0", 2), 0, {1, 2}, {2, 1});
    const std::string shard = object("torch.distributed._shard.sharded_tensor.shard", "Shard",
                                     tuple({none, dict({{str("tensor"), piece}, {str("metadata"), metadata}})}));
    const std::string spec = object("torch.distributed._shard.sharding_spec.chunk_sharding_spec", "ChunkShardingSpec",
                                    dict({{str("dim"), num(0)}}));
    const std::string all = object("torch.distributed._shard.sharded_tensor.metadata", "ShardedTensorMetadata",
                                   dict({{str("shards_metadata"), pkl::list({metadata, metadata})}}));
    return wrapper(tuple({pkl::list({shard}), all, none, spec, no}),
                   global("torch.distributed._shard.sharded_tensor.api", "ShardedTensor"));
}

} // namespace

TEST_CASE("the tensors among the attributes are parts, by the names that lead to them") {
    CHECK(names(wrapper(
              dict({{str("qdata"), floats("0")}, {str("scale"), floats("1")}, {str("block"), ints({1, 2})}}))) ==
          "qdata scale");
    CHECK(names(wrapper(tuple({dict({{str("a"), floats("0")}}), dict({{str("slot"), floats("1")}})}))) == "a slot");
    CHECK(names(wrapper(tuple({none, dict({{str("slot"), floats("1")}})}))) == "slot");
    // In dictionaries, lists, objects; a bad one keeps its place.
    const std::string inner = object("torchao.dtypes", "Impl", dict({{str("zero"), floats("1")}}));
    CHECK(names(wrapper(dict({{str("list"), pkl::list({num(1), floats("0")})},
                              {str("impl"), inner},
                              {num(7), floats("0")},
                              {none, floats("0")},
                              {str("bad"), pkl::floats("0", 3)}}))) == "list.1 impl.zero 7 bad!");
    CHECK(names(wrapper(none)) == "");
    CHECK(names(wrapper(dict({{str("impl"), wrapper(dict({{str("q"), floats("0")}}))}}))) == "impl(q)");
    // What is reached twice is there once, and cycles end.
    CHECK(names(wrapper("}q\x05(" + str("self") + "h\x05" + str("w") + floats("0") + "u")) == "w");

    std::string keep;
    const auto file = opened(wrapper(dict({{str("impl"), wrapper(dict({{str("q"), floats("1")}}))}})), keep);
    const ckpt::tensor t = file.root().as_tensor().value();
    CHECK(t.layout() == ckpt::layout::wrapper);
    CHECK(t.dtype() == ckpt::dtype::bfloat16);
    CHECK(t.class_name() == "torchao.dtypes.Outside");
    CHECK(t.numel() == 8);
    CHECK(t.nbytes() == 8);
    CHECK(t.part("impl.q").value().view<float, 1>().value()(0) == 3);
    CHECK(t.part("impl.x").error().code == errc::key_missing);
    CHECK(t.bytes().error().code == errc::not_strided);
    // By itself, without a state.
    CHECK(names(call(global("torch._utils", "_rebuild_wrapper_subclass"),
                     {outside, global("torch", "int8"), ints({2}), ints({1}), num(0), none, none, no})) == "");
}

TEST_CASE("R1: parts of parts end, and are paid for") {
    std::string deep = floats("0");
    for (int i = 0; i < 8; ++i) deep = wrapper(dict({{str("p"), deep}}));
    CHECK(names(deep).ends_with("))))))"));
    CHECK(names(wrapper(dict({{str("p"), deep}}))) == "unsupported_tensor");
    // Each level has the one below many times: 2,000 bytes of pickle would claim 64^6 parts.
    std::string wide = floats("0");
    for (int level = 0; level < 6; ++level) {
        std::string state = "}(";
        for (int i = 0; i < 64; ++i)
            state += str(std::to_string(i)) + (i == 0 ? wide + "q" + static_cast<char>(64 + level)
                                                      : "h" + std::string(1, static_cast<char>(64 + level)));
        wide = wrapper(state + "u");
    }
    const std::string bytes = torch_file(wide, {{"0", raw<float>({1, 2})}});
    CHECK(ckpt::open_bytes(bytes_of(bytes)).error().code == errc::limit);
    std::string lists = floats("0");
    for (int i = 0; i < 40; ++i) lists = pkl::list({lists});
    CHECK(names(wrapper(dict({{str("x"), lists}}))) == "unsupported_tensor");
}

TEST_CASE("parts follow their tensor into copies, maps, overlays and differences") {
    std::string keep;
    const std::string both = wrapper(dict({{str("q"), floats("0")}, {str("s"), floats("1")}}));
    const auto file = opened(dict({{str("m.w"), both}, {str("m.b"), floats("2")}}), keep);
    const auto weights = file.state_dict("").value();
    const auto first = [](const ckpt::state_dict& d, const char* key, const char* part) {
        const ckpt::tensor t = d.at(key).value();
        std::vector<float> out(2);
        return t.part(part).value().copy_to(std::span(out)).has_value() ? out[0] : -1;
    };
    const auto owned = weights.owned();
    CHECK(first(owned, "m.w", "s") == 3);
    const auto mapped =
        ckpt::remap(weights, ckpt::key_map::parse("strip m.\ncopy w -> v\nunsqueeze 0 b").value()).value();
    for (const char* key : {"w", "v"}) CHECK(first(mapped, key, "s") == 3);
    CHECK(first(mapped.owned(), "v", "q") == 1);
    CHECK(ckpt::plan_remap(weights, ckpt::key_map::parse("unsqueeze 0 m.w").value())
              .errors.at(0)
              .detail.find("only strided ones") != std::string::npos);
    const std::vector<ckpt::layer> layers{{weights, "a"}, {owned, "b"}};
    const auto laid = ckpt::overlay(layers).value();
    CHECK(first(laid.weights, "m.w", "q") == 1);
    CHECK(laid.weights.at("m.w").value().part("q").value().file() == "b");
    CHECK(ckpt::diff(weights, owned).same());

    std::string other;
    const auto changed = opened(dict({{str("m.w"), wrapper(dict({{str("q"), floats("0")}, {str("s"), floats("2")}}))},
                                      {str("m.b"), floats("2")}}),
                                other);
    const auto found = ckpt::diff(weights, changed.state_dict("").value());
    REQUIRE(found.changed.size() == 1);
    CHECK(found.changed[0].why == ckpt::difference::values);
    CHECK(found.changed[0].max_abs_diff == 2);
    const auto renamed = opened(dict({{str("m.w"), wrapper(dict({{str("q"), floats("0")}, {str("t"), floats("1")}}))},
                                      {str("m.b"), floats("2")}}),
                                other);
    CHECK(ckpt::diff(weights, renamed.state_dict("").value()).changed.size() == 1);
}

TEST_CASE("subclasses of tensors with values have a class and stay strided") {
    const std::string arguments =
        tuple({pkl::storage("FloatStorage", "0", 2), num(0), ints({2}), ints({1}), no, ordered()});
    const auto typed = [&](const std::string& of_class) {
        return call(global("torch._tensor", "_rebuild_from_type_v2"),
                    {global("torch._utils", "_rebuild_tensor_v2"), of_class, arguments, dict({})});
    };
    std::string keep;
    const auto file = opened(
        pkl::list({typed(outside), typed(global("torch", "Tensor")), typed(global("torch.nn.parameter", "Parameter"))}),
        keep);
    CHECK(file.root()[0].as_tensor().value().class_name() == "torchao.dtypes.Outside");
    CHECK(file.root()[0].as_tensor().value().view<float, 1>().value()(1) == 2);
    CHECK(file.root()[1].as_tensor().value().class_name().empty());
    CHECK(file.root()[2].as_tensor().value().class_name().empty());
}

TEST_CASE("DTensor: the local tensor, and how it lies in the whole") {
    const std::string shard = placement("Shard", dict({{str("dim"), num(0)}}));
    const std::string replicate = placement("Replicate", dict({}));
    const std::string partial = placement("Partial", dict({{str("reduce_op"), str("sum")}}));
    const std::string ranks = pkl::tensor(pkl::storage("FloatStorage", "1", 2), 0, {1, 2}, {2, 1});
    CHECK(text_of(dtensor(tuple({shard, replicate}), dict({{str("device_type"), str("cuda")},
                                                           {str("mesh"), ranks},
                                                           {str("mesh_dim_names"), tuple({str("dp"), str("tp")})}}))) ==
          "Shard(0), Replicate() on cuda mesh [1, 2] (dp, tp)");
    const auto axis = [](std::int64_t n) {
        return object("torch.distributed._mesh_layout", "_FlatLayout", dict({{str("shape"), ints({n})}}));
    };
    const std::string layout =
        object("torch.distributed._mesh_layout", "_MeshLayout", dict({{str("axes"), tuple({axis(2), axis(4)})}}));
    CHECK(text_of(dtensor(tuple({partial}), dict({{str("_device_type"), str("cpu")},
                                                  {str("_layout"), layout},
                                                  {str("_coordinate_on_dim"), ints({1, 3})}}))) ==
          "Partial(sum) on cpu mesh [2, 4] at [1, 3]");
    CHECK(names(dtensor(none, dict({}))) == "_local_tensor");
    CHECK(text_of(dtensor(none, none)).find("on mesh") != std::string::npos);
}

TEST_CASE("V3: ShardedTensor: local shards with their offsets, inside the whole") {
    const std::string good = sharded({3, 0}, {1, 2});
    CHECK(names(good) == "_local_shards.0");
    CHECK(text_of(good) == "ChunkShardingSpec(0), 2 shards");
    std::string keep;
    const auto file = opened(good, keep);
    CHECK(file.root().as_tensor().value().part("_local_shards.0").value().placement() == "offsets [3, 0]");
    CHECK(names(sharded({4, 0}, {1, 2})) == "bad_arguments");
    CHECK(names(sharded({-1, 0}, {1, 2})) == "bad_arguments");
    CHECK(names(sharded({0, 0}, {2, 2})) == "bad_arguments"); // the tensor has one row
    CHECK(names(sharded({0}, {1, 2})) == "bad_arguments");
}

TEST_CASE("tensors of other devices: from numpy, converted where numpy has no such type") {
    const auto array = [](const char* code, const std::string& bytes) {
        const std::string type = call(global("numpy", "dtype"), {str(code), no, pkl::yes}) +
                                 tuple({num(3), str("<"), none, none, none, num(-1), num(-1), num(0)}) + "b";
        return call(global("numpy._core.multiarray", "_reconstruct"),
                    {global("numpy", "ndarray"), ints({0}), str("b")}) +
               tuple({num(1), ints({2}), type, no, "C" + std::string(1, static_cast<char>(bytes.size())) + bytes}) +
               "b";
    };
    const auto moved = [](const char* function, const std::string& data, const char* dtype) {
        return call(global("torch._utils", function), {data, global("torch", dtype), str("xla:0"), pkl::yes});
    };
    std::string keep;
    const auto same =
        opened(moved("_rebuild_device_tensor_from_numpy", array("f4", raw<float>({1, 2})), "float32"), keep);
    std::vector<float> values(2);
    CHECK(same.root().as_tensor().value().copy_to(std::span(values)).has_value());
    CHECK(values == std::vector<float>{1, 2});
    CHECK(same.root().as_tensor().value().requires_grad());
    const auto half = opened(moved("_rebuild_xla_tensor", array("f4", raw<float>({1, 2})), "bfloat16"), keep);
    std::vector<ckpt::bf16> two(2);
    CHECK(half.root().as_tensor().value().copy_to(std::span(two)).has_value());
    CHECK(static_cast<float>(two[1]) == 2);
    CHECK(names(moved("_rebuild_device_tensor_from_numpy", array("f4", raw<float>({1, 2})), "int8")) ==
          "unsupported_tensor");
    CHECK(names(moved("_rebuild_device_tensor_from_cpu_tensor", floats("0"), "float32")) == "");
    CHECK(names(moved("_rebuild_device_tensor_from_cpu_tensor", floats("0"), "bfloat16")) == "unsupported_tensor");
    CHECK(names(moved("_rebuild_device_tensor_from_cpu_tensor", num(1), "float32")) == "bad_arguments");
}

TEST_CASE("objects that keep a tuple as their state: its tensors are found by position") {
    const std::string packed = object(
        "torch", "ScriptObject",
        tuple({tuple({floats("0"), floats("1")}), str("__torch__.torch.classes.quantized.LinearPackedParamsBase")}));
    const std::string generator =
        call(global("torch._C", "Generator"), {call(global("torch", "device"), {str("cpu")})}) +
        tuple({num(5), none, floats("2")}) + "b";
    std::string keep;
    const auto file = opened(dict({{str("packed"), packed}, {str("generator"), generator}}), keep);
    std::vector<std::string> keys;
    const auto found = ckpt::find_tensors(file.root()).value();
    for (const ckpt::located_tensor& t : found) keys.push_back(t.key());
    CHECK(keys == std::vector<std::string>{"packed.0.0", "packed.0.1", "generator.2"});
    CHECK(file.root().find("packed/0/1").value().as_tensor().has_value());
    CHECK(file.root().find("generator/2").value().as_tensor().has_value());
}

TEST_CASE("R1: attributes are looked through 16 levels deep, and of 256 containers") {
    const auto nested = [](int lists) {
        std::string value = floats("0");
        for (int i = 0; i < lists; ++i) value = pkl::list({value});
        return wrapper(dict({{str("p"), value}}));
    };
    CHECK(names(nested(16)).ends_with(".0"));
    CHECK(names(nested(17)) == "unsupported_tensor");
    CHECK(text_of(nested(17)).find("whose attributes are nested this deeply") != std::string::npos);
    const auto side_by_side = [](int lists) {
        std::string state = "}(" + str("p") + floats("0");
        for (int i = 0; i < lists; ++i) state += num(i) + pkl::list({num(i)});
        return wrapper(state + "u");
    };
    CHECK(names(side_by_side(255)) == "p"); // and the dictionary
    CHECK(names(side_by_side(256)) == "unsupported_tensor");
}

TEST_CASE("a placement shows 16 of each, and numbers of up to 64 dimensions") {
    const std::string replicate = placement("Replicate", dict({}));
    const auto placed = [&](int n) {
        std::string all = "(";
        for (int i = 0; i < n; ++i) all += replicate;
        return text_of(dtensor(all + "t", dict({})));
    };
    CHECK(placed(16).find("...") == std::string::npos);
    CHECK(placed(17).find("Replicate(), ... on mesh") != std::string::npos);
    const auto times = [](int n, const std::string& what) {
        std::string out = "(";
        for (int i = 0; i < n; ++i) out += what;
        return out + "t";
    };
    const std::string axis = object("torch.distributed._mesh_layout", "_FlatLayout", dict({{str("shape"), ints({2})}}));
    const auto on_mesh = [&](int axes) {
        const std::string layout =
            object("torch.distributed._mesh_layout", "_MeshLayout", dict({{str("axes"), times(axes, axis)}}));
        return text_of(dtensor(none, dict({{str("_layout"), layout}})));
    };
    CHECK(on_mesh(15) != on_mesh(16));
    CHECK(on_mesh(16).find("...") == std::string::npos);
    CHECK(on_mesh(17) == on_mesh(16));
    const auto named = [&](int n) {
        return text_of(dtensor(none, dict({{str("mesh_dim_names"), times(n, str("d"))}})));
    };
    CHECK(named(15) != named(16));
    CHECK(named(17) == named(16));
    const auto at = [&](int n) {
        return text_of(dtensor(none, dict({{str("_coordinate_on_dim"), times(n, num(0))}})));
    };
    CHECK(at(64).find(" at [0, 0, ") != std::string::npos);
    CHECK(at(65).find(" at ") == std::string::npos);
}

TEST_CASE("V1: shells and arrays of numpy have at most limits.tensor_rank dimensions") {
    const auto ones = [](std::size_t rank) { return ints(std::vector<std::int64_t>(rank, 1)); };
    const auto shell = [&](std::size_t rank) {
        return call(global("torch._utils", "_rebuild_wrapper_subclass"),
                    {outside, global("torch", "int8"), ones(rank), ones(rank), num(0), none, none, no});
    };
    const auto array = [&](std::size_t rank) {
        const std::string type = call(global("numpy", "dtype"), {str("f4"), no, pkl::yes}) +
                                 tuple({num(3), str("<"), none, none, none, num(-1), num(-1), num(0)}) + "b";
        return call(global("numpy._core.multiarray", "_reconstruct"),
                    {global("numpy", "ndarray"), ints({0}), str("b")}) +
               tuple({num(1), ones(rank), type, no, "C\x04" + raw<float>({1})}) + "b";
    };
    const auto refusal_of = [](const std::string& value) {
        std::string keep;
        const auto file = opened(value, keep);
        const ckpt::error* const e = file.root().refusal();
        return e != nullptr ? std::string(ckpt::info(e->code).name) + ": " + e->detail : std::string();
    };
    for (const std::string& value : {shell(64), array(64)}) CHECK(refusal_of(value) == "");
    for (const std::string& value : {shell(65), array(65)})
        CHECK(refusal_of(value) == "shape_invalid: the tensor has 65 dimensions, the limit is 64");
}

} // namespace wrapper_test
