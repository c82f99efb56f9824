// tests/torch/tensordict.cpp: TensorDict, lazy stacks and consolidated ones, and named tuples of torch.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/processor_time.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tensordict_test {

using ckpt::errc;
using namespace test_support;

namespace {

const std::string t = pkl::floats("0", 4);

ckpt::result<ckpt::checkpoint> read(const std::string& root) {
    static std::deque<std::string> kept; // the bytes are borrowed
    kept.push_back(torch_file(root, {{"0", raw<float>({1, 2, 3, 4})}, {"1", std::string(64, '\1')}}));
    return ckpt::open_bytes(bytes_of(kept.back()));
}
std::string keys(const ckpt::state_dict& weights) {
    std::string out;
    for (const auto& [key, tensor] : weights)
        out += (out.empty() ? "" : " ") + std::string(key) +
               (tensor.refusal() != nullptr ? '!' + std::string(ckpt::info(tensor.refusal()->code).name) : "");
    return out;
}
std::string names(const std::vector<std::pair<std::string, std::string>>& of) {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [name, value] : of) out.emplace_back(pkl::str(name), value);
    return pkl::dict(out);
}
std::string made(const char* name, const std::string& state) {
    const bool lazy = std::string(name) == "LazyStackedTensorDict";
    return pkl::call(pkl::global("tensordict._reductions", "_make_td"),
                     {pkl::global(lazy ? "tensordict._lazy" : "tensordict._td", name), state});
}
std::string tensordict(const std::vector<std::pair<std::string, std::string>>& of) {
    return made("TensorDict", names({{"_tensordict", names(of)}, {"_device", pkl::none}, {"_td_dim_names", pkl::yes}}));
}
std::string leaf(const std::string& dtype, const std::vector<std::int64_t>& shape, std::int64_t from, std::int64_t to) {
    return pkl::tuple({pkl::str(dtype), pkl::ints(shape), pkl::num(from), pkl::num(to), pkl::num(0)});
}
std::string metadata(const std::vector<std::pair<std::string, std::string>>& leaves,
                     const std::vector<std::pair<std::string, std::string>>& more = {}) {
    std::vector<std::pair<std::string, std::string>> all{
        {"cls", pkl::str("TensorDict")},
        {"non_tensors", names({{"note", pkl::tuple({pkl::str("text"), pkl::list({}), pkl::none})}})},
        {"leaves", names(leaves)},
        {"cls_metadata", names({{"device", pkl::none}})}};
    all.insert(all.end(), more.begin(), more.end());
    return names(all);
}
std::string bytes(const char* type = "ByteStorage", std::int64_t offset = 0, std::int64_t n = 64) {
    return pkl::tensor(pkl::storage(type, "1", type == std::string("ByteStorage") ? 64 : 16), offset, {n}, {1});
}
std::string consolidated(const std::string& of, const std::string& from = bytes()) {
    return names({{"td", pkl::call(pkl::global("tensordict._reductions", "_rebuild_tensordict_files_consolidated"),
                                   {of, from})}});
}

} // namespace

TEST_CASE("a TensorDict is a dictionary with its class and attributes, and part of a state_dict") {
    const auto file = read(names({{"data", tensordict({{"obs", t}, {"nested", tensordict({{"act", t}})}})}})).value();
    const auto weights = file.state_dict("").value();
    CHECK(keys(weights) == "data.obs data.nested.act");
    const ckpt::value data = file.root().at("data").value();
    CHECK(data.kind() == ckpt::kind::dictionary);
    CHECK(data.class_of().as_global().value().name == "TensorDict");
    CHECK(data.state().at("_td_dim_names").value().as_bool().value());
    CHECK(file.root().find("data/nested/act").value().as_tensor().value().numel() == 4);
    // As versions before 0.5 write it: the class itself, with a dictionary of its own kind.
    const std::string older = pkl::object("tensordict._td", "TensorDict",
                                          names({{"_tensordict", pkl::global("tensordict.utils", "_StringOnlyDict") +
                                                                     ")\x81(" + pkl::str("a") + t + "u"}}));
    CHECK(keys(read(names({{"data", older}})).value().state_dict("").value()) == "data.a");
    // Of another form it stays as it is, and what it was called with is listed.
    const auto other = read(names({{"data", made("TensorDict", names({{"_other", t}}))}})).value();
    const auto rows = ckpt::find_tensors(other.root()).value();
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].key() == "data.1._other");
}

TEST_CASE("a lazy stack is the list of its parts") {
    const auto file =
        read(names({{"data",
                     made("LazyStackedTensorDict",
                          names({{"stack_dim", pkl::num(0)},
                                 {"tensordicts", pkl::list({tensordict({{"a", t}}), tensordict({{"a", t}})})}}))}}))
            .value();
    CHECK(keys(file.state_dict("").value()) == "data.0.a data.1.a");
}

