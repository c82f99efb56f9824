// tests/archive/zip.cpp: which archives are read, which are refused, and why. Cases name the rule they check.
//
// SPDX-License-Identifier: MIT
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/archive/zip_verify.hpp>

#include "../support/temporary_file.hpp"
#include "../support/zip_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace zip_test {

using ckpt::errc;
using ckpt::io_mode;
using ckpt::record;
using ckpt::detail::arena;
using ckpt::detail::source;
using ckpt::detail::zip_archive;
namespace zip = ckpt::detail::zip;
using namespace test_support;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text.data(), text.size()});
}

/// Where a payload begins, for planning: predicted, or by its local header where that is not possible.
ckpt::result<std::uint64_t> planned(const source& from, const record& r, std::uint64_t alignment = 64) {
    const std::uint64_t predicted = zip::predict(r, alignment);
    if (predicted != 0) return predicted;
    return zip::locate(from, r);
}

/// What became of an archive: the first error, or none; all faults of the walk.
struct verdict {
    errc code{errc::none};
    std::uint64_t offset{0}; ///< from the archive's first byte
    std::string text{};
    std::vector<errc> findings{};
    std::vector<std::string> payloads{};

    bool operator==(const verdict&) const = default;
};

verdict judge_source(const source& from, const ckpt::limits& budget = {}) {
    verdict out;
    arena memory;
    const auto fill = [&](const ckpt::error& failure) {
        out.code = failure.code;
        out.text = std::string(ckpt::info(failure.code).name) + ": " + failure.detail;
        CHECK_FALSE(failure.detail.empty());
        CHECK_FALSE(failure.hint.empty());
        CHECK(failure.code != errc::internal);
        REQUIRE(failure.offset >= from.base());
        out.offset = failure.offset - from.base();
        CHECK(out.offset <= from.size());
        CHECK(failure.message().size() <= 1024);
    };
    const auto archive = zip_archive::read(from, budget, memory);
    if (!archive) {
        fill(archive.error());
        return out;
    }
    for (const record& r : archive->records()) {
        const auto plan = planned(from, r);
        const auto at = zip::locate(from, r);
        if (!at || !plan) {
            fill(at ? plan.error() : at.error());
            CHECK((at ? plan.error() : at.error()).record == r.name);
            return out;
        }
        REQUIRE(*at <= from.size());
        REQUIRE(r.stored_size <= from.size() - *at);
        std::string payload(static_cast<std::size_t>(std::min<std::uint64_t>(r.stored_size, 1 << 20)), '\0');
        (void)from.read(*at, std::as_writable_bytes(std::span(payload)));
        out.payloads.push_back(std::move(payload));
    }
    const auto sink = [](void* context, const ckpt::error& found) {
        static_cast<verdict*>(context)->findings.push_back(found.code);
    };
    ckpt::detail::progress_meter meter;
    const auto check = ckpt::detail::verify_zip(from, *archive, {}, meter, sink, &out);
    CHECK(check.findings == out.findings.size());
    CHECK(check.records == archive->records().size());
    return out;
}

verdict judge_memory(std::string_view bytes, io_mode mode = io_mode::map) {
    return judge_source(*source::memory(bytes_of(bytes), {.mode = mode}).value());
}

