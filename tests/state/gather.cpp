// tests/state/gather.cpp: gather plans against plain loops: random compositions, read whole and in ranges.
//
// SPDX-License-Identifier: MIT
// Every plan is built twice: as nodes, and as an array that is computed element by element. Deterministic seeds.
#include <ckpt/ckpt.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/state/gather.hpp>

#include "../support/quantised_files.hpp"
#include "../support/sanitized.hpp"
#include "../support/typed_tensors.hpp"
#include "../tensor/fake_storage.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace gather_test {

using namespace test_support;
using ckpt::dtype;
using ckpt::detail::gather_plan;

namespace {

using sizes = std::vector<std::int64_t>;

std::size_t product(const sizes& shape) {
    std::size_t n = 1;
    for (const std::int64_t size : shape) n *= static_cast<std::size_t>(size);
    return n;
}

/// Row-major values.
struct array {
    sizes shape{};
    std::vector<double> values{};

    [[nodiscard]] double at(const sizes& index) const {
        std::size_t i = 0;
        for (std::size_t d = 0; d < shape.size(); ++d)
            i = i * static_cast<std::size_t>(shape[d]) + static_cast<std::size_t>(index[d]);
        return values[i];
    }
};
/// The array of this shape whose elements `f(index)` gives.
template <class F> array made(const sizes& shape, F&& f) {
    array out{shape, {}};
    const std::size_t n = product(shape);
    out.values.reserve(n);
    sizes index(shape.size(), 0);
    for (std::size_t i = 0; i < n; ++i) {
        out.values.push_back(f(index));
        for (std::size_t d = shape.size(); d-- > 0;) {
            if (++index[d] < shape[d]) break;
            index[d] = 0;
        }
    }
    return out;
}

/// A node and what it should hold.
struct both {
    std::uint32_t node{0};
    array expected{};
    dtype type{dtype::float32};
};

class composer {
  public:
    composer(gather_plan& plan, std::uint32_t seed) : plan_{plan}, random_{seed} {}

    [[nodiscard]] std::int64_t below(std::int64_t n) {
        return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
    }

