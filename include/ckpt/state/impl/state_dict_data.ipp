// ckpt/state/impl/state_dict_data.ipp: the definitions of state_dict_data.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/state/object_walk.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/state/walk.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The eight bytes of a key from `at` on, as a number in the order of texts; zeros stand for those that it has not.
inline std::uint64_t word_of(std::string_view key, std::size_t at) noexcept {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < 8; ++i)
        word = word << 8 | (at + i < key.size() ? static_cast<unsigned char>(key[at + i]) : 0u);
    return word;
}

CKPT_DETAIL_RARE plain_list<std::uint32_t> state_dict_data::sorted_keys() const {
    struct item {
        std::uint64_t word; // of the key, behind what all keys begin with
        std::uint32_t index;
    };
    const std::size_t count = entries.size();
    plain_list<std::uint32_t> out;
    if (count == 0) return out;
    const std::string_view first = entries[0].key;
    std::size_t common = first.size();
    for (const entry& e : entries) {
        if (e.key.starts_with(first.substr(0, common))) continue;
        std::size_t same = 0;
        while (same < e.key.size() && e.key[same] == first[same]) ++same; // less than `common`
        common = same;
    }
    plain_list<item> items;
    items.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) items.push_back({word_of(entries[i].key, common), i});
    plain_list<item> merged = items;
    const auto before = [this](const item& a, const item& b) {
        return a.word != b.word ? a.word < b.word : entries[a.index].key < entries[b.index].key;
    };
    for (std::size_t width = 1; width < count; width *= 2) {
        for (std::size_t begin = 0; begin < count; begin += 2 * width) {
            const std::size_t middle = (std::min)(begin + width, count), end = (std::min)(middle + width, count);
            std::size_t a = begin, b = middle, to = begin;
            while (a < middle && b < end) merged[to++] = before(items[b], items[a]) ? items[b++] : items[a++];
            while (a < middle) merged[to++] = items[a++];
            while (b < end) merged[to++] = items[b++];
        }
        std::swap(items, merged);
    }
    out.reserve(count);
    for (const item& i : items) out.push_back(i.index);
    return out;
}

CKPT_DETAIL_DEF std::span<const std::uint32_t> state_dict_data::by_key() const {
    const plain_list<std::uint32_t>* known = __atomic_load_n(&order_, __ATOMIC_ACQUIRE);
    if (known == nullptr) {
        const auto* const sorted = new plain_list<std::uint32_t>(sorted_keys());
        // Of several threads that sort at the same time the first one's is kept.
        if (__atomic_compare_exchange_n(&order_, &known, sorted, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            known = sorted;
        else delete sorted;
    }
    return {known->data(), known->size()};
}

CKPT_DETAIL_DEF const state_dict_data::entry* state_dict_data::find(std::string_view key) const noexcept {
#if CKPT_EXCEPTIONS
    try {
#endif
        const auto sorted = by_key();
        const auto at = std::lower_bound(sorted.begin(), sorted.end(), key,
                                         [this](std::uint32_t i, std::string_view k) { return entries[i].key < k; });
        return at != sorted.end() && entries[*at].key == key ? &entries[*at] : nullptr;
#if CKPT_EXCEPTIONS
    } catch (const std::bad_alloc&) { // no memory to sort
        const auto at = std::find_if(entries.begin(), entries.end(), [key](const entry& e) { return e.key == key; });
        return at != entries.end() ? at : nullptr;
    }
#endif
}

CKPT_DETAIL_DEF std::string_view joined_key(std::span<const path_element> before, std::string_view last,
                                            arena& memory) {
    std::size_t bytes = last.size();
    for (const path_element& e : before) bytes += e.text.size() + 1;
    char* text = memory.allocate<char>(bytes + 1);
    std::size_t at = 0;
    const auto add = [&](std::string_view part) {
        if (!part.empty()) std::memcpy(text + at, part.data(), part.size());
        at += part.size();
    };
    for (const path_element& e : before) {
        add(e.text);
        text[at++] = '.';
    }
    add(last);
    return {text, at};
}

CKPT_DETAIL_RARE std::string lone_key(std::string_view path) {
    std::string last;
    while (!path.empty()) last = take_path_element(path);
    return last.empty() ? "tensor" : last;
}

/// The error for a key that two paths lead to, with both paths: {"a.b": ..., "a": {"b": ...}}.
CKPT_DETAIL_COLD inline error duplicate_key(const state_dict_data& d, std::string_view key, const limits& most) {
    std::vector<std::string> paths;
    walk_budget budget{d.root, most.entries};
    (void)walk_state_dict(d.root, budget, errc::limit, [&](const std::vector<path_element>& elements, const value&) {
        located_tensor at{elements, {}, {}};
        if (at.key() != key || paths.size() == 2) return;
        paths.push_back(path_text(elements));
    });
    error e{.code = errc::key_duplicate,
            .path = d.path,
            .detail = str_cat("the key ", quoted(key), " comes from two entries")};
    if (paths.size() == 2) e.detail += str_cat(": ", quoted(paths[0]), " and ", quoted(paths[1]));
    e.hint = "select one of the dictionaries by its path";
    return e;
}

CKPT_DETAIL_RARE result<state_dict> make_state_dict(const value& root, std::string path, shared<counted> file,
                                                    const storage_source& source, const limits& most) {
    auto out = detail::make_shared<state_dict_data>();
    out->file = std::move(file);
    out->source = &source;
    out->path = std::move(path);
    out->root = root;
    auto& d = *out;
    const graph* const values = value_access::graph(root);
    bool may_be_equal = values == nullptr || values->has_given_keys; // keys of one dictionary of a pickle differ
    walk_budget budget{root, most.entries};
    const auto add = [&d](std::string_view key, const value& tensor) {
        const tensor_data* data = tensor_access::data(*tensor.as_tensor());
        d.refused += data->refusal != nullptr;
        d.entries.push_back({key, data});
    };
    auto walked = walk_state_dict(
        root, budget, errc::limit,
        [&](const std::vector<path_element>& elements, const value& v) {
            const std::string_view key =
                elements.empty() ? joined_key({}, lone_key(d.path), d.memory) : joined_key(elements, d.memory);
            if (v.kind() == kind::tensor || v.kind() == kind::array) {
                add(key, v);
                may_be_equal = true;
            } else {
                d.others.push_back({key, v});
            }
        },
        [&](const std::vector<path_element>& elements, std::string_view key, const value& tensor) {
            // A key that needs no joining lives as long as the file.
            may_be_equal = may_be_equal || !elements.empty();
            add(elements.empty() ? key : joined_key(elements, key, d.memory), tensor);
        });
    if (!walked) {
        error e = std::move(walked).error();
        e.path = d.path;
        return e;
    }
    if (!may_be_equal) return state_dict_access::make(std::move(out));
    const auto sorted = d.by_key();
    for (std::size_t i = 1; i < sorted.size(); ++i) {
        const std::string_view key = d.entries[sorted[i]].key;
        if (d.entries[sorted[i - 1]].key == key) return duplicate_key(d, key, most);
    }
    return state_dict_access::make(std::move(out));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
