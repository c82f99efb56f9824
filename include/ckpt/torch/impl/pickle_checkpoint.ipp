// ckpt/torch/impl/pickle_checkpoint.ipp: the definitions of pickle_checkpoint.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/torch/pickle_checkpoint.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<shared<checkpoint_file>> pickle_checkpoint::open(shared<source> from, const allowlist& allowed,
                                                                         const limits& budget, const scratch& reuse,
                                                                         std::uint32_t index) {
    auto out = detail::make_shared<pickle_checkpoint>(std::move(from), budget, reuse);
    const source& file = *out->from_;
    read_window window{file, 4096};
    std::uint64_t count = 0;
    for (std::uint64_t at = 0; at < file.size(); ++count) {
        auto end = pickle_end(window, file, at, pickle_ceiling(out->limits_));
        if (!end) {
            if (count > 0) end.error().detail += str_cat(", behind ", count, " complete pickle", count > 1 ? "s" : "");
            return std::move(end).failure();
        }
        std::optional<detail::graph> other;
        detail::graph& g = count == index ? out->graph_ : other.emplace(reuse.pool());
        auto bytes = read_owned(file, at, *end, g.memory);
        if (!bytes) return std::move(bytes).failure();
        g.pickle = *bytes;
        g.base = file.base() + at;
        machine reader{g, allowed, out->limits_};
        if (auto read = reader.run(); !read) return std::move(read).failure();
        if (reader.end_offset() != *end - at)
            return error{.code = errc::internal, .offset = g.base, .detail = "two readings of one pickle differ"};
        at = *end;
    }
    if (index >= count) return no_such_checkpoint(index, count);
    out->facts_ = {"pickle", "pickle.dump", byte_order::little, true, file.size(), {}, count};
    detail::graph& g = out->graph_;
    g.storages = &*out->storages_;
    resolver meaning{g, *out->storages_, out->limits_, allowed, id_form::none};
    if (auto done = meaning.run(); !done) return std::move(done).failure();
    // paddle.save adds the names of the parameters to a state_dict, under this key.
    if (value_access::make(g, g.root).at("StructuredToParameterName@@")) out->facts_.writer = "PaddlePaddle";
    return shared<checkpoint_file>{out};
}

CKPT_DETAIL_RARE void pickle_checkpoint::check(const file_check&, verify_report& out) const {
    ++out.records;
    ++out.unchecked_crc;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
