// tests/checkpoint/errors.cpp: every error code with the smallest input that causes it; the documents name them all.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/gpu/engine.hpp>
#include <ckpt/gpu/host_api.hpp>
#include <ckpt/host.hpp>
#include <ckpt/state/lora.hpp>
#include <ckpt/state/overlay.hpp>
#include <ckpt/state/shard.hpp>
#include <ckpt/write.hpp>

#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#if !defined(_WIN32)
#include <sys/stat.h>
#endif

namespace errors_test {

using ckpt::errc;
using namespace test_support;

namespace {

using storages = std::vector<std::pair<std::string, std::string>>;
const std::string four = raw<float>({1, 2, 3, 4});

/// What `open` says of these bytes.
ckpt::error opening(const std::string& bytes, const ckpt::open_options& options = {}) {
    const auto opened = ckpt::open_bytes(bytes_of(bytes), options);
    return opened ? ckpt::error{} : opened.error();
}
/// Of an archive with this value, given as opcodes.
ckpt::error pickled(const std::string& value, const ckpt::open_options& options = {}) {
    return opening(torch_file(value, {{"0", four}}), options);
}
/// Of an archive that is fine but for one change.
ckpt::error patched(const std::function<void(zip_file&)>& change, const zip_style& style = {}) {
    zip_file zip = write_zip(torch_records(pkl::pickle(pkl::none)), style);
    change(zip);
    return opening(zip.bytes);
}
ckpt::error archived(const std::vector<zip_member>& members) { return opening(write_zip(members).bytes); }

/// What `use` says of the root of an archive that opens.
ckpt::error using_root(const std::string& value, const std::function<ckpt::error(const ckpt::value&)>& use,
                       const storages& of = {{"0", four}}, const torch_style& style = {}) {
    const std::string file = torch_file(value, of, style);
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    return use(opened.root());
}
ckpt::error refusal(const std::string& value) {
    return using_root(value,
                      [](const ckpt::value& v) { return v.refusal() != nullptr ? *v.refusal() : ckpt::error{}; });
}
template <class T, std::size_t Rank> ckpt::error viewing(const std::string& value, const torch_style& style = {}) {
    return using_root(
        value,
        [](const ckpt::value& v) {
            auto view = v.as_tensor().value().view<T, Rank>();
            return view ? ckpt::error{} : view.error();
        },
        {{"0", four}}, style);
}
ckpt::error selecting(const std::string& value, const std::function<ckpt::error(const ckpt::checkpoint&)>& use) {
    const std::string file = torch_file(value, {{"0", four}});
    return use(ckpt::open_bytes(bytes_of(file)).value());
}
template <class T> ckpt::error of(const ckpt::result<T>& r) { return r ? ckpt::error{} : r.error(); }

std::string t() { return pkl::floats("0", 4); }

/// What `use` says of a COO tensor of shape [2] with one value at `index`.
ckpt::error using_sparse(std::int64_t index, const std::function<ckpt::error(const ckpt::tensor&)>& use) {
    const std::string indices = pkl::tensor(pkl::storage("LongStorage", "0", 1), 0, {1, 1}, {1, 1});
    const std::string value =
        pkl::call(pkl::global("torch._utils", "_rebuild_sparse_tensor"),
                  {pkl::num(1), pkl::ints({2}), pkl::no, indices, pkl::floats("1", 1), pkl::none});
    return using_root(value, [&](const ckpt::value& v) { return use(v.as_tensor().value()); },
                      {{"0", raw<std::int64_t>({index})}, {"1", raw<float>({1})}});
}

ckpt::error truncated_meanwhile() {
    const temporary_file file(torch_file(t(), {{"0", four}}));
    const auto opened = ckpt::open(file.path(), {.io = ckpt::io_mode::read}).value();
    std::filesystem::resize_file(file.path(), 100);
    return of(opened.root().as_tensor().value().crc32());
}
ckpt::error special_file() {
#if defined(_WIN32)
    return of(ckpt::open("NUL"));
#else
    return of(ckpt::open("/dev/null"));
#endif
}
ckpt::error mismatched_header() {
    zip_file zip = write_zip(torch_records(pkl::pickle(pkl::none)));
    zip.put(zip.local[0] + 31, "X");
    return opening(zip.bytes);
}
ckpt::error unaligned() {
    auto members = torch_records(pkl::pickle(t()), {{"0", four}});
    for (int shift = 0; shift < 4; ++shift) {
        members[0].gap = std::string(static_cast<std::size_t>(shift), 'x');
        const std::string file = write_zip(members, {.torch = false, .end64 = false}).bytes;
        const auto opened = ckpt::open_bytes(bytes_of(file)).value();
        const auto view = opened.root().as_tensor().value().view<float, 1>();
        if (!view) return view.error();
    }
    return {};
}

ckpt::error indexed(const std::string& index) {
    const temporary_folder folder;
    folder.add("model.safetensors.index.json", index);
    return of(ckpt::open_folder(folder.path()));
}

ckpt::result<ckpt::state_dict> remapped(const ckpt::state_dict& weights, const char* rules) {
    return ckpt::remap(weights, ckpt::key_map::parse(rules).value());
}

struct row {
    errc code;
    std::function<ckpt::error()> cause;
};

const std::vector<row>& rows() {
    using namespace pkl;
    static const std::vector<row> all{
        {errc::cannot_open, [] { return of(ckpt::open("no such file")); }},
        {errc::not_a_regular_file, special_file},
        {errc::is_a_directory, [] { return of(ckpt::open(std::filesystem::temp_directory_path())); }},
        {errc::range_outside_file, [] { return opening("x", {.offset = 2}); }},
        {errc::truncated, truncated_meanwhile},
        {errc::not_a_checkpoint, [] { return opening(""); }},
        {errc::zip_truncated, [] { return opening("PK\x03\x04"); }},
        {errc::zip_bounds, [] { return patched([](zip_file& z) { z.put32(z.central[0] + 42, 0x7FFF'FFFF); }); }},
        {errc::zip_header_mismatch, mismatched_header},
        {errc::zip_duplicate_name,
         [] {
             auto m = torch_records(pickle(none));
             m.push_back(m[0]);
             return archived(m);
         }},
        {errc::zip_overlap, [] { return patched([](zip_file& z) { z.put32(z.central[1] + 42, 0); }); }},
        {errc::zip_encrypted, [] { return patched([](zip_file& z) { z.put16(z.central[0] + 8, 0x0809); }); }},
        {errc::zip_multi_disk, [] { return patched([](zip_file& z) { z.put16(z.end + 4, 1); }); }},
        {errc::zip_count_mismatch,
         [] {
             return patched(
                 [](zip_file& z) {
                     z.put16(z.end + 8, 9);
                     z.put16(z.end + 10, 9);
                 },
                 {.end64 = false});
         }},
        {errc::zip64_invalid, [] { return patched([](zip_file& z) { z.put32(z.central[0] + 24, 0xFFFF'FFFF); }); }},
        {errc::compressed,
         [] {
             auto m = torch_records(pickle(none));
             m[0].method = 8;
             m[0].inflated = 9;
             return archived(m);
         }},
        {errc::zip_name_invalid,
         [] {
             auto m = torch_records(pickle(none));
             m[0].name = "../data.pkl";
             return archived(m);
         }},
        {errc::checksum_mismatch, [] { return patched([](zip_file& z) { z.put(z.payload[0] + 2, "x"); }); }},
        {errc::zip_prefix,
         [] {
             zip_file z = write_zip(torch_records(pickle(none)), {.torch = false, .end64 = false});
             for (std::size_t i = 0; i < z.local.size(); ++i) z.put32(z.central[i] + 42, z.local[i] + 1);
             z.put32(z.end + 16, z.directory + 1);
             return opening("x" + z.bytes);
         }},
        {errc::zip_ambiguous_end,
         [] {
             const std::string inner = write_zip(torch_records(pickle(none)), {.torch = false, .end64 = false}).bytes;
             return opening(write_zip(torch_records(pickle(none)),
                                      {.torch = false, .end64 = false, .comment = inner.substr(inner.size() - 22)})
                                .bytes);
         }},
        {errc::no_pickle, [] { return archived({{.name = "a", .data = "x"}}); }},
        {errc::container_not_supported, [] { return opening("PYTORCH1"); }},
        {errc::record_missing, [] { return refusal(floats("1", 4)); }},
        {errc::format_version, [] { return opening(torch_file(none, {}, {.version = "11"})); }},
        {errc::byte_order_unknown, [] { return opening(torch_file(none, {}, {.byte_order = "x"})); }},
        {errc::json_invalid, [] { return indexed("{\"weight_map\": {"); }},
        {errc::safetensors_invalid, [] { return opening(le64(2) + "{}x"); }},
        {errc::shards_inconsistent, [] { return indexed("{\"weight_map\": {\"a\": \"../a.bin\"}}"); }},
        {errc::legacy_invalid, [] { return opening("L119547037146038801333356L\n.I1001\n.N.N.(l."); }},
        {errc::tar_invalid, [] { return opening(std::string(257, 'x') + "ustar" + std::string(250, 'x')); }},
        {errc::parts_not_joined,
         [] {
             const temporary_folder folder;
             folder.add("layer_00-model_states.pt", "x");
             return of(ckpt::open_folder(folder.path()));
         }},
        {errc::pickle_truncated, [] { return archived(torch_records("")); }},
        {errc::pickle_opcode, [] { return archived(torch_records("\xFF")); }},
        {errc::global_not_allowed, [] { return pickled(global("os", "system")); }},
        {errc::stack_underflow, [] { return archived(torch_records(".")); }},
        {errc::memo_missing, [] { return pickled("h\x01"); }},
        {errc::pickle_text, [] { return pickled("Ix\n"); }},
        {errc::pickle_target, [] { return pickled("NNNs"); }},
        {errc::unhashable_key, [] { return pickled("}]Ns"); }},
        {errc::limit, [] { return pickled(none, {.limits = {.pickle_bytes = 1}}); }},
        {errc::pickle_not_supported, [] { return pickled("\x82\x01"); }},
        {errc::persistent_id, [] { return refusal("NQ"); }},
        {errc::bad_arguments, [] { return refusal(call(global("torch._utils", "_rebuild_tensor_v2"), {})); }},
        {errc::cyclic_arguments,
         [] {
             return refusal("cbuiltins\nset\n(]q\x01tRq\x02"
                            "0h\x01h\x02"
                            "a0h\x02");
         }},
        {errc::wrong_type, [] { return using_root(none, [](const ckpt::value& v) { return of(v.as_int()); }); }},
        {errc::output_limit,
         [] {
             return using_root(tensor(storage("FloatStorage", "0", 4), 0, {1000}, {0}),
                               [](const ckpt::value& v) { return of(v.as_tensor().value().crc32()); });
         }},
        {errc::dtype_unknown,
         [] { return refusal(tensor_v3(storage("UntypedStorage", "0", 16), 0, {1}, {1}, "channels_last")); }},
        {errc::shape_invalid, [] { return refusal(tensor(storage("FloatStorage", "0", 4), 0, {-1}, {1})); }},
        {errc::out_of_bounds, [] { return refusal(tensor(storage("FloatStorage", "0", 4), 1, {4}, {1})); }},
        {errc::storage_size_mismatch, [] { return refusal(floats("0", 5)); }},
        {errc::dtype_mismatch, [] { return viewing<double, 1>(t()); }},
        {errc::rank_mismatch, [] { return viewing<float, 2>(t()); }},
        {errc::misaligned, unaligned},
        {errc::byte_order, [] { return viewing<float, 1>(t(), {.byte_order = "big"}); }},
        {errc::lazy_bit,
         [] {
             return viewing<float, 1>(global("torch._utils", "_rebuild_tensor_v2") +
                                      tuple({storage("FloatStorage", "0", 4), num(0), ints({4}), ints({1}), no, none,
                                             dict({{str("neg"), yes}})}) +
                                      "R");
         }},
        {errc::packed,
         [] {
             return viewing<std::uint8_t, 1>(
                 tensor_v3(storage("UntypedStorage", "0", 16), 0, {4}, {1}, "float4_e2m1fn_x2"));
         }},
        {errc::not_strided, [] { return using_sparse(1, [](const ckpt::tensor& s) { return of(s.bytes()); }); }},
        {errc::uninitialized,
         [] { return refusal(call(global("torch.nn.parameter", "UninitializedParameter"), {yes})); }},
        {errc::indices_invalid,
         [] { return using_sparse(2, [](const ckpt::tensor& s) { return of(ckpt::check_values(s)); }); }},
        {errc::not_mapped,
         [] {
             const std::string file = torch_file(t(), {{"0", four}});
             const auto opened = ckpt::open_bytes(bytes_of(file), {.io = ckpt::io_mode::read}).value();
             return of(opened.root().as_tensor().value().bytes());
         }},
        {errc::needs_copy,
         [] {
             return using_root(tensor(storage("FloatStorage", "0", 4), 0, {2}, {2}),
                               [](const ckpt::value& v) { return of(v.as_tensor().value().bytes()); });
         }},
        {errc::no_data,
         [] {
             return using_root(call(global("torch._utils", "_rebuild_meta_tensor_no_storage"),
                                    {global("torch", "float32"), ints({2}), ints({1}), no}),
                               [](const ckpt::value& v) { return of(v.as_tensor().value().bytes()); });
         }},
        {errc::unsupported_tensor,
         [] {
             return refusal(call(global("torch._tensor", "_rebuild_from_type_v2"),
                                 {global("collections", "OrderedDict"), global("torch", "Tensor"), tuple({}), none}));
         }},
        {errc::size_mismatch,
         [] {
             return using_root(t(), [](const ckpt::value& v) {
                 std::vector<float> out(3);
                 return of(v.as_tensor().value().copy_to(std::span(out)));
             });
         }},
        {errc::conversion,
         [] {
             return using_root(t(), [](const ckpt::value& v) {
                 std::vector<std::int32_t> out(4);
                 return of(v.as_tensor().value().copy_as(std::span(out)));
             });
         }},
        {errc::path_missing,
         [] { return selecting(none, [](const ckpt::checkpoint& c) { return of(c.state_dict("x")); }); }},
        {errc::state_dict_missing,
         [] { return selecting(none, [](const ckpt::checkpoint& c) { return of(c.state_dict()); }); }},
        {errc::state_dict_ambiguous,
         [] {
             return selecting(dict({{str("model"), dict({{str("w"), t()}})}, {str("ema"), dict({{str("w"), t()}})}}),
                              [](const ckpt::checkpoint& c) { return of(c.state_dict()); });
         }},
        {errc::key_missing,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 const auto weights = c.state_dict().value();
                 return of(weights.at("x"));
             });
         }},
        {errc::key_duplicate,
         [] {
             return selecting(dict({{str("1"), t()}, {num(1), t()}}),
                              [](const ckpt::checkpoint& c) { return of(c.state_dict()); });
         }},
        {errc::load_incomplete,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 const auto weights = c.state_dict().value();
                 std::vector<ckpt::tensor> none;
                 return of(ckpt::load(weights, none));
             });
         }},
        {errc::shapes_differ,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 const auto w = c.state_dict().value();
                 const std::vector<ckpt::layer> two{{w, "a"}, {remapped(w, "unsqueeze 0 w").value(), "b"}};
                 return of(ckpt::overlay(two));
             });
         }},
        {errc::adapter_unmatched,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 const auto w = c.state_dict().value();
                 return of(ckpt::merge_lora(w, w));
             });
         }},
        {errc::slice_invalid,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 const ckpt::shard_rule rows[]{{"w", 0}};
                 return of(ckpt::shard(c.state_dict().value(), rows, 0, 3));
             });
         }},
        {errc::device_memory,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 const ckpt::device_place nothing[]{{nullptr, 0}};
                 ckpt::detail::engine_options how;
                 how.places = nothing;
                 return of(ckpt::detail::run_upload(ckpt::detail::host_api{},
                                                    ckpt::plan_upload(c.state_dict().value()).value(), how));
             });
         }},
        {errc::cancelled,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 return of(ckpt::host::load(c.state_dict().value(),
                                            {.progress = [](const ckpt::progress&) { return false; }}));
             });
         }},
        {errc::pattern_invalid, [] { return of(ckpt::pattern::parse("{")); }},
        {errc::rule_invalid, [] { return of(ckpt::key_map::parse("x")); }},
        {errc::rules_unreadable,
         [] { return of(ckpt::key_map::parse(std::string((std::size_t{1} << 20) + 1, '\n'))); }},
        {errc::remap_failed,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 return of(remapped(c.state_dict().value(), "squeeze 9 w"));
             });
         }},
        {errc::equality_broken,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 return of(remapped(c.state_dict().value(), "copy w -> v\npad 0 0 1 v\npad 0 0 1 with 1 w\ntie v = w"));
             });
         }},
        {errc::not_reversible,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 return of(ckpt::plan_remap(c.state_dict().value(), ckpt::key_map{ckpt::drop("w")}).inverse());
             });
         }},
        {errc::output_exists,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 const temporary_file there{"old"};
                 return of(ckpt::write_npz(c.state_dict().value(), there.path()));
             });
         }},
        {errc::write_failed,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 const temporary_file file{"no folder"};
                 return of(ckpt::write_npz(c.state_dict().value(), file.path() / "x"));
             });
         }},
        {errc::format_lacks,
         [] {
             return selecting(dict({{str("w"), t()}}), [](const ckpt::checkpoint& c) {
                 return of(ckpt::write_npz(remapped(c.state_dict().value(), "cast bfloat16 w").value(), "x"));
             });
         }},
    };
    return all;
}

