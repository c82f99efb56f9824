// ckpt/torch/scan.hpp: lists the globals that a file names, without building values.
//
// SPDX-License-Identifier: MIT
// In:      the pickle of an opened archive.
// Out:     each global once, with its verdict, count and first place; also of further pickles, of those in bytes that
//          torch.storage._load_from_bytes would read, and of bytes that begin like a pickle.
// Refuses: nothing: damage ends the scan, and is returned with the globals before it.
#pragma once

#include <ckpt/core/limits.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/machine.hpp>
#include <ckpt/pickle/names.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/torch/global_scan.hpp>
#include <ckpt/torch/legacy_layout.hpp>
#include <ckpt/torch/pickle_stream.hpp>
#include <ckpt/torch/policies.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// Where bytes that a pickle holds, or makes by calls, are found in it.
struct held_bytes {
    enum class form : std::uint8_t { unknown, bytes, latin1, utf8, numbers };
    std::uint32_t node{absent_node}; // of a bytes object, of text, or of a list or tuple of numbers
    form is{form::unknown};
};

/// Scans pickles, and the checkpoints in their bytes.
class global_scanner {
  public:
    global_scanner(const allowlist& judge, const limits& budget)
        : judge_{judge}, everything_{allowlist_of<inspect_policy>()}, limits_{budget} {}

    /// Scans one pickle, and more that follow it in `bytes`. Returns the damage of the first one. `in_file`: whether
    /// the file has these bytes uncompressed.
    std::optional<error> scan(std::span<const std::byte> bytes, std::uint64_t base, std::string_view record,
                              bool in_file = true) {
        return scan_region({bytes, base, in_file, false}, record, 0);
    }

    /// Adds the globals of another scan.
    void add(const global_scan& part) { seen_.insert(seen_.end(), part.begin(), part.end()); }

    /// The globals of all that was scanned; `damage`: the error that ended the scan early.
    [[nodiscard]] global_scan finish(std::optional<error> damage);

  private:
    struct region {
        std::span<const std::byte> bytes{};
        std::uint64_t base{};
        bool in_file{};    // otherwise the bytes were transcoded, and every place in them is `base`
        bool checkpoint{}; // what _load_from_bytes gets: five pickles and storages, and damage counts
    };
    struct observed {
        global_scanner* self{};
        std::vector<std::string> paths{}; // of the first occurrences
    };

    std::optional<error> scan_region(const region& from, std::string_view record, int depth);

    /// Notes the path of a global, for the first thousands of a file; a limit on steps and bytes bounds the cost.
    void note_path(const machine& reader, std::vector<std::string>& paths);

    /// Calls `visit` with the positions of each name, in order.
    template <class At, class Visit> static void for_each_run(std::size_t n, At&& at, Visit&& visit) {
        const auto compare = [&](std::uint32_t a, std::uint32_t b) {
            const int by_module = at(a).module.compare(at(b).module);
            return by_module != 0 ? by_module : at(a).name.compare(at(b).name);
        };
        const std::vector<std::uint32_t> order =
            sorted_indices(n, [&](std::uint32_t a, std::uint32_t b) { return compare(a, b) < 0; });
        for (std::size_t i = 0, end = 0; i < n; i = end) {
            for (end = i + 1; end < n && compare(order[i], order[end]) == 0;) ++end;
            visit(std::span<const std::uint32_t>{order.data() + i, end - i});
        }
    }

    /// One use for each name of a graph, in the order in which they first occur.
    void collect(const graph& g, const region& from, std::vector<std::string>& paths);

    /// Scans the checkpoints in arguments of torch.storage._load_from_bytes, and what begins like a pickle in any other
    /// bytes, as in those that BytesIO gets. Each is scanned once.
    void scan_nested(const graph& g, const region& from, std::string_view record, int depth);

    /// Scans one of them; `called_at`: the place of the call that makes or gets the bytes.
    void scan_content(const graph& g, const region& from, const held_bytes& content, std::uint64_t called_at,
                      bool checkpoint, std::string_view record, int depth);

    /// Notes why bytes were not looked into, if they are the first.
    void leave_out(errc code, std::uint64_t offset, std::string_view record, std::string_view why);

    const allowlist& judge_;
    allowlist everything_;
    const limits& limits_;
    shared<block_pool> pool_{detail::make_shared<block_pool>()};
    std::optional<error> left_out_{}; // pickles in pickles that were not looked into
    std::size_t path_bytes_{0};
    std::size_t path_steps_{0};
    std::vector<global_use> seen_{};
};

/// Scans a file of several pickles; `legacy`: with the storages of checkpoints between them.
[[nodiscard]] result<global_scan> scan_stream(const source& from, bool legacy, const allowlist& judge,
                                              const limits& budget);

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/scan.ipp>
#endif
