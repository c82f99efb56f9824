// ckpt/torch/impl/storage_table.ipp: the definitions of storage_table.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/torch/storage_table.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void storage_table::enter(const storage_folder& folder) {
    folders_.push_back(folder);
    name_ = folder.before;
    next_ = 0;
    for (archive_ = 0; archive_ < archives_.size(); ++archive_)
        if (archives_[archive_].archive == folder.archive) return;
    archives_.push_back({folder.archive, std::vector<std::uint32_t>(folder.archive->records().size(), none)});
}

CKPT_DETAIL_DEF errc storage_table::find(std::string_view key, std::uint32_t& storage) {
    // torch writes the records in the order of the pickle, so the key is usually that of the next record.
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
        entries_.push_back(
            memory_, {r, nullptr, r->size, no_offset, static_cast<std::uint32_t>(folders_.size() - 1), folder.order});
    }
    storage = known;
    return errc::none;
}

CKPT_DETAIL_DEF std::uint32_t storage_table::add(std::span<const std::byte> bytes, byte_order order,
                                                 std::uint64_t offset) {
    entries_.push_back(memory_, {nullptr, bytes.data(), bytes.size(), offset, 0, order});
    return static_cast<std::uint32_t>(entries_.size() - 1);
}

CKPT_DETAIL_DEF std::string_view storage_table::key(std::uint32_t storage) const noexcept {
    const entry& e = entries_[storage];
    if (e.from == nullptr) return {};
    const storage_folder& in = folders_[e.folder];
    return e.from->name.substr(in.before.size(), e.from->name.size() - in.before.size() - in.after.size());
}

CKPT_DETAIL_DEF result<std::uint64_t> storage_table::file_offset(std::uint32_t storage) const {
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

CKPT_DETAIL_DEF result<stored_place> storage_table::place_of(std::uint32_t storage) const {
    const entry& e = entries_[storage];
    if (e.from == nullptr || e.from->method != 0) return stored_place{};
    auto at = place(e);
    if (!at) return std::move(at).error();
    return stored_place{folders_[e.folder].from, *at, e.from->crc32};
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> storage_table::bytes(std::uint32_t storage) const {
    const entry& e = entries_[storage];
    const auto length = static_cast<std::size_t>(e.nbytes);
    if (e.from == nullptr) return std::span<const std::byte>{e.memory, length};
    const source& from = *folders_[e.folder].from;
    if (e.from->method != 0 && inflate_) {
        error compressed = zip::not_stored(from, *e.from);
        compressed.hint = "use copy_to or copy_as, or open with storage_mode::owned";
        return compressed;
    }
    if (!from.is_mapped()) return not_mapped_error(e.from->name);
    auto at = place(e);
    if (!at) return std::move(at).error();
    return from.mapped().subspan(static_cast<std::size_t>(*at), length);
}

CKPT_DETAIL_DEF result<void> storage_table::read(std::uint32_t storage, std::uint64_t offset,
                                                 std::span<std::byte> out) const {
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

CKPT_DETAIL_DEF result<std::uint64_t> storage_table::place(const entry& e) const {
    const source& from = *folders_[e.folder].from;
    return e.from->method == 0 ? zip::locate(from, *e.from) : locate_deflated(from, *e.from, inflate_);
}

CKPT_DETAIL_DEF result<void> storage_table::read_compressed(const entry& e, std::uint64_t at, std::uint64_t offset,
                                                            std::span<std::byte> out) const {
    const source& from = *folders_[e.folder].from;
    if (out.empty()) return {};
    if (out.size() == e.nbytes) return inflate_record(from, *e.from, at, inflate_, out);
    std::size_t length = 0;
    if (!checked_narrow(e.nbytes, length))
        return zip::fail(from, errc::limit, at, e.from->name,
                         decimal(e.nbytes) + " bytes are more than this program can address", {});
    std::vector<std::byte> whole(length);
    if (auto done = inflate_record(from, *e.from, at, inflate_, whole); !done) return done;
    std::memcpy(out.data(), whole.data() + offset, out.size());
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
