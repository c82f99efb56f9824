// bench/simulated_link.hpp: devices that are nothing but the time that their links would take.
//
// SPDX-License-Identifier: MIT
// In:      how many devices, the bytes that each link moves in a second, the seconds that each copy costs beside its
//          bytes.
// Out:     a `device_api` whose copies end when such a link would have moved them; counts of what was asked of it.
// Refuses: copies from memory that is not pinned.
//
// A copy takes no time of the processor and moves no byte, as the processor moves none where a device fetches them
// itself. What a simulation leaves out is that such a device takes its share of the memory's bandwidth.
#pragma once

#include <ckpt/gpu/device_api.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace bench {

/// What the devices share. Outlives every upload to them.
class simulated_devices {
  public:
    using clock = std::chrono::steady_clock;
    struct queue {
        int device{};
        clock::time_point busy{}; // until then
    };
    struct mark {
        clock::time_point when{};
    };
    struct counts {
        std::uint64_t copies{};
        std::uint64_t bytes{};
        std::uint64_t pinned{}; // now
        std::uint64_t most_pinned{};
        clock::time_point ready{}; // when memory was first pinned
    };

    simulated_devices(double bytes_per_second, int devices = 1, double issue = 0)
        : rate_{bytes_per_second}, issue_{issue}, links_(static_cast<std::size_t>(devices)) {}

    [[nodiscard]] counts counted() const {
        const std::lock_guard lock{mutex_};
        return counts_;
    }

  private:
    friend class simulated_link;

    mutable std::mutex mutex_{};
    double rate_;
    double issue_;
    std::vector<clock::time_point> links_; // each is busy until then
    std::map<const std::byte*, std::size_t> pinned_{};
    counts counts_{};
    std::uintptr_t next_memory_{std::uintptr_t{1} << 40}; // addresses are all that there is of device memory
};

class simulated_link {
  public:
    static constexpr bool is_host = false;
    static constexpr bool own_streams = false;
    static constexpr int relaxed = 0;
    using clock = simulated_devices::clock;
    using stream = simulated_devices::queue*;
    using event = simulated_devices::mark*;

    explicit simulated_link(simulated_devices& of) noexcept : of_{&of} {}

    int current_device(int& device) const noexcept {
        device = current();
        return 0;
    }
    int use_device(int device) const noexcept {
        if (device < 0 || static_cast<std::size_t>(device) >= of_->links_.size()) return 1;
        current() = device;
        return 0;
    }
    int capture(int&) const noexcept { return 0; }
    int allocate(void*& out, std::size_t bytes, stream) const {
        const std::lock_guard lock{of_->mutex_};
        out = reinterpret_cast<void*>(of_->next_memory_);
        of_->next_memory_ += (bytes + 255) / 256 * 256;
        return 0;
    }
    int release(void*, stream) const noexcept { return 0; }
    int pin(void* memory, std::size_t bytes, bool) const {
        const std::lock_guard lock{of_->mutex_};
        of_->pinned_[static_cast<const std::byte*>(memory)] = bytes;
        auto& c = of_->counts_;
        if (c.most_pinned == 0) c.ready = clock::now();
        c.pinned += bytes;
        if (c.pinned > c.most_pinned) c.most_pinned = c.pinned;
        return 0;
    }
    int unpin(void* memory) const {
        const std::lock_guard lock{of_->mutex_};
        const auto at = of_->pinned_.find(static_cast<const std::byte*>(memory));
        if (at == of_->pinned_.end()) return 1;
        of_->counts_.pinned -= at->second;
        of_->pinned_.erase(at);
        return 0;
    }
    int allocate_pinned(void*&, std::size_t) const noexcept { return 1; }
    int release_pinned(void*) const noexcept { return 1; }
    void forget() const noexcept {}
    int make_stream(stream& out) const {
        out = new simulated_devices::queue{current(), {}};
        return 0;
    }
    int drop_stream(stream s) const {
        delete s;
        return 0;
    }
    int make_event(event& out) const {
        out = new simulated_devices::mark{};
        return 0;
    }
    int drop_event(event e) const {
        delete e;
        return 0;
    }
    int record(event e, stream s) const {
        const std::lock_guard lock{of_->mutex_};
        e->when = s->busy;
        return 0;
    }
    int order(stream s, event e) const {
        if (s == nullptr) return 0; // the default stream, which nobody uses
        const std::lock_guard lock{of_->mutex_};
        if (e->when > s->busy) s->busy = e->when;
        return 0;
    }
    int wait_event(event e) const { return wait_until(e->when); }
    int synchronise(stream s) const { return wait_until(s->busy); }
    int copy(std::span<const ckpt::device_copy> copies, stream s) const {
        const std::lock_guard lock{of_->mutex_};
        auto& link = of_->links_[static_cast<std::size_t>(s->device)];
        for (const ckpt::device_copy& c : copies) {
            auto in = of_->pinned_.upper_bound(static_cast<const std::byte*>(c.from));
            if (in == of_->pinned_.begin()) return 1;
            --in;
            if (static_cast<const std::byte*>(c.from) + c.bytes > in->first + in->second) return 1;
            clock::time_point begin = clock::now();
            for (const clock::time_point busy : {s->busy, link})
                if (busy > begin) begin = busy;
            const std::chrono::duration<double> takes{of_->issue_ + static_cast<double>(c.bytes) / of_->rate_};
            s->busy = link = begin + std::chrono::duration_cast<clock::duration>(takes);
            ++of_->counts_.copies;
            of_->counts_.bytes += c.bytes;
        }
        return 0;
    }
    int can_reach(bool& yes, int, int) const noexcept {
        yes = false;
        return 0;
    }
    int reach(int) const noexcept { return 1; }
    int copy_peer(std::span<const ckpt::device_copy>, int, int, stream) const noexcept { return 1; }
    void* native(stream) const noexcept { return nullptr; }
    [[nodiscard]] ckpt::error failure(ckpt::device_call, int) const {
        return {.code = ckpt::errc::internal, .detail = "the simulated device was asked for what it cannot do"};
    }

  private:
    static int& current() noexcept {
        thread_local int device = 0;
        return device;
    }
    int wait_until(const clock::time_point& at) const {
        clock::time_point end;
        {
            const std::lock_guard lock{of_->mutex_};
            end = at;
        }
        constexpr auto late = std::chrono::microseconds{100}; // sleeping may last so much longer than asked for
        if (end - clock::now() > late) std::this_thread::sleep_until(end - late);
        while (clock::now() < end) std::this_thread::yield();
        return 0;
    }

    simulated_devices* of_;
};

} // namespace bench
