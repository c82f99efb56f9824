// ckpt/torch/tar_member.hpp: the checkpoint inside a tar archive, such as a .nemo file.
//
// SPDX-License-Identifier: MIT
// In:      the members of an archive that is not a checkpoint itself; optionally the name of one.
// Out:     that member as a source, which is a part of the same file.
// Refuses: archives without a checkpoint or with several, by an error that lists the members; unknown names.
//
// NeMo writes ./model_config.yaml and ./model_weights.ckpt, or, of a model that is split over ranks,
// ./mp_rank_00/model_weights.ckpt and so on (nemo/core/connectors/save_restore_connector.py).
#pragma once

#include <ckpt/archive/tar.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/torch/sniff.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A member of an archive, opened as a part of it.
struct tar_member {
    std::string_view name{}; // as the archive has it; lives as long as the archive's names
    shared<source> from{};

    /// The member named `wanted`, or for an empty name the only checkpoint.
    [[nodiscard]] static result<tar_member> find(const shared<source>& from, const tar_archive& archive,
                                                 std::string_view wanted);

  private:
    [[nodiscard]] static result<tar_member> open(const shared<source>& from, const tar_entry& e);
    /// The name without a leading "./", which tar writes.
    [[nodiscard]] static std::string_view plain(std::string_view name) noexcept;
    [[nodiscard]] static plain_list<const tar_entry*> members(const tar_archive& archive);
    [[nodiscard]] static std::string list(const plain_list<const tar_entry*>& entries);
    [[nodiscard]] static bool of_ranks(const plain_list<const tar_entry*>& entries) noexcept;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/tar_member.ipp>
#endif
