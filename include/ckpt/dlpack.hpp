// ckpt/dlpack.hpp: tensors for other frameworks, without a copy.
//
// SPDX-License-Identifier: MIT
// In:      a tensor in memory and the state_dict or checkpoint that it borrows from.
// Out:     a DLManagedTensorVersioned (DLPack 1.1) that keeps the file open until its deleter is called.
// Refuses: what `tensor::view` refuses: elements that are not in memory, not aligned, not in this machine's byte order,
//          negated or conjugated lazily; types that DLPack has no code for.
//
// Includes no header of DLPack. A program that includes <dlpack/dlpack.h>, before or after this header, names its type:
//
//     auto exported = ckpt::to_dlpack<DLManagedTensorVersioned>(tensor, weights);
//
// Other programs get the type below, which has the same members and layout, and pass it on as a pointer. `data` is the
// first element and `byte_offset` 0, as in PyTorch: `data` has the alignment of the file (usually 64 bytes), not 256.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// DLDataType: the type of an element.
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

/// DLManagedTensorVersioned. Its last user calls `deleter(self)`, once, from any thread.
struct dlpack_managed_tensor {
    dlpack_version version{};
    void* manager_ctx{};
    void (*deleter)(dlpack_managed_tensor* self){};
    std::uint64_t flags{};
    dlpack_tensor dl_tensor{};
};

namespace detail {

class storage_source;

inline constexpr std::int32_t dlpack_cpu = 1;
inline constexpr std::int32_t dlpack_cuda = 2;

/// What a consumer gets, before it has a type. `shape` and `strides` are copied when it is exported.
struct dlpack_content {
    const void* data{}; ///< the first element, on whichever device
    dtype type{};
    std::span<const std::int64_t> shape{};
    std::span<const std::int64_t> strides{}; ///< in elements
    dlpack_device device{};
    bool read_only{};
    shared<counted> owner{}; ///< of the elements
};

/// The storages that belong to an owner, and what keeps them open.
struct dlpack_owner {
    const storage_source* storages{};
    shared<counted> keeps{};
};
[[nodiscard]] dlpack_owner dlpack_owner_of(const state_dict& owner);
[[nodiscard]] dlpack_owner dlpack_owner_of(const checkpoint& owner);

/// The type as DLPack names it. Fails with `dtype_mismatch` where it has no name.
[[nodiscard]] result<dlpack_type> dlpack_type_of(dtype type);
/// A tensor in the memory of the host.
[[nodiscard]] result<dlpack_content> host_content(const tensor& t, dlpack_owner owner);

/// What the consumer holds, and what it keeps alive.
template <class Managed> struct dlpack_export {
    Managed managed{};
    shared<counted> owner{};
    std::vector<std::int64_t> sizes{}; // the shape, then the strides

    static void destroy(Managed* self) noexcept { delete static_cast<dlpack_export*>(self->manager_ctx); }
};

template <class Managed> [[nodiscard]] result<Managed*> make_dlpack(dlpack_content content) {
    const result<dlpack_type> element = dlpack_type_of(content.type);
    if (!element) return element.error();
    bool empty = false;
    for (const std::int64_t size : content.shape) empty = empty || size == 0;
    auto* out = new dlpack_export<Managed>;
    out->owner = std::move(content.owner);
    out->sizes.reserve(content.shape.size() + content.strides.size());
    out->sizes.insert(out->sizes.end(), content.shape.begin(), content.shape.end());
    out->sizes.insert(out->sizes.end(), content.strides.begin(), content.strides.end());
    Managed& managed = out->managed;
    managed.version.major = 1;
    managed.version.minor = 1;
    managed.manager_ctx = out;
    managed.deleter = &dlpack_export<Managed>::destroy;
    managed.flags = content.read_only ? 1 : 0;
    auto& tensor = managed.dl_tensor;
    tensor.data = empty ? nullptr : const_cast<void*>(content.data);
    tensor.device.device_type = static_cast<decltype(tensor.device.device_type)>(content.device.device_type);
    tensor.device.device_id = content.device.device_id;
    tensor.ndim = static_cast<std::int32_t>(content.shape.size());
    tensor.dtype.code = element->code;
    tensor.dtype.bits = element->bits;
    tensor.dtype.lanes = element->lanes;
    tensor.shape = out->sizes.data();
    tensor.strides = out->sizes.data() + content.shape.size();
    tensor.byte_offset = 0;
    return &managed;
}

template <class Managed> [[nodiscard]] result<Managed*> host_dlpack(const tensor& t, dlpack_owner owner) {
    auto content = host_content(t, std::move(owner));
    if (!content) return std::move(content).failure();
    return make_dlpack<Managed>(*std::move(content));
}

} // namespace detail

/// Exports a tensor for other frameworks, read-only, without a copy; it keeps the file of `owner` open. The caller, or
/// the framework that takes it, calls its deleter. Bytes of bools are those of the file, which may be other than 0 and
/// 1. Fails as `tensor::view` does; with `dtype_mismatch` for quantised and opaque types and bcomplex32; with
/// `key_missing` where the tensor is not one of the owner's.
template <class Managed = dlpack_managed_tensor>
[[nodiscard]] result<Managed*> to_dlpack(const tensor& t, const state_dict& owner) {
    return detail::host_dlpack<Managed>(t, detail::dlpack_owner_of(owner));
}

/// The same for a tensor from a value of the checkpoint.
template <class Managed = dlpack_managed_tensor>
[[nodiscard]] result<Managed*> to_dlpack(const tensor& t, const checkpoint& owner) {
    return detail::host_dlpack<Managed>(t, detail::dlpack_owner_of(owner));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/dlpack.ipp>
#endif
