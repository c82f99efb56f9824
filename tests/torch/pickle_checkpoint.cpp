// tests/torch/pickle_checkpoint.cpp: plain pickles, and the checkpoints that they nest in bytes.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/kept.hpp"
#include "../support/legacy_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pickle_checkpoint_test {

using ckpt::errc;
using namespace test_support;
using namespace pkl;
using namespace std::string_literals;

namespace {

const std::string four = raw<float>({1, 2, 3, 4});

template <class Policy = ckpt::training_policy>
errc code_of(const std::string& file, const ckpt::open_options& options = {}) {
    const auto opened = ckpt::open_bytes<Policy>(bytes_of(file), options);
    return opened ? errc::none : opened.error().code;
}
errc refusal_of(const std::string& value) {
    const std::string file = pickle(value);
    const auto opened = ckpt::open_bytes(bytes_of(file));
    REQUIRE(opened.has_value());
    const ckpt::error* e = opened->root().refusal();
    if (e == nullptr) return errc::none;
    CHECK(e->offset <= file.size());
    return e->code;
}
std::vector<float> floats_of(const ckpt::value& v) {
    const ckpt::tensor t = v.as_tensor().value();
    std::vector<float> out(t.numel());
    REQUIRE(t.copy_to(std::span(out)).has_value());
    return out;
}
/// A storage as pickle.dump writes it.
std::string blob() { return legacy_file(legacy_storage("FloatStorage", "k", 4), {{"k", 4, four}}); }
/// Each byte as a code point, in UTF-8: how protocol 2 writes bytes.
std::string encoded(const std::string& bytes) {
    std::string text;
    for (const char c : bytes) {
        const auto b = static_cast<unsigned char>(c);
        if (b < 0x80) text += c;
        else (text += static_cast<char>(0xC0 | b >> 6)) += static_cast<char>(0x80 | (b & 0x3F));
    }
    return call(global("_codecs", "encode"), {str(text), str("latin1")});
}

} // namespace

TEST_CASE("a plain pickle opens; what follows it is another one, or it is refused") {
    const std::string file = pickle(dict({{str("epoch"), "K\3"}})), second = pickle("K\7");
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    CHECK(opened.container() == "pickle");
    CHECK(opened.root().at("epoch").value().as_int().value() == 3);
    CHECK(opened.verify().ok());
    CHECK(kept(ckpt::open_bytes(bytes_of(file + second), {.index = 1})).root().as_int().value() == 7);
    CHECK(kept(ckpt::open_bytes(bytes_of(file + second), {.index = 1})).checkpoints_in_file() == 2);
    CHECK(code_of(file + second, {.index = 2}) == errc::range_outside_file);
    CHECK(code_of(file + "\xff") == errc::pickle_opcode);
    CHECK(code_of(file + second.substr(0, 3)) == errc::pickle_truncated);
    CHECK(code_of(file + pickle(global("a", "b"))) == errc::none);
    CHECK(code_of(file + pickle(global("os", "system"))) == errc::global_not_allowed);
    CHECK(code_of(pickle("B\xff\xff\xff\xff"
                         "abc")) == errc::pickle_truncated);
    CHECK(code_of(pickle("\x8e" + le64(~std::uint64_t{0}))) == errc::pickle_truncated);
    const std::string bounded = pickle(str(std::string(100, 'x')));
    CHECK(code_of(bounded, {.limits = {.pickle_bytes = bounded.size()}}) == errc::none);
    CHECK(code_of(bounded, {.limits = {.pickle_bytes = bounded.size() - 1}}) == errc::limit);
    CHECK(refusal_of(str("0") + "Q") == errc::persistent_id);
}

