// ckpt/write/impl/numpy.ipp: the definitions of numpy.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/core/utf8.hpp>
#include <ckpt/io/output.hpp>
#include <ckpt/write/chosen_tensors.hpp>
#include <ckpt/write/numpy.hpp>
#include <ckpt/write/tensor_writer.hpp>
#include <ckpt/write/zip_writer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace detail {

namespace npy {

/// numpy's name of a dtype; empty where it has none. `raw`: some have that of their bits.
inline std::string_view descr_of(ckpt::dtype type, bool raw) {
    switch (type) {
    case ckpt::dtype::bool_: return "|b1";
    case ckpt::dtype::uint8: return "|u1";
    case ckpt::dtype::int8: return "|i1";
    case ckpt::dtype::uint16: return "<u2";
    case ckpt::dtype::int16: return "<i2";
    case ckpt::dtype::uint32: return "<u4";
    case ckpt::dtype::int32: return "<i4";
    case ckpt::dtype::uint64: return "<u8";
    case ckpt::dtype::int64: return "<i8";
    case ckpt::dtype::float16: return "<f2";
    case ckpt::dtype::float32: return "<f4";
    case ckpt::dtype::float64: return "<f8";
    case ckpt::dtype::complex64: return "<c8";
    case ckpt::dtype::complex128: return "<c16";
    case ckpt::dtype::bfloat16: return raw ? "<u2" : "";
    case ckpt::dtype::float8_e5m2:
    case ckpt::dtype::float8_e4m3fn:
    case ckpt::dtype::float8_e5m2fnuz:
    case ckpt::dtype::float8_e4m3fnuz:
    case ckpt::dtype::float8_e8m0fnu:
    case ckpt::dtype::float4_e2m1fn_x2: return raw ? "|u1" : "";
    default: return {};
    }
}

/// What stands before the elements of an array, byte for byte as numpy.save writes it.
inline std::string header_of(const tensor_data& data, bool raw) {
    constexpr std::size_t alignment = 64, before = 10; // magic, version, length
    constexpr std::size_t room = 21;                   // for a first size that grows
    std::string text = "{'descr': '";
    text.append(descr_of(data.type, raw)) += "', 'fortran_order': False, 'shape': (";
    for (std::uint32_t i = 0; i < data.rank; ++i) (text += i > 0 ? ", " : "") += decimal(data.shape[i]);
    text += data.rank == 1 ? ",), }" : "), }";
    if (data.rank > 0) text.append(room - decimal(data.shape[0]).size(), ' ');
    text.append(alignment - (before + text.size() + 1) % alignment, ' ') += '\n';
    std::string out = "\x93NUMPY\x01";
    (out += '\0') += static_cast<char>(static_cast<unsigned char>(text.size()));
    out += static_cast<char>(static_cast<unsigned char>(text.size() >> 8));
    return out + text;
}

inline result<void> judge(const tensor_data& data, bool raw) {
    if (!descr_of(data.type, raw).empty()) return {};
    const bool helps = !descr_of(data.type, true).empty();
    return error{.code = errc::format_lacks,
                 .detail = str_cat("numpy has no dtype for ", name(data.type)),
                 .hint =
                     helps ? std::string_view("Cast it with a key rule, as in \"cast float32 KEY\", or write its bits: "
                                              "numpy_options::raw")
                           : std::string_view("Cast it with a key rule, or leave it out")};
}

inline std::string name_of(std::string_view key) { return str_cat(key, ".npy"); }

} // namespace npy

/// The arrays of one output.
class numpy_layout {
  public:
    /// `single`: one array without an archive around it.
    [[nodiscard]] static result<numpy_layout> make(const state_dict& from, const numpy_options& options, bool single);
    [[nodiscard]] write_report report(path_arg out) const;
    [[nodiscard]] result<void> write(path_arg out) const;

  private:
    numpy_layout(const numpy_options& options, bool single) noexcept : options_{options}, single_{single} {}
    [[nodiscard]] result<void> check() const;
    [[nodiscard]] result<void> check_names() const;
    [[nodiscard]] result<void> write_to(output_file& file) const;

    const numpy_options& options_;
    bool single_;
    shared<state_dict_data> weights_{};
    chosen_tensors chosen_{};
};

CKPT_DETAIL_RARE result<void> numpy_layout::check() const {
    constexpr std::size_t longest = 0xFFFF - 4; // with ".npy" behind it
    if (single_ && chosen_.written.size() != 1)
        return error{.code = errc::format_lacks,
                     .detail =
                         str_cat("an .npy file holds one array, and there are ", chosen_.written.size(), " tensors"),
                     .hint = "Choose one with the key rule \"keep KEY\", or write an .npz file"};
    for (const state_dict_entry& e : chosen_.written)
        if (!single_ && (e.key.size() > longest || e.key.find('\0') != std::string_view::npos ||
                         check_utf8(e.key) != utf8_verdict::valid))
            return error{.code = errc::format_lacks,
                         .detail = str_cat("the key ", quoted(e.key), " cannot name a record of an archive"),
                         .hint = "Rename it with a key rule"};
    return single_ ? result<void>{} : check_names();
}

