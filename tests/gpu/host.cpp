// tests/gpu/host.cpp: the upload engine on the host itself: everything in one block of memory.
//
// SPDX-License-Identifier: MIT
#include <ckpt/folder.hpp>
#include <ckpt/gpu/element_ops.hpp>
#include <ckpt/host.hpp>
#include <ckpt/state/shard.hpp>

#include "../support/inflate.hpp"
#include "../support/page_cache.hpp"
#include "../support/quantised_files.hpp"
#include "../support/temporary_file.hpp"
#include "../support/upload_files.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace host_test {

using ckpt::errc;
using ckpt::upload_layout;
using ckpt::upload_source;
using namespace test_support;
namespace fs = std::filesystem;

namespace {

constexpr ckpt::dtype bf16 = ckpt::dtype::bfloat16, f32 = ckpt::dtype::float32;

/// Compares what was loaded with what it came from, tensor by tensor; parts are keys of their own.
std::size_t compare(const ckpt::state_dict& loaded, std::string_view key, const ckpt::tensor& from) {
    std::size_t n = 0;
    for (const auto part : from.parts())
        n += compare(loaded, std::string(key) + '.' + std::string(part.name), part.tensor);
    if (from.layout() != ckpt::layout::strided) return n;
    const auto there = loaded.at(key);
    if (!there) FAIL(std::string(key) << ": " << there.error().message());
    CHECK(std::vector<std::int64_t>(there->shape().begin(), there->shape().end()) ==
          std::vector<std::int64_t>(from.shape().begin(), from.shape().end()));
    CHECK(there->dtype() == from.dtype());
    const auto before = from.crc32(), after = there->crc32();
    REQUIRE_MESSAGE(before.has_value() == after.has_value(), std::string(key));
    if (before) CHECK_MESSAGE(*after == *before, std::string(key));
    else CHECK(after.error().code == before.error().code);
    return n + 1;
}

} // namespace

