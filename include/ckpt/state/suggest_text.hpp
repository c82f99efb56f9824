// ckpt/state/suggest_text.hpp: the text of a suggestion: the rules that do best, and what they leave open.
//
// SPDX-License-Identifier: MIT
// In:      a suggestion with all its links, and the state_dict that it is about.
// Out:     a rules text; comments say what is uncertain and what is not explained.
// Refuses: nothing. Each way to write the rules is planned; what does not plan or matches less is left out.
#pragma once

#include <ckpt/state/state_dict.hpp>
#include <ckpt/state/suggest_lines.hpp>
#include <ckpt/state/suggestion.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

struct rule_suggestion;

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class suggestion_writer {
  public:
    suggestion_writer(const state_dict& weights, const suggestion& of) : weights_{weights}, of_{of}, lines_{of} {}

    [[nodiscard]] rule_suggestion run();

  private:
    /// What comes out of a text: key and shape, by the planner.
    struct outcome {
        bool ok{false};
        std::vector<std::pair<std::string, known_shape>> results{};
        std::size_t hits{0}; ///< results that are wanted

        /// The shapes of the results, by key.
        [[nodiscard]] std::unordered_map<std::string_view, const known_shape*> by_key() const;
    };
    [[nodiscard]] outcome try_out(const std::string& text) const;

    /// Tries the rules in several orders and forms, and keeps the best.
    void choose();
    /// Keeps the text of these rules where it does better than what was kept before.
    void attempt(std::vector<suggested_line> lines, bool fused_first, bool as_group);
    /// The rules as a text. complete_ becomes false where it cannot hold all.
    [[nodiscard]] std::string join(const std::vector<suggested_line>& lines, bool as_group);

    /// Adds rules that transpose what the links say.
    void append_turns(std::string& out);
    /// Rules for matrices that are wanted lying down: under the names that they have, or the only ones left of their
    /// sizes.
    [[nodiscard]] std::string transposes();

    /// The text with what it explains, as comments.
    [[nodiscard]] rule_suggestion finish() const;
    /// Wanted keys to which a guess leads, sorted.
    [[nodiscard]] std::vector<std::string> guessed_keys() const;
    /// Lists keys that keep their names, and may mean something else.
    void append_doubtful(std::string& out) const;
    /// Lists wanted keys that come out in another shape.
    void append_wrong_shapes(std::string& out) const;
    /// Lists a rule for each module of which nothing is wanted, and for each key beside those.
    void append_drops(std::string& out, const std::vector<std::string>& unwanted) const;

    const state_dict& weights_;
    const suggestion& of_;
    line_writer lines_;
    std::size_t claimed_{0};            ///< wanted keys that the links lead to
    std::uint64_t matches_{0};          ///< keys that patterns were tried on so far
    std::vector<std::string> turned_{}; ///< wanted keys that `transposes` leads to
    outcome best_{};
    std::string text_{};  ///< that led to best_
    bool complete_{true}; ///< whether all rules fit into a text
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggest_text.ipp>
#endif
