// ckpt/torch/impl/tar_checkpoint.ipp: the definitions of tar_checkpoint.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/torch/scan.hpp>
#include <ckpt/torch/tar_checkpoint.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::optional<std::int64_t> tar_objects::sort() {
    sort_values(known_, [](const entry& a, const entry& b) { return a.key < b.key; });
    const auto twice =
        std::adjacent_find(known_.begin(), known_.end(), [](const entry& a, const entry& b) { return a.key == b.key; });
    return twice == known_.end() ? std::nullopt : std::optional(twice->key);
}

CKPT_DETAIL_RARE const node* tar_objects::find(std::int64_t key) const noexcept {
    const auto at =
        std::lower_bound(known_.begin(), known_.end(), key, [](const entry& a, std::int64_t b) { return a.key < b; });
    return at != known_.end() && at->key == key ? &at->what : nullptr;
}

CKPT_DETAIL_RARE errc tar_objects::object(std::string_view text, node& out) {
    std::int64_t key = 0;
    const node* const found = parse_decimal(text, key) ? find(key) : nullptr;
    if (found == nullptr) return errc::record_missing;
    out = *found;
    return errc::none;
}

CKPT_DETAIL_RARE part_reader::part_reader(const source& from, const tar_entry& entry, graph& g,
                                          const allowlist& allowed, const limits& budget,
                                          const pickle_observer& observer)
    : from_{from},
      entry_{entry},
      graph_{g},
      allowed_{allowed},
      limits_{budget},
      observer_{observer},
      window_{from, 1024},
      at_{entry.offset} {}

CKPT_DETAIL_RARE error part_reader::invalid(std::string detail) const {
    error e = tar::invalid(from_, at_, std::move(detail));
    e.record = entry_.name;
    return e;
}

CKPT_DETAIL_RARE result<std::uint32_t> part_reader::pickle(bool whole) {
    const std::uint64_t most = (std::min)(left(), pickle_ceiling(limits_));
    if (left() == 0) return invalid("the member ends where a pickle should begin");
    auto end = pickle_end(window_, from_, at_, most);
    if (!end) {
        error e = std::move(end).error();
        if (e.code == errc::limit && most == left()) e = invalid("the member ends inside a pickle");
        e.record = entry_.name;
        return e;
    }
    auto bytes = read_owned(from_, at_, *end, graph_.memory);
    if (!bytes) return std::move(bytes).failure();
    graph_.joined_bytes += graph_.pickle.size();
    graph_.pickle = *bytes;
    graph_.base = from_.base() + at_;
    graph_.record = entry_.name;
    graph_.pending = {}; // only those of the object are resolved, and it is read last
    if (observer_.see != nullptr) observer_.see(observer_.context, *bytes, graph_.base, entry_.name);
    machine reader{graph_, allowed_, limits_};
    reader.admit_class_ids();
    if (auto read = reader.run(); !read) return std::move(read).failure();
    if (reader.end_offset() != bytes->size())
        return error{.code = errc::internal, .offset = graph_.base, .detail = "two readings of one pickle differ"};
    at_ = *end;
    if (whole && left() != 0) return invalid(str_cat(left(), " bytes behind the last record"));
    return graph_.root;
}

CKPT_DETAIL_RARE result<std::uint64_t> part_reader::count() {
    auto n = pickle();
    if (!n) return std::move(n).failure();
    const node& read = graph_.nodes[*n];
    if (read.kind != node_kind::integer || read.integer < 0) return invalid("the number of records is not one");
    return static_cast<std::uint64_t>(read.integer);
}

CKPT_DETAIL_RARE result<std::int64_t> part_reader::number() {
    if (left() < 8) return invalid("the member ends inside a record");
    const std::span<const std::byte> bytes = window_.at(at_, 8);
    if (window_.failure()) return *window_.failure();
    at_ += 8;
    return static_cast<std::int64_t>(load_le<std::uint64_t>(bytes.data()));
}

CKPT_DETAIL_RARE result<void> part_reader::skip(std::uint64_t bytes) {
    if (bytes > left()) return invalid(str_cat(bytes, " bytes of a record, the member has ", left()));
    at_ += bytes;
    return {};
}