    both permuted(const both& x) {
        sizes order;
        for (std::size_t i = 0; i < x.expected.shape.size(); ++i) order.push_back(static_cast<std::int64_t>(i));
        std::shuffle(order.begin(), order.end(), random_);
        return permuted(x, order);
    }
    both permuted(const both& x, const sizes& order) {
        sizes shape;
        for (const std::int64_t d : order) shape.push_back(x.expected.shape[static_cast<std::size_t>(d)]);
        sizes from(order.size());
        return {plan_.permute(x.node, order),
                made(shape,
                     [&](const sizes& index) {
                         for (std::size_t i = 0; i < order.size(); ++i)
                             from[static_cast<std::size_t>(order[i])] = index[i];
                         return x.expected.at(from);
                     }),
                x.type};
    }
    both narrowed(const both& x, std::size_t d, std::int64_t start, std::int64_t length) {
        sizes shape = x.expected.shape;
        shape[d] = length;
        return {plan_.narrow(x.node, static_cast<std::uint32_t>(d), start, length),
                made(shape,
                     [&](sizes index) {
                         index[d] += start;
                         return x.expected.at(index);
                     }),
                x.type};
    }
    both reshaped(const both& x, const sizes& shape) {
        return {plan_.reshape(x.node, shape), {shape, x.expected.values}, x.type};
    }
    both reshaped(const both& x) {
        std::size_t rest = product(x.expected.shape);
        sizes shape;
        if (rest == 0) shape = {0, below(3)};
        while (rest > 1 && shape.size() < 5) {
            std::vector<std::int64_t> divisors;
            for (std::size_t n = 1; n <= rest; ++n)
                if (rest % n == 0) divisors.push_back(static_cast<std::int64_t>(n));
            shape.push_back(divisors[static_cast<std::size_t>(below(static_cast<std::int64_t>(divisors.size())))]);
            rest /= static_cast<std::size_t>(shape.back());
        }
        if (rest > 1) shape.push_back(static_cast<std::int64_t>(rest));
        return reshaped(x, shape);
    }
    both padded(const both& x, std::size_t d, std::int64_t before, std::int64_t after) {
        sizes shape = x.expected.shape;
        shape[d] += before + after;
        std::array<std::byte, 16> value{};
        const double number = -1;
        (void)ckpt::detail::convert(dtype::float64, reinterpret_cast<const std::byte*>(&number), x.type, value.data(),
                                    1);
        return {plan_.pad(x.node, static_cast<std::uint32_t>(d), before, after, value),
                made(shape,
                     [&](sizes index) {
                         index[d] -= before;
                         return index[d] < 0 || index[d] >= x.expected.shape[d] ? -1 : x.expected.at(index);
                     }),
                x.type};
    }
    both joined(const std::vector<both>& parts, std::size_t d) {
        std::vector<std::uint32_t> nodes;
        sizes shape = parts[0].expected.shape;
        shape[d] = 0;
        for (const both& part : parts) {
            nodes.push_back(part.node);
            shape[d] += part.expected.shape[d];
        }
        return {plan_.concat(nodes, static_cast<std::uint32_t>(d)),
                made(shape,
                     [&](sizes index) {
                         std::size_t i = 0;
                         for (; index[d] >= parts[i].expected.shape[d]; ++i) index[d] -= parts[i].expected.shape[d];
                         return parts[i].expected.at(index);
                     }),
                parts[0].type};
    }
    /// Cut into boxes at random, which are pasted again.
    both pasted(const both& x) {
        const std::size_t rank = x.expected.shape.size();
        if (product(x.expected.shape) == 0) return x;
        struct box {
            sizes offset{};
            sizes size{};
        };
        std::vector<box> boxes{{sizes(rank, 0), x.expected.shape}};
        for (std::int64_t cuts = 1 + below(6); cuts > 0; --cuts) {
            const auto i = static_cast<std::size_t>(below(static_cast<std::int64_t>(boxes.size())));
            const auto d = static_cast<std::size_t>(below(static_cast<std::int64_t>(rank)));
            if (boxes[i].size[d] < 2) continue;
            const std::int64_t at = 1 + below(boxes[i].size[d] - 1);
            box rest = boxes[i];
            rest.offset[d] += at;
            rest.size[d] -= at;
            boxes[i].size[d] = at;
            boxes.push_back(rest);
        }
        std::shuffle(boxes.begin(), boxes.end(), random_);
        ckpt::detail::sort_values(boxes, [](const box& a, const box& b) { return a.offset[0] < b.offset[0]; });
        std::vector<std::uint32_t> nodes;
        sizes offsets;
        for (const box& b : boxes) {
            both part = x;
            for (std::size_t d = 0; d < rank; ++d) part = narrowed(part, d, b.offset[d], b.size[d]);
            nodes.push_back(part.node);
            offsets.insert(offsets.end(), b.offset.begin(), b.offset.end());
        }
        return {plan_.paste(nodes, offsets, x.expected.shape), x.expected, x.type};
    }
    both cast(const both& x, dtype type) { return {plan_.cast(x.node, type), x.expected, type}; }

    /// One random operation on `x`.
    both step(const both& x) {
        const std::size_t rank = x.expected.shape.size();
        const std::size_t d = rank == 0 ? 0 : static_cast<std::size_t>(below(static_cast<std::int64_t>(rank)));
        switch (rank == 0 ? 2 : below(8)) {
        case 0: return permuted(x);
        case 1: {
            const std::int64_t start = below(x.expected.shape[d] + 1);
            return narrowed(x, d, start, below(x.expected.shape[d] - start + 1));
        }
        case 2: return reshaped(x);
        case 3: return padded(x, d, below(3), below(3));
        case 4: { // the halves, in the other order
            const std::int64_t cut = below(x.expected.shape[d] + 1);
            return joined({narrowed(x, d, cut, x.expected.shape[d] - cut), narrowed(x, d, 0, cut)}, d);
        }
        case 5: // in the right order: what is adjacent becomes one view again
            if (x.expected.shape[d] > 1)
                return joined({narrowed(x, d, 0, 1), narrowed(x, d, 1, x.expected.shape[d] - 1)}, d);
            return joined({x, x}, d);
        case 6: return pasted(x);
        default: return cast(x, x.type == dtype::float32 ? dtype::float64 : dtype::float32);
        }
    }

