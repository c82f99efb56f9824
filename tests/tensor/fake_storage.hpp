// SPDX-License-Identifier: MIT
// Storages in memory, which tests hand to tensors: mapped or only readable, in either byte order.
#pragma once

#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace fake {

class storage final : public ckpt::detail::storage_source {
  public:
    explicit storage(std::vector<std::byte> bytes, std::size_t misaligned_by = 0)
        : memory_(bytes.size() + 64 + misaligned_by), size_{bytes.size()} {
        const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
        start_ = static_cast<std::size_t>((64 - address % 64) % 64) + misaligned_by;
        if (!bytes.empty()) std::memcpy(memory_.data() + start_, bytes.data(), bytes.size());
    }

    bool mapped{true};
    ckpt::byte_order endian{ckpt::detail::native_order()};
    ckpt::errc failure{ckpt::errc::none}; ///< what each access to the bytes fails with
    mutable std::uint64_t reads{0};
    mutable std::uint64_t bytes_read{0};
    mutable std::uint64_t largest_read{0};
    mutable bool strayed{false}; ///< a read went past the end

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t) const noexcept override { return size_; }
    [[nodiscard]] ckpt::byte_order order(std::uint32_t) const noexcept override { return endian; }
    [[nodiscard]] std::string_view key(std::uint32_t) const noexcept override { return "7"; }
    [[nodiscard]] ckpt::result<std::uint64_t> file_offset(std::uint32_t) const override { return std::uint64_t{1216}; }
    [[nodiscard]] ckpt::result<std::span<const std::byte>> bytes(std::uint32_t) const override {
        if (failure != ckpt::errc::none) return ckpt::error{.code = failure};
        if (!mapped) return ckpt::error{.code = ckpt::errc::not_mapped};
        return all();
    }
    [[nodiscard]] ckpt::result<void> read(std::uint32_t, std::uint64_t offset,
                                          std::span<std::byte> out) const override {
        ++reads;
        bytes_read += out.size();
        if (out.size() > largest_read) largest_read = out.size();
        if (offset > size_ || out.size() > size_ - offset) {
            strayed = true;
            return ckpt::error{.code = ckpt::errc::truncated};
        }
        if (!out.empty()) std::memcpy(out.data(), memory_.data() + start_ + offset, out.size());
        return {};
    }
    [[nodiscard]] std::span<const std::byte> all() const noexcept { return {memory_.data() + start_, size_}; }

  private:
    std::vector<std::byte> memory_;
    std::size_t size_;
    std::size_t start_{};
};

template <class T> [[nodiscard]] std::vector<std::byte> bytes_of(const std::vector<T>& values) {
    std::vector<std::byte> out(values.size() * sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), values.data(), out.size());
    return out;
}

/// Keeps what a tensor borrows, after the same check that the library makes.
struct tensor {
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;
    ckpt::detail::tensor_data data{};
    const storage* source;
    ckpt::errc checked{};

    tensor(const storage& from, ckpt::dtype type, std::vector<std::int64_t> sizes, std::vector<std::int64_t> steps,
           std::uint64_t offset = 0)
        : shape(std::move(sizes)), strides(std::move(steps)), source{&from} {
        data.type = type;
        data.rank = static_cast<std::uint32_t>(shape.size());
        data.shape = shape.data();
        data.strides = strides.data();
        data.storage_offset = offset;
        checked = ckpt::detail::check_geometry(data, from.nbytes(0), 64);
    }
    tensor(const tensor&) = delete;
    tensor& operator=(const tensor&) = delete;
    ~tensor() = default;

    [[nodiscard]] ckpt::tensor get() const noexcept { return ckpt::detail::tensor_access::make(&data, source); }
};

} // namespace fake
