// ckpt/core/config.hpp: what the compiler can do, and the inline namespace of this version.
//
// SPDX-License-Identifier: MIT
// In:      the compiler's predefined macros.
// Out:     CKPT_EXCEPTIONS (0 or 1; a program may set it); the inline namespace, which differs between the two, so that
//          objects of both kinds do not link with each other; attributes for functions of inner loops and of kernels.
// Refuses: compilers below C++20.
#pragma once

#include <ckpt/version.hpp>

// The second line of each pair names no file. It ends the compilation there; #error goes on with a page of errors.
#if defined(_MSVC_LANG)
#if _MSVC_LANG < 202002L
#error "ckpt needs C++20: compile this translation unit with /std:c++20, or wrap ckpt in one that does"
#include <C++20>
#endif
#elif __cplusplus < 202002L
#error "ckpt needs C++20: compile this translation unit with -std=c++20, or wrap ckpt in one that does"
#include <C++20>
#endif

#if !defined(CKPT_EXCEPTIONS)
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define CKPT_EXCEPTIONS 1
#else
#define CKPT_EXCEPTIONS 0
#endif
#endif

// Definitions stand in files of their own, STAGE/impl/x.ipp. Without CKPT_COMPILED x.hpp includes x.ipp, and all
// functions are inline. With it they are ordinary functions, compiled once: by src/*.cpp, or by <ckpt/impl/src.hpp>.
// CKPT_DETAIL_RARE marks functions that few files need, such as those of the tar reader, and such as run once for a
// file: header-only programs compile them for size. CKPT_DETAIL_COLD marks the same of functions that are local to an
// x.ipp, which are inline in both modes.
#if defined(CKPT_COMPILED)
#define CKPT_DETAIL_DEF
#define CKPT_DETAIL_RARE
#define CKPT_DETAIL_COLD
#if CKPT_EXCEPTIONS
#define CKPT_DETAIL_ABI v0_1_compiled
#else
#define CKPT_DETAIL_ABI v0_1_compiled_noexcept
#endif
#else
#if defined(__GNUC__)
#define CKPT_DETAIL_COLD [[gnu::cold]]
#else
#define CKPT_DETAIL_COLD
#endif
#define CKPT_DETAIL_DEF inline
#define CKPT_DETAIL_RARE CKPT_DETAIL_COLD inline
#if CKPT_EXCEPTIONS
#define CKPT_DETAIL_ABI v0_1
#else
#define CKPT_DETAIL_ABI v0_1_noexcept
#endif
#endif

// For small functions of an inner loop. Compilers do not inline them by themselves where they have many callers.
#if defined(__GNUC__)
#define CKPT_DETAIL_INLINE [[gnu::always_inline]] inline
#elif defined(_MSC_VER)
#define CKPT_DETAIL_INLINE __forceinline
#else
#define CKPT_DETAIL_INLINE inline
#endif

// Marks what the result of a function refers to, an argument or the object itself. Clang and MSVC then warn where that
// is a temporary, or a variable of the function that returns the result. GCC has no such attribute.
#if defined(__clang__) && __has_cpp_attribute(clang::lifetimebound)
#define CKPT_DETAIL_BORROWED [[clang::lifetimebound]]
#elif defined(_MSC_VER) && __has_cpp_attribute(msvc::lifetimebound)
#define CKPT_DETAIL_BORROWED [[msvc::lifetimebound]]
#else
#define CKPT_DETAIL_BORROWED
#endif

// For functions that CUDA kernels call, too. Other compilers than nvcc see ordinary functions.
#if defined(__CUDACC__)
#define CKPT_DETAIL_HOST_DEVICE __host__ __device__
#else
#define CKPT_DETAIL_HOST_DEVICE
#endif
