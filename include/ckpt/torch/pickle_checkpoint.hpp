// ckpt/torch/pickle_checkpoint.hpp: a file that is a plain pickle, opened.
//
// SPDX-License-Identifier: MIT
// In:      a source, an allowlist, options; where several pickles lie one after another, which of them.
// Out:     the graph; storages that all lie in the pickle: numpy arrays, and the checkpoints that pickle.dump of a
//          tensor nests in bytes. Their bytes are in the pickle, so this is the one container that costs as much as
//          they do.
// Refuses: bytes behind the last pickle that are no pickle; what machine and resolver refuse. Persistent ids: there
//          are none.
#pragma once

#include <ckpt/core/limits.hpp>
#include <ckpt/core/scratch.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/machine.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/pickle_stream.hpp>
#include <ckpt/torch/resolve.hpp>
#include <ckpt/torch/stream_storages.hpp>

#include <cstdint>
#include <optional>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class pickle_checkpoint final : public checkpoint_file {
  public:
    [[nodiscard]] static result<shared<checkpoint_file>> open(shared<source> from, const allowlist& allowed,
                                                              const limits& budget, const scratch& reuse,
                                                              std::uint32_t index = 0);

    pickle_checkpoint(shared<source> from, const limits& budget, const scratch& reuse)
        : checkpoint_file{budget, reuse.pool()}, from_{std::move(from)} {
        storages_.emplace(*from_, graph_.memory);
    }

    /// All of it was read when it was opened, and the format has no checksums.
    CKPT_DETAIL_DEF void check(bool, verify_report& out) const override;

  private:
    shared<source> from_;
    std::optional<stream_storages> storages_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/pickle_checkpoint.ipp>
#endif
