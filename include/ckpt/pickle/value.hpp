// ckpt/pickle/value.hpp: handles to the values of a pickle, and the calls that builders get.
//
// SPDX-License-Identifier: MIT
// In:      a resolved graph, or one that the resolver is working on (`call`).
// Out:     `value`, a borrowed handle. Its accessors do not throw and do not convert: another type is an error.
// Refuses: nothing; accessors of a value that could not be built return the error of its builder.
#pragma once

#include <ckpt/core/fixed_string.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/pickle/graph_fwd.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// The type of a value. Dictionaries of known classes (OrderedDict) are `dictionary`; an object that no builder made is
/// `object`, a persistent id without a meaning `persistent`, a value whose builder failed `refused`.
enum class kind : std::uint8_t {
    absent,
    none,
    boolean,
    integer,
    real,
    complex,
    string,
    bytes,
    tuple,
    list,
    dictionary,
    set,
    tensor,
    storage,
    array,
    global,
    object,
    persistent,
    refused,
};

/// Python's name of the type: "int", "dict", "tensor".
[[nodiscard]] constexpr std::string_view name(kind k) noexcept {
    switch (k) {
    case kind::absent: return "absent";
    case kind::none: return "None";
    case kind::boolean: return "bool";
    case kind::integer: return "int";
    case kind::real: return "float";
    case kind::complex: return "complex";
    case kind::string: return "str";
    case kind::bytes: return "bytes";
    case kind::tuple: return "tuple";
    case kind::list: return "list";
    case kind::dictionary: return "dict";
    case kind::set: return "set";
    case kind::tensor: return "tensor";
    case kind::storage: return "storage";
    case kind::array: return "ndarray";
    case kind::global: return "global";
    case kind::object: return "object";
    case kind::persistent: return "persistent id";
    case kind::refused: return "refused value";
    }
    return "absent";
}

/// A module and a name, as written in the file. Borrows from the checkpoint.
struct global_name {
    std::string_view module{};
    std::string_view name{};
    friend bool operator==(const global_name&, const global_name&) = default;
};

/// The dotted name in present spelling: "numpy._core.multiarray.scalar", also for numpy 1's "numpy.core", and
/// "builtins.set", also for Python 2's "__builtin__".
[[nodiscard]] std::string canonical(const global_name& g);

/// A storage that is a value of its own.
struct storage_value {
    std::uint32_t id{};     ///< as `tensor::storage_id` of the tensors that share it
    std::string_view key{}; ///< as `tensor::storage_key`; borrows from the checkpoint
    std::uint64_t nbytes{};
    std::optional<ckpt::dtype> type{}; ///< nothing for an untyped storage, which counts bytes
};

/// A numpy array: numpy's name of its dtype, and a tensor over its bytes. Borrows from the checkpoint.
struct numpy_array {
    std::string_view type{}; ///< "<f8"
    bool fortran_order{};
    ckpt::tensor tensor{};
};

class value;

namespace detail {

template <class T> [[nodiscard]] result<T> scalar_of(const result<value>& found, std::string_view path);
/// Writes the value that was found at `path` to `out`, as an element of type `to`.
[[nodiscard]] result<void> read_scalar(const result<value>& found, std::string_view path, ckpt::dtype to,
                                       std::byte* out);
/// Whether the path does not exist, or leads to None.
[[nodiscard]] bool is_nothing(const result<value>& found) noexcept;

} // namespace detail

/// One value of the file. A borrowed handle, cheap to copy: it and all that it returns are valid as long as the
/// checkpoint. A default-constructed value is absent: its `as_…` functions fail, its ranges are empty.
///
/// The `as_…` functions fail with `wrong_type` for a value of another type, and with the value's own error where it
/// could not be built. Errors name the file.
class value {
  public:
    class range;
    struct entry;
    class entry_range;

    value() noexcept = default;

    [[nodiscard]] ckpt::kind kind() const noexcept;
    [[nodiscard]] explicit operator bool() const noexcept { return node_ != detail::absent_node; }
    [[nodiscard]] bool is_none() const noexcept { return kind() == ckpt::kind::none; }