CKPT_DETAIL_RARE result<shared<checkpoint_file>> tar_checkpoint::open(shared<source> from, const tar_archive& archive,
                                                                      const allowlist& allowed, const limits& budget,
                                                                      const scratch& reuse) {
    auto out = detail::make_shared<tar_checkpoint>(std::move(from), budget, reuse);
    const source& file = *out->from_;
    if (auto complete = check_members(file, archive); !complete) return std::move(complete).failure();
    tar_objects objects{*out->storages_};
    for (const std::string_view name : members)
        if (auto read =
                out->read_member(name, {file, *archive.find(name), out->graph_, allowed, out->limits_}, objects);
            !read)
            return std::move(read).failure();
    out->facts_ = {"tar", "torch.save of torch 0.1.9 or before", byte_order::little, true, file.size(), {}};
    detail::graph& g = out->graph_;
    g.storages = &*out->storages_;
    g.record = "pickle"; // a literal, because the archive with the name does not live on
    resolver meaning{g, objects, out->limits_, allowed, id_form::tar};
    if (auto done = meaning.run(); !done) return std::move(done).failure();
    return shared<checkpoint_file>{out};
}

CKPT_DETAIL_RARE global_scan tar_checkpoint::scan(shared<source> from, const tar_archive& archive,
                                                  const allowlist& judge, const limits& budget) {
    const allowlist everything = allowlist_of<inspect_policy>();
    const auto file = detail::make_shared<tar_checkpoint>(std::move(from), budget, scratch{});
    tar_objects objects{*file->storages_};
    global_scanner scanner{judge, budget};
    const pickle_observer names{
        &scanner, [](void* to, std::span<const std::byte> pickle, std::uint64_t base, std::string_view record) {
            (void)static_cast<global_scanner*>(to)->scan(pickle, base, record); // reading reports the damage
        }};
    std::optional<error> stopped;
    if (auto complete = check_members(*file->from_, archive); !complete) stopped = std::move(complete).error();
    for (const std::string_view name : members) {
        const tar_entry* const entry = archive.find(name);
        if (entry == nullptr) continue;
        auto read =
            file->read_member(name, {*file->from_, *entry, file->graph_, everything, file->limits_, names}, objects);
        if (!read && !stopped) stopped = std::move(read).error();
    }
    return scanner.finish(std::move(stopped));
}

CKPT_DETAIL_RARE void tar_checkpoint::check(const file_check&, verify_report& out) const {
    out.records += records_;
    out.unchecked_crc += records_;
}

CKPT_DETAIL_RARE result<void> tar_checkpoint::check_members(const source& from, const tar_archive& archive) {
    for (const std::string_view name : members)
        if (archive.find(name) == nullptr)
            return tar::invalid(from, from.size(),
                                str_cat("a checkpoint of torch 0.1 without the member \"", name, "\""));
    for (const tar_entry& e : archive.entries())
        if (e.kind != tar_kind::file) {
            error bad =
                tar::invalid(from, e.header_offset, "a member of a checkpoint of torch 0.1 that is no regular file");
            bad.record = printable(e.name);
            return bad;
        }
    return {};
}

CKPT_DETAIL_RARE result<void> tar_checkpoint::read_member(std::string_view name, part_reader in, tar_objects& objects) {
    if (name == "storages") return read_storages(in, objects);
    if (name == "tensors") return read_tensors(in, objects);
    if (auto read = in.pickle(true); !read) return std::move(read).failure();
    return name == "sys_info" ? check_info(in) : result<void>{};
}

CKPT_DETAIL_RARE result<void> tar_checkpoint::check_info(const part_reader& in) const {
    const value info = value_access::make(graph_, graph_.root);
    if (info.kind() != kind::dictionary)
        return in.invalid("the pickle where the system information belongs holds something else");
    if (const auto version = info.at("protocol_version"); version && version->as_int() && *version->as_int() != 1000)
        return error{.code = errc::format_version,
                     .offset = graph_.base,
                     .record = "sys_info",
                     .detail = str_cat("the protocol version is ", *version->as_int(), ", known is 1000"),
                     .hint = "a newer ckpt may read it"};
    return {};
}

CKPT_DETAIL_RARE bool tar_checkpoint::key_of(std::uint32_t index, std::int64_t& out) const noexcept {
    const node& n = graph_.nodes[index];
    out = n.integer;
    return n.kind == node_kind::integer;
}

