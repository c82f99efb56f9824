// ckpt/gpu/impl/plan_inputs.ipp: the definitions of plan_inputs.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/plan_inputs.hpp>
#include <ckpt/gpu/scatter_ops.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/pieces.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF plan_inputs::plan_inputs(const upload_plan_options& options, upload_plan_data& plan)
    : options_{options}, plan_{plan}, selected_{options.select}, dequantised_{options.dequantize} {
    for (const pattern& p : options.order) order_.emplace_back(std::vector<pattern>{p});
    for (const upload_cast& c : options.casts) casts_.emplace_back(std::vector<pattern>{c.keys});
}

CKPT_DETAIL_DEF result<void> plan_inputs::add(const state_dict_data& weights, std::uint32_t target) {
    for (const auto& entry : weights.entries) {
        if (!options_.select.empty() && !selected_.matches(entry.key)) continue;
        if (auto added = add_tensor(entry.key, *entry.data, *weights.source, target); !added) {
            error e = std::move(added).error();
            if (e.path.empty()) e.path = weights.where(entry.key);
            return e;
        }
    }
    return {};
}

CKPT_DETAIL_DEF result<void> plan_inputs::finish() {
    if (auto matched = check_matches(options_.select); !matched) return matched;
    if (auto matched = check_matches(options_.order); !matched) return matched;
    if (auto matched = check_matches(options_.dequantize); !matched) return matched;
    build_sparse_views();
    if (!options_.order.empty()) join_phases();
    sort_stored();
    return sort_keys();
}

CKPT_DETAIL_DEF result<void> plan_inputs::check_matches(const std::vector<pattern>& patterns) const {
    for (const pattern& p : patterns) {
        pattern_list one{{p}};
        if (std::none_of(plan_.tensors.begin(), plan_.tensors.end(),
                         [&](const placed_tensor& t) { return one.matches(t.key); }))
            return error{.code = errc::key_missing,
                         .detail = str_cat("no key matches ", quoted(p.text())),
                         .hint = "a loop over the state_dict gives its keys"};
    }
    return {};
}

CKPT_DETAIL_DEF std::uint32_t plan_inputs::phase_of(std::string_view key) {
    const auto matches = [key](pattern_list& p) { return p.matches(key); };
    return static_cast<std::uint32_t>(std::find_if(order_.begin(), order_.end(), matches) - order_.begin());
}

CKPT_DETAIL_DEF std::uint32_t plan_inputs::file_number(const source& from, std::string_view name) {
    const file* const in = from.whole_file();
    for (std::size_t i = files_.size(); i-- > 1;) // what is asked for is nearly always the last one
        if (files_[i].in == in) return static_cast<std::uint32_t>(i);
    files_.push_back({&from, in, name});
    return static_cast<std::uint32_t>(files_.size() - 1);
}

CKPT_DETAIL_DEF std::uint32_t plan_inputs::source_number(const storage_source* of) {
    for (std::size_t i = sources_.size(); i-- > 0;)
        if (sources_[i] == of) return static_cast<std::uint32_t>(i);
    sources_.push_back(of);
    return static_cast<std::uint32_t>(sources_.size() - 1);
}

CKPT_DETAIL_DEF std::uint32_t plan_inputs::quantizer_number(const tensor_extra* of) {
    const auto hash_of = [this](std::uint32_t i) { return mix(reinterpret_cast<std::uintptr_t>(quantizers_[i])); };
    const std::uint32_t next = count_of(quantizers_);
    quantizers_.push_back(of);
    const std::uint32_t found =
        quantizer_numbers_.insert(hash_of(next), next, [&](std::uint32_t i) { return quantizers_[i] == of; }, hash_of);
    if (found != next) quantizers_.pop_back();
    return found + 1;
}

