// ckpt/state/suggest.hpp: key rules that somebody could have written, from names and shapes alone.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, and the keys that a program wants, with their shapes where they are known.
// Out:     a rules text to read and to correct, with what it does not explain as comments. Nothing is applied.
// Refuses: nothing. What the text claims was checked by planning it; names and shapes cannot prove more than that.
//
// Keys that differ in numbers only are one family. Families are matched by shapes and by the words of their names, the
// surest first: what was matched tells how its neighbours are called. Work is bounded by the number of keys, not by its
// square: families of one fingerprint are compared, and where those are many, such as have a rare word in common.
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/state/fold.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/remap.hpp>
#include <ckpt/state/state_dict.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A key that shall come out, and its shape where it is known.
struct wanted_tensor {
    std::string key{};
    std::optional<std::vector<std::int64_t>> shape{};
};

struct rule_suggestion {
    std::string text{};                             ///< `key_map::parse` reads it; comments say what is uncertain
    std::vector<std::string> unexplained_sources{}; ///< keys that the rules lead to nothing that is wanted
    std::vector<std::string> unexplained_targets{}; ///< wanted keys that nothing becomes, or only with another shape
    std::size_t matched{};                          ///< wanted keys that come out, in their shape
};

namespace detail {

/// How a key is generalised: digits anywhere are numbers, whole segments of digits, or nothing.
enum class family_grain : std::uint8_t { digits, segments, literal };

/// A key with a mark for each number, and the numbers.
struct key_form {
    std::string pattern{};
    std::vector<std::int64_t> numbers{};
};

inline constexpr char number_mark = '\x01';

[[nodiscard]] key_form form_of(std::string_view key, family_grain grain);

/// The words of names, each as a number; words that mean the same have one.
class word_table {
  public:
    /// The words of a pattern, sorted, each once.
    [[nodiscard]] std::vector<std::uint32_t> words(std::string_view pattern);
    [[nodiscard]] std::size_t size() const noexcept { return known_.size(); }

  private:
    struct synonym {
        std::string_view word{};
        std::string_view means{}; ///< words, separated by a blank
    };
    // Whole segments: which of the two norms of a block it is.
    static constexpr synonym segments[]{
        {"input_layernorm", "attn norm"},
        {"layernorm_before", "attn norm"},
        {"ln_1", "attn norm"},
        {"norm1", "attn norm"},
        {"attention_norm", "attn norm"},
        {"attn_norm", "attn norm"},
        {"layer_norm1", "attn norm"},
        {"self_attn_layer_norm", "attn norm"},
        {"ln_2", "mlp norm"},
        {"norm2", "mlp norm"},
        {"ffn_norm", "mlp norm"},
        {"layer_norm2", "mlp norm"},
        {"post_attention_layernorm", "mlp norm"},
        {"layernorm_after", "mlp norm"},
        {"final_layer_norm", "mlp norm"},
        {"c_fc", "mlp up"},
        {"fc1", "mlp up"},
        {"linear1", "mlp up"},
        {"fc2", "mlp down"},
        {"linear2", "mlp down"},
        {"w1", "mlp gate"},
        {"w2", "mlp down"},
        {"w3", "mlp up"},
        {"lm_head", "head out"},
        {"conv_proj", "patch emb"},
        {"patch_embed", "patch emb"},
        {"patch_embeddings", "patch emb"},
        {"patch_embedding", "patch emb"},
        {"wte", "token emb"},
        {"wpe", "pos emb"},
        {"word_embeddings", "token emb"},
        {"embed_tokens", "token emb"},
        {"class_token", "class emb"},
        {"cls_token", "class emb"},
    };
    static constexpr synonym words_[]{
        {"layernorm", "norm"},
        {"ln", "norm"},
        {"bn", "norm"},
        {"batchnorm", "norm"},
        {"rmsnorm", "norm"},
        {"groupnorm", "norm"},
        {"gamma", "weight"},
        {"beta", "bias"},
        {"kernel", "weight"},
        {"query", "q"},
        {"key", "k"},
        {"value", "v"},
        {"attention", "attn"},
        {"mha", "attn"},
        {"output", "out"},
        {"o", "out"},
        {"projection", "proj"},
        {"dense", "linear"},
        {"fc", "linear"},
        {"lin", "linear"},
        {"ffn", "mlp"},
        {"feedforward", "mlp"},
        {"intermediate", "mlp up"},
        {"embedding", "emb"},
        {"embeddings", "emb"},
        {"embed", "emb"},
        {"embd", "emb"},
        {"tok", "token"},
        {"tokens", "token"},
        {"word", "token"},
        {"position", "pos"},
        {"positional", "pos"},
        {"block", "layer"},
        {"blocks", "layer"},
        {"layers", "layer"},
        {"resblocks", "layer"},
        {"blk", "layer"},
        {"h", "layer"},
        {"classifier", "head"},
        {"heads", "head"},
        {"shortcut", "downsample"},
        {"skip", "downsample"},
        {"vision", "visual"},
        {"image", "visual"},
        {"bert", "text"},
        {"cls", "class"},
    };

