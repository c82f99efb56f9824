// ckpt/gpu/upload_plan.hpp: what an upload reads, in which order, and where each byte of it goes.
//
// SPDX-License-Identifier: MIT
// In:      state_dicts, and for which device each is meant; a layout, casts, a size of pieces.
// Out:     `upload_plan`: runs of file bytes that are read once, in the order of the file, cut into pieces; the copies
// of each
//          piece; what is built on the host; the place of each tensor in its device's memory. It can be printed, and
//          says what it would cost.
// Refuses: tensors that have no values, casts that do not exist, sizes that 64 bits cannot count.
//
// Nothing is read but the headers of the records that are used, and no device is asked. A plan keeps its files open.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/gpu/kernels.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How tensors lie in device memory.
enum class upload_layout : std::uint8_t {
    file_image, ///< runs of the file as they are, so that many tensors are one copy; aligned as in the file
    packed      ///< what is used of each storage at a multiple of `alignment`, nothing between them
};

/// The tensors that match `keys` become `to`, as Module.to(dtype) does: a floating `to` leaves integers alone.
struct upload_cast {
    pattern keys;
    dtype to{};
};

struct upload_plan_options {
    std::vector<pattern> select{};    ///< keys that are uploaded; empty: all
    std::vector<upload_cast> casts{}; ///< the first that matches counts
    upload_layout layout{upload_layout::file_image};
    std::uint64_t alignment{256};                      ///< of what is packed or built; a power of two
    std::uint64_t piece_bytes{std::uint64_t{8} << 20}; ///< most bytes that are staged at once; a multiple of 4,096
    const device_kernels* kernels{};                   ///< conversions that the device does; null: the host does all
};

/// A state_dict and the device that it goes to.
struct upload_target {
    int device{0};
    state_dict weights;
};

/// Who makes the elements of a tensor.
enum class upload_way : std::uint8_t {
    stored, ///< they are copied as they lie in the file
    host,   ///< the host gathers or converts them while they are staged
    device  ///< the device converts them
};

/// Rates of a machine, in bytes for each second: measured, or of its data sheet.
struct upload_rates {
    double disk{3e9};    ///< where the file comes from: 2e9 to 14e9 for one NVMe disk, more from the page cache
    double copy{8e9};    ///< one core copying from the page cache
    unsigned readers{2}; ///< cores that do so
    double link{25e9};   ///< to each device: 25e9 for PCIe 4, 55e9 for PCIe 5, 16 lanes each
    double issue{5e-6};  ///< seconds for each copy that is issued
};

/// What an upload would take by a simple model: the slowest stage, and what fills and drains the others.
struct upload_estimate {
    double seconds{};
    std::string_view bound{}; ///< "disk", "host" or "link": the stage that decides
};

