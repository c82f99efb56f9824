// ckpt/dlpack.hpp: tensors for other frameworks, without a copy.
//
// SPDX-License-Identifier: MIT
// In:      a tensor in memory and the state_dict or checkpoint that it borrows from.
// Out:     a DLManagedTensorVersioned (DLPack 1.1) that keeps the file open until its deleter is called.
// Refuses: what `tensor::view` refuses: elements that are not in memory, not aligned, not in this machine's byte order,
//          negated or conjugated lazily; types that DLPack has no code for.
//
// Nothing of DLPack is included. Whoever includes <dlpack/dlpack.h>, before or after this header, asks for its type:
//
//     auto exported = ckpt::to_dlpack<DLManagedTensorVersioned>(tensor, weights);
//
// and others get one of ours with the same names and the same bytes, to be passed on as a pointer. `data` is the first
// element and `byte_offset` 0, as PyTorch does it: `data` is as aligned as the file has it (mostly 64 bytes), not 256.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// DLDataType: what an element is.
struct dlpack_type {
    std::uint8_t code{};
    std::uint8_t bits{};
    std::uint16_t lanes{};
};

/// DLDevice: 1 is the CPU, 2 CUDA.
struct dlpack_device {
    std::int32_t device_type{};
    std::int32_t device_id{};
};

/// DLPackVersion.
struct dlpack_version {
    std::uint32_t major{};
    std::uint32_t minor{};
};

/// DLTensor. Strides are in elements.
struct dlpack_tensor {
    void* data{};
    dlpack_device device{};
    std::int32_t ndim{};
    dlpack_type dtype{};
    std::int64_t* shape{};
    std::int64_t* strides{};
    std::uint64_t byte_offset{};
};

/// DLManagedTensorVersioned. Whoever is done with it calls `deleter(self)`, once, from any thread.
struct dlpack_managed_tensor {
    dlpack_version version{};
    void* manager_ctx{};
    void (*deleter)(dlpack_managed_tensor* self){};
    std::uint64_t flags{};
    dlpack_tensor dl_tensor{};
};

