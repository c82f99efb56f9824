// tests/state/state_dict.cpp: keys, order, lookups, lifetimes.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/core/edit_distance.hpp>
#include <ckpt/state/nearest.hpp>
#include <ckpt/state/state_dict_data.hpp>

#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace state_dict_test {

using ckpt::errc;
using namespace std::string_literals;
using namespace test_support;

namespace {

const std::vector<std::pair<std::string, std::string>> one_storage{{"0", raw<float>({1, 2, 3, 4})}};
std::string t() { return pkl::floats("0", 4); }

std::vector<std::string> keys(const ckpt::state_dict& weights) {
    std::vector<std::string> out;
    for (const auto& [key, tensor] : weights) out.emplace_back(key);
    return out;
}

// What borrows cannot be taken from a temporary.
template <class T>
concept root_of_temporary = requires(T x) { std::forward<T>(x).root(); };
template <class T>
concept at_of_temporary = requires(T x) { std::forward<T>(x).at("k"); };
template <class T>
concept view_of_temporary = requires(T x) { std::forward<T>(x).template view<float, 1>("k"); };
template <class T>
concept begin_of_temporary = requires(T x) { std::forward<T>(x).begin(); };
template <class T>
concept others_of_temporary = requires(T x) { std::forward<T>(x).others(); };
template <class T>
concept path_of_temporary = requires(T x) { std::forward<T>(x).path(); };
template <class T>
concept records_of_temporary = requires(T x) { std::forward<T>(x).records(); };
template <class T>
concept arrow_of_temporary = requires(T x) { std::forward<T>(x).operator->(); };

} // namespace

static_assert(!root_of_temporary<ckpt::checkpoint> && !records_of_temporary<ckpt::checkpoint>);
static_assert(!root_of_temporary<ckpt::state_dict> && !at_of_temporary<ckpt::state_dict> &&
              !view_of_temporary<ckpt::state_dict>);
static_assert(!begin_of_temporary<ckpt::state_dict> && !others_of_temporary<ckpt::state_dict> &&
              !path_of_temporary<ckpt::state_dict>);
static_assert(!arrow_of_temporary<ckpt::result<ckpt::checkpoint>> &&
              !arrow_of_temporary<ckpt::result<ckpt::state_dict>>);
static_assert(root_of_temporary<const ckpt::checkpoint&> &&
              at_of_temporary<const ckpt::state_dict&>); // the concepts can hold
static_assert(std::is_copy_constructible_v<ckpt::checkpoint> && std::is_copy_constructible_v<ckpt::state_dict>);
static_assert(std::is_nothrow_move_constructible_v<ckpt::checkpoint> &&
              std::is_nothrow_move_constructible_v<ckpt::state_dict>);

TEST_CASE("keys are in the file's order; nested dictionaries, lists and integer keys are joined by dots") {
    using namespace pkl;
    const std::string file = torch_file(dict({{str("z"), t()},
                                              {str("a"), dict({{str("weight"), t()},
                                                               {num(3), t()},
                                                               {num(-1), t()},
                                                               {str("deep"), dict({{str("er.still"), t()}})}})},
                                              {str("list"), list({t(), num(5), tuple({t(), t()})})},
                                              {str(""), t()},
                                              {none, t()},
                                              {yes, t()},
                                              {real(1.5), t()},
                                              {tuple({num(1), str("x")}), t()},
                                              {global("torch", "float32"), t()},
                                              {str("b"), ordered({{str("c"), t()}})}}),
                                        one_storage);
    const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("").value();
    CHECK(keys(weights) == std::vector<std::string>{"z", "a.weight", "a.3", "a.-1", "a.deep.er.still", "list.0",
                                                    "list.2.0", "list.2.1", "", "None", "True", "1.5", "(1, 'x')",
                                                    "torch.float32", "b.c"});
    CHECK(weights.size() == 15);
    CHECK_FALSE(weights.empty());
    for (const auto& key : keys(weights)) {
        CHECK(weights.contains(key));
        CHECK(weights.view<float, 1>(key).value()(2) == 3);
    }
    REQUIRE(weights.others().size() == 1);
    CHECK(weights.others()[0].key == "list.1");
    CHECK(weights.others()[0].content.as_int().value() == 5);
}

