// ckpt/state/gather.hpp: gather plans: tensors that are made of pieces of others.
//
// SPDX-License-Identifier: MIT
// In:      tensors of one or more files, and what shall be made of them: splits, merges, transposes, pads, casts.
// Out:     views of the stored elements wherever strides can say it; otherwise a node of a plan, whose elements are
//          written straight into the caller's memory, whole or any range of it, when they are asked for.
// Refuses: shapes that do not fit, before anything is read; values that a cast would lose, when they are read.
//
// A plan is made from metadata alone, and nothing is kept between reads.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class gather_op : std::uint8_t {
    leaf,
    permute,
    narrow,
    reshape,
    concat,
    paste,
    pad,
    cast,
    fill,
    product,
    times,
    dequantize
};

class storage_readers; // tensor/access.hpp

/// One tensor of a plan. Sizes are those of the result. A map of a million keys has millions of nodes: what a leaf and
/// what an operation has share their places.
struct gather_node {
    gather_op op{};
    ckpt::dtype type{};
    bool compressed{false}; ///< whether a storage that it reads is compressed
    bool one_factor{false}; ///< of times
    std::uint32_t rank{0};
    std::uint32_t count{0};     ///< of parts
    std::uint16_t depth{0};     ///< operations on the way to the stored elements
    std::uint16_t dimension{0}; ///< of narrow, concat, pad and times: below 64, as all that is taken apart
    const std::int64_t* shape{};
    std::uint64_t numel{0};
    std::uint64_t backing{0}; ///< bytes of the storages and values that it is made of
    union {
        const tensor_data* data{};  ///< of a leaf
        const std::uint32_t* parts; ///< of an operation: other nodes
    };
    union {
        const storage_source* source{}; ///< of a leaf
        /// permute: the dimensions; narrow: start; concat: where each part begins; pad: before; paste: the offsets of
        /// each part, then the ends of all parts so far in the first dimension.
        const std::int64_t* numbers;
    };
    union {
        const std::byte* value{}; ///< of fill and pad: one element
        /// times: one for each index of the dimension, or where `one_factor` is set one; product: s of
        /// base + s * B * A.
        const double* factors;
    };

    [[nodiscard]] std::span<const std::int64_t> sizes() const noexcept { return {shape, rank}; }
};

/// All nodes of a plan, and what keeps their files. Immutable once it is handed out.
class gather_plan final : public counted {
  public:
    static constexpr std::uint32_t most_depth = 64; ///< reading a node recurses once for each operation on the way

    [[nodiscard]] const gather_node& node(std::uint32_t i) const noexcept { return nodes_[i]; }
    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
    void keep(shared<counted> owner) { owners_.push_back(std::move(owner)); }
    [[nodiscard]] arena& memory() noexcept { return memory_; }

    /// Makes room for `more` nodes.
    void expect(std::size_t more) { nodes_.reserve(nodes_.size() + more); }
    std::uint32_t add_leaf(const tensor_data* data, const storage_source* source);
    [[nodiscard]] bool is_leaf(std::uint32_t i) const noexcept { return nodes_[i].op == gather_op::leaf; }
    /// The file of a node's first stored elements, by its name in the folder.
    [[nodiscard]] std::string_view file_of(std::uint32_t i) const noexcept;

    /// Whether two nodes are the same view: of one storage, or one node.
    [[nodiscard]] bool same_view(std::uint32_t a, std::uint32_t b) const noexcept;

    /// Whether the values are at most about 16 times what is stored for them: an expanded tensor may claim any shape.
    [[nodiscard]] bool in_proportion(std::uint32_t i) const noexcept {
        return bytes_of(nodes_[i].type, nodes_[i].numel) / 16 <= nodes_[i].backing + (std::uint64_t{1} << 16);
    }

    // ---- operations; the caller has checked dimensions and sizes against the node's shape

    [[nodiscard]] std::uint32_t permute(std::uint32_t of, std::span<const std::int64_t> order);

    [[nodiscard]] std::uint32_t narrow(std::uint32_t of, std::uint32_t dimension, std::int64_t start,
                                       std::int64_t length);

    /// The same elements in row-major order under another shape of the same product.
    [[nodiscard]] std::uint32_t reshape(std::uint32_t of, std::span<const std::int64_t> shape);

    /// The parts one after another along a dimension; at least one part.
    [[nodiscard]] std::uint32_t concat(std::span<const std::uint32_t> parts, std::uint32_t dimension);

