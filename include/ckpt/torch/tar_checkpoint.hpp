// ckpt/torch/tar_checkpoint.hpp: opens a checkpoint of torch 0.1 (before 0.1.10), a tar archive.
//
// SPDX-License-Identifier: MIT
// In:      a source, an allowlist, options.
// Out:     the graph; storages that are mapped in place.
// Refuses: members that are missing, truncated or not regular files; records that disagree with their counts or each
//          other, duplicate keys, bytes behind the last record (rule T1 of docs/errors.md). What machine and resolver
//          refuse.
//
// Four members. `sys_info`: a pickle. `storages`: the pickle of a count; for each a pickle (key, location, class), an
// int64, its number of elements, and the elements; the pickle of a list of views (key, key of the whole, offset,
// elements). `tensors`: the pickle of a count; for each a pickle (key, key of its storage, class), an int32, its
// dimensions, four bytes of no meaning, the sizes, the strides and the offset as int64. `pickle`: the object, in which
// a tensor or a storage is the persistent id of its key. Before views there were (key, class) and (key, class, key of
// its storage). All is little-endian.
//
// Source: torch/serialization.py of torch 0.1 (_save, _load), and legacy_load in later ones.
#pragma once

#include <ckpt/archive/tar.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/scratch.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/machine.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/global_scan.hpp>
#include <ckpt/torch/pickle_stream.hpp>
#include <ckpt/torch/policies.hpp>
#include <ckpt/torch/resolve.hpp>
#include <ckpt/torch/storage_class.hpp>
#include <ckpt/torch/stream_storages.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The tensors and storages by key, as nodes, for the persistent ids of the object.
class tar_objects final : public storage_maker {
  public:
    explicit tar_objects(storage_maker& storages) noexcept : storages_{storages} {}

    void name(std::int64_t key, const node& what) { known_.push_back({key, what}); }
    /// Sorts the keys; to be called before `find`. Returns a duplicate key, if there is one.
    [[nodiscard]] std::optional<std::int64_t> sort();
    [[nodiscard]] const node* find(std::int64_t key) const noexcept;

    [[nodiscard]] CKPT_DETAIL_DEF errc object(std::string_view text, node& out) override;
    [[nodiscard]] errc find(std::string_view, std::uint32_t&) override { return errc::record_missing; }
    [[nodiscard]] std::uint32_t add(std::span<const std::byte> bytes, byte_order order, std::uint64_t offset) override {
        return storages_.add(bytes, order, offset);
    }

  private:
    struct entry {
        std::int64_t key{};
        node what{};
    };
    storage_maker& storages_;
    plain_list<entry> known_{};
};

/// A function that is called with every pickle of the archive, for scans for globals.
struct pickle_observer {
    void* context{nullptr};
    void (*see)(void* context, std::span<const std::byte> pickle, std::uint64_t base, std::string_view record){nullptr};
};

/// Reads a member of a checkpoint's archive from record to record.
class part_reader {
  public:
    part_reader(const source& from, const tar_entry& entry, graph& g, const allowlist& allowed, const limits& budget,
                const pickle_observer& observer = {});

    [[nodiscard]] std::uint64_t at() const noexcept { return at_; }
    [[nodiscard]] std::uint64_t left() const noexcept { return entry_.offset + entry_.size - at_; }
    [[nodiscard]] error invalid(std::string detail) const;
    /// Reads the next pickle, and returns its value. `whole`: it must end where the member ends.
    [[nodiscard]] result<std::uint32_t> pickle(bool whole = false);
    [[nodiscard]] result<std::uint64_t> count();
    [[nodiscard]] result<std::int64_t> number();
    [[nodiscard]] result<void> skip(std::uint64_t bytes);

  private:
    const source& from_;
    const tar_entry& entry_;
    graph& graph_;
    const allowlist& allowed_;
    const limits& limits_;
    pickle_observer observer_;
    read_window window_;
    std::uint64_t at_;
};

class tar_checkpoint final : public checkpoint_file {
  public:
    static constexpr std::string_view members[]{"sys_info", "storages", "tensors", "pickle"};

    /// Whether a member of such an archive is one of the four.
    [[nodiscard]] static bool is_member(std::string_view name) noexcept {
        return std::find(std::begin(members), std::end(members), name) != std::end(members);
    }

    /// Whether an archive is a checkpoint of torch 0.1; some of its members may be missing.
    [[nodiscard]] static bool is_one(const tar_archive& archive) noexcept {
        return archive.find("storages") != nullptr || archive.find("tensors") != nullptr;
    }

    [[nodiscard]] static result<shared<checkpoint_file>> open(shared<source> from, const tar_archive& archive,
                                                              const allowlist& allowed, const limits& budget,
                                                              const scratch& reuse);

    /// Lists the globals of the pickles of all members. A damaged member does not keep others from being scanned.
    [[nodiscard]] static global_scan scan(shared<source> from, const tar_archive& archive, const allowlist& judge,
                                          const limits& budget);

    tar_checkpoint(shared<source> from, const limits& budget, const scratch& reuse)
        : checkpoint_file{budget, reuse.pool()}, from_{std::move(from)} {
        storages_.emplace(*from_, graph_.memory);
    }

    /// Adds nothing: opening has checked every record, and only headers have checksums.
    CKPT_DETAIL_DEF void check(const file_check&, verify_report& out) const override;

    [[nodiscard]] static result<void> check_members(const source& from, const tar_archive& archive);

  private:
    [[nodiscard]] result<void> read_member(std::string_view name, part_reader in, tar_objects& objects);
    [[nodiscard]] result<void> check_info(const part_reader& in) const;

    [[nodiscard]] bool key_of(std::uint32_t index, std::int64_t& out) const noexcept;
    /// The dtype of a class such as torch.FloatStorage, torch.FloatTensor or torch.cuda.FloatTensor.
    [[nodiscard]] bool class_of(std::uint32_t index, std::string_view suffix, std::uint16_t& out) const;

    [[nodiscard]] result<void> read_storages(part_reader& in, tar_objects& objects);
    [[nodiscard]] result<void> read_views(part_reader& in, tar_objects& objects);

    [[nodiscard]] result<void> read_tensors(part_reader& in, tar_objects& objects);
    [[nodiscard]] result<void> read_geometry(part_reader& in, tensor_data& t);
    [[nodiscard]] node make_tensor(tensor_data& t);

    [[nodiscard]] std::uint32_t place(std::int64_t key, std::uint64_t at, std::uint64_t bytes);
    [[nodiscard]] static node storage_node(std::uint32_t number, std::uint16_t type, std::int64_t numel) noexcept;

    shared<source> from_;
    std::optional<stream_storages> storages_{};
    std::uint64_t records_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/tar_checkpoint.ipp>
#endif
