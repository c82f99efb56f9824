// ckpt/torch/impl/zip_checkpoint.ipp: the definitions of zip_checkpoint.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/torch/tensor_maker.hpp>
#include <ckpt/torch/zip_checkpoint.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<opened_zip> opened_zip::read(const source& from, const limits& budget, const inflater& inflate,
                                                     arena& memory) {
    std::byte head[4]{};
    const bool four = from.size() >= 4;
    if (four)
        if (auto read = from.read(0, head); !read) return std::move(read).failure();
    if (!four || load_le<std::uint32_t>(head) != zip::local_signature) {
        error named = name_the_file(from);
        // For an archive with other bytes before it, the error of its directory is more precise.
        if (named.code == errc::not_a_checkpoint && four && load_le<std::uint32_t>(head) != zip::end_signature &&
            !sniffing::is_marked_zip(from)) {
            auto archive = zip_archive::read(from, budget, memory);
            if (!archive && archive.error().code == errc::zip_prefix) return std::move(archive).failure();
        }
        return named;
    }
    auto archive = zip_archive::read(from, budget, memory);
    if (!archive) return std::move(archive).failure();
    opened_zip out;
    out.archive = std::move(*archive);
    auto layout = zip_layout::read(from, out.archive, inflate, memory);
    if (!layout) return std::move(layout).failure();
    out.layout = std::move(*layout);
    for (const zip_pickle& p : out.layout.pickles) {
        auto opened = open_pickle(from, p, budget, inflate, memory);
        if (!opened) return std::move(opened).failure();
        out.pickles.push_back(*opened);
    }
    return out;
}

CKPT_DETAIL_RARE result<opened_pickle> opened_zip::open_pickle(const source& from, const zip_pickle& place,
                                                               const limits& budget, const inflater& inflate,
                                                               arena& memory) {
    const record& pickle = *place.from;
    auto at = pickle.method == 0 ? zip::locate(from, pickle) : locate_deflated(from, pickle, inflate);
    if (!at) return std::move(at).failure();
    if (pickle.method == 0)
        if (auto plausible = begins_as_pickle(from, pickle, *at); !plausible) return std::move(plausible).failure();
    auto bytes = read_parsed(from, pickle, budget, inflate, memory);
    if (!bytes) return std::move(bytes).failure();
    return opened_pickle{place, *bytes, from.base() + *at, pickle.method != 0};
}

CKPT_DETAIL_RARE result<void> opened_zip::begins_as_pickle(const source& from, const record& pickle, std::uint64_t at) {
    std::byte first[1]{};
    if (pickle.size == 0) return {};
    if (auto read = from.read(at, first); !read) return read;
    const auto op = static_cast<std::uint8_t>(first[0]);
    if (!opcode_table[op].name.empty()) return {};
    return error{.code = errc::pickle_opcode,
                 .opcode = op,
                 .offset = from.base() + at,
                 .record = std::string(pickle.name),
                 .detail = str_cat("the pickle begins with the byte ", hexadecimal(op), ", which is no opcode")};
}

CKPT_DETAIL_RARE result<shared<nested_zip>> nested_zip::read(const shared<source>& outer, const record& r,
                                                             const limits& budget, const inflater& inflate,
                                                             arena& memory) {
    auto out = detail::make_shared<nested_zip>();
    auto opened = open_record(outer, r, budget, inflate, memory);
    if (!opened) return std::move(opened).failure();
    out->from = std::move(*opened);
    auto zip = opened_zip::read(*out->from, budget, inflate, memory);
    if (!zip) return std::move(zip).failure();
    out->zip = std::move(*zip);
    if (out->zip.layout.kind != zip_kind::torch_save)
        return error{.code = errc::container_not_supported,
                     .offset = outer->base() + r.header_offset,
                     .record = std::string(r.name),
                     .detail = "an archive inside the archive that torch.save did not write"};
    return out;
}

