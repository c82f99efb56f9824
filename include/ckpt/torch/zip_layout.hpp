// ckpt/torch/zip_layout.hpp: where torch.save puts things in a zip archive.
//
// SPDX-License-Identifier: MIT
// In:      the records of an archive.
// Out:     the top folder, the pickle's record, byte order, alignment, what wrote the file as far as it tells.
// Refuses: archives without data.pkl, with an unknown byte order or format version; other containers of PyTorch's that
//          are zips too (TorchScript, torch.package, PT2), by name.
//
// Sources: caffe2/serialize/inline_container.cc, torch/serialization.py; files of torch 1.6 to 2.15.
#pragma once

#include <ckpt/archive/zip.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/io/source.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct zip_layout {
    std::string_view folder{};            // with its slash: "archive/", or empty
    const record* pickle{nullptr};
    byte_order order{byte_order::little};
    bool order_recorded{false};
    std::uint64_t alignment{64};
    std::uint32_t format_version{0};      // of the record `version`; 0 where it is absent
    std::string_view writer{};            // a static sentence

    [[nodiscard]] static result<zip_layout> read(const source& from, const zip_archive& archive, arena& memory);
};

namespace layout_names {

inline constexpr std::string_view unsupported_hint = "this version of ckpt reads what torch.save writes as a zip archive";

[[nodiscard]] inline error unsupported(const source& from, std::string_view what, std::string_view record_name) {
    return {.code = errc::container_not_supported, .offset = from.base(), .record = std::string(record_name), .detail = std::string(what), .hint = unsupported_hint};
}

} // namespace layout_names

inline result<zip_layout> zip_layout::read(const source& from, const zip_archive& archive, arena& memory) {
    zip_layout out;
    // The shortest name that ends in data.pkl decides the folder: people re-zip with another top folder, or with one
    // more around it. Two of equal depth would be two checkpoints in one archive.
    bool several = false;
    std::size_t depth = ~std::size_t{0};
    for (const record& r : archive.records()) {
        if (r.is_folder() || !r.name.ends_with("data.pkl")) continue;
        const std::string_view folder = r.name.substr(0, r.name.size() - 8);
        if (!folder.empty() && folder.back() != '/') continue;
        if (folder.starts_with("__MACOSX/")) continue;
        std::size_t slashes = 0;
        for (const char c : folder) slashes += c == '/';
        if (slashes == depth) several = true;
        if (slashes >= depth) continue;
        depth = slashes;
        several = false;
        out.pickle = &r;
        out.folder = folder;
    }
    const auto has = [&](std::string_view name) { return archive.find(std::string(out.folder) + std::string(name)); };
    if (out.pickle == nullptr) {
        std::string_view seen = "the archive holds no data.pkl";
        std::string_view hint = "it is probably another kind of zip file; list it with: unzip -l";
        for (const record& r : archive.records()) {
            const std::string_view folder = r.name.substr(0, r.name.find('/') == std::string_view::npos ? 0 : r.name.find('/') + 1);
            const std::string_view name = r.name.substr(folder.size());
            if (name == ".data/extern_modules" || name == ".data/python_version") return layout_names::unsupported(from, "a torch.package archive", r.name);
            if (name == "archive_format" || name.starts_with("data/weights/") || name == "serialized_exported_program.json") return layout_names::unsupported(from, "a PT2 archive of torch.export", r.name);
            if (name == "constants.pkl" || name == "model.json") return layout_names::unsupported(from, "a TorchScript archive of torch.jit.save", r.name);
            if (r.name == "word/document.xml" || r.name == "xl/workbook.xml") seen = "an office document";
            if (r.name == "META-INF/MANIFEST.MF") seen = "a Java archive";
            if (r.name == "config.json" && seen.starts_with("the archive")) seen = "a zip archive with config.json, probably a Keras model";
            if (r.name.ends_with(".npy") && seen.starts_with("the archive")) seen = "a NumPy .npz archive";
            if (name == ".data/serialization_id" && seen.starts_with("the archive")) {
                seen = "the archive has the records that torch.save writes last, but no data.pkl";
                hint = "torch.save failed half way when this was written, probably at an object that cannot be pickled; save again";
            }
        }
        return error{.code = errc::no_pickle, .offset = from.base(), .detail = std::string(seen) + " (" + decimal(std::uint64_t{archive.records().size()}) + " records)", .hint = hint};
    }
    if (several) return error{.code = errc::no_pickle, .offset = from.base(), .record = std::string(out.pickle->name), .detail = "the archive holds several data.pkl at one depth", .hint = "unpack it and open the checkpoints one by one"};
    if (const record* constants = has("constants.pkl")) return layout_names::unsupported(from, "a TorchScript archive of torch.jit.save", constants->name);

    const auto small_text = [&](const record& r, std::string& text) -> result<void> {
        if (r.size > 64) return error{.code = errc::zip_bounds, .offset = from.base() + r.header_offset, .record = std::string(r.name), .detail = "a record of " + decimal(r.size) + " bytes where a short text belongs"};
        auto bytes = zip_archive::read_record(from, r, memory, true);
        if (!bytes) return std::move(bytes).error();
        text.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
        while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
        return {};
    };
    const auto number = [](const std::string& text, std::uint64_t& value) {
        const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
        return failure == std::errc{} && end == text.data() + text.size();
    };

    std::string text;
    const record* version = has(".data/version");
    if (version == nullptr) version = has("version");
    if (version != nullptr) {
        std::uint64_t v = 0;
        if (auto read = small_text(*version, text); !read) return std::move(read).error();
        if (!number(text, v) || v < 1 || v > 10)
            return error{.code = errc::format_version, .offset = from.base() + version->header_offset, .record = std::string(version->name),
                         .detail = "the file-format version is " + quoted(text) + ", known are 1 to 10", .hint = "a newer ckpt may read it"};
        out.format_version = static_cast<std::uint32_t>(v);
    }
    if (const record* order = has("byteorder")) {
        if (auto read = small_text(*order, text); !read) return std::move(read).error();
        if (text != "little" && text != "big")
            return error{.code = errc::byte_order_unknown, .offset = from.base() + order->header_offset, .record = std::string(order->name), .detail = "the byte order is " + quoted(text)};
        out.order = text == "big" ? byte_order::big : byte_order::little;
        out.order_recorded = true;
    }
    const record* alignment = has(".storage_alignment");
    if (alignment != nullptr) {
        std::uint64_t v = 0;
        if (auto read = small_text(*alignment, text); !read) return std::move(read).error();
        // Only a prediction depends on it, so a strange value costs speed and nothing else.
        if (number(text, v) && v >= 1 && v <= (std::uint64_t{1} << 30)) out.alignment = v;
    }
    // The records that a version of torch began to write (seen with 1.7, 1.13, 2.6, 2.14).
    const bool ours = zip_archive::predict(*out.pickle, out.alignment) != 0;
    if (!ours) out.writer = "a zip tool (repacked), or another program than torch.save";
    else if (alignment != nullptr || has(".format_version") != nullptr) out.writer = "torch.save of torch 2.7 or later";
    else if (out.order_recorded) out.writer = "torch.save of torch 2.1 to 2.6";
    else if (has(".data/serialization_id") != nullptr) out.writer = "torch.save of torch 2.0 or 2.1";
    else out.writer = "torch.save of torch 1.6 to 2.0";
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
