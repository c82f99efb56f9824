// tests/folder/zero.cpp: checkpoints of DeepSpeed with ZeRO: every stage from its partitions, and what can be wrong.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include "../support/bytes_read.hpp"
#include "../support/folder_findings.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace zero_test {

using ckpt::errc;
using namespace test_support;

namespace {

using numbers = std::vector<std::int64_t>;
using shapes = std::vector<std::pair<std::string, numbers>>;
using floats = std::vector<float>;

std::string shape_dict(const shapes& of) {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [key, shape] : of)
        out.emplace_back(pkl::str(key), pkl::call(pkl::global("torch", "Size"), {pkl::ints(shape)}));
    return pkl::ordered(out);
}
std::string list_of(const std::vector<std::string>& parts) {
    std::string out = "](";
    for (const std::string& p : parts) out += p;
    return out + 'e';
}

/// What differs between the files of a case; the rest is as DeepSpeed writes it.
struct states {
    std::vector<std::pair<std::string, floats>> module{};
    std::vector<shapes> groups{};
    std::vector<std::string> buffers{};
    shapes frozen{};
    std::vector<std::pair<std::string, floats>> fragments{};
    std::vector<std::pair<std::string, std::string>> shared{};
    std::int64_t step{2}, world{2};
    std::string version{"0.19.8"};
};
std::string model_states(const states& s) {
    std::vector<std::pair<std::string, std::string>> storages;
    const auto tensor = [&](const floats& values) {
        const std::string key = std::to_string(storages.size());
        storages.emplace_back(key, raw(values));
        return pkl::floats(key, static_cast<std::int64_t>(values.size()));
    };
    std::vector<std::pair<std::string, std::string>> module, fragments, shared;
    for (const auto& [key, values] : s.module) module.emplace_back(pkl::str(key), tensor(values));
    for (const auto& [key, values] : s.fragments) fragments.emplace_back(pkl::str(key), tensor(values));
    for (const auto& [key, of] : s.shared) shared.emplace_back(pkl::str(key), pkl::str(of));
    std::vector<std::string> groups, buffers;
    for (const shapes& g : s.groups) groups.push_back(shape_dict(g));
    for (const std::string& b : s.buffers) buffers.push_back(pkl::str(b));
    return torch_file(pkl::dict({{pkl::str("module"), pkl::ordered(module)},
                                 {pkl::str("buffer_names"), list_of(buffers)},
                                 {pkl::str("optimizer"), pkl::none},
                                 {pkl::str("param_shapes"), list_of(groups)},
                                 {pkl::str("frozen_param_shapes"), shape_dict(s.frozen)},
                                 {pkl::str("frozen_param_fragments"), pkl::ordered(fragments)},
                                 {pkl::str("shared_params"), pkl::dict(shared)},
                                 {pkl::str("global_steps"), pkl::num(s.step)},
                                 {pkl::str("dp_world_size"), pkl::num(s.world)},
                                 {pkl::str("ds_version"), pkl::str(s.version)}}),
                      storages);
}

struct partition {
    std::vector<floats> groups{};
    std::int64_t count{2};
    double step{2};
    std::string version{"0.19.8"};
    std::vector<numbers> paddings{};
};
std::string optim_states(const partition& p, bool stage3) {
    std::vector<std::pair<std::string, std::string>> storages{{"step", raw<float>({static_cast<float>(p.step)})}};
    std::vector<std::string> groups, counts, paddings;
    for (const floats& values : p.groups) {
        const std::string key = std::to_string(storages.size());
        storages.emplace_back(key, raw(values));
        groups.push_back(pkl::floats(key, static_cast<std::int64_t>(values.size())));
        counts.push_back(pkl::num(p.count));
    }
    for (const numbers& n : p.paddings) {
        std::vector<std::string> own;
        for (const std::int64_t i : n) own.push_back(pkl::num(i));
        paddings.push_back(list_of(own));
    }
    const std::string steps = pkl::tensor(pkl::storage("FloatStorage", "step", 1), 0, {}, {});
    const std::string base =
        pkl::dict({{pkl::str("state"), pkl::dict({{pkl::num(0), pkl::dict({{pkl::str("step"), steps}})}})},
                   {pkl::str("param_groups"), list_of({pkl::none})}});
    std::vector<std::pair<std::string, std::string>> content{
        {pkl::str(stage3 ? "optimizer_state_dict" : "base_optimizer_state"), base},
        {pkl::str(stage3 ? "fp32_flat_groups" : "single_partition_of_fp32_groups"), list_of(groups)},
        {pkl::str("partition_count"), stage3 ? pkl::num(p.count) : list_of(counts)}};
    if (!p.paddings.empty()) content.emplace_back(pkl::str("param_alignment_paddings"), list_of(paddings));
    return torch_file(pkl::dict({{pkl::str("optimizer_state_dict"), pkl::dict(content)},
                                 {pkl::str("ds_version"), pkl::str(p.version)}}),
                      storages);
}

