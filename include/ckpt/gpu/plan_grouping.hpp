// ckpt/gpu/plan_grouping.hpp: where the tensors of an upload lie in the memory of their devices.
//
// SPDX-License-Identifier: MIT
// In:      what each tensor is made from; a layout, an alignment.
// Out:     the offset of each tensor; groups of stored bytes that are copied together; where what the host builds goes.
// Refuses: sizes that 64 bits cannot count; tensors that are expanded far beyond what is stored.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/plan_inputs.hpp>
#include <ckpt/gpu/upload_types.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Bytes of one target that lie together on the device as they do in the file.
struct byte_group {
    std::uint32_t target{};
    std::uint32_t file{};
    std::uint32_t phase{};
    std::uint64_t begin{};
    std::uint64_t end{};
    std::uint64_t to{}; ///< in the target's memory
    /// Bytes that it takes in a slot where it may be moved beside its neighbour; 0 where it is large, or has none.
    std::uint32_t moved{};
};

/// Where a target wants a tensor or parameters that the host builds.
struct built_place {
    std::uint32_t built{}; ///< in `upload_plan_data::built`
    std::uint32_t target{};
    std::uint64_t to{};
};

/// Tensors that have equal elements, which the host builds once for all of them.
struct equal_views {
    std::uint32_t leaf{};  ///< node of the plan's gathers
    std::uint32_t phase{}; ///< the first in which one of them is wanted
    std::size_t first{};   ///< in the order in which equal ones stand together
    std::size_t end{};
};

/// A tensor and what it is built as.
struct built_use {
    std::uint32_t tensor{};
    std::uint32_t built{}; ///< in `upload_plan_data::built`
};

/// Gives every tensor its place.
class plan_grouping {
  public:
    plan_grouping(const upload_plan_options& options, const plan_inputs& inputs, upload_plan_data& plan)
        : options_{options}, inputs_{inputs}, plan_{plan} {}

    /// Bytes of one device, gaps included: so much that no sum of two overflows.
    static constexpr std::uint64_t most_memory = std::uint64_t{1} << 62;

    [[nodiscard]] result<void> run();

    [[nodiscard]] std::vector<byte_group>& groups() noexcept { return groups_; }
    /// Which of the stored bytes the device converts, equal ones once.
    [[nodiscard]] std::vector<std::uint32_t>& converted() noexcept { return converted_; }
    /// In the order of what is built.
    [[nodiscard]] const std::vector<built_place>& built_places() const noexcept { return built_places_; }
    [[nodiscard]] const std::vector<built_use>& built_uses() const noexcept { return built_uses_; }

  private:
    /// Stored bytes: what overlaps lies together; in a file image, so does what is wanted in one phase, nearly side by
    /// side and aligned there.
    [[nodiscard]] result<void> group_stored();
    /// The group that begins with stored bytes `first`; its `to` is how far behind a multiple of the alignment it
    /// begins. Returns the first that is not in it.
    [[nodiscard]] std::size_t gather_group(std::size_t first, byte_group& group) const;
    /// The same for what overlaps.
    [[nodiscard]] std::size_t gather_overlapping(std::size_t first, byte_group& group) const;
    /// How far behind a multiple of the alignment bytes that overlap begin, so that all their elements are aligned.
    [[nodiscard]] std::uint64_t lead_of(std::span<const stored_bytes> members) const;
    [[nodiscard]] result<void> place_group(byte_group& group);
    [[nodiscard]] bool is_image() const noexcept { return options_.layout == upload_layout::file_image; }
    /// Tensors that the device converts: equal ones share their place.
    [[nodiscard]] result<void> place_converted();
    /// Tensors that the host builds: equal ones are built once, for all targets.
    [[nodiscard]] result<void> place_built();
    /// The node whose elements the host builds.
    [[nodiscard]] std::uint32_t node_of(const host_tensor& h, std::uint32_t leaf);
    [[nodiscard]] result<void> place_equal(std::span<const host_tensor> views);
    /// Where one of a target's tensors that the host builds goes; parameters go behind the blocks of scratch memory.
    [[nodiscard]] result<std::uint64_t> reserve_built(const host_tensor& h);
    [[nodiscard]] error output_error(const tensor_data& data, std::uint32_t tensor) const;
    void number_storages();
    /// Room for `bytes` behind what is `used`, at `lead` behind a multiple of `alignment`, which may be more than one.
    [[nodiscard]] static result<std::uint64_t> reserve(std::uint64_t& used, std::uint64_t lead, std::uint64_t bytes,
                                                       std::uint64_t alignment);
    /// The same in a target's memory.
    [[nodiscard]] result<std::uint64_t> reserve_for(std::uint32_t target, std::uint64_t lead, std::uint64_t bytes,
                                                    std::uint64_t alignment) {
        return reserve(plan_.targets[target].bytes, lead, bytes, alignment);
    }

    const upload_plan_options& options_;
    const plan_inputs& inputs_;
    upload_plan_data& plan_;
    std::vector<byte_group> groups_{};
    std::vector<std::uint32_t> converted_{};
    std::vector<built_place> built_places_{};
    std::vector<built_use> built_uses_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/plan_grouping.ipp>
#endif
