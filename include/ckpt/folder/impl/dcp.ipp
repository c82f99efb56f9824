// ckpt/folder/impl/dcp.ipp: the definitions of dcp.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/dcp.hpp>
#include <ckpt/io/folder.hpp>
#include <ckpt/pickle/value_access.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF shared<checkpoint_file> dcp_reader::run() {
    if (!read_metadata()) return {};
    read_places();
    if (work_.report.findings.empty()) {
        open_files();
        build();
    }
    if (!work_.report.findings.empty()) return {};
    std::uint64_t bytes = metadata_->file_bytes();
    std::vector<std::string> files{str_cat(step_, ".metadata")};
    for (const auto& [name, seen] : files_)
        if (seen.number != missing) {
            files.push_back(name);
            bytes += items_->file_at(seen.number).from->size();
        }
    items_->seal(checkpoint_access::file(*metadata_));
    out_->keep(items_);
    out_->finish(root_, std::move(files), bytes);
    return shared<checkpoint_file>{out_};
}

CKPT_DETAIL_DEF int dcp_reader::place::compare(std::string_view k, std::span<const std::int64_t> a) const noexcept {
    if (const int order = key.compare(k); order != 0) return order;
    for (std::size_t i = 0; i < at.size() && i < a.size(); ++i)
        if (at[i] != a[i]) return at[i] < a[i] ? -1 : 1;
    return at.size() == a.size() ? 0 : at.size() < a.size() ? -1 : 1;
}

CKPT_DETAIL_DEF void dcp_reader::wrong(std::string detail) {
    work_.inconsistent(str_cat(step_, ".metadata"), std::move(detail),
                       ".metadata is damaged, or of another version: get it again");
}

CKPT_DETAIL_DEF bool dcp_reader::read_metadata() {
    const std::string name = str_cat(step_, ".metadata");
    work_.report.parts.push_back(name);
    auto from = source::open(path_in(work_.folder, name), {.mode = io_mode::read});
    auto opened =
        from ? pickle_checkpoint::open(std::move(*from), work_.metadata, work_.options.limits, work_.options.scratch)
             : result<shared<checkpoint_file>>{std::move(from).error()};
    if (!opened) {
        error e = std::move(opened).error();
        e.file = name;
        if (e.code == errc::cannot_open) {
            e.code = errc::shards_inconsistent;
            e.detail = "there is no .metadata, which says what is where; it is written last";
            e.hint = "the save was not finished, or the file was left behind: names that begin with a dot are "
                     "easily lost";
            if (const std::uint64_t n = metadata_of_ranks(); n > 0) {
                e.code = errc::container_not_supported;
                e.detail =
                    str_cat("it was saved without collectives: ", n, n == 1 ? " rank has" : " ranks have",
                            " metadata of their own (__0.metadata and so on), and no file says what all of them have");
                e.hint = "load it on as many ranks and save it with collectives, or open the file of one rank's "
                         "chunks by itself";
            }
        }
        work_.find(std::move(e));
        return false;
    }
    metadata_ = checkpoint_access::make(std::move(*opened), storage_mode::mapped);
    return true;
}

CKPT_DETAIL_DEF std::uint64_t dcp_reader::metadata_of_ranks() const {
    const auto entries = list_folder(path_in(work_.folder, step_));
    if (!entries) return 0;
    return static_cast<std::uint64_t>(std::count_if(entries->begin(), entries->end(), [](const folder_entry& e) {
        return e.name.starts_with("__") && e.name.ends_with(".metadata");
    }));
}

CKPT_DETAIL_DEF bool dcp_reader::check_rank(std::string_view key, const result<value>& list) {
    return !list || list->kind() != kind::tuple || work_.check_rank(str_cat(step_, ".metadata"), key, list->size());
}

CKPT_DETAIL_DEF std::optional<std::span<const std::int64_t>> dcp_reader::numbers(const result<value>& list) {
    if (!list || list->kind() != kind::tuple || list->size() > work_.options.limits.tensor_rank) return std::nullopt;
    auto* out = out_->values().memory.allocate<std::int64_t>(list->size() + 1);
    std::size_t n = 0;
    for (const value v : list->elements()) {
        const auto i = v.as_int();
        if (!i || *i < 0) return std::nullopt;
        out[n++] = *i;
    }
    return std::span<const std::int64_t>{out, n};
}

