// tests/gpu/cuda_memory.cpp: memory of the double, and the work that touches it: copies, fills, kernels.
//
// SPDX-License-Identifier: MIT
#include "cuda_model.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <numeric>

namespace cuda_double::detail {

namespace {

constexpr int garbage = 0xA5;
constexpr std::size_t page = 4096;
constexpr std::size_t gap = 64 << 10; ///< between allocations, so that what runs past the end hits nothing

std::uintptr_t number_of(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }
std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

std::string span_of(const void* p, std::size_t bytes) {
    char text[64];
    std::snprintf(text, sizeof text, "%zu bytes at %p", bytes, p);
    return text;
}

aligned_memory new_memory(std::size_t bytes) {
    const std::size_t room = round_up(std::max<std::size_t>(bytes, 1), page);
    auto* const p = static_cast<std::byte*>(std::aligned_alloc(page, room));
    if (p != nullptr) std::memset(p, garbage, room);
    return aligned_memory{p};
}

std::uint64_t hash_of(const void* p, std::size_t bytes) {
    constexpr std::uint64_t k = 0x9FB21C651E98DF25u;
    std::uint64_t lanes[4] = {1, 2, 3, 4};
    const auto* at = static_cast<const unsigned char*>(p);
    const auto mix = [&](std::uint64_t& lane, std::uint64_t word) {
        lane = (lane ^ word) * k;
        lane ^= lane >> 29;
    };
    for (; bytes >= 32; bytes -= 32, at += 32) {
        std::uint64_t words[4];
        std::memcpy(words, at, 32);
        for (int i = 0; i < 4; ++i) mix(lanes[i], words[i]);
    }
    for (std::size_t i = 0; i < bytes; ++i) mix(lanes[0], at[i]);
    std::uint64_t out = bytes;
    for (const std::uint64_t lane : lanes) mix(out, lane);
    return out;
}

/// Whether the host may read there: nobody can copy from pages that were unmapped meanwhile.
bool is_mapped(const void* p, std::size_t bytes) {
    static const auto page_bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::uintptr_t begin = number_of(p) / page_bytes * page_bytes;
    unsigned char resident[256];
    for (std::uintptr_t at = begin; at < number_of(p) + bytes; at += sizeof resident * page_bytes) {
        const std::size_t length = std::min<std::size_t>(sizeof resident * page_bytes, number_of(p) + bytes - at);
        if (mincore(reinterpret_cast<void*>(at), length, resident) != 0) return false;
    }
    return true;
}

struct mapping {
    bool is_mapped{false};       ///< all of it
    bool is_readable{true};      ///< all of it
    bool is_writable{true};      ///< all of it
    bool is_private_file{false}; ///< a part of it
};

mapping mapping_of(std::uintptr_t begin, std::size_t bytes) {
    mapping out;
    std::FILE* const maps = std::fopen("/proc/self/maps", "r");
    if (maps == nullptr) return {true, true, true, false};
    std::uintptr_t reached = begin;
    char line[512];
    while (std::fgets(line, sizeof line, maps) != nullptr) {
        unsigned long from = 0, to = 0, inode = 0;
        char rights[8] = {};
        if (std::sscanf(line, "%lx-%lx %7s %*x %*s %lu", &from, &to, rights, &inode) != 4) continue;
        if (to <= begin || from >= begin + bytes) continue;
        if (from <= reached) reached = std::max<std::uintptr_t>(reached, to);
        out.is_readable = out.is_readable && rights[0] == 'r';
        out.is_writable = out.is_writable && rights[1] == 'w';
        out.is_private_file = out.is_private_file || (rights[3] == 'p' && inode != 0);
    }
    std::fclose(maps);
    out.is_mapped = reached >= begin + bytes;
    return out;
}

/// Ends the body of a kernel that touched what it must not.
struct kernel_fault {};

} // namespace

class running_kernel final : public kernel {
  public:
    running_kernel(model& m, const work& w, dim3 g, dim3 b, std::size_t shared)
        : kernel{g, b, shared}, model_{m}, work_{w} {}
    ~running_kernel() = default;
    running_kernel(const running_kernel&) = delete;
    running_kernel& operator=(const running_kernel&) = delete;

  private:
    void* access(const void* device, std::size_t bytes, bool reads, bool writes) override {
        void* const p = model_.touch(work_, 0, device, bytes, reads, writes);
        if (p == nullptr && bytes != 0) throw kernel_fault{};
        return p;
    }

