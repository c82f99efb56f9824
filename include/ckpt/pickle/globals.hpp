// ckpt/pickle/globals.hpp: policies: which globals of a pickle are allowed, and what they build.
//
// SPDX-License-Identifier: MIT
// In:      a policy: a list of parts, each a sorted constexpr table, or one name written as `global<"m", "n">`.
// Out:     a verdict for a (module, name) pair: build, inert, refuse, dangerous.
// Refuses: at compile time, where a policy is used: two builders for one name, a builder for a pattern, names that can
//          only be an attack. At run time such names again, before all tables.
//
// Names are compared as a pair of byte strings, never as a joined string: "a.b" + "c" is not "a" + "b.c".
#pragma once

#include <ckpt/core/fixed_string.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/pickle/names.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

class value;
class call;

/// A function that makes the value of an allowed global from `call.args`, `call.state` and `call.items`. It is called
/// once for each object of the file, after its arguments were built. It has no access to the file or the pickle
/// machine. Its error becomes the error of the value; other values are not affected.
using builder = result<value> (*)(call&);

/// The kind of value that a call of a global makes. The machine uses it to refuse opcodes that Python would refuse.
enum class global_kind : std::uint8_t {
    other,       ///< an object
    tensor,      ///< a tensor; its builder is part of the library
    storage,     ///< a storage class, as persistent ids name it; with a builder it may be called with a list of numbers
    constant,    ///< a dtype, a layout or another object that is never called
    mapping,     ///< a dictionary of any class
    sequence,    ///< a list, a set or a tuple of any class
    scalar,      ///< a number, a string or bytes
    nested,      ///< bytes that are a whole checkpoint
    enumeration, ///< an enum class, kept inert; getattr may name its members
    function,    ///< what is called and is no class, kept inert
    attribute,   ///< getattr, kept inert where it names a member of a listed enum class, otherwise an attack
};

/// The opcodes that may change the result of a call of a global. The values are bits.
enum class global_accepts : std::uint8_t {
    nothing = 0,
    items = 8,    ///< SETITEM and SETITEMS
    appends = 16, ///< APPEND and APPENDS
    state = 32,   ///< BUILD
    everything = 56,
};

/// One allowed global. Without a builder it is inert: objects are kept as data, with name, arguments, state and items.
/// The texts are borrowed, usually from literals.
struct global_entry {
    std::string_view module{};
    std::string_view name{}; ///< "*" for every name of the module without a dot
    builder build{nullptr};
    global_kind kind{global_kind::other};
    global_accepts accepts{global_accepts::everything};
};

/// What a policy says of a global: a builder makes it, it is kept as data, it is refused at its place, or it refuses
/// the file because it can only be an attack (`inspect_policy` keeps such globals as data).
enum class verdict : std::uint8_t { build, inert, refuse, dangerous };

/// "build", "inert", "refuse" or "dangerous".
[[nodiscard]] constexpr std::string_view name(verdict v) noexcept {
    switch (v) {
    case verdict::build: return "build";
    case verdict::inert: return "inert";
    case verdict::refuse: return "refuse";
    case verdict::dangerous: return "dangerous";
    }
    return "refuse";
}

/// One allowed global, as a part of a policy: `global<"my_project.config", "Config">`. Without a builder it is inert. A
/// pattern, as in `global<"my_project.**", "*">`, cannot have a builder.
template <fixed_string Module, fixed_string Name, builder Build = nullptr> struct global {
    static constexpr std::string_view module_text = Module.view();
    static constexpr std::string_view name_text = Name.view();
    static constexpr global_entry entries[1]{{module_text, name_text, Build}};
};

/// A part of a policy that allows every global that no other part has, and keeps it inert. Names that can only be an
/// attack are still refused.
struct inert_others {
    static constexpr global_entry entries[1]{{"**", "**"}}; // names of nested classes have dots too
    static constexpr bool shipped = true;
    static constexpr bool patterns = true;
};

