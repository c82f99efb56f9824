// ckpt/state/owned_storages.hpp: copies of the storages that a state_dict needs, in memory of its own.
//
// SPDX-License-Identifier: MIT
// In:      the tensors of a state_dict.
// Out:     their storages, each read once, aligned to 64 bytes, in this machine's byte order; and tensors over them.
// Refuses: nothing as a whole: a storage that cannot be read fails where its bytes are asked for. One in the other byte
//          order whose tensors disagree on the size of a number stays as it is: its views fail with `byte_order`,
//          copies work.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class owned_storages final : public storage_source {
  public:
    /// Reads the storages behind `tensors` and replaces each pointer by one to a tensor over the copy.
    [[nodiscard]] static shared<owned_storages> read(const storage_source& from,
                                                     std::span<const tensor_data*> tensors) {
        auto out = detail::make_shared<owned_storages>();
        std::vector<source_storage> wanted;
        std::vector<std::uint32_t> numbers; // here, by the storage's number there
        const auto change = [&](tensor_data& t) {
            if (t.refusal != nullptr || t.kind != layout::strided) return;
            if (t.storage >= numbers.size()) numbers.resize(std::size_t{t.storage} + 1 + numbers.size() / 2, none);
            if (numbers[t.storage] == none) {
                numbers[t.storage] = static_cast<std::uint32_t>(wanted.size());
                wanted.push_back({t.storage, numbers[t.storage], unknown});
            }
            std::uint8_t& unit = wanted[numbers[t.storage]].unit;
            const std::uint8_t own = info(t.type).component_bytes;
            unit = unit == unknown || unit == own ? own : mixed;
            t.storage = numbers[t.storage];
        };
        part_copies copies{out->memory_};
        for (const tensor_data*& t : tensors) {
            tensor_data copy = *t;
            copies.adopt(copy, &from, change);
            out->tensors_.push_back(out->memory_, copy);
            t = &out->tensors_.back();
        }
        out->entries_.resize(wanted.size());
        std::sort(wanted.begin(), wanted.end(),
                  [](const source_storage& a, const source_storage& b) { return a.there < b.there; });
        for (const source_storage& s : wanted) {
            entry& e = out->entries_[s.here];
            e.key = from.key(s.there);
            e.file = from.file(s.there);
            e.order = from.order(s.there);
            e.nbytes = from.nbytes(s.there);
            if (auto done = out->copy(from, s.there, e); !done) e.failure = std::move(done).error();
            swap(e, s.unit);
        }
        return out;
    }

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        return entries_[storage].nbytes;
    }
    [[nodiscard]] byte_order order(std::uint32_t storage) const noexcept override { return entries_[storage].order; }
    [[nodiscard]] std::string_view key(std::uint32_t storage) const noexcept override { return entries_[storage].key; }
    [[nodiscard]] std::string_view file(std::uint32_t storage) const noexcept override {
        return entries_[storage].file;
    }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t) const override {
        return error{.code = errc::no_data, .detail = "the storage is a copy in memory, without a place in the file"};
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        const entry& e = entries_[storage];
        if (e.failure) return *e.failure;
        return std::span<const std::byte>{e.bytes};
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset,
                                    std::span<std::byte> out) const override {
        const entry& e = entries_[storage];
        if (e.failure) return *e.failure;
        if (!out.empty()) std::memcpy(out.data(), e.bytes.data() + offset, out.size());
        return {};
    }

  private:
    struct entry {
        std::string key{};
        std::string file{};
        std::span<std::byte> bytes{};
        std::uint64_t nbytes{};
        byte_order order{};
        std::optional<error> failure{}; // of reading it; the other storages are not concerned
    };
    /// A storage of the file while all are numbered.
    struct source_storage {
        std::uint32_t there{};
        std::uint32_t here{};
        std::uint8_t unit{unknown}; // bytes of what is swapped in it
    };
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    static constexpr std::uint8_t unknown = 0;
    static constexpr std::uint8_t mixed = 0xFF;

    [[nodiscard]] result<void> copy(const storage_source& from, std::uint32_t storage, entry& e) {
        std::size_t length = 0;
        if (!checked_narrow(e.nbytes, length))
            return error{.code = errc::limit,
                         .detail = "a storage of " + decimal(e.nbytes) + " bytes does not fit into memory"};
        // A size that the file only claims is not allocated: a compressed record may claim any.
        if (auto there = from.read(storage, 0, {}); !there) return there;
        e.bytes = {memory_.whole_block((std::max)(length, std::size_t{1})).data, length};
        return from.read(storage, 0, e.bytes);
    }

    /// Brings a storage of the other byte order into this machine's, where all its tensors agree on the unit.
    static void swap(entry& e, std::uint8_t unit) {
        if (e.order == native_order() || unit == mixed) return;
        for (std::size_t at = 0; at + unit <= e.bytes.size(); at += unit)
            std::reverse(e.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                         e.bytes.begin() + static_cast<std::ptrdiff_t>(at + unit));
        e.order = native_order();
    }

    arena memory_{};
    std::vector<entry> entries_{};
    chunked_array<tensor_data> tensors_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