CKPT_DETAIL_DEF std::optional<std::uint64_t> dcp_reader::count_at(const value& in, std::string_view name) {
    const auto found = in.at(name);
    const auto n = found ? found->as_int() : result<std::int64_t>{std::int64_t{-1}};
    if (!n || *n < 0) return std::nullopt;
    return static_cast<std::uint64_t>(*n);
}

CKPT_DETAIL_DEF std::string_view dcp_reader::text_at(const value& in, std::string_view name) {
    const auto found = in.at(name);
    const auto text = found ? found->as_string() : result<std::string_view>{std::string_view{}};
    return text ? *text : std::string_view{};
}

CKPT_DETAIL_DEF void dcp_reader::read_places() {
    const value root = metadata_->root();
    const auto tensors = root.at("state_dict_metadata");
    const auto storage = root.at("storage_data");
    if (!tensors || !storage || tensors->kind() != kind::dictionary || storage->kind() != kind::dictionary)
        return wrong("it holds no state_dict_metadata and storage_data");
    const value of_keys = *storage;
    for (const value::entry e : of_keys.entries()) {
        place p{.key = text_at(e.key, "fqn"), .file = text_at(e.mapped, "relative_path")};
        const auto offset = e.key.at("offset");
        if (offset && !offset->is_none()) {
            if (!check_rank(p.key, offset)) return;
            const auto at = numbers(offset);
            if (!at) return wrong(str_cat("the place of a chunk of ", quoted(p.key), " has no offsets"));
            p.at = *at;
        }
        const auto begin = count_at(e.mapped, "offset");
        const auto length = count_at(e.mapped, "length");
        if (!begin || !length)
            return wrong(str_cat("the place of an item of ", quoted(p.key), " has no offset and length"));
        p.offset = *begin;
        p.length = *length;
        if (const auto steps = e.mapped.at("transform_descriptors"); steps && steps->size() > 0)
            if (const auto first = (*steps)[0].as_string()) p.transform = *first;
        if (!is_inside(p.file)) {
            work_.inconsistent(str_cat(step_, ".metadata"),
                               str_cat(quoted(p.key), " is in a file outside the folder, ", quoted(p.file)),
                               "chunks lie beside .metadata; do not trust this one");
            continue;
        }
        ++files_[step_ + std::string(p.file)].items;
        places_.push_back(p);
    }
    sort_values(places_, [](const place& a, const place& b) { return a.compare(b.key, b.at) < 0; });
    for (std::size_t i = 1; i < places_.size(); ++i)
        if (places_[i].compare(places_[i - 1].key, places_[i - 1].at) == 0)
            wrong(str_cat("two items are ", chunk_text(places_[i].key, places_[i].at)));
}

CKPT_DETAIL_DEF bool dcp_reader::is_inside(std::string_view path) {
    for (std::size_t begin = 0;;) {
        const std::size_t slash = path.find('/', begin);
        if (!is_plain_name(path.substr(begin, slash == std::string_view::npos ? slash : slash - begin))) return false;
        if (slash == std::string_view::npos) return true;
        begin = slash + 1;
    }
}

CKPT_DETAIL_DEF void dcp_reader::open_files() {
    for (auto& [name, seen] : files_) {
        auto from = source::open(path_in(work_.folder, name), {work_.options.io, 0, ~std::uint64_t{0}});
        if (from) {
            work_.report.parts.push_back(name);
            seen.number = items_->add_file({name, std::move(*from)});
            continue;
        }
        error e = std::move(from).error();
        e.file = name;
        e.detail = str_cat("the file is missing, which holds ", seen.items, seen.items == 1 ? " item (" : " items (",
                           e.detail, ")");
        if (e.code == errc::cannot_open) e.code = errc::shards_inconsistent;
        e.hint = "get the missing file; folder_options::partial opens what is there";
        work_.lack(std::move(e));
    }
}

CKPT_DETAIL_DEF dcp_reader::place* dcp_reader::find_place(std::string_view key, std::span<const std::int64_t> at) {
    const auto found = std::lower_bound(places_.begin(), places_.end(), 0,
                                        [&](const place& p, int) { return p.compare(key, at) < 0; });
    if (found == places_.end() || found->compare(key, at) != 0) return nullptr;
    found->used = true;
    return &*found;
}