CKPT_DETAIL_RARE bool tar_checkpoint::class_of(std::uint32_t index, std::string_view suffix, std::uint16_t& out) const {
    const node& n = graph_.nodes[index];
    if (n.kind != node_kind::global) return false;
    const global_occurrence& named = graph_.globals[n.a];
    if (named.name.size() > 64 || !named.name.ends_with(suffix)) return false;
    const std::string storage = str_cat(named.name.substr(0, named.name.size() - suffix.size()), "Storage");
    return storage_class_type(named.module, storage, out) && out != untyped;
}

CKPT_DETAIL_RARE result<void> tar_checkpoint::read_storages(part_reader& in, tar_objects& objects) {
    const auto count = in.count();
    if (!count) return count.error();
    bool with_views = true;
    for (std::uint64_t i = 0; i < *count; ++i) {
        const auto head = in.pickle();
        if (!head) return head.error();
        const node& record = graph_.nodes[*head];
        std::int64_t key{};
        std::uint16_t type{};
        with_views = record.a == 3;
        if (record.kind != node_kind::tuple || (record.a != 3 && record.a != 2) || !key_of(record.items[0], key) ||
            !class_of(record.items[record.a - 1], "Storage", type) ||
            (with_views && graph_.nodes[record.items[1]].kind != node_kind::string))
            return in.invalid("a storage that is not (key, location, class)");
        const auto numel = in.number();
        if (!numel) return numel.error();
        std::uint64_t bytes{};
        if (*numel < 0 || !storage_bytes({.type = type, .numel = static_cast<std::uint64_t>(*numel)}, bytes))
            return in.invalid(
                str_cat("storage ", key, " has ", *numel, " elements, which is negative or overflows 64 bits"));
        const std::uint64_t at = in.at();
        if (auto skipped = in.skip(bytes); !skipped) return skipped;
        objects.name(key, storage_node(place(key, at, bytes), type, *numel));
        ++records_;
    }
    if (const auto twice = objects.sort()) return in.invalid(str_cat("two storages have the key ", *twice));
    if (with_views && (*count > 0 || in.left() > 0)) return read_views(in, objects);
    return in.left() == 0 ? result<void>{} : in.invalid(str_cat(in.left(), " bytes behind the last storage"));
}

CKPT_DETAIL_RARE result<void> tar_checkpoint::read_views(part_reader& in, tar_objects& objects) {
    const auto list = in.pickle(true);
    if (!list) return list.error();
    if (graph_.nodes[*list].kind != node_kind::list) return in.invalid("the list of views is something else");
    std::vector<std::pair<std::int64_t, node>> views;
    for (const std::uint32_t index : graph_.elements(graph_.nodes[*list])) {
        const node& view = graph_.nodes[index];
        std::int64_t key{}, root{}, offset{}, numel{};
        if (view.kind != node_kind::tuple || view.a != 4 || !key_of(view.items[0], key) ||
            !key_of(view.items[1], root) || !key_of(view.items[2], offset) || !key_of(view.items[3], numel) ||
            offset < 0 || numel < 0)
            return in.invalid("a view that is not (key, key of the whole, offset, elements)");
        const node* const whole = objects.find(root);
        if (whole == nullptr) return in.invalid(str_cat("view ", key, " is of storage ", root, ", which is not there"));
        if (!range_inside(static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(numel),
                          static_cast<std::uint64_t>(whole->integer)))
            return in.invalid(str_cat("view ", key, " has ", numel, " elements from ", offset, ", storage ", root,
                                      " has ", whole->integer));
        const std::uint64_t width = itemsize(static_cast<ckpt::dtype>(whole->extra));
        const std::uint64_t at =
            *storages_->file_offset(whole->a) - from_->base() + static_cast<std::uint64_t>(offset) * width;
        views.emplace_back(
            key, storage_node(place(key, at, static_cast<std::uint64_t>(numel) * width), whole->extra, numel));
    }
    for (const auto& [key, what] : views) objects.name(key, what);
    if (const auto twice = objects.sort()) return in.invalid(str_cat("two storages have the key ", *twice));
    return {};
}

