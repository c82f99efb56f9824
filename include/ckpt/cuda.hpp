// ckpt/cuda.hpp: a state_dict in the memory of CUDA devices.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict for one device, or a plan for several; a stream that will use the tensors.
// Out:     `device_tensors`: an owner of device memory that gives pointers by key.
// Refuses: what an upload refuses, all or nothing: a failure frees everything, after what was issued has ended.
//
// Plain C++ over <cuda_runtime_api.h>; any compiler will do, nvcc too. Conversions on the device are in
// <ckpt/cuda_kernels.cuh>. How it works, and who owns what for how long: docs/cuda.md.
#pragma once

#include <ckpt/ckpt.hpp>
#include <ckpt/dlpack.hpp>
#include <ckpt/gpu/cuda_abi.hpp>
#include <ckpt/gpu/cuda_api.hpp>
#include <ckpt/gpu/cuda_elements.hpp>
#include <ckpt/gpu/cuda_staging.hpp>
#include <ckpt/gpu/device_allocator.hpp>
#include <ckpt/gpu/engine.hpp>
#include <ckpt/gpu/upload_effort.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/gpu/upload_types.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::cuda::inline CKPT_DETAIL_CUDA_ABI {

/// How an upload is carried out.
struct upload_options {
    /// Of the target's device: `places` are written behind the work that it has, and it waits for the last copy, so
    /// that the tensors may be used in it at once. Null: the default stream of each device.
    cudaStream_t stream{};
    int device{-1};                ///< -1: the current one. Plans for several devices say it themselves
    std::vector<pattern> select{}; ///< keys that are uploaded; empty: all
    /// In which order tensors arrive: a group for each pattern, of the tensors whose keys it matches and none before it
    /// does; then all others. Empty: the order of the files.
    std::vector<pattern> order{};
    std::vector<upload_cast> casts{};
    /// Keys whose quantised tensors arrive as the numbers that they stand for: `upload_plan_options::dequantize`.
    std::vector<pattern> dequantize{};
    upload_layout layout{upload_layout::file_image};
    /// `ckpt::cuda::kernels()`: the device converts, dequantises, swaps bytes and makes strided tensors dense; null:
    /// the host does.
    const device_kernels* kernels{};
    /// How files are read. Without it: `direct` for 64 MiB and more of which the system's cache has less than half,
    /// else `buffered`.
    std::optional<upload_source> source{};
    const direct_reader* past_host{}; ///< for upload_source::gpu_direct
    /// Threads that read; 0: the calling one does. Without it: one for each core but one, 8 at most, or 16 where the
    /// host converts.
    std::optional<unsigned> readers{};
    std::optional<unsigned> slots{};                   ///< of pinned memory; without it: two for each reader, and two
    std::uint64_t piece_bytes{std::uint64_t{8} << 20}; ///< of one slot
    /// Allocates from the device's pool (cudaMallocAsync), and frees in the order of `stream`, which must then live as
    /// long as the device_tensors.
    bool stream_ordered{false};
    bool verify{false};           ///< compares the checksums of records that are read whole
    progress_callback progress{}; ///< called by the calling thread; false stops the upload
    /// Memory of the caller's, one for each target, at multiples of 256; none: the upload's own.
    std::span<const device_place> places{};
    /// For plans for several devices: as `stream`, one for each target, and in place of it; none: the default ones.
    std::span<const cudaStream_t> streams{};
    /// Gives all device memory but `places`, in place of the runtime; `stream_ordered` then has no meaning. What it is
    /// told of are the caller's streams, which live as long as the device_tensors. The table itself is copied.
    const device_allocator* allocator{};
    staging_pool* staging{}; ///< keeps the pinned memory for later uploads; null: it is pinned for each
};

