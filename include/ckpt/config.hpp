// ckpt/config.hpp: the configuration beside weights, and other JSON files, as values.
//
// SPDX-License-Identifier: MIT
// In:      an open checkpoint, or the path of a JSON file.
// Out:     `checkpoint::config` and `open_json`, which give a `json_file`.
// Refuses: what torch/json_file.hpp refuses.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/torch/json_file.hpp>

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/config.ipp>
#endif
