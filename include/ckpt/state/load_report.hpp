// ckpt/state/load_report.hpp: what a load did, or would do.
//
// SPDX-License-Identifier: MIT
// In:      what became of each target and of each source; filled by load, plan_load and their kin.
// Out:     lists; whether all is well; text for people, JSON for machines.
// Refuses: nothing: plain data.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A target that was written.
struct loaded_tensor {
    std::string key{};               ///< of the target
    std::vector<std::string> from{}; ///< its keys in the file: several where rules merged them, none for a filled one
    std::string file{};              ///< the file of a folder that holds it, where there are several
    std::string chain{};             ///< what was done on the way: "strip, merge, cast float16"; empty: nothing
    std::vector<std::string> aliases{};   ///< other keys of the file that were the same view
    bool aliased{};                       ///< there are such keys
    bool converted{};                     ///< more than its name changed on the way
    bool cast{};                          ///< its values were converted to another dtype
    std::optional<std::uint32_t> crc32{}; ///< of its values in the file (before a cast to the target), where digests
                                          ///< were asked for and the tensor has one
};

/// A target whose tensor is there and does not fit.
struct mismatched_tensor {
    std::string key{};
    std::vector<std::int64_t> want_shape{}; ///< `any` where every size fits
    std::vector<std::int64_t> got_shape{};
    std::optional<ckpt::dtype> want_dtype{}; ///< absent: every dtype fits
    std::optional<ckpt::dtype> got_dtype{};  ///< absent: the entry is no readable tensor
    std::string why{};                       ///< printable
};

/// A key of the file that a rule dropped.
struct dropped_tensor {
    std::string from{};
    std::string rule{};
};

/// For a missing key the unexpected ones that were probably meant, the likeliest first.
struct nearest_keys {
    std::string key{};
    std::vector<std::string> nearest{};
};

/// What a load did, or would do. Each target is in one of `loaded`, `missing_keys` and `mismatched`, or below one of
/// `absent`; each key of the file is in one of `used` and `dropped`, or came to be one of `unexpected_keys`.
struct load_report {
    std::vector<loaded_tensor> loaded{};
    std::vector<std::string> missing_keys{};
    std::vector<mismatched_tensor> mismatched{};
    std::vector<std::string>
        absent{}; ///< optional members that the file does not have, and vectors without elements there
    std::vector<std::string> used{}; ///< keys of the file that a target asked for, also where they did not fit
    std::vector<dropped_tensor> dropped{};
    std::vector<std::string> unexpected_keys{}; ///< of the state_dict: no target asked for them
    std::vector<nearest_keys> nearest{};        ///< for the first few missing keys
    std::size_t missing_not_allowed{};          ///< of `missing_keys`, how many no pattern allows
    std::size_t unexpected_not_allowed{};

    /// Whether each target is written, whatever was allowed. Optional members and elements of vectors that are absent
    /// are no targets.
    [[nodiscard]] bool complete() const noexcept { return missing_keys.empty() && mismatched.empty(); }
    /// Whether all is as it was asked for: what is missing or unexpected was allowed, and nothing is mismatched.
    [[nodiscard]] bool ok() const noexcept {
        return missing_not_allowed == 0 && unexpected_not_allowed == 0 && mismatched.empty();
    }

    /// Counts, then folded lists of what is not as it should be. Lines of printable text, for people.
    [[nodiscard]] std::string to_text() const;
    /// One JSON object with the members of this struct in a fixed order, and "complete" and "ok" before them.
    [[nodiscard]] std::string json() const;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/load_report.ipp>
#endif
