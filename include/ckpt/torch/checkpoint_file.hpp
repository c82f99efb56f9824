// ckpt/torch/checkpoint_file.hpp: an open checkpoint of any container.
//
// SPDX-License-Identifier: MIT
// In:      the results of a container's reader.
// Out:     the graph of the object, its storages, facts about the file; a full check on demand.
// Refuses: nothing itself. Immutable once it is open, and never moved, because its members point to each other.
#pragma once

#include <ckpt/archive/record.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/progress_meter.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/core/workers.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/torch/verify_report.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// Facts about a file: its container, its writer, its byte order.
struct file_facts {
    std::string_view container{}; // what checkpoint::container returns
    std::string_view writer{};    // text for people: "torch.save of torch 2.7 or later"
    byte_order order{byte_order::little};
    bool order_recorded{true};
    std::uint64_t file_bytes{};
    std::vector<std::string> files{}; // the files of a folder that were opened; empty for a single file
    std::uint64_t checkpoints{1};     // number of checkpoints, one after another in the file
    std::string path{};               // that was opened, of a file or a folder; empty for bytes in memory
    std::string folder{};             // in which the files stand; empty for bytes in memory
};

/// How a file is checked.
struct file_check {
    bool checksums{};
    workers lent{};
    progress_meter& meter; // its one item is all files
};

class checkpoint_file : public counted {
  public:
    [[nodiscard]] const detail::graph& graph() const noexcept { return graph_; }
    [[nodiscard]] const storage_source& storages() const noexcept { return *graph_.storages; }
    [[nodiscard]] const ckpt::limits& budget() const noexcept { return limits_; }
    [[nodiscard]] const file_facts& facts() const noexcept { return facts_; }
    /// The metadata of a safetensors file: a dictionary of texts; absent elsewhere.
    [[nodiscard]] value metadata() const;
    /// The records of an archive; none for other containers.
    [[nodiscard]] virtual std::span<const record> records() const noexcept { return {}; }
    /// Checks the container, and adds what it finds to `out`: headers, and with `how.checksums` every payload.
    virtual void check(const file_check& how, verify_report& out) const = 0;

    // What is known of a file from outside is noted before a program can see it.
    /// The name of the member of a tar archive.
    void found_in_archive(std::string name) { facts_.files.assign(1, std::move(name)); }
    /// The name of the only file of a folder.
    void found_in_folder(const std::string& name) {
        facts_.files.assign(1, name);
        graph_.storages->found_as(name);
    }
    /// The path that was opened, and the folder in which the files stand.
    void opened_at(std::string path, std::string folder) {
        facts_.path = std::move(path);
        facts_.folder = std::move(folder);
        graph_.file = facts_.path;
    }
    /// Names the file in an error that names none.
    void name_in(error& failure) const {
        if (failure.file.empty()) failure.file = facts_.path;
    }

  protected:
    checkpoint_file(const limits& budget, const shared<block_pool>& pool) : limits_{budget}, graph_{pool} {}

    ckpt::limits limits_;
    detail::graph graph_;
    file_facts facts_{};
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/checkpoint_file.ipp>
#endif
