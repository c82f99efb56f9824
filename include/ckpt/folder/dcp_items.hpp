// ckpt/folder/dcp_items.hpp: the chunks of a distributed checkpoint, each opened when its elements are asked for.
//
// SPDX-License-Identifier: MIT
// In:      places of items in open files, and what .metadata says of each: dtype and sizes.
// Out:     one storage for each item: the elements of its tensor in row-major order.
// Refuses: an item that is no tensor, or another one than .metadata says, when its elements are asked for. `check`
//          looks at all of them.
//
// An item is a whole file of torch.save. To open a folder only .metadata is parsed, however many items there are. Where
// the elements of an item lie is remembered once it was found right: a slice takes many reads, and each would read the
// item's directory and pickle again. The number is atomic, and whoever finds it finds the same.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/folder/joined.hpp>
#include <ckpt/state/gather.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class dcp_items final : public folder_storages {
  public:
    struct file {
        std::string name{};
        shared<source> from{};
    };
    struct item {
        std::string_view key{};
        std::uint32_t file{};
        std::uint64_t offset{};
        std::uint64_t length{};
        ckpt::dtype type{};
        std::span<const std::int64_t> sizes{};
        std::uint64_t numel{};
    };

    /// The place of a value that is no tensor. It was copied when the folder was opened; `check` reads it again.
    struct object {
        std::uint32_t file{};
        std::uint64_t offset{};
        std::uint64_t length{};
    };

    dcp_items(const allowlist& allowed, const open_options& options) : allowed_{allowed}, options_{options} {
        options_.storages = storage_mode::mapped;
    }

    [[nodiscard]] std::uint32_t add_file(file f) {
        files_.push_back(std::move(f));
        return static_cast<std::uint32_t>(files_.size() - 1);
    }
    [[nodiscard]] const file& file_at(std::uint32_t i) const noexcept { return files_[i]; }
    /// Adds an item. The caller has checked that its place lies inside its file.
    [[nodiscard]] std::uint32_t add(const item& i) {
        items_.push_back(i);
        return static_cast<std::uint32_t>(items_.size() - 1);
    }

    void add_object(const object& o) { objects_.push_back(o); }
    /// Ends the additions. Keys are texts of `metadata`, which is kept.
    void seal(shared<checkpoint_file> metadata);
    /// Opens what lies at a place of a file; errors name the file.
    [[nodiscard]] result<checkpoint> open_at(std::uint32_t of, std::uint64_t offset, std::uint64_t length) const;

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t i) const noexcept override {
        return bytes_of(items_[i].type, items_[i].numel);
    }
    [[nodiscard]] byte_order order(std::uint32_t) const noexcept override { return native_order(); }
    [[nodiscard]] std::string_view key(std::uint32_t i) const noexcept override { return items_[i].key; }
    [[nodiscard]] std::string_view file(std::uint32_t i) const noexcept override { return files_[items_[i].file].name; }
    [[nodiscard]] CKPT_DETAIL_DEF result<std::uint64_t> file_offset(std::uint32_t i) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<stored_place> place_of(std::uint32_t i) const override;
    /// All of the item: where in it the elements lie is known once it was opened.
    CKPT_DETAIL_DEF void find_touched(std::uint32_t i, std::uint64_t begin, std::uint64_t end,
                                      range_visitor visit) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<std::span<const std::byte>> bytes(std::uint32_t i) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<void> read(std::uint32_t i, std::uint64_t offset,
                                                    std::span<std::byte> out) const override;

    CKPT_DETAIL_DEF void check(const file_check& how, verify_report& out) const override;

  private:
    struct opened_item {
        checkpoint file;
        ckpt::tensor tensor{};
        bool plain{}; // the stored bytes are the elements in row-major order
    };

    [[nodiscard]] result<opened_item> open_item(std::uint32_t i) const;
    [[nodiscard]] error wrong(const item& it, std::string detail) const;
    template <class T> [[nodiscard]] result<T> named(std::uint32_t i, result<T> outcome) const {
        if (!outcome) outcome.error().file = file(i);
        return outcome;
    }

    allowlist allowed_;
    open_options options_;
    shared<checkpoint_file> metadata_{};
    std::vector<struct file> files_{};
    std::vector<item> items_{};
    std::vector<object> objects_{};
    // By item: where its elements begin in its file; 0: not known yet.
    mutable std::vector<std::atomic<std::uint64_t>> places_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/dcp_items.ipp>
#endif
