// ckpt/io/output.hpp: a file that is written whole, or not at all.
//
// SPDX-License-Identifier: MIT
// In:      a path; bytes in their order, from memory or from another file.
// Out:     the file, under its name only when all bytes are on the disk: before, and after a failure, the path has what
//          it had.
// Refuses: a path that exists, unless it is to be replaced; what the system refuses.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/io/file.hpp>
#include <ckpt/io/finished_file.hpp>
#include <ckpt/io/path.hpp>

#if defined(_WIN32)
#include <ckpt/io/detail/output_win32.hpp>
#else
#include <ckpt/io/detail/output_posix.hpp>
#endif

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The hint of `output_exists`.
inline constexpr std::string_view replace_hint =
    "Choose another path, or have it replaced: the option `overwrite` of the writer";

/// A new file. It lies in the folder of its path, under a name of its own (".ckpt-4711-0.tmp"), until `publish`. The
/// destructor removes what was not published.
class output_file {
  public:
    /// Begins a file. Of one that replaces another the permissions are the old ones; a link is replaced itself. Fails
    /// with `output_exists` where something has the path and `replace` is not set, and with `write_failed`.
    [[nodiscard]] static result<output_file> create(path_arg path, bool replace, const output_check& check = {});

    output_file(output_file&& other) noexcept;
    output_file& operator=(output_file&&) = delete;
    ~output_file();

    /// Appends bytes. Fails with `write_failed`.
    [[nodiscard]] result<void> write(std::span<const std::byte> bytes);
    /// Appends bytes of another file: inside the system where that may share blocks or where a server copies. Fails
    /// with `write_failed`, and as `file::read` does.
    [[nodiscard]] result<void> copy(const file& from, std::uint64_t offset, std::uint64_t length);
    /// The bytes that were appended.
    [[nodiscard]] std::uint64_t size() const noexcept { return written_ + buffer_.size(); }

    /// Writes what is in the buffer, waits until all bytes are on the disk, closes the file, and has it checked. Fails
    /// with `write_failed`, and with the error of the check.
    [[nodiscard]] result<void> finish();
    /// Gives a finished file its name. Fails as `create` does.
    [[nodiscard]] result<void> publish();

  private:
    using native_string = std::basic_string<file_system::path_char>;

    output_file(std::string text, native_string path, bool replace, const output_check& check) noexcept
        : text_{std::move(text)}, path_{std::move(path)}, check_{check}, replace_{replace} {}
    [[nodiscard]] result<void> put(std::span<const std::byte> bytes);
    void advance(std::uint64_t wrote) noexcept;
    [[nodiscard]] result<void> flush();
    [[nodiscard]] native_string folder() const;
    [[nodiscard]] error failed(int failure, const char* doing) const;
    [[nodiscard]] error exists() const;

    std::string text_; // the path, for errors
    native_string path_;
    native_string temporary_{};    // empty where there is none
    std::string temporary_name_{}; // in its folder
    output_check check_;
    file_system::handle handle_{file_system::no_handle};
    std::vector<std::byte> buffer_{};
    std::vector<std::byte> piece_{}; // of a file that is copied
    std::uint64_t written_{0};
    std::uint64_t begun_{0}; // of these, what the system was told to bring to the disk
    bool replace_{false};
    bool is_on_server_{false};
    bool copies_inside_{true};
};

/// Whether something has the path, a link to nothing included.
[[nodiscard]] bool is_taken(path_arg path);
/// Removes a file. False where it is still there.
[[nodiscard]] bool remove_output(path_arg path);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/output.ipp>
#endif
