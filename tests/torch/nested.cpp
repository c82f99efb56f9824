// tests/torch/nested.cpp: nested tensors, strided and jagged: parts, what is refused, sizes and offsets that are
// checked.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace nested_test {

using ckpt::errc;
using namespace test_support;

namespace {

using numbers = std::vector<std::int64_t>;

std::string longs(const char* key, const numbers& values, const numbers& shape) {
    numbers strides(shape.size(), 1);
    for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
    return pkl::tensor(pkl::storage("LongStorage", key, static_cast<std::int64_t>(values.size())), 0, shape, strides);
}
const std::vector<float> eight{0, 1, 2, 3, 4, 5, 6, 7};

/// Two matrices in a buffer of 8: [2, 2] at 0 and [1, 3] at 4.
struct nested {
    numbers sizes{2, 2, 1, 3};
    numbers strides{2, 1, 3, 1};
    numbers offsets{0, 4};
    numbers shape{2, 2};
};
/// Rows of 2 from values [4, 2].
struct jagged {
    numbers offsets{0, 1, 4};
    numbers lengths{};
    std::int64_t ragged{1};
};

struct outcome {
    errc entry{};
    errc checked{};
    std::string text{};
    numbers shape{};
};
outcome judge(const std::string& value, const std::vector<std::pair<std::string, std::string>>& storages) {
    const std::string bytes = torch_file(value, storages);
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const ckpt::tensor t = file.root().as_tensor().value();
    outcome out;
    if (t.refusal() != nullptr) {
        out.entry = t.refusal()->code;
        out.text = t.refusal()->message();
        return out;
    }
    const auto checked = ckpt::check_values(t);
    out.checked = checked ? errc::none : checked.error().code;
    out.text = checked ? std::string() : checked.error().message();
    out.shape.assign(t.shape().begin(), t.shape().end());
    CHECK(file.verify().ok() == checked.has_value());
    CHECK(t.crc32().error().code == errc::not_strided);
    return out;
}
outcome judge(const nested& n) {
    const std::string buffer = pkl::floats("0", 8);
    return judge(pkl::call(pkl::global("torch._utils", "_rebuild_nested_tensor"),
                           {buffer, longs("1", n.sizes, n.shape), longs("2", n.strides, n.shape),
                            longs("3", n.offsets, {static_cast<std::int64_t>(n.offsets.size())})}),
                 {{"0", raw(eight)}, {"1", raw(n.sizes)}, {"2", raw(n.strides)}, {"3", raw(n.offsets)}});
}
/// `values`: what the rows are of; empty: a matrix [4, 2].
outcome judge(const jagged& j, std::string values = {}) {
    if (values.empty()) values = pkl::tensor(pkl::storage("FloatStorage", "0", 8), 0, {4, 2}, {2, 1});
    const std::string fields = pkl::dict(
        {{pkl::str("values"), values},
         {pkl::str("offsets"), longs("1", j.offsets, {static_cast<std::int64_t>(j.offsets.size())})},
         {pkl::str("lengths"),
          j.lengths.empty() ? pkl::none : longs("2", j.lengths, {static_cast<std::int64_t>(j.lengths.size())})},
         {pkl::str("_ragged_idx"), pkl::num(j.ragged)},
         {pkl::str("requires_grad"), pkl::yes}});
    const std::string module = "torch.nested._internal.nested_tensor";
    return judge(pkl::call(pkl::global("torch._tensor", "_rebuild_from_type_v2"),
                           {pkl::global(module, "_rebuild_njt"), pkl::global(module, "NestedTensor"),
                            pkl::tuple({fields}), pkl::dict({})}),
                 {{"0", raw(eight)}, {"1", raw(j.offsets)}, {"2", raw(j.lengths)}});
}

} // namespace

