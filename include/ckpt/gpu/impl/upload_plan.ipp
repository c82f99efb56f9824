// ckpt/gpu/impl/upload_plan.ipp: the definitions of upload_plan.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/gpu/upload_plan.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF const placed_tensor* upload_plan_data::find(std::string_view key, std::uint32_t of) const noexcept {
    const auto& order = targets[of].by_key;
    const auto at = std::lower_bound(order.begin(), order.end(), key,
                                     [this](std::uint32_t i, std::string_view k) { return tensors[i].key < k; });
    return at != order.end() && tensors[*at].key == key ? &tensors[*at] : nullptr;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF upload_plan::tensor upload_plan::operator[](std::size_t i) const& noexcept {
    const detail::placed_tensor& t = data_->tensors[i];
    return {t.key, t.type, {t.shape, t.rank}, {t.strides, t.rank}, t.target, t.offset, t.way};
}

CKPT_DETAIL_DEF std::vector<upload_plan::run> upload_plan::runs() const& {
    std::vector<run> out;
    for (const detail::byte_run& r : data_->runs)
        out.push_back({r.file_name, r.in == nullptr, r.begin, r.end - r.begin});
    return out;
}

CKPT_DETAIL_DEF result<upload_plan> plan_upload(const state_dict& weights, const upload_plan_options& options,
                                                int device) {
    const upload_target one[]{{device, weights}};
    return plan_upload(one, options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<upload_plan> upload_planner::run(std::span<const upload_target> targets) {
    if (options_.piece_bytes == 0 || options_.piece_bytes % 4096 != 0 ||
        options_.piece_bytes > (std::uint64_t{1} << 30))
        return error{.code = errc::limit,
                     .detail = "pieces of " + decimal(options_.piece_bytes) + " bytes",
                     .hint = "they are a multiple of 4096 of at most 1 GiB"};
    if (options_.alignment < 16 || (options_.alignment & (options_.alignment - 1)) != 0 || options_.alignment > 4096)
        return error{.code = errc::limit,
                     .detail = "an alignment of " + decimal(options_.alignment),
                     .hint = "it is a power of two from 16 to 4096"};
    out_->piece_bytes = options_.piece_bytes;
    out_->kernels = options_.kernels;
    for (std::uint32_t t = 0; t < targets.size(); ++t) {
        const auto& weights = state_dict_access::data(targets[t].weights);
        out_->owners.push_back(weights);
        out_->targets.push_back({.device = targets[t].device});
        for (const auto& entry : weights->entries) {
            if (!options_.select.empty() && !selected_.matches(entry.key)) continue;
            if (auto taken = take(entry.key, *entry.data, *weights->source, t); !taken) {
                error e = std::move(taken).error();
                if (e.path.empty()) e.path = weights->where(entry.key);
                return e;
            }
        }
    }
    for (const pattern& p : options_.select) {
        if (std::none_of(out_->tensors.begin(), out_->tensors.end(),
                         [&, one = pattern_list{{p}}](const placed_tensor& t) mutable { return one.matches(t.key); }))
            return error{.code = errc::key_missing,
                         .detail = "no key matches " + quoted(p.text()),
                         .hint = "list the keys with: ckpt ls FILE"};
    }
    thin_out();
    if (auto sorted = sort_keys(); !sorted) return std::move(sorted).error();
    if (auto placed = place(); !placed) return std::move(placed).error();
    read();
    check();
    build();
    for (const upload_piece& p : out_->pieces) {
        out_->slot_bytes = (std::max)(out_->slot_bytes, align_up(out_->lead(p) + p.bytes, file::direct_alignment));
    }
    return upload_plan{std::move(out_)};
}

CKPT_DETAIL_DEF std::uint32_t upload_planner::file_number(const source& from, std::string_view name) {
    const file* const in = from.whole_file();
    for (std::size_t i = files_.size(); i-- > 1;) // what is asked for is nearly always the last one
        if (files_[i].in == in) return static_cast<std::uint32_t>(i);
    files_.push_back({&from, in, name});
    return static_cast<std::uint32_t>(files_.size() - 1);
}

CKPT_DETAIL_DEF std::uint32_t upload_planner::number_in(std::vector<const storage_source*>& known,
                                                        const storage_source* of) {
    for (std::size_t i = known.size(); i-- > 0;)
        if (known[i] == of) return static_cast<std::uint32_t>(i);
    known.push_back(of);
    return static_cast<std::uint32_t>(known.size() - 1);
}

CKPT_DETAIL_DEF result<void> upload_planner::take(std::string_view key, const tensor_data& data,
                                                  const storage_source& from, std::uint32_t target) {
    if (data.refusal != nullptr) return *data.refusal;
    const bool whole = data.kind == layout::strided;
    if (data.extra != nullptr)
        for (const named_data& part : data.extra->parts()) {
            std::string name = std::string(key) + '.' + std::string(part.name);
            if (auto taken = take({copy(std::span<const char>{name}), name.size()}, part.data, from, target); !taken)
                return taken;
        }
    if (!whole && data.extra != nullptr && !data.extra->parts().empty()) return {};
    if (auto usable = check_access(&data, &from); !usable) return usable;
    return take_strided(key, data, from, target);
}

CKPT_DETAIL_DEF dtype upload_planner::wanted_type(std::string_view key, const tensor_data& data) {
    const auto floating = [](dtype t) {
        return info(t).kind == dtype_kind::floating || info(t).kind == dtype_kind::complex;
    };
    for (std::size_t i = 0; i < casts_.size(); ++i) {
        if (!casts_[i].matches(key)) continue;
        const dtype to = options_.casts[i].to;
        return is_quantised(data) || (floating(to) && !floating(data.type)) ? data.type : to;
    }
    return data.type;
}

CKPT_DETAIL_DEF result<void> upload_planner::take_strided(std::string_view key, const tensor_data& data,
                                                          const storage_source& from, std::uint32_t target) {
    placed_tensor placed{.key = key,
                         .type = wanted_type(key, data),
                         .target = target,
                         .rank = data.rank,
                         .shape = copy(data.sizes()),
                         .strides = copy(data.steps()),
                         .numel = data.numel};
    if (is_quantised(data) && !is_per_channel(data.extra->scheme)) placed.quantised = data.extra;
    const auto number = static_cast<std::uint32_t>(out_->tensors.size());
    const bool casts = placed.type != data.type;
    if (casts && (bits(data.type) < 8 || !is_convertible(data.type, placed.type)))
        return error{.code = errc::conversion,
                     .detail = "no cast from " + std::string(name(data.type)) + " to " + std::string(name(placed.type)),
                     .hint = "leave the tensor out of the casts"};
    if (data.numel == 0) {
        set_dense(placed, data);
        out_->tensors.push_back(placed);
        return {};
    }
    const std::size_t width = bits(data.type);
    if (width < 8 && (!is_contiguous(data) || data.storage_offset * width % 8 != 0)) return packed_error(data.type);
    const bool foreign = from.order(data.storage) != native_order() && info(data.type).component_bytes > 1;
    const bool dense = is_contiguous(data);
    const device_kernels* const k = options_.kernels;
    const bool by_device = (casts || foreign) && dense && k != nullptr && bits(placed.type) >= width &&
                           (!casts || k->can_cast(data.type, placed.type));
    need n{.tensor = number, .target = target, .cast = by_device, .type = data.type, .swap_bytes = foreign};
    bool stored = !has_lazy_bit(data) && !from.is_gathered(data.storage) && ((!casts && !foreign) || by_device);
    std::uint64_t storage_begin = 0;
    if (stored) {
        const auto place = from.place_of(data.storage);
        if (!place) return place.error();
        const auto nbytes = from.nbytes(data.storage);
        if (place->from != nullptr && place->from->whole_file() != nullptr) {
            n.file = file_number(*place->from, from.file(data.storage));
            storage_begin = place->from->base() + place->offset;
            used_.push_back({n.file, storage_begin, storage_begin + nbytes, place->crc32, from.key(data.storage)});
        } else if (const auto bytes = from.bytes(data.storage); bytes) {
            storage_begin = reinterpret_cast<std::uintptr_t>(bytes->data());
            if (place->from != nullptr)
                used_.push_back({0, storage_begin, storage_begin + nbytes, place->crc32, from.key(data.storage)});
            else ++out_->unchecked;
        } else {
            stored = false;
        }
    }
    // A device loads whole elements: where a file has them at odd places, they are moved.
    const std::uint64_t unit = width < 8 ? 1 : (std::min)(std::uint64_t{16}, std::uint64_t{itemsize(data.type)});
    const bool aligned = (storage_begin & (unit - 1)) == 0;
    if (stored && by_device && !aligned) stored = false;
    if (!stored && width < 8) return packed_error(data.type);
    if (!stored) {
        out_->tensors.push_back(placed);
        wish_for(number, data, from);
        return {};
    }
    std::uint64_t end = 0;
    if (!bytes_needed(data, end))
        return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    n.begin = storage_begin + data.storage_offset * width / 8;
    n.end = storage_begin + end;
    n.storage = storage_begin;
    n.aligned = aligned;
    const std::uint64_t used = bytes_of(data.type, data.numel);
    if (!by_device && !dense && used < (n.end - n.begin) / 4 * 3) {
        n.sparse = &data;
        n.source = &from;
    }
    placed.way = by_device ? upload_way::device : upload_way::stored;
    placed.nbytes = by_device ? bytes_of(placed.type, placed.numel) : n.end - n.begin;
    needs_.push_back(n);
    out_->tensors.push_back(placed);
    return {};
}

CKPT_DETAIL_DEF void upload_planner::wish_for(std::uint32_t number, const tensor_data& data,
                                              const storage_source& from) {
    placed_tensor& placed = out_->tensors[number];
    placed.way = upload_way::host;
    set_dense(placed, data);
    wishes_.push_back({number, &data, &from, number_in(sources_, &from), placed.type});
    ++out_->unchecked; // a record is only summed as it lies in the file
}

CKPT_DETAIL_DEF void upload_planner::thin_out() {
    if (std::none_of(needs_.begin(), needs_.end(), [](const need& n) { return n.sparse != nullptr; })) return;
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < needs_.size(); ++i) order.push_back(i);
    const auto place = [this](std::uint32_t i) {
        const need& n = needs_[i];
        return std::tuple{n.target, n.cast, n.file, n.begin};
    };
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return place(a) != place(b) ? place(a) < place(b) : a < b; });
    // What the others need, as ranges that do not touch.
    std::vector<need> covered;
    for (const std::uint32_t i : order) {
        const need& n = needs_[i];
        if (n.sparse != nullptr || n.cast) continue;
        if (!covered.empty() && covered.back().target == n.target && covered.back().file == n.file &&
            n.begin <= covered.back().end)
            covered.back().end = (std::max)(covered.back().end, n.end);
        else covered.push_back(n);
    }
    const auto before = [](const need& a, const need& b) {
        return std::tuple{a.target, a.file, a.begin} < std::tuple{b.target, b.file, b.begin};
    };
    std::erase_if(needs_, [&](const need& n) {
        if (n.sparse == nullptr) return false;
        const auto after = std::upper_bound(covered.begin(), covered.end(), n, before);
        if (after != covered.begin() && (after - 1)->target == n.target && (after - 1)->file == n.file &&
            (after - 1)->end >= n.end)
            return false;
        wish_for(n.tensor, *n.sparse, *n.source);
        return true;
    });
}

