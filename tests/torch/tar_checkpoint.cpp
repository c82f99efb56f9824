// tests/torch/tar_checkpoint.cpp: T1: checkpoints of torch 0.1, which are tar archives.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/tar_writer.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tar_checkpoint_test {

using ckpt::errc;
using namespace test_support;
using namespace pkl;
using namespace std::string_literals;

namespace {

template <class Policy = ckpt::training_policy> errc code_of(const std::string& file) {
    const auto opened = ckpt::open_bytes<Policy>(bytes_of(file));
    if (opened) return errc::none;
    CHECK_FALSE(opened.error().detail.empty());
    CHECK(opened.error().offset <= file.size());
    return opened.error().code;
}
template <class F> errc with(F&& change) {
    tar_parts p;
    change(p);
    return code_of(p.all());
}
template <class F> errc with_members(F&& change) {
    auto members = tar_parts{}.members();
    change(members);
    return code_of(write_tar(members));
}
std::vector<double> values_of(const ckpt::checkpoint& file, std::string_view key) {
    const ckpt::tensor t = file.root().at(key).value().as_tensor().value();
    std::vector<double> out(t.numel());
    REQUIRE(t.copy_as(std::span(out)).has_value());
    return out;
}
errc refusal_at(const std::string& file, std::string_view key) {
    const auto opened = ckpt::open_bytes(bytes_of(file));
    REQUIRE(opened.has_value());
    const auto at = opened->root().at(key).value();
    if (at.refusal() != nullptr) return at.refusal()->code;
    const auto t = at.as_tensor();
    return t && t->refusal() != nullptr ? t->refusal()->code : errc::none;
}

} // namespace

TEST_CASE("a complete checkpoint opens: several classes, views, tensors without a storage") {
    const std::string file = tar_parts{}.all();
    for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const auto opened = ckpt::open_bytes(bytes_of(file), {.io = io});
        REQUIRE(opened.has_value());
        CHECK(opened->container() == "tar");
        CHECK(opened->verify().ok());
        CHECK(values_of(*opened, "a") == std::vector<double>{0, 1, 2, 3, 4, 5});
        CHECK(values_of(*opened, "b") == std::vector<double>{7});
        CHECK(values_of(*opened, "c") == std::vector<double>{1, 2, 3, 4});
        const auto tensor_at = [&](const char* key) { return opened->root().at(key).value().as_tensor().value(); };
        CHECK(tensor_at("d").shape()[0] == 0); // torch 0.1 had no scalars
        CHECK(tensor_at("a").storage_key() == "10");
        CHECK(tensor_at("c").file_offset().value() == tensor_at("a").file_offset().value() + 4);
        CHECK(file.substr(static_cast<std::size_t>(tensor_at("b").file_offset().value()), 8) == raw<std::int64_t>({7}));
    }
    const auto names = ckpt::scan_globals_bytes(bytes_of(file)).value();
    CHECK(names.size() == 5); // of every member
    CHECK(names.stopped() == nullptr);
}

TEST_CASE("the first form: no locations, no views, the class before the key of the storage") {
    tar_parts p;
    p.storages = pickle(num(1)) + pickle(tuple({num(10), global("torch", "FloatStorage")})) + le64(6) +
                 raw<float>({0, 1, 2, 3, 4, 5});
    p.tensors = pickle(num(1)) + pickle(tuple({num(20), global("torch", "FloatTensor"), num(10)})) + le32(1) + "abcd" +
                le64(6) + le64(1) + le64(0);
    p.object = pickle(dict({{str("a"), str("20") + "Q"}}));
    const std::string file = p.all();
    const auto opened = ckpt::open_bytes(bytes_of(file));
    REQUIRE(opened.has_value());
    CHECK(values_of(*opened, "a").size() == 6);
    p.storages += 'x';
    CHECK(code_of(p.all()) == errc::tar_invalid);
}

TEST_CASE("T1: members that are missing, surplus in kind, or cut refuse the file") {
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(with_members([&](auto& m) { m.erase(m.begin() + static_cast<std::ptrdiff_t>(i)); }) == errc::tar_invalid);
        CHECK(with_members([&](auto& m) {
                  m[i].type = '2';
                  m[i].data.clear();
              }) == errc::tar_invalid);
        CHECK(with_members([&](auto& m) { m.push_back(m[i]); }) == errc::tar_invalid);
        CHECK(with_members([&](auto& m) { m[i].data += '\0'; }) == errc::tar_invalid);
        CHECK(with_members([&](auto& m) { m[i].data.pop_back(); }) == errc::tar_invalid);
        CHECK(with_members([&](auto& m) { m[i].data.clear(); }) == errc::tar_invalid);
    }
    CHECK(with_members([](auto& m) { m.push_back({.name = "notes", .data = "x"}); }) == errc::none);
    CHECK(with_members([](auto& m) { m.push_back({.name = "link", .type = '2'}); }) == errc::tar_invalid);
    CHECK(code_of(write_tar({{.name = "weights.ckpt", .data = "x"}})) == errc::container_not_supported);
}