namespace detail {

struct global_table {
    const global_entry* entries{nullptr};
    std::size_t size{0};
    bool patterns{false}; // whether these are patterns, tried in order, or else exact pairs, sorted
    bool shipped{false};
    bool classes_only{false}; // whether its patterns match names of public classes only
};

/// The content of a policy, without its type.
struct allowlist {
    std::span<const global_table> tables{};
    bool admits_attacks{false};
    bool refuses_file{false}; // a global outside the tables refuses the file, not only its place
    bool one_by_one{false};   // every opcode is carried out by itself, for tests that compare the two ways of reading
};

struct global_lookup {
    ckpt::verdict verdict{ckpt::verdict::refuse};
    const global_entry* entry{nullptr};
    bool shipped{false}; // whether the entry is of one of the library's own tables
};

[[nodiscard]] constexpr bool is_pattern(const global_entry& e) noexcept {
    // Not by string_view::find: GCC 12 with -fsanitize=undefined does not take that for a constant expression here.
    for (const char c : e.module)
        if (c == '*') return true;
    for (const char c : e.name)
        if (c == '*') return true;
    return false;
}

[[nodiscard]] constexpr int compare_pair(std::string_view module, std::string_view name,
                                         const global_entry& e) noexcept {
    const int by_module = module.compare(e.module);
    return by_module != 0 ? by_module : name.compare(e.name);
}

/// The entry of a sorted table for exactly this pair, or null.
[[nodiscard]] constexpr const global_entry* find_exact(const global_table& table, std::string_view module,
                                                       std::string_view name) noexcept {
    std::size_t low = 0;
    std::size_t high = table.size;
    while (low < high) {
        const std::size_t middle = low + (high - low) / 2;
        const int order = compare_pair(module, name, table.entries[middle]);
        if (order == 0) return &table.entries[middle];
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return nullptr;
}

/// Whether a name is one of a public class, as Python's style guide has it: a capital, then letters and digits.
[[nodiscard]] constexpr bool is_class_name(std::string_view name) noexcept {
    if (name.empty() || name[0] < 'A' || name[0] > 'Z') return false;
    for (const char c : name)
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) return false;
    return true;
}

[[nodiscard]] constexpr const global_entry* find_pattern(const global_table& table, std::string_view module,
                                                         std::string_view name) noexcept {
    if (table.classes_only && !is_class_name(name)) return nullptr;
    for (std::size_t i = 0; i < table.size; ++i)
        if (matches_dotted(table.entries[i].module, module) && matches_dotted(table.entries[i].name, name))
            return &table.entries[i];
    return nullptr;
}

/// The verdict for a global as it is written in a file. An exact name is preferred to a pattern, then a later part to
/// an earlier one, then the written spelling to the canonical one.
[[nodiscard]] global_lookup look_up(const allowlist& list, std::string_view module, std::string_view name);

// A part of a policy is a struct with a static array `entries`, or a list of parts with `tables`.
template <class P>
concept table_part = requires {
    { P::entries[0].module } -> std::convertible_to<std::string_view>;
};
template <class P>
concept list_part = requires {
    { P::tables.size() } -> std::convertible_to<std::size_t>;
    { P::is_policy } -> std::convertible_to<bool>;
};
template <class P>
concept names_global = requires { P::module_text; };
template <class P>
concept shipped_part = requires { requires P::shipped; };
template <class P>
concept classes_only_part = requires { requires P::classes_only; };
template <class P>
concept admits_attacks_part = requires { requires P::admits_attacks; };
template <class P>
concept refuses_file_part = requires { requires P::refuses_file; };

template <class P> [[nodiscard]] constexpr std::size_t count_tables() {
    if constexpr (list_part<P>) return P::tables.size();
    else return 1;
}

/// Whether a part's entries are patterns. A part whose entries are not defined in a header has a member that says so.
template <class P> [[nodiscard]] constexpr bool has_patterns() {
    if constexpr (requires { P::patterns; }) return P::patterns;
    else return is_pattern(P::entries[0]);
}

template <class P> [[nodiscard]] constexpr global_table table_of() {
    return {P::entries, sizeof(P::entries) / sizeof(P::entries[0]), has_patterns<P>(), shipped_part<P>,
            classes_only_part<P>};
}

template <class... Parts> [[nodiscard]] constexpr auto join_tables() {
    std::array<global_table, (count_tables<Parts>() + ... + 0)> out{};
    std::size_t at = 0;
    const auto add = [&]<class P>(const P*) {
        if constexpr (list_part<P>)
            for (const global_table& t : P::tables) out[at++] = t;
        else out[at++] = table_of<P>();
    };
    (add(static_cast<const Parts*>(nullptr)), ...);
    return out;
}

// Faults of a policy, found where it is used. Each has its own assertion below, with its own message.
enum class policy_fault { none, unsorted, mixed, pattern_with_builder, attack, two_builders };

[[nodiscard]] consteval policy_fault check_tables(std::span<const global_table> tables) {
    for (std::size_t t = 0; t < tables.size(); ++t) {
        const global_table& table = tables[t];
        for (std::size_t i = 0; i < table.size; ++i) {
            const global_entry& e = table.entries[i];
            if (table.shipped) break; // a test checks the library's own tables, so that programs need not
            if (is_pattern(e) != table.patterns) return policy_fault::mixed;
            if (is_pattern(e) && e.build != nullptr) return policy_fault::pattern_with_builder;
            if (is_attack(e.module, e.name)) return policy_fault::attack;
            if (!table.patterns && i > 0 && compare_pair(e.module, e.name, table.entries[i - 1]) <= 0)
                return policy_fault::unsorted;
        }
        if (table.shipped || table.patterns || table.size != 1) continue;
        const global_entry& e = table.entries[0];
        for (std::size_t u = 0; u < t; ++u) {
            if (tables[u].shipped || tables[u].patterns || tables[u].size != 1) continue;
            const global_entry& other = tables[u].entries[0];
            if (e.module == other.module && e.name == other.name && e.build != other.build)
                return policy_fault::two_builders;
        }
    }
    return policy_fault::none;
}

} // namespace detail

