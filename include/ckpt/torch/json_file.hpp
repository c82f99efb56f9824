// ckpt/torch/json_file.hpp: a JSON file, such as the configuration that stands beside weights, as values.
//
// SPDX-License-Identifier: MIT
// In:      a path; limits.
// Out:     `json_file`: the content as a `value`, of the types that Python's json gives: dict, list, str, int, float,
//          bool and None.
// Refuses: what is no JSON (NaN, Infinity and -Infinity are read, as Python writes them), an object that has a name
//          twice, nesting beyond 127 levels, files beyond `limits::directory_bytes`.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/io/path.hpp>
#include <ckpt/pickle/value.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {
class json_content; // torch/impl/json_file.ipp
struct json_access;
} // namespace detail

/// A JSON file that was read. A cheap handle to an immutable object; copies share it. Where the file is missing or
/// damaged, the object exists all the same: everything that is asked of it fails with the reason, which names the file,
/// so that `file.config().get<int>("num_attention_heads")` needs one check.
class json_file {
  public:
    /// The whole content, as a value; it borrows from this object. `kind::refused` where the file was not read.
    [[nodiscard]] value root() const& noexcept CKPT_DETAIL_BORROWED;
    value root() const&& = delete; // the value goes with the file: name the json_file first

    /// A copy of the value at a path, as `value::get`: `get<double>("rope_scaling/factor")`.
    template <class T> [[nodiscard]] result<T> get(std::string_view path) const {
        return content().template get<T>(path);
    }
    /// The same, or `fallback` where the path does not exist or leads to None, as `value::get_or`. A file that was not
    /// read is an error, too.
    template <class T> [[nodiscard]] result<T> get_or(std::string_view path, T fallback) const {
        return content().get_or(path, std::move(fallback));
    }

    /// Whether the file was read.
    [[nodiscard]] explicit operator bool() const noexcept { return content().refusal() == nullptr; }
    /// Why the file was not read; null where it was. Borrows from this object.
    [[nodiscard]] const error* refusal() const& noexcept CKPT_DETAIL_BORROWED { return content().refusal(); }
    const error* refusal() const&& = delete; // the error goes with the file: name the json_file first
    /// The path of the file; of a configuration that was not found, the folder.
    [[nodiscard]] std::string path() const;

  private:
    friend struct detail::json_access;
    explicit json_file(detail::shared<detail::json_content> read) noexcept : read_{std::move(read)} {}

    [[nodiscard]] value content() const noexcept;

    detail::shared<detail::json_content> read_;
};

/// Reads the JSON file at `path`, whole. `json_file::refusal` is the error where it cannot: `cannot_open`,
/// `json_invalid` and others.
[[nodiscard]] json_file open_json(path_arg path, const limits& budget = {});

namespace detail {

/// Reads the file `name` in a folder; without a name the first of the usual names of a model's configuration.
[[nodiscard]] json_file open_config(const std::string& folder, std::string_view name, const limits& budget);

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/json_file.ipp>
#endif
