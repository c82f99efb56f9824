// ckpt/cuda_async.hpp: an upload to CUDA devices that goes on while the program works with what is there already.
//
// SPDX-License-Identifier: MIT
// In:      what `ckpt::cuda::upload` takes; `upload_options::order` says what is needed first.
// Out:     `pending_upload`: tensors as they arrive, and in the end `device_tensors`.
// Refuses: what an upload refuses. Then nothing more arrives, and what had arrived stays until the pending_upload goes.
//
// A thread of its own allocates, pins, reads and issues the copies. docs/cuda.md has a loop over the layers of a model.
#pragma once

#include <ckpt/cuda.hpp>
#include <ckpt/gpu/upload_run.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::cuda::inline CKPT_DETAIL_CUDA_ABI {

[[nodiscard]] result<pending_upload> start_upload(const upload_plan& plan, const upload_options& options = {});

/// An upload that goes on. Moves, does not copy. The destructor stops it, waits for its end, and frees what `get` did
/// not give out. `await`, `cancel` and `is_done` may be called by several threads; `get`, moves and the destructor by
/// one at a time. One that was moved from may only be assigned to or destroyed.
class pending_upload {
  public:
    pending_upload(pending_upload&&) noexcept = default;
    pending_upload& operator=(pending_upload&&) noexcept = default;
    pending_upload(const pending_upload&) = delete;
    pending_upload& operator=(const pending_upload&) = delete;

    /// The tensor of a key, for `stream`, of the tensor's device: blocks until the last of its copies was issued, not
    /// until it is done; what is put on `stream` afterwards runs behind it. The pointer stays valid as long as the
    /// device_tensors that `get` gives; without them, as long as this. Checksums are compared when all is read.
    /// Fails with `key_missing` at once, with the device's errors, with `no_data` after `get`; and as the upload, where
    /// it has failed.
    [[nodiscard]] result<device_tensor> await(std::string_view key, cudaStream_t stream,
                                              std::size_t target = 0) const& {
        const auto found = detail::find_placed(run_->plan(), key, target);
        if (!found) return found.error();
        auto memory = run_->await(**found, stream);
        if (!memory) return std::move(memory).failure();
        return device_tensors{*std::move(memory)}.describe(**found);
    }
    result<device_tensor> await(std::string_view, cudaStream_t, // the memory goes with it: name the upload first
                                std::size_t = 0) const&& = delete;

    /// Asks the upload to end with `cancelled`, after the piece in hand. One that has ended stays as it is.
    void cancel() const { run_->cancel(); }
    /// Whether `get` would return at once.
    [[nodiscard]] bool is_done() const { return run_->has_ended(); }
    /// Waits until everything is read and issued, and gives what `upload` would have returned; what the upload threw is
    /// thrown. A second call fails with `no_data`.
    [[nodiscard]] result<device_tensors> get() {
        auto memory = run_->get();
        if (!memory) return std::move(memory).failure();
        return device_tensors{*std::move(memory)};
    }

  private:
    friend result<pending_upload> start_upload(const upload_plan& plan, const upload_options& options);
    explicit pending_upload(detail::shared<detail::upload_run<detail::cuda_api>> run) noexcept : run_{std::move(run)} {}

    detail::shared<detail::upload_run<detail::cuda_api>> run_;
};

/// As `upload`, but returns at once. `options.places`, `options.streams` and the table of `options.allocator` are
/// copied; streams, memory of the caller's, `past_host` and the object of `progress`, which the upload's thread calls,
/// must exist until `get` or the destructor has returned. Fails at once with `limit` where the system starts no thread,
/// and with `device_failed` for a null stream where each thread has one of its own. All other failures are those of
/// `get`.
[[nodiscard]] inline result<pending_upload> start_upload(const upload_plan& plan, const upload_options& options) {
    const auto call = detail::make_call(plan, options);
    if (!call) return call.error();
    auto run = detail::upload_run<detail::cuda_api>::start(call->api, plan, call->how,
                                                           std::span<const cudaStream_t>{call->streams}, call->kept);
    if (!run) return std::move(run).failure();
    return pending_upload{*std::move(run)};
}

/// The same for one device. The plan is made before it returns, so that its errors come at once.
[[nodiscard]] inline result<pending_upload> start_upload(const state_dict& weights,
                                                         const upload_options& options = {}) {
    const auto plan = detail::plan_call(weights, options);
    if (!plan) return plan.error();
    return start_upload(*plan, options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::cuda::inline CKPT_DETAIL_CUDA_ABI
