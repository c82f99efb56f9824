// ckpt/folder.hpp: reads checkpoints that are folders, and the configuration that stands in them.
//
// SPDX-License-Identifier: MIT
// `open_folder` gives the same `checkpoint` that `open` gives for a file. See docs/tour.md.
#pragma once

#include <ckpt/config.hpp>
#include <ckpt/folder/open.hpp>
