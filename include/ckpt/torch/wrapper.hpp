// ckpt/torch/wrapper.hpp: builders of tensor subclasses, and of tensors saved through another device.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of torch._tensor._rebuild_from_type_v2 and torch._utils._rebuild_wrapper_subclass; the state
//          of the object that follows them.
// Out:     tensors with the name of their class; wrappers, whose parts are the tensors among their attributes; of
//          DTensor and ShardedTensor what lies in this file, and how it lies in the whole.
// Refuses: shards outside the whole tensor, or of another shape than they say; conversions that would read storages.
//
// Sources: torch/_tensor.py, torch/_utils.py, torch/distributed/tensor (2.0 to 2.15),
// torch/distributed/_shard/sharded_tensor.
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/torch/rebuild.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

namespace rebuild {

/// The tensors among the attributes of an object, by the names that lead to them.
class part_collector {
  public:
    explicit part_collector(call& c) noexcept : call_{c} {}

    /// Looks through a state: a dictionary, a pair of one (or None) and the slots, or what the class chose to keep.
    void collect(const value& state) { attributes(state, {}, 0); }

    [[nodiscard]] plain_list<named_data>& parts() noexcept { return parts_; }
    /// Attributes are nested too deeply, or too many of them are containers.
    [[nodiscard]] bool too_deep() const noexcept { return too_deep_; }

  private:
    static constexpr int most_levels = 16;
    static constexpr std::size_t most_containers = 256;

    void attributes(const value& state, const std::string& prefix, int level);
    [[nodiscard]] static bool is_names(const value& v) noexcept { return v.kind() == kind::dictionary || v.is_none(); }

    /// What is below one container, under names that begin with `prefix`.
    void look(const value& v, const std::string& prefix, int level);
    void step(const value& inner, const std::string& name, int level);
    [[nodiscard]] static bool is_container(const value& v) noexcept;
    /// Whether a container is looked through: each is once, so that shared and cyclic ones cost no more.
    [[nodiscard]] bool enter(const value& v, int level);
    [[nodiscard]] bool pay(std::uint64_t n) noexcept { return !call_access::over_limit(call_) && call_.charge(n); }

    call& call_;
    plain_list<named_data> parts_{};
    std::vector<std::uint32_t> entered_{};
    bool too_deep_{false};
};

/// An attribute of an object, or of a state that stands for one: a dictionary, or a pair of two. Absent where there is
/// none of this name, nor of the name that early versions gave it.
[[nodiscard]] value attribute_of(call& c, const value& of, std::string_view name, std::string_view early = {});

inline constexpr std::size_t most_shown = 16; // elements of lists in texts for people

/// "[2, 0]" of a list or tuple of integers; false for anything else.
[[nodiscard]] bool read_list(const value& v, std::vector<std::int64_t>& out);

/// "Shard(0), Replicate()".
[[nodiscard]] std::string placements_text(call& c, const value& placements);

/// The shape of a DeviceMesh: of its tensor of ranks in early versions, of a layout with one axis for each dimension in
/// later ones.
[[nodiscard]] std::vector<std::int64_t> mesh_sizes(call& c, const value& mesh);

/// How a DTensor is cut, in the order in which it was; null where the budget is spent.
[[nodiscard]] const rank_place* place_of(call& c, const value& spec, std::uint32_t rank);

/// "cpu mesh [2, 2] (dp, tp) at [0, 1]", as far as a DeviceMesh tells.
[[nodiscard]] std::string mesh_text(call& c, const value& mesh);

/// Gives a tensor a class, or a placement and its offsets, that it has not yet. False: the budget is spent.
[[nodiscard]] bool annotate(call& c, tensor_data& t, std::string_view class_name, std::string_view placement,
                            std::span<const std::int64_t> offsets = {});

/// The local shards of a torch.distributed._shard.sharded_tensor.ShardedTensor, whose state is (shards, metadata,
/// process group, sharding specification, init_rrefs).
[[nodiscard]] result<void> read_shards(call& c, const value& state, const tensor_data& whole,
                                       plain_list<named_data>& parts, tensor_extra& extra, std::string& placement);

[[nodiscard]] bool is_distributed(std::string_view class_name, std::string_view name) noexcept;

/// The dotted name of a class; empty for anything else, and for the classes of plain tensors.
[[nodiscard]] std::string_view read_class(call& c, std::uint32_t index);

/// _rebuild_wrapper_subclass(class, dtype, size, stride, offset, layout, device, requires_grad): a shell.
[[nodiscard]] result<void> read_shell(call& c, std::span<const std::uint32_t> args, tensor_data& t);

/// A wrapper with what its state holds.
[[nodiscard]] result<value> make_wrapper(call& c, std::span<const std::uint32_t> args, std::uint32_t class_node,
                                         const value& state);

} // namespace rebuild

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/wrapper.ipp>
#endif
