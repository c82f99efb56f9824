// ckpt/folder/impl/zero.ipp: the definitions of zero.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/folder/joined.hpp>
#include <ckpt/folder/zero.hpp>
#include <ckpt/folder/zero_files.hpp>
#include <ckpt/folder/zero_module.hpp>
#include <ckpt/folder/zero_stages.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF shared<checkpoint_file> read_zero(folder_work& work, std::string step,
                                                  std::span<const folder_entry> entries) {
    const std::vector<error>& findings = work.report.findings;
    auto out = detail::make_shared<joined_checkpoint>(work.options.limits, "zero", "DeepSpeed");
    zero_files files{work, std::move(step), entries};
    if (!files.open(*out)) return {};
    zero_stages stages{work, files, *out};
    const auto& weights = stages.run();
    if (!findings.empty()) return {};
    const std::uint32_t root = zero_module{work, files, weights, *out}.build();
    if (!findings.empty()) return {};
    std::uint64_t bytes = 0;
    std::vector<std::string> names;
    for (const auto* list : {&files.models(), &files.optimizers()})
        for (const zero_file& f : *list)
            if (f.opened) {
                bytes += f.opened->file_bytes();
                names.push_back(f.name);
            }
    out->finish(root, std::move(names), bytes);
    return shared<checkpoint_file>{std::move(out)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
