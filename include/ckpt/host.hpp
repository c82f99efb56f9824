// ckpt/host.hpp: a whole state_dict in one aligned block of memory, read in parallel.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, or an upload plan for one device; casts, which keys, how files are read.
// Out:     a state_dict whose tensors lie in memory of their own, in this machine's byte order, ready for views.
// Refuses: what an upload refuses, all or nothing.
//
// This is the upload engine on a device whose memory is the host's: what a file holds is read straight to its place.
#pragma once

#include <ckpt/ckpt.hpp>
#include <ckpt/gpu/engine.hpp>
#include <ckpt/io/pages.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::host {

struct load_options {
    upload_plan_options plan{};
    upload_source source{upload_source::buffered}; ///< buffered or direct
    unsigned readers{2};                           ///< threads beside the caller's; 0: none
    bool verify{false};                            ///< compares the checksums of records that are read whole
    progress_callback progress{};
};

/// What was loaded, and how.
struct loaded {
    state_dict weights;
    upload_report report{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::host

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The host as a device. Nothing is asynchronous.
struct host_api {
    static constexpr bool is_host = true;
    struct stream {};
    struct event {};

    int current_device(int& device) const noexcept { return device = 0; }
    int use_device(int) const noexcept { return 0; }
    int allocate(void*& out, std::size_t bytes, stream) const noexcept;
    int release(void* memory, stream) const noexcept;
    int pin(void*, std::size_t, bool) const noexcept { return 0; }
    int unpin(void*) const noexcept { return 0; }
    int make_stream(stream&) const noexcept { return 0; }
    int drop_stream(stream) const noexcept { return 0; }
    int make_event(event&) const noexcept { return 0; }
    int drop_event(event) const noexcept { return 0; }
    int record(event, stream) const noexcept { return 0; }
    int wait_event(event) const noexcept { return 0; }
    int order(stream, event) const noexcept { return 0; }
    int synchronise(stream) const noexcept { return 0; }
    int copy(std::span<const device_copy>, stream) const noexcept { return 0; }
    void* native(stream) const noexcept { return nullptr; }
    [[nodiscard]] error failure(device_call, int) const {
        return {.code = errc::device_memory, .detail = "the system has not enough memory"};
    }
};
static_assert(device_api<host_api>);

/// The tensors of a plan in the host's memory.
class loaded_storages final : public storage_source {
  public:
    explicit loaded_storages(shared<device_memory<host_api>> memory);
    [[nodiscard]] std::uint64_t offset(const placed_tensor& t) const noexcept {
        return t.offset - blocks_[t.storage].begin;
    }

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        return blocks_[storage].end - blocks_[storage].begin;
    }
    [[nodiscard]] byte_order order(std::uint32_t) const noexcept override { return native_order(); }
    [[nodiscard]] std::string_view key(std::uint32_t) const noexcept override { return {}; }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t) const override {
        return error{.code = errc::no_data, .detail = "the storage is a copy in memory, without a place in the file"};
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        return std::span<const std::byte>{base(storage), static_cast<std::size_t>(nbytes(storage))};
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset,
                                    std::span<std::byte> out) const override;

  private:
    struct block {
        std::uint64_t begin{};
        std::uint64_t end{};
    };
    [[nodiscard]] const std::byte* base(std::uint32_t storage) const noexcept {
        return static_cast<const std::byte*>(memory_->at(0).memory) + blocks_[storage].begin;
    }

    shared<device_memory<host_api>> memory_;
    std::vector<block> blocks_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI::host {

/// Reads the tensors of `weights` into one block of memory, which the result holds; the file is not needed any more.
/// Keys stand in their order. Tensors with parts become their parts; entries that are no tensors are left out.
/// Fails as `plan_upload` does, with `device_memory` where the memory is not there, `checksum_mismatch`, `truncated`,
/// `upload_cancelled`.
[[nodiscard]] result<loaded> load(const state_dict& weights, const load_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI::host

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/host.ipp>
#endif
