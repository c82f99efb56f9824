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

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/state/discovery.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/indices.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/policies.hpp>
#include <ckpt/torch/safetensors_checkpoint.hpp>
#include <ckpt/torch/scan.hpp>
#include <ckpt/torch/zip_checkpoint.hpp>

#include <algorithm>
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
    io_mode io{io_mode::map};                          ///< `read` never maps: for network file systems, and files that may be cut
    storage_mode storages{storage_mode::mapped};       ///< for state_dicts; values below `root()` are always as mapped
    std::optional<ckpt::byte_order> byte_order{};      ///< overrides what the file says: before torch 2.1 it said nothing
    std::uint64_t offset{0};                           ///< where the checkpoint begins in the file
    std::uint64_t length{~std::uint64_t{0}};           ///< its bytes; all ones: to the end of the file
    ckpt::scratch scratch{};                           ///< memory to reuse from one open to the next
};

namespace detail {
struct checkpoint_access;
}

/// An open checkpoint. A cheap handle to an immutable object; copies share it.
class checkpoint {
  public:
    /// The object that was saved. Borrows from the checkpoint.
    [[nodiscard]] value root() const& noexcept { return detail_access::make(file_->graph(), file_->graph().root); }
    value root() const&& = delete;

    /// What a safetensors file says beside its tensors ("__metadata__"): a dictionary of texts; absent where there is none.
    [[nodiscard]] value metadata() const& { return file_->metadata(); }
    value metadata() const&& = delete;

    /// The state_dict of the one best candidate. Fails with `state_dict_missing` or `state_dict_ambiguous`; both say
    /// what was found. Shares ownership of the file.
    [[nodiscard]] result<ckpt::state_dict> state_dict() const {
        auto best = detail::choose(detail_access::make(file_->graph(), file_->graph().root));
        if (!best) return std::move(best).error();
        return state_dict(best->path);
    }
    /// The state_dict at `path` ("model", "0/net"; elements joined by '/'), of a dictionary, a list, a tuple or a whole
    /// pickled module; the empty path is the root.
    [[nodiscard]] result<ckpt::state_dict> state_dict(std::string_view path) const {
        auto at = detail_access::make(file_->graph(), file_->graph().root).find(path);
        if (!at) return std::move(at).error();
        if (at->kind() == kind::refused) return *at->refusal();
        if (at->kind() != kind::dictionary && at->kind() != kind::list && at->kind() != kind::tuple && !at->is_module())
            return error{.code = errc::state_dict_missing, .path = std::string(path), .detail = "not a dictionary or a module, but a " + std::string(name(at->kind())),
                         .hint = "give the path of a dictionary of tensors"};
        auto out = detail::make_state_dict(*at, std::string(path), file_, file_->storages(), file_->budget());
        if (!out || storages_ == storage_mode::mapped) return out;
        return out->owned();
    }
    /// All candidates, the likeliest first, with reasons.
    [[nodiscard]] std::vector<candidate> state_dicts() const { return find_candidates(detail_access::make(file_->graph(), file_->graph().root)); }

    /// "zip", "safetensors", or "shards" for a model in several files.
    [[nodiscard]] std::string_view container() const noexcept { return file_->facts().container; }
    /// What wrote the file, as far as it tells; a clause for people.
    [[nodiscard]] std::string_view writer() const noexcept { return file_->facts().writer; }
    [[nodiscard]] ckpt::byte_order byte_order() const noexcept { return file_->facts().order; }
    /// False where the file does not say, and little-endian is assumed.
    [[nodiscard]] bool byte_order_recorded() const noexcept { return file_->facts().order_recorded; }
    /// Of all files together, where there are several.
    [[nodiscard]] std::uint64_t file_bytes() const noexcept { return file_->facts().file_bytes; }
    /// Of the pickle, or of the header of a safetensors file.
    [[nodiscard]] std::uint64_t pickle_bytes() const noexcept { return file_->graph().metadata_bytes(); }
    /// What was opened of a folder (<ckpt/folder.hpp>): the names of its files. Empty for a file that was opened by itself.
    [[nodiscard]] const std::vector<std::string>& files() const& noexcept { return file_->facts().files; }
    const std::vector<std::string>& files() const&& = delete;
    /// The records of a zip archive; none for other containers. Borrows from the checkpoint.
    [[nodiscard]] std::span<const record> records() const& noexcept { return file_->records(); }
    std::span<const record> records() const&& = delete;

    /// Checks what opening leaves for later: every local header against the directory, every checksum that its writer
    /// stored, every tensor that was refused, the indices of sparse and nested tensors. Reads the whole file where
    /// `checksums` is set.
    [[nodiscard]] verify_report verify(bool checksums = true) const {
        verify_report out;
        file_->check(checksums, out);
        for (const error* e : file_->graph().errors)
            if (info(e->code).exit_code != 4) out.findings.push_back(*e); // what is merely not supported is no damage
        check_indices(out);
        return out;
    }

    explicit checkpoint(detail::shared<detail::checkpoint_file> file, storage_mode storages) noexcept : file_{std::move(file)}, storages_{storages} {}

