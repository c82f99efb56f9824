// ckpt/torch/legacy_checkpoint.hpp: a stream of torch.save before torch 1.6, opened.
//
// SPDX-License-Identifier: MIT
// In:      a source, an allowlist, options; where several checkpoints lie one after another, which of them.
// Out:     the graph, and storages that are mapped where they lie, aligned or not.
// Refuses: rule L1, also of the checkpoints that were not asked for: what follows one is another complete one, or the
//          file is refused. What machine and resolver refuse.
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

    /// Every header was compared with the object when the file was opened, and the format has no checksums.
    CKPT_DETAIL_DEF void check(bool, verify_report& out) const override;

  private:
    /// By the functions that the object names.
    [[nodiscard]] static std::string_view writer_of(const detail::graph& g) noexcept;

    shared<source> from_;
    std::optional<stream_storages> storages_{};
    legacy_layout layout_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/legacy_checkpoint.ipp>
#endif
