// ckpt/pickle/value.hpp: reading the value graph, and making values in a builder.
//
// SPDX-License-Identifier: MIT
// In:      a graph that the resolver has finished, or is working on (`call`).
// Out:     `value`, a borrowed handle whose accessors never throw and never guess: a wrong type is an error.
// Refuses: nothing; every accessor of a value that could not be built returns that value's own error.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/pickle/graph_fwd.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What a value is. Mappings of every class are `dictionary`; what has no meaning is `object`.
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

/// The dotted name in present spelling: "numpy._core.multiarray.scalar" and "builtins.set", also where numpy 1 or
/// Python 2 wrote another.
[[nodiscard]] std::string canonical(const global_name& g);

/// A storage that stands in the object for itself, or below a tensor.
struct storage_value {
    std::uint32_t id{};     ///< equal for tensors that share it
    std::string_view key{}; ///< in the archive
    std::uint64_t nbytes{};
    std::optional<ckpt::dtype> type{}; ///< none for an untyped storage
};

/// A numpy array: how numpy described it, and the tensor that reads it.
struct numpy_array {
    std::string_view type{}; ///< "<f8"
    bool fortran_order{};
    ckpt::tensor tensor{};
};

/// One value of the file. A borrowed handle, cheap to copy; it must not outlive the checkpoint.
/// A default-constructed value is absent: every accessor fails, every range is empty.
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
    /// Fails with `wrong_type` for an integer beyond 64 bits; `as_integer_bytes` reads those.
    [[nodiscard]] result<std::int64_t> as_int() const;
    /// Any integer, as little-endian two's complement; the span is empty for zero and for small ones use `as_int`.
    [[nodiscard]] result<std::span<const std::byte>> as_integer_bytes() const;
    /// A float, or an integer that a double holds exactly.
    [[nodiscard]] result<double> as_real() const;
    [[nodiscard]] result<detail::complex_value> as_complex() const;
    /// The text of a str. Usually UTF-8; see `is_utf8`.
    [[nodiscard]] result<std::string_view> as_string() const;
    /// bytes, bytearray, or a Python 2 str.
    [[nodiscard]] result<std::span<const std::byte>> as_bytes() const;
    [[nodiscard]] result<ckpt::tensor> as_tensor() const;
    [[nodiscard]] result<ckpt::dtype> as_dtype() const;
    [[nodiscard]] result<storage_value> as_storage() const;
    [[nodiscard]] result<numpy_array> as_array() const;
    /// A class or a function that stands as a value.
    [[nodiscard]] result<global_name> as_global() const;

    /// False for a str with lone surrogates or with bytes of another encoding (Python 2).
    [[nodiscard]] bool is_utf8() const noexcept;
    [[nodiscard]] bool is_byte_array() const noexcept;
    [[nodiscard]] bool is_frozen_set() const noexcept;
    /// A dictionary, or an object of another mapping class: its items are keys and values in turn. An object without
    /// items does not show what it is.
    [[nodiscard]] bool is_mapping() const noexcept;
    /// A torch.nn.Module that was pickled as a whole, of whatever class: an object with the attributes `_parameters`,
    /// `_buffers` and `_modules`; or a module of a TorchScript archive, whose attributes are tensors and modules. Its
    /// tensors are found under their state_dict names.
    [[nodiscard]] bool is_module() const noexcept;

    /// Elements of a list, tuple or set, entries of a dictionary, items of an object; 0 otherwise.
    [[nodiscard]] std::size_t size() const noexcept;
    /// The element of a list or a tuple; absent past its end.
    [[nodiscard]] value operator[](std::size_t index) const noexcept;
    /// The elements of a list, a tuple or a set.
    [[nodiscard]] range elements() const noexcept;
    /// The entries of a dictionary, in the file's order; also those of an object that is a mapping.
    [[nodiscard]] entry_range entries() const noexcept;

    /// The class of an object or of a dictionary; absent for plain ones. A global, or an inert application.
    [[nodiscard]] value class_of() const noexcept;
    /// What an object was called with: a tuple.
    [[nodiscard]] value args() const noexcept;
    /// The keyword arguments of an object made by NEWOBJ_EX: a dictionary, or absent.
    [[nodiscard]] value kwargs() const noexcept;
    /// What BUILD gave an object or a dictionary; usually a dictionary of attributes.
    [[nodiscard]] value state() const noexcept;
    /// What was set or appended to an object: keys and values in turn, or elements.
    [[nodiscard]] range items() const noexcept;
    /// The argument of a persistent id that has no meaning here.
    [[nodiscard]] value persistent_argument() const noexcept;

    /// One step: an entry of a dictionary, an attribute of an object; of a module also a parameter, a buffer or a
    /// submodule by its dotted name ("layer1.0.weight").
    [[nodiscard]] result<value> at(std::string_view key) const;
    /// One step: an element of a list or a tuple, an integer key of a dictionary, an item of an object, or an element
    /// of its state where that is a list or a tuple.
    [[nodiscard]] result<value> at(std::int64_t index) const;
    /// Several steps: elements joined by '/', with `\/` and `\\` for those characters inside one.
    /// Fails with `path_missing`, naming the longest part that exists.
    [[nodiscard]] result<value> find(std::string_view path) const;

    /// The error of a value that could not be built; null for every other.
    [[nodiscard]] const ckpt::error* refusal() const noexcept;
    /// Two handles to one object of the file, not merely equal ones.
    [[nodiscard]] bool same_object(const value& other) const noexcept {
        return graph_ == other.graph_ && node_ == other.node_;
    }
    /// A number that is the same for the same object of one file.
    [[nodiscard]] std::uint32_t object_id() const noexcept { return node_; }

  private:
    friend class call;
    friend struct detail::value_access;

    /// The handle of a node; an absent value for the absent node.
    [[nodiscard]] static value of(const detail::graph* graph, std::uint32_t node) noexcept {
        return node == detail::absent_node ? value{} : value{graph, node};
    }

    value(const detail::graph* graph, std::uint32_t node) noexcept : graph_{graph}, node_{node} {}

    [[nodiscard]] const detail::node& at_node(std::uint32_t index) const noexcept;
    [[nodiscard]] detail::node self() const noexcept;
    [[nodiscard]] value child(std::uint32_t node) const noexcept { return of(graph_, node); }
    [[nodiscard]] ckpt::error wrong(std::string_view wanted) const;
    /// The entry of a dictionary under a str; absent for anything else.
    [[nodiscard]] value entry_named(std::string_view key) const noexcept;
    /// An attribute of an object: its state is a dictionary, or a pair of one (or None) and the slots.
    [[nodiscard]] value attribute(std::string_view name) const noexcept;
    [[nodiscard]] value module_member(std::string_view dotted) const noexcept;

    const detail::graph* graph_{nullptr};
    std::uint32_t node_{detail::absent_node};
};

/// Values in a row. Borrows.
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

/// The entries of a dictionary. Borrows.
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
        /// Goes on by `n` entries.
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

/// What a builder sees: the arguments of one object, and the only ways to make a value.
class call {
  public:
    /// Bounds-checked: an index past the end is an absent value, whose accessors fail.
    value args{};
    value kwargs{};
    value state{};        ///< of BUILD; absent where there was none
    value::range items{}; ///< of APPENDS or SETITEMS (keys and values in turn)

    /// The error to return: `code`, the place of the call in the file, and `what`, which is shown as it is. Text of the
    /// file that stands in `what` must have been made printable before.
    [[nodiscard]] ckpt::error fail(errc code, std::string_view what) const;

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

    /// Takes `bytes` from the budget of what builders may make or read; false when it is spent.
    [[nodiscard]] bool charge(std::uint64_t bytes) noexcept {
        if (bytes > *budget_) {
            *budget_ = 0;
            spent_ = true;
            return false;
        }
        *budget_ -= bytes;
        return true;
    }
    /// What a builder returns where `charge` said no.
    [[nodiscard]] ckpt::error over_budget() const;

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
