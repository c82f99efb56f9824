// ckpt/gpu/device_memory.hpp: what an upload holds on its devices, and for how long.
//
// SPDX-License-Identifier: MIT
// In:      a plan, a `device_api`, how many slots of pinned memory there are; memory of the caller's, where there is
//          any.
// Out:     streams, events, device memory and slots. The last owner waits for what was issued, then frees.
// Refuses: whatever the device refuses; memory of the caller's that is too small or not aligned.
//
// A slot is one piece of staging memory. It may be written again once the events behind its last copies have come.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/device_allocator.hpp>
#include <ckpt/gpu/device_api.hpp>
#include <ckpt/gpu/device_scope.hpp>
#include <ckpt/gpu/direct_read.hpp>
#include <ckpt/gpu/kept_rings.hpp>
#include <ckpt/gpu/own_thread.hpp>
#include <ckpt/gpu/pinned_ring.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/staging.hpp>
#include <ckpt/gpu/upload_types.hpp>
#include <ckpt/gpu/upload_watch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// How an upload is carried out.
struct engine_options {
    upload_source source{upload_source::buffered};
    unsigned readers{2}; ///< threads beside the one that issues; 0: that one reads, too
    unsigned slots{8};   ///< of the plan's `piece_bytes` each
    bool verify{false};
    progress_callback progress{};
    const direct_reader* past_host{};       ///< for gpu_direct
    std::span<const device_place> places{}; ///< one for each target, or none
    const device_allocator* allocator{};    ///< null: the device's runtime
    upload_watch* watch{};                  ///< of an upload in a thread of its own; null: of the caller's
};

