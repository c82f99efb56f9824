// ckpt/torch/impl/zip_layout.ipp: the definitions of zip_layout.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/zip_layout.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip_layouts {

CKPT_DETAIL_RARE std::string_view join(std::string_view a, std::string_view b, arena& memory) {
    char* const out = memory.allocate<char>(a.size() + b.size() + 1);
    if (!a.empty()) std::memcpy(out, a.data(), a.size());
    if (!b.empty()) std::memcpy(out + a.size(), b.data(), b.size());
    return {out, a.size() + b.size()};
}

CKPT_DETAIL_RARE bool is_package(const zip_archive& archive, std::string_view name) {
    const std::string top(name.substr(0, name.find('/') + 1));
    return archive.find(str_cat(top, ".data/extern_modules")) != nullptr &&
           archive.find(str_cat(top, ".data/version")) != nullptr;
}

CKPT_DETAIL_RARE result<const record*> find_data(const source& from, const zip_archive& archive) {
    const record* out = nullptr;
    bool several = false;
    std::size_t depth = ~std::size_t{0};
    for (const record& r : archive.records()) {
        if (r.name.empty() || r.name.back() != 'l' || !r.name.ends_with("data.pkl")) continue; // most end in a digit
        const std::string_view folder = r.name.substr(0, r.name.size() - 8);
        if (!folder.empty() && folder.back() != '/') continue;
        if (folder.starts_with("__MACOSX/") || is_package(archive, r.name)) continue;
        std::size_t slashes = 0;
        for (const char c : folder) slashes += c == '/';
        if (slashes == depth) several = true;
        if (slashes >= depth) continue;
        depth = slashes;
        several = false;
        out = &r;
    }
    if (several)
        return error{.code = errc::no_pickle,
                     .offset = from.base(),
                     .record = std::string(out->name),
                     .detail = "the archive holds several data.pkl at one depth",
                     .hint = "unpack it and open the checkpoints one by one"};
    return out;
}

/// The name of the first record that is a checkpoint by its suffix; empty without one.
inline std::string_view checkpoint_inside(const zip_archive& archive) {
    for (const record& r : archive.records())
        for (const std::string_view ending : {".pt", ".pth", ".ckpt", ".safetensors", "pytorch_model.bin"})
            if (r.name.ends_with(ending)) return r.name;
    return {};
}

CKPT_DETAIL_RARE result<void> name_other(const source& from, const zip_archive& archive, zip_layout& out) {
    const std::string_view checkpoint = checkpoint_inside(archive);
    std::string_view seen{};
    std::string_view hint = "it is probably another kind of zip file; list it with: unzip -l";
    const auto is = [&](std::string_view what, std::string_view advice = {}) {
        if (!seen.empty()) return;
        seen = what;
        if (!advice.empty()) hint = advice;
    };
    for (const record& r : archive.records()) {
        const std::size_t slash = r.name.find('/');
        const std::string_view folder = r.name.substr(0, slash == std::string_view::npos ? 0 : slash + 1);
        const std::string_view name = r.name.substr(folder.size());
        const auto found = [&](zip_kind kind, std::string_view top) {
            out.kind = kind;
            out.folder = top;
            return result<void>{};
        };
        if (name == ".data/extern_modules" || name == ".data/python_version")
            return found(zip_kind::torch_package, folder);
        if (name == "archive_format" || name.starts_with("data/weights/") || name.starts_with("data/constants/"))
            return found(zip_kind::pt2, folder);
        if (r.name == "serialized_exported_program.json" || r.name == "serialized_state_dict.pt")
            return found(zip_kind::pt2_blobs, {});
        if (name == "model.json" && archive.find(str_cat(folder, "version")) != nullptr)
            return found(zip_kind::script_model, folder);
        if (r.name == "word/document.xml" || r.name == "xl/workbook.xml") is("an office document");
        if (r.name == "META-INF/MANIFEST.MF") is("a Java archive");
        if (r.name == "model.weights.h5")
            is("a Keras 3 model (.keras)", "load it with keras, and save its weights as .npz or safetensors");
        if (r.name == "config.json") is("a zip archive with config.json, probably a Keras model");
        if (r.name.ends_with(".npy") && checkpoint.empty())
            is("a NumPy .npz archive",
               "load it with numpy.load, and save its arrays with torch.save or as safetensors");
        if (r.name.find(".mlpackage/") != std::string_view::npos || r.name.ends_with(".mlmodel"))
            is("a CoreML package", "its weights are read by coremltools only");
        if (r.name.ends_with(".pdparams") || r.name.ends_with(".pdiparams"))
            is("an archive around a PaddlePaddle model");
        if (name == "constants.pkl")
            is("a TorchScript archive without data.pkl", "it was packed again without its weights; get the file again");
        if (name == ".data/serialization_id")
            is("the archive has the records that torch.save writes last, but no data.pkl",
               "torch.save failed half way when this was written, probably at an object that cannot be pickled; save "
               "again");
    }
    const std::string inside(seen.empty() ? checkpoint : std::string_view{});
    if (!inside.empty()) is("a zip archive around a checkpoint", "unpack it, and open what was in it");
    is("the archive holds no data.pkl");
    return error{.code = errc::no_pickle,
                 .offset = from.base(),
                 .record = inside,
                 .detail = str_cat(seen, " (", archive.records().size(), " records)"),
                 .hint = hint};
}

