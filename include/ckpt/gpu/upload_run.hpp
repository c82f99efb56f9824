// ckpt/gpu/upload_run.hpp: an upload in a thread of its own.
//
// SPDX-License-Identifier: MIT
// In:      a plan, a `device_api`, how it is carried out; streams that want single tensors of it early.
// Out:     each tensor as soon as its copies were issued; in the end what `run_upload` gives.
// Refuses: what an upload refuses; a null stream where each thread has one of its own; a system that starts no thread.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/gpu/device_allocator.hpp>
#include <ckpt/gpu/device_api.hpp>
#include <ckpt/gpu/device_memory.hpp>
#include <ckpt/gpu/engine.hpp>
#include <ckpt/gpu/own_thread.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/gpu/upload_types.hpp>
#include <ckpt/gpu/upload_watch.hpp>

#include <algorithm>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The last owner stops the upload, waits for its end, and frees what was not given out.
template <device_api Api> class upload_run final : public counted {
  public:
    using stream = typename Api::stream;
    using memory = shared<device_memory<Api>>;

    upload_run(const Api& api, const upload_plan& plan, const engine_options& options, std::span<const stream> streams,
               const shared<kept_rings<Api>>& kept)
        : plan_{upload_plan_access::data(plan)},
          memory_{detail::make_shared<device_memory<Api>>(api, plan_, kept)},
          options_{options},
          places_(options.places.begin(), options.places.end()),
          streams_(streams.begin(), streams.end()) {
        options_.places = places_;
        if (options.allocator != nullptr) options_.allocator = &allocator_.emplace(*options.allocator);
        options_.watch = &watch_;
    }
    ~upload_run() override {
        watch_.cancel();
        (void)thread_.join();
    }

    /// Begins the upload. `streams`: of the caller's, one for each target. `kept`: as of `device_memory`.
    [[nodiscard]] static result<shared<upload_run>> start(const Api& api, const upload_plan& plan,
                                                          const engine_options& options,
                                                          std::span<const stream> streams,
                                                          const shared<kept_rings<Api>>& kept = {}) {
        if constexpr (Api::own_streams)
            if (std::find(streams.begin(), streams.end(), stream{}) != streams.end())
                return error{.code = errc::device_failed,
                             .detail = "the null stream is another one in each thread, and an upload that is started "
                                       "has a thread of its own",
                             .hint = "give a stream for each target"};
        auto out = detail::make_shared<upload_run>(api, plan, options, streams, kept);
        if (!out->thread_.start([run = out.get()] { run->work(); }))
            return error{.code = errc::limit,
                         .detail = "the system starts no thread for the upload",
                         .hint = "upload() can do without"};
        return out;
    }

    [[nodiscard]] const upload_plan_data& plan() const noexcept { return *plan_; }
    void cancel() { watch_.cancel(); }
    [[nodiscard]] bool has_ended() { return watch_.has_ended(); }

    /// Blocks until the last piece of a tensor was issued, then makes a stream of its device wait for it.
    [[nodiscard]] result<memory> await(const placed_tensor& t, stream user) {
        if (!watch_.wait_for(t.pieces)) return failure();
        memory out;
        {
            const std::lock_guard lock{mutex_};
            out = memory_;
        }
        if (!out) return given_out();
        if (auto ordered = out->follow(user, t.target); !ordered) return std::move(ordered).failure();
        return out;
    }

    /// Waits for the end, and gives the result once.
    [[nodiscard]] result<memory> get() {
        (void)thread_.join();
        const std::lock_guard lock{mutex_};
        if (std::exchange(given_, true)) return given_out();
        thread_.rethrow();
        if (failure_) return *failure_;
        return std::exchange(memory_, memory{});
    }

  private:
    /// What was given out early may be in use when the upload fails: only slots and scratch go then.
    struct ending {
        upload_run& of;
        bool failed{true};
        ~ending() {
            if (failed) of.memory_->finish(true);
            of.watch_.end(failed);
        }
    };
    void work() {
        ending at_the_end{*this};
        if (auto done = carry_out(*memory_, options_, std::span<const stream>{streams_}, true); !done) {
            failure_ = std::move(done).error();
            return;
        }
        memory_->release_when_done();
        at_the_end.failed = false;
    }
    [[nodiscard]] error failure() const {
        if (failure_) return *failure_;
        return {.code = errc::cancelled, .detail = "the upload ended by an exception, which get() passes on"};
    }
    [[nodiscard]] static error given_out() {
        return {.code = errc::no_data,
                .detail = "get() has given out the result of this upload",
                .hint = "keep what the first call of get() returned"};
    }

    shared<upload_plan_data> plan_;
    memory memory_;
    engine_options options_;
    std::vector<device_place> places_;
    std::optional<device_allocator> allocator_{};
    std::vector<stream> streams_;
    upload_watch watch_{};
    std::optional<error> failure_{}; ///< written before the end
    std::mutex mutex_{};             // of what `get` takes
    bool given_{false};
    later thread_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
