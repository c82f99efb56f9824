// ckpt/checkpoint.hpp: opens a checkpoint and gives out what is in it.
//
// SPDX-License-Identifier: MIT
// In:      a path, or bytes in memory; a policy that says which globals may be named; options.
// Out:     `checkpoint`: the object as values, its tensors as state_dicts, what the file is.
// Refuses: everything that a stage refuses, as one `error`. A refused file leaves nothing behind.
//
// Opening reads the archive's tail, its directory and the pickle, and nothing else: it costs the same for a kilobyte of
// weights and for a terabyte. After `open` returns nothing changes any more, so const objects may be read from many
// threads.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/archive/record.hpp>
#include <ckpt/core/byte_order.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/scratch.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/io/io_mode.hpp>
#include <ckpt/io/path.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/candidate.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/torch/global_scan.hpp>
#include <ckpt/torch/policies.hpp>
#include <ckpt/torch/verify_report.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Where the bytes of tensors live.
enum class storage_mode : std::uint8_t {
    mapped, ///< in the file's mapping: nothing is copied
    owned,  ///< in memory of the state_dict, aligned and in this machine's byte order: every view succeeds
};

struct open_options {
    ckpt::limits limits{};
    io_mode io{io_mode::map}; ///< `read` never maps: for network file systems, and files that may be cut
    storage_mode storages{storage_mode::mapped};  ///< for state_dicts; values below `root()` are always as mapped
    std::optional<ckpt::byte_order> byte_order{}; ///< overrides what the file says: before torch 2.1 it said nothing
    std::uint64_t offset{0};                      ///< where the checkpoint begins in the file
    std::uint64_t length{~std::uint64_t{0}};      ///< its bytes; all ones: to the end of the file
    std::string member{};                         ///< of a tar archive: the checkpoint inside it; empty: the only one
    std::uint32_t index{0}; ///< which of several checkpoints that torch.save wrote one after another before torch 1.6
    /// For archives whose records are compressed; without it they are refused with `compressed`, or fail where they are
    /// read.
    ckpt::inflater inflate{};
    ckpt::scratch scratch{}; ///< memory to reuse from one open to the next
};

namespace detail {
class checkpoint_file; // torch/checkpoint_file.hpp
struct checkpoint_access;
} // namespace detail

/// An open checkpoint. A cheap handle to an immutable object; copies share it.
class checkpoint {
  public:
    /// The object that was saved. Borrows from the checkpoint.
    [[nodiscard]] value root() const& noexcept;
    value root() const&& = delete;

    /// What a safetensors file says beside its tensors ("__metadata__"): a dictionary of texts; absent where there is
    /// none.
    [[nodiscard]] value metadata() const&;
    value metadata() const&& = delete;

    /// The state_dict of the one best candidate. Fails with `state_dict_missing` or `state_dict_ambiguous`; both say
    /// what was found. Shares ownership of the file.
    [[nodiscard]] result<ckpt::state_dict> state_dict() const;
    /// The state_dict at `path` ("model", "0/net"; elements joined by '/'), of a dictionary, a list, a tuple or a whole
    /// pickled module; the empty path is the root.
    [[nodiscard]] result<ckpt::state_dict> state_dict(std::string_view path) const;
    /// All candidates, the likeliest first, with reasons.
    [[nodiscard]] std::vector<candidate> state_dicts() const;