/// What an upload holds on its devices. The last owner waits for what was issued, then frees.
template <device_api Api> class device_memory final : public counted {
  public:
    struct target {
        int device{};
        void* memory{}; ///< null where it needs none
        bool owned{};
        std::optional<std::uint32_t> origin{}; ///< the target that has the same tensors and that they are copied from
        bool is_origin{};                      ///< of another
        typename Api::stream caller{}; ///< the caller's: it had work on memory of the caller, and will use the tensors
        typename Api::stream stream{};
        bool has_stream{};
        typename Api::event done{};
        bool has_done{};
        bool busy{}; ///< something may have been issued that no one has waited for
        /// For what the device converts; not there for a target of which it converts nothing.
        void* scratch{}; ///< `scratch_blocks` blocks, and the parameters behind them
        typename Api::stream kernels{};
        bool has_kernels{};
        typename Api::event read[scratch_blocks]{}; ///< by block: behind the kernels that read it last
        std::uint32_t made_read{};                  ///< how many of these events there are
        std::uint32_t block{};                      ///< that the next piece is copied to
    };

    /// `kept`: null, or where the staging memory comes from and stays.
    device_memory(const Api& api, shared<upload_plan_data> plan, const shared<kept_rings<Api>>& kept)
        : api_{api}, plan_{std::move(plan)}, kept_{kept} {
        if (kept_) kept_->join();
    }
    ~device_memory() override {
        (void)later_.join();
        beside_caller(api_, plan_->targets, [this](bool ends) { free(ends); }, [] {});
    }
    void free(bool ends) {
        device_scope<Api> scope{api_, ends};
        (void)drain(scope);
        if (abandoned_) return;
        for (std::size_t i = 0; i < targets_.size(); ++i) {
            target& t = targets_[i];
            (void)scope.insist_on(t.device);
            if (t.owned) (void)release(t.memory, plan_->targets[i].bytes, t, t.caller);
            if (t.has_done) (void)api_.drop_event(t.done);
            while (t.made_read != 0) (void)api_.drop_event(t.read[--t.made_read]);
            if (t.has_kernels) (void)api_.drop_stream(t.kernels);
            if (t.has_stream) (void)api_.drop_stream(t.stream);
        }
    }

    [[nodiscard]] const Api& api() const noexcept { return api_; }
    [[nodiscard]] const upload_plan_data& plan() const noexcept { return *plan_; }
    [[nodiscard]] std::vector<target>& targets() noexcept { return targets_; }
    [[nodiscard]] const target& at(std::uint32_t i) const noexcept { return targets_[i]; }
    [[nodiscard]] std::byte* address(const placed_tensor& t) const noexcept {
        return static_cast<std::byte*>(targets_[t.target].memory) + t.offset;
    }
    /// The target that the tensors of this one come from: the first of a chain, which the host fills.
    [[nodiscard]] std::uint32_t first_of(std::uint32_t i) const noexcept {
        while (targets_[i].origin) i = *targets_[i].origin;
        return i;
    }
    [[nodiscard]] const std::optional<error>& failure() const noexcept { return failure_; }
    upload_report report{};

    /// Makes streams and slots. `streams`: of the caller's, one for each target, or none: the default ones.
    /// On failure the destructor undoes what was done.
    [[nodiscard]] result<void> prepare(device_scope<Api>& scope, const engine_options& options,
                                       std::span<const typename Api::stream> streams) {
        if (scope.failure() != 0) return api_.failure(device_call::current_device, scope.failure());
        if (options.allocator != nullptr) allocator_ = *options.allocator;
        targets_.resize(plan_->targets.size());
        for (std::uint32_t i = 0; i < targets_.size(); ++i) {
            if (!streams.empty()) targets_[i].caller = streams[i];
            if (auto ready = prepare_target(scope, i); !ready) return ready;
        }
        if constexpr (Api::is_host) return {};
        const std::size_t used = (std::min)(std::size_t{options.slots < 1 ? 1 : options.slots}, plan_->pieces.size());
        if (used == 0) return {};
        slots_.resize(used);
        for (slot& s : slots_) {
            s.events.resize(targets_.size());
            s.made.resize(targets_.size());
            s.pending.resize(targets_.size());
            for (std::uint32_t i = 0; i < targets_.size(); ++i) {
                if (const int code = scope.use(targets_[i].device); code != 0)
                    return api_.failure(device_call::use_device, code);
                if (const int code = api_.make_event(s.events[i]); code != 0)
                    return api_.failure(device_call::make_event, code);
                s.made[i] = true;
            }
        }
        return {};
    }
    /// Makes the memory of all targets, and what conversions need; readers may fill slots meanwhile. As `prepare` on
    /// failure.
    [[nodiscard]] result<void> make_memory(device_scope<Api>& scope, const engine_options& options) {
        for (std::uint32_t i = 0; i < targets_.size(); ++i) {
            target& t = targets_[i];
            const auto& wanted = plan_->targets[i];
            if (const int code = scope.use(t.device); code != 0) return api_.failure(device_call::use_device, code);
            if (auto made = make_memory(t, i, options); !made) return made;
            if (wanted.scratch != 0 && !t.origin)
                if (auto made = make_scratch(t, wanted.temporary()); !made) return made;
            if (auto behind = follow_caller(t); !behind) return behind;
        }
        return {};
    }
    /// Makes the ring that slots are cut from, or takes one that was kept.
    [[nodiscard]] result<void> make_ring() {
        if (kept_) {
            auto taken = kept_->take(slots_.size(), plan_->slot_bytes);
            if (!taken) return std::move(taken).failure();
            ring_ = *std::move(taken);
            report.reused_bytes = ring_.pinned_bytes();
        }
        return ring_.is_there() ? result<void>{} : ring_.make(slots_.size(), plan_->slot_bytes);
    }
    /// Pins it; slots may be filled meanwhile. False where the device cannot read such memory.
    [[nodiscard]] result<bool> pin_ring() {
        auto pinned = ring_.pin(api_);
        report.pinning = ring_.reason();
        report.pinned_bytes = ring_.pinned_bytes();
        return pinned;
    }
    struct slot {
        std::vector<typename Api::event> events{}; // by target, behind its last copy
        std::vector<bool> made{};
        std::vector<bool> pending{};
        const std::byte* data{}; // of the piece that it holds
        void* window{};          // a part of a mapping that is pinned for it
        std::uint64_t holds{};   // number of its piece, and 1
    };
    /// Moves it to memory of the runtime. Nobody may fill a slot meanwhile. `filled`: slots that may hold bytes of it.
    void move_ring(std::span<slot> filled) {
        const std::byte* const before = ring_.slot(0);
        ring_.move_to_runtime(api_);
        for (slot& s : filled)
            if (s.data != nullptr) s.data = ring_.slot(0) + (s.data - before);
        report.pinning = ring_.reason();
        report.pinned_bytes = ring_.pinned_bytes();
    }
    [[nodiscard]] std::vector<slot>& slots() noexcept { return slots_; }
    [[nodiscard]] std::byte* slot_memory(std::size_t i) const noexcept { return ring_.slot(i); }
    [[nodiscard]] bool has_ring() const noexcept { return ring_.is_there(); }

    /// Waits until a slot may be written again.
    [[nodiscard]] result<void> reclaim(slot& s) {
        for (std::uint32_t t = 0; t < s.pending.size(); ++t) {
            if (!s.pending[t]) continue;
            if (const int code = api_.wait_event(s.events[t]); code != 0)
                return api_.failure(device_call::wait_event, code);
            s.pending[t] = false;
        }
        return unpin(s);
    }
    [[nodiscard]] result<void> unpin(slot& s) {
        if (s.window == nullptr) return {};
        if (const int code = api_.unpin(std::exchange(s.window, nullptr)); code != 0)
            return api_.failure(device_call::unpin, code);
        return {};
    }

    /// Waits for everything that was issued, then frees what only the copies needed. Keeps the first failure.
    [[nodiscard]] result<void> wait() {
        if (!later_.join()) beside_caller(api_, plan_->targets, [this](bool ends) { finish(ends); }, [] {});
        later_.rethrow();
        if (late_) fail(*std::exchange(late_, std::nullopt));
        if (failure_) return *failure_;
        return {};
    }
    /// Does so meanwhile. Nobody needs to wait for that: what fails is for the next `wait`.
    void release_when_done() {
        (void)later_.start([this] { finish(true); });
    }
    void fail(const error& e) {
        if (!failure_) failure_ = e;
    }
    /// Waits and frees as `wait` does, which then says what failed. `ends`: as of `device_scope`.
    void finish(bool ends) {
        device_scope<Api> scope{api_, ends};
        if (scope.failure() != 0) late_ = api_.failure(device_call::current_device, scope.failure());
        if (auto done = drain(scope); !done && !late_) late_ = done.error();
    }

    /// Makes a stream of a target's device wait for what was issued for the target so far. By any thread, once the
    /// upload is prepared.
    [[nodiscard]] result<void> follow(typename Api::stream user, std::uint32_t number) {
        const target& t = targets_[number];
        std::optional<error> failed;
        const auto work = [&](bool ends) {
            device_scope<Api> scope{api_, ends};
            if (auto done = follow(scope, user, t); !done) failed = std::move(done).error();
        };
        beside_caller(api_, std::span{&t, 1}, work, [] {});
        if (failed) return *std::move(failed);
        return {};
    }

  private:
    [[nodiscard]] result<void> prepare_target(device_scope<Api>& scope, std::uint32_t i) {
        target& t = targets_[i];
        t.device = plan_->targets[i].device;
        if (const int code = scope.use(t.device); code != 0) return api_.failure(device_call::use_device, code);
        if (const int code = api_.make_stream(t.stream); code != 0) return api_.failure(device_call::make_stream, code);
        t.has_stream = true;
        if (const int code = api_.make_event(t.done); code != 0) return api_.failure(device_call::make_event, code);
        t.has_done = true;
        find_origin(i);
        return {};
    }
    /// Finds the nearest target before this one that has the same tensors, on a device whose memory the current one can
    /// read: so that each but the first is copied from its neighbour, and all links work at once.
    void find_origin(std::uint32_t i) {
        std::string reason;
        for (std::uint32_t o = i; o-- > 0;) {
            if (plan_->targets[o].alike != plan_->targets[i].alike || !can_copy(i, o, reason)) continue;
            targets_[i].origin = o;
            targets_[o].is_origin = true;
            return;
        }
        if (report.peers.empty()) report.peers = std::move(reason);
    }
    [[nodiscard]] bool can_copy(std::uint32_t to, std::uint32_t from, std::string& reason) {
        const int device = targets_[to].device, other = targets_[from].device;
        if (device == other) return true;
        bool can = false;
        device_call call = device_call::ask_peer;
        int code = api_.can_reach(can, device, other);
        if (code == 0 && can) {
            call = device_call::reach_peer;
            code = api_.reach(other);
            if (code == 0) return true;
        }
        if (code != 0) api_.forget();
        if (reason.empty())
            reason = str_cat("device ", device, " cannot read the memory of device ", other,
                             code != 0 ? ": " + api_.failure(call, code).detail : std::string());
        return false;
    }
    [[nodiscard]] result<void> follow(device_scope<Api>& scope, typename Api::stream user, const target& t) const {
        if (scope.failure() != 0) return api_.failure(device_call::current_device, scope.failure());
        if (const int code = scope.use(t.device); code != 0) return api_.failure(device_call::use_device, code);
        typename Api::event now{};
        if (const int code = api_.make_event(now); code != 0) return api_.failure(device_call::make_event, code);
        device_call call{};
        int code = 0;
        const auto order_behind = [&](typename Api::stream issued) {
            call = device_call::record;
            code = api_.record(now, issued);
            if (code != 0) return;
            call = device_call::order;
            code = api_.order(user, now);
        };
        order_behind(t.stream);
        if (code == 0 && t.has_kernels) order_behind(t.kernels);
        // The runtime keeps what the stream still waits for.
        const int dropped = api_.drop_event(now);
        if (code != 0) return api_.failure(call, code);
        if (dropped != 0) return api_.failure(device_call::drop_event, dropped);
        return {};
    }
    [[nodiscard]] result<void> allocate(void*& out, std::uint64_t bytes, const target& t) {
        std::size_t size = 0;
        if (!checked_narrow(bytes, size))
            return error{.code = errc::device_memory,
                         .detail = str_cat(bytes, " bytes are more than this program can address")};
        if (allocator_.allocate != nullptr) return ask_allocator(out, size, t);
        const int code = api_.allocate(out, size, t.stream);
        if (code == 0) return {};
        out = nullptr;
        error e = api_.failure(device_call::allocate, code);
        e.detail += str_cat("; ", bytes, " bytes were asked for on device ", t.device);
        return e;
    }
    [[nodiscard]] result<void> ask_allocator(void*& out, std::size_t bytes, const target& t) {
        out = allocator_.allocate(allocator_.context, bytes, t.device, api_.native(t.caller));
        const bool is_aligned = reinterpret_cast<std::uintptr_t>(out) % 256 == 0;
        if (out != nullptr && is_aligned) return {};
        if (void* const memory = std::exchange(out, nullptr); memory != nullptr)
            (void)release(memory, bytes, t, t.caller);
        return error{.code = is_aligned ? errc::device_memory : errc::misaligned,
                     .detail =
                         str_cat("the caller's allocator ", is_aligned ? "refused" : "gave no multiple of 256 for", " ",
                                 bytes, " bytes on device ", t.device),
                     .hint = is_aligned ? "upload fewer tensors, or convert them to a smaller type"
                                        : "each allocation begins at a multiple of 256"};
    }
    /// Gives back what `allocate` gave; in the order of `stream`, where the runtime has it.
    [[nodiscard]] int release(void* memory, std::uint64_t bytes, const target& t, typename Api::stream stream) {
        if (allocator_.release == nullptr) return api_.release(memory, stream);
        allocator_.release(allocator_.context, memory, static_cast<std::size_t>(bytes), t.device,
                           api_.native(t.caller));
        return 0;
    }
    [[nodiscard]] result<void> make_memory(target& t, std::uint32_t i, const engine_options& options) {
        const std::uint64_t bytes = plan_->targets[i].bytes;
        if (options.places.empty()) {
            if (bytes == 0) return {};
            if (auto made = allocate(t.memory, bytes, t); !made) return made;
            t.owned = true;
            // The caller's stream, in which it is freed, may know nothing of an allocation from the pool.
            t.busy = allocator_.allocate == nullptr;
            return {};
        }
        if (i >= options.places.size() || options.places[i].bytes < bytes)
            return error{.code = errc::device_memory,
                         .detail = str_cat("the plan needs ", bytes, " bytes for target ", i, ", the caller gave ",
                                           i < options.places.size() ? options.places[i].bytes : 0),
                         .hint = "upload_plan::device_bytes says how many"};
        if (reinterpret_cast<std::uintptr_t>(options.places[i].data) % 256 != 0)
            return error{.code = errc::misaligned,
                         .detail =
                             str_cat("the caller's memory for target ", i, " does not begin at a multiple of 256")};
        t.memory = options.places[i].data;
        return {};
    }
    /// What conversions need: two blocks, so that one is filled while kernels read the other, parameters behind them,
    /// and a stream for the kernels.
    [[nodiscard]] result<void> make_scratch(target& t, std::uint64_t bytes) {
        if (const int code = api_.make_stream(t.kernels); code != 0)
            return api_.failure(device_call::make_stream, code);
        t.has_kernels = true;
        for (typename Api::event& read : t.read) {
            if (const int code = api_.make_event(read); code != 0) return api_.failure(device_call::make_event, code);
            ++t.made_read;
        }
        return allocate(t.scratch, bytes, t);
    }
    /// Memory of the caller's or of the caller's allocator may be in use by work that the caller has issued: the copies
    /// run behind it.
    [[nodiscard]] result<void> follow_caller(const target& t) {
        if (t.memory == nullptr || (t.owned && allocator_.allocate == nullptr)) return {};
        if (const int code = api_.record(t.done, t.caller); code != 0) return api_.failure(device_call::record, code);
        if (const int code = api_.order(t.stream, t.done); code != 0) return api_.failure(device_call::order, code);
        return {};
    }
    /// Waits for all streams, whatever fails, then frees slots and scratch; nothing where the copies may go on, because
    /// the device works and cannot be waited for.
    result<void> drain(device_scope<Api>& scope) {
        std::optional<error> first;
        const auto keep = [&](device_call call, int code) {
            if (code != 0 && !first) first = api_.failure(call, code);
        };
        for (target& t : targets_) {
            if (!std::exchange(t.busy, false)) continue;
            keep(device_call::use_device, scope.insist_on(t.device));
            const auto wait_for = [&](typename Api::stream stream) {
                int last = 0;
                keep(device_call::synchronise, insist([&] { return api_.synchronise(stream); }, &last));
                abandoned_ =
                    abandoned_ || (last != 0 && api_.failure(device_call::synchronise, last).code != errc::device_lost);
            };
            wait_for(t.stream);
            if (t.has_kernels) wait_for(t.kernels);
        }
        if (abandoned_) {
            slots_.clear();
            ring_.abandon();
            (void)leave_ring(false);
            if (first) return *std::move(first);
            return {};
        }
        for (slot& s : slots_) {
            if (auto done = unpin(s); !done && !first) first = done.error();
            for (std::uint32_t t = 0; t < s.made.size(); ++t)
                if (s.made[t]) keep(device_call::drop_event, api_.drop_event(s.events[t]));
        }
        slots_.clear();
        const auto [call, code] = leave_ring(!first);
        keep(call, code);
        for (std::size_t i = 0; i < targets_.size(); ++i) {
            target& t = targets_[i];
            if (t.scratch == nullptr) continue;
            keep(device_call::use_device, scope.insist_on(t.device));
            keep(device_call::release,
                 release(std::exchange(t.scratch, nullptr), plan_->targets[i].temporary(), t, t.stream));
        }
        if (first) return *std::move(first);
        return {};
    }

    /// Leaves the ring to later uploads, if it is `sound` and pinned and somebody keeps such; else frees it.
    [[nodiscard]] std::pair<device_call, int> leave_ring(bool sound) {
        std::pair<device_call, int> out{};
        if (!kept_ || !sound || ring_.pinned_bytes() == 0) out = ring_.release(api_);
        const int device = ring_.is_there() ? targets_.front().device : 0;
        if (kept_) std::exchange(kept_, {})->leave(std::exchange(ring_, {}), device);
        return out;
    }

    const Api api_;
    shared<upload_plan_data> plan_;
    device_allocator allocator_{}; ///< the caller's; without functions: the device's runtime
    std::vector<target> targets_{};
    std::vector<slot> slots_{};
    pinned_ring<Api> ring_{};
    shared<kept_rings<Api>> kept_{}; ///< where the ring is left
    bool abandoned_{false};          ///< nothing is freed any more
    std::optional<error> failure_{}; ///< of `wait`: nothing is given out any more
    std::optional<error> late_{};    ///< of the thread below, until `wait` takes it
    later later_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
