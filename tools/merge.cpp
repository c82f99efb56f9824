// Adapters and other weights over a base.
#include "merge.hpp"

#include "render.hpp"

#include <ckpt/state/overlay.hpp>
#include <ckpt/state/rule_text.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace tool {

namespace {

constexpr std::string_view config_name = "adapter_config.json";

[[nodiscard]] ckpt::error unmatched(std::string detail, std::string_view hint) {
    return {.code = ckpt::errc::adapter_unmatched, .detail = std::move(detail), .hint = hint};
}

/// A path of a module as PEFT's configuration spells it: without what PEFT wraps a model in, and without the name of
/// the adapter.
[[nodiscard]] std::string_view plain_path(std::string_view path) {
    if (const std::size_t name = path.rfind('['); path.ends_with(']') && name != path.npos) path = path.substr(0, name);
    constexpr std::string_view wrapper = "base_model.model.";
    return path.starts_with(wrapper) ? path.substr(wrapper.size()) : path;
}

/// A pattern of PEFT's alpha_pattern, read as the part of Python's regular expressions that names of modules need: '.'
/// is any character, "\." a dot, ".*" anything; what begins with '^' is the whole path.
class module_pattern {
  public:
    [[nodiscard]] static std::optional<module_pattern> read(std::string_view text) {
        module_pattern out;
        out.whole_ = text.starts_with('^');
        for (std::size_t i = out.whole_ ? 1 : 0; i < text.size(); ++i) {
            step next{.c = text[i]};
            if (text[i] == '.') next.any = true;
            else if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '.') next.c = text[++i];
            else if (std::string_view("\\*+?()[]{}|^$").find(text[i]) != std::string_view::npos) return {};
            if (next.any && i + 1 < text.size() && text[i + 1] == '*') {
                next.many = true;
                ++i;
            }
            out.steps_.push_back(next);
        }
        return out;
    }
    /// Whether it matches a path, or what stands behind one of its dots. Takes its steps from `left`; false at the end
    /// of them.
    [[nodiscard]] bool matches(std::string_view path, std::uint64_t& left) const {
        for (std::size_t at = 0;; ++at) {
            if (matches_all(path.substr(at), left)) return true;
            at = path.find('.', at);
            if (whole_ || at == path.npos) return false;
        }
    }

  private:
    struct step {
        char c{};
        bool any{};
        bool many{};
    };
    [[nodiscard]] bool matches_all(std::string_view text, std::uint64_t& left) const {
        std::size_t s = 0, t = 0, star = steps_.size(), held = 0;
        while (t < text.size()) {
            if (left == 0) return false;
            --left;
            if (s < steps_.size() && steps_[s].many) {
                star = s++;
                held = t;
            } else if (s < steps_.size() && (steps_[s].any || steps_[s].c == text[t])) {
                ++s;
                ++t;
            } else if (star < steps_.size()) { // what ".*" stands for is one character longer
                s = star + 1;
                t = ++held;
            } else {
                return false;
            }
        }
        while (s < steps_.size() && steps_[s].many) ++s;
        return s == steps_.size();
    }

    std::vector<step> steps_{};
    bool whole_{};
};

/// What adapter_config.json says of an adapter.
struct adapter_config {
    std::optional<double> alpha{};
    std::vector<std::pair<module_pattern, double>> alphas{};
    bool rank_stabilized{};
    bool fan_in_fan_out{};
    std::uint64_t steps_left{std::uint64_t{1} << 28}; // of matching, for all pairs

    /// The factor of a pair; nothing where no alpha is known.
    [[nodiscard]] std::optional<double> scale_of(const ckpt::lora_pair& pair) {
        std::optional<double> of = alpha;
        for (const auto& [pattern, own] : alphas)
            if (pattern.matches(plain_path(pair.path), steps_left)) {
                of = own;
                break;
            }
        const auto rank = static_cast<double>(pair.rank);
        if (of) *of /= rank_stabilized ? std::sqrt(rank) : rank;
        return of;
    }
};

