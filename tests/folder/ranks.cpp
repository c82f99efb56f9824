// tests/folder/ranks.cpp: files that each process saved of its own part: placements of every kind, and what can be
// wrong.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>

#include "../support/folder_findings.hpp"
#include "../support/rank_writer.hpp"
#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ranks_test {

using ckpt::errc;
using namespace test_support;

namespace {

using numbers = std::vector<std::int64_t>;
using floats = std::vector<float>;
using files = std::vector<std::pair<std::string, std::string>>;
using writer = rank_writer;

std::string name_of(std::int64_t rank) { return "model_rank" + std::to_string(rank) + ".pt"; }

/// The files of `world` processes; `value` writes what one of them saves.
template <class F> files saved(std::int64_t world, F value) {
    files out;
    for (std::int64_t r = 0; r < world; ++r) {
        writer of{r};
        const std::string content = value(of, r);
        out.emplace_back(name_of(r), of.file(content));
    }
    return out;
}
/// `n` floats from `first`.
floats count(float first, std::size_t n) {
    floats out(n);
    for (std::size_t i = 0; i < n; ++i) out[i] = first + static_cast<float>(i);
    return out;
}
/// A vector of `total` elements that count up, cut into rows over `world` processes, as torch.chunk cuts it.
std::string rows(writer& of, std::int64_t total, std::int64_t world, bool says_rank = true) {
    const std::int64_t size = (total + world - 1) / world;
    const std::int64_t begin = (std::min)(of.rank * size, total);
    const std::int64_t end = (std::min)(begin + size, total);
    return of.dtensor({total}, {writer::shard(0)}, {world}, {of.rank},
                      of.plain({end - begin}, count(static_cast<float>(begin), static_cast<std::size_t>(end - begin))),
                      says_rank);
}
floats values(const ckpt::state_dict& weights, std::string_view key) {
    const auto t = weights.at(key);
    REQUIRE_MESSAGE(t.has_value(), t.error().message());
    floats out(t->numel());
    REQUIRE(t->copy_to(std::span(out)).has_value());
    return out;
}
ckpt::checkpoint opened(const temporary_folder& folder, const ckpt::open_options& options = {},
                        const ckpt::folder_options& how = {}) {
    auto file = ckpt::open_folder(folder.path(), options, how);
    REQUIRE_MESSAGE(file.has_value(), file.error().message());
    return std::move(*file);
}
std::string findings(const files& of) { return findings(temporary_folder(of)); }
files with(files of, const std::string& name, const std::string& bytes) {
    std::erase_if(of, [&](const auto& f) { return f.first == name; });
    if (!bytes.empty()) of.emplace_back(name, bytes);
    return of;
}
std::string one(const std::string& value) { return pkl::dict({{pkl::str("w"), value}}); }

} // namespace

TEST_CASE("rows of eleven processes in numeric order; what is whole is the first one's; the rest keeps its place") {
    const temporary_folder folder(saved(11, [](writer& of, std::int64_t r) {
        const std::string w =
            rows(of, 25, 11) + "q\x01"; // three for each of eight, one for the ninth, none for the others
        const std::string model = pkl::ordered({{pkl::str("w"), w},
                                                {pkl::str("tied"), "h\x01"},
                                                {pkl::str("b"), of.plain({2}, {static_cast<float>(r), 1})}});
        return pkl::dict({{pkl::str("model"), model},
                          {pkl::str("state"), pkl::list({pkl::dict({{pkl::num(0), rows(of, 4, 11)}})})},
                          {pkl::str("step"), pkl::num(100 + r)}});
    }));
    for (const ckpt::open_options& options : {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read},
                                              ckpt::open_options{.storages = ckpt::storage_mode::owned}}) {
        const auto file = opened(folder, options);
        CHECK(file.container() == "ranks");
        REQUIRE(file.files().size() == 11);
        CHECK(file.files()[2] == name_of(2));
        CHECK(file.files()[10] == name_of(10));
        const auto weights = file.state_dict().value();
        CHECK(weights.path() == "model");
        CHECK(weights.size() == 3);
        CHECK(values(weights, "w") == count(0, 25));
        CHECK(values(weights, "tied") == count(0, 25));
        CHECK(values(weights, "b") == floats{0, 1});
        CHECK(file.root().find("step").value().as_int().value() == 100);
        const ckpt::value state = file.root().find("state/0/0").value();
        float four[4];
        REQUIRE(state.as_tensor().value().copy_to(std::span(four)).has_value());
        CHECK(four[3] == 3);
        CHECK(file.verify().ok());
    }
    const auto file = opened(folder);
    CHECK(file.root().find("model/w").value().object_id() == file.root().find("model/tied").value().object_id());
}

