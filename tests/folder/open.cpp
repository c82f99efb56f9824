// tests/folder/open.cpp: models in folders: one file or a set of shards, and everything that can be wrong with a set.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>

#include "../support/folder_findings.hpp"
#include "../support/safetensors_writer.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <sys/stat.h>
#endif

namespace open_test {

using ckpt::errc;
using namespace test_support;

namespace {

/// A torch.save file of one-dimensional float tensors; each has its own number as its only value.
std::string shard(const std::vector<std::pair<std::string, float>>& tensors,
                  const std::vector<std::pair<std::string, std::string>>& more = {}) {
    std::vector<std::pair<std::string, std::string>> entries, storages;
    for (const auto& [key, value] : tensors) {
        const std::string storage = std::to_string(storages.size());
        entries.emplace_back(pkl::str(key), pkl::floats(storage, 1));
        storages.emplace_back(storage, raw<float>({value}));
    }
    for (const auto& [key, value] : more) entries.emplace_back(pkl::str(key), value);
    return torch_file(pkl::dict(entries), storages);
}
std::string safetensors_shard(const std::vector<std::pair<std::string, float>>& tensors) {
    std::string header = "{\"__metadata__\":{\"format\":\"pt\"}", data;
    for (const auto& [key, value] : tensors) {
        header += ',' + safetensors_entry(key, "F32", "[1]", data.size(), data.size() + 4);
        data += raw<float>({value});
    }
    return safetensors_file(header + '}', data);
}
std::string index_of(const std::vector<std::pair<std::string, std::string>>& map) {
    std::string out = "{\"metadata\": {\"total_size\": 12}, \"weight_map\": {";
    for (const auto& [key, file] : map)
        out += (&key == &map.front().first ? "\"" : ", \"") + key + "\": \"" + file + '"';
    return out + "}}";
}

const char* const first = "pytorch_model-00001-of-00002.bin";
const char* const second = "pytorch_model-00002-of-00002.bin";
const char* const index_name = "pytorch_model.bin.index.json";

/// Two shards and their index, all in order.
std::vector<std::pair<std::string, std::string>> sound() {
    return {{first, shard({{"a", 1}, {"b", 2}})},
            {second, shard({{"c", 3}})},
            {index_name, index_of({{"a", first}, {"b", first}, {"c", second}})}};
}

/// "a=1 b=2 c=3": the keys of a state_dict in order, with the first value of each.
std::string content(const ckpt::state_dict& weights) {
    std::string out;
    for (const auto& [key, tensor] : weights) {
        std::vector<float> values(tensor.numel());
        REQUIRE(tensor.copy_to(std::span(values)).has_value());
        out.append(out.empty() ? "" : " ").append(key) += '=' + std::to_string(static_cast<int>(values.at(0)));
    }
    return out;
}

std::string opened_content(const temporary_folder& folder, const ckpt::open_options& options = {}) {
    const auto file = ckpt::open_folder(folder.path(), options);
    if (!file) return file.error().message();
    return content(file->state_dict().value());
}

} // namespace

TEST_CASE("a set of shards is one checkpoint: by its folder and by its index") {
    const temporary_folder folder(sound());
    for (const std::string& path :
         {folder.path().string(), folder.path().string() + "/", (folder.path() / index_name).string()})
        for (const ckpt::open_options& options : {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read},
                                                  ckpt::open_options{.storages = ckpt::storage_mode::owned}}) {
            CAPTURE(path);
            const auto file = ckpt::open_folder(path, options);
            REQUIRE(file.has_value());
            CHECK(file->container() == "shards");
            CHECK(file->files() == std::vector<std::string>{first, second});
            const auto weights = file->state_dict().value();
            CHECK(content(weights) == "a=1 b=2 c=3");
            CHECK(file->verify().ok());
            CHECK(file->verify().records == 9); // of both files
            CHECK(file->file_bytes() > 1000);
        }
    const auto file = ckpt::open_folder(folder.path()).value();
    const auto weights = file.state_dict().value();
    CHECK(weights.at("a").value().file() == first);
    CHECK(weights.at("c").value().file() == second);
    CHECK(weights.at("a").value().storage_id() != weights.at("c").value().storage_id()); // both have the key "0"
    CHECK(weights.at("a").value().storage_key() == weights.at("c").value().storage_key());
    CHECK(weights.view<float, 1>("c").value()(0) == 3);
    // What was opened may outlive the checkpoint.
    auto kept = ckpt::open_folder(folder.path()).value().state_dict().value();
    CHECK(content(kept) == "a=1 b=2 c=3");
}

