// ckpt/torch/storage_table.hpp: the storages of a zip archive.
//
// SPDX-License-Identifier: MIT
// In:      keys from the resolver; records of the archive, or of archives inside it; bytes of the pickle itself.
// Out:     a number for each storage; later its bytes, mapped, by positioned reads, or inflated.
// Refuses: a storage whose record is compressed, without an inflater, or whose local header disagrees with the
//          directory. It checks again at each access and caches nothing, so that threads may share it.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/plain_list.hpp>
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

/// The place of the storages of one pickle. The record of a key is named `before` + key + `after`: "archive/data/0".
struct storage_folder {
    const source* from{nullptr};
    const zip_archive* archive{nullptr};
    std::string_view before{}; ///< "archive/data/"
    std::string_view after{};  ///< ".storage" in torch.package
    byte_order order{byte_order::little};
    bool in_file{true}; ///< false where the archive is compressed in another one
};

class storage_table final : public storage_source, public storage_maker {
  public:
    /// Both must outlive the table, and so must all that folders point to.
    storage_table(const inflater& inflate, arena& memory) : inflate_{inflate}, memory_{memory} {}

    /// Looks for keys in this folder from now on.
    void enter(const storage_folder& folder);

    // storage_maker, while resolving
    [[nodiscard]] CKPT_DETAIL_DEF errc find(std::string_view key, std::uint32_t& storage) override;
    [[nodiscard]] CKPT_DETAIL_DEF std::uint32_t add(std::span<const std::byte> bytes, byte_order order,
                                                    std::uint64_t offset) override;

    // storage_source, afterwards
    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        const entry& e = entries_[storage];
        return e.in_memory ? e.memory().nbytes : e.from()->size;
    }
    [[nodiscard]] byte_order order(std::uint32_t storage) const noexcept override { return entries_[storage].order; }
    [[nodiscard]] CKPT_DETAIL_DEF std::string_view key(std::uint32_t storage) const noexcept override;
    [[nodiscard]] bool is_compressed(std::uint32_t storage) const noexcept override {
        const record* const from = entries_[storage].from();
        return from != nullptr && from->method != 0;
    }
    [[nodiscard]] CKPT_DETAIL_DEF result<shared<storage_reader>> reader(std::uint32_t storage,
                                                                        storage_readers& others) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<std::uint64_t> file_offset(std::uint32_t storage) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<stored_place> place_of(std::uint32_t storage) const override;
    CKPT_DETAIL_DEF void find_touched(std::uint32_t storage, std::uint64_t begin, std::uint64_t end,
                                      range_visitor visit) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<std::span<const std::byte>> bytes(std::uint32_t storage) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<void> read(std::uint32_t storage, std::uint64_t offset,
                                                    std::span<std::byte> out) const override;

  private:
    static constexpr std::uint32_t none = 0xFFFF'FFFFu;

    /// Bytes that no record has.
    struct made {
        const std::byte* bytes{nullptr};
        std::uint64_t nbytes{0};
        std::uint64_t offset{no_offset};
    };
    struct entry {
        const void* what{nullptr};  ///< a record, or a `made`
        std::uint32_t folder{none}; ///< the first in which the storage was looked for
        byte_order order{byte_order::little};
        bool in_memory{false};

        /// Null for bytes that no record has.
        [[nodiscard]] const record* from() const noexcept {
            return in_memory ? nullptr : static_cast<const record*>(what);
        }
        [[nodiscard]] const made& memory() const noexcept { return *static_cast<const made*>(what); }
    };
    /// Each record of an archive has a storage, in the order of the directory, so that the number of a storage does not
    /// depend on what is looked for first.
    struct known_archive {
        const zip_archive* archive{nullptr};
        std::uint32_t first{0};
    };

    [[nodiscard]] static bool names(const storage_folder& in, const record& r, std::string_view key) noexcept {
        const char* const name = r.name.data();
        return r.name.size() == in.before.size() + key.size() + in.after.size() &&
               same_text({name + in.before.size(), key.size()}, key) &&
               same_text({name, in.before.size()}, in.before) && (in.after.empty() || r.name.ends_with(in.after));
    }
    [[nodiscard]] result<std::uint64_t> place(const entry& e) const;
    const inflater& inflate_;
    arena& memory_;
    plain_list<storage_folder> folders_{};
    plain_list<known_archive> archives_{};
    std::uint32_t first_{0}; // of the archive of the last folder
    std::string name_{};     // buffer for the name of the record of a key
    std::size_t next_{0};
    chunked_array<entry> entries_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/storage_table.ipp>
#endif
