// ckpt/write/impl/torch_tensors.ipp: the definitions of torch_tensors.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/stored_bytes.hpp>
#include <ckpt/write/torch_tensors.hpp>

#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The class of a storage of elements of a dtype, in the module torch; empty for a dtype whose storages count bytes.
inline std::string_view torch_storage_class(ckpt::dtype type) noexcept {
    switch (type) {
    case ckpt::dtype::uint8: return "ByteStorage";
    case ckpt::dtype::int8: return "CharStorage";
    case ckpt::dtype::int16: return "ShortStorage";
    case ckpt::dtype::int32: return "IntStorage";
    case ckpt::dtype::int64: return "LongStorage";
    case ckpt::dtype::float16: return "HalfStorage";
    case ckpt::dtype::float32: return "FloatStorage";
    case ckpt::dtype::float64: return "DoubleStorage";
    case ckpt::dtype::complex64: return "ComplexFloatStorage";
    case ckpt::dtype::complex128: return "ComplexDoubleStorage";
    case ckpt::dtype::bool_: return "BoolStorage";
    case ckpt::dtype::bfloat16: return "BFloat16Storage";
    case ckpt::dtype::qint8: return "QInt8Storage";
    case ckpt::dtype::quint8: return "QUInt8Storage";
    case ckpt::dtype::qint32: return "QInt32Storage";
    case ckpt::dtype::quint4x2: return "QUInt4x2Storage";
    case ckpt::dtype::quint2x4: return "QUInt2x4Storage";
    default: return {};
    }
}

/// Whether torch takes requires_grad for a dtype.
inline bool takes_gradients(ckpt::dtype type) noexcept {
    return info(type).kind == dtype_kind::floating || info(type).kind == dtype_kind::complex;
}

CKPT_DETAIL_RARE error torch_lacks(std::string what) {
    return {.code = errc::format_lacks, .detail = std::move(what), .hint = "Leave it out: torch_options::allow_loss"};
}

CKPT_DETAIL_RARE result<void> torch_tensors::check(const tensor_data& data, const storage_source* from) {
    if (data.refusal != nullptr) return *data.refusal;
    if (data.kind == layout::meta) return {};
    if (data.kind == layout::jagged || data.kind == layout::wrapper)
        return torch_lacks(
            str_cat("a ", name(data.kind), " tensor",
                    data.extra->class_name.empty() ? "" : str_cat(" of the class ", quoted(data.extra->class_name)),
                    ", which torch's safe mode does not rebuild"));
    if (from == nullptr) return error{.code = errc::no_data, .detail = "the tensor has no storage"};
    if (data.kind == layout::strided && info(data.type).kind == dtype_kind::quantised && !is_quantised(data))
        return torch_lacks(str_cat("a tensor of ", name(data.type), " without scale and zero point"));
    if (data.kind == layout::strided && has_lazy_bit(data)) return check_stored_bytes(&data, from);
    if (data.extra != nullptr)
        for (const named_data& part : data.extra->parts()) // at most most_part_depth deep
            if (auto usable = check(part.data, from); !usable) return usable;
    return {};
}

CKPT_DETAIL_RARE std::uint32_t torch_tensors::add(const torch_storage& one) {
    storages_.push_back(one);
    torch_storage& added = storages_.back();
    added.typed = !torch_storage_class(one.data.type).empty() && one.bytes % itemsize(one.data.type) == 0;
    return static_cast<std::uint32_t>(storages_.size() - 1);
}

