// tests/gpu/upload_plan.cpp: what an upload reads and where it goes.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/plan_grouping.hpp>
#include <ckpt/gpu/plan_inputs.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/state/shard.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/convert.hpp>

#include "../support/safetensors_writer.hpp"
#include "../support/temporary_file.hpp"
#include "../support/upload_files.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using ckpt::errc;
using ckpt::plan_upload;
using ckpt::upload_layout;
using ckpt::upload_plan;
using ckpt::upload_way;
using namespace test_support;

namespace {

/// A file that stays as long as its state_dict is used.
struct opened {
    temporary_file path;
    ckpt::state_dict weights;
    explicit opened(const std::string& bytes)
        : path{bytes}, weights{ckpt::open(path.path()).value().state_dict().value()} {}
};

std::map<std::string, upload_plan::tensor> by_key(const upload_plan& plan, std::uint32_t target = 0) {
    std::map<std::string, upload_plan::tensor> out;
    for (std::size_t i = 0; i < plan.size(); ++i)
        if (plan[i].target == target) out.emplace(std::string(plan[i].key), plan[i]);
    return out;
}

bool widens(ckpt::dtype from, ckpt::dtype to) { return from == ckpt::dtype::bfloat16 && to == ckpt::dtype::float32; }
const ckpt::device_kernels widening{.can_cast = widens};

/// How many tensors of a target do not begin at a multiple of the alignment, of those that begin in no other one.
std::size_t unaligned(const upload_plan& plan, std::uint64_t alignment, std::uint32_t target = 0) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (const auto& t : ckpt::detail::upload_plan_access::data(plan)->tensors)
        if (t.target == target && t.nbytes != 0) ranges.emplace_back(t.offset, t.offset + t.nbytes);
    std::sort(ranges.begin(), ranges.end());
    std::uint64_t end = 0;
    std::size_t n = 0;
    for (const auto& [first, last] : ranges) {
        n += first >= end && first % alignment != 0 ? 1 : 0;
        end = (std::max)(end, last);
    }
    return n;
}

/// Carries a plan out in the plainest way, without slots, threads or a device. Bytes that are written twice are
/// counted.
struct carried_out {
    std::vector<std::vector<std::byte>> memory{};
    std::vector<std::vector<int>> written{};

