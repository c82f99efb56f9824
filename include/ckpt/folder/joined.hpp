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
#include <ckpt/tensor/parts.hpp>

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
    virtual void check(bool checksums, verify_report& out) const = 0;
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
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t storage) const override {
        return named(file_->storages().file_offset(storage));
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        return named(file_->storages().bytes(storage));
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset,
                                    std::span<std::byte> out) const override {
        return named(file_->storages().read(storage, offset, out));
    }
    void check(bool checksums, verify_report& out) const override {
        const std::size_t before = out.findings.size();
        file_->check(checksums, out);
        for (std::size_t i = before; i < out.findings.size(); ++i) out.findings[i].file = name_;
    }

  private:
    template <class T> [[nodiscard]] result<T> named(result<T> outcome) const {
        if (!outcome) outcome.error().file = name_;
        return outcome;
    }

    std::string name_;
    shared<checkpoint_file> file_;
};

/// The node for a tensor that the boxes, whose elements are in `parts`, fill; they are cut along the dimensions `cut`.
[[nodiscard]] inline std::uint32_t join_boxes(gather_plan& plan, std::span<const std::int64_t> shape,
                                              const box_list& boxes, const std::vector<std::uint32_t>& parts,
                                              const std::vector<std::size_t>& cut) {
    if (parts.size() == 1) return parts.front();
    std::vector<std::uint32_t> order(parts.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
    const auto offset = [&](std::uint32_t box, std::size_t d) { return boxes.offsets[box * boxes.rank + d]; };
    const std::size_t d = cut.size() == 1 ? cut.front() : 0;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return offset(a, d) < offset(b, d); });
    std::vector<std::uint32_t> sorted;
    std::vector<std::int64_t> offsets;
    for (const std::uint32_t i : order) {
        sorted.push_back(parts[i]);
        for (std::size_t k = 0; k < boxes.rank; ++k) offsets.push_back(offset(i, k));
    }
    if (cut.size() == 1) return plan.concat(sorted, static_cast<std::uint32_t>(d));
    return plan.paste(sorted, offsets, shape);
}

class joined_checkpoint final : public checkpoint_file {
  public:
    using part = shared<part_storages>;

    joined_checkpoint(const limits& budget, std::string_view container, std::string_view writer)
        : checkpoint_file{budget, {}} {
        facts_ = {container, writer, native_order(), true, 0, {}};
        graph_.record = "the folder";
        graph_.storages = &*storages_;
    }

    // ---- while it is put together

    [[nodiscard]] gather_plan& plan() noexcept { return *plan_; }
    [[nodiscard]] detail::graph& values() noexcept { return graph_; }

    /// A file of the folder, which `verify` looks through, too.
    [[nodiscard]] part add_part(std::string name, shared<checkpoint_file> file) {
        graph_.joined_bytes += file->graph().metadata_bytes();
        if (parts_.empty()) {
            facts_.order = file->facts().order;
            facts_.order_recorded = file->facts().order_recorded;
        }
        auto out = detail::make_shared<part_storages>(std::move(name), std::move(file));
        keep(out);
        return out;
    }
    /// Storages to gather from.
    void keep(shared<folder_storages> of) {
        plan_->keep(of);
        parts_.push_back(std::move(of));
    }
    /// A tensor of a part, to be gathered from.
    [[nodiscard]] std::uint32_t leaf(const shared<part_storages>& of, const tensor_data* data) {
        return plan_->add_leaf(data, of.get());
    }

    /// The value for a node of the plan. A node that stands under two names has one value.
    [[nodiscard]] std::uint32_t tensor_of(std::uint32_t index) {
        const gather_node& from = plan_->node(index);
        tensor_data data{};
        if (from.op == gather_op::leaf) {
            data = *from.data;
            if (data.refusal != nullptr)
                return refused(*data.refusal,
                               from.source != nullptr ? from.source->file(data.storage) : std::string_view{});
            const auto change = [&](tensor_data& t) {
                if (t.refusal == nullptr && t.kind == layout::strided)
                    t.storage = storages_->number_of(from.source, t.storage);
            };
            copies_.adopt(data, from.source, change);
        } else {
            data.type = from.type;
            data.rank = from.rank;
            data.shape = from.shape;
            data.numel = from.numel;
            auto* strides = graph_.memory.allocate<std::int64_t>(from.rank + std::size_t{1});
            set_dense_strides(from.sizes(), false, strides);
            data.strides = strides;
            data.storage = storages_->number_of_node(index);
        }
        return graph_.add_tensor(data);
    }
    /// A tensor that cannot be had: every access to it returns `why`.
    [[nodiscard]] std::uint32_t refused(error why, std::string_view file = {}) {
        if (why.file.empty()) why.file = file;
        tensor_data data{};
        data.refusal = graph_.errors[graph_.keep(std::move(why))];
        return graph_.add_tensor(data);
    }
    /// Copies objects out of a part.
    [[nodiscard]] auto grafter_of(const part& from) {
        const auto number = [this, source = from.get()](std::uint32_t storage) {
            return storages_->number_of(source, storage);
        };
        return grafter<decltype(number)>{graph_, from->content().graph(), from->name(), number};
    }
    [[nodiscard]] std::uint32_t text(std::string_view of) {
        char* copy = graph_.memory.allocate<char>(of.size() + 1);
        for (std::size_t i = 0; i < of.size(); ++i) copy[i] = of[i];
        return graph_.add_text({copy, of.size()});
    }
    void finish(std::uint32_t root, std::vector<std::string> files, std::uint64_t file_bytes) {
        graph_.root = root;
        facts_.files = std::move(files);
        facts_.file_bytes = file_bytes;
    }

    // ---- afterwards

    void check(bool checksums, verify_report& out) const override {
        for (const shared<folder_storages>& p : parts_) p->check(checksums, out);
    }

  private:
    shared<gather_plan> plan_{detail::make_shared<gather_plan>()};
    shared<gathered_storages> storages_{detail::make_shared<gathered_storages>(plan_)};
    std::vector<shared<folder_storages>> parts_{};
    part_copies copies_{graph_.memory};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