    [[nodiscard]] result<bool> as_bool() const;
    /// An int that fits in 64 bits; for larger ones there is `as_integer_bytes`.
    [[nodiscard]] result<std::int64_t> as_int() const;
    /// An int that does not fit in 64 bits, as little-endian two's complement. Fails with `wrong_type` for one that
    /// does.
    [[nodiscard]] result<std::span<const std::byte>> as_integer_bytes() const;
    /// A float, or an int of at most 2^53 in magnitude, which a double represents exactly.
    [[nodiscard]] result<double> as_real() const;
    [[nodiscard]] result<detail::complex_value> as_complex() const;
    /// The text of a str. Usually UTF-8; see `is_utf8`.
    [[nodiscard]] result<std::string_view> as_string() const;
    /// bytes, bytearray, or a Python 2 str.
    [[nodiscard]] result<std::span<const std::byte>> as_bytes() const;
    /// A tensor, or the tensor over the bytes of a numpy array. A tensor that could not be built is returned, too; its
    /// accesses fail.
    [[nodiscard]] result<ckpt::tensor> as_tensor() const;
    /// A dtype of torch: the global `torch.float32`.
    [[nodiscard]] result<ckpt::dtype> as_dtype() const;
    [[nodiscard]] result<storage_value> as_storage() const;
    [[nodiscard]] result<numpy_array> as_array() const;
    /// A class or a function as a value; the name is as written.
    [[nodiscard]] result<global_name> as_global() const;

    /// False for a str with lone surrogates or with bytes of another encoding (Python 2).
    [[nodiscard]] bool is_utf8() const noexcept;
    [[nodiscard]] bool is_byte_array() const noexcept;
    [[nodiscard]] bool is_frozen_set() const noexcept;
    /// Whether this is a dictionary, or an object to which only SETITEM or SETITEMS added items. False for an object
    /// without items, whose class may still be a mapping.
    [[nodiscard]] bool is_mapping() const noexcept;
    /// Whether this is a torch.nn.Module of any class that was pickled as a whole: an object with the attributes
    /// `_parameters`, `_buffers` and `_modules`; or a module of a TorchScript archive, whose attributes are tensors and
    /// modules. Its tensors are found under their state_dict names.
    [[nodiscard]] bool is_module() const noexcept;

    /// The number of elements of a list, tuple or set, of entries of a dictionary, or of items of an object (where a
    /// key and its value are two); 0 otherwise.
    [[nodiscard]] std::size_t size() const noexcept;
    /// The element of a list or a tuple; absent past its end.
    [[nodiscard]] value operator[](std::size_t index) const noexcept;
    /// The elements of a list, a tuple or a set.
    [[nodiscard]] range elements() const noexcept;
    /// The entries of a dictionary, or of an object for which `is_mapping()`, in the file's order.
    [[nodiscard]] entry_range entries() const noexcept;

    /// The callable of an object, or the class of a dictionary: a global, or an object. Absent for a plain dict.
    [[nodiscard]] value class_of() const noexcept;
    /// The arguments of an object's callable: a tuple.
    [[nodiscard]] value args() const noexcept;
    /// The keyword arguments of an object made by NEWOBJ_EX: a dictionary, or absent.
    [[nodiscard]] value kwargs() const noexcept;
    /// The state that BUILD set on an object or a dictionary, usually a dictionary of attributes, and the attributes of
    /// a tensor; absent without one.
    [[nodiscard]] value state() const noexcept;
    /// What SETITEMS or APPENDS added to an object: keys and values in turn, or elements.
    [[nodiscard]] range items() const noexcept;
    /// The argument of a persistent id without a meaning.
    [[nodiscard]] value persistent_argument() const noexcept;

    /// What an object of a configuration library stands for: the dictionary or list of an omegaconf container (a str
    /// where it is an interpolation), the value of an omegaconf node, the fields of an ml_collections ConfigDict, the
    /// value of one of its references. Other values stand for themselves. Entries of the result are objects as well.
    [[nodiscard]] value plain() const noexcept;