    void add(std::string_view means, std::vector<std::uint32_t>& out);
    void word(std::string_view w, std::vector<std::uint32_t>& out);
    void segment(std::string_view s, std::vector<std::uint32_t>& out);

    std::unordered_map<std::string, std::uint32_t> known_{};
};

class rule_suggester {
  public:
    rule_suggester(const state_dict& weights, std::span<const wanted_tensor> wanted);

    [[nodiscard]] rule_suggestion run();

  private:
    using shape_type = std::optional<std::vector<std::int64_t>>;
    static constexpr std::uint32_t nothing = ~std::uint32_t{0};

    struct item {
        std::string name{}; ///< as it stands after the rules about prefixes
        shape_type shape{};
        bool matched{false};
    };
    /// The unmatched keys that differ in numbers only.
    struct family {
        std::string pattern{};
        std::vector<std::uint32_t> members{};             ///< in the order of their numbers
        std::vector<std::vector<std::int64_t>> numbers{}; ///< of each member
        std::vector<std::uint32_t> words{};
        std::array<std::uint64_t, 3> stems{}; ///< hashes of the pattern without its last segments
        std::uint32_t leaf{0};                ///< what the last word means: 0 is unknown
        std::uint64_t fingerprint{};
    };
    enum class link_kind : std::uint8_t { rename, merge, split };
    enum class surety : std::uint8_t { named, guess, alone, position };
    /// A rule: families and what they become.
    struct link {
        link_kind kind{};
        surety sure{};
        family_grain grain{};
        std::vector<std::string> from{};
        std::vector<std::string> to{};
        std::vector<std::int64_t> offsets{};                  ///< of each number, from source to target
        std::vector<std::optional<std::int64_t>> constants{}; ///< numbers of the source that are always the same
        std::vector<std::int64_t> sizes{};                    ///< of a split into unequal parts
        std::vector<std::vector<std::uint32_t>> sources{};    ///< by part
        std::vector<std::vector<std::uint32_t>> targets{};
    };

    [[nodiscard]] static bool fits(const shape_type& a, const shape_type& b) noexcept { return !a || !b || *a == *b; }

    // ---- prefixes

    [[nodiscard]] static bool is_wrapped(std::string_view key);
    struct prefix_rule {
        std::string line{};
        std::string strip{};
        std::string add{};
        bool wrappers{false};
        [[nodiscard]] std::string apply(std::string_view name) const;
    };
    [[nodiscard]] bool is_target(std::string_view name, const shape_type& shape) const;
    /// Prefixes with the most votes, those first.
    [[nodiscard]] static std::vector<std::string> best_of(const std::unordered_map<std::string, std::size_t>& votes);
    void find_prefixes();
    [[nodiscard]] static std::string prefixed(std::string_view verb, std::string_view prefix);
    /// How many names are wanted after a rule; size_t(-1) where two names become one.
    [[nodiscard]] std::size_t matches_after(const prefix_rule& rule, std::size_t& changed) const;

    void match_equal();

    // ---- families

