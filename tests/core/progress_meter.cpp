// tests/core/progress_meter.cpp: when the program is told, and what its answer does.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/progress_meter.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace progress_meter_test {

using ckpt::detail::progress_meter;

namespace {

constexpr std::uint64_t step = progress_meter::step;

std::vector<std::uint64_t> told; // what `note` was called with
bool note(const ckpt::progress& p) {
    told.push_back(p.done);
    return true;
}

} // namespace

TEST_CASE("progress: a function or an object that stays, no temporary object") {
    int calls = 0;
    const auto count = [&calls](const ckpt::progress&) { return ++calls < 2; };
    static_assert(!std::is_convertible_v<decltype(count), ckpt::progress_callback>);
    static_assert(std::is_convertible_v<decltype(count)&, ckpt::progress_callback>);
    static_assert(std::is_convertible_v<bool (*)(const ckpt::progress&), ckpt::progress_callback>);
    const ckpt::progress_callback by_object{count};
    CHECK(by_object({}));
    CHECK_FALSE(by_object({}));
    CHECK(ckpt::progress_callback{}({}));
}

TEST_CASE("progress: one call for a step, one at the end, none in between") {
    told.clear();
    progress_meter meter{note};
    meter.expect(step + 1);
    meter.expect(10);
    meter.begin(step + 1);
    CHECK(meter.add(step - 1));
    CHECK(told.empty());
    CHECK(meter.add(1));
    CHECK(told == std::vector<std::uint64_t>{step});
    CHECK(meter.add(step)); // read twice: does not count beyond the item
    CHECK(meter.finish());
    CHECK(told.size() == 1);
    meter.begin(10);
    CHECK(meter.finish());
    CHECK(told == std::vector<std::uint64_t>{step, step + 11});
    meter.begin(0);
    CHECK(meter.finish());
    CHECK(told.size() == 2);
}

TEST_CASE("progress: nothing to read is no call, and a total does not wrap") {
    told.clear();
    progress_meter none{note};
    none.begin(0);
    CHECK(none.finish());
    CHECK(told.empty());
    progress_meter huge{note};
    huge.expect(~std::uint64_t{0} - 1);
    huge.expect(5);
    huge.begin(~std::uint64_t{0});
    CHECK(huge.finish());
    CHECK(told == std::vector<std::uint64_t>{~std::uint64_t{0}});
}

TEST_CASE("progress: after false nothing is called, and the error says after how many bytes") {
    int calls = 0;
    const auto stop = [&calls](const ckpt::progress&) {
        ++calls;
        return false;
    };
    progress_meter meter{stop};
    meter.expect(3 * step);
    meter.begin(3 * step);
    CHECK(meter.add(1));
    CHECK_FALSE(meter.add(step));
    CHECK_FALSE(meter.add(step));
    CHECK_FALSE(meter.finish());
    CHECK(calls == 1);
    CHECK(meter.is_stopped());
    CHECK(meter.stopped().code == ckpt::errc::cancelled);
    CHECK(meter.stopped().detail == "the progress callback said so after 4194305 of 12582912 bytes");
}

} // namespace progress_meter_test