// Codes that no input of this version causes.
constexpr struct {
    errc code;
    const char* why;
} not_caused[]{
    {errc::read_failed, "only a failing disk or network file system causes it"},
    {errc::map_failed, "only a system that is out of address space, or that cannot map a file, causes it"},
    {errc::device_failed, "only a device's runtime causes it: tests/gpu/upload.cpp"},
    {errc::device_lost, "only a device's runtime causes it: tests/gpu/upload.cpp"},
    {errc::no_device, "only a device's runtime causes it: tests/gpu/upload.cpp"},
    {errc::internal, "a bug in ckpt"},
};

} // namespace

TEST_CASE("every error code has a smallest input that causes it, or a reason why there is none yet") {
    std::set<errc> caused;
    for (const row& r : rows()) {
        const ckpt::error e = r.cause();
        CAPTURE(ckpt::info(r.code).name);
        CAPTURE(e.message());
        CHECK(e.code == r.code);
        CHECK(caused.insert(r.code).second);
        CHECK_FALSE(e.detail.empty());
        const std::string message = e.message();
        CHECK(message.size() <= 1024);
        CHECK(message.starts_with(std::string(ckpt::info(r.code).name) + " (" +
                                  std::to_string(static_cast<int>(r.code)) + "): "));
        for (const char c : message) CHECK(static_cast<unsigned char>(c) >= 0x20);
    }
    for (const auto& n : not_caused) {
        CAPTURE(n.why);
        CHECK(caused.insert(n.code).second);
    }
    for (const ckpt::error_info& i : ckpt::error_table) CHECK_MESSAGE(caused.count(i.code) == 1, i.name);
    CHECK(caused.size() == std::size(ckpt::error_table));
}

