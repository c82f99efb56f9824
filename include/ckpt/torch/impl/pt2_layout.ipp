// ckpt/torch/impl/pt2_layout.ipp: the definitions of pt2_layout.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/pt2_layout.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE bool pt2_config_reader::read(plain_list<pt2_entry>& out) {
    return json_.members([&](std::string_view member) {
        if (member != "config") return json_.skip();
        return json_.members([&](std::string_view name) {
            pt2_entry e;
            e.name = name;
            if (!entry(e)) return false;
            out.push_back(e);
            return true;
        });
    }) && json_.finish();
}

CKPT_DETAIL_RARE bool pt2_config_reader::entry(pt2_entry& e) {
    return json_.members([&](std::string_view member) {
        if (member == "path_name") return json_.string(e.path);
        if (member == "use_pickle") return json_.boolean(e.pickled);
        if (member != "tensor_meta" || json_.peek() == json_kind::null) return json_.skip();
        e.described = true;
        return meta(e);
    });
}

CKPT_DETAIL_RARE bool pt2_config_reader::meta(pt2_entry& e) {
    return json_.members([&](std::string_view member) {
        if (member == "dtype") return json_.whole(e.dtype);
        if (member == "layout") return json_.whole(e.layout);
        if (member == "requires_grad") return json_.boolean(e.requires_grad);
        if (member == "storage_offset") return number(e, e.offset);
        if (member == "sizes") return numbers(e, e.shape, e.rank);
        if (member == "strides") return numbers(e, e.strides, e.strides_rank);
        return json_.skip();
    });
}

CKPT_DETAIL_RARE bool pt2_config_reader::number(pt2_entry& e, std::uint64_t& out) {
    bool known = false;
    const bool fine = json_.members([&](std::string_view member) {
        if (member != "as_int") return json_.skip();
        known = true;
        return json_.whole(out);
    });
    e.symbolic = e.symbolic || !known;
    return fine;
}

CKPT_DETAIL_RARE bool pt2_config_reader::numbers(pt2_entry& e, const std::int64_t*& out, std::uint32_t& count) {
    if (!json_.enter_array()) return false;
    read_.clear();
    while (json_.next_element()) {
        std::uint64_t n = 0;
        if (!number(e, n) || n > largest_signed) return false;
        read_.push_back(static_cast<std::int64_t>(n));
    }
    auto* const kept = memory_.allocate<std::int64_t>(read_.size() + 1);
    std::copy(read_.begin(), read_.end(), kept);
    out = kept;
    count = static_cast<std::uint32_t>(read_.size());
    return json_.fault().empty();
}

CKPT_DETAIL_RARE result<std::vector<pt2_config>> read_pt2(const source& from, const zip_archive& archive,
                                                          std::string_view folder, const limits& budget,
                                                          const inflater& inflate, arena& memory) {
    std::vector<pt2_config> out;
    constexpr struct {
        std::string_view folder{};
        std::string_view suffix{};
        bool constants{};
    } kinds[]{{"data/weights/", "_weights_config.json", false}, {"data/constants/", "_constants_config.json", true}};
    for (const record& r : archive.records()) {
        if (r.is_folder() || !r.name.starts_with(folder)) continue;
        const std::string_view name = r.name.substr(folder.size());
        for (const auto& k : kinds) {
            if (!name.starts_with(k.folder) || !name.ends_with(k.suffix) ||
                name.size() < k.folder.size() + k.suffix.size())
                continue;
            pt2_config& c = out.emplace_back();
            c.from = &r;
            c.folder = r.name.substr(0, folder.size() + k.folder.size());
            c.model = name.substr(k.folder.size(), name.size() - k.folder.size() - k.suffix.size());
            c.constants = k.constants;
            auto text = read_parsed(from, r, budget, inflate, memory);
            if (!text) return std::move(text).failure();
            pt2_config_reader reader{{reinterpret_cast<const char*>(text->data()), text->size()}, memory};
            if (!reader.read(c.entries))
                return error{.code = errc::json_invalid,
                             .offset = from.base() + r.header_offset,
                             .record = std::string(r.name),
                             .detail = str_cat(reader.fault(), ", at byte ", reader.offset(), " of the configuration"),
                             .hint = zip::damage_hint};
        }
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
