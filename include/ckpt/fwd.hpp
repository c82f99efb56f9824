// ckpt/fwd.hpp: forward declarations of what interfaces mention.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

enum class errc : std::uint16_t;
enum class dtype : std::uint8_t;
enum class layout : std::uint8_t;
enum class verdict : std::uint8_t;
enum class kind : std::uint8_t;
struct error;
struct limits;
struct open_options;
struct record;
struct global_entry;
template <class T> class result;
template <class T, std::size_t Rank> struct tensor_view;
class tensor;
class value;
class call;
class state_dict;
class checkpoint;
class global_scan;
class scratch;

} // namespace ckpt::inline CKPT_DETAIL_ABI
