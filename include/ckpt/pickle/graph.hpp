// ckpt/pickle/graph.hpp: the values of a pickle, as a graph of nodes.
//
// SPDX-License-Identifier: MIT
// In:      nodes that the machine writes, and the resolver then replaces once.
// Out:     nodes of 16 bytes in an arena. They refer to each other by 32-bit index, so that cycles and shared objects
//          need no special case, and neither building nor destroying recurses.
// Refuses: nothing. The graph does not change after the resolver has run.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/pickle/graph_fwd.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/storage.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {
struct global_entry;
}

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class node_kind : std::uint8_t {
    absent, // index 0 only: no such value
    none,
    boolean,     // integer: 0 or 1
    integer,     // integer: the value
    big_integer, // text: two's complement, little-endian
    real,        // real: the value
    string,      // text: UTF-8, unless a flag says otherwise
    bytes,       // text
    byte_array,  // text
    tuple,       // a: number of elements; items: their indices
    list,        // a: container
    dictionary,  // a: container of key, value, key, value; b: class (0: dict); c: extension (0: none)
    set,         // a: container
    frozen_set,  // a: container
    global,      // a: occurrence
    persistent,  // a: argument; b: offset in the pickle
    application, // a: arguments (tuple); b: callable; c: keyword arguments (dictionary or 0); an extension follows
    extension,   // fields of the node before: a: state; b: container of items; c: offset in the pickle
    // The resolver makes these:
    complex, // a: index of the pair in `complexes`
    tensor,  // a: tensor; its data holds the error where it was refused
    storage, // a: storage; extra: dtype, or 0xFFFF for bytes; integer: declared elements
    array,   // a: array
    refused, // a: error
};

/// Whether Python can hash a value of this kind; a tuple where it can hash all elements.
[[nodiscard]] inline bool has_hash(node_kind k) noexcept {
    return k != node_kind::list && k != node_kind::dictionary && k != node_kind::set && k != node_kind::byte_array;
}

namespace node_flag {
inline constexpr std::uint8_t eight_bit = 1;   // string: a Python 2 str, which may hold any bytes
inline constexpr std::uint8_t not_utf8 = 2;    // string: lone surrogates, or bytes of another encoding
inline constexpr std::uint8_t hashable = 4;    // tuple: checked, Python can hash it
inline constexpr std::uint8_t hash_known = 8;  // tuple: checked again, after calls in it were resolved
inline constexpr std::uint8_t torch_size = 16; // tuple: the file has it as a torch.Size
inline constexpr std::uint8_t no_data = 1;     // storage: on the device meta, saved without bytes
inline constexpr std::uint8_t pairs = 1;       // application: SETITEM(S) was applied
inline constexpr std::uint8_t module = 2;   // application: its state is that of a torch.nn.Module; set by the resolver
inline constexpr std::uint8_t elements = 4; // application: APPEND(S) was applied
inline constexpr std::uint8_t items = 8;    // application: SETITEM(S) may apply
inline constexpr std::uint8_t appends = 16; // application: APPEND(S) may apply
inline constexpr std::uint8_t state = 32;   // application: BUILD may apply
inline constexpr std::uint8_t new_object = 64; // application: made by NEWOBJ, not REDUCE
inline constexpr std::uint8_t text_form = 64;  // persistent: the argument is protocol 0's text
inline constexpr std::uint8_t built = 128;     // application: BUILD was applied
} // namespace node_flag

struct node_link {
    std::uint32_t b;
    std::uint32_t c;
};

struct node {
    node_kind kind{node_kind::absent};
    std::uint8_t flags{0};
    std::uint16_t extra{0};
    std::uint32_t a{0};
    union {
        node_link link;
        std::int64_t integer{0};
        double real;
        const char* text;
        const std::uint32_t* items;
    };

    [[nodiscard]] static constexpr node of(node_kind kind, std::uint32_t a = 0, unsigned flags = 0) noexcept {
        node n{};
        n.kind = kind;
        n.flags = static_cast<std::uint8_t>(flags);
        n.a = a;
        return n;
    }
};
static_assert(sizeof(node) == 16);

/// The elements of a list, a dictionary or a set.
struct container {
    std::uint32_t* data{nullptr};
    std::uint32_t count{0};
    std::uint32_t capacity{0};
    std::uint32_t grown{0}; // the place in the pickle of the opcode that added elements last
};

/// One GLOBAL, STACK_GLOBAL or INST: the name as written, its place in the pickle, and the policy's verdict.
struct global_occurrence {
    std::string_view module{};
    std::string_view name{};
    std::uint32_t offset{0};
    std::uint8_t verdict{0};            // a ckpt::verdict
    const global_entry* entry{nullptr}; // the policy's entry for the name; null where it has none
};

/// A numpy array of a simple dtype: a tensor over bytes of the pickle, and numpy's name of the dtype.
struct array_value {
    std::string_view type{}; // "<f8"
    std::uint32_t tensor{0};
    bool fortran_order{false};
};

// The first nodes of every graph, after absent_node.
inline constexpr std::uint32_t none_node = 1;
inline constexpr std::uint32_t false_node = 2;
inline constexpr std::uint32_t true_node = 3;
inline constexpr std::uint32_t empty_tuple_node = 4;
inline constexpr std::uint32_t small_integers = 5; // 0 ... 255 follow
inline constexpr std::uint32_t first_free_node = small_integers + 256;