CKPT_DETAIL_RARE std::uint32_t torch_tensors::whole(const storage_source& user, std::uint32_t number,
                                                    ckpt::dtype type) {
    // A state_dict after rules has numbers of its own for storages that the rest of an object has, too.
    const storage_origin origin = user.origin(number);
    known_storage wanted{origin.source, origin.storage};
    const auto hash_of = [](const known_storage& k) {
        return mix(reinterpret_cast<std::uintptr_t>(k.from) ^ (std::uint64_t{k.storage} << 32));
    };
    const auto next = static_cast<std::uint32_t>(known_.size());
    const std::uint32_t found = table_.insert(
        hash_of(wanted), next,
        [&](std::uint32_t i) { return known_[i].from == wanted.from && known_[i].storage == wanted.storage; },
        [&](std::uint32_t i) { return hash_of(known_[i]); });
    if (found != next) return known_[found].number;
    torch_storage one{.from = wanted.from, .bytes = wanted.from->nbytes(wanted.storage)};
    const bool fits = bits(type) >= 8 && one.bytes % itemsize(type) == 0;
    auto* const numbers = memory_.allocate<std::int64_t>(2);
    one.data.type = fits || bits(type) < 8 ? type : ckpt::dtype::uint8;
    one.data.rank = 1;
    one.data.numel = one.bytes * 8 / bits(one.data.type);
    numbers[0] = static_cast<std::int64_t>(one.data.numel);
    numbers[1] = 1;
    one.data.shape = numbers;
    one.data.strides = numbers + 1;
    one.data.storage = wanted.storage;
    wanted.number = add(one);
    known_.push_back(wanted);
    return wanted.number;
}

CKPT_DETAIL_RARE torch_tensors::placed torch_tensors::place(const tensor_data& data, const storage_source& from,
                                                            std::string_view entry) {
    const auto reads_right = [&](std::uint32_t storage) {
        return from.order(data.storage) == byte_order::little ||
               info(storages_[storage].data.type).component_bytes == info(data.type).component_bytes;
    };
    if (!has_lazy_bit(data) && data.numel != 0) {
        const std::size_t before = storages_.size();
        const std::uint32_t storage = whole(from, data.storage, data.type);
        if (storages_.size() > before) storages_.back().entry = entry;
        if (reads_right(storage) && (!is_quantised(data) || holds(storage, data.type)))
            return {storage, data.storage_offset, data.strides};
    }
    // Its elements are written by themselves, one after another; without any, only its form is kept.
    const std::uint32_t own =
        add({.from = &from, .data = data, .bytes = bytes_of(data.type, data.numel), .entry = entry});
    if (data.numel == 0) return {own, data.storage_offset, data.strides};
    auto* const strides = memory_.allocate<std::int64_t>(data.rank);
    set_dense_strides(data.sizes(), false, strides);
    return {own, 0, strides};
}

CKPT_DETAIL_RARE void torch_tensors::write_id(std::uint32_t storage) {
    const torch_storage& s = storages_[storage];
    out_.op(opcode::mark);
    out_.word("storage");
    if (s.typed) out_.global("torch", torch_storage_class(s.data.type));
    else out_.global("torch.storage", "UntypedStorage");
    out_.text(decimal(std::uint64_t{storage}));
    out_.word("cpu");
    out_.integer(static_cast<std::int64_t>(s.typed ? s.bytes / itemsize(s.data.type) : s.bytes));
    out_.op(opcode::tuple);
    out_.op(opcode::binpersid);
}

CKPT_DETAIL_RARE void torch_tensors::write_quantizer(const tensor_data& data, const storage_source* from) {
    const tensor_extra& q = *data.extra;
    const bool per_channel = is_per_channel(q.scheme);
    out_.tuple_mark(per_channel ? 4 : 3);
    // torch.save has no other two names, and tells the third scheme by the dtype of the zero points.
    out_.global("torch", per_channel ? "per_channel_affine" : "per_tensor_affine");
    if (!per_channel) {
        out_.real(q.scale);
        out_.integer(q.zero_point);
        return out_.tuple(3);
    }
    for (const named_data& part : q.parts()) write_plain(part.data, from, false, {});
    out_.integer(q.axis);
    out_.tuple(4);
}

CKPT_DETAIL_RARE void torch_tensors::write_arguments(const tensor_data& data, const placed& at, bool requires_grad) {
    out_.op(opcode::mark);
    write_id(at.storage);
    out_.integer(static_cast<std::int64_t>(at.offset));
    out_.integers(data.sizes());
    out_.integers({at.strides, data.rank});
    if (is_quantised(data)) write_quantizer(data, storages_[at.storage].from);
    out_.boolean(requires_grad && takes_gradients(data.type));
    out_.empty_ordered_dict();
    if (!is_quantised(data) && !holds(at.storage, data.type)) out_.global("torch", name(data.type));
    out_.op(opcode::tuple);
}

