// ckpt/torch/storage_class.hpp: reads storage classes and persistent ids.
//
// SPDX-License-Identifier: MIT
// In:      the class of a storage, as a global; the argument of a persistent id, as a tuple or as protocol 0's text.
// Out:     a dtype, or "bytes"; the key and the number of elements.
// Refuses: persistent ids of another form.
//
// Sources: torch/serialization.py (persistent_id), torch/storage.py, c10/core/ScalarType.h; the classes that exist
// only in C++ (Float8_e5m2Storage and others) are written by torch.jit.save.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstdint>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct storage_class_row {
    std::string_view name{};
    dtype type{};
};

// Sorted by name. The modules are "torch" and "torch.cuda".
inline constexpr storage_class_row storage_classes[]{
    {"BFloat16Storage", dtype::bfloat16},
    {"Bits16Storage", dtype::bits16},
    {"Bits1x8Storage", dtype::bits1x8},
    {"Bits2x4Storage", dtype::bits2x4},
    {"Bits4x2Storage", dtype::bits4x2},
    {"Bits8Storage", dtype::bits8},
    {"BoolStorage", dtype::bool_},
    {"ByteStorage", dtype::uint8},
    {"CharStorage", dtype::int8},
    {"ComplexDoubleStorage", dtype::complex128},
    {"ComplexFloatStorage", dtype::complex64},
    {"ComplexHalfStorage", dtype::complex32},
    {"DoubleStorage", dtype::float64},
    {"Float4_e2m1fn_x2Storage", dtype::float4_e2m1fn_x2},
    {"Float8_e4m3fnStorage", dtype::float8_e4m3fn},
    {"Float8_e4m3fnuzStorage", dtype::float8_e4m3fnuz},
    {"Float8_e5m2Storage", dtype::float8_e5m2},
    {"Float8_e5m2fnuzStorage", dtype::float8_e5m2fnuz},
    {"Float8_e8m0fnuStorage", dtype::float8_e8m0fnu},
    {"FloatStorage", dtype::float32},
    {"HalfStorage", dtype::float16},
    {"IntStorage", dtype::int32},
    {"LongStorage", dtype::int64},
    {"QInt32Storage", dtype::qint32},
    {"QInt8Storage", dtype::qint8},
    {"QUInt2x4Storage", dtype::quint2x4},
    {"QUInt4x2Storage", dtype::quint4x2},
    {"QUInt8Storage", dtype::quint8},
    {"ShortStorage", dtype::int16},
    {"UInt16Storage", dtype::uint16},
    {"UInt32Storage", dtype::uint32},
    {"UInt64Storage", dtype::uint64},
};

inline constexpr std::uint16_t untyped = 0xFFFF; // a storage that counts bytes

/// The dtype of a storage class, `untyped` for the classes that count bytes; false for any other name.
[[nodiscard]] constexpr bool storage_class_type(std::string_view module, std::string_view name,
                                                std::uint16_t& out) noexcept {
    if ((name == "UntypedStorage" || name == "_UntypedStorage") && (module == "torch.storage" || module == "torch")) {
        out = untyped;
        return true;
    }
    if (module != "torch" && module != "torch.cuda") return false;
    for (const storage_class_row& row : storage_classes)
        if (row.name == name) {
            out = static_cast<std::uint16_t>(row.type);
            return true;
        }
    return false;
}

/// The forms of persistent ids, by container.
enum class id_form : std::uint8_t {
    zip,     // ('storage', class, key, location, numel)
    script,  // the same; in torch 1.3 with one more element, None
    legacy,  // the same, with the place of a view as one more element, and ('module', class, file, source)
    tar,     // the decimal key of a tensor or of a storage, and (class, file, source)
    package, // as zip, with a number as the key; and ('reduce_package', id, function, arguments)
    none,    // a plain pickle has none
};

/// The content of a persistent id.
struct storage_id {
    std::string_view key{};
    std::uint16_t type{untyped};
    std::uint64_t numel{};
    bool meta{}; // TorchScript of a module on the device meta: the record is there, and empty
    std::string_view
        view_key{}; // of a part that has a storage of its own (torch 0.1 to 0.3); empty where it is the whole
    std::uint64_t view_offset{}; // elements
    std::uint64_t view_numel{};
    char digits[20]{}; // of a key that is a number
};

/// The bytes of `id.numel` elements; false where the number overflows. Packed classes (torch.QUInt4x2Storage) count
/// bytes.
[[nodiscard]] inline bool storage_bytes(const storage_id& id, std::uint64_t& out) noexcept {
    if (id.type == untyped) {
        out = id.numel;
        return true;
    }
    return checked_mul(id.numel, itemsize(static_cast<dtype>(id.type)), out);
}

/// The class that was read last. Neighbours in a file usually have the same class.
struct storage_class_memory {
    std::uint32_t occurrence{0xFFFF'FFFFu};
    std::uint16_t type{untyped};
};

/// The text of a key of torch.package, which is a non-negative number and names the record; empty for other nodes.
[[nodiscard]] std::string_view package_key(const node& key, storage_id& into) noexcept;

/// Whether this is ('reduce_package', id, function, arguments) of torch.package: an object with its own pack function.
[[nodiscard]] bool is_reduced(const graph& g, const node& persistent) noexcept;

/// Reads None, or (view_key, offset, numel) of a legacy file.
[[nodiscard]] bool read_view(const graph& g, const node& n, storage_id& out) noexcept;

/// Reads ('storage', StorageClass, key, location, numel) of a zip archive, or of a legacy file, which has the place of
/// a view as one more element. The class is a global, the others are literals. TorchScript of torch 1.3 has None there.
[[nodiscard]] bool read_storage_tuple(const graph& g, std::uint32_t argument, id_form form, storage_id& out,
                                      storage_class_memory& last) noexcept;

/// The same in protocol 0, which writes the `repr` of the tuple:
/// ('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 12) or ('storage', <class 'torch.FloatStorage'>, '0', 'cpu',
/// 12, None)
[[nodiscard]] bool read_storage_text(std::string_view text, id_form form, storage_id& out) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/storage_class.ipp>
#endif