CKPT_DETAIL_DEF result<shared<source>> nested_zip::open_record(const shared<source>& outer, const record& r,
                                                               const limits& budget, const inflater& inflate,
                                                               arena& memory) {
    if (r.method != 0) {
        auto content = read_parsed(*outer, r, budget, inflate, memory);
        if (!content) return std::move(content).failure();
        return source::memory(*content);
    }
    auto at = zip::locate(*outer, r);
    if (!at) return std::move(at).failure();
    return source::part(outer, *at, r.size);
}

CKPT_DETAIL_DEF bool holds_zip(const source& from, const record& r) {
    if (r.method != 0 || r.size < 4) return r.method != 0 && r.name.ends_with(".pt");
    std::byte head[4]{};
    auto at = zip::locate(from, r);
    return at && from.read(*at, head).has_value() && load_le<std::uint32_t>(head) == zip::local_signature;
}

namespace zip_scan {

/// What a scan does with a record that the root of the archive does not consist of.
enum class reading : std::uint8_t { none, pickle, certain, archive };

/// Whether a record holds elements of a storage, which may begin like anything.
inline bool is_storage(const opened_zip& zip, const record& r) {
    if (zip.layout.kind == zip_kind::pt2 || zip.layout.kind == zip_kind::pt2_blobs) return true;
    for (const zip_pickle& p : zip.layout.pickles)
        if (!p.before.empty() && r.name.starts_with(p.before) && r.name.ends_with(p.after)) return true;
    return false;
}

/// The error for a record whose content cannot be looked into: it is compressed, encrypted, or an archive itself.
inline std::optional<error> sealed(const source& from, const record& r, std::string_view head) {
    auto found = sealed_content(head);
    if (!found) return {};
    found->offset = from.base() + r.header_offset;
    found->record = std::string(r.name);
    return found;
}

/// The first bytes of a record, inflated if it is deflated. Fills `head` as far as the record goes.
inline result<std::string_view> first_bytes(const source& from, const record& r, const inflater& inflate,
                                            std::span<std::byte> head) {
    head = head.first(static_cast<std::size_t>((std::min<std::uint64_t>)(r.size, head.size())));
    if (r.method == 0) {
        auto at = zip::locate(from, r);
        if (!at) return std::move(at).failure();
        if (auto read = from.read(*at, head); !read) return std::move(read).failure();
    } else {
        auto at = locate_deflated(from, r, inflate);
        if (!at) return std::move(at).failure();
        if (auto read = inflate_stream{from, r, *at, inflate}.read(head); !read) return std::move(read).failure();
    }
    return std::string_view{reinterpret_cast<const char*>(head.data()), head.size()};
}

/// How a record is read, by its name and its first bytes.
inline result<reading> reading_of(const shared<source>& from, const opened_zip& zip, const record& r,
                                  const inflater& inflate) {
    const std::string_view folder = zip.layout.folder;
    const std::string_view name = r.name.starts_with(folder) ? r.name.substr(folder.size()) : std::string_view{};
    if (zip.layout.kind == zip_kind::pt2 ? name.ends_with(".pt")
                                         : zip.layout.kind == zip_kind::pt2_blobs && holds_zip(*from, r))
        return holds_zip(*from, r) ? reading::archive : reading::certain;
    if (r.name.ends_with(".pkl") && !r.name.starts_with("__MACOSX/")) return reading::certain;
    const bool storage = is_storage(zip, r);
    // TorchScript deflates its code and the debug records beside it. Programs without an inflater scan the rest.
    if (r.method != 0 && (r.name.ends_with(".py") || (!inflate && (storage || r.name.ends_with(".py.debug_pkl")))))
        return reading::none;
    std::byte head[512];
    const auto text = first_bytes(*from, r, inflate, std::span{head}.first(r.method == 0 ? 16 : sizeof head));
    if (!text) return text.error();
    if (!storage)
        if (auto closed = sealed(*from, r, text->substr(0, 16))) return std::move(*closed);
    const bool begins =
        r.method == 0 || storage ? sniffing::begins_as_binary_pickle(*text) : sniffing::looks_like_pickle(*text);
    return begins ? reading::pickle : reading::none;
}

} // namespace zip_scan

