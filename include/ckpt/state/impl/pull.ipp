// ckpt/state/impl/pull.ipp: the definitions of pull.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/load_judge.hpp>
#include <ckpt/state/pull.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/copy.hpp>

#include <algorithm>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What was asked for so far. Scopes share it.
class pull_record final : public counted {
  public:
    pull_record(const state_dict& weights, load_options options) : weights_{weights}, options_{std::move(options)} {}

    [[nodiscard]] const state_dict& weights() const noexcept { return weights_; }
    [[nodiscard]] const load_options& options() const noexcept { return options_; }

    /// Judges one request and remembers it. A tensor that is there and fits, or the error.
    [[nodiscard]] result<load_target> ask(std::string key, const target_type& type, bool optional);
    /// The last request failed after all: its values cannot be read.
    [[nodiscard]] error fail(error e);

    /// The last request of each key counts: an engine may try one type, and then another.
    [[nodiscard]] load_report report() const;

  private:
    /// Sums the values of what was loaded, until the program stops it.
    void add_digests(const std::vector<load_target>& loaded, load_report& to) const;

    struct request {
        std::string key{};
        target_type type{};
        std::vector<std::int64_t> sizes{};
        bool optional{};
        std::optional<std::string> failure{};
    };
    state_dict weights_;
    load_options options_;
    std::vector<request> requests_{};
};

CKPT_DETAIL_DEF result<load_target> pull_record::ask(std::string key, const target_type& type, bool optional) {
    request& r = requests_.emplace_back();
    r.key = std::move(key);
    r.type = type;
    r.optional = optional;
    r.sizes.assign(type.sizes.begin(), type.sizes.end());
    const state_dict_data& data = *state_dict_access::data(weights_);
    load_target out;
    out.key = r.key;
    out.type = type;
    out.found = data.find(r.key);
    if (out.found == nullptr) return weights_.at(r.key).error();
    out.source = tensor_access::make(out.found->data, data.source);
    auto fits = fit(out.source, type, options_.convert);
    if (!fits) {
        error e = std::move(fits).error();
        e.path = data.where(r.key);
        return e;
    }
    out.address = fits->address;
    out.bytes = fits->bytes;
    return out;
}

CKPT_DETAIL_DEF error pull_record::fail(error e) {
    requests_.back().failure = e.message();
    return e;
}

CKPT_DETAIL_DEF void pull_record::add_digests(const std::vector<load_target>& loaded, load_report& to) const {
    progress_meter meter{options_.progress};
    for (const load_target& t : loaded) meter.expect(bytes_of(*t.found->data));
    storage_readers readers;
    readers.meter = &meter;
    for (std::size_t i = 0; i < loaded.size(); ++i) {
        meter.begin(bytes_of(*loaded[i].found->data));
        (void)add_digest(loaded[i].source, to.loaded[i], readers);
        if (!meter.finish()) return;
    }
}

CKPT_DETAIL_DEF load_report pull_record::report() const {
    const std::vector<std::uint32_t> order = sorted_indices(
        requests_.size(), [this](std::uint32_t a, std::uint32_t b) { return requests_[a].key < requests_[b].key; });
    std::vector<std::uint32_t> last;
    for (std::size_t i = 0; i < order.size(); ++i)
        if (i + 1 == order.size() || requests_[order[i]].key != requests_[order[i + 1]].key) last.push_back(order[i]);
    sort_indices(last, [](std::uint32_t a, std::uint32_t b) { return a < b; });

    const state_dict_data& data = *state_dict_access::data(weights_);
    load_judge judge{weights_, options_};
    std::vector<load_target> loaded;
    for (const std::size_t i : last) {
        const request& r = requests_[i];
        load_target t;
        t.key = r.key;
        t.type = r.type;
        t.type.sizes = r.sizes;
        t.found = data.find(r.key);
        if (t.found == nullptr && r.optional) {
            judge.absent(r.key);
        } else if (r.failure) {
            t.source = tensor_access::make(t.found->data, data.source);
            judge.mismatch(t, *r.failure);
        } else if (judge.judge(t)) {
            loaded.push_back(std::move(t));
        }
    }
    load_report out = judge.finish();
    if (options_.digests) add_digests(loaded, out);
    return out;
}

/// The progress of one request that copies.
struct measured_copy {
    progress_meter meter;
    storage_readers readers{};

    measured_copy(const progress_callback& tell, const tensor_data& data) : meter{tell} {
        meter.expect(bytes_of(data));
        meter.begin(~std::uint64_t{0});
        readers.meter = &meter;
    }
    measured_copy(const measured_copy&) = delete;
    measured_copy& operator=(const measured_copy&) = delete;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF puller::puller(const state_dict& weights, load_options options)
    : record_{detail::make_shared<detail::pull_record>(weights, std::move(options))} {}

CKPT_DETAIL_DEF bool puller::contains(std::string_view key) const { return record_->weights().contains(key_of(key)); }

CKPT_DETAIL_DEF load_report puller::report() const { return record_->report(); }

CKPT_DETAIL_DEF result<detail::load_target> puller::ask(std::string_view key, const detail::target_type& type,
                                                        bool optional) const {
    return record_->ask(key_of(key), type, optional);
}

CKPT_DETAIL_DEF result<detail::load_target> puller::fill(detail::load_target found) const {
    const load_options& options = record_->options();
    detail::measured_copy copy{options.progress, *found.found->data};
    auto memory = detail::make_owned_copy(found.source, found.type.type, options.convert, found.bytes, &copy.readers);
    if (memory && !copy.meter.finish()) memory = copy.meter.stopped();
    if (!memory) return record_->fail(std::move(memory).error());
    found.memory = *std::move(memory);
    return found;
}

CKPT_DETAIL_DEF puller puller::scope(std::string_view name) const {
    puller out{*this};
    out.prefix_ = key_of(name);
    return out;
}

CKPT_DETAIL_DEF result<tensor> puller::get(std::string_view key, sizes_arg sizes) const {
    auto found = ask(key, type_of<tensor>(sizes), false);
    if (!found) return std::move(found).failure();
    return found->source;
}

CKPT_DETAIL_DEF result<std::optional<tensor>> puller::optional_get(std::string_view key, sizes_arg sizes) const {
    auto found = ask(key, type_of<tensor>(sizes), true);
    if (found) return std::optional{found->source};
    if (found.error().code == errc::key_missing) return std::optional<tensor>{};
    return std::move(found).failure();
}

CKPT_DETAIL_DEF result<void> puller::copy_into(std::string_view key, ckpt::dtype type, std::span<std::byte> bytes,
                                               sizes_arg sizes) const {
    const detail::target_type place{.kind = detail::target_kind::place,
                                    .sized = sizes.given(),
                                    .type = type,
                                    .room = bytes.size(),
                                    .sizes = sizes.sizes()};
    const auto found = ask(key, place, false);
    if (!found) return found.error();
    const load_options& options = record_->options();
    detail::measured_copy copy{options.progress, *found->found->data};
    auto done = detail::copy_tensor(found->found->data, detail::tensor_access::source(found->source), type,
                                    !options.convert, bytes.data(), found->source.numel(), &copy.readers);
    if (done && !copy.meter.finish()) done = copy.meter.stopped();
    if (!done) return record_->fail(std::move(done).error());
    return done;
}

CKPT_DETAIL_DEF std::string puller::key_of(std::string_view name) const {
    std::string out = prefix_;
    if (!out.empty() && !name.empty()) out += '.';
    return out += name;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
