// tests/gpu/upload_plan.cpp: what an upload reads and where it goes.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/gpu/element_ops.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/plan_grouping.hpp>
#include <ckpt/gpu/plan_inputs.hpp>
#include <ckpt/gpu/plan_replicas.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/state/shard.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/convert.hpp>

#include "../support/quantised_files.hpp"
#include "../support/safetensors_writer.hpp"
#include "../support/temporary_file.hpp"
#include "../support/upload_files.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace upload_plan_test {

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

int never_called(void*, ckpt::dtype, const void*, ckpt::dtype, bool, std::uint32_t, const std::int64_t*,
                 const std::int64_t*, std::uint64_t, std::uint64_t, void*) {
    return 1;
}
int never_dequantises(void*, ckpt::dtype, const void*, ckpt::dtype, bool, const ckpt::dequantization&, std::uint64_t,
                      std::uint64_t, void*) {
    return 1;
}
/// Those of a device: plans ask only what they can do.
const ckpt::device_kernels all_kernels{
    .can_cast = ckpt::detail::is_castable, .scatter = never_called, .dequantize = never_dequantises};

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
    std::vector<std::vector<std::uint32_t>> pieces{}; // after how many of them each byte was last written

    explicit carried_out(const upload_plan& plan) {
        const auto& d = *ckpt::detail::upload_plan_access::data(plan);
        for (const auto& t : d.targets) {
            memory.emplace_back(static_cast<std::size_t>(t.bytes), std::byte{0xA5});
            written.emplace_back(static_cast<std::size_t>(t.bytes), 0);
            pieces.emplace_back(static_cast<std::size_t>(t.bytes), 0);
        }
        std::uint64_t read = 0;
        for (const auto& piece : d.pieces) {
            ++begun_;
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
                if (c.into == ckpt::detail::copy_place::parameters) {
                    REQUIRE(c.to + c.bytes <= d.targets[c.target].parameters);
                    auto& p = parameters_[c.target];
                    p.resize(static_cast<std::size_t>(d.targets[c.target].parameters));
                    std::memcpy(p.data() + c.to, slot.data() + c.from, static_cast<std::size_t>(c.bytes));
                    continue;
                }
                if (c.into == ckpt::detail::copy_place::scratch) {
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
                const auto stored = std::span{scratch[c.target]}.subspan(
                    static_cast<std::size_t>(c.from), static_cast<std::size_t>(c.count) * ckpt::itemsize(c.type));
                std::vector<std::byte> in(stored.begin(), stored.end());
                if (c.swap_bytes) ckpt::detail::swap_components(c.type, in.data(), c.count);
                if (c.numbers != ckpt::detail::no_numbers) dequantize(c, d.numbers[c.numbers], in, out);
                else ckpt::detail::convert(c.type, in.data(), c.wanted, out.data(), c.count);
                if (c.view == nullptr) put(c.target, c.to, out);
                else scatter(c, out);
            }
        }
        CHECK(read == plan.read_bytes());
    }
    void put(std::uint32_t target, std::uint64_t at, std::span<const std::byte> bytes) {
        REQUIRE(at + bytes.size() <= memory[target].size());
        std::memcpy(memory[target].data() + at, bytes.data(), bytes.size());
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            ++written[target][static_cast<std::size_t>(at) + i];
            pieces[target][static_cast<std::size_t>(at) + i] = begun_;
        }
    }
    /// Makes numbers of integers, with the parameters that came before.
    void dequantize(const ckpt::detail::device_cast& c, const ckpt::detail::device_numbers& numbers,
                    std::span<const std::byte> in, std::span<std::byte> out) {
        auto how = numbers.how;
        if (ckpt::detail::is_per_channel(numbers.quantizer->scheme)) {
            const auto& all = parameters_.at(c.target);
            REQUIRE(numbers.scales + how.channels * sizeof(double) <= all.size());
            REQUIRE(numbers.zero_points + how.channels * sizeof(float) <= all.size());
            how.scales = reinterpret_cast<const double*>(all.data() + numbers.scales);
            how.zero_points = reinterpret_cast<const float*>(all.data() + numbers.zero_points);
        }
        std::vector<std::int32_t> integers(static_cast<std::size_t>(c.count));
        std::vector<float> values(integers.size());
        ckpt::detail::load_integers(c.type, in.data(), integers.size(), integers.data());
        ckpt::detail::dequantize(how, c.first, integers.data(), integers.size(), values.data());
        ckpt::detail::convert(ckpt::dtype::float32, reinterpret_cast<const std::byte*>(values.data()), c.wanted,
                              out.data(), c.count);
    }
    /// Puts each element of a view that is among converted stored ones to its place.
    void scatter(const ckpt::detail::device_cast& c, std::span<const std::byte> stored) {
        const std::size_t size = ckpt::itemsize(c.wanted);
        std::vector<std::int64_t> index(c.view->rank);
        for (std::uint64_t place = 0; place < c.view->numel; ++place) {
            std::uint64_t at = 0;
            for (std::size_t i = 0; i < index.size(); ++i)
                at += static_cast<std::uint64_t>(index[i] * c.view->strides[i]);
            if (at >= c.first && at - c.first < c.count)
                put(c.target, c.to + place * size, stored.subspan(static_cast<std::size_t>(at - c.first) * size, size));
            for (std::size_t i = index.size(); i-- > 0 && ++index[i] == c.view->shape[i];) index[i] = 0;
        }
    }
    /// Whether each tensor of a state_dict is where the plan says; no byte may have been written twice.
    void check(const upload_plan& plan, const ckpt::state_dict& weights, std::uint32_t target = 0) const {
        for (const auto& [key, t] : by_key(plan, target)) {
            const std::string name = key;
            CAPTURE(name);
            const auto from = weights.at(key).value();
            CHECK(dense_of(std::span{memory[target]}.subspan(static_cast<std::size_t>(t.offset)), t.shape, t.strides,
                           t.dtype) == numbers_of(from, t.dtype));
            CHECK(t.offset % ckpt::itemsize(t.dtype) == 0);
        }
        CHECK(unaligned(plan, 16, target) == 0);
        for (const int times : written[target]) REQUIRE(times <= 1);
        // With the last of its bytes, a tensor is complete.
        for (const auto& t : ckpt::detail::upload_plan_access::data(plan)->tensors) {
            if (t.target != target) continue;
            const auto own = pieces_of(t);
            CHECK((own.empty() ? 0 : *std::max_element(own.begin(), own.end())) == t.pieces);
        }
    }
    [[nodiscard]] std::span<const std::uint32_t> pieces_of(const ckpt::detail::placed_tensor& t) const {
        return std::span{pieces[t.target]}.subspan(static_cast<std::size_t>(t.offset),
                                                   static_cast<std::size_t>(t.nbytes));
    }
    /// Whether each tensor is complete before the first piece that only later groups of the order need.
    void check_order(const upload_plan& plan, const std::vector<ckpt::pattern>& order) const {
        const auto& d = *ckpt::detail::upload_plan_access::data(plan);
        const auto group_of = [&](std::string_view key) {
            std::size_t g = 0;
            while (g < order.size() && !order[g].matches(key)) ++g;
            return g;
        };
        // The first group that needs each piece; none, where it has only a gap.
        std::vector<std::optional<std::size_t>> first_needed(begun_ + std::size_t{1});
        std::vector<bool> has_own(order.size() + 1);
        for (const auto& t : d.tensors) {
            CHECK(t.phase <= group_of(t.key));
            if (t.phase == group_of(t.key)) has_own[t.phase] = true;
            for (const std::uint32_t p : pieces_of(t))
                first_needed[p] = (std::min)(first_needed[p].value_or(t.phase), std::size_t{t.phase});
        }
        for (const auto& t : d.tensors) {
            CHECK(has_own[t.phase]); // what comes before its turn shares bytes with one whose turn it is
            for (std::uint32_t p = 1; p <= t.pieces; ++p) CHECK(first_needed[p].value_or(0) <= t.phase);
        }
    }

  private:
    std::uint32_t begun_{0}; // pieces
    std::map<std::uint32_t, std::vector<std::byte>> parameters_{};
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