TEST_CASE("meshes of two dimensions: grids, copies, strided shards, columns, whole tensors, none at all") {
    // [4, 2] counts up.
    const temporary_folder folder(saved(4, [](writer& of, std::int64_t r) {
        const numbers at{r / 2, r % 2}, mesh{2, 2}, shape{4, 2};
        const auto row = [](std::int64_t i) {
            return floats{static_cast<float>(2 * i), static_cast<float>(2 * i + 1)};
        };
        const float corner = static_cast<float>(at[0] * 4 + at[1]);
        const std::int64_t strided = at[1] * 2 + at[0]; // the second dimension cut it first
        return pkl::dict({
            {pkl::str("grid"),
             of.dtensor(shape, {writer::shard(0), writer::shard(1)}, mesh, at, of.plain({2, 1}, {corner, corner + 2}))},
            {pkl::str("copies"), of.dtensor(shape, {writer::replicate(), writer::shard(0)}, mesh, at,
                                            of.plain({2, 2}, count(static_cast<float>(4 * at[1]), 4)))},
            {pkl::str("columns"),
             of.dtensor(shape, {writer::shard(1), writer::replicate()}, mesh, at,
                        of.plain({4, 1}, {static_cast<float>(at[0]), static_cast<float>(2 + at[0]),
                                          static_cast<float>(4 + at[0]), static_cast<float>(6 + at[0])}))},
            {pkl::str("twice"), of.dtensor(shape, {writer::shard(0), writer::shard(0)}, mesh, at,
                                           of.plain({1, 2}, row(2 * at[0] + at[1])))},
            {pkl::str("strided"),
             of.dtensor(shape, {writer::strided(0, 2), writer::shard(0)}, mesh, at, of.plain({1, 2}, row(strided)))},
            {pkl::str("blocks"),
             of.dtensor(shape, {writer::strided(0, 2), writer::replicate()}, mesh, at,
                        of.plain({2, 2}, {row(at[0])[0], row(at[0])[1], row(2 + at[0])[0], row(2 + at[0])[1]}))},
            {pkl::str("whole"), of.dtensor(shape, {writer::replicate(), writer::replicate()}, mesh, at,
                                           of.plain(shape, count(static_cast<float>(0), 8)))},
            {pkl::str("empty"),
             of.dtensor({0, 2}, {writer::shard(0), writer::shard(1)}, mesh, at, of.plain({0, 1}, {}))},
            {pkl::str("scalar"),
             of.dtensor({}, {writer::replicate(), writer::replicate()}, mesh, at, of.plain({}, {5}))},
        });
    }));
    const auto weights = opened(folder).state_dict().value();
    for (const char* const key : {"grid", "copies", "columns", "twice", "strided", "blocks", "whole"}) {
        CAPTURE(key);
        CHECK(values(weights, key) == count(0, 8));
    }
    CHECK(weights.at("empty").value().numel() == 0);
    CHECK(values(weights, "scalar") == floats{5});
    CHECK(weights.at("whole").value().bytes().has_value()); // the first one's, where it lies
}

TEST_CASE("ShardedTensors: several shards of one process, and none") {
    const temporary_folder folder(saved(3, [](writer& of, std::int64_t r) {
        std::vector<writer::local_shard> mine;
        if (r == 0) mine = {{{1, 0}, {1, 3}, of.plain({1, 3}, {3, 4, 5})}, {{0, 0}, {1, 2}, of.plain({1, 2}, {0, 1})}};
        if (r == 2) mine = {{{0, 2}, {1, 1}, of.plain({1, 1}, {2})}};
        return one(of.sharded({2, 3}, mine, 3));
    }));
    CHECK(values(opened(folder).state_dict().value(), "w") == count(0, 6));
}

TEST_CASE("flat parameters are joined as they are, and the report says what they are") {
    const temporary_folder folder(saved(2, [](writer& of, std::int64_t r) {
        return pkl::ordered(
            {{pkl::str("layer._flat_param"),
              of.sharded({5},
                         {{{r * 3},
                           {3 - r},
                           of.plain({3 - r}, count(static_cast<float>(r * 3), static_cast<std::size_t>(3 - r)))}},
                         2)}});
    }));
    CHECK(values(opened(folder).state_dict().value(), "layer._flat_param") == count(0, 5));
    const auto report = ckpt::inspect_folder(folder.path()).value();
    CHECK(report.reason == "one file for each rank; flat parameters of FSDP, without the names and shapes in them");
    REQUIRE(report.absent.size() == 1);
    CHECK(report.absent[0].code == errc::unsupported_tensor);
    CHECK(report.absent[0].path == "layer._flat_param");
    CHECK(report.absent[0].detail.find("5 elements of several parameters") != std::string::npos);
}

