// ckpt/impl/dlpack.ipp: the definitions of dlpack.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/dlpack.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/torch/checkpoint_file.hpp>

#include <cstddef>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF dlpack_owner dlpack_owner_of(const state_dict& owner) {
    const auto& data = state_dict_access::data(owner);
    return {data->source, data};
}

CKPT_DETAIL_DEF dlpack_owner dlpack_owner_of(const checkpoint& owner) {
    const auto& file = checkpoint_access::file(owner);
    return {&file->storages(), file};
}

CKPT_DETAIL_DEF result<dlpack_type> dlpack_type_of(dtype type) {
    const auto width = static_cast<std::uint8_t>(bits(type));
    const auto named = [width](std::uint8_t code) { return dlpack_type{code, width, 1}; };
    switch (type) {
    case dtype::int8:
    case dtype::int16:
    case dtype::int32:
    case dtype::int64: return named(0);
    case dtype::uint8:
    case dtype::uint16:
    case dtype::uint32:
    case dtype::uint64: return named(1);
    case dtype::float16:
    case dtype::float32:
    case dtype::float64: return named(2);
    case dtype::bfloat16: return named(4);
    case dtype::complex32:
    case dtype::complex64:
    case dtype::complex128: return named(5);
    case dtype::bool_: return named(6);
    case dtype::float8_e4m3fn: return named(10);
    case dtype::float8_e4m3fnuz: return named(11);
    case dtype::float8_e5m2: return named(12);
    case dtype::float8_e5m2fnuz: return named(13);
    case dtype::float8_e8m0fnu: return named(14);
    case dtype::float4_e2m1fn_x2: return dlpack_type{17, 4, 2}; // the shape counts pairs
    default:
        return error{.code = errc::dtype_mismatch,
                     .detail = str_cat("DLPack has no type for ", name(type)),
                     .hint = "copy_to gives the elements as the integers that they are stored as"};
    }
}

CKPT_DETAIL_DEF result<dlpack_content> host_content(const tensor& t, dlpack_owner owner) {
    const storage_source* source = tensor_access::source(t);
    const tensor_data* const handle = tensor_access::data(t);
    if (auto usable = check_access(handle, source); !usable) return std::move(usable).failure();
    if (source != owner.storages)
        return error{.code = errc::key_missing,
                     .detail = "the tensor does not belong to the owner that is to keep it alive"};
    const tensor_data& own = *handle;
    tensor_data data = own;
    if (data.type == dtype::float4_e2m1fn_x2) data.type = dtype::uint8; // DLPack can say that a byte holds two
    auto at = view_address(&data, source, data.type, data.rank);
    if (!at) return std::move(at).failure();
    const std::size_t alignment = info(own.type).component_bytes;
    if (reinterpret_cast<std::uintptr_t>(*at) % alignment != 0) return misaligned_error(own.type, alignment);
    return dlpack_content{*at, own.type, own.sizes(), own.steps(), {dlpack_cpu, 0}, true, std::move(owner.keeps)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
