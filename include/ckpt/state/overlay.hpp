// ckpt/state/overlay.hpp: several state_dicts as one; later ones win.
//
// SPDX-License-Identifier: MIT
// In:      layers: a base, then adapters or files of changed tensors, each with a name for reports.
// Out:     one state_dict whose tensors say from which layer they are; what was replaced, and what was added.
// Refuses: no layers; a replacement of another shape, unless it is asked for.
//
// Nothing is copied: the result shares the files of all layers. Keys of different spellings are brought together by
// a map before (`remap(adapter, map)`), so that the names meet.
#pragma once

#include <ckpt/state/assemble.hpp>
#include <ckpt/state/state_dict.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One state_dict of an overlay. `name` is what `tensor::file()` of its tensors says.
struct layer {
    state_dict weights;
    std::string name{};
};

struct overlay_options {
    bool allow_other_shapes{false}; ///< a later layer may replace a tensor by one of another shape
};

/// What an overlay became.
struct overlaid {
    struct replacement {
        std::string key{};
        std::string layer{};    ///< the one that won
        std::string replaced{}; ///< the one whose tensor is not used
        dtype type{};           ///< of the tensor that won
        dtype type_before{};    ///< of the tensor that is not used
    };
    struct addition {
        std::string key{};
        std::string layer{};
    };
    state_dict weights;
    std::vector<replacement> replaced{};
    std::vector<addition> added{}; ///< keys that the first layer does not have
};

namespace detail {

/// The storages of one layer, under the layer's name.
class layer_storages final : public storage_source {
  public:
    layer_storages(const storage_source& from, std::string_view name) : from_{from}, name_{name} {}
    [[nodiscard]] std::uint64_t nbytes(std::uint32_t i) const noexcept override { return from_.nbytes(i); }
    [[nodiscard]] byte_order order(std::uint32_t i) const noexcept override { return from_.order(i); }
    [[nodiscard]] std::string_view key(std::uint32_t i) const noexcept override { return from_.key(i); }
    [[nodiscard]] std::string_view file(std::uint32_t) const noexcept override { return name_; }
    [[nodiscard]] bool is_compressed(std::uint32_t i) const noexcept override { return from_.is_compressed(i); }
    [[nodiscard]] bool is_gathered(std::uint32_t i) const noexcept override { return from_.is_gathered(i); }
    [[nodiscard]] result<stored_place> place_of(std::uint32_t i) const override { return from_.place_of(i); }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t i) const override { return from_.file_offset(i); }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t i) const override { return from_.bytes(i); }
    [[nodiscard]] result<void> read(std::uint32_t i, std::uint64_t offset, std::span<std::byte> out) const override {
        return from_.read(i, offset, out);
    }

  private:
    const storage_source& from_;
    std::string name_;
};

} // namespace detail

/// Lays `layers` over one another. The keys stand in the order of the first layer, those that others add behind them.
/// Fails with `shapes_differ` where a later layer would replace a tensor by one of another shape.
[[nodiscard]] result<overlaid> overlay(std::span<const layer> layers, const overlay_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/overlay.ipp>
#endif
