// tests/torch/whole_calls.cpp: tensors that are made while the pickle is read, beside the same pickles read opcode by
// opcode: equal values, errors, places and limits.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/open_source.hpp>
#include <ckpt/pickle/machine.hpp>
#include <ckpt/torch/policies.hpp>
#include <ckpt/torch/storage_table.hpp>
#include <ckpt/torch/tensor_maker.hpp>

#include "../../fuzz/target.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace whole_calls_test {

using namespace test_support;
namespace fs = std::filesystem;

namespace {

/// Everything that can be asked of a file, as one number; with the error of the file that does not open.
struct answer {
    fuzzing::digest seen{};
    std::string error{};
    bool limit{false};
    friend bool operator==(const answer&, const answer&) = default;
};

answer read(ckpt::result<ckpt::detail::shared<ckpt::detail::source>> from, bool one_by_one,
            ckpt::open_options options = {}) {
    ckpt::detail::allowlist allowed = ckpt::detail::allowlist_of<ckpt::training_policy>();
    allowed.one_by_one = one_by_one;
    options.io = ckpt::io_mode::read;
    const auto file = ckpt::detail::open(std::move(from), allowed, options);
    answer out;
    if (!file) return {{}, file.error().message(), file.error().code == ckpt::errc::limit};
    fuzzing::check_graph(file->root(), file->file_bytes(), out.seen);
    for (const ckpt::candidate& c : file->state_dicts()) {
        out.seen.add(c.path);
        out.seen.add(c.tensors);
    }
    for (const ckpt::error& e : file->verify().findings) fuzzing::check_error(e, file->file_bytes(), out.seen);
    return out;
}

answer read(std::string_view bytes, bool one_by_one, const ckpt::open_options& options = {}) {
    return read(ckpt::detail::source::memory(bytes_of(bytes)), one_by_one, options);
}

// --- pickles with whole calls

std::string put(std::uint32_t i) { return i < 256 ? "q" + le(i, 1) : "r" + le32(i); }
std::string get(std::uint32_t i) { return i < 256 ? "h" + le(i, 1) : "j" + le32(i); }

/// A tensor as torch.save writes it, in its second and later places, over four floats.
struct run {
    std::string key{"0"}; ///< empty: the entry `shared` of the memo
    std::uint32_t shared{0};
    std::string count{"K\x04"};
    std::string offset = std::string("K\0", 2);
    std::vector<std::string> sizes{"K\x04"};
    std::vector<std::string> steps{"K\x01"};
    std::string flag{"\x89"};
    std::string last{}; // of the arguments
};

class writer {
  public:
    /// `memoize`: protocol 4.
    explicit writer(bool memoize = false) : memoize_{memoize} {
        text_ = "\x80\x02}";
        puts();
        text_ += "(" + pkl::str("forms") + "(";
        for (const std::string& value :
             {pkl::global("torch._utils", "_rebuild_tensor_v2"), pkl::str("storage"),
              pkl::global("torch", "FloatStorage"), pkl::str("cpu"), pkl::global("collections", "OrderedDict")}) {
            text_ += value;
            puts();
        }
        text_ += "t";
    }
    void puts() {
        text_ += memoize_ ? "\x94" : put(next_);
        ++next_;
    }
    void raw(std::string_view opcodes) { text_ += opcodes; }
    void key(std::string_view text) {
        text_ += pkl::str(text);
        puts();
    }
    void numbers(const std::vector<std::string>& of) {
        if (of.empty()) {
            text_ += ")";
            return;
        }
        if (of.size() > 3) text_ += "(";
        for (const std::string& number : of) text_ += number;
        text_ += of.size() > 3 ? "t" : std::string(1, static_cast<char>(0x84 + of.size()));
        puts();
    }
    void tensor(std::string_view name, const run& of) {
        key(name);
        text_ += get(1);
        begins_ = text_.size();
        first_ = next_;
        text_ += "((" + get(2) + get(3);
        if (of.key.empty()) text_ += get(of.shared);
        else key(of.key);
        text_ += get(4) + of.count + "t";
        puts();
        text_ += "Q" + of.offset;
        numbers(of.sizes);
        numbers(of.steps);
        text_ += of.flag + get(5) + ")R";
        puts();
        text_ += of.last + "t";
        puts();
        text_ += "R";
        puts();
    }
    /// The pickle; behind the tensors there are other things, because the last bytes are read opcode by opcode.
    [[nodiscard]] std::string finish() const {
        return text_ + pkl::str("end") + pkl::str(std::string(200, '.')) + "u.";
    }
    [[nodiscard]] const std::string& text() const { return text_; }
    [[nodiscard]] std::size_t begins() const { return begins_; }
    [[nodiscard]] std::size_t size() const { return text_.size(); }
    [[nodiscard]] std::uint32_t first() const { return first_; } ///< the first entry of the last tensor
    [[nodiscard]] std::uint32_t next() const { return next_; }

