// ckpt/io/impl/file.ipp: the definitions of file.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/file.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::string system_reason(int failure) {
    const char* const words = file_system::reason(failure);
    return words != nullptr ? std::string(words) : str_cat("system error ", failure);
}

CKPT_DETAIL_DEF std::basic_string<file_system::path_char> native_path(path_arg path) {
#if defined(_WIN32)
    if (path.wide() != nullptr) return path.wide();
    const int length = file_system::widen(path.narrow(), nullptr, 0); // with the terminator
    std::wstring widened(static_cast<std::size_t>(length), L'\0');
    (void)file_system::widen(path.narrow(), widened.data(), length);
    if (length != 0) widened.pop_back();
    return widened;
#else
    return path.narrow();
#endif
}

CKPT_DETAIL_DEF mapping& mapping::operator=(mapping&& other) noexcept {
    std::swap(pages_, other.pages_);
    std::swap(length_, other.length_);
    return *this;
}

CKPT_DETAIL_DEF file& file::operator=(file&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(size_, other.size_);
    return *this;
}

CKPT_DETAIL_RARE result<file> file::open(path_arg path) {
    if (!path.usable()) {
        return error{.code = errc::cannot_open,
                     .detail = str_cat(quoted(path.text()), ": the path is null or has a NUL byte inside")};
    }
    int failure = 0;
    auto kind = file_system::file_kind::regular;
    file out;
    const auto native = native_path(path);
    const file_system::path_char* const name = native.c_str();
    out.handle_ = file_system::open_file(name, failure);
    if (out.handle_ == file_system::no_handle) {
        kind = file_system::kind_of(name);
    } else {
        file_system::file_facts facts;
        failure = file_system::facts(out.handle_, facts);
        if (failure == 0) kind = facts.kind;
        out.size_ = facts.size;
    }
    if (kind == file_system::file_kind::directory) {
        return error{.code = errc::is_a_directory,
                     .detail = str_cat(quoted(path.text()), " is a directory"),
                     .hint = "Open the folder with ckpt::open_folder (<ckpt/folder.hpp>), or name one file in it"};
    }
    if (kind == file_system::file_kind::other) {
        return error{.code = errc::not_a_regular_file,
                     .detail = str_cat(quoted(path.text()), " is a pipe, a socket or a device"),
                     .hint = "Copy its bytes to a file, or into memory for ckpt::open_bytes"};
    }
    if (failure != 0) {
        return error{.code = errc::cannot_open,
                     .os_code = failure,
                     .detail = str_cat(quoted(path.text()), ": ", system_reason(failure)),
                     .hint = "Check the path and the permissions"};
    }
    return out;
}

CKPT_DETAIL_DEF result<file> file::reopen_direct() const {
    int failure = 0;
    file out;
    out.handle_ = file_system::open_direct(handle_, failure);
    out.size_ = size_;
    if (out.handle_ != file_system::no_handle) return out;
    return error{
        .code = errc::cannot_open, .os_code = failure, .detail = str_cat("direct reads: ", system_reason(failure))};
}

CKPT_DETAIL_DEF result<void> file::read(std::uint64_t offset, std::span<std::byte> out) const {
    while (!out.empty()) {
        std::size_t got = 0;
        const int failure = file_system::read_at(handle_, offset, out.data(), out.size(), got);
        if (failure != 0) {
            return error{.code = errc::read_failed,
                         .os_code = failure,
                         .offset = offset,
                         .detail = str_cat("reading ", out.size(), " bytes: ", system_reason(failure))};
        }
        if (got == 0) {
            return error{.code = errc::truncated,
                         .offset = offset,
                         .detail = str_cat("the file ended ", out.size(), " bytes before what was asked for"),
                         .hint = "The file became shorter after it was opened"};
        }
        offset += got;
        out = out.subspan(got);
    }
    return {};
}

CKPT_DETAIL_RARE result<mapping> file::map(std::uint64_t offset, std::uint64_t length, std::size_t& skipped) const {
    // Where mappings may begin on Windows; a multiple of all page sizes elsewhere.
    constexpr std::uint64_t granularity = 65'536;
    skipped = static_cast<std::size_t>(offset % granularity);
    if (length == 0) return mapping{};
    std::size_t bytes = 0;
    std::uint64_t wanted = 0;
    int failure = 0;
    const std::byte* pages = nullptr;
    const bool fits = checked_add(length, skipped, wanted) && checked_narrow(wanted, bytes);
    if (fits) failure = file_system::map(handle_, offset - skipped, bytes, pages);
    if (!fits || failure != 0) {
        return error{.code = errc::map_failed,
                     .os_code = failure,
                     .offset = offset,
                     .detail = str_cat(
                         "mapping ", length,
                         " bytes: ", fits ? system_reason(failure) : std::string("more than this program can address")),
                     .hint = "Open with io_mode::read, which needs no mapping"};
    }
    return mapping{pages, bytes};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