    model& model_;
    const work& work_;
};

// Addresses.

void model::reset_addresses() {
    if (addresses_ == nullptr) {
        for (std::size_t size = std::size_t{1} << 42; size >= std::size_t{1} << 36; size >>= 1) {
            void* const p = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (p == MAP_FAILED) continue;
            addresses_ = static_cast<std::byte*>(p);
            addresses_size_ = size;
            break;
        }
    }
    // Old addresses come again as late as possible, so that stale pointers are found out.
    if (next_address_ > addresses_size_ / 2) next_address_ = 0;
}

bool model::is_device_address(const void* p) const { return number_of(p) - number_of(addresses_) < addresses_size_; }

region* model::find(const void* p) {
    auto at = memory_.upper_bound(number_of(p));
    if (at == memory_.begin()) return nullptr;
    --at;
    return number_of(p) - at->second.begin < at->second.bytes ? &at->second : nullptr;
}

/// Says what is wrong with an address that `find` does not know.
void model::report_address(const void* p, const std::string& by) {
    auto at = memory_.upper_bound(number_of(p));
    const bool is_past =
        at != memory_.begin() && number_of(p) - std::prev(at)->second.begin - std::prev(at)->second.bytes < gap;
    char text[32];
    std::snprintf(text, sizeof text, "%p", p);
    report(is_past && is_device_address(p) ? kind::out_of_bounds : kind::bad_pointer,
           by + ": nothing is allocated at " + text);
}

// Allocations.

cudaError_t model::allocate(void** out, std::size_t bytes, int device, stream_state* stream) {
    *out = nullptr;
    if (bytes == 0) return cudaSuccess;
    const auto d = static_cast<std::size_t>(device);
    const auto fits = [&] { return bytes <= capacity[d] && total.device_bytes[d] <= capacity[d] - bytes; };
    if (!fits()) drain(device); // what waits to be given back
    if (!fits() || bytes > addresses_size_ - next_address_ - 2 * gap) return cudaErrorMemoryAllocation;
    aligned_memory shadow = new_memory(bytes);
    if (!shadow) return cudaErrorMemoryAllocation;
    *out = addresses_ + next_address_;
    next_address_ = round_up(next_address_ + bytes + gap, gap);
    region& r = memory_.try_emplace(number_of(*out), number_of(*out), bytes, device).first->second;
    r.memory = std::move(shadow);
    r.allocated.call = log.size();
    if (stream != nullptr) {
        r.from_pool = true;
        issue(*stream, false, {});
        r.allocated = {stream->id, 0, stream->issued, log.size()};
    }
    total.device_bytes[d] += bytes;
    total.peak_device_bytes[d] = std::max(total.peak_device_bytes[d], total.device_bytes[d]);
    return cudaSuccess;
}

void model::give_back(region& r) {
    r.freed = true;
    r.memory.reset();
    total.device_bytes[static_cast<std::size_t>(r.device)] -= r.bytes;
}

cudaError_t model::release(void* device) {
    if (device == nullptr) return cudaSuccess;
    region* const r = is_device_address(device) ? find(device) : nullptr;
    if (r == nullptr || r->begin != number_of(device)) {
        report(kind::bad_pointer, here() + " frees what is no allocation");
        return cudaErrorInvalidValue;
    }
    if (r->freed || r->giving_back) {
        report(kind::use_after_free,
               here() + " frees again " + std::to_string(r->bytes) + " bytes of " + tell(r->allocated));
        return cudaErrorInvalidValue;
    }
    drain(); // while the memory is there; kernels say only now what they touch
    if (!known_.covers(r->touched))
        report(kind::freed_in_use,
               here() + " frees memory of " + tell(r->allocated) + " before its work is known to be done");
    give_back(*r);
    return cudaSuccess;
}

cudaError_t model::release(void* device, stream_state& stream) {
    if (device == nullptr) return cudaSuccess;
    region* const r = is_device_address(device) ? find(device) : nullptr;
    if (r == nullptr || r->begin != number_of(device) || !r->from_pool) {
        report(kind::bad_pointer, here() + " frees what is no allocation of a pool");
        return cudaErrorInvalidValue;
    }
    if (r->freed || r->giving_back) {
        report(kind::use_after_free,
               here() + " frees again " + std::to_string(r->bytes) + " bytes of " + tell(r->allocated));
        return cudaErrorInvalidValue;
    }
    r->giving_back = true;
    issue(stream, false, [this, r](const work& w) {
        if (!is_ordered(r->allocated, w.at, *w.before))
            report(kind::unordered_allocation, tell(w.at) + " is not ordered after " + tell(r->allocated));
        if (const auto other = r->past.record(0, r->bytes, true, w.at, *w.before))
            report(kind::use_after_free, tell(*other) + " is not ordered before " + tell(w.at));
        give_back(*r);
    });
    return cudaSuccess;
}

void model::add_registered(std::size_t bytes) {
    total.registered_bytes += bytes;
    total.peak_registered_bytes = std::max(total.peak_registered_bytes, total.registered_bytes);
}

cudaError_t model::register_host(void* begin, std::size_t bytes, bool read_only) {
    if (begin == nullptr || bytes == 0) return cudaErrorInvalidValue;
    // Whole pages are pinned, so two registrations may not share one.
    const std::uintptr_t first = number_of(begin) / page * page, last = round_up(number_of(begin) + bytes, page);
    const auto after = memory_.lower_bound(last);
    if (after != memory_.begin() && std::prev(after)->second.begin + std::prev(after)->second.bytes > first)
        return cudaErrorHostMemoryAlreadyRegistered;
    const mapping pages = mapping_of(number_of(begin), bytes);
    if (!pages.is_mapped || !pages.is_readable || (!pages.is_writable && !read_only)) return cudaErrorInvalidValue;
    if (pages.is_private_file) report(kind::private_mapping, here() + " registers pages of a private mapping");
    region& r = memory_.try_emplace(number_of(begin), number_of(begin), bytes, thread().device).first->second;
    r.is_host = true;
    r.read_only = read_only;
    r.allocated.call = log.size();
    add_registered(bytes);
    return cudaSuccess;
}

cudaError_t model::allocate_host(void** out, std::size_t bytes) {
    *out = nullptr;
    if (bytes == 0) return cudaSuccess;
    aligned_memory memory = new_memory(bytes);
    if (!memory) return cudaErrorMemoryAllocation;
    *out = memory.get();
    region& r = memory_.try_emplace(number_of(*out), number_of(*out), bytes, thread().device).first->second;
    r.is_host = true;
    r.memory = std::move(memory);
    r.allocated.call = log.size();
    add_registered(bytes);
    return cudaSuccess;
}

cudaError_t model::release_host(void* begin, bool allocated) {
    if (begin == nullptr && allocated) return cudaSuccess;
    region* const r = is_device_address(begin) ? nullptr : find(begin);
    if (r == nullptr || r->begin != number_of(begin) || (r->memory != nullptr) != allocated) {
        report(kind::bad_pointer, here() + " gives back what it was not given");
        return allocated ? cudaErrorInvalidValue : cudaErrorHostMemoryNotRegistered;
    }
    if (!known_.covers(r->touched)) {
        report(kind::freed_in_use,
               here() + " gives back memory of " + tell(r->allocated) + " before its work is known to be done");
        drain(); // while the memory is there
    }
    total.registered_bytes -= r->bytes;
    memory_.erase(r->begin);
    return cudaSuccess;
}

// Work.

/// Finds the bytes for work that is being done, and records it. Nothing where it must not be done.
void* model::touch(const work& w, std::uint32_t part, const void* p, std::size_t bytes, bool reads, bool writes) {
    if (bytes == 0) return nullptr;
    region* const r = find(p);
    if (r == nullptr) {
        report_address(p, tell(w.at));
        return nullptr;
    }
    const std::size_t offset = number_of(p) - r->begin;
    if (bytes > r->bytes - offset) {
        report(kind::out_of_bounds, tell(w.at) + ": " + span_of(p, bytes) + " pass the end of " +
                                        std::to_string(r->bytes) + " bytes of " + tell(r->allocated));
        return nullptr;
    }
    if (r->freed) {
        report(kind::use_after_free, tell(w.at) + " works on freed memory of " + tell(r->allocated));
        return nullptr;
    }
    if (writes && r->read_only) {
        report(kind::read_only_memory,
               tell(w.at) + " writes to memory that " + tell(r->allocated) + " registered for reading");
        return nullptr;
    }
    if (!is_ordered(r->allocated, w.at, *w.before))
        report(kind::unordered_allocation, tell(w.at) + " is not ordered after " + tell(r->allocated));
    moment at = w.at;
    at.part = part;
    std::optional<moment> other;
    if (reads) other = r->past.record(offset, offset + bytes, false, at, *w.before);
    if (writes) {
        const auto second = r->past.record(offset, offset + bytes, true, at, *w.before);
        if (!other) other = second;
    }
    if (other)
        report(kind::race, tell(w.at) + (writes ? " writes " : " reads ") + span_of(p, bytes) +
                               "; nothing orders it and " + tell(*other));
    r->touched.raise(w.at.stream, w.at.number);
    return r->is_host ? reinterpret_cast<void*>(number_of(p)) : r->memory.get() + offset;
}

/// Whether the call that runs may work on device memory.
bool model::check_device(const void* p, std::size_t bytes) {
    if (!is_device_address(p)) {
        report(kind::bad_pointer, here() + " takes host memory for a device's");
        return false;
    }
    const region* const r = find(p);
    if (r == nullptr) {
        report_address(p, here());
        return false;
    }
    if (bytes > r->bytes - (number_of(p) - r->begin)) {
        report(kind::out_of_bounds, here() + ": " + span_of(p, bytes) + " pass the end of " + std::to_string(r->bytes) +
                                        " bytes of " + tell(r->allocated));
        return false;
    }
    if (r->freed) report(kind::use_after_free, here() + " works on freed memory of " + tell(r->allocated));
    return !r->freed;
}

/// Whether a copy may have this side, and what follows for it from its memory.
bool model::check(const void* p, std::size_t bytes, bool writes, bool is_host, copy_part& part, host_memory host) {
    if (!is_host) return check_device(p, bytes);
    if (p == nullptr || is_device_address(p)) {
        report(kind::bad_pointer, here() + " takes device memory for the host's");
        return false;
    }
    const region* const r = find(p);
    if (r == nullptr) {
        if (host == host_memory::must_be_registered && !part.reads_at_once)
            report(kind::pageable, here() + ": " + span_of(p, bytes) + " are not registered");
        (writes ? part.ends_at_once : part.reads_at_once) = true;
        return true;
    }
    if (bytes > r->bytes - (number_of(p) - r->begin)) {
        report(kind::out_of_bounds, here() + ": " + span_of(p, bytes) + " pass the end of " + std::to_string(r->bytes) +
                                        " registered bytes");
        return false;
    }
    if (writes && r->read_only)
        report(kind::read_only_memory, here() + " writes to memory that is registered for reading");
    return !writes || !r->read_only;
}

/// What a copy does during the call.
void model::prepare(copy_part& part, const stream_state& stream) {
    for (const void* p : {static_cast<const void*>(part.to), part.from}) {
        region* const r = find(p);
        if (r == nullptr) continue;
        if (p == part.to && r->is_host && with.how != mode::eager) {
            // Whoever reads the destination too early finds garbage, unless other work may still need it.
            bool is_free = true;
            for (stream_id s = 0; s < r->touched.streams(); ++s)
                is_free = is_free && streams_[s].done >= r->touched.of(s);
            if (is_free) std::memset(part.to, garbage, part.bytes);
        }
        if (p == part.to || !part.reads_at_once) r->touched.raise(stream.id, stream.issued + 1);
    }
    if (is_device_address(part.from)) return;
    const auto* const from = static_cast<const std::byte*>(part.from);
    if (part.reads_at_once) {
        part.kept.assign(from, from + part.bytes);
    } else if (with.how != mode::eager) {
        part.hash = hash_of(from, part.bytes);
        part.is_hashed = true;
    }
}

void model::run_copy(const work& w, copy_part& part, std::uint32_t number) {
    const bool from_device = is_device_address(part.from), to_device = is_device_address(part.to);
    const void* from = part.from;
    if (from_device || (!part.reads_at_once && find(from) != nullptr))
        from = touch(w, number, from, part.bytes, true, false);
    void* to = part.to;
    if (to_device || find(to) != nullptr) to = touch(w, number, to, part.bytes, false, true);
    if (from == nullptr || to == nullptr) return;
    if (part.reads_at_once) from = part.kept.data();
    if (part.is_hashed) {
        if (!is_mapped(from, part.bytes)) {
            report(kind::source_changed, tell(w.at) + ": its source is gone");
            return;
        }
        if (hash_of(from, part.bytes) != part.hash)
            report(kind::source_changed,
                   tell(w.at) + ": " + span_of(from, part.bytes) + " changed before they were copied");
    }
    std::memmove(to, from, part.bytes);
}

cudaError_t model::copy(stream_state& stream, std::vector<copy_part> parts, host_memory host) {
    std::erase_if(parts, [](const copy_part& part) { return part.bytes == 0; });
    bool ends_at_once = false;
    for (copy_part& part : parts) {
        const bool from_device = is_device_address(part.from), to_device = is_device_address(part.to);
        part.reads_at_once = part.reads_at_once && !from_device;
        if (part.direction == cudaMemcpyDefault)
            part.direction = from_device ? (to_device ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost)
                                         : (to_device ? cudaMemcpyHostToDevice : cudaMemcpyHostToHost);
        const bool from_host = part.direction == cudaMemcpyHostToDevice || part.direction == cudaMemcpyHostToHost;
        const bool to_host = part.direction == cudaMemcpyDeviceToHost || part.direction == cudaMemcpyHostToHost;
        const bool reads_well = check(part.from, part.bytes, false, from_host, part, host);
        if (!check(part.to, part.bytes, true, to_host, part, host) || !reads_well) return cudaErrorInvalidValue;
        ends_at_once = ends_at_once || part.ends_at_once;
        if (host == host_memory::must_be_registered && from_host != to_host &&
            find(from_host ? part.to : part.from)->device != stream.device)
            report(kind::wrong_device, here() + " copies memory of another device in " + tell(stream));
    }
    if (parts.empty()) return cudaSuccess;
    for (copy_part& part : parts) {
        prepare(part, stream);
        ++total.copies;
        total.copied_bytes += part.bytes;
    }
    issue(stream, true, [this, all = std::move(parts)](const work& w) mutable {
        std::vector<std::uint32_t> order(all.size());
        std::iota(order.begin(), order.end(), 0u);
        if (with.how == mode::lazy) std::reverse(order.begin(), order.end());
        if (with.how == mode::random)
            for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
        for (const std::uint32_t i : order) run_copy(w, all[i], i);
    });
    if (ends_at_once) synchronise(stream);
    return cudaSuccess;
}

cudaError_t model::set(stream_state& stream, void* device, int value, std::size_t bytes) {
    if (bytes == 0) return cudaSuccess;
    if (!check_device(device, bytes)) return cudaErrorInvalidValue;
    find(device)->touched.raise(stream.id, stream.issued + 1);
    issue(stream, true, [=, this](const work& w) {
        if (void* const p = touch(w, 0, device, bytes, false, true)) std::memset(p, value, bytes);
    });
    return cudaSuccess;
}

cudaError_t model::launch(stream_state& stream, const void* function, dim3 grid, dim3 block, void** arguments,
                          std::size_t shared) {
    const launcher* const found = kernel_table::get().find(function);
    if (found == nullptr) {
        const auto& names = kernel_table::get().names;
        const auto named = names.find(function);
        report(kind::unknown_kernel,
               here() + " launches " + (named != names.end() ? named->second : "a function without a name"));
        return cudaErrorInvalidDeviceFunction;
    }
    const auto within = [](const dim3& size, unsigned x, unsigned y, unsigned z) {
        return size.x - 1 < x && size.y - 1 < y && size.z - 1 < z;
    };
    if (!within(grid, 2147483647u, 65535, 65535) || !within(block, 1024, 1024, 64) ||
        std::uint64_t{block.x} * block.y * block.z > 1024 || shared > 48 << 10) {
        report(kind::bad_launch, here() + ": no device takes such a grid, block or shared memory");
        return cudaErrorInvalidConfiguration;
    }
    ++total.kernels;
    issue(stream, true, [=, this, body = (*found)(arguments)](const work& w) {
        running_kernel k{*this, w, grid, block, shared};
        try {
            body(k);
        } catch (const kernel_fault&) {
            break_device(streams_[w.at.stream].device, cudaErrorIllegalAddress);
        }
    });
    return cudaSuccess;
}

// What tests and GPUDirect Storage do.

std::vector<std::byte> model::read(const void* device, std::size_t bytes) {
    drain();
    if (bytes == 0) return {};
    region* const r = find(device);
    if (!is_device_address(device) || r == nullptr || r->freed || bytes > r->bytes - (number_of(device) - r->begin)) {
        report(kind::bad_pointer, "a test reads " + span_of(device, bytes) + ", which are not allocated");
        return {};
    }
    const std::size_t offset = number_of(device) - r->begin;
    if (const auto other = r->past.unknown_write(offset, offset + bytes, known_))
        report(kind::unfinished_read, "a test reads what " + tell(*other) + " writes and is not known to have done");
    return {r->memory.get() + offset, r->memory.get() + offset + bytes};
}

void* model::write_directly(void* device, std::size_t bytes) {
    drain();
    stream_state& storage = streams_.front();
    const work w{{storage.id, 0, ++storage.issued, log.size()}, std::make_shared<const clock>(known_), {}};
    storage.done = storage.issued;
    void* const p = is_device_address(device) ? touch(w, 0, device, bytes, false, true) : nullptr;
    know(storage, storage.issued, known_);
    return p;
}

} // namespace cuda_double::detail
