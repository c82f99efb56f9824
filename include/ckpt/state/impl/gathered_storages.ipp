// ckpt/state/impl/gathered_storages.ipp: the definitions of gathered_storages.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/state/gather_read.hpp>
#include <ckpt/state/gathered_storages.hpp>
#include <ckpt/tensor/parts.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Elements [first, first + n) of a node of a plan, which stand at `offset` of it.
inline result<void> read_node(const gather_plan& plan, std::uint32_t node, std::uint64_t offset,
                              std::span<std::byte> out, storage_readers& leaves) {
    const std::size_t size = itemsize(plan.node(node).type);
    if (offset % size != 0 || out.size() % size != 0)
        return error{.code = errc::internal, .detail = "half an element of a gathered tensor was asked for"};
    return plan.read(node, offset / size, out.size() / size, out.data(), leaves);
}

/// Reads a gathered tensor of compressed storages, each of which is inflated once where the pieces follow each other.
class gathered_reader final : public storage_reader {
  public:
    gathered_reader(shared<gather_plan> plan, std::uint32_t node, storage_readers& leaves)
        : plan_{std::move(plan)}, node_{node}, leaves_{leaves} {}

    [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
        return read_node(*plan_, node_, offset, out, leaves_);
    }
    [[nodiscard]] result<void> finish() override { return leaves_.finish(); }
    [[nodiscard]] bool is_scattered() const noexcept override { return true; }

  private:
    shared<gather_plan> plan_;
    std::uint32_t node_;
    storage_readers& leaves_;
};

CKPT_DETAIL_DEF result<shared<storage_reader>> gathered_storages::reader(std::uint32_t i,
                                                                         storage_readers& others) const {
    if (slots_[i].source != nullptr) return slots_[i].source->reader(slots_[i].number, others);
    if (!is_compressed(i)) return shared<storage_reader>{};
    return shared<storage_reader>{make_shared<gathered_reader>(plan_, slots_[i].number, others)};
}

CKPT_DETAIL_DEF std::uint32_t gathered_storages::number_of(const storage_source* source, std::uint32_t storage) {
    const auto hash_of = [](const slot& s) {
        return mix(reinterpret_cast<std::uintptr_t>(s.source) ^ (std::uint64_t{s.number} << 32));
    };
    const slot wanted{source, storage};
    const auto number = static_cast<std::uint32_t>(slots_.size());
    const std::uint32_t found = table_.insert(
        hash_of(wanted), number,
        [&](std::uint32_t i) { return slots_[i].source == source && slots_[i].number == storage; },
        [&](std::uint32_t i) { return hash_of(slots_[i]); });
    if (found == number) slots_.push_back(wanted);
    return found;
}

CKPT_DETAIL_DEF std::uint64_t gathered_storages::nbytes(std::uint32_t i) const noexcept {
    const slot& s = slots_[i];
    return s.source != nullptr ? s.source->nbytes(s.number)
                               : bytes_of(plan_->node(s.number).type, plan_->node(s.number).numel);
}

CKPT_DETAIL_DEF std::string_view gathered_storages::file(std::uint32_t i) const noexcept {
    return slots_[i].source != nullptr ? slots_[i].source->file(slots_[i].number) : plan_->file_of(slots_[i].number);
}

CKPT_DETAIL_DEF result<stored_place> gathered_storages::place_of(std::uint32_t i) const {
    if (slots_[i].source != nullptr) return slots_[i].source->place_of(slots_[i].number);
    return stored_place{};
}

CKPT_DETAIL_RARE void gathered_storages::find_touched(std::uint32_t i, std::uint64_t begin, std::uint64_t end,
                                                      range_visitor visit) const {
    if (slots_[i].source != nullptr) return slots_[i].source->find_touched(slots_[i].number, begin, end, visit);
    // All that the node is made of. Nodes may have parts in common, so that the steps are counted.
    std::size_t left = plan_->size();
    std::vector<std::uint32_t> nodes{slots_[i].number};
    for (; !nodes.empty() && left > 0; --left) {
        const gather_node& node = plan_->node(nodes.back());
        nodes.pop_back();
        if (node.op == gather_op::leaf) find_touched_bytes(*node.data, *node.source, visit);
        else nodes.insert(nodes.end(), node.parts, node.parts + node.count);
    }
}

CKPT_DETAIL_DEF result<std::uint64_t> gathered_storages::file_offset(std::uint32_t i) const {
    if (slots_[i].source != nullptr) return slots_[i].source->file_offset(slots_[i].number);
    return error{.code = errc::no_data, .detail = "the tensor is gathered from others, so it has no place in a file"};
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> gathered_storages::bytes(std::uint32_t i) const {
    if (slots_[i].source != nullptr) return slots_[i].source->bytes(slots_[i].number);
    return error{.code = errc::needs_copy,
                 .detail = "the tensor is gathered from others, so it has no bytes of its own",
                 .hint = "copy_to and copy_as write its values; owned() makes a "
                         "state_dict with bytes"};
}

CKPT_DETAIL_DEF result<void> gathered_storages::read(std::uint32_t i, std::uint64_t offset,
                                                     std::span<std::byte> out) const {
    if (slots_[i].source != nullptr) return slots_[i].source->read(slots_[i].number, offset, out);
    storage_readers leaves;
    if (auto done = read_node(*plan_, slots_[i].number, offset, out, leaves); !done) return done;
    return leaves.finish();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