    /// Reads all of it, then ranges.
    void check(const both& x) {
        const ckpt::detail::gather_node& node = plan_.node(x.node);
        REQUIRE(sizes(node.sizes().begin(), node.sizes().end()) == x.expected.shape);
        REQUIRE(node.type == x.type);
        const std::uint64_t n = x.expected.values.size();
        REQUIRE(node.numel == n);
        CHECK(read(x, 0, n));
        for (int i = 0; i < 6 && n > 0; ++i) {
            const auto first = static_cast<std::uint64_t>(below(static_cast<std::int64_t>(n)));
            CHECK(read(x, first, 1 + static_cast<std::uint64_t>(below(static_cast<std::int64_t>(n - first)))));
        }
    }
    [[nodiscard]] bool read(const both& x, std::uint64_t first, std::uint64_t n) {
        const std::size_t size = ckpt::itemsize(x.type);
        bytes_.assign(static_cast<std::size_t>(n) * size + 8, std::byte{0xA5});
        plan_.read(x.node, first, n, bytes_.data()).value();
        for (std::size_t i = 0; i < n; ++i) {
            double value{};
            (void)ckpt::detail::convert(x.type, bytes_.data() + i * size, dtype::float64,
                                        reinterpret_cast<std::byte*>(&value), 1);
            if (value != x.expected.values[static_cast<std::size_t>(first) + i]) return false;
        }
        for (std::size_t i = 0; i < 8; ++i)
            if (bytes_[static_cast<std::size_t>(n) * size + i] != std::byte{0xA5})
                return false; // nothing is written behind
        return true;
    }

  private:
    gather_plan& plan_;
    std::mt19937 random_;
    std::vector<std::byte> bytes_{};
};

typed_tensor counted(const char* name, const sizes& shape) {
    typed_tensor out{name, dtype::float32, shape, {}};
    for (std::size_t i = 0; i < product(shape); ++i) out.values.push_back(static_cast<double>(i));
    return out;
}
both leaf(gather_plan& plan, const ckpt::state_dict& weights, const typed_tensor& t) {
    const ckpt::tensor tensor = weights.at(t.name).value();
    return {plan.add_leaf(ckpt::detail::tensor_access::data(tensor), ckpt::detail::tensor_access::source(tensor)),
            {t.shape, t.values},
            t.type};
}

} // namespace

TEST_CASE("random compositions give what loops give, in whole and in any range") {
    const std::vector<typed_tensor> tensors{counted("cube", {3, 4, 5}), counted("thin", {1, 7, 1, 2}),
                                            counted("one", {}), counted("none", {2, 0, 3})};
    for (const lying how : {lying::plain, lying::scattered, lying::big_endian}) {
        const typed_tensors file(tensors, how);
        for (const ckpt::open_options& options :
             {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read}}) {
            const auto weights = file.weights(options);
            for (std::uint32_t seed = 0; seed < 400; ++seed) {
                CAPTURE(seed);
                gather_plan plan;
                composer make(plan, seed);
                both x = leaf(plan, weights, tensors[seed % tensors.size()]);
                for (int i = 0; i < 7 && x.expected.values.size() < 3000; ++i) {
                    x = make.step(x);
                    make.check(x);
                }
            }
        }
    }
}

