// ckpt/pickle/acting.hpp: names of the classes of Python's standard library that act when they are made.
//
// SPDX-License-Identifier: MIT
// In:      the name of a class, without its module.
// Out:     whether a class of the standard library has this name and runs, imports, opens, connects or deletes
// something. Refuses: nothing.
//
// A framework's module that imports such a class offers it as a name of its own, so that no pattern may admit the name.
#pragma once

#include <ckpt/core/config.hpp>

#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether a class of the standard library has this name and acts when it is made.
[[nodiscard]] bool names_acting_class(std::string_view name) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/acting.ipp>
#endif