/// A tensor in device memory. Borrows from its device_tensors.
struct device_tensor {
    void* data{}; ///< element 0; null for a tensor without elements
    ckpt::dtype dtype{};
    std::span<const std::int64_t> shape{};
    std::span<const std::int64_t> strides{}; ///< in elements
    int device{};
    std::uint64_t nbytes{}; ///< of its elements, each counted once, without what lies between them
    double scale{1};        ///< of one that is quantised as a whole and was not dequantised, and its zero point
    std::int64_t zero_point{};
};

class device_tensors;
class pending_upload; // of <ckpt/cuda_async.hpp>
[[nodiscard]] result<device_tensors> upload(const upload_plan& plan, const upload_options& options = {});

/// Owns what was uploaded. Moves, does not copy; the destructor waits for what is still copying.
class device_tensors {
  public:
    device_tensors(device_tensors&&) noexcept = default;
    device_tensors& operator=(device_tensors&&) noexcept = default;
    device_tensors(const device_tensors&) = delete;
    device_tensors& operator=(const device_tensors&) = delete;

    [[nodiscard]] std::size_t size() const noexcept { return plan().tensors.size(); }
    [[nodiscard]] std::size_t targets() const noexcept { return plan().targets.size(); }
    /// Keys of a target, sorted.
    [[nodiscard]] std::vector<std::string_view> keys(std::size_t target = 0) const& {
        std::vector<std::string_view> out;
        for (const std::uint32_t i : plan().targets[target].by_key) out.push_back(plan().tensors[i].key);
        return out;
    }
    std::vector<std::string_view> keys(std::size_t = 0) const&& = delete; // the memory goes with it: name it first

    /// The tensor of a key. Never waits: its data is there in the order of `upload_options::stream`, or after `wait()`.
    /// Fails with `key_missing`, or as a `wait()` that failed before.
    [[nodiscard]] result<device_tensor> at(std::string_view key, std::size_t target = 0) const& {
        auto found = find(key, target);
        if (!found) return std::move(found).failure();
        return describe(**found);
    }
    result<device_tensor> at(std::string_view, // the memory goes with it: name the upload first
                             std::size_t = 0) const&& = delete;

    /// The tensor of a key for another stream than `upload_options::stream`: what is put on `stream`, of the tensor's
    /// device, runs behind the copies and conversions of the tensor. The host does not wait. Fails as `at` does, and
    /// with the device's errors.
    [[nodiscard]] result<device_tensor> await(std::string_view key, cudaStream_t stream,
                                              std::size_t target = 0) const& {
        auto found = find(key, target);
        if (!found) return std::move(found).failure();
        if (auto ordered = memory_->follow(stream, (*found)->target); !ordered) return std::move(ordered).failure();
        return describe(**found);
    }
    result<device_tensor> await(std::string_view, cudaStream_t, // the memory goes with it: name the upload first
                                std::size_t = 0) const&& = delete;

    /// All memory of a target: the caller's, or the upload's own, which goes with it. Null where nothing was needed.
    [[nodiscard]] device_place memory(std::size_t target = 0) const& noexcept {
        const auto number = static_cast<std::uint32_t>(target);
        return {memory_->at(number).memory, static_cast<std::size_t>(plan().targets[number].bytes)};
    }
    device_place memory(std::size_t = 0) const&& = delete; // it goes with the upload: name that first

    /// The first element of a contiguous tensor of type T. Tied tensors give the same pointer.
    /// Fails with `dtype_mismatch`, with `needs_copy` where the tensor is not contiguous, and as `at` does.
    template <class T> [[nodiscard]] result<T*> data(std::string_view key, std::size_t target = 0) & {
        return typed<T>(key, target);
    }
    template <class T> [[nodiscard]] result<const T*> data(std::string_view key, std::size_t target = 0) const& {
        auto out = typed<T>(key, target);
        if (!out) return std::move(out).failure();
        return static_cast<const T*>(*out);
    }
    template <class T>
    result<const T*> data(std::string_view, // the memory goes with it: name the upload first
                          std::size_t = 0) && = delete;

