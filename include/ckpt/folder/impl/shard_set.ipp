// ckpt/folder/impl/shard_set.ipp: the definitions of shard_set.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/shard_set.hpp>
#include <ckpt/pickle/value_access.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::vector<std::string_view> shard::sorted_keys(const std::vector<state_dict::other>& of) {
    std::vector<std::string_view> out;
    for (const state_dict::other& o : of) out.push_back(o.key);
    sort_values(out);
    return out;
}

CKPT_DETAIL_DEF std::uint32_t joined_storages::number(std::size_t of, std::uint32_t storage) {
    std::vector<std::uint32_t>& known = numbers_[of];
    if (storage >= known.size()) known.resize(std::size_t{storage} + 1 + known.size() / 2, none);
    if (known[storage] == none) {
        known[storage] = static_cast<std::uint32_t>(entries_.size());
        entries_.push_back({static_cast<std::uint32_t>(of), storage});
    }
    return known[storage];
}

CKPT_DETAIL_DEF shard_set::shard_set(std::vector<shard> shards, const limits& budget)
    : checkpoint_file{budget, {}}, shards_{std::move(shards)}, storages_{shards_} {
    facts_ = {"shards", "several programs", shards_.front().file->facts().order, true, 0, {}};
    for (const shard& s : shards_) {
        const file_facts& f = s.file->facts();
        facts_.writer = &s == shards_.data() || facts_.writer == f.writer ? f.writer : "several programs";
        facts_.file_bytes += f.file_bytes;
        facts_.order_recorded = facts_.order_recorded && f.order_recorded;
        facts_.files.push_back(s.name);
    }
    build();
}

CKPT_DETAIL_DEF std::vector<shard_set::duplicate> shard_set::duplicates(std::span<const shard> shards) {
    std::vector<std::pair<std::string_view, std::size_t>> keys;
    for (std::size_t i = 0; i < shards.size(); ++i) {
        for (const auto entry : shards[i].weights) keys.emplace_back(entry.key, i);
        for (const state_dict::other& o : shards[i].others) keys.emplace_back(o.key, i);
    }
    sort_values(keys);
    std::vector<duplicate> out;
    for (std::size_t i = 1; i < keys.size(); ++i)
        if (keys[i].first == keys[i - 1].first && (i == 1 || keys[i - 2].first != keys[i].first))
            out.push_back({keys[i].first, {shards[keys[i - 1].second].name, shards[keys[i].second].name}});
    return out;
}

CKPT_DETAIL_DEF void shard_set::check(const file_check& how, verify_report& out) const {
    for (const shard& s : shards_) {
        if (how.meter.is_stopped()) return;
        const std::size_t before = out.findings.size();
        s.file->check(how, out);
        for (std::size_t i = before; i < out.findings.size(); ++i) out.findings[i].file = s.name;
    }
}

CKPT_DETAIL_DEF void shard_set::build() {
    detail::graph& g = graph_;
    g.storages = &storages_;
    g.record = "the set";
    part_copies copies{g.memory};
    std::vector<std::uint32_t> pairs;
    std::uint32_t metadata = absent_node; // of the first shard that has any
    for (std::size_t i = 0; i < shards_.size(); ++i) {
        const shard& s = shards_[i];
        g.joined_bytes += s.file->graph().metadata_bytes();
        if (const value own = s.file->metadata(); own && metadata == absent_node) metadata = copy_of_texts(own);
        for (const auto entry : s.weights) {
            pairs.push_back(g.add_text(entry.key));
            pairs.push_back(tensor_node(copies, i, entry.tensor));
        }
        for (const state_dict::other& other : s.others) {
            pairs.push_back(g.add_text(other.key));
            pairs.push_back(leaf_node(s, other.content));
        }
    }
    g.root = g.add_dictionary(pairs, metadata);
}

CKPT_DETAIL_DEF std::uint32_t shard_set::tensor_node(part_copies& copies, std::size_t shard, const tensor& t) {
    tensor_data data = *tensor_access::data(t);
    const auto change = [&](tensor_data& d) {
        if (d.refusal != nullptr) {
            error e = *d.refusal;
            e.file = shards_[shard].name;
            d.refusal = graph_.errors[graph_.keep(std::move(e))];
        } else if (d.kind == layout::strided) {
            d.storage = storages_.number(shard, d.storage);
        }
    };
    copies.adopt(data, tensor_access::source(t), change);
    return graph_.add_tensor(data);
}

CKPT_DETAIL_DEF std::uint32_t shard_set::copy_of_texts(const value& dictionary) {
    std::vector<std::uint32_t> pairs;
    for (const value::entry e : dictionary.entries()) {
        pairs.push_back(graph_.add_text(*e.key.as_string()));
        pairs.push_back(graph_.add_text(*e.mapped.as_string()));
    }
    return graph_.add_metadata(pairs);
}

CKPT_DETAIL_DEF std::uint32_t shard_set::leaf_node(const shard& s, const value& v) {
    const node n = value_access::graph(v)->nodes[value_access::node(v)];
    switch (n.kind) {
    case node_kind::none:
    case node_kind::boolean:
    case node_kind::integer:
    case node_kind::big_integer:
    case node_kind::real:
    case node_kind::string:
    case node_kind::bytes:
    case node_kind::byte_array: return graph_.add(n); // its text is in the shard, which this set keeps
    default: break;
    }
    error e{.code = errc::wrong_type,
            .file = s.name,
            .detail = str_cat("an entry of a shard that is ", with_article(v.kind()), ", not a tensor"),
            .hint = "open the file by itself to read it"};
    if (v.refusal() != nullptr) {
        e = *v.refusal();
        e.file = s.name;
    }
    return graph_.add(node::of(node_kind::refused, graph_.keep(std::move(e))));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