CKPT_DETAIL_RARE result<void> numpy_layout::check_names() const {
    constexpr std::string_view suffix = ".npy"; // which numpy.load takes off, and accepts
    std::vector<std::string_view> keys;
    for (const state_dict_entry& e : chosen_.written) keys.push_back(e.key);
    sort_values(keys);
    for (const std::string_view key : keys) {
        if (!key.ends_with(suffix)) continue;
        const std::string_view stem = key.substr(0, key.size() - suffix.size());
        if (std::binary_search(keys.begin(), keys.end(), stem))
            return error{.code = errc::format_lacks,
                         .detail =
                             str_cat("numpy gives the array of ", quoted(stem), " for the key ", quoted(key), ", too"),
                         .hint = "Rename one of them with a key rule, as in \"rename {key:**}.npy -> {key}_npy\""};
    }
    return {};
}

CKPT_DETAIL_RARE result<numpy_layout> numpy_layout::make(const state_dict& from, const numpy_options& options,
                                                         bool single) {
    numpy_layout out{options, single};
    out.weights_ = state_dict_access::data(from);
    const auto fits = [&options](const state_dict_entry& e) { return npy::judge(*e.data, options.raw); };
    out.chosen_ = choose_tensors(*out.weights_, fits, false);
    if (auto usable = out.check(); !usable) return std::move(usable).failure();
    return out;
}

CKPT_DETAIL_RARE write_report numpy_layout::report(path_arg out) const {
    zip_size archive;
    std::uint64_t bytes = 0;
    for (const state_dict_entry& e : chosen_.written) {
        bytes = npy::header_of(*e.data, options_.raw).size() + bytes_of(e.data->type, e.data->numel);
        archive.add(npy::name_of(e.key).size(), bytes);
    }
    write_report made;
    made.files.push_back({out.text(), single_ ? bytes : archive.bytes(), chosen_.written.size()});
    made.left_out = chosen_.left_out;
    return made;
}

CKPT_DETAIL_RARE result<void> numpy_layout::write_to(output_file& file) const {
    progress_meter meter{options_.progress};
    for (const state_dict_entry& e : chosen_.written) meter.expect(bytes_of(e.data->type, e.data->numel));
    tensor_writer tensors{*weights_, meter};
    zip_writer archive{file};
    for (const state_dict_entry& e : chosen_.written) {
        const std::string text = npy::header_of(*e.data, options_.raw);
        const auto header = std::as_bytes(std::span{text.data(), text.size()});
        if (single_) {
            auto done = file.write(header);
            return done ? tensors.append(e, file) : done;
        }
        auto done = archive.begin(npy::name_of(e.key), header.size() + bytes_of(e.data->type, e.data->numel));
        if (done) done = archive.add(header);
        if (done) done = tensors.read(e, [&](std::span<const std::byte> part) { return archive.add(part); });
        if (done) done = archive.end();
        if (!done) return done;
    }
    return archive.finish();
}

CKPT_DETAIL_RARE result<void> numpy_layout::write(path_arg out) const {
    if (auto allowed = check_losses(chosen_, options_.allow_loss); !allowed) return allowed;
    auto file = output_file::create(out, options_.overwrite, options_.check);
    if (!file) return std::move(file).failure();
    auto done = write_to(*file);
    if (done) done = file->finish();
    return done ? file->publish() : done;
}

/// What `plan_npz` and the other three have in common.
inline result<write_report> make_numpy(const state_dict& weights, path_arg out, const numpy_options& options,
                                       bool single, bool writes) {
    const auto layout = numpy_layout::make(weights, options, single);
    if (!layout) return layout.error();
    if (writes)
        if (auto done = layout->write(out); !done) return std::move(done).failure();
    return layout->report(out);
}

} // namespace detail

CKPT_DETAIL_RARE result<write_report> plan_npz(const state_dict& weights, path_arg out, const numpy_options& options) {
    return detail::make_numpy(weights, out, options, false, false);
}
CKPT_DETAIL_RARE result<write_report> write_npz(const state_dict& weights, path_arg out, const numpy_options& options) {
    return detail::make_numpy(weights, out, options, false, true);
}
CKPT_DETAIL_RARE result<write_report> plan_npy(const state_dict& weights, path_arg out, const numpy_options& options) {
    return detail::make_numpy(weights, out, options, true, false);
}
CKPT_DETAIL_RARE result<write_report> write_npy(const state_dict& weights, path_arg out, const numpy_options& options) {
    return detail::make_numpy(weights, out, options, true, true);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