TEST_CASE("open_any: a folder, an index of either spelling, one file, nothing") {
    const temporary_folder folder(sound());
    const auto opened = [&](const std::string& name) {
        const auto file = ckpt::open_any((folder.path() / name).string());
        return file ? std::string(file->container()) + ": " + content(file->state_dict().value())
                    : file.error().message().substr(0, 11);
    };
    CHECK(opened("") == "shards: a=1 b=2 c=3");
    CHECK(opened(index_name) == "shards: a=1 b=2 c=3");
    CHECK(opened(second) == "zip: c=3");
    CHECK(opened("absent.pt") == "cannot_open");
    CHECK(ckpt::open_any(static_cast<const char*>(nullptr)).error().code == errc::cannot_open);
    // The variant of a set has its word inside; the folder's name says nothing about a file.
    const temporary_folder variant(
        {{"model.fp16-00001-of-00001.bin", shard({{"x", 7}})},
         {"pytorch_model.index.fp16.json", index_of({{"x", "model.fp16-00001-of-00001.bin"}})},
         {"named.index.d", ""}});
    const auto by_index = ckpt::open_any((variant.path() / "pytorch_model.index.fp16.json").string());
    REQUIRE(by_index.has_value());
    CHECK(content(by_index->state_dict().value()) == "x=7");
    const std::filesystem::path odd = variant.path() / "my.index";
    std::filesystem::create_directory(odd);
    std::filesystem::copy_file(folder.path() / second, odd / "a.json");
    const auto inside = ckpt::open_any((odd / "a.json").string());
    REQUIRE(inside.has_value());
    CHECK(inside->container() == "zip");
    // The policy and the options are those of the call.
    CHECK(ckpt::open_any<ckpt::weights_policy>(folder.path(), {.limits = {.directory_bytes = 8}}).error().code ==
          ckpt::open_folder<ckpt::weights_policy>(folder.path(), {.limits = {.directory_bytes = 8}}).error().code);
}

TEST_CASE("safetensors shards, with their metadata; shards without an index") {
    const char* const one = "model-00001-of-00002.safetensors";
    const char* const two = "model-00002-of-00002.safetensors";
    const temporary_folder folder({{one, safetensors_shard({{"a", 1}})},
                                   {two, safetensors_shard({{"b", 2}})},
                                   {"model.safetensors.index.json", index_of({{"a", one}, {"b", two}})}});
    CHECK(opened_content(folder) == "a=1 b=2");
    const auto file = ckpt::open_folder(folder.path()).value();
    CHECK(file.metadata().find("format").value().as_string().value() == "pt");
    CHECK(file.root().size() == 2);
    folder.remove("model.safetensors.index.json");
    CHECK(opened_content(folder) == "a=1 b=2");
    folder.remove(one);
    CHECK(findings(folder) == "model-*-of-00002.safetensors: 1 of 2 shards are missing: number 1\n");
    CHECK(ckpt::open_folder(folder.path()).error().code == errc::parts_not_joined);
    CHECK(ckpt::info(errc::parts_not_joined).exit_code == 4);
    // A name may claim any number of shards.
    const temporary_folder many;
    many.add("model-2-of-4000000000.bin", shard({{"a", 1}}));
    many.add("model-4-of-4000000000.bin", shard({{"b", 1}}));
    CHECK(findings(many) == "model-*-of-4000000000.bin: 3999999998 of 4000000000 shards are missing: number 1, number "
                            "3, number 5, +3999999995 more\n");
}

