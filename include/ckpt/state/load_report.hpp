// ckpt/state/load_report.hpp: the report of a load.
//
// SPDX-License-Identifier: MIT
// In:      the outcome of each target and each source; `load`, `plan_load` and others fill it.
// Out:     lists; whether the load succeeded; text for people, JSON for programs.
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
    std::string file{};              ///< the file that has it, by its name in the folder; empty without a folder
    std::string chain{};             ///< the rules that changed it: "strip, merge, cast float16"; empty: none
    std::vector<std::string> aliases{};   ///< other keys of the file for the same view of the same storage
    bool aliased{};                       ///< whether there are such keys
    bool converted{};                     ///< whether rules changed more than its name
    bool cast{};                          ///< whether its values were converted to another dtype
    std::optional<std::uint32_t> crc32{}; ///< of its values in the file (before a cast to the target), where digests
                                          ///< were asked for and the tensor has one
};

/// A target whose tensor exists and does not fit.
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

/// For a missing key the most similar unexpected keys, the nearest first.
struct nearest_keys {
    std::string key{};
    std::vector<std::string> nearest{};
};

/// The report of a load, or of one that was only planned. Owns its text. Each target is in one of `loaded`,
/// `missing_keys` and `mismatched`, or below one of `absent`; each key of the file is in one of `used` and `dropped`,
/// or came to be one of `unexpected_keys`.
struct load_report {
    std::vector<loaded_tensor> loaded{};
    std::vector<std::string> missing_keys{};
    std::vector<mismatched_tensor> mismatched{};
    std::vector<std::string>
        absent{}; ///< optional members that the file does not have, and vectors without elements in it
    std::vector<std::string> used{}; ///< keys of the file that have a target, also where they did not fit
    std::vector<dropped_tensor> dropped{};
    std::vector<std::string> unexpected_keys{}; ///< keys of the state_dict without a target
    std::vector<nearest_keys> nearest{};        ///< for the first few missing keys
    std::size_t missing_not_allowed{};          ///< number of `missing_keys` that no pattern allows
    std::size_t unexpected_not_allowed{};       ///< number of `unexpected_keys` that no pattern allows

    /// Whether every target is written, also where it was allowed to be missing. Absent optional members and elements
    /// of vectors are not targets.
    [[nodiscard]] bool complete() const noexcept { return missing_keys.empty() && mismatched.empty(); }
    /// Whether the load succeeds: all missing and unexpected keys are allowed, and nothing is mismatched.
    [[nodiscard]] bool ok() const noexcept {
        return missing_not_allowed == 0 && unexpected_not_allowed == 0 && mismatched.empty();
    }

    /// Printable text for people: counts, then folded lists of missing, mismatched and unexpected keys.
    [[nodiscard]] std::string to_text() const;
    /// One JSON object with the members of this struct in a fixed order, and "complete" and "ok" before them.
    [[nodiscard]] std::string json() const;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/load_report.ipp>
#endif
