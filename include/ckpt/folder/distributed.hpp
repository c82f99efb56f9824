// ckpt/folder/distributed.hpp: finds the distributed checkpoint of a folder.
//
// SPDX-License-Identifier: MIT
// In:      the names in a folder, which told what kind it is, and those in the folders below it.
// Out:     what was found, joined; or the one file that is all of it.
// Refuses: several steps or checkpoints to choose from; ranks of Megatron-LM that are cut in ways that no file tells.
#pragma once

#include <ckpt/core/shared.hpp>
#include <ckpt/folder/contents.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/io/folder.hpp>

#include <optional>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class distributed_finder {
  public:
    distributed_finder(folder_work& work, const folder_contents& contents) : work_{work}, contents_{contents} {}

    /// Returns false where the folder holds no distributed checkpoint. Otherwise sets `joined` or `file`, or notes a
    /// finding.
    [[nodiscard]] bool run(const std::vector<folder_entry>& entries);

    shared<checkpoint_file> joined{};
    std::string file{};

  private:
    void chose(std::string what, std::string why);
    void open_dcp(const std::string& step, std::string why);

    /// The first line of a short text of the folder; empty where it is none.
    [[nodiscard]] std::string first_line(const std::string& name) const;
    /// The entries of a folder below this one; a finding where there is none of this name.
    [[nodiscard]] std::optional<std::vector<folder_entry>> inside(const std::string& name, const std::string& named_by);

    // ---- DeepSpeed

    [[nodiscard]] static bool has_states(const std::vector<folder_entry>& in);
    void open_zero(const std::vector<folder_entry>& entries);
    /// The files of one step; `step` is the folder that they are in, with a slash, or empty.
    void open_step(const std::string& step, const std::vector<folder_entry>& entries, std::string why);

    // ---- Megatron-LM and NeMo

    void open_megatron(std::vector<folder_entry> entries);

    // ---- a distributed checkpoint one folder further down, as accelerate and NeMo save them

    [[nodiscard]] bool open_inner();

    folder_work& work_;
    const folder_contents& contents_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/distributed.ipp>
#endif
