// ckpt/torch/pickle_checkpoint.hpp: a file that is a plain pickle, opened.
//
// SPDX-License-Identifier: MIT
// In:      a source, an allowlist, options; where several pickles lie one after another, which of them.
// Out:     the graph; storages that all lie in the pickle: numpy arrays, and the checkpoints that pickle.dump of a
// tensor
//          nests in bytes. Their bytes are in the pickle, so this is the one container that costs as much as they do.
// Refuses: bytes behind the last pickle that are no pickle; what machine and resolver refuse. Persistent ids: there are
// none.
#pragma once

#include <ckpt/core/limits.hpp>
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
                                                              std::uint32_t index = 0) {
        auto out = detail::make_shared<pickle_checkpoint>(std::move(from), budget, reuse);
        const source& file = *out->from_;
        read_window window{file, 4096};
        std::uint64_t count = 0;
        for (std::uint64_t at = 0; at < file.size(); ++count) {
            auto end = pickle_end(window, file, at, pickle_ceiling(out->limits_));
            if (!end) {
                if (count > 0)
                    end.error().detail += ", behind " + decimal(count) + " complete pickle" + (count > 1 ? "s" : "");
                return std::move(end).error();
            }
            std::optional<detail::graph> other;
            detail::graph& g = count == index ? out->graph_ : other.emplace(reuse.pool());
            auto bytes = read_owned(file, at, *end, g.memory);
            if (!bytes) return std::move(bytes).error();
            g.pickle = *bytes;
            g.base = file.base() + at;
            machine reader{g, allowed, out->limits_};
            if (auto read = reader.run(); !read) return std::move(read).error();
            if (reader.end_offset() != *end - at)
                return error{.code = errc::internal, .offset = g.base, .detail = "two readings of one pickle differ"};
            at = *end;
        }
        if (index >= count) return no_such_checkpoint(index, count);
        out->facts_ = {"pickle", "pickle.dump", byte_order::little, true, file.size(), {}, count};
        detail::graph& g = out->graph_;
        g.storages = &*out->storages_;
        resolver meaning{g, *out->storages_, out->limits_, allowed, id_form::none};
        if (auto done = meaning.run(); !done) return std::move(done).error();
        // paddle.save puts the parameters' own names beside the arrays of a state_dict.
        if (detail_access::make(g, g.root).at("StructuredToParameterName@@")) out->facts_.writer = "PaddlePaddle";
        return shared<checkpoint_file>{out};
    }

    pickle_checkpoint(shared<source> from, const limits& budget, const scratch& reuse)
        : checkpoint_file{budget, reuse.pool()}, from_{std::move(from)} {
        storages_.emplace(*from_, graph_.memory);
    }

    /// All of it was read when it was opened, and the format has no checksums.
    void check(bool, verify_report& out) const override {
        ++out.records;
        ++out.unchecked_crc;
    }

  private:
    shared<source> from_;
    std::optional<stream_storages> storages_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