/// The interface through which the resolver finds and makes storages. `torch/` implements it.
class storage_maker {
  public:
    virtual ~storage_maker() = default;
    /// Sets the number of the storage with this key and returns `errc::none`, or returns the error.
    [[nodiscard]] virtual errc find(std::string_view key, std::uint32_t& storage) = 0;
    /// Makes a storage of bytes that live as long as the graph. `offset`: their place in the file, `no_offset` for
    /// transcoded bytes.
    [[nodiscard]] virtual std::uint32_t add(std::span<const std::byte> bytes, byte_order order,
                                            std::uint64_t offset) = 0;
    /// Finds or makes the storage that is a part of the one found last, with a key of its own (torch 0.1 to 0.3).
    [[nodiscard]] virtual errc view(std::uint32_t, std::string_view, std::uint64_t, std::uint64_t, std::uint32_t&) {
        return errc::persistent_id;
    }
    /// The node of the tensor or storage with this key (torch 0.1); it replaces the persistent id.
    [[nodiscard]] virtual errc object(std::string_view, node&) { return errc::persistent_id; }
};

/// How much a graph had before a pickle was read into it.
struct graph_mark {
    std::uint64_t offset{0}; ///< of the pickle
    std::size_t nodes{0};
    std::size_t containers{0};
    std::size_t pending{0};
    std::size_t globals{0};
    std::size_t tensors{0};
    std::size_t errors{0};
};

class graph {
  public:
    explicit graph(const shared<block_pool>& pool);
    graph(const graph&) = delete;
    graph& operator=(const graph&) = delete;
    graph(graph&&) noexcept = default;
    graph& operator=(graph&&) noexcept = default;
    ~graph() {
        for (error* e : errors) delete e;
    }

    [[nodiscard]] CKPT_DETAIL_INLINE std::uint32_t add(const node& n) {
        nodes.push_back(memory, n);
        return static_cast<std::uint32_t>(nodes.size() - 1);
    }

    /// The bytes of the pickles that the graph was made from. Budgets of walks are computed from it.
    [[nodiscard]] std::uint64_t metadata_bytes() const noexcept { return pickle.size() + joined_bytes; }

    /// The offset in the file of byte `at` of the pickle.
    [[nodiscard]] std::uint64_t place(std::uint64_t at) const noexcept { return transcoded ? base : base + at; }

    /// Begins another pickle, after those before were resolved. Its values are added to the graph.
    void begin(std::span<const std::byte> bytes, std::uint64_t offset, std::string_view of) noexcept;

    /// Before a pickle at `offset` of `pickle` is read; `go_back` drops what it added.
    [[nodiscard]] graph_mark mark(std::uint64_t offset) const noexcept {
        return {offset, nodes.size(), containers.size(), pending.size(), globals.size(), tensors.size(), errors.size()};
    }
    void go_back(const graph_mark& to) noexcept;

    /// Drops the unresolved calls of a pickle that failed, so that the next resolver does not see them.
    void forget_pending() noexcept;

    /// Adds a str; its text must live as long as the graph.
    [[nodiscard]] std::uint32_t add_text(std::string_view text);
    /// Adds a dictionary. `pairs`: its keys and values in turn; `state`: its attributes, as BUILD sets them.
    [[nodiscard]] std::uint32_t add_dictionary(std::span<const std::uint32_t> pairs, std::uint32_t state = absent_node);
    /// Adds the dictionary {"__metadata__": {text: text}}, for the attributes of a dictionary of tensors.
    [[nodiscard]] std::uint32_t add_metadata(std::span<const std::uint32_t> pairs);
    [[nodiscard]] std::uint32_t add_tensor(const tensor_data& t);

    /// Appends to the container `index`. 0 is the empty container: makes one and sets `index`.
    void append(std::uint32_t& index, std::span<const std::uint32_t> values);

    [[nodiscard]] std::span<const std::uint32_t> elements(const node& n) const noexcept {
        if (n.kind == node_kind::tuple) return {n.items, n.a};
        const container& c = containers[n.a];
        return {c.data, c.count};
    }
    [[nodiscard]] std::span<const std::uint32_t> items_of(std::uint32_t container_index) const noexcept {
        const container& c = containers[container_index];
        return {c.data, c.count};
    }
    [[nodiscard]] static std::string_view text_of(const node& n) noexcept { return {n.text, n.a}; }

    /// Keeps `e` and returns its number. After the first thousand, errors with the same code share one, so that a file
    /// with very many faults does not take memory for each.
    [[nodiscard]] std::uint32_t keep(error e);
    /// Whether the next error is kept as it is.
    [[nodiscard]] bool describes_errors() const noexcept { return errors.size() < described_errors; }
    static constexpr std::size_t described_errors = 1'000;

    arena memory;
    chunked_array<node> nodes{};
    chunked_array<container> containers{};
    chunked_array<std::uint32_t> pending{}; // calls of names with a builder, and persistent ids, in order
    chunked_array<global_occurrence> globals{};
    chunked_array<tensor_data> tensors{};
    chunked_array<complex_value> complexes{};
    chunked_array<array_value> arrays{};
    std::vector<error*> errors{};
    std::span<const std::byte> pickle{};         // owned bytes; strings point into them
    std::uint64_t joined_bytes{0};               // bytes of other pickles and headers whose values were added
    std::uint64_t base{0};                       // offset of the pickle in the file
    std::string_view record{};                   // its name in the archive
    std::string_view file{};                     // the path that was opened, for errors; empty for bytes in memory
    bool has_given_keys{false};                  // of `add_dictionary`, which may be equal; those of pickles differ
    bool transcoded{false};                      // the file has it compressed: all its places are `base`
    std::size_t resolved_nodes{first_free_node}; // nodes of the pickles before this one
    std::size_t resolved_pending{0};
    storage_source* storages{nullptr};             // of the file; set before tensors are handed out
    storage_maker* maker{nullptr};                 // only while resolving
    std::span<const std::uint32_t> tensor_table{}; // nodes that a pickle names by number (TorchScript before torch 1.3)
    std::uint32_t root{absent_node};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/graph.ipp>
#endif