CKPT_DETAIL_DEF void upload_planner::set_dense(placed_tensor& placed, const tensor_data& data) {
    auto* strides = out_->memory.allocate<std::int64_t>(data.rank + std::size_t{1});
    set_dense_strides(data.sizes(), false, strides);
    placed.strides = strides;
    placed.nbytes = bytes_of(placed.type, placed.numel);
}

CKPT_DETAIL_DEF result<void> upload_planner::sort_keys() {
    for (std::uint32_t i = 0; i < out_->tensors.size(); ++i) out_->targets[out_->tensors[i].target].by_key.push_back(i);
    for (auto& t : out_->targets) {
        const auto key = [this](std::uint32_t i) { return out_->tensors[i].key; };
        std::sort(t.by_key.begin(), t.by_key.end(), [&](std::uint32_t a, std::uint32_t b) { return key(a) < key(b); });
        for (std::size_t i = 1; i < t.by_key.size(); ++i)
            if (key(t.by_key[i]) == key(t.by_key[i - 1]))
                return error{.code = errc::key_duplicate,
                             .detail = "a part of a tensor has the key " + quoted(key(t.by_key[i])) +
                                       ", as another tensor has",
                             .hint = "upload them one by one, by select"};
    }
    return {};
}

CKPT_DETAIL_DEF result<void> upload_planner::place() {
    // Stored bytes: what overlaps lies together; in a file image, so does what is nearly side by side.
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < needs_.size(); ++i)
        if (!needs_[i].cast) order.push_back(i);
    std::sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
        const need& x = needs_[a];
        const need& y = needs_[b];
        if (x.target != y.target) return x.target < y.target;
        if (x.file != y.file) return x.file < y.file;
        if (x.aligned != y.aligned) return x.aligned;
        if (!x.aligned && x.storage != y.storage) return x.storage < y.storage;
        return x.begin != y.begin ? x.begin < y.begin : x.end > y.end;
    });
    for (std::size_t i = 0; i < order.size();) {
        const need& first = needs_[order[i]];
        group g{.target = first.target, .file = first.file, .begin = first.begin, .end = first.end};
        const bool image = options_.layout == upload_layout::file_image && first.aligned && first.file != 0;
        std::size_t next = i + 1;
        for (; next < order.size(); ++next) {
            const need& n = needs_[order[next]];
            if (n.target != g.target || n.file != g.file || n.aligned != first.aligned ||
                (!n.aligned && n.storage != first.storage) || n.begin > g.end + (image ? bridged_gap : 0) ||
                (!image && n.begin >= g.end))
                break;
            g.end = (std::max)(g.end, n.end);
        }
        // The first byte keeps its place within `image_alignment` bytes, or its storage begins at a multiple of it.
        const std::uint64_t alignment = image ? image_alignment : options_.alignment;
        std::uint64_t lead = 0;
        if (image) lead = g.begin % alignment;
        else
            for (std::size_t k = i; k < next; ++k) // elements of several types that overlap oddly
                if ((needs_[order[k]].begin - g.begin) %
                        (std::min)(std::uint64_t{16}, std::uint64_t{itemsize(needs_[order[k]].type)}) !=
                    0)
                    lead = (g.begin - (first.aligned ? 0 : first.storage)) % 16;
        if (auto room = reserve(g.target, lead, g.end - g.begin, alignment); room) g.to = *room;
        else return std::move(room).error();
        for (; i < next; ++i) {
            const need& n = needs_[order[i]];
            out_->tensors[n.tensor].offset = g.to + (n.begin - g.begin);
        }
        groups_.push_back(g);
    }
    if (auto placed = place_casts(); !placed) return placed;
    if (auto placed = place_built(); !placed) return placed;
    number_storages();
    return {};
}