TEST_CASE("the argument of _load_from_bytes is read, in every container and in both encodings") {
    for (const std::string& bytes :
         {load_from_bytes(blob()), call(global("torch.storage", "_load_from_bytes"), {encoded(blob())})}) {
        const std::string value =
            dict({{str("w"), tensor(bytes, 1, {3}, {1})}, {str("v"), tensor(bytes, 0, {4}, {1})}});
        const std::string plain = pickle(value), zip = torch_file(value), legacy = legacy_file(value);
        for (const std::string& file : {plain, zip, legacy})
            for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
                const auto opened = ckpt::open_bytes(bytes_of(file), {.io = io});
                REQUIRE(opened.has_value());
                CHECK(floats_of(opened->root().at("w").value()) == std::vector<float>{2, 3, 4});
                const ckpt::tensor v = opened->root().at("v").value().as_tensor().value();
                CHECK(v.storage_id() != opened->root().at("w").value().as_tensor().value().storage_id()); // two blobs
                if (const auto at = v.file_offset()) CHECK(file.substr(static_cast<std::size_t>(*at), 16) == four);
                else CHECK(at.error().code == errc::no_data);
            }
        CHECK(code_of<ckpt::weights_policy>(plain) == errc::global_not_allowed);
    }
}

TEST_CASE("nested checkpoints: two deep at most; attacks inside refuse the file, other names and damage the value") {
    const std::string one = load_from_bytes(blob()), two = load_from_bytes(legacy_file(one)),
                      three = load_from_bytes(legacy_file(two));
    CHECK(refusal_of(one) == errc::none);
    CHECK(refusal_of(two) == errc::none);
    CHECK(code_of(pickle(three)) == errc::limit);
    CHECK(ckpt::open_bytes(bytes_of(pickle(three))).error().detail.find("two deep is the most") != std::string::npos);
    CHECK(refusal_of(load_from_bytes(legacy_file(global("a", "b")))) == errc::global_not_allowed);
    CHECK(code_of(pickle(load_from_bytes(legacy_file(global("os", "system"))))) == errc::global_not_allowed);
    CHECK(refusal_of(load_from_bytes("")) == errc::pickle_truncated);
    CHECK(refusal_of(load_from_bytes("\xffhello")) == errc::pickle_opcode);
    CHECK(refusal_of(load_from_bytes(std::string(1000, 'N'))) == errc::legacy_invalid);
    CHECK(refusal_of(load_from_bytes(blob() + "x")) == errc::legacy_invalid);
    CHECK(refusal_of(load_from_bytes(blob() + blob())) == errc::legacy_invalid);
    CHECK(refusal_of(load_from_bytes(blob().substr(0, blob().size() - 1))) == errc::truncated);
    CHECK(refusal_of(call(global("torch.storage", "_load_from_bytes"), {none})) == errc::bad_arguments);
    CHECK(refusal_of(call(global("torch.storage", "_load_from_bytes"), {})) == errc::bad_arguments);
    const auto names =
        ckpt::scan_globals_bytes(bytes_of(pickle(load_from_bytes(legacy_file(global("a", "b")))))).value();
    CHECK(names.size() == 2);
}

TEST_CASE("G1: what opening refuses inside bytes, a scan shows, in every form that bytes are written in") {
    const std::string inner = legacy_file(global("a", "b")), plain = "B" + le32(inner.size()) + inner;
    legacy_parts text{none};
    text.magic = "L119547037146038801333356L\n.";
    text.version = "I1001\n.";
    text.info = "(d.";
    text.object = "c\xc3\xa4\nb\n.";
    text.keys = "(l.";
    const std::string forms[]{plain,
                              "T" + le32(inner.size()) + inner,
                              encoded(inner),
                              call(global("builtins", "bytearray"), {encoded(inner)}),
                              call(global("builtins", "bytes"), {plain}),
                              call(global("_codecs", "encode"), {str(text.all()), str("utf-8")})};
    for (const std::string& bytes : forms) {
        CAPTURE(bytes);
        const std::string file = pickle(call(global("torch.storage", "_load_from_bytes"), {bytes}));
        CHECK(code_of(file, {.foreign = ckpt::foreign_globals::refuse_file}) == errc::global_not_allowed);
        CHECK(kept(ckpt::open_bytes(bytes_of(file))).root().kind() == ckpt::kind::refused);
        const auto names = ckpt::scan_globals_bytes(bytes_of(file)).value();
        std::size_t refused = 0;
        for (const ckpt::global_use& u : names) {
            refused += u.verdict == ckpt::verdict::refuse;
            CHECK(u.count == 1);
            CHECK(u.offset < file.size());
        }
        CHECK(refused == 1);
    }
}

