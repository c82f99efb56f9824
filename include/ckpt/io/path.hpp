// ckpt/io/path.hpp: the path of a file, borrowed from the caller's string.
//
// SPDX-License-Identifier: MIT
// In:      `const char*`, or anything whose c_str() gives one: std::string, std::filesystem::path (which is not
//          included here). On Windows `const wchar_t*` too; narrow names are UTF-8 there.
// Out:     a NUL-terminated path for the system, and text for errors.
// Refuses: nothing itself; `open` fails with errc::cannot_open for a path that is null or has a NUL inside.
#pragma once

#include <ckpt/core/error.hpp>

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

#if defined(_WIN32)
template <class Char> inline constexpr bool is_path_char = std::same_as<Char, char> || std::same_as<Char, wchar_t>;
#else
template <class Char> inline constexpr bool is_path_char = std::same_as<Char, char>;
#endif

template <class Path>
concept has_c_str = requires(const Path& path) {
    { path.c_str() } -> std::convertible_to<const char*>;
};
template <class Path>
concept has_wide_c_str = is_path_char<wchar_t> && requires(const Path& path) {
    { path.c_str() } -> std::convertible_to<const wchar_t*>;
};
template <class Path>
concept has_size = requires(const Path& path) {
    { path.size() } -> std::convertible_to<std::size_t>;
};

} // namespace detail

/// A path as a function parameter: any string type with c_str(). Borrows the string, so it is not to be stored.
class path_arg {
  public:
    path_arg(const char* path) noexcept : narrow_{path} {}
    template <detail::has_c_str Path> path_arg(const Path& path) noexcept : narrow_{path.c_str()} {
        if constexpr (detail::has_size<Path>) cut_ = std::char_traits<char>::length(narrow_) != path.size();
    }
#if defined(_WIN32)
    path_arg(const wchar_t* path) noexcept : wide_{path} {}
    template <detail::has_wide_c_str Path> path_arg(const Path& path) noexcept : wide_{path.c_str()} {
        if constexpr (detail::has_size<Path>) cut_ = std::char_traits<wchar_t>::length(wide_) != path.size();
    }
    [[nodiscard]] const wchar_t* wide() const noexcept { return wide_; }
#endif
    /// The path as `char`; null for a wide one.
    [[nodiscard]] const char* narrow() const noexcept { return narrow_; }

    /// Whether the path is not null and has no NUL inside.
    [[nodiscard]] bool usable() const noexcept;

    /// The path for `error::file` and messages; of a wide path, other characters than ASCII become '?'.
    [[nodiscard]] std::string text() const;

  private:
    const char* narrow_{nullptr};
#if defined(_WIN32)
    const wchar_t* wide_{nullptr};
#endif
    bool cut_{false};
};

namespace detail {

/// Where the name of a file begins in its path: 2 in "a/b".
[[nodiscard]] std::size_t name_offset(std::string_view path) noexcept;
/// The folder of a file: "a/" for "a/b", "." for "b".
[[nodiscard]] std::string folder_of(std::string_view path);
/// The path of `name` in `folder`: "a/b".
[[nodiscard]] std::string path_in(std::string_view folder, std::string_view name);

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/path.ipp>
#endif
