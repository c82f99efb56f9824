// tests/support/dcp_writer.hpp: distributed checkpoints of PyTorch, written piece by piece.
//
// SPDX-License-Identifier: MIT
// In:      tensors as chunks with their offsets, other values, where each lies.
// Out:     the bytes of .metadata and of the files that it names.
#pragma once

#include "torch_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test_support {

using numbers = std::vector<std::int64_t>;

class dcp_writer {
  public:
    struct chunk {
        numbers offsets{};
        numbers sizes{};
        std::string file{"__0_0.distcp"};
    };

    /// A float tensor whose element at an index has the row-major number of the index as its value.
    void tensor(const std::string& key, const numbers& shape, const std::vector<chunk>& chunks) {
        std::string list = "](";
        for (const chunk& c : chunks) {
            list +=
                pkl::object(metadata, "ChunkStorageMetadata",
                            pkl::dict({{pkl::str("offsets"), size(c.offsets)}, {pkl::str("sizes"), size(c.sizes)}}));
            place(key, size(c.offsets), c.file, item(values_of(shape, c), c.sizes));
        }
        describe(key, shape, list + 'e');
    }
    /// What state_dict_metadata says of a tensor; `chunks` is a list.
    void describe(const std::string& key, const numbers& shape, const std::string& chunks,
                  std::string_view type = "float32") {
        const std::string properties = pkl::object(
            metadata, "TensorProperties",
            pkl::tuple({pkl::global("torch", type),
                        pkl::call(pkl::global("torch.serialization", "_get_layout"), {pkl::str("torch.strided")}),
                        pkl::no, pkl::call(pkl::global(metadata, "_MEM_FORMAT_ENCODING"), {pkl::num(0)}), pkl::no}));
        entries_.emplace_back(pkl::str(key), pkl::object(metadata, "TensorStorageMetadata",
                                                         pkl::dict({{pkl::str("properties"), properties},
                                                                    {pkl::str("size"), size(shape)},
                                                                    {pkl::str("chunks"), chunks}})));
    }
    /// Another value: opcodes that leave it on the stack.
    void object(const std::string& key, const std::string& value, const std::string& file = "__0_0.distcp") {
        entries_.emplace_back(pkl::str(key), pkl::object(metadata, "BytesStorageMetadata", pkl::dict({})));
        place(key, pkl::none, file, torch_file(value));
    }
    /// Puts bytes at the end of a file, and says so in storage_data.
    void place(const std::string& key, const std::string& offsets, const std::string& file, const std::string& bytes,
               std::int64_t offset_by = 0, std::int64_t length_by = 0, const std::string& transforms = {}) {
        std::string& to = files_[file];
        std::vector<std::pair<std::string, std::string>> info{
            {pkl::str("relative_path"), pkl::str(file)},
            {pkl::str("offset"), pkl::num(static_cast<std::int64_t>(to.size()) + offset_by)},
            {pkl::str("length"), pkl::num(static_cast<std::int64_t>(bytes.size()) + length_by)}};
        if (!transforms.empty()) info.emplace_back(pkl::str("transform_descriptors"), transforms);
        storage_.emplace_back(pkl::object(metadata, "MetadataIndex",
                                          pkl::dict({{pkl::str("fqn"), pkl::str(key)},
                                                     {pkl::str("offset"), offsets},
                                                     {pkl::str("index"), pkl::none}})),
                              pkl::object("torch.distributed.checkpoint.filesystem", "_StorageInfo", pkl::dict(info)));
        to += bytes;
    }
    /// The path that a key stands for.
    void path(const std::string& key, const std::string& tuple) { planner_.emplace_back(pkl::str(key), tuple); }

    /// All files of the folder.
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> files() const {
        std::vector<std::pair<std::string, std::string>> out{
            {".metadata", pkl::pickle(pkl::object(metadata, "Metadata",
                                                  pkl::dict({{pkl::str("state_dict_metadata"), pkl::dict(entries_)},
                                                             {pkl::str("planner_data"), pkl::dict(planner_)},
                                                             {pkl::str("storage_data"), pkl::dict(storage_)}})))}};
        for (const auto& [name, bytes] : files_) out.emplace_back(name, bytes);
        return out;
    }

    static std::string size(const numbers& of) { return pkl::call(pkl::global("torch", "Size"), {pkl::ints(of)}); }
    /// A file of torch.save with one float tensor.
    static std::string item(const std::vector<float>& values, const numbers& shape) {
        numbers strides(shape.size(), 1);
        for (std::size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
        return torch_file(
            pkl::tensor(pkl::storage("FloatStorage", "0", static_cast<std::int64_t>(values.size())), 0, shape, strides),
            {{"0", raw(values)}});
    }

  private:
    static constexpr std::string_view metadata = "torch.distributed.checkpoint.metadata";

    static std::vector<float> values_of(const numbers& shape, const chunk& c) {
        std::vector<float> out;
        std::int64_t n = 1;
        for (const std::int64_t s : c.sizes) n *= s;
        for (std::int64_t i = 0; i < n; ++i) {
            std::int64_t rest = i, at = 0, step = 1;
            for (std::size_t d = shape.size(); d-- > 0;) {
                at += (c.offsets[d] + rest % c.sizes[d]) * step;
                rest /= c.sizes[d];
                step *= shape[d];
            }
            out.push_back(static_cast<float>(at));
        }
        return out;
    }

    std::vector<std::pair<std::string, std::string>> entries_{};
    std::vector<std::pair<std::string, std::string>> storage_{};
    std::vector<std::pair<std::string, std::string>> planner_{};
    std::map<std::string, std::string> files_{};
};

} // namespace test_support
