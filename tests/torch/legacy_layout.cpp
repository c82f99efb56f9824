// tests/torch/legacy_layout.cpp: L1: streams of torch.save before torch 1.6, alone and several in one file.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/kept.hpp"
#include "../support/legacy_writer.hpp"
#include "../support/processor_time.hpp"
#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace legacy_layout_test {

using ckpt::errc;
using namespace test_support;
using namespace pkl;
using namespace std::string_literals;

namespace {

using whole_modules = ckpt::allow<ckpt::training_policy, ckpt::global<"net", "Net">>;

const std::string four = raw<float>({1, 2, 3, 4});
const std::string eight = raw<float>({0, 1, 2, 3, 4, 5, 6, 7});

template <class Policy = ckpt::training_policy>
errc code_of(const std::string& file, const ckpt::open_options& options = {}) {
    const auto opened = ckpt::open_bytes<Policy>(bytes_of(file), options);
    if (opened) return errc::none;
    CHECK_FALSE(opened.error().detail.empty());
    CHECK((opened.error().offset == ckpt::no_offset || opened.error().offset <= file.size()));
    return opened.error().code;
}
errc refusal_of(const ckpt::value& v) { return v.refusal() != nullptr ? v.refusal()->code : errc::none; }
std::vector<float> floats_of(const ckpt::value& v) {
    const ckpt::tensor t = v.as_tensor().value();
    std::vector<float> out(t.numel());
    REQUIRE(t.copy_to(std::span(out)).has_value());
    return out;
}
/// A dictionary of one entry.
std::string entry(const std::string& value) { return dict({{str("w"), value}}); }

} // namespace

TEST_CASE("L1: a complete stream opens, in any alignment, and says what it is") {
    for (int shift = 0; shift < 4; ++shift) {
        CAPTURE(shift);
        const std::string file =
            legacy_file(dict({{str("w"), legacy_floats("b", 4)},
                              {str(std::string(static_cast<std::size_t>(shift), 'x')), legacy_floats("a", 0)}}),
                        {{"a", 0, ""}, {"b", 4, four}});
        for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
            const auto opened = ckpt::open_bytes(bytes_of(file), {.io = io});
            REQUIRE(opened.has_value());
            CHECK(opened->container() == "legacy");
            CHECK(opened->byte_order() == ckpt::byte_order::little);
            CHECK(opened->verify().ok());
            CHECK(floats_of(opened->root().at("w").value()) == std::vector<float>{1, 2, 3, 4});
            const ckpt::tensor t = opened->root().at("w").value().as_tensor().value();
            CHECK(file.substr(static_cast<std::size_t>(t.file_offset().value()), 16) == four);
            CHECK(t.storage_key() == "b");
            if (io == ckpt::io_mode::read) continue;
            const auto address = reinterpret_cast<std::uintptr_t>(t.bytes().value().data());
            if (const auto view = t.view<float, 1>(); !view)
                CHECK((view.error().code == errc::misaligned && address % 4 != 0));
            const auto owned = ckpt::open_bytes(bytes_of(file), {.storages = ckpt::storage_mode::owned})
                                   .value()
                                   .state_dict("")
                                   .value();
            CHECK((owned.at("w").value().view<float, 1>().value()(3) == 4.0f));
        }
    }
}

