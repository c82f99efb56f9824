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

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/safetensors.hpp>
#include <ckpt/archive/tar.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/state/discovery.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/indices.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/legacy_checkpoint.hpp>
#include <ckpt/torch/pickle_checkpoint.hpp>
#include <ckpt/torch/policies.hpp>
#include <ckpt/torch/safetensors_checkpoint.hpp>
#include <ckpt/torch/scan.hpp>
#include <ckpt/torch/sniff.hpp>
#include <ckpt/torch/tar_checkpoint.hpp>
#include <ckpt/torch/tar_member.hpp>
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
struct checkpoint_access;
}

/// An open checkpoint. A cheap handle to an immutable object; copies share it.
class checkpoint {
  public:
    /// The object that was saved. Borrows from the checkpoint.
    [[nodiscard]] value root() const& noexcept { return detail_access::make(file_->graph(), file_->graph().root); }
    value root() const&& = delete;

    /// What a safetensors file says beside its tensors ("__metadata__"): a dictionary of texts; absent where there is
    /// none.
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
            return error{.code = errc::state_dict_missing,
                         .path = std::string(path),
                         .detail = "not a dictionary or a module, but a " + std::string(name(at->kind())),
                         .hint = "give the path of a dictionary of tensors"};
        auto out = detail::make_state_dict(*at, std::string(path), file_, file_->storages(), file_->budget());
        if (!out || storages_ == storage_mode::mapped) return out;
        return out->owned();
    }
    /// All candidates, the likeliest first, with reasons.
    [[nodiscard]] std::vector<candidate> state_dicts() const {
        return find_candidates(detail_access::make(file_->graph(), file_->graph().root));
    }

    /// "zip" (of torch.save), "legacy" (the stream of torch.save before torch 1.6), "tar" (before torch 0.1.10),
    /// "pickle", "torchscript", "torch_package", "pt2", "safetensors", or "shards" for a model in several files.
    [[nodiscard]] std::string_view container() const noexcept { return file_->facts().container; }
    /// What wrote the file, as far as it tells; a clause for people.
    [[nodiscard]] std::string_view writer() const noexcept { return file_->facts().writer; }
    [[nodiscard]] ckpt::byte_order byte_order() const noexcept { return file_->facts().order; }
    /// False where the file does not say, and little-endian is assumed.
    [[nodiscard]] bool byte_order_recorded() const noexcept { return file_->facts().order_recorded; }
    /// How many checkpoints lie one after another in the file (streams before torch 1.6 and plain pickles can);
    /// `open_options::index` says which of them this is.
    [[nodiscard]] std::uint64_t checkpoints_in_file() const noexcept { return file_->facts().checkpoints; }
    /// Of all files together, where there are several.
    [[nodiscard]] std::uint64_t file_bytes() const noexcept { return file_->facts().file_bytes; }
    /// Of the pickle, or of the header of a safetensors file.
    [[nodiscard]] std::uint64_t pickle_bytes() const noexcept { return file_->graph().metadata_bytes(); }
    /// What was opened of a folder (<ckpt/folder.hpp>) or of a tar archive: the names of its files. Empty for a file
    /// that was opened by itself.
    [[nodiscard]] const std::vector<std::string>& files() const& noexcept { return file_->facts().files; }
    const std::vector<std::string>& files() const&& = delete;
    /// The records of a zip archive, of whichever kind; none for other containers. Borrows from the checkpoint.
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

    explicit checkpoint(detail::shared<detail::checkpoint_file> file, storage_mode storages) noexcept
        : file_{std::move(file)}, storages_{storages} {}

  private:
    friend struct detail::checkpoint_access;
    /// The indices of all sparse and nested tensors, each once. Many tensors may share their indices: what is read in
    /// all is in proportion to the file.
    void check_indices(verify_report& out) const {
        const detail::graph& g = file_->graph();
        std::vector<const detail::tensor_data*> checked;
        for (std::size_t i = 0; i < g.tensors.size(); ++i) // what a wrapper consists of was made before it
            if (const detail::tensor_data& t = g.tensors[i];
                t.extra != nullptr && t.kind != layout::wrapper && t.kind != layout::strided)
                checked.push_back(&t);
        // Of those with the same parts the first stays, and all stay in the file's order.
        std::vector<std::uint32_t> order(checked.size());
        for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
        const auto parts = [&](std::uint32_t i) {
            return std::pair{reinterpret_cast<std::uintptr_t>(checked[i]->extra), i};
        };
        std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return parts(a) < parts(b); });
        order.erase(
            std::unique(order.begin(), order.end(),
                        [&](std::uint32_t a, std::uint32_t b) { return checked[a]->extra == checked[b]->extra; }),
            order.end());
        std::sort(order.begin(), order.end());
        std::uint64_t left = 16 * file_->facts().file_bytes + (std::uint64_t{64} << 20);
        for (const std::uint32_t i : order) {
            const detail::tensor_data* const t = checked[i];
            std::uint64_t cost = detail::bytes_of(*t);
            for (const detail::named_data& part : t->extra->parts()) // each is inflated as a whole
                if (part.data.kind == layout::strided && part.data.numel != 0 &&
                    file_->storages().is_compressed(part.data.storage))
                    cost += file_->storages().nbytes(part.data.storage);
            if (cost > left) {
                out.findings.push_back({.code = errc::limit,
                                        .detail = "the indices of the sparse tensors of this file are shared so often "
                                                  "that not all were checked"});
                return;
            }
            left -= cost;
            auto valid = detail::check_values(t, &file_->storages());
            if (valid) continue;
            out.findings.push_back(std::move(valid).error());
            if (out.findings.back().code != errc::indices_invalid) continue;
            for (const detail::named_data& part : t->extra->parts().first(1)) // where to look for it
                out.findings.back().detail += "; its " + std::string(part.name) + " lie in storage " +
                                              detail::quoted(file_->storages().key(part.data.storage));
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

/// What is opened: the whole source, or of a tar archive around checkpoints the one that is meant.
struct chosen_source {
    shared<source> from{};
    container_kind is{container_kind::none};
    std::string member{}; // its name in the archive

    [[nodiscard]] static result<chosen_source> of(shared<source> whole, const open_options& options) {
        const auto is = container_of(*whole);
        if (!is) return is.error();
        if (*is != container_kind::tar) {
            if (options.member.empty()) return chosen_source{std::move(whole), *is, {}};
            return error{.code = errc::record_missing,
                         .offset = whole->base(),
                         .detail = "no member " + quoted(options.member) + ": the file is no tar archive"};
        }
        arena names{options.scratch.pool()};
        const auto archive = tar_archive::read(*whole, options.limits, names);
        if (!archive) return archive.error();
        if (options.member.empty() && tar_checkpoint::is_one(*archive))
            return chosen_source{std::move(whole), container_kind::tar, {}};
        auto member = tar_member::find(whole, *archive, options.member);
        if (!member) return std::move(member).error();
        const auto inner = container_of(*member->from);
        if (!inner) return inner.error();
        return chosen_source{std::move(member->from), *inner == container_kind::tar ? container_kind::none : *inner,
                             std::string(member->name)};
    }
};

[[nodiscard]] inline result<shared<checkpoint_file>> open_kind(shared<source> from, container_kind is,
                                                               const allowlist& allowed, const open_options& options) {
    const limits& budget = options.limits;
    if (is == container_kind::legacy)
        return legacy_checkpoint::open(std::move(from), allowed, budget, options.scratch, options.index);
    if (is == container_kind::pickle)
        return pickle_checkpoint::open(std::move(from), allowed, budget, options.scratch, options.index);
    if (options.index != 0) return no_such_checkpoint(options.index, 1);
    if (is == container_kind::tar) {
        arena names{options.scratch.pool()};
        const auto archive = tar_archive::read(*from, budget, names);
        if (!archive) return archive.error();
        return tar_checkpoint::open(std::move(from), *archive, allowed, budget, options.scratch);
    }
    if (is == container_kind::safetensors)
        return safetensors_checkpoint::open(std::move(from), budget, options.scratch);
    return zip_checkpoint::open(std::move(from), allowed, budget, options.scratch, options.byte_order, options.inflate);
}

[[nodiscard]] inline result<shared<checkpoint_file>> open_container(shared<source> whole, const allowlist& allowed,
                                                                    const open_options& options) {
    auto chosen = chosen_source::of(std::move(whole), options);
    if (!chosen) return std::move(chosen).error();
    auto file = open_kind(std::move(chosen->from), chosen->is, allowed, options);
    if (file && !chosen->member.empty()) (*file)->found_as(std::move(chosen->member));
    return file;
}

[[nodiscard]] inline result<checkpoint> open(result<shared<source>> from, const allowlist& allowed,
                                             const open_options& options) {
    if (!from) return std::move(from).error();
    auto file = open_container(std::move(*from), allowed, options);
    if (!file) return std::move(file).error();
    return checkpoint{std::move(*file), options.storages};
}

[[nodiscard]] inline source_options part_of(const open_options& options) noexcept {
    return {options.io, options.offset, options.length};
}

[[nodiscard]] inline result<global_scan> scan(const result<shared<source>>& from, const allowlist& judge,
                                              const open_options& options) {
    if (!from) return from.error();
    arena memory{options.scratch.pool()};
    const auto chosen = chosen_source::of(*from, options);
    if (!chosen) return chosen.error();
    const shared<source>& file = chosen->from;
    if (chosen->is == container_kind::safetensors) {
        if (auto header = safetensors_header::read(*file, options.limits, memory); !header)
            return std::move(header).error();
        return global_scan{{}, std::nullopt};
    }
    if (chosen->is == container_kind::tar) {
        const auto archive = tar_archive::read(*file, options.limits, memory);
        if (!archive) return archive.error();
        return tar_checkpoint::scan(file, *archive, judge, options.limits);
    }
    if (chosen->is == container_kind::legacy || chosen->is == container_kind::pickle)
        return scan_stream(*file, chosen->is == container_kind::legacy, judge, options.limits);
    auto zip = opened_zip::read(*file, options.limits, options.inflate, memory);
    if (!zip) return std::move(zip).error();
    const other_pickles others = other_pickles::read(file, *zip, options.limits, options.inflate, memory);
    global_scanner scanner{judge, options.limits};
    std::optional<error> damage = others.fault;
    for (const auto& pickles : {zip->pickles, others.pickles})
        for (const opened_pickle& p : pickles) {
            auto stopped = scanner.scan(p.bytes, p.offset, p.place.from->name, !p.transcoded);
            if (stopped && !damage && p.place.certain) damage = std::move(stopped);
        }
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
[[nodiscard]] result<global_scan> scan_globals_bytes(std::span<const std::byte> bytes,
                                                     const open_options& options = {}) {
    return detail::scan(detail::source::memory(bytes, detail::part_of(options)), detail::allowlist_of<P>(), options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
