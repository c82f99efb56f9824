// ckpt/torch/legacy_checkpoint.hpp: a stream of torch.save before torch 1.6, opened.
//
// SPDX-License-Identifier: MIT
// In:      a source, an allowlist, options; where several checkpoints lie one after another, which of them.
// Out:     the graph, and storages that are mapped where they lie, aligned or not.
// Refuses: rule L1, also of the checkpoints that were not asked for: what follows one is another complete one, or the
// file
//          is refused. What machine and resolver refuse.
#pragma once

#include <ckpt/core/limits.hpp>
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
                                                              std::uint32_t index) {
        auto out = detail::make_shared<legacy_checkpoint>(std::move(from), budget, reuse);
        const source& file = *out->from_;
        read_window window{file, 4096};
        std::uint64_t count = 0;
        for (std::uint64_t at = 0; at < file.size(); ++count) {
            std::optional<detail::graph> other;
            detail::graph& g = count == index ? out->graph_ : other.emplace(reuse.pool());
            auto pickles = legacy_pickles::find(window, file, at, out->limits_);
            auto layout = pickles ? legacy_layout::read(file, *pickles, g, allowed, out->limits_, file.base())
                                  : result<legacy_layout>{pickles.error()};
            if (!layout) {
                if (count > 0)
                    layout.error().detail +=
                        ", behind " + decimal(count) + " complete checkpoint" + (count > 1 ? "s" : "");
                return std::move(layout).error();
            }
            at = layout->end;
            if (count == index) out->layout_ = std::move(*layout);
        }
        if (index >= count) return no_such_checkpoint(index, count);
        detail::graph& g = out->graph_;
        out->facts_ = {"legacy", writer_of(g), byte_order::little, true, file.size(), {}, count};
        g.storages = &*out->storages_;
        legacy_keys keys{out->layout_, *out->storages_};
        resolver meaning{g, keys, out->limits_, allowed, id_form::legacy};
        if (auto done = meaning.run(); !done) return std::move(done).error();
        return shared<checkpoint_file>{out};
    }

    legacy_checkpoint(shared<source> from, const limits& budget, const scratch& reuse)
        : checkpoint_file{budget, reuse.pool()}, from_{std::move(from)} {
        storages_.emplace(*from_, graph_.memory);
    }

    /// Every header was compared with the object when the file was opened, and the format has no checksums.
    void check(bool, verify_report& out) const override {
        out.records += layout_.storages.size();
        out.unchecked_crc += layout_.storages.size();
    }

  private:
    /// By the functions that the object names.
    [[nodiscard]] static std::string_view writer_of(const detail::graph& g) noexcept {
        std::string_view out = "torch.save in the format before torch 1.6";
        for (std::size_t i = 0; i < g.globals.size(); ++i) {
            const global_occurrence& named = g.globals[i];
            if (named.module == "torch.storage" || named.name == "_rebuild_tensor_v3")
                return "torch.save of torch 2, in the format before torch 1.6";
            if (named.module == "torch._utils" && named.name == "_rebuild_tensor")
                return "torch.save of torch 0.1.10 to 0.3";
        }
        return out;
    }

    shared<source> from_;
    std::optional<stream_storages> storages_{};
    legacy_layout layout_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
