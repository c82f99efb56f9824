// ckpt/state/impl/lora_update.ipp: the definitions of lora_update.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/lora.hpp>
#include <ckpt/state/lora_update.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<double> lora_scale(const state_dict& adapter, const lora_pair& pair,
                                          const lora_options& options) {
    if (options.scale) return *options.scale;
    double alpha = options.alpha.value_or(0);
    if (!pair.alpha.empty()) {
        auto stored = adapter.at(pair.alpha);
        if (!stored) return std::move(stored).failure();
        if (stored->numel() != 1)
            return error{.code = errc::adapter_unmatched,
                         .detail = str_cat("the alpha ", quoted(pair.alpha), " is no single number")};
        if (auto read = stored->copy_as(std::span<double>{&alpha, 1}); !read) return std::move(read).failure();
    } else if (!options.alpha) {
        return error{.code = errc::adapter_unmatched,
                     .detail =
                         str_cat("nobody says by what ", quoted(pair.path), " is scaled: the file stores no alpha"),
                     .hint = "give alpha (lora_alpha in adapter_config.json) or "
                             "scale in the options"};
    }
    return alpha / static_cast<double>(pair.rank);
}

CKPT_DETAIL_DEF result<std::uint32_t> lora_node(gather_plan& plan, std::uint32_t base, std::uint32_t a, std::uint32_t b,
                                                const lora_pair& pair, double scale, bool fan_in_fan_out) {
    const auto shape = [&plan](std::uint32_t node) { return plan.node(node).sizes(); };
    const auto wrong = [&](std::string_view what) {
        return error{.code = errc::shapes_differ,
                     .detail =
                         str_cat("the update of ", quoted(pair.path), ", B ", list_of(shape(b)), " and A ",
                                 list_of(shape(a)), ", does not fit the base's ", list_of(shape(base)), ": ", what)};
    };
    for (const std::uint32_t node : {base, a, b}) {
        const gather_node& n = plan.node(node);
        const bool dense = n.op != gather_op::leaf || (n.data->refusal == nullptr && n.data->kind == layout::strided);
        if (!dense || !is_convertible(n.type, dtype::float32) || info(n.type).packed)
            return wrong("all three must be strided and convertible to float32");
        if (n.depth + 4u >= gather_plan::most_depth) return wrong("too many operations on one tensor");
    }
    const dtype own = plan.node(base).type;
    if (!is_convertible(dtype::float32, own)) return wrong("the base has no floating type");
    // Convolutions are matrices over all that follows their first dimension.
    const std::int64_t r = pair.rank;
    const auto columns = [&](std::uint32_t node, std::int64_t rows) {
        return rows == 0 ? std::int64_t{0} : static_cast<std::int64_t>(plan.node(node).numel) / rows;
    };
    const std::int64_t n = columns(a, r);
    const std::int64_t m = static_cast<std::int64_t>(plan.node(b).numel) / r;
    if (shape(base).size() < 2 || shape(b)[0] != m) return wrong("B has other dimensions than out and rank");
    const std::int64_t rows = shape(base)[0];
    const std::int64_t width = columns(base, rows);
    const bool straight = rows == m && width == n;
    const bool turned = shape(base).size() == 2 && rows == n && width == m;
    if (!straight && !turned) return wrong("out and in are other numbers");
    const bool transposed = straight && turned ? fan_in_fan_out || pair.embedding : turned;
    const std::vector<std::int64_t> whole(shape(base).begin(), shape(base).end());
    const auto matrix = [&](std::uint32_t node, std::int64_t rows_of, std::int64_t columns_of) {
        const std::int64_t two[]{rows_of, columns_of};
        return plan.cast(plan.reshape(node, two), dtype::float32);
    };
    const std::int64_t swapped[]{1, 0};
    std::uint32_t left = matrix(b, m, r);
    std::uint32_t right = matrix(a, r, n);
    if (transposed) { // (B A)' = A' B'
        const std::uint32_t turned_b = plan.permute(left, swapped);
        left = plan.permute(right, swapped);
        right = turned_b;
    }
    const std::uint32_t product = plan.product(matrix(base, rows, width), left, right, scale);
    return plan.cast(plan.reshape(product, whole), own);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
