// ckpt/folder/impl/zero_module.ipp: the definitions of zero_module.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/folder/zero_messages.hpp>
#include <ckpt/folder/zero_module.hpp>
#include <ckpt/pickle/value_access.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::uint32_t zero_module::build() {
    std::vector<std::uint32_t> pairs{out_.text("module"), state_dict()};
    for (const value::entry e : first_.content.entries()) {
        const auto key = e.key.as_string();
        if (key && (*key == "module" || *key == "optimizer")) continue;
        pairs.push_back(copy(e.key));
        pairs.push_back(copy(e.mapped));
    }
    const std::uint32_t states = optimizer();
    if (states == absent_node) return absent_node;
    pairs.push_back(out_.text("optimizer"));
    pairs.push_back(states);
    return out_.values().add_dictionary(pairs);
}

CKPT_DETAIL_DEF std::uint32_t zero_module::optimizer() {
    std::vector<std::uint32_t> pairs;
    for (const zero_file& f : files_.optimizers()) {
        auto own = out_.grafter_of(f.part);
        const value root = f.opened->root();
        auto made = own.copy(value_access::node(root));
        if (!made) {
            work_.find(std::move(made).error());
            return absent_node;
        }
        pairs.push_back(out_.text(std::string_view(f.name).substr(files_.step().size())));
        pairs.push_back(*made);
    }
    return out_.values().add_dictionary(pairs);
}

CKPT_DETAIL_DEF std::uint32_t zero_module::copy(const value& v) {
    auto made = copies_.copy(value_access::node(v));
    if (made) return *made;
    work_.find(std::move(made).error());
    return absent_node;
}

CKPT_DETAIL_DEF void zero_module::read_aliases() {
    const auto shared_names = first_.content.at("shared_params");
    if (!shared_names) return;
    for (const value::entry e : shared_names->entries()) {
        const auto alias = e.key.as_string();
        const auto source = e.mapped.as_string();
        if (alias && source) aliases_.emplace(*alias, *source);
    }
}

CKPT_DETAIL_DEF void zero_module::read_frozen() {
    const auto fragments = first_.content.at("frozen_param_fragments");
    if (!fragments || files_.is_stage3()) return;
    for (const value::entry e : fragments->entries())
        if (const auto key = e.key.as_string()) frozen_.emplace(*key, e.mapped);
}

CKPT_DETAIL_DEF void zero_module::read_buffers() {
    const auto names = first_.content.at("buffer_names");
    if (!names) return;
    for (const value v : names->elements())
        if (const auto name = v.as_string()) buffers_.push_back(*name);
    sort_values(buffers_);
}

CKPT_DETAIL_DEF std::uint32_t zero_module::weight(std::string_view key) const {
    const auto found = weights_.find(key);
    return found != weights_.end() ? found->second.node : absent_node;
}

CKPT_DETAIL_DEF std::uint32_t zero_module::tied_weight(std::string_view alias, std::string_view source) {
    const auto found = weights_.find(source);
    if (found == weights_.end()) return absent_node;
    if (found->second.lacks) work_.report.absent.push_back(zero_faults::tied_to_incomplete(alias, source));
    return found->second.node;
}

CKPT_DETAIL_DEF bool zero_module::is_hollow(std::string_view key, const value& mapped) const {
    if (!files_.is_stage3()) return false;
    const auto tensor = mapped.as_tensor();
    return tensor && tensor->refusal() == nullptr && tensor->numel() == 0 &&
           !std::binary_search(buffers_.begin(), buffers_.end(), key);
}

CKPT_DETAIL_DEF std::uint32_t zero_module::refused(std::string_view key) {
    // With `partial`: each rank says what is tied in its own part.
    const bool without_ranks = files_.ranks_of_models() && files_.models().size() < files_.ranks();
    error lost = zero_faults::unknown_weight(key, without_ranks);
    if (without_ranks) work_.report.absent.push_back(lost);
    return out_.refused(std::move(lost), first_.name);
}

CKPT_DETAIL_DEF std::uint32_t zero_module::entry(std::string_view key, const value& mapped) {
    if (const std::uint32_t own = weight(key); own != absent_node) return own;
    if (const auto alias = aliases_.find(key); alias != aliases_.end())
        if (const std::uint32_t tied = tied_weight(key, alias->second); tied != absent_node) return tied;
    if (const auto frozen = frozen_.find(key); frozen != frozen_.end())
        if (const std::uint32_t whole = copy(frozen->second); whole != absent_node) return whole;
    return is_hollow(key, mapped) ? refused(key) : copy(mapped);
}

CKPT_DETAIL_DEF std::uint32_t zero_module::state_dict() {
    read_aliases();
    read_frozen();
    read_buffers();
    std::vector<std::uint32_t> pairs;
    const auto add = [&](std::string_view key, std::uint32_t node) {
        pairs.push_back(out_.text(key));
        pairs.push_back(node);
    };
    std::vector<std::string_view> written;
    const value module = first_.content.at("module").value();
    for (const value::entry e : module.entries()) {
        if (const auto key = e.key.as_string()) {
            written.push_back(*key);
            add(*key, entry(*key, e.mapped));
        } else {
            pairs.push_back(copy(e.key));
            pairs.push_back(copy(e.mapped));
        }
    }
    sort_values(written);
    const auto is_written = [&](std::string_view key) {
        return std::binary_search(written.begin(), written.end(), key);
    };
    for (const auto& [key, whole] : frozen_)
        if (!is_written(key) && weights_.count(key) == 0) add(key, copy(whole));
    for (const auto& [key, own] : weights_)
        if (!is_written(key)) add(key, own.node);
    for (const auto& [alias, source] : aliases_)
        if (!is_written(alias))
            if (const std::uint32_t node = tied_weight(alias, source); node != absent_node) add(alias, node);
    return out_.values().add_dictionary(pairs);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