CKPT_DETAIL_RARE result<void> find_package_pickles(const source& from, const zip_archive& archive, zip_layout& out,
                                                   arena& memory) {
    const std::string_view before = join(out.folder, ".data/", memory);
    const std::string_view scripts = join(before, "ts_code/", memory);
    for (const record& r : archive.records()) {
        if (!r.name.starts_with(scripts)) continue;
        const std::string_view name = r.name.substr(scripts.size());
        const std::size_t slash = name.find('/');
        if (slash == std::string_view::npos || slash == 0) continue;
        if (const std::string_view file = name.substr(slash + 1); file == "data.pkl" || file == "constants.pkl")
            out.pickles.push_back({&r, before, {}, true, name.substr(0, slash)});
    }
    for (const record& r : archive.records()) {
        if (r.is_folder() || !r.name.starts_with(out.folder) || r.name.starts_with(before) || r.name.ends_with(".py") ||
            r.size < 3)
            continue;
        if (r.method == 0) {
            std::byte first[2]{};
            auto at = zip::locate(from, r);
            if (!at) return std::move(at).failure();
            if (auto read = from.read(*at, first); !read) return read;
            if (first[0] != std::byte{0x80} || first[1] < std::byte{2} || first[1] > std::byte{5}) continue;
        } else if (!r.name.ends_with(".pkl")) {
            continue;
        }
        out.pickles.push_back({&r, before, ".storage", r.name.ends_with(".pkl"), {}});
    }
    return {};
}

/// The text of a record of at most 64 bytes, without spaces and ends of lines behind it.
CKPT_DETAIL_COLD inline result<std::string> read_short_text(const source& from, const record& r,
                                                            const inflater& inflate, arena& memory) {
    if (r.size > 64)
        return error{.code = errc::zip_bounds,
                     .offset = from.base() + r.header_offset,
                     .record = std::string(r.name),
                     .detail = str_cat("a record of ", r.size, " bytes where a short text belongs")};
    auto bytes = read_content(from, r, inflate, 64, memory);
    if (!bytes) return std::move(bytes).failure();
    std::string text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
    return text;
}

/// Whether the text is a decimal number from `least` to `most`.
inline bool read_number(const std::string& text, std::uint64_t least, std::uint64_t most, std::uint64_t& out) {
    return parse_decimal(text, out) && out >= least && out <= most;
}

CKPT_DETAIL_COLD inline result<void> read_version(const source& from, const record& version, const inflater& inflate,
                                                  arena& memory, zip_layout& out) {
    auto text = read_short_text(from, version, inflate, memory);
    if (!text) return std::move(text).failure();
    std::uint64_t number = 0;
    if (!read_number(*text, 1, 10, number))
        return error{.code = errc::format_version,
                     .offset = from.base() + version.header_offset,
                     .record = std::string(version.name),
                     .detail = str_cat("the file-format version is ", quoted(*text), ", known are 1 to 10"),
                     .hint = "a newer ckpt may read it"};
    out.format_version = static_cast<std::uint32_t>(number);
    return {};
}