CKPT_DETAIL_RARE void torch_tensors::write_meta(const tensor_data& data) {
    out_.global("torch._utils", "_rebuild_meta_tensor_no_storage");
    out_.op(opcode::mark);
    out_.global("torch", name(data.type));
    out_.integers(data.sizes());
    out_.integers(data.steps());
    out_.boolean(data.requires_grad && takes_gradients(data.type));
    out_.op(opcode::tuple);
}

CKPT_DETAIL_RARE void torch_tensors::write_sparse(const tensor_data& data, const storage_source* from) {
    const bool coo = data.kind == layout::sparse_coo;
    out_.global("torch._utils", "_rebuild_sparse_tensor");
    out_.global("torch.serialization", "_get_layout");
    out_.word(coo                               ? "torch.sparse_coo"
              : data.kind == layout::sparse_csr ? "torch.sparse_csr"
              : data.kind == layout::sparse_csc ? "torch.sparse_csc"
              : data.kind == layout::sparse_bsr ? "torch.sparse_bsr"
                                                : "torch.sparse_bsc");
    out_.tuple(1);
    out_.op(opcode::reduce);
    // The flag of coalesced indices is not known to torch before 2.0, and is left out where it says nothing.
    const bool coalesced = coo && data.extra->coalesced;
    const std::size_t elements = coo && !coalesced ? 3 : 4;
    out_.tuple_mark(elements);
    for (const named_data& part : data.extra->parts()) write_plain(part.data, from, false, {});
    out_.global("torch", "Size");
    out_.integers(data.sizes());
    out_.tuple(1);
    out_.op(opcode::reduce);
    if (coalesced) out_.boolean(true);
    out_.tuple(elements);
    out_.tuple(2);
}

CKPT_DETAIL_RARE void torch_tensors::write_plain(const tensor_data& data, const storage_source* from,
                                                 bool requires_grad, std::string_view entry) {
    if (data.kind == layout::meta) {
        write_meta(data);
    } else if (data.kind == layout::nested) {
        out_.global("torch._utils", "_rebuild_nested_tensor");
        out_.op(opcode::mark);
        for (const named_data& part : data.extra->parts()) write_plain(part.data, from, part.data.requires_grad, {});
        out_.op(opcode::tuple);
    } else if (data.kind != layout::strided) {
        write_sparse(data, from);
    } else {
        const placed at = place(data, *from, entry);
        out_.global("torch._utils", is_quantised(data)             ? "_rebuild_qtensor"
                                    : holds(at.storage, data.type) ? "_rebuild_tensor_v2"
                                                                   : "_rebuild_tensor_v3");
        write_arguments(data, at, requires_grad);
    }
    out_.op(opcode::reduce);
}

CKPT_DETAIL_RARE void torch_tensors::write(const tensor_data& data, const storage_source* from,
                                           std::string_view entry) {
    if (!data.parameter) return write_plain(data, from, data.requires_grad, entry);
    out_.global("torch._utils", "_rebuild_parameter");
    write_plain(data, from, false, entry);
    out_.boolean(data.requires_grad && takes_gradients(data.type));
    out_.empty_ordered_dict();
    out_.tuple(3);
    out_.op(opcode::reduce);
}

CKPT_DETAIL_RARE void torch_tensors::begin_attributes(const tensor_data& data, const storage_source* from) {
    if (data.parameter) {
        out_.global("torch._utils", "_rebuild_parameter_with_state");
        out_.op(opcode::mark);
        write_plain(data, from, false, {});
        out_.boolean(data.requires_grad && takes_gradients(data.type));
        return out_.empty_ordered_dict();
    }
    const placed at = place(data, *from, {});
    out_.global("torch._tensor", "_rebuild_from_type_v2");
    out_.op(opcode::mark);
    out_.global("torch._utils", holds(at.storage, data.type) ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
    out_.global("torch", "Tensor");
    write_arguments(data, at, data.requires_grad);
}

CKPT_DETAIL_RARE void torch_tensors::end_attributes() {
    out_.op(opcode::tuple);
    out_.op(opcode::reduce);
}

CKPT_DETAIL_RARE void torch_tensors::write_storage(const storage_source& from, std::uint32_t storage,
                                                   std::optional<ckpt::dtype> type) {
    const std::size_t before = storages_.size();
    const std::uint32_t number = whole(from, storage, type.value_or(ckpt::dtype::uint8));
    if (!type && storages_.size() > before) storages_.back().typed = false;
    write_id(number);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