CKPT_DETAIL_DEF result<void> plan_inputs::add_tensor(std::string_view key, const tensor_data& data,
                                                     const storage_source& from, std::uint32_t target) {
    if (data.refusal != nullptr) return *data.refusal;
    const bool whole = data.kind == layout::strided;
    const bool dequantises = whole && is_quantised(data) && dequantised_.matches(key);
    if (data.extra != nullptr && !dequantises)
        for (const named_data& part : data.extra->parts()) {
            std::string name = std::string(key) + '.' + std::string(part.name);
            const std::string_view kept{copy(std::span<const char>{name}), name.size()};
            if (auto added = add_tensor(kept, part.data, from, target); !added) return added;
        }
    if (!whole && data.extra != nullptr && !data.extra->parts().empty()) return {};
    if (auto usable = check_access(&data, &from); !usable) return usable;
    return add_strided(key, data, from, target, dequantises);
}

CKPT_DETAIL_DEF dtype plan_inputs::wanted_type(std::string_view key, dtype type) {
    const auto floating = [](dtype t) {
        return info(t).kind == dtype_kind::floating || info(t).kind == dtype_kind::complex;
    };
    for (std::size_t i = 0; i < casts_.size(); ++i) {
        if (!casts_[i].matches(key)) continue;
        const dtype to = options_.casts[i].to;
        return floating(to) && !floating(type) ? type : to;
    }
    return type;
}

inline error no_cast(dtype from, dtype to) {
    return {.code = errc::conversion,
            .detail = str_cat("no cast from ", name(from), " to ", name(to)),
            .hint = "leave the tensor out of the casts"};
}

inline error never_checked(const char* what) {
    return {.code = errc::internal, .detail = str_cat("a tensor that was never checked against its ", what)};
}

/// Whether each channel of a quantised tensor has a scale and a zero point.
inline bool has_parameters(const tensor_data& data) noexcept {
    const tensor_extra& q = *data.extra;
    if (!is_per_channel(q.scheme)) return true;
    const auto has_all = [&](const named_data& part) {
        return part.data.rank == 1 && part.data.shape[0] == data.shape[q.axis];
    };
    return q.axis < data.rank && q.count == 2 && has_all(q.first[0]) && has_all(q.first[1]);
}

CKPT_DETAIL_DEF result<void> plan_inputs::add_strided(std::string_view key, const tensor_data& data,
                                                      const storage_source& from, std::uint32_t target,
                                                      bool dequantises) {
    const bool integers = is_quantised(data) && !dequantises;
    const dtype type = dequantises ? dtype::float32 : data.type;
    placed_tensor placed{.key = key,
                         .type = integers ? type : wanted_type(key, type),
                         .target = target,
                         .rank = data.rank,
                         .phase = order_.empty() ? 0 : phase_of(key),
                         .shape = copy(data.sizes()),
                         .strides = copy(data.steps()),
                         .numel = data.numel};
    if (integers && !is_per_channel(data.extra->scheme)) placed.quantised = data.extra;
    if (placed.type != type && (bits(type) < 8 || !is_convertible(type, placed.type)))
        return no_cast(type, placed.type);
    if (dequantises && !has_parameters(data)) return never_checked("quantizer");
    if (data.numel == 0) {
        make_dense(placed, data);
        plan_.tensors.push_back(placed);
        return {};
    }
    const std::size_t width = bits(data.type);
    const bool dense = is_contiguous(data);
    if (width < 8 && (!dense || (!dequantises && data.storage_offset * width % 8 != 0))) return packed_error(data.type);
    const bool foreign = from.order(data.storage) != native_order() && info(data.type).component_bytes > 1;
    const bool casts = placed.type != data.type;
    const bool by_device = dequantises ? dequantised_by_device(data, placed.type)
                                       : (casts || foreign) && made_by_device(data, placed.type);
    stored_bytes bytes{.tensor = count_of(plan_.tensors),
                       .target = target,
                       .phase = placed.phase,
                       .converted = by_device,
                       .type = data.type,
                       .swap_bytes = foreign};
    bool stored = !has_lazy_bit(data) && !from.is_gathered(data.storage) && ((!casts && !foreign) || by_device);
    if (stored) {
        const auto found = find_storage(data, from, bytes);
        if (!found) return found.error();
        stored = *found;
    }
    const std::uint64_t unit = width < 8 ? 1 : (std::min)(std::uint64_t{16}, std::uint64_t{itemsize(data.type)});
    bytes.aligned = (bytes.storage & (unit - 1)) == 0;
    // A device loads whole elements: where a file has them at odd places, the host moves them.
    if (by_device && !bytes.aligned) stored = false;
    if (!stored && width < 8 && !dequantises) return packed_error(data.type);
    if (!stored) {
        plan_.tensors.push_back(placed);
        build_on_host(bytes.tensor, data, from, dequantises ? host_part::numbers : host_part::tensor);
        return {};
    }
    std::uint64_t end = 0;
    if (!bytes_needed(data, end)) return never_checked("storage");
    bytes.begin = bytes.storage + data.storage_offset * width / 8;
    bytes.end = bytes.storage + end;
    bytes.sparse = !by_device && !dense && bytes_of(data.type, data.numel) < (bytes.end - bytes.begin) / 4 * 3;
    if (bytes.sparse) bytes.source = &from;
    if (bytes.sparse || (by_device && !dense)) bytes.view = &data;
    placed.way = by_device ? upload_way::device : upload_way::stored;
    placed.nbytes = bytes.end - bytes.begin;
    if (by_device) make_dense(placed, data);
    if (dequantises) {
        bytes.quantizer = quantizer_number(data.extra);
        bytes.numbers = add_numbers(bytes.tensor, data, from);
    }
    stored_.push_back(bytes);
    plan_.tensors.push_back(placed);
    return {};
}

