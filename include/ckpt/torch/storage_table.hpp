// ckpt/torch/storage_table.hpp: the storages of one file.
//
// SPDX-License-Identifier: MIT
// In:      keys met while resolving; records of the archive, or of archives inside it; bytes that lie in a pickle
// itself. Out:     a number for each storage, and their bytes afterwards: mapped, by positioned reads, or inflated.
// Refuses: a storage whose record is compressed where there is no inflater, or whose local header disagrees with the
//          directory, each time its bytes are asked for: nothing is remembered, so nothing can be raced.
#pragma once

#include <ckpt/archive/inflate.hpp>
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

/// Where the storages of one pickle are: the record of a key has the name `before` + key + `after`.
struct storage_folder {
    const source* from{nullptr};
    const zip_archive* archive{nullptr};
    std::string_view before{}; ///< "archive/data/"
    std::string_view after{};  ///< ".storage" in torch.package
    byte_order order{byte_order::little};
    bool in_file{true}; ///< false: the archive was compressed inside another, and its bytes have no place in the file
};

class storage_table final : public storage_source, public storage_maker {
  public:
    /// Both outlive the table, and so does what folders point to.
    storage_table(const inflater& inflate, arena& memory) : inflate_{inflate}, memory_{memory} {}

    /// Looks for the keys that come in this folder from now on.
    void enter(const storage_folder& folder) {
        folders_.push_back(folder);
        name_ = folder.before;
        next_ = 0;
        for (archive_ = 0; archive_ < archives_.size(); ++archive_)
            if (archives_[archive_].archive == folder.archive) return;
        archives_.push_back({folder.archive, std::vector<std::uint32_t>(folder.archive->records().size(), none)});
    }

    // storage_maker, while resolving
    [[nodiscard]] errc find(std::string_view key, std::uint32_t& storage) override {
        // torch writes the records in the order of the pickle, so the next one is usually the one.
        const storage_folder& folder = folders_.back();
        const std::span<const record> records = folder.archive->records();
        const record* r = next_ < records.size() ? &records[next_] : nullptr;
        if (r == nullptr || r->is_folder() || !names(folder, *r, key)) {
            name_.resize(folder.before.size());
            name_ += key;
            name_ += folder.after;
            r = folder.archive->find(name_);
        }
        if (r == nullptr) return errc::record_missing;
        const auto number = static_cast<std::size_t>(r - records.data());
        next_ = number + 1;
        std::uint32_t& known = archives_[archive_].storages[number];
        if (known == none) {
            known = static_cast<std::uint32_t>(entries_.size());
            entries_.push_back(memory_, {r, nullptr, r->size, no_offset,
                                         static_cast<std::uint32_t>(folders_.size() - 1), folder.order});
        }
        storage = known;
        return errc::none;
    }
    [[nodiscard]] std::uint32_t add(std::span<const std::byte> bytes, byte_order order, std::uint64_t offset) override {
        entries_.push_back(memory_, {nullptr, bytes.data(), bytes.size(), offset, 0, order});
        return static_cast<std::uint32_t>(entries_.size() - 1);
    }