    /// Boxes pasted into a tensor of `shape` at their offsets, one row of `rank` numbers for each; they tile it: every
    /// element is in one of them. At least one part and one dimension; sorted by the first offset.
    [[nodiscard]] std::uint32_t paste(std::span<const std::uint32_t> parts, std::span<const std::int64_t> offsets,
                                      std::span<const std::int64_t> shape);

    [[nodiscard]] std::uint32_t pad(std::uint32_t of, std::uint32_t dimension, std::int64_t before, std::int64_t after,
                                    const std::array<std::byte, 16>& value);
    [[nodiscard]] std::uint32_t cast(std::uint32_t of, ckpt::dtype type);
    [[nodiscard]] std::uint32_t fill(ckpt::dtype type, std::span<const std::int64_t> shape,
                                     const std::array<std::byte, 16>& value);
    /// base + scale * B * A, computed in float64 and rounded once to float32: B [m, r], A [r, n], base [m, n] and the
    /// result float32.
    [[nodiscard]] std::uint32_t product(std::uint32_t base, std::uint32_t b, std::uint32_t a, double scale);
    /// The elements, each times the factor of its index in `dimension`, or all times the one factor that there is. As
    /// torch multiplies: in float64 that type's elements, others as float32, each product rounded to the type.
    [[nodiscard]] std::uint32_t times(std::uint32_t of, std::uint32_t dimension, std::span<const double> factors);
    /// The numbers of a leaf that is a quantised tensor, as `copy_dequantized` gives them: float32.
    [[nodiscard]] std::uint32_t dequantize(std::uint32_t leaf);
    /// The scales or the zero points of a quantised tensor's channels, a leaf, as `dequantization` takes them.
    /// `rounded`: to float32, where torch multiplies as that.
    [[nodiscard]] std::uint32_t scales(std::uint32_t leaf, bool rounded) {
        return cast(rounded ? cast(leaf, ckpt::dtype::float32) : leaf, ckpt::dtype::float64);
    }
    [[nodiscard]] std::uint32_t zero_points(std::uint32_t leaf);

    // ---- reading

    /// Writes elements [first, first + n) of a node, counted in row-major order, to `out`, in native byte order.
    /// `leaves`: for several reads, which go on where the last one ended in a compressed storage.
    [[nodiscard]] result<void> read(std::uint32_t of, std::uint64_t first, std::uint64_t n, std::byte* out,
                                    storage_readers& leaves) const;
    /// The same for one read.
    [[nodiscard]] result<void> read(std::uint32_t of, std::uint64_t first, std::uint64_t n, std::byte* out) const;

    /// Whether two nodes of one dtype and shape have the same elements, bit by bit. Reads both in bounded pieces.
    [[nodiscard]] result<bool> equal(std::uint32_t a, std::uint32_t b) const;

    static constexpr std::uint32_t none = ~std::uint32_t{0};

  private:
    [[nodiscard]] std::uint32_t add(gather_node node);
    static void add_backing(std::uint64_t& sum, std::uint64_t more) noexcept {
        if (!checked_add(sum, more, sum)) sum = ~std::uint64_t{0};
    }
    template <class T> [[nodiscard]] const T* copy(std::span<const T> numbers) {
        T* out = memory_.allocate<T>(numbers.size() + 1);
        for (std::size_t i = 0; i < numbers.size(); ++i) out[i] = numbers[i];
        return out;
    }
    /// The depth of an operation on node `i`.
    [[nodiscard]] std::uint16_t above(std::uint32_t i) const noexcept {
        return static_cast<std::uint16_t>(nodes_[i].depth + 1);
    }
    /// Sets shape and number of elements; that the product fits was checked.
    void set_shape(gather_node& node, std::span<const std::int64_t> shape);
    [[nodiscard]] gather_node over(gather_op op, std::uint32_t of, std::span<const std::int64_t> shape);
    /// A leaf on the same storage.
    [[nodiscard]] std::uint32_t view(std::uint32_t of, std::span<const std::int64_t> shape,
                                     std::span<const std::int64_t> strides, std::uint64_t offset);

    /// Strides that show `data` under `shape` without a copy; false where there are none.
    [[nodiscard]] static bool strides_of_reshape(const tensor_data& data, std::span<const std::int64_t> shape,
                                                 std::vector<std::int64_t>& strides);

    /// One view of parts that lie behind one another in one storage; `none` where they do not.
    [[nodiscard]] std::uint32_t adjacent(std::span<const std::uint32_t> parts, std::uint32_t dimension);

    arena memory_{};
    std::vector<gather_node> nodes_{};
    std::vector<shared<counted>> owners_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/gather.ipp>
#endif
