// tests/pch/unit.hpp: what most unit tests include, compiled once for each of their programs.
//
// SPDX-License-Identifier: MIT
//
// Every test includes what it uses all the same: tests/compilers/unit.sh compiles them without this.
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <ckpt/ckpt.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
