// ckpt/gpu/engine.hpp: carries out an upload plan on a device.
//
// SPDX-License-Identifier: MIT
// In:      a plan, a `device_api`, how many threads read, how many slots of pinned memory there are.
// Out:     device memory that holds every tensor of the plan, an event behind the last copy, a report.
// Refuses: whatever fails, first failure first: then nothing is handed out, and nothing is freed before what was issued
//          has ended.
//
//   readers ─fill─▶ slot 0..n-1 (pinned, reused) ─issue, in order, one thread─▶ one stream for each device
//   ──event──▶ slot free; next device, if it gets the same bytes
//   what the device converts: slot ─▶ block 0, 1 of scratch memory, in turn ──event──▶ kernels, on a stream of their
//   own ──event──▶ block free; scales and zero points of channels: slot ─▶ behind the blocks, in a piece before
//
// A reader that wants a slot waits for the event behind its last copy. On a host device there are no slots: readers
// write straight into its memory.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/device_api.hpp>
#include <ckpt/gpu/device_memory.hpp>
#include <ckpt/gpu/device_scope.hpp>
#include <ckpt/gpu/direct_read.hpp>
#include <ckpt/gpu/kept_rings.hpp>
#include <ckpt/gpu/own_thread.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/staging.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/gpu/upload_types.hpp>
#include <ckpt/gpu/upload_watch.hpp>
#include <ckpt/io/pages.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The cores that this process may use; 0 where the system does not say.
[[nodiscard]] inline unsigned usable_cores() noexcept { return std::thread::hardware_concurrency(); }

/// One for each core. Eight fill the memory's bandwidth.
[[nodiscard]] inline unsigned useful_readers() noexcept { return (std::min)(8u, usable_cores()); }

