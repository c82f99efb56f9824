// bench/inputs.hpp: the files that the benchmarks open, as torch.save 2.13 writes them.
//
// SPDX-License-Identifier: MIT
// In:      how many tensors, and how large.
// Out:     a file of a dict of float32 weights and biases; data.pkl is torch's byte for byte, which
//          compare.py checks. Past 16 GiB it is made of holes.
#pragma once

#include "../tests/support/temporary_file.hpp"
#include "../tests/support/zip_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

struct input_size {
    std::size_t tensors{};
    std::uint64_t rows{2}; ///< of a weight of `rows` x `columns`; a bias has as many elements
    std::uint64_t columns{2};
    bool holes{false}; ///< the weights take no space on the disk

    [[nodiscard]] std::uint64_t elements() const { return rows * columns; }
};

inline constexpr input_size small_input{300};
inline constexpr input_size middle_input{5'000};
inline constexpr input_size large_input{100'000};
inline constexpr input_size huge_input{1'551, 2'816, 1'024, true}; // 16.7 GiB

/// The key of tensor `i`: weights and biases in turn.
inline std::string key_of(std::size_t i) {
    return "model.layers." + std::to_string(i / 2) + (i % 2 == 0 ? ".attention.weight" : ".attention.bias");
}

/// CPython's pickler of protocol 2, as far as a dict of tensors needs it.
class pickler {
  public:
    std::string text{"\x80\x02", 2};

    void put() {
        if (memo_ < 256) text += "q" + test_support::le(memo_, 1);
        else text += "r" + test_support::le32(memo_);
        ++memo_;
    }
    void get(std::size_t entry) {
        if (entry < 256) text += "h" + test_support::le(entry, 1);
        else text += "j" + test_support::le32(entry);
    }
    void op(std::string_view opcodes) { text += opcodes; }
    void integer(std::uint64_t n) {
        if (n < 256) text += "K" + test_support::le(n, 1);
        else if (n < 65'536) text += "M" + test_support::le16(n);
        else text += "J" + test_support::le32(n);
    }
    void string(std::string_view s) {
        text += "X" + test_support::le32(s.size());
        text += s;
        put();
    }
    /// Writes what `first` writes the first time, and a GET of it from then on.
    template <class Write> void shared(std::size_t& entry, const Write& first) {
        if (entry != none) return get(entry);
        entry = memo_;
        first();
    }
    void shared_string(std::size_t& entry, std::string_view s) {
        shared(entry, [&] { string(s); });
    }
    void global(std::size_t& entry, std::string_view module, std::string_view name) {
        shared(entry, [&] {
            text += 'c';
            text.append(module).append("\n").append(name).append("\n");
            put();
        });
    }
    static constexpr std::size_t none = ~std::size_t{0};

  private:
    std::size_t memo_{0};
};

/// data.pkl of a dict of tensors; of two at least, because CPython writes one in another way.
inline std::string pickle_of(const input_size& size) {
    constexpr std::size_t batch = 1'000; // of SETITEMS, as CPython has it
    pickler p;
    std::size_t rebuild = pickler::none, storage = pickler::none, type = pickler::none, cpu = pickler::none,
                ordered = pickler::none;
    p.op("}");
    p.put();
    for (std::size_t i = 0; i < size.tensors; ++i) {
        const bool weight = i % 2 == 0;
        if (i % batch == 0) p.op("(");
        p.string(key_of(i));
        p.global(rebuild, "torch._utils", "_rebuild_tensor_v2");
        p.op("((");
        p.shared_string(storage, "storage");
        p.global(type, "torch", "FloatStorage");
        p.string(std::to_string(i));
        p.shared_string(cpu, "cpu");
        p.integer(size.elements());
        p.op("t");
        p.put();
        p.op("Q");
        p.integer(0);
        if (weight) {
            p.integer(size.rows);
            p.integer(size.columns);
            p.op("\x86");
            p.put();
            p.integer(size.columns);
            p.integer(1);
            p.op("\x86");
        } else {
            p.integer(size.elements());
            p.op("\x85");
            p.put();
            p.integer(1);
            p.op("\x85");
        }
        p.put();
        p.op("\x89");
        p.global(ordered, "collections", "OrderedDict");
        p.op(")R");
        p.put();
        p.op("t");
        p.put();
        p.op("R");
        p.put();
        if (i % batch == batch - 1 || i + 1 == size.tensors) p.op("u");
    }
    if (size.tensors % batch == 0) p.op("(u"); // CPython looks for more only after it has begun
    p.op(".");
    return p.text;
}

inline test_support::zip_file zip_of(const input_size& size, const std::string& prefix) {
    std::vector<test_support::zip_member> members{{.name = prefix + "/data.pkl", .data = pickle_of(size)},
                                                  {.name = prefix + "/.format_version", .data = "1"},
                                                  {.name = prefix + "/.storage_alignment", .data = "64"},
                                                  {.name = prefix + "/byteorder", .data = "little"}};
    members.reserve(size.tensors + 6);
    const std::uint64_t bytes = size.elements() * 4;
    for (std::size_t i = 0; i < size.tensors; ++i) {
        members.push_back({.name = prefix + "/data/" + std::to_string(i)});
        if (size.holes) members.back().hole = bytes;
        else members.back().data.assign(static_cast<std::size_t>(bytes), '\0');
    }
    members.push_back({.name = prefix + "/version", .data = "3\n"});
    members.push_back({.name = prefix + "/.data/serialization_id", .data = "0636067187682029520510461203110111501163"});
    return test_support::write_zip(members);
}

/// Writes the whole file; false where the disk is full.
inline bool write_input(const std::string& path, const input_size& size) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    for (const auto& [offset, text] : zip_of(size, "archive").pieces) {
        file.seekp(static_cast<std::streamoff>(offset));
        file.write(text.data(), static_cast<std::streamsize>(text.size()));
    }
    return file.good();
}

/// One of the files, written when it is first asked for, gone with the program.
class inputs {
  public:
    struct input {
        input_size size{};
        std::string path{};
        std::string pickle{};
        std::uint64_t bytes_read{}; ///< what opening has to read: tail, directory and pickle
    };
    static const input& of(const input_size& size) {
        static std::vector<entry*> all;
        for (const entry* e : all)
            if (e->in.size.tensors == size.tensors) return e->in;
        auto* const made = new entry{};
        const test_support::zip_file zip = zip_of(size, "archive");
        made->file.write_sparse(zip.pieces);
        made->in = {size, made->file.path().string(), pickle_of(size), 0};
        made->in.bytes_read = made->in.pickle.size() + (zip.size - zip.directory);
        if (all.empty())
            std::atexit([] {
                for (const entry* e : all) delete e;
            });
        all.push_back(made);
        return all.back()->in;
    }

  private:
    struct entry {
        test_support::temporary_file file{};
        input in{};
    };
};

} // namespace bench