CKPT_DETAIL_DEF result<bool> plan_inputs::find_storage(const tensor_data& data, const storage_source& from,
                                                       stored_bytes& out) {
    const auto place = from.place_of(data.storage);
    if (!place) return place.error();
    const auto nbytes = from.nbytes(data.storage);
    if (place->from != nullptr && place->from->whole_file() != nullptr) {
        out.file = file_number(*place->from, from.file(data.storage));
        out.storage = place->from->base() + place->offset;
        storages_.push_back(
            {out.tensor, place->crc32, out.file, out.phase, out.storage, out.storage + nbytes, from.key(data.storage)});
        return true;
    }
    const auto bytes = from.bytes(data.storage);
    if (!bytes) return false;
    out.storage = reinterpret_cast<std::uintptr_t>(bytes->data());
    if (place->from != nullptr)
        storages_.push_back(
            {out.tensor, place->crc32, 0, out.phase, out.storage, out.storage + nbytes, from.key(data.storage)});
    else ++plan_.unchecked;
    return true;
}

CKPT_DETAIL_DEF bool plan_inputs::made_by_device(const tensor_data& data, dtype wanted) const {
    const device_kernels* const k = options_.kernels;
    if (k == nullptr || (wanted != data.type && !k->can_cast(data.type, wanted))) return false;
    if (is_contiguous(data)) return true;
    nested_view view;
    std::uint64_t end = 0;
    return k->scatter != nullptr && bytes_needed(data, end) &&
           end - data.storage_offset * itemsize(data.type) <= scattered_range * bytes_of(data.type, data.numel) &&
           nested_view::make(data.sizes(), data.steps(), view);
}

CKPT_DETAIL_DEF bool plan_inputs::dequantised_by_device(const tensor_data& data, dtype wanted) const {
    const device_kernels* const k = options_.kernels;
    return k != nullptr && k->dequantize != nullptr && bits(data.type) >= 8 && is_contiguous(data) &&
           (wanted == dtype::float32 || k->can_cast(dtype::float32, wanted));
}