CKPT_DETAIL_DEF void upload_planner::number_storages() {
    std::vector<const need*> order;
    for (const need& n : needs_)
        if (!n.cast) order.push_back(&n);
    const auto less = [](const need* a, const need* b) {
        if (a->target != b->target) return a->target < b->target;
        return a->file != b->file ? a->file < b->file : a->storage < b->storage;
    };
    std::sort(order.begin(), order.end(), less);
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
        if (i > 0 && less(order[i - 1], order[i])) ++next;
        out_->tensors[order[i]->tensor].storage = next;
    }
    // What is made anew shares memory only with what is the same.
    std::vector<std::uint32_t> made;
    for (std::uint32_t i = 0; i < out_->tensors.size(); ++i)
        if (out_->tensors[i].way != upload_way::stored || out_->tensors[i].nbytes == 0) made.push_back(i);
    const auto place = [this](std::uint32_t i) { return std::pair{out_->tensors[i].target, out_->tensors[i].offset}; };
    std::sort(made.begin(), made.end(),
              [&](std::uint32_t a, std::uint32_t b) { return place(a) != place(b) ? place(a) < place(b) : a < b; });
    for (std::size_t i = 0; i < made.size(); ++i) {
        if (i == 0 || place(made[i - 1]) != place(made[i]) || out_->tensors[made[i]].nbytes == 0) ++next;
        out_->tensors[made[i]].storage = next;
    }
    out_->storages = out_->tensors.empty() ? 0 : next + 1;
}