/// Fails where a configuration says that the adapter is more, or something else, than a sum.
[[nodiscard]] ckpt::result<void> check_kind(const ckpt::json_file& config) {
    constexpr std::string_view elsewhere = "merge it with PEFT's merge_and_unload";
    const ckpt::value root = config.root();
    if (const auto kind = root.get_or<std::string>("peft_type", "LORA"); !kind || *kind != "LORA")
        return unmatched("adapter_config.json says that the adapter is of the kind \"" +
                             (kind ? printable(*kind) : std::string("?")) + "\", and only LORA can be merged here",
                         elsewhere);
    for (const char* const name : {"use_dora", "use_qalora", "use_bdlora"})
        if (const auto set = root.get_or(name, false); !set || *set)
            return unmatched("adapter_config.json has " + std::string(name) +
                                 ": the adapter does more than add scale * B * A",
                             elsewhere);
    for (const char* const name : {"alora_invocation_tokens", "layer_replication"})
        if (const auto found = root.at(name); found && !found->is_none())
            return unmatched("adapter_config.json has " + std::string(name) +
                                 ": what it means cannot be merged into the base",
                             elsewhere);
    const auto start = root.at("init_lora_weights");
    const auto named = start ? start->as_string() : ckpt::result<std::string_view>{ckpt::error{}};
    for (const char* const name : {"pissa", "corda", "olora", "loftq", "lora_ga"})
        if (named && named->starts_with(name))
            return unmatched(
                "adapter_config.json has init_lora_weights \"" + printable(*named) +
                    "\": the adapter belongs to a base that PEFT changed when the training began",
                "save it as plain LoRA first: path_initial_model_for_weight_conversion of save_pretrained");
    return {};
}

/// Reads adapter_config.json beside the adapter. Without such a file nothing is known.
[[nodiscard]] ckpt::result<adapter_config> read_config(const ckpt::checkpoint& in) {
    adapter_config out;
    const ckpt::json_file config = in.config(config_name);
    if (const ckpt::error* const why = config.refusal()) {
        if (why->code == ckpt::errc::cannot_open) return out;
        return *why;
    }
    if (auto usable = check_kind(config); !usable) return std::move(usable).error();
    const ckpt::value root = config.root();
    if (const auto alpha = root.at("lora_alpha"); alpha && !alpha->is_none()) {
        auto number = config.get<double>("lora_alpha");
        if (!number) return std::move(number).error();
        out.alpha = *number;
    }
    for (const auto& [name, to] :
         {std::pair{"use_rslora", &out.rank_stabilized}, std::pair{"fan_in_fan_out", &out.fan_in_fan_out}}) {
        auto set = root.get_or(name, false);
        if (!set) return std::move(set).error();
        *to = *set;
    }
    const auto patterns = root.at("alpha_pattern");
    if (!patterns || patterns->kind() != ckpt::kind::dictionary) return out;
    for (const auto entry : patterns->entries()) {
        const auto text = entry.key.as_string();
        const auto number = entry.mapped.as_real();
        auto pattern = text ? module_pattern::read(*text) : std::nullopt;
        if (!pattern || !number)
            return unmatched("alpha_pattern of adapter_config.json has \"" + (text ? printable(*text) : "?") +
                                 "\", and names of modules, '.', '\\.' and '.*' are what is understood here",
                             "write the names of the modules into alpha_pattern, one entry for each");
        out.alphas.emplace_back(std::move(*pattern), *number);
    }
    return out;
}

/// Whether a pair without an alpha has the names of diffusers, which takes its rank for alpha then.
[[nodiscard]] bool is_of_diffusers(const ckpt::lora_pair& pair) {
    if (pair.b.ends_with(".lora.up.weight")) return true;
    if (!pair.b.ends_with(".lora_B.weight")) return false;
    for (const char* const network : {"unet.", "text_encoder.", "transformer."})
        if (pair.path.starts_with(network)) return true;
    return false;
}

/// The factor of each pair for which the file has none.
[[nodiscard]] ckpt::result<std::vector<std::optional<double>>> scales_of(adapter_config& config,
                                                                         const ckpt::lora_set& found) {
    std::vector<std::optional<double>> out;
    for (const ckpt::lora_pair& pair : found.pairs) {
        out.emplace_back(pair.alpha.empty() ? config.scale_of(pair) : std::nullopt);
        if (config.steps_left == 0)
            return ckpt::error{.code = ckpt::errc::limit,
                               .detail = "alpha_pattern of adapter_config.json takes more than 2^28 steps to match"};
        if (out.back() || !pair.alpha.empty()) continue;
        if (!is_of_diffusers(pair))
            return unmatched("nobody says by what \"" + printable(pair.path) +
                                 "\" is scaled: IN stores no alpha, and has no adapter_config.json beside it",
                             "write {\"lora_alpha\": N} to adapter_config.json beside IN; of N = rank the scale is 1");
        out.back() = 1;
    }
    return out;
}