std::string optim_name(int rank) { return "zero_pp_rank_" + std::to_string(rank) + "_mp_rank_00_optim_states.pt"; }
std::string model_name(int rank) { return "zero_pp_rank_" + std::to_string(rank) + "_mp_rank_00_model_states.pt"; }
const char* const model_file = "mp_rank_00_model_states.pt";

using files = std::vector<std::pair<std::string, std::string>>;

/// "a [2, 2] 1 2 3 4;", one for each tensor in order.
std::string content(const ckpt::state_dict& weights) {
    std::string out;
    for (const auto& [key, tensor] : weights) {
        std::vector<float> values(tensor.numel());
        out.append(key) += ' ' + ckpt::detail::list_of(tensor.shape());
        if (const auto done = tensor.copy_to(std::span(values)); !done) out += " !" + done.error().detail;
        else
            for (const float v : values) out += ' ' + std::to_string(static_cast<int>(v));
        out += ';';
    }
    return out;
}
std::string opened(const files& of, const ckpt::folder_options& how = {}) {
    const temporary_folder folder(of);
    std::string out;
    for (const ckpt::open_options& options : {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read},
                                              ckpt::open_options{.storages = ckpt::storage_mode::owned}}) {
        const auto file = ckpt::open_folder(folder.path(), options, how);
        if (!file) return file.error().message();
        CHECK(file->container() == "zero");
        const auto weights = file->state_dict().value();
        CHECK(weights.path() == "module");
        const std::string own = content(weights);
        CHECK((out.empty() || out == own));
        out = own;
    }
    return out;
}
std::string findings(const files& of) { return findings(temporary_folder(of)); }
/// The files with one of them replaced, or removed where it is empty.
files with(files of, const std::string& name, const std::string& bytes) {
    std::erase_if(of, [&](const auto& f) { return f.first == name; });
    if (!bytes.empty()) of.emplace_back(name, bytes);
    return of;
}

// Eleven elements over two ranks, in two groups: w [2, 3], v [2] and b [3]; f is frozen, t is w.
const states of_stage2{
    .module = {{"w", floats(6)}, {"f", {7, 8}}, {"v", floats(2)}, {"b", floats(3)}, {"buf", {9}}, {"t", floats(6)}},
    .groups = {{{"w", {2, 3}}, {"v", {2}}}, {{"b", {3}}}},
    .buffers = {"buf"},
    .frozen = {{"f", {2}}},
    .fragments = {{"f", {7, 8}}},
    .shared = {{"t", "w"}}};
const partition first{.groups = {{1, 2, 3, 4}, {21, 22}}}, second{.groups = {{5, 6, 11, 12}, {23}}};
files stage2() {
    return {{model_file, model_states(of_stage2)},
            {optim_name(0), optim_states(first, false)},
            {optim_name(1), optim_states(second, false)}};
}
const char* const whole = "w [2, 3] 1 2 3 4 5 6;f [2] 7 8;v [2] 11 12;b [3] 21 22 23;buf [1] 9;t [2, 3] 1 2 3 4 5 6;";

