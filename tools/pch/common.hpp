// tools/pch/common.hpp: what most commands include, compiled once.
//
// SPDX-License-Identifier: MIT
#include "../common.hpp"
#include "../render.hpp"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <unordered_map>
#include <utility>
