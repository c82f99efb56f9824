// ckpt/write/write_types.hpp: what writing a file gives back.
//
// SPDX-License-Identifier: MIT
// In:      nothing.
// Out:     the report of every writer: files, tied tensors, what was left out or replaced.
// Refuses: nothing.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/io/finished_file.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One file of an output.
struct written_file {
    std::string path{};
    std::uint64_t bytes{}; ///< of the whole file
    std::size_t tensors{};
};

/// A key whose tensor is the same elements of the same storage as another key's, and was written once, as that one.
struct tied_key {
    std::string key{};
    std::string same_as{};
};

/// A tensor that the format cannot hold; of an object that is written whole, any value.
struct left_out_tensor {
    std::string key{}; ///< of the state_dict; in a whole object the path, joined by dots
    ckpt::error why{};
};

/// Values of a class that the format has not, which are written as something else.
struct replaced_value {
    std::string was{};  ///< "collections.defaultdict"
    std::string now{};  ///< "dict"
    std::string path{}; ///< of the first of them, as value::find takes it
    std::size_t count{};
};

/// What was written, or would be.
struct write_report {
    std::vector<written_file> files{}; ///< in the order of their names; the index of a set, which has no tensors, last
    std::vector<tied_key> shared{};
    std::vector<left_out_tensor> left_out{}; ///< in the order of the state_dict, or of the object
    std::vector<replaced_value> replaced{};  ///< of a torch zip file
    /// Files of an older set in this place, which would not fit the new one: they went when the new files had their
    /// names, or would go.
    std::vector<std::string> removed{};
    /// Those of them that the system kept. Readers would take them for a part of the new set.
    std::vector<std::string> not_removed{};

    /// The number of tensors in all files.
    [[nodiscard]] std::size_t tensors() const noexcept {
        std::size_t out = 0;
        for (const written_file& f : files) out += f.tensors;
        return out;
    }
    /// The bytes of all files.
    [[nodiscard]] std::uint64_t bytes() const noexcept {
        std::uint64_t out = 0;
        for (const written_file& f : files) out += f.bytes;
        return out;
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