    /// "zip" (of torch.save), "legacy" (the stream of torch.save before torch 1.6), "tar" (before torch 0.1.10),
    /// "pickle", "torchscript", "torch_package", "pt2", "safetensors", or "shards" for a model in several files.
    [[nodiscard]] std::string_view container() const noexcept;
    /// What wrote the file, as far as it tells; a clause for people.
    [[nodiscard]] std::string_view writer() const noexcept;
    [[nodiscard]] ckpt::byte_order byte_order() const noexcept;
    /// False where the file does not say, and little-endian is assumed.
    [[nodiscard]] bool byte_order_recorded() const noexcept;
    /// How many checkpoints lie one after another in the file (streams before torch 1.6 and plain pickles can);
    /// `open_options::index` says which of them this is.
    [[nodiscard]] std::uint64_t checkpoints_in_file() const noexcept;
    /// Of all files together, where there are several.
    [[nodiscard]] std::uint64_t file_bytes() const noexcept;
    /// Of the pickle, or of the header of a safetensors file.
    [[nodiscard]] std::uint64_t pickle_bytes() const noexcept;
    /// What was opened of a folder (<ckpt/folder.hpp>) or of a tar archive: the names of its files. Empty for a file
    /// that was opened by itself.
    [[nodiscard]] const std::vector<std::string>& files() const& noexcept;
    const std::vector<std::string>& files() const&& = delete;
    /// The records of a zip archive, of whichever kind; none for other containers. Borrows from the checkpoint.
    [[nodiscard]] std::span<const record> records() const& noexcept;
    std::span<const record> records() const&& = delete;

    /// Checks what opening leaves for later: every local header against the directory, every checksum that its writer
    /// stored, every tensor that was refused, the indices of sparse and nested tensors. Reads the whole file where
    /// `checksums` is set.
    [[nodiscard]] verify_report verify(bool checksums = true) const;

  private:
    friend struct detail::checkpoint_access;
    explicit checkpoint(detail::shared<detail::checkpoint_file> file, storage_mode storages) noexcept
        : file_{std::move(file)}, storages_{storages} {}

    /// The indices of all sparse and nested tensors, each once. Many tensors may share their indices: what is read in
    /// all is in proportion to the file.
    void check_indices(verify_report& out) const;

    detail::shared<detail::checkpoint_file> file_;
    storage_mode storages_;
};

namespace detail {

/// What is behind a checkpoint, for the headers that make others of it.
struct checkpoint_access {
    [[nodiscard]] static const shared<checkpoint_file>& file(const checkpoint& c) noexcept { return c.file_; }
    [[nodiscard]] static checkpoint make(shared<checkpoint_file> file, storage_mode storages) noexcept {
        return checkpoint{std::move(file), storages};
    }
};

[[nodiscard]] result<checkpoint> open(path_arg path, const allowlist& allowed, const open_options& options);
[[nodiscard]] result<checkpoint> open(std::span<const std::byte> bytes, const allowlist& allowed,
                                      const open_options& options);
[[nodiscard]] result<global_scan> scan(path_arg path, const allowlist& judge, const open_options& options);
[[nodiscard]] result<global_scan> scan(std::span<const std::byte> bytes, const allowlist& judge,
                                       const open_options& options);

} // namespace detail

/// Opens the checkpoint at `path`. The policy says which globals it may name; whatever it says, nothing is run.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open(path_arg path, const open_options& options = {}) {
    return detail::open(path, detail::allowlist_of<P>(), options);
}

/// Opens a checkpoint in memory. The bytes are borrowed: they must outlive the checkpoint and what came from it.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open_bytes(std::span<const std::byte> bytes, const open_options& options = {}) {
    return detail::open(bytes, detail::allowlist_of<P>(), options);
}

/// The globals that the file at `path` asks for, judged by a policy. Builds nothing, and refuses no name. A safetensors
/// file asks for none. Fails only where no pickle is found; see `global_scan::stopped` for damage.
template <policy P = training_policy>
[[nodiscard]] result<global_scan> scan_globals(path_arg path, const open_options& options = {}) {
    return detail::scan(path, detail::allowlist_of<P>(), options);
}

/// The same for bytes in memory.
template <policy P = training_policy>
[[nodiscard]] result<global_scan> scan_globals_bytes(std::span<const std::byte> bytes,
                                                     const open_options& options = {}) {
    return detail::scan(bytes, detail::allowlist_of<P>(), options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/checkpoint.ipp>
#endif