TEST_CASE("T1: records that disagree with their count or with each other refuse the file") {
    const auto storages = [](const std::string& content) { return with([&](tar_parts& p) { p.storages = content; }); };
    const std::string floats = tar_parts::storage(10, "FloatStorage", 6, std::string(24, 'x')),
                      longs = tar_parts::storage(11, "LongStorage", 1, std::string(8, 'x'));
    const std::string views = tar_parts::views({{12, 10, 1, 4}});
    REQUIRE(storages(pickle(num(2)) + floats + longs + views) == errc::none);
    CHECK(storages(pickle(num(1)) + floats + longs + views) == errc::tar_invalid);
    CHECK(storages(pickle(num(3)) + floats + longs + views) == errc::tar_invalid);
    CHECK(storages(pickle(num(std::int64_t{1} << 40)) + floats + longs + views) == errc::tar_invalid);
    CHECK(storages(pickle(num(-1)) + floats + longs + views) == errc::tar_invalid);
    CHECK(storages(pickle(none) + floats + longs + views) == errc::tar_invalid);
    CHECK(storages(pickle(num(2)) + floats + longs) == errc::tar_invalid);
    CHECK(storages(pickle(num(2)) + floats + floats + views) == errc::tar_invalid); // one key twice
    CHECK(storages(pickle(num(1)) + floats + views) == errc::tar_invalid);          // a tensor is in the other
    for (const std::int64_t numel : {std::int64_t{-1}, (std::int64_t{1} << 62) + 6, std::int64_t{1} << 40})
        CHECK(storages(pickle(num(2)) + tar_parts::storage(10, "FloatStorage", numel, std::string(24, 'x')) + longs +
                       views) == errc::tar_invalid);
    CHECK(storages(pickle(num(2)) + tar_parts::storage(10, "Generator", 6, std::string(24, 'x')) + longs + views) ==
          errc::tar_invalid);
    CHECK(storages(pickle(num(2)) + tar_parts::storage(10, "FloatTensor", 6, std::string(24, 'x')) + longs + views) ==
          errc::tar_invalid);
    for (const std::vector<std::int64_t>& view : {std::vector<std::int64_t>{12, 10, 3, 4},
                                                  {12, 10, -1, 4},
                                                  {12, 10, 1, -4},
                                                  {12, 10, std::int64_t{1} << 62, 4},
                                                  {12, 99, 1, 4},
                                                  {11, 10, 1, 4},
                                                  {12, 10, 1}})
        CHECK(storages(pickle(num(2)) + floats + longs + tar_parts::views({view})) == errc::tar_invalid);

    const auto tensors = [](const std::string& content) { return with([&](tar_parts& p) { p.tensors = content; }); };
    const std::string good = tar_parts::tensor(20, num(10), "FloatTensor", {6}, {1}, 0);
    REQUIRE(tensors(pickle(num(1)) + good) == errc::none);
    CHECK(tensors(pickle(num(2)) + good) == errc::tar_invalid);
    CHECK(tensors(pickle(num(2)) + good + good) == errc::tar_invalid);
    CHECK(tensors(pickle(num(1)) + good + good) == errc::tar_invalid);
    CHECK(tensors(pickle(num(1)) + tar_parts::tensor(10, num(10), "FloatTensor", {6}, {1}, 0)) ==
          errc::tar_invalid); // the key of a storage
    CHECK(tensors(pickle(num(1)) + tar_parts::tensor(20, num(99), "FloatTensor", {6}, {1}, 0)) == errc::tar_invalid);
    CHECK(tensors(pickle(num(1)) + tar_parts::tensor(20, num(11), "FloatTensor", {1}, {1}, 0)) ==
          errc::tar_invalid); // int64
    std::string wide = pickle(num(1)) + pickle(tuple({num(20), num(10), global("torch", "FloatTensor")})) +
                       le32(0x7FFF'FFFF) + "abcd" + std::string(64, '\0');
    CHECK(tensors(wide) == errc::tar_invalid);
    CHECK(with([](tar_parts& p) { p.info = pickle(none); }) == errc::tar_invalid);
    CHECK(with([](tar_parts& p) { p.info = pickle(dict({{str("protocol_version"), num(2000)}})); }) ==
          errc::format_version);
}

TEST_CASE("one bad tensor, or one bad id, does not cost the file") {
    tar_parts p;
    p.tensors = pickle(num(2)) + tar_parts::tensor(20, num(10), "FloatTensor", {6}, {1}, 1) +
                tar_parts::tensor(21, num(11), "LongTensor", {-1}, {1}, 0);
    p.object = pickle(dict({{str("out"), str("20") + "Q"},
                            {str("negative"), str("21") + "Q"},
                            {str("missing"), str("77") + "Q"},
                            {str("odd"), str("2x") + "Q"},
                            {str("number"), "K\x14Q"},
                            {str("zip"), storage("FloatStorage", "10", 6)},
                            {str("whole"), str("10") + "Q"}}));
    const std::string file = p.all();
    CHECK(refusal_at(file, "out") == errc::out_of_bounds);
    CHECK(refusal_at(file, "negative") == errc::shape_invalid);
    CHECK(refusal_at(file, "missing") == errc::record_missing);
    CHECK(refusal_at(file, "odd") == errc::persistent_id);
    CHECK(refusal_at(file, "number") == errc::out_of_bounds); // torch takes int(key): the same tensor
    CHECK(refusal_at(file, "zip") == errc::persistent_id);
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    CHECK(opened.root().at("whole").value().as_storage().value().nbytes == 24);
}

TEST_CASE("G1: attacks refuse the file in whichever member they stand; scans tell all names") {
    const std::string attack = global("os", "system");
    CHECK(with([&](tar_parts& p) { p.info = pickle(dict({{attack, none}})); }) == errc::global_not_allowed);
    CHECK(with([&](tar_parts& p) { p.object = pickle(attack); }) == errc::global_not_allowed);
    CHECK(with([&](tar_parts& p) { p.tensors = pickle(attack); }) == errc::global_not_allowed);
    CHECK(with([](tar_parts& p) { p.object = pickle(global("a", "b")); }) == errc::none);
    tar_parts p;
    p.storages = pickle(global("a", "b"));
    p.object = pickle(global("c", "d"));
    const std::string file = p.all();
    const auto names = ckpt::scan_globals_bytes(bytes_of(file)).value();
    REQUIRE(names.stopped() != nullptr);
    bool first = false, last = false;
    for (const ckpt::global_use& u : names) first = first || u.module == "a", last = last || u.module == "c";
    CHECK((first && last));
    // A whole module: the id of a class stands for the class.
    p = {};
    p.object = pickle(tuple({global("net", "Net"), str("net.py"), str("class Net")}) + "Q)\x81" +
                      dict({{str("w"), str("20") + "Q"}}) + "b");
    const std::string module = p.all();
    const auto refused = ckpt::open_bytes(bytes_of(module)).value();
    CHECK(refused.root().kind() == ckpt::kind::refused);
    const auto opened =
        ckpt::open_bytes<ckpt::allow<ckpt::training_policy, ckpt::global<"net", "Net">>>(bytes_of(module)).value();
    CHECK(opened.root().class_of().as_global().value().name == "Net");
    CHECK(values_of(opened, "w").size() == 6);
}

TEST_CASE("V1: a tensor has at most limits.tensor_rank dimensions, and those that its member has room for") {
    const auto of_rank = [](std::size_t rank) {
        tar_parts p;
        p.tensors = pickle(num(1)) + tar_parts::tensor(20, num(10), "FloatTensor", std::vector<std::int64_t>(rank, 1),
                                                       std::vector<std::int64_t>(rank, 1), 0);
        p.object = pickle(dict({{str("t"), str("20") + "Q"}}));
        return p.all();
    };
    CHECK(refusal_at(of_rank(64), "t") == errc::none);
    CHECK(refusal_at(of_rank(65), "t") == errc::shape_invalid);
    const std::string wide = of_rank(65);
    const auto opened = ckpt::open_bytes(bytes_of(wide)).value();
    CHECK(opened.root().at("t").value().refusal()->detail == "the tensor has 65 dimensions, the limit is 64");
    // A member that ends behind the numbers of three dimensions.
    const auto room = [](std::size_t says) {
        tar_parts p;
        p.tensors = pickle(num(1)) + pickle(tuple({num(20), num(10), global("torch", "FloatTensor")})) + le32(says) +
                    "abcd" + std::string(3 * 16, '\0');
        const std::string file = p.all();
        return ckpt::open_bytes(bytes_of(file)).error().detail;
    };
    CHECK(room(3).find("the member ends inside a record") != std::string::npos);
    CHECK(room(4).find("a tensor of 4 dimensions, which the member has no room for") != std::string::npos);
}

TEST_CASE("limits.pickle_bytes bounds each pickle of a member") {
    const tar_parts p;
    const std::string file = p.all();
    const std::uint64_t longest = p.object.size();
    REQUIRE(longest > p.info.size());
    CHECK(ckpt::open_bytes(bytes_of(file), {.limits = {.pickle_bytes = longest}}).has_value());
    const auto refused = ckpt::open_bytes(bytes_of(file), {.limits = {.pickle_bytes = longest - 1}}).error();
    CHECK(refused.code == errc::limit);
    CHECK(refused.record == "pickle");
    CHECK(refused.detail == "a pickle of more than " + std::to_string(longest - 1) + " bytes");
    CHECK(refused.hint.find("limits.pickle_bytes") != std::string::npos);
}

} // namespace tar_checkpoint_test
