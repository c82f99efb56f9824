// ckpt/torch/impl/storage_table.ipp: the definitions of storage_table.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/storage_table.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Keeps the last bytes that it inflated, so that small steps back cost nothing, and places to go on from, so that
/// large ones do not inflate the record from its first byte.
class compressed_reader final : public storage_reader {
  public:
    compressed_reader(const source& from, const record& r, std::uint64_t at, const inflater& inflate)
        : stream_{from, r, at, inflate},
          from_{from},
          record_{r},
          at_{at},
          distance_{(std::max<std::uint64_t>)(least_distance, r.size / most_marks + 1)} {}
    CKPT_DETAIL_DEF ~compressed_reader() override;

    [[nodiscard]] CKPT_DETAIL_DEF result<void> read(std::uint64_t offset, std::span<std::byte> out) override;
    [[nodiscard]] CKPT_DETAIL_DEF result<void> finish() override;
    CKPT_DETAIL_DEF void rest() noexcept override;
    [[nodiscard]] std::uint64_t inflated() const noexcept override { return inflated_; }
    void add_inflated(std::uint64_t before) noexcept override { inflated_ += before; }

  private:
    static constexpr std::size_t half = std::size_t{1} << 17;
    static constexpr std::uint64_t most_passes = 64;
    static constexpr std::uint64_t most_marks = 32; ///< zlib takes 40 KiB for each
    static constexpr std::uint64_t least_distance = std::uint64_t{1} << 20;

    [[nodiscard]] result<void> approach(std::uint64_t offset);
    [[nodiscard]] result<void> inflate_more(std::uint64_t most);
    [[nodiscard]] const inflate_stream::mark* nearest(std::uint64_t offset) const noexcept;

    inflate_stream stream_;
    const source& from_;
    const record& record_;
    std::uint64_t at_;
    std::uint64_t distance_; // between marks
    plain_list<inflate_stream::mark> marks_{};
    std::vector<std::byte> kept_{};
    std::size_t count_{0};      // bytes in `kept_`; the last one lies before the stream's position
    std::uint64_t inflated_{0}; // bytes, in all passes
};

CKPT_DETAIL_RARE compressed_reader::~compressed_reader() { rest(); }

CKPT_DETAIL_DEF result<void> compressed_reader::read(std::uint64_t offset, std::span<std::byte> out) {
    if (auto done = approach(offset); !done) return done;
    while (!out.empty()) {
        const std::uint64_t begin = stream_.position() - count_;
        if (offset >= stream_.position()) {
            // No byte further, so that the next read can go on here also after a rest.
            if (auto done = inflate_more(offset + out.size() - stream_.position()); !done) return done;
            continue;
        }
        const auto skip = static_cast<std::size_t>(offset - begin);
        const std::size_t n = (std::min)(out.size(), count_ - skip);
        std::memcpy(out.data(), kept_.data() + skip, n);
        out = out.subspan(n);
        offset += n;
    }
    return {};
}

CKPT_DETAIL_RARE result<void> compressed_reader::finish() {
    if (stream_.is_checked()) return {};
    if (record_.size != 0)
        if (auto done = approach(record_.size - 1); !done) return done;
    while (stream_.position() < record_.size)
        if (auto done = inflate_more(record_.size); !done) return done;
    return stream_.finish();
}

CKPT_DETAIL_RARE void compressed_reader::rest() noexcept {
    for (const inflate_stream::mark& m : marks_) stream_.forget(m);
    marks_ = {};
    kept_ = std::vector<std::byte>{};
    count_ = 0;
    stream_.free_buffers();
}

