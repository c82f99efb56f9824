// ckpt/write/impl/gguf.ipp: the definitions of gguf.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/core/utf8.hpp>
#include <ckpt/io/output.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/write/chosen_tensors.hpp>
#include <ckpt/write/gguf.hpp>
#include <ckpt/write/gguf_blocks.hpp>
#include <ckpt/write/gguf_format.hpp>
#include <ckpt/write/tensor_writer.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace detail {

namespace gguf {

inline constexpr std::uint64_t alignment = 32;
inline constexpr std::size_t longest_key = 0xFFFF;
inline constexpr std::uint32_t most_dimensions = 4;

inline std::size_t block_bytes(gguf_quant how) { return how == gguf_quant::q8_0 ? q8_0_bytes : q4_0_bytes; }
inline std::uint64_t padded(std::uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

inline error lacks(std::string what, std::string_view hint) {
    return {.code = errc::format_lacks, .detail = std::move(what), .hint = hint};
}

inline error no_type(ckpt::dtype type) {
    std::string_view hint = "Leave it out";
    if (is_convertible(type, ckpt::dtype::float32) && info(type).kind == dtype_kind::floating)
        hint = "Cast it with a key rule, as in \"cast float32 KEY\", or leave it out";
    else if (type == ckpt::dtype::uint32 || type == ckpt::dtype::uint64)
        hint = "Cast it with a key rule, as in \"cast int64 KEY\", or leave it out";
    else if (is_convertible(type, ckpt::dtype::int32))
        hint = "Cast it with a key rule, as in \"cast int32 KEY\", or leave it out";
    return lacks(str_cat("GGUF has no type for ", name(type)), hint);
}

/// Whether the format can hold a tensor that is quantised, or is not.
inline result<void> judge(const state_dict_entry& e, gguf_quant how) {
    const tensor_data& data = *e.data;
    if (how == gguf_quant::none && !type_of(data.type)) return no_type(data.type);
    if (data.numel == 0)
        return lacks("GGUF has no tensors without elements", "Drop it with a key rule, or leave it out");
    if (data.rank > most_dimensions)
        return lacks(str_cat("GGUF has at most 4 dimensions, and it has ", data.rank),
                     "Join some with a key rule, as in \"reshape (2, -1) KEY\", or leave it out");
    if (e.key.size() > longest_name)
        return lacks(str_cat("the name has ", e.key.size(), " bytes, and GGUF allows 64"),
                     "Shorten it with a key rule, as in \"rename model.language_model.{rest:**} -> lm.{rest}\"");
    if (check_utf8(e.key) != utf8_verdict::valid || e.key.find('\0') != std::string_view::npos)
        return lacks("GGUF has names in UTF-8, and programs end them with a NUL", "Rename it with a key rule");
    return {};
}

/// Why a tensor is not quantised, as a clause; empty where it is. `by_name`: its whole key was given.
inline std::string obstacle(const tensor_data& data, bool by_name) {
    if (info(data.type).kind != dtype_kind::floating || !is_convertible(data.type, ckpt::dtype::float32))
        return str_cat("its dtype is ", name(data.type));
    if (data.rank == 0) return "it is a scalar";
    if (data.rank == 1 && !by_name) return "it has one dimension";
    if (const std::int64_t last = data.shape[data.rank - 1]; last % static_cast<std::int64_t>(block_values) != 0)
        return str_cat("its last dimension, ", last, ", is no multiple of 32");
    return {};
}

} // namespace gguf

/// Makes blocks of the elements of one tensor, which come in pieces of any size.
class block_writer {
  public:
    block_writer(ckpt::dtype from, gguf_quant how, output_file& out) noexcept
        : from_{from}, how_{how}, whole_{block_values * itemsize(from)}, out_{out} {}

    [[nodiscard]] result<void> add(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const std::size_t missing = whole_ - held_, n = bytes.size() < missing ? bytes.size() : missing;
            std::memcpy(block_.data() + held_, bytes.data(), n);
            held_ += n;
            bytes = bytes.subspan(n);
            if (held_ < whole_) continue;
            held_ = 0;
            if (auto done = write(); !done) return done;
        }
        return {};
    }

  private:
    [[nodiscard]] result<void> write() {
        std::array<float, block_values> values{};
        std::array<std::byte, q8_0_bytes> made{};
        if (native_order() != byte_order::little) swap_components(from_, block_.data(), block_values);
        (void)convert(from_, block_.data(), ckpt::dtype::float32, reinterpret_cast<std::byte*>(values.data()),
                      block_values);
        if (how_ == gguf_quant::q8_0) quantise_q8_0(values, made.data());
        else quantise_q4_0(values, made.data());
        return out_.write({made.data(), gguf::block_bytes(how_)});
    }

    ckpt::dtype from_;
    gguf_quant how_;
    std::size_t whole_; // bytes of a block's elements
    std::size_t held_{0};
    std::array<std::byte, block_values * sizeof(double)> block_{};
    output_file& out_;
};

