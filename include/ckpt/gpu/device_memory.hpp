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
#include <ckpt/gpu/device_api.hpp>
#include <ckpt/gpu/direct_read.hpp>
#include <ckpt/gpu/own_thread.hpp>
#include <ckpt/gpu/pinned_ring.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/staging.hpp>
#include <ckpt/gpu/upload_types.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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
};

/// For cleaning up: what fails is done once more, because a call may only report what failed before it. The first
/// failure counts. `last`: that of the last call.
template <class F> [[nodiscard]] int insist(F&& call, int* last = nullptr) {
    const int code = call();
    const int again = code != 0 ? call() : 0;
    if (last != nullptr) *last = again;
    return code;
}

/// Makes the device that was current at the beginning current again at the end, and what the thread's calls may do to
/// captures of streams.
template <device_api Api> class device_scope {
  public:
    /// `ends`: the thread ends with it, so that nothing is made current again.
    explicit device_scope(const Api& api, bool ends = false)
        : api_{api}, ends_{ends}, failure_{insist([&] { return api.current_device(before_); })}, now_{before_} {}
    device_scope(const device_scope&) = delete;
    device_scope& operator=(const device_scope&) = delete;
    ~device_scope() {
        if (relaxed_) (void)insist([&] { return api_.capture(capture_); });
        if (ends_) return;
        if (now_ != before_ && insist([&] { return api_.use_device(before_); }) != 0) api_.forget();
    }
    [[nodiscard]] int failure() const noexcept { return failure_; }
    [[nodiscard]] int use(int device) {
        if (device != now_)
            if (const int code = api_.use_device(device); code != 0) return code;
        now_ = device;
        if (!relaxed_) relaxed_ = api_.capture(capture_) == 0;
        return 0;
    }
    [[nodiscard]] int insist_on(int device) {
        return insist([&] { return use(device); });
    }

  private:
    const Api& api_;
    bool ends_;
    int before_{0};
    int failure_;
    int now_;
    int capture_{Api::relaxed};
    bool relaxed_{false};
};

/// Runs `work(ends)`, which makes devices current, so that the calling thread's device stays as it is: in a thread of
/// its own, unless all of them are that device. `meanwhile` is then run by the calling thread.
template <device_api Api, class Work, class Meanwhile>
void beside_caller(const Api& api, const upload_plan_data& plan, Work work, Meanwhile meanwhile) {
    if constexpr (Api::is_host) return work(false);
    int current = 0;
    const bool known = api.current_device(current) == 0;
    if (!known) api.forget();
    const bool here =
        Api::own_streams || !known ||
        std::all_of(plan.targets.begin(), plan.targets.end(), [&](const auto& t) { return t.device == current; });
    if (here) return work(false);
    in_own_thread(work, meanwhile);
}

