// ckpt/maps.hpp: all ready-made key maps.
//
// SPDX-License-Identifier: MIT
// In:      nothing. Out: everything below ckpt/maps. Refuses: nothing of its own.
#pragma once

#include <ckpt/maps/averages.hpp>
#include <ckpt/maps/chinese_clip.hpp>
#include <ckpt/maps/clip.hpp>
#include <ckpt/maps/gpt2.hpp>
#include <ckpt/maps/latent_diffusion.hpp>
#include <ckpt/maps/llama.hpp>
#include <ckpt/maps/torchvision.hpp>
#include <ckpt/maps/whisper.hpp>
#include <ckpt/maps/wrappers.hpp>