/// Carries out one plan once.
template <device_api Api> class upload_engine {
  public:
    upload_engine(device_memory<Api>& memory, const engine_options& options)
        : memory_{memory},
          plan_{memory.plan()},
          api_{memory.api()},
          options_{options},
          stager_{plan_, options.source, options.verify} {}
    upload_engine(const upload_engine&) = delete;
    upload_engine& operator=(const upload_engine&) = delete;
    ~upload_engine() {
        for (const std::uint32_t t : registered_) {
            device_scope<Api> here{api_};
            (void)here.use(memory_.at(t).device);
            options_.past_host->drop_memory(options_.past_host->context, memory_.at(t).memory);
        }
        for (const auto& [in, handle] : handles_) options_.past_host->close(handle);
    }

    [[nodiscard]] result<void> run(device_scope<Api>& scope) {
        for (const upload_piece& p : plan_.pieces) total_ += p.bytes;
        if (auto ready = prepare(scope); !ready) return ready;
        if (auto done = move_pieces(scope); !done) return done;
        const auto compared = stager_.verified();
        if (!compared) return compared.error();
        upload_report& r = memory_.report;
        r.bytes = total_;
        r.source = options_.source;
        r.readers = options_.readers;
        r.slots = memory_.slots().size();
        if (options_.verify) {
            r.verified = *compared;
            r.unverified = plan_.unchecked + plan_.checksums.size() - r.verified;
        }
        const auto bypasses = [this](const upload_piece& p) { return target_past_host(p).has_value(); };
        if (past_host_ && reason_.empty() && options_.past_host->detour != nullptr &&
            std::any_of(plan_.pieces.begin(), plan_.pieces.end(), bypasses))
            reason_ = options_.past_host->detour(options_.past_host->context);
        r.fallback = reason_.empty() ? stager_.fallback() : reason_;
        return {};
    }

  private:
    using slot = typename device_memory<Api>::slot;

    [[nodiscard]] result<void> prepare(device_scope<Api>& scope) {
        if constexpr (Api::is_host) {
            if (options_.source == upload_source::mapped || options_.source == upload_source::gpu_direct)
                reason_ = "the host reads straight into its own memory";
            return make_memory(scope);
        } else {
            mapped_ = options_.source == upload_source::mapped;
            past_host_ = options_.source == upload_source::gpu_direct;
            if (mapped_) find_shared_pages();
            if (past_host_) open_past_host();
            if (past_host_) return prepare_past_host(scope);
            return mapped_ || memory_.slots().empty() ? result<void>{} : memory_.make_ring();
        }
    }
    /// Makes the memory of the targets: before anything is read where that goes straight there, else beside the first
    /// reads.
    [[nodiscard]] result<void> make_memory(device_scope<Api>& scope) {
        if (auto made = memory_.make_memory(scope, options_); !made) return made;
        has_memory_ = true;
        if (options_.watch == nullptr || options_.watch->prepared()) return {};
        return error{.code = errc::cancelled, .detail = "cancel() said so before anything was copied"};
    }
    /// Memory of cudaMallocAsync is there once its stream has reached the allocation, and memory of the caller's is
    /// free once the caller's work is done: a direct_reader, which knows no stream, has to wait for that.
    [[nodiscard]] result<void> prepare_past_host(device_scope<Api>& scope) {
        if (auto made = make_memory(scope); !made) return made;
        for (auto& target : memory_.targets())
            if (const int code = api_.synchronise(target.stream); code != 0)
                return api_.failure(device_call::synchronise, code);
        add_memory(scope);
        return {};
    }
    /// Pages cannot be pinned twice, and with an order of the caller's any two pieces may have one in common.
    void find_shared_pages() {
        struct piece_pages {
            std::uintptr_t in;
            std::uint64_t begin, end;
            std::uint32_t piece;
        };
        std::vector<piece_pages> all;
        for (std::uint32_t p = 0; p < plan_.pieces.size(); ++p) {
            const upload_piece& piece = plan_.pieces[p];
            if (piece.run == no_run || plan_.runs[piece.run].in == nullptr) continue;
            all.push_back({reinterpret_cast<std::uintptr_t>(plan_.runs[piece.run].in), piece.begin / page_bytes,
                           (piece.begin + piece.bytes - 1) / page_bytes + 1, p});
        }
        sort_unsorted(all, [](const piece_pages& a, const piece_pages& b) {
            return a.in != b.in ? a.in < b.in : a.begin < b.begin;
        });
        shares_page_.resize(plan_.pieces.size());
        std::uint64_t reach = 0; // where the pages of the file's pieces before this one end
        for (std::size_t i = 0; i < all.size(); ++i) {
            if (i == 0 || all[i].in != all[i - 1].in) reach = 0;
            const bool with_next = i + 1 < all.size() && all[i + 1].in == all[i].in && all[i + 1].begin < all[i].end;
            shares_page_[all[i].piece] = with_next || all[i].begin < reach;
            reach = (std::max)(reach, all[i].end);
        }
    }
    void open_past_host() {
        if (options_.past_host == nullptr) reason_ = "no direct_reader was given";
        else if (options_.verify) reason_ = "checksums can only be compared of what the host reads";
        for (const byte_run& run : plan_.runs) {
            const bool known = run.in == nullptr || std::any_of(handles_.begin(), handles_.end(),
                                                                [&](const auto& h) { return h.first == run.in; });
            if (known || !reason_.empty()) continue;
            if constexpr (std::is_same_v<file_system::handle, int>) {
                if (void* const handle =
                        options_.past_host->open(options_.past_host->context, run.in->handle(), reason_);
                    handle != nullptr)
                    handles_.emplace_back(run.in, handle);
                else if (reason_.empty()) reason_ = "the file was refused";
            } else {
                reason_ = "descriptors are POSIX's";
            }
        }
        past_host_ = reason_.empty();
    }

    /// Registers the memory that is read to past the host. What is refused is read to all the same.
    void add_memory(device_scope<Api>& scope) {
        if (options_.past_host->add_memory == nullptr) return;
        std::vector<bool> used(memory_.targets().size());
        for (const upload_piece& piece : plan_.pieces)
            if (const std::optional<std::uint32_t> t = target_past_host(piece)) used[*t] = true;
        registered_.reserve(used.size());
        for (std::uint32_t t = 0; t < used.size(); ++t)
            if (used[t] && scope.use(memory_.at(t).device) == 0 &&
                options_.past_host->add_memory(options_.past_host->context, memory_.at(t).memory,
                                               plan_.targets[t].bytes))
                registered_.push_back(t);
    }

    // ---- the threads

    /// What a thread that fills pieces has of its own.
    struct reader_room {
        pages block{}; // for direct reads to the host, and for what is moved
        staged_reads reads;
        storage_readers leaves{}; // what it reads of storages to build from them

        explicit reader_room(stager& of) noexcept : reads{of} { leaves.files = &reads; }
        [[nodiscard]] bool make_block(std::uint64_t bytes) {
            if (block.bytes().empty()) block = pages{static_cast<std::size_t>(bytes)};
            return !block.bytes().empty();
        }
    };

    struct reader_threads {
        upload_engine& of;
        std::vector<std::thread> threads{};
        ~reader_threads() {
            of.stop();
            for (std::thread& t : threads) t.join();
        }
    };

    [[nodiscard]] result<void> move_pieces(device_scope<Api>& scope) {
        reader_threads readers{*this};
        reader_room room{stager_};
        const std::size_t wanted = (std::min)(std::size_t{options_.readers}, plan_.pieces.size());
        const bool has_ring = memory_.has_ring(); // else it is made when a piece needs it
        readers.threads.reserve(wanted);
#if CKPT_EXCEPTIONS
        try {
            for (std::size_t i = 0; i < wanted; ++i) readers.threads.emplace_back([this] { read_pieces(); });
        } catch (const std::system_error&) { // the system starts no more of them: fewer read, or this one
        }
#else
        for (std::size_t i = 0; i < wanted; ++i) readers.threads.emplace_back([this] { read_pieces(); });
#endif
        auto made = has_memory_ ? result<void>{} : make_memory(scope);
        if (!made) fail(std::move(made).error());
        else if (has_ring) pin_ring();
        std::uint64_t done = 0;
        for (std::uint32_t p = 0; p < plan_.pieces.size(); ++p) {
            if (readers.threads.empty()) take(p, room);
            {
                std::unique_lock lock{mutex_};
                filled_.wait(lock, [&] { return stopped_ || is_filled(p); });
                if (stopped_) break;
            }
            if (auto sent = issue(scope, p); !sent) {
                fail(std::move(sent).error());
                break;
            }
            done += plan_.pieces[p].bytes;
            const bool wanted_on = options_.watch == nullptr || options_.watch->issued(p + 1);
            const bool go_on = options_.progress({done, total_});
            const std::lock_guard lock{mutex_};
            if (!(go_on && wanted_on) && !failure_)
                failure_ = error{.code = errc::cancelled,
                                 .detail = str_cat(go_on ? "cancel()" : "the progress callback", " said so after ",
                                                   done, " of ", total_, " bytes")};
            issued_ = p + std::uint64_t{1};
            stopped_ = stopped_ || failure_;
            freed_.notify_all();
            if (stopped_) break;
        }
        stop();
        finish(room);
        for (std::thread& t : readers.threads) t.join();
        readers.threads.clear();
#if CKPT_EXCEPTIONS
        if (thrown_) std::rethrow_exception(thrown_);
#endif
        if (failure_) return *std::move(failure_);
        return {};
    }
    /// Readers fill its slots meanwhile.
    void pin_ring() {
        if constexpr (!Api::is_host) {
            auto pinned = memory_.pin_ring();
            if (!pinned) return fail(std::move(pinned).error());
            if (*pinned) return;
            const std::lock_guard alone{filling_};
            memory_.move_ring(memory_.slots());
        }
    }
    void stop() {
        const std::lock_guard lock{mutex_};
        stopped_ = true;
        freed_.notify_all();
        filled_.notify_all();
    }
    void fail(error e) {
        const std::lock_guard lock{mutex_};
        if (!failure_) failure_ = std::move(e);
        stopped_ = true;
        freed_.notify_all();
        filled_.notify_all();
    }
    [[nodiscard]] bool is_filled(std::uint32_t p) const {
        if constexpr (Api::is_host) return host_filled_ > p;
        else return memory_.slots()[p % memory_.slots().size()].holds == p + std::uint64_t{1};
    }

    void read_pieces() {
        // A new thread has device 0. What it pins would be made for that one, even in an upload to device 1 alone.
        if constexpr (!Api::is_host) {
            if (const int code = api_.use_device(memory_.at(0).device); code != 0)
                return fail(api_.failure(device_call::use_device, code));
            int relaxed = Api::relaxed;
            (void)api_.capture(relaxed);
        }
        reader_room room{stager_};
        for (;;) {
            std::uint32_t p = 0;
            {
                const std::lock_guard lock{mutex_};
                if (stopped_ || next_ == plan_.pieces.size()) break;
                p = next_++;
            }
            take(p, room);
        }
        finish(room);
    }
    /// Compares what a thread read of compressed storages with their checksums.
    void finish(reader_room& room) {
        {
            const std::lock_guard lock{mutex_};
            if (failure_) return;
        }
        if (auto checked = room.leaves.finish(); !checked) fail(std::move(checked).error());
    }
    /// Fills one piece, whatever happens.
    void take(std::uint32_t p, reader_room& room) {
#if CKPT_EXCEPTIONS
        try {
#endif
            auto done = fill(p, room);
            if (!done) return fail(placed(std::move(done).error(), p));
#if CKPT_EXCEPTIONS
        } catch (...) {
            const std::lock_guard lock{mutex_};
            thrown_ = std::current_exception();
            stopped_ = true;
            freed_.notify_all();
            filled_.notify_all();
            return;
        }
#endif
    }
    /// A device's error says which bytes of the file it was about.
    [[nodiscard]] error placed(error e, std::uint32_t p) const {
        const upload_piece& piece = plan_.pieces[p];
        if (e.offset != no_offset || piece.run == no_run || plan_.runs[piece.run].in == nullptr) return e;
        e.offset = piece.begin;
        e.file = plan_.runs[piece.run].file_name;
        return e;
    }

    [[nodiscard]] result<void> fill(std::uint32_t p, reader_room& room) {
        if constexpr (Api::is_host) return fill_host(p, room);
        else return fill_slot(p, room);
    }

    [[nodiscard]] error no_room() const {
        return {.code = errc::limit,
                .detail = str_cat("the system has no ", plan_.slot_bytes, " bytes of memory for staging"),
                .hint = "ask for smaller pieces"};
    }

    // ---- to a device

    [[nodiscard]] result<void> fill_slot(std::uint32_t p, reader_room& own) {
        const std::size_t number = p % memory_.slots().size();
        slot& s = memory_.slots()[number];
        {
            std::unique_lock lock{mutex_};
            freed_.wait(lock, [&] { return stopped_ || issued_ + memory_.slots().size() > p; });
            if (stopped_) return {};
        }
        if (auto free = memory_.reclaim(s); !free) return free;
        if (auto done = bring(p, number, s, own); !done) return done;
        const std::lock_guard lock{mutex_};
        s.holds = p + std::uint64_t{1};
        filled_.notify_all();
        return {};
    }
    /// Reads a piece to where it is copied from: to the device, nowhere, or to its slot.
    [[nodiscard]] result<void> bring(std::uint32_t p, std::size_t number, slot& s, reader_room& own) {
        const std::shared_lock filling{filling_};
        s.data = nullptr;
        if (read_past_host(p) || map_window(p, s)) return {};
        if (auto ring = need_ring(); !ring) return ring;
        const upload_piece& piece = plan_.pieces[p];
        std::byte* const room = memory_.slot_memory(number);
        if (piece.apart && !own.make_block(plan_.slot_bytes)) return no_room();
        if (auto done = stager_.fill(p, room, own.block.bytes().data(), own.leaves); !done) return done;
        s.data = room + plan_.slot_lead(piece);
        return {};
    }
    /// Makes the ring, unless it is there. Where pieces are copied from windows of a mapping, it is needed only when a
    /// window cannot be pinned.
    [[nodiscard]] result<void> need_ring() {
        const std::lock_guard lock{ring_mutex_};
        if (memory_.has_ring()) return {};
        if (auto made = memory_.make_ring(); !made) return made;
        const auto pinned = memory_.pin_ring();
        if (!pinned) return pinned.error();
        if (!*pinned) memory_.move_ring({}); // nobody knows it yet
        return {};
    }

    /// Pins the pages of a piece where its file is mapped. What shares a page with another piece is copied instead.
    [[nodiscard]] bool map_window(std::uint32_t p, slot& s) {
        const upload_piece& piece = plan_.pieces[p];
        if (!mapped_ || piece.run == no_run || piece.moves != 0 || plan_.runs[piece.run].in == nullptr) return false;
        const auto bytes = plan_.runs[piece.run].from->mapped_part(piece.begin, piece.begin + piece.bytes);
        if (bytes.empty()) {
            const std::lock_guard lock{ring_mutex_};
            if (reason_.empty()) reason_ = "the file is not mapped";
            return false;
        }
        const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
        const std::uintptr_t first = address / page_bytes * page_bytes;
        const std::uintptr_t last = (address + bytes.size() + page_bytes - 1) / page_bytes * page_bytes;
        if (shares_page_[p]) return false;
        // Reads one byte of each page, so that the readers' threads take the page faults and not the thread that pins.
        volatile std::byte touched{};
        for (std::size_t at = 0; at < bytes.size(); at += page_bytes) touched = bytes[at];
        (void)touched;
        void* const window = const_cast<std::byte*>(bytes.data() - (address - first));
        if (const int code = api_.pin(window, static_cast<std::size_t>(last - first), true); code != 0) {
            const std::lock_guard lock{ring_mutex_};
            if (reason_.empty())
                reason_ = str_cat("pinning a part of the mapping: ", api_.failure(device_call::pin, code).detail);
            api_.forget();
            return false;
        }
        s.window = window;
        s.data = bytes.data();
        stager_.checked(p, piece.begin, bytes);
        return true;
    }

    /// Large pieces that go to one device as they are, in a few large parts, may bypass the host, also where other
    /// devices copy them from that one: to that target.
    [[nodiscard]] std::optional<std::uint32_t> target_past_host(const upload_piece& piece) const {
        constexpr std::uint64_t worthwhile = std::uint64_t{1} << 18; // of each part, on average
        if (piece.run == no_run || plan_.runs[piece.run].in == nullptr || piece.bytes < paged_bytes ||
            piece.moves != 0 || piece.casts != 0 || piece.copies == 0)
            return std::nullopt;
        const auto copies = plan_.copies_of(piece);
        const std::uint32_t one = memory_.first_of(copies.front().target);
        if (std::any_of(copies.begin(), copies.end(),
                        [&](const staged_copy& c) { return memory_.first_of(c.target) != one; }))
            return std::nullopt;
        const auto own =
            std::count_if(copies.begin(), copies.end(), [&](const staged_copy& c) { return c.target == one; });
        if (piece.bytes / static_cast<std::uint64_t>(own) < worthwhile) return std::nullopt;
        return one;
    }
    [[nodiscard]] bool read_past_host(std::uint32_t p) {
        if (!past_host_) return false;
        const upload_piece& piece = plan_.pieces[p];
        const std::optional<std::uint32_t> target = target_past_host(piece);
        if (!target) return false;
        const std::uint32_t one = *target;
        device_scope<Api> here{api_}; // the library may ask which device this thread has
        if (here.failure() != 0 || here.use(memory_.at(one).device) != 0) return false;
        const auto handle = std::find_if(handles_.begin(), handles_.end(),
                                         [&](const auto& h) { return h.first == plan_.runs[piece.run].in; });
        for (const staged_copy& c : plan_.copies_of(piece)) {
            if (c.target != one) continue;
            const std::uint64_t from = piece.begin + c.from;
            const std::int64_t got =
                options_.past_host->read(handle->second, memory_.at(one).memory, c.bytes, from, c.to);
            if (got >= 0 && static_cast<std::uint64_t>(got) == c.bytes) continue;
            const std::lock_guard lock{ring_mutex_};
            if (reason_.empty())
                reason_ = str_cat("a read past the host gave ", got, " instead of ", c.bytes, " bytes at ", from);
            return false;
        }
        return true;
    }

    [[nodiscard]] result<void> issue(device_scope<Api>& scope, std::uint32_t p) {
        if constexpr (Api::is_host) return {};
        else {
            const upload_piece& piece = plan_.pieces[p];
            slot& s = memory_.slots()[p % memory_.slots().size()];
            for (std::uint32_t t = 0; t < plan_.targets.size(); ++t) {
                const bool is_replica = memory_.at(t).origin.has_value();
                if (!is_replica && s.data == nullptr) continue; // it was read past the host
                auto done = is_replica ? copy_from_peer(scope, piece, s, t) : issue_to(scope, piece, s, t);
                if (!done) return placed(std::move(done).error(), p);
            }
            return {};
        }
    }
    /// Copies what a piece has brought to the origin of a target. The slot is not read.
    [[nodiscard]] result<void> copy_from_peer(device_scope<Api>& scope, const upload_piece& piece, const slot& s,
                                              std::uint32_t t) {
        auto& target = memory_.targets()[t];
        const auto& origin = memory_.at(*target.origin);
        batch_.clear();
        const auto add = [&](std::uint64_t at, std::uint64_t bytes) {
            batch_.push_back({static_cast<std::byte*>(target.memory) + at, static_cast<std::byte*>(origin.memory) + at,
                              static_cast<std::size_t>(bytes)});
            memory_.report.peer_bytes += bytes;
        };
        for (const staged_copy& c : plan_.copies_of(piece))
            if (c.target == t && c.into == copy_place::memory) add(c.to, c.bytes);
        const std::size_t stored = batch_.size();
        for (const device_cast& c : plan_.casts_of(piece)) {
            if (c.target != t) continue;
            if (c.view == nullptr) add(c.to, c.count * itemsize(c.wanted));
            else if (c.is_last) add(c.to, c.view->numel * itemsize(c.wanted)); // its pieces reach all over the tensor
        }
        if (batch_.empty()) return {};
        if (const int code = scope.use(target.device); code != 0) return api_.failure(device_call::use_device, code);
        target.busy = true;
        // What was read past the host is there already: the event is then of an earlier piece, or of none.
        if (const int code = api_.order(target.stream, s.events[*target.origin]); code != 0)
            return api_.failure(device_call::order, code);
        if (batch_.size() != stored && origin.has_kernels)
            if (const int code = api_.order(target.stream, origin.read[last_block(origin)]); code != 0)
                return api_.failure(device_call::order, code);
        if (const int code = api_.copy_peer(batch_, target.device, origin.device, target.stream); code != 0)
            return api_.failure(device_call::copy_peer, code);
        memory_.report.copies += batch_.size();
        if (!target.is_origin) return {};
        if (const int code = api_.record(s.events[t], target.stream); code != 0)
            return api_.failure(device_call::record, code);
        return {};
    }
    [[nodiscard]] result<void> issue_to(device_scope<Api>& scope, const upload_piece& piece, slot& s, std::uint32_t t) {
        auto& target = memory_.targets()[t];
        bool converts = false;
        batch_.clear();
        for (std::uint32_t i = 0; i < piece.copies; ++i) {
            const staged_copy& c = plan_.copies[piece.first_copy + i];
            if (c.target != t) continue;
            converts = converts || c.into == copy_place::scratch;
            batch_.push_back({begin_of(c.into, t) + c.to, s.data + c.from, static_cast<std::size_t>(c.bytes)});
        }
        if (batch_.empty()) return {};
        if (const int code = scope.use(target.device); code != 0) return api_.failure(device_call::use_device, code);
        target.busy = true;
        if (converts) // kernels may still read what the block had before
            if (const int code = api_.order(target.stream, target.read[target.block]); code != 0)
                return api_.failure(device_call::order, code);
        if (const int code = api_.copy(batch_, target.stream); code != 0) return api_.failure(device_call::copy, code);
        memory_.report.copies += batch_.size();
        if (const int code = api_.record(s.events[t], target.stream); code != 0)
            return api_.failure(device_call::record, code);
        s.pending[t] = true;
        return converts ? convert(piece, t, s.events[t]) : result<void>{};
    }
    /// The block that the last piece with conversions was copied to.
    [[nodiscard]] static std::uint32_t last_block(const typename device_memory<Api>::target& t) {
        return (t.block + scratch_blocks - 1) % scratch_blocks;
    }
    [[nodiscard]] std::byte* block_of(std::uint32_t t) const {
        return static_cast<std::byte*>(memory_.at(t).scratch) + memory_.at(t).block * plan_.targets[t].scratch;
    }
    [[nodiscard]] std::byte* parameters_of(std::uint32_t t) const {
        return static_cast<std::byte*>(memory_.at(t).scratch) + scratch_blocks * plan_.targets[t].scratch;
    }
    [[nodiscard]] std::byte* begin_of(copy_place place, std::uint32_t t) const {
        switch (place) {
        case copy_place::scratch: return block_of(t);
        case copy_place::parameters: return parameters_of(t);
        default: return static_cast<std::byte*>(memory_.at(t).memory);
        }
    }
    /// Converts what a piece brought to the block in hand, beside the copies of the next piece to the other one.
    [[nodiscard]] result<void> convert(const upload_piece& piece, std::uint32_t t, typename Api::event copied) {
        auto& target = memory_.targets()[t];
        if (const int code = api_.order(target.kernels, copied); code != 0)
            return api_.failure(device_call::order, code);
        const std::byte* const block = block_of(t);
        for (std::uint32_t i = 0; i < piece.casts; ++i) {
            const device_cast& c = plan_.casts[piece.first_cast + i];
            if (c.target != t) continue;
            std::byte* const to = static_cast<std::byte*>(target.memory) + c.to;
            void* const stream = api_.native(target.kernels);
            const int code =
                c.numbers != no_numbers ? dequantize(c, to, block + c.from, t, stream)
                : c.view == nullptr
                    ? plan_.kernels->cast(to, c.wanted, block + c.from, c.type, c.swap_bytes, c.count, stream)
                    : plan_.kernels->scatter(to, c.wanted, block + c.from, c.type, c.swap_bytes, c.view->rank,
                                             c.view->shape, c.view->strides, c.first, c.count, stream);
            if (code != 0) return api_.failure(device_call::convert, code);
        }
        if (const int code = api_.record(target.read[target.block], target.kernels); code != 0)
            return api_.failure(device_call::record, code);
        target.block = (target.block + 1) % scratch_blocks;
        return {};
    }

    /// Makes numbers of what a piece brought of a quantised tensor. The parameters of its channels came with a piece
    /// before this one, on the same stream.
    [[nodiscard]] int dequantize(const device_cast& c, std::byte* to, const std::byte* from, std::uint32_t t,
                                 void* stream) const {
        const device_numbers& numbers = plan_.numbers[c.numbers];
        dequantization how = numbers.how;
        if (is_per_channel(numbers.quantizer->scheme)) {
            how.scales = reinterpret_cast<const double*>(parameters_of(t) + numbers.scales);
            how.zero_points = reinterpret_cast<const float*>(parameters_of(t) + numbers.zero_points);
        }
        return plan_.kernels->dequantize(to, c.wanted, from, c.type, c.swap_bytes, how, c.first, c.count, stream);
    }

    // ---- to the host itself

    [[nodiscard]] result<void> fill_host(std::uint32_t p, reader_room& room) {
        const upload_piece& piece = plan_.pieces[p];
        const auto address = [&](const staged_copy& c, std::uint64_t at) {
            return static_cast<std::byte*>(memory_.at(c.target).memory) + c.to + (at - c.from);
        };
        const bool reads_direct =
            options_.source == upload_source::direct && piece.run != no_run && plan_.runs[piece.run].in != nullptr;
        if ((piece.moves != 0 || reads_direct) && !room.make_block(plan_.slot_bytes) && piece.moves != 0)
            return no_room();
        for (std::uint32_t i = 0; i < piece.copies; ++i) {
            const staged_copy& c = plan_.copies[piece.first_copy + i];
            const std::size_t bytes = static_cast<std::size_t>(c.bytes);
            if (piece.apart || (piece.moves != 0 && c.from >= piece.bytes)) {
                if (auto done = fill_moved(p, c, address(c, c.from), room.block.bytes().data()); !done) return done;
                continue;
            }
            if (piece.run != no_run) {
                if (auto done = stager_.read_checked(p, piece.begin + c.from, {address(c, c.from), bytes},
                                                     room.block.bytes().data());
                    !done)
                    return done;
                continue;
            }
            for (std::uint32_t k = 0; k < piece.parts; ++k) {
                const built_part& part = plan_.parts[piece.first_part + k];
                if (part.at < c.from || part.at >= c.from + c.bytes) continue;
                if (auto done = stager_.build(part, address(c, part.at), room.leaves); !done) return done;
            }
        }
        const std::lock_guard lock{mutex_};
        memory_.report.copies += piece.copies;
        // Pieces may end in another order than they were begun in.
        finished_.resize(plan_.pieces.size());
        finished_[p] = true;
        while (host_filled_ < finished_.size() && finished_[host_filled_]) ++host_filled_;
        filled_.notify_all();
        return {};
    }

    /// Reads what is moved for one copy at once, and puts each part to its place.
    [[nodiscard]] result<void> fill_moved(std::uint32_t p, const staged_copy& c, std::byte* to, std::byte* room) {
        const upload_piece& piece = plan_.pieces[p];
        const auto moves = plan_.moves_of(piece);
        const auto before = [](std::uint64_t at) { return [at](const staged_move& m) { return m.to < at; }; };
        const auto first = std::partition_point(moves.begin(), moves.end(), before(c.from));
        const auto last = std::partition_point(first, moves.end(), before(c.from + c.bytes));
        std::uint64_t end = 0;
        for (auto m = first; m != last; ++m) end = (std::max)(end, m->from + m->bytes);
        const std::uint64_t begin = first->from;
        std::byte* const data = room + (plan_.lead(piece) + begin) % page_bytes;
        if (auto done =
                stager_.read_checked(p, piece.begin + begin, {data, static_cast<std::size_t>(end - begin)}, room);
            !done)
            return done;
        for (auto m = first; m != last; ++m)
            std::memcpy(to + (m->to - c.from), data + (m->from - begin), static_cast<std::size_t>(m->bytes));
        return {};
    }

    device_memory<Api>& memory_;
    const upload_plan_data& plan_;
    const Api& api_;
    const engine_options& options_;
    stager stager_;
    bool has_memory_{false};
    bool mapped_{false};
    bool past_host_{false};
    std::vector<bool> shares_page_{}; // by piece, where windows of a mapping are pinned
    std::string reason_{};            // written under ring_mutex_ once readers run
    std::vector<std::pair<const file*, void*>> handles_{};
    std::vector<std::uint32_t> registered_{}; // targets whose memory the direct_reader knows
    std::vector<device_copy> batch_{};
    std::uint64_t total_{0};

    std::mutex ring_mutex_{};
    std::shared_mutex filling_{}; // shared by who fills a slot, where the ring may move
    std::mutex mutex_{};          // of all below, and of what slots hold
    std::condition_variable filled_{};
    std::condition_variable freed_{};
    std::uint32_t next_{0}; // piece that the next free reader takes
    std::uint64_t issued_{0};
    std::uint64_t host_filled_{0};
    std::vector<bool> finished_{};
    bool stopped_{false};
    std::optional<error> failure_{};
#if CKPT_EXCEPTIONS
    std::exception_ptr thrown_{};
#endif
};

