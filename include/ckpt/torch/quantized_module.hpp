// ckpt/torch/quantized_module.hpp: whole modules of torch.ao.nn.quantized, with the state_dict that they have.
//
// SPDX-License-Identifier: MIT
// In:      resolved objects with a state.
// Out:     the same objects, whose buffers are what `_save_to_state_dict` of their classes adds: weight and bias out of
//          packed parameters, scale and zero_point as tensors.
// Refuses: nothing; an object of another form stays as it is.
//
// Source: torch/ao/nn/quantized of torch 2.13, and files that it wrote. torch.nn.quantized before has the same states.
#pragma once

#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class quantised_modules {
  public:
    /// `budget`: bytes that builders may still make. All must outlive the object.
    quantised_modules(graph& g, storage_maker& storages, std::uint64_t& budget) noexcept
        : graph_{g}, storages_{storages}, budget_{budget} {}

    /// The elements of the state of a convolution.
    static constexpr std::size_t convolution_state = 15;

    /// Whether a module with this attribute may be one for `adapt_packed`.
    [[nodiscard]] static constexpr bool has_meaning(std::string_view attribute) noexcept {
        return attribute == "scale" || attribute == "_packed_params" || attribute == "_packed_weight" ||
               attribute == "param";
    }

    /// Gives a convolution, whose state is a tuple of its attributes, a state as other modules have it. False where the
    /// budget is spent.
    [[nodiscard]] bool adapt_convolution(std::uint32_t object);
    /// Gives a module whose state is a dictionary another one with further buffers: what packed parameters hold, scale
    /// and zero_point. False where the budget is spent.
    [[nodiscard]] bool adapt_packed(std::uint32_t object);

  private:
    [[nodiscard]] bool pay(std::uint64_t bytes) noexcept;

    /// Whether an object is a packed parameter: torch.ScriptObject.
    [[nodiscard]] static bool is_packed(const value& v) noexcept;
    /// What the state_dict has of a packed parameter: (weight, bias) of linear layers, the weight of embeddings,
    /// otherwise the object itself.
    [[nodiscard]] static value unpacked(const value& packed, std::string_view name) noexcept;

    void put(std::vector<std::uint32_t>& pairs, std::string_view name, const value& mapped);
    /// Adds a tensor without dimensions, of a float or an int of the state.
    [[nodiscard]] bool put_number(std::vector<std::uint32_t>& pairs, std::string_view name, const value& number);

    graph& graph_;
    storage_maker& storages_;
    std::uint64_t& budget_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/quantized_module.ipp>
#endif
