// ckpt/core/error.hpp: the one error type.
//
// SPDX-License-Identifier: MIT
// In:      facts: the innermost function sets code and offset, its callers add record, path and file.
// Out:     one printable line of at most 1,024 bytes by `message()`.
// Refuses: nothing; text that comes from a file is cut to 64 bytes and escaped before it is shown.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

// The single list of error codes: name, stable number, exit code of the program `ckpt`, what it means.
// Stages by number: 1xx io, 2xx archive, 3xx pickle, 4xx tensor, 5xx state, 6xx device and progress, 7xx rules,
// 8xx write, 900 internal. Numbers are never reused. docs/errors.md has a heading for each; a test compares the two.
#define CKPT_DETAIL_ERRORS(X)                                                                                          \
    X(cannot_open, 101, 2, "the file cannot be opened")                                                                \
    X(not_a_regular_file, 102, 2, "the path is a pipe, a device or another special file")                              \
    X(is_a_directory, 103, 2, "the path is a directory")                                                               \
    X(range_outside_file, 104, 2, "the requested part lies outside the file")                                          \
    X(read_failed, 105, 2, "the system failed to read the file")                                                       \
    X(map_failed, 106, 2, "the system failed to map the file")                                                         \
    X(truncated, 107, 2, "the file ended before the bytes that were asked for")                                        \
    X(not_a_checkpoint, 201, 2, "the bytes are not a PyTorch checkpoint")                                              \
    X(zip_truncated, 202, 2, "the zip archive has no end record")                                                      \
    X(zip_bounds, 203, 2, "a record or header lies outside the archive")                                               \
    X(zip_header_mismatch, 204, 2, "a local header disagrees with the directory")                                      \
    X(zip_duplicate_name, 205, 2, "two records have one name")                                                         \
    X(zip_overlap, 206, 2, "two records overlap")                                                                      \
    X(zip_encrypted, 207, 4, "a record is encrypted")                                                                  \
    X(zip_multi_disk, 208, 4, "the archive is split over several disks, or patched")                                   \
    X(zip_count_mismatch, 209, 2, "the end record and the directory disagree")                                         \
    X(zip64_invalid, 210, 2, "a ZIP64 field is missing, short, double or contradictory")                               \
    X(compressed, 211, 4, "a record that is needed is compressed")                                                     \
    X(zip_name_invalid, 212, 2, "a record's name cannot be used")                                                      \
    X(checksum_mismatch, 213, 2, "a record does not have its stored checksum")                                         \
    X(zip_prefix, 214, 2, "the archive does not begin at the first byte")                                              \
    X(zip_ambiguous_end, 215, 2, "the archive's end record is ambiguous")                                              \
    X(no_pickle, 216, 2, "the archive has no data.pkl")                                                                \
    X(container_not_supported, 217, 4, "a known container that this version does not read")                            \
    X(record_missing, 218, 2, "a record that is referred to does not exist")                                           \
    X(format_version, 219, 4, "the archive has a file-format version that is not known")                               \
    X(byte_order_unknown, 220, 2, "the byteorder record says neither little nor big")                                  \
    X(json_invalid, 221, 2, "a JSON text is malformed")                                                                \
    X(safetensors_invalid, 222, 2, "a safetensors header breaks a rule of its format")                                 \
    X(shards_inconsistent, 223, 2, "the files of a set disagree with its index or with each other")                    \
    X(legacy_invalid, 224, 2, "the parts of a legacy stream are not complete or disagree")                             \
    X(tar_invalid, 225, 2, "a tar archive breaks a rule of its format")                                                \
    X(parts_not_joined, 226, 4, "the files are parts of one model that are not joined")                                \
    X(pickle_truncated, 301, 2, "the pickle ends inside an opcode or without STOP")                                    \
    X(pickle_opcode, 302, 2, "an unknown or misplaced opcode")                                                         \
    X(global_not_allowed, 303, 1, "a global that the policy does not allow")                                           \
    X(stack_underflow, 304, 2, "an opcode needs more values than the stack has")                                       \
    X(memo_missing, 305, 2, "a memo entry that was never stored")                                                      \
    X(pickle_text, 306, 2, "malformed text: a number, a string, an escape or UTF-8")                                   \
    X(pickle_target, 307, 2, "an opcode applied to a value that it is not for")                                        \
    X(unhashable_key, 308, 2, "a dictionary key or set element that Python could not hash")                            \
    X(limit, 309, 2, "a budget of ckpt::limits is exhausted")                                                          \
    X(pickle_not_supported, 310, 4, "an opcode that no checkpoint can give a meaning")                                 \
    X(persistent_id, 311, 2, "a persistent id of a form that the container does not define")                           \
    X(bad_arguments, 312, 2, "a builder refused its arguments")                                                        \
    X(cyclic_arguments, 313, 2, "a value is built from itself")                                                        \
    X(wrong_type, 314, 1, "a value of another type than the one asked for")                                            \
    X(output_limit, 315, 1, "the output would be larger than the limit")                                               \
    X(dtype_unknown, 401, 2, "a storage or element type that is not known")                                            \
    X(shape_invalid, 402, 2, "a negative or overflowing size, stride or offset, or too many dimensions")               \
    X(out_of_bounds, 403, 2, "a tensor reaches past its storage")                                                      \
    X(storage_size_mismatch, 404, 2, "a storage's declared size is not its record's")                                  \
    X(dtype_mismatch, 405, 1, "the tensor has another dtype than the one asked for")                                   \
    X(rank_mismatch, 406, 1, "the tensor has another number of dimensions than the one asked for")                     \
    X(misaligned, 407, 1, "the bytes are not aligned for the element type")                                            \
    X(byte_order, 408, 1, "the bytes are in the other byte order")                                                     \
    X(lazy_bit, 409, 1, "the tensor has a conj or neg bit, so its bytes are not its values")                           \
    X(packed, 410, 1, "elements smaller than a byte have no typed view")                                               \
    X(not_strided, 411, 1, "the tensor is not strided")                                                                \
    X(not_mapped, 412, 1, "the storage is not in memory")                                                              \
    X(needs_copy, 413, 1, "the tensor is the result of a gather and has no bytes of its own")                          \
    X(no_data, 414, 1, "a meta tensor has no bytes")                                                                   \
    X(unsupported_tensor, 415, 4, "a kind of tensor that this version does not read")                                  \
    X(size_mismatch, 416, 1, "the destination has another number of elements")                                         \
    X(conversion, 417, 1, "a conversion that would lose values silently")                                              \
    X(indices_invalid, 418, 2, "indices or offsets of a sparse or nested tensor that contradict its shape")            \
    X(uninitialized, 419, 4, "a lazy parameter that was saved before it was initialised")                              \
    X(path_missing, 501, 1, "the path does not exist")                                                                 \
    X(state_dict_missing, 502, 1, "no state_dict was found")                                                           \
    X(state_dict_ambiguous, 503, 1, "several state_dicts are equally likely")                                          \
    X(key_missing, 504, 1, "the state_dict has no such key")                                                           \
    X(key_duplicate, 505, 1, "two entries have one key")                                                               \
    X(load_incomplete, 506, 1, "a load that would leave targets unwritten or sources unused")                          \
    X(shapes_differ, 507, 1, "two layers or parts of one tensor that have different shapes")                           \
    X(adapter_unmatched, 508, 1, "a part of an adapter that belongs to nothing")                                       \
    X(slice_invalid, 509, 1, "a slice that does not divide its tensor, or that belongs to none")                       \
    X(device_failed, 601, 1, "a call of the device's runtime failed")                                                  \
    X(device_memory, 602, 1, "the device has not enough memory")                                                       \
    X(device_lost, 603, 1, "the device does not answer any more")                                                      \
    X(no_device, 604, 1, "there is no usable device or driver")                                                        \
    X(cancelled, 605, 1, "the caller stopped the call")                                                                \
    X(pattern_invalid, 701, 1, "a key pattern that cannot mean anything")                                              \
    X(rule_invalid, 702, 1, "a key rule that cannot mean anything")                                                    \
    X(rules_unreadable, 703, 1, "a rules text that is too long or is not text")                                        \
    X(remap_failed, 704, 1, "key rules that do not fit the keys that they are given")                                  \
    X(equality_broken, 705, 1, "two tensors that a rule says are equal are not")                                       \
    X(not_reversible, 706, 1, "a map that cannot be undone")                                                           \
    X(output_exists, 801, 1, "the path of an output exists")                                                           \
    X(write_failed, 802, 5, "the system failed to write a file")                                                       \
    X(format_lacks, 803, 1, "something that the format of an output cannot hold")                                      \
    X(internal, 900, 2, "a bug in ckpt")

