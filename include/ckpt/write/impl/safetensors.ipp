// ckpt/write/impl/safetensors.ipp: the definitions of safetensors.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/append_le.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/core/utf8.hpp>
#include <ckpt/io/output.hpp>
#include <ckpt/torch/safetensors_types.hpp>
#include <ckpt/write/chosen_tensors.hpp>
#include <ckpt/write/old_set.hpp>
#include <ckpt/write/safetensors.hpp>
#include <ckpt/write/tensor_writer.hpp>

#include <span>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace detail {

/// The files that an output consists of, before anything is written.
class safetensors_layout {
  public:
    struct planned_file {
        std::string path{};
        plain_list<state_dict_entry> tensors{}; // in the order of their bytes
        std::string header{};                   // with its length before it
        std::uint64_t bytes{0};                 // of the tensors
    };

    [[nodiscard]] static result<safetensors_layout> make(const state_dict& weights, path_arg out,
                                                         const safetensors_options& options);
    [[nodiscard]] write_report report() const;
    /// Writes all files, and names them when all of them are on the disk. `out`: the path that they were planned for.
    /// `to`: gets the files of an older set that went, and those that are still there.
    [[nodiscard]] result<void> write(path_arg out, const safetensors_options& options, write_report& to) const;
    /// The older save that the files would stand beside.
    [[nodiscard]] result<old_set> find_old(path_arg out, const safetensors_options& options) const;
    [[nodiscard]] const chosen_tensors& chosen() const noexcept { return chosen_; }

  private:
    [[nodiscard]] static result<void> judge(const tensor_data& data);
    [[nodiscard]] result<void> check_keys() const;
    [[nodiscard]] result<void> add_metadata(const safetensors_options& options);
    void split(std::uint64_t most);
    void name_files(std::string path);
    [[nodiscard]] result<void> describe(planned_file& out) const;
    [[nodiscard]] std::string index() const;

    shared<state_dict_data> weights_{};
    chosen_tensors chosen_{};
    std::vector<metadata_entry> metadata_{}; // sorted
    std::vector<planned_file> files_{};
    std::string index_path_{}; // empty where there is one file
    std::string index_{};
};

/// Text as serde_json writes it, which the reference uses: escapes for what JSON forbids, and nothing else. `ascii`: as
/// Python's json module writes it, with escapes for all that is not ASCII, too.
inline void append_plain_json(std::string& out, std::string_view text, bool ascii = false) {
    constexpr std::string_view letters = "btnvfr"; // of the control characters 8 to 13
    const auto unit = [&out](std::uint32_t x) {
        constexpr std::string_view digits = "0123456789abcdef";
        out += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) out += digits[(x >> shift) & 15u];
    };
    out += '"';
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = utf8_length(text, i);
        const std::uint32_t point = utf8_point(text, i, length);
        if (point == '"' || point == '\\') (out += '\\') += text[i];
        else if (point >= 8 && point <= 13 && point != 11) (out += '\\') += letters[point - 8];
        else if (point < 0x20 || (ascii && point > 0x7F && point < 0x10000)) unit(point);
        else if (!ascii || point < 0x80) out.append(text.substr(i, length));
        else {
            unit(0xD7C0 + (point >> 10));
            unit(0xDC00 + (point & 0x3FF));
        }
        i += length;
    }
    out += '"';
}

CKPT_DETAIL_RARE result<void> safetensors_layout::judge(const tensor_data& data) {
    if (!safetensors_type_of(data.type))
        return error{.code = errc::format_lacks,
                     .detail = str_cat("safetensors has no type for ", name(data.type)),
                     .hint = "Cast it with a key rule, as in \"cast float32 KEY\", or leave it out"};
    if (data.type == ckpt::dtype::float4_e2m1fn_x2 && data.rank == 0)
        return error{.code = errc::format_lacks,
                     .detail = "safetensors counts float4 values in the last dimension, and a scalar has none",
                     .hint = "Reshape it to [1] with a key rule, or leave it out"};
    return {};
}

CKPT_DETAIL_RARE result<void> safetensors_layout::check_keys() const {
    for (const state_dict_entry& e : chosen_.written) {
        if (e.key == "__metadata__")
            return error{.code = errc::format_lacks,
                         .detail = "safetensors keeps the key \"__metadata__\" for its metadata",
                         .hint = "Rename it with a key rule"};
        if (check_utf8(e.key) != utf8_verdict::valid)
            return error{.code = errc::format_lacks,
                         .detail = str_cat("the key ", quoted(e.key), " is not UTF-8, which safetensors needs"),
                         .hint = "Rename it with a key rule"};
    }
    return {};
}

