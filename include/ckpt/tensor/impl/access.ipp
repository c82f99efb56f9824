// ckpt/tensor/impl/access.ipp: the definitions of access.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/hash.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<void> check_access(const tensor_data* data, const storage_source* source) {
    if (data == nullptr) return error{.code = errc::no_data, .detail = "the tensor handle is empty"};
    if (data->refusal != nullptr) return *data->refusal;
    if (data->kind == layout::meta)
        return error{.code = errc::no_data, .detail = "a meta tensor was saved without its values"};
    if (data->kind != layout::strided)
        return error{.code = errc::not_strided,
                     .detail = str_cat("the tensor's layout is ", name(data->kind)),
                     .hint = "its parts are tensors of their own: use them"};
    if (source == nullptr) return error{.code = errc::no_data, .detail = "the tensor has no storage"};
    return {};
}

CKPT_DETAIL_RARE error not_contiguous() {
    return {.code = errc::needs_copy,
            .detail = "the tensor is not contiguous: its elements do not lie one after another",
            .hint = "use a view, or copy it with copy_to"};
}

CKPT_DETAIL_RARE error lazy_bit_error(const tensor_data& data) {
    return {.code = errc::lazy_bit,
            .detail =
                str_cat("the tensor has its ", data.neg ? data.conj ? "neg and conj bits" : "neg bit" : "conj bit",
                        " set, so its bytes are not its values"),
            .hint = "copy_to and copy_as give the values"};
}

CKPT_DETAIL_RARE error rank_error(const tensor_data& data, std::size_t rank) {
    return {.code = errc::rank_mismatch,
            .detail = str_cat("the tensor has ", data.rank, " dimensions, asked for were ", rank, "; its shape is ",
                              list_of(data.sizes()))};
}

CKPT_DETAIL_RARE result<void> storage_access::gather_part(const box& part, std::size_t size, std::byte* out) {
    if (memory == nullptr) return gather(from, part, size, out, staging);
    if (from.meter != nullptr) return gather_in_steps(part, size, out);
    gather(memory, part, size, out);
    return {};
}

CKPT_DETAIL_RARE result<void> storage_access::gather_in_steps(const box& part, std::size_t size, std::byte* out) const {
    return for_each_part(part, from.most_at_once() / size, [&](const box& some, std::uint64_t first, std::uint64_t n) {
        gather(memory, some, size, out + first * size);
        return from.count(n * size);
    });
}

CKPT_DETAIL_RARE result<void> storage_access::copy(std::uint64_t offset, std::span<std::byte> out) const {
    if (memory == nullptr) return from.read(offset, out);
    while (!out.empty()) {
        const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(out.size(), from.most_at_once()));
        std::memcpy(out.data(), memory + offset, n);
        if (auto going = from.count(n); !going) return going;
        offset += n;
        out = out.subspan(n);
    }
    return {};
}

CKPT_DETAIL_RARE std::size_t storage_access::part_size(const box& whole, std::size_t size) const noexcept {
    const bool unordered = from.reader && (from.reader->is_scattered() || !goes_forward(whole));
    const std::uint64_t most = unordered ? unordered_part_bytes : part_bytes;
    const std::uint64_t all = count(whole); // may be far more than fits
    return static_cast<std::size_t>(all < most / size ? all * size : most);
}

CKPT_DETAIL_RARE result<shared<storage_reader>> storage_readers::open(const storage_source& source,
                                                                      std::uint32_t storage) {
    if (source.is_gathered(storage)) return source.reader(storage, *this); // it has no bytes of its own
    const auto hash_of = [](const storage_cursor& c) {
        return mix(reinterpret_cast<std::uintptr_t>(c.source) ^ (std::uint64_t{c.storage} << 32));
    };
    const auto number = static_cast<std::uint32_t>(known_.size());
    const std::uint32_t found = table_.insert(
        hash_of({&source, storage, {}}), number,
        [&](std::uint32_t i) { return known_[i].from.source == &source && known_[i].from.storage == storage; },
        [&](std::uint32_t i) { return hash_of(known_[i].from); });
    if (found == number) known_.push_back({{&source, storage, {}}, 0});
    known_storage& entry = known_[found];
    if (!entry.from.reader) {
        auto reader = source.reader(storage, *this);
        if (!reader) return reader;
        (*reader)->add_inflated(entry.inflated);
        entry.from.reader = *std::move(reader);
    } else if (recent_.back() == found) {
        return entry.from.reader;
    } else {
        std::erase(recent_, found);
    }
    recent_.push_back(found);
    if (auto done = make_room(); !done) return std::move(done).failure();
    return entry.from.reader;
}

