// ckpt/torch/rebuild.hpp: builders of tensors and parameters.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of torch._utils._rebuild_* (torch/_utils.py, torch/_tensor.py; torch 0.1 to 2.15).
// Out:     tensors, each checked once against its storage.
// Refuses: other counts or types of arguments, geometry outside the storage.
#pragma once

#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/torch/containers.hpp>
#include <ckpt/torch/storage_class.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

namespace rebuild {

/// Copies a tuple or a list of integers to an array in the arena; false for another node.
[[nodiscard]] bool read_numbers(call& c, const node& n, const std::int64_t*& out, std::uint32_t& count);

[[nodiscard]] inline bool read_flag(const node& n, bool& out) noexcept {
    if (n.kind != node_kind::boolean && (n.kind != node_kind::integer || (n.integer != 0 && n.integer != 1)))
        return false;
    out = n.integer != 0;
    return true;
}

/// Reads {'conj': True, 'neg': True}, which torch 2.0 and later write where a bit is set. False for other names, which
/// could change the meaning of the bytes.
[[nodiscard]] bool read_metadata(const graph& g, const node& n, tensor_data& t) noexcept;

[[nodiscard]] error refuse_geometry(const call& c, errc code, const tensor_data& t, std::uint64_t bytes);

/// Reads arguments 0 to 3 of all functions that rebuild plain tensors: storage, offset, size, stride.
[[nodiscard]] CKPT_DETAIL_INLINE result<void> read_strided(call& c, std::span<const std::uint32_t> args,
                                                           tensor_data& t) {
    graph& g = call_access::graph(c);
    const node& storage = g.nodes[args[0]];
    const node& offset = g.nodes[args[1]];
    if (storage.kind == node_kind::refused) return *g.errors[storage.a];
    if (storage.kind != node_kind::storage)
        return c.fail(errc::bad_arguments, "a tensor is rebuilt from something that is not a storage");
    if (offset.kind != node_kind::integer)
        return c.fail(errc::bad_arguments, "the storage offset of a tensor is not an integer");
    std::uint32_t strides = 0;
    if (!read_numbers(c, g.nodes[args[2]], t.shape, t.rank) || !read_numbers(c, g.nodes[args[3]], t.strides, strides)) {
        if (call_access::over_limit(c)) return c.over_budget();
        return c.fail(errc::bad_arguments, "the size or the stride of a tensor is not a tuple of integers");
    }
    if (strides != t.rank) return c.fail(errc::bad_arguments, "the size and the stride of a tensor differ in length");
    if ((storage.flags & node_flag::no_data) != 0) {
        t.kind = layout::meta;
        if (const errc code = check_sizes(t, call_access::rank_limit(c)); code != errc::none)
            return refuse_geometry(c, code, t, 0);
        return {};
    }
    t.storage = storage.a;
    t.storage_offset = static_cast<std::uint64_t>(offset.integer); // a negative one fails in check_geometry
    const std::uint64_t bytes = g.storages->nbytes(storage.a);
    if (const errc code = check_geometry(t, bytes, call_access::rank_limit(c)); code != errc::none)
        return refuse_geometry(c, code, t, bytes);
    return {};
}
[[nodiscard]] result<value> make_strided(call& c, std::span<const std::uint32_t> args, tensor_data& t);

[[nodiscard]] error unsupported(const call& c, std::string_view what);

/// The tensor of a node that is a tensor or a numpy array; null for other nodes.
[[nodiscard]] const tensor_data* tensor_of(const graph& g, std::uint32_t index) noexcept;

/// Copies a text to memory of the graph; empty where the budget is spent (`call_access::over_limit`).
[[nodiscard]] std::string_view keep_text(call& c, std::string_view text);

/// Makes the tensor `t` with its parts. Charges the budget for all parts below, also for shared ones again, so that
/// walks over parts stay in proportion to the file.
[[nodiscard]] result<value> make_with_parts(call& c, tensor_data& t, tensor_extra extra,
                                            std::span<const named_data> parts);

/// Keeps the attributes of a tensor that a builder made, which are a dictionary, or a pair of one and of slots.
void keep_attributes(call& c, const value& made, std::uint32_t state);

[[nodiscard]] result<value> make_variable(call& c, bool is_parameter);

} // namespace rebuild

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/rebuild.ipp>
#endif
