// ckpt/state/binding.hpp: binds the members of a struct to keys of a state_dict, or of a dictionary of values.
//
// SPDX-License-Identifier: MIT
// In:      a specialisation of `binding` for each struct: keys, members, sizes.
// Out:     the list of tensors that a struct needs from a state_dict; the struct, filled. Numbers and texts are for
//          `read_into` (state/read_into.hpp), tensors for `load`.
// Refuses: at compile time: a struct without a binding, a member of a type that nothing can fill, sizes of another rank
//          than the member's.
//
// Templates only make a flat list of targets from the user's types, and later write the results from this list, in the
// same order, to the struct. What is between (state/load.hpp) is ordinary code.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/fixed_string.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/copy.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/tensor.hpp>
#include <ckpt/tensor/view.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// In a shape: every size fits.
inline constexpr std::int64_t any = -1;

/// The sizes that the tensor of a field must have: `shape<any, 784>`. For an array, a vector or an optional they apply
/// to each of its tensors.
template <std::int64_t... Sizes> struct shape {
    CKPT_DETAIL_REQUIRE("ckpt: a size in a shape<...> is a number that is not negative, or ckpt::any",
                        ((Sizes >= 0 || Sizes == any) && ...));
    static constexpr std::array<std::int64_t, sizeof...(Sizes)> sizes{Sizes...};
};

namespace detail {

/// No `shape<...>` was given.
struct no_shape {};

template <class Struct, class Member> Member member_type_of(Member Struct::*);

/// The dimensions of the tensors of a member; `no_tensor` for a struct, which has its own binding.
inline constexpr std::size_t no_tensor = ~std::size_t{0};
inline constexpr std::size_t any_rank = no_tensor - 1;
template <class T> inline constexpr std::size_t rank_of = no_tensor;
template <class T, std::size_t Rank> inline constexpr std::size_t rank_of<tensor_view<T, Rank>> = Rank;
template <class T, std::size_t Rank> inline constexpr std::size_t rank_of<tensor_copy<T, Rank>> = Rank;
template <> inline constexpr std::size_t rank_of<ckpt::tensor> = any_rank;
template <class T, std::size_t N> inline constexpr std::size_t rank_of<std::array<T, N>> = rank_of<T>;
template <class T, class A> inline constexpr std::size_t rank_of<std::vector<T, A>> = rank_of<T>;
template <class T> inline constexpr std::size_t rank_of<std::optional<T>> = rank_of<T>;

/// Whether a member is a number or a text, which `read_into` fills.
template <class T> inline constexpr bool is_read_member = element<T> || std::is_same_v<T, std::string>;
/// Whether a member is a tensor, a struct, a number or a text, or consists of those.
template <class T> inline constexpr bool may_be_filled = std::is_class_v<T> || is_read_member<T>;
template <class T, std::size_t N> inline constexpr bool may_be_filled<std::array<T, N>> = may_be_filled<T>;
template <class T, class A> inline constexpr bool may_be_filled<std::vector<T, A>> = may_be_filled<T>;
template <class T> inline constexpr bool may_be_filled<std::optional<T>> = may_be_filled<T>;

template <std::size_t Rank, class Shape> inline constexpr bool shape_fits = false;
template <std::size_t Rank> inline constexpr bool shape_fits<Rank, no_shape> = true;
template <std::size_t Rank, std::int64_t... Sizes>
inline constexpr bool shape_fits<Rank, shape<Sizes...>> = Rank >= any_rank || Rank == sizeof...(Sizes);

} // namespace detail

