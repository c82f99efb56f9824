// Casts of `ckpt convert`.
#include "cast.hpp"

#include "render.hpp"

#include <ckpt/core/pattern.hpp>
#include <ckpt/state/caster.hpp>

#include <cstddef>
#include <utility>

namespace tool {

namespace {

/// A PATTERN=DTYPE of the command line, and what became of it.
struct cast_pattern {
    const options::cast_word& word;
    ckpt::pattern keys;
    bool is_key{};      // it has no wildcard
    bool matches{};     // some key
    bool does{};        // some tensor is cast, or has the dtype already
    bool passes_over{}; // some tensor cannot be cast

    explicit cast_pattern(const options::cast_word& w) : word{w}, keys{ckpt::pattern::parse(w.pattern).value()} {
        ckpt::detail::pattern_code code;
        ckpt::detail::syntax_fault fault;
        (void)ckpt::detail::parse_pattern({w.pattern, w.pattern, 0, false}, code, fault);
        is_key = code.literal;
    }
    [[nodiscard]] std::string spelled() const {
        const std::string_view to = word.quant == ckpt::gguf_quant::none ? ckpt::name(word.type) : name(word.quant);
        return "--dtype " + word.pattern + '=' + std::string(to);
    }
};

[[nodiscard]] bool has_fractions(ckpt::dtype_kind kind) {
    return kind == ckpt::dtype_kind::floating || kind == ckpt::dtype_kind::complex;
}

/// The casts of one state_dict.
class caster {
  public:
    caster(const options& wanted, const ckpt::state_dict& weights) : from_{weights}, casts_{weights} {
        for (const options::cast_word& word : wanted.casts) patterns_.emplace_back(word);
    }

    [[nodiscard]] ckpt::result<cast_weights> run(std::span<const ckpt::quantised_tensor> quantised) {
        cast_weights out{from_};
        for (const ckpt::quantised_tensor& t : quantised)
            out.casts.push_back({t.key, from_.at(t.key).value().dtype(), ckpt::name(t.how)});
        std::size_t number = 0, next = 0; // of the entries, and of those that are quantised
        for (const auto entry : from_) {
            cast_pattern* const last = last_match(entry.key);
            if (next < quantised.size() && quantised[next].key == entry.key) ++next;
            else if (last != nullptr)
                if (auto done = apply(*last, number, entry, out); !done) return done.error();
            ++number;
        }
        if (out.casts.size() > quantised.size()) out.weights = casts_.finish();
        for (const cast_pattern& p : patterns_) {
            if (!p.matches) out.notes.push_back(p.spelled() + ": no key matches it");
            else if (p.passes_over && !p.does)
                out.notes.push_back(p.spelled() + ": none of the tensors that it matches can be cast so");
        }
        return out;
    }

  private:
    /// The last pattern of a dtype which matches a key; null where none does.
    [[nodiscard]] cast_pattern* last_match(std::string_view key) {
        cast_pattern* found = nullptr;
        for (std::size_t i = patterns_.size(); i-- > 0;) {
            cast_pattern& p = patterns_[i];
            if ((found != nullptr && p.matches) || !p.keys.matches(key)) continue;
            p.matches = true;
            if (found == nullptr && p.word.quant == ckpt::gguf_quant::none) found = &p;
        }
        return found;
    }

    [[nodiscard]] ckpt::result<void> apply(cast_pattern& by, std::size_t number, const ckpt::state_dict::entry& entry,
                                           cast_weights& out) {
        const ckpt::dtype from = entry.tensor.dtype(), to = by.word.type;
        const ckpt::dtype_kind kind = ckpt::info(from).kind, wanted = ckpt::info(to).kind;
        const auto refused = [&](const std::string& why) {
            return ckpt::error{.code = ckpt::errc::conversion,
                               .detail =
                                   by.spelled() + ": " + ckpt::detail::quoted(entry.key) + " cannot be cast: " + why};
        };
        const bool is_built = entry.tensor.refusal() == nullptr;
        if (is_built && from == to) {
            by.does = true;
            return {};
        }
        if (is_built && has_fractions(kind) && !has_fractions(wanted))
            return refused(std::string(ckpt::name(from)) + " values would lose their fractions");
        if (is_built && has_fractions(wanted) && kind != wanted) {
            by.passes_over = true;
            if (!by.is_key) return {};
            return refused("it is " + std::string(ckpt::name(from)) + ", and to " + std::string(ckpt::name(to)) +
                           " only " + (wanted == ckpt::dtype_kind::complex ? "complex" : "floating") +
                           " tensors are cast");
        }
        std::string why = casts_.obstacle(number, to);
        if (why.empty()) {
            casts_.cast(number, to);
            by.does = true;
            out.casts.push_back({std::string(entry.key), from, ckpt::name(to)});
            return {};
        }
        if (by.is_key) return refused(why);
        by.passes_over = true;
        out.kept.push_back({std::string(entry.key), std::move(why)});
        return {};
    }

    const ckpt::state_dict& from_;
    ckpt::detail::tensor_caster casts_;
    std::vector<cast_pattern> patterns_{};
};

} // namespace

ckpt::result<cast_weights> cast(const options& wanted, const ckpt::state_dict& weights,
                                std::span<const ckpt::quantised_tensor> quantised) {
    return caster{wanted, weights}.run(quantised);
}

} // namespace tool