TEST_CASE("host: every tensor of every file of tests/data, in each layout, read in each way") {
    std::size_t files = 0, tensors = 0, refused = 0;
    for (const auto& found : fs::recursive_directory_iterator(CKPT_TEST_DATA)) {
        if (!found.is_regular_file() || found.path().extension() == ".json" || found.path().extension() == ".py")
            continue;
        const auto file = ckpt::open(found.path(), {.inflate = test_inflater()});
        if (!file) continue;
        for (const auto& candidate : file->state_dicts()) {
            const auto weights = file->state_dict(candidate.path);
            if (!weights) continue;
            CAPTURE(found.path().string());
            CAPTURE(candidate.path);
            ++files;
            for (const auto layout : {upload_layout::file_image, upload_layout::packed})
                for (const auto source : {upload_source::buffered, upload_source::direct}) {
                    const bool small = layout == upload_layout::packed;
                    const auto loaded = ckpt::host::load(
                        *weights, {.plan = {.layout = layout, .piece_bytes = small ? 4'096u : 1u << 20},
                                   .source = source,
                                   .readers = small ? 0u : 2u,
                                   .verify = true});
                    if (!loaded) {
                        // Only for what has no values.
                        const errc why = loaded.error().code;
                        CHECK_MESSAGE((why == errc::no_data || weights->refused() != 0 || why == errc::packed ||
                                       why == errc::output_limit || why == errc::not_strided),
                                      loaded.error().message());
                        ++refused;
                        continue;
                    }
                    for (const auto [key, tensor] : *weights) tensors += compare(loaded->weights, key, tensor);
                }
        }
    }
    MESSAGE(files << " state_dicts, " << tensors << " tensors, " << refused << " refused");
    CHECK(files > 100);
    CHECK(tensors > 5'000);
}

TEST_CASE("host: quantised tensors become their numbers, from files of either byte order, read in each way") {
    for (const bool big_endian : {false, true}) {
        const temporary_file path{quantised_file(big_endian)};
        for (const auto how : {ckpt::io_mode::map, ckpt::io_mode::read}) {
            const auto weights = ckpt::open(path.path(), {.io = how}).value().state_dict().value();
            for (const auto source : {upload_source::buffered, upload_source::direct})
                for (const unsigned readers : {0u, 2u}) {
                    const auto loaded =
                        ckpt::host::load(weights, {.plan = {.order = {"middle"},
                                                            .casts = {{"wide", bf16}, {"slice", ckpt::dtype::float16}},
                                                            .dequantize = {"**"},
                                                            .piece_bytes = 4'096},
                                                   .source = source,
                                                   .readers = readers})
                            .value();
                    CHECK(loaded.weights.size() == weights.size());
                    for (const auto [key, tensor] : loaded.weights) {
                        const std::string name(key); // Clang 14 captures no structured binding
                        CAPTURE(name);
                        CHECK(tensor.dtype() == (key == "wide" ? bf16 : key == "slice" ? ckpt::dtype::float16 : f32));
                        CHECK(!tensor.quantizer().has_value());
                        CHECK(values_of(tensor, tensor.dtype()) == numbers_of(weights.at(key).value(), tensor.dtype()));
                    }
                    CHECK(loaded.weights.view<float, 2>("turned").has_value());
                }
        }
    }
    // Records that are compressed, and those of a real file, which has the numbers of torch beside them.
    const auto weights = ckpt::open(CKPT_TEST_DATA "/torch-2.13/quantized_kinds.pt").value().state_dict("").value();
    const auto loaded = ckpt::host::load(weights, {.plan = {.dequantize = {"**"}}}).value();
    std::size_t compared = 0;
    for (const auto [key, tensor] : weights) {
        const std::string numbers = std::string(key) + ".dequantized";
        if (!weights.contains(numbers)) continue;
        ++compared;
        CHECK(values_of(loaded.weights.at(key).value(), f32) == values_of(weights.at(numbers).value(), f32));
    }
    CHECK(compared > 5);
}

TEST_CASE("host: in the order of the caller: the same tensors; records that are read in one go are verified") {
    const auto views = [](const char* key, std::int64_t offset) {
        return pkl::tensor(pkl::storage("FloatStorage", key, 2'000), offset, {1'000}, {1});
    };
    const std::string bytes =
        torch_file(pkl::ordered({{pkl::str("a.0"), views("0", 0)},
                                 {pkl::str("b.0"), views("0", 1'000)},
                                 {pkl::str("a.1"), views("1", 0)},
                                 {pkl::str("a.2"), views("1", 1'000)},
                                 {pkl::str("c"), pkl::floats("2", 50'000)}}),
                   {{"0", some_floats(2'000, 1)}, {"1", some_floats(2'000, 2)}, {"2", some_floats(50'000, 3)}});
    std::string damaged = bytes;
    damaged[damaged.find(some_floats(50'000, 3)) + 7] ^= 1;
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const auto weights = file.state_dict().value();
    for (const unsigned readers : {0u, 2u})
        for (const auto layout : {upload_layout::file_image, upload_layout::packed}) {
            ckpt::host::load_options options{
                .plan = {.layout = layout, .piece_bytes = 4'096}, .readers = readers, .verify = true};
            CHECK(ckpt::host::load(weights, options).value().report.verified == 3);
            options.plan.order = {"c", "b.*"};
            const auto loaded = ckpt::host::load(weights, options).value();
            for (const auto [key, tensor] : weights) CHECK(compare(loaded.weights, key, tensor) == 1);
            CHECK(loaded.report.verified == 2);
            CHECK(loaded.report.unverified == 1); // "0", of which each half is read by itself
            const auto bad = ckpt::open_bytes(bytes_of(damaged)).value().state_dict().value();
            CHECK(ckpt::host::load(bad, options).error().code == errc::checksum_mismatch);
            options.plan.order = {"d"};
            CHECK(ckpt::host::load(weights, options).error().code == errc::key_missing);
        }
}

TEST_CASE("host: compressed storages are inflated once by each thread, in pieces, and checked") {
    constexpr std::int64_t n = 100'000;
    std::vector<float> numbers(n);
    for (std::size_t i = 0; i < n; ++i) numbers[i] = static_cast<float>(i);
    const std::string data{reinterpret_cast<const char*>(numbers.data()), 4 * n};
    const auto t = [](const char* key, std::int64_t offset, std::int64_t count) {
        return pkl::tensor(pkl::storage("FloatStorage", key, n), offset, {count}, {1});
    };
    auto members = torch_records(
        pkl::pickle(pkl::dict(
            {{pkl::str("a"), t("0", 0, n)}, {pkl::str("part"), t("1", n - 8, 8)}, {pkl::str("b"), t("1", 0, n)}})),
        {{"0", data}, {"1", data}});
    members[2] = deflated(members[2]);
    members[3] = deflated(members[3]);
    const std::string bytes = write_zip(members).bytes;
    int streams = 0; // one reader counts alone
    const auto file = ckpt::open_bytes(bytes_of(bytes), {.inflate = test_inflater(&streams)}).value();
    const auto weights = file.state_dict().value();
    for (const unsigned readers : {0u, 1u}) {
        streams = 0;
        const auto loaded = ckpt::host::load(weights, {.plan = {.piece_bytes = 65'536}, .readers = readers});
        if (!loaded) FAIL(loaded.error().message());
        CHECK(streams == 2);
        for (const auto [key, tensor] : weights) CHECK(compare(loaded->weights, key, tensor) == 1);
    }
    members[3].inflated_crc ^= 1u;
    const std::string damaged = write_zip(members).bytes;
    const auto bad = ckpt::open_bytes(bytes_of(damaged), {.inflate = test_inflater()}).value();
    for (const unsigned readers : {0u, 2u}) {
        const auto refused = ckpt::host::load(bad.state_dict().value(), {.readers = readers});
        REQUIRE(!refused);
        CHECK(refused.error().code == errc::checksum_mismatch);
    }
}

TEST_CASE("host: conversions give what copy_as gives, and leave integers alone") {
    const std::string bytes = upload_file();
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const auto weights = file.state_dict().value();
    for (const ckpt::dtype to : {bf16, f32, ckpt::dtype::float16, ckpt::dtype::float64, ckpt::dtype::float8_e4m3fn}) {
        const auto loaded =
            ckpt::host::load(weights, {.plan = {.casts = {{"**", to}}, .piece_bytes = 4'096}, .readers = 1});
        if (!loaded) FAIL(loaded.error().message());
        for (const auto [key, tensor] : weights) {
            const auto there = loaded->weights.at(key).value();
            const bool integer = key == "steps" || key == "mask";
            const std::string name{key};
            CAPTURE(name);
            CHECK(there.dtype() == (integer ? tensor.dtype() : to));
            CHECK(values_of(there, there.dtype()) == values_of(tensor, there.dtype()));
        }
        CHECK(loaded->weights.at("tied").value().storage_id() == loaded->weights.at("a.weight").value().storage_id());
        CHECK(loaded->weights.at("a.bias").value().storage_id() != loaded->weights.at("a.weight").value().storage_id());
    }
    const ckpt::device_kernels of_a_device{.can_cast = ckpt::detail::is_castable}; // which the host has not
    const auto wide = ckpt::host::load(
        weights, {.plan = {.casts = {{"brain", f32}}, .piece_bytes = 4'096, .kernels = &of_a_device}, .readers = 1});
    REQUIRE(wide);
    CHECK(values_of(wide->weights.at("brain").value(), f32) == values_of(weights.at("brain").value(), f32));
    const auto refused = ckpt::host::load(weights, {.plan = {.casts = {{"half", ckpt::dtype::int64}}}});
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::conversion);
    CHECK(refused.error().path == "half");
}

TEST_CASE("host: typed views and tied tensors of what was loaded") {
    const temporary_file path{upload_file()};
    const auto file = ckpt::open(path.path(), {.io = ckpt::io_mode::read}).value();
    const auto weights = file.state_dict().value();
    CHECK(!weights.view<float, 2>("a.weight"));
    const auto loaded = ckpt::host::load(weights).value();
    const auto whole = loaded.weights.view<float, 2>("a.weight").value();
    CHECK(loaded.weights.view<float, 2>("tied").value().data == whole.data);
    CHECK(loaded.weights.view<float, 2>("a.rows").value().data == whole.data + 960);
    CHECK(loaded.weights.view<float, 2>("turned").value().strides[1] == 33);
    CHECK(loaded.weights.size() == weights.size());
    CHECK(loaded.report.bytes >= 64 * 96 * 4);
}

TEST_CASE("host: views of two types that overlap, of which one begins between elements of the other") {
    const std::string bytes = torch_file(
        pkl::ordered({{pkl::str("bytes"), pkl::tensor(pkl::storage("ByteStorage", "0", 100), 3, {50}, {1})},
                      {pkl::str("floats"), pkl::tensor(pkl::storage("FloatStorage", "0", 25), 1, {24}, {1})}}),
        {{"0", some_floats(25, 1)}});
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const auto weights = file.state_dict().value();
    for (const auto layout : {upload_layout::file_image, upload_layout::packed}) {
        const auto loaded = ckpt::host::load(weights, {.plan = {.layout = layout}}).value();
        for (const auto [key, tensor] : weights) CHECK(compare(loaded.weights, key, tensor) == 1);
    }
}

TEST_CASE("host: a whole rank is loaded from its slice of the file") {
    const std::string bytes = upload_file();
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const auto weights = file.state_dict().value();
    const auto whole = values_of(weights.at("a.weight").value(), f32);
    const std::vector<ckpt::shard_rule> rules{{"a.weight", 1}, {"brain", 0}};
    std::vector<std::byte> joined(whole.size());
    for (std::uint32_t rank = 0; rank < 4; ++rank) {
        const auto loaded =
            ckpt::host::load(ckpt::shard(weights, rules, rank, 4).value(), {.plan = {.select = {"a.weight"}}}).value();
        const auto part = loaded.weights.view<float, 2>("a.weight").value();
        for (int r = 0; r < 64; ++r)
            for (int c = 0; c < 24; ++c)
                std::memcpy(joined.data() + 4 * (r * 96 + static_cast<int>(rank) * 24 + c), &part(r, c), 4);
    }
    CHECK(joined == whole);
    const auto indivisible = ckpt::shard(weights, rules, 0, 7);
    REQUIRE(!indivisible);
    CHECK(indivisible.error().code == errc::slice_invalid);
}

TEST_CASE("host: checksums of records are compared when asked for") {
    std::string bytes = upload_file();
    const auto at = bytes.find(some_floats(96, 2));
    REQUIRE(at != std::string::npos);
    bytes[at + 100] = static_cast<char>(bytes[at + 100] ^ 1);
    const temporary_file path{bytes};
    for (const bool mapped : {true, false}) {
        const auto file = ckpt::open(path.path(), {.io = mapped ? ckpt::io_mode::map : ckpt::io_mode::read}).value();
        const auto weights = file.state_dict().value();
        for (const unsigned readers : {0u, 2u})
            for (const auto layout : {upload_layout::file_image, upload_layout::packed}) {
                const ckpt::host::load_options how{
                    .plan = {.layout = layout, .piece_bytes = 4'096}, .readers = readers, .verify = true};
                const auto loaded = ckpt::host::load(weights, how);
                REQUIRE(!loaded);
                CHECK(loaded.error().code == errc::checksum_mismatch);
                CHECK(loaded.error().record == "1");
            }
        CHECK(ckpt::host::load(weights).has_value());
    }
    // What is read in part cannot be compared, and is counted.
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const auto weights = file.state_dict().value();
    const auto part = ckpt::host::load(weights, {.plan = {.select = {"a.rows", "half"}}, .verify = true}).value();
    CHECK(part.report.verified == 1);
    CHECK(part.report.unverified == 1);
    // The host's conversions do not sum what they read.
    const auto narrow =
        ckpt::host::load(weights,
                         {.plan = {.select = {"half", "a.weight"}, .casts = {{"a.weight", bf16}}}, .verify = true})
            .value();
    CHECK(narrow.report.verified == 1);
    CHECK(narrow.report.unverified == 1);
    CHECK(ckpt::host::load(weights, {.source = upload_source::mapped}).value().report.fallback ==
          "the host reads straight into its own memory");
}

TEST_CASE("host: a file that was cut, a caller that stops, memory that is not there: an error and nothing else") {
    const std::string bytes = upload_file();
    const temporary_file path{bytes};
    const auto file = ckpt::open(path.path(), {.io = ckpt::io_mode::read}).value();
    const auto weights = file.state_dict().value();
    for (const unsigned readers : {0u, 1u, 3u}) {
        int calls = 0;
        const auto third_time = [&](const ckpt::progress& p) {
            CHECK(p.done <= p.total);
            return ++calls < 3;
        };
        static_assert(
            !std::is_convertible_v<decltype(third_time), ckpt::progress_callback>); // as a temporary, it would be gone
        const auto stopped =
            ckpt::host::load(weights, {.plan = {.piece_bytes = 4'096}, .readers = readers, .progress = third_time});
        REQUIRE(!stopped);
        CHECK(stopped.error().code == errc::cancelled);
        CHECK(calls == 3);
    }
    fs::resize_file(path.path(), bytes.size() / 2);
    for (const auto source : {upload_source::buffered, upload_source::direct}) {
        const auto cut = ckpt::host::load(weights, {.plan = {.piece_bytes = 4'096}, .source = source});
        REQUIRE(!cut);
        CHECK(cut.error().code == errc::truncated);
        CHECK(cut.error().offset >= bytes.size() / 2 - 4'096);
    }
}

TEST_CASE("host: what is built of a file that was cut while it was mapped is an error, and no signal") {
    const std::string bytes = upload_file();
    const auto sliced = [](const ckpt::state_dict& all) {
        const std::vector<ckpt::shard_rule> columns{{"a.weight", 1}, {"half", 1}};
        return ckpt::shard(all, columns, 1, 4).value();
    };
    const auto merged = [](const ckpt::state_dict& all) {
        return ckpt::remap(all, ckpt::key_map::parse("split 0 a.weight -> top, bottom\nmerge 1 top, bottom -> wide\n"
                                                     "transpose 0 1 half")
                                    .value())
            .value();
    };
    for (const auto source : {upload_source::buffered, upload_source::direct})
        for (const unsigned readers : {0u, 2u}) {
            const temporary_file path{bytes};
            const auto all = ckpt::open(path.path()).value().state_dict().value();
            const auto slices = sliced(all), merges = merged(all);
            const std::uint64_t end = all.at("half").value().file_offset().value() + 1'000; // its header is there
            fs::resize_file(path.path(), end);
            const auto cut = [&](const ckpt::state_dict& weights, const ckpt::upload_plan_options& plan) {
                const auto loaded = ckpt::host::load(weights, {.plan = plan, .source = source, .readers = readers});
                REQUIRE(!loaded);
                CHECK(loaded.error().code == errc::truncated);
                CHECK(loaded.error().offset >= end);
            };
            cut(all, {.select = {"half"}});
            cut(all, {.select = {"half"}, .casts = {{"**", bf16}}});
            cut(all, {.select = {"half"}, .casts = {{"**", f32}}});
            cut(slices, {.select = {"half"}});
            cut(merges, {.select = {"half"}});
        }
    // A folder of torch.distributed.checkpoint, whose tensors lie in parts of files.
    const fs::path folder = fs::temp_directory_path() / ("ckpt-cut-" + std::to_string(std::random_device{}()));
    fs::copy(std::string(CKPT_TEST_DATA) + "/frameworks/dcp/mesh_2d", folder, fs::copy_options::recursive);
    {
        const auto opened = ckpt::open_folder(folder.string()).value();
        const auto weights = opened.state_dict(opened.state_dicts().front().path).value();
        CHECK(ckpt::host::load(weights).has_value());
        for (const auto& found : fs::directory_iterator(folder))
            if (found.path().extension() == ".distcp") fs::resize_file(found.path(), 0);
        const auto loaded = ckpt::host::load(weights);
        REQUIRE(!loaded);
        CHECK(loaded.error().code == errc::truncated);
    }
    fs::remove_all(folder);
}

#if defined(__linux__)

namespace {

/// How much of a file is in the system's cache, from 0 to 1.
double cached_part(const fs::path& path) {
    const std::uint64_t bytes = resident(path);
    REQUIRE(bytes != unknown_residency);
    return static_cast<double>(bytes) / static_cast<double>(fs::file_size(path));
}

} // namespace

TEST_CASE("host: direct reads leave the cache alone, whatever is built from them") {
    const temporary_file path{torch_file(
        pkl::ordered(
            {{pkl::str("w"), pkl::tensor(pkl::storage("FloatStorage", "0", 1 << 22), 0, {2'048, 2'048}, {2'048, 1})}}),
        {{"0", some_floats(1 << 22, 1)}})};
    const auto all = ckpt::open(path.path()).value().state_dict().value();
    const std::vector<ckpt::shard_rule> columns{{"w", 1}};
    const auto slice = ckpt::shard(all, columns, 1, 4).value();
    for (const auto& [weights, casts] :
         {std::pair{all, std::vector<ckpt::upload_cast>{}}, std::pair{all, std::vector<ckpt::upload_cast>{{"w", bf16}}},
          std::pair{slice, std::vector<ckpt::upload_cast>{}}}) {
        (void)forget(path.path());
        const double before = cached_part(path.path());
        const auto loaded =
            ckpt::host::load(weights, {.plan = {.casts = casts}, .source = upload_source::direct, .readers = 1});
        if (!loaded) FAIL(loaded.error().message());
        if (loaded->report.fallback.starts_with("direct reads:")) continue; // a file system without them
        CHECK(loaded->report.fallback.empty());
        CHECK(cached_part(path.path()) <= before + 0.05);
        const auto there = loaded->weights.at("w").value();
        CHECK(values_of(there, there.dtype()) == values_of(weights.at("w").value(), there.dtype()));
    }
}

#endif

TEST_CASE("host: compressed records are read through the cache, which the report of direct reads says") {
    const std::string data = some_floats(1'000, 3);
    auto members = torch_records(pkl::pickle(pkl::dict({{pkl::str("a"), pkl::floats("0", 1'000)}})), {{"0", data}});
    members[2] = deflated(members[2]);
    const temporary_file path{write_zip(members).bytes};
    const auto file = ckpt::open(path.path(), {.inflate = test_inflater()}).value();
    const auto loaded = ckpt::host::load(file.state_dict().value(), {.source = upload_source::direct}).value();
    CHECK(loaded.report.fallback == "compressed records are read through the system's cache");
}

TEST_CASE("host: values that a conversion would lose are an error, not a number") {
    const std::string bytes =
        torch_file(pkl::ordered({{pkl::str("n"), pkl::tensor(pkl::storage("LongStorage", "0", 3), 0, {3}, {1})}}),
                   {{"0", raw<std::int64_t>({1, 2, 300})}});
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const auto weights = file.state_dict().value();
    const auto loaded = ckpt::host::load(weights, {.plan = {.casts = {{"n", ckpt::dtype::uint8}}}});
    REQUIRE(!loaded);
    CHECK(loaded.error().code == errc::conversion);
}

} // namespace host_test
