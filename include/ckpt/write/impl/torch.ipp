// ckpt/write/impl/torch.ipp: the definitions of torch.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/output.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/stored_bytes.hpp>
#include <ckpt/write/chosen_tensors.hpp>
#include <ckpt/write/torch.hpp>
#include <ckpt/write/torch_object.hpp>
#include <ckpt/write/zip_writer.hpp>

#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace detail {

/// What one output is made of.
struct torch_input {
    const value* whole{nullptr};
    const state_dict* weights{nullptr};
};

/// The records of one output.
class torch_layout {
  public:
    torch_layout(path_arg out, const torch_options& options);

    [[nodiscard]] result<void> make(const torch_input& from);
    [[nodiscard]] write_report report() const;
    [[nodiscard]] result<void> write(path_arg out) const;

  private:
    static constexpr std::uint32_t alignment = 64;
    static constexpr std::size_t id_length = 40; // of the serialization id
    static constexpr std::string_view id_name = ".data/serialization_id";

    struct text_record {
        std::string_view name{};
        std::string_view content{};
    };
    /// Those before the storages, beside the pickle. `version`, which is behind them, is the last row.
    static constexpr text_record texts[]{
        {".format_version", "1"}, {".storage_alignment", "64"}, {"byteorder", "little"}, {"version", "3\n"}};

    [[nodiscard]] std::string name_of(std::string_view record) const { return folder_ + '/' + std::string(record); }
    [[nodiscard]] std::string name_of(std::size_t storage) const { return str_cat(folder_, "/data/", storage); }
    [[nodiscard]] result<void> write_to(output_file& file) const;
    [[nodiscard]] result<void> write_storage(const torch_storage& s, storage_readers& readers, zip_writer& to) const;

    const torch_options& options_;
    std::string path_;
    std::string folder_; // of the records
    shared<state_dict_data> weights_{};
    torch_object object_;
};

/// The folder of an archive's records: the name of the file without its last suffix. torch writes "archive" where that
/// has other characters than ASCII; so it is here, too, where readers take it for no plain name.
inline std::string records_folder(std::string_view path) {
    constexpr std::size_t longest = 255; // of a name in file systems
    std::string_view stem = path.substr(name_offset(path));
    stem = stem.substr(0, stem.rfind('.'));
    bool is_plain = !stem.empty() && stem.size() <= longest && stem != "." && stem != "..";
    for (const char c : stem) is_plain = is_plain && c >= 0x20 && c < 0x7F && c != '/' && c != '\\';
    return is_plain ? std::string(stem) : "archive";
}

CKPT_DETAIL_RARE torch_layout::torch_layout(path_arg out, const torch_options& options)
    : options_{options}, path_{out.text()}, folder_{records_folder(path_)}, object_{options.plain} {}

CKPT_DETAIL_RARE result<void> torch_layout::make(const torch_input& from) {
    if (from.weights != nullptr) weights_ = state_dict_access::data(*from.weights);
    if (from.whole == nullptr) return object_.write(*weights_);
    if (from.weights == nullptr) return object_.write(*from.whole);
    const auto there =
        from.whole->same_object(weights_->root) ? result<value>{*from.whole} : from.whole->find(weights_->path);
    return there ? object_.write(*from.whole, &*weights_, *there) : result<void>{there.error()};
}

CKPT_DETAIL_RARE write_report torch_layout::report() const {
    zip_size archive{alignment};
    archive.add(name_of("data.pkl").size(), object_.pickle.size());
    for (const text_record& t : texts) {
        if (&t == std::end(texts) - 1)
            for (std::size_t i = 0; i < object_.storages().size(); ++i)
                archive.add(name_of(i).size(), object_.storages()[i].bytes);
        archive.add(name_of(t.name).size(), t.content.size());
    }
    archive.add(name_of(id_name).size(), id_length);
    write_report made;
    made.files.push_back({path_, archive.bytes(), object_.tensors});
    made.left_out = object_.left_out;
    made.replaced = object_.replaced;
    return made;
}