namespace detail {

/// Bytes that lie behind one another in a file, or in memory.
struct byte_run {
    const source* from{};  ///< some source of the file; null: memory
    const file* in{};      ///< the file; null: memory
    std::uint64_t begin{}; ///< in the file; in memory the address
    std::uint64_t end{};
    std::string_view file_name{}; ///< in its folder; empty where there is one file only
};

/// A part of staged bytes and where it goes.
struct staged_copy {
    std::uint32_t target{};
    bool to_scratch{}; ///< for the operations of the piece, which find it at the same distance from the first such byte
    std::uint64_t from{}; ///< in the piece
    std::uint64_t bytes{};
    std::uint64_t to{}; ///< in the target's memory, or in its scratch
};

/// A conversion on the device, from scratch to the target's memory.
struct device_cast {
    std::uint32_t target{};
    std::uint64_t from{};  ///< in the scratch
    std::uint64_t to{};    ///< in the target's memory
    std::uint64_t count{}; ///< of elements
    dtype type{};
    dtype wanted{};
    bool swap_bytes{};
};

/// Elements of a tensor that the host builds.
struct built_part {
    std::uint32_t tensor{}; ///< in `built`
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
    std::uint32_t first_cast{}, casts{};
    std::uint32_t first_part{}, parts{};
};
inline constexpr std::uint32_t no_run = ~std::uint32_t{0};

/// A tensor that the host builds, for one or more targets.
struct built_tensor {
    std::uint32_t node{};
    dtype type{};
    std::uint64_t numel{};
};

/// A record whose bytes are all read, and their checksum.
struct known_checksum {
    std::uint32_t run{};
    std::uint64_t begin{};
    std::uint64_t end{};
    std::uint32_t crc32{};
    std::string_view key{};
};

struct placed_tensor {
    std::string_view key{};
    dtype type{};
    upload_way way{};
    std::uint32_t target{};
    std::uint32_t rank{};
    const std::int64_t* shape{};
    const std::int64_t* strides{};
    std::uint64_t offset{}; ///< of element 0, in the target's memory
    std::uint64_t nbytes{}; ///< from the first to the last element; 0 where there are none
    std::uint64_t numel{};
    std::uint32_t storage{};         ///< equal numbers share memory, as the tensors of one storage do
    const tensor_extra* quantised{}; ///< scale and zero point of one that is quantised as a whole; null for others
};

struct upload_plan_data final : counted {
    struct target {
        int device{};
        std::uint64_t bytes{};
        std::uint64_t scratch{};
        std::vector<std::uint32_t> by_key{}; ///< tensors, sorted
    };
    std::vector<shared<counted>> owners{};
    arena memory{};
    gather_plan plan{};
    std::vector<target> targets{};
    std::vector<placed_tensor> tensors{};
    std::vector<built_tensor> built{};
    std::vector<byte_run> runs{};
    std::vector<upload_piece> pieces{};
    std::vector<staged_copy> copies{};
    std::vector<device_cast> casts{};
    std::vector<built_part> parts{};
    std::vector<known_checksum> checksums{};
    std::uint32_t storages{};  ///< numbers of them that tensors have
    std::uint64_t unchecked{}; ///< storages that are read in part, or have no checksum
    std::uint64_t piece_bytes{};
    std::uint64_t slot_bytes{}; ///< whole pages that hold any piece, at its place in the first page
    std::uint64_t read_bytes{}; ///< of runs
    std::uint64_t built_bytes{};
    const device_kernels* kernels{};

    /// Where the bytes of a piece begin in its slot: at their place in the page, so that direct reads need no second
    /// copy.
    [[nodiscard]] std::uint64_t lead(const upload_piece& piece) const noexcept {
        return piece.run != no_run && runs[piece.run].in != nullptr ? piece.begin % file::direct_alignment : 0;
    }
    [[nodiscard]] const placed_tensor* find(std::string_view key, std::uint32_t of) const noexcept;
};

class upload_planner;
struct upload_plan_access;

} // namespace detail

/// A cheap handle to an immutable plan; copies share it.
class upload_plan {
  public:
    /// One tensor of the plan. Borrows from the plan.
    struct tensor {
        std::string_view key{};
        ckpt::dtype dtype{};
        std::span<const std::int64_t> shape{};
        std::span<const std::int64_t> strides{}; ///< in elements; the file's where the way is `stored`
        std::uint32_t target{};                  ///< index of its target
        std::uint64_t offset{};                  ///< of its first element, in the target's memory
        upload_way way{};
    };
    /// Bytes that are read behind one another. Borrows from the plan.
    struct run {
        std::string_view file{}; ///< its name in the folder; empty where there is one file only
        bool in_memory{};        ///< `offset` is then an address
        std::uint64_t offset{};
        std::uint64_t bytes{};
    };

    [[nodiscard]] std::size_t size() const noexcept { return data_->tensors.size(); }
    [[nodiscard]] tensor operator[](std::size_t i) const& noexcept;
    tensor operator[](std::size_t) const&& = delete;
    [[nodiscard]] std::vector<run> runs() const&;
    std::vector<run> runs() const&& = delete;

