// ckpt/state/impl/read_into.ipp: the definitions of read_into.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/state/load_judge.hpp>
#include <ckpt/state/read_into.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The entries of a dictionary, or the attributes of an object.
[[nodiscard]] inline value::entry_range entries_for_fields(const value& of) {
    const value plain = of.plain();
    return plain.is_mapping() ? plain.entries() : plain.state().entries();
}

class value_record {
  public:
    explicit value_record(const value& from) : root_{from}, steps_left_{1'000'000} {
        steps_left_ += 64 * value_access::metadata_bytes(from);
    }

    [[nodiscard]] bool begin_struct(const value& of);
    [[nodiscard]] value field(const value& of, std::string_view name, bool optional);
    void mismatch(const error& why);
    /// Takes steps from the budget; false where it is spent.
    bool take(std::uint64_t steps) {
        steps_left_ = steps < steps_left_ ? steps_left_ - steps : 0;
        return steps_left_ > 0;
    }
    [[nodiscard]] result<load_report> finish(const read_options& options);

    std::string key{};
    load_report report{};

  private:
    static constexpr std::size_t most_hints = 8;

    /// A dictionary that a struct was read from, and the key of the struct.
    struct visited {
        value of{};
        std::string key{};
    };
    struct used_entry {
        std::uint32_t dictionary{};
        std::uint32_t key{};
        friend bool operator==(const used_entry&, const used_entry&) = default;
        friend bool operator<(const used_entry& a, const used_entry& b) noexcept {
            return a.dictionary != b.dictionary ? a.dictionary < b.dictionary : a.key < b.key;
        }
    };
    /// The entry of this name; absent where there is none.
    [[nodiscard]] value entry(const value& of, std::string_view name);
    void list_unexpected();

    value root_;
    std::uint64_t steps_left_;
    std::vector<visited> visited_{};
    plain_list<used_entry> used_{};
};

CKPT_DETAIL_RARE value value_record::entry(const value& of, std::string_view name) {
    for (const value::entry e : entries_for_fields(of)) {
        if (!take(1)) return {};
        if (e.key.kind() != kind::string || *e.key.as_string() != name) continue;
        used_.push_back({of.object_id(), e.key.object_id()});
        return e.mapped;
    }
    const auto other = of.at(name); // an attribute of another kind
    return other ? *other : value{};
}

CKPT_DETAIL_RARE bool value_record::begin_struct(const value& of) {
    const value plain = of.plain();
    if (plain.kind() == kind::dictionary || plain.kind() == kind::object) {
        visited_.push_back({of, key});
        return true;
    }
    const error* const own = plain.refusal();
    mismatch(own != nullptr
                 ? *own
                 : error{.code = errc::wrong_type, .detail = str_cat("expected dict, found ", name(plain.kind()))});
    return false;
}

CKPT_DETAIL_RARE value value_record::field(const value& of, std::string_view name, bool optional) {
    value here = of;
    for (std::string_view rest = name; here;) {
        if (const value found = entry(here, rest)) return found;
        const std::size_t dot = rest.find('.');
        if (dot == std::string_view::npos) break;
        here = entry(here, rest.substr(0, dot));
        rest.remove_prefix(dot + 1);
    }
    if (optional) {
        report.absent.push_back(key);
        return {};
    }
    report.missing_keys.push_back(key);
    if (report.missing_keys.size() > most_hints) return {};
    if (const std::string closest = nearest_key(of, name); !closest.empty())
        report.nearest.push_back({key, {key.substr(0, key.size() - name.size()) + closest}});
    return {};
}

CKPT_DETAIL_RARE void value_record::mismatch(const error& why) {
    mismatched_tensor m;
    m.key = key;
    m.why = why.detail.empty() ? std::string(info(why.code).meaning) : why.detail;
    report.mismatched.push_back(std::move(m));
}