TEST_CASE("strides of a reshape: every shape of small tensors that are permuted, narrowed or expanded") {
    // Expanded dimensions have the stride 0, which no writer above makes.
    const std::vector<float> data{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    const std::string file = torch_file(
        pkl::dict(
            {{pkl::str("e"), pkl::tensor(pkl::storage("FloatStorage", "0", 12), 1, {2, 3, 2, 2}, {0, 3, 1, 0})},
             {pkl::str("s"), pkl::tensor(pkl::storage("FloatStorage", "0", 12), 0, {1, 3, 1, 2}, {99, 4, 0, 2})}}),
        {{"0", raw(data)}});
    const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("").value();
    for (const char* key : {"e", "s"})
        for (std::uint32_t seed = 0; seed < 500; ++seed) {
            CAPTURE(seed);
            gather_plan plan;
            composer make(plan, seed);
            const ckpt::tensor tensor = weights.at(key).value();
            both x{
                plan.add_leaf(ckpt::detail::tensor_access::data(tensor), ckpt::detail::tensor_access::source(tensor)),
                {},
                dtype::float32};
            x.expected = made({tensor.shape().begin(), tensor.shape().end()}, [&](const sizes& index) {
                auto at = static_cast<std::int64_t>(tensor.storage_offset());
                for (std::size_t d = 0; d < index.size(); ++d) at += index[d] * tensor.strides()[d];
                return static_cast<double>(data[static_cast<std::size_t>(at)]);
            });
            for (int i = 0; i < 3; ++i) {
                x = make.permuted(x);
                make.check(x = make.reshaped(x));
            }
        }
}

TEST_CASE("what strides can show stays a view") {
    const std::vector<typed_tensor> tensors{counted("x", {4, 6})};
    const typed_tensors file(tensors);
    const auto weights = file.weights();
    gather_plan plan;
    composer make(plan, 1);
    const both x = leaf(plan, weights, tensors[0]);
    const both turned = make.permuted(x, {1, 0});
    const both parts[]{make.narrowed(x, 0, 0, 1), make.narrowed(x, 0, 1, 3), make.narrowed(x, 1, 2, 2)};
    for (const both& view :
         {turned, parts[0], parts[1], parts[2], make.reshaped(x, {2, 2, 3, 2}), make.reshaped(turned, {3, 2, 2, 2}),
          make.reshaped(parts[2], {4, 2, 1}), make.joined({parts[0], parts[1]}, 0),
          make.joined({make.narrowed(turned, 0, 0, 4), make.narrowed(turned, 0, 4, 2)}, 0)}) {
        CHECK(plan.is_leaf(view.node));
        make.check(view);
    }
    CHECK(plan.same_view(x.node, make.joined({parts[0], parts[1]}, 0).node));
    CHECK_FALSE(plan.is_leaf(make.reshaped(turned, {24}).node));
    CHECK_FALSE(plan.is_leaf(make.joined({parts[1], parts[0]}, 0).node));
    CHECK_FALSE(plan.same_view(make.cast(x, dtype::float64).node, make.cast(x, dtype::float64).node));
}

TEST_CASE("what is turned, joined and cast is read in large pieces, each byte once") {
    std::vector<std::uint16_t> values(std::size_t{2048} * 1024); // two matrices of bfloat16, 4 MiB
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint16_t>(i % 0x7f80);
    fake::storage store{fake::bytes_of(values)};
    const fake::tensor a{store, dtype::bfloat16, {1024, 1024}, {1024, 1}};
    const fake::tensor b{store, dtype::bfloat16, {1024, 1024}, {1, 1024}, std::uint64_t{1} << 20};
    gather_plan plan;
    const std::int64_t turn[]{1, 0};
    const std::uint32_t both_parts[]{plan.permute(plan.add_leaf(&a.data, &store), turn),
                                     plan.add_leaf(&b.data, &store)};
    for (const std::uint32_t along : {0U, 1U}) {
        const std::uint32_t joined = plan.concat(both_parts, along);
        for (const std::uint32_t node : {joined, plan.cast(joined, dtype::float32)}) {
            std::vector<std::byte> read(plan.node(node).numel * ckpt::itemsize(plan.node(node).type)), mapped(read);
            store.mapped = true;
            REQUIRE(plan.read(node, 0, plan.node(node).numel, mapped.data()).has_value());
            store.mapped = false;
            store.reads = store.bytes_read = 0;
            REQUIRE(plan.read(node, 0, plan.node(node).numel, read.data()).has_value());
            CHECK(read == mapped);
            // A piece that is cast lies in both parts where they are joined across the order of their storages.
            CHECK(store.reads <= (along == 0 && node != joined ? 16 : 8));
            CHECK(store.bytes_read == std::size_t{4} << 20);
        }
    }
}

TEST_CASE("large tensors of odd sizes are read in parts, into strided destinations, and give what a copy gives" *
          doctest::test_suite("slow")) {
    const std::vector<typed_tensor> tensors{counted("a", {331, 257}), counted("b", {257, 331})};
    for (const lying how : {lying::plain, lying::big_endian}) {
        const typed_tensors file(tensors, how);
        for (const ckpt::open_options& options :
             {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read}}) {
            // Under a sanitizer one way for each order of bytes.
            if (sanitized && (how == lying::plain) != (options.io == ckpt::io_mode::map)) continue;
            const auto weights = file.weights(options);
            gather_plan plan;
            composer make(plan, 7);
            const both a = leaf(plan, weights, tensors[0]);
            const both b = leaf(plan, weights, tensors[1]);
            // Slices of transposed and reshaped tensors, merged along the last dimension: nothing is dense on the way.
            const both turned = make.permuted(a, {1, 0});
            const both slices =
                make.joined({make.narrowed(turned, 1, 3, 101),
                             make.narrowed(make.reshaped(make.reshaped(turned, {331, 257}), {257, 331}), 1, 100, 57),
                             make.narrowed(b, 1, 0, 331)},
                            1);
            make.check(slices);
            const both wide = make.cast(make.padded(slices, 1, 1, 3), dtype::float64);
            make.check(wide);
            make.check(make.reshaped(make.permuted(wide, {1, 0}), {29, 17, 257}));
            make.check(make.permuted(make.reshaped(make.permuted(wide, {1, 0}), {29, 17, 257}), {2, 0, 1}));
            both deep = b;
            for (int i = 0; i < 20; ++i) {
                deep = make.reshaped(make.permuted(deep, {1, 0}), {257, 331});
                deep = make.joined({make.narrowed(deep, 0, 100, 157), make.narrowed(deep, 0, 0, 100)}, 0);
                if (plan.node(deep.node).depth + 4u > gather_plan::most_depth) break;
            }
            CHECK(plan.node(deep.node).depth > 50);
            make.check(deep);
        }
    }
}