/// A policy that allows the globals of its parts. A part is a `global<…>`, a struct with a static array `entries`
/// (exact names sorted by module and name, or patterns), another policy, or `inert_others`. For a global in two parts
/// the later part counts: `allow<training_policy, global<"my_project.config", "Config">>`.
template <class... Parts> struct allow {
    static constexpr bool is_policy = true;
    static constexpr auto tables = detail::join_tables<Parts...>();
    static constexpr bool wraps_inspection = (detail::admits_attacks_part<Parts> || ...);
    static constexpr bool refuses_file = (detail::refuses_file_part<Parts> || ...);
};

/// A policy for `open`: `weights_policy`, `training_policy`, `inspect_policy`, or an `allow<…>`.
template <class P>
concept policy = detail::list_part<P>;

namespace detail {

/// The content of a policy. A faulty policy does not compile here.
template <policy P> [[nodiscard]] constexpr allowlist allowlist_of() {
    constexpr policy_fault fault = check_tables(P::tables);
    CKPT_DETAIL_REQUIRE("ckpt: the entries of a table must be sorted by module, then name, without duplicates",
                        fault != policy_fault::unsorted);
    CKPT_DETAIL_REQUIRE("ckpt: a table holds either exact names or patterns, not both", fault != policy_fault::mixed);
    CKPT_DETAIL_REQUIRE("ckpt: a pattern cannot have a builder; name the global exactly",
                        fault != policy_fault::pattern_with_builder);
    CKPT_DETAIL_REQUIRE("ckpt: this global can only be an attack and is never allowed", fault != policy_fault::attack);
    CKPT_DETAIL_REQUIRE("ckpt: the same global is listed twice with different builders",
                        fault != policy_fault::two_builders);
    if constexpr (requires { P::wraps_inspection; })
        CKPT_DETAIL_REQUIRE("ckpt: inspect_policy cannot be part of another policy", !P::wraps_inspection);
    return {P::tables, admits_attacks_part<P>, refuses_file_part<P>, false};
}

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/globals.ipp>
#endif
