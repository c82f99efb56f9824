// ckpt/state/state_dict_data.hpp: what is behind a state_dict.
//
// SPDX-License-Identifier: MIT
// In:      a dictionary of the file, or entries that were made of another state_dict's.
// Out:     keys in the file's order and sorted, tensors, what keeps them alive.
// Refuses: two entries with one key.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/lineage.hpp>
#include <ckpt/state/object_path.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {
class state_dict;
}

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct state_dict_entry {
    std::string_view key{};
    const tensor_data* data{nullptr};
};

struct state_dict_data final : counted {
    using entry = state_dict_entry;
    struct other {
        std::string_view key{};
        value content{};
    };

    shared<counted> file{};            // keeps the graph and its bytes alive, and keys that are not in `memory`
    shared<storage_source> storages{}; // copies of storages, or what gathers tensors; null where the file's serve
    const storage_source* source{nullptr};
    arena memory{}; // keys that were joined
    plain_list<entry> entries{};
    plain_list<other> others{};
    std::size_t refused{0};
    std::string path{};        // where the dictionary stands in the file
    std::string_view opened{}; // the path of the file or folder, for errors; `file` keeps it
    value root{};
    shared<lineage> history{}; // where entries came from; null where nothing was remapped

    /// Whether it is a tensor by itself, which has the path of the state_dict.
    [[nodiscard]] bool is_lone() const { return root.kind() == kind::tensor || root.kind() == kind::array; }
    /// The path of an entry, for errors.
    [[nodiscard]] std::string where(std::string_view key) const {
        if (is_lone()) return path;
        return path.empty() ? std::string(key) : path + '/' + std::string(key);
    }
    /// Says where an error of an entry occurred, as far as the error does not.
    void place(error& failure, std::string_view key) const {
        if (failure.path.empty()) failure.path = where(key);
        if (failure.file.empty()) failure.file = opened;
    }
    /// Numbers of the entries, sorted by key. They are sorted when they are first asked for, by any thread.
    [[nodiscard]] std::span<const std::uint32_t> by_key() const;
    [[nodiscard]] const entry* find(std::string_view key) const noexcept;

    state_dict_data() = default;
    state_dict_data(const state_dict_data&) = delete;
    ~state_dict_data() override { delete order_; }

  private:
    [[nodiscard]] plain_list<std::uint32_t> sorted_keys() const;

    mutable const plain_list<std::uint32_t>* order_{nullptr}; // only ever touched by atomic operations
};

/// The elements of a path joined by dots, in memory that lives as long as the arena: those before the last, and the
/// last.
[[nodiscard]] std::string_view joined_key(std::span<const path_element> before, std::string_view last, arena& memory);

[[nodiscard]] inline std::string_view joined_key(std::span<const path_element> all, arena& memory) {
    return all.empty() ? std::string_view{} : joined_key(all.first(all.size() - 1), all.back().text, memory);
}

/// The key of a tensor that is a state_dict by itself: the last element of its path, "tensor" for the root of a file.
[[nodiscard]] std::string lone_key(std::string_view path);

/// Flattens `root`, which may be a tensor, into a state_dict. `file` keeps everything alive that the values borrow
/// from.
[[nodiscard]] result<state_dict> make_state_dict(const value& root, std::string path, shared<counted> file,
                                                 const storage_source& source, const limits& most);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/state_dict_data.ipp>
#endif
