// tests/torch/foreign.cpp: globals outside the policy cost the values that need them, and nothing else.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/kept.hpp"
#include "../support/legacy_writer.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace foreign_test {

using ckpt::errc;
using ckpt::kind;
using namespace test_support;
using namespace pkl;

namespace {

const std::string four = raw<float>({1, 2, 3, 4});
const std::string weights = dict({{str("w"), floats("0", 4)}});
const std::string config = object("my_project", "Config", dict({{str("lr"), num(3)}}));

std::string file_of(const std::string& root) { return torch_file(root, {{"0", four}}); }

/// The refusal of a value by the policy, or an empty error.
ckpt::error refusal_of(const ckpt::value& v) {
    if (v.kind() != kind::refused || v.refusal() == nullptr) return {};
    return *v.refusal();
}

std::uint64_t elements_of_w(const ckpt::checkpoint& file) {
    const ckpt::state_dict weights_there = file.state_dict().value();
    return weights_there.at("w").value().numel();
}

} // namespace

TEST_CASE("a class of the user's own costs its place: the state_dict beside it is read") {
    const std::string bytes =
        file_of(dict({{str("state_dict"), weights}, {str("hyper_parameters"), dict({{str("cfg"), config}})}}));
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    CHECK(elements_of_w(file) == 4);
    const ckpt::error e = refusal_of(file.root().find("hyper_parameters/cfg").value());
    CHECK(e.code == errc::global_not_allowed);
    CHECK(e.module == "my_project");
    CHECK(e.name == "Config");
    CHECK(e.path == "hyper_parameters/cfg");
    CHECK(e.offset != ckpt::no_offset);
    CHECK(e.message().find("ckpt::global<\"my_project\", \"Config\">") != std::string::npos);
    // What is below such an object is not there: the way to it ends with the same error.
    CHECK(file.root().find("hyper_parameters/cfg/lr").error().code == errc::global_not_allowed);

    const std::vector<ckpt::error> refused = file.refused_globals();
    REQUIRE(refused.size() == 1);
    CHECK(refused[0].path == "hyper_parameters/cfg");
    CHECK(file.verify().ok()); // a class that is not allowed is no damage

    const auto strict = ckpt::open_bytes(bytes_of(bytes), {.foreign = ckpt::foreign_globals::refuse_file});
    CHECK(strict.error().code == errc::global_not_allowed);
    CHECK(strict.error().path == "hyper_parameters/cfg");
    CHECK(ckpt::open_bytes<ckpt::weights_policy>(bytes_of(bytes)).error().code == errc::global_not_allowed);
    using mine = ckpt::allow<ckpt::training_policy, ckpt::global<"my_project", "Config">>;
    const auto allowed = ckpt::open_bytes<mine>(bytes_of(bytes)).value();
    CHECK(allowed.root().find("hyper_parameters/cfg/lr").value().as_int().value() == 3);
    CHECK(allowed.refused_globals().empty());
}

TEST_CASE("an attack refuses the file, whatever stands beside it, and is the error where both are named") {
    const std::string attack = call(global("os", "system"), {str("true")});
    for (const std::string& root : {list({config, attack, weights}), list({attack, config, weights})}) {
        const auto opened = ckpt::open_bytes(bytes_of(file_of(root)));
        CHECK(opened.error().code == errc::global_not_allowed);
        CHECK(opened.error().name == "system");
    }
}

TEST_CASE("every use of a refused class is refused: the class, calls, objects with state and items, sets and keys") {
    const std::string foreign = global("my", "C");
    const std::string uses[]{foreign,
                             call(foreign, {num(1)}),
                             foreign + ")\x81",
                             object("my", "C", dict({{str("a"), num(1)}})),
                             foreign + ")\x81" + str("k") + num(1) + "s",
                             foreign + ")\x81" + num(1) + "a",
                             "(" + foreign + num(1) + "o",
                             std::string("(imy\nC\n"),
                             str("my") + str("C") + "\x93"};
    for (const std::string& use : uses) {
        const std::string bytes = file_of(list({use, floats("0", 4), dict({{str("v"), use}}), tuple({use})}));
        const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
        const ckpt::value in_a_dictionary = file.root()[2].at("v").value();
        for (const ckpt::value v : {file.root()[0], in_a_dictionary, file.root()[3][0]})
            CHECK(refusal_of(v).name == "C");
        CHECK(file.root()[1].as_tensor().value().numel() == 4);
        CHECK(file.refused_globals().size() == 3);
    }
    // As keys they are different objects.
    const std::string with_keys = file_of(dict({{config, num(1)}, {config, num(2)}}));
    const auto keys = ckpt::open_bytes(bytes_of(with_keys)).value();
    CHECK(keys.root().entries().size() == 2);
}