CKPT_DETAIL_RARE result<void> safetensors_layout::add_metadata(const safetensors_options& options) {
    metadata_ = options.metadata;
    for (const tied_key& t : chosen_.shared) metadata_.push_back({t.key, t.same_as});
    sort_values(metadata_, [](const metadata_entry& a, const metadata_entry& b) { return a.key < b.key; });
    for (std::size_t i = 0; i < metadata_.size(); ++i) {
        if (i > 0 && metadata_[i].key == metadata_[i - 1].key)
            return error{.code = errc::format_lacks,
                         .detail = str_cat("two entries of the metadata have the key ", quoted(metadata_[i].key)),
                         .hint = "Keys of tied tensors are entries, too: choose another, or write tied tensors twice"};
        for (const std::string* text : {&metadata_[i].key, &metadata_[i].text})
            if (check_utf8(*text) != utf8_verdict::valid)
                return error{.code = errc::format_lacks,
                             .detail =
                                 str_cat("the metadata ", quoted(*text), " is not UTF-8, which safetensors needs")};
    }
    return {};
}

CKPT_DETAIL_RARE void safetensors_layout::split(std::uint64_t most) {
    // As huggingface_hub does it: in the order of the state_dict; what is larger alone is a file of its own, and stands
    // before the file that was begun.
    std::vector<planned_file> whole;
    planned_file begun;
    for (const state_dict_entry& e : chosen_.written) {
        const std::uint64_t bytes = bytes_of(e.data->type, e.data->numel);
        if (most != 0 && bytes > most) {
            planned_file alone;
            alone.tensors.push_back(e);
            alone.bytes = bytes;
            whole.push_back(std::move(alone));
            continue;
        }
        if (most != 0 && bytes > most - begun.bytes) whole.push_back(std::exchange(begun, {}));
        begun.tensors.push_back(e);
        begun.bytes += bytes;
    }
    if (!begun.tensors.empty() || whole.empty()) whole.push_back(std::move(begun));
    files_ = std::move(whole);
}

CKPT_DETAIL_RARE void safetensors_layout::name_files(std::string path) {
    if (files_.size() == 1) {
        files_[0].path = std::move(path);
        return;
    }
    index_path_ = index_of(path);
    const std::string stem(stem_of(path));
    const auto five = [](std::size_t n) {
        const std::string digits = decimal(std::uint64_t{n});
        return digits.size() < 5 ? std::string(5 - digits.size(), '0') + digits : digits;
    };
    for (std::size_t i = 0; i < files_.size(); ++i)
        files_[i].path = str_cat(stem, "-", five(i + 1), "-of-", five(files_.size()), safetensors_suffix);
}

CKPT_DETAIL_RARE result<void> safetensors_layout::describe(planned_file& out) const {
    const auto type = [](const state_dict_entry& e) { return safetensors_type_of(e.data->type).value_or(0); };
    sort_values(out.tensors, [&](const state_dict_entry& a, const state_dict_entry& b) {
        return type(a) != type(b) ? type(a) > type(b) : a.key < b.key;
    });
    std::string& json = out.header;
    json.assign(8, '\0');
    json += '{';
    const auto separate = [&json] {
        if (json.back() != '{') json += ',';
    };
    if (!metadata_.empty()) {
        json += "\"__metadata__\":{";
        for (const metadata_entry& m : metadata_) {
            separate();
            append_plain_json(json, m.key);
            append_plain_json(json += ':', m.text);
        }
        json += '}';
    }
    std::uint64_t at = 0;
    for (const state_dict_entry& e : out.tensors) {
        const tensor_data& data = *e.data;
        separate();
        append_plain_json(json, e.key);
        (json += ":{\"dtype\":\"").append(safetensors_types[type(e)].name) += "\",\"shape\":[";
        for (std::uint32_t i = 0; i < data.rank; ++i) {
            // A byte of float4 is two values for the format, and one element for torch.
            const bool halves = data.type == ckpt::dtype::float4_e2m1fn_x2 && i + 1 == data.rank;
            (json += i > 0 ? "," : "") += decimal((halves ? 2 : 1) * static_cast<std::uint64_t>(data.shape[i]));
        }
        (json += "],\"data_offsets\":[") += decimal(at) + ',';
        at += bytes_of(data.type, data.numel);
        (json += decimal(at)) += "]}";
    }
    json += '}';
    json.append((8 - json.size() % 8) % 8, ' ');
    const std::uint64_t length = json.size() - 8;
    if (length > safetensors::largest_header)
        return error{.code = errc::format_lacks,
                     .detail = str_cat("the header would have ", length, " bytes, and the format allows ",
                                       safetensors::largest_header),
                     .hint = "Write several files: safetensors_options::max_shard_bytes"};
    std::string first;
    append_le(first, length, 8);
    json.replace(0, first.size(), first);
    return {};
}