CKPT_DETAIL_DEF result<std::uint64_t> upload_planner::reserve(std::uint32_t target, std::uint64_t lead,
                                                              std::uint64_t bytes, std::uint64_t alignment) {
    std::uint64_t& used = out_->targets[target].bytes;
    constexpr std::uint64_t most = std::uint64_t{1} << 62;
    if (bytes > most || used > most)
        return error{.code = errc::limit, .detail = "the tensors need more device memory than 64 bits can count"};
    const std::uint64_t at = align_up(used, alignment) + lead;
    used = at + bytes;
    return at;
}

CKPT_DETAIL_DEF result<void> upload_planner::place_casts() {
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < needs_.size(); ++i)
        if (needs_[i].cast) order.push_back(i);
    const auto wanted = [this](const need& n) { return out_->tensors[n.tensor].type; };
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        const need& x = needs_[a];
        const need& y = needs_[b];
        if (x.target != y.target) return x.target < y.target;
        if (x.file != y.file) return x.file < y.file;
        if (x.begin != y.begin) return x.begin < y.begin;
        if (x.end != y.end) return x.end < y.end;
        if (x.type != y.type) return x.type < y.type;
        return wanted(x) < wanted(y);
    });
    const need* before = nullptr;
    for (const std::uint32_t i : order) {
        need& n = needs_[i];
        placed_tensor& t = out_->tensors[n.tensor];
        if (before != nullptr && before->target == n.target && before->file == n.file && before->begin == n.begin &&
            before->end == n.end && before->type == n.type && out_->tensors[before->tensor].type == t.type) {
            t.offset = out_->tensors[before->tensor].offset;
            continue;
        }
        const auto at = reserve(n.target, 0, t.nbytes, options_.alignment);
        if (!at) return at.error();
        t.offset = *at;
        converted_.push_back(i);
        before = &n;
    }
    return {};
}