CKPT_DETAIL_DEF std::optional<error> visit_other_pickles(const shared<source>& from, const opened_zip& zip,
                                                         const limits& budget, const inflater& inflate,
                                                         function_ref<void(const opened_pickle&)> visit) {
    std::optional<error> fault;
    const auto note = [&](error e) {
        if (!fault) fault = std::move(e);
    };
    const auto add = [&](const record& r, zip_scan::reading how) {
        arena memory;
        if (how == zip_scan::reading::archive) {
            const auto file = nested_zip::read(from, r, budget, inflate, memory);
            if (!file) return note(file.error());
            opened_pickle pickle = (*file)->zip.pickles[0];
            if (r.method != 0) {
                pickle.offset = from->base() + r.header_offset;
                pickle.transcoded = true;
            }
            return visit(pickle);
        }
        const bool certain = how == zip_scan::reading::certain;
        auto pickle = opened_zip::open_pickle(*from, {&r, {}, {}, certain}, budget, inflate, memory);
        if (!pickle) return zip_scan::is_storage(zip, r) ? void() : note(std::move(pickle).error());
        const std::string_view text{reinterpret_cast<const char*>(pickle->bytes.data()), pickle->bytes.size()};
        if (certain || sniffing::looks_like_pickle(text.substr(0, 512))) visit(*pickle);
    };
    for (const record& r : zip.archive.records()) {
        const bool root = std::any_of(zip.pickles.begin(), zip.pickles.end(),
                                      [&r](const opened_pickle& p) { return p.place.from == &r; });
        if (r.is_folder() || r.size == 0 || root) continue;
        auto how = zip_scan::reading_of(from, zip, r, inflate);
        if (!how) note(std::move(how).error());
        else if (*how != zip_scan::reading::none) add(r, *how);
    }
    if (zip.layout.kind != zip_kind::pt2) return fault;
    arena memory;
    const auto configs = read_pt2(*from, zip.archive, zip.layout.folder, budget, inflate, memory);
    if (!configs) {
        note(configs.error());
        return fault;
    }
    for (const pt2_config& c : *configs)
        for (const pt2_entry& e : c.entries)
            if (const record* r = e.pickled ? zip.archive.find(std::string(c.folder) += e.path) : nullptr)
                add(*r, holds_zip(*from, *r) ? zip_scan::reading::archive : zip_scan::reading::certain);
    return fault;
}

CKPT_DETAIL_RARE result<shared<checkpoint_file>> zip_checkpoint::open(shared<source> from, const allowlist& allowed,
                                                                      const limits& budget, const scratch& reuse,
                                                                      std::optional<byte_order> order,
                                                                      const inflater& inflate) {
    auto out = detail::make_shared<zip_checkpoint>(std::move(from), budget, reuse, inflate);
    auto zip = opened_zip::read(*out->from_, out->limits_, out->inflate_, out->directory_);
    if (!zip) return std::move(zip).failure();
    out->archive_ = std::move(zip->archive);
    const zip_layout& layout = zip->layout;
    out->order_ = order;
    out->facts_ = {name(layout.kind),     layout.writer,      order.value_or(layout.order),
                   layout.order_recorded, out->from_->size(), {}};
    out->graph_.storages = &out->storages_;
    auto built = out->build(layout, zip->pickles, allowed);
    if (!built) return std::move(built).failure();
    return shared<checkpoint_file>{out};
}

CKPT_DETAIL_RARE zip_checkpoint::zip_checkpoint(shared<source> from, const limits& budget, const scratch& reuse,
                                                const inflater& inflate)
    : checkpoint_file{budget, reuse.pool()},
      from_{std::move(from)},
      directory_{reuse.pool()},
      inflate_{inflate},
      storages_{inflate_, graph_.memory} {}