/// A member of a struct and its key, relative to the key of the struct. For a struct, an array or a vector it is the
/// part before a dot: "layers" for "layers.0.weight". The key "" adds nothing.
template <fixed_string Key, auto Member, class Shape = detail::no_shape> struct field {
    using value_type = decltype(detail::member_type_of(Member));
    using shape_type = Shape;
    CKPT_DETAIL_REQUIRE(
        "ckpt: neither load nor read_into can fill a member of this type: use tensor_view, tensor_copy or tensor, or "
        "bool, a number or std::string; a struct with a ckpt::binding of its own; or std::array, std::vector or "
        "std::optional of those",
        detail::may_be_filled<value_type>);
    CKPT_DETAIL_REQUIRE("ckpt: a shape<...> is for tensors: give the fields of this struct theirs in its own binding",
                        std::is_same_v<Shape, detail::no_shape> || detail::rank_of<value_type> != detail::no_tensor);
    CKPT_DETAIL_REQUIRE("ckpt: the shape<...> of this field has more or fewer sizes than the field has dimensions",
                        detail::shape_fits<detail::rank_of<value_type>, Shape>);
    [[nodiscard]] static constexpr std::string_view key() noexcept { return Key.view(); }
    template <class Struct> [[nodiscard]] static constexpr value_type& of(Struct& object) noexcept {
        return object.*Member;
    }
};

namespace detail {

template <class... Fields> [[nodiscard]] consteval bool have_distinct_keys() {
    const std::array<std::string_view, sizeof...(Fields)> keys{Fields::key()...};
    for (std::size_t i = 0; i < keys.size(); ++i)
        for (std::size_t k = i + 1; k < keys.size(); ++k)
            if (!keys[i].empty() && keys[i] == keys[k]) return false;
    return true;
}

} // namespace detail

/// The fields of a struct, in the order in which a report lists them. Each has a key of its own.
template <class... Fields> struct fields {
    CKPT_DETAIL_REQUIRE("ckpt: two fields of this struct have the same key", detail::have_distinct_keys<Fields...>());
    using field_list = fields;
};

/// The keys of the members of `T`. Specialise it for each struct, derived from `fields`:
/// `template <> struct ckpt::binding<linear> : ckpt::fields<ckpt::field<"weight", &linear::weight>> {};`
/// A member is a `tensor_view`, a `tensor_copy`, a `tensor`, another struct with a binding, or a `std::array`,
/// `std::vector` or `std::optional` of those. For `read_into` it is bool, a number or a std::string in place of a
/// tensor.
template <class T> struct binding;

namespace detail {

struct state_dict_entry; // state/state_dict_data.hpp

enum class target_kind : std::uint8_t { view, copy, handle, place, rows };

/// The type that a target needs. Borrows its sizes.
struct target_type {
    target_kind kind{target_kind::handle};
    bool sized{false}; ///< `sizes` must be the tensor's
    ckpt::dtype type{};
    std::uint32_t rank{};
    std::size_t alignment{1};
    std::size_t room{0}; ///< bytes of the caller's memory, for a place
    std::span<const std::int64_t> sizes{};
};

enum class target_outcome : std::uint8_t { missing, mismatched, loaded };

/// One tensor that a struct needs, and the outcome.
struct load_target {
    std::string key{};
    target_type type{};
    target_outcome outcome{target_outcome::missing};
    const state_dict_entry* found{nullptr};
    ckpt::tensor source{};
    const std::byte* address{nullptr}; ///< of the first element, for a view
    std::size_t bytes{0};              ///< of a copy
    aligned_memory memory{};           ///< of a copy, filled
};

/// Makes the list of targets from the type of a struct. Uses of the state_dict only which keys exist.
class target_list {
  public:
    explicit target_list(const state_dict& weights) noexcept;

    std::vector<load_target> targets{};
    std::vector<std::size_t> decisions{}; ///< in order: the size of each vector, and whether each optional is present
    std::vector<std::string> absent{};    ///< keys of optionals that are not present, and of vectors that are empty

    /// Appends a name or an index to the current key. Returns the argument for `leave`, which undoes it.
    [[nodiscard]] std::size_t enter(std::string_view name);
    [[nodiscard]] std::size_t enter(std::size_t index) { return enter(decimal(std::uint64_t{index})); }
    void leave(std::size_t before) { key_.resize(before); }

