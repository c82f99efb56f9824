// ckpt/torch/numpy.hpp: numpy scalars and arrays as plain values.
//
// SPDX-License-Identifier: MIT
// In:      `numpy_globals` as a part of a policy: scalar, _reconstruct and _frombuffer, in numpy 1's and 2's spelling.
// Out:     numbers; arrays as tensors over the bytes of the pickle, in either byte order, in C or Fortran order.
// Refuses: bytes that are not as many as shape and dtype need. Strings, structures, objects, dates and long doubles
//          stay inert: they have no dtype of PyTorch's.
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
[[nodiscard]] inline std::optional<numpy_type> read_numpy_type(const value& v) {
    const auto named = v.class_of().as_global();
    if (v.kind() != kind::object || !named || named->module != "numpy" || named->name != "dtype") return std::nullopt;
    const auto code = v.args()[0].as_string();
    if (!code) return std::nullopt;
    numpy_type out;
    const value state = v.state();
    if (state) {
        if (state.kind() != kind::tuple || state.size() < 5) return std::nullopt;
        const auto order = state[1].as_string();
        if (!order) return std::nullopt;
        if (*order == ">") out.order = byte_order::big;
        else if (*order != "<" && *order != "|" && *order != "=") return std::nullopt;
        for (const std::size_t i : {std::size_t{2}, std::size_t{3}, std::size_t{4}}) // subdtype, names, fields
            if (!state[i].is_none()) return std::nullopt;
    }
    for (const numpy_type_row& row : numpy_types)
        if (row.code == *code) {
            out.type = row.type;
            out.text = out.order == byte_order::little ? row.little : row.big;
            return out;
        }
    return std::nullopt;
}

namespace numpy {

/// A scalar of a simple dtype from its bytes.
[[nodiscard]] inline result<value> make_scalar(call& c, const numpy_type& type, const std::byte* at) {
    const auto real = [&](std::size_t offset, std::size_t width) -> double {
        if (width == 2)
            return static_cast<double>(static_cast<float>(f16{load<std::uint16_t>(at + offset, type.order)}));
        if (width == 4) return static_cast<double>(std::bit_cast<float>(load<std::uint32_t>(at + offset, type.order)));
        return std::bit_cast<double>(load<std::uint64_t>(at + offset, type.order));
    };
    switch (type.type) {
    case ckpt::dtype::bool_: return c.make_bool(at[0] != std::byte{0});
    case ckpt::dtype::int8: return c.make_int(static_cast<std::int8_t>(load<std::uint8_t>(at, type.order)));
    case ckpt::dtype::uint8: return c.make_int(load<std::uint8_t>(at, type.order));
    case ckpt::dtype::int16: return c.make_int(static_cast<std::int16_t>(load<std::uint16_t>(at, type.order)));
    case ckpt::dtype::uint16: return c.make_int(load<std::uint16_t>(at, type.order));
    case ckpt::dtype::int32: return c.make_int(static_cast<std::int32_t>(load<std::uint32_t>(at, type.order)));
    case ckpt::dtype::uint32: return c.make_int(load<std::uint32_t>(at, type.order));
    case ckpt::dtype::int64: return c.make_int(static_cast<std::int64_t>(load<std::uint64_t>(at, type.order)));
    case ckpt::dtype::uint64: return c.make_unsigned(load<std::uint64_t>(at, type.order));
    case ckpt::dtype::float16: return c.make_real(real(0, 2));
    case ckpt::dtype::float32: return c.make_real(real(0, 4));
    case ckpt::dtype::float64: return c.make_real(real(0, 8));
    case ckpt::dtype::complex64: return c.make_complex(real(0, 4), real(4, 4));
    case ckpt::dtype::complex128: return c.make_complex(real(0, 8), real(8, 8));
    default: return c.keep_inert();
    }
}

/// The bytes of an array, wherever they came from, as a tensor.
[[nodiscard]] inline result<value> make_array(call& c, const numpy_type& type, std::uint32_t shape, std::uint32_t data,
                                              bool fortran) {
    graph& g = c.graph();
    const node& bytes = g.nodes[data];
    const bool holds_bytes = bytes.kind == node_kind::bytes || bytes.kind == node_kind::byte_array ||
                             (bytes.kind == node_kind::string && (bytes.flags & node_flag::eight_bit) != 0);
    if (!holds_bytes) return c.fail(errc::bad_arguments, "the data of an array are not bytes");
    tensor_data t{};
    t.type = type.type;
    if (!rebuild::read_numbers(c, g.nodes[shape], t.shape, t.rank)) {
        if (c.over_limit()) return c.over_budget();
        return c.fail(errc::bad_arguments, "the shape of an array is not a tuple of integers");
    }
    if (t.rank > c.rank_limit()) return rebuild::refuse_geometry(c, errc::shape_invalid, t, bytes.a);
    if (!c.charge(t.rank * sizeof(std::int64_t))) return c.over_budget();
    auto* strides = g.memory.allocate<std::int64_t>(t.rank);
    set_dense_strides(t.sizes(), fortran, strides);
    t.strides = strides;
    if (const errc code = check_geometry(t, bytes.a, c.rank_limit()); code != errc::none)
        return rebuild::refuse_geometry(c, code, t, bytes.a);
    if (t.numel * itemsize(t.type) != bytes.a)
        return c.fail(errc::storage_size_mismatch, "an array has " + decimal(std::uint64_t{bytes.a}) +
                                                       " bytes, its shape and dtype need " +
                                                       decimal(t.numel * itemsize(t.type)));
    // Bytes that are still where the file has them have a place in it; transcoded ones have none.
    const auto* first = reinterpret_cast<const std::byte*>(bytes.text);
    const std::byte* begin = g.pickle.data();
    const bool in_file = !g.transcoded && bytes.a > 0 && first >= begin && first < begin + g.pickle.size();
    t.storage = g.maker->add({first, bytes.a}, type.order,
                             in_file ? g.base + static_cast<std::uint64_t>(first - begin) : no_offset);
    g.tensors.push_back(g.memory, t);
    g.arrays.push_back(g.memory, {type.text, static_cast<std::uint32_t>(g.tensors.size() - 1), fortran});
    return c.make(node::of(node_kind::array, static_cast<std::uint32_t>(g.arrays.size() - 1)),
                  sizeof t + sizeof(array_value));
}

} // namespace numpy