CKPT_DETAIL_RARE std::string safetensors_layout::index() const {
    // As json.dumps(index, indent=2, sort_keys=True) writes it.
    std::vector<std::pair<std::string_view, std::string_view>> map; // key, name of the file
    std::uint64_t total = 0;
    for (const planned_file& f : files_) {
        const std::string_view path = f.path;
        total += f.bytes;
        for (const state_dict_entry& e : f.tensors) map.emplace_back(e.key, path.substr(name_offset(path)));
    }
    sort_values(map);
    std::string out = str_cat("{\n  \"metadata\": {\n    \"total_size\": ", total, "\n  },\n  \"weight_map\": {");
    for (const auto& [key, file] : map) {
        out += out.back() == '{' ? "\n    " : ",\n    ";
        append_plain_json(out, key, true);
        append_plain_json(out += ": ", file, true);
    }
    return str_cat(out, "\n  }\n}\n");
}

CKPT_DETAIL_RARE result<safetensors_layout> safetensors_layout::make(const state_dict& weights, path_arg out,
                                                                     const safetensors_options& options) {
    safetensors_layout layout;
    layout.weights_ = state_dict_access::data(weights);
    const auto fits = [](const state_dict_entry& e) { return judge(*e.data); };
    layout.chosen_ = choose_tensors(*layout.weights_, fits, !options.duplicate_shared);
    if (auto usable = layout.check_keys(); !usable) return std::move(usable).failure();
    if (auto usable = layout.add_metadata(options); !usable) return std::move(usable).failure();
    layout.split(options.max_shard_bytes);
    layout.name_files(out.text());
    for (planned_file& f : layout.files_)
        if (auto described = layout.describe(f); !described) return std::move(described).failure();
    if (!layout.index_path_.empty()) layout.index_ = layout.index();
    return layout;
}

CKPT_DETAIL_RARE write_report safetensors_layout::report() const {
    write_report out;
    for (const planned_file& f : files_) out.files.push_back({f.path, f.header.size() + f.bytes, f.tensors.size()});
    if (!index_path_.empty()) out.files.push_back({index_path_, index_.size(), 0});
    out.shared = chosen_.shared;
    out.left_out = chosen_.left_out;
    return out;
}

CKPT_DETAIL_RARE result<old_set> safetensors_layout::find_old(path_arg out, const safetensors_options& options) const {
    if (options.max_shard_bytes == 0 || !out.usable()) return old_set{};
    std::vector<std::string> names;
    for (const written_file& f : report().files) names.push_back(f.path);
    return old_set::find(out.text(), names, options.overwrite);
}

CKPT_DETAIL_RARE result<void> safetensors_layout::write(path_arg out, const safetensors_options& options,
                                                        write_report& to) const {
    const auto old = find_old(out, options);
    if (!old) return old.error();
    progress_meter meter{options.progress};
    for (const planned_file& f : files_) meter.expect(f.bytes);
    tensor_writer tensors{*weights_, meter};
    std::vector<output_file> written;
    const auto begin = [&](path_arg path, std::string_view head) -> result<void> {
        auto made = output_file::create(path, options.overwrite, options.check);
        if (!made) return std::move(made).failure();
        written.push_back(std::move(*made));
        return written.back().write(std::as_bytes(std::span{head.data(), head.size()}));
    };
    for (const planned_file& f : files_) {
        if (auto begun = begin(files_.size() == 1 ? out : path_arg{f.path}, f.header); !begun) return begun;
        for (const state_dict_entry& e : f.tensors)
            if (auto done = tensors.append(e, written.back()); !done) return done;
        if (auto done = written.back().finish(); !done) return done;
    }
    if (!index_path_.empty()) {
        if (auto begun = begin(index_path_, index_); !begun) return begun;
        if (auto done = written.back().finish(); !done) return done;
    }
    for (output_file& f : written)
        if (auto named = f.publish(); !named) return named;
    old->remove(to);
    return {};
}

} // namespace detail

CKPT_DETAIL_RARE result<write_report> plan_safetensors(const state_dict& weights, path_arg out,
                                                       const safetensors_options& options) {
    const auto layout = detail::safetensors_layout::make(weights, out, options);
    if (!layout) return layout.error();
    write_report report = layout->report();
    if (!options.overwrite) return report;
    const auto old = layout->find_old(out, options);
    if (!old) return old.error();
    report.removed = old->files();
    return report;
}

CKPT_DETAIL_RARE result<write_report> write_safetensors(const state_dict& weights, path_arg out,
                                                        const safetensors_options& options) {
    const auto layout = detail::safetensors_layout::make(weights, out, options);
    if (!layout) return layout.error();
    if (auto allowed = detail::check_losses(layout->chosen(), options.allow_loss); !allowed)
        return std::move(allowed).failure();
    write_report report = layout->report();
    if (auto done = layout->write(out, options, report); !done) return std::move(done).failure();
    return report;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