TEST_CASE("missing ranks are listed; with partial they cost only what needs them") {
    const files all = saved(4, [](writer& of, std::int64_t r) {
        return pkl::dict({{pkl::str("w"), rows(of, 8, 4)},
                          {pkl::str("few"), rows(of, 2, 4)},
                          {pkl::str("copy"), of.dtensor({2}, {writer::replicate()}, {4}, {r}, of.plain({2}, {7, 8}))},
                          {pkl::str("b"), of.plain({1}, {9})}});
    });
    CHECK(findings(all).empty());
    CHECK(findings(with(all, name_of(2), {})) == "model_rank*.pt: 1 of 4 files are missing: rank 2\n");
    CHECK(findings(with(with(all, name_of(0), {}), name_of(3), {})) ==
          "model_rank*.pt: 2 of 4 files are missing: ranks 0, 3\n");
    CHECK(findings({all[1]}) == "model_rank*.pt: 3 of 4 files are missing: ranks 0, 2, 3\n");
    const temporary_folder folder(with(all, name_of(2), {}));
    const ckpt::folder_options partial{.partial = true};
    const auto report = ckpt::inspect_folder(folder.path(), {}, partial).value();
    CHECK(report.findings.empty());
    REQUIRE(report.absent.size() == 1);
    CHECK(report.absent[0].path == "w");
    CHECK(report.absent[0].detail == "no rank has the element at [4] of \"w\"; missing: rank 2");
    const auto weights = opened(folder, {}, partial).state_dict().value();
    CHECK(weights.at("w").error().code == errc::shards_inconsistent);
    CHECK(values(weights, "few") == count(0, 2));
    CHECK(values(weights, "copy") == floats{7, 8});
    CHECK(values(weights, "b") == floats{9});
}