    /// The tensor as other frameworks take it, read-only, without a copy; it keeps all of this device memory until its
    /// deleter is called. Its consumer works in the order of `upload_options::stream`, or after `wait()`. Fails with
    /// `dtype_mismatch` for types that DLPack does not have, and as `at` does.
    template <class Managed = dlpack_managed_tensor>
    [[nodiscard]] result<Managed*> to_dlpack(std::string_view key, std::size_t target = 0) const {
        const auto found = find(key, target);
        if (!found) return found.error();
        const detail::placed_tensor& t = **found;
        return detail::make_dlpack<Managed>({memory_->address(t),
                                             t.type,
                                             {t.shape, t.rank},
                                             {t.strides, t.rank},
                                             {detail::dlpack_cuda, memory_->at(t.target).device},
                                             true,
                                             memory_});
    }

    /// Waits for the copies, and frees what only they needed. A failure stays: nothing is given out afterwards.
    [[nodiscard]] result<void> wait() { return memory_->wait(); }
    [[nodiscard]] const upload_report& report() const noexcept { return memory_->report; }

  private:
    friend result<device_tensors> upload(const upload_plan& plan, const upload_options& options);
    friend class pending_upload;
    explicit device_tensors(detail::shared<detail::device_memory<detail::cuda_api>> memory) noexcept
        : memory_{std::move(memory)} {}
    [[nodiscard]] const detail::upload_plan_data& plan() const noexcept { return memory_->plan(); }
    [[nodiscard]] result<const detail::placed_tensor*> find(std::string_view key, std::size_t target) const {
        if (memory_->failure()) return *memory_->failure();
        return detail::find_placed(plan(), key, target);
    }
    [[nodiscard]] device_tensor describe(const detail::placed_tensor& t) const noexcept {
        device_tensor out{t.nbytes != 0 ? memory_->address(t) : nullptr,
                          t.type,
                          {t.shape, t.rank},
                          {t.strides, t.rank},
                          memory_->at(t.target).device,
                          detail::bytes_of(t.type, t.numel)};
        if (t.quantised != nullptr) {
            out.scale = t.quantised->scale;
            out.zero_point = t.quantised->zero_point;
        }
        return out;
    }
    template <class T> [[nodiscard]] result<T*> typed(std::string_view key, std::size_t target) const {
        static_assert(element<T>, "ckpt: this is no element type of a tensor (dtype_of does not know it)");
        auto found = find(key, target);
        if (!found) return std::move(found).failure();
        const detail::placed_tensor& t = **found;
        if (auto plain = detail::check_array_of(t, key, dtype_of<T>::value); !plain) return std::move(plain).failure();
        return t.nbytes != 0 ? reinterpret_cast<T*>(memory_->address(t)) : static_cast<T*>(nullptr);
    }

