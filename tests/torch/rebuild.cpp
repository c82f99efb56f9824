// tests/torch/rebuild.cpp: persistent ids, storages' sizes, rebuild arguments and geometry. Cases name the rule they
// check.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace rebuild_test {

using ckpt::errc;
using namespace test_support;

namespace {

const std::string four = raw<float>({1, 2, 3, 4});

struct verdict {
    errc opened{errc::none};
    errc entry{errc::none};
    errc other{errc::none};
    std::string text{};
};

/// What becomes of `entry` beside a good tensor; both ways of reading must agree. Storage "0" has four floats.
verdict judge(const std::string& entry, const std::string& extra_key = {}, const std::string& extra = {}) {
    std::vector<std::pair<std::string, std::string>> storages{{"0", four}, {"good", four}};
    if (!extra_key.empty()) storages.emplace_back(extra_key, extra);
    const std::string file =
        torch_file(pkl::dict({{pkl::str("entry"), entry}, {pkl::str("good"), pkl::floats("good", 4)}}), storages);
    verdict out;
    for (const ckpt::io_mode mode : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        verdict now;
        const auto opened = ckpt::open_bytes(bytes_of(file), {.io = mode});
        if (!opened) {
            now.opened = opened.error().code;
            now.text = opened.error().message();
        } else {
            const auto root = opened->root();
            const ckpt::value v = root.at("entry").value();
            if (const ckpt::error* e = v.refusal()) {
                now.entry = e->code;
                now.text = e->message();
                CHECK(e->offset != ckpt::no_offset);
                CHECK(e->offset < file.size());
                CHECK(e->record == "archive/data.pkl");
                CHECK(v.as_tensor().has_value() == (v.kind() == ckpt::kind::tensor));
                if (const auto t = v.as_tensor()) {
                    CHECK(t->refusal() == e);
                    CHECK_FALSE(t->bytes().has_value());
                    CHECK_FALSE(t->crc32().has_value());
                    CHECK(t->numel() == 0);
                }
            }
            // A bad entry leaves the others readable.
            const auto good = root.at("good").value().as_tensor();
            REQUIRE(good.has_value());
            if (!good->crc32()) now.other = good->crc32().error().code;
            const auto weights = opened->state_dict("");
            REQUIRE(weights.has_value());
            CHECK(weights->refused() == (v.kind() == ckpt::kind::tensor && now.entry != errc::none ? 1 : 0));
        }
        CHECK(now.opened != errc::internal);
        CHECK(now.entry != errc::internal);
        if (mode == ckpt::io_mode::map) out = now;
        else {
            CHECK(now.opened == out.opened);
            CHECK(now.entry == out.entry);
        }
    }
    INFO(out.text);
    CHECK(out.other == errc::none);
    return out;
}

errc entry_code(const std::string& entry) {
    const verdict v = judge(entry);
    INFO(v.text);
    CHECK(v.opened == errc::none);
    return v.entry;
}

std::string zero() { return pkl::storage("FloatStorage", "0", 4); }
std::string v2(const std::string& arguments) {
    return pkl::global("torch._utils", "_rebuild_tensor_v2") + "(" + arguments + "tR";
}
std::string v3(const std::string& arguments) {
    return pkl::global("torch._utils", "_rebuild_tensor_v3") + "(" + arguments + "tR";
}

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();

} // namespace

// ---- S1: persistent ids ----

