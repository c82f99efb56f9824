// ckpt/state/impl/load_judge.ipp: the definitions of load_judge.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/lineage.hpp>
#include <ckpt/state/load.hpp>
#include <ckpt/state/load_judge.hpp>
#include <ckpt/state/nearest.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/copy.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool sizes_fit(std::span<const std::int64_t> want, std::span<const std::int64_t> got) noexcept {
    if (want.size() != got.size()) return false;
    for (std::size_t i = 0; i < want.size(); ++i)
        if (want[i] >= 0 && want[i] != got[i]) return false;
    return true;
}

CKPT_DETAIL_DEF result<load_fit> fit(const tensor& from, const target_type& want, bool convert) {
    load_fit out;
    if (from.refusal() != nullptr) return *from.refusal();
    // Sizes last: "another dtype" and "another number of dimensions" say more.
    if (want.kind == target_kind::view) {
        auto address = view_address(tensor_access::data(from), tensor_access::source(from), want.type, want.rank);
        if (!address) return std::move(address).failure();
        out.address = *address;
    } else if (want.kind == target_kind::copy) {
        auto bytes = check_owned_copy(from, want.type, want.rank, convert);
        if (!bytes) return std::move(bytes).failure();
        out.bytes = *bytes;
    } else if (want.kind == target_kind::place || want.kind == target_kind::rows) {
        if (auto usable = check_copy(tensor_access::data(from), tensor_access::source(from), want.type, !convert);
            !usable)
            return std::move(usable).failure();
    }
    if (want.kind == target_kind::rows)
        if (auto bounded = copy_bytes(*tensor_access::data(from), *tensor_access::source(from), want.type); !bounded)
            return std::move(bounded).failure();
    if (want.sized && !sizes_fit(want.sizes, from.shape()))
        return error{.code = want.sizes.size() == from.rank() ? errc::size_mismatch : errc::rank_mismatch,
                     .detail = str_cat("the tensor's shape is ", shape_text(from.shape(), sizes_style),
                                       ", asked for was ", shape_text(want.sizes, sizes_style))};
    std::uint64_t needed{};
    if (want.kind == target_kind::place &&
        (!checked_mul(from.numel(), itemsize(want.type), needed) || needed != want.room))
        return error{.code = errc::size_mismatch,
                     .detail = str_cat("the place has ", want.room, " bytes, the elements need ", from.numel(),
                                       " times ", itemsize(want.type))};
    if (reinterpret_cast<std::uintptr_t>(out.address) % want.alignment != 0)
        return misaligned_error(from.dtype(), want.alignment);
    return out;
}

CKPT_DETAIL_DEF std::string why_not(const error& e, const target_type& want, ckpt::dtype got) {
    std::string out = e.detail.empty() ? std::string(info(e.code).meaning) : e.detail;
    switch (e.code) {
    case errc::needs_copy:
    case errc::not_mapped:
    case errc::misaligned:
    case errc::byte_order:
    case errc::lazy_bit: return want.kind == target_kind::view ? str_cat(out, ": use tensor_copy") : out;
    case errc::dtype_mismatch:
        if (!is_convertible(got, want.type)) return out;
        return out + (want.kind == target_kind::view ? ": a tensor_copy converts where load_options::convert is set"
                                                     : ": it is converted where load_options::convert is set");
    default: return out;
    }
}

CKPT_DETAIL_DEF result<void> load_judge::judge(load_target& t) {
    if (t.found == nullptr) {
        if (const auto* other = find_other(t.key)) {
            error e{.code = errc::wrong_type,
                    .detail = str_cat("the entry is no tensor but a value of kind ", name(other->content.kind()))};
            mismatch(t, e.detail);
            return e;
        }
        t.outcome = target_outcome::missing;
        if (report_.missing_keys.size() < most_hints) missing_types_.push_back(wanted_sizes(t));
        report_.missing_keys.push_back(t.key);
        return error{.code = errc::key_missing, .detail = str_cat("no key ", quoted(t.key))};
    }
    asked_[index(t)] = 1;
    t.source = tensor_access::make(t.found->data, data_->source);
    auto fits = fit(t.source, t.type, options_->convert);
    if (!fits) {
        error e = std::move(fits).error();
        e.path = data_->where(t.key);
        mismatch(t, t.source.refusal() != nullptr ? e.message() : why_not(e, t.type, t.source.dtype()));
        place(e, t.key);
        return e;
    }
    t.address = fits->address;
    t.bytes = fits->bytes;
    accept(t);
    return {};
}

