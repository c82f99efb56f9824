// ckpt/ckpt.hpp: reads PyTorch checkpoints without PyTorch and without Python.
//
// SPDX-License-Identifier: MIT
// The header that programs include. See docs/tour.md.
#pragma once

// First, so that nothing is compiled, and reported, of what an older standard does not know.
#include <ckpt/core/config.hpp>

#include <array>
#include <cstring>
#include <optional>

// In the order in which they depend on each other: a compiler shows by way of which files it came to one, and it comes
// to each by this one only.
// clang-format off
#include <ckpt/core/fixed_string.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/half.hpp>
#include <ckpt/tensor/view.hpp>
#include <ckpt/tensor/tensor.hpp>
#include <ckpt/tensor/copy.hpp>
#include <ckpt/tensor/indices.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/torch/global_scan.hpp>
#include <ckpt/torch/policies.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/state/walk.hpp>
#include <ckpt/state/discovery.hpp>
#include <ckpt/state/digest.hpp>
#include <ckpt/state/binding.hpp>
#include <ckpt/state/load_report.hpp>
#include <ckpt/state/load.hpp>
#include <ckpt/state/rule_formula.hpp>
#include <ckpt/state/key_rules.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/remap.hpp>
#include <ckpt/checkpoint.hpp>
// clang-format on
#include <ckpt/version.hpp>