/// Carries out a plan with memory that has nothing yet. Its streams may still be copying out of its slots afterwards,
/// and the caller's `streams` wait for them: one for each target, or none for the default ones. `ends`: as of
/// `device_scope`.
template <device_api Api>
[[nodiscard]] result<void> carry_out(device_memory<Api>& memory, const engine_options& options,
                                     std::span<const typename Api::stream> streams, bool ends) {
    const Api& api = memory.api();
    device_scope<Api> scope{api, ends};
    if (auto ready = memory.prepare(scope, options, streams); !ready) return ready;
    {
        upload_engine<Api> engine{memory, options};
        if (auto done = engine.run(scope); !done) return done;
    }
    for (auto& target : memory.targets()) {
        if (const int code = scope.use(target.device); code != 0) return api.failure(device_call::use_device, code);
        for (std::uint32_t i = 0; i < target.made_read; ++i)
            if (const int code = api.order(target.stream, target.read[i]); code != 0)
                return api.failure(device_call::order, code);
        if (const int code = api.record(target.done, target.stream); code != 0)
            return api.failure(device_call::record, code);
        // While the target's device is current: a null stream is that of the device.
        if (const int code = api.order(target.caller, target.done); code != 0)
            return api.failure(device_call::order, code);
    }
    // The caller may write to its tensors at once: not before others were copied from them.
    for (const auto& target : memory.targets()) {
        if (!target.origin) continue;
        const auto& origin = memory.at(*target.origin);
        if (const int code = scope.use(origin.device); code != 0) return api.failure(device_call::use_device, code);
        if (const int code = api.order(origin.caller, target.done); code != 0)
            return api.failure(device_call::order, code);
    }
    return {};
}

