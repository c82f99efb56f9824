// tests/archive/tar.cpp: T1: tar archives of every form, and what is wrong with broken ones.
//
// SPDX-License-Identifier: MIT
#include <ckpt/archive/tar.hpp>

#include "../support/tar_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tar_test {

using ckpt::errc;
using ckpt::detail::tar_archive;
using ckpt::detail::tar_kind;
using namespace test_support;
using namespace std::string_literals;

namespace {

struct opened {
    explicit opened(const std::string& bytes, const ckpt::limits& limits = {})
        : from{ckpt::detail::source::memory(bytes_of(bytes)).value()},
          archive{tar_archive::read(*from, limits, memory)} {}
    ckpt::detail::arena memory{};
    ckpt::detail::shared<ckpt::detail::source> from;
    ckpt::result<tar_archive> archive;
};

errc code_of(const std::string& bytes, const ckpt::limits& limits = {}) {
    const opened o{bytes, limits};
    if (o.archive) return errc::none;
    CHECK_FALSE(o.archive.error().detail.empty());
    CHECK(o.archive.error().offset <= bytes.size());
    return o.archive.error().code;
}
/// "name=content" of every member; folders and links without content.
std::string listed(const std::string& bytes) {
    const opened o{bytes};
    if (!o.archive) return o.archive.error().detail;
    std::string out;
    for (const auto& e : o.archive->entries()) {
        out += (out.empty() ? "" : " ") + std::string(e.name);
        if (e.kind == tar_kind::file)
            out += '=' + bytes.substr(static_cast<std::size_t>(e.offset), static_cast<std::size_t>(e.size));
    }
    return out;
}

const tar_member a{.name = "a", .data = "one"};

} // namespace

TEST_CASE("ustar, GNU, PAX and the old form are read") {
    const std::string v7(8, '\0'), gnu = "ustar  \0"s, long_name(150, 'n');
    CHECK(listed(write_tar({a, {.name = "b/c", .data = std::string(600, 'x')}})) ==
          "a=one b/c=" + std::string(600, 'x'));
    CHECK(listed(write_tar({{.name = "d/", .type = '5'}, a})) == "d/ a=one");
    CHECK(listed(write_tar({{.name = "l", .type = '2'}, {.name = "p", .type = '6'}, a})) == "l p a=one");
    CHECK(listed(write_tar({{.name = "l", .type = '1', .size = "00000000777"}, a})) ==
          "l a=one"); // old programs give hard links a size
    CHECK(listed(write_tar({{.name = "name", .data = "x", .prefix = "some/folder"}})) == "some/folder/name=x");
    CHECK(listed(write_tar({{.name = "name", .data = "x", .magic = gnu, .prefix = "00000000000"}})) ==
          "name=x"); // GNU keeps times there
    CHECK(listed(write_tar({{.name = "old", .data = "x", .type = '\0', .magic = v7},
                            {.name = "folder/", .type = '\0', .magic = v7}})) == "old=x folder/");
    CHECK(listed(write_tar({{.name = "c", .data = "x", .type = '7'}})) == "c=x");
    CHECK(listed(write_tar({{.name = "././@LongLink", .data = long_name + '\0', .type = 'L', .magic = gnu},
                            {.name = "short", .data = "x", .magic = gnu},
                            a})) == long_name + "=x a=one");
    CHECK(listed(write_tar({{.name = "././@LongLink", .data = long_name + '\0', .type = 'K', .magic = gnu},
                            {.name = "l", .type = '2', .magic = gnu},
                            a})) == "l a=one");
    CHECK(listed(write_tar({{.name = "p",
                             .data = pax_line("path", long_name) + pax_line("mtime", "1.5") + pax_line("size", "4"),
                             .type = 'x'},
                            {.name = "short", .data = "four", .size = "00000000000"},
                            a})) == long_name + "=four a=one");
    CHECK(listed(write_tar({{.name = "g", .data = pax_line("comment", "x=y"), .type = 'g'}, a})) == "a=one");
    CHECK(listed(write_tar({{.name = "b", .data = "base", .size = "\x80\0\0\0\0\0\0\0\0\0\0\4"s}})) == "b=base");
    CHECK(listed(write_tar({{.name = "b", .data = "base", .size = "         4 \0"s}})) == "b=base");
    CHECK(listed(write_tar({a}, 1)) == "a=one");
    CHECK(listed(write_tar({a}, 40)) == "a=one");
    CHECK(listed(write_tar({})).empty());
    // Programs that summed bytes as signed.
    std::string bytes = write_tar({{.name = "\xc3\xa4", .data = "x"}});
    bytes.replace(148, 6, octal(static_cast<std::uint64_t>(std::stoull(bytes.substr(148, 6), nullptr, 8) - 512), 6));
    CHECK(listed(bytes) == "\xc3\xa4=x");
}

