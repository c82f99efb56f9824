// ckpt/folder/impl/joined.ipp: the definitions of joined.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/joined.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void part_storages::check(const file_check& how, verify_report& out) const {
    if (how.meter.is_stopped()) return;
    const std::size_t before = out.findings.size();
    file_->check(how, out);
    for (std::size_t i = before; i < out.findings.size(); ++i) out.findings[i].file = name_;
}

CKPT_DETAIL_DEF std::uint32_t join_boxes(gather_plan& plan, std::span<const std::int64_t> shape, const box_list& boxes,
                                         const std::vector<std::uint32_t>& parts, const std::vector<std::size_t>& cut) {
    if (parts.size() == 1) return parts.front();
    const auto offset = [&](std::uint32_t box, std::size_t d) { return boxes.offsets[box * boxes.rank + d]; };
    const std::size_t d = cut.size() == 1 ? cut.front() : 0;
    const std::vector<std::uint32_t> order =
        sorted_indices(parts.size(), [&](std::uint32_t a, std::uint32_t b) { return offset(a, d) < offset(b, d); });
    std::vector<std::uint32_t> sorted;
    std::vector<std::int64_t> offsets;
    for (const std::uint32_t i : order) {
        sorted.push_back(parts[i]);
        for (std::size_t k = 0; k < boxes.rank; ++k) offsets.push_back(offset(i, k));
    }
    if (cut.size() == 1) return plan.concat(sorted, static_cast<std::uint32_t>(d));
    return plan.paste(sorted, offsets, shape);
}

CKPT_DETAIL_DEF joined_checkpoint::joined_checkpoint(const limits& budget, std::string_view container,
                                                     std::string_view writer)
    : checkpoint_file{budget, {}} {
    facts_ = {container, writer, native_order(), true, 0, {}};
    graph_.record = "the folder";
    graph_.storages = &*storages_;
}

CKPT_DETAIL_DEF joined_checkpoint::part joined_checkpoint::add_part(std::string name, shared<checkpoint_file> file) {
    graph_.joined_bytes += file->graph().metadata_bytes();
    if (parts_.empty()) {
        facts_.order = file->facts().order;
        facts_.order_recorded = file->facts().order_recorded;
    }
    auto out = detail::make_shared<part_storages>(std::move(name), std::move(file));
    keep(out);
    return out;
}

CKPT_DETAIL_DEF void joined_checkpoint::keep(shared<folder_storages> of) {
    plan_->keep(of);
    parts_.push_back(std::move(of));
}

CKPT_DETAIL_DEF std::uint32_t joined_checkpoint::tensor_of(std::uint32_t index) {
    const gather_node& from = plan_->node(index);
    tensor_data data{};
    if (from.op == gather_op::leaf) {
        data = *from.data;
        if (data.refusal != nullptr)
            return refused(*data.refusal,
                           from.source != nullptr ? from.source->file(data.storage) : std::string_view{});
        const auto change = [&](tensor_data& t) {
            if (t.refusal == nullptr && t.kind == layout::strided)
                t.storage = storages_->number_of(from.source, t.storage);
        };
        copies_.adopt(data, from.source, change);
    } else if (!plan_->in_proportion(index)) { // expanded pieces may claim any size
        return refused(
            {.code = errc::output_limit,
             .detail = str_cat("the values are ", bytes_of(from.type, from.numel),
                               " bytes, more than 16 times those of the storages that they are gathered from"),
             .hint = "the file is damaged or made to waste time; the other tensors are not affected"},
            plan_->file_of(index));
    } else {
        data.type = from.type;
        data.rank = from.rank;
        data.shape = from.shape;
        data.numel = from.numel;
        auto* strides = graph_.memory.allocate<std::int64_t>(from.rank + std::size_t{1});
        set_dense_strides(from.sizes(), false, strides);
        data.strides = strides;
        data.storage = storages_->number_of_node(index);
    }
    return graph_.add_tensor(data);
}

CKPT_DETAIL_DEF std::uint32_t joined_checkpoint::refused(error why, std::string_view file) {
    if (why.file.empty()) why.file = file;
    tensor_data data{};
    data.refusal = graph_.errors[graph_.keep(std::move(why))];
    return graph_.add_tensor(data);
}

CKPT_DETAIL_DEF std::uint32_t joined_checkpoint::text(std::string_view of) {
    char* copy = graph_.memory.allocate<char>(of.size() + 1);
    for (std::size_t i = 0; i < of.size(); ++i) copy[i] = of[i];
    return graph_.add_text({copy, of.size()});
}

CKPT_DETAIL_DEF void joined_checkpoint::finish(std::uint32_t root, std::vector<std::string> files,
                                               std::uint64_t file_bytes) {
    graph_.root = root;
    facts_.files = std::move(files);
    facts_.file_bytes = file_bytes;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