// Stage 3: each parameter is split and padded by itself; a rank's pieces lie over two flat groups.
states of_stage3(int rank) {
    states s{.module = {{"w", {}}, {"f", {}}, {"v", {}}, {"b", {}}, {"buf", {9}}, {"t", {}}},
             .groups = of_stage2.groups,
             .buffers = {"buf"},
             .frozen = {{"f", {3}}},
             .fragments = {},
             .shared = {{"t", "w"}}};
    s.fragments = rank == 0 ? decltype(s.fragments){{"f", {31, 32}}} : decltype(s.fragments){{"f", {33, 0}}};
    return s;
}
const partition third0{.groups = {{1, 2}, {3, 11, 21, 22}}}, third1{.groups = {{4, 5}, {6, 12, 23, 0}}};
files stage3() {
    return {{model_name(0), model_states(of_stage3(0))},
            {model_name(1), model_states(of_stage3(1))},
            {optim_name(0), optim_states(third0, true)},
            {optim_name(1), optim_states(third1, true)}};
}

} // namespace

TEST_CASE("stages 1 and 2: groups over ranks, frozen, tied and buffers, in the model's order") {
    CHECK(opened(stage2()) == whole);
    // Without fragments the frozen weights are those of the module (stage 1).
    states bare = of_stage2;
    bare.fragments.clear();
    bare.frozen.clear();
    CHECK(opened(with(stage2(), model_file, model_states(bare))) == whole);
    files half = stage2();
    for (auto& f : half)
        if (f.first != model_file) f.first = "bf16_" + f.first;
    CHECK(opened(half) == whole);
    // Padding at the end, as older versions leave it, and after each parameter, as newer ones may.
    CHECK(opened(with(stage2(), optim_name(1), optim_states({.groups = {{5, 6, 11, 12}, {23, 0}}}, false))) == whole);
    const std::vector<numbers> paddings{{1, 1}, {0}};
    files padded = with(stage2(), optim_name(0),
                        optim_states({.groups = {{1, 2, 3, 4, 5}, {21, 22}}, .paddings = paddings}, false));
    CHECK(opened(with(padded, optim_name(1),
                      optim_states({.groups = {{6, 0, 11, 12, 0}, {23}}, .paddings = paddings}, false))) == whole);
    const temporary_folder folder(stage2());
    const auto file = ckpt::open_folder(folder.path()).value();
    CHECK(file.verify().ok());
    CHECK(file.files().size() == 3);
    CHECK(file.root().find("global_steps").value().as_int().value() == 2);
    CHECK(file.root()
              .find("optimizer/" + optim_name(1) + "/optimizer_state_dict/partition_count/0")
              .value()
              .as_int()
              .value() == 2);
    const auto weights = file.state_dict().value();
    CHECK(weights.at("w").value().is_gathered());
    CHECK(weights.at("v").value().file() == optim_name(1)); // in one partition: seen where it lies
    CHECK(weights.view<float, 1>("v").value()(1) == 12);
    CHECK(weights.at("w").value().storage_id() == weights.at("t").value().storage_id());
}

TEST_CASE("stage 3: each parameter over all ranks, also across flat groups; frozen fragments") {
    const std::string expected =
        "w [2, 3] 1 2 3 4 5 6;f [3] 31 32 33;v [2] 11 12;b [3] 21 22 23;buf [1] 9;t [2, 3] 1 2 3 4 5 6;";
    CHECK(opened(stage3()) == expected);
    states hollow = of_stage3(0);
    hollow.module.emplace_back("left", floats{});
    CHECK(opened(with(stage3(), model_name(0), model_states(hollow))) ==
          expected + "left [] !a weight of stage 3 that neither param_shapes nor frozen_param_shapes has;");
}

TEST_CASE("ranks are sorted as numbers") {
    files of{{model_file, model_states({.module = {{"w", floats(12)}}, .groups = {{{"w", {12}}}}, .world = 12})}};
    for (int r = 0; r < 12; ++r)
        of.emplace_back(optim_name(r), optim_states({.groups = {{static_cast<float>(r)}}, .count = 12}, false));
    CHECK(opened(of) == "w [12] 0 1 2 3 4 5 6 7 8 9 10 11;");
}