TEST_CASE("T1: headers, sizes and names that cannot be meant are refused") {
    CHECK(code_of(write_tar({{.name = "a", .data = "one", .good_checksum = false}})) == errc::tar_invalid);
    CHECK(code_of(write_tar({a, {.name = "b", .good_checksum = false}})) == errc::tar_invalid);
    for (const std::string& size : {"-0000000001"s, "0000000000x"s, "00000000009"s, "           "s,
                                    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"s, "\x80\1\0\0\0\0\0\0\0\0\0\0"s,
                                    "\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"s, "77777777777"s, "00000010000"s})
        CHECK_MESSAGE(code_of(write_tar({{.name = "a", .data = "one", .size = size}})) == errc::tar_invalid, size);
    CHECK(code_of(write_tar({a, a})) == errc::tar_invalid);
    CHECK(code_of(write_tar({{.name = "", .data = "x"}})) == errc::tar_invalid);
    CHECK(code_of(write_tar({{.name = "s", .type = 'S'}})) == errc::tar_invalid); // sparse
    CHECK(code_of(write_tar({{.name = "v", .type = 'V'}})) == errc::tar_invalid);
    CHECK(code_of(write_tar({{.name = "d/", .data = "x", .type = '0'}})) == errc::tar_invalid);
    CHECK(code_of(write_tar({{.name = "p", .data = pax_line("path", "x"), .type = 'x'}})) ==
          errc::tar_invalid); // of no member
    CHECK(code_of(write_tar({{.name = "p", .data = pax_line("comment", "x"), .type = 'x'}})) == errc::tar_invalid);
    CHECK(code_of(write_tar({a, {.name = "k", .data = "target", .type = 'K'}})) == errc::tar_invalid);
    // Programs take the first or the last of two names, and the padding behind one for a part of it, or not.
    const tar_member path{.name = "p", .data = pax_line("path", "x"), .type = 'x'},
        longer{.name = "l", .data = "y", .type = 'L'}, size{.name = "p", .data = pax_line("size", "3"), .type = 'x'};
    CHECK(listed(write_tar({longer, size, a})) == "y=one");
    CHECK(code_of(write_tar({path, longer, a})) == errc::tar_invalid);
    CHECK(code_of(write_tar({longer, path, a})) == errc::tar_invalid);
    CHECK(code_of(write_tar({size, size, a})) == errc::tar_invalid);
    for (const tar_member& m : {path, longer}) {
        std::string padded = write_tar({m, a});
        padded[512 + m.data.size()] = 'z';
        CHECK(code_of(padded) == errc::tar_invalid);
    }
    CHECK(code_of(write_tar({{.name = "g", .data = pax_line("path", "x"), .type = 'g'}, a})) == errc::tar_invalid);
    CHECK(code_of(write_tar({{.name = "p", .data = pax_line("path", "x\0y"s), .type = 'x'}, a})) == errc::tar_invalid);
    for (const std::string& pax :
         {"8 path=x\n"s, "99 path=x\n"s, "path=x\n"s, "10 path=xy"s, "5 =x\n"s, "7 pathx\n"s, pax_line("size", "-1"),
          pax_line("size", ""), pax_line("size", "1000000000000000000000"), pax_line("GNU.sparse.major", "1")})
        CHECK_MESSAGE(code_of(write_tar({{.name = "p", .data = pax, .type = 'x'}, a})) == errc::tar_invalid, pax);
}

TEST_CASE("C2: an archive without its end, or with something behind it, is refused") {
    const std::string whole = write_tar({a, {.name = "b", .data = std::string(1000, 'x')}});
    CHECK(code_of(write_tar({a}, 0)) == errc::tar_invalid);
    CHECK(code_of("") == errc::tar_invalid);
    CHECK(code_of(whole + "x") == errc::tar_invalid);
    CHECK(code_of(whole + whole) == errc::tar_invalid);
    CHECK(code_of(whole + std::string(2 << 20, '\0')) == errc::tar_invalid);
    for (std::size_t n = 0; n < whole.size(); ++n) {
        const std::string now = listed(whole.substr(0, n));
        if (code_of(whole.substr(0, n)) == errc::none && now != listed(whole)) FAIL_CHECK("another meaning at " << n);
    }
}

TEST_CASE("C2: at most a mebibyte of zeros stands behind the last member") {
    const std::string whole = write_tar({a}, 0);
    CHECK(listed(whole + std::string(1 << 20, '\0')) == "a=one");
    CHECK(listed(whole + std::string((1 << 20) + 1, '\0')) == "1048577 bytes behind the last member");
}

TEST_CASE("T1: a number has at most 63 bits") {
    std::uint64_t n = 0;
    CHECK((ckpt::detail::tar::number(std::string(21, '7'), n) && n == UINT64_MAX / 2));
    CHECK_FALSE(ckpt::detail::tar::number('1' + std::string(21, '0'), n));
    CHECK((ckpt::detail::tar::number("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"s, n) && n == UINT64_MAX / 2));
    CHECK_FALSE(ckpt::detail::tar::number("\x80\0\0\0\x80\0\0\0\0\0\0\0"s, n));
}

TEST_CASE("T1: lengths of extended headers have at most 10 digits, sizes 18") {
    const auto pax = [](const std::string& lines) {
        return listed(write_tar({{.name = "p", .data = lines, .type = 'x'}, a}));
    };
    const std::string refused = pax("path=x\n");
    CHECK(pax("0000000018 path=x\n") == "x=one");
    CHECK(pax("00000000019 path=x\n") == refused);
    CHECK(pax(pax_line("size", "000000000000000003")) == "a=one");
    CHECK(pax(pax_line("size", "0000000000000000003")) == refused);
}

TEST_CASE("R1: limits of members and of extended headers hold") {
    CHECK(code_of(write_tar({a, {.name = "b"}, {.name = "c"}}), {.records = 3}) == errc::none);
    CHECK(code_of(write_tar({a, {.name = "b"}, {.name = "c"}}), {.records = 2}) == errc::limit);
    const std::string line = pax_line("path", "b");
    const std::string two = write_tar({{.name = "p", .data = line, .type = 'x'},
                                       a,
                                       {.name = "p", .data = pax_line("path", "d"), .type = 'x'},
                                       {.name = "c"}});
    CHECK(code_of(two, {.directory_bytes = 2 * line.size()}) == errc::none);
    CHECK(code_of(two, {.directory_bytes = 2 * line.size() - 1}) == errc::limit);
    CHECK(code_of(write_tar({{.name = "p", .data = pax_line("path", std::string(2000, 'x')), .type = 'x'}, a}),
                  {.directory_bytes = 1000}) == errc::limit);
}

} // namespace tar_test