CKPT_DETAIL_RARE result<void> tar_checkpoint::read_tensors(part_reader& in, tar_objects& objects) {
    const auto count = in.count();
    if (!count) return count.error();
    std::vector<std::pair<std::int64_t, node>> tensors;
    for (std::uint64_t i = 0; i < *count; ++i) {
        const auto head = in.pickle();
        if (!head) return head.error();
        const node& record = graph_.nodes[*head];
        std::int64_t key{}, storage{};
        std::uint16_t type{};
        if (record.kind != node_kind::tuple || record.a != 3 || !key_of(record.items[0], key))
            return in.invalid("a tensor that is not (key, key of its storage, class)");
        const bool class_first = graph_.nodes[record.items[1]].kind == node_kind::global; // as before torch 0.1.6
        const std::uint32_t of = record.items[class_first ? 2 : 1];
        const bool stored = graph_.nodes[of].kind != node_kind::none;
        if (!class_of(record.items[class_first ? 1 : 2], "Tensor", type) || (stored && !key_of(of, storage)))
            return in.invalid("a tensor that is not (key, key of its storage, class)");
        const node* const holds = stored ? objects.find(storage) : nullptr;
        if (stored && holds == nullptr)
            return in.invalid(str_cat("tensor ", key, " is in storage ", storage, ", which is not there"));
        if (stored && holds->extra != type)
            return in.invalid(str_cat("tensor ", key, " has another class than its storage ", storage));
        tensor_data t{};
        t.type = static_cast<ckpt::dtype>(type);
        t.storage = stored ? holds->a : storages_->add({}, byte_order::little, no_offset);
        if (auto read = read_geometry(in, t); !read) return read;
        tensors.emplace_back(key, make_tensor(t));
        ++records_;
    }
    if (in.left() != 0) return in.invalid(str_cat(in.left(), " bytes behind the last tensor"));
    for (const auto& [key, what] : tensors) objects.name(key, what);
    if (const auto twice = objects.sort()) return in.invalid(str_cat("two objects have the key ", *twice));
    return {};
}

CKPT_DETAIL_RARE result<void> tar_checkpoint::read_geometry(part_reader& in, tensor_data& t) {
    const auto rank = in.number();
    if (!rank) return rank.error();
    const auto dimensions = static_cast<std::uint32_t>(static_cast<std::uint64_t>(*rank) & 0xFFFF'FFFFu);
    if (dimensions > 0x7FFF'FFFFu || in.left() / 16 < dimensions)
        return in.invalid(str_cat("a tensor of ", dimensions, " dimensions, which the member has no room for"));
    auto* shape = graph_.memory.allocate<std::int64_t>(std::size_t{dimensions} + 1);
    auto* strides = graph_.memory.allocate<std::int64_t>(std::size_t{dimensions} + 1);
    for (std::int64_t* const numbers : {shape, strides})
        for (std::uint32_t d = 0; d < dimensions; ++d) {
            const auto n = in.number();
            if (!n) return n.error();
            numbers[d] = *n;
        }
    const auto offset = in.number();
    if (!offset) return offset.error();
    t.rank = dimensions;
    if (dimensions == 0) { // torch 0.1 had no scalars: a tensor without dimensions was empty
        t.rank = 1;
        shape[0] = 0;
        strides[0] = 1;
    }
    t.shape = shape;
    t.strides = strides;
    t.storage_offset = static_cast<std::uint64_t>(*offset);
    return {};
}

CKPT_DETAIL_RARE node tar_checkpoint::make_tensor(tensor_data& t) {
    const std::uint64_t bytes = storages_->nbytes(t.storage);
    if (const errc code = check_geometry(t, bytes, limits_.tensor_rank); code != errc::none) {
        error e = geometry_error(code, t, bytes, limits_.tensor_rank);
        e.record = "tensors";
        const ckpt::error* const kept = graph_.errors[graph_.keep(std::move(e))];
        t = {};
        t.refusal = kept;
    }
    return graph_.nodes[graph_.add_tensor(t)];
}

CKPT_DETAIL_RARE std::uint32_t tar_checkpoint::place(std::int64_t key, std::uint64_t at, std::uint64_t bytes) {
    const std::string text = decimal(key);
    auto* kept = graph_.memory.allocate<char>(text.size());
    std::memcpy(kept, text.data(), text.size());
    return storages_->place({kept, text.size()}, at, bytes);
}

CKPT_DETAIL_RARE node tar_checkpoint::storage_node(std::uint32_t number, std::uint16_t type,
                                                   std::int64_t numel) noexcept {
    node n = node::of(node_kind::storage, number);
    n.extra = type;
    n.integer = numel;
    return n;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
