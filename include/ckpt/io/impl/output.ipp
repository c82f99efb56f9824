// ckpt/io/impl/output.ipp: the definitions of output.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/output.hpp>

#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF output_file::output_file(output_file&& other) noexcept
    : text_{std::move(other.text_)},
      path_{std::move(other.path_)},
      temporary_{std::exchange(other.temporary_, {})},
      temporary_name_{std::move(other.temporary_name_)},
      check_{other.check_},
      handle_{std::exchange(other.handle_, file_system::no_handle)},
      buffer_{std::move(other.buffer_)},
      piece_{std::move(other.piece_)},
      written_{other.written_},
      begun_{other.begun_},
      replace_{other.replace_},
      is_on_server_{other.is_on_server_},
      copies_inside_{other.copies_inside_} {}

CKPT_DETAIL_DEF output_file::~output_file() {
    if (handle_ != file_system::no_handle) file_system::close_file(handle_);
    if (!temporary_.empty()) file_system::remove_file(temporary_.c_str());
}

CKPT_DETAIL_DEF error output_file::failed(int failure, const char* doing) const {
    const char* const words = file_system::write_reason(failure);
    return {.code = errc::write_failed,
            .os_code = failure,
            .file = text_,
            .detail = str_cat(doing, ": ", words != nullptr ? words : str_cat("system error ", failure)),
            .hint = "Check the folder, its permissions and the space that is left"};
}

CKPT_DETAIL_DEF error output_file::exists() const {
    return {.code = errc::output_exists, .file = text_, .detail = "it exists already", .hint = replace_hint};
}

CKPT_DETAIL_DEF auto output_file::folder() const -> native_string {
    std::size_t end = path_.size();
    const auto is_separator = [](file_system::path_char c) {
#if defined(_WIN32)
        return c == L'/' || c == L'\\' || c == L':';
#else
        return c == '/';
#endif
    };
    while (end > 0 && !is_separator(path_[end - 1])) --end;
    return path_.substr(0, end);
}

CKPT_DETAIL_DEF result<output_file> output_file::create(path_arg path, bool replace, const output_check& check) {
    constexpr int most_names = 100;
    if (!path.usable())
        return error{.code = errc::write_failed,
                     .detail = str_cat(quoted(path.text()), ": the path is null or has a NUL byte inside")};
    output_file out{path.text(), native_path(path), replace, check};
    if (file_system::is_directory(out.path_.c_str()))
        return error{.code = errc::write_failed,
                     .file = out.text_,
                     .detail = "it is a directory",
                     .hint = "Give the path of a file in it"};
    if (!replace && file_system::exists(out.path_.c_str())) return out.exists();
    int failure = file_system::exists_already;
    native_string name;
    for (int i = 0; i < most_names && failure == file_system::exists_already; ++i) {
        name = out.folder();
        out.temporary_name_ = str_cat(".ckpt-", file_system::process_id(), "-", i, ".tmp");
        for (const char c : out.temporary_name_) name += static_cast<file_system::path_char>(c);
        failure = file_system::create_new(name.c_str(), out.handle_);
    }
    if (failure != 0) {
        out.handle_ = file_system::no_handle;
        return out.failed(failure, "making it");
    }
    out.temporary_ = std::move(name);
    failure = replace ? file_system::copy_mode(out.path_.c_str(), out.handle_) : 0;
    if (failure != 0) return out.failed(failure, "giving it the permissions of the old file");
    out.is_on_server_ = file_system::is_on_server(out.handle_);
    return out;
}

CKPT_DETAIL_DEF result<void> output_file::put(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        std::size_t wrote = 0;
        const int failure = file_system::write_at(handle_, written_, bytes.data(), bytes.size(), wrote);
        if (failure != 0) return failed(failure, "writing it");
        advance(wrote);
        bytes = bytes.subspan(wrote);
    }
    return {};
}

/// Counts bytes that were written. The disk has begun with them before the last ones are there: `finish` waits less.
CKPT_DETAIL_DEF void output_file::advance(std::uint64_t wrote) noexcept {
    constexpr std::uint64_t step = std::uint64_t{8} << 20;
    written_ += wrote;
    if (written_ - begun_ < step) return;
    file_system::begin_writing(handle_, begun_, written_ - begun_);
    begun_ = written_;
}

CKPT_DETAIL_DEF result<void> output_file::flush() {
    auto done = put(buffer_);
    buffer_.clear();
    return done;
}

CKPT_DETAIL_DEF result<void> output_file::write(std::span<const std::byte> bytes) {
    constexpr std::size_t buffered = std::size_t{1} << 16, most = std::size_t{1} << 20;
    if (bytes.size() < buffered && buffer_.size() + bytes.size() <= most) {
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
        return {};
    }
    if (auto done = flush(); !done) return done;
    return put(bytes);
}

CKPT_DETAIL_DEF result<void> output_file::copy(const file& from, std::uint64_t offset, std::uint64_t length) {
    constexpr std::uint64_t piece = std::uint64_t{1} << 18, most_inside = std::uint64_t{1} << 26;
    constexpr std::uint64_t block = 4096; // of most file systems
    if (length >= piece / 4) {
        if (auto done = flush(); !done) return done;
        const bool inside = is_on_server_ || (offset - written_) % block == 0;
        while (inside && copies_inside_ && length > 0) {
            const auto wanted = static_cast<std::size_t>(length < most_inside ? length : most_inside);
            std::size_t copied = 0;
            // A failure, or the end of the source, is met again and named by the read below.
            copies_inside_ =
                file_system::copy_range(from.handle(), offset, handle_, written_, wanted, copied) == 0 && copied != 0;
            advance(copied);
            offset += copied;
            length -= copied;
        }
    }
    if (piece_.size() < piece && piece_.size() < length)
        piece_.resize(static_cast<std::size_t>(length < piece ? length : piece));
    while (length > 0) {
        const auto part = std::span{piece_}.first(static_cast<std::size_t>(length < piece ? length : piece));
        if (auto read = from.read(offset, part); !read) return read;
        if (auto done = write(part); !done) return done;
        offset += part.size();
        length -= part.size();
    }
    return {};
}

CKPT_DETAIL_DEF result<void> output_file::finish() {
    if (auto done = flush(); !done) return done;
    if (const int failure = file_system::sync(handle_); failure != 0) return failed(failure, "writing it");
    const int failure = file_system::finish_file(std::exchange(handle_, file_system::no_handle));
    if (failure != 0) return failed(failure, "writing it");
    const std::string at = text_.substr(0, name_offset(text_)) + temporary_name_;
    return check_({.path = text_, .at = at});
}

CKPT_DETAIL_DEF result<void> output_file::publish() {
    const int failure = file_system::publish(temporary_.c_str(), path_.c_str(), replace_);
    if (failure == file_system::exists_already && !replace_) return exists();
    if (failure != 0) return failed(failure, "naming it");
    temporary_.clear();
    native_string where = folder();
    if (where.empty()) where += static_cast<file_system::path_char>('.');
    if (const int late = file_system::sync_folder(where.c_str()); late != 0) return failed(late, "naming it");
    return {};
}

CKPT_DETAIL_RARE bool is_taken(path_arg path) { return file_system::exists(native_path(path).c_str()); }

CKPT_DETAIL_RARE bool remove_output(path_arg path) {
    file_system::remove_file(native_path(path).c_str());
    return !is_taken(path);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
