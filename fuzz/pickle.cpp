// fuzz/pickle.cpp: the pickle machine and the resolver on any bytes, under each policy.
//
// SPDX-License-Identifier: MIT
// Invariants: an error's place lies inside the input and its text is one bounded, printable line; errc::internal never;
// the same answer twice, and with every opcode carried out by itself; memory is at most 64 times the input and a
// mebibyte; every value that can be reached answers every question; a scan tells exactly the globals that the machine
// met.
#include "target.hpp"

#include <ckpt/pickle/machine.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/torch/policies.hpp>
#include <ckpt/torch/resolve.hpp>
#include <ckpt/torch/scan.hpp>
#include <ckpt/torch/tensor_maker.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using namespace ckpt::detail;
using fuzzing::require;

/// Storages "0" to "3" of 16 to 128 bytes, and what arrays bring.
class fake_storages final : public storage_source, public storage_maker {
  public:
    fake_storages() {
        for (std::size_t i = 0; i < 4; ++i)
            known_[i] = {std::span{zeros_}.first(std::size_t{16} << i), ckpt::byte_order::little, 0};
    }
    ckpt::errc find(std::string_view key, std::uint32_t& storage) override {
        if (key.size() != 1 || key[0] < '0' || key[0] > '3') return ckpt::errc::record_missing;
        storage = static_cast<std::uint32_t>(key[0] - '0');
        return ckpt::errc::none;
    }
    std::uint32_t add(std::span<const std::byte> bytes, ckpt::byte_order order, std::uint64_t offset) override {
        known_.push_back({bytes, order, offset});
        return static_cast<std::uint32_t>(known_.size() - 1);
    }
    [[nodiscard]] std::uint64_t nbytes(std::uint32_t s) const noexcept override { return known_[s].bytes.size(); }
    [[nodiscard]] ckpt::byte_order order(std::uint32_t s) const noexcept override { return known_[s].order; }
    [[nodiscard]] std::string_view key(std::uint32_t s) const noexcept override {
        return s < 4 ? std::string_view{"0123"}.substr(s, 1) : std::string_view{};
    }
    [[nodiscard]] ckpt::result<std::uint64_t> file_offset(std::uint32_t s) const override { return known_[s].offset; }
    [[nodiscard]] ckpt::result<std::span<const std::byte>> bytes(std::uint32_t s) const override {
        return known_[s].bytes;
    }
    [[nodiscard]] ckpt::result<void> read(std::uint32_t s, std::uint64_t offset,
                                          std::span<std::byte> out) const override {
        require(offset <= nbytes(s) && out.size() <= nbytes(s) - offset, "a read outside a storage");
        if (!out.empty()) std::memcpy(out.data(), known_[s].bytes.data() + offset, out.size());
        return {};
    }

  private:
    struct entry {
        std::span<const std::byte> bytes{};
        ckpt::byte_order order{};
        std::uint64_t offset{};
    };
    std::array<std::byte, 128> zeros_{};
    std::vector<entry> known_{4};
};

constexpr std::uint64_t base = 1000; // where the pickle lies in its file

struct outcome {
    ckpt::errc code{};
    fuzzing::digest seen{};
    friend bool operator==(const outcome&, const outcome&) = default;
};

using names = std::map<std::pair<std::string, std::string>, std::uint64_t>;

/// Fresh blocks cost more than small pickles do.
const shared<block_pool>& blocks() {
    static const shared<block_pool> pool = make_shared<block_pool>();
    return pool;
}