    /// The entry of a dictionary with this str as its key, an attribute of a tensor, or an attribute, an item or a
    /// keyword argument of an object; of a module also a
    /// parameter, a buffer or a submodule by its dotted name ("layer1.0.weight"); of an object of a configuration
    /// library also the plain value of an entry. Fails with `path_missing`.
    [[nodiscard]] result<value> at(std::string_view key) const;
    /// An element of a list or a tuple, or the entry of a dictionary whose key is equal to this int, as True and 1.0
    /// are to 1. Of an object first the items, then the elements of its state where that is a list or a tuple, then the
    /// arguments of its call: positions count on; then, of an object of a configuration library, the plain value of an
    /// element. Fails with `path_missing`.
    [[nodiscard]] result<value> at(std::int64_t index) const;
    /// The value at a path, whose elements are joined by '/': "optimizer/state/0/exp_avg". Each is a name or an index
    /// for `at`, or the `key_text` of another key; inside an element '/' and '\' are written `\/` and `\\`; a '/'
    /// before the first or behind the last one is no element where there is no empty key. Fails with `path_missing`,
    /// which names the nearest path, and where `error::path` is the part that exists, and with `key_duplicate` where an
    /// element is the text of two keys of a dictionary, as of 1 and "1".
    [[nodiscard]] result<value> find(std::string_view path) const;

    /// A copy of the value at a path: `get<double>("optimizer/param_groups/0/lr")`. `T` is bool, an integer, float,
    /// double, another element type or std::string. A number may also be the only element of a tensor or an array. An
    /// int is read as a floating type, too, a float never as an integer. Fails as `find` does, with `wrong_type`, with
    /// `conversion` for a number that does not fit, and with `size_mismatch` for a tensor of several elements.
    template <class T> [[nodiscard]] result<T> get(std::string_view path) const {
        return detail::scalar_of<T>(find(path), path);
    }
    /// The same, or `fallback` where the path does not exist, or leads to None. A value of another type is an error,
    /// too.
    template <class T> [[nodiscard]] result<T> get_or(std::string_view path, T fallback) const {
        const auto found = find(path);
        if (detail::is_nothing(found)) return fallback;
        return detail::scalar_of<T>(found, path);
    }

    /// The error of a value or tensor that could not be built; null for others.
    [[nodiscard]] const ckpt::error* refusal() const noexcept;
    /// Whether both are handles to the same object of the file, as `is` in Python.
    [[nodiscard]] bool same_object(const value& other) const noexcept {
        return graph_ == other.graph_ && node_ == other.node_;
    }
    /// The number of the object in its file: equal for handles for which `same_object` holds.
    [[nodiscard]] std::uint32_t object_id() const noexcept { return node_; }

  private:
    friend class call;
    friend struct detail::value_access;
    friend result<void> detail::read_scalar(const result<value>& found, std::string_view path, ckpt::dtype to,
                                            std::byte* out);

    /// The handle of a node; an absent value for the absent node.
    [[nodiscard]] static value of(const detail::graph* graph, std::uint32_t node) noexcept {
        return node == detail::absent_node ? value{} : value{graph, node};
    }

    value(const detail::graph* graph, std::uint32_t node) noexcept : graph_{graph}, node_{node} {}