TEST_CASE("tied tensors share a storage inside their shard") {
    const std::string tied =
        torch_file(pkl::dict({{pkl::str("a"), pkl::floats("0", 2)},
                              {pkl::str("b"), pkl::tensor(pkl::storage("FloatStorage", "0", 2), 1, {1}, {1})}}),
                   {{"0", raw<float>({1, 2})}});
    const temporary_folder folder({{"model-1-of-2.bin", tied}, {"model-2-of-2.bin", shard({{"c", 3}})}});
    const auto file = ckpt::open_folder(folder.path()).value();
    const auto weights = file.state_dict().value();
    CHECK(weights.at("a").value().storage_id() == weights.at("b").value().storage_id());
    CHECK(weights.at("a").value().storage_id() != weights.at("c").value().storage_id());
    const auto owned = weights.owned();
    CHECK(content(owned) == "a=1 b=2 c=3");
    CHECK(owned.at("c").value().file() == "model-2-of-2.bin");
}

TEST_CASE("owned storages of a set are those of its tensors, also where a shard has others") {
    const std::string odd = torch_file(
        pkl::dict({{pkl::str("alone"), pkl::storage("FloatStorage", "0", 1)}, {pkl::str("b"), pkl::floats("1", 1)}}),
        {{"0", raw<float>({8})}, {"1", raw<float>({2})}});
    const temporary_folder folder({{"model-1-of-2.bin", shard({{"a", 1}})}, {"model-2-of-2.bin", odd}});
    CHECK(opened_content(folder) == "a=1 b=2");
    CHECK(opened_content(folder, {.storages = ckpt::storage_mode::owned}) == "a=1 b=2");
    CHECK(opened_content(folder, {.io = ckpt::io_mode::read, .storages = ckpt::storage_mode::owned}) == "a=1 b=2");
}

TEST_CASE("one file of a folder is chosen, and said") {
    const temporary_folder folder({{"pytorch_model.bin", shard({{"w", 5}})},
                                   {"optimizer.pt", torch_file(pkl::dict({{pkl::str("state"), pkl::dict({})},
                                                                          {pkl::str("param_groups"), pkl::list({})}}))},
                                   {"trainer_state.json", "{}"},
                                   {"notes.txt", "x"}});
    const auto file = ckpt::open_folder(folder.path()).value();
    CHECK(file.container() == "zip");
    CHECK(file.files() == std::vector<std::string>{"pytorch_model.bin"});
    CHECK(opened_content(folder) == "w=5");
    const auto report = ckpt::inspect_folder(folder.path()).value();
    CHECK(report.chosen == "pytorch_model.bin");
    CHECK(report.reason == "its name means weights");
    REQUIRE(report.files.size() == 4);
    CHECK(report.files[1].name == "optimizer.pt");
    CHECK(report.files[1].is == "the optimizer's state");
    const auto weights = file.state_dict().value();
    CHECK(weights.at("w").value().file() == "pytorch_model.bin");
    const auto owned = weights.owned();
    CHECK(owned.at("w").value().file() == "pytorch_model.bin");
    CHECK(weights.at("x").error().file == folder.path().string());
    const auto alone = ckpt::open(folder.path() / "pytorch_model.bin").value();
    CHECK(alone.files().empty());
    const auto own = alone.state_dict().value();
    CHECK(own.at("w").value().file().empty());
}

TEST_CASE("two candidate sets are a question, none is an error that lists what is there") {
    const temporary_folder two(
        {{"model.safetensors", safetensors_shard({{"a", 1}})}, {"pytorch_model.bin", shard({{"a", 1}})}});
    const ckpt::error ambiguous = ckpt::open_folder(two.path()).error();
    CHECK(ambiguous.code == errc::state_dict_ambiguous);
    CHECK(ambiguous.detail.find("\"model.safetensors\" and \"pytorch_model.bin\"") != std::string::npos);
    CHECK(ckpt::inspect_folder(two.path()).value().candidates.size() == 2);
    CHECK(ckpt::inspect_folder(two.path()).value().chosen.empty());
    const temporary_folder none({{"optimizer.pt", "x"}, {"notes.txt", "x"}});
    const ckpt::error missing = ckpt::open_folder(none.path()).error();
    CHECK(missing.code == errc::state_dict_missing);
    CHECK(missing.detail.find("\"notes.txt\", \"optimizer.pt\"") != std::string::npos);
    const temporary_folder empty;
    CHECK(ckpt::open_folder(empty.path()).error().code == errc::not_a_checkpoint);
    CHECK(ckpt::open_folder(empty.path()).error().detail.find("it is empty") != std::string::npos);
    CHECK(ckpt::open_folder(two.path() / "nowhere").error().code == errc::cannot_open);
    CHECK(ckpt::open(two.path()).error().code == errc::is_a_directory);
    CHECK(ckpt::open(two.path()).error().hint.find("open_folder") != std::string_view::npos);
}

