// ckpt/torch/impl/sniff.ipp: the definitions of sniff.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/sniff.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::sniffing {

CKPT_DETAIL_RARE bool looks_like_html(std::string_view text) noexcept {
    while (!text.empty() &&
           (text.front() == ' ' || text.front() == '\n' || text.front() == '\r' || text.front() == '\t'))
        text.remove_prefix(1);
    const auto begins = [&](std::string_view with) {
        return text.size() >= with.size() && std::equal(with.begin(), with.end(), text.begin(), [](char a, char b) {
                   return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
               });
    };
    return begins("<!doctype html") || begins("<html") || begins("<head") || begins("<?xml") || begins("<body");
}

CKPT_DETAIL_RARE bool head_reader::varint(std::uint64_t& out) noexcept {
    out = 0;
    for (unsigned shift = 0; shift < 63 && !rest_.empty(); shift += 7) {
        const auto b = static_cast<unsigned char>(rest_.front());
        rest_.remove_prefix(1);
        out |= std::uint64_t{b & 0x7Fu} << shift;
        if (b < 0x80) return true;
    }
    return false;
}

CKPT_DETAIL_RARE bool head_reader::text(std::uint64_t length) noexcept {
    const std::string_view part =
        rest_.substr(0, static_cast<std::size_t>((std::min<std::uint64_t>)(length, rest_.size())));
    rest_.remove_prefix(part.size());
    return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
}

CKPT_DETAIL_RARE std::string_view versioned_protobuf(std::string_view text) noexcept {
    head_reader at{text};
    std::uint64_t version = 0, outer = 0, inner = 0, name = 0;
    if (!at.take(0x08) || !at.varint(version) || version == 0 || version > 1000) return {};
    if (at.begins(0x3A)) return "an ONNX model"; // without a producer: the graph
    head_reader below = at;
    if (!below.field(0x12, outer)) return {};
    head_reader producer = below;
    if (below.field(0x0A, inner)) {
        // CoreML: description, input, name. SavedModel: meta_graphs, meta_info_def, which begins with the operations'
        // list.
        if (below.field(0x0A, name) && below.text(name)) return "a CoreML model (.mlmodel)";
        if (version == 1) return "a TensorFlow SavedModel (saved_model.pb)";
    }
    return producer.text(outer) ? "an ONNX model" : std::string_view{};
}

CKPT_DETAIL_RARE bool looks_like_mindspore(std::string_view text) noexcept {
    head_reader at{text};
    std::uint64_t length = 0, dimension = 0;
    if (!at.field(0x0A, length) || !at.field(0x0A, length) || !at.text(length) || !at.field(0x12, length)) return false;
    while (at.begins(0x08))
        if (!at.take(0x08) || !at.varint(dimension)) return false;
    return at.field(0x12, length) && length < 16 && at.text(length);
}

CKPT_DETAIL_RARE bool looks_like_flax(std::string_view text) noexcept {
    if (text.size() < 3) return false;
    const auto first = static_cast<unsigned char>(text[0]);
    std::size_t at = first > 0x80 && first < 0x90 ? 1u : first == 0xDE ? 3u : first == 0xDF ? 5u : 0u;
    if (at == 0 || at >= text.size()) return false;
    auto length = static_cast<unsigned char>(text[at++]);
    if (length == 0xD9 && at < text.size()) length = static_cast<unsigned char>(text[at++]);
    else if (length > 0xA0 && length < 0xC0) length = length & 0x1F;
    else return false;
    return head_reader{text.substr(at)}.text(length);
}

