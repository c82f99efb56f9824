// ckpt/torch/script_model.hpp: model.json, by which TorchScript archives of torch 1.0 to 1.2 describe their module.
//
// SPDX-License-Identifier: MIT
// In:      the JSON text (a protobuf in its JSON form, so that numbers of 64 bits are strings).
// Out:     modules with what they hold, and tensors by number.
// Refuses: JSON of another form. Numbers that no tensor can have are told where the tensor is built.
//
// Source: caffe2/proto/torch.proto and torch/csrc/jit/export.cpp of torch 1.2; files of torch 1.0, 1.1 and 1.2.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/json.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <algorithm>
#include <charconv>
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
    std::vector<script_member> members{};
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
    std::vector<script_tensor> tensors{};

    [[nodiscard]] bool read() {
        return json_.members([&](std::string_view member) {
            if (member == "mainModule") return read_modules();
            if (member == "tensors") return elements([&] { return tensor(tensors.emplace_back()); });
            return json_.skip();
        }) && json_.finish();
    }
    [[nodiscard]] std::string_view fault() const noexcept {
        return json_.fault().empty() ? "a number that is none" : json_.fault();
    }
    [[nodiscard]] std::size_t offset() const noexcept { return json_.offset(); }

  private:
    template <class Visit> [[nodiscard]] bool elements(Visit&& visit) {
        if (!json_.enter_array()) return false;
        while (json_.next_element())
            if (!visit()) return false;
        return json_.fault().empty();
    }

    /// The main module and those below it, with a stack of the open ones.
    [[nodiscard]] bool read_modules() {
        std::vector<std::uint32_t> open;
        const auto begin = [&] {
            modules.push_back({{}, open.empty() ? 0 : open.back(), {}});
            open.push_back(static_cast<std::uint32_t>(modules.size() - 1));
            return json_.enter_object();
        };
        // Behind the beginning of an array of submodules, or behind one of them.
        const auto next_submodule = [&] { return json_.next_element() ? begin() : json_.fault().empty(); };
        if (!begin()) return false;
        while (!open.empty()) {
            const std::uint32_t at = open.back();
            std::string_view member;
            if (!json_.next_member(member)) {
                if (!json_.fault().empty()) return false;
                open.pop_back();
                if (!open.empty() && !next_submodule()) return false;
            } else if (member == "submodules") {
                if (!json_.enter_array() || !next_submodule()) return false;
            } else if (member == "name") {
                if (!json_.string(modules[at].name)) return false;
            } else if (member == "parameters" || member == "attributes") {
                const bool attribute = member == "attributes";
                if (!elements([&] { return read_member(modules[at].members.emplace_back(), attribute); })) return false;
            } else if (!json_.skip()) {
                return false;
            }
        }
        return true;
    }
    [[nodiscard]] bool read_member(script_member& m, bool attribute) {
        m.attribute = attribute;
        return json_.members([&](std::string_view member) {
            if (member == "name") return json_.string(m.name);
            if (member == (attribute ? "id" : "tensorId")) return number(m.id);
            return json_.skip();
        });
    }
    [[nodiscard]] bool tensor(script_tensor& t) {
        return json_.members([&](std::string_view member) {
            if (member == "dataType") return json_.string(t.type);
            if (member == "requiresGrad") return json_.boolean(t.requires_grad);
            if (member == "isQuantized") return json_.boolean(t.quantised);
            if (member == "offset") return number(t.offset);
            if (member == "dims") return numbers(t.shape, t.rank);
            if (member == "strides") return numbers(t.strides, t.strides_rank);
            if (member != "data") return json_.skip();
            return json_.members(
                [&](std::string_view inner) { return inner == "key" ? json_.string(t.record) : json_.skip(); });
        });
    }
    /// "3" or 3; a negative one becomes one that is past everything.
    [[nodiscard]] bool number(std::uint64_t& out) {
        if (json_.peek() != json_kind::string) return json_.whole(out);
        std::string_view text;
        std::int64_t value = 0;
        if (!json_.string(text)) return false;
        const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
        out = static_cast<std::uint64_t>(value);
        return failure == std::errc{} && end == text.data() + text.size();
    }
    [[nodiscard]] bool numbers(const std::int64_t*& out, std::uint32_t& count) {
        read_.clear();
        const bool fine = elements([&] {
            std::uint64_t n = 0;
            if (!number(n)) return false;
            read_.push_back(static_cast<std::int64_t>(n)); // a negative one is refused with the tensor
            return true;
        });
        auto* const kept = memory_.allocate<std::int64_t>(read_.size() + 1);
        std::copy(read_.begin(), read_.end(), kept);
        out = kept;
        count = static_cast<std::uint32_t>(read_.size());
        return fine;
    }

    json_reader json_;
    arena& memory_;
    std::vector<std::int64_t> read_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