/// The verdict on every path by which bytes can come; all must agree.
verdict judge(const std::string& bytes) {
    const verdict out = judge_memory(bytes);
    CHECK(judge_memory(bytes, io_mode::read) == out);
    const std::string padded = std::string(70'001, 'P') + bytes + "PK\x05\x06 behind";
    const ckpt::detail::source_options part{.offset = 70'001, .length = bytes.size()};
    CHECK(judge_source(*source::memory(bytes_of(padded), part).value()) == out);
    const temporary_file file(bytes), within(padded);
    for (const io_mode mode : {io_mode::map, io_mode::read}) {
        CHECK(judge_source(*source::open(file.path(), {.mode = mode}).value()) == out);
        CHECK(judge_source(
                  *source::open(within.path(), {.mode = mode, .offset = part.offset, .length = part.length}).value()) ==
              out);
    }
    return out;
}

errc code_of(const std::string& bytes) { return judge(bytes).code; }
bool fine(const std::string& bytes) {
    const verdict out = judge(bytes);
    INFO(out.text);
    CHECK(out.code == errc::none);
    CHECK(out.findings.empty());
    return out.code == errc::none && out.findings.empty();
}

zip_file torch_file(int storages = 2) { return write_zip(torch_members(storages)); }
zip_style python_style() { return {.torch = false, .end64 = false}; }

/// The verdict after a change to an otherwise good file.
errc code_after(const std::function<void(zip_file&)>& change, zip_file file = torch_file()) {
    change(file);
    return code_of(file.bytes);
}

} // namespace

static_assert(std::is_trivially_copyable_v<zip_archive>);
static_assert(std::is_trivially_copyable_v<record>);

// ---- what is read ----

TEST_CASE("a file as torch.save writes it is read: names, sizes, checksums, payloads") {
    const auto members = torch_members(3);
    const zip_file file = write_zip(members);
    REQUIRE(fine(file.bytes));
    arena memory;
    const auto from = source::memory(bytes_of(file.bytes)).value();
    const auto archive = zip_archive::read(*from, {}, memory).value();
    REQUIRE(archive.records().size() == members.size());
    CHECK(archive.directory_offset() == file.directory);
    for (std::size_t i = 0; i < members.size(); ++i) {
        const record& r = archive.records()[i];
        CHECK(r.name == members[i].name);
        CHECK(r.size == members[i].data.size());
        CHECK(r.header_offset == file.local[i]);
        CHECK(r.bound == (i + 1 < members.size() ? file.local[i + 1] : file.directory));
        CHECK(r.crc32 == slow_crc32(members[i].data));
        CHECK(archive.find(members[i].name) == &r);
        CHECK(zip::predict(r, 64) == file.payload[i]);
        CHECK(zip::locate(*from, r).value() == file.payload[i]);
        const auto payload = zip::read_record(*from, r, memory, true).value();
        CHECK(std::string(reinterpret_cast<const char*>(payload.data()), payload.size()) == members[i].data);
    }
    CHECK(archive.find("archive/data/3") == nullptr);
    CHECK(archive.find("") == nullptr);
}

TEST_CASE("the writer of these tests gives the bytes of a real file") {
    // The first record of a file that torch 2.14 wrote to tiny.pt: 162 bytes of pickle at 0x40.
    const std::string header(
        "PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0d\0\x15\0tiny/data.pkl\x46\x42\x11\0", 47);
    const zip_file file = write_zip({{.name = "tiny/data.pkl", .data = std::string(162, 'x')}});
    CHECK(file.bytes.substr(0, 47) == header);
    CHECK(file.bytes.substr(47, 17) == std::string(17, 'Z'));
    CHECK(file.bytes.substr(64 + 162, 4) == "PK\x07\x08");
}

TEST_CASE("an empty record has no descriptor, and is predicted and read") {
    auto members = torch_members();
    members.insert(members.begin() + 4, {.name = "archive/data/empty", .data = ""});
    const zip_file file = write_zip(members);
    REQUIRE(fine(file.bytes));
    arena memory;
    const auto from = source::memory(bytes_of(file.bytes)).value();
    const auto archive = zip_archive::read(*from, {}, memory).value();
    const record* const empty = archive.find("archive/data/empty");
    REQUIRE(empty != nullptr);
    CHECK(empty->flags == 0x0800);
    CHECK(zip::predict(*empty, 64) == file.payload[4]);
    CHECK(zip::read_record(*from, *empty, memory, true).value().empty());
}

TEST_CASE("other alignments are read; predictions hold with the right one only") {
    for (const std::uint64_t alignment : {1u, 3u, 64u, 4096u, 65'536u / 2}) {
        const zip_file file = write_zip(torch_members(), {.alignment = alignment});
        REQUIRE(fine(file.bytes));
        arena memory;
        const auto from = source::memory(bytes_of(file.bytes)).value();
        const auto archive = zip_archive::read(*from, {}, memory).value();
        for (std::size_t i = 0; i < archive.records().size(); ++i) {
            const record& r = archive.records()[i];
            CHECK(zip::predict(r, alignment) == file.payload[i]);
            CHECK(planned(*from, r, 64).value() == file.payload[i]);
            CHECK(planned(*from, r, 0).value() == file.payload[i]);
            CHECK(planned(*from, r, ~std::uint64_t{0}).value() == file.payload[i]);
        }
    }
}

TEST_CASE("nothing is predicted for a compressed record, or with numbers that would wrap") {
    const record stored{
        .name = "a", .header_offset = 0, .size = 64, .stored_size = 64, .bound = 64 + 64 + 16, .flags = 0x0808};
    CHECK(zip::predict(stored, 64) == 64);
    record other = stored;
    other.method = 8;
    CHECK(zip::predict(other, 64) == 0);
    other = stored, other.bound += 1;
    CHECK(zip::predict(other, 64) == 0);
    for (const std::uint64_t huge : {~std::uint64_t{0}, ~std::uint64_t{0} - 40, ~std::uint64_t{0} - 100}) {
        other = stored, other.size = huge;
        CHECK(zip::predict(other, 64) == 0);
        other = stored, other.header_offset = huge;
        CHECK(zip::predict(other, 64) == 0);
        CHECK(zip::predict(stored, huge) == 0);
    }
}

TEST_CASE("a file with checksums switched off is read") {
    const zip_file file = write_zip(torch_members(), {.crc = false});
    REQUIRE(fine(file.bytes));
    arena memory;
    const auto from = source::memory(bytes_of(file.bytes)).value();
    const auto archive = zip_archive::read(*from, {}, memory).value();
    CHECK(zip::read_record(*from, archive.records()[0], memory, true).has_value());
    ckpt::detail::progress_meter meter;
    const auto check = ckpt::detail::verify_zip(*from, archive, {}, meter, [](void*, const ckpt::error&) {}, nullptr);
    CHECK(check.unchecked_crc == archive.records().size());
    CHECK(check.bytes == 0);
}

TEST_CASE(
    "a file that Python or Info-ZIP packed again is read: sizes in local headers, folders, extra fields, comments") {
    const std::string times = extra_field(0x5455, std::string(9, 't')) + extra_field(0x7875, std::string(11, 'u'));
    auto members = torch_members();
    for (auto& m : members) {
        m.local_extra = times;
        m.central_extra = extra_field(0x5455, std::string(5, 't'));
    }
    members.insert(members.begin(), {.name = "archive/"});
    members.push_back({.name = "archive/data/"});
    members.push_back({.name = "archive/note", .data = "n", .comment = "a comment"});
    zip_style style = python_style();
    style.comment = "packed again";
    REQUIRE(fine(write_zip(members, style).bytes));
    arena memory;
    const zip_file file = write_zip(members, style);
    const auto from = source::memory(bytes_of(file.bytes)).value();
    const auto archive = zip_archive::read(*from, {}, memory).value();
    CHECK(archive.records()[0].is_folder());
    CHECK(archive.find("archive/") == nullptr);
    CHECK(archive.find("archive/data.pkl") != nullptr);
    CHECK(zip::predict(*archive.find("archive/data.pkl"), 64) == 0);
    CHECK(planned(*from, *archive.find("archive/data/1")).value() == file.payload[6]);
}

TEST_CASE("data descriptors of another writer are read, with and without a signature") {
    for (const bool signature : {true, false}) {
        auto members = torch_members();
        for (auto& m : members) m.descriptor = true, m.descriptor_signature = signature;
        REQUIRE(fine(write_zip(members, python_style()).bytes));
    }
}

TEST_CASE("bytes between records, and a directory in another order, are read") {
    auto members = torch_members();
    for (auto& m : members) m.gap = "PK\x03\x04 gap";
    REQUIRE(fine(write_zip(members).bytes));
    REQUIRE(fine(write_zip(torch_members(), {.reversed_directory = true}).bytes));
}

TEST_CASE("Z8: a deflated record beside is read, and refused only when its content is asked for") {
    auto members = torch_members();
    members.push_back({.name = "archive/code/a.py", .data = "\x03\0", .method = 8, .inflated = 0, .inflated_crc = 0});
    members.back().data = std::string("\x4b\x04\0", 3); // "a"
    members.back().inflated = 1;
    members.back().inflated_crc = slow_crc32("a");
    for (const bool torch : {true, false}) {
        const zip_file file = write_zip(members, torch ? zip_style{} : python_style());
        REQUIRE(fine(file.bytes));
        arena memory;
        const auto from = source::memory(bytes_of(file.bytes)).value();
        const auto archive = zip_archive::read(*from, {}, memory).value();
        const record* const code = archive.find("archive/code/a.py");
        REQUIRE(code != nullptr);
        CHECK(code->stored_size == 3);
        CHECK(code->size == 1);
        CHECK(zip::predict(*code, 64) == 0);
        const auto content = zip::read_record(*from, *code, memory, true);
        REQUIRE_FALSE(content.has_value());
        CHECK(content.error().code == errc::compressed);
        CHECK(content.error().record == code->name);
    }
}

TEST_CASE("B2: an end record, a locator or a whole archive inside a payload changes nothing") {
    const std::string inner = torch_file().bytes;
    const std::string empty_end = "PK\x05\x06" + std::string(18, '\0');
    for (const std::string& data : {inner, inner + inner, empty_end, "PK\x06\x07" + std::string(16, '\0') + empty_end,
                                    std::string("PK\x05\x06"), std::string(70'000, 'x') + inner}) {
        auto members = torch_members();
        members.back().data = data;
        REQUIRE(fine(write_zip(members).bytes));
        REQUIRE(fine(write_zip(members, python_style()).bytes));
    }
}

TEST_CASE("what follows the end record is ignored, as PyTorch does") {
    for (const std::string& junk : {std::string("\0\0\0", 3), std::string(60'000, 'j'), std::string("PK\x05\x06 cut")})
        CHECK(fine(write_zip(torch_members(), {.junk = junk}).bytes));
    // Past the window nothing is looked for.
    CHECK(code_of(write_zip(torch_members(), {.junk = std::string(65'536, 'j')}).bytes) == errc::zip_truncated);
}

TEST_CASE("many records are found by name and nothing else is") {
    const int count = 3000;
    const zip_file file = write_zip(torch_members(count));
    arena memory;
    const auto from = source::memory(bytes_of(file.bytes)).value();
    const auto archive = zip_archive::read(*from, {}, memory).value();
    CHECK(archive.records().size() == count + 6);
    for (int i = 0; i < count; ++i) {
        const record* const r = archive.find("archive/data/" + std::to_string(i));
        REQUIRE(r != nullptr);
        REQUIRE(zip::predict(*r, 64) == file.payload[static_cast<std::size_t>(i) + 4]);
    }
    for (int i = 0; i < count; ++i) REQUIRE(archive.find("archive/Data/" + std::to_string(i)) == nullptr);
    CHECK(archive.find("archive/data/3000") == nullptr);
}

TEST_CASE("a directory larger than the window for the end record is read, with a comment too") {
    for (const std::size_t comment : {std::size_t{0}, std::size_t{10}, std::size_t{65'535}})
        CHECK(judge_memory(write_zip(torch_members(2000), {.comment = std::string(comment, 'c')}).bytes).code ==
              errc::none);
}

// ---- ZIP64 and large files ----

TEST_CASE("Z7: records beyond 4 GiB are read as torch writes them") {
    constexpr std::uint64_t gib = std::uint64_t{1} << 30;
    auto members = torch_members(1, "big");
    members.insert(members.begin() + 5, {.name = "big/data/1", .hole = 5 * gib});
    members.insert(members.begin() + 6, {.name = "big/data/2", .data = "beyond"});
    members.insert(members.begin() + 7, {.name = "big/data/3", .hole = 4 * gib - 1});
    members.insert(members.begin() + 8, {.name = "big/data/4", .data = ""});
    for (const std::uint64_t alignment : {64u, 4096u}) {
        const zip_file file = write_zip(members, {.alignment = alignment});
        const temporary_file path;
        path.write_sparse(file.pieces);
        const auto opened = source::open(path.path(), {.mode = io_mode::read});
        REQUIRE(opened.has_value());
        const source& from = **opened;
        REQUIRE(from.size() == file.size);
        arena memory;
        const auto archive = zip_archive::read(from, {}, memory);
        REQUIRE(archive.has_value());
        REQUIRE(archive->records().size() == members.size());
        CHECK(memory.total() < 1'000'000);
        for (std::size_t i = 0; i < members.size(); ++i) {
            const record& r = archive->records()[i];
            CHECK(r.size == (members[i].hole != 0 ? members[i].hole : members[i].data.size()));
            CHECK(r.header_offset == file.local[i]);
            CHECK(zip::predict(r, alignment) == file.payload[i]);
            const auto at = zip::locate(from, r);
            REQUIRE(at.has_value());
            CHECK(*at == file.payload[i]);
        }
        std::vector<errc> findings;
        const auto sink = [](void* context, const ckpt::error& found) {
            static_cast<std::vector<errc>*>(context)->push_back(found.code);
        };
        ckpt::detail::progress_meter meter;
        (void)ckpt::detail::verify_zip(from, *archive, {.checksums = false}, meter, sink, &findings);
        CHECK(findings.empty());
    }
}

TEST_CASE("Z7: records beyond 4 GiB are read as Python writes them") {
    constexpr std::uint64_t gib = std::uint64_t{1} << 30;
    auto members = torch_members(1, "big");
    members.insert(members.begin() + 5, {.name = "big/data/1", .hole = 5 * gib});
    members.insert(members.begin() + 6, {.name = "big/data/2", .data = "beyond"});
    zip_style style = python_style();
    style.end64 = true;
    const zip_file file = write_zip(members, style);
    const temporary_file path;
    path.write_sparse(file.pieces);
    const auto from = source::open(path.path(), {.mode = io_mode::read}).value();
    arena memory;
    const auto archive = zip_archive::read(*from, {}, memory).value();
    for (std::size_t i = 0; i < members.size(); ++i)
        CHECK(planned(*from, archive.records()[i]).value() == file.payload[i]);
}

TEST_CASE(
    "Z7: a ZIP64 field of the directory holds the fields that ask for it, and repeats others truly or is refused") {
    const auto with = [](
                          const std::string& extra, const std::function<void(zip_file&)>& change = [](zip_file&) {}) {
        auto members = torch_members();
        members[5].central_extra = extra;
        zip_file file = write_zip(members);
        change(file);
        return code_of(file.bytes);
    };
    const zip_file plain = torch_file();
    const std::uint64_t size = torch_members()[5].data.size(), offset = plain.local[5];
    const std::size_t entry = 5;
    const auto ask_size = [&](zip_file& f) { f.put32(f.central[entry] + 24, 0xFFFF'FFFF); };
    const auto ask_stored = [&](zip_file& f) { f.put32(f.central[entry] + 20, 0xFFFF'FFFF); };
    const auto ask_offset = [&](zip_file& f) { f.put32(f.central[entry] + 42, 0xFFFF'FFFF); };
    const auto ask_sizes = [&](zip_file& f) { ask_size(f), ask_stored(f); };
    const auto ask_all = [&](zip_file& f) { ask_sizes(f), ask_offset(f); };

    // Good: exactly what is asked for, in the order size, stored size, offset.
    CHECK(with(extra_field(1, le64(size)), ask_size) == errc::none);
    CHECK(with(extra_field(1, le64(size)), ask_stored) == errc::none);
    CHECK(with(extra_field(1, le64(offset)), ask_offset) == errc::none);
    CHECK(with(extra_field(1, le64(size) + le64(size) + le64(offset)), ask_all) == errc::none);
    CHECK(with(extra_field(0x5455, "ttttt") + extra_field(1, le64(offset)) + extra_field(7, ""), ask_offset) ==
          errc::none);
    // Good: more than that, all true (Go writes all three); the disk; an empty field; a tail that is no field.
    CHECK(with(extra_field(1, le64(size) + le64(size) + le64(offset)), ask_sizes) == errc::none);
    CHECK(with(extra_field(1, le64(size) + le64(size) + le64(offset) + le32(0)), ask_all) == errc::none);
    CHECK(with(extra_field(1, le64(size) + le64(size))) == errc::none);
    CHECK(with(extra_field(1, "")) == errc::none);
    CHECK(with(std::string("\0\0\0", 3)) == errc::none);
    // Bad: missing, short, double, contradictory, odd, too long, another disk, past the area.
    CHECK(with("", ask_size) == errc::zip64_invalid);
    CHECK(with("", ask_offset) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size)), ask_sizes) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + le64(size)), ask_all) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le32(7)), ask_size) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size)) + extra_field(1, le64(size)), ask_size) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size + 1) + le64(size))) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + le64(size) + le64(offset + 1)), ask_sizes) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + le64(size) + le64(offset)), ask_offset) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + "abc"), ask_size) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + le64(size) + le64(offset) + le64(0)), ask_all) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + le64(size) + le64(offset) + le32(1)), ask_all) == errc::zip64_invalid);
    CHECK(with(le16(1) + le16(9) + le64(size), ask_size) == errc::zip64_invalid);
    CHECK(with(le16(0x5455) + le16(0xFFFF) + le64(size)) == errc::zip64_invalid);
    // Bad: numbers that are fine as a field and impossible as a place.
    CHECK(with(extra_field(1, le64(~std::uint64_t{0})), ask_offset) == errc::zip_bounds);
    CHECK(with(extra_field(1, le64(~std::uint64_t{0} - 20)), ask_offset) == errc::zip_bounds);
    CHECK(with(extra_field(1, le64(~std::uint64_t{0}) + le64(~std::uint64_t{0})), ask_sizes) == errc::zip_bounds);
}

