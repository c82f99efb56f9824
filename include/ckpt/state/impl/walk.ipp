// ckpt/state/impl/walk.ipp: the definitions of walk.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/state/object_walk.hpp>
#include <ckpt/state/walk.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF std::string located_tensor::key() const {
    std::string out;
    for (const path_element& e : path) {
        if (&e != path.data()) out += '.';
        out += e.text;
    }
    return out;
}

CKPT_DETAIL_DEF result<std::vector<located_tensor>> find_tensors(const value& root, std::uint64_t limit) {
    std::vector<located_tensor> out;
    detail::walk_budget budget{root, limit};
    auto done = detail::walk_tensors(root, budget, errc::output_limit,
                                     [&](const std::vector<path_element>& path, const value& v) {
                                         if (v.kind() != kind::tensor && v.kind() != kind::array) return;
                                         out.push_back({path, *v.as_tensor(), v});
                                     });
    if (!done) return std::move(done).failure();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