/// The patterns of `gguf_options::quantise`.
class quantised_keys {
  public:
    explicit quantised_keys(const std::vector<gguf_quantisation>& wanted) : wanted_{wanted} {
        codes_.resize(wanted.size());
        syntax_fault fault;
        for (std::size_t i = 0; i < wanted.size(); ++i)
            (void)parse_pattern({wanted[i].keys.text(), wanted[i].keys.text(), 0, false}, codes_[i], fault);
    }

    /// How a tensor is quantised. `why`: what kept a pattern from doing it, as a clause. Fails where one names the
    /// whole key.
    [[nodiscard]] result<gguf_quant> of(const state_dict_entry& e, std::string& why) {
        for (std::size_t i = wanted_.size(); i-- > 0;) {
            if (matcher_.match(codes_[i], e.key, slots_) != match_outcome::yes) continue;
            if (wanted_[i].how == gguf_quant::none) return gguf_quant::none;
            std::string found = gguf::obstacle(*e.data, codes_[i].literal);
            if (found.empty()) {
                why.clear();
                return wanted_[i].how;
            }
            if (codes_[i].literal)
                return error{.code = errc::format_lacks,
                             .path = std::string(e.key),
                             .detail = str_cat("it cannot be quantised to ", name(wanted_[i].how), ": ", found),
                             .hint = "Quantise other keys, or give a pattern with a wildcard, which passes over it"};
            why = std::move(found);
        }
        return gguf_quant::none;
    }

  private:
    const std::vector<gguf_quantisation>& wanted_;
    std::vector<pattern_code> codes_{};
    std::vector<binding_value> slots_{};
    matcher matcher_{};
};

/// The file, before anything is written.
class gguf_layout {
  public:
    [[nodiscard]] static result<gguf_layout> make(const state_dict& weights, const gguf_options& options);
    [[nodiscard]] gguf_report report(path_arg out) const;
    [[nodiscard]] result<void> write(path_arg out, const gguf_options& options) const;
    [[nodiscard]] const chosen_tensors& chosen() const noexcept { return chosen_; }

  private:
    [[nodiscard]] static result<void> check(const std::vector<gguf_entry>& metadata);
    [[nodiscard]] result<void> choose(const gguf_options& options);
    void describe(const std::vector<gguf_entry>& metadata);
    /// How a tensor that is written is quantised.
    [[nodiscard]] gguf_quant how(const state_dict_entry& e) const;
    [[nodiscard]] std::uint64_t bytes(const state_dict_entry& e) const;
    [[nodiscard]] result<void> write_to(output_file& file, const progress_callback& progress) const;

    shared<state_dict_data> weights_{};
    plain_list<gguf_quant> how_{}; // of each entry of the state_dict, by its number
    std::vector<kept_tensor> kept_{};
    chosen_tensors chosen_{};
    std::string header_{}; // with the padding behind it
    std::uint64_t data_bytes_{0};
};

CKPT_DETAIL_RARE result<void> gguf_layout::check(const std::vector<gguf_entry>& metadata) {
    const gguf_entry ours = gguf_entry::of("general.alignment", std::uint32_t{gguf::alignment});
    std::vector<std::string_view> keys;
    for (const gguf_entry& e : metadata) {
        keys.push_back(e.key);
        if (e.key.empty() || e.key.size() > gguf::longest_key || check_utf8(e.key) != utf8_verdict::valid)
            return gguf::lacks(str_cat("the key ", quoted(e.key), " cannot stand in the metadata of a GGUF file"),
                               "Keys are UTF-8, of 1 to 65,535 bytes");
        if (e.key == ours.key && (e.type != ours.type || e.bytes != ours.bytes))
            return gguf::lacks("general.alignment is not 32 as uint32, and tensors are written at multiples of 32",
                               "Leave the entry out: 32 is what readers take without it");
    }
    sort_values(keys);
    for (std::size_t i = 1; i < keys.size(); ++i)
        if (keys[i] == keys[i - 1])
            return gguf::lacks(str_cat("two entries of the metadata have the key ", quoted(keys[i])),
                               "Give one of them");
    return {};
}

CKPT_DETAIL_RARE result<void> gguf_layout::choose(const gguf_options& options) {
    quantised_keys wanted{options.quantise};
    for (const state_dict_entry& e : weights_->entries) {
        std::string why;
        auto found = e.data->refusal == nullptr ? wanted.of(e, why) : result<gguf_quant>{gguf_quant::none};
        if (!found) return std::move(found).failure();
        how_.push_back(*found);
        if (!why.empty()) kept_.push_back({std::string(e.key), std::move(why)});
    }
    const auto fits = [this](const state_dict_entry& e) { return gguf::judge(e, how(e)); };
    chosen_ = choose_tensors(*weights_, fits, false);
    return {};
}

