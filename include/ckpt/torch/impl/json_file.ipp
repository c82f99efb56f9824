// ckpt/torch/impl/json_file.ipp: the definitions of json_file.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/json_values.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/torch/json_file.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The values of a file, and what they borrow from.
class json_content final : public counted {
  public:
    json_content(std::string path, const limits& budget) : path_{std::move(path)}, budget_{budget}, graph_{{}} {
        graph_.file = path_;
    }

    void read(const source& from) {
        if (auto done = read_text(from); !done) refuse(std::move(done).error());
    }
    /// The file was not read.
    void refuse(error e) {
        if (e.file.empty() && e.detail.find(printable(path_)) == std::string::npos) e.file = path_;
        graph_.root = graph_.add(node::of(node_kind::refused, graph_.keep(std::move(e))));
    }
    [[nodiscard]] value root() const noexcept { return value_access::make(graph_, graph_.root); }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    [[nodiscard]] result<void> read_text(const source& from) {
        if (from.size() > budget_.directory_bytes)
            return error{.code = errc::limit,
                         .detail = str_cat("the file has ", from.size(), " bytes, limits.directory_bytes is ",
                                           budget_.directory_bytes),
                         .hint = "raise limits::directory_bytes if this is a JSON file"};
        const auto bytes = static_cast<std::size_t>(from.size());
        char* const text = graph_.memory.allocate<char>(bytes + 1);
        if (auto done = from.read(0, std::as_writable_bytes(std::span<char>{text, bytes})); !done) return done;
        graph_.pickle = std::as_bytes(std::span<const char>{text, bytes});
        return read_json({text, bytes}, graph_, budget_);
    }

    std::string path_;
    limits budget_;
    detail::graph graph_;
};

struct json_access {
    [[nodiscard]] static json_file make(shared<json_content> of) noexcept { return json_file{std::move(of)}; }
};

inline json_file read_opened(std::string path, const result<shared<source>>& from, const limits& budget) {
    auto out = detail::make_shared<json_content>(std::move(path), budget);
    if (from) out->read(**from);
    else out->refuse(from.error());
    return json_access::make(std::move(out));
}

CKPT_DETAIL_RARE json_file open_config(const std::string& folder, std::string_view name, const limits& budget) {
    constexpr int not_there = 2; // ENOENT, and what Windows has for it
    constexpr std::string_view usual[]{"config.json", "params.json", "adapter_config.json", "open_clip_config.json",
                                       "hparams.json"};
    std::span<const std::string_view> names{usual};
    if (!name.empty()) names = {&name, 1};
    error missing{.code = errc::cannot_open,
                  .os_code = not_there,
                  .hint = "config(\"NAME\") reads another JSON file beside the weights"};
    if (folder.empty()) {
        missing.detail = "the checkpoint was opened from memory, so no configuration stands beside it";
        missing.hint = "open_json(path) reads a JSON file";
    } else {
        for (const std::string_view one : names) {
            std::string path = path_in(folder, one);
            auto from = source::open(path, {.mode = io_mode::read});
            if (from || from.error().code != errc::cannot_open || from.error().os_code != not_there)
                return read_opened(std::move(path), from, budget);
            missing.detail += (missing.detail.empty() ? "no " : ", no ") + printable(one);
        }
        missing.detail += str_cat(" in the folder ", quoted(folder));
    }
    auto out = detail::make_shared<json_content>(folder, budget);
    out->refuse(std::move(missing));
    return json_access::make(std::move(out));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE value json_file::root() const& noexcept { return read_->root(); }
CKPT_DETAIL_RARE value json_file::content() const noexcept { return read_->root(); }
CKPT_DETAIL_RARE std::string json_file::path() const { return read_->path(); }

CKPT_DETAIL_RARE json_file open_json(path_arg path, const limits& budget) {
    return detail::read_opened(path.text(), detail::source::open(path, {.mode = io_mode::read}), budget);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