  private:
    bool memoize_;
    std::string text_{};
    std::uint32_t next_{0};
    std::uint32_t first_{0};
    std::size_t begins_{0};
};

const std::string longest_key(15, '7'), too_long_key(16, '7');

std::string file_of(const std::string& pickled) {
    const std::string four = raw<float>({1, 2, 3, 4});
    return write_zip(torch_records(pickled, {{"0", four}, {"1", four}, {longest_key, four}, {too_long_key, four}}), {})
        .bytes;
}

/// How many tensors of the pickle are made while it is read.
std::size_t made_at_once(const std::string& pickled) {
    const std::string bytes = file_of(pickled);
    const auto from = ckpt::detail::source::memory(bytes_of(bytes)).value();
    ckpt::detail::arena memory;
    const auto archive = ckpt::detail::zip_archive::read(*from, {}, memory).value();
    const ckpt::inflater inflate{};
    ckpt::detail::graph g{{}};
    ckpt::detail::storage_table storages{inflate, g.memory};
    storages.enter({&*from, &archive, "archive/data/", {}});
    g.storages = &storages;
    g.pickle = bytes_of(pickled);
    ckpt::detail::tensor_maker maker{g, storages, {}};
    const ckpt::detail::allowlist allowed = ckpt::detail::allowlist_of<ckpt::weights_policy>();
    const ckpt::limits budget{};
    ckpt::detail::machine m{g, allowed, budget};
    m.make_whole_calls(maker);
    if (!m.run()) return 0;
    return g.tensors.size();
}

/// Both ways tell the same; returns the error of the file.
std::string same(const std::string& pickled) {
    const std::string bytes = file_of(pickled);
    const answer at_once = read(bytes, false), one_by_one = read(bytes, true);
    CHECK(at_once == one_by_one);
    return at_once.error;
}

} // namespace

TEST_CASE("the usual forms of a tensor are made while the pickle is read") {
    for (const bool memoize : {false, true}) {
        writer w{memoize};
        w.tensor("a", {});
        const std::uint32_t key = w.first();
        w.tensor("tied", {.key = {}, .shared = key});
        w.tensor("tied again", {.key = {}, .shared = key, .flag = "\x88"});
        w.tensor("scalar", {.offset = "K\x03", .sizes = {}, .steps = {}});
        w.tensor("two",
                 {.count = "M\x04" + std::string(1, '\0'), .sizes = {"K\x02", "K\x02"}, .steps = {"K\x02", "K\x01"}});
        w.tensor("three", {.key = "1", .sizes = {"K\x01", "K\x02", "K\x02"}, .steps = {"K\x04", "K\x02", "K\x01"}});
        w.tensor("five", {.key = "1",
                          .count = "J\x04" + std::string(3, '\0'),
                          .sizes = {"K\x01", "K\x01", "K\x01", "K\x01", "K\x02"},
                          .steps = {"K\x01", "K\x01", "K\x01", "K\x01", "K\x01"}});
        CHECK(made_at_once(w.finish()) == 6); // the first that is tied reads a key out of the memo
        CHECK(same(w.finish()).empty());
        w.tensor("long", {.key = longest_key});
        CHECK(made_at_once(w.finish()) == 7);
        w.tensor("too long", {.key = too_long_key});
        CHECK(made_at_once(w.finish()) == 7);
        w.tensor("six", {.sizes = std::vector<std::string>(6, "K\x01"), .steps = std::vector<std::string>(6, "K\x01")});
        CHECK(made_at_once(w.finish()) == 7);
        CHECK(same(w.finish()).empty());
    }
}

TEST_CASE("what is not a plain tensor inside its storage is left to the resolver") {
    const std::vector<run> others{
        {.key = "2"},                    // no such storage
        {.count = "K\x05"},              // more than the record holds
        {.offset = "K\x01"},             // past the end
        {.offset = "J\xff\xff\xff\xff"}, // negative
        {.sizes = {"J\xff\xff\xff\xff"}},
        {.sizes = {"K\x02", "J\xff\xff\xff\xff"}, .steps = {"K\x01"}}, // would be one size without the negative one
        {.steps = {"K\x02"}},
        {.steps = {"K\x01", "K\x01"}}, // another rank
        {.steps = {}},
        {.flag = "K\x01"}, // as good as True, but not the usual form
        {.last = "}"},     // metadata
        {.key = std::string("\xc3\xa9")},
        {.key = std::string(20, '0')},
    };
    for (const run& other : others) {
        writer w;
        w.tensor("a", {});
        w.tensor("b", other);
        w.tensor("c", {.key = "1"});
        CHECK(made_at_once(w.finish()) == 2);
        CHECK(same(w.finish()).empty());
    }
}

