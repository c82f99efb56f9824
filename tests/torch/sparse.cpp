// tests/torch/sparse.cpp: sparse tensors: what is refused at open (V3), what their indices must fulfil, dense copies.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/tensor/sparse.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sparse_test {

using ckpt::errc;
using namespace test_support;

namespace {

using numbers = std::vector<std::int64_t>;

/// A sparse tensor under construction: index parts and values, each with a shape of its own.
struct parts {
    std::string layout{"sparse_coo"};
    numbers size{3, 4};
    numbers outer{0, 2, 0, 1}; // indices, or compressed ones
    numbers outer_shape{2, 2};
    numbers inner{}; // plain indices
    numbers inner_shape{};
    std::vector<float> values{5, 7};
    numbers values_shape{2};
    std::string extra{}; // of the Python form, behind the size
    std::string index_class{"LongStorage"};

    [[nodiscard]] std::string tensor_of(const char* type, const char* key, std::size_t stored,
                                        const numbers& shape) const {
        numbers strides(shape.size(), 1);
        for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
        return pkl::tensor(pkl::storage(type, key, static_cast<std::int64_t>(stored)), 0, shape, strides);
    }
    [[nodiscard]] std::string indices() const { return tensor_of(index_class.c_str(), "0", outer.size(), outer_shape); }
    [[nodiscard]] std::string plain() const { return tensor_of(index_class.c_str(), "1", inner.size(), inner_shape); }
    [[nodiscard]] std::string data() const { return tensor_of("FloatStorage", "2", values.size(), values_shape); }
    [[nodiscard]] bool coo() const { return layout == "sparse_coo"; }
    /// As Python writes it.
    [[nodiscard]] std::string python() const {
        const std::string shape = pkl::call(pkl::global("torch", "Size"), {pkl::ints(size)});
        const std::string all =
            coo() ? "(" + indices() + data() + shape + extra + "t" : pkl::tuple({indices(), plain(), data(), shape});
        return pkl::call(
            pkl::global("torch._utils", "_rebuild_sparse_tensor"),
            {pkl::call(pkl::global("torch.serialization", "_get_layout"), {pkl::str("torch." + layout)}), all});
    }
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> storages() const {
        const auto packed = [&](const numbers& of) {
            return index_class == "LongStorage" ? raw(of) : raw(std::vector<std::int32_t>(of.begin(), of.end()));
        };
        return {{"0", packed(outer)}, {"1", packed(inner)}, {"2", raw(values)}};
    }
};

struct outcome {
    errc entry{};
    errc checked{};
    std::vector<float> dense{};
    std::string text{};
};

/// Opens it, checks its indices and copies it, mapped and read; verify() agrees with the check.
outcome judge(const parts& p, const std::string& written = {}) {
    outcome out;
    for (const ckpt::io_mode mode : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const std::string bytes = torch_file(written.empty() ? p.python() : written, p.storages());
        const auto file = ckpt::open_bytes(bytes_of(bytes), {.io = mode}).value();
        const ckpt::tensor t = file.root().as_tensor().value();
        if (t.refusal() != nullptr) {
            out.entry = t.refusal()->code;
            out.text = t.refusal()->message();
            continue;
        }
        const auto checked = ckpt::check_values(t);
        const errc code = checked ? errc::none : checked.error().code;
        if (!checked) out.text = checked.error().message();
        CHECK(file.verify().ok() == checked.has_value());
        if (t.numel() > 1'000) continue; // too large to be dense
        std::vector<float> dense(static_cast<std::size_t>(t.numel()));
        const auto copied = ckpt::copy_dense(t, std::span(dense));
        CHECK(copied.has_value() == checked.has_value());
        if (copied) {
            if (mode == ckpt::io_mode::read) CHECK(dense == out.dense);
            out.dense = dense;
        }
        if (mode == ckpt::io_mode::read) CHECK(code == out.checked);
        out.checked = code;
        CHECK(t.bytes().error().code == errc::not_strided);
        CHECK(t.crc32().error().code == errc::not_strided);
    }
    return out;
}
outcome judge(const std::function<void(parts&)>& change, const parts& from = {}) {
    parts p = from;
    change(p);
    return judge(p);
}

// [[1, 0, 2], [0, 3, 0]] by rows and by columns; [[0 0 1 2], [0 0 3 4]] in blocks of 2 by 2.
const parts csr{"sparse_csr", {2, 3}, {0, 2, 3}, {3}, {0, 2, 1}, {3}, {1, 2, 3}, {3}, {}, "LongStorage"};
const parts csc{"sparse_csc", {2, 3}, {0, 1, 2, 3}, {4}, {0, 1, 0}, {3}, {1, 3, 2}, {3}, {}, "IntStorage"};
const parts bsr{"sparse_bsr", {2, 4}, {0, 1}, {2}, {1}, {1}, {1, 2, 3, 4}, {1, 2, 2}, {}, "LongStorage"};
const parts bsc{"sparse_bsc", {2, 4}, {0, 0, 1}, {3}, {0}, {1}, {1, 2, 3, 4}, {1, 2, 2}, {}, "LongStorage"};

} // namespace

TEST_CASE("V3: sparse tensors of every layout: parts, values, dense copies") {
    const parts coo{};
    CHECK(judge(coo).dense == std::vector<float>{5, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0});
    for (const parts& p : {csr, csc}) CHECK(judge(p).dense == std::vector<float>{1, 0, 2, 0, 3, 0});
    for (const parts& p : {bsr, bsc}) CHECK(judge(p).dense == std::vector<float>{0, 0, 1, 2, 0, 0, 3, 4});
    const std::string bytes = torch_file(csr.python(), csr.storages());
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const ckpt::tensor t = file.root().as_tensor().value();
    CHECK(t.layout() == ckpt::layout::sparse_csr);
    CHECK(t.numel() == 6);
    CHECK(t.nbytes() == 24 + 24 + 12);
    std::vector<std::string> names;
    for (const ckpt::named_part part : t.parts()) names.emplace_back(part.name);
    CHECK(names == std::vector<std::string>{"crow_indices", "col_indices", "values"});
    CHECK(t.part("values").value().view<float, 1>().value()(2) == 3.0F);
    CHECK(t.part("indices").error().code == errc::key_missing);
    // The file ends, the numbers live on in a copy.
    const auto owned =
        ckpt::open_bytes(bytes_of(torch_file(pkl::dict({{pkl::str("s"), csr.python()}}), csr.storages())),
                         {.storages = ckpt::storage_mode::owned});
    CHECK(owned.has_value());
}

TEST_CASE("V3: two faults in one sparse tensor: the same one is told mapped and read") {
    parts p = csr;
    p.outer = {7, 2, 3};
    std::string bytes = torch_file(p.python(), p.storages());
    bytes[bytes.find("data/1")] = 'D'; // the name in the local header of the plain indices
    for (const ckpt::io_mode mode : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const auto file = ckpt::open_bytes(bytes_of(bytes), {.io = mode}).value();
        CHECK(ckpt::check_values(file.root().as_tensor().value()).error().code == errc::zip_header_mismatch);
        for (const ckpt::error& e : file.verify().findings) {
            CHECK(e.code == errc::zip_header_mismatch);
            CHECK(e.message().find("lie in storage") == std::string::npos); // its place is in the error
        }
    }
}

TEST_CASE("verify tells of sparse tensors in the file's order, wherever their parts lie in memory") {
    constexpr int count = 3000;
    std::string all = "](";
    std::vector<std::pair<std::string, std::string>> storages{{"v", raw<float>({5})}};
    for (int i = 0; i < count; ++i) {
        const std::string key = std::to_string(i);
        storages.emplace_back(key, raw<std::int64_t>({9})); // of three
        all +=
            pkl::call(pkl::global("torch._utils", "_rebuild_sparse_tensor"),
                      {pkl::call(pkl::global("torch.serialization", "_get_layout"), {pkl::str("torch.sparse_coo")}),
                       pkl::tuple({pkl::tensor(pkl::storage("LongStorage", key, 1), 0, {1, 1}, {1, 1}),
                                   pkl::floats("v", 1), pkl::call(pkl::global("torch", "Size"), {pkl::ints({3})})})});
    }
    const std::string file = torch_file(all + 'e', storages);
    // Blocks of memory that are used again come in another order.
    const ckpt::open_options options{.scratch = ckpt::scratch::make()};
    CHECK_FALSE(ckpt::open_bytes(bytes_of(file), options).value().verify().ok());
    const auto report = ckpt::open_bytes(bytes_of(file), options).value().verify();
    REQUIRE(report.findings.size() == count);
    for (int i = 0; i < count; ++i)
        CHECK(report.findings[static_cast<std::size_t>(i)].detail.find("storage \"" + std::to_string(i) + '"') !=
              std::string::npos);
}

TEST_CASE("torch 0.1 to 0.4 called the class of a sparse tensor itself") {
    const parts coo{};
    const std::string shape = pkl::call(pkl::global("torch", "Size"), {pkl::ints(coo.size)});
    CHECK(judge(coo, pkl::call(pkl::global("torch.sparse", "FloatTensor"), {coo.indices(), coo.data(), shape})).dense ==
          judge(coo).dense);
    CHECK(judge(coo, pkl::call(pkl::global("torch.cuda.sparse", "FloatTensor"), {coo.data(), coo.indices(), shape}))
              .entry == errc::bad_arguments);
    CHECK(judge(coo, pkl::call(pkl::global("torch.sparse", "FloatTensor"), {coo.indices(), coo.data()})).entry ==
          errc::bad_arguments);
}

TEST_CASE("hybrid, batched and empty ones; values of one place are added") {
    parts p{};
    p.values_shape = {2, 3};
    p.values = {1, 2, 3, 4, 5, 6};
    p.size = {3, 3};
    p.outer = {2, 0};
    p.outer_shape = {1, 2};
    CHECK(judge(p).dense == std::vector<float>{4, 5, 6, 0, 0, 0, 1, 2, 3});
    p.outer = {1, 1};
    CHECK(judge(p).dense == std::vector<float>{0, 0, 0, 5, 7, 9, 0, 0, 0});
    p.extra = pkl::yes; // coalesced, it says
    CHECK(judge(p).checked == errc::indices_invalid);
    p.outer = {0, 1};
    CHECK(judge(p).dense == std::vector<float>{1, 2, 3, 4, 5, 6, 0, 0, 0});
    const parts batched{"sparse_csr", {2, 1, 2}, {0, 1, 0, 1}, {2, 2}, {1, 0},
                        {2, 1},       {8, 9},    {2, 1},       {},     "IntStorage"};
    CHECK(judge(batched).dense == std::vector<float>{0, 8, 9, 0});
    const parts scalar{"sparse_coo", {}, {}, {0, 1}, {}, {}, {4}, {1}, {}, "LongStorage"};
    CHECK(judge(scalar).dense == std::vector<float>{4});
    const parts none{"sparse_coo", {3, 4}, {}, {2, 0}, {}, {}, {}, {0}, {}, "LongStorage"};
    CHECK(judge(none).dense == std::vector<float>(12));
}

TEST_CASE("the forms of TorchScript and of torch 1.8 to 1.13") {
    using namespace pkl;
    const parts coo{};
    const std::string f = global("torch._utils", "_rebuild_sparse_tensor");
    CHECK(judge(coo, call(f, {num(1), ints({3, 4}), yes, coo.indices(), coo.data(), ordered()})).dense[9] == 7);
    CHECK(judge(csr, call(f, {num(2), ints({2, 3}), no, csr.indices(), csr.plain(), csr.data(), ordered()})).dense ==
          std::vector<float>{1, 0, 2, 0, 3, 0});
    const std::string layout = call(global("torch.serialization", "_get_layout"), {str("torch.sparse_csr")});
    CHECK(judge(csr, call(global("torch._utils", "_rebuild_sparse_csr_tensor"),
                          {layout, tuple({csr.indices(), csr.plain(), csr.data(), ints({2, 3})})}))
              .dense.size() == 6);
    CHECK(judge(coo, call(f, {num(3), ints({3, 4}), yes, coo.indices(), coo.data(), ordered()})).entry ==
          errc::bad_arguments); // no such layout
    CHECK(judge(coo, call(f, {num(2), ints({3, 4}), yes, coo.indices(), coo.data(), ordered()})).entry ==
          errc::bad_arguments); // one argument too few
    CHECK(judge(coo, call(f, {num(1), ints({3, 4}), num(2), coo.indices(), coo.data(), ordered()})).entry ==
          errc::bad_arguments);
}

TEST_CASE("V3: what can be told without reading values is refused at open") {
    using change = std::function<void(parts&)>;
    const change of_coo[]{
        [](parts& p) { p.size = {3, 4, 1}; },
        [](parts& p) { p.size = {3}; },
        [](parts& p) { p.values_shape = {1}; },
        [](parts& p) { p.values_shape = {2, 1}; },
        [](parts& p) { p.outer_shape = {4}; },
        [](parts& p) { p.outer_shape = {1, 4}; },
        [](parts& p) { p.index_class = "IntStorage"; },
        [](parts& p) { p.size = {3, -4}; },
        [](parts& p) { p.size = {std::int64_t{1} << 40, std::int64_t{1} << 40}; },
        [](parts& p) { p.extra = pkl::num(2); },
        [](parts& p) { p.extra = pkl::yes + pkl::yes; },
        [](parts& p) { p.layout = "strided"; },
    };
    for (const change& c : of_coo) {
        const outcome out = judge(c);
        CHECK_MESSAGE((out.entry == errc::bad_arguments || out.entry == errc::shape_invalid), out.text);
    }
    const change of_csr[]{
        [](parts& p) { p.size = {3, 3}; },
        [](parts& p) { p.size = {2, 3, 1}; },
        [](parts& p) { p.values_shape = {2}; },
        [](parts& p) { p.inner_shape = {1, 3}; },
        [](parts& p) { p.index_class = "FloatStorage"; },
        [](parts& p) { p.layout = "sparse_bsr"; },
        [](parts& p) { p.layout = "sparse_csc"; },
    };
    for (const change& c : of_csr) CHECK(judge(c, csr).entry == errc::bad_arguments);
    CHECK(judge([](parts& p) { p.size = {3, 4}; }, bsr).entry == errc::bad_arguments);
    CHECK(judge([](parts& p) { p.values_shape = {1, 0, 2}; }, bsr).entry == errc::bad_arguments);
    // A matrix whose elements no 64 bits can count in bits is fine: it is sparse.
    CHECK(judge([](parts& p) {
              p.size = {std::int64_t{1} << 31, std::int64_t{1} << 31};
              p.values.clear();
              p.outer.clear();
              p.outer_shape = {2, 0};
              p.values_shape = {0};
              p.layout = "sparse_coo";
          }).entry == errc::none);
    // A part that could not be built is the tensor's own error.
    CHECK(judge([](parts& p) { p.outer.resize(3); }).entry == errc::out_of_bounds);
}

TEST_CASE("V3: indices are checked before they are used") {
    using change = std::function<void(parts&)>;
    for (const change& c :
         {change{[](parts& p) { p.outer = {0, 3, 0, 1}; }}, change{[](parts& p) { p.outer = {0, -1, 0, 1}; }},
          change{[](parts& p) { p.outer = {0, 2, 0, 4}; }}, change{[](parts& p) {
              p.outer = {2, 0, 0, 1};
              p.extra = pkl::yes;
          }}})
        CHECK(judge(c).checked == errc::indices_invalid);
    for (const change& c :
         {change{[](parts& p) { p.outer = {1, 2, 3}; }}, change{[](parts& p) { p.outer = {0, 3, 2}; }},
          change{[](parts& p) { p.outer = {0, 2, 2}; }}, change{[](parts& p) { p.outer = {0, 2, 4}; }},
          change{[](parts& p) { p.outer = {0, -1, 3}; }}, change{[](parts& p) { p.inner = {2, 0, 1}; }},
          change{[](parts& p) { p.inner = {0, 0, 1}; }}, change{[](parts& p) { p.inner = {0, 3, 1}; }},
          change{[](parts& p) { p.inner = {-1, 2, 1}; }}})
        CHECK(judge(c, csr).checked == errc::indices_invalid);
    CHECK(judge([](parts& p) { p.inner = {2}; }, bsr).checked == errc::indices_invalid);
    CHECK(judge([](parts& p) { p.outer = {0, 0, 2}; }, bsc).checked == errc::indices_invalid);
    const outcome out = judge([](parts& p) { p.outer = {0, 3, 0, 1}; });
    CHECK(out.text.find("a sparse_coo tensor of shape [3, 4] has the index 3 in dimension 0") != std::string::npos);
}

TEST_CASE("R1: expanded indices claim any number, and cost nothing") {
    using namespace pkl;
    const std::int64_t many = std::int64_t{1} << 40;
    const std::string indices = tensor(storage("LongStorage", "0", 1), 0, {1, many}, {0, 0});
    const std::string values = tensor(storage("FloatStorage", "2", 1), 0, {many}, {0});
    const std::string bytes = torch_file(
        call(global("torch._utils", "_rebuild_sparse_tensor"), {num(1), ints({2}), no, indices, values, none}),
        {{"0", raw<std::int64_t>({0})}, {"2", raw<float>({1})}});
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const ckpt::tensor t = file.root().as_tensor().value();
    CHECK(ckpt::check_values(t).error().code == errc::output_limit);
    std::vector<float> two(2);
    CHECK(ckpt::copy_dense(t, std::span(two)).error().code == errc::output_limit);
    CHECK_FALSE(file.verify().ok());
}

TEST_CASE("V1: a sparse tensor has at most limits.tensor_rank dimensions") {
    const auto of_rank = [](std::size_t rank) {
        parts p;
        p.size = numbers(rank, 1);
        p.outer = numbers(rank, 0);
        p.outer_shape = {static_cast<std::int64_t>(rank), 1};
        p.values = {5};
        p.values_shape = {1};
        return judge(p);
    };
    CHECK(of_rank(64).dense == std::vector<float>{5});
    CHECK(of_rank(65).entry == errc::shape_invalid);
    CHECK(of_rank(65).text.find("the tensor has 65 dimensions, the limit is 64") != std::string::npos);
}

TEST_CASE("V1: a sparse tensor has fewer than 2^63 elements") {
    const auto refusal_of = [](const numbers& size) {
        parts p;
        p.size = size;
        return judge(p).text;
    };
    CHECK(refusal_of({7, 1'317'624'576'693'539'401}) == "");
    CHECK(refusal_of({8, std::int64_t{1} << 60}).find("overflows 64 bits") != std::string::npos);
}

TEST_CASE("R1: verify checks indices of tensors of 16 times the file's bytes, and 64 MiB") {
    // One row of values, all of them the same stored element.
    const auto findings_of = [](std::int64_t columns) {
        const std::string values = pkl::tensor(pkl::storage("FloatStorage", "1", 1), 0, {1, columns}, {0, 0});
        const std::string indices = pkl::tensor(pkl::storage("LongStorage", "0", 1), 0, {1, 1}, {1, 1});
        const std::string layout =
            pkl::call(pkl::global("torch.serialization", "_get_layout"), {pkl::str("torch.sparse_coo")});
        const std::string size = pkl::call(pkl::global("torch", "Size"), {pkl::ints({3, columns})});
        return torch_file(pkl::call(pkl::global("torch._utils", "_rebuild_sparse_tensor"),
                                    {layout, pkl::tuple({indices, values, size})}),
                          {{"0", raw(numbers{7})}, {"1", raw<float>({5})}});
    };
    // Eight bytes are those of the index, which no tensor of three rows has.
    const auto budget = static_cast<std::int64_t>(16 * findings_of(1).size() + (std::uint64_t{64} << 20));
    const auto code_of = [&](std::int64_t columns) {
        const std::string file = findings_of(columns);
        return ckpt::open_bytes(bytes_of(file)).value().verify().findings.at(0).code;
    };
    CHECK(code_of((budget - 8) / 4) == errc::indices_invalid);
    CHECK(code_of((budget - 8) / 4 + 1) == errc::limit);
}

} // namespace sparse_test