    void add(const target_type& type);

    /// The size of a vector at the current key: the largest index in keys below it, plus one. Ignores indices that are
    /// not below the number of keys, and elements beyond eight for each key, so that a large number in a key takes no
    /// memory.
    [[nodiscard]] std::size_t count_elements();

    struct mark {
        std::size_t targets{};
        std::size_t decisions{};
        std::size_t absent{};
        std::uint64_t elements_left{};
    };
    [[nodiscard]] mark begin_optional();
    /// An optional is present if the state_dict has one of the tensors below it.
    void end_optional(const mark& since);

  private:
    const state_dict_data* weights_;
    std::uint64_t elements_left_;
    std::string key_{};
};

/// Reads the list of targets in order, twice: first to resize vectors, which may run out of memory, then to write
/// values, which cannot fail.
class target_reader {
  public:
    target_reader(target_list& list, bool writes) noexcept : list_{&list}, writes_{writes} {}
    [[nodiscard]] bool writes() const noexcept { return writes_; }
    [[nodiscard]] std::size_t decision() noexcept { return list_->decisions[decision_++]; }
    [[nodiscard]] load_target& next() noexcept { return list_->targets[target_++]; }

  private:
    target_list* list_;
    bool writes_;
    std::size_t target_{0};
    std::size_t decision_{0};
};

// ---- types of members

template <class T> struct target_traits {
    static constexpr bool is_leaf = false;
};
template <class T, std::size_t Rank> struct target_traits<tensor_view<T, Rank>> {
    static constexpr bool is_leaf = true;
    static constexpr target_type type() noexcept {
        return {.kind = target_kind::view, .type = dtype_of<T>::value, .rank = Rank, .alignment = alignof(T)};
    }
    static void write(tensor_view<T, Rank>& out, load_target& from) noexcept {
        out.data = typed_pointer<T>(from.address);
        for (std::size_t i = 0; i != Rank; ++i) {
            out.shape[i] = from.source.shape()[i];
            out.strides[i] = from.source.strides()[i];
        }
    }
};
template <class T, std::size_t Rank> struct target_traits<tensor_copy<T, Rank>> {
    static constexpr bool is_leaf = true;
    static constexpr target_type type() noexcept {
        return {.kind = target_kind::copy, .type = dtype_of<T>::value, .rank = Rank};
    }
    static void write(tensor_copy<T, Rank>& out, load_target& from) noexcept {
        out = copy_access::make<T, Rank>(from.source, std::move(from.memory));
    }
};
template <> struct target_traits<ckpt::tensor> {
    static constexpr bool is_leaf = true;
    static constexpr target_type type() noexcept { return {}; }
    static void write(ckpt::tensor& out, load_target& from) noexcept { out = from.source; }
};

template <class T>
concept leaf_target = target_traits<T>::is_leaf;
template <class T>
concept bound_target = requires { typename binding<T>::field_list; };

template <class T> inline constexpr std::size_t array_size = 0;
template <class T, std::size_t N> inline constexpr std::size_t array_size<std::array<T, N>> = N;
template <class T> inline constexpr bool is_array_target = false;
template <class T, std::size_t N> inline constexpr bool is_array_target<std::array<T, N>> = true;
template <class T> inline constexpr bool is_vector_target = false;
template <class T, class Allocator> inline constexpr bool is_vector_target<std::vector<T, Allocator>> = true;
template <class T> inline constexpr bool is_optional_target = false;
template <class T> inline constexpr bool is_optional_target<std::optional<T>> = true;

/// The target_type of a leaf, with the sizes of its field, if it has any.
template <class T, class Shape> [[nodiscard]] constexpr target_type target_type_of() noexcept {
    target_type out = target_traits<T>::type();
    if constexpr (!std::is_same_v<Shape, no_shape>) {
        out.sized = true;
        out.sizes = Shape::sizes;
    }
    return out;
}

template <class T, class Shape> void collect_targets(target_list& out);

// The struct is a template argument of its own. Otherwise, where only a pointer to a member names a struct of an
// unnamed namespace, GCC gives the function the same symbol in all translation units.
template <class Struct, class Field> void collect_field(target_list& out) {
    const std::size_t before = out.enter(Field::key());
    collect_targets<typename Field::value_type, typename Field::shape_type>(out);
    out.leave(before);
}
template <class Struct, class... Fields> void collect_fields(target_list& out, fields<Fields...>*) {
    (collect_field<Struct, Fields>(out), ...);
}
template <class T, class Shape> void collect_elements(target_list& out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t before = out.enter(i);
        collect_targets<T, Shape>(out);
        out.leave(before);
    }
}