    explicit carried_out(const upload_plan& plan) {
        const auto& d = *ckpt::detail::upload_plan_access::data(plan);
        for (const auto& t : d.targets) {
            memory.emplace_back(static_cast<std::size_t>(t.bytes), std::byte{0xA5});
            written.emplace_back(static_cast<std::size_t>(t.bytes), 0);
        }
        std::uint64_t read = 0;
        for (const auto& piece : d.pieces) {
            // What is moved apart from where it is read must not need what was not moved.
            std::vector<std::byte> apart(static_cast<std::size_t>(d.slot_bytes), std::byte{0x5A});
            std::vector<std::byte> slot(static_cast<std::size_t>(d.slot_bytes - d.lead(piece)));
            CHECK(piece.bytes <= d.piece_bytes);
            CHECK(d.lead(piece) + piece.bytes <= d.slot_bytes);
            CHECK(d.slot_bytes <= d.piece_bytes);
            if (piece.run != ckpt::detail::no_run) {
                const auto& run = d.runs[piece.run];
                CHECK(piece.begin >= run.begin);
                CHECK(piece.begin + piece.bytes <= run.end);
                const auto bytes = static_cast<std::size_t>(piece.bytes);
                if (run.in != nullptr) REQUIRE(run.in->read(piece.begin, std::span{slot}.first(bytes)).has_value());
                else
                    std::memcpy(slot.data(),
                                reinterpret_cast<const std::byte*>(static_cast<std::uintptr_t>(piece.begin)), bytes);
                read += piece.bytes;
            }
            for (const auto& m : d.moves_of(piece)) {
                REQUIRE(m.from + m.bytes <= piece.bytes);
                if (!piece.apart) REQUIRE(m.to >= piece.bytes);
                REQUIRE(m.to + m.bytes <= d.slot_bytes - d.slot_lead(piece));
                std::memcpy((piece.apart ? apart : slot).data() + m.to, slot.data() + m.from,
                            static_cast<std::size_t>(m.bytes));
            }
            if (piece.apart) slot = apart;
            for (std::uint32_t i = 0; i < piece.parts; ++i) {
                const auto& part = d.parts[piece.first_part + i];
                REQUIRE(
                    d.plan.read(d.built[part.tensor].node, part.first, part.count, slot.data() + part.at).has_value());
            }
            std::map<std::uint32_t, std::vector<std::byte>> scratch;
            for (std::uint32_t i = 0; i < piece.copies; ++i) {
                const auto& c = d.copies[piece.first_copy + i];
                REQUIRE(c.from + c.bytes <= (piece.moves != 0 ? slot.size() : piece.bytes));
                if (c.to_scratch) {
                    REQUIRE(c.to + c.bytes <= d.targets[c.target].scratch);
                    auto& s = scratch[c.target];
                    s.resize(static_cast<std::size_t>(d.targets[c.target].scratch));
                    std::memcpy(s.data() + c.to, slot.data() + c.from, static_cast<std::size_t>(c.bytes));
                    continue;
                }
                put(c.target, c.to, {slot.data() + c.from, static_cast<std::size_t>(c.bytes)});
            }
            for (std::uint32_t i = 0; i < piece.casts; ++i) {
                const auto& c = d.casts[piece.first_cast + i];
                std::vector<std::byte> out(static_cast<std::size_t>(c.count) * ckpt::itemsize(c.wanted));
                CHECK(c.from % ckpt::itemsize(c.type) == 0);
                ckpt::detail::convert(c.type, scratch[c.target].data() + c.from, c.wanted, out.data(), c.count);
                put(c.target, c.to, out);
            }
        }
        CHECK(read == plan.read_bytes());
    }
    void put(std::uint32_t target, std::uint64_t at, std::span<const std::byte> bytes) {
        REQUIRE(at + bytes.size() <= memory[target].size());
        std::memcpy(memory[target].data() + at, bytes.data(), bytes.size());
        for (std::size_t i = 0; i < bytes.size(); ++i) ++written[target][static_cast<std::size_t>(at) + i];
    }
    /// Whether each tensor of a state_dict is where the plan says; no byte may have been written twice.
    void check(const upload_plan& plan, const ckpt::state_dict& weights, std::uint32_t target = 0) const {
        for (const auto& [key, t] : by_key(plan, target)) {
            const std::string name = key;
            CAPTURE(name);
            const auto from = weights.at(key).value();
            CHECK(dense_of(std::span{memory[target]}.subspan(static_cast<std::size_t>(t.offset)), t.shape, t.strides,
                           t.dtype) == values_of(from, t.dtype));
            CHECK(t.offset % ckpt::itemsize(t.dtype) == 0);
        }
        CHECK(unaligned(plan, 16, target) == 0);
        for (const int times : written[target]) REQUIRE(times <= 1);
    }
};

} // namespace

TEST_CASE("plan: a file image is one run and one copy, and keeps tied tensors together") {
    const opened file{upload_file()};
    const auto plan = plan_upload(file.weights).value();
    const auto t = by_key(plan);
    CHECK(plan.runs().size() == 1);
    CHECK(plan.pieces() == 1);
    CHECK(plan.copies() == 1);
    CHECK(plan.built_bytes() == 0);
    CHECK(t.at("tied").offset == t.at("a.weight").offset);
    CHECK(t.at("a.rows").offset == t.at("a.weight").offset + 4 * 960);
    CHECK(t.at("turned").strides[1] == 33);
    CHECK(unaligned(plan, 256) == 0);
    CHECK(t.at("mask").offset % 256 == 0); // its storage begins one byte before
    carried_out{plan}.check(plan, file.weights);
    CHECK(plan.text().find("12 tensors") != std::string::npos);
}

