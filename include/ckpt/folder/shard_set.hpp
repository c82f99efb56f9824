// ckpt/folder/shard_set.hpp: a model in several files, as one checkpoint.
//
// SPDX-License-Identifier: MIT
// In:      opened shards, in order.
// Out:     one dictionary of all their tensors; each still reads from its own file.
// Refuses: two tensors of one key, in a finding that names both files.
#pragma once

#include <ckpt/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// One file of a set.
struct shard {
    std::string name{};
    shared<checkpoint_file> file{};
    state_dict weights;
    std::vector<state_dict::other> others{weights.others()}; // entries that are no tensors
    std::vector<std::string_view> other_keys{sorted_keys(others)};

    /// Whether there is an entry of this key, a tensor or not.
    [[nodiscard]] bool has(std::string_view key) const noexcept {
        return weights.contains(key) || std::binary_search(other_keys.begin(), other_keys.end(), key);
    }

    [[nodiscard]] static std::vector<std::string_view> sorted_keys(const std::vector<state_dict::other>& of) {
        std::vector<std::string_view> out;
        for (const state_dict::other& o : of) out.push_back(o.key);
        std::sort(out.begin(), out.end());
        return out;
    }
};

/// The storages of all files of a set.
class joined_storages final : public storage_source {
  public:
    explicit joined_storages(std::span<const shard> shards) noexcept : shards_{shards}, numbers_(shards.size()) {}

    /// The number here of a storage of one shard.
    [[nodiscard]] std::uint32_t number(std::size_t of, std::uint32_t storage) {
        std::vector<std::uint32_t>& known = numbers_[of];
        if (storage >= known.size()) known.resize(std::size_t{storage} + 1 + known.size() / 2, none);
        if (known[storage] == none) {
            known[storage] = static_cast<std::uint32_t>(entries_.size());
            entries_.push_back({static_cast<std::uint32_t>(of), storage});
        }
        return known[storage];
    }

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        return source_of(storage).nbytes(entries_[storage].storage);
    }
    [[nodiscard]] byte_order order(std::uint32_t storage) const noexcept override {
        return source_of(storage).order(entries_[storage].storage);
    }
    [[nodiscard]] std::string_view key(std::uint32_t storage) const noexcept override {
        return source_of(storage).key(entries_[storage].storage);
    }
    [[nodiscard]] std::string_view file(std::uint32_t storage) const noexcept override {
        return shards_[entries_[storage].shard].name;
    }
    [[nodiscard]] bool is_compressed(std::uint32_t storage) const noexcept override {
        return source_of(storage).is_compressed(entries_[storage].storage);
    }
    [[nodiscard]] result<stored_place> place_of(std::uint32_t storage) const override {
        return named(storage, source_of(storage).place_of(entries_[storage].storage));
    }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t storage) const override {
        return named(storage, source_of(storage).file_offset(entries_[storage].storage));
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        return named(storage, source_of(storage).bytes(entries_[storage].storage));
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset,
                                    std::span<std::byte> out) const override {
        return named(storage, source_of(storage).read(entries_[storage].storage, offset, out));
    }

  private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    struct entry {
        std::uint32_t shard{};
        std::uint32_t storage{};
    };
    [[nodiscard]] const storage_source& source_of(std::uint32_t storage) const noexcept {
        return shards_[entries_[storage].shard].file->storages();
    }
    template <class T> [[nodiscard]] result<T> named(std::uint32_t storage, result<T> outcome) const {
        if (!outcome) outcome.error().file = file(storage);
        return outcome;
    }

    std::span<const shard> shards_;
    std::vector<std::vector<std::uint32_t>> numbers_; // by shard and storage
    std::vector<entry> entries_{};
};

class shard_set final : public checkpoint_file {
  public:
    shard_set(std::vector<shard> shards, const limits& budget)
        : checkpoint_file{budget, {}}, shards_{std::move(shards)}, storages_{shards_} {
        facts_ = {"shards", "several programs", shards_.front().file->facts().order, true, 0, {}};
        for (const shard& s : shards_) {
            const file_facts& f = s.file->facts();
            facts_.writer = &s == shards_.data() || facts_.writer == f.writer ? f.writer : "several programs";
            facts_.file_bytes += f.file_bytes;
            facts_.order_recorded = facts_.order_recorded && f.order_recorded;
            facts_.files.push_back(s.name);
        }
        build();
    }

