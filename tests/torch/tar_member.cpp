// tests/torch/tar_member.cpp: checkpoints inside tar archives: the one is opened in place, several are listed.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tar_member_test {

using ckpt::errc;
using namespace test_support;
using namespace std::string_literals;

namespace {

/// A ustar archive of regular files.
std::string tar_of(const std::vector<std::pair<std::string, std::string>>& members) {
    std::string out;
    for (const auto& [name, data] : members) {
        std::string header(512, '\0');
        header.replace(0, name.size(), name);
        char size[12];
        std::snprintf(size, sizeof size, "%011o", static_cast<unsigned>(data.size()));
        header.replace(124, 11, size);
        header.replace(100, 7, "0000644");
        header.replace(148, 8, "        ");
        header[156] = '0';
        header.replace(257, 8, "ustar\00000"s);
        unsigned sum = 0;
        for (const char c : header) sum += static_cast<unsigned char>(c);
        char check[8];
        std::snprintf(check, sizeof check, "%06o", sum);
        header.replace(148, 7, check, 7);
        out += header + data + std::string((512 - data.size() % 512) % 512, '\0');
    }
    return out + std::string(1024, '\0');
}
const std::string four = raw<float>({1, 2, 3, 4});
const std::string weights = torch_file(pkl::dict({{pkl::str("w"), pkl::floats("0", 4)}}), {{"0", four}});
const std::string yaml = "target: nemo\n";

ckpt::result<ckpt::checkpoint> open(const std::string& file, const std::string& member = {}) {
    ckpt::open_options options;
    options.member = member;
    return ckpt::open_bytes(bytes_of(file), options);
}

} // namespace

TEST_CASE("the one checkpoint of a tar archive is opened where it lies") {
    const std::string file = tar_of({{"./model_config.yaml", yaml},
                                     {"./model_weights.ckpt", weights},
                                     {"./tokenizer.model", std::string(300, '\1')}});
    const temporary_file on_disk(file);
    for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const auto opened = ckpt::open(on_disk.path(), {.io = io}).value();
        CHECK(opened.container() == "zip");
        CHECK(opened.files() == std::vector<std::string>{"model_weights.ckpt"});
        const auto w = opened.state_dict().value();
        std::vector<float> values(4);
        REQUIRE(w.at("w").value().copy_to(std::span(values)).has_value());
        CHECK(values == std::vector<float>{1, 2, 3, 4});
        CHECK(file.substr(static_cast<std::size_t>(w.at("w").value().file_offset().value()), four.size()) ==
              four); // of the whole file
        CHECK(w.view<float, 1>("w").has_value() == (io == ckpt::io_mode::map));
        CHECK(opened.verify().ok());
    }
    CHECK(ckpt::scan_globals(on_disk.path()).value().size() == 3);
    // By its name, with the dot or without; by its place; and as a part of something larger.
    for (const char* name : {"model_weights.ckpt", "./model_weights.ckpt"}) CHECK(open(file, name).has_value());
    CHECK(ckpt::open_bytes(bytes_of(file), {.offset = file.find("PK\x03\x04"), .length = weights.size()}).has_value());
    CHECK(ckpt::open_bytes(bytes_of("xyz" + file), {.offset = 3}).has_value());
    CHECK(open(tar_of({{"a.safetensors", le64(2) + "{}"}})).value().container() == "safetensors");
}

TEST_CASE("several checkpoints, or none, are listed") {
    const std::string ranks = tar_of({{"./model_config.yaml", yaml},
                                      {"./mp_rank_00/model_weights.ckpt", weights},
                                      {"./mp_rank_01/model_weights.ckpt", weights}});
    const ckpt::error split = open(ranks).error();
    CHECK(split.code == errc::container_not_supported);
    CHECK(split.detail.find(
              "split over ranks: 2 members (\"mp_rank_00/model_weights.ckpt\", \"mp_rank_01/model_weights.ckpt\")") !=
          std::string::npos);
    const auto second = open(ranks, "mp_rank_01/model_weights.ckpt").value();
    CHECK(second.files().front() == "mp_rank_01/model_weights.ckpt");
    const ckpt::error two =
        open(tar_of({{"a.pt", weights}, {"b.pt", weights}, {"c.pt", weights}, {"d.pt", weights}, {"e.txt", "x"}}))
            .error();
    CHECK(two.detail.find("4 members (\"a.pt\", \"b.pt\", \"c.pt\", +1 more)") != std::string::npos);
    const ckpt::error three = open(tar_of({{"a.pt", weights}, {"b.pt", weights}, {"c.pt", weights}})).error();
    CHECK(three.detail.ends_with("3 members (\"a.pt\", \"b.pt\", \"c.pt\")"));
    const ckpt::error none = open(tar_of({{"readme.txt", "hello"}})).error();
    CHECK(none.code == errc::container_not_supported);
    CHECK(none.detail.find("without a checkpoint, of 1 member (\"readme.txt\")") != std::string::npos);
    const ckpt::error missing = open(ranks, "mp_rank_02/model_weights.ckpt").error();
    CHECK(missing.code == errc::record_missing);
    CHECK(missing.detail.find("of 3 members") != std::string::npos);
    CHECK(open(weights, "x").error().code == errc::record_missing);
    CHECK(open(ranks, "model_config.yaml").error().code == errc::not_a_checkpoint);
    CHECK(open(tar_of({{"inner.tar", ranks}}), "inner.tar").error().code == errc::container_not_supported);
}

TEST_CASE("a pickle counts only where there is nothing that is more certain") {
    const std::string pickle = pkl::pickle(pkl::dict({}));
    CHECK(open(tar_of({{"a.pkl", pickle}, {"w.ckpt", weights}})).value().container() == "zip");
    CHECK(open(tar_of({{"a.pkl", pickle}, {"b.txt", "hello"}})).value().container() == "pickle");
    CHECK(open(tar_of({{"a.pkl", pickle}, {"b.pkl", pickle}})).error().code == errc::container_not_supported);
}

TEST_CASE("a member that is damaged is refused as it would be by itself, with places in the whole file") {
    const std::string cut = tar_of({{"w.ckpt", weights.substr(0, weights.size() - 30)}});
    CHECK(open(cut).error().code == errc::zip_truncated);
    const std::string file = tar_of({{"w.ckpt", torch_file(pkl::global("os", "system"))}});
    const ckpt::error refused = open(file).error();
    CHECK(refused.code == errc::global_not_allowed);
    CHECK(refused.offset == file.find("cos\nsystem"));
    for (std::size_t n = 512; n < cut.size(); n += 509) CHECK_FALSE(open(cut.substr(0, n)).has_value());
}

} // namespace tar_member_test