    [[nodiscard]] static std::uint32_t leaf_of(std::string_view pattern) noexcept;
    [[nodiscard]] static bool has_controls(std::string_view key) noexcept {
        return std::any_of(key.begin(), key.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
    }
    static void add_number(std::uint64_t& hash, std::uint64_t n) noexcept {
        hash = mix(hash * 0x9E37'79B9'7F4A'7C15u + n + 1);
    }

    [[nodiscard]] std::vector<family> families(const std::vector<item>& items, family_grain grain, bool shapes);

    /// Whether each member of `s` has its place in `t`, a constant number of places away, in the same order.
    [[nodiscard]] static bool aligned(const family& s, const family& t) noexcept;
    [[nodiscard]] bool aligned_with_shapes(const family& s, const family& t) const noexcept;

    // ---- one to one

    struct candidate {
        std::uint32_t s{};
        std::uint32_t t{};
        float score{};
    };

    /// Words in common, the rare ones counting more; 0 to 1.
    [[nodiscard]] float similarity(const family& s, const family& t, const std::vector<float>& worth) const noexcept;
    [[nodiscard]] std::vector<float> worth_of_words(const std::vector<family>& s, const std::vector<family>& t) const;

    void match_families(family_grain grain, bool by_place);
    template <class Buckets, class Take>
    void match_by_place(const std::vector<family>& s, const std::vector<family>& t, const Buckets& buckets,
                        Take&& take) {
        std::unordered_set<std::uint64_t> seen;
        for (const family& first : s) { // the buckets in the order of their first sources
            if (!seen.insert(first.fingerprint).second) continue;
            const auto& [left, right] = buckets.find(first.fingerprint)->second;
            // What the last word means must agree, as far as it is known on both sides.
            for (std::uint32_t leaf = 0; leaf <= 5; ++leaf) {
                std::vector<std::uint32_t> a;
                std::vector<std::uint32_t> b;
                for (const std::uint32_t i : left)
                    if (s[i].leaf == leaf) a.push_back(i);
                for (const std::uint32_t i : right)
                    if (t[i].leaf == leaf) b.push_back(i);
                if (a.empty() || a.size() != b.size()) continue;
                bool fit = true;
                for (std::size_t i = 0; i < a.size(); ++i) fit = fit && aligned_with_shapes(s[a[i]], t[b[i]]);
                if (!fit) continue;
                for (std::size_t i = 0; i < a.size(); ++i)
                    take(a[i], b[i], a.size() == 1 ? surety::alone : surety::position);
            }
        }
    }
    void add_candidates(const std::vector<family>& s, const std::vector<family>& t,
                        const std::vector<std::uint32_t>& left, const std::vector<std::uint32_t>& right,
                        const std::vector<float>& worth, std::vector<candidate>& out) const;
    [[nodiscard]] static std::uint64_t pair_hash(std::uint64_t a, std::uint64_t b) noexcept {
        return mix(a ^ mix(b + 0x51ED));
    }
    /// What is known of the neighbours: the same module came to the same module.
    [[nodiscard]] float bonus(const family& s, const family& t) const;

    // ---- queries, keys and values in one

    /// The pattern with its word for the query replaced by that for the key or the value; empty where it has none at
    /// `at`.
    struct query_word {
        std::size_t at{};
        std::string_view word{};
        std::array<std::string_view, 2> others{};
    };
    [[nodiscard]] static std::optional<query_word> query_at(std::string_view pattern, std::size_t at) noexcept;
    struct triple {
        std::array<std::uint32_t, 3> parts{};
        std::string stem{}; ///< the pattern without the word
    };
    [[nodiscard]] static std::vector<triple> triples(const std::vector<family>& all);
    [[nodiscard]] static bool is_fused_name(std::string_view pattern) noexcept;
    /// Whether the rows of three shapes one after another have the fourth.
    [[nodiscard]] static bool adds_up(const shape_type& q, const shape_type& k, const shape_type& v,
                                      const shape_type& whole) noexcept;
    void find_fused(family_grain grain);
    void find_fused(family_grain grain, bool merges);

    void add_link(link_kind kind, surety sure, family_grain grain, const std::vector<const family*>& from,
                  const std::vector<const family*>& to);

    /// Gives up what no rule can spell, and what would collide with a key that keeps the name.
    void free_borne_names();

    // ---- text

    [[nodiscard]] static std::string number_name(std::size_t k);
    [[nodiscard]] static std::string literal_rename(std::string_view from, std::string_view to);
    /// Whether a line is a rule. A key with a line feed at its end would leave a rule about another key before it.
    [[nodiscard]] static bool parses(std::string_view line) {
        return line.find('\n') == std::string_view::npos && key_map::parse(line).has_value();
    }

    /// A pattern or a template of a link. `leaf`: bytes at the end that `leaf_text` stands for.
    [[nodiscard]] static std::string word_of(const link& l, std::string_view pattern, bool is_template,
                                             std::size_t leaf, std::string_view leaf_text);
    /// The bytes at the end of all names of a link that are the same in each, whole words in the last segment.
    [[nodiscard]] static std::size_t common_leaf(const link& l) noexcept;

    /// Rules as lines, with the links that each stands for.
    struct line {
        std::string text{};
        surety sure{};
        link_kind kind{};
        std::size_t order{};
        std::vector<std::size_t> links{};
    };
    [[nodiscard]] static std::string rule_of(const link& l, std::size_t leaf, std::string_view in_pattern,
                                             std::string_view in_template);
    /// One line for links that differ in their last word only.
    [[nodiscard]] std::vector<line> specific_lines(const std::vector<std::size_t>& which) const;

    /// Modules whose whole content moves: `rename F.{rest:**} -> T.{rest}` for many links.
    [[nodiscard]] std::vector<line> module_lines(std::vector<std::size_t>& which) const;
    [[nodiscard]] static std::size_t marks(std::string_view pattern) noexcept {
        return static_cast<std::size_t>(std::count(pattern.begin(), pattern.end(), number_mark));
    }
    [[nodiscard]] bool keeps_name(std::uint32_t s) const { return !moved_.contains(s); }

    /// The rules as a text; `whole` becomes false where it cannot hold all.
    [[nodiscard]] static std::string join(const std::vector<std::string>& prefixes, const std::vector<line>& lines,
                                          bool group, bool& whole);

    /// What comes out: key and shape, by the planner.
    struct outcome {
        bool ok{false};
        std::vector<std::pair<std::string, shape_type>> results{};
        std::size_t hits{};
    };
    [[nodiscard]] outcome try_out(const std::string& text) const;

    [[nodiscard]] rule_suggestion write();
    /// Rules for matrices that are wanted lying down: under the names that they have, or the only ones left of their
    /// sizes.
    [[nodiscard]] std::string transposes(const outcome& made) const;
    static constexpr std::uint64_t most_matches = 100'000'000;
    /// Leaves out the patterns beyond the first `most`, those that explain least.
    void cut(std::vector<line>& lines, std::size_t most) const;
    /// Each key by itself: what cannot go wrong.
    [[nodiscard]] std::vector<line> literal_lines(const std::vector<std::size_t>& which) const;

    [[nodiscard]] rule_suggestion finish(std::string rules, const outcome& made) const;
    [[nodiscard]] static std::string sizes_of(const std::vector<std::int64_t>& shape);
    /// A rule for each module of which nothing is wanted, and for each key beside those.
    static void append_drops(std::string& out, const std::vector<std::string>& unwanted, const outcome& made);

    const state_dict& weights_;
    std::vector<item> sources_{};
    std::vector<item> targets_{};
    std::unordered_map<std::string_view, std::uint32_t> target_of_{};
    std::vector<std::string> prefixes_{};
    std::size_t equal_{0};
    word_table table_{};
    std::unordered_set<std::uint64_t> stems_{};
    std::vector<link> links_{};
    std::unordered_set<std::uint32_t> moved_{};
};

} // namespace detail

/// Rules that lead from the keys of `weights` to the wanted ones, as far as names and shapes tell: prefixes, renames,
/// queries, keys and values fused or taken apart, matrices transposed. Reads no element and changes nothing.
[[nodiscard]] inline rule_suggestion suggest_rules(const state_dict& weights, std::span<const wanted_tensor> wanted) {
    return detail::rule_suggester{weights, wanted}.run();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggest.ipp>
#endif
