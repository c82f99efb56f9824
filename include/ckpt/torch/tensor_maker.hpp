// ckpt/torch/tensor_maker.hpp: makes plain tensors while the pickle is read.
//
// SPDX-License-Identifier: MIT
// In:      whole calls that the machine recognises; the storages of the archive.
// Out:     the tensors that `builders::rebuild_tensor_v2` would make of them, with the same checks.
// Refuses: whatever is not a plain tensor inside its storage. Such calls go through the resolver, which says what is
//          wrong, so that no error is made here.
#pragma once

#include <ckpt/core/limits.hpp>
#include <ckpt/pickle/whole_call.hpp>
#include <ckpt/torch/storage_class.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class tensor_maker final : public whole_call_maker {
  public:
    /// For the pickle that is read next.
    tensor_maker(graph& of, storage_maker& storages, const limits& budget) noexcept;

    [[nodiscard]] CKPT_DETAIL_DEF bool make(const whole_call& call, node& out) override;
    void forget() noexcept override { made_ = 0; }

    /// What the resolver would have charged for these tensors, of limits.made_per_byte.
    [[nodiscard]] std::uint64_t made_bytes() const noexcept { return made_; }

  private:
    /// Whether a call of these nodes rebuilds a tensor. Neighbours in a file usually have the same nodes.
    [[nodiscard]] bool admits(const whole_call& call) noexcept;

    /// The same for the class of a storage, whose type it finds.
    [[nodiscard]] bool admits_type(std::uint32_t index) noexcept;

    struct nodes {
        std::uint32_t callable{}, tag{}, type{}, place{}, empty_callable{};
    };
    struct known_type {
        std::uint32_t index{}; ///< of its node
        std::uint16_t type{untyped};
        std::size_t bytes{}; ///< of an element
    };

    graph& graph_;
    storage_maker& storages_;
    std::uint64_t made_{0};
    std::uint64_t most_made_;
    std::uint32_t rank_limit_;
    nodes last_{};          // that were admitted
    known_type type_{};     // of the same
    known_type types_[4]{}; // of late; a file has few types, in turn
    std::size_t next_type_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/tensor_maker.ipp>
#endif