/// Carries out a plan. What is returned holds the memory. `kept`: null, or where the staging memory comes from and
/// stays.
template <device_api Api>
[[nodiscard]] result<shared<device_memory<Api>>>
run_upload(const Api& api, const upload_plan& plan, const engine_options& options,
           std::span<const typename Api::stream> streams = {}, const shared<kept_rings<Api>>& kept = {},
           bool ends = false) {
    auto memory = detail::make_shared<device_memory<Api>>(api, upload_plan_access::data(plan), kept);
    if (auto done = carry_out(*memory, options, streams, ends); !done) return std::move(done).failure();
    return memory;
}

/// The same beside the calling thread, see `beside_caller`. Slots and scratch go when the copies are done.
template <device_api Api>
[[nodiscard]] result<shared<device_memory<Api>>>
upload_beside(const Api& api, const upload_plan& plan, engine_options options,
              std::span<const typename Api::stream> streams, const shared<kept_rings<Api>>& kept = {}) {
    progress_relay relay{options.progress};
    std::optional<result<shared<device_memory<Api>>>> out;
    const auto work = [&](bool ends) {
        if (!ends) return void(out.emplace(run_upload(api, plan, options, streams, kept)));
        struct ending {
            progress_relay& of;
            ~ending() { of.end(); }
        };
        const ending at_the_end{relay};
        options.progress = relay;
        (void)out.emplace(run_upload(api, plan, options, streams, kept, true));
    };
    beside_caller(api, upload_plan_access::data(plan)->targets, work, [&] { relay.serve(); });
    if (*out) (**out)->release_when_done();
    return *std::move(out);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