CKPT_DETAIL_RARE gguf_quant gguf_layout::how(const state_dict_entry& e) const {
    return how_[static_cast<std::size_t>(weights_->find(e.key) - weights_->entries.data())];
}

CKPT_DETAIL_RARE std::uint64_t gguf_layout::bytes(const state_dict_entry& e) const {
    const gguf_quant quant = how(e);
    if (quant == gguf_quant::none) return bytes_of(e.data->type, e.data->numel);
    return static_cast<std::uint64_t>(e.data->numel) / block_values * gguf::block_bytes(quant);
}

CKPT_DETAIL_RARE void gguf_layout::describe(const std::vector<gguf_entry>& metadata) {
    header_ = "GGUF";
    append_le(header_, 3, 4);
    append_le(header_, chosen_.written.size(), 8);
    append_le(header_, metadata.size(), 8);
    for (const gguf_entry& e : metadata) {
        gguf::append_string(header_, e.key);
        append_le(header_, static_cast<std::uint32_t>(e.type), 4);
        header_ += e.bytes;
    }
    for (const state_dict_entry& e : chosen_.written) {
        const tensor_data& data = *e.data;
        gguf::append_string(header_, e.key);
        append_le(header_, data.rank > 0 ? data.rank : 1, 4);
        if (data.rank == 0) append_le(header_, 1, 8);
        for (std::uint32_t i = data.rank; i-- > 0;) append_le(header_, static_cast<std::uint64_t>(data.shape[i]), 8);
        const gguf_quant quant = how(e);
        append_le(header_, quant == gguf_quant::none ? *gguf::type_of(data.type) : *gguf::type_of(quant), 4);
        append_le(header_, data_bytes_, 8);
        data_bytes_ += gguf::padded(bytes(e));
    }
    header_.append(gguf::padded(header_.size()) - header_.size(), '\0');
}

CKPT_DETAIL_RARE result<gguf_layout> gguf_layout::make(const state_dict& weights, const gguf_options& options) {
    gguf_layout out;
    out.weights_ = state_dict_access::data(weights);
    if (auto usable = check(options.metadata); !usable) return std::move(usable).failure();
    if (auto usable = out.choose(options); !usable) return std::move(usable).failure();
    out.describe(options.metadata);
    return out;
}

CKPT_DETAIL_RARE gguf_report gguf_layout::report(path_arg out) const {
    gguf_report made;
    made.files.push_back({out.text(), header_.size() + data_bytes_, chosen_.written.size()});
    made.left_out = chosen_.left_out;
    for (const state_dict_entry& e : chosen_.written)
        if (const gguf_quant quant = how(e); quant != gguf_quant::none)
            made.quantised.push_back({std::string(e.key), quant});
    made.kept = kept_;
    return made;
}

CKPT_DETAIL_RARE result<void> gguf_layout::write_to(output_file& file, const progress_callback& progress) const {
    progress_meter meter{progress};
    for (const state_dict_entry& e : chosen_.written) meter.expect(bytes_of(e.data->type, e.data->numel));
    tensor_writer tensors{*weights_, meter};
    auto done = file.write(std::as_bytes(std::span{header_.data(), header_.size()}));
    constexpr std::byte zeros[gguf::alignment]{};
    for (const state_dict_entry& e : chosen_.written) {
        if (!done) return done;
        if (const gguf_quant quant = how(e); quant == gguf_quant::none) {
            done = tensors.append(e, file);
        } else {
            block_writer blocks{e.data->type, quant, file};
            done = tensors.read(e, [&](std::span<const std::byte> part) { return blocks.add(part); });
        }
        if (done) done = file.write({zeros, static_cast<std::size_t>(gguf::padded(file.size()) - file.size())});
    }
    return done;
}

CKPT_DETAIL_RARE result<void> gguf_layout::write(path_arg out, const gguf_options& options) const {
    if (auto allowed = check_losses(chosen_, options.allow_loss); !allowed) return allowed;
    auto file = output_file::create(out, options.overwrite, options.check);
    if (!file) return std::move(file).failure();
    auto done = write_to(*file, options.progress);
    if (done) done = file->finish();
    return done ? file->publish() : done;
}

} // namespace detail

CKPT_DETAIL_RARE result<gguf_report> plan_gguf(const state_dict& weights, path_arg out, const gguf_options& options) {
    const auto layout = detail::gguf_layout::make(weights, options);
    return layout ? result<gguf_report>{layout->report(out)} : result<gguf_report>{layout.error()};
}

CKPT_DETAIL_RARE result<gguf_report> write_gguf(const state_dict& weights, path_arg out, const gguf_options& options) {
    const auto layout = detail::gguf_layout::make(weights, options);
    if (!layout) return layout.error();
    if (auto done = layout->write(out, options); !done) return std::move(done).failure();
    return layout->report(out);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
