// ckpt/folder/graft.hpp: copies an object of one file into the graph of another checkpoint.
//
// SPDX-License-Identifier: MIT
// In:      a value; a number in the new graph for each storage that it reaches.
// Out:     the same object there: shared parts stay shared, cycles stay cycles, text is copied.
// Refuses: more nodes than 32 bits number.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/tensor/parts.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Copies out of one graph into one other; what was copied once is not copied again.
template <class NumberOfStorage> class grafter {
  public:
    /// `number(storage)` gives the storage's number in `to`; `file` is named in the errors of refused values.
    grafter(graph& to, const graph& from, std::string_view file, NumberOfStorage number)
        : to_{to}, from_{from}, file_{file}, number_{std::move(number)}, copies_(from.nodes.size()) {}

    /// The node that is the copy of node `root`.
    [[nodiscard]] result<std::uint32_t> copy(std::uint32_t root) {
        const std::uint32_t out = at(root);
        while (!work_.empty() && to_.nodes.size() < most_nodes) {
            const std::uint32_t next = work_.back();
            work_.pop_back();
            fill(next, copies_[next]);
        }
        if (work_.empty()) return out;
        return error{.code = errc::limit,
                     .file = std::string(file_),
                     .detail = "the files of the folder hold more values than 32 bits number"};
    }
    /// Lets node `fresh` of the new graph take the place of node `old`, which is not copied.
    void replace(std::uint32_t old, std::uint32_t fresh) { copies_[old] = fresh; }
    /// Whether something that was copied reads from its file.
    [[nodiscard]] bool needs_file() const noexcept { return needs_file_; }

  private:
    static constexpr std::size_t most_nodes = 0xFFFF'0000u;

    /// The copy of a node; one that is new gets its place here and its content later.
    [[nodiscard]] std::uint32_t at(std::uint32_t old) {
        if (old < first_free_node) return old;
        if (copies_[old] != absent_node) return copies_[old];
        const node n = from_.nodes[old];
        copies_[old] = to_.add(n);
        if (n.kind == node_kind::application) (void)to_.add(from_.nodes[old + 1]);
        work_.push_back(old);
        return copies_[old];
    }
    [[nodiscard]] const char* text(std::string_view from) {
        char* out = to_.memory.template allocate<char>(from.size() + 1);
        if (!from.empty()) std::memcpy(out, from.data(), from.size());
        return out;
    }
    [[nodiscard]] std::vector<std::uint32_t> all(std::span<const std::uint32_t> old) {
        std::vector<std::uint32_t> out;
        out.reserve(old.size());
        for (const std::uint32_t o : old) out.push_back(at(o));
        return out;
    }
    [[nodiscard]] std::uint32_t container_of(std::span<const std::uint32_t> old) {
        std::uint32_t out = 0;
        to_.append(out, all(old));
        return out;
    }
    [[nodiscard]] std::uint32_t tensor_of(std::uint32_t old) {
        tensor_data t = from_.tensors[old];
        needs_file_ = needs_file_ || t.extra != nullptr; // the names of its parts are texts of the file
        const auto change = [&](tensor_data& data) {
            const auto numbers = [&](const std::int64_t* list) {
                if (list == nullptr) return list;
                auto* out = to_.memory.template allocate<std::int64_t>(data.rank + std::size_t{1});
                std::copy(list, list + data.rank, out);
                return static_cast<const std::int64_t*>(out);
            };
            data.shape = numbers(data.shape);
            data.strides = numbers(data.strides);
            if (data.refusal != nullptr) data.refusal = to_.errors[error_of(*data.refusal)];
            else if (data.kind == layout::strided) data.storage = storage_of(data.storage);
        };
        parts_.adopt(t, from_.storages, change);
        to_.tensors.push_back(to_.memory, t);
        return static_cast<std::uint32_t>(to_.tensors.size() - 1);
    }
    [[nodiscard]] std::uint32_t storage_of(std::uint32_t old) {
        needs_file_ = true;
        return number_(old);
    }
    [[nodiscard]] std::uint32_t error_of(error e) {
        if (e.file.empty()) e.file = file_;
        return to_.keep(std::move(e));
    }

    [[nodiscard]] const std::uint32_t* items_of(std::span<const std::uint32_t> old) {
        const std::vector<std::uint32_t> parts = all(old);
        auto* items = to_.memory.template allocate<std::uint32_t>(parts.size() + 1);
        std::copy(parts.begin(), parts.end(), items);
        return items;
    }
    [[nodiscard]] std::uint32_t global_of(global_occurrence g) {
        g.module = {text(g.module), g.module.size()};
        g.name = {text(g.name), g.name.size()};
        to_.globals.push_back(to_.memory, g);
        return static_cast<std::uint32_t>(to_.globals.size() - 1);
    }
    [[nodiscard]] std::uint32_t array_of(array_value a) {
        a.type = {text(a.type), a.type.size()};
        a.tensor = tensor_of(a.tensor);
        to_.arrays.push_back(to_.memory, a);
        return static_cast<std::uint32_t>(to_.arrays.size() - 1);
    }
    void fill_dictionary(node& n) {
        n.a = container_of(from_.elements(n));
        n.link.b = at(n.link.b);
        if (n.link.c == 0) return;
        node more = from_.nodes[n.link.c];
        more.a = at(more.a);
        n.link.c = to_.add(more);
    }
    /// An application is two nodes: `old` and the next one, `fresh` and the next one.
    void fill_application(node& n, std::uint32_t old, std::uint32_t fresh) {
        n.a = at(n.a);
        n.link.b = at(n.link.b);
        n.link.c = at(n.link.c);
        node more = from_.nodes[old + 1];
        more.a = at(more.a);
        more.link.b = container_of(from_.items_of(more.link.b));
        to_.nodes[fresh + 1] = more;
    }

    void fill(std::uint32_t old, std::uint32_t fresh) {
        node n = from_.nodes[old];
        switch (n.kind) {
        case node_kind::absent:
        case node_kind::none:
        case node_kind::boolean:
        case node_kind::integer:
        case node_kind::real:
        case node_kind::extension: break;
        case node_kind::big_integer:
        case node_kind::string:
        case node_kind::bytes:
        case node_kind::byte_array: n.text = text(graph::text_of(n)); break;
        case node_kind::tuple: n.items = items_of(from_.elements(n)); break;
        case node_kind::list:
        case node_kind::set:
        case node_kind::frozen_set: n.a = container_of(from_.elements(n)); break;
        case node_kind::dictionary: fill_dictionary(n); break;
        case node_kind::global: n.a = global_of(from_.globals[n.a]); break;
        case node_kind::persistent: n.a = at(n.a); break;
        case node_kind::application: fill_application(n, old, fresh); break;
        case node_kind::complex:
            to_.complexes.push_back(to_.memory, from_.complexes[n.a]);
            n.a = static_cast<std::uint32_t>(to_.complexes.size() - 1);
            break;
        case node_kind::tensor:
            n.a = tensor_of(n.a);
            n.link.c = at(n.link.c); // attributes
            break;
        case node_kind::storage: n.a = storage_of(n.a); break;
        case node_kind::array: n.a = array_of(from_.arrays[n.a]); break;
        case node_kind::refused: n.a = error_of(*from_.errors[n.a]); break;
        }
        to_.nodes[fresh] = n;
    }

    graph& to_;
    const graph& from_;
    std::string_view file_;
    NumberOfStorage number_;
    std::vector<std::uint32_t> copies_; // by node of `from`
    std::vector<std::uint32_t> work_{};
    part_copies parts_{to_.memory};
    bool needs_file_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