/// A state_dict of some of the tensors, under other names.
[[nodiscard]] ckpt::result<ckpt::state_dict> renamed(const ckpt::state_dict& from,
                                                     const std::unordered_map<std::string, std::string>& names) {
    std::string rules;
    const auto rule = [&rules](std::string_view words, std::string_view key) {
        ckpt::detail::append_key_word(rules += words, key);
    };
    for (const auto entry : from) {
        const auto found = names.find(std::string(entry.key));
        if (found != names.end() && found->second == entry.key) continue;
        rule(found == names.end() ? "drop " : "rename ", entry.key);
        if (found != names.end()) rule(" -> ", found->second);
        rules += '\n';
    }
    const auto map = ckpt::key_map::parse(rules);
    if (!map) return map.error();
    return ckpt::remap(from, *map);
}

/// The tensor of an adapter that replaces one of the base.
class taken_tensor {
  public:
    explicit taken_tensor(const ckpt::tensor& tensor) : tensor_{tensor} {}

    /// Whether a tensor of the same shape has the same values. Those of one view are not read.
    [[nodiscard]] bool is_again(const ckpt::tensor& other) {
        if (is_same_view(other)) return true;
        if (!sum_) sum_ = tensor_.crc32();
        const auto sum = *sum_ ? other.crc32() : *sum_;
        return sum && *sum == **sum_;
    }

  private:
    [[nodiscard]] bool is_same_view(const ckpt::tensor& other) const {
        const auto is_plain = [](const ckpt::tensor& t) {
            return t.refusal() == nullptr && t.layout() == ckpt::layout::strided && t.storage_nbytes() > 0;
        };
        return is_plain(tensor_) && is_plain(other) && other.dtype() == tensor_.dtype() &&
               other.storage_id() == tensor_.storage_id() && other.storage_offset() == tensor_.storage_offset() &&
               std::ranges::equal(other.strides(), tensor_.strides()) && other.is_neg() == tensor_.is_neg() &&
               other.is_conj() == tensor_.is_conj();
    }

    ckpt::tensor tensor_;
    std::optional<ckpt::result<std::uint32_t>> sum_{};
};

/// The keys of the base that whole tensors of an adapter replace: modules_to_save, biases, resized embeddings.
void find_replaced(const ckpt::state_dict& base, const ckpt::state_dict& adapter,
                   const std::vector<std::string>& others, std::unordered_map<std::string, std::string>& names,
                   based_weights& out) {
    const auto without = [](std::string& text, std::string_view part) {
        if (const std::size_t at = text.find(part); at != text.npos) text.erase(at, part.size());
    };
    std::unordered_map<std::string, taken_tensor> taken;
    for (const std::string& key : others) {
        // What a module was before modules_to_save replaced it: the base's own.
        if (key.find(".original_module.") != key.npos) continue;
        std::string name(plain_path(key));
        without(name, ".modules_to_save.default");
        without(name, ".modules_to_save");
        without(name, ".base_layer");
        const auto own = adapter.at(key), old = base.at(name);
        if (!old) {
            out.unused.emplace_back(
                key, unmatched("it is no part of a low-rank pair, and the base has no \"" + printable(name) + '"',
                               "--rules brings the names of IN together with those of the base"));
        } else if (!own || !std::ranges::equal(own->shape(), old->shape())) {
            out.unused.emplace_back(
                key, ckpt::error{.code = ckpt::errc::shapes_differ,
                                 .detail = "it has another shape than \"" + printable(name) + "\" of the base"});
        } else if (taken.emplace(name, taken_tensor{*own}).second) {
            names.emplace(key, std::move(name));
        } else if (!taken.at(name).is_again(*own)) { // PEFT writes some twice
            out.unused.emplace_back(key,
                                    unmatched("another key of IN replaces \"" + printable(name) + "\" already", ""));
        }
    }
}

