// ckpt/folder/dcp_items.hpp: the chunks of a distributed checkpoint, each opened when its elements are asked for.
//
// SPDX-License-Identifier: MIT
// In:      places of items in open files, and what .metadata says of each: dtype and sizes.
// Out:     one storage for each item: the elements of its tensor in row-major order.
// Refuses: an item that is no tensor, or another one than .metadata says, when its elements are asked for. `check`
// looks at
//          all of them.
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

    /// What is no tensor: it is copied when the folder is opened, and only checked again.
    struct object {
        std::uint32_t file{};
        std::uint64_t offset{};
        std::uint64_t length{};
    };

    dcp_items(const allowlist& allowed, const open_options& options) : allowed_{allowed}, options_{options} {
        options_.storages = storage_mode::mapped;
    }

    [[nodiscard]] std::uint32_t add_file(file f) {
        return files_.push_back(std::move(f)), static_cast<std::uint32_t>(files_.size() - 1);
    }
    [[nodiscard]] const file& file_at(std::uint32_t i) const noexcept { return files_[i]; }
    /// That its place lies inside its file was checked.
    [[nodiscard]] std::uint32_t add(const item& i) {
        return items_.push_back(i), static_cast<std::uint32_t>(items_.size() - 1);
    }

    void add_object(const object& o) { objects_.push_back(o); }
    /// After the last item was added. Keys are texts of `metadata`, which is kept.
    void seal(shared<checkpoint_file> metadata) {
        metadata_ = std::move(metadata);
        places_ = std::vector<std::atomic<std::uint64_t>>(items_.size());
    }
    /// Opens what lies at a place of a file; errors name the file.
    [[nodiscard]] result<checkpoint> open_at(std::uint32_t of, std::uint64_t offset, std::uint64_t length) const {
        auto opened = detail::open(source::part(files_[of].from, offset, length), allowed_, options_);
        if (!opened) opened.error().file = files_[of].name;
        return opened;
    }

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t i) const noexcept override {
        return bytes_of(items_[i].type, items_[i].numel);
    }
    [[nodiscard]] byte_order order(std::uint32_t) const noexcept override { return native_order(); }
    [[nodiscard]] std::string_view key(std::uint32_t i) const noexcept override { return items_[i].key; }
    [[nodiscard]] std::string_view file(std::uint32_t i) const noexcept override { return files_[items_[i].file].name; }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t i) const override {
        auto opened = open_item(i);
        if (!opened) return std::move(opened).error();
        if (!opened->plain)
            return error{.code = errc::no_data,
                         .file = std::string(file(i)),
                         .detail = "the elements lie in another order in the file than they are given in"};
        return named(i, opened->tensor.file_offset());
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t i) const override {
        const source& from = *files_[items_[i].file].from;
        if (!from.is_mapped()) return not_mapped_error(items_[i].key);
        const std::uint64_t known = places_[i].load(std::memory_order_relaxed);
        if (known != 0)
            return from.mapped().subspan(static_cast<std::size_t>(known), static_cast<std::size_t>(nbytes(i)));
        auto opened = open_item(i);
        if (!opened) return std::move(opened).error();
        if (!opened->plain)
            return error{.code = errc::needs_copy,
                         .detail = "the elements of the chunk do not lie one after another as this machine has them",
                         .hint = "copy_to and copy_as write its values"};
        return named(i, opened->tensor.bytes()); // in the mapping of the whole file
    }
    [[nodiscard]] result<void> read(std::uint32_t i, std::uint64_t offset, std::span<std::byte> out) const override {
        const std::uint64_t known = places_[i].load(std::memory_order_relaxed);
        if (known != 0) return named(i, files_[items_[i].file].from->read(known + offset, out));
        auto opened = open_item(i);
        if (!opened) return std::move(opened).error();
        const tensor_data& data = *tensor_access::data(opened->tensor);
        const storage_source& from = *tensor_access::source(opened->tensor);
        const std::size_t size = itemsize(data.type);
        if (opened->plain) return named(i, from.read(data.storage, data.storage_offset * size + offset, out));
        if (offset % size != 0 || out.size() % size != 0)
            return error{.code = errc::internal, .detail = "half an element of a chunk was asked for"};
        gather_plan plan;
        return named(i, plan.read(plan.add_leaf(&data, &from), offset / size, out.size() / size, out.data()));
    }

    void check(bool checksums, verify_report& out) const override {
        for (std::uint32_t i = 0; i < items_.size(); ++i) {
            const std::size_t before = out.findings.size();
            if (auto opened = open_item(i)) checkpoint_access::file(opened->file)->check(checksums, out);
            else out.findings.push_back(std::move(opened).error());
            for (std::size_t k = before; k < out.findings.size(); ++k) out.findings[k].file = file(i);
        }
        for (const object& o : objects_) {
            const std::size_t before = out.findings.size();
            if (auto opened = open_at(o.file, o.offset, o.length))
                checkpoint_access::file(*opened)->check(checksums, out);
            for (std::size_t k = before; k < out.findings.size(); ++k) out.findings[k].file = files_[o.file].name;
        }
    }

  private:
    struct opened_item {
        checkpoint file;
        ckpt::tensor tensor{};
        bool plain{}; // the stored bytes are the elements in row-major order
    };

    [[nodiscard]] result<opened_item> open_item(std::uint32_t i) const {
        const item& it = items_[i];
        auto opened = open_at(it.file, it.offset, it.length);
        if (!opened) {
            opened.error().path = printable(it.key);
            return std::move(opened).error();
        }
        const value root = opened->root();
        auto t = root.as_tensor();
        if (!t) return wrong(it, "the item is no tensor but a " + std::string(name(root.kind())));
        if (const error* refusal = t->refusal()) {
            error e = *refusal;
            e.file = files_[it.file].name;
            return e;
        }
        if (t->layout() != layout::strided)
            return wrong(it, "the item is a tensor of layout " + std::string(name(t->layout())));
        if (t->dtype() != it.type ||
            !std::equal(it.sizes.begin(), it.sizes.end(), t->shape().begin(), t->shape().end()))
            return wrong(it, "the item is a tensor of " + std::string(name(t->dtype())) + ", shape " +
                                 list_of(t->shape()) + ", .metadata says " + std::string(name(it.type)) + ", " +
                                 list_of(it.sizes));
        const tensor_data& data = *tensor_access::data(*t);
        const bool plain = is_contiguous(data) && is_finished(data.type, tensor_access::source(*t)->order(data.storage),
                                                              native_order(), data.neg, data.conj);
        if (plain && data.numel > 0) {
            auto at = t->file_offset();
            if (!at) return named(i, result<opened_item>{std::move(at).error()});
            places_[i].store(*at, std::memory_order_relaxed); // never 0: a header is before it
        }
        return opened_item{std::move(*opened), *t, plain};
    }
    [[nodiscard]] error wrong(const item& it, std::string detail) const {
        return {.code = errc::shards_inconsistent,
                .offset = it.offset,
                .file = files_[it.file].name,
                .path = printable(it.key),
                .detail = std::move(detail),
                .hint = ".metadata and the files are of different saves: get them again"};
    }
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
    mutable std::vector<std::atomic<std::uint64_t>>
        places_{}; // by item: where its elements begin in its file; 0: not known yet
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
