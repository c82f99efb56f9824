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
    void sort_keys() {
        by_key.resize(entries.size());
        for (std::size_t i = 0; i < by_key.size(); ++i) by_key[i] = static_cast<std::uint32_t>(i);
        std::sort(by_key.begin(), by_key.end(), [this](std::uint32_t a, std::uint32_t b) {
            return entries[a].key != entries[b].key ? entries[a].key < entries[b].key : a < b;
        });
    }
    [[nodiscard]] const entry* find(std::string_view key) const noexcept {
        const auto at = std::lower_bound(by_key.begin(), by_key.end(), key,
                                         [this](std::uint32_t i, std::string_view k) { return entries[i].key < k; });
        return at != by_key.end() && entries[*at].key == key ? &entries[*at] : nullptr;
    }
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
        [[nodiscard]] entry operator*() const noexcept {
            const auto& e = data_->entries[at_];
            return {e.key, detail::tensor_access::make(e.data, data_->source)};
        }
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
    [[nodiscard]] result<ckpt::tensor> at(std::string_view key) const& {
        const auto* found = data_->find(key);
        if (found == nullptr) return missing(key);
        if (found->data->refusal != nullptr) return refusal_of(*found);
        return detail::tensor_access::make(found->data, data_->source);
    }
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
    [[nodiscard]] std::vector<other> others() const& {
        std::vector<other> out;
        out.reserve(data_->others.size());
        for (const auto& o : data_->others) out.push_back({o.key, o.content});
        return out;
    }
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
    [[nodiscard]] state_dict owned() const {
        std::vector<const detail::tensor_data*> tensors;
        tensors.reserve(size());
        for (const auto& e : data_->entries) tensors.push_back(e.data);
        auto out = detail::make_shared<detail::state_dict_data>();
        out->file = data_; // its keys are there, and it keeps the file
        out->storages = detail::owned_storages::read(*data_->source, tensors);
        out->source = out->storages.get();
        out->entries = data_->entries;
        for (std::size_t i = 0; i < tensors.size(); ++i) out->entries[i].data = tensors[i];
        out->by_key = data_->by_key;
        out->others = data_->others;
        out->refused = data_->refused;
        out->path = data_->path;
        out->root = data_->root;
        out->history = data_->history;
        return state_dict{std::move(out)};
    }

    explicit state_dict(detail::shared<detail::state_dict_data> data) noexcept : data_{std::move(data)} {}

  private:
    friend result<std::string> checkpoint_digest(const state_dict& weights);
    friend struct detail::state_dict_access;
    [[nodiscard]] ckpt::error refusal_of(const detail::state_dict_data::entry& e) const {
        ckpt::error out = *e.data->refusal;
        out.path = data_->where(e.key);
        return out;
    }
    [[nodiscard]] ckpt::error missing(std::string_view key) const {
        ckpt::error out{.code = errc::key_missing, .path = data_->path};
        out.detail = "no key " + detail::quoted(key) + " among " + detail::decimal(std::uint64_t{size()});
        std::vector<std::string_view> keys;
        keys.reserve(size());
        for (const auto& e : data_->entries) keys.push_back(e.key);
        if (const auto closest = detail::nearest(key, keys); !closest.empty()) {
            out.detail += "; nearest:";
            for (const std::string_view k : closest) out.detail += ' ' + detail::quoted(k);
        }
        out.hint = "list the keys with: ckpt ls FILE";
        return out;
    }

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
[[nodiscard]] inline result<state_dict> make_state_dict(const value& root, std::string path, shared<counted> file,
                                                        const storage_source& source, const limits& most) {
    auto out = detail::make_shared<state_dict_data>();
    out->file = std::move(file);
    out->source = &source;
    out->path = std::move(path);
    out->root = root;
    auto& d = *out;
    const auto keep = [&d](const std::vector<path_element>& elements) -> std::string_view {
        std::size_t bytes = elements.empty() ? 0 : elements.size() - 1;
        for (const path_element& e : elements) bytes += e.text.size();
        char* text = d.memory.allocate<char>(bytes + 1);
        std::size_t at = 0;
        for (const path_element& e : elements) {
            if (at > 0 || &e != &elements.front()) text[at++] = '.';
            if (!e.text.empty()) std::memcpy(text + at, e.text.data(), e.text.size());
            at += e.text.size();
        }
        return {text, at};
    };
    walk_budget budget{root, most.entries};
    auto walked = walk(root, budget, errc::limit, state_dict_parts{},
                       [&](const std::vector<path_element>& elements, const value& v) {
                           if (elements.empty()) return; // a lone tensor is no state_dict
                           const std::string_view key = keep(elements);
                           if (v.kind() == kind::tensor || v.kind() == kind::array) {
                               const tensor_data* data = tensor_access::data(*v.as_tensor());
                               d.refused += data->refusal != nullptr;
                               d.entries.push_back({key, data});
                           } else {
                               d.others.push_back({key, v});
                           }
                       });
    if (!walked) {
        error e = std::move(walked).error();
        e.path = d.path;
        return e;
    }
    d.sort_keys();
    for (std::size_t i = 1; i < d.by_key.size(); ++i) {
        const std::string_view key = d.entries[d.by_key[i]].key;
        if (d.entries[d.by_key[i - 1]].key != key) continue;
        // Two paths, one key: say both.
        std::vector<std::string> paths;
        walk_budget again{root, most.entries};
        (void)walk(root, again, errc::limit, state_dict_parts{},
                   [&](const std::vector<path_element>& elements, const value&) {
                       located_tensor at{elements, {}, {}};
                       if (at.key() != key || paths.size() == 2) return;
                       std::string text;
                       for (const path_element& e : elements) append_path_element(text, e.text, text.empty());
                       paths.push_back(std::move(text));
                   });
        error e{.code = errc::key_duplicate,
                .path = d.path,
                .detail = "the key " + quoted(key) + " comes from two entries"};
        if (paths.size() == 2) e.detail += ": " + quoted(paths[0]) + " and " + quoted(paths[1]);
        e.hint = "select one of the dictionaries by its path";
        return e;
    }
    return state_dict{std::move(out)};
}

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI
