// tests/support/rank_writer.hpp: distributed tensors as each process saves them: DTensors and ShardedTensors.
//
// SPDX-License-Identifier: MIT
// In:      the whole tensor's shape, how it is cut, what one process has.
// Out:     opcodes that leave the tensor on the stack.
#pragma once

#include "torch_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test_support {

/// The file of one process: float storages by number, and tensors over them.
class rank_writer {
  public:
    using numbers = std::vector<std::int64_t>;

    explicit rank_writer(std::int64_t of) : rank{of} {}

    std::int64_t rank;

    /// A tensor of its own storage.
    std::string plain(const numbers& shape, const std::vector<float>& values) {
        const std::string key = std::to_string(storages_.size());
        storages_.emplace_back(key, raw(values));
        return pkl::tensor(pkl::storage("FloatStorage", key, static_cast<std::int64_t>(values.size())), 0, shape,
                           strides(shape));
    }

    static std::string replicate() { return placement("Replicate", {}); }
    static std::string shard(std::int64_t dim) { return placement("Shard", {{pkl::str("dim"), pkl::num(dim)}}); }
    static std::string strided(std::int64_t dim, std::int64_t factor) {
        return placement("_StridedShard",
                         {{pkl::str("dim"), pkl::num(dim)}, {pkl::str("split_factor"), pkl::num(factor)}});
    }
    static std::string partial() { return placement("Partial", {{pkl::str("reduce_op"), pkl::str("sum")}}); }
    static std::string placement(std::string_view name, const std::vector<std::pair<std::string, std::string>>& state) {
        return pkl::object("torch.distributed.tensor.placement_types", name, pkl::dict(state));
    }

    /// `local`: what leaves this process' tensor on the stack. With `says_rank` the mesh tells the process' number, as
    /// that of recent versions does.
    [[nodiscard]] std::string dtensor(const numbers& shape, const std::vector<std::string>& placements,
                                      const numbers& mesh, const numbers& at, const std::string& local,
                                      bool says_rank = true, const std::string& more_of_spec = {}) const {
        const std::string layout = pkl::object("torch.distributed._mesh_layout", "_MeshLayout",
                                               pkl::dict({{pkl::str("shape"), pkl::ints(mesh)}}));
        std::vector<std::pair<std::string, std::string>> state{{pkl::str("_device_type"), pkl::str("cpu")},
                                                               {pkl::str("_layout"), layout},
                                                               {pkl::str("_coordinate_on_dim"), pkl::ints(at)}};
        if (says_rank) state.emplace_back(pkl::str("_rank"), pkl::num(rank));
        std::string all = "(";
        for (const std::string& p : placements) all += p;
        std::vector<std::pair<std::string, std::string>> spec{
            {pkl::str("mesh"), pkl::object("torch.distributed.device_mesh", "DeviceMesh", pkl::dict(state))},
            {pkl::str("placements"), all + "t"}};
        if (!more_of_spec.empty()) spec.emplace_back(pkl::str("shard_order"), more_of_spec);
        return wrapper(
            shape, pkl::global("torch.distributed.tensor", "DTensor"),
            pkl::tuple({pkl::none, pkl::dict({{pkl::str("_local_tensor"), local},
                                              {pkl::str("_spec"), pkl::object("torch.distributed.tensor._dtensor_spec",
                                                                              "DTensorSpec", pkl::dict(spec))}})}));
    }

    struct local_shard {
        numbers offsets{};
        numbers sizes{};
        std::string local{};
    };
    [[nodiscard]] std::string sharded(const numbers& shape, const std::vector<local_shard>& shards,
                                      std::int64_t world) const {
        std::string list = "](";
        for (const local_shard& s : shards) {
            const std::string metadata =
                pkl::object("torch.distributed._shard.metadata", "ShardMetadata",
                            pkl::tuple({pkl::none, pkl::dict({{pkl::str("shard_offsets"), pkl::ints(s.offsets)},
                                                              {pkl::str("shard_sizes"), pkl::ints(s.sizes)}})}));
            list += pkl::object(
                "torch.distributed._shard.sharded_tensor.shard", "Shard",
                pkl::tuple({pkl::none, pkl::dict({{pkl::str("tensor"), s.local}, {pkl::str("metadata"), metadata}})}));
        }
        const std::string spec = pkl::object("torch.distributed._shard.sharding_spec.chunk_sharding_spec",
                                             "ChunkShardingSpec", pkl::dict({{pkl::str("dim"), pkl::num(0)}}));
        const std::string all =
            pkl::object("torch.distributed._shard.sharded_tensor.metadata", "ShardedTensorMetadata", pkl::dict({}));
        const std::string group =
            pkl::dict({{pkl::str("global_rank"), pkl::num(rank)}, {pkl::str("local_world_size"), pkl::num(world)}});
        return wrapper(shape, pkl::global("torch.distributed._shard.sharded_tensor.api", "ShardedTensor"),
                       pkl::tuple({list + 'e', all, group, spec, pkl::no}));
    }

    [[nodiscard]] std::string file(const std::string& value) const { return torch_file(value, storages_); }

  private:
    static numbers strides(const numbers& shape) {
        numbers out(shape.size(), 1);
        for (std::size_t d = shape.size(); d-- > 1;) out[d - 1] = out[d] * shape[d];
        return out;
    }
    static std::string wrapper(const numbers& shape, const std::string& of_class, const std::string& state) {
        const std::string layout =
            pkl::call(pkl::global("torch.serialization", "_get_layout"), {pkl::str("torch.strided")});
        const std::string device = pkl::call(pkl::global("torch", "device"), {pkl::str("cpu")});
        const std::string shell = pkl::tuple({of_class, pkl::global("torch", "float32"), pkl::ints(shape),
                                              pkl::ints(strides(shape)), pkl::num(0), layout, device, pkl::no});
        return pkl::call(pkl::global("torch._tensor", "_rebuild_from_type_v2"),
                         {pkl::global("torch._utils", "_rebuild_wrapper_subclass"), of_class, shell, state});
    }

    std::vector<std::pair<std::string, std::string>> storages_{};
};

} // namespace test_support
