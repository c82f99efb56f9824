// ckpt/torch/zip_checkpoint.hpp: opens a zip archive of PyTorch.
//
// SPDX-License-Identifier: MIT
// In:      a source, an allowlist, options.
// Out:     directory, layout, graph and storages; immutable from then on.
// Refuses: what archive, layout, machine and resolver refuse.
//
// The root is the object of torch.save, the module of TorchScript, a dictionary of the weights of PT2 by name, or a
// dictionary of the pickles of torch.package by resource path. TorchScript with constants has the root {"module": ...,
// "constants": ...}, PT2 with constants {"weights": ..., "constants": ...}.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/archive/zip_verify.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/scratch.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/machine.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/pt2_layout.hpp>
#include <ckpt/torch/resolve.hpp>
#include <ckpt/torch/script_model.hpp>
#include <ckpt/torch/sniff.hpp>
#include <ckpt/torch/storage_table.hpp>
#include <ckpt/torch/zip_layout.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A pickle of an archive, in memory.
struct opened_pickle {
    zip_pickle place{};
    std::span<const std::byte> bytes{};
    std::uint64_t offset{}; // in the file
    bool transcoded{false}; // it was compressed
};

/// A zip archive of PyTorch, with its directory, its layout, and its pickles in memory.
struct opened_zip {
    zip_archive archive{};
    zip_layout layout{};
    plain_list<opened_pickle> pickles{};

    [[nodiscard]] static result<opened_zip> read(const source& from, const limits& budget, const inflater& inflate,
                                                 arena& memory);

    /// Reads the bytes of one pickle, within the limits, and checks its CRC.
    [[nodiscard]] static result<opened_pickle> open_pickle(const source& from, const zip_pickle& place,
                                                           const limits& budget, const inflater& inflate,
                                                           arena& memory);

  private:
    /// Checks the first byte of a pickle, so that gigabytes of other data, such as a hole of a sparse file, are not
    /// read.
    [[nodiscard]] static result<void> begins_as_pickle(const source& from, const record& pickle, std::uint64_t at);
};

/// A file of torch.save that is a record of a PT2 archive, for tensors that are not plain.
struct nested_zip final : public counted {
    shared<source> from{};
    opened_zip zip{};

    /// `memory` must outlive it. A compressed record may have the size of a compressed pickle.
    [[nodiscard]] static result<shared<nested_zip>> read(const shared<source>& outer, const record& r,
                                                         const limits& budget, const inflater& inflate, arena& memory);

  private:
    [[nodiscard]] static result<shared<source>> open_record(const shared<source>& outer, const record& r,
                                                            const limits& budget, const inflater& inflate,
                                                            arena& memory);
};

/// Whether a record is a zip archive, by its first bytes.
[[nodiscard]] bool holds_zip(const source& from, const record& r);

/// Calls `visit` with the pickles of an archive that are not part of its root: each record named *.pkl, each that
/// begins like a pickle, and in PT2 those of whole files inside it. Their bytes live for the call. Returns why a record
/// could not be looked into: damage, or an archive or compressed data inside the archive.
[[nodiscard]] std::optional<error> visit_other_pickles(const shared<source>& from, const opened_zip& zip,
                                                       const limits& budget, const inflater& inflate,
                                                       function_ref<void(const opened_pickle&)> visit);

class zip_checkpoint final : public checkpoint_file {
  public:
    [[nodiscard]] static result<shared<checkpoint_file>> open(shared<source> from, const allowlist& allowed,
                                                              const limits& budget, const scratch& reuse,
                                                              std::optional<byte_order> order, const inflater& inflate);

    zip_checkpoint(shared<source> from, const limits& budget, const scratch& reuse, const inflater& inflate);

    [[nodiscard]] std::span<const record> records() const noexcept override { return archive_.records(); }
    CKPT_DETAIL_DEF void check(const file_check& how, verify_report& out) const override;

  private:
    [[nodiscard]] result<void> build(const zip_layout& layout, std::span<const opened_pickle> pickles,
                                     const allowlist& allowed);

    [[nodiscard]] storage_folder folder_of(const opened_pickle& p) const noexcept {
        return {&*from_, &archive_, p.place.before, p.place.after, facts_.order};
    }
    [[nodiscard]] result<void> keep_root(result<std::uint32_t> value);

    /// Reads and resolves one pickle, and returns the node of its value. A failure does not affect pickles before it.
    [[nodiscard]] result<std::uint32_t> parse(const opened_pickle& p, const storage_folder& folder,
                                              const allowlist& allowed, id_form ids = id_form::zip);
    /// Handles the failure of one part of a file: the file fails where a global is not allowed or a limit is exceeded;
    /// otherwise the value becomes the error.
    [[nodiscard]] result<std::uint32_t> or_refused(result<std::uint32_t> value);

