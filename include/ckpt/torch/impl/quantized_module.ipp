// ckpt/torch/impl/quantized_module.ipp: the definitions of quantized_module.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/value_access.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/torch/quantized_module.hpp>

#include <bit>
#include <cstddef>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE bool quantised_modules::pay(std::uint64_t bytes) noexcept {
    if (bytes > budget_) return false;
    budget_ -= bytes;
    return true;
}

CKPT_DETAIL_RARE bool quantised_modules::is_packed(const value& v) noexcept {
    if (v.kind() != kind::object) return false;
    const auto of = v.class_of().as_global();
    return of && of->module == "torch" && of->name == "ScriptObject";
}

CKPT_DETAIL_RARE value quantised_modules::unpacked(const value& packed, std::string_view name) noexcept {
    const value held = packed.state()[0];
    if (name == "_packed_params" && held.kind() == kind::tuple && held[0].kind() == kind::tensor) return held;
    // (version, [weight], [], [bits])
    if (const value weight = held[1][0]; name == "_packed_weight" && weight.kind() == kind::tensor) return weight;
    return packed;
}

CKPT_DETAIL_RARE bool quantised_modules::adapt_convolution(std::uint32_t object) {
    constexpr std::string_view names[]{"in_channels", "out_channels", "kernel_size",    "stride",     "padding",
                                       "dilation",    "transposed",   "output_padding", "groups",     "padding_mode",
                                       "weight",      "bias",         "scale",          "zero_point", "training"};
    const value convolution = value_access::make(graph_, object);
    const value state = convolution.state();
    const auto of = convolution.class_of().as_global();
    if (!of || !of->module.starts_with("torch.") || of->module.find(".quantized.") == std::string_view::npos ||
        state[10].kind() != kind::tensor)
        return true;
    if (!pay(1024)) return false;
    std::vector<std::uint32_t> buffers;
    put(buffers, names[10], state[10]);
    put(buffers, names[11], state[11]);
    if (!put_number(buffers, names[12], state[12]) || !put_number(buffers, names[13], state[13])) return false;
    std::vector<std::uint32_t> pairs;
    for (std::size_t i = 0; i < state.size(); ++i)
        if (i != 10 && i != 11) put(pairs, names[i], state[i]);
    put(pairs, "_parameters", value_access::make(graph_, graph_.add_dictionary({})));
    put(pairs, "_buffers", value_access::make(graph_, graph_.add_dictionary(buffers)));
    put(pairs, "_modules", value_access::make(graph_, graph_.add_dictionary({})));
    graph_.nodes[object + 1].a = graph_.add_dictionary(pairs);
    graph_.nodes[object].flags |= node_flag::module;
    return true;
}

CKPT_DETAIL_RARE bool quantised_modules::adapt_packed(std::uint32_t object) {
    const value module = value_access::make(graph_, object);
    const value state = module.state();
    value buffers{}, scale{}, zero_point{}, type{}, modules{};
    std::vector<std::uint32_t> pairs, added;
    if (!pay(16 * state.size() + 256)) return false;
    for (const value::entry e : state.entries()) {
        const auto text = e.key.as_string();
        const std::string_view name = text ? *text : std::string_view{};
        if (name == "_buffers") buffers = e.mapped;
        else if (name == "_modules") modules = e.mapped;
        else if (name == "scale") scale = e.mapped;
        else if (name == "zero_point") zero_point = e.mapped;
        else if (name == "dtype") type = e.mapped;
        if (is_packed(e.mapped)) {
            if (type) put(added, "dtype", type);
            type = {};
            added.push_back(value_access::node(e.key));
            added.push_back(value_access::node(unpacked(e.mapped, name)));
        } else if (name != "_buffers") {
            pairs.push_back(value_access::node(e.key));
            pairs.push_back(value_access::node(e.mapped));
        }
    }
    const auto of = module.class_of().as_global();
    if (!pay(modules.size() + 8 * buffers.size())) return false;
    if (modules.at("_packed_params") || (of && of->name == "QFunctional"))
        if (!put_number(added, "scale", scale) || !put_number(added, "zero_point", zero_point)) return false;
    if (added.empty()) return true;
    std::vector<std::uint32_t> all;
    for (const value::entry e : buffers.entries())
        all.insert(all.end(), {value_access::node(e.key), value_access::node(e.mapped)});
    all.insert(all.end(), added.begin(), added.end());
    put(pairs, "_buffers", value_access::make(graph_, graph_.add_dictionary(all)));
    graph_.nodes[object + 1].a = graph_.add_dictionary(pairs);
    return true;
}

CKPT_DETAIL_RARE void quantised_modules::put(std::vector<std::uint32_t>& pairs, std::string_view name,
                                             const value& mapped) {
    pairs.push_back(graph_.add_text(name));
    pairs.push_back(value_access::node(mapped));
}

CKPT_DETAIL_RARE bool quantised_modules::put_number(std::vector<std::uint32_t>& pairs, std::string_view name,
                                                    const value& number) {
    const bool whole = number.kind() == kind::integer;
    const auto i = number.as_int();
    const auto r = number.as_real();
    if (whole ? !i : number.kind() != kind::real) return true; // torch.tensor would not make a number of it
    constexpr std::size_t most = 8;
    if (!pay(sizeof(tensor_data) + most)) return false;
    const std::uint64_t bits =
        whole ? static_cast<std::uint64_t>(*i) : std::bit_cast<std::uint32_t>(static_cast<float>(*r));
    auto* const bytes = graph_.memory.allocate<std::byte>(most);
    for (std::size_t k = 0; k < most; ++k) bytes[k] = static_cast<std::byte>(bits >> (8 * k));
    tensor_data t{};
    t.type = whole ? ckpt::dtype::int64 : ckpt::dtype::float32;
    t.numel = 1;
    t.storage = storages_.add({bytes, itemsize(t.type)}, byte_order::little, no_offset);
    pairs.push_back(graph_.add_text(name));
    pairs.push_back(graph_.add_tensor(t));
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
