// tests/torch/real_files.cpp: every file and folder of tests/data against what PyTorch said of it (NAME.json beside
// it).
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>

#include "../support/inflate.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace real_files_test {

using ckpt::errc;
namespace fs = std::filesystem;

namespace {

/// A JSON document, as far as the oracles need it: text, numbers as their text, arrays, objects.
struct json {
    enum { nothing, text, number, array, object } is{nothing};
    std::string value{};
    std::vector<json> elements{};
    std::map<std::string, json> members{};

    const json& operator[](const std::string& name) const {
        static const json none{};
        const auto at = members.find(name);
        return at != members.end() ? at->second : none;
    }
    bool has(const std::string& name) const { return members.count(name) != 0; }
    std::int64_t integer() const { return std::strtoll(value.c_str(), nullptr, 10); }
    std::vector<std::int64_t> integers() const {
        std::vector<std::int64_t> out;
        for (const json& e : elements) out.push_back(e.integer());
        return out;
    }
};

class json_reader {
  public:
    explicit json_reader(std::string_view text) : rest_{text} {}
    json read() {
        json out;
        space();
        if (take('{')) {
            out.is = json::object;
            for (space(); !take('}'); space(), take(','), space()) {
                const std::string name = quoted();
                space();
                REQUIRE(take(':'));
                out.members[name] = read();
            }
        } else if (take('[')) {
            out.is = json::array;
            for (space(); !take(']'); space(), take(','), space()) out.elements.push_back(read());
        } else if (!rest_.empty() && rest_[0] == '"') {
            out.is = json::text;
            out.value = quoted();
        } else {
            const std::size_t n = rest_.find_first_of(",]} \n");
            REQUIRE(n != std::string_view::npos);
            out.value = rest_.substr(0, n);
            out.is = out.value == "null" ? json::nothing : json::number; // true and false too
            rest_.remove_prefix(n);
        }
        return out;
    }