TEST_CASE("a consolidated TensorDict has its tensors in the bytes of one") {
    const auto file = read(consolidated(metadata({{"a", leaf("torch.int16", {2, 3}, 2, 14)},
                                                  {"b", leaf("torch.float32", {}, 16, 20)},
                                                  {"c", leaf("torch.uint8", {0, 7}, 64, 64)}},
                                                 {{"sub", metadata({{"d", leaf("torch.float64", {1}, 24, 32)}})},
                                                  {"size", pkl::num(64)}})))
                          .value();
    const auto weights = file.state_dict("").value();
    CHECK(keys(weights) == "td.a td.b td.c td.sub.d");
    const auto a = weights.at("td.a").value();
    CHECK(a.dtype() == ckpt::dtype::int16);
    CHECK(a.shape()[1] == 3);
    CHECK(a.storage_offset() == 1);
    std::vector<std::int16_t> values(6);
    REQUIRE(a.copy_to(std::span(values)).has_value());
    CHECK(values == std::vector<std::int16_t>(6, 0x0101));
    CHECK(a.storage_id() == weights.at("td.sub.d").value().storage_id());
    CHECK(file.root().find("td/note").value().as_string().value() == "text");
    CHECK(file.root().find("td/sub/note").value().as_string().value() == "text");
}

TEST_CASE("a lazy stack in a consolidated TensorDict is a list") {
    const auto of = [](const char* cls, const char* second) {
        const std::string one = metadata({{"a", leaf("torch.uint8", {4}, 0, 4)}});
        std::string stack =
            names({{"cls", pkl::str(cls)}, {"non_tensors", "}"}, {"leaves", "}"}, {"0", one}, {second, one}});
        return read(consolidated(metadata({}, {{"l", stack}}))).value();
    };
    const auto file = of("LazyStackedTensorDict", "1");
    CHECK(file.root().find("td/l").value().kind() == ckpt::kind::list);
    CHECK(keys(file.state_dict("").value()) == "td.l.0.a td.l.1.a");
    for (const auto& other : {of("TensorDict", "1"), of("LazyStackedTensorDict", "2")})
        CHECK(other.root().find("td/l").value().kind() == ckpt::kind::dictionary);
}

TEST_CASE("a leaf that does not fit its bytes is an error at its key") {
    const auto one = [](const std::string& of, const std::string& from = bytes()) {
        return keys(read(consolidated(metadata({{"a", of}, {"good", leaf("torch.uint8", {4}, 0, 4)}}), from))
                        .value()
                        .state_dict("")
                        .value());
    };
    CHECK(one(leaf("torch.int32", {16}, 0, 64)) == "td.a td.good");
    CHECK(one(leaf("torch.int32", {17}, 0, 64)) == "td.a!out_of_bounds td.good");
    CHECK(one(leaf("torch.int32", {1}, 0, 3)) == "td.a!out_of_bounds td.good");
    CHECK(one(leaf("torch.int32", {1}, 2, 6)) == "td.a!out_of_bounds td.good"); // not aligned
    CHECK(one(leaf("torch.int32", {1}, 2, 6), bytes("ByteStorage", 2, 62)) == "td.a td.good");
    CHECK(one(leaf("torch.int32", {1}, 60, 68)) == "td.a!out_of_bounds td.good");
    CHECK(one(leaf("torch.int32", {1}, 8, 4)) == "td.a!out_of_bounds td.good");
    CHECK(one(leaf("torch.int32", {1}, -4, 4)) == "td.a!out_of_bounds td.good");
    CHECK(one(leaf("torch.int32", {-1}, 0, 4)) == "td.a!shape_invalid td.good");
    CHECK(one(leaf("torch.odd", {1}, 0, 4)) == "td.a!dtype_unknown td.good");
    CHECK(one(pkl::none) == "td.a!bad_arguments td.good");
}

TEST_CASE("metadata of another form are an error at the place of the TensorDict") {
    const auto refused = [](const std::string& of, const std::string& from = bytes()) {
        const auto file = read(consolidated(of, from)).value();
        const ckpt::error* const why = file.root().at("td").value().refusal();
        return why == nullptr ? errc::none : why->code;
    };
    CHECK(refused(metadata({})) == errc::none);
    CHECK(refused(pkl::num(1)) == errc::bad_arguments);
    CHECK(refused(names({{"leaves", names({})}})) == errc::bad_arguments);
    CHECK(refused(metadata({}, {{"sub", pkl::num(1)}})) == errc::bad_arguments);
    CHECK(refused(metadata({}), bytes("FloatStorage", 0, 16)) == errc::bad_arguments);
    CHECK(refused(metadata({}), pkl::none) == errc::bad_arguments);
    CHECK(refused(metadata({}), pkl::tensor(pkl::storage("ByteStorage", "9", 64), 0, {64}, {1})) ==
          errc::record_missing);
}

