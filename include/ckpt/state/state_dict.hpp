// ckpt/state/state_dict.hpp: tensors by key, in the file's order.
//
// SPDX-License-Identifier: MIT
// In:      a dictionary of a checkpoint, nested ones too.
// Out:     an ordered map from key to tensor. Keys are the paths below the dictionary, joined by dots.
// Refuses: two entries of one key, more entries than limits.entries.
//
// A state_dict shares ownership of the file, so it may outlive the checkpoint that it came from. What it hands out
// (tensors, views, text) borrows from it; the functions that do so are deleted for temporaries.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/lineage.hpp>
#include <ckpt/state/nearest.hpp>
#include <ckpt/state/owned_storages.hpp>
#include <ckpt/state/walk.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

struct state_dict_data final : counted {
    struct entry {
        std::string_view key{};
        const tensor_data* data{nullptr};
    };
    struct other {
        std::string_view key{};
        value content{};
    };

    shared<counted> file{};            // keeps the graph and its bytes alive, and keys that are not in `memory`
    shared<storage_source> storages{}; // copies of storages, or what gathers tensors; null where the file's serve
    const storage_source* source{nullptr};
    arena memory{}; // keys that were joined
    std::vector<entry> entries{};
    std::vector<std::uint32_t> by_key{}; // numbers of entries, sorted by key
    std::vector<other> others{};
    std::size_t refused{0};
    std::string path{}; // where the dictionary stands in the file
    value root{};
    shared<lineage> history{}; // where entries came from; null where nothing was remapped

    /// The path of an entry, for errors.
    [[nodiscard]] std::string where(std::string_view key) const {
        return path.empty() ? std::string(key) : path + '/' + std::string(key);
    }
    void sort_keys();
    [[nodiscard]] const entry* find(std::string_view key) const noexcept;
};

struct state_dict_access;

} // namespace detail

class state_dict;
result<std::string> checkpoint_digest(const state_dict& weights);

/// Tensors by key, in the file's order. A cheap handle to an immutable object; copies share it.
class state_dict {
  public:
    /// One tensor and its key. Both borrow from the state_dict.
    struct entry {
        std::string_view key{};
        ckpt::tensor tensor{};
    };
    class iterator {
      public:
        using value_type = entry;
        using difference_type = std::ptrdiff_t;
        iterator() noexcept = default;
        iterator(const detail::state_dict_data* data, std::size_t at) noexcept : data_{data}, at_{at} {}
        [[nodiscard]] entry operator*() const noexcept;
        iterator& operator++() noexcept { return ++at_, *this; }
        iterator operator++(int) noexcept { return {data_, at_++}; }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

      private:
        const detail::state_dict_data* data_{nullptr};
        std::size_t at_{0};
    };

    [[nodiscard]] std::size_t size() const noexcept { return data_->entries.size(); }
    [[nodiscard]] bool empty() const noexcept { return data_->entries.empty(); }
    [[nodiscard]] iterator begin() const& noexcept { return {data_.get(), 0}; }
    [[nodiscard]] iterator end() const& noexcept { return {data_.get(), size()}; }
    iterator begin() const&& = delete;
    iterator end() const&& = delete;

    [[nodiscard]] bool contains(std::string_view key) const noexcept { return data_->find(key) != nullptr; }

    /// The tensor stored under `key`; it borrows from the state_dict.
    /// Fails with `key_missing`, naming the nearest keys, and with the entry's own error where its tensor was refused.
    [[nodiscard]] result<ckpt::tensor> at(std::string_view key) const&;
    result<ckpt::tensor> at(std::string_view) const&& = delete;

    /// A typed view of the tensor stored under `key`: `at(key)`, then `tensor::view<T, Rank>()`.
    template <class T, std::size_t Rank> [[nodiscard]] result<tensor_view<T, Rank>> view(std::string_view key) const& {
        auto found = at(key);
        if (!found) return std::move(found).error();
        auto out = found->view<T, Rank>();
        if (!out) out.error().path = data_->where(key);
        return out;
    }
    template <class T, std::size_t Rank> result<tensor_view<T, Rank>> view(std::string_view) const&& = delete;

    /// Entries below the dictionary that are not tensors: buffers that hold numbers, text, objects. By key, as data.
    struct other {
        std::string_view key{};
        value content{};
    };
    [[nodiscard]] std::vector<other> others() const&;
    std::vector<other> others() const&& = delete;

    /// How many entries are tensors that could not be built. They keep their keys; every access returns their error.
    [[nodiscard]] std::size_t refused() const noexcept { return data_->refused; }
    /// Where the dictionary stands in the file, as a path; empty for the root.
    [[nodiscard]] const std::string& path() const& noexcept { return data_->path; }
    const std::string& path() const&& = delete;
    /// The dictionary itself, as a value: its class, its metadata.
    [[nodiscard]] value root() const& noexcept { return data_->root; }
    value root() const&& = delete;

    /// The same state_dict with its storages copied into memory of its own; see `storage_mode::owned`.
    /// A storage that cannot be read fails where its tensors' bytes are asked for.
    [[nodiscard]] state_dict owned() const;

    explicit state_dict(detail::shared<detail::state_dict_data> data) noexcept : data_{std::move(data)} {}

  private:
    friend result<std::string> checkpoint_digest(const state_dict& weights);
    friend struct detail::state_dict_access;
    [[nodiscard]] ckpt::error refusal_of(const detail::state_dict_data::entry& e) const;
    [[nodiscard]] ckpt::error missing(std::string_view key) const;

    detail::shared<detail::state_dict_data> data_;
};

namespace detail {

/// How the rest of `state/` looks into a state_dict.
struct state_dict_access {
    [[nodiscard]] static const shared<state_dict_data>& data(const state_dict& weights) noexcept {
        return weights.data_;
    }
};

/// Flattens `root` into a state_dict. `file` keeps everything alive that the values borrow from.
[[nodiscard]] result<state_dict> make_state_dict(const value& root, std::string path, shared<counted> file,
                                                 const storage_source& source, const limits& most);

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/state_dict.ipp>
#endif