TEST_CASE(
    "a directory that is named like an index is a directory; links, folders and pipes in place of shards are errors") {
    const temporary_folder outer;
    for (const auto& [name, bytes] : sound()) outer.add("set.json/" + name, bytes);
    const auto set = ckpt::open_folder(outer.path() / "set.json").value();
    CHECK(set.files().size() == 2);
    const temporary_folder folder(sound());
    folder.remove(second);
    std::filesystem::create_directory(folder.path() / second);
    CHECK(ckpt::open_folder(folder.path()).error().code == errc::is_a_directory);
#if !defined(_WIN32)
    folder.remove(second);
    std::filesystem::create_symlink(second, folder.path() / second); // to itself
    CHECK(ckpt::open_folder(folder.path()).error().code == errc::cannot_open);
    folder.remove(second);
    REQUIRE(::mkfifo((folder.path() / second).c_str(), 0600) == 0);
    CHECK(ckpt::open_folder(folder.path()).error().code == errc::not_a_regular_file);
#endif
}

TEST_CASE("an error names the file of the folder that it concerns, or the folder") {
    const temporary_folder empty;
    CHECK(ckpt::open_folder(empty.path()).error().message().find(empty.path().filename().string()) !=
          std::string::npos);
    CHECK(ckpt::inspect_folder(empty.path() / "absent").error().message().find("absent") != std::string::npos);
    const temporary_folder set({{"model-1-of-2.bin", shard({{"a", 1}})}, {"model-2-of-2.bin", shard({{"b", 2}})}});
    const auto file = ckpt::open_folder(set.path()).value();
    CHECK(file.state_dict("none").error().file == set.path().string());
    CHECK(file.state_dict().value().owned().get<float>("c").error().file == set.path().string());
}

TEST_CASE("a missing shard, an extra shard") {
    auto files = sound();
    files.erase(files.begin() + 1);
    const temporary_folder missing(files);
    CHECK(findings(missing) ==
          std::string(index_name) + ": the shard \"" + second + "\" is missing, which the index names for 1 key\n");
    files = sound();
    files.emplace_back("pytorch_model-00003-of-00003.bin", shard({{"d", 4}}));
    const temporary_folder extra(files);
    CHECK(findings(extra) ==
          "pytorch_model-00003-of-00003.bin: a shard that the index \"pytorch_model.bin.index.json\" does not name\n");
    CHECK(ckpt::open_folder(extra.path()).error().code == errc::shards_inconsistent);
}

TEST_CASE("an index and its shards disagree: keys that are not there, keys that nobody named, one key in two shards") {
    auto files = sound();
    files[2].second = index_of({{"a", first}, {"b", first}, {"c", second}, {"gone", second}, {"away", first}});
    CHECK(findings(temporary_folder(files)) ==
          std::string(first) + ": the index names 1 key that this shard has not: \"away\"\n" + second +
              ": the index names 1 key that this shard has not: \"gone\"\n");
    files = sound();
    files[0].second = shard({{"a", 1}, {"b", 2}, {"new", 9}});
    CHECK(findings(temporary_folder(files)) ==
          std::string(first) +
              ": this shard has 1 key that the index \"pytorch_model.bin.index.json\" does not name: \"new\"\n");
    files = sound();
    files[1].second = shard({{"c", 3}, {"a", 7}});
    CHECK(findings(temporary_folder(files)) == std::string(second) + ": the key \"a\" is also in \"" + first + "\"\n");
    // One key for a tensor and for something else, and an index that names an entry that is no tensor.
    files = sound();
    files[1].second = shard({{"c", 3}}, {{"a", pkl::none}});
    CHECK(findings(temporary_folder(files)) == std::string(second) + ": the key \"a\" is also in \"" + first + "\"\n");
    files[1].second = shard({{"c", 3}}, {{"step", pkl::num(1)}});
    files[2].second = index_of({{"a", first}, {"b", first}, {"c", second}, {"step", second}});
    CHECK(findings(temporary_folder(files)) == "");
    // The index says "c" is in the first shard.
    files = sound();
    files[2].second = index_of({{"a", first}, {"b", first}, {"c", first}});
    const std::string moved = findings(temporary_folder(files));
    CHECK(moved.find("the index names 1 key that this shard has not: \"c\"") != std::string::npos);
    CHECK(moved.find("a shard that the index \"pytorch_model.bin.index.json\" does not name") != std::string::npos);
}

