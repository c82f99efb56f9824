// ckpt/version.hpp: the version of the library, as macros.
//
// SPDX-License-Identifier: MIT
// The build files read these three lines; they are the only place where the version is written.
#pragma once

#define CKPT_VERSION_MAJOR 0
#define CKPT_VERSION_MINOR 1
#define CKPT_VERSION_PATCH 0