/// Goes to where the way to `offset` is shortest: back, or on over what was inflated before.
CKPT_DETAIL_RARE result<void> compressed_reader::approach(std::uint64_t offset) {
    const bool back = offset + count_ < stream_.position();
    const inflate_stream::mark* const mark = nearest(offset);
    const bool again = stream_.position() == 0 && inflated_ != 0; // after an earlier reader
    if (!back && !again && (mark == nullptr || mark->position <= stream_.position())) return {};
    if (inflated_ / most_passes > record_.size)
        return error{.code = errc::output_limit,
                     .offset = from_.base() + at_,
                     .record = std::string(record_.name),
                     .detail =
                         str_cat("the elements lie so far from the order of their compressed storage that it would be "
                                 "inflated more than ",
                                 most_passes, " times"),
                     .hint = "open the file with storages = owned, or pack it again with zip -0"};
    count_ = 0;
    if (mark != nullptr) return stream_.go_to(*mark);
    stream_.rewind();
    return {};
}

CKPT_DETAIL_RARE result<void> compressed_reader::inflate_more(std::uint64_t most) {
    kept_.resize(static_cast<std::size_t>((std::min<std::uint64_t>)(record_.size, 2 * half)));
    if (count_ == kept_.size()) {
        std::memmove(kept_.data(), kept_.data() + half, count_ - half);
        count_ -= half;
    }
    const std::uint64_t left = record_.size - stream_.position();
    const std::uint64_t room = (std::min)(kept_.size() - count_, half);
    const auto n = static_cast<std::size_t>((std::min)((std::min)(left, most), room));
    if (auto done = stream_.read({kept_.data() + count_, n}); !done) return done;
    count_ += n;
    inflated_ += n;
    const std::uint64_t last = marks_.empty() ? 0 : marks_.back().position;
    if (n < left && stream_.position() >= last + distance_)
        if (const auto mark = stream_.here(); mark.state != nullptr) marks_.push_back(mark);
    return {};
}

CKPT_DETAIL_DEF const inflate_stream::mark* compressed_reader::nearest(std::uint64_t offset) const noexcept {
    const inflate_stream::mark* found = nullptr;
    for (const inflate_stream::mark& m : marks_)
        if (m.position <= offset) found = &m;
    return found;
}

CKPT_DETAIL_RARE void storage_table::enter(const storage_folder& folder) {
    folders_.push_back(folder);
    name_ = folder.before;
    next_ = 0;
    for (const known_archive& known : archives_)
        if (known.archive == folder.archive) {
            first_ = known.first;
            return;
        }
    first_ = static_cast<std::uint32_t>(entries_.size());
    archives_.push_back({folder.archive, first_});
    for (const record& r : folder.archive->records()) entries_.push_back(memory_, {.what = &r});
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
    storage = first_ + static_cast<std::uint32_t>(number);
    entry& e = entries_[storage];
    if (e.folder == none) {
        e.folder = static_cast<std::uint32_t>(folders_.size() - 1);
        e.order = folder.order;
    }
    return errc::none;
}

CKPT_DETAIL_RARE std::uint32_t storage_table::add(std::span<const std::byte> bytes, byte_order order,
                                                  std::uint64_t offset) {
    auto* const kept = ::new (memory_.allocate(sizeof(made), alignof(made))) made{bytes.data(), bytes.size(), offset};
    entries_.push_back(memory_, {kept, 0, order, true});
    return static_cast<std::uint32_t>(entries_.size() - 1);
}

CKPT_DETAIL_DEF std::string_view storage_table::key(std::uint32_t storage) const noexcept {
    const entry& e = entries_[storage];
    if (e.in_memory) return {};
    const storage_folder& in = folders_[e.folder];
    return e.from()->name.substr(in.before.size(), e.from()->name.size() - in.before.size() - in.after.size());
}

CKPT_DETAIL_DEF result<shared<storage_reader>> storage_table::reader(std::uint32_t storage, storage_readers&) const {
    const entry& e = entries_[storage];
    if (!is_compressed(storage)) return shared<storage_reader>{};
    auto at = place(e);
    if (!at) return std::move(at).failure();
    return shared<storage_reader>{make_shared<compressed_reader>(*folders_[e.folder].from, *e.from(), *at, inflate_)};
}

