// ckpt/checkpoint.hpp: opens a checkpoint, and gives access to its content.
//
// SPDX-License-Identifier: MIT
// In:      a path, or bytes in memory; a policy, which says which globals are allowed; options.
// Out:     `checkpoint`: the object as values, its tensors as state_dicts, facts about the file.
// Refuses: everything that a stage refuses, as one `error`.
//
// Opening reads the end of the archive, its directory and the pickle only, so its time does not depend on the size of
// the tensors. After `open` returns nothing changes any more, so several threads may read a const checkpoint.
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

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

class json_file; // torch/json_file.hpp

/// Where the bytes of tensors are.
enum class storage_mode : std::uint8_t {
    mapped, ///< in the mapping of the file; nothing is copied
    owned,  ///< copied to memory of the state_dict, aligned, in this machine's byte order
};

/// What becomes of a file that names a global outside the policy. Names that can only be an attack always refuse the
/// file, and so does every name outside `weights_policy`.
enum class foreign_globals : std::uint8_t {
    refuse_value, ///< the value that needs it is `kind::refused`; the rest of the file is read
    refuse_file,  ///< `open` fails with `global_not_allowed`
};

/// How `open` opens a file.
struct open_options {
    ckpt::limits limits{};    ///< budgets for files that are not trusted
    io_mode io{io_mode::map}; ///< `read` never maps: for network file systems, and files that may be truncated
    storage_mode storages{storage_mode::mapped}; ///< for state_dicts; values below `root()` are always as mapped
    foreign_globals foreign{foreign_globals::refuse_value};
    std::optional<ckpt::byte_order> byte_order{}; ///< overrides that of the file, which torch before 2.1 did not record
    std::uint64_t offset{0};                      ///< of the checkpoint's first byte in the file
    std::uint64_t length{~std::uint64_t{0}};      ///< bytes of the checkpoint; all ones: to the end of the file
    std::string member{};                         ///< of a checkpoint in a tar archive (.nemo); empty: the only one
    std::uint32_t index{0}; ///< of one of several checkpoints in a file, as torch before 1.6 wrote them, or pickles
    /// For archives with compressed records. Without it opening them, or reading such a storage, fails with
    /// `compressed`.
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
    /// The object that was saved, as a value; it borrows from the checkpoint.
    [[nodiscard]] value root() const& noexcept CKPT_DETAIL_BORROWED;
    value root() const&& = delete; // the value would outlive the file: name the checkpoint first

    /// A copy of the value at a path, as `value::get`: `file.get<double>("optimizer/param_groups/0/lr")`.
    template <class T> [[nodiscard]] result<T> get(std::string_view path) const { return root().template get<T>(path); }
    /// The same, or `fallback` where the path does not exist or leads to None, as `value::get_or`.
    template <class T> [[nodiscard]] result<T> get_or(std::string_view path, T fallback) const {
        return root().get_or(path, std::move(fallback));
    }

    /// A JSON file beside the weights: `file.config().get<int>("num_attention_heads")`, or
    /// `file.config("generation_config.json")`; for programs that include <ckpt/config.hpp> or <ckpt/folder.hpp>. It
    /// stands in the folder that was opened, or in that of the file or index. Without a name it is the first that
    /// exists of config.json, params.json, adapter_config.json, open_clip_config.json and hparams.json. Reads the file
    /// at each call; one that is missing or damaged gives a `json_file` whose functions fail with the reason.
    [[nodiscard]] json_file config(std::string_view name = {}) const;

    /// The "__metadata__" of a safetensors file: a dictionary of texts, which borrows from the checkpoint; absent where
    /// there is none.
    [[nodiscard]] value metadata() const& CKPT_DETAIL_BORROWED;
    value metadata() const&& = delete; // the value would outlive the file: name the checkpoint first

    /// The state_dict of the best candidate; it shares ownership of the file. Fails with `state_dict_missing`, or with
    /// `state_dict_ambiguous` where several are equally likely; the messages list the candidates.
    [[nodiscard]] result<ckpt::state_dict> state_dict() const;
    /// The state_dict at `path` ("model", "0/net"; elements joined by '/'), of a dictionary, a list, a tuple or a whole
    /// pickled module; the empty path is the root. A tensor gives one entry, whose key is the last element of the path,
    /// and "tensor" where the root is one: files of `torch.save(tensor)`.
    [[nodiscard]] result<ckpt::state_dict> state_dict(std::string_view path) const;
    /// All candidates for `state_dict`, the likeliest first, with reasons.
    [[nodiscard]] std::vector<candidate> state_dicts() const;
    /// The globals outside the policy that the file names, as errors with `module`, `name` and `path`: an error for
    /// each place, a thousand at most. The values there are `kind::refused`. Empty where every name is allowed.
    [[nodiscard]] std::vector<error> refused_globals() const;