CKPT_DETAIL_DEF void dcp_reader::build() {
    const value all = metadata_->root().at("state_dict_metadata").value();
    corners_ = 16 * metadata_->pickle_bytes() + 1'000'000;
    dcp_tree tree{metadata_->root().at("planner_data").value_or(value{}), metadata_->pickle_bytes()};
    for (const value::entry e : all.entries()) {
        const auto key = e.key.as_string();
        if (!key) return wrong("a key of state_dict_metadata is no text");
        const std::uint32_t node = e.mapped.at("chunks") ? tensor_of(*key, e.mapped) : object_of(*key);
        if (!tree.add(*key, node))
            work_.inconsistent(str_cat(step_, ".metadata"),
                               str_cat("planner_data puts ", quoted(*key), " where another entry is, or too deep"),
                               ".metadata is damaged: get it again");
    }
    if (!work_.report.findings.empty()) return;
    std::vector<std::string> surplus;
    for (const place& p : places_)
        if (!p.used) surplus.push_back(chunk_text(p.key, p.at));
    if (!surplus.empty()) wrong(str_cat(surplus.size(), " items belong to no tensor: ", surplus.front()));
    if (work_.report.findings.empty()) root_ = tree.build(*out_);
}

CKPT_DETAIL_DEF std::uint32_t dcp_reader::absent(std::string_view key, error why) {
    why.path = printable(key);
    const std::uint32_t out = out_->refused(why);
    work_.lack(std::move(why));
    return out;
}

CKPT_DETAIL_DEF std::uint32_t dcp_reader::tensor_of(std::string_view key, const value& says) {
    const auto properties = says.at("properties");
    const auto type =
        properties ? properties->state()[0].as_dtype() : result<ckpt::dtype>{error{.code = errc::wrong_type}};
    const auto size = says.at("size");
    if (!check_rank(key, size)) return absent_node;
    const auto shape = numbers(size);
    const auto list = says.at("chunks");
    if (!type || !shape) {
        wrong(str_cat("the tensor ", quoted(key), " has no dtype and sizes"));
        return absent_node;
    }
    tensor_data whole{.type = *type,
                      .rank = static_cast<std::uint32_t>(shape->size()),
                      .shape = shape->data(),
                      .strides = shape->data()};
    if (check_sizes(whole, work_.options.limits.tensor_rank) != errc::none) {
        wrong(str_cat("the tensor ", quoted(key), " has impossible sizes, ", list_of(*shape)));
        return absent_node;
    }
    const value chunks = *list;
    if (bits(*type) < 8 || info(*type).kind == dtype_kind::quantised) return refuse_scaled(key, *type, chunks);
    found_chunks found{.boxes = {.rank = shape->size()}};
    if (!find_chunks(key, *type, *shape, chunks, found)) return absent_node;
    if (whole.numel > 0 && !fill_whole(key, *shape, found.boxes)) return absent_node;
    if (!found.lost.empty()) {
        error e = std::move(found.lost.front());
        if (found.lost.size() > 1)
            e.detail += str_cat("; and ", found.lost.size() - 1, " more of its ", found.boxes.count, " chunks");
        return absent(key, std::move(e));
    }
    if (found.parts.empty()) return out_->tensor_of(out_->plan().fill(*type, *shape, {}));
    return out_->tensor_of(join_boxes(out_->plan(), *shape, found.boxes, found.parts, cut_));
}

CKPT_DETAIL_DEF std::uint32_t dcp_reader::refuse_scaled(std::string_view key, ckpt::dtype type, const value& chunks) {
    for (const value v : chunks.elements())
        if (const auto offsets = numbers(v.at("offsets"))) (void)find_place(key, *offsets);
    return out_->refused({.code = errc::unsupported_tensor,
                          .file = str_cat(step_, ".metadata"),
                          .path = printable(key),
                          .detail = str_cat("chunks of ", name(type), ", whose scales are in each chunk by itself"),
                          .hint = "the other entries of the folder are not affected"});
}

