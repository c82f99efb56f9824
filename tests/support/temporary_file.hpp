// tests/support/temporary_file.hpp: a file, or a folder of files, that goes away with its object.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test_support {

/// All bytes of a file; none where it cannot be read.
inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

class temporary_file {
  public:
    temporary_file() : path_{fresh_name()} {}
    explicit temporary_file(std::string_view bytes) : temporary_file() { write(bytes); }
    temporary_file(const temporary_file&) = delete;
    temporary_file& operator=(const temporary_file&) = delete;
    ~temporary_file() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    void write(std::string_view bytes) const {
        std::ofstream file(path_, std::ios::binary | std::ios::trunc);
        file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
    /// Pieces at their offsets; what lies between is a hole.
    void write_sparse(const std::vector<std::pair<std::uint64_t, std::string>>& pieces) const {
        std::ofstream file(path_, std::ios::binary | std::ios::trunc);
        for (const auto& [offset, text] : pieces) {
            file.seekp(static_cast<std::streamoff>(offset));
            file.write(text.data(), static_cast<std::streamsize>(text.size()));
        }
    }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    static std::filesystem::path fresh_name() {
        static std::atomic<unsigned> number{0};
        static const unsigned start = std::random_device{}();
        return std::filesystem::temp_directory_path() /
               ("ckpt-test-" + std::to_string(start) + "-" + std::to_string(number.fetch_add(1)));
    }

    std::filesystem::path path_;
};

/// A directory with files in it.
class temporary_folder : public temporary_file {
  public:
    temporary_folder() { std::filesystem::create_directories(path()); }
    explicit temporary_folder(const std::vector<std::pair<std::string, std::string>>& files) : temporary_folder() {
        for (const auto& [name, bytes] : files) add(name, bytes);
    }
    void add(const std::string& name, std::string_view bytes) const {
        const std::filesystem::path file = path() / name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary | std::ios::trunc)
            .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
    void remove(const std::string& name) const { std::filesystem::remove_all(path() / name); }
};

} // namespace test_support