CKPT_DETAIL_DEF void load_judge::mismatch(load_target& t, std::string why) {
    t.outcome = target_outcome::mismatched;
    if (t.found != nullptr) asked_[index(t)] = 1;
    mismatched_tensor m;
    m.key = t.key;
    m.want_shape = wanted_sizes(t);
    if (t.type.kind != target_kind::handle) m.want_dtype = t.type.type;
    if (t.source && t.source.refusal() == nullptr) {
        m.got_shape.assign(t.source.shape().begin(), t.source.shape().end());
        m.got_dtype = t.source.dtype();
    }
    m.why = std::move(why);
    report_.mismatched.push_back(std::move(m));
}

CKPT_DETAIL_DEF load_report load_judge::finish() {
    for (std::size_t i = 0; i < asked_.size(); ++i)
        if (asked_[i] == 0) report_.unexpected_keys.emplace_back(data_->entries[i].key);
    list_sources();
    report_.missing_not_allowed = not_allowed(report_.missing_keys, options_->allow_missing).size();
    report_.unexpected_not_allowed = not_allowed(report_.unexpected_keys, options_->allow_unexpected).size();
    for (std::size_t i = 0; i < missing_types_.size(); ++i) add_hint(report_.missing_keys[i], missing_types_[i]);
    return std::move(report_);
}

CKPT_DETAIL_DEF std::vector<std::string_view> load_judge::not_allowed(std::span<const std::string> keys,
                                                                      const std::vector<pattern>& allowed) {
    pattern_list patterns{allowed};
    std::vector<std::string_view> out;
    for (const std::string& key : keys)
        if (!patterns.matches(key)) out.push_back(key);
    return out;
}

CKPT_DETAIL_DEF std::vector<std::int64_t> load_judge::wanted_sizes(const load_target& t) {
    if (t.type.sized) return {t.type.sizes.begin(), t.type.sizes.end()};
    const bool has_rank = t.type.kind == target_kind::view || t.type.kind == target_kind::copy;
    return std::vector<std::int64_t>(has_rank ? t.type.rank : t.source ? t.source.rank() : 0, any);
}

CKPT_DETAIL_DEF const state_dict_data::other* load_judge::find_other(std::string_view key) {
    if (others_.size() != data_->others.size()) {
        for (const auto& o : data_->others) others_.push_back(&o);
        sort_values(others_, [](const auto* a, const auto* b) { return a->key < b->key; });
    }
    const auto at = std::lower_bound(others_.begin(), others_.end(), key,
                                     [](const auto* o, std::string_view k) { return o->key < k; });
    return at != others_.end() && (*at)->key == key ? *at : nullptr;
}

CKPT_DETAIL_DEF void load_judge::accept(load_target& t) {
    t.outcome = target_outcome::loaded;
    loaded_tensor out;
    out.key = t.key;
    out.file = t.source.file();
    if (const lineage* history = data_->history.get()) {
        const lineage::origin& o = history->entries[index(t)];
        out.from = o.from;
        out.chain = o.chain;
        out.aliases = o.alias;
        out.converted = o.converted;
        out.cast = o.cast;
    } else {
        out.from.emplace_back(t.found->key);
    }
    out.aliased = !out.aliases.empty();
    if (t.type.kind != target_kind::view && t.type.kind != target_kind::handle &&
        !is_plain_copy(t.source.dtype(), t.type.type, !options_->convert)) {
        out.cast = out.converted = true;
        (out.chain += out.chain.empty() ? "cast " : ", cast ") += name(t.type.type);
    }
    report_.loaded.push_back(std::move(out));
}

CKPT_DETAIL_DEF void load_judge::list_sources() {
    std::vector<std::string_view> keys;
    const lineage* const history = data_->history.get();
    for (std::size_t i = 0; i < asked_.size(); ++i) {
        if (asked_[i] == 0) continue;
        if (history == nullptr) {
            report_.used.emplace_back(data_->entries[i].key);
            continue;
        }
        for (const auto& key : history->entries[i].from) keys.push_back(key);
        for (const auto& key : history->entries[i].alias) keys.push_back(key);
    }
    if (history == nullptr) return;
    // What was dropped under one name may be used under another, and parts of one tensor may be dropped one by one.
    const std::size_t used = keys.size();
    for (const auto& loss : history->dropped) keys.push_back(loss.from);
    const std::vector<std::uint32_t> order =
        sorted_indices(keys.size(), [&keys](std::uint32_t a, std::uint32_t b) { return keys[a] < keys[b]; });
    std::vector<char> again(keys.size(), char{0});
    for (std::size_t i = 1; i < order.size(); ++i) again[order[i]] = keys[order[i]] == keys[order[i - 1]] ? 1 : 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (again[i] != 0) continue;
        if (i < used) report_.used.emplace_back(keys[i]);
        else report_.dropped.push_back({history->dropped[i - used].from, history->dropped[i - used].rule});
    }
}

