// ckpt/torch/wrapper.hpp: builders of tensor subclasses, and of tensors of other devices.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of torch._tensor._rebuild_from_type_v2 and torch._utils._rebuild_wrapper_subclass; the state
//          of the object that follows them.
// Out:     tensors with the name of their class; wrappers, whose parts are the tensors in their attributes; the local
//          part of a DTensor or ShardedTensor, with its place in the whole.
// Refuses: shards outside the whole tensor, or with another shape than their metadata; conversions that would read
//          storages.
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

/// Collects the tensors in the attributes of an object, by dotted name.
class part_collector {
  public:
    explicit part_collector(call& c) noexcept : call_{c} {}

    /// Searches a state: a dictionary, a pair of dictionaries (the second for __slots__), or another container.
    void collect(const value& state) { attributes(state, {}, 0); }

    [[nodiscard]] plain_list<named_data>& parts() noexcept { return parts_; }
    /// Whether attributes are nested too deeply, or too many of them are containers.
    [[nodiscard]] bool too_deep() const noexcept { return too_deep_; }

  private:
    static constexpr int most_levels = 16;
    static constexpr std::size_t most_containers = 256;

    void attributes(const value& state, const std::string& prefix, int level);
    [[nodiscard]] static bool is_names(const value& v) noexcept { return v.kind() == kind::dictionary || v.is_none(); }

    /// Searches one container; names begin with `prefix`.
    void look(const value& v, const std::string& prefix, int level);
    void step(const value& inner, const std::string& name, int level);
    [[nodiscard]] static bool is_container(const value& v) noexcept;
    /// Whether to search a container: each is searched once, so that shared and cyclic ones are no problem.
    [[nodiscard]] bool enter(const value& v, int level);
    [[nodiscard]] bool pay(std::uint64_t n) noexcept { return !call_access::over_limit(call_) && call_.charge(n); }

    call& call_;
    plain_list<named_data> parts_{};
    std::vector<std::uint32_t> entered_{};
    bool too_deep_{false};
};

/// An attribute of an object or of its state, which is a dictionary or a pair of dictionaries. `early`: its name in
/// early versions. Absent where there is neither.
[[nodiscard]] value attribute_of(call& c, const value& of, std::string_view name, std::string_view early = {});

inline constexpr std::size_t most_shown = 16; // elements of lists in texts for people

/// Reads a list or tuple of integers; false for another value.
[[nodiscard]] bool read_list(const value& v, std::vector<std::int64_t>& out);

/// "Shard(0), Replicate()".
[[nodiscard]] std::string placements_text(call& c, const value& placements);

/// The shape of a DeviceMesh, which early versions have as a tensor of ranks, later ones as a layout with one axis for
/// each dimension.
[[nodiscard]] std::vector<std::int64_t> mesh_sizes(call& c, const value& mesh);

/// How a DTensor is sharded, in the order of the mesh's dimensions; null where the budget is spent.
[[nodiscard]] const rank_place* place_of(call& c, const value& spec, std::uint32_t rank);

/// "cpu mesh [2, 2] (dp, tp) at [0, 1]", with those parts that a DeviceMesh has.
[[nodiscard]] std::string mesh_text(call& c, const value& mesh);

/// Sets the class, or the placement and the offsets, of a tensor that does not have them. False where the budget is
/// spent.
[[nodiscard]] bool annotate(call& c, tensor_data& t, std::string_view class_name, std::string_view placement,
                            std::span<const std::int64_t> offsets = {});

/// The local shards of a torch.distributed._shard.sharded_tensor.ShardedTensor, whose state is (shards, metadata,
/// process group, sharding specification, init_rrefs).
[[nodiscard]] result<void> read_shards(call& c, const value& state, const tensor_data& whole,
                                       plain_list<named_data>& parts, tensor_extra& extra, std::string& placement);

[[nodiscard]] bool is_distributed(std::string_view class_name, std::string_view name) noexcept;

/// The dotted name of a class; empty for other nodes, and for the classes of plain tensors.
[[nodiscard]] std::string_view read_class(call& c, std::uint32_t index);

/// Reads the arguments of _rebuild_wrapper_subclass(class, dtype, size, stride, offset, layout, device, requires_grad):
/// a tensor without elements of its own.
[[nodiscard]] result<void> read_shell(call& c, std::span<const std::uint32_t> args, tensor_data& t);

/// Makes a wrapper, whose parts are the tensors in `state`.
[[nodiscard]] result<value> make_wrapper(call& c, std::span<const std::uint32_t> args, std::uint32_t class_node,
                                         const value& state);

} // namespace rebuild

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/wrapper.ipp>
#endif
