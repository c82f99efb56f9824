// ckpt/torch/legacy_layout.hpp: one checkpoint in the stream format of torch.save before torch 1.6.
//
// SPDX-License-Identifier: MIT
// In:      a source, and the offset of the checkpoint in it.
// Out:     its object in a graph, the places of its storages, its end.
// Refuses: rule L1 of docs/errors.md: five pickles of other content; a storage that only the object or only the list of
//          keys names; a number of elements that differs from that in the object; storages past the end of the file.
//
// The format, without padding or lengths: the pickles of a magic number, of 1001, of {'little_endian': ..., ...}, of
// the object, of the list of storage keys; then for each key in that order an int64, its number of elements, and the
// elements. They are always little-endian. Only the object has their type: where it names one key with several classes
// (a storage and a tensor on it), torch counts in elements of the first.
//
// Source: torch/serialization.py, _legacy_save and _legacy_load.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/index_table.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/machine.hpp>
#include <ckpt/torch/pickle_stream.hpp>
#include <ckpt/torch/storage_class.hpp>
#include <ckpt/torch/stream_storages.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

namespace legacy {

inline constexpr std::string_view magic{"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
                                        10}; // 0x1950a86a20f9469cfc6c, little-endian
inline constexpr std::int64_t version = 1001;
inline constexpr std::string_view hint = "the file is damaged, or was cut and mended; get it again";

/// Whether a file begins with the pickle of the magic number, in any protocol.
[[nodiscard]] bool begins(std::string_view head) noexcept;

/// `offset`: in the file.
[[nodiscard]] inline error invalid(std::uint64_t offset, std::string detail) {
    return {.code = errc::legacy_invalid, .offset = offset, .detail = std::move(detail), .hint = hint};
}

} // namespace legacy

/// The offsets at which the five pickles of a checkpoint begin, and the last one ends.
struct legacy_pickles {
    std::array<std::uint64_t, 6> at{};

    [[nodiscard]] static result<legacy_pickles> find(read_window& window, const source& from, std::uint64_t begin,
                                                     const limits& budget);
    [[nodiscard]] std::uint64_t bytes() const noexcept { return at[5] - at[0]; }
};

/// A storage of the stream.
struct legacy_storage {
    std::string_view key{};
    std::uint64_t offset{}; // of its first element, in the source
    std::uint64_t nbytes{};
};

struct legacy_layout {
    plain_list<legacy_storage> storages{}; // in the order of the file
    std::uint64_t end{};                   // in the source, behind the last storage

    /// Parses the pickles into `g`, whose root is then the object, not resolved yet. `g.record` is set; `base` is where
    /// the source's first byte lies in the file.
    [[nodiscard]] static result<legacy_layout> read(const source& from, const legacy_pickles& pickles, graph& g,
                                                    const allowlist& allowed, const limits& budget, std::uint64_t base);

  private:
    /// A key, with the number and type of elements in the first persistent id that names it.
    struct named {
        std::string_view key{};
        std::uint64_t numel{};
        std::uint16_t type{};
        bool placed{false};
        std::size_t order{};
    };

    [[nodiscard]] static bool is_what_it_should_be(const graph& g, std::size_t i, std::uint32_t root) noexcept;

    /// The keys that the object names, sorted by text.
    [[nodiscard]] static plain_list<named> named_by(const graph& g);

    /// Reads the section of storages, which begins at `at`.
    [[nodiscard]] result<void> place(const source& from, std::uint64_t base, std::uint64_t at, const graph& g,
                                     std::uint32_t list, std::span<named> ids);
    [[nodiscard]] static error cut(std::uint64_t base, std::uint64_t size, std::string_view key, std::uint64_t at,
                                   std::uint64_t wanted);
};

/// Finds the storages of a stream by key, while the object is resolved.
class legacy_keys final : public storage_maker {
  public:
    /// Both must outlive this object.
    legacy_keys(const legacy_layout& layout, stream_maker& places);

    [[nodiscard]] CKPT_DETAIL_DEF errc find(std::string_view key, std::uint32_t& storage) override;
    /// Ids with one view key are one storage, as in torch; they must agree.
    [[nodiscard]] CKPT_DETAIL_DEF errc view(std::uint32_t, std::string_view key, std::uint64_t offset,
                                            std::uint64_t nbytes, std::uint32_t& storage) override;
    [[nodiscard]] std::uint32_t add(std::span<const std::byte> bytes, byte_order order, std::uint64_t offset) override {
        return places_.add(bytes, order, offset);
    }

  private:
    struct known_view {
        std::string_view key{};
        std::uint64_t offset{};
        std::uint64_t nbytes{};
        std::uint32_t number{};
    };

    const legacy_layout& layout_;
    stream_maker& places_;
    std::vector<std::uint32_t> numbers_{};
    std::vector<std::uint32_t> sorted_{}; // by key
    plain_list<known_view> views_{};
    growing_index_table by_key_{}; // of views_
    std::uint32_t last_{0};
};

/// Makes the storages of a stream that is in bytes of a pickle.
class nested_places final : public stream_maker {
  public:
    /// `offset`: the place of the bytes in the file, or `no_offset` for transcoded ones.
    nested_places(storage_maker& outer, std::span<const std::byte> bytes, std::uint64_t offset) noexcept
        : outer_{outer}, bytes_{bytes}, offset_{offset} {}
    [[nodiscard]] CKPT_DETAIL_DEF std::uint32_t place(std::string_view, std::uint64_t offset,
                                                      std::uint64_t nbytes) override;
    [[nodiscard]] std::uint32_t add(std::span<const std::byte> bytes, byte_order order, std::uint64_t offset) override {
        return outer_.add(bytes, order, offset);
    }

  private:
    storage_maker& outer_;
    std::span<const std::byte> bytes_;
    std::uint64_t offset_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/legacy_layout.ipp>
#endif
