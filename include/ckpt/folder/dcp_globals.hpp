// ckpt/folder/dcp_globals.hpp: the names in the .metadata of a distributed checkpoint of PyTorch.
//
// SPDX-License-Identifier: MIT
// In:      nothing.
// Out:     a part of a policy.
// Refuses: nothing.
#pragma once

#include <ckpt/pickle/globals.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The names in every .metadata, whatever the policy says of other files.
struct dcp_globals {
    static constexpr bool shipped = true;
    static constexpr global_entry entries[]{
        {"builtins", "getattr"},
        {"pathlib", "PosixPath"},
        {"pathlib", "WindowsPath"},
        {"pathlib._local", "PosixPath"},
        {"pathlib._local", "WindowsPath"},
        {"torch.distributed.checkpoint.filesystem", "_StorageInfo"},
        {"torch.distributed.checkpoint.metadata", "BytesStorageMetadata"},
        {"torch.distributed.checkpoint.metadata", "ChunkStorageMetadata"},
        {"torch.distributed.checkpoint.metadata", "Metadata"},
        {"torch.distributed.checkpoint.metadata", "MetadataIndex"},
        {"torch.distributed.checkpoint.metadata", "StorageMeta"},
        {"torch.distributed.checkpoint.metadata", "TensorProperties"},
        {"torch.distributed.checkpoint.metadata", "TensorStorageMetadata"},
        {"torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING"},
    };
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
