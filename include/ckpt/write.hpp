// ckpt/write.hpp: writers of files that other programs read.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, or of a torch zip file a whole object; a path.
// Out:     the file, under its name only when it is whole.
// Refuses: what the format cannot hold, each tensor by name.
#pragma once

#include <ckpt/write/gguf.hpp>
#include <ckpt/write/gguf_metadata.hpp>
#include <ckpt/write/gguf_quant.hpp>
#include <ckpt/write/numpy.hpp>
#include <ckpt/write/safetensors.hpp>
#include <ckpt/write/torch.hpp>
#include <ckpt/write/write_types.hpp>