CKPT_DETAIL_DEF result<void> upload_planner::place_built() {
    gather_plan& plan = out_->plan;
    std::sort(wishes_.begin(), wishes_.end(), [](const wish& a, const wish& b) {
        if (a.source_number != b.source_number) return a.source_number < b.source_number;
        if (a.data->storage != b.data->storage) return a.data->storage < b.data->storage;
        if (a.data->storage_offset != b.data->storage_offset) return a.data->storage_offset < b.data->storage_offset;
        return a.wanted != b.wanted ? a.wanted < b.wanted : a.tensor < b.tensor;
    });
    std::vector<std::uint64_t> offsets(out_->targets.size(), no_offset); // of the tensor in hand, for each target
    std::uint32_t leaf = 0;
    for (std::size_t i = 0; i < wishes_.size(); ++i) {
        const wish& w = wishes_[i];
        const std::uint32_t own = plan.add_leaf(w.data, w.source);
        const bool same = i > 0 && wishes_[i - 1].wanted == w.wanted && plan.same_view(leaf, own);
        if (!same) {
            leaf = own;
            if (!plan.in_proportion(own)) return output_error(*w.data, w.tensor);
            std::fill(offsets.begin(), offsets.end(), no_offset);
            out_->built.push_back({plan.cast(own, w.wanted), w.wanted, w.data->numel});
        }
        placed_tensor& t = out_->tensors[w.tensor];
        std::uint64_t& at = offsets[t.target];
        if (at == no_offset) {
            const auto room = reserve(t.target, 0, t.nbytes, options_.alignment);
            if (!room) return room.error();
            at = *room;
            destinations_.push_back({static_cast<std::uint32_t>(out_->built.size() - 1), t.target, at});
        }
        t.offset = at;
    }
    return {};
}