    [[nodiscard]] std::size_t targets() const noexcept { return data_->targets.size(); }
    [[nodiscard]] int device(std::size_t target) const noexcept { return data_->targets[target].device; }
    /// Bytes of device memory that a target needs, and beside them, while it runs, for conversions.
    [[nodiscard]] std::uint64_t device_bytes(std::size_t target) const noexcept { return data_->targets[target].bytes; }
    [[nodiscard]] std::uint64_t scratch_bytes(std::size_t target) const noexcept {
        return data_->targets[target].scratch;
    }
    /// Bytes that are read as they lie in files or memory, each once, and bytes that the host builds beside them.
    [[nodiscard]] std::uint64_t read_bytes() const noexcept { return data_->read_bytes; }
    [[nodiscard]] std::uint64_t built_bytes() const noexcept { return data_->built_bytes; }
    [[nodiscard]] std::size_t pieces() const noexcept { return data_->pieces.size(); }
    /// Copies to devices that are issued.
    [[nodiscard]] std::size_t copies() const noexcept { return data_->copies.size(); }

    /// The model of docs/cuda.md: the slowest of disk, host and link, the other two for one piece, and the issuing.
    [[nodiscard]] upload_estimate estimate(const upload_rates& rates = {}) const noexcept;
    /// For people: totals, then runs and tensors, each of the two lists cut after `most` lines.
    [[nodiscard]] std::string text(std::size_t most = 20) const;

    explicit upload_plan(detail::shared<detail::upload_plan_data> data) noexcept : data_{std::move(data)} {}

  private:
    friend struct detail::upload_plan_access;
    detail::shared<detail::upload_plan_data> data_;
};

/// Plans the upload of several state_dicts to several devices: what lies in one file is read once for all of them.
/// Tensors with parts (sparse, quantised by channel, wrapped) are uploaded as parts, under "key.part".
/// Fails with the tensor's own error where one has no values, and with `conversion` for a cast that does not exist;
/// nothing is left out silently.
[[nodiscard]] result<upload_plan> plan_upload(std::span<const upload_target> targets,
                                              const upload_plan_options& options = {});
/// The same for one device.
[[nodiscard]] result<upload_plan> plan_upload(const state_dict& weights, const upload_plan_options& options = {},
                                              int device = 0);

namespace detail {

struct upload_plan_access {
    [[nodiscard]] static const shared<upload_plan_data>& data(const upload_plan& plan) noexcept { return plan.data_; }
};

/// Makes a plan, in three steps: what each tensor needs, where it goes, how it is read.
class upload_planner {
  public:
    explicit upload_planner(const upload_plan_options& options) : options_{options}, selected_{options.select} {
        for (const upload_cast& c : options.casts) casts_.emplace_back(std::vector<pattern>{c.keys});
    }

    [[nodiscard]] result<upload_plan> run(std::span<const upload_target> targets);

  private:
    /// What a tensor needs of a file.
    struct need {
        std::uint32_t tensor{};
        std::uint32_t target{};
        std::uint32_t file{};  // number; 0 for memory
        std::uint64_t begin{}; // in the file, or the address
        std::uint64_t end{};
        std::uint64_t storage{}; // where its storage begins
        bool aligned{};          // the storage is, in its file
        bool cast{};             // by the device
        dtype type{};            // as stored
        bool swap_bytes{};
        const tensor_data*
            sparse{}; // where it uses a part of the bytes between its first and its last, as a slice by columns does
        const storage_source* source{}; // of that
    };
    /// What the host builds.
    struct wish {
        std::uint32_t tensor{};
        const tensor_data* data{};
        const storage_source* source{};
        std::uint32_t source_number{}; // so that two plans of one state_dict are equal
        dtype wanted{};
    };
    /// Bytes of one target that lie together on the device as they do in the file.
    struct group {
        std::uint32_t target{};
        std::uint32_t file{};
        std::uint64_t begin{};
        std::uint64_t end{};
        std::uint64_t to{}; // in the target's memory
    };
    /// Storages that are used, for their checksums.
    struct used_storage {
        std::uint32_t file{};
        std::uint64_t begin{};
        std::uint64_t end{};
        std::uint32_t crc32{};
        std::string_view key{};
        [[nodiscard]] friend bool operator==(const used_storage& a, const used_storage& b) noexcept {
            return a.file == b.file && a.begin == b.begin && a.end == b.end;
        }
    };

