// ckpt/folder/joined.hpp: several files of a folder as one checkpoint.
//
// SPDX-License-Identifier: MIT
// In:      opened files under their names, what to take from each, what to gather from several.
// Out:     one graph; its tensors read from their own files, whole or in pieces, when they are asked for.
// Refuses: nothing: whoever joins has checked.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/folder/graft.hpp>
#include <ckpt/folder/tiling.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/gathered_storages.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/torch/checkpoint_file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Storages of a folder's files, and a way to look through them.
class folder_storages : public storage_source {
  public:
    /// As `checkpoint_file::check`; findings name their files.
    virtual void check(const file_check& how, verify_report& out) const = 0;
};

/// The storages of one file of a folder; errors and tensors name it.
class part_storages final : public folder_storages {
  public:
    part_storages(std::string name, shared<checkpoint_file> file) : name_{std::move(name)}, file_{std::move(file)} {}

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const checkpoint_file& content() const noexcept { return *file_; }

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        return file_->storages().nbytes(storage);
    }
    [[nodiscard]] byte_order order(std::uint32_t storage) const noexcept override {
        return file_->storages().order(storage);
    }
    [[nodiscard]] std::string_view key(std::uint32_t storage) const noexcept override {
        return file_->storages().key(storage);
    }
    [[nodiscard]] std::string_view file(std::uint32_t) const noexcept override { return name_; }
    [[nodiscard]] bool is_compressed(std::uint32_t storage) const noexcept override {
        return file_->storages().is_compressed(storage);
    }
    [[nodiscard]] bool is_gathered(std::uint32_t storage) const noexcept override {
        return file_->storages().is_gathered(storage);
    }
    [[nodiscard]] result<stored_place> place_of(std::uint32_t storage) const override {
        return named(file_->storages().place_of(storage));
    }
    void find_touched(std::uint32_t storage, std::uint64_t begin, std::uint64_t end,
                      range_visitor visit) const override {
        file_->storages().find_touched(storage, begin, end, visit);
    }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t storage) const override {
        return named(file_->storages().file_offset(storage));
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        return named(file_->storages().bytes(storage));
    }
    [[nodiscard]] result<shared<storage_reader>> reader(std::uint32_t storage, storage_readers& others) const override {
        return named(file_->storages().reader(storage, others));
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset,
                                    std::span<std::byte> out) const override {
        return named(file_->storages().read(storage, offset, out));
    }
    CKPT_DETAIL_DEF void check(const file_check& how, verify_report& out) const override;

  private:
    template <class T> [[nodiscard]] result<T> named(result<T> outcome) const {
        if (!outcome) outcome.error().file = name_;
        return outcome;
    }

    std::string name_;
    shared<checkpoint_file> file_;
};

/// The node of a tensor that boxes fill. `parts`: the nodes that have the elements of each box; `cut`: the dimensions
/// along which the boxes are cut.
[[nodiscard]] std::uint32_t join_boxes(gather_plan& plan, std::span<const std::int64_t> shape, const box_list& boxes,
                                       const std::vector<std::uint32_t>& parts, const std::vector<std::size_t>& cut);

class joined_checkpoint final : public checkpoint_file {
  public:
    using part = shared<part_storages>;

    joined_checkpoint(const limits& budget, std::string_view container, std::string_view writer);

    // ---- while it is put together

    [[nodiscard]] gather_plan& plan() noexcept { return *plan_; }
    [[nodiscard]] detail::graph& values() noexcept { return graph_; }

    /// A file of the folder, which `verify` looks through, too.
    [[nodiscard]] part add_part(std::string name, shared<checkpoint_file> file);
    /// Storages to gather from.
    void keep(shared<folder_storages> of);
    /// A tensor of a part, to be gathered from.
    [[nodiscard]] std::uint32_t leaf(const shared<part_storages>& of, const tensor_data* data) {
        return plan_->add_leaf(data, of.get());
    }

    /// The value for a node of the plan: one that is refused where the node has far more elements than are stored. A
    /// node that stands under two names has one value.
    [[nodiscard]] std::uint32_t tensor_of(std::uint32_t index);
    /// A tensor that cannot be had: every access to it returns `why`.
    [[nodiscard]] std::uint32_t refused(error why, std::string_view file = {});
    /// The numbers here of a part's storages.
    struct storage_numbers {
        gathered_storages& storages;
        const storage_source* part{};
        [[nodiscard]] std::uint32_t operator()(std::uint32_t storage) const {
            return storages.number_of(part, storage);
        }
    };
    using part_grafter = grafter<storage_numbers>;
    /// Copies objects out of a part.
    [[nodiscard]] part_grafter grafter_of(const part& from) {
        return {graph_, from->content().graph(), from->name(), storage_numbers{*storages_, from.get()}};
    }
    [[nodiscard]] std::uint32_t text(std::string_view of);
    void finish(std::uint32_t root, std::vector<std::string> files, std::uint64_t file_bytes);

    // ---- afterwards

    void check(const file_check& how, verify_report& out) const override {
        for (const shared<folder_storages>& p : parts_) p->check(how, out);
    }

  private:
    shared<gather_plan> plan_{detail::make_shared<gather_plan>()};
    shared<gathered_storages> storages_{detail::make_shared<gathered_storages>(plan_)};
    std::vector<shared<folder_storages>> parts_{};
    part_copies copies_{graph_.memory};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/joined.ipp>
#endif