TEST_CASE("keys are sorted as texts, however they begin") {
    // Keys that begin alike, that begin other keys, with bytes of 0 and above 127, and each length around eight.
    std::vector<std::string> all;
    for (const std::string& begin : {"same."s, "same.begin.ning.of.all"s, "same.\xc3\xa9."s, "same.\x00."s}) {
        all.push_back(begin);
        for (const std::string& more : {"\x00"s, "a"s, "b"s, "1234567"s, "12345678"s, "123456789"s, "123456780"s,
                                        "12345678\x00"s, "\xc3\xa9"s, "z.weight"s, "z.bias"s})
            all.push_back(begin + more);
    }
    for (const std::size_t count : {std::size_t{1}, std::size_t{2}, std::size_t{7}, all.size()}) {
        std::vector<std::pair<std::string, std::string>> entries;
        for (std::size_t i = 0; i < count; ++i) entries.emplace_back(pkl::str(all[i]), t());
        const std::string file = torch_file(pkl::dict(entries), one_storage);
        const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("").value();
        const ckpt::detail::state_dict_data& d = *ckpt::detail::state_dict_access::data(weights);
        const auto sorted = d.by_key();
        REQUIRE(sorted.size() == count);
        for (std::size_t i = 1; i < count; ++i) CHECK(d.entries[sorted[i - 1]].key < d.entries[sorted[i]].key);
        for (std::size_t i = 0; i < all.size(); ++i) CHECK(weights.contains(all[i]) == (i < count));
    }
}

TEST_CASE("two entries of one key are key_duplicate, which names both paths") {
    using namespace pkl;
    const std::pair<std::string, std::string> number{"K\x01", t()}, text{str("1"), t()};
    for (const std::string& both : {dict({number, text}), dict({text, number})}) {
        const auto checkpoint = ckpt::open_bytes(bytes_of(torch_file(both, one_storage))).value();
        CHECK(checkpoint.state_dict("").error().code == errc::key_duplicate);
    }
    const std::string file =
        torch_file(dict({{str("x"), t()}, {str("a"), dict({{str("b/c"), t()}})}, {str("a.b/c"), t()}}), one_storage);
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto failure = opened.state_dict("").error();
    CHECK(failure.code == errc::key_duplicate);
    CHECK(failure.detail == R"(the key "a.b/c" comes from two entries: "a/b\\/c" and "a.b\\/c")");
    CHECK(opened.state_dict("a").has_value());
    const std::string nameless = torch_file(dict({{str(""), dict({{str("k"), t()}})}, {str(".k"), t()}}), one_storage);
    CHECK(ckpt::open_bytes(bytes_of(nameless)).value().state_dict("").error().detail ==
          R"(the key ".k" comes from two entries: "/k" and ".k")");
    const std::string numbers = torch_file(dict({{num(1), t()}, {str("1"), t()}}), one_storage);
    CHECK(ckpt::open_bytes(bytes_of(numbers)).value().state_dict("").error().code == errc::key_duplicate);
    // Python's own rule comes first: the last value of equal keys stands.
    const std::string twice = torch_file(dict({{str("k"), num(1)}, {str("k"), t()}}), one_storage);
    CHECK(ckpt::open_bytes(bytes_of(twice)).value().state_dict("").value().size() == 1);
}