TEST_CASE("R1: a blob that many calls share is paid for each time") {
    const std::string inside = legacy_file(list({std::string(20'000, ')')}));
    const std::string shared =
        "B" + le32(inside.size()) + inside + "q\1" + "0" + global("torch.storage", "_load_from_bytes") + "q\2" + "0](";
    std::string calls;
    for (int i = 0; i < 20'000; ++i) calls += "h\2h\1\x85R";
    CHECK(code_of(pickle(shared + calls + "e")) == errc::limit);
    CHECK(code_of(pickle(shared + calls.substr(0, 12) + "e")) == errc::none);
}

TEST_CASE("R1: a nested checkpoint costs 64 steps, and 24 for each byte of its pickles") {
    const std::string inside = legacy_file(str(std::string(20'000, 'x')));
    const std::string called = load_from_bytes(inside);
    const std::uint64_t each = 64 + 24 * std::uint64_t{inside.size()};
    // A million is free. Each number among arguments is a step, and so are the four keys of both system informations;
    // the call with the numbers is eight.
    const auto refusal_beside = [&](std::uint64_t numbers) {
        std::string arguments = "(";
        for (std::uint64_t i = 0; i < numbers; ++i) arguments += "K\1";
        const std::string file = pickle(list({called, called, global("torch", "Size") + '(' + arguments + "ttR"}));
        const auto opened = ckpt::open_bytes(bytes_of(file), {.limits = {.work_per_byte = 0}});
        return opened ? ckpt::error{} : opened.error();
    };
    const std::uint64_t most = 1'000'000 - 2 * each - 4 - 8;
    CHECK(refusal_beside(most).code == errc::none);
    const ckpt::error refused = refusal_beside(most + 1);
    CHECK(refused.code == errc::limit);
    CHECK(refused.hint.find("limits.work_per_byte") != std::string::npos);
}

TEST_CASE("what paddle.save wrote is named") {
    const std::string array =
        call(global("numpy.core.multiarray", "_reconstruct"), {global("numpy", "ndarray"), ints({0}), "C\1b"}) +
        tuple({num(1), ints({2}),
               call(global("numpy", "dtype"), {str("f4"), no, yes}) +
                   tuple({num(3), str("<"), none, none, none, num(-1), num(-1), num(0)}) + "b",
               no, "C\x08" + raw<float>({1, 2})}) +
        "b";
    const std::string names = dict({{str("fc.weight"), str("linear_0.w_0")}});
    const auto written_by = [](const std::string& value) {
        const std::string file = pickle(value);
        const auto opened = ckpt::open_bytes(bytes_of(file)).value();
        CHECK(floats_of(opened.root().at("fc.weight").value()) == std::vector<float>{1, 2});
        return std::string(opened.writer());
    };
    CHECK(written_by(dict({{str("fc.weight"), array}, {str("StructuredToParameterName@@"), names}})) == "PaddlePaddle");
    CHECK(written_by(dict({{str("fc.weight"), array}})) == "pickle.dump");
    CHECK(ckpt::open_bytes(bytes_of(pickle(num(1)))).value().writer() == "pickle.dump");
}

TEST_CASE("storages as lists of numbers, which pickle.dump wrote before torch 0.4.1") {
    const auto storage = [](const char* module, const char* name, const std::string& list) {
        return call(global(module, name), {list});
    };
    const auto read = [&](const std::string& of, std::int64_t n) {
        const std::string file = pickle(
            call(global("torch._utils", "_rebuild_tensor_v2"), {of, num(0), ints({n}), ints({1}), no, ordered()}));
        const auto opened = ckpt::open_bytes(bytes_of(file)).value();
        const ckpt::tensor t = opened.root().as_tensor().value();
        if (t.refusal() != nullptr) return std::string(ckpt::info(t.refusal()->code).name);
        CHECK(opened.verify().ok());
        std::vector<double> values(t.numel());
        REQUIRE(t.copy_as(std::span(values)).has_value());
        std::string out(ckpt::name(t.dtype()));
        for (const double v : values) out += ' ' + std::to_string(v).substr(0, 6);
        return out;
    };
    const std::string reals = list({real(0.5), real(-2), num(3)});
    CHECK(read(storage("torch", "FloatStorage", reals), 3) == "float32 0.5000 -2.000 3.0000");
    CHECK(read(storage("torch", "DoubleStorage", reals), 3) == "float64 0.5000 -2.000 3.0000");
    CHECK(read(storage("torch.cuda", "HalfStorage", reals), 3) == "float16 0.5000 -2.000 3.0000");
    CHECK(read(storage("torch", "LongStorage", list({num(1), num(-7)})), 2) == "int64 1.0000 -7.000");
    CHECK(read(storage("torch", "ByteStorage", list({num(255), num(0)})), 2) == "uint8 255.00 0.0000");
    CHECK(read(storage("torch", "FloatStorage", "]"), 0) == "float32");
    CHECK(read(storage("torch", "ByteStorage", list({num(256)})), 1) == "bad_arguments");
    CHECK(read(storage("torch", "LongStorage", list({real(1)})), 1) == "bad_arguments");
    CHECK(read(storage("torch", "FloatStorage", list({str("1")})), 1) == "bad_arguments");
    CHECK(read(storage("torch", "LongStorage", list({yes})), 1) == "bad_arguments");
    CHECK(read(storage("torch", "FloatStorage", num(4)), 4) == "bad_arguments"); // a size: without values
    CHECK(read(global("torch", "FloatStorage") + ")R", 0) == "bad_arguments");
    CHECK(read(storage("torch", "FloatStorage", reals), 4) == "out_of_bounds");
    // Classes that came later were never written so.
    CHECK(code_of(pickle(storage("torch", "BFloat16Storage", reals))) == errc::pickle_target);
    // One list in many storages is paid for each time.
    std::string big = "](";
    for (int i = 0; i < 2000; ++i) big += "K\x01";
    std::string many = "](" + storage("torch", "DoubleStorage", big + "eq\x01");
    for (int i = 0; i < 3000; ++i) many += storage("torch", "DoubleStorage", "h\x01");
    CHECK(code_of(pickle(many + "e")) == errc::limit);
}

TEST_CASE("tensors of torch 0.1 to 0.3: classes with a state, Variables, Parameters") {
    const std::string bytes = load_from_bytes(blob());
    const auto tensor_of = [&](const std::string& value) {
        const std::string file = pickle(value);
        const auto opened = ckpt::open_bytes(bytes_of(file)).value();
        const ckpt::tensor t = opened.root().as_tensor().value();
        if (t.refusal() != nullptr) return std::string(ckpt::info(t.refusal()->code).name);
        return std::to_string(t.numel()) + (t.requires_grad() ? " grad" : "");
    };
    const std::string old = call(global("torch._utils", "_rebuild_tensor"), {bytes, num(1), ints({3}), ints({1})});
    CHECK(tensor_of(old) == "3");
    const std::string state = tuple({bytes, num(0), ints({2, 2}), ints({2, 1})});
    CHECK(tensor_of(global("torch", "FloatTensor") + ")R" + state + "b") == "4");
    CHECK(tensor_of(global("torch.cuda", "FloatTensor") + ")\x81" + state + "b") == "4");
    CHECK(tensor_of(global("torch", "FloatTensor") + ")R") == "bad_arguments");
    CHECK(tensor_of(global("torch", "FloatTensor") + ")R" + tuple({bytes, num(0), ints({5}), ints({1})}) + "b") ==
          "out_of_bounds");
    for (const auto& named :
         {std::pair{"torch.autograd.variable", "Variable"}, std::pair{"torch.nn.parameter", "Parameter"}}) {
        const char* const module = named.first;
        const char* const name = named.second;
        CAPTURE(name);
        CHECK(tensor_of(call(global(module, name), {old}) + tuple({yes, no, ordered()}) + "b") == "3 grad");
        CHECK(tensor_of(call(global(module, name), {old}) + tuple({no, no, ordered()}) + "b") == "3");
        CHECK(tensor_of(global(module, name) + ")\x81(" + old + none + ordered() + yes + no + "tb") == "3 grad");
        CHECK(tensor_of(global(module, name) + ")\x81" + tuple({yes, no, none}) + "b") == "bad_arguments");
    }
}

} // namespace pickle_checkpoint_test
