// ckpt/torch/impl/numpy.ipp: the definitions of numpy.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/numpy.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::optional<numpy_type> read_numpy_type(const value& v) {
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

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI::detail::numpy {

CKPT_DETAIL_RARE result<value> make_scalar(call& c, const numpy_type& type, const std::byte* at) {
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
    default: return call_access::keep_inert(c);
    }
}

CKPT_DETAIL_RARE result<value> make_array(call& c, const numpy_type& type, std::uint32_t shape, std::uint32_t data,
                                          bool fortran) {
    graph& g = call_access::graph(c);
    const node& bytes = g.nodes[data];
    const bool holds_bytes = bytes.kind == node_kind::bytes || bytes.kind == node_kind::byte_array ||
                             (bytes.kind == node_kind::string && (bytes.flags & node_flag::eight_bit) != 0);
    if (!holds_bytes) return c.fail(errc::bad_arguments, "the data of an array are not bytes");
    tensor_data t{};
    t.type = type.type;
    if (!rebuild::read_numbers(c, g.nodes[shape], t.shape, t.rank)) {
        if (call_access::over_limit(c)) return c.over_budget();
        return c.fail(errc::bad_arguments, "the shape of an array is not a tuple of integers");
    }
    if (t.rank > call_access::rank_limit(c)) return rebuild::refuse_geometry(c, errc::shape_invalid, t, bytes.a);
    if (!c.charge(t.rank * sizeof(std::int64_t))) return c.over_budget();
    auto* strides = g.memory.allocate<std::int64_t>(t.rank);
    set_dense_strides(t.sizes(), fortran, strides);
    t.strides = strides;
    if (const errc code = check_geometry(t, bytes.a, call_access::rank_limit(c)); code != errc::none)
        return rebuild::refuse_geometry(c, code, t, bytes.a);
    if (t.numel * itemsize(t.type) != bytes.a)
        return c.fail(
            errc::storage_size_mismatch,
            str_cat("an array has ", bytes.a, " bytes, its shape and dtype need ", t.numel * itemsize(t.type)));
    // Bytes of the pickle have a place in the file, transcoded ones have none.
    const auto* first = reinterpret_cast<const std::byte*>(bytes.text);
    const std::byte* begin = g.pickle.data();
    const bool in_file = !g.transcoded && bytes.a > 0 && first >= begin && first < begin + g.pickle.size();
    t.storage = g.maker->add({first, bytes.a}, type.order,
                             in_file ? g.base + static_cast<std::uint64_t>(first - begin) : no_offset);
    g.tensors.push_back(g.memory, t);
    g.arrays.push_back(g.memory, {type.text, static_cast<std::uint32_t>(g.tensors.size() - 1), fortran});
    return call_access::make(c, node::of(node_kind::array, static_cast<std::uint32_t>(g.arrays.size() - 1)),
                             sizeof t + sizeof(array_value));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::numpy

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<value> builders::numpy_scalar(call& c) {
    if (c.args.size() != 2) return c.fail(errc::bad_arguments, "a numpy scalar takes a dtype and bytes");
    const auto type = read_numpy_type(c.args[0]);
    const auto bytes = c.args[1].as_bytes();
    if (!type) return call_access::keep_inert(c);
    if (!bytes || bytes->size() != itemsize(type->type))
        return c.fail(errc::bad_arguments, "a numpy scalar has another number of bytes than its dtype");
    return numpy::make_scalar(c, *type, bytes->data());
}

CKPT_DETAIL_RARE result<value> builders::numpy_reconstruct(call& c) {
    const auto named = c.args[0].as_global();
    if (c.args.size() != 3 || !named)
        return c.fail(errc::bad_arguments, "_reconstruct takes a class, a shape and a type code");
    if (named->module != "numpy" || named->name != "ndarray")
        return call_access::keep_inert(c); // matrix, recarray, masked arrays
    if (c.state.kind() != kind::tuple || c.state.size() != 5)
        return c.fail(errc::bad_arguments, "the state of an array is not a tuple of 5");
    const auto type = read_numpy_type(c.state[2]);
    if (!type) return call_access::keep_inert(c);
    bool fortran = false;
    if (!rebuild::read_flag(call_access::graph(c).nodes[value_access::node(c.state[3])], fortran))
        return c.fail(errc::bad_arguments, "the order of an array is not a bool");
    return numpy::make_array(c, *type, value_access::node(c.state[1]), value_access::node(c.state[4]), fortran);
}

CKPT_DETAIL_RARE result<value> builders::numpy_frombuffer(call& c) {
    if (c.args.size() != 4)
        return c.fail(errc::bad_arguments, "_frombuffer takes a buffer, a dtype, a shape and an order");
    const auto type = read_numpy_type(c.args[1]);
    if (!type) return call_access::keep_inert(c);
    const auto order = c.args[3].as_string();
    if (!order || (*order != "C" && *order != "F"))
        return c.fail(errc::bad_arguments, "the order of an array is neither C nor F");
    return numpy::make_array(c, *type, value_access::node(c.args[2]), value_access::node(c.args[0]), *order == "F");
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