CKPT_DETAIL_RARE void zip_checkpoint::check(const file_check& how, verify_report& out) const {
    const auto note = [](void* context, const error& found) {
        static_cast<verify_report*>(context)->findings.push_back(found);
    };
    const zip_check done = verify_zip(*from_, archive_, {how.checksums, inflate_, how.lent}, how.meter, note, &out);
    out.records += done.records;
    out.bytes += done.bytes;
    out.unchecked_crc += done.unchecked_crc;
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::build(const zip_layout& layout, std::span<const opened_pickle> pickles,
                                                    const allowlist& allowed) {
    switch (layout.kind) {
    case zip_kind::torch_save: return keep_root(parse(pickles[0], folder_of(pickles[0]), allowed));
    case zip_kind::torchscript: return build_script(layout, pickles, allowed);
    case zip_kind::script_model: return build_script_model(layout, pickles, allowed);
    case zip_kind::torch_package: return build_package(layout, pickles, allowed);
    case zip_kind::pt2: return build_pt2(layout, allowed);
    case zip_kind::pt2_blobs: return build_blobs(allowed);
    }
    return error{.code = errc::internal, .detail = "an archive of no kind"};
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::keep_root(result<std::uint32_t> value) {
    if (!value) return std::move(value).failure();
    graph_.root = *value;
    return {};
}

CKPT_DETAIL_RARE result<std::uint32_t> zip_checkpoint::parse(const opened_pickle& p, const storage_folder& folder,
                                                             const allowlist& allowed, id_form ids) {
    detail::graph& g = graph_;
    g.begin(p.bytes, p.offset, p.place.from->name);
    g.transcoded = p.transcoded;
    storages_.enter(folder);
    tensor_maker tensors{g, storages_, limits_};
    {
        machine reader{g, allowed, limits_}; // whose memo goes before the resolver takes memory
        if (ids == id_form::zip && !allowed.one_by_one) reader.make_whole_calls(tensors);
        if (auto read = reader.run(); !read) {
            g.forget_pending();
            return std::move(read).failure();
        }
    }
    resolver meaning{g, storages_, limits_, allowed, ids};
    meaning.count_made(tensors.made_bytes());
    if (auto done = meaning.run(); !done) return std::move(done).failure();
    return g.root;
}

CKPT_DETAIL_RARE result<std::uint32_t> zip_checkpoint::or_refused(result<std::uint32_t> value) {
    if (value || value.error().code == errc::global_not_allowed || value.error().code == errc::limit) return value;
    return graph_.add(node::of(node_kind::refused, graph_.keep(std::move(value).error())));
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::build_script(const zip_layout& layout,
                                                           std::span<const opened_pickle> pickles,
                                                           const allowlist& allowed) {
    const std::size_t first_node = graph_.nodes.size();
    auto module = parse(pickles[0], folder_of(pickles[0]), allowed, id_form::script);
    if (!module) return std::move(module).failure();
    constexpr std::uint32_t ordered = 2; // of torch 1.5
    if (layout.format_version < ordered) order_attributes(first_node);
    auto constants = parse(pickles[1], folder_of(pickles[1]), allowed, id_form::script);
    if (!constants) return std::move(constants).failure();
    graph_.root = with_constants("module", *module, *constants);
    return {};
}

CKPT_DETAIL_RARE void zip_checkpoint::order_attributes(std::size_t first_node) {
    for (std::size_t i = first_node; i < graph_.nodes.size(); ++i) {
        const node& n = graph_.nodes[i];
        if (n.kind != node_kind::application || (n.flags & node_flag::module) == 0) continue;
        const node& state = graph_.nodes[graph_.nodes[i + 1].a];
        if (state.kind != node_kind::dictionary || state.a == 0) continue;
        const container& entries = graph_.containers[state.a];
        const node& first = graph_.nodes[entries.data[0]];
        if (first.kind == node_kind::string && graph::text_of(first) == "training")
            std::rotate(entries.data, entries.data + 2, entries.data + entries.count);
    }
}

CKPT_DETAIL_RARE std::uint32_t zip_checkpoint::with_constants(std::string_view name, std::uint32_t what,
                                                              std::uint32_t constants) {
    const value kept = value_access::make(graph_, constants);
    if (kept.size() == 0 && kept.kind() != kind::refused) return what;
    const std::uint32_t pairs[4]{graph_.add_text(name), what, graph_.add_text("constants"), constants};
    return graph_.add_dictionary(pairs);
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::build_script_model(const zip_layout& layout,
                                                                 std::span<const opened_pickle> pickles,
                                                                 const allowlist& allowed) {
    const record& model = *archive_.find(std::string(layout.folder) += "model.json");
    auto text = read_parsed(*from_, model, limits_, inflate_, directory_);
    if (!text) return std::move(text).failure();
    script_model_reader json{{reinterpret_cast<const char*>(text->data()), text->size()}, directory_};
    if (!json.read()) return bad_json(model, json.fault(), json.offset());
    begin_json(model);
    storages_.enter({&*from_, &archive_, layout.folder, {}, facts_.order});
    std::vector<std::uint32_t> tensors;
    for (const script_tensor& t : json.tensors) {
        tensor_data made{};
        tensors.push_back(add_described(model, {}, made, describe(t, made)));
    }
    std::span<const std::uint32_t> attributes;
    if (!pickles.empty()) {
        graph_.tensor_table = tensors;
        auto values = parse(pickles[0], folder_of(pickles[0]), allowed);
        graph_.tensor_table = {};
        if (!values) return std::move(values).failure();
        attributes = graph_.elements(graph_.nodes[*values]);
    }
    std::vector<std::vector<std::uint32_t>> states(json.modules.size());
    std::vector<std::uint32_t> objects(json.modules.size());
    for (std::size_t i = json.modules.size(); i-- > 0;) { // children come after their parents
        const script_module& m = json.modules[i];
        std::vector<std::uint32_t> pairs;
        for (const script_member& of : m.members) {
            const std::span<const std::uint32_t> values = of.attribute ? attributes : tensors;
            pairs.push_back(graph_.add_text(of.name));
            pairs.push_back(of.id < values.size() ? values[static_cast<std::size_t>(of.id)] : none_node);
        }
        for (std::size_t at = states[i].size(); at > 0; at -= 2)
            pairs.insert(pairs.end(), {states[i][at - 1], states[i][at - 2]});
        objects[i] = add_module(m.name, pairs);
        if (i > 0) states[m.parent].insert(states[m.parent].end(), {objects[i], graph_.add_text(m.name)});
    }
    if (objects.empty()) return bad_json(model, "no mainModule", 0);
    graph_.root = objects.front();
    return {};
}

CKPT_DETAIL_RARE std::uint32_t zip_checkpoint::add_module(std::string_view name, std::span<const std::uint32_t> pairs) {
    graph_.globals.push_back(graph_.memory, {"__torch__", name});
    const std::uint32_t callable =
        graph_.add(node::of(node_kind::global, static_cast<std::uint32_t>(graph_.globals.size() - 1)));
    const std::uint32_t state = graph_.add_dictionary(pairs);
    node object = node::of(node_kind::application, empty_tuple_node,
                           node_flag::new_object | node_flag::built | node_flag::module);
    object.link = {callable, absent_node};
    const std::uint32_t out = graph_.add(object);
    node rest = node::of(node_kind::extension, state);
    rest.link = {0, 0};
    (void)graph_.add(rest);
    return out;
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::describe(const script_tensor& t, tensor_data& made) {
    if (t.quantised)
        return error{.code = errc::unsupported_tensor,
                     .detail = "a quantised tensor of torch 1.3",
                     .hint = "the other entries of the file are not affected"};
    const auto type = dtype_of_caffe2(t.type);
    if (!type)
        return error{.code = errc::dtype_unknown,
                     .detail = str_cat("the dtype ", quoted(t.type), " is not one that is known")};
    return place(made, *type, t, t.record);
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::build_package(const zip_layout& layout,
                                                            std::span<const opened_pickle> pickles,
                                                            const allowlist& allowed) {
    std::vector<std::uint32_t> pairs;
    auto modules = packaged_modules(layout, pickles, allowed, pairs);
    if (!modules) return std::move(modules).failure();
    for (const opened_pickle& p : pickles) {
        if (!p.place.script.empty()) continue;
        const std::size_t first_node = graph_.nodes.size(), first_container = graph_.containers.size();
        auto parsed = parse(p, folder_of(p), allowed, id_form::package);
        if (!parsed && !p.place.certain && parsed.error().code != errc::global_not_allowed &&
            parsed.error().code != errc::limit)
            continue; // not a pickle, but other bytes
        auto value = or_refused(std::move(parsed));
        if (!value) return std::move(value).failure();
        std::uint32_t root = *value;
        if (!modules->empty()) {
            if (const packaged_module* const named = module_named(*modules, *value)) root = named->node;
            place_modules(*modules, first_node, first_container);
        }
        pairs.push_back(graph_.add_text(p.place.from->name.substr(layout.folder.size())));
        pairs.push_back(root);
    }
    graph_.root = graph_.add_dictionary(pairs);
    return {};
}

CKPT_DETAIL_RARE auto zip_checkpoint::packaged_modules(const zip_layout& layout, std::span<const opened_pickle> pickles,
                                                       const allowlist& allowed, std::vector<std::uint32_t>& constants)
    -> result<plain_list<packaged_module>> {
    plain_list<packaged_module> out;
    for (const opened_pickle& p : pickles) {
        if (p.place.script.empty()) continue;
        auto made = or_refused(parse(p, folder_of(p), allowed, id_form::script));
        if (!made) return std::move(made).failure();
        const std::string_view name = p.place.from->name.substr(layout.folder.size());
        if (name.ends_with("/data.pkl")) {
            out.push_back({p.place.script, *made});
        } else if (const value kept = value_access::make(graph_, *made);
                   kept.size() > 0 || kept.kind() == kind::refused) {
            constants.push_back(graph_.add_text(name));
            constants.push_back(*made);
        }
    }
    sort_values(out, [](const packaged_module& a, const packaged_module& b) { return a.number < b.number; });
    return out;
}

CKPT_DETAIL_RARE void zip_checkpoint::place_modules(std::span<const packaged_module> modules, std::size_t first_node,
                                                    std::size_t first_container) {
    struct reference {
        std::uint32_t node{};
        std::uint32_t module{};
    };
    plain_list<reference> found; // in ascending order
    for (std::size_t i = first_node; i < graph_.nodes.size(); ++i)
        if (const packaged_module* const named = module_named(modules, static_cast<std::uint32_t>(i)))
            found.push_back({static_cast<std::uint32_t>(i), named->node});
    if (found.empty()) return;
    const auto put = [&](std::uint32_t& of) {
        const auto at = std::lower_bound(found.begin(), found.end(), of,
                                         [](const reference& r, std::uint32_t node) { return r.node < node; });
        if (at != found.end() && at->node == of) of = at->module;
    };
    for (std::size_t i = first_container; i < graph_.containers.size(); ++i)
        for (std::size_t k = 0; k < graph_.containers[i].count; ++k) put(graph_.containers[i].data[k]);
    for (std::size_t i = first_node; i < graph_.nodes.size(); ++i) {
        node& n = graph_.nodes[i];
        if (n.kind == node_kind::extension) put(n.a); // a state
        // Each tuple has its elements in memory of the graph.
        if (n.kind == node_kind::tuple)
            for (std::size_t k = 0; k < n.a; ++k) put(const_cast<std::uint32_t*>(n.items)[k]);
    }
}

CKPT_DETAIL_RARE auto zip_checkpoint::module_named(std::span<const packaged_module> modules,
                                                   std::uint32_t index) const noexcept -> const packaged_module* {
    const node& n = graph_.nodes[index];
    if (n.kind != node_kind::tuple || (n.a != 3 && n.a != 4)) return nullptr;
    const node& tag = graph_.nodes[n.items[0]];
    const node& called = graph_.nodes[n.items[n.a - 2]];
    const node& with = graph_.nodes[n.items[n.a - 1]];
    if (tag.kind != node_kind::string || graph::text_of(tag) != "reduce_package" || called.kind != node_kind::global ||
        with.kind != node_kind::tuple || with.a != 1)
        return nullptr;
    const global_occurrence& g = graph_.globals[called.a];
    const node& number = graph_.nodes[with.items[0]];
    if (g.module != "torch.jit._script" || g.name != "unpackage_script_module" || number.kind != node_kind::string)
        return nullptr;
    const auto at =
        std::lower_bound(modules.begin(), modules.end(), graph::text_of(number),
                         [](const packaged_module& m, std::string_view wanted) { return m.number < wanted; });
    return at != modules.end() && at->number == graph::text_of(number) ? &*at : nullptr;
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::build_pt2(const zip_layout& layout, const allowlist& allowed) {
    auto configs = read_pt2(*from_, archive_, layout.folder, limits_, inflate_, directory_);
    if (!configs) return std::move(configs).failure();
    std::vector<std::string_view> models;
    for (const pt2_config& c : *configs)
        if (std::find(models.begin(), models.end(), c.model) == models.end()) models.push_back(c.model);
    if (models.empty()) return build_old_pt2(layout, allowed);
    std::vector<std::uint32_t> all;
    for (const std::string_view model : models) {
        std::vector<std::uint32_t> pairs, constants;
        for (const pt2_config& c : *configs) {
            if (c.model != model) continue;
            begin_json(*c.from);
            for (const pt2_entry& e : c.entries) {
                auto value = pt2_value(c, e, allowed);
                if (!value) return std::move(value).failure();
                std::vector<std::uint32_t>& into = c.constants ? constants : pairs;
                into.push_back(graph_.add_text(e.name));
                into.push_back(*value);
            }
        }
        all.push_back(graph_.add_text(model));
        all.push_back(with_constants("weights", graph_.add_dictionary(pairs), graph_.add_dictionary(constants)));
    }
    graph_.root = models.size() == 1 ? all[1] : graph_.add_dictionary(all);
    return {};
}

CKPT_DETAIL_RARE result<std::uint32_t> zip_checkpoint::pt2_value(const pt2_config& c, const pt2_entry& e,
                                                                 const allowlist& allowed) {
    if (e.pickled) {
        const record* r = archive_.find(std::string(c.folder) += e.path);
        if (r == nullptr)
            return or_refused(error{.code = errc::record_missing,
                                    .record = std::string(c.from->name),
                                    .path = printable(e.name),
                                    .detail = str_cat("there is no record ", quoted(e.path))});
        return or_refused(blob(*r, allowed));
    }
    tensor_data t{};
    storages_.enter({&*from_, &archive_, c.folder, {}, facts_.order});
    return add_described(*c.from, e.name, t, describe(e, t));
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::describe(const pt2_entry& e, tensor_data& t) {
    if (!e.described)
        return error{.code = errc::bad_arguments, .detail = "an entry without the geometry of its tensor"};
    if (e.symbolic)
        return error{.code = errc::unsupported_tensor,
                     .detail = "a size that is an expression",
                     .hint = "the other entries of the file are not affected"};
    const auto type = dtype_of_pt2(e.dtype);
    if (!type)
        return error{.code = errc::dtype_unknown,
                     .detail = str_cat("the dtype ", e.dtype, " is not one that is known")};
    if (e.layout != pt2_strided)
        return error{.code = errc::unsupported_tensor,
                     .detail = str_cat("a tensor of the layout ", e.layout, ", which is not strided"),
                     .hint = "the other entries of the file are not affected"};
    return place(t, *type, e, e.path);
}

CKPT_DETAIL_RARE error zip_checkpoint::bad_json(const record& r, std::string_view fault, std::size_t at) const {
    return {.code = errc::json_invalid,
            .offset = from_->base() + r.header_offset,
            .record = std::string(r.name),
            .detail = str_cat(fault, ", at byte ", at, " of the text"),
            .hint = zip::damage_hint};
}

CKPT_DETAIL_RARE void zip_checkpoint::begin_json(const record& r) {
    graph_.begin({}, from_->base() + r.header_offset, r.name);
    graph_.joined_bytes += r.size;
}

CKPT_DETAIL_RARE std::uint32_t zip_checkpoint::add_described(const record& in, std::string_view key,
                                                             const tensor_data& t, result<void> described) {
    if (described) return graph_.add_tensor(t);
    error refusal = std::move(described).error();
    refusal.record = in.name;
    refusal.path = printable(key);
    tensor_data refused{};
    refused.refusal = graph_.errors[graph_.keep(std::move(refusal))];
    return graph_.add_tensor(refused);
}

CKPT_DETAIL_RARE result<std::uint32_t> zip_checkpoint::blob(const record& r, const allowlist& allowed) {
    if (!holds_zip(*from_, r)) {
        auto pickle = opened_zip::open_pickle(*from_, {&r, {}, {}}, limits_, inflate_, directory_);
        if (!pickle) return std::move(pickle).failure();
        return parse(*pickle, {&*from_, &archive_, r.name, {}, facts_.order},
                     allowed); // which has no storages of its own
    }
    auto inner = nested_zip::read(from_, r, limits_, inflate_, directory_);
    if (!inner) return std::move(inner).failure();
    const nested_zip& opened = **inner;
    nested_.push_back(std::move(*inner));
    opened_pickle p = opened.zip.pickles[0];
    const bool in_file = r.method == 0;
    if (!in_file) {
        p.offset = from_->base() + r.header_offset;
        p.transcoded = true;
    }
    return parse(p,
                 {&*opened.from, &opened.zip.archive, p.place.before, p.place.after,
                  order_.value_or(opened.zip.layout.order), in_file},
                 allowed);
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::build_old_pt2(const zip_layout& layout, const allowlist& allowed) {
    const record* weights = nullptr;
    const record* constants = nullptr;
    for (const record& r : archive_.records()) {
        if (!r.name.starts_with(layout.folder) || !r.name.ends_with(".pt")) continue;
        const std::string_view name = r.name.substr(layout.folder.size());
        const record** into = name.starts_with("data/weights/")     ? &weights
                              : name.starts_with("data/constants/") ? &constants
                                                                    : nullptr;
        if (into != nullptr && *into == nullptr) *into = &r;
    }
    return build_of_blobs(weights, constants, allowed);
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::build_blobs(const allowlist& allowed) {
    const auto named = [&](std::string_view stem) {
        const record* out = nullptr;
        for (const std::string_view suffix : {".pt", ".json"})
            if (out == nullptr) out = archive_.find(std::string(stem) += suffix);
        return out;
    };
    return build_of_blobs(named("serialized_state_dict"), named("serialized_constants"), allowed);
}

CKPT_DETAIL_RARE result<void> zip_checkpoint::build_of_blobs(const record* weights, const record* constants,
                                                             const allowlist& allowed) {
    if (weights == nullptr && constants == nullptr)
        return error{.code = errc::container_not_supported,
                     .offset = from_->base(),
                     .detail = "a PT2 archive without weights: a model that was compiled, with its weights inside "
                               "the compiled program",
                     .hint = "save the model with torch.export.save before it is compiled"};
    std::uint32_t found[2]{none_node, none_node};
    if (weights != nullptr) {
        auto value = blob(*weights, allowed);
        if (!value) return std::move(value).failure();
        found[0] = *value;
    }
    if (constants != nullptr) {
        auto value = or_refused(blob(*constants, allowed));
        if (!value) return std::move(value).failure();
        found[1] = *value;
    }
    graph_.root = with_constants("weights", found[0], found[1]);
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