TEST_CASE("R1: metadata that hold themselves, or share parts very often, end in a limit, soon") {
    const ends_soon guard{20}; // far less
    const std::string level = "}q\x05(" + pkl::str("non_tensors") + "}" + pkl::str("leaves") + "}";
    CHECK(read(consolidated(level + pkl::str("me") + "h\x05u")).error().code == errc::limit);
    std::string shared = metadata({{"a", leaf("torch.uint8", {1}, 0, 1)}});
    for (int i = 0; i < 40; ++i)
        shared = shared + "r" + le32(static_cast<std::uint64_t>(100 + i)) + "0" +
                 names({{"non_tensors", "}"},
                        {"leaves", "}"},
                        {"x", "j" + le32(static_cast<std::uint64_t>(100 + i))},
                        {"y", "j" + le32(static_cast<std::uint64_t>(100 + i))}});
    CHECK(read(consolidated(shared)).error().code == errc::limit);
}

TEST_CASE("a jagged tensor of a consolidated TensorDict is one tensor, of three leaves") {
    const auto one = [](const std::vector<std::pair<std::string, std::string>>& leaves) {
        return read(consolidated(metadata(leaves))).value();
    };
    const std::string values = leaf("torch.float32", {4, 2}, 0, 32), offsets = leaf("torch.int64", {3}, 32, 56);
    const auto file = one({{"<NJT_VALUES>j", values}, {"<NJT_OFFSETS>j", offsets}, {"a", values}});
    const auto weights = file.state_dict("").value();
    CHECK(keys(weights) == "td.j td.a");
    const auto j = weights.at("td.j").value();
    CHECK(j.layout() == ckpt::layout::jagged);
    CHECK(std::vector<std::int64_t>(j.shape().begin(), j.shape().end()) == std::vector<std::int64_t>{2, -1, 2});
    CHECK(j.parts().size() == 2);
    const auto with_lengths = one({{"<NJT_VALUES>j", values},
                                   {"<NJT_LENGTHS>j", leaf("torch.int64", {2}, 0, 16)},
                                   {"<NJT_OFFSETS>j", offsets.substr(0, offsets.size() - 1) + pkl::num(2) + "t"}});
    const auto gaps = with_lengths.state_dict("").value();
    const auto k = gaps.at("td.j").value();
    CHECK(k.parts().size() == 3);
    CHECK(std::vector<std::int64_t>(k.shape().begin(), k.shape().end()) == std::vector<std::int64_t>{2, 4, -1});
    CHECK(keys(one({{"<NJT>j", leaf("torch.odd", {1}, 0, 4)}, {"<NJT_OFFSETS>j", offsets}}).state_dict("").value()) ==
          "td.j!dtype_unknown");
    for (const auto& left_over : std::vector<std::vector<std::pair<std::string, std::string>>>{
             {{"<NJT_VALUES>j", values}},
             {{"<NJT_OFFSETS>j", offsets}},
             {{"<NJT_LENGTHS>j", offsets}, {"<NJT_OFFSETS>j", offsets}},
             {{"<NJT_VALUES>j", values}, {"<NJT_VALUES>k", values}, {"<NJT_OFFSETS>j", offsets}}}) {
        const auto other = one(left_over);
        REQUIRE(other.root().at("td").value().refusal() != nullptr);
        CHECK(other.root().at("td").value().refusal()->code == errc::bad_arguments);
    }
}

TEST_CASE("a TensorDict of tensors under tuples of names") {
    const auto path = [](const std::string& first, const std::string& second = {}) {
        return second.empty() ? pkl::tuple({pkl::str(first)}) : pkl::tuple({pkl::str(first), pkl::str(second)});
    };
    const auto open = [](const std::string& tensors, const std::string& of) {
        return read(names({{"td", pkl::call(pkl::global("tensordict._reductions", "_rebuild_tensordict_files"),
                                            {tensors, of})}}))
            .value();
    };
    const std::string all = pkl::dict({{path("sub", "a"), t}, {path("a"), t}, {path("b"), t}});
    const auto file =
        open(all, metadata({{"a", pkl::none}, {"b", pkl::none}}, {{"sub", metadata({{"a", pkl::none}})}}));
    CHECK(keys(file.state_dict("").value()) == "td.a td.b td.sub.a");
    CHECK(file.root().find("td/sub/note").value().as_string().value() == "text");
    CHECK(keys(open(all, metadata({{"c", pkl::none}, {"b", pkl::none}})).state_dict("").value()) ==
          "td.c!bad_arguments td.b");
    const auto refused = open(pkl::none, metadata({}));
    CHECK(refused.root().at("td").value().refusal()->code == errc::bad_arguments);
}

TEST_CASE("what torch.topk returns is known data") {
    const auto file = read(
        names({{"top", pkl::call(pkl::global("torch.return_types", "topk"), {pkl::tuple({t, t}), pkl::dict({})})}}));
    REQUIRE(file.has_value());
    const auto rows = ckpt::find_tensors(file->root()).value();
    REQUIRE(rows.size() == 2);
    CHECK(rows[1].key() == "top.0.1");
    CHECK(ckpt::open_bytes<ckpt::weights_policy>(bytes_of(torch_file(pkl::global("torch.return_types", "topk"))))
              .error()
              .code == errc::global_not_allowed);
}

} // namespace tensordict_test
