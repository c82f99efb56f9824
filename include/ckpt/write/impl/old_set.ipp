// ckpt/write/impl/old_set.ipp: the definitions of old_set.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/json.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/file.hpp>
#include <ckpt/io/output.hpp>
#include <ckpt/write/old_set.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr std::string_view safetensors_suffix = ".safetensors";

CKPT_DETAIL_RARE std::string index_of(std::string_view path) { return str_cat(path, ".index.json"); }

CKPT_DETAIL_RARE std::string_view stem_of(std::string_view path) noexcept {
    if (path.ends_with(safetensors_suffix)) path.remove_suffix(safetensors_suffix.size());
    return path;
}

CKPT_DETAIL_RARE bool is_shard_of(std::string_view stem, std::string_view name) noexcept {
    if (!name.starts_with(stem) || !name.ends_with(safetensors_suffix)) return false;
    name = name.substr(stem.size(), name.size() - stem.size() - safetensors_suffix.size());
    for (const std::string_view before : {std::string_view("-"), std::string_view("-of-")}) {
        if (!name.starts_with(before)) return false;
        name.remove_prefix(before.size());
        std::size_t digits = 0;
        while (digits < name.size() && is_digit(name[digits])) ++digits;
        if (digits < 5) return false;
        name.remove_prefix(digits);
    }
    return name.empty();
}

/// The shards of `stem` that an index names. None where it is no index that can be read.
[[nodiscard]] inline std::vector<std::string> shards_in_index(const std::string& path, std::string_view stem) {
    std::vector<std::string> out;
    const auto from = file::open(path);
    if (!from || from->size() > limits{}.directory_bytes) return out;
    std::string text(static_cast<std::size_t>(from->size()), '\0');
    if (!from->read(0, std::as_writable_bytes(std::span{text.data(), text.size()}))) return out;
    arena memory;
    json_reader in{text, memory};
    const auto shard = [&](std::string_view) {
        std::string_view name;
        if (!in.string(name)) return false;
        if (is_shard_of(stem, name) && (out.empty() || out.back() != name)) out.emplace_back(name);
        return true;
    };
    const auto member = [&](std::string_view name) { return name == "weight_map" ? in.members(shard) : in.skip(); };
    if (!in.members(member)) out.clear();
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

CKPT_DETAIL_RARE result<old_set> old_set::find(const std::string& path, const std::vector<std::string>& new_files,
                                               bool replace) {
    old_set out;
    const auto add = [&](std::string one) {
        if (std::find(new_files.begin(), new_files.end(), one) == new_files.end() && is_taken(one))
            out.files_.push_back(std::move(one));
    };
    add(path);
    const std::string index = index_of(path);
    add(index);
    if (!out.files_.empty() && !replace)
        return error{.code = errc::output_exists,
                     .file = out.files_.front(),
                     .detail = "it exists already, and would stand beside the new files",
                     .hint = replace_hint};
    const std::size_t name = name_offset(path);
    if (replace)
        for (const std::string& shard : shards_in_index(index, stem_of(std::string_view(path).substr(name))))
            add(path.substr(0, name) + shard);
    return out;
}

CKPT_DETAIL_RARE void old_set::remove(write_report& to) const {
    for (const std::string& one : files_) (remove_output(one) ? to.removed : to.not_removed).push_back(one);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
