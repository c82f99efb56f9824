// ckpt/torch/storage_table.hpp: the storages of one file.
//
// SPDX-License-Identifier: MIT
// In:      keys met while resolving; records of the archive; bytes that lie in the pickle itself.
// Out:     a number for each storage, and their bytes afterwards: mapped, or by positioned reads.
// Refuses: a storage whose record is compressed, or whose local header disagrees with the directory, each time its
//          bytes are asked for: nothing is remembered, so nothing can be raced.
#pragma once

#include <ckpt/archive/zip.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/tensor/storage.hpp>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class storage_table final : public storage_source, public storage_maker {
  public:
    /// `folder` is where the storages' records lie: "archive/data/". All arguments outlive the table.
    storage_table(const source& from, const zip_archive& archive, std::string_view folder, byte_order order, arena& memory)
        : from_{from}, archive_{archive}, memory_{memory}, name_{folder}, folder_bytes_{folder.size()}, order_{order},
          of_record_(archive.records().size(), none) {}

    // storage_maker, while resolving
    [[nodiscard]] errc find(std::string_view key, std::uint32_t& storage) override {
        // torch writes the records in the order of the pickle, so the next one is usually the one.
        const std::span<const record> records = archive_.records();
        const record* r = next_ < records.size() ? &records[next_] : nullptr;
        if (r == nullptr || r->is_folder() || !names(*r, key)) {
            name_.resize(folder_bytes_);
            name_ += key;
            r = archive_.find(name_);
        }
        if (r == nullptr) return errc::record_missing;
        const auto number = static_cast<std::size_t>(r - records.data());
        next_ = number + 1;
        if (of_record_[number] == none) {
            of_record_[number] = static_cast<std::uint32_t>(entries_.size());
            entries_.push_back(memory_, {r, nullptr, r->size, no_offset, order_});
        }
        storage = of_record_[number];
        return errc::none;
    }
    [[nodiscard]] std::uint32_t add(std::span<const std::byte> bytes, byte_order order, std::uint64_t offset) override {
        entries_.push_back(memory_, {nullptr, bytes.data(), bytes.size(), offset, order});
        return static_cast<std::uint32_t>(entries_.size() - 1);
    }

    // storage_source, afterwards
    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override { return entries_[storage].nbytes; }
    [[nodiscard]] byte_order order(std::uint32_t storage) const noexcept override { return entries_[storage].order; }
    [[nodiscard]] std::string_view key(std::uint32_t storage) const noexcept override {
        const record* r = entries_[storage].from;
        return r != nullptr ? r->name.substr(folder_bytes_) : std::string_view{};
    }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t storage) const override {
        const entry& e = entries_[storage];
        if (e.from == nullptr) {
            if (e.offset != no_offset) return e.offset;
            return transcoded_error();
        }
        auto at = place(e);
        if (!at) return at;
        return from_.base() + *at;
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        const entry& e = entries_[storage];
        const auto length = static_cast<std::size_t>(e.nbytes);
        if (e.from == nullptr) return std::span<const std::byte>{e.memory, length};
        if (!from_.is_mapped()) return not_mapped_error(e.from->name);
        auto at = place(e);
        if (!at) return std::move(at).error();
        return from_.mapped().subspan(static_cast<std::size_t>(*at), length);
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset, std::span<std::byte> out) const override {
        const entry& e = entries_[storage];
        if (e.from == nullptr) {
            if (!out.empty()) std::memcpy(out.data(), e.memory + offset, out.size());
            return {};
        }
        auto at = place(e);
        if (!at) return std::move(at).error();
        auto done = from_.read(*at + offset, out);
        if (!done) done.error().record = std::string(e.from->name);
        return done;
    }

    /// The record behind a storage; null for bytes of the pickle.
    [[nodiscard]] const record* record_of(std::uint32_t storage) const noexcept { return entries_[storage].from; }

  private:
    static constexpr std::uint32_t none = 0xFFFF'FFFFu;

    struct entry {
        const record* from{nullptr};
        const std::byte* memory{nullptr};
        std::uint64_t nbytes{0};
        std::uint64_t offset{no_offset};
        byte_order order{byte_order::little};
    };

    [[nodiscard]] bool names(const record& r, std::string_view key) const noexcept {
        const std::string_view folder{name_.data(), folder_bytes_};
        return r.name.size() == folder.size() + key.size() && r.name.ends_with(key) && r.name.starts_with(folder);
    }
    [[nodiscard]] result<std::uint64_t> place(const entry& e) const {
        if (e.from->method != 0) return zip_archive::not_stored(from_, *e.from);
        return zip_archive::locate(from_, *e.from);
    }

    const source& from_;
    const zip_archive& archive_;
    arena& memory_;
    std::string name_;
    std::size_t folder_bytes_;
    byte_order order_;
    chunked_array<entry> entries_{};
    std::vector<std::uint32_t> of_record_;
    std::size_t next_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