    [[nodiscard]] const detail::node& at_node(std::uint32_t index) const noexcept;
    [[nodiscard]] detail::node self() const noexcept;
    [[nodiscard]] value child(std::uint32_t node) const noexcept { return of(graph_, node); }
    [[nodiscard]] ckpt::error wrong(std::string_view wanted) const;
    /// An error that names the file of the value.
    [[nodiscard]] ckpt::error failure(errc code, std::string detail, std::string_view hint = {}) const;
    /// The same error with the name of the file, where it has none.
    [[nodiscard]] ckpt::error in_file(ckpt::error e) const;
    /// The entry of a dictionary whose key is this str; absent where there is none.
    [[nodiscard]] value entry_named(std::string_view key) const noexcept;
    /// An attribute of an object. Its state is a dictionary, or a pair of dictionaries (one may be None), the second
    /// for __slots__.
    [[nodiscard]] value attribute(std::string_view name) const noexcept;
    [[nodiscard]] value module_member(std::string_view dotted) const noexcept;
    /// What one element of a path leads to.
    [[nodiscard]] result<value> below(std::string_view element) const;
    /// What stands at a position of an object; absent past the last.
    [[nodiscard]] value at_position(std::size_t position) const noexcept;
    /// One step of `plain`; absent where there is none.
    [[nodiscard]] value stands_for() const noexcept;
    /// What an entry of a configuration is for `at`: containers stay objects.
    [[nodiscard]] value unwrapped() const noexcept;

    const detail::graph* graph_{nullptr};
    std::uint32_t node_{detail::absent_node};
};

namespace detail {

/// Writes the only element of a tensor to `out`, as an element of type `to`.
[[nodiscard]] result<void> read_scalar(const tensor& from, ckpt::dtype to, std::byte* out);
[[nodiscard]] result<std::string> read_text(const result<value>& found, std::string_view path);

template <class T> result<T> scalar_of(const result<value>& found, std::string_view path) {
    if constexpr (std::same_as<T, std::string>) {
        return read_text(found, path);
    } else {
        CKPT_DETAIL_REQUIRE("ckpt: get reads bool, integers, float, double, other element types of tensors, and "
                            "std::string; find(path) and its as_... functions read everything else",
                            element<T>);
        T out{};
        auto done = read_scalar(found, path, dtype_of<T>::value, reinterpret_cast<std::byte*>(&out));
        return done ? result<T>{out} : result<T>{std::move(done).error()};
    }
}

} // namespace detail

/// The text of a dictionary key: a str as it is, numbers, None and booleans as Python shows them, tuples of those in
/// parentheses, bytes as b'...', a class by its qualified name; other objects by their kind in angle brackets. Keys of
/// different types may have the same text: 1 and "1".
[[nodiscard]] std::string key_text(const value& key);

namespace detail {

/// The key or attribute of a value that somebody probably meant, as text; empty where none is near.
[[nodiscard]] std::string nearest_key(const value& v, std::string_view wanted);
/// Completes the error of a path that ends at `element`, behind `done`, which leads to `here`.
void say_what_exists(ckpt::error& missing, const value& here, const std::string& done, std::string_view element);

} // namespace detail

/// A sequence of values. Borrows from the checkpoint.
class value::range {
  public:
    class iterator {
      public:
        using value_type = value;
        using difference_type = std::ptrdiff_t;
        iterator() noexcept = default;
        [[nodiscard]] value operator*() const noexcept { return value::of(graph_, *at_); }
        iterator& operator++() noexcept {
            ++at_;
            return *this;
        }
        iterator operator++(int) noexcept { return {graph_, at_++}; }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

      private:
        friend class range;
        iterator(const detail::graph* graph, const std::uint32_t* at) noexcept : graph_{graph}, at_{at} {}

        const detail::graph* graph_{nullptr};
        const std::uint32_t* at_{nullptr};
    };

    range() noexcept = default;
    [[nodiscard]] iterator begin() const noexcept { return {graph_, nodes_.data()}; }
    [[nodiscard]] iterator end() const noexcept { return {graph_, nodes_.data() + nodes_.size()}; }
    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
    [[nodiscard]] bool empty() const noexcept { return nodes_.empty(); }
    /// Absent past the end.
    [[nodiscard]] value operator[](std::size_t i) const noexcept {
        return i < nodes_.size() ? value::of(graph_, nodes_[i]) : value{};
    }

  private:
    friend class value;
    friend class call;
    range(const detail::graph* graph, std::span<const std::uint32_t> nodes) noexcept : graph_{graph}, nodes_{nodes} {}