CKPT_DETAIL_RARE result<void> storage_readers::make_room() {
    if (recent_.size() > most_ready) known_[recent_[recent_.size() - 1 - most_ready]].from.reader->rest();
    if (recent_.size() <= most) return {};
    known_storage& oldest = known_[recent_.front()];
    recent_.erase(recent_.begin());
    const shared<storage_reader> last = std::exchange(oldest.from.reader, {});
    auto done = storage_cursor{oldest.from.source, oldest.from.storage, last}.finish();
    oldest.inflated = last->inflated();
    return done;
}

CKPT_DETAIL_RARE result<void> storage_readers::finish() {
    for (const std::uint32_t i : recent_)
        if (auto checked = known_[i].from.finish(); !checked) return checked;
    return {};
}

CKPT_DETAIL_RARE result<storage_access> open_storage(const tensor_data& data, const storage_source& source,
                                                     bool inflate, storage_readers* readers) {
    storage_access out;
    out.from.source = &source;
    out.from.storage = data.storage;
    if (readers != nullptr) out.from.meter = readers->meter;
    std::uint64_t have = source.nbytes(data.storage);
    bool reads = false;
    if (readers != nullptr && readers->files != nullptr) {
        auto place = source.place_of(data.storage);
        if (!place) return std::move(place).failure();
        reads = readers->files->has(*place);
        if (reads) out.from.files = readers->files;
        out.from.place = *place;
    }
    auto bytes = reads ? std::span<const std::byte>{} : source.bytes(data.storage);
    if (reads) {
        // as a cursor does
    } else if (bytes) {
        have = bytes->size();
        out.memory = bytes->data();
    } else if (inflate && source.is_compressed(data.storage)) {
        if (readers == nullptr) {
            const auto own = make_shared<storage_readers>();
            out.own_readers = own;
            readers = own.get();
        }
        auto reader = readers->open(source, data.storage);
        if (!reader) return std::move(reader).failure();
        out.from.reader = *std::move(reader);
        if (source.is_gathered(data.storage)) out.from.meter = nullptr; // what it is made of counts
    } else if (bytes.error().code != errc::not_mapped && bytes.error().code != errc::needs_copy) {
        return std::move(bytes).failure();
    }
    std::uint64_t needed{};
    if (!bytes_needed(data, needed) || needed > have)
        return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    return out;
}

CKPT_DETAIL_RARE result<void>
unpack_parts(const tensor_data& data, storage_access& access, std::uint64_t most,
             function_ref<void(const std::byte* values, std::uint64_t first, std::uint64_t count)> f) {
    const std::size_t width = bits(data.type);
    const std::uint64_t per_byte = 8 / width;
    box whole;
    if (!make_box(data.sizes(), data.steps(), data.storage_offset, whole))
        return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    const std::uint64_t run = whole.rank == 0 || whole.strides[whole.rank - 1] != 1 ? 1 : whole.sizes[whole.rank - 1];
    if (run < most) most = run;
    std::vector<std::byte> buffer(static_cast<std::size_t>(bytes_of(data.type, most) + 1));
    std::vector<std::byte> values(static_cast<std::size_t>(most));
    return for_each_part(whole, most, [&](const box& part, std::uint64_t done, std::uint64_t n) -> result<void> {
        const std::uint64_t skip = part.offset % per_byte;
        auto read = access.copy(part.offset / per_byte,
                                {buffer.data(), static_cast<std::size_t>(bytes_of(data.type, skip + n))});
        if (!read) return read;
        unpack(width, buffer.data(), skip, n, values.data());
        f(static_cast<const std::byte*>(values.data()), done, n);
        return {};
    });
}

CKPT_DETAIL_RARE result<void> copy_unpacked(const tensor_data& data, storage_access& access, std::byte* out) {
    if (!is_contiguous(data)) return packed_error(data.type);
    return unpack_parts(data, access, part_bytes, [out](const std::byte* values, std::uint64_t first, std::uint64_t n) {
        std::memcpy(out + first, values, static_cast<std::size_t>(n));
    });
}