TEST_CASE("the folder of a run: latest, the only step, several steps") {
    const temporary_folder folder;
    for (const auto& [name, bytes] : stage2()) folder.add("global_step2/" + name, bytes);
    const auto text = [&] {
        const auto file = ckpt::open_folder(folder.path());
        return file ? content(file->state_dict().value()) : file.error().detail;
    };
    CHECK(text() == whole);
    for (const auto& [name, bytes] : stage2()) folder.add("global_step10/" + name, bytes);
    CHECK(text().find("holds several steps and no file latest") != std::string::npos);
    folder.add("latest", "global_step2\n");
    CHECK(text() == whole);
    CHECK(ckpt::inspect_folder(folder.path()).value().chosen == "global_step2");
    const auto by_latest = ckpt::open_folder(folder.path()).value();
    CHECK(by_latest.files()[0] == std::string("global_step2/") + model_file);
    const std::string line = "global_step2\n";
    folder.add("latest", line + std::string(256 - line.size(), 'x'));
    CHECK(text() == whole);
    folder.add("latest", line + std::string(257 - line.size(), 'x'));
    CHECK(text().find("it names no folder beside it") != std::string::npos);
    folder.add("latest", "global_step3");
    CHECK(text().find("the folder \"global_step3\" is missing") != std::string::npos);
    for (const char* const hostile : {"../x", "/etc", "", "a/b"}) {
        folder.add("latest", hostile);
        CHECK(text().find("it names no folder beside it") != std::string::npos);
    }
}

TEST_CASE("what is missing, surplus or contradictory is told") {
    CHECK(findings(with(stage2(), optim_name(1), {})) == "*_optim_states.pt: 1 of 2 files are missing: rank 1\n");
    CHECK(findings(with(stage2(), model_file, {})).find("there is no file *_model_states.pt") != std::string::npos);
    CHECK(findings(with(with(stage3(), optim_name(0), {}), optim_name(1), {}))
              .find("there is no file *_optim_states.pt") != std::string::npos);
    CHECK(findings(with(stage2(), optim_name(2), optim_states(second, false))) ==
          optim_name(2) + ": a file of rank 2 where partition_count says 2 ranks\n");
    CHECK(findings(with(stage2(), "bf16_" + optim_name(1), optim_states(second, false))).find("the rank of ") !=
          std::string::npos);
    const auto changed = [](auto change, bool three = false) {
        partition p = three ? third1 : second;
        change(p);
        return findings(with(three ? stage3() : stage2(), optim_name(1), optim_states(p, three)));
    };
    CHECK(changed([](partition& p) { p.count = 3; }) ==
          optim_name(1) + ": this rank's partition_count is 3, and of \"" + optim_name(0) + "\" 2\n");
    CHECK(changed([](partition& p) { p.step = 4; }) ==
          optim_name(1) + ": the optimizer's step of this rank is 4, and of \"" + optim_name(0) + "\" 2\n");
    CHECK(changed([](partition& p) { p.version = "0.9"; }).find("the version of DeepSpeed of this rank is \"0.9\"") !=
          std::string::npos);
    CHECK(changed([](partition& p) { p.groups.pop_back(); }).find("the number of groups of this rank is 1") !=
          std::string::npos);
    CHECK(changed([](partition& p) { p.groups[0].pop_back(); }).empty() == false); // 7 of 8 elements
    CHECK(changed([](partition& p) { p.groups[0] = {5}; }) ==
          "the partitions of group 0 hold 5 elements together, param_shapes asks for 8\n");
    CHECK(changed([](partition& p) { p.groups[0].resize(16); }).find("behind one that is shorter than 16") !=
          std::string::npos);
    CHECK(changed([](partition& p) { p.groups[1].pop_back(); }, true) ==
          optim_name(1) + ": the partition holds 5 elements, param_shapes asks for 6 of each rank\n");
    const auto changed_model = [](auto change) {
        states s = of_stage2;
        change(s);
        return findings(with(stage2(), model_file, model_states(s)));
    };
    CHECK(changed_model([](states& s) { s.groups.pop_back(); }).find("param_shapes has 1 groups, the partitions 2") !=
          std::string::npos);
    CHECK(changed_model([](states& s) { s.groups[0][0].second = {200, 3}; }) ==
          "the partitions of group 0 hold 8 elements together, param_shapes asks for 602\n");
    CHECK(changed_model([](states& s) {
              s.groups[0][0].second = {-1, 3};
          }).find("the shape of \"w\" is no list of sizes") != std::string::npos);
    CHECK(changed_model([](states& s) {
              s.groups[0][0].second = {1LL << 62, 1LL << 62};
          }).find("the shape of \"w\" is no list of sizes") != std::string::npos);
    CHECK(changed_model([](states& s) { s.groups[1][0].first = "w"; }).find("param_shapes has \"w\" twice") !=
          std::string::npos);
    CHECK(changed_model([](states& s) { s.world = 8; }).find("dp_world_size is 8, the optimizer's partition_count 2") !=
          std::string::npos);
    states other = of_stage3(1);
    other.step = 3;
    CHECK(findings(with(stage3(), model_name(1), model_states(other))).find("this rank's global_steps is 3") !=
          std::string::npos);
    CHECK(findings(with(stage3(), model_name(1), {})) == "*_model_states.pt: 1 of 2 files are missing: rank 1\n");
    other = of_stage3(1);
    other.fragments.clear();
    CHECK(findings(with(stage3(), model_name(1), model_states(other))).find("has no piece of 2 elements of \"f\"") !=
          std::string::npos);
    CHECK(findings(with(stage2(), optim_name(1), optim_states(third1, true))).find("this rank's stage is 3") !=
          std::string::npos);
    CHECK(findings(with(stage2(), optim_name(1), "x")).find(optim_name(1)) != std::string::npos);
    CHECK(findings(with(stage2(), "mp_rank_01_model_states.pt", model_states(of_stage2)))
              .find("cut over 2 ranks of tensor parallelism") != std::string::npos);
    CHECK(findings(with(stage2(), "layer_3_expert_0_mp_rank_00_model_states.pt", "x")).find("experts of a mixture") !=
          std::string::npos);
}