/// What went wrong, as a stable number.
enum class errc : std::uint16_t {
    none = 0,
#define CKPT_DETAIL_X(name, number, exit, text) name = number,
    CKPT_DETAIL_ERRORS(CKPT_DETAIL_X)
#undef CKPT_DETAIL_X
};

/// One row of the table of error codes.
struct error_info {
    errc code{};
    std::string_view name{};    ///< "global_not_allowed"
    std::uint8_t exit_code{};   ///< of the program `ckpt`
    std::string_view meaning{}; ///< one clause, for documents and lists
};

/// All error codes but `none`, by number; docs/errors.md has a section for each.
inline constexpr error_info error_table[]{
#define CKPT_DETAIL_X(name, number, exit, text) {errc::name, #name, exit, text},
    CKPT_DETAIL_ERRORS(CKPT_DETAIL_X)
#undef CKPT_DETAIL_X
};
#undef CKPT_DETAIL_ERRORS

/// The row of `code`; a row named "none" for a number that is not in the table.
[[nodiscard]] constexpr error_info info(errc code) noexcept {
    for (const error_info& row : error_table)
        if (row.code == code) return row;
    return {errc::none, "none", 2, "no error"};
}

namespace detail {

inline constexpr std::size_t quoted_limit = 64;
inline constexpr std::size_t message_limit = 1024;

/// Appends `text` with everything unprintable as \n, \t, \\, \" or \xNN; one line of valid UTF-8 results. `in_quotes`:
/// whether quotes and backslashes need an escape, because quotes stand around it.
void append_escaped(std::string& out, std::string_view text, bool in_quotes = true);

/// `text` from a file, cut to 64 bytes (the middle is left out) and escaped, without quotes.
[[nodiscard]] std::string printable(std::string_view text, bool in_quotes = true);

/// `printable(text)` between double quotes. Names from a file are written like this in `error::detail`.
/// An object, not a function: for a std::string, argument-dependent lookup would prefer std::quoted of <iomanip>.
struct quoted_text {
    [[nodiscard]] std::string operator()(std::string_view text) const { return '"' + printable(text) + '"'; }
};
inline constexpr quoted_text quoted{};

} // namespace detail

