// ckpt/torch/zip_checkpoint.hpp: a zip archive of torch.save, opened.
//
// SPDX-License-Identifier: MIT
// In:      a source, an allowlist, options.
// Out:     directory, layout, graph and storages; immutable from then on.
// Refuses: what archive, layout, machine and resolver refuse. Nothing of a refused file is kept.
#pragma once

#include <ckpt/archive/zip.hpp>
#include <ckpt/archive/zip_verify.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/machine.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/resolve.hpp>
#include <ckpt/torch/sniff.hpp>
#include <ckpt/torch/storage_table.hpp>
#include <ckpt/torch/zip_layout.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A zip archive of torch.save whose directory and layout are known, and whose pickle is in memory.
struct opened_zip {
    zip_archive archive{};
    zip_layout layout{};
    std::span<const std::byte> pickle{};
    std::uint64_t pickle_offset{}; // in the file

    [[nodiscard]] static result<opened_zip> read(const source& from, const limits& budget, arena& memory) {
        std::byte head[4]{};
        const bool four = from.size() >= 4;
        if (four)
            if (auto read = from.read(0, head); !read) return std::move(read).error();
        if (!four || load_le<std::uint32_t>(head) != zip::local_signature) {
            error named = name_the_file(from);
            // An archive with something before it says more about itself than its first bytes do.
            if (named.code == errc::not_a_checkpoint && four && load_le<std::uint32_t>(head) != zip::end_signature) {
                auto archive = zip_archive::read(from, budget, memory);
                if (!archive && archive.error().code == errc::zip_prefix) return std::move(archive).error();
            }
            return named;
        }
        auto archive = zip_archive::read(from, budget, memory);
        if (!archive) return std::move(archive).error();
        opened_zip out;
        out.archive = std::move(*archive);
        auto layout = zip_layout::read(from, out.archive, memory);
        if (!layout) return std::move(layout).error();
        out.layout = *layout;
        const record& pickle = *out.layout.pickle;
        const std::uint64_t ceiling = std::min<std::uint64_t>(budget.pickle_bytes, 0xFFFF'FFFFu);
        if (pickle.size > ceiling)
            return error{.code = errc::limit, .offset = from.base() + pickle.header_offset, .record = std::string(pickle.name),
                         .detail = "the pickle has " + decimal(pickle.size) + " bytes, limits.pickle_bytes is " + decimal(ceiling)};
        if (pickle.method != 0) return zip_archive::not_stored(from, pickle);
        auto at = zip_archive::locate(from, pickle);
        if (!at) return std::move(at).error();
        if (auto plausible = begins_as_pickle(from, pickle, *at); !plausible) return std::move(plausible).error();
        auto bytes = zip_archive::read_record(from, pickle, memory, true);
        if (!bytes) return std::move(bytes).error();
        out.pickle = *bytes;
        out.pickle_offset = from.base() + *at;
        return out;
    }

  private:
    /// A hole of a sparse file, or other data, is told by its first byte, before gigabytes of it are read.
    [[nodiscard]] static result<void> begins_as_pickle(const source& from, const record& pickle, std::uint64_t at) {
        std::byte first[1]{};
        if (pickle.size == 0) return {};
        if (auto read = from.read(at, first); !read) return read;
        const auto op = static_cast<std::uint8_t>(first[0]);
        if (!opcode_table[op].name.empty()) return {};
        return error{.code = errc::pickle_opcode, .opcode = op, .offset = from.base() + at, .record = std::string(pickle.name),
                     .detail = "the pickle begins with the byte " + hexadecimal(op) + ", which is no opcode"};
    }
};

class zip_checkpoint final : public checkpoint_file {
  public:
    [[nodiscard]] static result<shared<checkpoint_file>> open(shared<source> from, const allowlist& allowed, const limits& budget, const scratch& reuse,
                                                              std::optional<byte_order> order) {
        auto out = make_shared<zip_checkpoint>(std::move(from), budget, reuse);
        auto zip = opened_zip::read(*out->from_, out->limits_, out->directory_);
        if (!zip) return std::move(zip).error();
        out->archive_ = std::move(zip->archive);
        const zip_layout& layout = zip->layout;
        out->facts_ = {"zip", layout.writer, order.value_or(layout.order), layout.order_recorded, out->from_->size(), {}};
        detail::graph& g = out->graph_;
        g.pickle = zip->pickle;
        g.base = zip->pickle_offset;
        g.record = layout.pickle->name;
        machine reader{g, allowed, out->limits_};
        if (auto read = reader.run(); !read) return std::move(read).error();
        out->storages_.emplace(*out->from_, out->archive_, std::string(layout.folder) + "data/", out->facts_.order, g.memory);
        g.storages = &*out->storages_;
        resolver meaning{g, *out->storages_, out->limits_, allowed};
        if (auto done = meaning.run(); !done) return std::move(done).error();
        return shared<checkpoint_file>{out};
    }

    zip_checkpoint(shared<source> from, const limits& budget, const scratch& reuse)
        : checkpoint_file{budget, reuse.pool()}, from_{std::move(from)}, directory_{reuse.pool()} {}

    [[nodiscard]] std::span<const record> records() const noexcept override { return archive_.records(); }
    void check(bool checksums, verify_report& out) const override {
        const auto note = [](void* context, const error& found) { static_cast<verify_report*>(context)->findings.push_back(found); };
        const zip_check done = verify_zip(*from_, archive_, {.checksums = checksums}, note, &out);
        out.records += done.records;
        out.bytes += done.bytes;
        out.unchecked_crc += done.unchecked_crc;
    }

  private:
    shared<source> from_;
    arena directory_;
    zip_archive archive_{};
    std::optional<storage_table> storages_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
