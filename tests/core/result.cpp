// tests/core/result.cpp: a value or an error.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/result.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace result_test {

using ckpt::errc;
using ckpt::result;

namespace {

result<std::string> good() { return std::string(100, 'x'); }
result<std::string> bad() { return ckpt::error{.code = errc::limit, .detail = "too much"}; }

TEST_CASE("a result has its value or its error") {
    CHECK(good());
    CHECK(good().value().size() == 100);
    CHECK((*good()).size() == 100);
    CHECK_FALSE(bad().has_value());
    CHECK(bad().error().code == errc::limit);
    CHECK(good().value_or("y") == std::string(100, 'x'));
    CHECK(bad().value_or("y") == "y");
}

TEST_CASE("a result is copied, moved and assigned, between values and errors") {
    for (const bool from_good : {false, true})
        for (const bool to_good : {false, true}) {
            const result<std::string> from = from_good ? good() : bad();
            result<std::string> to = to_good ? good() : bad();
            to = from;
            CHECK(to.has_value() == from_good);
            result<std::string> other = std::move(to);
            CHECK(other.has_value() == from_good);
            other = result<std::string>{other};
            CHECK(other.has_value() == from_good);
            if (!from_good) CHECK(other.error().detail == "too much");
        }
    result<std::unique_ptr<int>> only_moves{std::make_unique<int>(7)};
    CHECK(*std::move(only_moves).value() == 7);
}

TEST_CASE("and_then goes on with a value, transform makes another, both pass an error on") {
    const auto size = [](const std::string& s) -> result<std::size_t> { return s.size(); };
    CHECK(good().and_then(size).value() == 100);
    CHECK(bad().and_then(size).error().code == errc::limit);
    CHECK(good().transform([](const std::string& s) { return s.size(); }).value() == 100);
    CHECK(bad().transform([](const std::string& s) { return s.size(); }).error().detail == "too much");
    const result<std::string> kept = good();
    CHECK(kept.and_then(size).value() == 100);
    CHECK(kept.transform([](const std::string& s) { return s.size(); }).value() == 100);
}

TEST_CASE("and_then and transform take pointers to members, as std::invoke does") {
    struct number {
        int n{};
        [[nodiscard]] result<int> half() const {
            if (n % 2 == 0) return n / 2;
            return ckpt::error{.code = errc::limit, .detail = "odd"};
        }
        [[nodiscard]] int twice() && { return 2 * n; }
    };
    const result<number> four = number{4};
    CHECK(four.and_then(&number::half).value() == 2);
    CHECK(result<number>{number{5}}.and_then(&number::half).error().detail == "odd");
    CHECK(result<number>{number{5}}.transform(&number::twice).value() == 10);
    CHECK(four.transform(&number::n).value() == 4);
    CHECK(result<number>{number{3}}.transform(&number::n).value() == 3);
    CHECK(result<number>{ckpt::error{.code = errc::truncated}}.transform(&number::n).error().code == errc::truncated);
    CHECK(good().transform(&std::string::size).value() == 100);
}

TEST_CASE("a result without a value is success or an error, and a moved-from error is no success") {
    result<void> fine;
    CHECK(fine);
    fine.value();
    result<void> failed{ckpt::error{.code = errc::truncated}};
    CHECK_FALSE(failed);
    result<void> moved = std::move(failed);
    CHECK_FALSE(moved);
    CHECK_FALSE(failed);
    result<void> copy = moved;
    CHECK(copy.error().code == errc::truncated);
    copy = fine;
    CHECK(copy);
    const result<void> copy_of_moved = failed;
    CHECK_FALSE(copy_of_moved);
}

TEST_CASE("failure() hands the same error to a result of another type") {
    result<std::string> text = bad();
    const std::string* const where = &text.error().detail;
    result<int> number = std::move(text).failure();
    REQUIRE_FALSE(number);
    CHECK(&number.error().detail == where);
    CHECK_FALSE(text);
    result<void> nothing = std::move(number).failure();
    REQUIRE_FALSE(nothing);
    CHECK(&nothing.error().detail == where);
    const result<std::string> back = std::move(nothing).failure();
    REQUIRE_FALSE(back);
    CHECK(&back.error().detail == where);
    CHECK_FALSE(nothing);

    // Of a failure that was moved from: a failure without an error.
    const result<void> none = std::move(text).failure();
    CHECK_FALSE(none);
    const result<int> no_number = std::move(nothing).failure();
    CHECK_FALSE(no_number);
    // It is made of an error, and becomes one.
    const result<int> made = ckpt::failure{ckpt::error{.code = errc::limit, .detail = "too much"}};
    CHECK(made.error().detail == "too much");
    const ckpt::error taken = bad().failure();
    CHECK(taken.detail == "too much");
    const ckpt::error of_none = std::move(text).failure();
    CHECK(of_none.code == errc::internal);
    // One that nobody takes is destroyed (checked by the sanitizers).
    result<int> dropped{ckpt::error{.code = errc::limit, .detail = std::string(100, 'x')}};
    (void)std::move(dropped).failure();
}

TEST_CASE("a failure that was moved from stays a failure without an error: it is copied, assigned and passed on") {
    result<std::string> failed = bad();
    const result<std::string> taken = std::move(failed);
    CHECK(taken.error().detail == "too much");
    CHECK_FALSE(failed);
    CHECK(failed.value_or("y") == "y");
    result<std::string> copy = failed;
    CHECK_FALSE(copy);
    result<std::string> assigned = good();
    assigned = failed;
    CHECK_FALSE(assigned);
    const auto size = [](const std::string& s) -> result<std::size_t> { return s.size(); };
    const auto length = [](const std::string& s) { return s.size(); };
    CHECK(failed.and_then(size).error().code == errc::internal);
    CHECK(failed.transform(length).error().code == errc::internal);
    CHECK(result<std::string>{failed}.and_then(size).error().code == errc::internal);
    CHECK(result<std::string>{failed}.transform(length).error().code == errc::internal);
    failed = taken;
    CHECK(failed.error().detail == "too much");
    copy = good();
    CHECK(copy);
}

#if CKPT_EXCEPTIONS
TEST_CASE("value() of a failure that was moved from throws, too") {
    const auto code_of = [](auto& failed) {
        try {
            (void)failed.value();
        } catch (const ckpt::checkpoint_error& e) {
            return e.error().code;
        }
        return errc::none;
    };
    result<std::string> failed = bad();
    const result<std::string> taken = std::move(failed);
    CHECK(code_of(failed) == errc::internal);
    CHECK(code_of(taken) == errc::limit);
    CHECK_THROWS_AS((void)result<std::string>{failed}.value(), ckpt::checkpoint_error);
    CHECK_THROWS_AS((void)std::as_const(failed).value(), ckpt::checkpoint_error);
    result<void> nothing{ckpt::error{.code = errc::truncated}};
    const result<void> moved = std::move(nothing);
    CHECK(code_of(nothing) == errc::internal);
    CHECK(code_of(moved) == errc::truncated);
}

TEST_CASE("value() of a failure throws the whole error") {
    try {
        (void)bad().value();
        CHECK(false);
    } catch (const ckpt::checkpoint_error& e) {
        CHECK(e.error().code == errc::limit);
        CHECK(std::string(e.what()) == e.error().message());
    }
    CHECK_THROWS_AS(result<void>{ckpt::error{.code = errc::limit}}.value(), ckpt::checkpoint_error);
}
#endif

static_assert(std::is_nothrow_move_constructible_v<result<std::string>>);
static_assert(std::is_same_v<decltype(std::declval<result<std::string>>().value()), std::string>);
static_assert(std::is_same_v<decltype(*std::declval<result<std::string>>()), std::string>);

} // namespace

} // namespace result_test