TEST_CASE("errors of values name the file, by a path of the file, of a folder, and of nothing in memory") {
    using namespace pkl;
    const std::string bytes = torch_file(dict({{str("text"), str("x")},
                                               {str("list"), list({num(1)})},
                                               {str("big"), "\x8a\x09" + std::string(8, '\0') + "\x01"},
                                               {num(1), none},
                                               {str("1"), none},
                                               {str("w"), floats("0", 4)},
                                               {str("bad"), tensor(storage("FloatStorage", "0", 4), 1, {4}, {1})},
                                               {str("refused"), object("nowhere", "Thing", dict({}))}}),
                                         {{"0", four}});
    const temporary_folder folder({{"model.pt", bytes}});
    const auto errors_of = [](const ckpt::checkpoint& file) {
        const ckpt::value root = file.root();
        const auto at = [&root](std::string_view path) { return root.find(path).value(); };
        return std::vector<ckpt::error>{
            at("text").as_int().error(),
            at("text").as_real().error(),
            at("text").as_tensor().error(),
            at("big").as_int().error(),
            at("list/0").as_string().error(),
            at("list/0").as_integer_bytes().error(),
            root.find("tect").error(),
            root.find("list/7").error(),
            root.find("1").error(),
            at("list").at(9).error(),
            root.at("nothing").error(),
            at("refused").as_int().error(),
            at("refused").find("x").error(),
            root.get<int>("text").error(),
            root.get<float>("w").error(),
            root.get<float>("bad").error(),
            file.get<std::string>("list").error(),
            file.get_or("text", 1).error(),
        };
    };
    const std::string path = (folder.path() / "model.pt").string();
    for (const ckpt::error& e : errors_of(ckpt::open(path).value())) {
        CAPTURE(e.message());
        CHECK(e.file == path);
        CHECK(e.message().size() <= 1024);
    }
    for (const ckpt::error& e : errors_of(ckpt::open_folder(folder.path()).value()))
        CHECK(e.file == folder.path().string());
    for (const ckpt::error& e : errors_of(ckpt::open_bytes(bytes_of(bytes)).value())) CHECK(e.file.empty());
    CHECK(ckpt::value{}.as_int().error().file.empty());
}

