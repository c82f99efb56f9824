// ckpt/folder/zero_module.hpp: the object that a ZeRO checkpoint becomes.
//
// SPDX-License-Identifier: MIT
// In:      the opened files, and the gathered weights by name.
// Out:     {"module": the model's state_dict, "optimizer": {file: its content}, and what else the first rank saved}.
// Refuses: objects that cannot be copied, in findings. A weight of stage 3 of which nothing says where it is becomes a
//          tensor that is refused.
//
// The keys of "module" stand in the order of the first rank's file; what it has not comes behind them.
#pragma once

#include <ckpt/folder/joined.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/zero_files.hpp>
#include <ckpt/folder/zero_stages.hpp>
#include <ckpt/pickle/value.hpp>

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class zero_module {
  public:
    zero_module(folder_work& work, const zero_files& files, const std::map<std::string_view, zero_weight>& weights,
                joined_checkpoint& out)
        : work_{work},
          files_{files},
          weights_{weights},
          out_{out},
          first_{files.models().front()},
          copies_{out.grafter_of(first_.part)} {}

    /// The root of the graph.
    [[nodiscard]] std::uint32_t build();

  private:
    [[nodiscard]] std::uint32_t state_dict();
    /// {alias: the name under which DeepSpeed has the tensor}.
    void read_aliases();
    /// Weights that are not trained, which stages 1 and 2 save whole.
    void read_frozen();
    void read_buffers();
    /// The gathered weight of a key; `absent_node` where there is none.
    [[nodiscard]] std::uint32_t weight(std::string_view key) const;
    /// The gathered weight that a key is tied to. What that lacks, this lacks, too.
    [[nodiscard]] std::uint32_t tied_weight(std::string_view alias, std::string_view source);
    /// What stands under a key of the first rank's module.
    [[nodiscard]] std::uint32_t entry(std::string_view key, const value& mapped);
    [[nodiscard]] std::uint32_t refused(std::string_view key);
    /// Whether stage 3 took a weight and left an empty tensor in its place.
    [[nodiscard]] bool is_hollow(std::string_view key, const value& mapped) const;
    /// {file: its content}, of the files of the optimizer.
    [[nodiscard]] std::uint32_t optimizer();
    /// A copy of what is in the first rank's file; `absent_node` and a finding where it cannot be copied.
    [[nodiscard]] std::uint32_t copy(const value& v);

    folder_work& work_;
    const zero_files& files_;
    const std::map<std::string_view, zero_weight>& weights_;
    joined_checkpoint& out_;
    const zero_file& first_;
    joined_checkpoint::part_grafter copies_;
    std::map<std::string_view, std::string_view> aliases_{};
    std::map<std::string_view, value> frozen_{};
    std::vector<std::string_view> buffers_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/zero_module.ipp>
#endif
