// ckpt/gpu/upload_plan.hpp: plans what an upload reads, in which order, and to which place.
//
// SPDX-License-Identifier: MIT
// In:      state_dicts, and for which device each is meant; a layout, casts, a size of pieces.
// Out:     `upload_plan`: what is read, each byte once, in the order of the file or in one of the caller's; what the
// host
//          builds; the place of each tensor in the memory of its device; an estimate of the time.
// Refuses: tensors without values, casts that do not exist, sizes that overflow 64 bits.
//
// Planning reads only headers of the records that are used, and needs no device. A plan keeps its files open.
// `ckpt::cuda::upload` executes plans; gpu/plan_data.hpp describes how they are made.
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

/// Rates of a machine in bytes per second, measured or from data sheets.
struct upload_rates {
    double disk{3e9};    ///< of reading the file: 2e9 to 14e9 from one NVMe disk, more from the page cache
    double copy{8e9};    ///< of one core that copies from the page cache
    unsigned readers{2}; ///< number of such cores
    double link{25e9};   ///< to each device: 25e9 for PCIe 4, 55e9 for PCIe 5, 16 lanes each
    double issue{5e-6};  ///< seconds for each copy that is issued
};

/// The time of an upload by a simple model: that of the slowest stage, and of the other two for one piece.
struct upload_estimate {
    double seconds{};
    std::string_view bound{}; ///< the slowest stage: "disk", "host" or "link"
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
        std::span<const std::int64_t> strides{}; ///< in elements; those of the file where `way` is `stored`
        std::uint32_t target{};                  ///< index of its target
        std::uint64_t offset{};                  ///< of its first element, in the target's memory
        upload_way way{};
    };
    /// A contiguous range of bytes that is read. Borrows from the plan.
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

    /// The number of tensors of all targets. Those of one target are in the order of its state_dict.
    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] tensor operator[](std::size_t i) const& noexcept;
    tensor operator[](std::size_t) const&& = delete; // it would outlive the plan: name the plan first
    /// The ranges that are read from files and memory, in the order of reading.
    [[nodiscard]] std::vector<run> runs() const&;
    std::vector<run> runs() const&& = delete; // they would outlive the plan: name the plan first

    [[nodiscard]] std::size_t targets() const noexcept;
    [[nodiscard]] int device(std::size_t target) const noexcept;
    /// Bytes of device memory that a target needs.
    [[nodiscard]] std::uint64_t device_bytes(std::size_t target) const noexcept;
    /// Bytes of device memory that a target needs in addition while the upload runs, for what kernels do: two blocks,
    /// and the scales and zero points of what they dequantise by channel.
    [[nodiscard]] std::uint64_t scratch_bytes(std::size_t target) const noexcept;
    /// Bytes that are read from files or memory, each once, and copied without a change.
    [[nodiscard]] std::uint64_t read_bytes() const noexcept;
    /// Bytes that the host builds by gathering, converting or dequantising, and scales and zero points for kernels.
    /// What kernels build is read, and not counted here.
    [[nodiscard]] std::uint64_t built_bytes() const noexcept;
    /// The number of pieces of at most `piece_bytes`, each of which is staged at once.
    [[nodiscard]] std::size_t pieces() const noexcept;
    /// The number of copies to devices.
    [[nodiscard]] std::size_t copies() const noexcept;

    /// The model of docs/cuda.md: the slowest of disk, host and link, the other two for one piece, and the issuing.
    [[nodiscard]] upload_estimate estimate(const upload_rates& rates = {}) const noexcept;
    /// Text for people: totals, then runs and tensors, at most `most` lines of each.
    [[nodiscard]] std::string text(std::size_t most = 20) const;

  private:
    friend struct detail::upload_plan_access;
    explicit upload_plan(detail::shared<detail::upload_plan_data> data) noexcept;
    detail::shared<detail::upload_plan_data> data_;
};

namespace detail {

/// For the library: access to the data of a plan.
struct upload_plan_access {
    [[nodiscard]] static upload_plan make(shared<upload_plan_data> data) noexcept;
    [[nodiscard]] static const shared<upload_plan_data>& data(const upload_plan& plan) noexcept { return plan.data_; }
};

} // namespace detail

/// Plans the upload of several state_dicts to several devices; bytes of a file are read once for all of them.
/// Tensors with parts (sparse, quantised by channel, wrapped) are uploaded as parts, under "key.part". Fails with
/// `packed` where a packed tensor is to be dequantised and is not contiguous.
/// Fails with the tensor's own error where one has no values, with `conversion` for a cast that does not exist, with
/// `key_missing` for a pattern of `select`, `order` or `dequantize` that matches no key, with `limit` for `alignment`
/// or `piece_bytes` outside their range. Nothing is left out silently.
[[nodiscard]] result<upload_plan> plan_upload(std::span<const upload_target> targets,
                                              const upload_plan_options& options = {});
/// The same for one device.
[[nodiscard]] result<upload_plan> plan_upload(const state_dict& weights, const upload_plan_options& options = {},
                                              int device = 0);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/upload_plan.ipp>
#endif