    /// Builds the root of TorchScript: the module and the constants of constants.pkl.
    [[nodiscard]] result<void> build_script(const zip_layout& layout, std::span<const opened_pickle> pickles,
                                            const allowlist& allowed);
    /// Puts the attribute "training" of each module behind all others. torch 1.3 has it first, later ones behind
    /// parameters and buffers, so that what is behind it is neither.
    void order_attributes(std::size_t first_node);
    /// `what` alone, or {name: what, "constants": constants} where there are constants.
    [[nodiscard]] std::uint32_t with_constants(std::string_view name, std::uint32_t what, std::uint32_t constants);

    /// The same for torch 1.0 to 1.2, where JSON lists the tensors and the elements of attributes.pkl of each module.
    [[nodiscard]] result<void> build_script_model(const zip_layout& layout, std::span<const opened_pickle> pickles,
                                                  const allowlist& allowed);
    [[nodiscard]] std::uint32_t add_module(std::string_view name, std::span<const std::uint32_t> pairs);
    [[nodiscard]] result<void> describe(const script_tensor& t, tensor_data& made);

    /// A module of TorchScript in a package.
    struct packaged_module {
        std::string_view number{};
        std::uint32_t node{};
    };
    [[nodiscard]] result<void> build_package(const zip_layout& layout, std::span<const opened_pickle> pickles,
                                             const allowlist& allowed);
    /// The modules of TorchScript in a package, in ascending order; constants that one has are added to the entries of
    /// the root.
    [[nodiscard]] result<plain_list<packaged_module>> packaged_modules(const zip_layout& layout,
                                                                       std::span<const opened_pickle> pickles,
                                                                       const allowlist& allowed,
                                                                       std::vector<std::uint32_t>& constants);
    /// Puts modules where the nodes and containers from these numbers on refer to them, as
    /// ("reduce_package", id, torch.jit._script.unpackage_script_module, (number,)).
    void place_modules(std::span<const packaged_module> modules, std::size_t first_node, std::size_t first_container);
    /// The module that a node refers to; null where it is no such reference.
    [[nodiscard]] const packaged_module* module_named(std::span<const packaged_module> modules,
                                                      std::uint32_t index) const noexcept;

    // --- PT2

    [[nodiscard]] result<void> build_pt2(const zip_layout& layout, const allowlist& allowed);
    [[nodiscard]] result<std::uint32_t> pt2_value(const pt2_config& c, const pt2_entry& e, const allowlist& allowed);
    [[nodiscard]] result<void> describe(const pt2_entry& e, tensor_data& t);

    // --- tensors that JSON describes

    [[nodiscard]] error bad_json(const record& r, std::string_view fault, std::size_t at) const;
    void begin_json(const record& r);
    /// Sets `t` to a tensor on the storage of `key`, with the geometry of `from`, which it checks.
    template <class Description>
    [[nodiscard]] result<void> place(tensor_data& t, ckpt::dtype type, const Description& from, std::string_view key) {
        if (from.strides_rank != from.rank)
            return error{.code = errc::shape_invalid, .detail = "the size and the stride of a tensor differ in length"};
        t.type = type;
        t.requires_grad = from.requires_grad;
        t.storage_offset = from.offset;
        t.rank = from.rank;
        t.shape = from.shape;
        t.strides = from.strides;
        if (const errc found = storages_.find(key, t.storage); found != errc::none)
            return error{.code = found, .detail = str_cat("there is no record ", quoted(key))};
        const std::uint64_t bytes = storages_.nbytes(t.storage);
        if (const errc code = check_geometry(t, bytes, limits_.tensor_rank); code != errc::none)
            return geometry_error(code, t, bytes, limits_.tensor_rank);
        return {};
    }
    /// Adds the node of a tensor, or of its error.
    [[nodiscard]] std::uint32_t add_described(const record& in, std::string_view key, const tensor_data& t,
                                              result<void> described);

    /// Reads the object of a record that is a file of torch.save, or a pickle.
    [[nodiscard]] result<std::uint32_t> blob(const record& r, const allowlist& allowed);

    /// Builds the root of a PT2 archive of torch 2.8: data/weights/MODEL.pt and data/constants/MODEL.pt.
    [[nodiscard]] result<void> build_old_pt2(const zip_layout& layout, const allowlist& allowed);
    /// Builds the root of a PT2 archive of torch 2.1 to 2.7.
    [[nodiscard]] result<void> build_blobs(const allowlist& allowed);
    [[nodiscard]] result<void> build_of_blobs(const record* weights, const record* constants, const allowlist& allowed);

    shared<source> from_;
    arena directory_;
    inflater inflate_;
    zip_archive archive_{};
    std::optional<byte_order> order_{};
    std::vector<shared<nested_zip>> nested_{};
    storage_table storages_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/zip_checkpoint.ipp>
#endif
