// ckpt/gpu/plan_data.hpp: what an upload plan consists of.
//
// SPDX-License-Identifier: MIT
// In:      numbers that the planner computed.
// Out:     plain data, which the upload engine carries out.
// Refuses: nothing.
//
// A plan is made in four steps, each with a header of its own: what each tensor is made from (plan_inputs), where it
// lies in device memory (plan_grouping), what is read in which pieces (plan_reads), what of a piece is copied where
// (plan_copies). At the end, targets that get the same bytes are found (plan_replicas).
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/gpu/kernels.hpp>
#include <ckpt/gpu/upload_types.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/tensor/layout.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Bytes of a file that no tensor needs are read and copied, too, where there are at most so many between two tensors:
/// that costs less than another read and another copy.
inline constexpr std::uint64_t bridged_gap = 4096;
/// What the device converts lies in its scratch at the same place within so many bytes as in the file.
inline constexpr std::uint64_t scratch_alignment = 256;
/// One is filled while the other is converted from.
inline constexpr std::uint32_t scratch_blocks = 2;
/// The device makes a strided tensor dense where it has at most so many times the bytes of its elements between the
/// first and the last: the link carries all of them, and brings that part of its rate, which is more than cores gather.
inline constexpr std::uint64_t scattered_range = 2;
/// Bytes that lie together on the device as they do in the file may be read past the host where there are so many: then
/// they have the same place in a page of both, if their alignment allows it.
inline constexpr std::uint64_t paged_bytes = std::uint64_t{1} << 20;
/// Bytes that are fewer may be moved beside others in their slot, so that one copy has many: a copy of its own costs
/// about what moving so many costs.
inline constexpr std::uint64_t moved_bytes = std::uint64_t{1} << 16;

[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t at, std::uint64_t alignment) noexcept {
    return (at + alignment - 1) & ~(alignment - 1);
}

/// What is in its order already is not sorted again: planning is bound by sorting.
template <class T, class Less> void sort_unsorted(std::vector<T>& of, Less less) {
    if (!std::is_sorted(of.begin(), of.end(), less)) std::sort(of.begin(), of.end(), less);
}

/// Bytes that lie behind one another in a file, or in memory.
struct byte_run {
    const source* from{};  ///< some source of the file; null: memory
    const file* in{};      ///< the file; null: memory
    std::uint64_t begin{}; ///< in the file; in memory the address
    std::uint64_t end{};
    std::string_view file_name{}; ///< in its folder; empty where there is one file only
};

/// Memory of a target.
enum class copy_place : std::uint8_t {
    memory,    ///< where tensors stay
    scratch,   ///< a block that kernels convert from: the piece's casts say how
    parameters ///< behind the blocks: scales and zero points of channels, for the kernels of later pieces
};

/// A part of staged bytes and where it goes.
struct staged_copy {
    std::uint32_t target{};
    copy_place into{};
    std::uint64_t from{}; ///< in the piece, or where moves bring it
    std::uint64_t bytes{};
    std::uint64_t to{}; ///< in there
};

/// Bytes of a piece that are moved, to lie as they do on the device.
struct staged_move {
    std::uint64_t from{}; ///< in the piece
    std::uint64_t to{};   ///< where a copy has it
    std::uint64_t bytes{};
};

/// How the device dequantises a tensor.
struct device_numbers {
    const tensor_extra* quantizer{};
    dequantization how{};        ///< without the arrays of channels
    std::uint64_t scales{};      ///< where they are among the target's parameters
    std::uint64_t zero_points{}; ///< likewise

    [[nodiscard]] friend bool operator==(const device_numbers& a, const device_numbers& b) noexcept {
        return a.quantizer == b.quantizer && a.scales == b.scales && a.zero_points == b.zero_points;
    }
};
inline constexpr std::uint32_t no_numbers = ~std::uint32_t{0};

/// A conversion on the device, from scratch to the target's memory.
struct device_cast {
    std::uint32_t target{};
    std::uint64_t from{};  ///< in the scratch
    std::uint64_t to{};    ///< in the target's memory
    std::uint64_t count{}; ///< of elements
    dtype type{};
    dtype wanted{};
    bool swap_bytes{};
    /// The strided tensor whose stored elements these are: each goes to its place, behind `to`. Null: dense elements.
    const tensor_data* view{};
    std::uint64_t first{};             ///< which of the tensor's stored elements they begin with
    bool is_last{};                    ///< they are the last ones of the tensor
    std::uint32_t numbers{no_numbers}; ///< how they are dequantised, in `upload_plan_data::numbers`
};

/// Elements of a tensor that the host builds.
struct built_part {
    std::uint32_t tensor{}; ///< in `upload_plan_data::built`
    std::uint64_t first{};  ///< element
    std::uint64_t count{};
    std::uint64_t at{}; ///< in the piece, in bytes
};

/// What is staged at once.
struct upload_piece {
    std::uint32_t run{};   ///< or `no_run` where the host builds it
    std::uint64_t begin{}; ///< in the file, or the address
    std::uint64_t bytes{};
    std::uint32_t first_copy{}, copies{};
    std::uint32_t first_move{}, moves{};
    std::uint32_t first_cast{}, casts{};
    std::uint32_t first_part{}, parts{};
    bool apart{}; ///< all is moved: from where it is read, to the slot; else to behind the piece in its slot
};
inline constexpr std::uint32_t no_run = ~std::uint32_t{0};