TEST_CASE("L1: parts that are missing, wrong, too many or too few refuse the file") {
    const legacy_parts good{entry(legacy_floats("k", 4)), {{"k", 4, four}}};
    REQUIRE(code_of(good.all()) == errc::none);
    const auto with = [&](auto change) {
        legacy_parts p = good;
        change(p);
        return code_of(p.all());
    };
    CHECK(with([](auto& p) { p.version = pickle("M\xea\x03"); }) == errc::format_version);
    CHECK(with([](auto& p) { p.info = pickle(none); }) == errc::legacy_invalid);
    CHECK(with([](auto& p) { p.keys = pickle(tuple({str("k")})); }) == errc::legacy_invalid);
    CHECK(with([](auto& p) { p.keys = pickle(list({"K\1"})); }) == errc::legacy_invalid);
    CHECK(with([](auto& p) {
              p.keys = pickle("]");
              p.raw.clear();
          }) == errc::legacy_invalid); // torch hands out memory that nothing filled
    CHECK(with([](auto& p) { p.keys = pickle("]"); }) == errc::legacy_invalid);
    CHECK(with([](auto& p) {
              p.keys = pickle(list({str("k"), str("j")}));
              p.raw += le64(0);
          }) == errc::legacy_invalid); // of unknown element size
    CHECK(with([](auto& p) {
              p.keys = pickle(list({str("k"), str("k")}));
              p.raw += p.raw;
          }) == errc::legacy_invalid);
    CHECK(with([](auto& p) { p.raw = le64(3) + four; }) == errc::legacy_invalid);
    CHECK(with([](auto& p) { p.raw = le64(5) + four + "1234"; }) == errc::legacy_invalid);
    CHECK(with([](auto& p) { p.raw.clear(); }) == errc::truncated);
    CHECK(with([](auto& p) { p.raw.pop_back(); }) == errc::truncated);
    CHECK(with([](auto& p) {
              p.keys.clear();
              p.raw.clear();
          }) == errc::pickle_truncated);
    CHECK(with([](auto& p) { p.raw += '\0'; }) == errc::pickle_opcode);
    CHECK(with([](auto& p) { p.raw += "garbage"; }) != errc::none);
    CHECK(with([](auto& p) { p.raw += p.magic; }) == errc::pickle_truncated);
    CHECK(with([](auto& p) { p.raw += pickle(none); }) != errc::none);
    // (2^62 + 6) floats are 24 bytes where the product wraps.
    const std::int64_t wraps = (std::int64_t{1} << 62) + 6;
    CHECK(code_of(legacy_file(entry(tensor(legacy_storage("FloatStorage", "k", wraps), 0, {6}, {1})),
                              {{"k", static_cast<std::uint64_t>(wraps), std::string(24, 'x')}})) ==
          errc::legacy_invalid);
    CHECK(code_of(legacy_file(entry(legacy_floats("k", std::int64_t{1} << 40)),
                              {{"k", std::uint64_t{1} << 40, four}})) == errc::truncated);
}