/// What an upload holds on its devices. The last owner waits for what was issued, then frees.
template <device_api Api> class device_memory final : public counted {
  public:
    struct target {
        int device{};
        void* memory{}; ///< null where it needs none
        bool owned{};
        typename Api::stream caller{}; ///< the caller's: it had work on memory of the caller, and will use the tensors
        typename Api::stream stream{};
        bool has_stream{};
        typename Api::event done{};
        bool has_done{};
        bool busy{}; ///< something may have been issued that no one has waited for
        /// For what the device converts; not there for a target of which it converts nothing.
        void* scratch{}; ///< `scratch_blocks` blocks
        typename Api::stream kernels{};
        bool has_kernels{};
        typename Api::event read[scratch_blocks]{}; ///< by block: behind the kernels that read it last
        std::uint32_t made_read{};                  ///< how many of these events there are
        std::uint32_t block{};                      ///< that the next piece is copied to
    };

    device_memory(const Api& api, shared<upload_plan_data> plan) : api_{api}, plan_{std::move(plan)} {}
    ~device_memory() override {
        (void)later_.join();
        beside_caller(api_, *plan_, [this](bool ends) { free(ends); }, [] {});
    }
    void free(bool ends) {
        device_scope<Api> scope{api_, ends};
        (void)drain(scope);
        if (abandoned_) return;
        for (target& t : targets_) {
            (void)scope.insist_on(t.device);
            if (t.owned && t.memory != nullptr) (void)api_.release(t.memory, t.caller);
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
    [[nodiscard]] const std::optional<error>& failure() const noexcept { return failure_; }
    upload_report report{};

    /// Makes streams, memory and slots. `streams`: of the caller's, one for each target, or none: the default ones.
    /// On failure the destructor undoes what was done.
    [[nodiscard]] result<void> prepare(device_scope<Api>& scope, const engine_options& options,
                                       std::span<const typename Api::stream> streams) {
        if (scope.failure() != 0) return api_.failure(device_call::current_device, scope.failure());
        targets_.resize(plan_->targets.size());
        for (std::uint32_t i = 0; i < targets_.size(); ++i) {
            target& t = targets_[i];
            const auto& wanted = plan_->targets[i];
            t.device = wanted.device;
            if (!streams.empty()) t.caller = streams[i];
            if (const int code = scope.use(t.device); code != 0) return api_.failure(device_call::use_device, code);
            if (const int code = api_.make_stream(t.stream); code != 0)
                return api_.failure(device_call::make_stream, code);
            t.has_stream = true;
            if (const int code = api_.make_event(t.done); code != 0) return api_.failure(device_call::make_event, code);
            t.has_done = true;
            if (auto made = make_memory(t, i, options); !made) return made;
            if (auto ordered = follow_caller(t); !ordered) return ordered;
            if (wanted.scratch != 0)
                if (auto made = make_scratch(t, wanted.scratch); !made) return made;
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
    /// Makes and pins the ring that slots are cut from.
    [[nodiscard]] result<void> pin_ring() {
        if (auto made = ring_.make(api_, slots_.size(), plan_->slot_bytes, report.pinning); !made) return made;
        report.pinned_bytes = ring_.pinned_bytes();
        return {};
    }

    struct slot {
        std::vector<typename Api::event> events{}; // by target, behind its last copy
        std::vector<bool> made{};
        std::vector<bool> pending{};
        const std::byte* data{}; // of the piece that it holds
        void* window{};          // a part of a mapping that is pinned for it
        std::uint64_t holds{};   // number of its piece, and 1
    };
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
        if (!later_.join()) beside_caller(api_, *plan_, [this](bool ends) { finish(ends); }, [] {});
        later_.rethrow();
        if (late_) fail(*std::exchange(late_, std::nullopt));
        if (failure_) return *failure_;
        return {};
    }
    /// Does so meanwhile. Nobody needs to wait for that: what fails is for the next `wait`.
    void release_when_done() {
        later_.start([this] { finish(true); });
    }
    void fail(const error& e) {
        if (!failure_) failure_ = e;
    }

  private:
    void finish(bool ends) {
        device_scope<Api> scope{api_, ends};
        if (scope.failure() != 0) late_ = api_.failure(device_call::current_device, scope.failure());
        if (auto done = drain(scope); !done && !late_) late_ = done.error();
    }
    [[nodiscard]] result<void> allocate(void*& out, std::uint64_t bytes, const target& t) {
        std::size_t size = 0;
        if (!checked_narrow(bytes, size))
            return error{.code = errc::device_memory,
                         .detail = str_cat(bytes, " bytes are more than this program can address")};
        const int code = api_.allocate(out, size, t.stream);
        if (code == 0) return {};
        out = nullptr;
        error e = api_.failure(device_call::allocate, code);
        e.detail += str_cat("; ", bytes, " bytes were asked for on device ", t.device);
        return e;
    }
    [[nodiscard]] result<void> make_memory(target& t, std::uint32_t i, const engine_options& options) {
        const std::uint64_t bytes = plan_->targets[i].bytes;
        if (options.places.empty()) {
            if (bytes == 0) return {};
            if (auto made = allocate(t.memory, bytes, t); !made) return made;
            t.owned = true;
            t.busy = true; // the caller's stream, in which it is freed, may know nothing of an allocation from the pool
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
    /// What conversions need: two blocks, so that one is filled while kernels read the other, and a stream for these.
    [[nodiscard]] result<void> make_scratch(target& t, std::uint64_t block) {
        if (const int code = api_.make_stream(t.kernels); code != 0)
            return api_.failure(device_call::make_stream, code);
        t.has_kernels = true;
        for (typename Api::event& read : t.read) {
            if (const int code = api_.make_event(read); code != 0) return api_.failure(device_call::make_event, code);
            ++t.made_read;
        }
        return allocate(t.scratch, scratch_blocks * block, t);
    }
    /// Memory of the caller's may be in use by work that the caller has issued: the copies run behind it.
    [[nodiscard]] result<void> follow_caller(const target& t) {
        if (t.owned || t.memory == nullptr) return {};
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
            if (first) return *std::move(first);
            return {};
        }
        for (slot& s : slots_) {
            if (auto done = unpin(s); !done && !first) first = done.error();
            for (std::uint32_t t = 0; t < s.made.size(); ++t)
                if (s.made[t]) keep(device_call::drop_event, api_.drop_event(s.events[t]));
        }
        slots_.clear();
        const auto [call, code] = ring_.release(api_);
        keep(call, code);
        for (target& t : targets_) {
            if (t.scratch == nullptr) continue;
            keep(device_call::use_device, scope.insist_on(t.device));
            keep(device_call::release, api_.release(std::exchange(t.scratch, nullptr), t.stream));
        }
        if (first) return *std::move(first);
        return {};
    }

    const Api api_;
    shared<upload_plan_data> plan_;
    std::vector<target> targets_{};
    std::vector<slot> slots_{};
    pinned_ring<Api> ring_{};
    bool abandoned_{false};          ///< nothing is freed any more
    std::optional<error> failure_{}; ///< of `wait`: nothing is given out any more
    std::optional<error> late_{};    ///< of the thread below, until `wait` takes it
    later later_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
