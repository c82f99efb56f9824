// ckpt/folder/impl/index.ipp: the definitions of index.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/index.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool is_index_name(std::string_view path) noexcept {
    const std::size_t at = path.rfind(".index");
    return at != std::string_view::npos && path.find('/', at) == std::string_view::npos && path.ends_with(".json");
}

CKPT_DETAIL_DEF bool is_plain_name(std::string_view name) noexcept {
    return !name.empty() && name != "." && name != ".." &&
           name.find_first_of(std::string_view("/\\:\0", 4)) == std::string_view::npos;
}

CKPT_DETAIL_DEF bool shard_index::read_all(json_reader& in, std::vector<std::string_view>& of_entry,
                                           std::size_t& maps) {
    if (!in.enter_object()) return false;
    for (std::string_view member; in.next_member(member);) {
        if (member != "weight_map") {
            if (!in.skip()) return false;
            continue;
        }
        ++maps;
        if (!in.enter_object()) return false;
        std::string_view file;
        for (std::string_view key; in.next_member(key);) {
            if (!in.string(file)) return false;
            entries.push_back({key, 0});
            of_entry.push_back(file);
        }
        if (!in.fault().empty()) return false;
    }
    return in.fault().empty() && in.finish();
}

CKPT_DETAIL_DEF result<shard_index> shard_index::read(const std::string& path, const limits& budget) {
    auto from = source::open(path, {.mode = io_mode::read});
    if (!from) return std::move(from).failure();
    const std::uint64_t size = (*from)->size();
    if (size > budget.directory_bytes)
        return error{.code = errc::limit,
                     .detail =
                         str_cat("the index has ", size, " bytes, limits.directory_bytes is ", budget.directory_bytes)};
    shard_index out;
    const auto bytes = static_cast<std::size_t>(size);
    char* const text = out.memory.allocate<char>(bytes + 1);
    if (auto read = (*from)->read(0, std::as_writable_bytes(std::span<char>{text, bytes})); !read)
        return std::move(read).failure();

    json_reader in{{text, bytes}, out.memory};
    std::vector<std::string_view> of_entry;
    std::size_t maps = 0;
    const bool is_read = out.read_all(in, of_entry, maps);
    const auto invalid = [&](std::string detail) {
        return error{.code = errc::json_invalid,
                     .offset = in.offset(),
                     .detail = std::move(detail),
                     .hint = "an index is {\"weight_map\": {\"key\": \"file\"}}; get it again"};
    };
    if (!is_read) return invalid(str_cat("the index at byte ", in.offset(), ": ", in.fault()));
    if (maps != 1) return invalid(maps > 1 ? "the index has weight_map twice" : "the index has no weight_map");

    out.files = of_entry;
    sort_values(out.files);
    out.files.erase(std::unique(out.files.begin(), out.files.end()), out.files.end());
    for (std::size_t i = 0; i < out.entries.size(); ++i)
        out.entries[i].file = static_cast<std::uint32_t>(
            std::lower_bound(out.files.begin(), out.files.end(), of_entry[i]) - out.files.begin());
    sort_values(out.entries, [](const entry& a, const entry& b) { return a.key < b.key; });
    for (std::size_t i = 1; i < out.entries.size(); ++i)
        if (out.entries[i].key == out.entries[i - 1].key)
            return invalid(str_cat("the index has the key ", quoted(out.entries[i].key), " twice"));
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