TEST_CASE("everything that is wrong is told at once") {
    const temporary_folder folder({{first, shard({{"a", 1}})},
                                   {"pytorch_model-00009-of-00009.bin", "x"},
                                   {"pytorch_model-00003-of-00003.bin", "not a checkpoint"},
                                   {index_name, index_of({{"a", first},
                                                          {"b", first},
                                                          {"c", second},
                                                          {"d", "../outside.bin"},
                                                          {"e", "pytorch_model-00003-of-00003.bin"}})}});
    const std::string all = findings(folder);
    for (const char* part : {"outside the folder, \"../outside.bin\" for 1 key", "00002-of-00002.bin\" is missing",
                             "00009-of-00009.bin: a shard that the index", "has not: \"b\"",
                             "plain text that begins \"not a checkpoint\""}) {
        CAPTURE(part);
        CHECK(all.find(part) != std::string::npos);
    }
    CHECK(ckpt::open_folder(folder.path()).error().code == errc::shards_inconsistent);
}

TEST_CASE("an index has at most limits.directory_bytes") {
    auto files = sound();
    files[2].second += std::string(5000 - files[2].second.size(), ' ');
    const temporary_folder folder(files);
    CHECK(ckpt::open_folder(folder.path(), {.limits = {.directory_bytes = 5000}}).has_value());
    CHECK(ckpt::open_folder(folder.path(), {.limits = {.directory_bytes = 4999}}).error().code == errc::limit);
}

