// ckpt/folder/impl/dcp_items.ipp: the definitions of dcp_items.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/dcp_items.hpp>
#include <ckpt/open_source.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/tensor/convert.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void dcp_items::seal(shared<checkpoint_file> metadata) {
    metadata_ = std::move(metadata);
    places_ = std::vector<std::atomic<std::uint64_t>>(items_.size());
}

CKPT_DETAIL_DEF result<checkpoint> dcp_items::open_at(std::uint32_t of, std::uint64_t offset,
                                                      std::uint64_t length) const {
    auto opened = detail::open(source::part(files_[of].from, offset, length), allowed_, options_);
    if (!opened) opened.error().file = files_[of].name;
    return opened;
}

CKPT_DETAIL_DEF result<std::uint64_t> dcp_items::file_offset(std::uint32_t i) const {
    auto opened = open_item(i);
    if (!opened) return std::move(opened).failure();
    if (!opened->plain)
        return error{.code = errc::no_data,
                     .file = std::string(file(i)),
                     .detail = "the elements lie in another order in the file than they are given in"};
    return named(i, opened->tensor.file_offset());
}

CKPT_DETAIL_RARE result<stored_place> dcp_items::place_of(std::uint32_t i) const {
    if (places_[i].load(std::memory_order_relaxed) == 0)
        if (auto opened = open_item(i); !opened) return std::move(opened).failure();
    const std::uint64_t known = places_[i].load(std::memory_order_relaxed);
    return known != 0 ? stored_place{files_[items_[i].file].from.get(), known} : stored_place{};
}

CKPT_DETAIL_RARE void dcp_items::find_touched(std::uint32_t i, std::uint64_t, std::uint64_t,
                                              range_visitor visit) const {
    const item& it = items_[i];
    visit(*files_[it.file].from, it.offset, it.offset + it.length);
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> dcp_items::bytes(std::uint32_t i) const {
    const source& from = *files_[items_[i].file].from;
    if (!from.is_mapped()) return not_mapped_error(items_[i].key);
    const std::uint64_t known = places_[i].load(std::memory_order_relaxed);
    if (known != 0) return from.mapped().subspan(static_cast<std::size_t>(known), static_cast<std::size_t>(nbytes(i)));
    auto opened = open_item(i);
    if (!opened) return std::move(opened).failure();
    if (!opened->plain)
        return error{.code = errc::needs_copy,
                     .detail = "the elements of the chunk do not lie one after another as this machine has them",
                     .hint = "copy_to and copy_as write its values"};
    return named(i, opened->tensor.bytes()); // the item was opened in the file's mapping, which outlives it
}

CKPT_DETAIL_DEF result<void> dcp_items::read(std::uint32_t i, std::uint64_t offset, std::span<std::byte> out) const {
    const std::uint64_t known = places_[i].load(std::memory_order_relaxed);
    if (known != 0) return named(i, files_[items_[i].file].from->read(known + offset, out));
    auto opened = open_item(i);
    if (!opened) return std::move(opened).failure();
    const tensor_data& data = *tensor_access::data(opened->tensor);
    const storage_source& from = *tensor_access::source(opened->tensor);
    const std::size_t size = itemsize(data.type);
    if (opened->plain) return named(i, from.read(data.storage, data.storage_offset * size + offset, out));
    if (offset % size != 0 || out.size() % size != 0)
        return error{.code = errc::internal, .detail = "half an element of a chunk was asked for"};
    gather_plan plan;
    return named(i, plan.read(plan.add_leaf(&data, &from), offset / size, out.size() / size, out.data()));
}

CKPT_DETAIL_DEF void dcp_items::check(const file_check& how, verify_report& out) const {
    for (std::uint32_t i = 0; i < items_.size(); ++i) {
        if (how.meter.is_stopped()) return;
        const std::size_t before = out.findings.size();
        if (auto opened = open_item(i)) checkpoint_access::file(opened->file)->check(how, out);
        else out.findings.push_back(std::move(opened).error());
        for (std::size_t k = before; k < out.findings.size(); ++k) out.findings[k].file = file(i);
    }
    for (const object& o : objects_) {
        if (how.meter.is_stopped()) return;
        const std::size_t before = out.findings.size();
        if (auto opened = open_at(o.file, o.offset, o.length)) checkpoint_access::file(*opened)->check(how, out);
        for (std::size_t k = before; k < out.findings.size(); ++k) out.findings[k].file = files_[o.file].name;
    }
}

CKPT_DETAIL_DEF result<dcp_items::opened_item> dcp_items::open_item(std::uint32_t i) const {
    const item& it = items_[i];
    auto opened = open_at(it.file, it.offset, it.length);
    if (!opened) {
        opened.error().path = printable(it.key);
        return std::move(opened).failure();
    }
    const value root = opened->root();
    auto t = root.as_tensor();
    if (!t) return wrong(it, str_cat("the item is no tensor but ", with_article(root.kind())));
    if (const error* refusal = t->refusal()) {
        error e = *refusal;
        e.file = files_[it.file].name;
        return e;
    }
    if (t->layout() != layout::strided) return wrong(it, str_cat("the item is a tensor of layout ", name(t->layout())));
    if (t->dtype() != it.type || !std::equal(it.sizes.begin(), it.sizes.end(), t->shape().begin(), t->shape().end()))
        return wrong(it, str_cat("the item is a tensor of ", name(t->dtype()), ", shape ", list_of(t->shape()),
                                 ", .metadata says ", name(it.type), ", ", list_of(it.sizes)));
    const tensor_data& data = *tensor_access::data(*t);
    const bool plain = is_contiguous(data) && is_finished(data.type, tensor_access::source(*t)->order(data.storage),
                                                          native_order(), data.neg, data.conj);
    if (plain && data.numel > 0) {
        auto at = t->file_offset();
        if (!at) return named(i, result<opened_item>{std::move(at).error()});
        places_[i].store(*at, std::memory_order_relaxed); // never 0: a header is before it
    }
    return opened_item{std::move(*opened), *t, plain};
}

CKPT_DETAIL_DEF error dcp_items::wrong(const item& it, std::string detail) const {
    return {.code = errc::shards_inconsistent,
            .offset = it.offset,
            .file = files_[it.file].name,
            .path = printable(it.key),
            .detail = std::move(detail),
            .hint = ".metadata and the files are of different saves: get them again"};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