TEST_CASE("V3: strided nested tensors") {
    CHECK(judge(nested{}).checked == errc::none);
    CHECK(judge(nested{}).shape == numbers{2, -1, -1});
    CHECK(judge(nested{{0, 9, 1, 3}}).checked == errc::none); // without elements it may lie anywhere
    CHECK(judge(nested{{2, 2, 1, 5}}).checked == errc::indices_invalid);
    CHECK(judge(nested{{2, 2, 1, -3}}).checked == errc::indices_invalid);
    CHECK(judge(nested{{2, 2, 1, 3}, {5, 4, 3, 1}}).checked == errc::indices_invalid);
    CHECK(judge(nested{{2, 2, 1, 3}, {2, 1, 3, 1}, {0, 6}}).checked == errc::indices_invalid);
    CHECK(judge(nested{{2, 2, 1, 3}, {2, 1, 3, 1}, {-1, 4}}).checked == errc::indices_invalid);
    CHECK(judge(nested{{2, 2, 1, 3}, {2, 1, 3, 1}, {0}}).entry == errc::bad_arguments);
    CHECK(judge(nested{{2, 2, 1, 3}, {2, 1, 3, 1}, {0, 4}, {4}}).entry == errc::bad_arguments);
    CHECK(judge(nested{{2, 2, 1, 3}, {2, 1, 3, 1}, {0, 4}, {1, 4}}).entry == errc::bad_arguments);
    CHECK(judge(nested{{2, 2, 1, 5}}).text.find("row 1 of a nested tensor does not lie in its buffer") !=
          std::string::npos);
}

TEST_CASE("a nested tensor without any tensor in it, which torch 2.13 saves and cannot load") {
    const std::string number = pkl::tensor(pkl::storage("FloatStorage", "1", 1), 0, {}, {});
    const std::string none = pkl::call(pkl::global("torch._utils", "_rebuild_nested_tensor"),
                                       {pkl::floats("0", 0), number, number, longs("3", {}, {0})});
    const outcome seen = judge(none, {{"0", {}}, {"1", raw<float>({1})}, {"3", {}}});
    CHECK(seen.entry == errc::none);
    CHECK(seen.checked == errc::none);
    CHECK(seen.shape == numbers{0});
    CHECK(judge(pkl::call(pkl::global("torch._utils", "_rebuild_nested_tensor"),
                          {pkl::floats("0", 0), number, number, longs("3", {0}, {1})}),
                {{"0", {}}, {"1", raw<float>({1})}, {"3", raw(numbers{0})}})
              .entry == errc::bad_arguments);
}

TEST_CASE("V3: jagged tensors") {
    CHECK(judge(jagged{}).checked == errc::none);
    CHECK(judge(jagged{}).shape == numbers{2, -1, 2});
    CHECK(judge(jagged{{0, 1, 2}, {}, 2}).shape == numbers{2, 4, -1});
    CHECK(judge(jagged{{0, 1, 4}, {1, 2}}).checked == errc::none);
    CHECK(judge(jagged{{0, 3, 0}, {4, 1}}).checked == errc::none); // with lengths, rows may lie anywhere
    CHECK(judge(jagged{{0, 1, 5}}).checked == errc::indices_invalid);
    CHECK(judge(jagged{{-1, 1, 4}}).checked == errc::indices_invalid);
    CHECK(judge(jagged{{0, 3, 2}}).checked == errc::indices_invalid);
    CHECK(judge(jagged{{0, 1, 4}, {1, 4}}).checked == errc::indices_invalid);
    CHECK(judge(jagged{{0, 1, 4}, {-1, 1}}).checked == errc::indices_invalid);
    CHECK(judge(jagged{{0, 1, 4}, {1, 1, 1}}).entry == errc::bad_arguments);
    CHECK(judge(jagged{{}, {}}).entry == errc::bad_arguments);
    for (const std::int64_t ragged : {-1, 0, 3})
        CHECK(judge(jagged{{0, 1, 4}, {}, ragged}).entry == errc::bad_arguments);
}

TEST_CASE("V1: with the batch, a nested tensor has at most limits.tensor_rank dimensions") {
    const auto strided = [](std::int64_t dimensions) {
        return judge(nested{numbers(static_cast<std::size_t>(2 * dimensions), 1),
                            numbers(static_cast<std::size_t>(2 * dimensions), 1),
                            {0, 4},
                            {2, dimensions}});
    };
    CHECK(strided(63).shape.size() == 64);
    CHECK(strided(64).entry == errc::shape_invalid);
    CHECK(strided(64).text.find("a nested tensor of 64 dimensions in a batch, the limit is 64") != std::string::npos);
    const auto of_rank = [](std::size_t rank) {
        numbers shape(rank, 1);
        shape[0] = 4;
        return judge(jagged{}, pkl::tensor(pkl::storage("FloatStorage", "0", 8), 0, shape, numbers(rank, 1)));
    };
    CHECK(of_rank(63).shape.size() == 64);
    CHECK(of_rank(64).entry == errc::shape_invalid);
    CHECK(of_rank(64).text.find("a jagged tensor of 64 dimensions in a batch, the limit is 64") != std::string::npos);
}

} // namespace nested_test