/// A tensor that the host builds, for one or more targets; or parameters of such as the device dequantises.
struct built_tensor {
    std::uint32_t node{}; ///< of the plan's gathers
    dtype type{};
    std::uint64_t numel{};
    std::uint32_t phase{};  ///< number of its group in `upload_plan_options::order`
    std::uint32_t pieces{}; ///< it is complete when so many pieces were issued
    copy_place into{};
};

/// A record whose bytes are all read, and their checksum.
struct known_checksum {
    std::uint32_t run{};
    std::uint64_t begin{};
    std::uint64_t end{};
    std::uint32_t crc32{};
    std::string_view key{};
};

/// A tensor and where it lies in its target's memory.
struct placed_tensor {
    std::string_view key{};
    dtype type{};
    upload_way way{};
    std::uint32_t target{};
    std::uint32_t rank{};
    std::uint32_t phase{}; ///< number of its group in `upload_plan_options::order`, or of one before it
    const std::int64_t* shape{};
    const std::int64_t* strides{};
    std::uint64_t offset{}; ///< of element 0, in the target's memory
    std::uint64_t nbytes{}; ///< from the first to the last element; 0 where there are none
    std::uint64_t numel{};
    std::uint32_t storage{};         ///< equal numbers share memory, as the tensors of one storage do
    std::uint32_t pieces{};          ///< it is complete when so many pieces were issued
    const tensor_extra* quantised{}; ///< scale and zero point of integers that are quantised as a whole; else null
};

struct upload_plan_data final : counted {
    struct target {
        int device{};
        std::uint64_t bytes{};
        std::uint64_t scratch{};             ///< bytes of one block
        std::uint64_t parameters{};          ///< bytes behind the blocks
        std::uint32_t alike{};               ///< the first target that has the same bytes; itself where no other has
        std::vector<std::uint32_t> by_key{}; ///< tensors, sorted

        /// Bytes that it needs while the upload runs: the blocks, and the parameters behind them.
        [[nodiscard]] std::uint64_t temporary() const noexcept { return scratch_blocks * scratch + parameters; }
    };
    std::vector<shared<counted>> owners{}; ///< of the tensors of each target
    arena memory{};
    gather_plan plan{};
    std::vector<target> targets{};
    std::vector<placed_tensor> tensors{};
    std::vector<built_tensor> built{};
    std::vector<byte_run> runs{};
    std::vector<upload_piece> pieces{};
    std::vector<staged_copy> copies{};
    std::vector<staged_move> moves{};
    std::vector<device_cast> casts{};
    std::vector<device_numbers> numbers{};
    std::vector<built_part> parts{};
    std::vector<known_checksum> checksums{};
    std::uint32_t phases{1};   ///< one for each group of `upload_plan_options::order`, and one for the others
    std::uint32_t storages{};  ///< how many different numbers of storages the tensors have
    std::uint64_t unchecked{}; ///< storages that are read in part, or have no checksum
    std::uint64_t piece_bytes{};
    std::uint64_t slot_bytes{}; ///< whole pages that hold any piece, at its place in the first page
    std::uint64_t read_bytes{}; ///< of runs
    std::uint64_t built_bytes{};
    std::uint64_t built_from{}; ///< bytes that the host reads for what it builds
    const device_kernels* kernels{};

    /// Where the bytes of a piece begin in what they are read to: at their place in the page, so that direct reads need
    /// no second copy.
    [[nodiscard]] std::uint64_t lead(const upload_piece& piece) const noexcept {
        return piece.run != no_run && runs[piece.run].in != nullptr ? piece.begin % file::direct_alignment : 0;
    }
    /// Where what copies count from begins in a slot.
    [[nodiscard]] std::uint64_t slot_lead(const upload_piece& piece) const noexcept {
        return piece.apart ? 0 : lead(piece);
    }
    [[nodiscard]] std::span<const staged_copy> copies_of(const upload_piece& piece) const noexcept {
        return std::span{copies}.subspan(piece.first_copy, piece.copies);
    }
    [[nodiscard]] std::span<const device_cast> casts_of(const upload_piece& piece) const noexcept {
        return std::span{casts}.subspan(piece.first_cast, piece.casts);
    }
    [[nodiscard]] std::span<const staged_move> moves_of(const upload_piece& piece) const noexcept {
        return std::span{moves}.subspan(piece.first_move, piece.moves);
    }
    [[nodiscard]] const placed_tensor* find(std::string_view key, std::uint32_t of) const noexcept;
};

/// The tensor of a key. Fails with `key_missing`.
[[nodiscard]] result<const placed_tensor*> find_placed(const upload_plan_data& plan, std::string_view key,
                                                       std::size_t target);
/// Whether a tensor is a plain array of elements of this type. Fails with `dtype_mismatch`, and with `needs_copy` where
/// it is not contiguous.
[[nodiscard]] result<void> check_array_of(const placed_tensor& t, std::string_view key, dtype wanted);

/// How many of a plan's copies, casts or parts there are by now: they are numbered by 32 bits.
template <class T> [[nodiscard]] std::uint32_t count_of(const std::vector<T>& of) noexcept {
    return static_cast<std::uint32_t>(of.size());
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/plan_data.ipp>
#endif
