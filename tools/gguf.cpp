// What `ckpt convert` does for .gguf alone.
#include "gguf.hpp"

#include "common.hpp"
#include "render.hpp"

#include <ckpt/config.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/io/file.hpp>
#include <ckpt/write/gguf_format.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace tool {

namespace {

/// A file from its beginning, read in pieces of a bounded size.
class header_reader {
  public:
    explicit header_reader(const ckpt::detail::file& from) : from_{from} {}

    template <class Number> [[nodiscard]] bool take(Number& out) {
        if (!fill(sizeof out)) return false;
        out = ckpt::detail::load_le<Number>(buffer_.data() + used_);
        used_ += sizeof out;
        return true;
    }
    [[nodiscard]] bool take(std::string& out) {
        std::uint64_t length = 0;
        if (!take(length) || length > buffer_.size() || !fill(static_cast<std::size_t>(length))) return false;
        out.assign(reinterpret_cast<const char*>(buffer_.data() + used_), static_cast<std::size_t>(length));
        used_ += static_cast<std::size_t>(length);
        return true;
    }
    [[nodiscard]] bool skip(std::uint64_t bytes) {
        if (bytes <= held_ - used_) {
            used_ += static_cast<std::size_t>(bytes);
            return true;
        }
        at_ += bytes - (held_ - used_); // the next piece begins there
        used_ = held_ = 0;
        return at_ <= from_.size();
    }
    /// Goes behind a value of the metadata.
    [[nodiscard]] bool skip_value(ckpt::gguf_type type) {
        constexpr std::uint64_t sizes[]{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        std::uint32_t elements = 0;
        std::uint64_t count = 0;
        if (static_cast<std::size_t>(type) >= std::size(sizes)) return false;
        if (type == ckpt::gguf_type::string) return take(count) && skip(count);
        if (type != ckpt::gguf_type::array) return skip(sizes[static_cast<std::size_t>(type)]);
        if (!take(elements) || !take(count) || elements >= std::size(sizes)) return false;
        if (static_cast<ckpt::gguf_type>(elements) != ckpt::gguf_type::string) return skip(count * sizes[elements]);
        while (count-- > 0)
            if (std::uint64_t length = 0; !take(length) || !skip(length)) return false;
        return true;
    }

  private:
    /// Whether `bytes` more are in the buffer.
    [[nodiscard]] bool fill(std::size_t bytes) {
        if (held_ - used_ >= bytes) return true;
        std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(used_),
                  buffer_.begin() + static_cast<std::ptrdiff_t>(held_), buffer_.begin());
        held_ -= std::exchange(used_, 0);
        const std::uint64_t left = from_.size() - at_, room = buffer_.size() - held_;
        const auto part = static_cast<std::size_t>(std::min(left, room));
        if (!from_.read(at_, std::span{buffer_.data() + held_, part})) return false;
        at_ += part;
        held_ += part;
        return held_ >= bytes;
    }

    const ckpt::detail::file& from_;
    std::uint64_t at_{0};
    std::array<std::byte, 1 << 17> buffer_{};
    std::size_t used_{0}, held_{0};
};

/// Whether what comes next describes this tensor.
[[nodiscard]] bool is_described(header_reader& in, std::string_view key, const ckpt::tensor& tensor,
                                std::optional<std::uint32_t> type) {
    std::string name;
    std::uint32_t rank = 0, found = 0;
    std::uint64_t place = 0;
    if (!in.take(name) || name != key || !in.take(rank)) return false;
    std::vector<std::uint64_t> shape(tensor.shape().rbegin(), tensor.shape().rend());
    if (shape.empty()) shape.push_back(1);
    if (rank != shape.size()) return false;
    for (const std::uint64_t want : shape)
        if (std::uint64_t size = 0; !in.take(size) || size != want) return false;
    return in.take(found) && in.take(place) && found == type && place % 32 == 0;
}

} // namespace

ckpt::result<ckpt::gguf_options> gguf_options_of(const options& wanted) {
    ckpt::gguf_options out{.overwrite = wanted.force};
    if (wanted.gguf_meta) {
        const ckpt::json_file file = ckpt::open_json(*wanted.gguf_meta);
        auto metadata = ckpt::read_gguf_metadata(file.root());
        if (!metadata) {
            ckpt::error why = std::move(metadata).error();
            why.file = *wanted.gguf_meta; // not the checkpoint
            return why;
        }
        out.metadata = *std::move(metadata);
    }
    for (const options::cast_word& c : wanted.casts)
        out.quantise.push_back({ckpt::pattern::parse(c.pattern).value(), c.quant});
    return out;
}

std::vector<std::string> gguf_notes(const ckpt::gguf_options& chosen, const ckpt::state_dict& weights) {
    std::vector<std::string> out;
    if (std::ranges::none_of(chosen.metadata, [](const auto& e) { return e.key == "general.architecture"; }))
        out.emplace_back(
            "there is no general.architecture, without which llama.cpp loads no model: --gguf-meta gives it");
    const auto n =
        std::ranges::count_if(weights, [](const auto& e) { return e.key.size() == ckpt::detail::gguf::longest_name; });
    if (n > 0)
        out.push_back(counted(static_cast<std::size_t>(n), "name has", "names have") +
                      " 64 bytes, which GGUF allows and llama.cpp does not: it takes 63");
    return out;
}

ckpt::result<void> check_gguf(const ckpt::detail::file& written, const ckpt::written_file& planned,
                              const ckpt::state_dict& weights, const std::vector<ckpt::quantised_tensor>& quantised,
                              const std::vector<ckpt::left_out_tensor>& lost) {
    const auto wrong = [&](std::string_view what) { return differs_from_written(planned.path, what); };
    std::unordered_set<std::string_view> left_out;
    for (const ckpt::left_out_tensor& t : lost) left_out.insert(t.key);
    header_reader in{written};
    std::uint32_t magic = 0, version = 0;
    std::uint64_t tensors = 0, entries = 0;
    if (!in.take(magic) || !in.take(version) || !in.take(tensors) || !in.take(entries) || magic != 0x46554747 ||
        version != 3 || tensors != planned.tensors)
        return wrong("its head");
    for (; entries > 0; --entries)
        if (std::uint32_t type = 0;
            !in.skip_value(ckpt::gguf_type::string) || !in.take(type) || !in.skip_value(ckpt::gguf_type{type}))
            return wrong("its metadata");
    std::size_t next = 0; // of those that are quantised
    for (const auto entry : weights) {
        if (left_out.contains(entry.key)) continue;
        const bool is_quantised = next < quantised.size() && quantised[next].key == entry.key;
        const auto type = is_quantised ? ckpt::detail::gguf::type_of(quantised[next++].how)
                                       : ckpt::detail::gguf::type_of(entry.tensor.dtype());
        if (!is_described(in, entry.key, entry.tensor, type)) return wrong('"' + printable(entry.key) + '"');
    }
    return {};
}

} // namespace tool