CKPT_DETAIL_RARE result<void> check_copy(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                         bool exact) {
    if (auto usable = check_access(handle, source); !usable) return usable;
    const tensor_data& data = *handle;
    const bool unpacks = bits(data.type) < 8;
    if (unpacks && (exact || to != ckpt::dtype::uint8 || !is_contiguous(data))) return packed_error(data.type);
    if (!is_plain_copy(data.type, to, exact) && !unpacks && (exact || !is_convertible(data.type, to)))
        return error{.code = exact ? errc::dtype_mismatch : errc::conversion,
                     .detail = str_cat("the tensor is ", name(data.type), ", asked for was ", name(to)),
                     .hint = is_convertible(data.type, to) ? std::string_view("copy_as converts")
                                                           : std::string_view("ask for the tensor's own type")};
    if (data.neg && !has_negation(data.type))
        return error{.code = errc::lazy_bit,
                     .detail =
                         str_cat("the neg bit is set on a tensor of ", name(data.type), ", which has no negation")};
    return {};
}

CKPT_DETAIL_RARE result<void> check_output(const tensor_data& data, const storage_source& source) {
    const std::uint64_t total = bytes_of(data.type, data.numel);
    const std::uint64_t have = source.nbytes(data.storage);
    if (total / 16 > have || (total / 16 == have && total % 16 != 0))
        return error{.code = errc::output_limit,
                     .detail = str_cat("the values are ", total, " bytes, more than 16 times the storage's ", have)};
    return {};
}

CKPT_DETAIL_RARE result<std::size_t> copy_bytes(const tensor_data& data, const storage_source& source, ckpt::dtype to) {
    std::uint64_t bytes{};
    std::size_t out{};
    const std::uint64_t most = source.nbytes(data.storage);
    if (checked_mul(data.numel, itemsize(to), bytes) && checked_narrow(bytes, out) &&
        (bytes <= free_copy_bytes || (bytes - free_copy_bytes) / 16 <= most))
        return out;
    return error{.code = errc::output_limit,
                 .detail = str_cat("the copy would need ", data.numel, " elements of ", name(to),
                                   ", far more than its storage of ", most, " bytes")};
}

CKPT_DETAIL_RARE error not_in_memory(const tensor_data& data, const storage_source& source) {
    if (auto bytes = source.bytes(data.storage); !bytes && bytes.error().code == errc::needs_copy)
        return std::move(bytes).error();
    return {.code = errc::not_mapped,
            .detail = "the storage is not in memory",
            .hint = "copy_to reads it, or open the file with storages = owned"};
}

CKPT_DETAIL_RARE error misaligned_error(ckpt::dtype type, std::size_t alignment) {
    return {.code = errc::misaligned,
            .detail = str_cat("the first element does not lie at a multiple of ", alignment, " bytes, as a view of ",
                              name(type), " needs it"),
            .hint = "copy_to works, or open the file with storages = owned"};
}

CKPT_DETAIL_RARE result<const std::byte*> view_address(const tensor_data* handle, const storage_source* source,
                                                       ckpt::dtype as, std::size_t rank) {
    if (auto usable = check_access(handle, source); !usable) return std::move(usable).failure();
    const tensor_data& data = *handle;
    if (info(data.type).packed) return packed_error(data.type);
    if (data.type != as && stored_integer(data.type) != as)
        return error{.code = errc::dtype_mismatch,
                     .detail = str_cat("the tensor is ", name(data.type), ", asked for was ", name(as)),
                     .hint = is_convertible(data.type, as) ? std::string_view("copy_as converts")
                                                           : std::string_view("ask for the tensor's own type")};
    if (data.rank != rank) return rank_error(data, rank);
    if (has_lazy_bit(data)) return lazy_bit_error(data);
    if (data.numel == 0) return static_cast<const std::byte*>(nullptr);
    if (info(data.type).component_bytes > 1 && source->order(data.storage) != native_order())
        return error{.code = errc::byte_order,
                     .detail = std::string("the elements are ") +
                               (native_order() == byte_order::little ? "big-endian" : "little-endian"),
                     .hint = "copy_to swaps, or open the file with storages = owned"};
    auto access = open_storage(data, *source);
    if (!access) return std::move(access).failure();
    if (access->memory == nullptr) return not_in_memory(data, *source);
    return access->memory + data.storage_offset * itemsize(data.type);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