    /// Keys that are in more than one file: each key once, with the first two files.
    struct duplicate {
        std::string_view key{};
        std::string_view files[2]{};
    };
    [[nodiscard]] static std::vector<duplicate> duplicates(std::span<const shard> shards) {
        std::vector<std::pair<std::string_view, std::size_t>> keys;
        for (std::size_t i = 0; i < shards.size(); ++i) {
            for (const auto entry : shards[i].weights) keys.emplace_back(entry.key, i);
            for (const state_dict::other& o : shards[i].others) keys.emplace_back(o.key, i);
        }
        std::sort(keys.begin(), keys.end());
        std::vector<duplicate> out;
        for (std::size_t i = 1; i < keys.size(); ++i)
            if (keys[i].first == keys[i - 1].first && (i == 1 || keys[i - 2].first != keys[i].first))
                out.push_back({keys[i].first, {shards[keys[i - 1].second].name, shards[keys[i].second].name}});
        return out;
    }

    void check(bool checksums, verify_report& out) const override {
        for (const shard& s : shards_) {
            const std::size_t before = out.findings.size();
            s.file->check(checksums, out);
            for (std::size_t i = before; i < out.findings.size(); ++i) out.findings[i].file = s.name;
        }
    }

  private:
    void build() {
        detail::graph& g = graph_;
        g.storages = &storages_;
        g.record = "the set";
        part_copies copies{g.memory};
        std::vector<std::uint32_t> pairs;
        std::uint32_t metadata = absent_node; // of the first shard that has any
        for (std::size_t i = 0; i < shards_.size(); ++i) {
            const shard& s = shards_[i];
            g.joined_bytes += s.file->graph().metadata_bytes();
            if (const value own = s.file->metadata(); own && metadata == absent_node) metadata = copy_of_texts(own);
            for (const auto entry : s.weights) {
                pairs.push_back(g.add_text(entry.key));
                pairs.push_back(tensor_node(copies, i, entry.tensor));
            }
            for (const state_dict::other& other : s.others) {
                pairs.push_back(g.add_text(other.key));
                pairs.push_back(leaf_node(s, other.content));
            }
        }
        g.root = g.add_dictionary(pairs, metadata);
    }

    [[nodiscard]] std::uint32_t tensor_node(part_copies& copies, std::size_t shard, const tensor& t) {
        tensor_data data = *tensor_access::data(t);
        const auto change = [&](tensor_data& d) {
            if (d.refusal != nullptr) {
                error e = *d.refusal;
                e.file = shards_[shard].name;
                d.refusal = graph_.errors[graph_.keep(std::move(e))];
            } else if (d.kind == layout::strided) {
                d.storage = storages_.number(shard, d.storage);
            }
        };
        copies.adopt(data, tensor_access::source(t), change);
        return graph_.add_tensor(data);
    }
    [[nodiscard]] std::uint32_t copy_of_texts(const value& dictionary) {
        std::vector<std::uint32_t> pairs;
        for (const value::entry e : dictionary.entries()) {
            pairs.push_back(graph_.add_text(*e.key.as_string()));
            pairs.push_back(graph_.add_text(*e.mapped.as_string()));
        }
        return graph_.add_metadata(pairs);
    }
    /// An entry that is no tensor. Plain values are copied; what has parts is in its own file only, and says so.
    [[nodiscard]] std::uint32_t leaf_node(const shard& s, const value& v) {
        const node n = detail_access::graph(v)->nodes[detail_access::node(v)];
        switch (n.kind) {
        case node_kind::none:
        case node_kind::boolean:
        case node_kind::integer:
        case node_kind::big_integer:
        case node_kind::real:
        case node_kind::string:
        case node_kind::bytes:
        case node_kind::byte_array: return graph_.add(n); // text lives as long as the shard
        default: break;
        }
        error e{.code = errc::wrong_type,
                .file = s.name,
                .detail = "an entry of a shard that is a " + std::string(name(v.kind())) + ", not a tensor",
                .hint = "open the file by itself to read it"};
        return graph_.add(node::of(node_kind::refused, graph_.keep(std::move(e))));
    }

    std::vector<shard> shards_;
    joined_storages storages_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