TEST_CASE("digests of gathered tensors, read in 128 KiB parts, are those of whole copies") {
    const typed_tensors file({counted("a", {331, 257}), counted("b", {257, 331})}, lying::scattered);
    for (const ckpt::open_options& options : {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read},
                                              ckpt::open_options{.storages = ckpt::storage_mode::owned}}) {
        const auto weights = file.weights(options);
        for (const char* text :
             {"transpose 0 1 a\nmerge 1 a, b -> c\n", "transpose 0 1 a\nreshape (331, 257) a\n",
              "transpose 0 1 b\nmerge 0 a, b -> c\nreshape (-1, 7, 257) c where shape[0] % 7 == 0\ntranspose 0 1 "
              "c\ncast float64 c\n",
              "pad 1 13 1 with 3 *\ncast bfloat16 *\n",
              "reshape (-1) *\nmerge 0 b, a -> c\nreshape (-1, 2, 257) c\npermute (2, 0, 1) c\nnarrow 0 1 250 c\n"}) {
            CAPTURE(text);
            const auto made_of = ckpt::remap(weights, ckpt::key_map::parse(text).value()).value();
            const auto own = made_of.owned();
            for (const auto& [key, tensor] : made_of) {
                const std::string bytes = row_major(tensor);
                CHECK(tensor.crc32().value() == ckpt::detail::crc32(bytes_of(bytes)));
                CHECK(own.at(key).value().bytes().has_value() == own.at(key).value().is_contiguous());
                CHECK(row_major(own.at(key).value()) == bytes);
            }
        }
    }
}

TEST_CASE("the numbers of quantised tensors, in any range, and under other operations") {
    for (const auto how : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const std::string bytes = quantised_file();
        const auto weights = ckpt::open_bytes(bytes_of(bytes), {.io = how}).value().state_dict().value();
        std::mt19937 random{5}; // NOLINT: the same numbers each time
        for (const auto [key, tensor] : weights) {
            if (!tensor.quantizer() || tensor.numel() == 0) continue;
            const std::string name(key); // Clang 14 captures no structured binding
            CAPTURE(name);
            gather_plan plan;
            const std::uint32_t leaf =
                plan.add_leaf(ckpt::detail::tensor_access::data(tensor), ckpt::detail::tensor_access::source(tensor));
            const std::uint32_t node = plan.dequantize(leaf);
            const auto n = static_cast<std::uint64_t>(tensor.numel());
            std::vector<float> expected(static_cast<std::size_t>(n));
            REQUIRE(ckpt::copy_dequantized(tensor, expected).has_value());
            CHECK(plan.node(node).type == dtype::float32);
            for (int round = 0; round < 40; ++round) {
                const std::uint64_t first = round == 0 ? 0 : random() % n;
                const std::uint64_t count = round == 0 ? n : 1 + random() % (n - first);
                std::vector<float> got(static_cast<std::size_t>(count));
                REQUIRE(plan.read(node, first, count, reinterpret_cast<std::byte*>(got.data())).has_value());
                CHECK(std::memcmp(got.data(), expected.data() + first, got.size() * sizeof(float)) == 0);
            }
            // Turned round, without the first index of each dimension, the rest is where it was.
            sizes order;
            std::uint32_t part = node;
            for (std::uint32_t d = plan.node(node).rank; d-- > 0;) {
                order.push_back(d);
                part = plan.narrow(part, d, 1, plan.node(node).shape[d] - 1);
            }
            part = plan.permute(part, order);
            std::vector<float> got(static_cast<std::size_t>(plan.node(part).numel));
            REQUIRE(plan.read(part, 0, got.size(), reinterpret_cast<std::byte*>(got.data())).has_value());
            const sizes shape(tensor.shape().begin(), tensor.shape().end());
            const array wanted =
                made({plan.node(part).sizes().begin(), plan.node(part).sizes().end()}, [&](const sizes& index) {
                    std::size_t at = 0;
                    for (std::size_t d = 0; d < shape.size(); ++d)
                        at = at * static_cast<std::size_t>(shape[d]) +
                             static_cast<std::size_t>(index[shape.size() - 1 - d] + 1);
                    return static_cast<double>(expected[at]);
                });
            CHECK(std::equal(got.begin(), got.end(), wanted.values.begin(), wanted.values.end(),
                             [](float a, double b) { return static_cast<double>(a) == b; }));
        }
    }
}

} // namespace gather_test