CKPT_DETAIL_DEF bool dcp_reader::find_chunks(std::string_view key, ckpt::dtype type,
                                             std::span<const std::int64_t> shape, const value& chunks,
                                             found_chunks& out) {
    for (const value v : chunks.elements()) {
        const auto offsets = numbers(v.at("offsets"));
        const auto sizes = numbers(v.at("sizes"));
        bool inside = offsets && sizes && offsets->size() == shape.size() && sizes->size() == shape.size();
        for (std::size_t d = 0; d < shape.size() && inside; ++d)
            inside = (*sizes)[d] <= shape[d] && (*offsets)[d] <= shape[d] - (*sizes)[d];
        if (!inside) {
            wrong(
                str_cat("a chunk of ", quoted(key),
                        offsets && sizes ? str_cat(" at ", list_of(*offsets), " of ", list_of(*sizes)) : std::string(),
                        " lies outside the tensor, ", list_of(shape)));
            return false;
        }
        place* const at = find_place(key, *offsets);
        const bool is_empty = std::find(sizes->begin(), sizes->end(), 0) != sizes->end();
        const bool whole_chunk = std::equal(sizes->begin(), sizes->end(), shape.begin());
        if (is_empty && !(whole_chunk && out.parts.empty())) continue;
        out.boxes.offsets.insert(out.boxes.offsets.end(), offsets->begin(), offsets->end());
        out.boxes.sizes.insert(out.boxes.sizes.end(), sizes->begin(), sizes->end());
        ++out.boxes.count;
        auto part = chunk(key, type, *offsets, *sizes, at);
        if (part) out.parts.push_back(*part);
        else out.lost.push_back(std::move(part).error());
    }
    return true;
}

CKPT_DETAIL_DEF bool dcp_reader::fill_whole(std::string_view key, std::span<const std::int64_t> shape,
                                            const box_list& boxes) {
    if (boxes.count == 0) {
        wrong(str_cat("the tensor ", quoted(key), " of ", list_of(shape), " has no chunks"));
        return false;
    }
    const tiling fit = check_tiling(shape, boxes, corners_);
    if (!fit.fits) {
        work_.find({.code = errc::limit,
                    .file = str_cat(step_, ".metadata"),
                    .path = printable(key),
                    .detail = str_cat("the chunks of ", quoted(key), " are cut along ", fit.cut.size(),
                                      " dimensions, too many to check")});
        return false;
    }
    cut_ = fit.cut;
    if (fit.element.empty()) return true;
    work_.inconsistent(str_cat(step_, ".metadata"),
                       str_cat(fit.covered == 0 ? std::string("no chunk") : str_cat(fit.covered, " chunks"), " of ",
                               quoted(key), fit.covered == 0 ? " has" : " have", " the element at ",
                               list_of(fit.element)),
                       "the chunks leave a gap or overlap: get .metadata again");
    return false;
}

CKPT_DETAIL_DEF result<std::uint32_t> dcp_reader::chunk(std::string_view key, ckpt::dtype type,
                                                        std::span<const std::int64_t> offsets,
                                                        std::span<const std::int64_t> sizes, const place* at) {
    tensor_data data{.type = type, .rank = static_cast<std::uint32_t>(sizes.size()), .shape = sizes.data()};
    auto* strides = out_->values().memory.allocate<std::int64_t>(sizes.size() + 1);
    set_dense_strides(sizes, false, strides);
    data.strides = strides;
    // It counts the elements. It cannot fail: the chunk lies in a tensor whose sizes passed it.
    (void)check_sizes(data, work_.options.limits.tensor_rank);
    const auto lacking = [&](std::string file, std::string detail,
                             std::string_view hint =
                                 "get the file again, whole; folder_options::partial opens what is there") {
        return error{.code = errc::shards_inconsistent,
                     .file = std::move(file),
                     .detail = str_cat(chunk_text(key, offsets), " of ", list_of(sizes), " ", detail),
                     .hint = hint};
    };
    if (at == nullptr) return lacking(str_cat(step_, ".metadata"), "has no place in storage_data");
    const std::string name = step_ + std::string(at->file);
    const std::uint32_t file = files_.find(name)->second.number;
    if (file == missing)
        return lacking(name, "is in this file, which is missing",
                       "get the missing file; folder_options::partial opens what is there");
    if (!at->transform.empty())
        return error{.code = errc::compressed,
                     .file = name,
                     .detail = str_cat(chunk_text(key, offsets), " is compressed (", printable(at->transform), ")"),
                     .hint = "save again without transforms"};
    const std::uint64_t have = items_->file_at(file).from->size();
    const std::uint64_t bytes = bytes_of(type, data.numel);
    if (!range_inside(at->offset, at->length, have))
        return lacking(name, str_cat("is to be at byte ", at->offset, ", ", at->length, " bytes; the file has ", have));
    if (at->length < bytes) return lacking(name, str_cat("needs ", bytes, " bytes, its item has ", at->length));
    auto tensors = tensors_in(file, *at);
    if (!tensors) return std::move(tensors).failure();
    if (*tensors != nullptr) return named_tensor(**tensors, key, data);
    data.storage = items_->add({key, file, at->offset, at->length, type, sizes, data.numel});
    auto* kept = ::new (out_->values().memory.allocate(sizeof(tensor_data), alignof(tensor_data))) tensor_data(data);
    return out_->plan().add_leaf(kept, items_.get());
}

