// ckpt/state/gather.hpp: gather plans: tensors that are made of pieces of others.
//
// SPDX-License-Identifier: MIT
// In:      tensors of one or more files, and what shall be made of them: splits, merges, transposes, pads, casts.
// Out:     views of the stored elements wherever strides can say it; otherwise a node of a plan, whose elements are
//          written straight into the caller's memory, whole or any range of it, when they are asked for.
// Refuses: shapes that do not fit, before anything is read; values that a cast would lose, when they are read.
//
// A plan is made from metadata alone. Nothing is kept between reads: what is needed at once, beside the destination,
// is one bounded buffer for each cast or unmapped piece on the way.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/hash.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/strided.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class gather_op : std::uint8_t { leaf, permute, narrow, reshape, concat, paste, pad, cast, fill, product };

/// One tensor of a plan. Sizes are those of the result.
struct gather_node {
    gather_op op{};
    ckpt::dtype type{};
    std::uint32_t rank{0};
    std::uint32_t depth{0}; ///< operations on the way to the stored elements
    const std::int64_t* shape{};
    std::uint64_t numel{0};
    const tensor_data* data{};      ///< of a leaf
    const storage_source* source{}; ///< of a leaf
    const std::uint32_t* parts{};   ///< other nodes
    std::uint32_t count{0};
    std::uint32_t dimension{0}; ///< of narrow, concat and pad
    const std::int64_t*
        numbers{}; ///< permute: the dimensions; narrow: start; concat: where each part begins; pad: before;
                   ///< paste: the offsets of each part, then the ends of all parts so far in the first dimension
    std::array<std::byte, 16> value{}; ///< of fill and pad: one element
    double scale{1};                   ///< of product: base + scale * B * A
    std::uint64_t backing{0};          ///< bytes of the storages and values that it is made of

    [[nodiscard]] std::span<const std::int64_t> sizes() const noexcept { return {shape, rank}; }
};

/// A box of a node's elements, and where they go: strides in elements of the destination.
struct gather_region {
    std::uint32_t rank{0};
    std::array<std::uint64_t, 64> start{};
    std::array<std::uint64_t, 64> size{};
    std::array<std::uint64_t, 64> stride{};

    [[nodiscard]] std::uint64_t count() const noexcept;
    [[nodiscard]] bool is_dense() const noexcept;
    void make_dense() noexcept;
};

/// All nodes of a plan, and what keeps their files. Immutable once it is handed out.
class gather_plan final : public counted {
  public:
    static constexpr std::uint32_t most_depth = 64; ///< reading a node recurses once for each operation on the way

    [[nodiscard]] const gather_node& node(std::uint32_t i) const noexcept { return nodes_[i]; }
    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
    void keep(shared<counted> owner) { owners_.push_back(std::move(owner)); }
    [[nodiscard]] arena& memory() noexcept { return memory_; }

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

    // ---- reading

    /// Writes elements [first, first + n) of a node, counted in row-major order, to `out`, in native byte order.
    [[nodiscard]] result<void> read(std::uint32_t of, std::uint64_t first, std::uint64_t n, std::byte* out) const;

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

    /// Calls `f(box, done)` for boxes of row-major elements [first, first + n) of `shape`, each going to a dense run.
    template <class F>
    static result<void> each_box(std::span<const std::int64_t> shape, std::uint64_t first, std::uint64_t n, F&& f) {
        const auto rank = static_cast<std::uint32_t>(shape.size());
        for (std::uint64_t done = 0; done < n;) {
            // The outermost dimension of which whole steps fit here.
            std::uint64_t inner = 1;
            std::uint32_t cut = rank;
            while (cut > 0) {
                const std::uint64_t grown = inner * static_cast<std::uint64_t>(shape[cut - 1]);
                if ((first + done) % grown != 0 || grown > n - done) break;
                inner = grown;
                --cut;
            }
            gather_region box;
            box.rank = rank;
            std::uint64_t rest = (first + done) / inner;
            std::uint64_t steps = 1;
            for (std::uint32_t i = rank; i-- > 0;) {
                const auto size = static_cast<std::uint64_t>(shape[i]);
                if (i >= cut) {
                    box.size[i] = size;
                    continue;
                }
                box.start[i] = rest % size;
                box.size[i] = 1;
                rest /= size;
                if (i + 1 == cut) {
                    steps = (n - done) / inner;
                    if (steps > size - box.start[i]) steps = size - box.start[i];
                    box.size[i] = steps;
                }
            }
            box.make_dense();
            if (auto one = f(static_cast<const gather_region&>(box), done); !one) return one;
            done += steps * inner;
        }
        return {};
    }

