// ckpt/torch/impl/script_model.ipp: the definitions of script_model.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/torch/script_model.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE bool script_model_reader::elements(function_ref<bool()> visit) {
    if (!json_.enter_array()) return false;
    while (json_.next_element())
        if (!visit()) return false;
    return json_.fault().empty();
}

CKPT_DETAIL_RARE bool script_model_reader::read() {
    return json_.members([&](std::string_view member) {
        if (member == "mainModule") return read_modules();
        if (member == "tensors") return elements([&] { return tensor(tensors.emplace_back()); });
        return json_.skip();
    }) && json_.finish();
}

CKPT_DETAIL_RARE bool script_model_reader::read_modules() {
    std::vector<std::uint32_t> open;
    const auto begin = [&] {
        modules.push_back({{}, open.empty() ? 0 : open.back(), {}});
        open.push_back(static_cast<std::uint32_t>(modules.size() - 1));
        return json_.enter_object();
    };
    // Called at the beginning of an array of submodules, and behind each of them.
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

CKPT_DETAIL_RARE bool script_model_reader::read_member(script_member& m, bool attribute) {
    m.attribute = attribute;
    return json_.members([&](std::string_view member) {
        if (member == "name") return json_.string(m.name);
        if (member == (attribute ? "id" : "tensorId")) return number(m.id);
        return json_.skip();
    });
}

CKPT_DETAIL_RARE bool script_model_reader::tensor(script_tensor& t) {
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

CKPT_DETAIL_RARE bool script_model_reader::number(std::uint64_t& out) {
    if (json_.peek() != json_kind::string) return json_.whole(out);
    std::string_view text;
    std::int64_t value = 0;
    if (!json_.string(text)) return false;
    if (!parse_decimal(text, value)) return false;
    out = static_cast<std::uint64_t>(value);
    return true;
}

CKPT_DETAIL_RARE bool script_model_reader::numbers(const std::int64_t*& out, std::uint32_t& count) {
    read_.clear();
    const bool fine = elements([&] {
        std::uint64_t n = 0;
        if (!number(n)) return false;
        read_.push_back(static_cast<std::int64_t>(n)); // the check of the tensor refuses a negative one
        return true;
    });
    auto* const kept = memory_.allocate<std::int64_t>(read_.size() + 1);
    std::copy(read_.begin(), read_.end(), kept);
    out = kept;
    count = static_cast<std::uint32_t>(read_.size());
    return fine;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
