// fuzz/open.cpp: a whole file, from bytes to tensors.
//
// SPDX-License-Identifier: MIT
// In:      one byte of flags, then the file. Bit 0: what follows is a pickle, put into an archive as torch.save
//          writes it, with storages "0" to "3" of 16 to 128 bytes. Bit 1: checksums of the archive become zero
//          ("unknown"), so that changed bytes reach the pickle machine.
// Invariants: the same verdict and the same value by mapping and by reading; every tensor's bytes lie in the input
//          (or in the copy of the pickle); errors have a place in the input and a bounded, printable text;
//          errc::internal never; a file that verifies opens again.
#include "target.hpp"

#include <ckpt/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using fuzzing::check_error;
using fuzzing::digest;
using fuzzing::require;

void put(std::string& out, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(static_cast<unsigned char>(i < 8 ? value >> (8 * i) : 0));
}

/// Stored records with zero checksums; storages begin at odd places, as after re-zipping.
std::string wrap(std::string_view pickle) {
    std::string out;
    std::string directory;
    std::uint64_t count = 0;
    const auto add = [&](std::string_view name, std::string_view data) {
        const std::uint64_t at = out.size();
        out += "PK\3\4";
        put(out, 20, 2);
        put(out, 0, 12);
        put(out, data.size(), 4);
        put(out, data.size(), 4);
        put(out, name.size(), 4);
        out.append(name).append(data);
        directory += "PK\1\2";
        put(directory, 20, 2);
        put(directory, 20, 2);
        put(directory, 0, 12);
        put(directory, data.size(), 4);
        put(directory, data.size(), 4);
        put(directory, name.size(), 4);
        put(directory, 0, 10);
        put(directory, at, 4);
        directory += name;
        ++count;
    };
    add("a/data.pkl", pickle);
    add("a/byteorder", "little");
    std::string content;
    for (int i = 0; i < 128; ++i) content += static_cast<char>(i);
    for (std::size_t i = 0; i < 4; ++i)
        add("a/data/" + std::to_string(i), std::string_view{content}.substr(0, std::size_t{16} << i));
    add("a/version", "3\n");
    const std::uint64_t begin = out.size();
    out += directory + "PK\5\6";
    put(out, 0, 4);
    put(out, count, 2);
    put(out, count, 2);
    put(out, directory.size(), 4);
    put(out, begin, 4);
    put(out, 0, 2);
    return out;
}

void forget_checksums(std::string& file) {
    constexpr std::pair<const char*, std::size_t> places[]{{"PK\3\4", 14}, {"PK\1\2", 16}, {"PK\7\10", 4}};
    for (std::size_t i = 0; i + 20 <= file.size(); ++i)
        for (const auto& [signature, at] : places)
            if (std::memcmp(file.data() + i, signature, 4) == 0) std::memset(file.data() + i + at, 0, 4);
}