CKPT_DETAIL_DEF result<const dcp_reader::tensor_file*> dcp_reader::tensors_in(std::uint32_t file, const place& at) {
    const auto known = safetensors_.find(file);
    if (known != safetensors_.end()) return known->second.part ? &known->second : nullptr;
    const source& from = *items_->file_at(file).from;
    std::array<std::byte, 64> head{};
    const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(head.size(), from.size() - at.offset));
    if (auto read = from.read(at.offset, {head.data(), n}); !read) return std::move(read).failure();
    tensor_file& out = safetensors_[file];
    if (!safetensors::begins({head.data(), n})) return static_cast<const tensor_file*>(nullptr);
    // Such a file holds all its tensors as one safetensors file, which begins where the first of them lies.
    auto opened = items_->open_at(file, at.offset, from.size() - at.offset);
    if (!opened) return std::move(opened).failure();
    out.part = out_->add_part(items_->file_at(file).name, checkpoint_access::file(*opened));
    const value root = opened->root();
    for (const value::entry e : root.entries())
        if (const auto t = e.mapped.as_tensor()) out.tensors.emplace(*e.key.as_string(), tensor_access::data(*t));
    return &out;
}

CKPT_DETAIL_DEF result<std::uint32_t> dcp_reader::named_tensor(const tensor_file& in, std::string_view key,
                                                               const tensor_data& says) {
    const auto found = in.tensors.find(key);
    const tensor_data* own = found != in.tensors.end() ? found->second : nullptr;
    if (own != nullptr && own->refusal != nullptr) return *own->refusal;
    if (own == nullptr || own->type != says.type ||
        !std::equal(own->sizes().begin(), own->sizes().end(), says.sizes().begin(), says.sizes().end()))
        return error{.code = errc::shards_inconsistent,
                     .file = in.part->name(),
                     .detail = own == nullptr
                                   ? str_cat("the file has no tensor ", quoted(key))
                                   : str_cat("the tensor ", quoted(key), " has shape ", list_of(own->sizes()),
                                             ", .metadata says ", list_of(says.sizes())),
                     .hint = ".metadata and the files are of different saves: get them again"};
    return out_->leaf(in.part, own);
}

CKPT_DETAIL_DEF std::uint32_t dcp_reader::object_of(std::string_view key) {
    place* const at = find_place(key, {});
    if (at == nullptr)
        return absent(key, {.code = errc::shards_inconsistent,
                            .file = str_cat(step_, ".metadata"),
                            .detail = str_cat(quoted(key), " has no place in storage_data"),
                            .hint = "get .metadata again"});
    const std::string name = step_ + std::string(at->file);
    const std::uint32_t file = files_.find(name)->second.number;
    if (file == missing)
        return absent(key, {.code = errc::shards_inconsistent,
                            .file = name,
                            .detail = str_cat(quoted(key), " is in this file, which is missing"),
                            .hint = "get the missing file"});
    const std::uint64_t have = items_->file_at(file).from->size();
    if (!range_inside(at->offset, at->length, have))
        return absent(key, {.code = errc::shards_inconsistent,
                            .file = name,
                            .detail = str_cat(quoted(key), " is to be at byte ", at->offset, ", ", at->length,
                                              " bytes; the file has ", have),
                            .hint = "get the file again"});
    if (!at->transform.empty())
        return out_->refused({.code = errc::compressed,
                              .file = name,
                              .path = printable(key),
                              .detail = str_cat(quoted(key), " is compressed (", printable(at->transform), ")"),
                              .hint = "save again without transforms"});
    auto opened = items_->open_at(file, at->offset, at->length);
    if (!opened) {
        opened.error().path = printable(key);
        if (opened.error().code == errc::global_not_allowed) {
            work_.find(opened.error());
            return absent_node;
        }
        return out_->refused(std::move(opened).error());
    }
    items_->add_object({file, at->offset, at->length});
    const auto part = detail::make_shared<part_storages>(name, checkpoint_access::file(*opened));
    out_->values().joined_bytes += part->content().graph().metadata_bytes();
    const value root = opened->root();
    auto copy = out_->grafter_of(part);
    auto node = copy.copy(value_access::node(root));
    if (!node) {
        work_.find(std::move(node).error());
        return absent_node;
    }
    if (copy.needs_file()) out_->keep(part);
    return *node;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