TEST_CASE("numbers of error codes are unique, rise, and have an exit code of the program") {
    int before = 0;
    for (const ckpt::error_info& i : ckpt::error_table) {
        CHECK(static_cast<int>(i.code) > before);
        before = static_cast<int>(i.code);
        CHECK((i.exit_code == 1 || i.exit_code == 2 || i.exit_code == 4 || i.exit_code == 5));
        CHECK_FALSE(i.meaning.empty());
        CHECK(ckpt::info(i.code).name == i.name);
    }
    CHECK(ckpt::info(static_cast<errc>(9999)).name == "none");
}

TEST_CASE("docs/errors.md has a heading for every code, in the same order, with its exit code") {
    std::ifstream in(std::filesystem::path(CKPT_TEST_DATA) / "../../docs/errors.md");
    REQUIRE(in.good());
    std::vector<std::string> headings, exits;
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("## ")) headings.push_back(line.substr(3));
        else if (line.starts_with("Exit ") && exits.size() + 1 == headings.size()) exits.push_back(line.substr(5, 1));
    }
    std::vector<std::string> wanted, codes;
    for (const ckpt::error_info& i : ckpt::error_table) {
        wanted.push_back(std::to_string(static_cast<int>(i.code)) + ' ' + std::string(i.name));
        codes.push_back(std::to_string(static_cast<int>(i.exit_code)));
    }
    CHECK(headings == wanted);
    CHECK(exits == codes);
}

} // namespace errors_test