CKPT_DETAIL_DEF error upload_planner::output_error(const tensor_data& data, std::uint32_t tensor) const {
    return {.code = errc::output_limit,
            .path = std::string(out_->tensors[tensor].key),
            .detail = "the values are " + decimal(bytes_of(data.type, data.numel)) +
                      " bytes, far more than the storages behind them: the tensor is expanded"};
}

CKPT_DETAIL_DEF void upload_planner::read() {
    // All bytes that any target wants, in the order of the files.
    std::vector<const need*> order;
    for (const need& n : needs_) order.push_back(&n);
    std::sort(order.begin(), order.end(), [](const need* a, const need* b) {
        if (a->file != b->file) return a->file < b->file;
        return a->begin < b->begin;
    });
    for (const need* n : order) {
        if (!out_->runs.empty()) {
            byte_run& last = out_->runs.back();
            // Between buffers in memory there may be nothing that can be read.
            if (run_files_.back() == n->file && n->begin <= last.end + (n->file != 0 ? bridged_gap : 0)) {
                last.end = (std::max)(last.end, n->end);
                continue;
            }
        }
        const open_file& of = files_[n->file];
        out_->runs.push_back({of.from, of.in, n->begin, n->end, of.name});
        run_files_.push_back(n->file);
    }
    // The copies of each piece. Groups and casts are sorted as runs are, but for their targets.
    std::sort(groups_.begin(), groups_.end(), [](const group& a, const group& b) {
        if (a.file != b.file) return a.file < b.file;
        return a.begin < b.begin;
    });
    std::sort(converted_.begin(), converted_.end(), [this](std::uint32_t a, std::uint32_t b) {
        const need& x = needs_[a];
        const need& y = needs_[b];
        if (x.file != y.file) return x.file < y.file;
        return x.begin < y.begin;
    });
    std::size_t g = 0, c = 0;
    std::vector<std::size_t> open_groups, open_casts; // those that reach beyond the piece before
    for (std::uint32_t r = 0; r < out_->runs.size(); ++r) {
        const byte_run& run = out_->runs[r];
        for (std::uint64_t at = run.begin; at < run.end;) {
            const std::uint64_t cut = (at / out_->piece_bytes + 1) * out_->piece_bytes;
            const std::uint64_t end = (std::min)(cut, run.end);
            upload_piece piece{.run = r,
                               .begin = at,
                               .bytes = end - at,
                               .first_copy = count(out_->copies),
                               .first_cast = count(out_->casts)};
            for (; g < groups_.size() && groups_[g].file == run_files_[r] && groups_[g].begin < end; ++g)
                open_groups.push_back(g);
            for (; c < converted_.size() && needs_[converted_[c]].file == run_files_[r] &&
                   needs_[converted_[c]].begin < end;
                 ++c)
                open_casts.push_back(c);
            for (const std::size_t i : open_groups) {
                const group& from = groups_[i];
                const std::uint64_t first = (std::max)(from.begin, at);
                const std::uint64_t last = (std::min)(from.end, end);
                out_->copies.push_back({from.target, false, first - at, last - first, from.to + (first - from.begin)});
            }
            add_casts(open_casts, at, end);
            std::erase_if(open_groups, [&](std::size_t i) { return groups_[i].end <= end; });
            std::erase_if(open_casts, [&](std::size_t i) { return needs_[converted_[i]].end <= end; });
            piece.copies = count(out_->copies) - piece.first_copy;
            piece.casts = count(out_->casts) - piece.first_cast;
            out_->pieces.push_back(piece);
            out_->read_bytes += end - at;
            at = end;
        }
    }
}