TEST_CASE("an error tells a hundred findings") {
    const auto told = [](int missing) {
        std::vector<std::pair<std::string, std::string>> map{{"a", first}};
        for (int i = 0; i < missing; ++i)
            map.emplace_back(std::to_string(i), "pytorch_model-" + std::to_string(10'000 + i) + "-of-20000.bin");
        const temporary_folder folder({{first, shard({{"a", 1}})}, {index_name, index_of(map)}});
        const auto report = ckpt::inspect_folder(folder.path()).value();
        CHECK(report.findings.size() == static_cast<std::size_t>(missing));
        return ckpt::open_folder(folder.path()).error().detail;
    };
    CHECK_FALSE(told(100).ends_with(" more"));
    CHECK(told(101).ends_with("; +1 more"));
}

TEST_CASE("a shard outside the folder is never opened") {
    const temporary_folder outer({{"outside.bin", shard({{"d", 4}})},
                                  {"set/" + std::string(index_name), ""},
                                  {"set/sub/inside.bin", shard({{"d", 4}})}});
    const std::string inner = (outer.path() / "set" / index_name).string();
    for (const std::string& name :
         {std::string("../outside.bin"), (outer.path() / "outside.bin").string(), std::string("sub/inside.bin"),
          std::string(".."), std::string("."), std::string(), std::string("..\\\\outside.bin"),
          std::string("c:outside.bin"), std::string("a\\u0000b")}) {
        CAPTURE(name);
        outer.add("set/" + std::string(index_name), index_of({{"d", name}}));
        const auto file = ckpt::open_folder(inner);
        REQUIRE_FALSE(file.has_value());
        CHECK(file.error().code == errc::shards_inconsistent);
        CHECK(file.error().detail.find("outside the folder") != std::string::npos);
    }
}

TEST_CASE("an index that is none: JSON of another form, keys twice") {
    for (const char* text :
         {"", "{", "[]", "{}", "{\"weight_map\": []}", "{\"weight_map\": {\"a\": 1}}",
          "{\"weight_map\": {\"a\": \"x.bin\", \"a\": \"x.bin\"}}", "{\"weight_map\": {}, \"weight_map\": {}}",
          "{\"weight_map\": {}} x", "{\"weight_map\": {\"a\": null}}"}) {
        CAPTURE(text);
        const temporary_folder folder;
        folder.add(index_name, text);
        CHECK(ckpt::open_folder(folder.path()).error().code == errc::json_invalid);
    }
    const temporary_folder empty;
    empty.add(index_name, "{\"weight_map\": {}}");
    CHECK(findings(empty) == std::string(index_name) + ": the index names no shard\n");
    CHECK(ckpt::open_folder((empty.path() / "gone.index.json")).error().code == errc::cannot_open);
}

TEST_CASE("an attack in a shard is the error, before any disagreement; a foreign class and damage stay at their keys") {
    auto files = sound();
    files[0].second = shard({{"a", 1}}, {{"b", pkl::global("os", "system")}});
    const temporary_folder refused(files);
    CHECK(ckpt::open_folder(refused.path()).error().code == errc::global_not_allowed);
    CHECK(ckpt::open_folder(refused.path()).error().file == first);
    files = sound();
    files[0].second = shard({{"a", 1}}, {{"b", pkl::global("my_project", "Config")}});
    const temporary_folder foreign(files);
    CHECK(ckpt::open_folder(foreign.path(), {.foreign = ckpt::foreign_globals::refuse_file}).error().file == first);
    const auto set = ckpt::open_folder(foreign.path()).value();
    CHECK(set.root().at("b").value().kind() == ckpt::kind::refused);
    REQUIRE(set.refused_globals().size() == 1);
    CHECK(set.refused_globals()[0].name == "Config");
    files = sound();
    files[1].second = torch_file(pkl::dict({{pkl::str("c"), pkl::floats("0", 1)}}), {{"0", "too long"}});
    const temporary_folder damaged(files);
    const auto file = ckpt::open_folder(damaged.path()).value();
    const auto weights = file.state_dict().value();
    CHECK(weights.refused() == 1);
    CHECK(weights.at("c").error().code == errc::storage_size_mismatch);
    CHECK(weights.at("c").error().file == second);
    CHECK(weights.at("a").has_value());
    CHECK_FALSE(file.verify().ok());
}

TEST_CASE("entries of shards that are no tensors: plain values stay, what has parts says where it is") {
    auto files = sound();
    files[1].second =
        shard({{"c", 3}}, {{"step", pkl::num(7)}, {"name", pkl::str("x")}, {"fn", pkl::global("torch", "relu")}});
    const temporary_folder folder(files);
    const auto file = ckpt::open_folder(folder.path()).value();
    CHECK(file.root().find("step").value().as_int().value() == 7);
    CHECK(file.root().find("name").value().as_string().value() == "x");
    const auto fn = file.root().find("fn").value().as_global();
    CHECK(fn.error().file == second);
    const auto weights = file.state_dict().value();
    CHECK(weights.others().size() == 3);
}

TEST_CASE("a shard that is cut while it is read names itself") {
    const temporary_folder folder(sound());
    const auto file = ckpt::open_folder(folder.path(), {.io = ckpt::io_mode::read}).value();
    const auto weights = file.state_dict().value();
    folder.add(second, "");
    const auto crc = weights.at("c").value().crc32();
    REQUIRE_FALSE(crc.has_value());
    CHECK(crc.error().file == second);
    CHECK(weights.at("a").value().crc32().has_value());
}

TEST_CASE("weights have any suffix or none: one such file of a folder is opened, of two the error asks") {
    const std::string weights = torch_file(pkl::dict({{pkl::str("w"), pkl::floats("0", 1)}}), {{"0", raw<float>({1})}});
    const std::string zip = write_zip({{.name = "readme.txt", .data = "x"}}).bytes, text = "hello";
    for (const char* name : {"best.pth.tar", "model.jit", "model.ts", "model.pkl", "model.th", "model.tar", "model.sav",
                             "a.model", "a.params", "model", "net.whatever"}) {
        CAPTURE(name);
        const temporary_folder folder({{name, weights}, {"archive.zip", zip}, {"notes", text}});
        const auto opened = ckpt::open_folder(folder.path());
        REQUIRE(opened.has_value());
        CHECK(opened->files() == std::vector<std::string>{name});
        const temporary_folder two({{name, weights}, {"other", weights}});
        CHECK(ckpt::open_folder(two.path()).error().code == errc::state_dict_ambiguous);
    }
}

TEST_CASE("shards without an index: of any suffix one model; keys twice are parts that nothing joins") {
    for (const std::string suffix : {".bin", ".pt", ".pth"}) {
        const temporary_folder folder({{"model-00001-of-00002" + suffix, shard({{"a", 1}})},
                                       {"model-00002-of-00002" + suffix, shard({{"b", 2}})}});
        CHECK(opened_content(folder) == "a=1 b=2");
        folder.add("model-00002-of-00002" + suffix, shard({{"a", 1}, {"b", 2}}));
        CHECK(findings(folder) ==
              "model-*-of-00002" + suffix + ": 1 key is in several files of the set: \"a\" in \"model-00001-of-00002" +
                  suffix + "\" and \"model-00002-of-00002" + suffix + "\"; no index says which one counts\n");
        CHECK(ckpt::open_folder(folder.path()).error().code == errc::parts_not_joined);
        // Of several findings of one kind that kind is told.
        folder.add("model-00003-of-00004" + suffix, shard({{"a", 1}}));
        folder.add("model-00004-of-00004" + suffix, shard({{"a", 1}}));
        folder.remove("model-00001-of-00002" + suffix);
        folder.remove("model-00002-of-00002" + suffix);
        const ckpt::error both = ckpt::open_folder(folder.path()).error();
        CHECK(both.code == errc::parts_not_joined);
        CHECK(both.detail.find("2 of 4 shards are missing") != std::string::npos);
        CHECK(both.detail.find("is in several files") != std::string::npos);
    }
}

TEST_CASE("a stale index says that the files present are a whole set by themselves") {
    auto files = sound();
    files[2].second = index_of({{"a", "pytorch_model-00001-of-00003.bin"}, {"c", "pytorch_model-00003-of-00003.bin"}});
    const temporary_folder folder(files);
    const std::string told =
        std::string(index_name) +
        ": the index names 2 shards that are not here, \"pytorch_model-00001-of-00003.bin\", "
        "\"pytorch_model-00003-of-00003.bin\", while \"pytorch_model-*-of-00002.bin\" is a whole set "
        "by itself: the index is of another save\n";
    CHECK(findings(folder) == told);
    CHECK(ckpt::open_folder(folder.path() / index_name).error().code == errc::shards_inconsistent);
    // Some of the old set are still there.
    folder.add("pytorch_model-00001-of-00003.bin", shard({{"a", 9}}));
    CHECK(findings(folder).find("the index names 1 shard that is not here") != std::string::npos);
    folder.remove(first); // now no set is whole
    CHECK(findings(folder).find("is a whole set by itself") == std::string::npos);
    CHECK(findings(folder).find("\"pytorch_model-00003-of-00003.bin\" is missing") != std::string::npos);
    folder.remove("pytorch_model-00001-of-00003.bin");
    folder.add(first, shard({{"a", 1}, {"b", 2}}));
    folder.remove(index_name); // as the hint says
    CHECK(opened_content(folder) == "a=1 b=2 c=3");
    // Beside one file that is whole there are two to choose from, and one of them cannot be.
    files[0].first = "pytorch_model.bin";
    files.erase(files.begin() + 1);
    const std::string two = findings(temporary_folder(files));
    CHECK(two.find("; of the shards that \"pytorch_model.bin.index.json\" names none is here") != std::string::npos);
}

TEST_CASE("why a file was chosen claims no more than was looked at") {
    const temporary_folder folder({{"a.pt", shard({{"a", 1}})}, {"config.json", "{}"}});
    CHECK(ckpt::inspect_folder(folder.path()).value().reason == "no other file looks like weights");
    folder.add("sub/b.pt", shard({{"a", 1}}));
    CHECK(ckpt::inspect_folder(folder.path()).value().reason ==
          "no other file looks like weights; folders in the folder were not looked into");
    folder.remove("a.pt");
    CHECK(ckpt::open_folder(folder.path()).error().hint.find("or the folder in it") != std::string_view::npos);
}

} // namespace open_test
