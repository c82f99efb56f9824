// ckpt/gpu/upload_plan.hpp: what an upload reads, in which order, and where each byte of it goes.
//
// SPDX-License-Identifier: MIT
// In:      state_dicts, and for which device each is meant; a layout, casts, a size of pieces.
// Out:     `upload_plan`: what is read, each byte once and in the order of the file; what the host builds; the place of
//          each tensor in its device's memory. It can be printed, and says what it would cost.
// Refuses: tensors that have no values, casts that do not exist, sizes that 64 bits cannot count.
//
// Planning reads the headers of the records that are used, and nothing else. It asks no device. A plan keeps its files
// open. `ckpt::cuda::upload` carries plans out; how plans are made is told in gpu/plan_data.hpp.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/gpu/upload_types.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Rates of a machine, in bytes for each second: measured, or of its data sheet.
struct upload_rates {
    double disk{3e9};    ///< where the file comes from: 2e9 to 14e9 for one NVMe disk, more from the page cache
    double copy{8e9};    ///< one core copying from the page cache
    unsigned readers{2}; ///< cores that do so
    double link{25e9};   ///< to each device: 25e9 for PCIe 4, 55e9 for PCIe 5, 16 lanes each
    double issue{5e-6};  ///< seconds for each copy that is issued
};

/// What an upload would take by a simple model: the slowest stage, and what fills and drains the others.
struct upload_estimate {
    double seconds{};
    std::string_view bound{}; ///< "disk", "host" or "link": the stage that decides
};

namespace detail {
struct upload_plan_data;
struct upload_plan_access;
} // namespace detail

/// A cheap handle to an immutable plan; copies share it. A plan that was moved from may only be assigned to or
/// destroyed.
class upload_plan {
  public:
    /// One tensor of the plan. Borrows from the plan.
    struct tensor {
        std::string_view key{};
        ckpt::dtype dtype{};
        std::span<const std::int64_t> shape{};
        std::span<const std::int64_t> strides{}; ///< in elements; the file's where the way is `stored`
        std::uint32_t target{};                  ///< index of its target
        std::uint64_t offset{};                  ///< of its first element, in the target's memory
        upload_way way{};
    };
    /// Bytes that are read behind one another. Borrows from the plan.
    struct run {
        std::string_view file{}; ///< its name in the folder; empty where there is one file only
        bool in_memory{};        ///< `offset` is then an address
        std::uint64_t offset{};
        std::uint64_t bytes{};
    };

    upload_plan(const upload_plan& other) noexcept;
    upload_plan(upload_plan&& other) noexcept;
    upload_plan& operator=(const upload_plan& other) noexcept;
    upload_plan& operator=(upload_plan&& other) noexcept;
    ~upload_plan();

    /// Tensors of all targets together. Those of one target stand in the order of its state_dict.
    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] tensor operator[](std::size_t i) const& noexcept;
    tensor operator[](std::size_t) const&& = delete;
    /// What is read of files and of memory, in the order in which it is read.
    [[nodiscard]] std::vector<run> runs() const&;
    std::vector<run> runs() const&& = delete;

    [[nodiscard]] std::size_t targets() const noexcept;
    [[nodiscard]] int device(std::size_t target) const noexcept;
    /// Bytes of device memory that a target needs.
    [[nodiscard]] std::uint64_t device_bytes(std::size_t target) const noexcept;
    /// Bytes that it needs beside them for conversions, while the upload runs.
    [[nodiscard]] std::uint64_t scratch_bytes(std::size_t target) const noexcept;
    /// Bytes that are read as they lie in files or memory, each once.
    [[nodiscard]] std::uint64_t read_bytes() const noexcept;
    /// Bytes that the host builds beside them.
    [[nodiscard]] std::uint64_t built_bytes() const noexcept;
    /// Parts of at most `piece_bytes` that are staged at once.
    [[nodiscard]] std::size_t pieces() const noexcept;
    /// Copies to devices that are issued.
    [[nodiscard]] std::size_t copies() const noexcept;

    /// The model of docs/cuda.md: the slowest of disk, host and link, the other two for one piece, and the issuing.
    [[nodiscard]] upload_estimate estimate(const upload_rates& rates = {}) const noexcept;
    /// For people: totals, then runs and tensors, each of the two lists cut after `most` lines.
    [[nodiscard]] std::string text(std::size_t most = 20) const;

  private:
    friend struct detail::upload_plan_access;
    explicit upload_plan(detail::shared<detail::upload_plan_data> data) noexcept;
    detail::shared<detail::upload_plan_data> data_;
};

namespace detail {

/// What is behind a plan, for whoever makes plans and carries them out.
struct upload_plan_access {
    [[nodiscard]] static upload_plan make(shared<upload_plan_data> data) noexcept;
    [[nodiscard]] static const shared<upload_plan_data>& data(const upload_plan& plan) noexcept { return plan.data_; }
};

} // namespace detail

/// Plans the upload of several state_dicts to several devices: what lies in one file is read once for all of them.
/// Tensors with parts (sparse, quantised by channel, wrapped) are uploaded as parts, under "key.part".
/// Fails with the tensor's own error where one has no values, with `conversion` for a cast that does not exist, with
/// `key_missing` for a pattern of `select` that matches no key, with `limit` for `alignment` or `piece_bytes` outside
/// their range; nothing is left out silently.
[[nodiscard]] result<upload_plan> plan_upload(std::span<const upload_target> targets,
                                              const upload_plan_options& options = {});
/// The same for one device.
[[nodiscard]] result<upload_plan> plan_upload(const state_dict& weights, const upload_plan_options& options = {},
                                              int device = 0);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/upload_plan.ipp>
#endif