TEST_CASE("S1: a persistent id is the storage tuple, with the right count and types") {
    using namespace pkl;
    const std::string type = global("torch", "FloatStorage");
    const auto as_tensor = [](const std::string& id) { return entry_code(tensor(id, 0, {4}, {1})); };
    CHECK(as_tensor(zero()) == errc::none);
    CHECK(as_tensor(tuple({str("storage"), type, str("0"), str("cuda:0"), num(4)}) + "Q") == errc::none);
    CHECK(as_tensor(tuple({str("storage"), global("torch.cuda", "FloatStorage"), str("0"), str("cuda:7"), num(4)}) +
                    "Q") == errc::none);
    // MARK ... TUPLE or TUPLE by count, Python 2's str: all the same tuple.
    CHECK(as_tensor("(U\x07storage" + type +
                    "U\x01"
                    "0"
                    "U\x03"
                    "cpu"
                    "K\x04tQ") == errc::none);

    CHECK(as_tensor(tuple({}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(tuple({str("storage"), type, str("0"), str("cpu")}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(tuple({str("storage"), type, str("0"), str("cpu"), num(4), none}) + "Q") ==
          errc::persistent_id); // legacy's
    CHECK(as_tensor(tuple({str("module"), type, str("0"), str("cpu"), num(4)}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(tuple({num(1), type, str("0"), str("cpu"), num(4)}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(tuple({str("storage"), str("FloatStorage"), str("0"), str("cpu"), num(4)}) + "Q") ==
          errc::persistent_id);
    CHECK(as_tensor(tuple({str("storage"), type, num(0), str("cpu"), num(4)}) + "Q") ==
          errc::persistent_id); // torch.package's
    CHECK(as_tensor(tuple({str("storage"), type, none, str("cpu"), num(4)}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(tuple({str("storage"), type, str("0"), none, num(4)}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(tuple({str("storage"), type, str("0"), str("cpu"), real(4)}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(tuple({str("storage"), type, str("0"), str("cpu"), yes}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(tuple({str("storage"), type, str("0"), str("cpu"), num(-4)}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(tuple({str("storage"), type, str("0"), str("cpu"),
                           "\x8a\x09" + std::string(8, '\xFF') + std::string(1, '\0')}) +
                    "Q") == errc::persistent_id); // 2^64 - 1
    CHECK(as_tensor(list({str("storage"), type, str("0"), str("cpu"), num(4)}) + "Q") == errc::persistent_id);
    CHECK(as_tensor(str("0") + "Q") == errc::persistent_id);
    CHECK(as_tensor(none + "Q") == errc::persistent_id);
    // A class that exists and is no storage, a dtype, and a class of another module.
    CHECK(as_tensor(storage_id(global("torch", "FloatTensor"), str("0"), 4)) == errc::persistent_id);
    CHECK(as_tensor(storage_id(global("torch", "float32"), str("0"), 4)) == errc::persistent_id);
    CHECK(as_tensor(storage_id(global("torch.nn.modules", "FloatStorage"), str("0"), 4)) == errc::global_not_allowed);
    CHECK(as_tensor(storage_id(global("torch.nn.modules.linear", "Linear"), str("0"), 4)) == errc::persistent_id);
}

TEST_CASE("S1: protocol 0's text form names the same storages, and only in one spelling") {
    const auto as_text = [](const std::string& text) {
        return entry_code(pkl::tensor("P" + text + "\n", 0, {4}, {1}));
    };
    CHECK(as_text("('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 4)") == errc::none);
    CHECK(as_text("('storage', <class 'torch.cuda.FloatStorage'>, '0', 'cuda:0', 4)") == errc::none);
    for (const char* text : {"", "0", "('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 4",
                             "('storage', <class 'torch.FloatStorage'>, '0', 'cpu', -4)",
                             "('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 4) ",
                             "('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 4.0)",
                             "('storage', <class 'torch.FloatStorage'>, '0', 'cpu')",
                             "('storage', <class 'os.FloatStorage'>, '0', 'cpu', 4)",
                             "('storage', <class 'torch.Nothing'>, '0', 'cpu', 4)",
                             "('storage', <class 'torch.FloatStorage'>, 0, 'cpu', 4)",
                             "('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 18446744073709551620)",
                             "('storage', <class 'torch.FloatStorage'>, '0\\', 'cpu', 4)"})
        CHECK_MESSAGE(as_text(text) == errc::persistent_id, text);
    CHECK(as_text("('storage', <class 'torch.FloatStorage'>, '9', 'cpu', 4)") == errc::record_missing);
    CHECK(as_text("('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 5)") == errc::storage_size_mismatch);
}

TEST_CASE("S1: a storage whose record does not exist is an error of its tensor only") {
    using namespace pkl;
    for (const std::string key : {"1", "", "0/", "../version", "../data.pkl", "/0", "00", "0 ", "data/0", "./0"})
        CHECK_MESSAGE(entry_code(floats(key, 4)) == errc::record_missing, key);
    CHECK(entry_code(floats(std::string("0\0", 2), 4)) == errc::record_missing); // Z9: torch finds data/0
    CHECK(entry_code(floats(std::string("0\0junk", 6), 4)) == errc::record_missing);
    CHECK(entry_code(floats("GOOD", 4)) == errc::record_missing); // Z9: no case folding
    CHECK(entry_code(floats(std::string(100'000, 'k'), 4)) == errc::record_missing);
}

TEST_CASE("S1: the entry of a folder is no storage") {
    using namespace pkl;
    // The folder stands exactly where the next record is looked for first.
    std::vector<zip_member> members = torch_records(
        pickle(dict({{str("a"), floats("0", 4)}, {str("b"), floats("", 0)}, {str("c"), floats("sub/", 0)}})),
        {{"0", four}});
    for (const char* name : {"archive/data/", "archive/data/sub/"}) members.insert(members.end() - 1, {.name = name});
    const std::string file = write_zip(members).bytes;
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto root = opened.root();
    CHECK(root.at("a").value().refusal() == nullptr);
    REQUIRE(root.at("b").value().refusal() != nullptr);
    CHECK(root.at("b").value().refusal()->code == errc::record_missing);
    REQUIRE(root.at("c").value().refusal() != nullptr);
    CHECK(root.at("c").value().refusal()->code == errc::record_missing);
}

TEST_CASE("S1: a persistent id that no tensor uses is an error value, and a storage may be a value itself") {
    CHECK(judge(pkl::none + "Q").entry == errc::persistent_id);
    const std::string file = torch_file(pkl::storage("FloatStorage", "0", 4), {{"0", four}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto s = opened.root().as_storage().value();
    CHECK(s.key == "0");
    CHECK(s.nbytes == 16);
    CHECK(s.type == ckpt::dtype::float32);
}

// ---- S2: sizes of storages ----

TEST_CASE("S2: numel times itemsize equals the record's bytes and does not wrap") {
    using namespace pkl;
    const auto with = [](std::string_view type, std::int64_t numel) {
        return judge(tensor(storage(type, "0", numel), 0, {1}, {1})).entry;
    };
    CHECK(with("FloatStorage", 4) == errc::none);
    CHECK(with("DoubleStorage", 2) == errc::none);
    CHECK(with("ByteStorage", 16) == errc::none);
    CHECK(with("ComplexDoubleStorage", 1) == errc::none);
    CHECK(with("QUInt4x2Storage", 16) == errc::none); // packed classes count bytes
    for (const std::int64_t n :
         {std::int64_t{0}, std::int64_t{3}, std::int64_t{5}, std::int64_t{16}, most, most - 3,
          std::int64_t{0x4000000000000001}, std::int64_t{0x4000000000000004}, std::int64_t{1} << 62})
        CHECK_MESSAGE(with("FloatStorage", n) == errc::storage_size_mismatch, n);
    CHECK(with("ComplexDoubleStorage", (std::int64_t{1} << 60) + 1) ==
          errc::storage_size_mismatch); // 16 bytes after wrapping
    CHECK(with("UntypedStorage", 17) == errc::storage_size_mismatch);
    CHECK(with("UntypedStorage", 15) == errc::storage_size_mismatch);
}

TEST_CASE("S2: every use of one storage is checked, not only the first") {
    using namespace pkl;
    const std::string file =
        torch_file(dict({{str("a"), floats("0", 4)}, {str("b"), floats("0", 1'000'000)}, {str("c"), floats("0", 4)}}),
                   {{"0", four}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto weights = opened.state_dict().value();
    CHECK(weights.refused() == 1);
    CHECK(weights.at("a").has_value());
    CHECK(weights.at("b").error().code == errc::storage_size_mismatch);
    CHECK(weights.at("c").value().storage_id() == weights.at("a").value().storage_id());
}

TEST_CASE("S2: storages of one key and several classes share their bytes where the sizes agree") {
    using namespace pkl;
    const std::string file =
        torch_file(dict({{str("bytes"), tensor(storage("ByteStorage", "0", 16), 0, {16}, {1})},
                         {str("untyped"), tensor_v3(storage("UntypedStorage", "0", 16), 1, {2}, {1}, "uint32")},
                         {str("floats"), floats("0", 4)},
                         {str("wrong"), tensor(storage("DoubleStorage", "0", 4), 0, {2}, {1})}}),
                   {{"0", four}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto weights = opened.state_dict().value();
    REQUIRE(weights.refused() == 1);
    CHECK(weights.at("wrong").error().code == errc::storage_size_mismatch);
    CHECK(weights.at("bytes").value().storage_id() == weights.at("floats").value().storage_id());
    CHECK(weights.at("untyped").value().storage_id() == weights.at("floats").value().storage_id());
    CHECK(weights.at("bytes").value().dtype() == ckpt::dtype::uint8);
    CHECK(weights.at("untyped").value().dtype() == ckpt::dtype::uint32);
    CHECK(weights.view<std::uint32_t, 1>("untyped").value()(0) == 0x40000000u); // 2.0f
    CHECK(weights.view<float, 1>("floats").value()(3) == 4);
}

// ---- V1: geometry ----

TEST_CASE("V1: the last byte of a view lies inside its storage") {
    using namespace pkl;
    const auto geometry = [](std::int64_t offset, const std::vector<std::int64_t>& size,
                             const std::vector<std::int64_t>& stride) {
        return entry_code(tensor(zero(), offset, size, stride));
    };
    CHECK(geometry(0, {4}, {1}) == errc::none);
    CHECK(geometry(3, {1}, {1}) == errc::none);
    CHECK(geometry(3, {}, {}) == errc::none);
    CHECK(geometry(0, {2, 2}, {2, 1}) == errc::none);
    CHECK(geometry(0, {2, 2}, {1, 2}) == errc::none);
    CHECK(geometry(0, {2}, {3}) == errc::none);
    CHECK(geometry(1, {3, 1}, {1, 1000}) == errc::none); // the stride of a single element is never used
    CHECK(geometry(0, {4}, {2}) == errc::out_of_bounds);
    CHECK(geometry(0, {5}, {1}) == errc::out_of_bounds);
    CHECK(geometry(1, {4}, {1}) == errc::out_of_bounds);
    CHECK(geometry(4, {1}, {1}) == errc::out_of_bounds);
    CHECK(geometry(4, {}, {}) == errc::out_of_bounds);
    CHECK(geometry(0, {2, 2}, {3, 1}) == errc::out_of_bounds);
    CHECK(geometry(most, {1}, {1}) == errc::shape_invalid); // times the item size, it wraps
    CHECK(geometry(std::int64_t{1} << 50, {1}, {1}) == errc::out_of_bounds);
}

TEST_CASE("V1: nothing is negative, no product and no sum wraps") {
    using namespace pkl;
    const auto geometry = [](std::int64_t offset, const std::vector<std::int64_t>& size,
                             const std::vector<std::int64_t>& stride) {
        return entry_code(tensor(zero(), offset, size, stride));
    };
    CHECK(geometry(-1, {1}, {1}) == errc::shape_invalid);
    CHECK(geometry(least, {1}, {1}) == errc::shape_invalid);
    CHECK(geometry(0, {-1}, {1}) == errc::shape_invalid);
    CHECK(geometry(0, {-1, -1}, {1, 1}) == errc::shape_invalid);
    CHECK(geometry(0, {2}, {-1}) == errc::shape_invalid);
    CHECK(geometry(1, {2}, {-1}) == errc::shape_invalid);
    CHECK(geometry(0, {0, -1}, {1, 1}) == errc::shape_invalid);
    CHECK(geometry(-1, {0}, {1}) == errc::shape_invalid);
    CHECK(geometry(0, {2}, {most}) == errc::shape_invalid);
    CHECK(geometry(0, {3}, {std::int64_t{1} << 62}) == errc::shape_invalid);
    CHECK(geometry(0, {3, 3}, {std::int64_t{1} << 62, std::int64_t{1} << 62}) == errc::shape_invalid);
    CHECK(geometry(0, {std::int64_t{1} << 32, std::int64_t{1} << 32}, {0, 0}) == errc::shape_invalid);
    CHECK(geometry(0, {std::int64_t{1} << 62, 4}, {0, 0}) == errc::shape_invalid);
    CHECK(geometry(0, {most}, {0}) == errc::shape_invalid); // in bits
    CHECK(geometry(most, {2}, {most}) == errc::shape_invalid);
}

TEST_CASE("V1: zero sizes need only numbers that are not negative, and stride 0 expands") {
    using namespace pkl;
    const auto geometry = [](std::int64_t offset, const std::vector<std::int64_t>& size,
                             const std::vector<std::int64_t>& stride) {
        return entry_code(tensor(zero(), offset, size, stride));
    };
    CHECK(geometry(10, {0}, {1}) == errc::none);
    CHECK(geometry(most, {0}, {1}) == errc::none);
    CHECK(geometry(0, {0, most, most}, {most, most, most}) == errc::none);
    CHECK(geometry(0, {std::int64_t{1} << 50}, {0}) == errc::none);
    CHECK(geometry(3, {1000, 1000, 1000}, {0, 0, 0}) == errc::none);
    const std::string file = torch_file(dict({{str("huge"), tensor(zero(), 3, {1000, 1000, 1000}, {0, 0, 0})},
                                              {str("none"), tensor(zero(), most, {0}, {1})}}),
                                        {{"0", four}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto weights = opened.state_dict().value();
    const auto view = weights.view<float, 3>("huge").value();
    CHECK(view(999, 999, 999) == 4);
    CHECK(weights.at("huge").value().crc32().error().code == errc::output_limit);
    CHECK(weights.at("none").value().crc32().value() == 0);
    CHECK(weights.at("none").value().bytes().value().empty());
    CHECK(weights.at("none").value().file_offset().has_value());
}

TEST_CASE("V1: at most limits.tensor_rank dimensions") {
    using namespace pkl;
    for (const std::size_t rank : {std::size_t{64}, std::size_t{65}, std::size_t{5000}})
        CHECK(entry_code(tensor(zero(), 0, std::vector<std::int64_t>(rank, 1), std::vector<std::int64_t>(rank, 1))) ==
              (rank <= 64 ? errc::none : errc::shape_invalid));
    const std::string file = torch_file(tensor(zero(), 0, {1, 1, 4}, {4, 4, 1}), {{"0", four}});
    const auto three = ckpt::open_bytes(bytes_of(file), {.limits = {.tensor_rank = 3}}).value();
    CHECK(three.root().refusal() == nullptr);
    const auto two = ckpt::open_bytes(bytes_of(file), {.limits = {.tensor_rank = 2}}).value();
    REQUIRE(two.root().refusal() != nullptr);
    CHECK(two.root().refusal()->code == errc::shape_invalid);
}

// ---- V2: rebuild arguments ----

TEST_CASE("V2: _rebuild_tensor_v2 takes its six or seven arguments, of the right types") {
    using namespace pkl;
    const std::string head = zero() + num(0) + ints({4}) + ints({1});
    const std::string hooks = ordered();
    CHECK(entry_code(v2(head + no + hooks)) == errc::none);
    CHECK(entry_code(v2(head + num(1) + hooks)) == errc::none); // C++ writes bools, old ones 0 and 1
    CHECK(entry_code(v2(head + no + none)) == errc::none);
    CHECK(entry_code(v2(head + no + hooks + dict({}))) == errc::none);
    CHECK(entry_code(v2(head + no + hooks + none)) == errc::none);
    CHECK(entry_code(v2(zero() + num(0) + list({num(4)}) + list({num(1)}) + no + hooks)) == errc::none);
    CHECK(entry_code(v2(zero() + num(0) + call(global("torch", "Size"), {ints({4})}) + ints({1}) + no + hooks)) ==
          errc::none);

    CHECK(entry_code(v2("")) == errc::bad_arguments);
    CHECK(entry_code(v2(zero())) == errc::bad_arguments);
    CHECK(entry_code(v2(head)) == errc::bad_arguments);
    CHECK(entry_code(v2(head + no)) == errc::bad_arguments);
    CHECK(entry_code(v2(head + no + hooks + none + none)) == errc::bad_arguments);
    CHECK(entry_code(v2(none + num(0) + ints({4}) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(str("0") + num(0) + ints({4}) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(floats("0", 4) + num(0) + ints({4}) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + real(0) + ints({4}) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + none + ints({4}) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + yes + ints({1}) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + num(0) + num(4) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + num(0) + ints({4}) + num(1) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + num(0) + ints({4}) + ints({1, 1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + num(0) + ints({4}) + ints({}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + num(0) + tuple({real(4)}) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + num(0) + tuple({yes}) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + num(0) + tuple({ints({4})}) + ints({1}) + no + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(zero() + num(0) + tuple({"\x8a\x09" + std::string(9, '\1')}) + ints({1}) + no + hooks)) ==
          errc::bad_arguments);
    CHECK(entry_code(v2(head + none + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(head + num(2) + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(head + str("yes") + hooks)) == errc::bad_arguments);
    CHECK(entry_code(v2(head + no + hooks + num(1))) == errc::bad_arguments);
    CHECK(entry_code(v2(head + no + hooks + dict({{str("conj"), str("yes")}}))) == errc::bad_arguments);
    CHECK(entry_code(v2(head + no + hooks + dict({{str("other"), yes}}))) == errc::bad_arguments);
    CHECK(entry_code(v2(head + no + hooks + dict({{num(1), yes}}))) == errc::bad_arguments);
}

TEST_CASE("V2: _rebuild_tensor_v3 names a dtype") {
    using namespace pkl;
    const std::string head = storage("UntypedStorage", "0", 16) + num(0) + ints({2}) + ints({1}) + no + ordered();
    CHECK(entry_code(v3(head + global("torch", "uint16"))) == errc::none);
    CHECK(entry_code(v3(head + global("torch", "complex64"))) == errc::none);
    CHECK(entry_code(v3(head + global("torch", "uint16") + dict({}))) == errc::none);
    CHECK(entry_code(v3(head)) == errc::bad_arguments);
    CHECK(entry_code(v3(head + global("torch", "uint16") + dict({}) + none)) == errc::bad_arguments);
    CHECK(entry_code(v3(head + str("uint16"))) == errc::dtype_unknown);
    CHECK(entry_code(v3(head + none)) == errc::dtype_unknown);
    CHECK(entry_code(v3(head + global("torch", "float1000"))) == errc::global_not_allowed);
    CHECK(entry_code(v3(head + global("torch", "channels_last"))) == errc::dtype_unknown);
    CHECK(entry_code(v3(head + global("torch", "FloatStorage"))) == errc::dtype_unknown);
    CHECK(entry_code(v3(head + global("torch", "complex128"))) ==
          errc::out_of_bounds); // S2 and V1 in the tensor's own unit
    CHECK(entry_code(v3(zero() + num(0) + ints({8}) + ints({1}) + no + ordered() + global("torch", "uint16"))) ==
          errc::none);
}

TEST_CASE("V2: the conj and neg bits are kept, and resolved by copies only") {
    using namespace pkl;
    const std::string of = storage("ComplexFloatStorage", "0", 2);
    const std::string bits = global("torch._utils", "_rebuild_tensor_v2") + "(" + of + num(0) + ints({2}) + ints({1}) +
                             no + ordered() + dict({{str("conj"), yes}, {str("neg"), yes}}) + "tR";
    const std::string file = torch_file(dict({{str("z"), bits}}), {{"0", four}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto weights = opened.state_dict().value();
    const auto z = weights.at("z").value();
    CHECK(z.is_conj());
    CHECK(z.is_neg());
    CHECK(weights.view<ckpt::c64, 1>("z").error().code == errc::lazy_bit);
    std::vector<ckpt::c64> values(2);
    REQUIRE(z.copy_to(std::span(values)).has_value());
    CHECK(values[0].re == -1);
    CHECK(values[0].im == 2);
}

TEST_CASE("attributes of a tensor are found below it, and are no part of a state_dict") {
    using namespace pkl;
    const std::string plain = floats("0", 4), attributes = dict({{str("note"), str("text")}, {str("scale"), plain}});
    const std::string parameter =
        call(global("torch._utils", "_rebuild_parameter_with_state"), {plain, yes, ordered(), attributes});
    const std::string base = tuple({storage("FloatStorage", "0", 4), num(0), ints({4}), ints({1}), no, ordered()});
    const std::string typed = call(global("torch._tensor", "_rebuild_from_type_v2"),
                                   {global("torch._utils", "_rebuild_tensor_v2"), global("torch", "Tensor"), base,
                                    tuple({dict({}), dict({{str("slot"), plain}})})});
    const std::string file = torch_file(dict({{str("p"), parameter}, {str("t"), typed}}), {{"0", four}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    std::string found;
    for (const ckpt::located_tensor& row : ckpt::find_tensors(opened.root()).value()) found += row.key() + ' ';
    CHECK(found == "p p.scale t t.slot ");
    CHECK(opened.state_dict("").value().size() == 2);
    CHECK(opened.root().find("p/note").value().as_string().value() == "text");
    CHECK(opened.root().find("t/slot").value().as_tensor().value().numel() == 4);
    // A tensor that is its own attribute ends.
    const std::string itself = call(global("torch._utils", "_rebuild_parameter_with_state"),
                                    {plain, yes, ordered(), "}q\x63" + std::string{}}) +
                               "q\x64" + "h\x63(" + str("me") + "h\x64u0";
    const auto cycle = torch_file(dict({{str("p"), itself}}), {{"0", four}});
    const auto ended = ckpt::open_bytes(bytes_of(cycle)).value();
    CHECK(ckpt::find_tensors(ended.root()).value().size() == 1);
}

TEST_CASE("V2: parameters, typed rebuilds and meta tensors take their own arguments") {
    using namespace pkl;
    const std::string plain = floats("0", 4);
    const auto f = [](std::string_view name) { return global("torch._utils", name); };
    CHECK(entry_code(call(f("_rebuild_parameter"), {plain, yes, ordered()})) == errc::none);
    CHECK(entry_code(call(f("_rebuild_parameter_with_state"), {plain, yes, ordered(), dict({{str("a"), num(1)}})})) ==
          errc::none);
    CHECK(entry_code(call(f("_rebuild_parameter"), {plain})) == errc::bad_arguments);
    CHECK(entry_code(call(f("_rebuild_parameter"), {plain, yes})) == errc::bad_arguments);
    CHECK(entry_code(call(f("_rebuild_parameter"), {num(1), yes, ordered()})) == errc::bad_arguments);
    CHECK(entry_code(call(f("_rebuild_parameter"), {plain, str("x"), ordered()})) == errc::bad_arguments);
    // The error of what it wraps is its own.
    CHECK(entry_code(call(f("_rebuild_parameter"), {tensor(zero(), 0, {5}, {1}), yes, ordered()})) ==
          errc::out_of_bounds);
    CHECK(entry_code(call(f("_rebuild_tensor"), {zero(), num(0), ints({4}), ints({1})})) == errc::none);
    CHECK(entry_code(call(f("_rebuild_tensor"), {zero(), num(0), ints({4})})) == errc::bad_arguments);
    CHECK(entry_code(call(f("_rebuild_tensor"), {zero(), num(1), ints({4}), ints({1})})) == errc::out_of_bounds);
    const std::string arguments = tuple({zero(), num(0), ints({4}), ints({1}), no, ordered()});
    const std::string typed = global("torch._tensor", "_rebuild_from_type_v2");
    CHECK(entry_code(call(typed, {f("_rebuild_tensor_v2"), global("torch", "Tensor"), arguments,
                                  dict({{str("a"), num(1)}})})) == errc::none);
    CHECK(entry_code(call(typed, {f("_rebuild_tensor_v2"), global("torch", "Tensor"), arguments})) ==
          errc::bad_arguments);
    CHECK(entry_code(call(typed, {f("_rebuild_tensor_v2"), global("torch", "Tensor"), list({zero()}), none})) ==
          errc::bad_arguments);
    CHECK(entry_code(call(typed, {str("f"), global("torch", "Tensor"), arguments, none})) == errc::bad_arguments);
    CHECK(entry_code(call(typed, {typed, global("torch", "Tensor"), arguments, none})) == errc::unsupported_tensor);
    CHECK(entry_code(call(typed, {global("collections", "OrderedDict"), global("torch", "Tensor"), arguments, none})) ==
          errc::unsupported_tensor);
    CHECK(entry_code(call(typed, {f("_rebuild_tensor_v2"), global("torch", "Tensor"),
                                  tuple({zero(), num(1), ints({4}), ints({1}), no, ordered()}), none})) ==
          errc::out_of_bounds);
    const std::string meta = f("_rebuild_meta_tensor_no_storage");
    CHECK(entry_code(call(meta, {global("torch", "float32"), ints({2, 3}), ints({3, 1}), no})) == errc::none);
    CHECK(entry_code(call(meta, {global("torch", "float32"), ints({2, -3}), ints({3, 1}), no})) == errc::shape_invalid);
    CHECK(entry_code(call(meta, {global("torch", "float32"), ints({2, 3}), ints({1}), no})) == errc::bad_arguments);
    CHECK(entry_code(call(meta, {str("float32"), ints({2, 3}), ints({3, 1}), no})) == errc::dtype_unknown);
}

TEST_CASE("V2: every rebuild function refuses other counts of arguments, and costs nothing else") {
    using namespace pkl;
    for (const char* name : {"_rebuild_sparse_tensor", "_rebuild_sparse_csr_tensor", "_rebuild_qtensor",
                             "_rebuild_nested_tensor", "_rebuild_wrapper_subclass", "_rebuild_device_tensor_from_numpy",
                             "_rebuild_device_tensor_from_cpu_tensor", "_rebuild_xla_tensor"}) {
        CHECK_MESSAGE(entry_code(call(global("torch._utils", name), {})) == errc::bad_arguments, name);
        CHECK_MESSAGE(entry_code(call(global("torch._utils", name), {none})) == errc::bad_arguments, name);
        CHECK_MESSAGE(entry_code(call(global("torch._utils", name),
                                      {none, none, none, none, none, none, none, none, none})) == errc::bad_arguments,
                      name);
    }
    CHECK(entry_code(call(global("torch.nested._internal.nested_tensor", "_rebuild_njt"), {})) == errc::bad_arguments);
    CHECK(entry_code(call(global("torch._utils", "_rebuild_other"), {none})) == errc::global_not_allowed);
    CHECK(entry_code(call(global("torch.nn.functional", "relu"), {none})) == errc::none); // an inert object
}

TEST_CASE("R2: a tensor built from itself, or from what holds it, is an error value") {
    using namespace pkl;
    // A list that is the size of a tensor and holds that tensor.
    const std::string size = "](" + num(4) + "eq\x01";
    const std::string file = torch_file(dict({{str("t"), global("torch._utils", "_rebuild_tensor_v2") + "(" + zero() +
                                                             num(0) + size + ints({1}) + no + ordered() + "tRq\x02" +
                                                             "h\x01h\x02"
                                                             "a0"},
                                              {str("good"), floats("0", 4)}}),
                                        {{"0", four}});
    const auto opened = ckpt::open_bytes(bytes_of(file));
    REQUIRE(opened.has_value());
    REQUIRE(opened->root().at("t").value().refusal() != nullptr);
    CHECK(opened->root().at("good").value().refusal() == nullptr);
}

} // namespace rebuild_test