CKPT_DETAIL_DEF std::uint32_t plan_inputs::add_numbers(std::uint32_t tensor, const tensor_data& data,
                                                       const storage_source& from) {
    const tensor_extra& quantizer = *data.extra;
    const std::uint32_t out = count_of(plan_.numbers);
    plan_.numbers.push_back({&quantizer, dequantization_of(quantizer, data.sizes())});
    if (!is_per_channel(quantizer.scheme)) return out;
    host_tensor parameters{.tensor = tensor, .source = &from, .source_number = source_number(&from), .numbers = out};
    parameters.data = &quantizer.first[0].data;
    parameters.wanted = dtype::float64;
    parameters.part = has_rounded_scales(quantizer.scheme) ? host_part::rounded_scales : host_part::scales;
    on_host_.push_back(parameters);
    parameters.data = &quantizer.first[1].data;
    parameters.wanted = dtype::float32;
    parameters.part = host_part::zero_points;
    on_host_.push_back(parameters);
    plan_.unchecked += 2;
    return out;
}

CKPT_DETAIL_DEF void plan_inputs::build_on_host(std::uint32_t tensor, const tensor_data& data,
                                                const storage_source& from, host_part part) {
    placed_tensor& placed = plan_.tensors[tensor];
    placed.way = upload_way::host;
    make_dense(placed, data);
    on_host_.push_back({.tensor = tensor,
                        .data = &data,
                        .source = &from,
                        .source_number = source_number(&from),
                        .wanted = placed.type,
                        .part = part,
                        .quantizer = part == host_part::numbers ? quantizer_number(data.extra) : 0});
    // A checksum is that of the bytes as they lie in the file; a gather reads parts of them, and in another order.
    ++plan_.unchecked;
}

CKPT_DETAIL_DEF void plan_inputs::build_sparse_views() {
    if (std::none_of(stored_.begin(), stored_.end(), [](const stored_bytes& s) { return s.sparse; })) return;
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < stored_.size(); ++i) order.push_back(i);
    const auto place = [this](std::uint32_t i) {
        const stored_bytes& s = stored_[i];
        return std::tuple{s.target, s.converted, s.file, s.begin};
    };
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return place(a) != place(b) ? place(a) < place(b) : a < b; });
    // What the others need, as ranges that do not touch.
    std::vector<stored_bytes> covered;
    for (const std::uint32_t i : order) {
        const stored_bytes& s = stored_[i];
        if (s.sparse || s.converted) continue;
        if (!covered.empty() && covered.back().target == s.target && covered.back().file == s.file &&
            s.begin <= covered.back().end)
            covered.back().end = (std::max)(covered.back().end, s.end);
        else covered.push_back(s);
    }
    const auto before = [](const stored_bytes& a, const stored_bytes& b) {
        return std::tuple{a.target, a.file, a.begin} < std::tuple{b.target, b.file, b.begin};
    };
    for (stored_bytes& s : stored_) {
        if (!s.sparse) continue;
        const auto after = std::upper_bound(covered.begin(), covered.end(), s, before);
        const bool is_covered = after != covered.begin() && (after - 1)->target == s.target &&
                                (after - 1)->file == s.file && (after - 1)->end >= s.end;
        s.converted = !is_covered && s.aligned && made_by_device(*s.view, s.type);
        s.sparse = !is_covered && !s.converted;
        if (s.sparse) build_on_host(s.tensor, *s.view, *s.source);
        if (!s.converted) continue;
        plan_.tensors[s.tensor].way = upload_way::device;
        make_dense(plan_.tensors[s.tensor], *s.view);
    }
    std::erase_if(stored_, [](const stored_bytes& s) { return s.sparse; });
}