CKPT_DETAIL_COLD inline result<void> read_order(const source& from, const record& order, const inflater& inflate,
                                                arena& memory, zip_layout& out) {
    auto text = read_short_text(from, order, inflate, memory);
    if (!text) return std::move(text).failure();
    if ((*text != "little" && *text != "big") || text->size() != order.size) // torch takes no end of line
        return error{.code = errc::byte_order_unknown,
                     .offset = from.base() + order.header_offset,
                     .record = std::string(order.name),
                     .detail = str_cat("the byte order is ", quoted(*text))};
    out.order = *text == "big" ? byte_order::big : byte_order::little;
    out.order_recorded = true;
    return {};
}

/// Reads the alignment. Ignores an invalid one, because only `zip::predict` depends on it.
CKPT_DETAIL_COLD inline result<void> read_alignment(const source& from, const record& alignment,
                                                    const inflater& inflate, arena& memory, zip_layout& out) {
    auto text = read_short_text(from, alignment, inflate, memory);
    if (!text) return std::move(text).failure();
    std::uint64_t number = 0;
    if (read_number(*text, 1, std::uint64_t{1} << 30, number)) out.alignment = number;
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip_layouts

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<zip_layout> zip_layout::read(const source& from, const zip_archive& archive,
                                                     const inflater& inflate, arena& memory) {
    zip_layout out;
    auto data = zip_layouts::find_data(from, archive);
    if (!data) return std::move(data).failure();
    const record* first = *data; // its place tells whether torch wrote the archive
    if (first != nullptr) out.folder = first->name.substr(0, first->name.size() - 8);
    const auto has = [&](std::string_view name) { return archive.find(std::string(out.folder) + std::string(name)); };
    if (first == nullptr) {
        if (auto named = zip_layouts::name_other(from, archive, out); !named) return std::move(named).failure();
        first = archive.records().data();
        if (out.kind == zip_kind::torch_package)
            if (auto found = zip_layouts::find_package_pickles(from, archive, out, memory); !found)
                return std::move(found).failure();
        if (const record* attributes = has("attributes.pkl");
            attributes != nullptr && out.kind == zip_kind::script_model)
            out.pickles.push_back({attributes, out.folder, {}});
    } else {
        out.pickles.push_back({first, zip_layouts::join(out.folder, "data/", memory), {}});
        if (const record* constants = has("constants.pkl")) {
            out.kind = zip_kind::torchscript;
            out.pickles.push_back({constants, zip_layouts::join(out.folder, "constants/", memory), {}});
        }
    }

    const record* version = has(".data/version");
    if (version == nullptr) version = has("version");
    if (version != nullptr && out.kind != zip_kind::pt2_blobs) // there it is the version of the schema: "8.2"
        if (auto read = zip_layouts::read_version(from, *version, inflate, memory, out); !read)
            return std::move(read).failure();
    if (const record* order = has("byteorder"))
        if (auto read = zip_layouts::read_order(from, *order, inflate, memory, out); !read)
            return std::move(read).failure();
    const record* alignment = has(".storage_alignment");
    if (alignment != nullptr)
        if (auto read = zip_layouts::read_alignment(from, *alignment, inflate, memory, out); !read)
            return std::move(read).failure();
    const bool numbered = alignment != nullptr || has(".format_version") != nullptr;
    // `predict` does not hold for torch.export.save before torch 2.8, which used Python's zipfile, nor for the writer
    // of torch 1.0 to 1.2, which aligned payloads in another way.
    const bool ours = out.kind == zip_kind::pt2_blobs || out.kind == zip_kind::script_model ||
                      zip::predict(*first, out.alignment) != 0;
    out.writer = zip_layouts::writer_of(out, ours, numbered, has(".data/serialization_id") != nullptr);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