    /// "zip" (of torch.save), "legacy" (the stream of torch.save before torch 1.6), "tar" (before torch 0.1.10),
    /// "pickle", "torchscript", "torch_package", "pt2", "safetensors"; of several files in a folder "shards", "dcp"
    /// (torch.distributed.checkpoint), "zero" (DeepSpeed), "ranks" (each rank's own part) or "parts" (LLaMA).
    [[nodiscard]] std::string_view container() const noexcept;
    /// The program that wrote the file, as far as the file tells: "torch.save of torch 2.7 or later". Text for people,
    /// whose form may change.
    [[nodiscard]] std::string_view writer() const noexcept;
    /// The byte order of the elements of tensors in the file.
    [[nodiscard]] ckpt::byte_order byte_order() const noexcept;
    /// Whether the file records its byte order; little-endian is assumed otherwise.
    [[nodiscard]] bool byte_order_recorded() const noexcept;
    /// The number of checkpoints in the file: streams before torch 1.6 and plain pickles can have several, one after
    /// another, of which `open_options::index` chooses one.
    [[nodiscard]] std::uint64_t checkpoints_in_file() const noexcept;
    /// The size of the file in bytes; of a folder, of all files that were opened.
    [[nodiscard]] std::uint64_t file_bytes() const noexcept;
    /// The size of the pickle in bytes, or of the header of a safetensors file.
    [[nodiscard]] std::uint64_t pickle_bytes() const noexcept;
    /// The names of the files of a folder (<ckpt/folder.hpp>) or of a tar archive that were opened; empty for a single
    /// file. Borrows from the checkpoint.
    [[nodiscard]] const std::vector<std::string>& files() const& noexcept CKPT_DETAIL_BORROWED;
    const std::vector<std::string>& files() const&& = delete; // they go with the file: name the checkpoint first
    /// The records of a zip archive; none for other containers. Borrows from the checkpoint.
    [[nodiscard]] std::span<const record> records() const& noexcept CKPT_DETAIL_BORROWED;
    std::span<const record> records() const&& = delete; // they go with the file: name the checkpoint first

    /// Checks what opening does not read: every local header against the directory, the indices of sparse and nested
    /// tensors, and where `checksums` is set, which reads the whole file, every checksum of the archive. The findings
    /// also have the tensors that could not be built.
    [[nodiscard]] verify_report verify(const verify_options& options = {}) const;

  private:
    friend struct detail::checkpoint_access;
    explicit checkpoint(detail::shared<detail::checkpoint_file> file, storage_mode storages) noexcept
        : file_{std::move(file)}, storages_{storages} {}

    [[nodiscard]] result<ckpt::state_dict> stored_state_dict(std::string_view path) const;

    /// Checks the indices of all sparse and nested tensors, each once also where tensors share them, so that it reads
    /// no more than is in proportion to the file.
    void check_indices(verify_report& out) const;

    detail::shared<detail::checkpoint_file> file_;
    storage_mode storages_;
};

namespace detail {

/// For the library: access to the file of a checkpoint.
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

/// Opens the checkpoint at `path`: `open("model.pt")`, or `open<my_policy>("model.pt")`. The policy says which globals
/// the file may name; no policy runs anything. A global outside the policy costs its value only
/// (`checkpoint::refused_globals`), one that can only be an attack the file. Fails with the first error of any stage:
/// `cannot_open`, `not_a_checkpoint`, `global_not_allowed` and others (docs/errors.md).
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open(path_arg path, const open_options& options = {}) {
    return detail::open(path, detail::allowlist_of<P>(), options);
}

/// Opens a checkpoint in memory. The bytes are borrowed: they must outlive the checkpoint, its state_dicts and all that
/// borrows from them.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open_bytes(std::span<const std::byte> bytes, const open_options& options = {}) {
    return detail::open(bytes, detail::allowlist_of<P>(), options);
}
template <policy P = training_policy, class Bytes>
    requires std::same_as<std::remove_const_t<Bytes>, std::vector<std::byte>>
result<checkpoint> open_bytes(Bytes&&, // the bytes are borrowed and would be gone: name the vector first
                              const open_options& = {}) = delete;

/// Lists the globals that the file at `path` names, with the verdicts of a policy. Builds no values and refuses no
/// global. A safetensors file names none. Fails only where there is no pickle. `global_scan::verdict` says what the
/// names and damage make of the file together; `global_scan::stopped` is the error of a damaged one.
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