TEST_CASE("the nearest of twenty thousand keys, by their last 64 bytes: three are named") {
    using ckpt::detail::edit_distance;
    const auto ends_alike = [](std::size_t n) {
        const std::string end(n, 'x');
        return edit_distance('a' + end, 'b' + end);
    };
    CHECK(ends_alike(63) == 1);
    CHECK(ends_alike(64) == 0);
    const std::vector<std::string_view> alike{"key1", "key2", "key3", "key4"};
    CHECK(ckpt::detail::nearest("keyX", alike) == std::vector<std::string_view>{"key1", "key2", "key3"});
    std::vector<std::string_view> keys(20'000, "something else");
    keys.back() = "key1";
    CHECK(ckpt::detail::nearest("keyX", keys) == std::vector<std::string_view>{"key1"});
    keys.insert(keys.begin(), "something else");
    CHECK(ckpt::detail::nearest("keyX", keys).empty());
}

TEST_CASE("a path through nameless keys leads where it says") {
    using namespace pkl;
    const std::string file = torch_file(
        dict({{str(""), dict({{str("a"), dict({{str(""), num(7)}})}})}, {str("b"), dict({{str("c"), num(1)}})}}), {});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const ckpt::value root = opened.root();
    CHECK(root.find("/a/").value().as_int().value() == 7);
    CHECK(root.find("b/").value().size() == 1); // nothing below it is called ""
    CHECK(root.find("/a/zz").error().path == "/a");
}

TEST_CASE("a path that is wrong names the nearest") {
    using namespace pkl;
    const std::string file =
        torch_file(dict({{str("epoch"), num(3)}, {str("model"), dict({{str("fc.weight"), num(1)}})}}), {});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const ckpt::value root = opened.root();
    CHECK(root.find("epoh").error().detail == "no entry \"epoh\" in this dict at the root; nearest: \"epoch\"");
    CHECK(root.find("model/fc.wight").error().detail.ends_with("; nearest: \"model/fc.weight\""));
    CHECK(root.find("model/fc.wight").error().path == "model");
    CHECK(root.find("model/zzz").error().detail == "no entry \"zzz\" in this dict; \"model\" exists");
    CHECK(root.find("/").value().same_object(root)); // nothing is called "" here
    CHECK(root.find("/model/fc.weight/").value().as_int().value() == 1);
    CHECK(root.find("zzz").error().detail == "no entry \"zzz\" in this dict at the root");
}

TEST_CASE("a message looks at 20,000 names and at no more") {
    ckpt::detail::nearest_name near{"epoh"};
    for (int i = 1; i < 20'000; ++i) CHECK(near.offer("zzzzzzzz"));
    CHECK(near.offer("epoch"));
    CHECK(near.best() == "epoch");
    CHECK_FALSE(near.offer("epoh"));
    CHECK(near.best() == "epoch");
}

TEST_CASE("a key that is not there is key_missing with the nearest ones") {
    using namespace pkl;
    const std::string file = torch_file(
        dict({{str("model"),
               dict({{str("encoder.fc1.weight"), t()}, {str("encoder.fc1.bias"), t()}, {str("other"), t()}})}}),
        one_storage);
    const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("model").value();
    CHECK_FALSE(weights.contains("encoder.fc1.wieght"));
    const auto failure = weights.at("encoder.fc1.wieght").error();
    CHECK(failure.code == errc::key_missing);
    CHECK(failure.path == "model");
    CHECK(failure.detail.starts_with(R"(no key "encoder.fc1.wieght" among 3; nearest: "encoder.fc1.weight")"));
    CHECK(weights.at("fc1.bias").error().detail.find(R"(nearest: "encoder.fc1.bias")") != std::string::npos);
    // A third of the longer key may differ; three are named.
    CHECK(weights.at("otXYr").error().detail.find(R"(nearest: "other")") == std::string::npos);
    CHECK(weights.at("otXer").error().detail.ends_with(R"(nearest: "other")"));
    CHECK(weights.at("otherXX").error().detail.ends_with(R"(nearest: "other")"));
    CHECK(weights.at("otherXXX").error().detail.find("nearest") == std::string::npos);
    CHECK(weights.at("completely different").error().detail == R"(no key "completely different" among 3)");
    CHECK(weights.view<float, 1>("nope").error().code == errc::key_missing);
    CHECK(weights.at(std::string(1'000'000, 'k')).error().message().size() <= 1024);
}

TEST_CASE("errors of a view name the entry") {
    using namespace pkl;
    const std::string file = torch_file(
        dict({{str("model"),
               dict({{str("w"), t()}, {str("bad"), tensor(storage("FloatStorage", "0", 4), 1, {4}, {1})}})}}),
        one_storage);
    const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("model").value();
    const auto dtype = weights.view<double, 1>("w").error();
    CHECK(dtype.code == errc::dtype_mismatch);
    CHECK(dtype.path == "model/w");
    CHECK(weights.view<float, 2>("w").error().code == errc::rank_mismatch);
    CHECK(weights.refused() == 1);
    CHECK(weights.at("bad").error().code == errc::out_of_bounds);
    CHECK(weights.at("bad").error().path == "model/bad");
    CHECK(weights.view<float, 1>("bad").error().code == errc::out_of_bounds);
    CHECK(keys(weights) == std::vector<std::string>{"w", "bad"});
}

TEST_CASE("single numbers are read by one call, from values and from tensors of one element") {
    using namespace pkl;
    const std::string one = tensor(storage("FloatStorage", "0", 4), 2, {}, {});
    const std::string file = torch_file(
        dict({{str("model"), dict({{str("scale"), one},
                                   {str("shape"), tensor(storage("FloatStorage", "0", 4), 1, {1, 1}, {1, 1})},
                                   {str("w"), t()},
                                   {str("temperature"), "G?\xe0\0\0\0\0\0\0"s},
                                   {str("steps"), num(300)}})},
              {str("lr"), "G?\xe0\0\0\0\0\0\0"s},
              {str("epoch"), num(300)},
              {str("step"), one},
              {str("best"), "N"},
              {str("fp16"), "\x88"},
              {str("name"), str("tiny")}}),
        one_storage);
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    CHECK(opened.get<double>("lr").value() == 0.5);
    CHECK(opened.get<float>("epoch").value() == 300);
    CHECK(opened.get<int>("epoch").value() == 300);
    CHECK(opened.get<long long>("epoch").value() == 300);
    CHECK(opened.get<bool>("fp16").value());
    CHECK(opened.get<std::string>("name").value() == "tiny");
    CHECK(opened.get<double>("step").value() == 3);
    CHECK(opened.get<double>("model/shape").value() == 2);
    CHECK(opened.root().get<double>("lr").value() == 0.5);
    CHECK(ckpt::open_bytes(bytes_of(file)).value().get<double>("lr").value() == 0.5); // a copy: nothing dangles

    CHECK(opened.get<std::uint8_t>("epoch").error().detail == "the number does not fit into uint8");
    CHECK(opened.get<std::uint8_t>("epoch").error().path == "epoch");
    CHECK(opened.get<int>("lr").error().detail == "expected int, found float");
    CHECK(opened.get<int>("fp16").error().code == errc::wrong_type);
    CHECK(opened.get<bool>("epoch").error().code == errc::wrong_type);
    CHECK(opened.get<double>("name").error().path == "name");
    CHECK(opened.get<std::string>("epoch").error().path == "epoch");
    CHECK(opened.get<int>("step").error().code == errc::conversion);
    CHECK(opened.get<double>("model/w").error().detail == "the tensor has 4 elements, asked for was a single number");
    CHECK(opened.get<double>("nothing").error().code == errc::path_missing);
    CHECK(opened.get_or("nothing", 7).value() == 7);
    CHECK(opened.get_or("best", 0.25).value() == 0.25); // None
    CHECK(opened.get_or("lr", 0.25).value() == 0.5);
    CHECK(opened.get_or<std::string>("nothing", "other").value() == "other");
    CHECK(opened.get_or("name", 7).error().code == errc::wrong_type);

    const auto weights = opened.state_dict("model").value();
    CHECK(weights.get<float>("scale").value() == 3);
    CHECK(weights.get<double>("shape").value() == 2);
    CHECK(weights.get<float>("temperature").value() == 0.5f);
    CHECK(weights.get<int>("steps").value() == 300);
    CHECK(weights.get<int>("scale").error().code == errc::conversion);
    CHECK(weights.get<int>("scale").error().path == "model/scale");
    CHECK(weights.get<float>("w").error().code == errc::size_mismatch);
    CHECK(weights.get<int>("temperature").error().path == "model/temperature");
    CHECK(weights.get<float>("scal").error().detail == R"(no key "scal" among 3; nearest: "scale")");
    CHECK(weights.get_or("missing", 1.5f).value() == 1.5f);
    CHECK(weights.get_or("scale", 1.5f).value() == 3);
    CHECK(weights.get_or("w", 1.5f).error().code == errc::size_mismatch);
    CHECK(weights.view<float>("w").value().size() == 4);
    CHECK(weights.view<double>("w").error().path == "model/w");
    CHECK(weights.view<float>("x").error().code == errc::key_missing);
}

TEST_CASE("errors name the file that was opened, once") {
    using namespace pkl;
    const std::string bytes =
        torch_file(dict({{str("model"), dict({{str("w"), t()}})}, {str("epoch"), num(3)}}), one_storage);
    const temporary_file good{bytes};
    const temporary_file bad{"no checkpoint"};
    const std::string path = good.path().string();
    CHECK(ckpt::open(bad.path()).error().file == bad.path().string());
    CHECK(ckpt::scan_globals(bad.path()).error().file == bad.path().string());
    const auto absent = ckpt::open("an_absent_file.pt").error().message();
    CHECK(absent.find("an_absent_file.pt") != std::string::npos);
    CHECK(absent.find("an_absent_file.pt") == absent.rfind("an_absent_file.pt"));
    const auto file = ckpt::open(good.path()).value();
    CHECK(file.state_dict("none").error().file == path);
    CHECK(file.state_dict("epoch").error().file == path);
    CHECK(file.get<int>("none").error().file == path);
    CHECK(file.get_or<int>("model", 1).error().file == path);
    const auto weights = file.state_dict("model").value();
    CHECK(weights.at("v").error().file == path);
    CHECK(weights.view<double>("w").error().file == path);
    CHECK(weights.view<float, 2>("w").error().file == path);
    CHECK(weights.get<float>("w").error().file == path);
    CHECK(weights.owned().get<float>("w").error().file == path);
    CHECK(ckpt::open_bytes(bytes_of(bytes)).value().state_dict("none").error().file.empty());
}

TEST_CASE("copies share, and a state_dict outlives the checkpoint, its file and its name") {
    const std::string file = torch_file(pkl::dict({{pkl::str("w"), t()}}), one_storage);
    for (const auto storages : {ckpt::storage_mode::mapped, ckpt::storage_mode::owned}) {
        std::optional<test_support::temporary_file> on_disk(std::in_place, file);
        std::optional<ckpt::checkpoint> opened(ckpt::open(on_disk->path(), {.storages = storages}).value());
        std::optional<ckpt::checkpoint> copy(*opened);
        auto weights = opened->state_dict().value();
        opened.reset();
        on_disk.reset(); // unlinked
        CHECK(weights.view<float, 1>("w").value()(0) == 1);
        copy.reset();
        const auto shared = weights;
        const auto moved = std::move(weights);
        CHECK(moved.view<float, 1>("w").value()(3) == 4);
        CHECK(shared.at("w").value().storage_id() == moved.at("w").value().storage_id());
        CHECK(shared.root().kind() == ckpt::kind::dictionary);
    }
}

TEST_CASE("the class and the attributes of the dictionary are no keys") {
    using namespace pkl;
    const std::string file =
        torch_file(global("collections", "OrderedDict") + ")R" +
                       dict({{str("_metadata"), ordered({{str(""), dict({{str("version"), num(1)}})}})}}) + "b(" +
                       str("w") + t() + "u",
                   one_storage);
    const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict().value();
    CHECK(keys(weights) == std::vector<std::string>{"w"});
    CHECK(weights.others().empty());
    CHECK(weights.root().class_of().as_global().value().name == "OrderedDict");
    CHECK(weights.root().state().at("_metadata").has_value());
}

TEST_CASE("limits.entries bounds the keys") {
    std::vector<std::pair<std::string, std::string>> entries;
    for (int i = 0; i < 20; ++i) entries.emplace_back(pkl::num(i), t());
    const std::string file = torch_file(pkl::dict(entries), one_storage);
    CHECK(ckpt::open_bytes(bytes_of(file), {.limits = {.entries = 20}}).value().state_dict("").has_value());
    CHECK(ckpt::open_bytes(bytes_of(file), {.limits = {.entries = 19}}).value().state_dict("").error().code ==
          errc::limit);
    int n = 0;
    for (auto& [key, value] : entries) key = pkl::str(std::to_string(n++)); // for which walks make no path
    const std::string texts = torch_file(pkl::dict(entries), one_storage);
    CHECK(ckpt::open_bytes(bytes_of(texts), {.limits = {.entries = 20}}).value().state_dict("").has_value());
    CHECK(ckpt::open_bytes(bytes_of(texts), {.limits = {.entries = 19}}).value().state_dict("").error().code ==
          errc::limit);
}

TEST_CASE("two threads read one const checkpoint") {
    std::vector<std::pair<std::string, std::string>> entries;
    for (int i = 0; i < 500; ++i) entries.emplace_back(pkl::str("k" + std::to_string(i)), t());
    const std::string file = torch_file(pkl::dict(entries), one_storage);
    for (const auto io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const test_support::temporary_file on_disk(file);
        const ckpt::checkpoint opened = ckpt::open(on_disk.path(), {.io = io}).value();
        const ckpt::state_dict shared = opened.state_dict().value();
        std::uint32_t sums[2]{};
        const auto work = [&](std::uint32_t& sum) {
            for (int round = 0; round < 4; ++round) {
                const ckpt::state_dict own = opened.state_dict().value();
                for (const auto& [key, tensor] : own)
                    sum += shared.at(key).value().crc32().value() ^ tensor.crc32().value();
                sum += static_cast<std::uint32_t>(ckpt::find_tensors(opened.root()).value().size());
            }
        };
        std::thread first(work, std::ref(sums[0])), second(work, std::ref(sums[1]));
        first.join();
        second.join();
        CHECK(sums[0] == sums[1]);
        CHECK(sums[0] == 4u * 500u);
    }
}

} // namespace state_dict_test