/// numpy._core.multiarray.scalar(dtype, bytes).
inline result<value> builders::numpy_scalar(call& c) {
    if (c.args.size() != 2) return c.fail(errc::bad_arguments, "a numpy scalar takes a dtype and bytes");
    const auto type = read_numpy_type(c.args[0]);
    const auto bytes = c.args[1].as_bytes();
    if (!type) return c.keep_inert();
    if (!bytes || bytes->size() != itemsize(type->type))
        return c.fail(errc::bad_arguments, "a numpy scalar has another number of bytes than its dtype");
    return numpy::make_scalar(c, *type, bytes->data());
}

/// numpy._core.multiarray._reconstruct(numpy.ndarray, (0,), b'b') with the state
/// (version, shape, dtype, is_fortran, data).
inline result<value> builders::numpy_reconstruct(call& c) {
    const auto named = c.args[0].as_global();
    if (c.args.size() != 3 || !named)
        return c.fail(errc::bad_arguments, "_reconstruct takes a class, a shape and a type code");
    if (named->module != "numpy" || named->name != "ndarray") return c.keep_inert(); // matrix, recarray, masked arrays
    if (c.state.kind() != kind::tuple || c.state.size() != 5)
        return c.fail(errc::bad_arguments, "the state of an array is not a tuple of 5");
    const auto type = read_numpy_type(c.state[2]);
    if (!type) return c.keep_inert();
    bool fortran = false;
    if (!rebuild::read_flag(c.graph().nodes[detail_access::node(c.state[3])], fortran))
        return c.fail(errc::bad_arguments, "the order of an array is not a bool");
    return numpy::make_array(c, *type, detail_access::node(c.state[1]), detail_access::node(c.state[4]), fortran);
}

/// numpy._core.numeric._frombuffer(buffer, dtype, shape, order): protocol 5.
inline result<value> builders::numpy_frombuffer(call& c) {
    if (c.args.size() != 4)
        return c.fail(errc::bad_arguments, "_frombuffer takes a buffer, a dtype, a shape and an order");
    const auto type = read_numpy_type(c.args[1]);
    if (!type) return c.keep_inert();
    const auto order = c.args[3].as_string();
    if (!order || (*order != "C" && *order != "F"))
        return c.fail(errc::bad_arguments, "the order of an array is neither C nor F");
    return numpy::make_array(c, *type, detail_access::node(c.args[2]), detail_access::node(c.args[0]), *order == "F");
}

} // namespace detail

/// numpy scalars and arrays of the dtypes that PyTorch has. Others, and dtypes themselves, are kept inert.
struct numpy_globals {
    static constexpr bool shipped = true;
    static constexpr global_entry entries[]{
        {"numpy", "dtype"},
        {"numpy", "ndarray"},
        {"numpy._core.multiarray", "_reconstruct", detail::builders::numpy_reconstruct, global_kind::other,
         global_accepts::state},
        {"numpy._core.multiarray", "scalar", detail::builders::numpy_scalar, global_kind::scalar,
         global_accepts::nothing},
        {"numpy._core.numeric", "_frombuffer", detail::builders::numpy_frombuffer, global_kind::other,
         global_accepts::nothing},
    };
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
