// ckpt/archive/impl/safetensors.ipp: the definitions of safetensors.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::safetensors {

CKPT_DETAIL_RARE error invalid(const source& from, std::uint64_t offset, std::string detail) {
    return {
        .code = errc::safetensors_invalid, .offset = from.base() + offset, .detail = std::move(detail), .hint = hint};
}

CKPT_DETAIL_DEF bool begins(std::span<const std::byte> head) noexcept {
    constexpr std::uint64_t largest_claim = std::uint64_t{1}
                                            << 40; // the first 8 bytes of other files are larger numbers
    if (head.size() < 10 || load_le<std::uint64_t>(head.data()) >= largest_claim) return false;
    const std::string_view text(reinterpret_cast<const char*>(head.data()) + 8, head.size() - 8);
    const std::size_t brace = text.find_first_not_of(" \t\r\n");
    if (brace == std::string_view::npos || text[brace] != '{') return false;
    const std::size_t next = text.find_first_not_of(" \t\r\n", brace + 1);
    return next == std::string_view::npos || text[next] == '"' || text[next] == '}';
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::safetensors

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool safetensors_header::read_entry(json_reader& in, safetensors_entry& out,
                                                    std::vector<std::int64_t>& sizes, arena& memory, error& fault) {
    if (!in.enter_object()) return false;
    bool has_type = false, has_shape = false, has_range = false;
    sizes.clear();
    for (std::string_view member; in.next_member(member);) {
        const auto once = [&](bool& seen) {
            if (seen) fault.detail = str_cat("tensor ", quoted(out.name), " has two members ", quoted(member));
            const bool first = !seen;
            seen = true;
            return first;
        };
        if (member == "dtype") {
            std::string_view text;
            if (!once(has_type) || !in.string(text)) return false;
            for (const safetensors_type& t : safetensors_types)
                if (t.name == text) out.type = &t;
            if (out.type == nullptr) {
                fault.detail = str_cat("tensor ", quoted(out.name), " has the dtype ", quoted(text),
                                       ", which the format does not know");
                return false;
            }
        } else if (member == "shape") {
            if (!once(has_shape) || !in.enter_array()) return false;
            while (in.next_element()) {
                std::uint64_t n = 0;
                if (!in.whole(n)) return false;
                if (n > ~std::uint64_t{0} >> 1) {
                    fault.detail = str_cat("tensor ", quoted(out.name), " has a dimension of ", n);
                    return false;
                }
                sizes.push_back(static_cast<std::int64_t>(n));
            }
        } else if (member == "data_offsets") {
            if (!once(has_range) || !in.enter_array()) return false;
            if (!in.next_element() || !in.whole(out.begin) || !in.next_element() || !in.whole(out.end)) return false;
            if (in.next_element()) {
                fault.detail = str_cat("the data_offsets of tensor ", quoted(out.name), " are more than two");
                return false;
            }
        } else if (!in.skip()) {
            return false;
        }
        if (!in.fault().empty()) return false;
    }
    if (!in.fault().empty()) return false;
    if (!has_type || !has_shape || !has_range) {
        fault.detail = str_cat("tensor ", quoted(out.name), " has no ",
                               !has_type    ? "dtype"
                               : !has_shape ? "shape"
                                            : "data_offsets");
        return false;
    }
    auto* kept = memory.allocate<std::int64_t>(sizes.size() + 1);
    std::copy(sizes.begin(), sizes.end(), kept);
    out.shape = kept;
    out.rank = static_cast<std::uint32_t>(sizes.size());
    return true;
}

CKPT_DETAIL_DEF bool safetensors_header::read_metadata(json_reader& in) {
    if (in.peek() == json_kind::null) return in.skip();
    if (!in.enter_object()) return false;
    for (safetensors_pair pair; in.next_member(pair.key);) {
        if (!in.string(pair.text)) return false;
        metadata.push_back(pair);
    }
    return in.fault().empty();
}

CKPT_DETAIL_DEF bool safetensors_header::read_entries(json_reader& in, arena& memory, error& fault) {
    if (!in.enter_object()) return false;
    std::vector<std::int64_t> sizes;
    for (std::string_view name; in.next_member(name);) {
        if (name == "__metadata__") {
            if (has_metadata) {
                fault.detail = "the header has __metadata__ twice";
                return false;
            }
            has_metadata = true;
            if (!read_metadata(in)) return false;
            continue;
        }
        safetensors_entry e;
        e.name = name;
        if (!read_entry(in, e, sizes, memory, fault)) return false;
        entries.push_back(e);
    }
    return in.fault().empty() && in.finish();
}

CKPT_DETAIL_RARE result<void> safetensors_header::check_names(const source& from) const {
    std::vector<std::string_view> names;
    names.reserve((std::max)(entries.size(), metadata.size()));
    const auto twice = [&]() -> std::optional<std::string_view> {
        sort_values(names);
        const auto found = std::adjacent_find(names.begin(), names.end());
        return found == names.end() ? std::nullopt : std::optional(*found);
    };
    for (const safetensors_entry& e : entries) names.push_back(e.name);
    if (const auto name = twice())
        return safetensors::invalid(from, 8, str_cat("two tensors are named ", quoted(*name)));
    names.clear();
    for (const safetensors_pair& p : metadata) names.push_back(p.key);
    if (const auto name = twice())
        return safetensors::invalid(from, 8, str_cat("the metadata has two entries ", quoted(*name)));
    return {};
}

CKPT_DETAIL_DEF result<void> safetensors_header::check_ranges(const source& from) const {
    const std::vector<std::uint32_t> order = sorted_indices(entries.size(), [this](std::uint32_t a, std::uint32_t b) {
        const safetensors_entry& x = entries[a];
        const safetensors_entry& y = entries[b];
        return x.begin != y.begin ? x.begin < y.begin : x.end < y.end;
    });
    const std::uint64_t data = from.size() - data_offset;
    std::uint64_t at = 0;
    for (const std::uint32_t i : order) {
        const safetensors_entry& e = entries[i];
        const auto range = [&e] {
            return str_cat("tensor ", quoted(e.name), " has the bytes ", e.begin, " to ", e.end);
        };
        if (e.begin > e.end) return safetensors::invalid(from, 8, range());
        if (e.begin != at)
            return safetensors::invalid(from, 8,
                                        range() + (e.begin < at ? ", which overlaps the one before it"
                                                                : ", which leaves a hole behind the one before it"));
        if (e.end > data)
            return safetensors::invalid(from, 8, str_cat(range(), ", the file has ", data, " bytes of data"));
        std::uint64_t in_bits = e.type->bits;
        std::uint64_t elements = 1;
        bool fits = true;
        for (std::uint32_t d = 0; d < e.rank && fits; ++d)
            fits = checked_mul(elements, static_cast<std::uint64_t>(e.shape[d]), elements);
        fits = fits && checked_mul(elements, in_bits, in_bits);
        if (!fits)
            return safetensors::invalid(from, 8, str_cat("the shape of tensor ", quoted(e.name), " overflows 64 bits"));
        if (in_bits % 8 != 0)
            return safetensors::invalid(
                from, 8, str_cat("tensor ", quoted(e.name), " of ", e.type->name, " does not end at a whole byte"));
        if (in_bits / 8 != e.end - e.begin)
            return safetensors::invalid(from, 8, str_cat(range(), ", its shape and dtype need ", in_bits / 8));
        at = e.end;
    }
    if (at != data)
        return safetensors::invalid(from, data_offset + at,
                                    str_cat("the tensors have ", at, " bytes, the file has ", data, " of data"));
    return {};
}

CKPT_DETAIL_RARE result<safetensors_header> safetensors_header::read(const source& from, const limits& budget,
                                                                     arena& memory) {
    safetensors_header out;
    std::byte head[8]{};
    if (auto got = from.read(0, head); !got) return std::move(got).failure();
    const auto length = load_le<std::uint64_t>(head);
    if (length > from.size() - sizeof head) {
        error e = safetensors::invalid(
            from, 0, str_cat("the header has ", length, " bytes by its length, the file ", from.size()));
        e.hint = "the file was cut; get it again";
        return e;
    }
    const std::uint64_t ceiling = (std::min)(safetensors::largest_header, budget.pickle_bytes);
    if (length > ceiling)
        return error{.code = errc::limit,
                     .offset = from.base(),
                     .detail = str_cat("the header has ", length, " bytes, the limit is ", ceiling)};
    const auto bytes = static_cast<std::size_t>(length);
    auto* text = memory.allocate<char>(bytes + 1);
    if (auto got = from.read(sizeof head, std::as_writable_bytes(std::span<char>{text, bytes})); !got)
        return std::move(got).failure();
    out.json = {text, bytes};
    out.data_offset = sizeof head + length;

    json_reader in{out.json, memory};
    error fault = safetensors::invalid(from, 0, {});
    if (!out.read_entries(in, memory, fault)) {
        fault.offset = from.base() + sizeof head + in.offset();
        if (fault.detail.empty()) {
            fault.detail = str_cat("the header at byte ", in.offset(), ": ", in.fault());
            if (!out.entries.empty())
                fault.detail += str_cat("; the last tensor that was read is ", quoted(out.entries.back().name));
        }
        return fault;
    }
    if (auto unique = out.check_names(from); !unique) return std::move(unique).failure();
    if (auto placed = out.check_ranges(from); !placed) return std::move(placed).failure();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