TEST_CASE("plan: an image is shifted so that its tensors are aligned, wherever the data of the file begins") {
    // Sizes as models have them: one shift does for all of them, and one copy for each piece.
    const std::size_t sizes[]{512, 66'048, 256, 131'072, 1'024, 256};
    for (const std::size_t odd : {0u, 8u, 136u, 3u}) {
        CAPTURE(odd);
        const opened file{safetensors_of(sizes, odd)};
        const auto plan = plan_upload(file.weights, {.piece_bytes = 65'536}).value();
        CHECK(unaligned(plan, 256) == 0);
        CHECK(plan.copies() == plan.pieces());
        CHECK(plan.device_bytes(0) == plan.read_bytes());
        carried_out{plan}.check(plan, file.weights);
        CHECK(unaligned(plan_upload(file.weights, {.alignment = 4'096}).value(), 4'096) == 0);
    }
}

TEST_CASE(
    "plan: what does not fit the shift is moved: small tensors side by side in one copy, large ones by their own") {
    const opened file{unaligned_file()}; // many of 24 bytes, some above and below 64 KiB
    const auto plan = plan_upload(file.weights).value();
    CHECK(unaligned(plan, 256) == 0);
    CHECK(plan.runs().size() == 1);
    CHECK(plan.pieces() == 1);
    CHECK(plan.copies() == 9); // two, one, the 500, five of them, and the last two together
    CHECK(plan.device_bytes(0) <= plan.read_bytes() + 256 * plan.size());
    carried_out{plan}.check(plan, file.weights);
    // A slot holds what is read and what is moved, so that pieces are shorter.
    for (const std::uint64_t piece : {8'192u, 16'384u, 65'536u}) {
        const auto cut = plan_upload(file.weights, {.piece_bytes = piece}).value();
        CHECK(unaligned(cut, 256) == 0);
        if (piece == 65'536) CHECK(cut.copies() <= cut.pieces() + 10);
        carried_out{cut}.check(cut, file.weights);
    }
    const ckpt::upload_target both[]{{0, file.weights}, {1, file.weights}};
    const auto twice = plan_upload(both, {.piece_bytes = 65'536}).value();
    const carried_out done{twice};
    for (const std::uint32_t t : {0u, 1u}) {
        CHECK(unaligned(twice, 256, t) == 0);
        done.check(twice, file.weights, t);
    }
}

TEST_CASE("plan: large tensors have the place in their page that they have in the file, where that is aligned") {
    const std::size_t sizes[]{256, 3u << 20, 512, (1u << 20) - 1};
    for (const std::size_t odd : {0u, 8u}) {
        const opened file{safetensors_of(sizes, odd)};
        const auto plan = plan_upload(file.weights).value();
        const auto& d = *ckpt::detail::upload_plan_access::data(plan);
        for (const auto& c : d.copies) {
            std::uint64_t begin = 0;
            for (const auto& p : d.pieces)
                if (&c - d.copies.data() >= p.first_copy && &c - d.copies.data() < p.first_copy + p.copies)
                    begin = p.begin;
            CHECK(((begin + c.from - c.to) % 4'096 == 0) == (odd == 0));
        }
    }
}

TEST_CASE("plan: every tensor of tests/data is aligned in each layout, unless it lies in another one") {
    std::size_t plans = 0;
    for (const auto& found : std::filesystem::recursive_directory_iterator(CKPT_TEST_DATA)) {
        if (!found.is_regular_file()) continue;
        const auto file = ckpt::open(found.path());
        if (!file) continue;
        for (const auto& candidate : file->state_dicts()) {
            const auto weights = file->state_dict(candidate.path);
            if (!weights) continue;
            for (const auto layout : {upload_layout::file_image, upload_layout::packed}) {
                const auto plan = plan_upload(*weights, {.layout = layout});
                if (!plan) continue;
                CHECK_MESSAGE(unaligned(*plan, 256) == 0, found.path().string());
                ++plans;
            }
        }
    }
    CHECK(plans > 200);
}

TEST_CASE("plan: pieces are cut at multiples of their size in the file; what is moved makes them shorter") {
    const opened file{upload_file()};
    const auto packed = plan_upload(file.weights, {.layout = upload_layout::packed, .piece_bytes = 4'096}).value();
    const auto run = packed.runs().front();
    CHECK(packed.pieces() == (run.offset + run.bytes + 4'095) / 4'096 - run.offset / 4'096);
    const auto plan = plan_upload(file.weights, {.piece_bytes = 4'096}).value();
    CHECK(plan.pieces() >= packed.pieces());
    CHECK(plan.pieces() <= packed.pieces() + 2);
    carried_out{plan}.check(plan, file.weights);
}

TEST_CASE("plan: packed storages lie at multiples of the alignment, with nothing else between them") {
    const opened file{upload_file()};
    for (const std::uint64_t alignment : {16u, 256u, 4'096u}) {
        const auto plan =
            plan_upload(file.weights, {.layout = upload_layout::packed, .alignment = alignment, .piece_bytes = 8'192})
                .value();
        const auto t = by_key(plan);
        for (const auto& key : {"a.weight", "a.bias", "turned", "half", "brain", "steps"})
            CHECK_MESSAGE(t.at(key).offset % alignment == 0, key);
        CHECK(t.at("a.rows").offset == t.at("a.weight").offset + 4 * 960);
        CHECK(plan.device_bytes(0) <= 4 * (64 * 96 + 96 + 2'310) + 10'000 + 6'000 + 6'216 + 1'001 + 60 + 9 * alignment);
        carried_out{plan}.check(plan, file.weights);
    }
}

TEST_CASE("plan: a read goes on over a page of a file, and over nothing between buffers in memory") {
    // Bytes of "a", of a gap and of "c"; "gap" is not asked for.
    const auto file_of = [](std::uint64_t gap) {
        const std::string header = '{' + safetensors_entry("a", "U8", "[16]", 0, 16) + ',' +
                                   safetensors_entry("gap", "U8", '[' + std::to_string(gap) + ']', 16, 16 + gap) + ',' +
                                   safetensors_entry("c", "U8", "[16]", 16 + gap, 32 + gap) + '}';
        return safetensors_file(header, noise(static_cast<std::size_t>(32 + gap), gap));
    };
    const ckpt::upload_plan_options ends{.select = {"a", "c"}};
    const auto runs_in_file = [&](std::uint64_t gap) {
        const opened file{file_of(gap)};
        const auto plan = plan_upload(file.weights, ends).value();
        carried_out{plan}.check(plan, file.weights);
        return plan.runs().size();
    };
    CHECK(runs_in_file(4'096) == 1);
    CHECK(runs_in_file(4'097) == 2);
    const auto runs_in_memory = [&](std::uint64_t gap) {
        const std::string bytes = file_of(gap);
        const auto weights = ckpt::open_bytes(bytes_of(bytes)).value().state_dict().value();
        const auto plan = plan_upload(weights, ends).value();
        carried_out{plan}.check(plan, weights);
        return plan.runs().size();
    };
    CHECK(runs_in_memory(0) == 1);
    CHECK(runs_in_memory(1) == 2);
    // Two files in memory, with bytes between them that are neither's.
    const std::string one = file_of(0);
    const std::string both = one + std::string(64, 'x') + one;
    const auto part = [&](std::size_t at) {
        return ckpt::open_bytes(bytes_of(std::string_view{both}.substr(at, one.size()))).value().state_dict().value();
    };
    const ckpt::upload_target targets[]{{0, part(0)}, {0, part(one.size() + 64)}};
    const auto plan = plan_upload(targets).value();
    const auto begin = reinterpret_cast<std::uintptr_t>(both.data());
    REQUIRE(plan.runs().size() == 2);
    CHECK(plan.runs()[0].offset + plan.runs()[0].bytes == begin + one.size());
    CHECK(plan.runs()[1].offset == begin + both.size() - 32);
}

TEST_CASE("plan: only what is selected is read") {
    const opened file{upload_file()};
    const auto plan = plan_upload(file.weights, {.select = {"a.rows", "steps"}}).value();
    CHECK(plan.size() == 2);
    CHECK(plan.read_bytes() == 4 * 5 * 96 + 8 * 777);
    carried_out{plan}.check(plan, file.weights);
    const auto none = plan_upload(file.weights, {.select = {"steps", "b.*"}});
    REQUIRE(!none);
    CHECK(none.error().code == errc::key_missing);
    CHECK(none.error().detail.find("b.*") != std::string::npos);
}

TEST_CASE("plan: the host converts to narrower types, the device to wider ones where it can") {
    const opened file{upload_file()};
    const auto narrow =
        plan_upload(file.weights, {.casts = {{"a.*", ckpt::dtype::bfloat16}, {"tied", ckpt::dtype::bfloat16}},
                                   .piece_bytes = 4'096,
                                   .kernels = &widening})
            .value();
    auto t = by_key(narrow);
    CHECK(t.at("a.weight").way == upload_way::host);
    CHECK(t.at("tied").offset == t.at("a.weight").offset);
    CHECK(t.at("half").way == upload_way::stored);
    CHECK(narrow.built_bytes() >= 2 * (64 * 96 + 96 + 480));
    carried_out{narrow}.check(narrow, file.weights);

    const auto wide =
        plan_upload(file.weights, {.casts = {{"**", ckpt::dtype::float32}}, .piece_bytes = 4'096, .kernels = &widening})
            .value();
    t = by_key(wide);
    CHECK(t.at("brain").way == upload_way::device);
    CHECK(t.at("half").way == upload_way::host); // these kernels do not have it
    CHECK(t.at("steps").dtype == ckpt::dtype::int64);
    CHECK(wide.scratch_bytes(0) > 0);
    CHECK(wide.scratch_bytes(0) <= 4'096 + 256);
    carried_out{wide}.check(wide, file.weights);
    CHECK(by_key(plan_upload(file.weights, {.casts = {{"brain", ckpt::dtype::float32}}}).value()).at("brain").way ==
          upload_way::host);
}

TEST_CASE("plan: one file for several devices is read once") {
    const opened file{upload_file()};
    const auto alone = plan_upload(file.weights).value();
    const ckpt::upload_target both[]{{0, file.weights}, {1, file.weights}};
    const auto plan = plan_upload(both, {.casts = {{"turned", ckpt::dtype::float16}}, .piece_bytes = 4'096}).value();
    CHECK(plan.targets() == 2);
    CHECK(plan.device(1) == 1);
    CHECK(plan.read_bytes() <= alone.read_bytes());
    CHECK(plan.built_bytes() == 2 * 2'310); // once for both
    const carried_out done{plan};
    done.check(plan, file.weights, 0);
    done.check(plan, file.weights, 1);
}

TEST_CASE("plan: ranks read their rows and nothing else, columns of each device are disjoint") {
    const opened file{upload_file()};
    std::uint64_t sum = 0;
    for (std::uint32_t rank = 0; rank < 4; ++rank) {
        const std::vector<ckpt::shard_rule> rows{{"a.weight", 0}};
        const auto part = ckpt::shard(file.weights, rows, rank, 4).value();
        const auto plan = plan_upload(part, {.select = {"a.weight"}}).value();
        CHECK(plan.read_bytes() == 4 * 16 * 96);
        sum += plan.read_bytes();
        carried_out{plan}.check(plan, part);
    }
    CHECK(sum == 4 * 64 * 96);
    std::vector<ckpt::upload_target> ranks;
    const std::vector<ckpt::shard_rule> columns{{"a.weight", 1}};
    for (std::uint32_t rank = 0; rank < 4; ++rank)
        ranks.push_back({static_cast<int>(rank), ckpt::shard(file.weights, columns, rank, 4).value()});
    const auto plan = plan_upload(ranks, {.select = {"a.weight", "half"}, .piece_bytes = 4'096}).value();
    const carried_out done{plan};
    for (std::uint32_t rank = 0; rank < 4; ++rank) done.check(plan, ranks[rank].weights, rank);
    // Each device holds its columns and not the whole, unless others need the rest.
    auto t = by_key(plan, 2);
    CHECK(t.at("a.weight").way == upload_way::host);
    CHECK(t.at("a.weight").strides[0] == 24);
    CHECK(plan.device_bytes(2) < 4 * 64 * 24 + 10'000 + 1'024);
    const auto with_whole = plan_upload(ranks[2].weights, {.select = {"a.weight", "tied"}}).value();
    t = by_key(with_whole);
    CHECK(t.at("a.weight").way == upload_way::stored);
    CHECK(t.at("a.weight").offset == t.at("tied").offset + 4 * 48);
    CHECK(with_whole.read_bytes() == 4 * 64 * 96);
    carried_out{with_whole}.check(with_whole, ranks[2].weights);
}

TEST_CASE("plan: packed tensors keep the alignment, wherever they lie in their file") {
    const std::string header = '{' + safetensors_entry("a", "F32", "[3]", 0, 12) + ',' +
                               safetensors_entry("b", "F32", "[5]", 12, 32) + ',' +
                               safetensors_entry("c", "BF16", "[4]", 32, 40) + '}';
    const opened file{safetensors_file(header + std::string((8 - header.size() % 8) % 8 + 4, ' '), noise(40, 3))};
    const auto plan = plan_upload(file.weights, {.layout = upload_layout::packed}).value();
    for (std::size_t i = 0; i < plan.size(); ++i) CHECK(plan[i].offset % 256 == 0);
    carried_out{plan}.check(plan, file.weights);
}

TEST_CASE("shard: what cannot be cut is named") {
    const opened file{upload_file()};
    const auto refused = [&](std::vector<ckpt::shard_rule> rules, std::uint32_t rank, std::uint32_t world) {
        const auto out = ckpt::shard(file.weights, rules, rank, world);
        return out ? ckpt::error{} : out.error();
    };
    CHECK(refused({{"a.bias", 0}}, 0, 7).code == errc::slice_invalid);
    CHECK(refused({{"a.bias", 0}}, 0, 7).path == "a.bias");
    CHECK(refused({{"a.bias", 1}}, 0, 2).code == errc::slice_invalid);
    CHECK(refused({{"b.*", 0}}, 0, 2).code == errc::slice_invalid);
    CHECK(refused({{"a.bias", 0}}, 2, 2).code == errc::slice_invalid);
    CHECK(refused({{"a.bias", 0}}, 0, 0).code == errc::slice_invalid);
    CHECK(refused({{"a.bias", 0}}, 1, 2).code == errc::none);
}

TEST_CASE("plan: storages at odd places of a stream are moved to even ones") {
    for (const char* name :
         {"/torch-2.13/legacy_dtypes.pt", "/torch-2.13/legacy_views.pt", "/torch-1.13/legacy_dtypes.pt"}) {
        const auto file = ckpt::open(std::string(CKPT_TEST_DATA) + name).value();
        const auto weights = file.state_dict().value();
        for (const auto layout : {upload_layout::file_image, upload_layout::packed}) {
            const auto plan = plan_upload(weights, {.layout = layout}).value();
            carried_out{plan}.check(plan, weights);
        }
    }
}

TEST_CASE("plan: random views of random storages, in each layout, for two devices") {
    std::mt19937_64 random{7};
    const auto below = [&](std::uint64_t n) { return random() % n; };
    for (int round = 0; round < 60; ++round) {
        CAPTURE(round);
        std::vector<std::pair<std::string, std::string>> entries, storages;
        for (int s = 0; s < 6; ++s) {
            const auto numel = static_cast<std::int64_t>(1 + below(3'000));
            const bool wide = below(2) == 0;
            storages.push_back({std::to_string(s), noise(static_cast<std::size_t>(numel) * (wide ? 4 : 2), random())});
            for (std::uint64_t v = below(4) + 1; v-- > 0;) {
                const auto offset = static_cast<std::int64_t>(below(static_cast<std::uint64_t>(numel)));
                const auto room = numel - offset;
                const auto rows = static_cast<std::int64_t>(1 + below(4));
                const auto step = static_cast<std::int64_t>(below(static_cast<std::uint64_t>(room / rows + 1)));
                const auto columns = static_cast<std::int64_t>(
                    1 + below(static_cast<std::uint64_t>((std::max)(std::int64_t{1}, room - step * (rows - 1)))));
                if (step * (rows - 1) + columns > room) continue;
                entries.push_back(
                    {pkl::str("t" + std::to_string(entries.size())),
                     pkl::tensor(pkl::storage(wide ? "FloatStorage" : "BFloat16Storage", std::to_string(s), numel),
                                 offset, {rows, columns}, {step, 1})});
            }
        }
        if (entries.empty()) continue;
        const opened file{torch_file(pkl::ordered(entries), storages)};
        const ckpt::upload_target both[]{{0, file.weights}, {1, file.weights}};
        ckpt::upload_plan_options options{.layout = below(2) == 0 ? upload_layout::file_image : upload_layout::packed,
                                          .piece_bytes = 4'096 * (1 + below(3)),
                                          .kernels = &widening};
        if (below(2) == 0) options.casts = {{"t1*", ckpt::dtype::float32}, {"t2*", ckpt::dtype::float16}};
        const auto plan = plan_upload(std::span{both}.first(1 + below(2)), options).value();
        const carried_out done{plan};
        for (std::uint32_t t = 0; t < plan.targets(); ++t) done.check(plan, file.weights, t);
    }
}

TEST_CASE("plan: thousands of small tensors are few copies") {
    std::vector<std::pair<std::string, std::string>> entries, storages;
    for (int i = 0; i < 3'000; ++i) {
        entries.push_back({pkl::str("k" + std::to_string(i)), pkl::floats(std::to_string(i), 4)});
        storages.push_back({std::to_string(i), some_floats(4, static_cast<std::uint64_t>(i))});
    }
    const std::string bytes = torch_file(pkl::ordered(entries), storages);
    const opened file{bytes};
    const auto plan = plan_upload(file.weights, {.piece_bytes = 65'536}).value();
    CHECK(plan.runs().size() == 1);
    CHECK(plan.copies() <= bytes.size() / 65'536 + 1);
    const auto built =
        plan_upload(file.weights, {.casts = {{"**", ckpt::dtype::float16}}, .piece_bytes = 65'536}).value();
    CHECK(built.copies() <= 3'000 * 256 / 65'536 + 1);
    CHECK(built.copies() == built.pieces());
}

TEST_CASE("plan: what has no values is refused by name, and sizes are checked") {
    const auto meta = ckpt::open(std::string(CKPT_TEST_DATA) + "/torch-2.13/meta.pt").value();
    const auto refused = plan_upload(meta.state_dict().value());
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::no_data);
    CHECK(!refused.error().path.empty());
    const opened file{upload_file()};
    CHECK(plan_upload(file.weights, {.piece_bytes = 0}).error().code == errc::limit);
    CHECK(plan_upload(file.weights, {.piece_bytes = 5'000}).error().code == errc::limit);
    CHECK(plan_upload(file.weights, {.alignment = 48}).error().code == errc::limit);
    CHECK(plan_upload(file.weights, {.alignment = 8}).error().code == errc::limit);
    CHECK(plan_upload(file.weights, {.alignment = 16}).has_value());
    CHECK(plan_upload(file.weights, {.alignment = 4'096}).has_value());
    CHECK(plan_upload(file.weights, {.alignment = 8'192}).error().code == errc::limit);
    CHECK(plan_upload(file.weights, {.piece_bytes = std::uint64_t{1} << 30}).has_value());
    CHECK(plan_upload(file.weights, {.piece_bytes = (std::uint64_t{1} << 30) + 4'096}).error().code == errc::limit);
    // 2^40 values of one stored element, to be built.
    const std::string expanded =
        torch_file(pkl::ordered({{pkl::str("e"),
                                  pkl::tensor(pkl::storage("FloatStorage", "0", 1), 0, {1 << 20, 1 << 20}, {0, 0})}}),
                   {{"0", raw<float>({1})}});
    const opened far{expanded};
    CHECK(plan_upload(far.weights).has_value()); // as a view it needs four bytes
    CHECK(plan_upload(far.weights, {.casts = {{"e", ckpt::dtype::float16}}}).error().code == errc::output_limit);
}

TEST_CASE("plan: the estimate names the slowest stage") {
    const opened file{upload_file()};
    const auto plan = plan_upload(file.weights).value();
    CHECK(plan.estimate({.disk = 1e6}).bound == "disk");
    CHECK(plan.estimate({.link = 1e6}).bound == "link");
    CHECK(plan.estimate({.copy = 1e6, .readers = 1}).bound == "host");
    CHECK(plan.estimate({.copy = 1e6, .readers = 4}).seconds < plan.estimate({.copy = 1e6, .readers = 1}).seconds);
    CHECK(plan.estimate({.issue = 1.0}).seconds >= 1.0);
    // What the host builds is read, too.
    const auto built = plan_upload(file.weights, {.select = {"half"}, .casts = {{"**", ckpt::dtype::float32}}}).value();
    CHECK(built.read_bytes() == 0);
    CHECK(built.estimate({.disk = 1e4}).seconds >= 1.0);
    CHECK(built.estimate({.disk = 1e4}).seconds < 1.1);
    CHECK(built.estimate({.disk = 1e4}).bound == "disk");
}

TEST_CASE("plan: equal state_dicts give equal plans, and memory is planned like a file") {
    const std::string bytes = upload_file();
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const auto weights = file.state_dict().value();
    const auto plan = plan_upload(weights, {.piece_bytes = 4'096}).value();
    CHECK(plan.text(100) == plan_upload(weights, {.piece_bytes = 4'096}).value().text(100));
    CHECK(plan.runs().front().in_memory);
    carried_out{plan}.check(plan, weights);
}

namespace {

/// Storages of 2^59 bytes and one more, which no file could have; nothing is read of them.
class huge_storages final : public ckpt::detail::storage_source {
  public:
    [[nodiscard]] std::uint64_t nbytes(std::uint32_t) const noexcept override { return (std::uint64_t{1} << 59) + 1; }
    [[nodiscard]] ckpt::byte_order order(std::uint32_t) const noexcept override { return ckpt::byte_order::little; }
    [[nodiscard]] std::string_view key(std::uint32_t) const noexcept override { return {}; }
    [[nodiscard]] ckpt::result<std::uint64_t> file_offset(std::uint32_t) const override { return std::uint64_t{0}; }
    [[nodiscard]] ckpt::result<std::span<const std::byte>> bytes(std::uint32_t) const override { return nothing(); }
    [[nodiscard]] ckpt::result<void> read(std::uint32_t, std::uint64_t, std::span<std::byte>) const override {
        return nothing();
    }
    [[nodiscard]] bool is_gathered(std::uint32_t) const noexcept override { return true; }

  private:
    [[nodiscard]] static ckpt::error nothing() { return {.code = errc::no_data}; }
};

} // namespace

TEST_CASE("plan: a device has 2^62 bytes at most") {
    // Only the places of the tensors are planned here, and no pieces.
    const auto placed = [](std::int64_t last) {
        const std::int64_t sizes[]{std::int64_t{1} << 59, last, 1};
        ckpt::detail::tensor_data tensors[8]{};
        ckpt::detail::state_dict_data weights;
        weights.storages = ckpt::detail::make_shared<huge_storages>();
        weights.source = weights.storages.get();
        for (std::uint32_t i = 0; i < 8; ++i) {
            tensors[i].type = ckpt::dtype::uint8;
            tensors[i].rank = 1;
            tensors[i].storage = i;
            tensors[i].shape = &sizes[i == 7 ? 1 : 0];
            tensors[i].strides = &sizes[2];
            tensors[i].numel = static_cast<std::uint64_t>(tensors[i].shape[0]);
            weights.entries.push_back({std::string_view("abcdefgh").substr(i, 1), &tensors[i]});
        }
        const ckpt::upload_plan_options options{};
        ckpt::detail::upload_plan_data plan;
        plan.targets.push_back({});
        ckpt::detail::plan_inputs inputs{options, plan};
        REQUIRE(inputs.add(weights, 0).has_value());
        REQUIRE(inputs.finish().has_value());
        auto done = ckpt::detail::plan_grouping{options, inputs, plan}.run();
        CHECK((!done || plan.targets[0].bytes == ckpt::detail::plan_grouping::most_memory));
        return done;
    };
    CHECK(placed(std::int64_t{1} << 59).has_value());
    const auto refused = placed((std::int64_t{1} << 59) + 1);
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::limit);
}