    struct open_file {
        const source* from{};
        const file* in{};
        std::string_view name{};
    };
    /// Files and sources have numbers in the order in which they are met, so that equal inputs give equal plans.
    [[nodiscard]] std::uint32_t file_number(const source& from, std::string_view name);
    [[nodiscard]] static std::uint32_t number_in(std::vector<const storage_source*>& known, const storage_source* of);

    static constexpr std::uint64_t bridged_gap = 4096; // reading a page costs less than another read and copy
    static constexpr std::uint64_t image_alignment = 256;

    template <class T> [[nodiscard]] const T* copy(std::span<const T> numbers) {
        T* out = out_->memory.allocate<T>(numbers.size() + 1);
        std::copy(numbers.begin(), numbers.end(), out);
        return out;
    }
    [[nodiscard]] static std::uint64_t align_up(std::uint64_t at, std::uint64_t alignment) noexcept {
        return (at + alignment - 1) & ~(alignment - 1);
    }

    // ---- what each tensor needs

    [[nodiscard]] result<void> take(std::string_view key, const tensor_data& data, const storage_source& from,
                                    std::uint32_t target);

    [[nodiscard]] dtype wanted_type(std::string_view key, const tensor_data& data);

    [[nodiscard]] result<void> take_strided(std::string_view key, const tensor_data& data, const storage_source& from,
                                            std::uint32_t target);
    /// The host builds this tensor.
    void wish_for(std::uint32_t number, const tensor_data& data, const storage_source& from);
    /// Sparse views whose other bytes no one needs are gathered by the host: else a slice by columns would take the
    /// room of the whole.
    void thin_out();
    void set_dense(placed_tensor& placed, const tensor_data& data);

    [[nodiscard]] result<void> sort_keys();

    // ---- where it goes

    [[nodiscard]] result<void> place();
    void number_storages();
    /// `bytes` at `lead` behind a multiple of `alignment`.
    [[nodiscard]] result<std::uint64_t> reserve(std::uint32_t target, std::uint64_t lead, std::uint64_t bytes,
                                                std::uint64_t alignment);
    /// Tensors that the device converts: equal ones share their place.
    [[nodiscard]] result<void> place_casts();
    /// Tensors that the host builds: equal ones are built once, for all targets.
    [[nodiscard]] result<void> place_built();
    [[nodiscard]] error output_error(const tensor_data& data, std::uint32_t tensor) const;

    // ---- how it is read

    void read();
    template <class T> [[nodiscard]] static std::uint32_t count(const std::vector<T>& of) noexcept {
        return static_cast<std::uint32_t>(of.size());
    }

    /// What the device converts of a piece: one copy for each target, from the first to the last byte that it needs.
    void add_casts(std::span<const std::size_t> open, std::uint64_t begin, std::uint64_t end);

    /// Records that are read whole.
    void check();

    /// Pieces that the host builds. Small tensors share one, so that they are one copy where they lie together.
    void build();
    /// A copy, or the end of one that it lies behind on both sides.
    void add_copy(const upload_piece& piece, std::uint32_t target, std::uint64_t from, std::uint64_t bytes,
                  std::uint64_t to);

    struct destination {
        std::uint32_t built{};
        std::uint32_t target{};
        std::uint64_t to{};
    };

    const upload_plan_options& options_;
    pattern_list selected_;
    std::vector<pattern_list> casts_{};
    shared<upload_plan_data> out_{detail::make_shared<upload_plan_data>()};
    std::vector<open_file> files_{1}; // the first one stands for memory
    std::vector<std::uint32_t> run_files_{};
    std::vector<const storage_source*> sources_{};
    std::vector<need> needs_{};
    std::vector<wish> wishes_{};
    std::vector<used_storage> used_{};
    std::vector<group> groups_{};
    std::vector<std::uint32_t> converted_{}; // needs that the device converts
    std::vector<destination> destinations_{};
};

} // namespace detail

inline result<upload_plan> plan_upload(std::span<const upload_target> targets, const upload_plan_options& options) {
    return detail::upload_planner{options}.run(targets);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/upload_plan.ipp>
#endif