  private:
    friend struct detail::checkpoint_access;
    /// The indices of all sparse and nested tensors, each once. Many tensors may share their indices: what is read in all is in
    /// proportion to the file.
    void check_indices(verify_report& out) const {
        const detail::graph& g = file_->graph();
        std::vector<const detail::tensor_data*> checked;
        for (std::size_t i = 0; i < g.tensors.size(); ++i) // what a wrapper consists of was made before it
            if (const detail::tensor_data& t = g.tensors[i]; t.extra != nullptr && t.kind != layout::wrapper && t.kind != layout::strided) checked.push_back(&t);
        const auto by_parts = [](const detail::tensor_data* a, const detail::tensor_data* b) { return a->extra < b->extra; };
        const auto same_parts = [](const detail::tensor_data* a, const detail::tensor_data* b) { return a->extra == b->extra; };
        std::stable_sort(checked.begin(), checked.end(), by_parts);
        checked.erase(std::unique(checked.begin(), checked.end(), same_parts), checked.end());
        std::uint64_t left = 16 * file_->facts().file_bytes + (std::uint64_t{64} << 20);
        for (const detail::tensor_data* t : checked) {
            const std::uint64_t cost = detail::bytes_of(*t);
            if (cost > left) {
                out.findings.push_back({.code = errc::limit, .detail = "the indices of the sparse tensors of this file are shared so often that not all were checked"});
                return;
            }
            left -= cost;
            auto valid = detail::check_values(t, &file_->storages());
            if (valid) continue;
            out.findings.push_back(std::move(valid).error());
            for (const detail::named_data& part : t->extra->parts().first(1)) // where to look for it
                out.findings.back().detail += "; its " + std::string(part.name) + " lie in storage " + detail::quoted(file_->storages().key(part.data.storage));
        }
    }
    detail::shared<detail::checkpoint_file> file_;
    storage_mode storages_;
};

namespace detail {

/// What is behind a checkpoint, for the headers that make others of it.
struct checkpoint_access {
    [[nodiscard]] static const shared<checkpoint_file>& file(const checkpoint& c) noexcept { return c.file_; }
};

[[nodiscard]] inline result<bool> is_safetensors(const source& from) {
    std::byte head[64]{};
    const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(from.size(), sizeof head));
    if (auto read = from.read(0, {head, n}); !read) return std::move(read).error();
    return safetensors::begins({head, n});
}

[[nodiscard]] inline result<checkpoint> open(result<shared<source>> from, const allowlist& allowed, const open_options& options) {
    if (!from) return std::move(from).error();
    const auto other = is_safetensors(**from);
    if (!other) return other.error();
    auto file = *other ? safetensors_checkpoint::open(std::move(*from), options.limits, options.scratch)
                       : zip_checkpoint::open(std::move(*from), allowed, options.limits, options.scratch, options.byte_order);
    if (!file) return std::move(file).error();
    return checkpoint{std::move(*file), options.storages};
}

[[nodiscard]] inline source_options part_of(const open_options& options) noexcept { return {options.io, options.offset, options.length}; }

[[nodiscard]] inline result<global_scan> scan(const result<shared<source>>& from, const allowlist& judge, const open_options& options) {
    if (!from) return from.error();
    arena memory{options.scratch.pool()};
    const auto other = is_safetensors(**from);
    if (!other) return other.error();
    if (*other) {
        if (auto header = safetensors_header::read(**from, options.limits, memory); !header) return std::move(header).error();
        return global_scan{{}, std::nullopt};
    }
    auto zip = opened_zip::read(**from, options.limits, memory);
    if (!zip) return std::move(zip).error();
    global_scanner scanner{judge, options.limits};
    auto damage = scanner.scan(zip->pickle, zip->pickle_offset, zip->layout.pickle->name);
    return global_scan{scanner.take(), std::move(damage)};
}

} // namespace detail

/// Opens the checkpoint at `path`. The policy says which globals it may name; whatever it says, nothing is run.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open(path_arg path, const open_options& options = {}) {
    return detail::open(detail::source::open(path, detail::part_of(options)), detail::allowlist_of<P>(), options);
}

/// Opens a checkpoint in memory. The bytes are borrowed: they must outlive the checkpoint and what came from it.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open_bytes(std::span<const std::byte> bytes, const open_options& options = {}) {
    return detail::open(detail::source::memory(bytes, detail::part_of(options)), detail::allowlist_of<P>(), options);
}

/// The globals that the file at `path` asks for, judged by a policy. Builds nothing, and refuses no name. A safetensors
/// file asks for none. Fails only where no pickle is found; see `global_scan::stopped` for damage.
template <policy P = training_policy>
[[nodiscard]] result<global_scan> scan_globals(path_arg path, const open_options& options = {}) {
    return detail::scan(detail::source::open(path, detail::part_of(options)), detail::allowlist_of<P>(), options);
}

/// The same for bytes in memory.
template <policy P = training_policy>
[[nodiscard]] result<global_scan> scan_globals_bytes(std::span<const std::byte> bytes, const open_options& options = {}) {
    return detail::scan(detail::source::memory(bytes, detail::part_of(options)), detail::allowlist_of<P>(), options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