TEST_CASE("Z7: a ZIP64 field of a local header is true or refused") {
    const auto with = [](
                          const std::string& extra, bool torch,
                          const std::function<void(zip_file&)>& change = [](zip_file&) {}) {
        auto members = torch_members();
        members[5].local_extra = extra;
        zip_file file = write_zip(members, torch ? zip_style{} : python_style());
        change(file);
        return code_of(file.bytes);
    };
    const std::uint64_t size = torch_members()[5].data.size();
    const std::uint64_t torch_at = torch_file().local[5],
                        python_at = write_zip(torch_members(), python_style()).local[5];
    const auto ask = [](zip_file& f) { f.put32(f.local[5] + 18, 0xFFFF'FFFF), f.put32(f.local[5] + 22, 0xFFFF'FFFF); };
    const auto ask_one = [](zip_file& f) { f.put32(f.local[5] + 22, 0xFFFF'FFFF); };
    CHECK(with(extra_field(1, le64(size) + le64(0)), true) == errc::none);
    CHECK(with(extra_field(1, le64(size) + le64(0) + le64(torch_at)), true) == errc::none);
    CHECK(with(extra_field(1, le64(torch_at)), true) == errc::none);
    CHECK(with(extra_field(1, le64(size) + le64(size)), true, ask) == errc::none);
    CHECK(with(extra_field(1, le64(size) + le64(size)), false) == errc::none);
    CHECK(with(extra_field(1, le64(size) + le64(size)), false, ask) == errc::none);
    CHECK(with(extra_field(1, le64(size)), false, ask_one) == errc::none);
    CHECK(with(extra_field(1, le64(python_at)), false) == errc::none);

    CHECK(with(extra_field(1, le64(size + 1) + le64(0)), true) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + le64(1)), true) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + le64(0) + le64(torch_at + 1)), true) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(torch_at + 1)), true) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + le64(0)), false) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size)), false, ask) == errc::zip64_invalid);
    CHECK(with("", false, ask) == errc::zip64_invalid);
    CHECK(with("", false, ask_one) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size + 1)), false, ask_one) == errc::zip_header_mismatch);
    CHECK(with(extra_field(1, le64(size) + le64(size)) + extra_field(1, ""), false) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + "abcd"), false) == errc::zip64_invalid);
    CHECK(with(extra_field(1, le64(size) + le64(size) + le64(0) + le64(0)), false) == errc::zip64_invalid);
    CHECK(with(le16(0x5455) + le16(100) + "x", false) == errc::zip64_invalid);
}

