// ckpt/maps/impl/torchvision.ipp: the definitions of torchvision.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/maps/torchvision.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF key_map torchvision_densenet_from_earlier() {
    return key_map{
        rule("rename {p:**}.denselayer{l:int}.{kind:norm|conv}.{n:1|2}.{leaf} -> {p}.denselayer{l}.{kind}{n}.{leaf}")};
}

CKPT_DETAIL_DEF key_map torchvision_densenet_to_earlier() {
    return key_map{
        rule("?drop **.num_batches_tracked"),
        rule("rename {p:**}.denselayer{l:int}.{kind:norm|conv}{n:1|2}.{leaf} -> {p}.denselayer{l}.{kind}.{n}.{leaf}")};
}

CKPT_DETAIL_DEF key_map torchvision_vit_from_earlier() {
    return key_map{rule(
        "rename {p:**}.encoder_layer_{l:int}.mlp.linear_{n:int}.{leaf} -> {p}.encoder_layer_{l}.mlp.{3*n-3}.{leaf}")};
}

CKPT_DETAIL_DEF key_map torchvision_vit_to_earlier() {
    return key_map{rule(
        "rename {p:**}.encoder_layer_{l:int}.mlp.{n:int}.{leaf} -> {p}.encoder_layer_{l}.mlp.linear_{n/3+1}.{leaf}")};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
