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
    int allocate(void*& out, std::size_t bytes, stream) const noexcept {
        // The block before the memory remembers how large it is.
        void* const block =
            bytes <= ~std::size_t{0} - page_bytes ? file_system::take_pages(bytes + page_bytes) : nullptr;
        if (block == nullptr) return 1;
        const std::size_t whole = bytes + page_bytes;
        std::memcpy(block, &whole, sizeof whole);
        out = static_cast<std::byte*>(block) + page_bytes;
        return 0;
    }
    int release(void* memory, stream) const noexcept {
        void* const block = static_cast<std::byte*>(memory) - page_bytes;
        std::size_t whole{};
        std::memcpy(&whole, block, sizeof whole);
        file_system::give_pages(block, whole);
        return 0;
    }
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
    explicit loaded_storages(shared<device_memory<host_api>> memory)
        : memory_{std::move(memory)}, blocks_(memory_->plan().storages) {
        for (const placed_tensor& t : memory_->plan().tensors) {
            block& b = blocks_[t.storage];
            if (t.nbytes == 0) continue;
            if (b.begin == b.end) b = {t.offset, t.offset + t.nbytes};
            b = {(std::min)(b.begin, t.offset), (std::max)(b.end, t.offset + t.nbytes)};
        }
    }
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
                                    std::span<std::byte> out) const override {
        if (!out.empty()) std::memcpy(out.data(), base(storage) + offset, out.size());
        return {};
    }

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
[[nodiscard]] inline result<loaded> load(const state_dict& weights, const load_options& options = {}) {
    auto plan = plan_upload(weights, options.plan);
    if (!plan) return std::move(plan).error();
    detail::engine_options how;
    how.source = options.source;
    how.readers = options.readers;
    how.verify = options.verify;
    how.progress = options.progress;
    auto memory = detail::run_upload(detail::host_api{}, *plan, how);
    if (!memory) return std::move(memory).error();

    auto out = detail::make_shared<detail::state_dict_data>();
    const auto& from = *detail::state_dict_access::data(weights);
    const auto storages = detail::make_shared<detail::loaded_storages>(*memory);
    out->path = from.path;
    out->file = *memory; // the plan, where shapes are
    out->storages = storages;
    out->source = storages.get();
    for (const detail::placed_tensor& t : (*memory)->plan().tensors) {
        char* const key = out->memory.allocate<char>(t.key.size() + 1);
        std::memcpy(key, t.key.data(), t.key.size());
        auto* data = ::new (out->memory.allocate(sizeof(detail::tensor_data), alignof(detail::tensor_data)))
            detail::tensor_data{};
        data->type = t.type;
        data->rank = t.rank;
        data->shape = t.shape;
        data->strides = t.strides;
        data->numel = t.numel;
        data->storage = t.storage;
        data->extra = t.quantised;
        if (t.nbytes != 0) data->storage_offset = storages->offset(t) * 8 / bits(t.type);
        out->entries.push_back({{key, t.key.size()}, data});
    }
    out->sort_keys();
    upload_report report = (*memory)->report;
    return loaded{state_dict{std::move(out)}, std::move(report)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::host
