// ckpt/torch/impl/legacy_checkpoint.ipp: the definitions of legacy_checkpoint.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/legacy_checkpoint.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<shared<checkpoint_file>> legacy_checkpoint::open(shared<source> from, const allowlist& allowed,
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
                layout.error().detail += str_cat(", behind ", count, " complete checkpoint", count > 1 ? "s" : "");
            return std::move(layout).failure();
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
    if (auto done = meaning.run(); !done) return std::move(done).failure();
    return shared<checkpoint_file>{out};
}

CKPT_DETAIL_RARE void legacy_checkpoint::check(const file_check&, verify_report& out) const {
    out.records += layout_.storages.size();
    out.unchecked_crc += layout_.storages.size();
}

CKPT_DETAIL_RARE std::string_view legacy_checkpoint::writer_of(const detail::graph& g) noexcept {
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

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