TEST_CASE("what is made of a refused value is refused with its error") {
    const std::string file_bytes = file_of(list({call(global("torch._utils", "_rebuild_parameter"),
                                                      {config, "\x89", call(global("collections", "OrderedDict"), {})}),
                                                 floats("0", 4)}));
    const auto file = ckpt::open_bytes(bytes_of(file_bytes)).value();
    const ckpt::tensor made = file.root()[0].as_tensor().value();
    REQUIRE(made.refusal() != nullptr);
    CHECK(made.refusal()->code == errc::global_not_allowed);
    CHECK(made.refusal()->name == "Config");
    // The class of a storage, and that of a tensor.
    const std::string type =
        call(global("torch._tensor", "_rebuild_from_type_v2"),
             {global("torch._utils", "_rebuild_tensor_v2"), global("my", "Tensor"),
              tuple({storage("FloatStorage", "0", 4), num(0), ints({4}), ints({1}), no, ordered()}), dict({})});
    const std::string of_storage =
        file_of(list({tensor(storage_id(global("my", "QuarterStorage"), str("0"), 4), 0, {4}, {1}), weights, type}));
    const auto unknown = ckpt::open_bytes(bytes_of(of_storage)).value();
    REQUIRE(unknown.root()[0].as_tensor().value().refusal() != nullptr);
    CHECK(unknown.root()[0].as_tensor().value().refusal()->name == "QuarterStorage");
    CHECK(unknown.root()[1].at("w").value().as_tensor().value().refusal() == nullptr);
    REQUIRE(unknown.root()[2].as_tensor().value().refusal() != nullptr);
    CHECK(unknown.root()[2].as_tensor().value().refusal()->name == "Tensor");
}

TEST_CASE("a whole module of a foreign class: the error names the class that is missing") {
    const std::string module =
        object("my_nets", "Net",
               dict({{str("_parameters"), weights}, {str("_buffers"), dict({})}, {str("_modules"), dict({})}}));
    const std::string root = file_of(module), below = file_of(dict({{str("epoch"), num(3)}, {str("model"), module}}));
    for (const std::string& bytes : {root, below}) {
        const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
        const ckpt::error e = file.state_dict().error();
        CHECK(e.code == errc::global_not_allowed);
        CHECK(e.name == "Net");
        CHECK(e.path == (bytes == root ? "" : "model"));
        CHECK(e.detail.find("no dictionary of tensors was found") != std::string::npos);
        CHECK(e.message().find("ckpt::global<\"my_nets\", \"Net\">") != std::string::npos);
        CHECK(file.state_dict(e.path).error().code == errc::global_not_allowed);
        using mine = ckpt::allow<ckpt::training_policy, ckpt::global<"my_nets", "Net">>;
        CHECK(elements_of_w(kept(ckpt::open_bytes<mine>(bytes_of(bytes)))) == 4);
    }
    // Without a refused value the error stays what it was.
    const std::string number = file_of(num(3));
    CHECK(ckpt::open_bytes(bytes_of(number)).value().state_dict().error().code == errc::state_dict_missing);
}

TEST_CASE("refused values are described a thousand times; more share one error without a place") {
    for (const int count : {1000, 1001}) {
        std::string many;
        for (int i = 0; i < count; ++i) many += global("my", "C" + std::to_string(i));
        const std::string bytes = file_of("](" + many + "e");
        const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
        CHECK(file.refused_globals().size() == 1000);
        CHECK(refusal_of(file.root()[999]).name == "C999");
        if (count == 1000) continue;
        CHECK(refusal_of(file.root()[1000]).code == errc::global_not_allowed);
        CHECK(refusal_of(file.root()[1000]).name.empty());
    }
}

TEST_CASE("a foreign class costs its place in a legacy stream, too") {
    const std::string bytes =
        legacy_file(dict({{str("w"), legacy_floats("k", 4)}, {str("cfg"), config}}), {{"k", 4, four}});
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    CHECK(elements_of_w(file) == 4);
    CHECK(refusal_of(file.root().at("cfg").value()).name == "Config");
}

TEST_CASE("of arguments, the first 64 are looked at for a class that is the reason") {
    for (const std::size_t n : {std::size_t{64}, std::size_t{65}}) {
        std::string arguments;
        for (std::size_t i = 1; i < n; ++i) arguments += num(static_cast<std::int64_t>(i));
        const std::string value =
            global("torch._utils", "_rebuild_tensor_v2") + "(" + arguments + global("my", "C") + "tR";
        const std::string bytes = file_of(dict({{str("t"), value}, {str("w"), floats("0", 4)}}));
        const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
        const ckpt::error* const why = file.root().at("t").value().refusal();
        REQUIRE(why != nullptr);
        CHECK(why->code == (n == 64 ? errc::global_not_allowed : errc::bad_arguments));
    }
}

} // namespace foreign_test