TEST_CASE(
    "plan: targets of one state_dict are replicas, where all their bytes come to the same places in the same steps") {
    const opened file{upload_file()};
    const opened again{upload_file()};
    const ckpt::upload_target targets[]{{0, file.weights}, {1, again.weights}, {2, file.weights}, {3, file.weights}};
    for (const auto layout : {upload_layout::file_image, upload_layout::packed}) {
        const auto plan =
            plan_upload(targets, {.casts = {{"half", ckpt::dtype::float64}, {"br*", ckpt::dtype::float32}},
                                  .layout = layout,
                                  .piece_bytes = 4'096,
                                  .kernels = &widening})
                .value();
        auto& data = *ckpt::detail::upload_plan_access::data(plan);
        const auto first_alike = [&] {
            ckpt::detail::find_replicas(data);
            std::vector<std::uint32_t> out;
            for (const auto& t : data.targets) out.push_back(t.alike);
            return out;
        };
        REQUIRE(!data.casts.empty());
        CHECK(first_alike() == std::vector<std::uint32_t>{0, 1, 0, 0});
        // One byte is copied elsewhere, or not at all; one conversion, one tensor is another.
        const auto of_third = [](auto& items) {
            return std::find_if(items.begin(), items.end(), [](const auto& x) { return x.target == 2; });
        };
        const auto differs = [&](auto& value) {
            ++value;
            CHECK(first_alike() == std::vector<std::uint32_t>{0, 1, 2, 0});
            --value;
        };
        differs(of_third(data.copies)->to);
        differs(of_third(data.copies)->bytes);
        differs(of_third(data.casts)->count);
        differs(of_third(data.tensors)->offset);
        differs(data.targets[2].bytes);
        of_third(data.copies)->target = 1;
        CHECK(first_alike() == std::vector<std::uint32_t>{0, 1, 2, 0});
    }
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

TEST_CASE("plan: a slot has room for what is moved in it for one target behind that of another") {
    const std::size_t sizes[]{100, 4'000, 100'000, 100}; // keys say where they begin in the data
    const opened file{safetensors_of(sizes, 8)};
    const auto without = [&](const char* rule) {
        return ckpt::remap(file.weights, ckpt::key_map::parse(rule).value()).value();
    };
    const ckpt::upload_target both[]{{0, without("drop t4100\ndrop t104100")}, {1, without("drop t0\ndrop t4100")}};
    const auto plan = plan_upload(both).value();
    CHECK(plan.pieces() == 2);
    const carried_out done{plan};
    for (const std::uint32_t t : {0u, 1u}) done.check(plan, both[t].weights, t);
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
    CHECK(wide.scratch_bytes(0) <= 2 * (4'096 + 256));
    carried_out{wide}.check(wide, file.weights);
    CHECK(by_key(plan_upload(file.weights, {.casts = {{"brain", ckpt::dtype::float32}}}).value()).at("brain").way ==
          upload_way::host);
}

TEST_CASE("plan: with kernels that can, the device narrows, swaps and makes strided tensors dense") {
    const opened file{upload_file()};
    const auto plan =
        plan_upload(file.weights,
                    {.casts = {{"**", ckpt::dtype::bfloat16}}, .piece_bytes = 4'096, .kernels = &all_kernels})
            .value();
    const auto t = by_key(plan);
    for (const auto& key : {"a.weight", "a.bias", "half", "turned"})
        CHECK_MESSAGE(t.at(key).way == upload_way::device, key);
    CHECK(t.at("turned").strides[0] == 70); // dense
    CHECK(t.at("tied").offset == t.at("a.weight").offset);
    CHECK(t.at("repeated").way == upload_way::host); // expanded
    CHECK(t.at("brain").way == upload_way::stored);
    CHECK(plan.scratch_bytes(0) > 0);
    CHECK(plan.text(100).find("turned bfloat16 [33, 70] at ") != std::string::npos);
    CHECK(plan.text(100).find("built by the device") != std::string::npos);
    carried_out{plan}.check(plan, file.weights);
    // A value may not fit.
    const auto integers =
        plan_upload(file.weights, {.casts = {{"steps", ckpt::dtype::int32}}, .kernels = &all_kernels});
    CHECK(by_key(integers.value()).at("steps").way == upload_way::host);

    // Elements in the other byte order: complex ones, strided ones.
    using pkl::ordered, pkl::storage, pkl::str, pkl::tensor;
    const opened foreign{
        torch_file(ordered({{str("f"), tensor(storage("FloatStorage", "0", 3'000), 0, {3'000}, {1})},
                            {str("t"), tensor(storage("FloatStorage", "0", 3'000), 5, {40, 50}, {1, 40})},
                            {str("c"), tensor(storage("ComplexFloatStorage", "1", 1'200), 0, {30, 40}, {1, 30})}}),
                   {{"0", some_floats(3'000, 1)}, {"1", some_floats(2'400, 2)}}, {.byte_order = "big"})};
    const auto swapped = plan_upload(foreign.weights, {.piece_bytes = 4'096, .kernels = &all_kernels}).value();
    for (const auto& [key, tensor_of] : by_key(swapped)) CHECK(tensor_of.way == upload_way::device);
    CHECK(swapped.built_bytes() == 0);
    carried_out{swapped}.check(swapped, foreign.weights);
}

TEST_CASE("plan: numbers of quantised tensors, and before them, phase by phase, the parameters that kernels need" *
          doctest::test_suite("slow")) {
    const opened file{quantised_file()};
    const ckpt::upload_target targets[]{{0, file.weights}, {1, file.weights}};
    const std::vector<std::vector<ckpt::pattern>> orders{{}, {"wide", "nibbles", "floats"}, {"slice", "tied"}};
    for (const bool by_device : {false, true})
        for (const auto layout : {upload_layout::file_image, upload_layout::packed})
            for (const std::uint64_t piece : {4'096u, 12'288u, 1u << 20})
                for (const auto& order : orders) {
                    const auto plan =
                        plan_upload(targets,
                                    {.order = order,
                                     .casts = {{"middle", ckpt::dtype::bfloat16}, {"turned", ckpt::dtype::float64}},
                                     .dequantize = {"**"},
                                     .layout = layout,
                                     .piece_bytes = piece,
                                     .kernels = by_device ? &all_kernels : nullptr})
                            .value();
                    const auto& d = *ckpt::detail::upload_plan_access::data(plan);
                    CHECK(d.targets[1].alike == 0);
                    CHECK(plan.size() == 2 * file.weights.size());
                    CHECK((d.targets[0].parameters != 0) == by_device);
                    for (const auto& t : d.tensors) CHECK(t.quantised == nullptr);
                    const carried_out done{plan};
                    for (const std::uint32_t t : {0u, 1u}) done.check(plan, file.weights, t);
                    if (!order.empty()) done.check_order(plan, order);
                    const auto t = by_key(plan);
                    // One tensor twice has its own place; other numbers of the same bytes have another one.
                    CHECK(t.at("again").offset != t.at("rows").offset);
                    CHECK(t.at("middle").dtype == ckpt::dtype::bfloat16);
                }
}

TEST_CASE("plan: views of the same stored bytes are one tensor if they have the same strides, and only then") {
    using pkl::ordered, pkl::storage, pkl::str, pkl::tensor;
    const std::string all = storage("FloatStorage", "0", 2'400);
    const opened file{torch_file(ordered({{str("a"), tensor(all, 0, {40, 60}, {60, 1})},
                                          {str("b"), tensor(all, 0, {60, 40}, {1, 60})},
                                          {str("c"), tensor(all, 0, {40, 60}, {60, 1})},
                                          {str("d"), tensor(all, 0, {60, 40}, {1, 60})},
                                          {str("e"), tensor(all, 0, {40, 60}, {1, 40})}}),
                                 {{"0", some_floats(2'400, 1)}})};
    const auto plan =
        plan_upload(file.weights,
                    {.casts = {{"**", ckpt::dtype::float16}}, .piece_bytes = 4'096, .kernels = &all_kernels})
            .value();
    const auto t = by_key(plan);
    CHECK(t.at("c").offset == t.at("a").offset);
    CHECK(t.at("d").offset == t.at("b").offset);
    CHECK(t.at("b").offset != t.at("a").offset);
    CHECK(t.at("e").offset != t.at("b").offset);
    CHECK(plan.device_bytes(0) <= 3 * (2 * 2'400 + 256));
    carried_out{plan}.check(plan, file.weights);
}

TEST_CASE("plan: the device makes dense what fills half of its range, the host what fills less") {
    using pkl::ordered, pkl::storage, pkl::str, pkl::tensor;
    // Two rows of 50 columns: 100 elements in a range of 200, or of 201.
    const auto way = [](std::int64_t step, ckpt::dtype to, const ckpt::device_kernels* kernels) {
        const opened file{
            torch_file(ordered({{str("v"), tensor(storage("FloatStorage", "0", 400), 0, {2, 50}, {step, 1})}}),
                       {{"0", some_floats(400, 1)}})};
        const auto plan = plan_upload(file.weights, {.casts = {{"v", to}}, .kernels = kernels}).value();
        carried_out{plan}.check(plan, file.weights);
        return plan[0].way;
    };
    for (const ckpt::dtype to : {ckpt::dtype::float32, ckpt::dtype::bfloat16, ckpt::dtype::float64}) {
        CHECK(way(150, to, &all_kernels) == upload_way::device);
        CHECK(way(151, to, &all_kernels) == upload_way::host);
        CHECK(way(150, to, nullptr) == upload_way::host);
    }
    const ckpt::device_kernels only_casts{.can_cast = ckpt::detail::is_castable};
    CHECK(way(150, ckpt::dtype::bfloat16, &only_casts) == upload_way::host);
    CHECK(way(84, ckpt::dtype::bfloat16, &all_kernels) == upload_way::device);
    CHECK(way(84, ckpt::dtype::float32, &all_kernels) == upload_way::device);
    CHECK(way(82, ckpt::dtype::float32, &all_kernels) == upload_way::stored); // three quarters: it stays a view
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

namespace {

/// A file of `count` storages of at most `most` elements, with up to four views into each.
std::string random_file(std::mt19937_64& random, int count, std::uint64_t most, std::size_t& tensors) {
    const auto below = [&](std::uint64_t n) { return random() % n; };
    std::vector<std::pair<std::string, std::string>> entries, storages;
    for (int s = 0; s < count; ++s) {
        const auto numel = static_cast<std::int64_t>(1 + below(most));
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
            const bool turned = below(2) == 0;
            entries.push_back(
                {pkl::str("t" + std::to_string(entries.size())),
                 pkl::tensor(pkl::storage(wide ? "FloatStorage" : "BFloat16Storage", std::to_string(s), numel), offset,
                             {turned ? columns : rows, turned ? rows : columns},
                             {turned ? 1 : step, turned ? step : 1})});
        }
    }
    tensors = entries.size();
    return torch_file(pkl::ordered(entries), storages);
}

} // namespace

TEST_CASE("plan: random views of random storages, in each layout, for two devices") {
    std::mt19937_64 random{7};
    const auto below = [&](std::uint64_t n) { return random() % n; };
    for (int round = 0; round < 60; ++round) {
        CAPTURE(round);
        std::size_t tensors = 0;
        const std::string bytes = random_file(random, 6, 3'000, tensors);
        if (tensors == 0) continue;
        const opened file{bytes};
        const ckpt::upload_target both[]{{0, file.weights}, {1, file.weights}};
        ckpt::upload_plan_options options{.layout = below(2) == 0 ? upload_layout::file_image : upload_layout::packed,
                                          .piece_bytes = 4'096 * (1 + below(3)),
                                          .kernels = below(2) == 0 ? &widening : &all_kernels};
        if (below(2) == 0) options.casts = {{"t1*", ckpt::dtype::float32}, {"t2*", ckpt::dtype::float16}};
        const auto plan = plan_upload(std::span{both}.first(1 + below(2)), options).value();
        const carried_out done{plan};
        for (std::uint32_t t = 0; t < plan.targets(); ++t) done.check(plan, file.weights, t);
    }
}

TEST_CASE("plan: random orders: the tensors of a group are complete before later groups are read" *
          doctest::test_suite("slow")) {
    std::mt19937_64 random{11};
    const auto below = [&](std::uint64_t n) { return random() % n; };
    for (int round = 0; round < 200; ++round) {
        CAPTURE(round);
        std::size_t tensors = 0;
        const std::string bytes = random_file(random, static_cast<int>(2 + below(20)), 20 + below(4'000), tensors);
        if (tensors == 0) continue;
        const opened file{bytes};
        // Every other round, the second device has half of the rows of some tensors, so that its ranges differ.
        std::vector<ckpt::shard_rule> halves;
        for (std::size_t i = 0; i < tensors && round % 2 == 0; i += 3) {
            const std::string key = "t" + std::to_string(i);
            if (file.weights.at(key).value().shape()[0] % 2 != 0) continue;
            halves.push_back({ckpt::pattern::parse(key).value(), 0});
        }
        const ckpt::upload_target both[]{{0, file.weights}, {1, ckpt::shard(file.weights, halves, 1, 2).value()}};
        ckpt::upload_plan_options options{.layout = below(2) == 0 ? upload_layout::file_image : upload_layout::packed,
                                          .alignment = std::uint64_t{16} << below(5),
                                          .piece_bytes = 4'096 * (1 + below(3)),
                                          .kernels = &widening};
        for (std::uint64_t n = 1 + below(6); n-- > 0;) {
            const std::uint64_t picked = below(tensors);
            const std::string text = 't' + std::to_string(below(2) == 0 ? picked % 10 : picked);
            options.order.push_back(ckpt::pattern::parse(text + (below(2) == 0 ? "*" : "")).value());
        }
        if (below(2) == 0) options.casts = {{"t1*", ckpt::dtype::float32}, {"t2*", ckpt::dtype::float16}};
        const auto targets = std::span{both}.first(1 + below(2));
        const auto plan = plan_upload(targets, options).value();
        const carried_out done{plan};
        for (std::uint32_t t = 0; t < plan.targets(); ++t) done.check(plan, targets[t].weights, t);
        done.check_order(plan, options.order);
        // Only gaps are read twice.
        const auto in_file_order = options.order;
        options.order.clear();
        const auto alone = plan_upload(targets, options).value();
        const carried_out same{alone};
        for (std::uint32_t t = 0; t < alone.targets(); ++t) same.check(alone, targets[t].weights, t);
        CHECK(plan.built_bytes() <= alone.built_bytes() + options.alignment * plan.size());
        CHECK(plan.read_bytes() <= alone.read_bytes() + ckpt::detail::bridged_gap * plan.size());
        for (std::uint32_t t = 0; t < plan.targets(); ++t)
            CHECK(plan.device_bytes(t) <= alone.device_bytes(t) + options.alignment * plan.size());
    }
}

TEST_CASE("plan: groups are read in the order of their patterns, what no pattern matches comes last") {
    const std::size_t sizes[]{100'000, 40'000, 512, 100'000, 300}; // keys say where they begin in the data
    const opened file{safetensors_of(sizes, 0)};
    const auto begin = [&](const char* key) { return file.weights.at(key).value().file_offset().value(); };
    const std::vector<ckpt::pattern> order{"t140512", "t100000", "t0"};
    const auto plan = plan_upload(file.weights, {.order = order, .piece_bytes = 65'536}).value();
    const auto runs = plan.runs();
    REQUIRE(runs.size() == 5);
    CHECK(runs[0].offset == begin("t140512"));
    CHECK(runs[0].bytes == 100'000);
    CHECK(runs[1].offset == begin("t100000"));
    CHECK(runs[1].bytes == 40'000);
    CHECK(runs[2].offset == begin("t0"));
    CHECK(runs[3].offset == begin("t140000"));
    CHECK(runs[4].offset == begin("t240512"));
    CHECK(plan.read_bytes() == 240'812);
    carried_out{plan}.check(plan, file.weights);
    carried_out{plan}.check_order(plan, order);

    // What is left out by `select` is not there for the order either, and an order is not a choice.
    CHECK(plan_upload(file.weights, {.select = {"t0", "t140512"}, .order = {"t140512"}}).value().size() == 2);
    const auto refused = plan_upload(file.weights, {.select = {"t0", "t140512"}, .order = {"t140512", "t100000"}});
    CHECK(refused.error().code == errc::key_missing);
    CHECK(refused.error().detail.find("t100000") != std::string::npos);
    // A pattern whose keys belong to groups before it matches nevertheless.
    CHECK(plan_upload(file.weights, {.order = {"t0", "t0"}}).has_value());
}

TEST_CASE(
    "plan: small tensors of two groups that take turns in the file: gaps are read twice, memory is not taken twice") {
    const std::vector<std::size_t> sizes(200, 256);
    const opened file{safetensors_of(sizes, 0)};
    const auto alone = plan_upload(file.weights).value();
    for (const auto layout : {upload_layout::file_image, upload_layout::packed}) {
        const std::vector<ckpt::pattern> order{"t*6", "t*2"};
        const auto plan = plan_upload(file.weights, {.order = order, .layout = layout}).value();
        CHECK(plan.device_bytes(0) == alone.device_bytes(0));
        CHECK(plan.read_bytes() <= 3 * alone.read_bytes());
        if (layout == upload_layout::file_image) CHECK(plan.copies() <= 10);
        carried_out{plan}.check(plan, file.weights);
        carried_out{plan}.check_order(plan, order);
    }
}

TEST_CASE("plan: tensors that share bytes come with the first of them, and equal ones are built once") {
    const opened file{upload_file()};
    const std::vector<ckpt::pattern> order{"half", "tied"}; // whose storage is that of a.weight and of a.rows
    const auto plan = plan_upload(file.weights, {.order = order, .piece_bytes = 4'096}).value();
    const auto pieces = [](const upload_plan& p, std::string_view key) {
        return ckpt::detail::find_placed(*ckpt::detail::upload_plan_access::data(p), key, 0).value()->pieces;
    };
    CHECK(pieces(plan, "half") < pieces(plan, "tied"));
    CHECK(pieces(plan, "a.weight") == pieces(plan, "tied"));
    CHECK(pieces(plan, "a.rows") <= pieces(plan, "tied"));
    CHECK(pieces(plan, "empty") == 0);
    CHECK(pieces(plan, "a.bias") > pieces(plan, "tied"));
    carried_out{plan}.check(plan, file.weights);
    CHECK(by_key(plan).at("tied").offset == by_key(plan).at("a.weight").offset);

    const std::vector<ckpt::upload_cast> casts{{"a.**", ckpt::dtype::float16}, {"tied", ckpt::dtype::float16}};
    const auto built = plan_upload(file.weights, {.order = order, .casts = casts, .piece_bytes = 4'096}).value();
    CHECK(built.built_bytes() <=
          plan_upload(file.weights, {.casts = casts, .piece_bytes = 4'096}).value().built_bytes() + 256);
    CHECK(by_key(built).at("tied").offset == by_key(built).at("a.weight").offset);
    CHECK(pieces(built, "a.weight") < pieces(built, "a.bias"));
    carried_out{built}.check(built, file.weights);
    carried_out{built}.check_order(built, order);
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

} // namespace upload_plan_test
