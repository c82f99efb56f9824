// bench/once_more.cpp: what is counted beside opening, for once.cpp.
//
// SPDX-License-Identifier: MIT
#include "once_more.hpp"

#include "../tests/support/zip_writer.hpp"

#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/write.hpp>

#include <span>
#include <string>

std::size_t bench::planned_tensors(const ckpt::state_dict& weights) {
    return ckpt::plan_upload(weights).value().size();
}

std::size_t bench::converted_tensors(const ckpt::state_dict& weights) {
    return ckpt::plan_safetensors(weights, "out.safetensors").value().tensors();
}

bool bench::digests_are_equal(std::size_t bytes, std::size_t times) {
    const std::string number = std::to_string(bytes);
    std::string header = R"({"w":{"dtype":"U8","shape":[)" + number + R"(],"data_offsets":[0,)" + number + "]}}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const std::string file = test_support::le64(header.size()) + header + std::string(bytes, '\x5A');
    const auto weights =
        ckpt::open_bytes(std::as_bytes(std::span{file.data(), file.size()})).value().state_dict().value();
    const std::string first = ckpt::checkpoint_digest(weights).value();
    for (std::size_t i = 1; i < times; ++i)
        if (ckpt::checkpoint_digest(weights).value() != first) return false;
    return true;
}