/// The value of `error::offset` where the error has no place in a file.
inline constexpr std::uint64_t no_offset = ~std::uint64_t{0};

/// The outcome of a call that failed. Plain data: copy it, compare `code`, print `message()`.
struct error {
    errc code{};                     ///< stable number
    std::uint8_t opcode{};           ///< the pickle opcode concerned, 0 when there is none
    std::int32_t os_code{};          ///< errno, GetLastError or cudaError_t
    std::uint64_t offset{no_offset}; ///< into the file, not into the record
    std::string file{};              ///< the path that was opened, or the name of a file in the folder
    std::string record{};            ///< "archive/data.pkl"
    std::string path{};              ///< where in the object: optimizer/state/0/exp_avg
    std::string detail{};            ///< what was seen, with the numbers; already printable
    std::string module{};            ///< of the global concerned, as written in the file
    std::string name{};              ///< of the global concerned, as written in the file
    std::string_view opcode_name{};  ///< "GLOBAL", where `opcode` is set
    std::string_view hint{};         ///< what to do; {module} and {name} stand for the fields above

    /// `hint` with {module} and {name} replaced by their text, printable; empty without a hint.
    [[nodiscard]] std::string advice() const;

    /// One line of printable text, at most 1,024 bytes: what was seen, where, what to do.
    [[nodiscard]] std::string message() const;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/error.ipp>
#endif
