// ckpt/state/read_into.hpp: fills a struct from a value: a configuration, hyperparameters.
//
// SPDX-License-Identifier: MIT
// In:      a dictionary, or an object with attributes; a struct with a `binding`.
// Out:     the struct, filled, and a report.
// Refuses: a value that is missing, or of another type than its field, unless that was allowed. A read that fails
//          leaves the struct as it was.
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/binding.hpp>
#include <ckpt/state/load_report.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What `read_into` may leave out. Keys of nested structs are joined by dots: "rope_scaling.factor".
struct read_options {
    std::vector<pattern> allow_missing{}; ///< fields that may be missing: they keep their value
    /// Keys that may have no field; empty: every key must have one.
    std::vector<pattern> allow_unexpected{pattern{"**"}};
};

namespace detail {

class value_record; // state/impl/read_into.ipp

/// What `read_into` does with each value, and the report of it.
class value_reader {
  public:
    static constexpr std::size_t any_size = ~std::size_t{0};

    explicit value_reader(const value& from);
    value_reader(const value_reader&) = delete;
    value_reader& operator=(const value_reader&) = delete;
    ~value_reader();

    /// Appends a name or an index to the current key. Returns the argument for `leave`, which undoes it.
    [[nodiscard]] std::size_t enter(std::string_view name);
    [[nodiscard]] std::size_t enter(std::size_t index) { return enter(decimal(std::uint64_t{index})); }
    void leave(std::size_t before);

    /// The fields that follow are those of `of`, at the current key. False, and noted, where it is no dictionary or
    /// object.
    [[nodiscard]] bool begin_struct(const value& of);
    /// The value of the field `name` of a dictionary or object; absent, and noted, where there is none. `optional`:
    /// then it is not missing.
    [[nodiscard]] value field(const value& of, std::string_view name, bool optional);
    void read_number(const value& from, ckpt::dtype to, std::byte* out);
    void read_text(const value& from, std::string& out);
    /// The number of elements of a list or tuple, which must be `wanted` unless that is `any_size`; 0 where it is not.
    [[nodiscard]] std::size_t count(const value& from, std::size_t wanted);
    [[nodiscard]] static value element_of(const value& from, std::size_t index) { return from.plain()[index]; }
    /// Notes the current key as written, unless it or something below it did not fit.
    void end_field();

    [[nodiscard]] result<load_report> finish(const read_options& options);

  private:
    value_record* record_;
};

template <class T> void read_member(const value& from, T& out, value_reader& in);

/// Whether a member is a struct, or consists of some, so that the report has the fields below it.
template <class T> inline constexpr bool has_fields = bound_target<T>;
template <class T, std::size_t N> inline constexpr bool has_fields<std::array<T, N>> = has_fields<T>;
template <class T, class A> inline constexpr bool has_fields<std::vector<T, A>> = has_fields<T>;
template <class T> inline constexpr bool has_fields<std::optional<T>> = has_fields<T>;

template <class Struct, class Field> void read_field(const value& from, Struct& object, value_reader& in) {
    using member_type = typename Field::value_type;
    member_type& member = Field::of(object);
    if constexpr (Field::key().empty()) {
        CKPT_DETAIL_REQUIRE("ckpt: read_into needs a struct with a ckpt::binding under the key \"\": its fields stand "
                            "beside the others",
                            bound_target<member_type>);
        read_fields(from, member, in, static_cast<typename binding<member_type>::field_list*>(nullptr));
    } else {
        const std::size_t before = in.enter(Field::key());
        if (const value found = in.field(from, Field::key(), is_optional_target<member_type>)) {
            read_member(found, member, in);
            if constexpr (!has_fields<member_type>) in.end_field();
        } else if constexpr (is_optional_target<member_type>) {
            member.reset();
        }
        in.leave(before);
    }
}

template <class T, class... Fields>
void read_fields(const value& from, T& object, value_reader& in, fields<Fields...>*) {
    (read_field<T, Fields>(from, object, in), ...);
}

/// Reads one value into a member of type `T`.
template <class T> void read_member(const value& from, T& out, value_reader& in) {
    if constexpr (element<T>) {
        in.read_number(from, dtype_of<T>::value, reinterpret_cast<std::byte*>(&out));
    } else if constexpr (std::is_same_v<T, std::string>) {
        in.read_text(from, out);
    } else if constexpr (is_optional_target<T>) {
        out.reset();
        if (!from.plain().is_none()) read_member(from, out.emplace(), in);
    } else if constexpr (is_vector_target<T>) {
        out.clear();
        const std::size_t size = in.count(from, value_reader::any_size);
        for (std::size_t i = 0; i < size; ++i) {
            typename T::value_type element{};
            const std::size_t before = in.enter(i);
            read_member(value_reader::element_of(from, i), element, in);
            in.leave(before);
            out.push_back(std::move(element));
        }
    } else if constexpr (is_array_target<T>) {
        const std::size_t size = in.count(from, array_size<T>);
        for (std::size_t i = 0; i < size; ++i) {
            const std::size_t before = in.enter(i);
            read_member(value_reader::element_of(from, i), out[i], in);
            in.leave(before);
        }
    } else {
        CKPT_DETAIL_REQUIRE("ckpt: read_into cannot fill tensors: load does, from a state_dict", !leaf_target<T>);
        CKPT_DETAIL_REQUIRE(
            "ckpt: the struct of this member has no binding: specialise ckpt::binding for it, derived from "
            "ckpt::fields<ckpt::field<\"key\", &T::member>, ...>",
            bound_target<T> || leaf_target<T>);
        if constexpr (bound_target<T>) {
            if (in.begin_struct(from))
                read_fields(from, out, in, static_cast<typename binding<T>::field_list*>(nullptr));
        }
    }
}

} // namespace detail

/// Fills `object`, a struct with a `binding`, from a dictionary (or an object with attributes, as argparse.Namespace):
/// each field from the entry of its name, or of the names between its dots ("rope_scaling.factor"). An int fits a
/// floating field, a float no integer; a number that the field's type does not hold does not fit. None fits a
/// `std::optional` only, which is reset then, and where the entry is missing. A vector gets the elements of a list or
/// tuple, an array needs as many as it has. Copies everything, so that the value need not outlive the call.
///
/// The report has what was read, and the keys without a field as unexpected; they are ignored unless `options` says
/// otherwise. Fails with `load_incomplete`, which names the file and each field that is missing or does not fit, what
/// was expected and what was found; and with `limit` where the file shares its parts so often that reading them would
/// take far more steps than it has bytes. `object` is then as it was.
template <class T>
[[nodiscard]] result<load_report> read_into(const value& from, T& object, const read_options& options = {}) {
    detail::check_model<T>();
    T made = object;
    detail::value_reader in{from};
    detail::read_member(from, made, in);
    auto report = in.finish(options);
    if (report) object = std::move(made);
    return report;
}

/// The same for what has a root: a `json_file`, a `checkpoint`. `read_into(file.config(), settings)`.
template <class Rooted, class T>
    requires requires(const Rooted& from) {
        { from.root() } -> std::same_as<value>;
    }
[[nodiscard]] result<load_report> read_into(const Rooted& from, T& object, const read_options& options = {}) {
    return read_into(from.root(), object, options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/read_into.ipp>
#endif
