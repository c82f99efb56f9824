// ckpt/pickle/graph.hpp: the inert value graph that a pickle becomes.
//
// SPDX-License-Identifier: MIT
// In:      nodes written by the machine, then overwritten once by the resolver.
// Out:     nodes of 16 bytes in an arena, which refer to each other by 32-bit index, so that cycles and shared
//          objects are ordinary and nothing recurses to build or to destroy them.
// Refuses: nothing. After the resolver has run the graph never changes.
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
    string,      // text: UTF-8, or what the flags say
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
    extension,   // of the node before: a: state; b: container of items; c: offset in the pickle
    // Only after the resolver has run:
    complex, // a: index of the pair in `complexes`
    tensor,  // a: tensor; its data holds the error where it was refused
    storage, // a: storage; extra: dtype, or 0xFFFF for bytes; integer: declared elements
    array,   // a: array
    refused, // a: error
};

namespace node_flag {
inline constexpr std::uint8_t eight_bit = 1; // string: a Python 2 str, which may hold any bytes
inline constexpr std::uint8_t not_utf8 = 2;  // string: lone surrogates, or bytes of another encoding
inline constexpr std::uint8_t hashable = 4;  // tuple: was checked, and Python could hash it
inline constexpr std::uint8_t no_data = 1;   // storage: of the device meta, saved without its bytes
inline constexpr std::uint8_t pairs = 1;     // application: SETITEM(S) was applied
inline constexpr std::uint8_t module = 2;    // application: its state is that of a torch.nn.Module; set by the resolver
inline constexpr std::uint8_t elements = 4;  // application: APPEND(S) was applied
inline constexpr std::uint8_t items = 8;     // application: SETITEM(S) may apply
inline constexpr std::uint8_t appends = 16;  // application: APPEND(S) may apply
inline constexpr std::uint8_t state = 32;    // application: BUILD may apply
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

/// The growing part of a list, a dictionary or a set.
struct container {
    std::uint32_t* data{nullptr};
    std::uint32_t count{0};
    std::uint32_t capacity{0};
};

/// One GLOBAL, STACK_GLOBAL or INST: the name as written, where, and what the policy said.
struct global_occurrence {
    std::string_view module{};
    std::string_view name{};
    std::uint32_t offset{0};
    std::uint8_t verdict{0};            // a ckpt::verdict
    const global_entry* entry{nullptr}; // what the policy says of the name; null where it says nothing
};

/// A numpy array of a simple dtype: a tensor over bytes of the pickle, and how numpy called it.
struct array_value {
    std::string_view type{}; // "<f8"
    std::uint32_t tensor{0};
    bool fortran_order{false};
};

// Nodes that every graph begins with, behind absent_node.
inline constexpr std::uint32_t none_node = 1;
inline constexpr std::uint32_t false_node = 2;
inline constexpr std::uint32_t true_node = 3;
inline constexpr std::uint32_t empty_tuple_node = 4;
inline constexpr std::uint32_t small_integers = 5; // 0 ... 255 follow
inline constexpr std::uint32_t first_free_node = small_integers + 256;

/// Where the resolver asks for storages while it works. `torch/` implements it.
class storage_maker {
  public:
    virtual ~storage_maker() = default;
    /// The number of the storage with this key; `errc::none` where it exists.
    [[nodiscard]] virtual errc find(std::string_view key, std::uint32_t& storage) = 0;
    /// A storage over bytes that live as long as the graph. `offset`: in the file, or `no_offset` for transcoded bytes.
    [[nodiscard]] virtual std::uint32_t add(std::span<const std::byte> bytes, byte_order order,
                                            std::uint64_t offset) = 0;
    /// The storage that is a part of the one that was found last, and has a key of its own (torch 0.1 to 0.3).
    [[nodiscard]] virtual errc view(std::uint32_t, std::string_view, std::uint64_t, std::uint64_t, std::uint32_t&) {
        return errc::persistent_id;
    }
    /// The tensor or storage that a bare key names (torch 0.1), as a node to take the place of the id.
    [[nodiscard]] virtual errc object(std::string_view, node&) { return errc::persistent_id; }
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

    /// Bytes of metadata behind the graph: what walks through it may cost follows from them.
    [[nodiscard]] std::uint64_t metadata_bytes() const noexcept { return pickle.size() + joined_bytes; }

    /// The offset in the file of byte `at` of the pickle.
    [[nodiscard]] std::uint64_t place(std::uint64_t at) const noexcept { return transcoded ? base : base + at; }

    /// Goes on to another pickle, whose values join those of the pickles before, which are resolved.
    void begin(std::span<const std::byte> bytes, std::uint64_t offset, std::string_view of) noexcept;

    /// Leaves nothing of a pickle that failed to the resolver of the next one.
    void forget_pending() noexcept;

    /// A str whose text lives as long as the graph.
    [[nodiscard]] std::uint32_t add_text(std::string_view text);
    /// A dictionary of keys and values in turn; `state`, where there is one, are its attributes, as BUILD sets them.
    [[nodiscard]] std::uint32_t add_dictionary(std::span<const std::uint32_t> pairs, std::uint32_t state = absent_node);
    /// The attributes of a dictionary that came with metadata: {"__metadata__": {text: text}}.
    [[nodiscard]] std::uint32_t add_metadata(std::span<const std::uint32_t> pairs);
    [[nodiscard]] std::uint32_t add_tensor(const tensor_data& t);

    /// Appends to the container `index` (0: makes one and stores its number).
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

    /// Keeps `e` and returns its number. Past the first thousand, errors of one code share one: a file that is broken
    /// that often gets no more precise by spending memory on every place.
    [[nodiscard]] std::uint32_t keep(error e);

    arena memory;
    chunked_array<node> nodes{};
    chunked_array<container> containers{};
    chunked_array<std::uint32_t> pending{}; // calls of names with a builder, and persistent ids, in order
    chunked_array<global_occurrence> globals{};
    chunked_array<tensor_data> tensors{};
    chunked_array<complex_value> complexes{};
    chunked_array<array_value> arrays{};
    std::vector<error*> errors{};
    std::span<const std::byte> pickle{}; // owned bytes; strings point into them
    std::uint64_t joined_bytes{0};       // of pickles and headers whose values this graph joins from other graphs
    std::uint64_t base{0};               // offset of the pickle in the file
    std::string_view record{};           // its name in the archive
    bool transcoded{false};              // the file holds it in another form (compressed): its places are all `base`
    std::size_t resolved_nodes{first_free_node}; // of the pickles before this one
    std::size_t resolved_pending{0};
    const storage_source* storages{nullptr};       // of the file; set before tensors are handed out
    storage_maker* maker{nullptr};                 // only while resolving
    std::span<const std::uint32_t> tensor_table{}; // nodes that a pickle names by number (TorchScript before torch 1.3)
    std::uint32_t root{absent_node};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/graph.ipp>
#endif