CKPT_DETAIL_DEF void upload_planner::add_casts(std::span<const std::size_t> open, std::uint64_t begin,
                                               std::uint64_t end) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> needed(out_->targets.size(), {end, begin});
    for (const std::size_t i : open) {
        const need& n = needs_[converted_[i]];
        auto& [first, last] = needed[n.target];
        first = (std::min)(first, (std::max)(n.begin, begin));
        last = (std::max)(last, (std::min)(n.end, end));
    }
    for (std::uint32_t t = 0; t < needed.size(); ++t) {
        const auto& [first, last] = needed[t];
        if (first >= last) continue;
        const std::uint64_t lead = first % image_alignment;
        out_->copies.push_back({t, true, first - begin, last - first, lead});
        out_->targets[t].scratch = (std::max)(out_->targets[t].scratch, lead + last - first);
    }
    for (const std::size_t i : open) {
        const need& n = needs_[converted_[i]];
        const placed_tensor& tensor = out_->tensors[n.tensor];
        // Pieces end at multiples of 4,096 and elements are aligned, so none is cut.
        const std::uint64_t first = (std::max)(n.begin, begin), last = (std::min)(n.end, end);
        const std::uint64_t scratch = needed[n.target].first;
        const std::uint64_t size = itemsize(n.type);
        out_->casts.push_back({n.target, scratch % image_alignment + (first - scratch),
                               tensor.offset + (first - n.begin) / size * itemsize(tensor.type), (last - first) / size,
                               n.type, tensor.type, n.swap_bytes});
    }
}