  private:
    void space() {
        while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
    }
    bool take(char c) {
        if (rest_.empty() || rest_[0] != c) return false;
        rest_.remove_prefix(1);
        return true;
    }
    std::string quoted() {
        std::string out;
        REQUIRE(take('"'));
        while (!take('"')) {
            REQUIRE_FALSE(rest_.empty());
            if (rest_[0] != '\\') {
                out += rest_[0];
                rest_.remove_prefix(1);
                continue;
            }
            const char c = rest_[1];
            rest_.remove_prefix(2);
            if (c != 'u') {
                out += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
                continue;
            }
            unsigned point = hex();
            if (point >= 0xD800 && point < 0xDC00 && rest_.substr(0, 2) == "\\u") {
                rest_.remove_prefix(2);
                point = 0x10000 + ((point - 0xD800) << 10) + (hex() - 0xDC00);
            }
            const auto put = [&](unsigned byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
            if (point < 0x80) put(point);
            else if (point < 0x800) put(0xC0 | (point >> 6)), put(0x80 | (point & 63));
            else if (point < 0x10000)
                put(0xE0 | (point >> 12)), put(0x80 | ((point >> 6) & 63)), put(0x80 | (point & 63));
            else
                put(0xF0 | (point >> 18)), put(0x80 | ((point >> 12) & 63)), put(0x80 | ((point >> 6) & 63)),
                    put(0x80 | (point & 63));
        }
        return out;
    }
    unsigned hex() {
        unsigned out = 0;
        std::from_chars(rest_.data(), rest_.data() + 4, out, 16);
        rest_.remove_prefix(4);
        return out;
    }
    std::string_view rest_;
};

std::string contents(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// A file or a folder, and what PyTorch said of it.
struct subject {
    fs::path path{};
    json oracle{};
};

/// What an oracle speaks of: the file that it names, or the file or folder beside it that is named like it.
fs::path subject_of(const fs::path& oracle, const json& content) {
    if (content.has("file")) return oracle.parent_path() / content["file"].value;
    const fs::path stem = oracle.parent_path() / oracle.stem();
    for (const auto& entry : fs::directory_iterator(oracle.parent_path()))
        if (entry.is_regular_file() && entry.path() != oracle &&
            entry.path().parent_path() / entry.path().stem() == stem)
            return entry.path();
    return stem;
}

const std::vector<subject>& subjects() {
    static const std::vector<subject> all = [] {
        std::vector<subject> out;
        for (const auto& entry : fs::recursive_directory_iterator(CKPT_TEST_DATA)) {
            if (!entry.is_regular_file() || entry.path().extension() != ".json") continue;
            const std::string text = contents(entry.path());
            if (text.find("\"made_by\"") == std::string::npos) continue; // a framework's own file
            json oracle = json_reader(text).read();
            if (oracle.has("same_as")) {
                const json base = json_reader(contents(entry.path().parent_path() / oracle["same_as"].value)).read();
                for (const auto& [name, value] : base.members) oracle.members.emplace(name, value);
            }
            const fs::path path = subject_of(entry.path(), oracle);
            REQUIRE_MESSAGE(fs::exists(path), path.string());
            out.push_back({path, std::move(oracle)});
        }
        std::sort(out.begin(), out.end(), [](const subject& x, const subject& y) { return x.path < y.path; });
        return out;
    }();
    return all;
}

bool is_zip(const std::string& bytes) { return bytes.starts_with("PK\x03\x04"); }

/// Opens with the policy that the oracle names.
template <class Open> auto with_policy_of(const json& oracle, Open&& open) {
    if (oracle["ls_policy"].value == "inspect") return open.template operator()<ckpt::inspect_policy>();
    if (oracle["ls_policy"].value == "weights") return open.template operator()<ckpt::weights_policy>();
    return open.template operator()<ckpt::training_policy>();
}
ckpt::result<ckpt::checkpoint> open_as(const subject& s, ckpt::open_options options = {}) {
    options.inflate = test_support::test_inflater();
    return with_policy_of(s.oracle, [&]<class P>() {
        return fs::is_directory(s.path) ? ckpt::open_folder<P>(s.path, options) : ckpt::open<P>(s.path, options);
    });
}

std::vector<std::int64_t> list(std::span<const std::int64_t> numbers) { return {numbers.begin(), numbers.end()}; }

bool exit_allowed(const json& oracle, int code) {
    for (const json& e : oracle["or_exit"].elements)
        if (e.integer() == code) return true;
    return false;
}

} // namespace

TEST_CASE("every real file opens, or is refused, as its oracle says") {
    std::size_t zips = 0, folders = 0, others = 0;
    for (const subject& s : subjects()) {
        CAPTURE(s.path.string());
        const json& oracle = s.oracle;
        REQUIRE(oracle.is == json::object);
        const auto opened = open_as(s);
        const bool folder = fs::is_directory(s.path);
        const bool other = !folder && s.path.extension() != ".safetensors" && !is_zip(contents(s.path));
        ++(folder ? folders : other ? others : zips);
        if (oracle.has("ls_error")) {
            const std::string code = oracle["ls_error"].value;
            const auto plain = ckpt::open(s.path, {.foreign = ckpt::foreign_globals::refuse_file});
            const auto weights = plain ? plain->state_dict() : ckpt::result<ckpt::state_dict>{plain.error()};
            REQUIRE_FALSE(weights.has_value());
            CHECK(ckpt::info(weights.error().code).name == code);
            // Otherwise a name outside the policy is refused at its place.
            if (weights.error().code == errc::global_not_allowed)
                CHECK_FALSE(ckpt::open(s.path).value().refused_globals().empty());
        }
        if (!opened) {
            INFO(opened.error().message());
            CHECK(exit_allowed(oracle, ckpt::info(opened.error().code).exit_code));
            continue;
        }
        // The other ways of reading agree.
        for (const ckpt::open_options& options :
             {ckpt::open_options{.io = ckpt::io_mode::read}, ckpt::open_options{.storages = ckpt::storage_mode::owned}})
            CHECK(open_as(s, options).has_value());
    }
    CHECK(zips > 120);
    CHECK(folders > 8);
    CHECK(others > 15);
}

TEST_CASE("the weights are found, or the right question is asked") {
    std::size_t answers = 0, questions = 0;
    for (const subject& s : subjects()) {
        if (!s.oracle.has("weights") && !s.oracle.has("question")) continue;
        CAPTURE(s.path.string());
        const auto opened = open_as(s);
        REQUIRE(opened.has_value());
        const auto chosen = opened->state_dict();
        if (s.oracle.has("weights")) {
            ++answers;
            if (!chosen) FAIL_CHECK(chosen.error().message());
            else CHECK(chosen->path() == s.oracle["weights"].value);
            continue;
        }
        ++questions;
        REQUIRE_FALSE(chosen.has_value());
        CHECK(chosen.error().code == errc::state_dict_ambiguous);
        std::vector<std::string> listed, wanted;
        const auto all = opened->state_dicts();
        for (const ckpt::candidate& c : all)
            if (c.rank == all.front().rank) listed.push_back(c.path);
        for (const json& path : s.oracle["question"].elements) wanted.push_back(path.value);
        CHECK(listed == wanted);
        for (const std::string& path : wanted) CHECK(opened->state_dict(path).has_value());
    }
    CHECK(answers > 20);
    CHECK(questions > 5);
}

TEST_CASE("every tensor of every real file is the one that PyTorch loads: path, dtype, shape, strides, bytes") {
    std::size_t compared = 0, parts = 0, digests = 0;
    for (const subject& s : subjects()) {
        CAPTURE(s.path.string());
        const json& oracle = s.oracle;
        for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
            const auto opened = open_as(s, {.io = io});
            if (!opened) continue; // the case above decides whether it may
            const auto rows = ckpt::find_tensors(opened->root());
            REQUIRE(rows.has_value());
            std::map<std::string, const ckpt::located_tensor*> by_path;
            for (const ckpt::located_tensor& row : *rows) {
                std::string path;
                for (const ckpt::path_element& e : row.path) path += (e.is_number ? "\n#" : "\n") + e.text;
                CHECK(by_path.emplace(path, &row).second);
            }
            std::map<std::int64_t, std::uint32_t> shares;
            std::size_t not_named = 0;
            std::string above, key_above; // the dictionary that the oracle is of, where it is not the root
            for (const json& e : oracle["selected"].elements) {
                above += '\n' + e.value;
                key_above += e.value + '.';
            }
            for (const json& want : oracle["tensors"].elements) {
                const std::string key = want["key"].value;
                CAPTURE(key);
                std::string path = above;
                for (const json& e : want["path"].elements) path += (e.is == json::number ? "\n#" : "\n") + e.value;
                const auto found = by_path.find(path);
                if (found == by_path.end()) {
                    ++not_named; // wrappers, whose parts this version does not flatten
                    CHECK_MESSAGE(s.path.filename() == "wrapper_subclass.pt", "missing: " << key);
                    continue;
                }
                const ckpt::tensor t = found->second->tensor;
                CHECK(found->second->key() == key_above + key);
                by_path.erase(found);
                if (const ckpt::error* e = t.refusal()) {
                    if (want["error"].value != ckpt::info(e->code).name) FAIL_CHECK(e->message());
                    continue;
                }
                ++compared;
                CHECK(ckpt::name(t.dtype()) == want["dtype"].value);
                if (want.has("shape")) CHECK(list(t.shape()) == want["shape"].integers());
                CHECK(ckpt::name(t.layout()) == want["layout"].value);
                if (oracle["named_only"].value == "true" || oracle["key_only"].value == "true") continue;
                for (const json& part : want["parts"].elements) {
                    const auto mine = t.part(part["key"].value);
                    REQUIRE(mine.has_value());
                    CHECK(list(mine->shape()) == part["shape"].integers());
                    if (part["crc32"].is == json::text)
                        CHECK(mine->crc32().value() == std::strtoul(part["crc32"].value.c_str(), nullptr, 16));
                    ++parts;
                }
                CHECK(t.quantizer().has_value() == want.has("quant"));
                CHECK(ckpt::check_values(t).has_value());
                if (t.layout() != ckpt::layout::strided) continue;
                if (want["stride"].is == json::array) CHECK(list(t.strides()) == want["stride"].integers());
                if (want.has("storage_offset"))
                    CHECK(t.storage_offset() == static_cast<std::uint64_t>(want["storage_offset"].integer()));
                if (want.has("nbytes")) CHECK(t.nbytes() == static_cast<std::uint64_t>(want["nbytes"].integer()));
                if (want.has("requires_grad")) CHECK(t.requires_grad() == (want["requires_grad"].value == "true"));
                if (want["shares"].is == json::number) {
                    const auto [at, fresh] = shares.emplace(want["shares"].integer(), t.storage_id());
                    if (!fresh) CHECK(at->second == t.storage_id());
                }
                const auto crc = t.crc32();
                if (want["error"].value == "output_limit") {
                    CHECK(crc.error().code == errc::output_limit);
                } else if (want["crc32"].is == json::text) {
                    REQUIRE(crc.has_value());
                    CHECK(*crc == std::strtoul(want["crc32"].value.c_str(), nullptr, 16));
                    ++digests;
                }
            }
            if (not_named == 0 && !oracle.has("selected"))
                CHECK_MESSAGE(by_path.empty(), by_path.size()
                                                   << " more, " << (by_path.empty() ? "" : by_path.begin()->first));
        }
    }
    CHECK(compared > 1000);
    CHECK(digests > 1000);
    CHECK(parts > 100);
    MESSAGE(compared << " rows compared, " << digests << " digests, " << parts << " parts");
}

TEST_CASE("no real file is damaged: verify finds nothing") {
    std::size_t verified = 0;
    for (const subject& s : subjects()) {
        const auto opened = open_as(s);
        if (!opened) continue;
        CAPTURE(s.path.string());
        const auto report = opened->verify();
        for (const ckpt::error& e : report.findings) FAIL_CHECK(e.message());
        ++verified;
    }
    CHECK(verified > 70);
}

TEST_CASE("every global that a framework's file names is build or inert under the training policy") {
    std::map<std::string, std::vector<std::string>> own; // the user's classes, by file
    for (const subject& s : subjects())
        for (const json& name : s.oracle["user_globals"].elements)
            own[s.path.string()].push_back(name.elements.at(0).value + ' ' + name.elements.at(1).value);
    std::size_t names = 0;
    for (const char* folder : {"frameworks", "demo"})
        for (const auto& entry : fs::recursive_directory_iterator(fs::path(CKPT_TEST_DATA) / folder)) {
            // A .distcp file is a row of archives; what they name is looked at by the folder's tests.
            if (!entry.is_regular_file() || entry.path().extension() == ".distcp" || !is_zip(contents(entry.path())))
                continue;
            CAPTURE(entry.path().string());
            const auto scan = ckpt::scan_globals(entry.path());
            REQUIRE(scan.has_value());
            CHECK(scan->stopped() == nullptr);
            const auto& users = own[entry.path().string()];
            std::size_t refused = 0;
            for (const ckpt::global_use& g : *scan) {
                ++names;
                const bool is_users = std::find(users.begin(), users.end(), g.module + ' ' + g.name) != users.end();
                CHECK_MESSAGE((g.verdict == (is_users ? ckpt::verdict::refuse : ckpt::verdict::build) ||
                               (!is_users && g.verdict == ckpt::verdict::inert)),
                              g.module << ' ' << g.name);
                refused += is_users;
            }
            CHECK(refused == users.size());
        }
    CHECK(names > 200);
}

TEST_CASE("what wrote a file is told by its records") {
    const auto writer = [](const char* name) {
        return std::string(ckpt::open(fs::path(CKPT_TEST_DATA) / name).value().writer());
    };
    CHECK(writer("torch-1.13/dtypes.pt") == "torch.save of torch 1.6 to 2.0");
    CHECK(writer("torch-2.13/dtypes.pt") == "torch.save of torch 2.7 or later");
    CHECK(writer("torch-2.13/alignment_4096.pt") == "torch.save of torch 2.7 or later");
    CHECK(writer("rezipped/training_other_folder.pt").starts_with("a zip tool"));
    CHECK(ckpt::open(fs::path(CKPT_TEST_DATA) / "demo/mlp.pt").value().container() == "zip");
    CHECK(writer("archives/torch-1.0/script_model.pt") == "torch.jit.save of torch 1.0 to 1.2");
    CHECK(writer("archives/torch-1.3/script_model.pt") == "torch.jit.save of torch 1.3 to 2.0");
    CHECK(writer("archives/torch-1.13/scripted.pt") == "torch.jit.save of torch 1.3 to 2.0");
    CHECK(writer("archives/torch-2.13/lite.ptl") == "torch.jit.save of torch 2.1 or later");
    CHECK(writer("archives/torch-1.13/package.pt") == "torch.package of torch 1.9 to 2.0");
    CHECK(writer("archives/torch-2.13/package.pt") == "torch.package of torch 2.1 or later");
    CHECK(writer("archives/torch-2.13/plain.pt2") == "torch.export.save of torch 2.8 or later");
    CHECK(writer("archives/torch-2.13/before_2_8.pt2") == "torch.export.save of torch 2.1 to 2.7");
    const auto container = [](const char* name) {
        return std::string(ckpt::open(fs::path(CKPT_TEST_DATA) / name).value().container());
    };
    CHECK(container("archives/torch-1.0/script_model.pt") == "torchscript");
    CHECK(container("archives/torch-2.13/frozen.pt") == "torchscript");
    CHECK(container("archives/torch-2.13/package.pt") == "torch_package");
    CHECK(container("archives/torch-2.13/tied.pt2") == "pt2");
    CHECK(container("archives/torch-2.13/before_2_8.pt2") == "pt2");
}

} // namespace real_files_test