outcome read(std::span<const std::byte> bytes, const allowlist& allowed) {
    const ckpt::limits limits{};
    fake_storages storages;
    graph g{blocks()};
    g.pickle = bytes;
    g.base = base;
    g.record = "archive/data.pkl";
    g.storages = &storages;
    tensor_maker tensors{g, storages, limits};
    machine m{g, allowed, limits};
    if (!allowed.one_by_one) m.make_whole_calls(tensors);
    outcome out;
    const auto refused = [&](const ckpt::error& e) {
        out.code = e.code;
        fuzzing::check_error(e, base + bytes.size(), out.seen);
        return out;
    };
    const auto run = m.run();
    (void)m.path_here();
    require(m.end_offset() <= bytes.size(), "the machine left its pickle");
    if (!run) return refused(run.error());
    resolver meaning{g, storages, limits, allowed};
    meaning.count_made(tensors.made_bytes());
    const auto resolved = meaning.run();
    require(g.memory.total() <= 64 * bytes.size() + (1u << 20), "more memory than the input justifies");
    if (!resolved) return refused(resolved.error());
    fuzzing::check_graph(ckpt::detail::value_access::make(g, g.root), base + bytes.size(), out.seen);
    return out;
}

/// `refuses_file`: a name outside the policy refuses the pickle, not only its place.
template <class Policy> outcome read_twice(std::span<const std::byte> bytes, bool refuses_file) {
    allowlist allowed = allowlist_of<Policy>();
    allowed.refuses_file = refuses_file;
    const outcome once = read(bytes, allowed);
    require(once == read(bytes, allowed), "two answers to one input");
    allowed.one_by_one = true;
    require(once == read(bytes, allowed), "calls that are made at once tell something else");
    return once;
}

void compare_with_scan(std::span<const std::byte> bytes) {
    const allowlist everything = allowlist_of<ckpt::inspect_policy>(), judge = allowlist_of<ckpt::weights_policy>();
    const ckpt::limits limits{};
    graph g{blocks()};
    g.pickle = bytes;
    g.base = base;
    g.record = "archive/data.pkl";
    machine m{g, everything, limits};
    m.admit_class_ids(); // as the scan does, which does not know its container: a stream's ids may be called
    const bool all_read = !m.run() || m.end_offset() == bytes.size();
    names met;
    for (std::size_t i = 0; i < g.globals.size(); ++i)
        ++met[{std::string(g.globals[i].module), std::string(g.globals[i].name)}];
    global_scanner scanner{judge, limits};
    const auto damage = scanner.scan(bytes, base, "archive/data.pkl");
    fuzzing::digest ignored;
    if (damage) fuzzing::check_error(*damage, base + bytes.size(), ignored);
    bool alone = all_read; // no second pickle, and no bytes, in which there may be one
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
        const node& n = g.nodes[i];
        if (n.kind == node_kind::bytes || n.kind == node_kind::byte_array) alone = alone && n.a == 0;
    }
    names told;
    for (const ckpt::global_use& u : scanner.finish(std::nullopt)) {
        told[{u.module, u.name}] = u.count;
        for (const std::string_view maker : {"_load_from_bytes", "encode", "bytes", "bytearray", "_frombuffer"})
            alone = alone && u.name != maker;
        require(u.offset <= base + bytes.size(), "a global outside the file");
        require(u.path.size() <= 4096, "an endless path");
    }
    if (alone) require(told == met, "a scan that tells other globals than the machine met");
    for (const auto& [name, count] : met)
        require(told.count(name) != 0 && told[name] >= count, "a global that a scan missed");
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
    const outcome all = read_twice<ckpt::inspect_policy>(bytes, true);
    const outcome training = read_twice<ckpt::training_policy>(bytes, true);
    const outcome weights = read_twice<ckpt::weights_policy>(bytes, true);
    const outcome at_places = read_twice<ckpt::training_policy>(bytes, false);
    require(all.code != ckpt::errc::global_not_allowed, "a global that inspection refuses");
    // A narrower policy refuses more names, and builds the same of what it admits.
    if (training.code == ckpt::errc::none) require(all == training, "inspection reads what training reads otherwise");
    if (training.code == ckpt::errc::none) require(at_places == training, "a value is refused where no name is");
    if (weights.code == ckpt::errc::none)
        require(training.code == ckpt::errc::none, "training refuses what weights admits");
    compare_with_scan(bytes);
    return 0;
}