    const detail::graph* graph_{nullptr};
    std::span<const std::uint32_t> nodes_{};
};

/// One entry of a dictionary.
struct value::entry {
    value key{};
    value mapped{};
};

/// The entries of a dictionary. Borrows from the checkpoint.
class value::entry_range {
  public:
    class iterator {
      public:
        using value_type = entry;
        using difference_type = std::ptrdiff_t;
        iterator() noexcept = default;
        [[nodiscard]] entry operator*() const noexcept { return {all_[at_], all_[at_ + 1]}; }
        iterator& operator++() noexcept {
            at_ += 2;
            return *this;
        }
        iterator operator++(int) noexcept {
            at_ += 2;
            return {all_, at_ - 2};
        }
        /// Advances by `n` entries.
        void skip(std::size_t n) noexcept { at_ += 2 * n; }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

      private:
        friend class entry_range;
        iterator(const range& all, std::size_t at) noexcept : all_{all}, at_{at} {}

        range all_{};
        std::size_t at_{0};
    };
    entry_range() noexcept = default;
    [[nodiscard]] iterator begin() const noexcept { return {all_, 0}; }
    [[nodiscard]] iterator end() const noexcept { return {all_, all_.size()}; }
    [[nodiscard]] std::size_t size() const noexcept { return all_.size() / 2; }

  private:
    friend class value;
    explicit entry_range(const range& all) noexcept : all_{all} {}

    range all_{};
};

/// The argument of a builder: what one object of the file was called with, and functions that make values. Values are
/// valid as long as the checkpoint, the call itself only during the builder. The `make_…` functions fail with `limit`
/// where the budget (`limits::made_per_byte`) is spent.
class call {
  public:
    value args{};         ///< a tuple; an index past its end gives an absent value, whose accessors fail
    value kwargs{};       ///< a dictionary; absent unless NEWOBJ_EX made the object
    value state{};        ///< of BUILD; absent where there was none
    value::range items{}; ///< of APPENDS or SETITEMS (keys and values in turn)

    /// A failure for the builder to return, with the place of the call in the file. `what` is shown as it is: text from
    /// the file in it must be made printable before.
    [[nodiscard]] ckpt::failure fail(errc code, std::string_view what) const;

    [[nodiscard]] result<value> make_none();
    [[nodiscard]] result<value> make_bool(bool b);
    [[nodiscard]] result<value> make_int(std::int64_t v);
    [[nodiscard]] result<value> make_unsigned(std::uint64_t v);
    [[nodiscard]] result<value> make_real(double v);
    [[nodiscard]] result<value> make_complex(double re, double im);
    /// Copies the bytes.
    [[nodiscard]] result<value> make_bytes(std::span<const std::byte> bytes);
    /// A tuple of values of the same file.
    [[nodiscard]] result<value> make_tuple(std::span<const value> elements);

    /// Takes `bytes` from the budget for what builders make or read; false where it is spent. The builder then returns
    /// `over_budget()`.
    [[nodiscard]] bool charge(std::uint64_t bytes) noexcept {
        if (bytes > *budget_) {
            *budget_ = 0;
            spent_ = true;
            return false;
        }
        *budget_ -= bytes;
        return true;
    }
    /// The failure for a spent budget, with the code `limit`.
    [[nodiscard]] ckpt::failure over_budget() const;

  private:
    friend struct detail::call_access;

    call(detail::graph& graph, std::uint32_t node, std::uint64_t& budget, std::uint32_t rank_limit) noexcept;

    [[nodiscard]] std::uint64_t offset() const noexcept;
    [[nodiscard]] result<value> make(const detail::node& n, std::uint64_t bytes);
    [[nodiscard]] result<value> make_tensor(const detail::tensor_data& data);
    [[nodiscard]] result<value> make_text(detail::node_kind kind, std::string_view text);

    detail::graph* graph_;
    std::uint32_t node_;
    std::uint64_t* budget_;
    std::uint32_t rank_limit_;
    bool spent_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/value.ipp>
#endif