    // storage_source, afterwards
    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        return entries_[storage].nbytes;
    }
    [[nodiscard]] byte_order order(std::uint32_t storage) const noexcept override { return entries_[storage].order; }
    [[nodiscard]] std::string_view key(std::uint32_t storage) const noexcept override {
        const entry& e = entries_[storage];
        if (e.from == nullptr) return {};
        const storage_folder& in = folders_[e.folder];
        return e.from->name.substr(in.before.size(), e.from->name.size() - in.before.size() - in.after.size());
    }
    [[nodiscard]] bool is_compressed(std::uint32_t storage) const noexcept override {
        return entries_[storage].from != nullptr && entries_[storage].from->method != 0;
    }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t storage) const override {
        const entry& e = entries_[storage];
        if (e.from == nullptr) {
            if (e.offset != no_offset) return e.offset;
            return transcoded_error();
        }
        if (!folders_[e.folder].in_file || (e.from->method != 0 && inflate_))
            return error{.code = errc::no_data,
                         .record = std::string(e.from->name),
                         .detail = "the record is compressed, so its bytes have no place in the file"};
        auto at = place(e);
        if (!at) return at;
        return folders_[e.folder].from->base() + *at;
    }
    [[nodiscard]] result<stored_place> place_of(std::uint32_t storage) const override {
        const entry& e = entries_[storage];
        if (e.from == nullptr || e.from->method != 0) return stored_place{};
        auto at = place(e);
        if (!at) return std::move(at).error();
        return stored_place{folders_[e.folder].from, *at, e.from->crc32};
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        const entry& e = entries_[storage];
        const auto length = static_cast<std::size_t>(e.nbytes);
        if (e.from == nullptr) return std::span<const std::byte>{e.memory, length};
        const source& from = *folders_[e.folder].from;
        if (e.from->method != 0 && inflate_) {
            error compressed = zip_archive::not_stored(from, *e.from);
            compressed.hint = "use copy_to or copy_as, or open with storage_mode::owned";
            return compressed;
        }
        if (!from.is_mapped()) return not_mapped_error(e.from->name);
        auto at = place(e);
        if (!at) return std::move(at).error();
        return from.mapped().subspan(static_cast<std::size_t>(*at), length);
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset,
                                    std::span<std::byte> out) const override {
        const entry& e = entries_[storage];
        if (e.from == nullptr) {
            if (!out.empty()) std::memcpy(out.data(), e.memory + offset, out.size());
            return {};
        }
        auto at = place(e);
        if (!at) return std::move(at).error();
        const source& from = *folders_[e.folder].from;
        if (e.from->method != 0) return read_compressed(e, *at, offset, out);
        auto done = from.read(*at + offset, out);
        if (!done) done.error().record = std::string(e.from->name);
        return done;
    }

  private:
    static constexpr std::uint32_t none = 0xFFFF'FFFFu;

    struct entry {
        const record* from{nullptr};
        const std::byte* memory{nullptr};
        std::uint64_t nbytes{0};
        std::uint64_t offset{no_offset};
        std::uint32_t folder{0};
        byte_order order{byte_order::little};
    };
    struct known_archive {
        const zip_archive* archive{nullptr};
        std::vector<std::uint32_t> storages{}; // by record
    };

    [[nodiscard]] static bool names(const storage_folder& in, const record& r, std::string_view key) noexcept {
        const char* const name = r.name.data();
        return r.name.size() == in.before.size() + key.size() + in.after.size() &&
               std::memcmp(name + in.before.size(), key.data(), key.size()) == 0 &&
               std::memcmp(name, in.before.data(), in.before.size()) == 0 &&
               (in.after.empty() || r.name.ends_with(in.after));
    }
    [[nodiscard]] result<std::uint64_t> place(const entry& e) const {
        const source& from = *folders_[e.folder].from;
        return e.from->method == 0 ? zip_archive::locate(from, *e.from) : locate_deflated(from, *e.from, inflate_);
    }
    /// A part of a compressed record costs as much as all of it.
    [[nodiscard]] result<void> read_compressed(const entry& e, std::uint64_t at, std::uint64_t offset,
                                               std::span<std::byte> out) const {
        const source& from = *folders_[e.folder].from;
        if (out.empty()) return {};
        if (out.size() == e.nbytes) return inflate_record(from, *e.from, at, inflate_, out);
        std::size_t length = 0;
        if (!checked_narrow(e.nbytes, length))
            return zip_archive::fail(from, errc::limit, at, e.from->name,
                                     decimal(e.nbytes) + " bytes are more than this program can address", {});
        std::vector<std::byte> whole(length);
        if (auto done = inflate_record(from, *e.from, at, inflate_, whole); !done) return done;
        std::memcpy(out.data(), whole.data() + offset, out.size());
        return {};
    }

    const inflater& inflate_;
    arena& memory_;
    std::vector<storage_folder> folders_{};
    std::vector<known_archive> archives_{};
    std::size_t archive_{0}; // of the last folder
    std::string name_{};     // of a record, made anew for each key that is looked up
    std::size_t next_{0};
    chunked_array<entry> entries_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