bool inside(std::span<const std::byte> part, std::span<const std::byte> whole) {
    return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

struct outcome {
    ckpt::errc code{};
    digest seen{}; // what does not depend on how the file is read
    friend bool operator==(const outcome&, const outcome&) = default;
};

void check_dictionary(const ckpt::state_dict& d, std::span<const std::byte> file, bool mapped, digest& seen) {
    std::size_t refused = 0;
    for (const ckpt::state_dict::entry e : d) {
        seen.add(e.key);
        require(d.contains(e.key), "a key that its state_dict does not know");
        const auto found = d.at(e.key);
        if (!found) {
            ++refused;
            check_error(found.error(), file.size(), seen);
            continue;
        }
        const ckpt::tensor& t = *found;
        std::uint64_t product = 1;
        for (const std::int64_t n : t.shape()) product *= static_cast<std::uint64_t>(n);
        require(product == t.numel() || t.layout() == ckpt::layout::nested || t.layout() == ckpt::layout::jagged,
                "a number of elements that is not the product of the sizes");
        for (const std::int64_t n : t.shape()) seen.add(static_cast<std::uint64_t>(n));
        if (const auto at = t.file_offset()) {
            require(*at <= file.size(), "a tensor past the end of the file");
            seen.add(*at);
        }
        // By views and bytes in memory; by copies always the same.
        if (const auto bytes = t.bytes()) {
            require(bytes->size() == t.nbytes(), "another number of bytes than the tensor has");
            if (mapped && !t.storage_key().empty()) require(inside(*bytes, file), "bytes outside the file");
            volatile unsigned sum = 0;
            for (const std::byte b : *bytes) sum = sum + std::to_integer<unsigned>(b);
        }
        if (const auto v = t.view<float, 1>()) {
            require(v->shape[0] >= 0 && (t.numel() == 0 || v->data != nullptr), "a view of nothing");
            volatile float last = t.numel() > 0 ? v->data[(v->shape[0] - 1) * v->strides[0]] : 0.0f;
            (void)last;
        }
        const auto crc = t.crc32();
        if (crc) seen.add(*crc);
        else check_error(crc.error(), file.size(), seen);
        if (t.numel() <= 4096) {
            std::vector<float> copy(static_cast<std::size_t>(t.numel()));
            seen.add(static_cast<std::uint64_t>(t.copy_as(std::span<float>{copy}).has_value()));
        }
    }
    require(refused == d.refused(), "another number of refused tensors than the state_dict says");
    require(!d.at("no such key \x01") || d.contains("no such key \x01"), "a key from nowhere");
    seen.add(d.size());
    seen.add(d.others().size());
}

outcome look(std::span<const std::byte> bytes, ckpt::io_mode mode) {
    static const ckpt::scratch pool = ckpt::scratch::make();
    ckpt::open_options options;
    options.io = mode;
    options.scratch = pool;
    outcome out;
    const auto file = ckpt::open_bytes(bytes, options);
    if (!file) {
        out.code = file.error().code;
        check_error(file.error(), bytes.size(), out.seen);
        return out;
    }
    const bool mapped = mode == ckpt::io_mode::map;
    require(file->file_bytes() <= bytes.size(),
            "a larger size than the file's"); // that of a member, where a tar archive is around it
    for (const ckpt::record& r : file->records()) out.seen.add(r.name);
    digest ignored; // tells of memory, so it differs between the two ways
    fuzzing::check_graph(file->root(), bytes.size(), ignored);
    for (const ckpt::candidate& c : file->state_dicts()) {
        out.seen.add(c.path);
        out.seen.add(c.tensors);
        const auto d = file->state_dict(c.path);
        if (d) check_dictionary(*d, bytes, mapped, out.seen);
        else check_error(d.error(), bytes.size(), out.seen);
    }
    if (const auto best = file->state_dict(); !best) check_error(best.error(), bytes.size(), out.seen);
    const ckpt::verify_report report = file->verify();
    for (const ckpt::error& e : report.findings) check_error(e, bytes.size(), out.seen);
    out.seen.add(report.records);
    return out;
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    std::string file{reinterpret_cast<const char*>(data) + 1, size - 1};
    if ((data[0] & 1) != 0) file = wrap(file);
    if ((data[0] & 2) != 0) forget_checksums(file);
    // An allocation of exactly the size, so that a sanitizer sees a read past the end.
    std::vector<std::byte> bytes(file.size());
    if (!file.empty()) std::memcpy(bytes.data(), file.data(), file.size());
    const outcome mapped = look(bytes, ckpt::io_mode::map);
    const outcome read = look(bytes, ckpt::io_mode::read);
    require(mapped.code == read.code, "mapping and reading have another verdict");
    require(mapped == read, "mapping and reading tell other values");
    ckpt::open_options owned;
    owned.storages = ckpt::storage_mode::owned;
    if (const auto again = ckpt::open_bytes(bytes, owned)) {
        require(mapped.code == ckpt::errc::none, "another verdict for owned storages");
        digest ignored;
        if (const auto d = again->state_dict()) check_dictionary(*d, bytes, false, ignored);
    }
    const auto scan = ckpt::scan_globals_bytes(bytes);
    require(scan || mapped.code != ckpt::errc::none, "a file that opens and cannot be scanned");
    return 0;
}
