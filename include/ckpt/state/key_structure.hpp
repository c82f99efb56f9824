// ckpt/state/key_structure.hpp: what stands beside what in the names of one side.
//
// SPDX-License-Identifier: MIT
// In:      all names of a side, with their shapes.
// Out:     which numbers in them count equal modules ("layers.0" and "layers.1") and which name different ones ("mlp.0"
//          and "mlp.2"); the words of a name, with those that its neighbours tell.
// Refuses: nothing. Beyond 16 numbers and 64 segments a name is looked at no further.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/state/word_table.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A shape where it is known.
using known_shape = std::optional<std::vector<std::int64_t>>;

/// A key that is there or wanted. Rules about prefixes change its name while suggestions are looked for.
struct family_key {
    std::string name{};
    known_shape shape{};
    bool matched{false};
    bool doubtful{false}; ///< matched under its name, which may mean something else
};

/// Stands in a pattern for each number of a key.
inline constexpr char number_mark = '\x01';

/// What separates the segments of a name: dots, and the slashes of JAX.
[[nodiscard]] constexpr bool separates(char c) noexcept { return c == '.' || c == '/'; }
/// Calls `f(begin, end)` for the segments of a name, at most 64.
template <class F> void each_segment(std::string_view name, const F& f) {
    constexpr std::size_t most_segments = 64;
    std::size_t count = 0;
    for (std::size_t at = 0; at <= name.size() && count < most_segments; ++count) {
        std::size_t end = at;
        while (end < name.size() && !separates(name[end])) ++end;
        f(at, end);
        at = end + 1;
    }
}
/// How many numbers of a name are looked at.
inline constexpr std::size_t most_numbers = 16;

/// A number in a name: digits of at most nine places, without a leading zero.
struct number_run {
    std::size_t begin{};
    std::size_t end{};
    std::int64_t number{};
    bool whole{}; ///< a whole segment
};
/// The hash of a shape, of its sizes in their order or in any; 0 where it is unknown.
[[nodiscard]] std::uint64_t hash_of_sizes(const known_shape& shape, bool ordered);
/// The next number at or after `from`; empty digits where there is none.
[[nodiscard]] number_run next_number(std::string_view name, std::size_t from) noexcept;

class key_structure {
  public:
    key_structure() = default;
    key_structure(const std::vector<family_key>& keys, word_table& words);

    /// Which words tell nothing between names: numbers, and such as more than seven in ten keys have.
    [[nodiscard]] std::vector<char> common(const word_table& words) const;
    /// Whether a number in a name counts equal modules.
    [[nodiscard]] bool is_index(std::string_view name, const number_run& run) const;
    /// The words of a name, sorted, each once. Where `pattern` has number_mark, numbers tell nothing. `ends`: those of
    /// its last three segments.
    [[nodiscard]] std::vector<std::uint32_t> words(std::string_view name, std::string_view pattern, word_table& known,
                                                   std::vector<std::uint32_t>& ends) const;
    /// The hash of the numbers that count equal modules and are no marks in the pattern; 0 where there are none.
    [[nodiscard]] std::uint64_t indices(std::string_view name, std::string_view pattern) const;
    /// Whether a name has a number beside which other numbers stand here than there, in a module for which `open`
    /// holds.
    [[nodiscard]] bool differs(const key_structure& there, std::string_view name,
                               const function_ref<bool(std::string_view)>& open) const;
    /// What is known of the module that a bias goes with: a hash of the sizes of the weight beside it, in any order,
    /// and of whether it has running means; 0 where there is no weight, below 4 where its sizes are unknown.
    [[nodiscard]] std::uint64_t weight_beside(std::string_view name) const;

  private:
    /// The numbers that follow the same text, in all names.
    struct numbering {
        std::uint64_t before{}; ///< hash of that text
        std::uint64_t all{};    ///< hash of the numbers
        bool index{};
    };
    struct module_content {
        std::uint64_t path{};
        std::uint64_t weight{}; ///< hash of the sizes of its weight
        bool running{};         ///< it has running means
        module_neighbours has{};
    };
    void find_numberings(const std::vector<family_key>& keys);
    void count_words(const std::vector<family_key>& keys, word_table& words);
    void find_modules(const std::vector<family_key>& keys, word_table& words);
    [[nodiscard]] const numbering* numbering_at(std::string_view before) const;
    [[nodiscard]] const module_content* module_at(std::string_view path) const;

    plain_list<numbering> numberings_{};   ///< sorted by `before`
    plain_list<module_content> modules_{}; ///< sorted by `path`
    std::vector<char> common_{};           ///< by words
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/key_structure.ipp>
#endif