CKPT_DETAIL_DEF void load_judge::add_hint(const std::string& key, const std::vector<std::int64_t>& sizes) {
    struct near_key {
        bool other_shape{};
        std::uint32_t distance{};
        std::size_t entry{};
    };
    const bool exact = std::any_of(sizes.begin(), sizes.end(), [](std::int64_t n) { return n >= 0; });
    std::vector<near_key> found;
    for (std::size_t i = 0; i < asked_.size() && comparisons_left_ > 0; ++i) {
        if (asked_[i] != 0) continue;
        --comparisons_left_;
        const std::string_view k = data_->entries[i].key;
        const bool same_shape = sizes_fit(sizes, data_->entries[i].data->sizes());
        const bool tail = ends_in_segments(k, key) || ends_in_segments(key, k);
        const std::uint32_t distance = tail ? 0 : edit_distance(key, k);
        const std::size_t longest = (std::max)(k.size(), key.size());
        // Known sizes that agree are worth as much as half of the spelling.
        if (distance <= (same_shape && exact ? 2 * longest / 3 : longest / 3))
            found.push_back({!same_shape, distance, i});
    }
    sort_values(found, [](const near_key& a, const near_key& b) {
        return a.other_shape != b.other_shape ? b.other_shape : a.distance < b.distance;
    });
    if (found.empty()) return;
    nearest_keys& out = report_.nearest.emplace_back();
    out.key = key;
    for (std::size_t i = 0; i < found.size() && i < 3; ++i)
        out.nearest.emplace_back(data_->entries[found[i].entry].key);
}

/// The nearest key beside one that is missing, in parentheses; empty where there is none.
inline std::string nearest_of(const load_report& report, std::string_view key) {
    for (const nearest_keys& n : report.nearest)
        if (n.key == key) return str_cat(" (nearest: ", quoted(n.nearest.front()), ")");
    return {};
}

CKPT_DETAIL_DEF std::string incomplete_text(const load_report& report, const std::vector<pattern>& allow_missing,
                                            const std::vector<pattern>& allow_unexpected) {
    std::string out;
    const auto add = [&out, &report](std::string_view what, std::span<const std::string_view> keys,
                                     std::string_view why) {
        if (keys.empty()) return;
        if (!out.empty()) out += "; ";
        (out += decimal(std::uint64_t{keys.size()}) + ' ').append(what) += ": ";
        short_list list{out};
        for (const std::string_view& key : keys) {
            if (!list.next()) continue;
            out += quoted(key) + nearest_of(report, key);
            if (&key == keys.data() && !why.empty())
                out += str_cat(" (", why.substr(0, 160), why.size() > 160 ? "...)" : ")");
        }
        list.end();
    };
    add("missing", load_judge::not_allowed(report.missing_keys, allow_missing), {});
    std::vector<std::string_view> keys;
    for (const mismatched_tensor& m : report.mismatched) keys.push_back(m.key);
    add("mismatched", keys, report.mismatched.empty() ? std::string_view{} : report.mismatched.front().why);
    add("unexpected", load_judge::not_allowed(report.unexpected_keys, allow_unexpected), {});
    return out;
}

CKPT_DETAIL_DEF error incomplete_error(const load_report& report, const load_options& options,
                                       const state_dict_data& weights) {
    error out{.code = errc::load_incomplete, .file = std::string(weights.opened), .path = weights.path};
    out.detail = incomplete_text(report, options.allow_missing, options.allow_unexpected);
    out.hint = report.missing_not_allowed + report.unexpected_not_allowed > 0
                   ? "plan_load(...).to_text() lists all; load_options::allow_missing and allow_unexpected take "
                     "patterns of keys"
                   : "plan_load(...).to_text() lists all with their shapes and dtypes";
    return out;
}

CKPT_DETAIL_DEF result<void> add_digest(const tensor& from, loaded_tensor& to, storage_readers& readers) {
    auto crc = digest_tensor(tensor_access::data(from), tensor_access::source(from), &readers);
    if (crc) {
        to.crc32 = *crc;
        return {};
    }
    switch (crc.error().code) {
    case errc::no_data:
    case errc::not_strided:
    case errc::packed:
    case errc::lazy_bit:
    case errc::output_limit: return {};
    default: return std::move(crc).failure();
    }
}

