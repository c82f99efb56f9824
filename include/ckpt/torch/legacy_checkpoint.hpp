// ckpt/torch/legacy_checkpoint.hpp: opens a stream of torch.save before torch 1.6.
//
// SPDX-License-Identifier: MIT
// In:      a source, an allowlist, options; the index of one of several checkpoints in the file.
// Out:     the graph, and storages that are mapped in place, aligned or not.
// Refuses: what legacy_layout.hpp refuses, also of the other checkpoints in the file: bytes behind a checkpoint must be
//          another complete one. What machine and resolver refuse.
#pragma once

#include <ckpt/core/limits.hpp>
#include <ckpt/core/scratch.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/legacy_layout.hpp>
#include <ckpt/torch/pickle_stream.hpp>
#include <ckpt/torch/resolve.hpp>
#include <ckpt/torch/stream_storages.hpp>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class legacy_checkpoint final : public checkpoint_file {
  public:
    [[nodiscard]] static result<shared<checkpoint_file>> open(shared<source> from, const allowlist& allowed,
                                                              const limits& budget, const scratch& reuse,
                                                              std::uint32_t index);

    legacy_checkpoint(shared<source> from, const limits& budget, const scratch& reuse)
        : checkpoint_file{budget, reuse.pool()}, from_{std::move(from)} {
        storages_.emplace(*from_, graph_.memory);
    }

    /// Adds nothing: opening has compared every header with the object, and the format has no checksums.
    CKPT_DETAIL_DEF void check(const file_check&, verify_report& out) const override;

  private:
    /// The version of torch that wrote the file, by the globals that the object names.
    [[nodiscard]] static std::string_view writer_of(const detail::graph& g) noexcept;

    shared<source> from_;
    std::optional<stream_storages> storages_{};
    legacy_layout layout_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/legacy_checkpoint.ipp>
#endif