CKPT_DETAIL_RARE result<void> torch_layout::write_storage(const torch_storage& s, storage_readers& readers,
                                                          zip_writer& to) const {
    auto done = for_each_stored_bytes(&s.data, s.from, &readers,
                                      [&to](std::span<const std::byte> part) { return to.add(part); });
    if (done || done.error().code == errc::write_failed || done.error().code == errc::cancelled) return done;
    if (weights_ && !s.entry.empty()) weights_->place(done.error(), s.entry);
    return done;
}

CKPT_DETAIL_RARE result<void> torch_layout::write_to(output_file& file) const {
    progress_meter meter{options_.progress};
    for (const torch_storage& s : object_.storages()) meter.expect(s.bytes);
    storage_readers readers;
    readers.meter = &meter;
    zip_writer archive{file, alignment};
    std::uint64_t names = 0, sums = 0; // of the records so far
    const auto end = [&](const std::string& name) {
        auto ended = archive.end();
        names = mix(names ^ hash_bytes(name));
        sums = mix(sums ^ archive.crc());
        return ended;
    };
    const auto add = [&](std::string_view record, std::string_view content) -> result<void> {
        const std::string name = name_of(record);
        auto done = archive.begin(name, content.size());
        if (done) done = archive.add(std::as_bytes(std::span{content.data(), content.size()}));
        return done ? end(name) : done;
    };
    if (auto done = add("data.pkl", object_.pickle); !done) return done;
    for (const text_record& t : texts) {
        if (&t == std::end(texts) - 1)
            for (std::size_t i = 0; i < object_.storages().size(); ++i) {
                const torch_storage& s = object_.storages()[i];
                meter.begin(s.bytes);
                auto done = archive.begin(name_of(i), s.bytes);
                if (done) done = write_storage(s, readers, archive);
                if (done && !meter.finish()) done = meter.stopped();
                if (done) done = end(name_of(i));
                if (!done) return done;
            }
        if (auto done = add(t.name, t.content); !done) return done;
    }
    // torch computes the number from the same things, by a hash of its own; only that it differs is of use.
    std::string id;
    for (const std::uint64_t number : {names, sums}) {
        const std::string digits = decimal(number);
        id.append(id_length / 2 - digits.size(), '0') += digits;
    }
    auto done = add(id_name, id);
    return done ? archive.finish() : done;
}

CKPT_DETAIL_RARE result<void> torch_layout::write(path_arg out) const {
    if (auto allowed = check_losses(object_.left_out, options_.allow_loss); !allowed) return allowed;
    auto file = output_file::create(out, options_.overwrite, options_.check);
    if (!file) return std::move(file).failure();
    auto done = write_to(*file);
    if (done) done = file->finish();
    return done ? file->publish() : done;
}

/// What the six functions have in common.
inline result<write_report> make_torch(const torch_input& from, path_arg out, const torch_options& options,
                                       bool writes) {
    torch_layout layout{out, options};
    if (auto made = layout.make(from); !made) return std::move(made).failure();
    if (writes)
        if (auto done = layout.write(out); !done) return std::move(done).failure();
    return layout.report();
}

} // namespace detail

CKPT_DETAIL_RARE result<write_report> plan_torch(const state_dict& weights, path_arg out,
                                                 const torch_options& options) {
    return detail::make_torch({.weights = &weights}, out, options, false);
}
CKPT_DETAIL_RARE result<write_report> write_torch(const state_dict& weights, path_arg out,
                                                  const torch_options& options) {
    return detail::make_torch({.weights = &weights}, out, options, true);
}
CKPT_DETAIL_RARE result<write_report> plan_torch(const value& whole, path_arg out, const torch_options& options) {
    return detail::make_torch({.whole = &whole}, out, options, false);
}
CKPT_DETAIL_RARE result<write_report> write_torch(const value& whole, path_arg out, const torch_options& options) {
    return detail::make_torch({.whole = &whole}, out, options, true);
}
CKPT_DETAIL_RARE result<write_report> plan_torch(const value& whole, const state_dict& weights, path_arg out,
                                                 const torch_options& options) {
    return detail::make_torch({&whole, &weights}, out, options, false);
}
CKPT_DETAIL_RARE result<write_report> write_torch(const value& whole, const state_dict& weights, path_arg out,
                                                  const torch_options& options) {
    return detail::make_torch({&whole, &weights}, out, options, true);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
