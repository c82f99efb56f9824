// ckpt/folder/impl/llama.ipp: the definitions of llama.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/json.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/llama.hpp>
#include <ckpt/io/folder.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/state/diff.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr std::string_view llama_again = "the parts are of different models or saves: get all of one model";

CKPT_DETAIL_DEF llama_cut llama_cut_of(std::string_view key) noexcept {
    struct known {
        std::string_view key;
        llama_cut how;
    };
    static constexpr known of_model[]{{"tok_embeddings.weight", llama_cut::embedding},
                                      {"norm.weight", llama_cut::copies},
                                      {"rope.freqs", llama_cut::copies},
                                      {"output.weight", llama_cut::rows}};
    static constexpr known of_layer[]{
        {".attention.wq.weight", llama_cut::rows},    {".attention.wk.weight", llama_cut::rows},
        {".attention.wv.weight", llama_cut::rows},    {".attention.wo.weight", llama_cut::columns},
        {".feed_forward.w1.weight", llama_cut::rows}, {".feed_forward.w2.weight", llama_cut::columns},
        {".feed_forward.w3.weight", llama_cut::rows}, {".attention_norm.weight", llama_cut::copies},
        {".ffn_norm.weight", llama_cut::copies},      {".attention.inner_attention.rope.freqs", llama_cut::copies}};
    std::span<const known> table{of_model};
    if (key.starts_with("layers.")) {
        key.remove_prefix(7);
        std::uint32_t layer = 0;
        if (!take_decimal(key, layer)) return llama_cut::unknown;
        table = of_layer;
    }
    for (const known& k : table)
        if (k.key == key) return k.how;
    return llama_cut::unknown;
}

CKPT_DETAIL_DEF llama_reader::llama_reader(folder_work& work, const std::vector<std::string>& files) : work_{work} {
    for (const std::string& name : files) parts_.push_back({.name = name, .number = parse_part(name)->number});
}

CKPT_DETAIL_DEF auto llama_reader::one_part::find(std::string_view key) const noexcept -> const row* {
    const auto at =
        std::lower_bound(by_key.begin(), by_key.end(), key, [](const row& r, std::string_view k) { return r.key < k; });
    return at != by_key.end() && at->key == key ? &*at : nullptr;
}

CKPT_DETAIL_DEF shared<checkpoint_file> llama_reader::run() {
    sort_values(parts_, [](const one_part& a, const one_part& b) { return a.number < b.number; });
    for (one_part& p : parts_) open(p);
    if (!work_.report.findings.empty()) return {};
    count_ = parts_.back().number + 1; // as the names count them
    are_shards_ = parts_.size() > 1 && share_nothing();
    if (!are_shards_) count_parts();
    is_whole_ = parts_.size() == 1 && count_ == 1 && parts_.front().number == 0;
    if (is_whole_) return {};
    find_missing();
    if (work_.report.findings.empty() && !are_shards_) {
        compare_keys();
        find_unknown();
    }
    if (!work_.report.findings.empty()) return {};
    const std::uint32_t root = build();
    if (!work_.report.findings.empty()) return {};
    std::uint64_t bytes = 0;
    std::vector<std::string> files;
    for (const one_part& p : parts_) {
        bytes += p.opened->file_bytes();
        files.push_back(p.name);
    }
    out_->finish(root, std::move(files), bytes);
    return shared<checkpoint_file>{out_};
}

CKPT_DETAIL_DEF void llama_reader::open(one_part& p) {
    p.opened = work_.open_part(p.name);
    if (!p.opened) return;
    p.part = out_->add_part(p.name, checkpoint_access::file(*p.opened));
    const value root = p.opened->root();
    if (parts_.size() > 1 && (root.size() == 0 || !root.is_mapping()))
        work_.inconsistent(p.name, "the part holds no dictionary of tensors", llama_again);
    for (const value::entry e : root.entries())
        if (const auto key = e.key.as_string()) p.rows.push_back({*key, e.mapped});
    p.by_key = p.rows;
    sort_values(p.by_key, [](const row& a, const row& b) { return a.key < b.key; });
}

CKPT_DETAIL_DEF auto llama_reader::read_params() const -> model_sizes {
    constexpr std::uint64_t most = 1 << 16;
    model_sizes out;
    auto from = source::open(path_in(work_.folder, "params.json"), {.mode = io_mode::read});
    if (!from || (*from)->size() > most) return out;
    std::string text(static_cast<std::size_t>((*from)->size()), '\0');
    if (!(*from)->read(0, std::as_writable_bytes(std::span<char>{text.data(), text.size()}))) return out;
    arena memory;
    json_reader in{text, memory};
    const bool done = in.members([&](std::string_view name) {
        return name == "dim"        ? in.whole(out.dim)
               : name == "n_heads"  ? in.whole(out.heads)
               : name == "head_dim" ? in.whole(out.head_dim)
                                    : in.skip();
    });
    return done ? out : model_sizes{}; // the tensors tell the same
}

