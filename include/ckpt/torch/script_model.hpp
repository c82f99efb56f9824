// ckpt/torch/script_model.hpp: model.json, by which TorchScript archives of torch 1.0 to 1.2 describe their module.
//
// SPDX-License-Identifier: MIT
// In:      the JSON text (a protobuf in its JSON form, so that numbers of 64 bits are strings).
// Out:     modules with their parameters, buffers and attributes; tensors by number.
// Refuses: JSON of another form. A tensor with impossible numbers becomes an error later.
//
// Source: caffe2/proto/torch.proto and torch/csrc/jit/export.cpp of torch 1.2; files of torch 1.0, 1.1 and 1.2.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/json.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct script_tensor {
    std::string_view type{};   // "FLOAT"
    std::string_view record{}; // below the archive's folder: "tensors/0"
    std::uint64_t offset{0};
    bool requires_grad{false};
    bool quantised{false};
    std::uint32_t rank{0};
    std::uint32_t strides_rank{0};
    const std::int64_t* shape{nullptr};
    const std::int64_t* strides{nullptr};
};

/// A parameter, a buffer or an attribute of a module.
struct script_member {
    std::string_view name{};
    std::uint64_t id{~std::uint64_t{0}}; // of a tensor, or of an element of attributes.pkl
    bool attribute{false};
};

struct script_module {
    std::string_view name{};
    std::uint32_t parent{0}; // its number; the first module is the main one
    plain_list<script_member> members{};
};

/// The dtype for a name of caffe2.TensorProto.DataType.
[[nodiscard]] constexpr std::optional<ckpt::dtype> dtype_of_caffe2(std::string_view name) noexcept {
    using enum ckpt::dtype;
    constexpr struct {
        std::string_view name{};
        ckpt::dtype type{};
    } rows[]{{"FLOAT", float32}, {"DOUBLE", float64}, {"FLOAT16", float16}, {"BFLOAT16", bfloat16},
             {"INT8", int8},     {"UINT8", uint8},    {"BYTE", uint8},      {"INT16", int16},
             {"INT32", int32},   {"INT64", int64},    {"BOOL", bool_}};
    for (const auto& row : rows)
        if (row.name == name) return row.type;
    return std::nullopt;
}

/// Reads model.json.
class script_model_reader {
  public:
    script_model_reader(std::string_view text, arena& memory) : json_{text, memory}, memory_{memory} {}

    std::vector<script_module> modules{}; // parents before children
    plain_list<script_tensor> tensors{};

    [[nodiscard]] bool read();
    [[nodiscard]] std::string_view fault() const noexcept {
        return json_.fault().empty() ? "a number that is none" : json_.fault();
    }
    [[nodiscard]] std::size_t offset() const noexcept { return json_.offset(); }

  private:
    /// Reads a whole array: `visit` reads the value of each element, and returns whether it could.
    [[nodiscard]] bool elements(function_ref<bool()> visit);
    /// Reads the main module and all submodules, with a stack of the open ones.
    [[nodiscard]] bool read_modules();
    [[nodiscard]] bool read_member(script_member& m, bool attribute);
    [[nodiscard]] bool tensor(script_tensor& t);
    /// Reads "3" or 3. A negative number becomes one above 2^63, which later checks refuse.
    [[nodiscard]] bool number(std::uint64_t& out);
    [[nodiscard]] bool numbers(const std::int64_t*& out, std::uint32_t& count);

    json_reader json_;
    arena& memory_;
    std::vector<std::int64_t> read_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/script_model.ipp>
#endif