CKPT_DETAIL_RARE result<std::uint64_t> storage_table::file_offset(std::uint32_t storage) const {
    const entry& e = entries_[storage];
    if (e.in_memory) {
        if (e.memory().offset != no_offset) return e.memory().offset;
        return transcoded_error();
    }
    if (!folders_[e.folder].in_file || (e.from()->method != 0 && inflate_))
        return error{.code = errc::no_data,
                     .record = std::string(e.from()->name),
                     .detail = "the record is compressed, so its bytes have no place in the file"};
    auto at = place(e);
    if (!at) return at;
    return folders_[e.folder].from->base() + *at;
}

CKPT_DETAIL_DEF result<stored_place> storage_table::place_of(std::uint32_t storage) const {
    const entry& e = entries_[storage];
    if (e.in_memory || e.from()->method != 0) return stored_place{};
    auto at = place(e);
    if (!at) return std::move(at).failure();
    return stored_place{folders_[e.folder].from, *at, e.from()->crc32};
}

CKPT_DETAIL_RARE void storage_table::find_touched(std::uint32_t storage, std::uint64_t begin, std::uint64_t end,
                                                  range_visitor visit) const {
    constexpr std::uint64_t header = 512;         // as much as `locate` reads
    constexpr std::uint64_t most_descriptor = 24; // between the payload and the next record
    const entry& e = entries_[storage];
    if (e.in_memory) return;
    const record& r = *e.from();
    const source& from = *folders_[e.folder].from;
    if (r.bound < r.header_offset || r.bound - r.header_offset < r.stored_size) return;
    const std::uint64_t room = r.bound - r.header_offset, before = room - r.stored_size;
    if (r.method != 0 || before < most_descriptor) return visit(from, r.header_offset, r.bound);
    // Writers that align payloads do so by what stands before them.
    visit(from, r.header_offset, r.header_offset + (room < header ? room : header));
    visit(from, r.header_offset + (before - most_descriptor) + begin, r.header_offset + before + end);
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> storage_table::bytes(std::uint32_t storage) const {
    const entry& e = entries_[storage];
    const auto length = static_cast<std::size_t>(nbytes(storage));
    if (e.in_memory) return std::span<const std::byte>{e.memory().bytes, length};
    const source& from = *folders_[e.folder].from;
    if (e.from()->method != 0 && inflate_) {
        error compressed = zip::not_stored(from, *e.from());
        compressed.hint = "use copy_to or copy_as, or open with storage_mode::owned";
        return compressed;
    }
    if (!from.is_mapped()) return not_mapped_error(e.from()->name);
    auto at = place(e);
    if (!at) return std::move(at).failure();
    return from.mapped().subspan(static_cast<std::size_t>(*at), length);
}

CKPT_DETAIL_DEF result<void> storage_table::read(std::uint32_t storage, std::uint64_t offset,
                                                 std::span<std::byte> out) const {
    const entry& e = entries_[storage];
    if (e.in_memory) {
        if (!out.empty()) std::memcpy(out.data(), e.memory().bytes + offset, out.size());
        return {};
    }
    auto at = place(e);
    if (!at) return std::move(at).failure();
    const source& from = *folders_[e.folder].from;
    if (e.from()->method != 0) {
        if (out.empty()) return {};
        inflate_stream stream{from, *e.from(), *at, inflate_};
        if (auto skipped = stream.skip_to(offset); !skipped) return skipped;
        if (auto read = stream.read(out); !read) return read;
        return stream.finish();
    }
    auto done = from.read(*at + offset, out);
    if (!done) done.error().record = std::string(e.from()->name);
    return done;
}

CKPT_DETAIL_DEF result<std::uint64_t> storage_table::place(const entry& e) const {
    const source& from = *folders_[e.folder].from;
    return e.from()->method == 0 ? zip::locate(from, *e.from()) : locate_deflated(from, *e.from(), inflate_);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