CKPT_DETAIL_DEF const tensor_data* llama_reader::first_with(std::string_view key_end,
                                                            std::uint32_t rank) const noexcept {
    for (const row& r : parts_.front().rows) {
        if (!r.key.ends_with(key_end) || llama_cut_of(r.key) == llama_cut::unknown) continue;
        const auto t = r.content.as_tensor();
        const tensor_data* data = t ? tensor_access::data(*t) : nullptr;
        if (data != nullptr && data->refusal == nullptr && data->rank == rank) return data;
    }
    return nullptr;
}

CKPT_DETAIL_DEF void llama_reader::count_parts() {
    const tensor_data* norm = first_with("norm.weight", 1);
    const tensor_data* out = first_with(".attention.wo.weight", 2);
    if (norm == nullptr || out == nullptr) return;
    dim_ = static_cast<std::uint64_t>(norm->shape[0]);
    const auto columns = static_cast<std::uint64_t>(out->shape[1]);
    const model_sizes said = read_params();
    if (said.dim != 0 && said.dim != dim_)
        work_.inconsistent(parts_.front().name,
                           str_cat("norm.weight has ", dim_, " elements, dim of params.json is ", said.dim),
                           "params.json is of another model: get it again, or remove it");
    std::uint64_t all = dim_;
    if (said.heads != 0 && said.head_dim != 0 && !checked_mul(said.heads, said.head_dim, all)) all = dim_;
    if (columns == 0 || all == 0 || all % columns != 0) return;
    count_ = all / columns;
    for (const one_part& p : parts_)
        if (p.number >= count_)
            work_.inconsistent(p.name,
                               str_cat("a part of number ", p.number, " where the sizes of wo and norm say ", count_,
                                       count_ == 1 ? " part" : " parts"),
                               llama_again);
}

CKPT_DETAIL_DEF void llama_reader::find_missing() {
    for (std::size_t i = 1; i < parts_.size(); ++i)
        if (parts_[i].number == parts_[i - 1].number)
            work_.inconsistent(parts_[i].name, str_cat("the number of ", quoted(parts_[i - 1].name)),
                               "keep the files of one model, each once");
    if (!work_.report.findings.empty() || parts_.size() >= count_) return;
    const std::uint64_t missing = count_ - parts_.size();
    const std::string family = parse_part(parts_.front().name)->family;
    const std::size_t star = family.find('*');
    std::string which;
    short_list list{which};
    std::uint64_t told = 0;
    std::size_t at = 0;
    for (std::uint64_t n = 0; n < count_ && told < 3; ++n) { // a file may claim any number of parts
        while (at < parts_.size() && parts_[at].number < n) ++at;
        if (at < parts_.size() && parts_[at].number == n) continue;
        ++told;
        if (list.next())
            which += quoted(family.substr(0, star) + (n < 10 ? "0" : "") + decimal(n) + family.substr(star + 1));
    }
    list.skip(missing - told);
    list.end();
    error e = part_faults::not_joined(
        str_cat(missing, " of ", count_,
                missing == 1 ? " parts of the model is missing: " : " parts of the model are missing: ", which),
        "get the missing files; a part opens by its own path");
    e.file = parts_.size() == 1 ? parts_.front().name : family;
    work_.find(std::move(e));
}

CKPT_DETAIL_DEF bool llama_reader::share_nothing() const noexcept {
    std::vector<std::string_view> keys;
    for (const one_part& p : parts_)
        for (const row& r : p.rows) keys.push_back(r.key);
    sort_values(keys);
    return std::adjacent_find(keys.begin(), keys.end()) == keys.end();
}

CKPT_DETAIL_DEF void llama_reader::compare_keys() {
    const one_part& first = parts_.front();
    const auto tell = [&](const one_part& has, const one_part& lacks) {
        std::vector<std::string_view> keys;
        for (const row& r : has.rows)
            if (r.content.kind() == kind::tensor && lacks.find(r.key) == nullptr) keys.push_back(r.key);
        if (!keys.empty())
            work_.inconsistent(lacks.name,
                               str_cat("it lacks ", keys.size(), keys.size() == 1 ? " tensor that " : " tensors that ",
                                       quoted(has.name), " has: ", listed(keys)),
                               llama_again);
    };
    for (std::size_t i = 1; i < parts_.size(); ++i) {
        tell(first, parts_[i]);
        tell(parts_[i], first);
    }
}

CKPT_DETAIL_DEF void llama_reader::find_unknown() {
    std::vector<std::string_view> keys;
    for (const row& r : parts_.front().rows) {
        const bool holds_tensors = r.content.kind() >= kind::bytes; // or may: a dictionary, an object
        if (holds_tensors && (r.content.kind() != kind::tensor || llama_cut_of(r.key) == llama_cut::unknown))
            keys.push_back(r.key);
    }
    if (keys.empty()) return;
    work_.find(part_faults::not_joined(str_cat(count_, " parts of one model, in which ", keys.size(),
                                               keys.size() == 1 ? " value is no tensor" : " values are no tensors",
                                               " of LLaMA's, and nothing says how they are cut: ", listed(keys)),
                                       part_faults::join_by_hand));
}