CKPT_DETAIL_DEF void upload_planner::check() {
    std::sort(used_.begin(), used_.end(), [](const used_storage& a, const used_storage& b) {
        if (a.file != b.file) return a.file < b.file;
        return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    used_.erase(std::unique(used_.begin(), used_.end()), used_.end());
    std::uint32_t r = 0;
    for (const used_storage& s : used_) {
        while (r < out_->runs.size() &&
               (run_files_[r] < s.file || (run_files_[r] == s.file && out_->runs[r].end < s.end)))
            ++r;
        const bool whole = r < out_->runs.size() && run_files_[r] == s.file && out_->runs[r].begin <= s.begin;
        if (whole && s.crc32 != 0) out_->checksums.push_back({r, s.begin, s.end, s.crc32, s.key});
        else ++out_->unchecked;
    }
}

CKPT_DETAIL_DEF void upload_planner::build() {
    upload_piece piece{.run = no_run, .first_copy = count(out_->copies), .first_part = count(out_->parts)};
    const auto finish = [&] {
        if (piece.bytes == 0) return;
        piece.copies = count(out_->copies) - piece.first_copy;
        piece.parts = count(out_->parts) - piece.first_part;
        out_->pieces.push_back(piece);
        out_->built_bytes += piece.bytes;
        piece = {.run = no_run, .first_copy = count(out_->copies), .first_part = count(out_->parts)};
    };
    std::size_t d = 0;
    for (std::uint32_t b = 0; b < out_->built.size(); ++b) {
        const built_tensor& t = out_->built[b];
        const std::uint64_t size = itemsize(t.type);
        std::size_t end = d;
        while (end < destinations_.size() && destinations_[end].built == b) ++end;
        for (std::uint64_t first = 0; first < t.numel;) {
            std::uint64_t at = align_up(piece.bytes, options_.alignment);
            if (at >= out_->piece_bytes || (first == 0 && at != 0 && t.numel * size > out_->piece_bytes - at)) {
                finish();
                at = 0;
            }
            const std::uint64_t n = (std::min)(t.numel - first, (out_->piece_bytes - at) / size);
            out_->parts.push_back({b, first, n, at});
            for (std::size_t i = d; i < end; ++i)
                add_copy(piece, destinations_[i].target, at, n * size, destinations_[i].to + first * size);
            piece.bytes = at + n * size;
            first += n;
        }
        d = end;
    }
    finish();
}

CKPT_DETAIL_DEF void upload_planner::add_copy(const upload_piece& piece, std::uint32_t target, std::uint64_t from,
                                              std::uint64_t bytes, std::uint64_t to) {
    for (std::size_t i = out_->copies.size(); i-- > piece.first_copy;) {
        staged_copy& last = out_->copies[i];
        if (last.target != target) continue;
        if (from >= last.from + last.bytes && from - last.from == to - last.to && to >= last.to)
            last.bytes = from + bytes - last.from;
        else break;
        return;
    }
    out_->copies.push_back({target, false, from, bytes, to});
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF upload_estimate upload_plan::estimate(const upload_rates& rates) const noexcept {
    const detail::upload_plan_data& d = *data_;
    std::vector<double> links(d.targets.size());
    double issued = 0;
    for (const detail::staged_copy& c : d.copies) links[c.target] += static_cast<double>(c.bytes);
    issued = static_cast<double>(d.copies.size() + d.casts.size()) * rates.issue;
    const auto staged = static_cast<double>(d.read_bytes + d.built_bytes);
    const double disk = static_cast<double>(d.read_bytes) / rates.disk;
    const double host = staged / (rates.copy * (rates.readers != 0 ? rates.readers : 1));
    double link = 0;
    for (const double bytes : links) link = (std::max)(link, bytes / rates.link);
    link = (std::max)(link, issued);
    upload_estimate out{.seconds = (std::max)({disk, host, link})};
    out.bound = out.seconds == link ? "link" : out.seconds == disk ? "disk" : "host";
    // The first piece fills the stages, the last one drains them.
    if (staged > 0)
        out.seconds +=
            (disk + host + link - out.seconds) * (std::min)(1.0, static_cast<double>(d.piece_bytes) / staged);
    return out;
}

CKPT_DETAIL_DEF std::string upload_plan::text(std::size_t most) const {
    using detail::decimal;
    const detail::upload_plan_data& d = *data_;
    std::string out;
    const auto number = [](std::uint64_t n, const char* what) { return decimal(n) + ' ' + what; };
    out += number(d.tensors.size(), "tensors, ") + number(d.read_bytes, "bytes read in ") +
           number(d.runs.size(), "runs, ") + number(d.built_bytes, "bytes built by the host, ") +
           number(d.pieces.size(), "pieces, ") + number(d.copies.size(), "copies, ") +
           number(d.casts.size(), "conversions by a device\n");
    for (std::size_t t = 0; t < d.targets.size(); ++t) {
        out += "device " + decimal(std::int64_t{d.targets[t].device}) + ": " + number(d.targets[t].bytes, "bytes");
        if (d.targets[t].scratch != 0) out += ", and " + number(d.targets[t].scratch, "while it runs");
        out += '\n';
    }
    const auto rest = [&](std::size_t n) {
        if (n > most) out += "  and " + decimal(std::uint64_t{n - most}) + " more\n";
    };
    for (std::size_t i = 0; i < d.runs.size() && i < most; ++i) {
        const detail::byte_run& r = d.runs[i];
        out += "  read " + number(r.end - r.begin, "bytes ");
        if (r.in == nullptr) out += "of memory";
        else
            out +=
                "at " + decimal(r.begin) + (r.file_name.empty() ? std::string() : " of " + detail::quoted(r.file_name));
        out += '\n';
    }
    rest(d.runs.size());
    for (std::size_t i = 0; i < d.tensors.size() && i < most; ++i) {
        const detail::placed_tensor& t = d.tensors[i];
        out += "  " + detail::printable(t.key) + ' ' + std::string(name(t.type)) + ' ' +
               detail::list_of({t.shape, t.rank}) + " at " + decimal(t.offset) + " of device " +
               decimal(std::int64_t{d.targets[t.target].device});
        if (t.way != upload_way::stored)
            out += t.way == upload_way::host ? ", built by the host" : ", converted by the device";
        out += '\n';
    }
    rest(d.tensors.size());
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
