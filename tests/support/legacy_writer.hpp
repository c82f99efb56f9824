// tests/support/legacy_writer.hpp: checkpoints in the stream format of torch.save before torch 1.6, for tests.
//
// SPDX-License-Identifier: MIT
// In:      pieces of pickle (torch_writer.hpp), the storages.
// Out:     the parts of a stream, each of which a test may change; a whole one.
#pragma once

#include "torch_writer.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test_support {

namespace pkl {

inline std::string legacy_storage(std::string_view type, std::string_view key, std::int64_t numel,
                                  const std::string& view = none) {
    return tuple({str("storage"), type == "UntypedStorage" ? global("torch.storage", type) : global("torch", type),
                  str(key), str("cpu"), num(numel), view}) +
           "Q";
}
inline std::string view_of(std::string_view key, std::int64_t offset, std::int64_t numel) {
    return tuple({str(key), num(offset), num(numel)});
}
/// A one-dimensional float tensor over the whole storage `key`.
inline std::string legacy_floats(std::string_view key, std::int64_t numel) {
    return tensor(legacy_storage("FloatStorage", key, numel), 0, {numel}, {1});
}

} // namespace pkl

/// A storage of the raw section: its key, its number of elements, their bytes.
struct legacy_raw {
    std::string key{};
    std::uint64_t count{};
    std::string bytes{};
};

struct legacy_parts {
    std::string magic{pkl::pickle("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")};
    std::string version{pkl::pickle("M\xe9\x03")};
    std::string info{
        pkl::pickle(pkl::dict({{pkl::str("protocol_version"), "M\xe9\x03"}, {pkl::str("little_endian"), pkl::yes}}))};
    std::string object{};
    std::string keys{};
    std::string raw{};

    /// `value` is one value, not a whole pickle.
    explicit legacy_parts(const std::string& value, const std::vector<legacy_raw>& storages = {})
        : object{pkl::pickle(value)} {
        std::string list = "](";
        for (const legacy_raw& s : storages) {
            list += pkl::str(s.key);
            raw += le64(s.count) + s.bytes;
        }
        keys = pkl::pickle(list + "e");
    }
    [[nodiscard]] std::string all() const { return magic + version + info + object + keys + raw; }
};

inline std::string legacy_file(const std::string& value, const std::vector<legacy_raw>& storages = {}) {
    return legacy_parts{value, storages}.all();
}

/// torch.storage._load_from_bytes(bytes), with the bytes as protocol 3 writes them.
inline std::string load_from_bytes(const std::string& bytes) {
    return pkl::call(pkl::global("torch.storage", "_load_from_bytes"), {"B" + le32(bytes.size()) + bytes});
}

} // namespace test_support