CKPT_DETAIL_DEF std::uint32_t llama_reader::build() {
    std::vector<std::uint32_t> pairs;
    for (const one_part& p : parts_) {
        if (&p != parts_.data() && !are_shards_) break;
        auto copies = out_->grafter_of(p.part);
        for (const row& r : p.rows) {
            std::uint32_t node = absent_node;
            if (r.content.kind() == kind::tensor && !are_shards_) {
                node = tensor_of(r);
                if (node == absent_node) continue; // a finding says why
            } else {
                auto copy = copies.copy(value_access::node(r.content));
                if (!copy) {
                    work_.find(std::move(copy).error());
                    return absent_node;
                }
                node = *copy;
            }
            pairs.push_back(out_->text(r.key));
            pairs.push_back(node);
        }
    }
    return out_->values().add_dictionary(pairs);
}

CKPT_DETAIL_DEF std::uint32_t llama_reader::tensor_of(const row& r) {
    std::vector<const row*> all;
    const tensor_data& first = *tensor_access::data(*r.content.as_tensor());
    for (const one_part& p : parts_) {
        const row* own = p.find(r.key);
        const auto t = own->content.as_tensor();
        if (!t) {
            work_.inconsistent(p.name, str_cat(quoted(r.key), " is ", with_article(own->content.kind())), llama_again);
            return absent_node;
        }
        const tensor_data& data = *tensor_access::data(*t);
        if (data.refusal != nullptr) return out_->refused(*data.refusal, p.name);
        if (data.kind != layout::strided || bits(data.type) < 8 || info(data.type).kind == dtype_kind::quantised)
            return out_->refused({.code = errc::unsupported_tensor,
                                  .path = printable(r.key),
                                  .detail = "parts of a tensor that is no plain array are not joined",
                                  .hint = "open the part by its own path; the other tensors are not affected"},
                                 p.name);
        if (data.type != first.type || data.rank != first.rank ||
            !std::equal(data.shape, data.shape + data.rank, first.shape)) {
            work_.inconsistent(p.name,
                               str_cat(quoted(r.key), " is ", name(data.type), " ", list_of(data.sizes()), ", and in ",
                                       quoted(parts_.front().name), " ", name(first.type), " ", list_of(first.sizes())),
                               llama_again);
            return absent_node;
        }
        all.push_back(own);
    }
    const llama_cut how = llama_cut_of(r.key);
    return how == llama_cut::copies ? copies_of(r, all) : cut_tensor(r, how, all);
}

CKPT_DETAIL_DEF std::uint32_t llama_reader::copies_of(const row& r, const std::vector<const row*>& all) {
    const tensor first = *r.content.as_tensor();
    for (std::size_t i = 1; i < all.size(); ++i) {
        auto differs = detail::compare(first, *all[i]->content.as_tensor());
        if (!differs) continue;
        error e{.code = errc::shards_inconsistent,
                .file = parts_[i].name,
                .path = printable(r.key),
                .detail = str_cat(quoted(r.key), " is whole in each part, and differs from that in ",
                                  quoted(parts_.front().name)),
                .hint = llama_again};
        if (differs->failure) {
            e = std::move(*differs->failure);
            if (e.path.empty()) e.path = printable(r.key);
        }
        const std::uint32_t node = out_->refused(e);
        work_.lack(std::move(e));
        return node;
    }
    return out_->tensor_of(out_->leaf(parts_.front().part, tensor_access::data(first)));
}

CKPT_DETAIL_DEF std::uint32_t llama_reader::cut_tensor(const row& r, llama_cut how,
                                                       const std::vector<const row*>& all) {
    const tensor_data& first = *tensor_access::data(*r.content.as_tensor());
    std::uint64_t product = 0;
    std::uint32_t along = how == llama_cut::columns ? 1 : 0;
    bool fits =
        first.rank == 2 && checked_mul(first.numel, count_, product) && checked_mul(product, bits(first.type), product);
    if (fits && how == llama_cut::embedding) {
        const auto columns = static_cast<std::uint64_t>(first.shape[1]);
        along = columns == dim_ ? 0 : 1;
        fits = columns == dim_ || (checked_mul(columns, count_, product) && product == dim_);
    } else if (fits) {
        fits = dim_ == 0 || static_cast<std::uint64_t>(first.shape[1 - along]) == dim_;
    }
    if (!fits) {
        work_.inconsistent(parts_.front().name,
                           str_cat(quoted(r.key), " is ", list_of(first.sizes()), ", which is no part of ", count_,
                                   " where norm.weight has ", dim_, " elements"),
                           "the file is damaged, or the model is none of LLaMA's");
        return absent_node;
    }
    std::vector<std::uint32_t> leaves;
    for (std::size_t i = 0; i < all.size(); ++i)
        leaves.push_back(out_->leaf(parts_[i].part, tensor_access::data(*all[i]->content.as_tensor())));
    return out_->tensor_of(out_->plan().concat(leaves, along));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