/// Adds the targets of a member of type `T` to the list.
template <class T, class Shape> void collect_targets(target_list& out) {
    if constexpr (leaf_target<T>) {
        out.add(target_type_of<T, Shape>());
    } else if constexpr (is_array_target<T>) {
        collect_elements<typename T::value_type, Shape>(out, array_size<T>);
    } else if constexpr (is_vector_target<T>) {
        collect_elements<typename T::value_type, Shape>(out, out.count_elements());
    } else if constexpr (is_optional_target<T>) {
        const target_list::mark since = out.begin_optional();
        collect_targets<typename T::value_type, Shape>(out);
        out.end_optional(since);
    } else if constexpr (bound_target<T>) {
        collect_fields<T>(out, static_cast<typename binding<T>::field_list*>(nullptr));
    } else if constexpr (is_read_member<T>) {
        CKPT_DETAIL_REQUIRE(
            "ckpt: a load cannot fill a member of this type: use tensor_view, tensor_copy or tensor; numbers and texts "
            "are read by ckpt::read_into of <ckpt/state/read_into.hpp>",
            !is_read_member<T>);
    } else {
        CKPT_DETAIL_REQUIRE(
            "ckpt: the struct of this member has no binding: specialise ckpt::binding for it, derived from "
            "ckpt::fields<ckpt::field<\"key\", &T::member>, ...>",
            bound_target<T>);
    }
}

template <class T> void assign_targets(T& object, target_reader& from);

template <class T, class... Fields> void assign_fields(T& object, target_reader& from, fields<Fields...>*) {
    (assign_targets(Fields::of(object), from), ...);
}

/// Writes the outcome of its targets to a member.
template <class T> void assign_targets(T& object, target_reader& from) {
    if constexpr (leaf_target<T>) {
        load_target& t = from.next();
        if (from.writes() && t.outcome == target_outcome::loaded) target_traits<T>::write(object, t);
    } else if constexpr (is_array_target<T>) {
        for (auto& element : object) assign_targets(element, from);
    } else if constexpr (is_vector_target<T>) {
        const std::size_t size = from.decision();
        if (from.writes() || object.size() < size) object.resize(size);
        for (std::size_t i = 0; i < size; ++i) assign_targets(object[i], from);
    } else if constexpr (is_optional_target<T>) {
        if (from.decision() == 0) {
            if (from.writes()) object.reset();
            return;
        }
        if (!object) object.emplace();
        assign_targets(*object, from);
    } else if constexpr (bound_target<T>) { // else `collect_targets` refuses it
        assign_fields(object, from, static_cast<typename binding<T>::field_list*>(nullptr));
    }
}

/// The assertions of `load` and `plan_load` about a struct.
template <class T> constexpr void check_model() {
    CKPT_DETAIL_REQUIRE("ckpt: this struct is const, so that a load cannot fill it", !std::is_const_v<T>);
    CKPT_DETAIL_REQUIRE("ckpt: this struct has no binding: specialise ckpt::binding for it, derived from "
                        "ckpt::fields<ckpt::field<\"key\", &T::member>, ...>",
                        bound_target<T> || is_array_target<T> || is_vector_target<T>);
}

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/binding.ipp>
#endif
