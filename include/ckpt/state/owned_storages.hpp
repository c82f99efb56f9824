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
    [[nodiscard]] static shared<owned_storages> read(const storage_source& from, std::span<const tensor_data*> tensors) {
        auto out = make_shared<owned_storages>();
        std::vector<std::uint32_t> wanted;
        for (const tensor_data* t : tensors)
            if (t->refusal == nullptr && t->kind == layout::strided) wanted.push_back(t->storage);
        std::sort(wanted.begin(), wanted.end());
        wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
        for (const std::uint32_t storage : wanted) {
            entry& e = out->entries_.emplace_back();
            e.key = from.key(storage);
            e.file = from.file(storage);
            e.order = from.order(storage);
            e.nbytes = from.nbytes(storage);
            if (auto done = out->copy(from, storage, e); !done) e.failure = std::move(done).error();
        }
        const auto number = [&wanted](std::uint32_t storage) { return static_cast<std::size_t>(std::lower_bound(wanted.begin(), wanted.end(), storage) - wanted.begin()); };
        out->swap(tensors, number);
        for (const tensor_data*& t : tensors) {
            tensor_data copy = *t;
            if (copy.refusal == nullptr && copy.kind == layout::strided) copy.storage = static_cast<std::uint32_t>(number(copy.storage));
            out->tensors_.push_back(out->memory_, copy);
            t = &out->tensors_.back();
        }
        return out;
    }

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override { return entries_[storage].nbytes; }
    [[nodiscard]] byte_order order(std::uint32_t storage) const noexcept override { return entries_[storage].order; }
    [[nodiscard]] std::string_view key(std::uint32_t storage) const noexcept override { return entries_[storage].key; }
    [[nodiscard]] std::string_view file(std::uint32_t storage) const noexcept override { return entries_[storage].file; }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t) const override {
        return error{.code = errc::no_data, .detail = "the storage is a copy in memory, without a place in the file"};
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        const entry& e = entries_[storage];
        if (e.failure) return *e.failure;
        return std::span<const std::byte>{e.bytes};
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset, std::span<std::byte> out) const override {
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

    [[nodiscard]] result<void> copy(const storage_source& from, std::uint32_t storage, entry& e) {
        std::size_t length = 0;
        if (!checked_narrow(e.nbytes, length)) return error{.code = errc::limit, .detail = "a storage of " + decimal(e.nbytes) + " bytes does not fit into memory"};
        // A size that the file only claims is not allocated: a compressed record may claim any.
        if (auto there = from.read(storage, 0, {}); !there) return there;
        e.bytes = {memory_.whole_block((std::max)(length, std::size_t{1})).data, length};
        return from.read(storage, 0, e.bytes);
    }

    /// Brings storages of the other byte order into this machine's, where all their tensors agree on the unit.
    template <class Number>
    void swap(std::span<const tensor_data*> tensors, const Number& number) {
        constexpr std::uint8_t unknown = 0;
        constexpr std::uint8_t mixed = 0xFF;
        std::vector<std::uint8_t> units(entries_.size(), unknown);
        for (const tensor_data* t : tensors) {
            if (t->refusal != nullptr || t->kind != layout::strided) continue;
            std::uint8_t& unit = units[number(t->storage)];
            const std::uint8_t own = info(t->type).component_bytes;
            unit = unit == unknown || unit == own ? own : mixed;
        }
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            entry& e = entries_[i];
            if (e.order == native_order() || units[i] == mixed || units[i] == unknown) continue;
            for (std::size_t at = 0; at + units[i] <= e.bytes.size(); at += units[i]) std::reverse(e.bytes.begin() + static_cast<std::ptrdiff_t>(at), e.bytes.begin() + static_cast<std::ptrdiff_t>(at + units[i]));
            e.order = native_order();
        }
    }

    arena memory_{};
    std::vector<entry> entries_{};
    chunked_array<tensor_data> tensors_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
