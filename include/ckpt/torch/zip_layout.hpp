// ckpt/torch/zip_layout.hpp: finds the pickles and storages of PyTorch's writers in a zip archive.
//
// SPDX-License-Identifier: MIT
// In:      the records of an archive.
// Out:     the kind of writer, the top folder, the pickles with the folders of their storages, byte order, alignment,
//          the version of the writer.
// Refuses: archives of other programs, which the error names; an unknown byte order or format version.
//
// Sources: caffe2/serialize/inline_container.cc, torch/serialization.py,
// torch/csrc/jit/serialization/export_module.cpp, torch/package/package_exporter.py,
// torch/export/pt2_archive/_package.py; files of torch 1.6 to 2.15.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/byte_order.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The kind of writer of an archive.
enum class zip_kind : std::uint8_t {
    torch_save,    // data.pkl
    torchscript,   // torch.jit.save since torch 1.3: data.pkl and constants.pkl
    script_model,  // torch.jit.save before: model.json and attributes.pkl
    torch_package, // torch.package: pickles under any name
    pt2,           // torch.export.save since torch 2.8: JSON for each model
    pt2_blobs,     // torch.export.save before: whole files of torch.save
};

/// The name of a container, as `checkpoint::container` gives it.
[[nodiscard]] constexpr std::string_view name(zip_kind kind) noexcept {
    switch (kind) {
    case zip_kind::torch_save: return "zip";
    case zip_kind::torchscript:
    case zip_kind::script_model: return "torchscript";
    case zip_kind::torch_package: return "torch_package";
    case zip_kind::pt2:
    case zip_kind::pt2_blobs: return "pt2";
    }
    return "zip";
}

/// A pickle of an archive. Its storages are the records named `before` + key + `after`.
struct zip_pickle {
    const record* from{nullptr};
    std::string_view before{};
    std::string_view after{};
    bool certain{true}; // false where only its first bytes tell that it is a pickle
    // Of a module of TorchScript in torch.package: its number, as pickles of the package name it. Empty for others.
    std::string_view script{};
};

struct zip_layout {
    zip_kind kind{zip_kind::torch_save};
    std::string_view folder{};        // with its slash: "archive/", or empty
    plain_list<zip_pickle> pickles{}; // none for the kinds of PT2
    byte_order order{byte_order::little};
    bool order_recorded{false};
    std::uint64_t alignment{64};
    std::uint32_t format_version{0}; // of the record `version`; 0 where it is absent
    std::string_view writer{};       // a static sentence

    [[nodiscard]] static result<zip_layout> read(const source& from, const zip_archive& archive,
                                                 const inflater& inflate, arena& memory);
};

namespace zip_layouts {

/// Joins two texts in memory of the arena.
[[nodiscard]] std::string_view join(std::string_view a, std::string_view b, arena& memory);

/// Finds data.pkl outside torch.package, where it is a module of TorchScript or a resource; null without one. Its
/// folder is the top folder: the shortest such name counts, because people pack archives again with another top folder
/// or an outer one. Refuses two of equal depth: two checkpoints in one archive.
[[nodiscard]] result<const record*> find_data(const source& from, const zip_archive& archive);

/// Whether a record lies in a torch.package archive.
[[nodiscard]] bool is_package(const zip_archive& archive, std::string_view name);

/// Sets the kind and the top folder of an archive without data.pkl, or fails with an error that names its format.
[[nodiscard]] result<void> name_other(const source& from, const zip_archive& archive, zip_layout& out);

/// Finds the pickles of a package by the first bytes of its records, because names may have any suffix. Of the folder
/// .data it takes the modules of TorchScript, which come first; it leaves out Python sources.
[[nodiscard]] result<void> find_package_pickles(const source& from, const zip_archive& archive, zip_layout& out,
                                                arena& memory);

/// The version of the writer, by records that only later versions of torch write (as seen in files of 1.7, 1.13, 2.6,
/// 2.13 and 2.14).
[[nodiscard]] constexpr std::string_view writer_of(const zip_layout& layout, bool ours, bool numbered,
                                                   bool identified) noexcept {
    if (!ours) return "a zip tool (repacked), or another program than PyTorch";
    switch (layout.kind) {
    case zip_kind::torch_save:
        if (numbered) return "torch.save of torch 2.7 or later";
        if (layout.order_recorded) return "torch.save of torch 2.1 to 2.6";
        return identified ? "torch.save of torch 2.0 or 2.1" : "torch.save of torch 1.6 to 2.0";
    case zip_kind::torchscript:
        if (layout.order_recorded) return "torch.jit.save of torch 2.1 or later";
        return identified ? "torch.jit.save of torch 2.0 or 2.1" : "torch.jit.save of torch 1.3 to 2.0";
    case zip_kind::script_model: return "torch.jit.save of torch 1.0 to 1.2";
    case zip_kind::torch_package:
        if (layout.order_recorded) return "torch.package of torch 2.1 or later";
        return identified ? "torch.package of torch 2.0 or 2.1" : "torch.package of torch 1.9 to 2.0";
    case zip_kind::pt2: return "torch.export.save of torch 2.8 or later";
    case zip_kind::pt2_blobs: return "torch.export.save of torch 2.1 to 2.7";
    }
    return "PyTorch";
}

} // namespace zip_layouts

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/zip_layout.ipp>
#endif
