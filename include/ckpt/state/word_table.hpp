// ckpt/state/word_table.hpp: the words that names of parameters are made of.
//
// SPDX-License-Identifier: MIT
// In:      names: "encoder.layers.self_attn.q_proj.weight".
// Out:     their words as numbers, those that mean the same under one: "layers" and "blocks".
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class word_table {
  public:
    /// The words of a name, sorted, each once. A word that was not met before gets the next number.
    [[nodiscard]] std::vector<std::uint32_t> words(std::string_view name);
    /// How many different words were met.
    [[nodiscard]] std::size_t size() const noexcept { return known_.size(); }

  private:
    void add_segment(std::string_view segment, std::vector<std::uint32_t>& out);
    void add_word(std::string_view word, std::vector<std::uint32_t>& out);
    /// Adds words that are separated by blanks.
    void add(std::string_view means, std::vector<std::uint32_t>& out);

    std::unordered_map<std::string, std::uint32_t> known_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/word_table.ipp>
#endif