TEST_CASE("padding behind a group fills it up to twice the ranks, and no further") {
    const auto told = [](const floats& one, const floats& two, const std::vector<numbers>& paddings = {}) {
        partition p = first, q = second;
        p.groups[1] = one, q.groups[1] = two;
        p.paddings = q.paddings = paddings;
        return findings(
            with(with(stage2(), optim_name(0), optim_states(p, false)), optim_name(1), optim_states(q, false)));
    };
    const auto hold = [](int n, int wanted) {
        return "the partitions of group 1 hold " + std::to_string(n) + " elements together, param_shapes asks for " +
               std::to_string(wanted) + '\n';
    };
    CHECK(told({21}, {22}) == hold(2, 3));
    CHECK(told({21, 22}, {23}).empty());
    CHECK(told({21, 22}, {23, 0}).empty());
    CHECK(told({21, 22, 23}, {0, 0}) == hold(5, 3));
    // What param_alignment_paddings says is needed like elements.
    const std::vector<numbers> one{{0, 0}, {1}}, two{{0, 0}, {2}};
    CHECK(told({21, 22}, {23, 0}, one).empty());
    CHECK(told({21, 22}, {23, 0}, two) == hold(4, 5));
}

TEST_CASE("partition_count may claim any number of ranks") {
    for (const std::int64_t n :
         {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 62, std::int64_t{4'000'000'000}}) {
        files of{{model_file, model_states({.module = {{"w", floats(2)}}, .groups = {{{"w", {2}}}}, .world = n})},
                 {optim_name(0), optim_states({.groups = {{1, 2}}, .count = n}, false)}};
        const temporary_folder folder(of);
        CHECK(ckpt::open_folder(folder.path()).error().code == errc::shards_inconsistent);
        (void)ckpt::open_folder(folder.path(), {}, {.partial = true}); // no crash, no hang
    }
    const auto told = [](std::int64_t n) {
        return findings(
            {{model_file, model_states({.module = {{"w", floats(2)}}, .groups = {{{"w", {2}}}}, .world = n})},
             {optim_name(0), optim_states({.groups = {{1, 2}}, .count = n}, false)}});
    };
    constexpr std::int64_t most = 0xFFFF'FFFF;
    CHECK(told(most).find("4294967294 of 4294967295 files are missing: ranks 1, 2, 3, +4294967291 more") !=
          std::string::npos);
    CHECK(told(most + 1).find("partition_count is 4294967296") != std::string::npos);
}

TEST_CASE("V1: a parameter has at most limits.tensor_rank dimensions") {
    const auto told = [](std::size_t rank) {
        return findings(
            {{model_file,
              model_states({.module = {{"w", floats(1)}}, .groups = {{{"w", numbers(rank, 1)}}}, .world = 1})},
             {optim_name(0), optim_states({.groups = {{1, 0}}, .count = 1}, false)}});
    };
    CHECK(told(64) == "");
    CHECK(told(65).find(": the tensor has 65 dimensions, the limit is 64\n") != std::string::npos);
}

TEST_CASE("a missing rank costs only its tensors where that was asked for") {
    const ckpt::folder_options partial{.partial = true};
    const std::string gone = " in the partition of rank 1, which is missing;";
    CHECK(opened(with(stage2(), optim_name(1), {}), partial) ==
          "w [] !elements 4 to 5 of this tensor are" + gone + "f [2] 7 8;v [] !elements 0 to 1 of this tensor are" +
              gone + "b [] !element 2 of this tensor is" + gone + "buf [1] 9;t [] !elements 4 to 5 of this tensor are" +
              gone);
    const temporary_folder folder(with(stage2(), optim_name(1), {}));
    const auto report = ckpt::inspect_folder(folder.path(), {}, partial).value();
    CHECK(report.findings.empty());
    REQUIRE(report.absent.size() == 4);
    CHECK(report.absent[0].path == "w");
    CHECK(report.absent[3].path == "t");
    CHECK(report.absent[3].detail == "this tensor is tied to \"w\", of which a part is missing");
    const auto file = ckpt::open_folder(folder.path(), {}, partial).value();
    const auto weights = file.state_dict().value();
    CHECK(weights.refused() == 4);
    CHECK(weights.at("w").error().code == errc::shards_inconsistent);

    // Under stage 3 only the first rank says that t is w.
    states other = of_stage3(1);
    other.shared.clear();
    const temporary_folder third(with(with(stage3(), model_name(1), model_states(other)), model_name(0), {}));
    const auto seen = ckpt::inspect_folder(third.path(), {}, partial).value();
    CHECK(seen.findings.empty());
    REQUIRE(seen.absent.size() == 2);
    CHECK(seen.absent[0].path == "f");
    CHECK(seen.absent[1].path == "t");
    CHECK(seen.absent[1].detail.find("model states of other ranks, which may, are missing") != std::string::npos);
}

TEST_CASE("Megatron-LM: one rank is the model, several are named") {
    const temporary_folder folder;
    folder.add("latest_checkpointed_iteration.txt", "100");
    const std::string model = torch_file(
        pkl::dict({{pkl::str("model"), pkl::dict({{pkl::str("w"), pkl::floats("0", 1)}})}}), {{"0", raw<float>({5})}});
    folder.add("iter_0000100/mp_rank_00/model_optim_rng.pt", model);
    const auto file = ckpt::open_folder(folder.path()).value();
    CHECK(content(file.state_dict().value()) == "w [1] 5;");
    CHECK(file.files() == std::vector<std::string>{"iter_0000100/mp_rank_00/model_optim_rng.pt"});
    folder.add("iter_0000100/mp_rank_01/model_optim_rng.pt", model);
    const auto several = ckpt::open_folder(folder.path()).error();
    CHECK(several.code == errc::parts_not_joined);
    CHECK(several.detail.find("cut over 2 ranks: \"iter_0000100/mp_rank_00\", \"iter_0000100/mp_rank_01\"") !=
          std::string::npos);
    CHECK(ckpt::open_folder(folder.path() / "iter_0000100").error().code == errc::parts_not_joined);
    // Without the file that names the iteration: the only one is it, several are listed.
    folder.remove("latest_checkpointed_iteration.txt");
    folder.remove("iter_0000100/mp_rank_01");
    const auto alone = ckpt::open_folder(folder.path()).value();
    CHECK(alone.files() == std::vector<std::string>{"iter_0000100/mp_rank_00/model_optim_rng.pt"});
    folder.add("iter_none/mp_rank_00/model_optim_rng.pt", model);
    folder.add("iter_0000300/logs/a.txt", "a");
    CHECK(ckpt::open_folder(folder.path()).has_value());
    folder.add("iter_0000200/mp_rank_00/model_optim_rng.pt", model);
    const auto two = ckpt::open_folder(folder.path()).error();
    CHECK(two.code == errc::state_dict_ambiguous);
    CHECK(two.detail.find("\"iter_0000100\", \"iter_0000200\"") != std::string::npos);
    folder.add("model.pt", model); // a file is the model, whatever lies beside it
    const auto one = ckpt::open_folder(folder.path()).value();
    CHECK(one.files() == std::vector<std::string>{"model.pt"});
    // Seven digits or more, as "iter_{:07d}" writes them.
    for (const std::string& step : {std::string("1234567"), std::string("12345678")}) {
        const temporary_folder later;
        later.add("latest_checkpointed_iteration.txt", step);
        later.add("iter_" + step + "/mp_rank_00/model_optim_rng.pt", model);
        CHECK(ckpt::open_folder(later.path()).has_value());
    }
}

#if defined(__linux__)
TEST_CASE("a slice reads the bytes that it needs") {
    constexpr std::int64_t height = 128, width = 4096; // 2 MiB, and as much again before it, over two ranks
    constexpr std::size_t half = static_cast<std::size_t>(height * width);
    const states model{.module = {{"before", {}}, {"w", {}}},
                       .groups = {{{"before", {height, width}}, {"w", {height, width}}}}};
    floats low(half), high(half);
    for (std::size_t i = 0; i < half; ++i) high[i] = static_cast<float>(i);
    for (const bool three : {false, true}) {
        files all;
        for (int r = 0; r < 2; ++r)
            all.emplace_back(three    ? model_name(r)
                             : r == 0 ? model_file
                                      : "",
                             three || r == 0 ? model_states(model) : "");
        std::erase_if(all, [](const auto& f) { return f.first.empty(); });
        for (int r = 0; r < 2; ++r) {
            floats own = r == 0 ? low : high;
            if (three) { // the half of each
                own.assign(half, 0);
                std::copy_n(high.begin() + (r == 0 ? 0 : static_cast<std::ptrdiff_t>(half / 2)), half / 2,
                            own.begin() + static_cast<std::ptrdiff_t>(half / 2));
            }
            all.emplace_back(optim_name(r), optim_states({.groups = {own}}, three));
        }
        const temporary_folder folder(all);
        const auto weights = ckpt::open_folder(folder.path(), {.io = ckpt::io_mode::read}).value().state_dict().value();
        const auto [by_rows, middle] = cost_of_slice(weights, "narrow 0 48 32 w"); // of both ranks under stage 3
        CHECK(middle.front() == 48 * width);
        CHECK(middle.back() == 80 * width - 1);
        CHECK(by_rows >= middle.size() * 4);
        CHECK(by_rows < middle.size() * 4 + 4096);
        const auto [by_columns, left] =
            cost_of_slice(weights, "narrow 1 0 512 w"); // gaps are longer than what is worth reading over
        CHECK(left[512] == width);
        CHECK(by_columns >= left.size() * 4);
        CHECK(by_columns < left.size() * 4 + height * 512 + 4096); // each read looks at the local header of its record
    }
}
#endif

} // namespace zero_test
