// tests/core/json_writer.cpp: one JSON document.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/json_writer.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace json_writer_test {

using ckpt::detail::json_writer;

namespace {

TEST_CASE("commas and colons stand where they belong") {
    json_writer to;
    to.begin_object().member("a", "x").member("b", true).key("c").begin_array().null().begin_object().end_object();
    to.boolean(false).end_array().key("d").begin_array().end_array().key("e").raw("1.5").end_object();
    CHECK(to.take() == R"({"a": "x", "b": true, "c": [null, {}, false], "d": [], "e": 1.5})");
}

TEST_CASE("numbers of every width, and lists") {
    json_writer to;
    to.begin_array().number(INT64_MIN).number(UINT64_MAX).number(std::int8_t{-1}).number(std::uint16_t{7});
    to.numbers(std::vector<std::int64_t>{2, -3}).texts(std::vector<std::string>{"p", "q\""}).end_array();
    CHECK(to.take() == R"([-9223372036854775808, 18446744073709551615, -1, 7, [2, -3], ["p", "q\""]])");
}

TEST_CASE("an element can begin a line") {
    json_writer to;
    to.begin_array().line().number(1).line().number(2).number(3).line().end_array();
    CHECK(to.take() == "[\n  1,\n  2, 3]");
}

TEST_CASE("a long document goes to the sink in pieces, in order and whole") {
    struct pieces {
        std::string all{};
        std::size_t longest{0};
        std::size_t count{0};
    } got;
    json_writer to{[](void* where, std::string_view piece) {
                       pieces& of = *static_cast<pieces*>(where);
                       of.all += piece;
                       of.longest = piece.size() > of.longest ? piece.size() : of.longest;
                       ++of.count;
                   },
                   &got};
    json_writer whole;
    for (json_writer* each : {&to, &whole}) {
        each->begin_array();
        for (int i = 0; i < 10'000; ++i) each->text("twenty characters, ok");
        each->end_array();
    }
    to.flush();
    CHECK(got.all == whole.take());
    CHECK(got.count > 2);
    CHECK(got.longest < 70'000);
    CHECK(to.take().empty());
}

} // namespace

} // namespace json_writer_test
