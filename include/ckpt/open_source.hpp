// ckpt/open_source.hpp: opens a checkpoint in a source, for the headers that find one in a folder or inside a file.
//
// SPDX-License-Identifier: MIT
// In:      a source, or why there is none; a policy, options.
// Out:     a checkpoint.
// Refuses: what ckpt::open refuses.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/io/path.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/torch/sniff.hpp>

#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI {

class checkpoint;    // checkpoint.hpp
struct open_options; // checkpoint.hpp

namespace detail {

/// What is opened: the whole source, or of a tar archive around checkpoints the one that is meant.
struct chosen_source {
    shared<source> from{};
    container_kind is{container_kind::none};
    std::string member{}; // its name in the archive

    [[nodiscard]] static result<chosen_source> of(shared<source> whole, const open_options& options);
};

[[nodiscard]] result<checkpoint> open(result<shared<source>> from, const allowlist& allowed,
                                      const open_options& options);

/// Names the file in an error that does not name it.
void name_path(path_arg path, error& failure);
/// Notes the path in what was opened there, or in the error. `folder`: where the files stand; empty: the path is one
/// file.
[[nodiscard]] result<checkpoint> opened_at(path_arg path, result<checkpoint> opened, std::string folder = {});

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/open_source.ipp>
#endif