TEST_CASE("any number of ranks that a file claims is told in a line") {
    writer of{0};
    const std::string claims = of.dtensor({4}, {writer::shard(0)}, {4'000'000'000}, {0}, of.plain({1}, {0}));
    CHECK(findings({{name_of(0), of.file(one(claims))}}) ==
          "model_rank*.pt: 3999999999 of 4000000000 files are missing: ranks 1, 2, 3, +3999999996 more\n");
}

TEST_CASE("files of two runs, files twice, keys that only some have") {
    const auto run = [](std::int64_t world, std::int64_t total) {
        return saved(world, [&](writer& of, std::int64_t) { return one(rows(of, total, world)); });
    };
    const files two = run(2, 4);
    CHECK(findings(with(two, name_of(1), run(2, 6)[1].second)) ==
          name_of(1) + ": \"w\" is float32 [6] over 2 ranks, cut along 0 over 2, and in \"model_rank0.pt\" float32 [4] "
                       "over 2 ranks, cut along 0 over 2\n");
    CHECK(findings(with(two, name_of(1), run(4, 4)[1].second)) ==
          name_of(1) + ": its tensors are cut over 4 ranks, those of \"model_rank0.pt\" over 2\n");
    CHECK(findings(with(two, name_of(1), two[0].second)) ==
          name_of(1) + ": what rank 0 saved, as \"model_rank0.pt\" is\n");
    CHECK(findings(with(two, name_of(2), run(2, 4)[1].second)) ==
          name_of(2) + ": what rank 1 saved, as \"model_rank1.pt\" is\n");
    CHECK(findings(with(two, "model_rank01.pt", two[1].second)).find("what rank 1 saved") != std::string::npos);
    const auto keys = [](const char* of_first, const char* of_second, const numbers& shape) {
        return findings(saved(2, [&](writer& of, std::int64_t r) {
            const numbers mine = r == 0 ? numbers{2} : shape;
            return pkl::dict({{pkl::str("w"), rows(of, 4, 2)},
                              {pkl::str(r == 0 ? of_first : of_second), of.plain(mine, floats(2, 1))}});
        }));
    };
    CHECK(keys("a", "a", {2}).empty());
    CHECK(keys("a", "b", {2}) == name_of(1) + ": it lacks 1 tensor that \"model_rank0.pt\" has: \"a\"\n" + name_of(1) +
                                     ": it has 1 tensor that \"model_rank0.pt\" has not: \"b\"\n");
    CHECK(keys("a", "a", {1, 2}) == name_of(1) + ": \"a\" is float32 [1, 2], and in \"model_rank0.pt\" float32 [2]\n");
    CHECK(findings(with(two, name_of(1), "x")).find(name_of(1)) == 0);
}

TEST_CASE("gaps, overlaps and pieces of another shape than their placement says") {
    // Early meshes tell no rank, so that a copy is told by the gap that it leaves.
    const auto old = [](const numbers& at, std::int64_t size) {
        return findings(saved(2, [&](writer& of, std::int64_t r) {
            return one(of.dtensor({4}, {writer::shard(0)}, {2}, {at[static_cast<std::size_t>(r)]},
                                  of.plain({r == 0 ? 2 : size}, floats(static_cast<std::size_t>(r == 0 ? 2 : size))),
                                  false));
        }));
    };
    CHECK(old({0, 1}, 2).empty());
    CHECK(old({0, 0}, 2) == "no rank has the element at [2] of \"w\"\n");
    CHECK(old({0, 1}, 3) == name_of(1) + ": its piece of \"w\" is float32 [3], its placement says float32 [2]\n");
    const auto shards = [](const numbers& begin, const numbers& size) {
        return findings(saved(2, [&](writer& of, std::int64_t r) {
            const auto i = static_cast<std::size_t>(r);
            return one(of.sharded(
                {4}, {{{begin[i]}, {size[i]}, of.plain({size[i]}, floats(static_cast<std::size_t>(size[i])))}}, 2));
        }));
    };
    CHECK(shards({0, 2}, {2, 2}).empty());
    CHECK(shards({0, 2}, {3, 2}) == "2 pieces overlap at the element at [2] of \"w\"\n");
    CHECK(shards({0, 3}, {2, 1}) == "no rank has the element at [2] of \"w\"\n");
    // The same box twice in one file is no copy.
    CHECK(findings(saved(1, [](writer& of, std::int64_t) {
              return one(of.sharded({2}, {{{0}, {2}, of.plain({2}, {1, 2})}, {{0}, {2}, of.plain({2}, {1, 2})}}, 1));
          })) == "2 pieces overlap at the element at [0] of \"w\"\n");
}

TEST_CASE("what cannot be joined costs only its own key") {
    const temporary_folder folder(saved(2, [](writer& of, std::int64_t r) {
        const numbers at{r};
        const std::string order = pkl::tuple({pkl::global("torch.distributed.tensor._dtensor_spec", "ShardOrderEntry") +
                                              pkl::tuple({pkl::num(0), pkl::ints({1, 0})}) + "\x81"});
        const std::string nested = of.dtensor({2}, {writer::shard(0)}, {2}, at, of.plain({1}, {1}));
        return pkl::dict({
            {pkl::str("w"), rows(of, 4, 2)},
            {pkl::str("sum"), of.dtensor({2}, {writer::partial()}, {2}, at, of.plain({2}, {1, 2}))},
            {pkl::str("order"),
             of.dtensor({4}, {writer::shard(0), writer::shard(0)}, {2, 1}, {r, 0}, of.plain({2}, {1, 2}), true, order)},
            {pkl::str("nested"), of.dtensor({2}, {writer::shard(0)}, {2}, at, nested)},
            {pkl::str("stateless"),
             pkl::call(pkl::global("torch._utils", "_rebuild_wrapper_subclass"),
                       {pkl::global("torch.distributed.tensor", "DTensor"), pkl::global("torch", "float32"),
                        pkl::ints({2}), pkl::ints({1}), pkl::num(0), pkl::none, pkl::none, pkl::no})},
            {pkl::str("refused"), of.dtensor({4}, {writer::shard(0)}, {2}, at,
                                             pkl::tensor(pkl::storage("FloatStorage", "0", 2), 1, {2}, {1}))},
        });
    }));
    const auto weights = opened(folder).state_dict().value();
    CHECK(values(weights, "w") == count(0, 4));
    for (const char* const key : {"sum", "order", "nested", "stateless"}) {
        CAPTURE(key);
        CHECK(weights.at(key).error().code == errc::unsupported_tensor);
        CHECK(weights.at(key).error().file == name_of(0));
    }
    CHECK(weights.at("sum").error().detail.find("Partial(sum) on cpu mesh [2]") != std::string::npos);
    CHECK(weights.at("refused").error().code == errc::storage_size_mismatch);
}

TEST_CASE("files of ranks in which nothing is distributed") {
    const files whole = saved(2, [](writer& of, std::int64_t) { return one(of.plain({2}, {1, 2})); });
    const auto error = ckpt::open_folder(temporary_folder(whole).path()).error();
    CHECK(error.code == errc::parts_not_joined);
    CHECK(error.detail ==
          "the files of 2 ranks hold whole tensors alone, and nothing that says whether they are copies or slices");
    const auto file = opened(temporary_folder(files{whole[0]}));
    CHECK(file.container() == "zip");
    CHECK(values(file.state_dict().value(), "w") == floats{1, 2});
}

TEST_CASE("limits.entries bounds the tensors in the file of each rank") {
    const temporary_folder folder(saved(2, [](writer& of, std::int64_t) {
        return pkl::dict(
            {{pkl::str("v"), of.plain({1}, {1})}, {pkl::str("w"), rows(of, 4, 2)}, {pkl::str("x"), rows(of, 4, 2)}});
    }));
    CHECK(opened(folder, {.limits = {.entries = 3}}).state_dict().value().size() == 3);
    const auto report = ckpt::inspect_folder(folder.path(), {.limits = {.entries = 2}}).value();
    REQUIRE(report.findings.size() == 2);
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(report.findings[i].code == errc::limit);
        CHECK(report.findings[i].file == name_of(static_cast<std::int64_t>(i)));
    }
}

TEST_CASE("the model among the families of a folder") {
    const files model = saved(2, [](writer& of, std::int64_t) { return one(rows(of, 4, 2)); });
    files all;
    for (const auto& [name, bytes] : model) {
        all.emplace_back("model_world_size_2_rank_" + name.substr(10), bytes);
        all.emplace_back("optim_world_size_2_rank_" + name.substr(10), bytes);
        all.emplace_back("extra_state_world_size_2_rank_" + name.substr(10), bytes);
    }
    const auto file = opened(temporary_folder(all));
    CHECK(file.files() == std::vector<std::string>{"model_world_size_2_rank_0.pt", "model_world_size_2_rank_1.pt"});
    all.emplace_back("rank0.pt", model[0].second);
    CHECK(ckpt::open_folder(temporary_folder(all).path()).error().code == errc::state_dict_ambiguous);
    all.emplace_back("model.safetensors", "");
    const auto report = ckpt::inspect_folder(temporary_folder(all).path()).value();
    CHECK(report.chosen == "model.safetensors"); // the name says so
}

TEST_CASE("pieces that are expanded to any size cost only their key, and no time") {
    const auto weights =
        opened(temporary_folder(saved(2,
                                      [](writer& of, std::int64_t) {
                                          const std::string b = of.plain({1}, {1}); // storage "0"
                                          const std::string local = pkl::tensor(pkl::storage("FloatStorage", "0", 1), 0,
                                                                                {std::int64_t{1} << 40}, {0});
                                          return pkl::dict(
                                              {{pkl::str("b"), b},
                                               {pkl::str("w"), of.dtensor({std::int64_t{1} << 41}, {writer::shard(0)},
                                                                          {2}, {of.rank}, local)}});
                                      })))
            .state_dict()
            .value();
    CHECK(weights.at("w").error().code == errc::output_limit);
    CHECK(weights.at("b").has_value());
}

TEST_CASE("R1: corners of pieces are checked up to 16 numbers for each byte of metadata, and a million") {
    // Half of what the processes before leave, along one dimension after another.
    constexpr std::size_t dimensions = 13;
    constexpr std::int64_t world = dimensions + 1;
    const numbers shape(dimensions, 2);
    std::uint64_t metadata = 0;
    const auto told = [&](std::size_t padding) {
        metadata = 0;
        return findings(saved(world, [&](writer& of, std::int64_t r) {
            numbers offsets(dimensions, 0), sizes = shape;
            std::size_t elements = 1;
            for (std::size_t d = 0; d < dimensions; ++d) {
                if (static_cast<std::int64_t>(d) <= r) sizes[d] = 1;
                if (static_cast<std::int64_t>(d) < r) offsets[d] = 1;
                elements *= static_cast<std::size_t>(sizes[d]);
            }
            const std::string piece = of.plain(sizes, count(0, elements));
            const std::string value = pkl::dict({{pkl::str("w"), of.sharded(shape, {{offsets, sizes, piece}}, world)},
                                                 {pkl::str("text"), pkl::str(std::string(r == 0 ? padding : 0, 'x'))}});
            metadata += pkl::pickle(value).size();
            return value;
        }));
    };
    (void)told(0);
    const std::uint64_t needed = (world + 1) * (std::uint64_t{1} << dimensions) * (dimensions + 1);
    REQUIRE((needed - 1'000'000) % 16 == 0);
    const std::uint64_t least = (needed - 1'000'000) / 16;
    REQUIRE(metadata < least);
    const auto padding = static_cast<std::size_t>(least - metadata);
    CHECK(told(padding) == "");
    CHECK(told(padding - 1) == "the pieces of \"w\" are cut along 13 dimensions, too many to check\n");
}

} // namespace ranks_test