/// std::ranges has no algorithms in libc++ 14.
inline bool same_numbers(std::span<const std::int64_t> a, std::span<const std::int64_t> b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

CKPT_DETAIL_DEF bool same_view(const tensor_data* a, const tensor_data* b) noexcept {
    if (a == nullptr || b == nullptr) return a == b;
    return same_numbers(a->sizes(), b->sizes()) && same_numbers(a->steps(), b->steps());
}

/// Any order in which tensors that are the same view stand together.
inline bool is_view_before(const tensor_data* a, const tensor_data* b) noexcept {
    if (a == nullptr || b == nullptr) return a == nullptr && b != nullptr;
    const auto less = [](std::span<const std::int64_t> x, std::span<const std::int64_t> y) {
        return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end());
    };
    return same_numbers(a->sizes(), b->sizes()) ? less(a->steps(), b->steps()) : less(a->sizes(), b->sizes());
}

CKPT_DETAIL_DEF void plan_inputs::join_phases() {
    std::vector<stored_bytes*> order;
    for (stored_bytes& s : stored_) order.push_back(&s);
    sort_unsorted(order, [](const stored_bytes* a, const stored_bytes* b) {
        return a->file != b->file ? a->file < b->file : a->begin < b->begin;
    });
    read_place before{};
    for (std::size_t i = 0; i < order.size();) {
        read_place joined = place_of(*order[i]);
        std::uint64_t reach = order[i]->end;
        std::size_t end = i + 1;
        for (; end < order.size() && order[end]->file == joined.file && order[end]->begin < reach; ++end) {
            reach = (std::max)(reach, order[end]->end);
            joined.phase = (std::min)(joined.phase, order[end]->phase);
        }
        const bool behind_others = i > 0 && before.file == joined.file && before.phase != joined.phase;
        for (; i < end; ++i) {
            order[i]->phase = plan_.tensors[order[i]->tensor].phase = joined.phase;
            order[i]->behind_others = behind_others;
        }
        before = joined;
    }
    for (used_storage& s : storages_) s.phase = plan_.tensors[s.tensor].phase;
}

CKPT_DETAIL_DEF void plan_inputs::sort_stored() {
    const auto wanted = [this](const stored_bytes& s) { return plan_.tensors[s.tensor].type; };
    sort_unsorted(stored_, [&](const stored_bytes& a, const stored_bytes& b) {
        if (a.converted != b.converted) return b.converted;
        if (a.target != b.target) return a.target < b.target;
        if (place_of(a) != place_of(b)) return place_of(a) < place_of(b);
        if (a.begin != b.begin) return a.begin < b.begin;
        if (a.end != b.end) return a.end > b.end;
        if (a.type != b.type) return a.type < b.type;
        if (wanted(a) != wanted(b)) return wanted(a) < wanted(b);
        if (a.quantizer != b.quantizer) return a.quantizer < b.quantizer;
        return same_view(a.view, b.view) ? a.tensor < b.tensor : is_view_before(a.view, b.view);
    });
    while (unconverted_ < stored_.size() && !stored_[unconverted_].converted) ++unconverted_;
}

CKPT_DETAIL_DEF void plan_inputs::make_dense(placed_tensor& placed, const tensor_data& data) {
    auto* strides = plan_.memory.allocate<std::int64_t>(data.rank + std::size_t{1});
    set_dense_strides(data.sizes(), false, strides);
    placed.strides = strides;
    placed.nbytes = bytes_of(placed.type, placed.numel);
}

CKPT_DETAIL_DEF result<void> plan_inputs::sort_keys() {
    for (std::uint32_t i = 0; i < plan_.tensors.size(); ++i) plan_.targets[plan_.tensors[i].target].by_key.push_back(i);
    for (auto& t : plan_.targets) {
        const auto key = [this](std::uint32_t i) { return plan_.tensors[i].key; };
        std::sort(t.by_key.begin(), t.by_key.end(), [&](std::uint32_t a, std::uint32_t b) { return key(a) < key(b); });
        for (std::size_t i = 1; i < t.by_key.size(); ++i)
            if (key(t.by_key[i]) == key(t.by_key[i - 1]))
                return error{.code = errc::key_duplicate,
                             .detail = str_cat("a part of a tensor has the key ", quoted(key(t.by_key[i])),
                                               ", as another tensor has"),
                             .hint = "upload them one by one, by select"};
    }
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