CKPT_DETAIL_RARE bool looks_like_text(std::string_view text) noexcept {
    for (const char c : text) {
        const auto b = static_cast<unsigned char>(c);
        if (b == 0x7F || (b < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f')) return false;
    }
    return !text.empty();
}

/// Whether a line is a name with dots, as GLOBAL has two of them.
CKPT_DETAIL_COLD inline bool is_dotted_name(std::string_view line) noexcept {
    return !line.empty() && std::all_of(line.begin(), line.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
               static_cast<unsigned char>(c) >= 0x80;
    });
}

CKPT_DETAIL_RARE bool looks_like_pickle(std::string_view text) noexcept {
    if (begins_as_binary_pickle(text)) return true;
    bool stores = false;
    bool names = false;
    bool numbers = false;
    const auto cut_short = [&] { return stores || ((names || numbers) && text.size() == 512); };
    for (std::size_t at = 0; at < text.size();) {
        const auto op = static_cast<opcode>(static_cast<unsigned char>(text[at]));
        const opcode_info& known = opcode_table[static_cast<unsigned char>(text[at])];
        if (known.name.empty()) return false;
        if (op == opcode::stop) return stores || names;
        std::string_view rest = text.substr(++at);
        const auto number = [&rest](std::size_t bytes) {
            std::uint64_t value = 0;
            for (std::size_t i = bytes; i-- > 0;)
                value = value << 8 | (i < rest.size() ? static_cast<unsigned char>(rest[i]) : 0u);
            return value;
        };
        std::uint64_t length = 0;
        switch (known.takes) {
        case argument::none: break;
        case argument::u8: length = 1; break;
        case argument::u16: length = 2; break;
        case argument::u32:
        case argument::i32: length = 4; break;
        case argument::u64:
        case argument::f64: length = 8; break;
        case argument::bytes1: length = 1 + number(1); break;
        case argument::bytes4: length = 4 + number(4); break;
        case argument::bytes8: length = number(8) < rest.size() ? 8 + number(8) : rest.size(); break;
        case argument::line:
        case argument::two_lines:
            for (int lines = known.takes == argument::line ? 1 : 2; lines > 0; --lines) {
                const std::size_t end = rest.find('\n', static_cast<std::size_t>(length));
                if (end == std::string_view::npos) return cut_short();
                if (known.takes == argument::two_lines &&
                    !is_dotted_name(rest.substr(static_cast<std::size_t>(length), end - length)))
                    return stores;
                if ((op == opcode::put || op == opcode::get) &&
                    rest.substr(0, end).find_first_not_of("0123456789") != std::string_view::npos)
                    return false;
                length = end + 1;
            }
            break;
        }
        if (op == opcode::int_text || op == opcode::long_text || op == opcode::float_text) {
            if (rest.find_first_of("+-.0123456789") != 0) return stores;
            numbers = true;
        }
        names = names || op == opcode::global || op == opcode::inst || op == opcode::stack_global;
        stores = stores || op == opcode::put || op == opcode::binput || op == opcode::long_binput;
        at = length < rest.size() ? at + static_cast<std::size_t>(length) : text.size();
    }
    return cut_short();
}

CKPT_DETAIL_RARE bool ends_as_sstable(const source& from) {
    std::array<std::byte, 8> last{};
    return from.size() >= 48 && from.read(from.size() - last.size(), last).has_value() &&
           load_le<std::uint64_t>(last.data()) == 0xDB47'7524'8B80'FB57u;
}

CKPT_DETAIL_RARE bool is_marked_zip(const source& from) {
    std::array<std::byte, 4> head{};
    std::array<std::byte, 22> end{};
    return from.size() >= 30 + end.size() && from.read(0, head).has_value() && head[2] == std::byte{3} &&
           head[3] == std::byte{4} && from.read(from.size() - end.size(), end).has_value() &&
           load_le<std::uint32_t>(end.data()) == zip::end_signature;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::sniffing

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<container_kind> container_of(const source& from) {
    std::array<std::byte, 512> head{};
    const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(from.size(), head.size()));
    if (auto read = from.read(0, {head.data(), n}); !read) return std::move(read).failure();
    const std::string_view text{reinterpret_cast<const char*>(head.data()), n};
    if (safetensors::begins({head.data(), (std::min<std::size_t>)(n, 64)})) return container_kind::safetensors;
    if (n >= 4 && load_le<std::uint32_t>(head.data()) == zip::local_signature) return container_kind::zip;
    if (legacy::begins(text)) return container_kind::legacy;
    if (tar::begins(text)) return container_kind::tar;
    for (const signature& s : signatures)
        if (text.size() > s.at && text.substr(s.at).starts_with(s.bytes)) return container_kind::none;
    if (sniffing::looks_like_html(text) || sniffing::looks_like_joblib(text)) return container_kind::none;
    if (sniffing::versioned_protobuf(text).empty() && !sniffing::looks_like_mindspore(text) &&
        sniffing::looks_like_pickle(text))
        return container_kind::pickle;
    return container_kind::none;
}

namespace sniffing {

/// The first eight bytes in hexadecimal: "80 02 7d".
CKPT_DETAIL_COLD inline std::string first_bytes(std::string_view text) {
    constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (std::size_t i = 0; i < std::min<std::size_t>(text.size(), 8); ++i) {
        const auto b = static_cast<unsigned char>(text[i]);
        out += (i == 0 ? "" : " ");
        out += digits[b >> 4];
        out += digits[b & 15];
    }
    return out;
}

/// Names in `e` the format of a file without a known signature, by its first bytes (`text`).
CKPT_DETAIL_COLD inline void name_content(std::string_view text, const source& from, error& e) {
    const std::string bytes = str_cat(from.size(), " bytes");
    if (looks_like_html(text)) {
        e.detail = str_cat(bytes, ": an HTML or XML page");
        e.hint = download_again;
    } else if (is_marked_zip(from)) {
        e.detail = str_cat(bytes, ": a zip archive whose first two bytes were changed from \"PK\" to ",
                           quoted(text.substr(0, 2)), ", as SoVITS marks its models");
        e.hint = "copy the file and restore them in the copy: printf PK | dd of=COPY bs=1 conv=notrunc";
    } else if (const std::string_view is = versioned_protobuf(text); !is.empty()) {
        e.detail = str_cat(bytes, ": ", is, ", or another protobuf");
        e.hint = other_format;
    } else if (looks_like_mindspore(text)) {
        e.detail = str_cat(bytes, ": a MindSpore checkpoint");
        e.hint = "load it with mindspore.load_checkpoint, and save its arrays as safetensors or with torch.save";
    } else if (looks_like_joblib(text)) {
        e.detail = str_cat(bytes, ": a file of joblib.dump, a pickle with raw arrays inside");
        e.hint = "load it with joblib.load, and save its arrays as safetensors or with torch.save";
    } else if (looks_like_flax(text)) {
        e.detail = str_cat(bytes, ": MessagePack, probably the parameters of a Flax model");
        e.hint = "load it with flax.serialization, and save its arrays as safetensors";
    } else if (ends_as_sstable(from)) {
        e.detail = str_cat(bytes, ": the .index of a TensorFlow checkpoint, or another table of LevelDB's");
        e.hint = "load it with TensorFlow (its numbers are in the .data files), and save its arrays as safetensors";
    } else if (looks_like_zlib(text) && !looks_like_text(text)) {
        e.detail = str_cat(bytes, ": zlib data: joblib compresses so");
        e.hint = "load it with joblib.load, and save its arrays as safetensors or with torch.save";
    } else if (all_zero(text)) {
        e.detail =
            str_cat(bytes, " that begin with ", text.size(), " zeros: space that was reserved and never written");
        e.hint = "a download or a copy that never finished; get the file again";
    } else if (looks_like_text(text)) {
        e.detail = str_cat(bytes, " of plain text that begins ", quoted(text));
        e.hint = "an error message or a list was saved under this name; get the file again";
    } else {
        e.detail = str_cat(bytes, " that begin with ", first_bytes(text), ": no format that is known here");
        e.hint = "if it should be a checkpoint, it is damaged or encrypted; get the file again";
    }
}

} // namespace sniffing

CKPT_DETAIL_RARE std::optional<error> sealed_content(std::string_view head) {
    if (head.starts_with("PK\x03\x04"))
        return error{.code = errc::container_not_supported,
                     .detail = "an archive inside the archive, which is not looked into",
                     .hint = unpack_first};
    for (const signature& s : signatures)
        if (head.size() > s.at && head.substr(s.at).starts_with(s.bytes) &&
            (s.hint == unpack_first || s.hint == decrypt_first))
            return error{.code = errc::container_not_supported,
                         .detail = str_cat(s.is, ", which is not looked into"),
                         .hint = s.hint};
    return {};
}

CKPT_DETAIL_RARE error name_the_file(const source& from) {
    error e{.code = errc::not_a_checkpoint, .offset = from.base()};
    if (from.size() == 0) {
        e.detail = "the file is empty";
        e.hint = "a download or a save that never finished; get the file again";
        return e;
    }
    std::array<std::byte, 512> head{};
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(from.size(), head.size()));
    if (auto read = from.read(0, {head.data(), n}); !read) return std::move(read).error();
    const std::string_view text{reinterpret_cast<const char*>(head.data()), n};
    const std::string bytes = str_cat(from.size(), " bytes");
    if (tar::begins(text)) {
        e.code = errc::container_not_supported;
        e.detail = str_cat(bytes, ": a tar archive inside another");
        e.hint = unpack_first;
        return e;
    }
    for (const signature& s : signatures)
        if (text.size() > s.at && text.substr(s.at).starts_with(s.bytes)) {
            e.code = s.code;
            e.detail = str_cat(bytes, ": ", s.is);
            e.hint = s.hint;
            return e;
        }
    sniffing::name_content(text, from, e);
    return e;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