/// Lays weights over those of `out`, and lists what that did.
[[nodiscard]] ckpt::result<void> lay_over(const options& wanted, const ckpt::state_dict& from, based_weights& out) {
    const ckpt::layer layers[]{{out.weights, *wanted.base}, {from, wanted.file()}};
    auto both = ckpt::overlay(layers);
    if (!both) {
        both.error().hint = "check that IN and the base belong together; a rule \"drop KEY\" leaves a tensor of IN out";
        return std::move(both).error();
    }
    out.weights = std::move(both->weights);
    for (const auto& r : both->replaced) out.replaced.push_back(r.key);
    for (const auto& a : both->added) out.added.push_back(a.key);
    return {};
}

/// Merges the low-rank pairs, and lays over what else the adapter has.
[[nodiscard]] ckpt::result<void> merge(const options& wanted, const ckpt::checkpoint& in, const ckpt::state_dict& from,
                                       based_weights& out) {
    auto config = read_config(in);
    if (!config) return config.error();
    auto scales = scales_of(*config, ckpt::find_lora(from));
    if (!scales) return std::move(scales).error();
    auto done = ckpt::merge_lora(
        out.weights, from,
        {.scales = std::move(*scales), .fan_in_fan_out = config->fan_in_fan_out, .allow_unmatched = true});
    if (!done) return std::move(done).error();
    std::unordered_map<std::string, std::string> names;
    find_replaced(out.weights, from, done->others, names, out);
    out.weights = std::move(done->weights);
    out.merged = std::move(done->merged);
    for (const ckpt::lora_pair& pair : done->unmatched)
        for (const std::string& key : {pair.a, pair.b, pair.alpha})
            if (!key.empty())
                out.unused.emplace_back(key,
                                        unmatched("the base has no module for \"" + printable(pair.path) + '"',
                                                  "--rules brings the names of IN together with those of the base"));
    if (names.empty()) return {};
    const auto rest = renamed(from, names);
    return rest ? lay_over(wanted, *rest, out) : ckpt::result<void>{rest.error()};
}

} // namespace

ckpt::result<based_weights> lay_over_base(const options& wanted, const ckpt::checkpoint& in,
                                          const ckpt::state_dict& from) {
    auto base = open(*wanted.base, wanted.policy);
    if (!base) return std::move(base).error();
    auto weights = weights_of(*base, {});
    if (!weights) {
        if (weights.error().code == ckpt::errc::state_dict_ambiguous)
            weights.error().hint =
                "write the one you mean to a file, and take that: ckpt convert FILE base.safetensors "
                "--select PATH";
        if (weights.error().file.empty()) weights.error().file = *wanted.base;
        return std::move(weights).error();
    }
    based_weights out{.base = *std::move(base), .from_base = *weights, .weights = *std::move(weights)};
    auto done = wanted.merge_lora ? merge(wanted, in, from, out) : lay_over(wanted, from, out);
    if (!done) return std::move(done).error();
    return out;
}

void print_based(const based_weights& done, bool is_allowed) {
    print_each("merged", colour::dim, done.merged, [](const auto& m) {
        std::string line = printable(m.key) + " += " + number_text(m.scale) + " * B * A of " + printable(m.path);
        for (const std::string& key : m.tied) line += "; tied: " + printable(key);
        return line;
    });
    print_each("replaced", colour::dim, done.replaced,
               [](const std::string& key) { return printable(key) + ": from IN"; });
    std::unordered_set<std::string> halves;
    for (const ckpt::lora_pair& pair : ckpt::find_lora(done.weights).pairs) halves.insert({pair.a, pair.b});
    print_each("added", colour::dim, done.added, [&](const std::string& key) {
        return printable(key) + (halves.contains(key) ? ": a part of an adapter; --merge-lora merges it"
                                                      : ": the base has no such key; --rules renames it");
    });
    print_each("not used", is_allowed ? colour::dim : colour::yellow, done.unused,
               [](const auto& u) { return printable(u.first) + ": " + printable(u.second.detail); });
}

void write_based(json& to, const options& wanted, const based_weights& done) {
    to.key("base").begin_object().member("file", *wanted.base).key("merged").begin_array();
    for (const auto& m : done.merged) {
        to.line().begin_object().member("key", m.key).member("path", m.path).key("scale");
        to.real(m.scale).key("tied").texts(m.tied).end_object();
    }
    to.end_array().key("replaced").texts(done.replaced).key("added").texts(done.added).key("unused").begin_array();
    for (const auto& [key, why] : done.unused) {
        to.line().begin_object().member("key", key).key("why");
        write(to, why);
        to.end_object();
    }
    to.end_array().end_object();
}

} // namespace tool
