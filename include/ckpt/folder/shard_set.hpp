// ckpt/folder/shard_set.hpp: a model in several files, as one checkpoint.
//
// SPDX-License-Identifier: MIT
// In:      opened shards, in order.
// Out:     one dictionary of all their tensors; each still reads from its own file.
// Refuses: two tensors of one key, in a finding that names both files.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/torch/checkpoint_file.hpp>

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

    [[nodiscard]] static std::vector<std::string_view> sorted_keys(const std::vector<state_dict::other>& of);
};

/// The storages of all files of a set.
class joined_storages final : public storage_source {
  public:
    explicit joined_storages(std::span<const shard> shards) noexcept : shards_{shards}, numbers_(shards.size()) {}

    /// The number here of a storage of one shard.
    [[nodiscard]] std::uint32_t number(std::size_t of, std::uint32_t storage);

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
    void find_touched(std::uint32_t storage, std::uint64_t begin, std::uint64_t end,
                      range_visitor visit) const override {
        source_of(storage).find_touched(entries_[storage].storage, begin, end, visit);
    }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t storage) const override {
        return named(storage, source_of(storage).file_offset(entries_[storage].storage));
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        return named(storage, source_of(storage).bytes(entries_[storage].storage));
    }
    [[nodiscard]] result<shared<storage_reader>> reader(std::uint32_t storage, storage_readers& others) const override {
        return named(storage, source_of(storage).reader(entries_[storage].storage, others));
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
    shard_set(std::vector<shard> shards, const limits& budget);

    /// Keys that are in more than one file: each key once, with the first two files.
    struct duplicate {
        std::string_view key{};
        std::string_view files[2]{};
    };
    [[nodiscard]] static std::vector<duplicate> duplicates(std::span<const shard> shards);

    CKPT_DETAIL_DEF void check(const file_check& how, verify_report& out) const override;

  private:
    void build();

    [[nodiscard]] std::uint32_t tensor_node(part_copies& copies, std::size_t shard, const tensor& t);
    [[nodiscard]] std::uint32_t copy_of_texts(const value& dictionary);
    /// An entry that is no tensor. Plain values are copied; what has parts is in its own file only, and says so.
    [[nodiscard]] std::uint32_t leaf_node(const shard& s, const value& v);

    std::vector<shard> shards_;
    joined_storages storages_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/shard_set.ipp>
#endif