CKPT_DETAIL_RARE void value_record::list_unexpected() {
    sort_values(used_);
    for (const visited& v : visited_)
        for (const value::entry e : entries_for_fields(v.of)) {
            const used_entry wanted{v.of.object_id(), e.key.object_id()};
            const used_entry* const at = std::lower_bound(used_.begin(), used_.end(), wanted);
            if (at != used_.end() && *at == wanted) continue;
            std::string text = key_text(e.key);
            if (!take(1 + text.size())) return;
            report.unexpected_keys.push_back(v.key.empty() ? std::move(text) : v.key + '.' + text);
        }
}

CKPT_DETAIL_RARE result<load_report> value_record::finish(const read_options& options) {
    if (const error* const own = root_.refusal()) return value_access::in_file(root_, *own);
    list_unexpected();
    if (steps_left_ == 0)
        return value_access::in_file(root_, {.code = errc::limit,
                                             .detail = "the values are shared so often that reading them would take "
                                                       "far more steps than the file has bytes",
                                             .hint = "bind fewer of them, or step through the value by yourself"});
    report.missing_not_allowed = load_judge::not_allowed(report.missing_keys, options.allow_missing).size();
    report.unexpected_not_allowed = load_judge::not_allowed(report.unexpected_keys, options.allow_unexpected).size();
    if (report.ok()) return std::move(report);
    return value_access::in_file(
        root_, {.code = errc::load_incomplete,
                .detail = incomplete_text(report, options.allow_missing, options.allow_unexpected),
                .hint = "read_options::allow_missing and allow_unexpected take patterns of keys; a std::optional "
                        "member may be missing or None"});
}

CKPT_DETAIL_RARE value_reader::value_reader(const value& from) : record_{new value_record{from}} {}
CKPT_DETAIL_RARE value_reader::~value_reader() { delete record_; }

CKPT_DETAIL_RARE std::size_t value_reader::enter(std::string_view name) {
    const std::size_t before = record_->key.size();
    if (before > 0) record_->key += '.';
    record_->key += name;
    return before;
}

CKPT_DETAIL_RARE void value_reader::leave(std::size_t before) { record_->key.resize(before); }

CKPT_DETAIL_RARE bool value_reader::begin_struct(const value& of) { return record_->begin_struct(of); }

CKPT_DETAIL_RARE value value_reader::field(const value& of, std::string_view name, bool optional) {
    return record_->field(of, name, optional);
}

CKPT_DETAIL_RARE void value_reader::read_number(const value& from, ckpt::dtype to, std::byte* out) {
    if (auto done = read_scalar(result<value>{from.plain()}, {}, to, out); !done) record_->mismatch(done.error());
}

CKPT_DETAIL_RARE void value_reader::read_text(const value& from, std::string& out) {
    const auto text = from.plain().as_string();
    if (!text) record_->mismatch(text.error());
    else if (record_->take(1 + text->size())) out = *text;
}

CKPT_DETAIL_RARE std::size_t value_reader::count(const value& from, std::size_t wanted) {
    const value list = from.plain();
    if (list.kind() != kind::list && list.kind() != kind::tuple) {
        const error* const own = list.refusal();
        record_->mismatch(own != nullptr
                              ? *own
                              : error{.code = errc::wrong_type,
                                      .detail = str_cat("expected list or tuple, found ", name(list.kind()))});
        return 0;
    }
    if (wanted != any_size && list.size() != wanted) {
        record_->mismatch(
            {.code = errc::size_mismatch, .detail = str_cat("expected ", wanted, " elements, found ", list.size())});
        return 0;
    }
    return record_->take(list.size()) ? list.size() : 0;
}

CKPT_DETAIL_RARE void value_reader::end_field() {
    load_report& report = record_->report;
    const std::string& key = record_->key;
    if (!report.mismatched.empty()) {
        const std::string& last = report.mismatched.back().key;
        if (last.starts_with(key) && (last.size() == key.size() || last[key.size()] == '.')) return;
    }
    loaded_tensor& out = report.loaded.emplace_back();
    out.key = key;
    out.from.push_back(key);
    report.used.push_back(key);
}

CKPT_DETAIL_RARE result<load_report> value_reader::finish(const read_options& options) {
    return record_->finish(options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