    /// Calls `f(part, offset)` for parts of a region with at most `most` elements; `offset` is that of the destination.
    template <class F>
    static result<void> each_part(const gather_region& whole, std::uint64_t most, std::uint64_t offset, F& f) {
        if (whole.count() <= most) return f(whole, offset);
        std::uint32_t d = 0;
        while (whole.size[d] == 1) ++d;
        std::uint64_t inner = 1;
        for (std::uint32_t i = d + 1; i < whole.rank; ++i) inner *= whole.size[i];
        const std::uint64_t piece = inner >= most ? 1 : most / inner;
        gather_region part = whole;
        for (std::uint64_t at = 0; at < whole.size[d]; at += piece) {
            part.start[d] = whole.start[d] + at;
            part.size[d] = whole.size[d] - at < piece ? whole.size[d] - at : piece;
            if (auto one = each_part(part, most, offset + at * whole.stride[d], f); !one) return one;
        }
        return {};
    }

    /// Copies dense elements of a region to where they belong.
    static void scatter(const gather_region& region, std::size_t size, const std::byte* in, std::byte* out) noexcept;

    [[nodiscard]] result<void> fetch(std::uint32_t of, const gather_region& region, std::byte* out) const;

    [[nodiscard]] static result<void> fetch_leaf(const gather_node& node, const gather_region& region, std::byte* out);

    [[nodiscard]] result<void> fetch_reshaped(const gather_node& node, const gather_region& region,
                                              std::byte* out) const;

    [[nodiscard]] result<void> fetch_parts(const gather_node& node, const gather_region& region, std::byte* out) const;

    [[nodiscard]] result<void> fetch_boxes(const gather_node& node, const gather_region& region, std::byte* out) const;

    [[nodiscard]] result<void> fetch_padded(const gather_node& node, const gather_region& region, std::byte* out) const;

    static void fetch_value(const gather_node& node, const gather_region& region, std::byte* out) noexcept;

    [[nodiscard]] result<void> fetch_cast(const gather_node& node, const gather_region& region, std::byte* out) const;

    [[nodiscard]] result<void> fetch_product(const gather_node& node, const gather_region& region,
                                             std::byte* out) const;

    arena memory_{};
    std::vector<gather_node> nodes_{};
    std::vector<shared<counted>> owners_{};
};

/// The storages of a remapped or overlaid state_dict: those of its sources under new numbers, and one for each tensor
/// that is gathered.
class gathered_storages final : public storage_source {
  public:
    explicit gathered_storages(shared<gather_plan> plan) : plan_{std::move(plan)} {}

    /// The number under which a storage of a source is known here.
    [[nodiscard]] std::uint32_t number_of(const storage_source* source, std::uint32_t storage);
    /// A new storage for a gathered tensor.
    [[nodiscard]] std::uint32_t number_of_node(std::uint32_t node);

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t i) const noexcept override;
    [[nodiscard]] byte_order order(std::uint32_t i) const noexcept override {
        return slots_[i].source != nullptr ? slots_[i].source->order(slots_[i].number) : native_order();
    }
    [[nodiscard]] std::string_view key(std::uint32_t i) const noexcept override {
        return slots_[i].source != nullptr ? slots_[i].source->key(slots_[i].number) : std::string_view{};
    }
    [[nodiscard]] std::string_view file(std::uint32_t i) const noexcept override;
    [[nodiscard]] bool is_compressed(std::uint32_t i) const noexcept override {
        return slots_[i].source != nullptr && slots_[i].source->is_compressed(slots_[i].number);
    }
    [[nodiscard]] bool is_gathered(std::uint32_t i) const noexcept override {
        return slots_[i].source == nullptr || slots_[i].source->is_gathered(slots_[i].number);
    }
    [[nodiscard]] result<stored_place> place_of(std::uint32_t i) const override;
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t i) const override;
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t i) const override;
    [[nodiscard]] result<void> read(std::uint32_t i, std::uint64_t offset, std::span<std::byte> out) const override;

  private:
    struct slot {
        const storage_source* source{nullptr}; ///< null: a node of the plan
        std::uint32_t number{0};
    };
    [[nodiscard]] std::size_t place(const storage_source* source, std::uint32_t storage) const noexcept;
    void grow();

    shared<gather_plan> plan_;
    std::vector<slot> slots_{};
    std::vector<std::uint32_t> table_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/gather.ipp>
#endif