TEST_CASE("L1: one key with several classes: bytes are compared, and the first class decides what an element is") {
    const std::string both = list({legacy_storage("UntypedStorage", "k", 16), legacy_floats("k", 4)});
    const std::string file = legacy_file(both, {{"k", 16, four}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    CHECK(opened.root()[0].as_storage().value().nbytes == 16);
    CHECK(floats_of(opened.root()[1]) == std::vector<float>{1, 2, 3, 4});
    CHECK(code_of(legacy_file(both, {{"k", 4, four}})) == errc::legacy_invalid);
    const std::string other = legacy_file(list({legacy_floats("k", 4), legacy_floats("k", 5)}), {{"k", 4, four}});
    const auto half = ckpt::open_bytes(bytes_of(other)).value();
    CHECK(refusal_of(half.root()[0]) == errc::none);
    CHECK(half.root()[1].as_tensor().value().refusal()->code == errc::storage_size_mismatch);
}

TEST_CASE("views of storages (torch 0.1 to 0.3): a part with a key of its own is one storage") {
    const auto part = [](const std::string& view) {
        return tensor(legacy_storage("FloatStorage", "k", 8, view), 0, {2}, {1});
    };
    const std::string file =
        legacy_file(list({part(view_of("v", 2, 4)), part(view_of("v", 2, 4)), legacy_floats("k", 8),
                          part(view_of("u", 7, 2)), part(view_of("v", 3, 4)), part(view_of("w", 0, 1))}),
                    {{"k", 8, eight}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto at = [&](std::size_t i) { return opened.root()[i].as_tensor().value(); };
    CHECK(floats_of(opened.root()[0]) == std::vector<float>{2, 3});
    CHECK(at(0).storage_id() == at(1).storage_id());
    CHECK(at(0).storage_id() != at(2).storage_id());
    CHECK(at(0).storage_nbytes() == 16);
    CHECK(at(3).refusal()->code == errc::out_of_bounds);         // past the whole
    CHECK(at(4).refusal()->code == errc::storage_size_mismatch); // the same key, another part
    CHECK(at(5).refusal()->code == errc::out_of_bounds);         // the tensor, past the part
    const std::string broken =
        legacy_file(list({part(tuple({str("v"), num(-1), num(2)})), legacy_floats("k", 8)}), {{"k", 8, eight}});
    CHECK(kept(ckpt::open_bytes(bytes_of(broken))).root()[0].as_tensor().value().refusal()->code ==
          errc::persistent_id);
}

TEST_CASE("S1: persistent ids in other forms are errors where they stand; ids of classes are the class") {
    const std::string odd =
        tuple({str("storage"), global("torch", "FloatStorage"), str("k"), str("cpu"), num(4)}) + "Q"; // zip's
    const std::string file = legacy_file(
        list({odd, legacy_floats("k", 4), "NQ", "K\1Q", tuple({str("module"), none, str(""), str("")}) + "Q"}),
        {{"k", 4, four}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    for (const std::size_t i : {0u, 2u, 3u, 4u}) CHECK(refusal_of(opened.root()[i]) == errc::persistent_id);
    CHECK(floats_of(opened.root()[1]).size() == 4);

    const auto module_id = [](const std::string& type) {
        return tuple({str("module"), type, str("net.py"), str("class Net: ...")}) + "Q";
    };
    const std::string net =
        legacy_file(module_id(global("net", "Net")) + ")\x81" + dict({{str("weight"), legacy_floats("k", 4)}}) + "b",
                    {{"k", 4, four}});
    CHECK(code_of(net, {.foreign = ckpt::foreign_globals::refuse_file}) == errc::global_not_allowed);
    CHECK(refusal_of(kept(ckpt::open_bytes(bytes_of(net))).root()) == errc::global_not_allowed);
    const auto module = ckpt::open_bytes<whole_modules>(bytes_of(net)).value();
    CHECK(module.root().class_of().as_global().value().name == "Net");
    CHECK(floats_of(module.root().at("weight").value()).size() == 4);
    // What is no class, or has a builder, is not called by such an id.
    for (const std::string& called :
         {legacy_storage("FloatStorage", "k", 4), module_id(global("torch._utils", "_rebuild_tensor_v2"))}) {
        const std::string bad = legacy_file(list({called + ")R", legacy_floats("k", 4)}), {{"k", 4, four}});
        CHECK(refusal_of(kept(ckpt::open_bytes(bytes_of(bad))).root()[0]) == errc::persistent_id);
    }
    CHECK(code_of(torch_file(storage("FloatStorage", "0", 4) + ")R", {{"0", four}})) == errc::pickle_target);
}

TEST_CASE("protocol 0: ids are text") {
    legacy_parts p{none, {{"k", 4, four}}};
    p.magic = "L119547037146038801333356L\n.";
    p.version = "I1001\n.";
    p.object = "ctorch._utils\n_rebuild_tensor_v2\n(P('storage', <class 'torch.FloatStorage'>, 'k', 'cpu', 4, "
               "None)\nI0\n(I4\nt(I1\ntI00\nNtR.";
    p.keys = "(lVk\na.";
    CHECK(floats_of(kept(ckpt::open_bytes(bytes_of(p.all()))).root()) == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("several checkpoints in one file: each by its number, and all of them checked") {
    const std::string first = legacy_file(entry(legacy_floats("k", 4)), {{"k", 4, four}}),
                      second = legacy_file(entry(legacy_floats("k", 8)), {{"k", 8, eight}});
    const std::string file = first + second;
    CHECK(floats_of(kept(ckpt::open_bytes(bytes_of(file))).root().at("w").value()).size() == 4);
    const auto other = ckpt::open_bytes(bytes_of(file), {.index = 1}).value();
    CHECK(floats_of(other.root().at("w").value()) == std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(other.checkpoints_in_file() == 2);
    CHECK(ckpt::open_bytes(bytes_of(first)).value().checkpoints_in_file() == 1);
    const auto missing = ckpt::open_bytes(bytes_of(file), {.index = 2}).error();
    CHECK(missing.code == errc::range_outside_file);
    CHECK(missing.detail.find("holds 2") != std::string::npos);
    CHECK(code_of(first, {.index = 1}) == errc::range_outside_file);
    CHECK(code_of(torch_file(none), {.index = 1}) == errc::range_outside_file);
    // A name that refuses the file, in whichever of them.
    const std::string bad = legacy_file(entry(global("a", "b"))), attack = legacy_file(entry(global("os", "system")));
    CHECK(code_of(first + attack) == errc::global_not_allowed);
    CHECK(code_of(attack + first, {.index = 1}) == errc::global_not_allowed);
    CHECK(code_of(first + bad) == errc::none);
    CHECK(code_of(file + first.substr(0, first.size() - 1)) == errc::truncated);

    const auto names = ckpt::scan_globals_bytes(bytes_of(first + bad)).value();
    bool found = false;
    for (const ckpt::global_use& u : names) found = found || (u.module == "a" && u.verdict == ckpt::verdict::refuse);
    CHECK(found);
    CHECK(names.stopped() == nullptr);
    const auto cut = ckpt::scan_globals_bytes(bytes_of(bad + first).first(bad.size() + first.size() - 1)).value();
    CHECK(cut[0].module == "a");
    REQUIRE(cut.stopped() != nullptr);
    CHECK(cut.stopped()->code == errc::truncated);
    CHECK(ckpt::scan_globals_bytes(bytes_of(first).first(first.size() - 30)).value().size() > 0);
}

TEST_CASE("a stream of 16 GiB opens by its metadata alone") {
    constexpr std::uint64_t numel = std::uint64_t{1} << 32;
    const temporary_file file(
        legacy_file(entry(tensor(legacy_storage("FloatStorage", "k", static_cast<std::int64_t>(numel)), 0, {4}, {1})),
                    {{"k", numel, four}}));
    std::error_code failed;
    const std::uint64_t before = std::filesystem::file_size(file.path());
    std::filesystem::resize_file(file.path(), before - 16 + 4 * numel, failed); // a hole
    if (failed) return;
    for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const processor_time passed;
        const auto opened = ckpt::open(file.path(), {.io = io});
        const double seconds = passed.seconds();
        REQUIRE(opened.has_value());
        CHECK(floats_of(opened->root().at("w").value()) == std::vector<float>{1, 2, 3, 4});
        MESSAGE("opened in " << seconds * 1e6 << " microseconds");
        CHECK(seconds < 0.1);
    }
}

TEST_CASE("the magic number ends within 256 bytes") {
    const auto refusal_of = [](std::size_t bytes, const ckpt::limits& limits) {
        legacy_parts p{entry(legacy_floats("k", 4)), {{"k", 4, four}}};
        const std::string magic = p.magic.substr(0, p.magic.size() - 1);
        p.magic = magic + str(std::string(bytes - magic.size() - 7, 'x')) + "0."; // a text that is dropped again
        const std::string file = p.all();
        const auto opened = ckpt::open_bytes(bytes_of(file), {.limits = limits});
        return opened ? std::string() : opened.error().message();
    };
    CHECK(refusal_of(256, {}) == "");
    CHECK(refusal_of(257, {}).find("legacy_invalid") == 0);
    CHECK(refusal_of(257, {}).find("no magic number where a checkpoint should begin") != std::string::npos);
    // Where the caller allows no more, it is the caller's limit.
    CHECK(refusal_of(257, {.pickle_bytes = 257}).find("legacy_invalid") == 0);
    CHECK(refusal_of(257, {.pickle_bytes = 256}).find("a pickle of more than 256 bytes") != std::string::npos);
}

TEST_CASE("limits.pickle_bytes bounds the five pickles of a checkpoint together") {
    const legacy_parts p{entry(legacy_floats("k", 4)), {{"k", 4, four}}};
    const std::string file = p.all();
    const std::uint64_t pickles = file.size() - p.raw.size();
    CHECK(code_of(file, {.limits = {.pickle_bytes = pickles}}) == errc::none);
    CHECK(code_of(file + file, {.limits = {.pickle_bytes = pickles}}) == errc::none); // of each checkpoint
    const auto refused = ckpt::open_bytes(bytes_of(file), {.limits = {.pickle_bytes = pickles - 1}}).error();
    CHECK(refused.code == errc::limit);
    CHECK(refused.detail == "a pickle of more than " + std::to_string(p.keys.size() - 1) + " bytes");
    CHECK(refused.hint.find("limits.pickle_bytes") != std::string::npos);
}

TEST_CASE("storages of a stream that begin like a pickle are scanned, those of honest weights are no finding") {
    const auto verdict_of = [](const std::string& bytes) {
        const auto n = static_cast<std::int64_t>(bytes.size());
        const std::string t = tensor(legacy_storage("ByteStorage", "a", n), 0, {n}, {1});
        const std::string file = legacy_file(dict({{str("w"), t}, {str("v"), legacy_floats("b", 4)}}),
                                             {{"a", bytes.size(), bytes}, {"b", 4, four}});
        CHECK(ckpt::open_bytes(bytes_of(file)).has_value()); // data is data
        return ckpt::scan_globals_bytes(bytes_of(file)).value().verdict();
    };
    const std::string evil = pickle(call(global("os", "system"), {str("true")}));
    CHECK(verdict_of(evil) == ckpt::file_verdict::dangerous);
    CHECK(verdict_of(evil + std::string(5000, 'x')) == ckpt::file_verdict::dangerous);
    CHECK(verdict_of(pickle(dict({}))) == ckpt::file_verdict::clean); // an object as all_gather_object sends it
    CHECK(verdict_of("\x80\x02" + std::string(600, '\xff')) == ckpt::file_verdict::clean);
    CHECK(verdict_of("\x80\x02" + std::string(600, '(')) == ckpt::file_verdict::clean);
    CHECK(verdict_of(std::string()) == ckpt::file_verdict::clean);
}

} // namespace legacy_layout_test
