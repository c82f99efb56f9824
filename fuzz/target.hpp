// fuzz/target.hpp: what the targets of pickle and open share.
//
// SPDX-License-Identifier: MIT
// In:      values, errors.
// Out:     a digest of everything that the public API says of them, to compare two runs with.
// Refuses: by ending the process: text that is not one printable line, an offset outside the input, errc::internal.
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/core/utf8.hpp>
#include <ckpt/pickle/value.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

namespace fuzzing {

inline void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "invariant broken: %s\n", what);
    std::abort();
}

/// Everything that was seen, in order, as one number.
class digest {
  public:
    void add(std::uint64_t v) noexcept { sum_ = ckpt::detail::mix(sum_ ^ v) + 0x9E37'79B9'7F4A'7C15u; }
    void add(std::string_view text) noexcept {
        add(text.size());
        add(ckpt::detail::hash_bytes(text));
    }
    void add(std::span<const std::byte> bytes) noexcept {
        add(std::string_view{reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    [[nodiscard]] std::uint64_t sum() const noexcept { return sum_; }
    friend bool operator==(const digest&, const digest&) = default;

  private:
    std::uint64_t sum_{0};
};

inline void check_error(const ckpt::error& e, std::uint64_t file_bytes, digest& seen) {
    require(e.code != ckpt::errc::internal, "an internal error");
    require(e.code != ckpt::errc::none, "an error without a code");
    require(e.offset == ckpt::no_offset || e.offset <= file_bytes, "an offset past the end of the file");
    const std::string text = e.message();
    require(text.size() <= 1024, "a message of more than 1,024 bytes");
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t n = ckpt::detail::utf8_length(text, i);
        require(n != 0 && !ckpt::detail::invisible(ckpt::detail::utf8_point(text, i, n)),
                "a message that is not printable");
        i += n;
    }
    seen.add(static_cast<std::uint64_t>(e.code));
    seen.add(e.offset);
    seen.add(text);
}

/// A tensor's elements lie in memory that its own storage has.
inline void check_tensor(const ckpt::tensor& t, std::uint64_t file_bytes, digest& seen) {
    if (const ckpt::error* refused = t.refusal()) return check_error(*refused, file_bytes, seen);
    seen.add(static_cast<std::uint64_t>(t.dtype()));
    const bool ragged =
        t.layout() == ckpt::layout::nested || t.layout() == ckpt::layout::jagged; // -1: one size for each element
    for (const std::int64_t n : t.shape()) {
        require(n >= 0 || (ragged && n == -1), "a negative size");
        seen.add(static_cast<std::uint64_t>(n));
    }
    for (const std::int64_t n : t.strides()) {
        require(n >= 0, "a negative stride");
        seen.add(static_cast<std::uint64_t>(n));
    }
    seen.add(t.storage_offset());
    seen.add(t.storage_key());
    if (const auto bytes = t.bytes()) {
        require(bytes->size() == t.nbytes() && bytes->size() <= t.storage_nbytes(), "more bytes than the storage has");
        seen.add(*bytes); // touches every byte
    } else {
        check_error(bytes.error(), file_bytes, seen);
    }
    if (const auto crc = t.crc32()) seen.add(*crc);
    else check_error(crc.error(), file_bytes, seen);
}

/// Asks a value everything; returns its neighbours.
inline void check_value(const ckpt::value& v, std::uint64_t file_bytes, digest& seen, std::vector<ckpt::value>& next) {
    seen.add(static_cast<std::uint64_t>(v.kind()));
    seen.add(v.size());
    seen.add(static_cast<std::uint64_t>(v.is_utf8()) | static_cast<std::uint64_t>(v.is_byte_array()) << 1 |
             static_cast<std::uint64_t>(v.is_frozen_set()) << 2);
    if (const auto x = v.as_bool()) seen.add(static_cast<std::uint64_t>(*x));
    if (const auto x = v.as_int()) seen.add(static_cast<std::uint64_t>(*x));
    if (const auto x = v.as_integer_bytes()) seen.add(*x);
    if (const auto x = v.as_real()) seen.add(std::bit_cast<std::uint64_t>(*x));
    if (const auto x = v.as_complex())
        seen.add(std::bit_cast<std::uint64_t>(x->real) ^ std::bit_cast<std::uint64_t>(x->imaginary));
    if (const auto x = v.as_string()) seen.add(*x);
    if (const auto x = v.as_bytes()) seen.add(*x);
    if (const auto x = v.as_dtype()) seen.add(static_cast<std::uint64_t>(*x));
    if (const auto x = v.as_global()) seen.add(x->module), seen.add(x->name);
    if (const auto x = v.as_storage()) seen.add(x->id), seen.add(x->key), seen.add(x->nbytes);
    if (const auto x = v.as_tensor()) check_tensor(*x, file_bytes, seen);
    if (const auto x = v.as_array()) seen.add(x->type), check_tensor(x->tensor, file_bytes, seen);
    if (const ckpt::error* refused = v.refusal()) {
        check_error(*refused, file_bytes, seen);
        require(v.as_int().error().code == refused->code, "a refused value that does not tell why");
    }
    (void)v.at("weight");
    (void)v.at(std::int64_t{0});
    require(v[v.size()].kind() == ckpt::kind::absent, "an element past the end");
    for (const ckpt::value e : v.elements()) next.push_back(e);
    for (const ckpt::value::entry e : v.entries()) next.insert(next.end(), {e.key, e.mapped});
    for (const ckpt::value e : v.items()) next.push_back(e);
    next.insert(next.end(), {v.class_of(), v.args(), v.kwargs(), v.state(), v.persistent_argument()});
}

/// Every value that can be reached, once.
inline void check_graph(const ckpt::value& root, std::uint64_t file_bytes, digest& seen) {
    std::vector<bool> visited;
    std::vector<ckpt::value> todo{root};
    while (!todo.empty()) {
        const ckpt::value v = todo.back();
        todo.pop_back();
        if (!v) continue;
        const std::size_t id = v.object_id();
        if (id >= visited.size()) visited.resize(2 * id + 1);
        if (visited[id]) continue;
        visited[id] = true;
        check_value(v, file_bytes, seen, todo);
    }
}

} // namespace fuzzing
