// ckpt/torch/numpy.hpp: numpy scalars and arrays as plain values.
//
// SPDX-License-Identifier: MIT
// In:      `numpy_globals` as a part of a policy: scalar, _reconstruct and _frombuffer, in numpy 1's and 2's spelling.
// Out:     numbers; arrays as tensors over the bytes of the pickle, in either byte order, in C or Fortran order.
// Refuses: another number of bytes than shape and dtype need. Strings, structures, objects, dates and long doubles are
//          kept inert, because PyTorch has no dtype for them.
//
// Sources: numpy/_core/src/multiarray (arraydescr_reduce, array_setstate); seen with numpy 1.19 to 2.4.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/tensor/half.hpp>
#include <ckpt/torch/containers.hpp>
#include <ckpt/torch/rebuild.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// A numpy dtype that PyTorch has too.
struct numpy_type {
    ckpt::dtype type{};
    byte_order order{byte_order::little};
    std::string_view text{}; // "<f8"
};

struct numpy_type_row {
    std::string_view code{}; // as in numpy.dtype('f8', False, True)
    ckpt::dtype type{};
    std::string_view little{};
    std::string_view big{};
};

inline constexpr numpy_type_row numpy_types[]{
    {"b1", ckpt::dtype::bool_, "|b1", "|b1"},     {"i1", ckpt::dtype::int8, "|i1", "|i1"},
    {"u1", ckpt::dtype::uint8, "|u1", "|u1"},     {"i2", ckpt::dtype::int16, "<i2", ">i2"},
    {"u2", ckpt::dtype::uint16, "<u2", ">u2"},    {"i4", ckpt::dtype::int32, "<i4", ">i4"},
    {"u4", ckpt::dtype::uint32, "<u4", ">u4"},    {"i8", ckpt::dtype::int64, "<i8", ">i8"},
    {"u8", ckpt::dtype::uint64, "<u8", ">u8"},    {"f2", ckpt::dtype::float16, "<f2", ">f2"},
    {"f4", ckpt::dtype::float32, "<f4", ">f4"},   {"f8", ckpt::dtype::float64, "<f8", ">f8"},
    {"c8", ckpt::dtype::complex64, "<c8", ">c8"}, {"c16", ckpt::dtype::complex128, "<c16", ">c16"},
};

/// Reads the inert object numpy.dtype(code, align, copy) with its state
/// (3, byteorder, subdtype, names, fields, elsize, alignment, flags); nothing where PyTorch has no such dtype.
[[nodiscard]] std::optional<numpy_type> read_numpy_type(const value& v);

namespace numpy {

/// A scalar of a simple dtype from its bytes.
[[nodiscard]] result<value> make_scalar(call& c, const numpy_type& type, const std::byte* at);

/// An array from the nodes of its shape and its bytes, as a tensor.
[[nodiscard]] result<value> make_array(call& c, const numpy_type& type, std::uint32_t shape, std::uint32_t data,
                                       bool fortran);

} // namespace numpy

} // namespace detail

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/numpy.ipp>
#endif