TEST_CASE("Z7, Z12: a ZIP64 end record is where its locator says, and whole") {
    const auto bad = errc::zip64_invalid;
    CHECK(code_after([](zip_file& f) { f.put64(f.locator + 8, f.end64 - 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.locator + 8, f.end64 + 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.locator + 8, 0); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.locator + 8, f.size); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.locator + 8, ~std::uint64_t{0}); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.locator + 8, ~std::uint64_t{0} - 50); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.end64 + 4, 45); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.end64 + 4, 0); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.end64 + 4, ~std::uint64_t{0}); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.end64, 0x0606'4B51); }) == bad);
    // Without its locator the ZIP64 record is only bytes between the directory and the end record.
    CHECK(code_after([](zip_file& f) { f.put32(f.locator, 0); }) == errc::zip_count_mismatch);
    // A copy of the end record inside a payload, and a locator that points there.
    auto members = torch_members();
    const zip_file plain = write_zip(members);
    members[5].data = plain.bytes.substr(static_cast<std::size_t>(plain.end64), 56);
    zip_file astray = write_zip(members);
    REQUIRE(fine(astray.bytes));
    astray.put64(astray.locator + 8, astray.payload[5]);
    CHECK(code_of(astray.bytes) == bad);
}

TEST_CASE("Z7: a plain end record that asks for a ZIP64 one has it") {
    zip_file file = write_zip(torch_members(), {.end64 = false});
    REQUIRE(fine(file.bytes));
    file.put32(file.end + 16, 0xFFFF'FFFF);
    CHECK(code_of(file.bytes) == errc::zip64_invalid);
    file = write_zip(torch_members(), {.end64 = false});
    file.put32(file.end + 12, 0xFFFF'FFFF);
    CHECK(code_of(file.bytes) == errc::zip64_invalid);
    // And where it has one, full fields are taken from it.
    file = torch_file();
    file.put16(file.end + 8, 0xFFFF), file.put16(file.end + 10, 0xFFFF);
    file.put32(file.end + 12, 0xFFFF'FFFF), file.put32(file.end + 16, 0xFFFF'FFFF);
    CHECK(fine(file.bytes));
}

// ---- what is refused ----

TEST_CASE("C2: every prefix of an archive is refused") {
    for (const zip_style& style : {zip_style{}, python_style(), zip_style{.comment = "a comment of some length"}}) {
        const std::string whole = write_zip(torch_members(), style).bytes;
        REQUIRE(judge_memory(whole).code == errc::none);
        for (std::size_t length = 0; length < whole.size(); ++length) {
            const errc code = judge_memory(std::string_view(whole).substr(0, length)).code;
            CAPTURE(length);
            REQUIRE(code != errc::none);
        }
    }
    const verdict half = judge(torch_file().bytes.substr(0, 500));
    CHECK(half.code == errc::zip_truncated);
}

TEST_CASE("M1: every change of one byte is refused or read, and nothing lies outside") {
    for (const bool torch : {true, false}) {
        const zip_file good = write_zip(torch_members(1), torch ? zip_style{} : python_style());
        std::string bytes = good.bytes;
        for (std::size_t at = 0; at < bytes.size(); ++at)
            for (const int value : {0x00, 0x01, 0x50, 0x7F, 0x80, 0xFF, -1, -2}) {
                const char before = bytes[at];
                bytes[at] = value == -1   ? static_cast<char>(before + 1)
                            : value == -2 ? static_cast<char>(before ^ 0x20)
                                          : static_cast<char>(value);
                const verdict mapped = judge_memory(bytes);
                if ((at + static_cast<std::size_t>(value & 7)) % 8 == 0)
                    REQUIRE(judge_memory(bytes, io_mode::read) == mapped);
                bytes[at] = before;
            }
    }
}

TEST_CASE("Z1: a record past the end of the file is refused") {
    CHECK(code_after([](zip_file& f) { f.put32(f.central[5] + 42, 0x7FFF'FFFF); }) == errc::zip_bounds);
    CHECK(code_after([](zip_file& f) { f.put32(f.central[5] + 42, 0xFFFF'FFFE); }) == errc::zip_bounds);
    CHECK(code_after([](zip_file& f) {
              f.put32(f.central[5] + 20, 0xFFFF'FFFE), f.put32(f.central[5] + 24, 0xFFFF'FFFE);
          }) == errc::zip_bounds);
}

TEST_CASE("Z1: a directory or an entry past its end is refused") {
    CHECK(code_after([](zip_file& f) { f.put32(f.end + 16, 0x7FFF'FFFF), f.put64(f.end64 + 48, 0x7FFF'FFFF); }) ==
          errc::zip_bounds);
    CHECK(code_after([](zip_file& f) {
              f.put32(f.end + 16, 0xFFFF'FFFF), f.put64(f.end64 + 48, ~std::uint64_t{0} - 8);
          }) == errc::zip_bounds);
    CHECK(code_after([](zip_file& f) {
              f.put32(f.end + 12, 0xFFFF'FFFF), f.put64(f.end64 + 40, ~std::uint64_t{0} - 8);
          }) == errc::zip_bounds);
    CHECK(code_after([](zip_file& f) { f.put16(f.central.back() + 28, 0xFFFF); }) == errc::zip_bounds);
    CHECK(code_after([](zip_file& f) { f.put16(f.central.back() + 30, 0xFFFF); }) == errc::zip_bounds);
    CHECK(code_after([](zip_file& f) { f.put16(f.central.back() + 32, 1); }) == errc::zip_bounds);
}

TEST_CASE("Z2: a local header that disagrees with the directory is refused") {
    const auto bad = errc::zip_header_mismatch;
    CHECK(code_after([](zip_file& f) { f.put32(f.local[5], 0x0403'4B51); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put16(f.local[5] + 6, 0x0008); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put16(f.local[5] + 6, 0x0809); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put16(f.local[5] + 8, 8); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put(f.local[5] + 30, "Archive"); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put16(f.local[5] + 26, 5); }) == bad);
    // Deferred numbers may be zero or right, not something else.
    CHECK(code_after([](zip_file& f) { f.put32(f.local[5] + 14, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.local[5] + 18, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.local[5] + 22, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.local[5] + 14, slow_crc32(torch_members()[5].data)); }) == errc::none);
    // Numbers that are not deferred are right.
    const zip_file python = write_zip(torch_members(), python_style());
    CHECK(code_after([](zip_file& f) { f.put32(f.local[5] + 14, 0); }, python) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.local[5] + 18, 0); }, python) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.local[5] + 22, 13); }, python) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.local[5] + 22, 13); }, python) == bad);
}

TEST_CASE("Z2: a stored record has one size") {
    CHECK(code_after([](zip_file& f) { f.put32(f.central[5] + 24, 5); }) == errc::zip_header_mismatch);
    CHECK(code_after([](zip_file& f) { f.put32(f.central[5] + 20, 5); }) == errc::zip_header_mismatch);
}

TEST_CASE("Z3: two records with one name are refused") {
    auto members = torch_members();
    members.push_back(members[0]);
    const verdict same = judge(write_zip(members).bytes);
    CHECK(same.code == errc::zip_duplicate_name);
    CHECK(same.text.find("archive/data.pkl") != std::string::npos);
    CHECK(code_of(write_zip(members, python_style()).bytes) == errc::zip_duplicate_name);
    members.back().name = "archive/data.pkl2";
    CHECK(fine(write_zip(members).bytes));
}

TEST_CASE("Z3: names that differ only in the case of ASCII letters are refused") {
    auto members = torch_members();
    members.push_back(members[0]);
    for (const char* name : {"archive/data.pkL", "ARCHIVE/DATA.PKL", "Archive/data.pkl"}) {
        members.back().name = name;
        CHECK(code_of(write_zip(members).bytes) == errc::zip_duplicate_name);
    }
    // Not letters: '[' and '{', '@' and '`', and bytes beyond ASCII are different.
    for (const auto& [a, b] : {std::pair{"archive/x[y", "archive/x{y"},
                               {"archive/@", "archive/`"},
                               {"archive/\xC3\x84", "archive/\xC3\xA4"}}) {
        auto two = torch_members();
        two.push_back({.name = a, .data = "1"});
        two.push_back({.name = b, .data = "2"});
        CHECK(fine(write_zip(two).bytes));
    }
}

TEST_CASE("Z4: records that overlap each other or the directory are refused") {
    // The same header twice, and one record quoted inside another.
    CHECK(code_after([](zip_file& f) { f.put32(f.central[5] + 42, f.local[4]); }) == errc::zip_overlap);
    CHECK(code_after([](zip_file& f) { f.put32(f.central[4] + 20, 200), f.put32(f.central[4] + 24, 200); }) ==
          errc::zip_overlap);
    CHECK(code_after([](zip_file& f) { f.put32(f.central.back() + 20, 300), f.put32(f.central.back() + 24, 300); }) ==
          errc::zip_overlap);
    CHECK(code_after([](zip_file& f) { f.put32(f.central.back() + 42, f.directory - 10); }) == errc::zip_overlap);
    // Too small to be seen before the local header is read: its extra fields push the payload into the next record.
    CHECK(code_after([](zip_file& f) { f.put16(f.local[4] + 28, 100); }) == errc::zip_overlap);
    CHECK(code_after([](zip_file& f) { f.put16(f.local[4] + 28, 0xFFFF); }) == errc::zip_overlap);
    // In another order of the directory as well.
    zip_file file = write_zip(torch_members(), {.reversed_directory = true});
    file.put32(file.central[3] + 20, 200), file.put32(file.central[3] + 24, 200);
    CHECK(code_of(file.bytes) == errc::zip_overlap);
}

TEST_CASE("Z5: encrypted records are refused") {
    for (const std::uint64_t flag : {0x0001u, 0x0040u, 0x2000u})
        CHECK(code_after([&](zip_file& f) {
                  f.put16(f.central[5] + 8, 0x0808u | flag);
                  f.put16(f.local[5] + 6, 0x0808u | flag);
              }) == errc::zip_encrypted);
}

TEST_CASE("Z5: patches and archives on several disks are refused") {
    const auto bad = errc::zip_multi_disk;
    CHECK(code_after([](zip_file& f) { f.put16(f.central[5] + 8, 0x0828); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put16(f.central[5] + 34, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put16(f.end + 4, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put16(f.end + 6, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put16(f.end + 8, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.end64 + 16, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.end64 + 20, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.end64 + 24, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.locator + 4, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.locator + 16, 2); }) == bad);
}

TEST_CASE("Z6: counts, size and place of the directory agree with the directory") {
    const auto counts = [](zip_file& f, std::uint64_t count) {
        f.put16(f.end + 8, count), f.put16(f.end + 10, count), f.put64(f.end64 + 24, count),
            f.put64(f.end64 + 32, count);
    };
    const auto bad = errc::zip_count_mismatch;
    CHECK(code_after([&](zip_file& f) { counts(f, f.central.size() - 1); }) == bad);
    CHECK(code_after([&](zip_file& f) { counts(f, f.central.size() + 1); }) == bad);
    CHECK(code_after([&](zip_file& f) { counts(f, 0); }) == bad);
    CHECK(code_after([&](zip_file& f) { counts(f, 0xFFFE); }) == bad);
    CHECK(code_after([](zip_file& f) {
              f.put16(f.end + 8, 0xFFFF), f.put16(f.end + 10, 0xFFFF);
              f.put64(f.end64 + 24, ~std::uint64_t{0}), f.put64(f.end64 + 32, ~std::uint64_t{0});
          }) == bad);
    CHECK(code_after([](zip_file& f) {
              f.put32(f.end + 12, f.directory_size - 1), f.put64(f.end64 + 40, f.directory_size - 1);
          }) == bad);
    CHECK(code_after([](zip_file& f) {
              f.put32(f.end + 12, f.directory_size + 1), f.put64(f.end64 + 40, f.directory_size + 1);
          }) == bad);
    CHECK(code_after([](zip_file& f) {
              f.put32(f.end + 16, f.directory + 1), f.put64(f.end64 + 48, f.directory + 1);
          }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.central[3], 0x0201'4B51); }) == bad);
    // A comment of an entry that is longer than it says moves all that follow.
    CHECK(code_after([](zip_file& f) { f.put16(f.central[3] + 32, 1); }) == bad);
}

TEST_CASE("Z9: names that cannot be used are refused") {
    const auto with = [](const std::string& name) {
        auto members = torch_members();
        members.push_back({.name = name, .data = "x"});
        return code_of(write_zip(members).bytes);
    };
    for (const std::string& name :
         {std::string(), std::string("archive/data/0\0", 15), std::string("\0archive", 8),
          std::string("archive/a_long_name_with_nul\0inside", 35), std::string("archive\\data\\0"),
          std::string("/archive/data/9"), std::string(".."), std::string("../x"), std::string("archive/../x"),
          std::string("archive/x/.."), std::string("archive/folder/")})
        CHECK(with(name) == errc::zip_name_invalid);
    for (const std::string& name :
         {std::string("archive/..x"), std::string("archive/x.."), std::string("archive/..."), std::string("x"),
          std::string("archive/.data/y"), std::string("archive/\xFF\xFE"), std::string(60'000, 'n')})
        CHECK(with(name) == errc::none);
}

TEST_CASE("Z9: names match as whole byte strings") {
    auto members = torch_members();
    members.push_back({.name = "archive//data/7", .data = "x"});
    const zip_file file = write_zip(members);
    arena memory;
    const auto from = source::memory(bytes_of(file.bytes)).value();
    const auto archive = zip_archive::read(*from, {}, memory).value();
    CHECK(archive.find("archive/data/7") == nullptr);
    CHECK(archive.find("archive//data/7") != nullptr);
    CHECK(archive.find("archive/data/0") != nullptr);
    CHECK(archive.find("ARCHIVE/data/0") == nullptr);
    CHECK(archive.find("archive/data/00") == nullptr);
    CHECK(archive.find(std::string_view("archive/data/0\0", 15)) == nullptr);
}

TEST_CASE("Z10: a record that is read has its checksum, where it has one and the caller asks") {
    zip_file file = torch_file();
    file.bytes[static_cast<std::size_t>(file.payload[0])] ^= 1;
    CHECK(judge(file.bytes).findings == std::vector{errc::checksum_mismatch});
    arena memory;
    const auto from = source::memory(bytes_of(file.bytes)).value();
    const auto archive = zip_archive::read(*from, {}, memory).value();
    CHECK(zip::read_record(*from, archive.records()[0], memory, true).error().code == errc::checksum_mismatch);
    CHECK(zip::read_record(*from, archive.records()[0], memory, false).has_value());
}

TEST_CASE("Z11: an archive that does not begin at byte 0 is refused") {
    const std::string good = torch_file().bytes;
    CHECK(code_of("x" + good) == errc::zip64_invalid); // its locator points beside the record already
    const std::string plain = write_zip(torch_members(), python_style()).bytes;
    CHECK(code_of("x" + plain) == errc::zip_prefix);
    CHECK(code_of(std::string(100'000, 'x') + plain) == errc::zip_prefix);
    // Offsets that were corrected for what stands before.
    zip_file moved = write_zip({{.name = "archive/data.pkl", .data = "x"}}, python_style());
    const std::uint64_t by = 40;
    moved.put32(moved.central[0] + 42, by), moved.put32(moved.end + 16, moved.directory + by);
    CHECK(code_of(std::string(by, '#') + moved.bytes) == errc::zip_prefix);
    // The first bytes are a header, but not one that the directory knows.
    auto members = torch_members();
    zip_file hidden = write_zip(members);
    REQUIRE(fine(hidden.bytes));
    hidden.bytes.erase(static_cast<std::size_t>(hidden.central[0]),
                       static_cast<std::size_t>(hidden.central[1] - hidden.central[0]));
    const std::uint64_t shift = hidden.central[1] - hidden.central[0], size = hidden.directory_size - shift;
    const std::uint64_t count = members.size() - 1;
    hidden.end64 -= shift, hidden.locator -= shift, hidden.end -= shift;
    hidden.put64(hidden.locator + 8, hidden.end64), hidden.put64(hidden.end64 + 40, size),
        hidden.put32(hidden.end + 12, size);
    hidden.put64(hidden.end64 + 24, count), hidden.put64(hidden.end64 + 32, count);
    hidden.put16(hidden.end + 8, count), hidden.put16(hidden.end + 10, count);
    CHECK(code_of(hidden.bytes) == errc::zip_prefix);
}

TEST_CASE("Z11: two archives in one file are refused") {
    const std::string a = write_zip(torch_members(1), python_style()).bytes,
                      b = write_zip(torch_members(2), python_style()).bytes;
    CHECK(code_of(a + b) == errc::zip_prefix);
    CHECK(code_of(torch_file(1).bytes + torch_file(2).bytes) != errc::none);
}

TEST_CASE("Z11: an archive without records is refused") {
    CHECK(code_of("PK\x05\x06" + std::string(18, '\0')) == errc::zip_prefix);
    CHECK(code_of(write_zip({}).bytes) == errc::zip_prefix);
    zip_file none = write_zip(torch_members(1), python_style());
    none.bytes = none.bytes.substr(0, static_cast<std::size_t>(none.directory)) + "PK\x05\x06" + std::string(8, '\0') +
                 le32(0) + le32(none.directory) + le16(0);
    CHECK(code_of(none.bytes) == errc::zip_prefix);
}

TEST_CASE("Z12: an end record in the comment of another one is refused") {
    const std::string twin = "PK\x05\x06" + std::string(18, '\0');
    // Garbage after the signature, an empty archive, a complete copy of the outer one.
    CHECK(code_of(write_zip(torch_members(), {.comment = twin}).bytes) == errc::zip_ambiguous_end);
    CHECK(code_of(write_zip(torch_members(), {.comment = "PK\x05\x06" + std::string(40, 'x')}).bytes) != errc::none);
    const zip_file plain = write_zip(torch_members(), python_style());
    zip_style style = python_style();
    style.comment = plain.bytes.substr(static_cast<std::size_t>(plain.end));
    CHECK(code_of(write_zip(torch_members(), style).bytes) == errc::zip_ambiguous_end);
    // A second directory, whose records share the first header, and its end record in the comment of the first.
    zip_file outer = write_zip(torch_members(), {.torch = false, .end64 = false});
    const std::string first_entry = outer.bytes.substr(static_cast<std::size_t>(outer.central[0]),
                                                       static_cast<std::size_t>(outer.central[1] - outer.central[0]));
    const std::string inner = first_entry + "PK\x05\x06" + le32(0) + le16(1) + le16(1) + le32(first_entry.size()) +
                              le32(outer.size) + le16(0);
    outer.put16(outer.end + 20, inner.size());
    CHECK(code_of(outer.bytes + inner) == errc::zip_ambiguous_end);
    // The benign twin: a comment that only mentions the letters.
    CHECK(fine(write_zip(torch_members(), {.comment = "PK means Phil Katz"}).bytes));
}

TEST_CASE("Z12: a comment is as long as 16 bits can say, and the end record is looked for behind all of it") {
    for (const zip_style& style : {zip_style{}, python_style()}) {
        zip_style longest = style;
        longest.comment.assign(0xFFFF, 'c');
        const std::string whole = write_zip(torch_members(), longest).bytes;
        CHECK(fine(whole));
        CHECK(code_of(whole + 'c') == errc::zip_truncated);
    }
}

TEST_CASE("Z12: an earlier end record rivals the last one if it ends with the file, behind a directory or a locator") {
    const zip_file plain = write_zip(torch_members(), python_style());
    const std::string directory = plain.bytes.substr(0, static_cast<std::size_t>(plain.end));
    const std::string last = plain.bytes.substr(directory.size());
    // An end record behind `before`, whose directory ends at `end` and whose comment has this length; then the last
    // one.
    const auto rivals = [&](const std::string& before, std::uint64_t end, std::uint64_t comment) {
        const std::string earlier =
            "PK\x05\x06" + std::string(8, '\0') + le32(end - plain.directory) + le32(plain.directory) + le16(comment);
        return code_of(directory + before + earlier + last) == errc::zip_ambiguous_end;
    };
    CHECK(rivals("", plain.end, 22));
    CHECK_FALSE(rivals("", plain.end, 21));
    CHECK_FALSE(rivals("", plain.end, 23));
    CHECK_FALSE(rivals("", plain.end - 1, 22));
    CHECK_FALSE(rivals("", plain.end + 1, 22));
    CHECK(rivals("PK\x06\x07" + std::string(16, '\0'), plain.end, 22));
    CHECK_FALSE(rivals("PK\x06\x07" + std::string(17, '\0'), plain.end, 22));
    CHECK_FALSE(rivals("PK\x06\x07" + std::string(15, '\0'), plain.end, 22));
    // It is found with the longest comment, which begins as far before the end as an end record can.
    zip_style style = python_style();
    style.comment = std::string(0xFFFF - last.size(), 'c') + last;
    CHECK(code_of(write_zip(torch_members(), style).bytes) == errc::zip_ambiguous_end);
}

TEST_CASE("Z12: plain and ZIP64 end records that disagree are refused") {
    const auto bad = errc::zip_ambiguous_end;
    CHECK(code_after([](zip_file& f) { f.put16(f.end + 8, 1), f.put16(f.end + 10, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.end + 12, f.directory_size - 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put32(f.end + 16, f.directory - 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.end64 + 24, 1), f.put64(f.end64 + 32, 1); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.end64 + 40, 46); }) == bad);
    CHECK(code_after([](zip_file& f) { f.put64(f.end64 + 48, 0); }) == bad);
}

TEST_CASE("C2: an end record whose comment is cut is refused") {
    const std::string whole = write_zip(torch_members(), {.comment = "0123456789"}).bytes;
    REQUIRE(fine(whole));
    CHECK(code_of(whole.substr(0, whole.size() - 1)) == errc::zip_truncated);
    CHECK(code_of(whole.substr(0, whole.size() - 10)) == errc::zip_truncated);
}

TEST_CASE("R1: counts and sizes are held to the limits before memory is taken") {
    const zip_file file = torch_file();
    const auto from = source::memory(bytes_of(file.bytes)).value();
    CHECK(judge_source(*from, {.records = 8}).code == errc::none);
    CHECK(judge_source(*from, {.records = 7}).code == errc::limit);
    CHECK(judge_source(*from, {.directory_bytes = file.directory_size}).code == errc::none);
    CHECK(judge_source(*from, {.directory_bytes = file.directory_size - 1}).code == errc::limit);
}

TEST_CASE("R1: a small tail that claims a huge directory in a huge file costs no memory") {
    // 64 GiB of nothing with an end record that says it is all directory.
    constexpr std::uint64_t size = std::uint64_t{1} << 36;
    const std::uint64_t end64 = size - 98;
    const std::string tail = "PK\x06\x06" + le64(44) + le32(0) + le64(0) + le64(1) + le64(1) + le64(end64) + le64(0) +
                             "PK\x06\x07" + le32(0) + le64(end64) + le32(1) + "PK\x05\x06" + le32(0) + le16(1) +
                             le16(1) + le32(0xFFFF'FFFF) + le32(0xFFFF'FFFF) + le16(0);
    const temporary_file path;
    path.write_sparse({{0, "PK\x03\x04"}, {end64, tail}});
    const auto from = source::open(path.path(), {.mode = io_mode::read}).value();
    REQUIRE(from->size() == size);
    arena memory;
    const auto archive = zip_archive::read(*from, {}, memory);
    REQUIRE_FALSE(archive.has_value());
    CHECK(archive.error().code == errc::limit);
    CHECK(memory.total() < 1'000'000);
}

TEST_CASE("R1: an archive has fewer than 2^31 records, whatever limits.records says") {
    // 128 GiB of nothing with an end record that says it is all directory.
    constexpr std::uint64_t end64 = (std::uint64_t{1} << 37) - 98;
    const auto refusal = [&](std::uint64_t records) {
        const std::string tail = "PK\x06\x06" + le64(44) + le32(0) + le64(0) + le64(records) + le64(records) +
                                 le64(end64) + le64(0) + "PK\x06\x07" + le32(0) + le64(end64) + le32(1) + "PK\x05\x06" +
                                 le32(0) + le16(0xFFFF) + le16(0xFFFF) + le32(0xFFFF'FFFF) + le32(0xFFFF'FFFF) +
                                 le16(0);
        const temporary_file path;
        path.write_sparse({{0, "PK\x03\x04"}, {end64, tail}});
        const auto from = source::open(path.path(), {.mode = io_mode::read}).value();
        arena memory;
        const auto archive = zip_archive::read(*from, {.records = ~std::uint64_t{0}}, memory);
        REQUIRE_FALSE(archive.has_value());
        CHECK(archive.error().code == errc::limit);
        return archive.error().detail;
    };
    CHECK(refusal(2'147'483'647).starts_with("a directory of")); // the next limit
    CHECK(refusal(2'147'483'648) == "2147483648 records, the limit is 2147483647");
}

TEST_CASE("R1: names that collide in the hash get a sorted index, which finds and refuses the same") {
    // Two bytes per block differ; enough names to have long chains is enough, whatever the hash.
    using ckpt::detail::name_index;
    std::vector<std::string> names;
    for (int i = 0; i < 200; ++i) names.push_back("archive/data/" + std::to_string(i));
    std::vector<record> records(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) records[i].name = names[i];
    arena memory;
    name_index index(records.size(), memory);
    for (std::size_t i = 0; i < records.size(); ++i) REQUIRE(index.add(records, i, 42) == i);
    std::size_t first = 0, second = 0;
    REQUIRE(index.seal(records, memory, first, second));
    REQUIRE(index.is_sorted());
    for (std::size_t i = 0; i < records.size(); ++i) REQUIRE(index.find(records, names[i]) == &records[i]);
    CHECK(index.find(records, "archive/data/200") == nullptr);
    CHECK(index.find(records, "ARCHIVE/data/0") == nullptr);
    CHECK(index.find(records, "") == nullptr);

    records[150].name = "Archive/data/20";
    name_index again(records.size(), memory);
    for (std::size_t i = 0; i < records.size(); ++i) REQUIRE(again.add(records, i, 42 + (i >= 100 ? i << 40 : 0)) == i);
    REQUIRE_FALSE(again.seal(records, memory, first, second));
    CHECK(std::min(first, second) == 20);
    CHECK(std::max(first, second) == 150);
}

// ---- the walk over everything ----

TEST_CASE("verify: a descriptor that disagrees is a finding, and the walk goes on") {
    zip_file file = torch_file();
    const std::uint64_t descriptor = file.payload[5] + torch_members()[5].data.size();
    file.put32(descriptor + 4, 1);
    file.bytes[static_cast<std::size_t>(file.payload[1])] ^= 1;
    file.bytes[static_cast<std::size_t>(file.payload[7])] ^= 1;
    CHECK(judge(file.bytes).findings ==
          std::vector{errc::checksum_mismatch, errc::zip_header_mismatch, errc::checksum_mismatch});
    file = torch_file();
    file.put32(descriptor, 0x0807'4B51);
    CHECK(judge(file.bytes).findings == std::vector{errc::zip_header_mismatch});
}

TEST_CASE("verify: a damaged local header is a finding that names its record, and the walk goes on") {
    zip_file file = torch_file();
    file.put32(file.local[2], 0);
    file.put16(file.local[4] + 8, 8);
    const auto from = source::memory(bytes_of(file.bytes)).value();
    arena memory;
    const auto archive = zip_archive::read(*from, {}, memory).value();
    std::vector<std::string> found;
    const auto sink = [](void* context, const ckpt::error& e) {
        static_cast<std::vector<std::string>*>(context)->push_back(e.record);
    };
    ckpt::detail::progress_meter meter;
    const auto check = ckpt::detail::verify_zip(*from, archive, {}, meter, sink, &found);
    CHECK(found == std::vector<std::string>{"archive/.storage_alignment", "archive/data/0"});
    CHECK(check.records == 8);
    CHECK(check.findings == 2);
    CHECK(check.unchecked_crc == 0);
}

TEST_CASE("verify: checksums of payloads larger than the buffer are right") {
    auto members = torch_members();
    members[4].data.assign(700'001, 'x');
    for (std::size_t i = 0; i < members[4].data.size(); ++i) members[4].data[i] = static_cast<char>(i * 31 >> 3);
    zip_file file = write_zip(members);
    CHECK(judge_memory(file.bytes).findings.empty());
    file.bytes[static_cast<std::size_t>(file.payload[4]) + 600'000] ^= 4;
    CHECK(judge_memory(file.bytes).findings == std::vector{errc::checksum_mismatch});
}

#if !defined(_WIN32)

TEST_CASE(
    "a file that changes between opening and reading gives an error or its own bytes, never a mixture of headers") {
    zip_file file = torch_file();
    const temporary_file path(file.bytes);
    const auto from = source::open(path.path()).value();
    arena memory;
    const auto archive = zip_archive::read(*from, {}, memory).value();
    std::filesystem::resize_file(path.path(), 100);
    CHECK(zip::locate(*from, archive.records()[5]).error().code == errc::truncated);
    CHECK(zip::locate(*from, archive.records()[5]).error().record == "archive/data/1");
    CHECK(archive.find("archive/data/1") != nullptr);
}

#endif

} // namespace zip_test