CKPT_DETAIL_DEF load_job::load_job(target_list& targets, const state_dict& weights, const load_options& options)
    : targets_{targets}, judge_{weights, options}, options_{&options}, data_{state_dict_access::data(weights).get()} {}

/// Targets that have the key of one before them.
inline std::vector<char> repeated_keys(const std::vector<load_target>& targets) {
    std::vector<std::size_t> order(targets.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&targets](std::size_t a, std::size_t b) {
        const int order_of_keys = targets[a].key.compare(targets[b].key);
        return order_of_keys != 0 ? order_of_keys < 0 : a < b;
    });
    std::vector<char> out(targets.size(), char{0});
    for (std::size_t i = 1; i < order.size(); ++i)
        out[order[i]] = targets[order[i]].key == targets[order[i - 1]].key ? 1 : 0;
    return out;
}

CKPT_DETAIL_DEF load_report load_job::plan() {
    std::uint64_t left = copy_budget();
    const std::vector<char> repeated = repeated_keys(targets_.targets);
    for (load_target& t : targets_.targets) {
        if (repeated[static_cast<std::size_t>(&t - targets_.targets.data())] != 0) {
            judge_.mismatch(t, "another field of the struct has this key, too");
            continue;
        }
        if (is_copy(t)) {
            // An upper bound that needs no judgement: what does not fit fails the load anyway.
            std::uint64_t bytes{};
            if (!checked_mul(t.found->data->numel, itemsize(t.type.type), bytes) || bytes > left) {
                t.source = tensor_access::make(t.found->data, data_->source);
                judge_.mismatch(t, "the copies would need more than 16 times the bytes of the storages that they read");
                continue;
            }
            left -= bytes;
        }
        (void)judge_.judge(t);
    }
    for (std::string& key : targets_.absent) judge_.absent(std::move(key));
    return judge_.finish();
}

CKPT_DETAIL_DEF result<load_report> load_job::prepare() {
    load_report report = plan();
    if (!report.ok()) return incomplete_error(report, *options_, *data_);
    std::size_t loaded = 0;
    progress_meter meter{options_->progress};
    for (const load_target& t : targets_.targets)
        if (t.outcome == target_outcome::loaded) meter.expect(bytes_to_read(t));
    storage_readers readers;
    readers.meter = &meter;
    for (load_target& t : targets_.targets) {
        if (t.outcome != target_outcome::loaded) continue;
        loaded_tensor& entry = report.loaded[loaded++];
        meter.begin(bytes_to_read(t));
        if (t.type.kind == target_kind::copy) {
            auto memory = make_owned_copy(t.source, t.type.type, options_->convert, t.bytes, &readers);
            if (!memory) return at(t, std::move(memory).error());
            t.memory = *std::move(memory);
        }
        if (options_->digests)
            if (auto done = add_digest(t.source, entry, readers); !done) return at(t, std::move(done).error());
        if (!meter.finish()) return at(t, meter.stopped());
    }
    return report;
}

CKPT_DETAIL_DEF std::uint64_t load_job::bytes_to_read(const load_target& t) const noexcept {
    const std::uint64_t once = bytes_of(*t.found->data);
    return (t.type.kind == target_kind::copy ? once : 0) + (options_->digests ? once : 0);
}

CKPT_DETAIL_DEF error load_job::at(const load_target& t, error e) const {
    judge_.place(e, t.key);
    if (e.code == errc::cancelled) e.detail += "; the struct is as it was";
    return e;
}

CKPT_DETAIL_DEF bool load_job::is_copy(const load_target& t) noexcept {
    return t.type.kind == target_kind::copy && t.found != nullptr && t.found->data->refusal == nullptr &&
           t.found->data->kind == layout::strided;
}

CKPT_DETAIL_DEF std::uint64_t load_job::copy_budget() const {
    std::vector<std::uint32_t> storages;
    for (const load_target& t : targets_.targets)
        if (is_copy(t)) storages.push_back(t.found->data->storage);
    sort_values(storages);
    storages.erase(std::unique(storages.begin(), storages.end()), storages.end());
    std::uint64_t out = free_copy_bytes;
    for (const std::uint32_t storage : storages) {
        std::uint64_t bytes{};
        if (!checked_mul(data_->source->nbytes(storage), 16, bytes) || !checked_add(out, bytes, out))
            return ~std::uint64_t{0};
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