TEST_CASE("a pickle that uses a whole call otherwise is read again") {
    writer w;
    w.tensor("a", {});
    w.tensor("b", {.key = "1", .sizes = {"K\x02", "K\x02"}, .steps = {"K\x02", "K\x01"}});
    const std::uint32_t first = w.first();
    w.tensor("c", {});
    // Every entry is read, is written and is read then; the last is that of the result.
    for (std::uint32_t i = 0; i < w.next() + 2; ++i) {
        INFO(i);
        writer reads = w, writes = w;
        reads.raw(pkl::str("got") + get(i));
        (void)same(reads.finish());
        const bool left_out = i > first && i + 1 < first + 7;
        if (i >= first && i < first + 7) CHECK(made_at_once(reads.finish()) == (left_out ? 0 : 3));
        writes.raw(pkl::str("put") + "N" + put(i) + pkl::str("got") + get(i));
        (void)same(writes.finish());
    }
    for (const std::string& opcodes : {std::string("}b"), std::string("Na"), std::string("(e"), std::string("NNs"),
                                       std::string("(u"), std::string(")R"), std::string(")\x81"), std::string("2"),
                                       std::string("0N"), std::string("\x85"), std::string("N\x86Q")}) {
        writer uses = w;
        uses.raw(pkl::str("used") + get(w.next() - 1) + opcodes);
        (void)same(uses.finish());
    }
}

TEST_CASE("a run that ends near the end of the pickle is read opcode by opcode") {
    for (std::size_t behind = 0; behind < 260; ++behind) {
        writer w;
        w.tensor("a", {});
        w.tensor("b", {.key = "1"});
        w.raw(pkl::str("end") + pkl::str(std::string(behind, '.')) + "u.");
        const std::string bytes = file_of(w.text());
        CHECK(read(bytes, false) == read(bytes, true));
    }
}

TEST_CASE("any byte of a whole call may be another, or the last" * doctest::test_suite("slow")) {
    writer w;
    w.tensor("a", {});
    w.tensor("b", {.key = "1", .sizes = {"K\x02", "K\x02"}, .steps = {"K\x02", "K\x01"}});
    const std::size_t begins = w.begins(), ends = w.size();
    w.tensor("c", {.key = {}, .shared = w.first()});
    const std::string pickled = w.finish();
    const auto changed = [&](std::size_t at, unsigned char to) {
        std::string out = pickled;
        out[at] = static_cast<char>(to);
        return out;
    };
    std::size_t different = 0;
    for (std::size_t at = begins - 2; at < ends; ++at)
        for (unsigned to = 0; to < 256; ++to) {
            const std::string file = file_of(changed(at, static_cast<unsigned char>(to)));
            if (!(read(file, false) == read(file, true))) ++different;
        }
    CHECK(different == 0);
    for (std::size_t n = begins; n < pickled.size(); ++n) {
        const std::string file = file_of(pickled.substr(0, n));
        if (!(read(file, false) == read(file, true))) ++different;
    }
    CHECK(different == 0);
}

TEST_CASE("both ways charge the same bytes") {
    const auto opens = [](std::size_t tensors, bool one_by_one) {
        writer w;
        for (std::size_t i = 0; i < tensors; ++i) w.tensor("k", {});
        ckpt::limits budget;
        budget.made_per_byte = 0; // and a mebibyte
        return !read(file_of(w.finish()), one_by_one, {.limits = budget}).limit;
    };
    const std::size_t each = 2 * sizeof(ckpt::detail::node) + 16 + sizeof(ckpt::detail::tensor_data);
    const std::size_t most = (std::size_t{1} << 20) / each;
    for (const bool one_by_one : {false, true}) {
        CHECK(opens(most, one_by_one));
        CHECK_FALSE(opens(most + 1, one_by_one));
    }
}

TEST_CASE("both ways charge the same steps" * doctest::test_suite("slow")) {
    // A call whose argument is a list that grows: the resolver walks over tensors that come later.
    const auto opens = [](std::size_t tensors, bool one_by_one) {
        writer w;
        w.raw(pkl::str("early") + pkl::global("collections", "OrderedDict") + "]");
        w.puts();
        w.raw("\x85R" + pkl::str("late") + get(w.next() - 1) + "(");
        for (std::size_t i = 0; i < tensors; ++i) {
            w.tensor("k", {});
            w.tensor("k", {.sizes = {}, .steps = {}});
        }
        w.raw("e");
        ckpt::limits budget;
        budget.work_per_byte = 0; // and a million
        return !read(file_of(w.finish()), one_by_one, {.limits = budget}).limit;
    };
    constexpr std::size_t most = 1'000'000 / 42;
    for (const bool one_by_one : {false, true}) {
        CHECK(opens(most, one_by_one));
        CHECK_FALSE(opens(most + 1, one_by_one));
    }
}

TEST_CASE("every file of the test data tells the same both ways") {
    std::size_t files = 0;
    for (const fs::directory_entry& e : fs::recursive_directory_iterator(CKPT_TEST_DATA)) {
        if (!e.is_regular_file() || e.file_size() > (std::uintmax_t{8} << 20)) continue;
        std::ifstream in(e.path(), std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(in), {}};
        if (!bytes.starts_with("PK\x03\x04")) continue;
        INFO(e.path().string());
        CHECK(read(bytes, false) == read(bytes, true));
        ++files;
    }
    CHECK(files > 100);
}

} // namespace whole_calls_test