namespace detail {

/// The type as DLPack names it; 0 bits where it has no name.
[[nodiscard]] constexpr dlpack_type dlpack_type_of(dtype type) noexcept {
    const auto width = static_cast<std::uint8_t>(bits(type));
    switch (type) {
    case dtype::int8:
    case dtype::int16:
    case dtype::int32:
    case dtype::int64: return {0, width, 1};
    case dtype::uint8:
    case dtype::uint16:
    case dtype::uint32:
    case dtype::uint64: return {1, width, 1};
    case dtype::float16:
    case dtype::float32:
    case dtype::float64: return {2, width, 1};
    case dtype::bfloat16: return {4, width, 1};
    case dtype::complex32:
    case dtype::complex64:
    case dtype::complex128: return {5, width, 1};
    case dtype::bool_: return {6, width, 1};
    case dtype::float8_e4m3fn: return {10, width, 1};
    case dtype::float8_e4m3fnuz: return {11, width, 1};
    case dtype::float8_e5m2: return {12, width, 1};
    case dtype::float8_e5m2fnuz: return {13, width, 1};
    case dtype::float8_e8m0fnu: return {14, width, 1};
    case dtype::float4_e2m1fn_x2: return {17, 4, 2}; // the shape counts pairs
    default: return {};
    }
}

[[nodiscard]] error no_dlpack_type(dtype type);

inline constexpr std::int32_t dlpack_cpu = 1;
inline constexpr std::int32_t dlpack_cuda = 2;

/// What the consumer holds, and what it keeps alive.
template <class Managed> struct dlpack_export {
    Managed managed{};
    shared<counted> owner{};
    std::vector<std::int64_t> sizes{}; // the shape, then the strides

    static void destroy(Managed* self) noexcept { delete static_cast<dlpack_export*>(self->manager_ctx); }
};

/// A managed tensor over elements that `owner` keeps. `data` is its first element, on whichever device.
template <class Managed>
[[nodiscard]] result<Managed*> make_dlpack(const void* data, dtype type, std::span<const std::int64_t> shape,
                                           std::span<const std::int64_t> strides, dlpack_device device, bool read_only,
                                           shared<counted> owner) {
    const dlpack_type element = dlpack_type_of(type);
    if (element.bits == 0) return no_dlpack_type(type);
    bool empty = false;
    for (const std::int64_t size : shape) empty = empty || size == 0;
    auto* out = new dlpack_export<Managed>;
    out->owner = std::move(owner);
    out->sizes.reserve(shape.size() + strides.size());
    out->sizes.insert(out->sizes.end(), shape.begin(), shape.end());
    out->sizes.insert(out->sizes.end(), strides.begin(), strides.end());
    Managed& managed = out->managed;
    managed.version.major = 1;
    managed.version.minor = 1;
    managed.manager_ctx = out;
    managed.deleter = &dlpack_export<Managed>::destroy;
    managed.flags = read_only ? 1 : 0;
    auto& tensor = managed.dl_tensor;
    tensor.data = empty ? nullptr : const_cast<void*>(data);
    tensor.device.device_type = static_cast<decltype(tensor.device.device_type)>(device.device_type);
    tensor.device.device_id = device.device_id;
    tensor.ndim = static_cast<std::int32_t>(shape.size());
    tensor.dtype.code = element.code;
    tensor.dtype.bits = element.bits;
    tensor.dtype.lanes = element.lanes;
    tensor.shape = out->sizes.data();
    tensor.strides = out->sizes.data() + shape.size();
    tensor.byte_offset = 0;
    return &managed;
}

/// The same for a tensor in the memory of the host. `from` is what `owner` keeps alive.
template <class Managed>
[[nodiscard]] result<Managed*> host_dlpack(const tensor& t, const storage_source* from, shared<counted> owner) {
    const storage_source* source = tensor_access::source(t);
    if (auto usable = check_access(tensor_access::data(t), source); !usable) return std::move(usable).error();
    if (source != from)
        return error{.code = errc::key_missing,
                     .detail = "the tensor does not belong to the owner that is to keep it alive"};
    tensor_data data = *tensor_access::data(t);
    const dtype type = data.type;
    if (type == dtype::float4_e2m1fn_x2) data.type = dtype::uint8; // DLPack can say that a byte holds two
    auto at = view_address(&data, source, data.type, data.rank);
    if (!at) return std::move(at).error();
    const std::size_t alignment = info(type).component_bytes;
    if (reinterpret_cast<std::uintptr_t>(*at) % alignment != 0) return misaligned_error(type, alignment);
    return make_dlpack<Managed>(*at, type, data.sizes(), data.steps(), {dlpack_cpu, 0}, true, std::move(owner));
}

} // namespace detail

/// The tensor as other frameworks take it, read-only, without a copy; it keeps the file of `owner` open. The caller, or
/// whoever gets it from there, calls its deleter. Bytes of bools are what the file has, which need not be 0 and 1.
/// Fails as `tensor::view` does; with `dtype_mismatch` for quantised and opaque types and bcomplex32; with
/// `key_missing` where the tensor is not one of the owner's.
template <class Managed = dlpack_managed_tensor>
[[nodiscard]] result<Managed*> to_dlpack(const tensor& t, const state_dict& owner) {
    const auto& data = detail::state_dict_access::data(owner);
    return detail::host_dlpack<Managed>(t, data->source, data);
}

/// The same for a tensor that was found in the checkpoint itself.
template <class Managed = dlpack_managed_tensor>
[[nodiscard]] result<Managed*> to_dlpack(const tensor& t, const checkpoint& owner) {
    const auto& file = detail::checkpoint_access::file(owner);
    return detail::host_dlpack<Managed>(t, &file->storages(), file);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/dlpack.ipp>
#endif
