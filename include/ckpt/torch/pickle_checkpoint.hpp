// ckpt/torch/pickle_checkpoint.hpp: opens a file that is a plain pickle.
//
// SPDX-License-Identifier: MIT
// In:      a source, an allowlist, options; the index of one of several pickles in the file.
// Out:     the graph; storages in bytes of the pickle: numpy arrays, and the checkpoints in bytes that pickle.dump of a
//          tensor writes. Opening this container takes time in proportion to the values, because they are in the
//          pickle.
// Refuses: bytes behind the last pickle that are not a pickle; persistent ids; what machine and resolver refuse.
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

    /// Adds nothing: opening has read the whole file, and the format has no checksums.
    CKPT_DETAIL_DEF void check(const file_check&, verify_report& out) const override;

  private:
    shared<source> from_;
    std::optional<stream_storages> storages_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/pickle_checkpoint.ipp>
#endif