    detail::shared<detail::device_memory<detail::cuda_api>> memory_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::cuda::inline CKPT_DETAIL_CUDA_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail::inline CKPT_DETAIL_CUDA_ABI {

/// An upload as the engine takes it. Borrows from the options.
struct cuda_call {
    cuda_api api{};
    engine_options how{};
    std::vector<cudaStream_t> streams{}; ///< one for each target
    shared<kept_rings<cuda_api>> kept{}; ///< null without a staging_pool
};

/// Fails where the streams of the options do not fit the targets of the plan.
[[nodiscard]] inline result<cuda_call> make_call(const upload_plan& plan, const cuda::upload_options& options) {
    cuda_call out{.api = {options.stream_ordered}, .streams = {options.streams.begin(), options.streams.end()}};
    const upload_effort effort = choose_effort(*upload_plan_access::data(plan),
                                               {options.source, options.readers, options.slots}, usable_cores());
    out.how.source = effort.source;
    out.how.readers = effort.readers;
    out.how.slots = effort.slots;
    out.how.verify = options.verify;
    out.how.progress = options.progress;
    out.how.past_host = options.past_host;
    out.how.places = options.places;
    out.how.allocator = options.allocator;
    if (options.staging != nullptr) out.kept = cuda::staging_access::rings(*options.staging);
    bool fits = out.streams.empty() || out.streams.size() == plan.targets();
    for (std::size_t t = 0; out.streams.empty() && t < plan.targets(); ++t)
        fits = fits && (options.stream == nullptr || plan.device(t) == plan.device(0));
    if (!fits) {
        error e = out.api.failure(device_call::order, cudaErrorInvalidResourceHandle);
        e.detail += str_cat("; ", out.streams.size(), " of `streams` for ", plan.targets(), " targets");
        e.hint = "a stream is for targets of its own device: `streams` has one for each target";
        return e;
    }
    if (out.streams.empty()) out.streams.assign(plan.targets(), options.stream);
    return out;
}

/// The plan for one device that the options say.
[[nodiscard]] inline result<upload_plan> plan_call(const state_dict& weights, const cuda::upload_options& options) {
    int device = options.device;
    if (device < 0)
        if (const int code = cudaGetDevice(&device); code != 0)
            return cuda_api{}.failure(device_call::current_device, code);
    return plan_upload(weights,
                       {.select = options.select,
                        .order = options.order,
                        .casts = options.casts,
                        .dequantize = options.dequantize,
                        .layout = options.layout,
                        .piece_bytes = options.piece_bytes,
                        .kernels = options.kernels},
                       device);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::inline CKPT_DETAIL_CUDA_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::cuda::inline CKPT_DETAIL_CUDA_ABI {

/// Carries out a plan, which may be for several devices. Returns when the files are read: copies may go on,
/// `options.stream` waits for them, and so does `wait()`. The device that was current stays so. `select`, `order`,
/// `casts`, `dequantize`, `layout`, `kernels`, `piece_bytes` and `device` are the plan's. Fails with `device_memory`,
/// `device_lost`, `no_device`, `device_failed`, `truncated`, `read_failed`, `checksum_mismatch`, `conversion`,
/// `cancelled`.
[[nodiscard]] inline result<device_tensors> upload(const upload_plan& plan, const upload_options& options) {
    const auto call = detail::make_call(plan, options);
    if (!call) return call.error();
    auto memory =
        detail::upload_beside(call->api, plan, call->how, std::span<const cudaStream_t>{call->streams}, call->kept);
    if (!memory) return std::move(memory).failure();
    return device_tensors{*std::move(memory)};
}

/// Uploads a state_dict to one device.
[[nodiscard]] inline result<device_tensors> upload(const state_dict& weights, const upload_options& options = {}) {
    const auto plan = detail::plan_call(weights, options);
    if (!plan) return plan.error();
    return upload(*plan, options);
}

/// Copies a strided tensor to dense elements in row-major order, by a kernel on `stream`, in whose order both sides are
/// used. `out`: memory of the tensor's device for all elements. Nothing is waited for. Fails with `packed` where a byte
/// holds several elements, and with the device's errors.
[[nodiscard]] inline result<void> contiguous(void* out, const device_tensor& from, const device_kernels* kernels,
                                             cudaStream_t stream = {}) {
    const detail::cuda_api api{};
    if (bits(from.dtype) < 8) return detail::packed_error(from.dtype);
    detail::device_scope<detail::cuda_api> scope{api};
    if (scope.failure() != 0) return api.failure(device_call::current_device, scope.failure());
    if (const int code = scope.use(from.device); code != 0) return api.failure(device_call::use_device, code);
    const int code =
        kernels->gather(out, from.data, itemsize(from.dtype), static_cast<std::uint32_t>(from.shape.size()),
                        from.shape.data(), from.strides.data(), 0, stream);
    if (code != 0) return api.failure(device_call::convert, code);
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::cuda::inline CKPT_DETAIL_CUDA_ABI
