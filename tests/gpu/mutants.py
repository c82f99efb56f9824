#!/usr/bin/env python3
"""mutants.py INCLUDE OUTPUT...: writes the sources of a program that holds the upload engine once as it is and once for
each seeded bug; the first of them has main.

Each mutant is one edit of a header of PARTS, in a namespace of its own; the probe (mutants_probe.hpp) must find every
one and must not find the engine itself guilty. Edits are told in tokens, so that how the headers are laid out does not
matter. An edit whose place is not there exactly once is an error: a list that has gone stale proves nothing.
"""
import pathlib
import re
import sys

# name: (old text, new text)
MUTANTS = {
    "no_wait_before_reuse": (
        "            if (const int code = api_.wait_event(s.events[t]); code != 0) return "
        "api_.failure(device_call::wait_event, code);\n",
        "",
    ),
    "waits_for_the_next_slot": (
        "        if (auto free = memory_.reclaim(s); !free) return free;",
        "        if (auto free = memory_.reclaim(memory_.slots()[(number + 1) % memory_.slots().size()]); !free) "
        "return free;",
    ),
    "waits_for_one_device_only": (
        "        for (std::uint32_t t = 0; t < s.pending.size(); ++t) {\n"
        "            if (!s.pending[t]) continue;",
        "        for (std::uint32_t t = 0; t < 1; ++t) {\n"
        "            if (!s.pending[t]) continue;",
    ),
    "event_is_not_remembered": ("        s.pending[t] = true;", "        s.pending[t] = false;"),
    "event_before_the_copy": (
        "        if (const int code = api_.copy(batch_, target.stream); code != 0) return "
        "api_.failure(device_call::copy, code);\n"
        "        memory_.report.copies += batch_.size();\n"
        "        if (const int code = api_.record(s.events[t], target.stream); code != 0) return "
        "api_.failure(device_call::record, code);\n",
        "        if (const int code = api_.record(s.events[t], target.stream); code != 0) return "
        "api_.failure(device_call::record, code);\n"
        "        if (const int code = api_.copy(batch_, target.stream); code != 0) return "
        "api_.failure(device_call::copy, code);\n"
        "        memory_.report.copies += batch_.size();\n",
    ),
    "a_block_is_filled_while_kernels_read_it": (
        "        if (converts) if (const int code = api_.order(target.stream, target.read[target.block]); code != 0) "
        "return api_.failure(device_call::order, code);\n",
        "",
    ),
    "a_block_is_free_when_it_is_copied": (
        "api_.record(target.read[target.block], target.kernels)",
        "api_.record(target.read[target.block], target.stream)",
    ),
    "kernels_do_not_wait_for_copies": (
        "        if (const int code = api_.order(target.kernels, copied); code != 0) return "
        "api_.failure(device_call::order, code);\n",
        "",
    ),
    "kernels_run_in_the_callers_stream": (
        "void* const stream = api_.native(target.kernels);",
        "void* const stream = api_.native(target.caller);",
    ),
    "kernels_of_the_last_pieces_are_forgotten": (
        "            if (const int code = api.order(target.stream, target.read[i]); code != 0) return "
        "api.failure(device_call::order, code);\n",
        "            continue;\n",
    ),
    "kernels_are_not_waited_for_after_a_failure": (
        "            if (t.has_kernels) wait_for(t.kernels);\n",
        "",
    ),
    "blocks_overlap": (".block * plan_.targets[t].scratch;", ".block * (plan_.targets[t].scratch / 2);"),
    "one_block_is_allocated": (
        "make_scratch(t, wanted.temporary())",
        "make_scratch(t, wanted.temporary() - wanted.scratch)",
    ),
    "parameters_have_no_room": (
        "make_scratch(t, wanted.temporary())",
        "make_scratch(t, scratch_blocks * wanted.scratch)",
    ),
    "parameters_lie_in_a_block": (
        "        return static_cast<std::byte*>(memory_.at(t).scratch) + scratch_blocks * plan_.targets[t].scratch;",
        "        return block_of(t);",
    ),
    "parameters_go_to_the_tensors": (
        "        case copy_place::parameters: return parameters_of(t);\n",
        "",
    ),
    "parameters_go_to_replicas": (
        "            if (c.target == t && c.into == copy_place::memory) add(c.to, c.bytes);",
        "            if (c.target == t && c.into != copy_place::scratch) add(c.to, c.bytes);",
    ),
    "zero_points_are_taken_for_scales": (
        "parameters_of(t) + numbers.zero_points);",
        "parameters_of(t) + numbers.scales);",
    ),
    "channels_begin_with_each_piece": (
        "c.swap_bytes, how, c.first, c.count, stream);",
        "c.swap_bytes, how, 0, c.count, stream);",
    ),
    "the_stream_of_kernels_leaks": ("            if (t.has_kernels) (void)api_.drop_stream(t.kernels);\n", ""),
    "events_of_blocks_leak": (
        "            while (t.made_read != 0) (void)api_.drop_event(t.read[--t.made_read]);\n",
        "",
    ),
    "memory_stays_registered_for_storage": (
        "            options_.past_host->drop_memory(options_.past_host->context, memory_.at(t).memory);\n",
        "",
    ),
    "stored_elements_begin_at_the_wrong_one": (
        "c.view->shape, c.view->strides, c.first, c.count, stream)",
        "c.view->shape, c.view->strides, 0, c.count, stream)",
    ),
    "no_event_at_the_end": (
        "        if (const int code = api.record(target.done, target.stream); code != 0) return "
        "api.failure(device_call::record, code);\n",
        "",
    ),
    "the_callers_stream_does_not_wait": (
        "        if (const int code = api.order(target.caller, target.done); code != 0)\n"
        "            return api.failure(device_call::order, code);\n",
        "",
    ),
    "a_null_stream_is_that_of_another_device": (
        "        if (const int code = api.order(target.caller, target.done); code != 0)",
        "        (void)scope.use(memory.targets().front().device);\n"
        "        if (const int code = api.order(target.caller, target.done); code != 0)",
    ),
    "memory_of_the_caller_is_written_early": (
        "        if (const int code = api_.order(t.stream, t.done); code != 0) "
        "return api_.failure(device_call::order, code);\n",
        "",
    ),
    "memory_of_the_caller_is_read_into_early": (
        "        for (auto& target : memory_.targets())\n"
        "            if (const int code = api_.synchronise(target.stream); code != 0)",
        "        for (auto& target : memory_.targets())\n"
        "            if (const int code = target.owned ? api_.synchronise(target.stream) : 0; code != 0)",
    ),
    "event_of_one_device_at_the_end": (
        "        if (const int code = api.record(target.done, target.stream);",
        "        if (&target != &memory.targets().front()) continue;\n"
        "        if (const int code = api.record(target.done, target.stream);",
    ),
    "no_wait_at_the_end": (
        "            wait_for(t.stream);\n",
        "",
    ),
    "waits_for_the_first_device_at_the_end": (
        "            if (!std::exchange(t.busy, false)) continue;",
        "            if (!std::exchange(t.busy, false) || &t != &targets_.front()) continue;",
    ),
    "a_failed_wait_is_not_repeated": (
        "keep(device_call::synchronise, insist([&] { return api_.synchronise(stream); }, &last));",
        "keep(device_call::synchronise, last = api_.synchronise(stream));",
    ),
    "device_is_not_restored": (
        "        if (now_ != before_ && insist([&] { return api_.use_device(before_); }) != 0) "
        "api_.forget();\n",
        "",
    ),
    "copies_on_the_current_device": (
        "        if (const int code = scope.use(target.device); code != 0) return "
        "api_.failure(device_call::use_device, code);\n"
        "        target.busy = true;\n"
        "        if (converts)",
        "        target.busy = true;\n"
        "        if (converts)",
    ),
    "replicas_do_not_wait_for_kernels": (
        "        if (batch_.size() != stored && origin.has_kernels)\n"
        "            if (const int code = api_.order(target.stream, origin.read[last_block(origin)]); code != 0)\n"
        "                return api_.failure(device_call::order, code);\n",
        "",
    ),
    "replicas_get_a_tensor_that_kernels_make_dense_in_parts": (
        "            if (c.view == nullptr) add(c.to, c.count * itemsize(c.wanted));\n"
        "            else if (c.is_last)",
        "            if (true) add(c.to, c.count * itemsize(c.wanted));\n"
        "            else if (c.is_last)",
    ),
    "what_is_awaited_may_still_be_converted": (
        "        if (code == 0 && t.has_kernels) order_behind(t.kernels);\n",
        "",
    ),
    "ring_is_unpinned_too_early": (
        "        std::optional<error> first;\n"
        "        const auto keep",
        "        (void)ring_.release(api_);\n"
        "        std::optional<error> first;\n"
        "        const auto keep",
    ),
    "ring_is_not_unpinned": (
        "        const auto [call, code] = leave_ring(!first);\n"
        "        keep(call, code);\n",
        "",
    ),
    "ring_is_not_pinned": ("        int code = api.pin(data_, bytes, false);", "        int code = 0;"),
    "memory_that_is_refused_ends_the_upload": (
        "        if (refused.code == errc::device_lost) return refused;",
        "        return refused;",
    ),
    "a_part_of_the_ring_is_not_pinned": (
        "for (; step_ < bytes && pinned_ < bytes; pinned_ += step_)",
        "for (; step_ < bytes && pinned_ + step_ < bytes; pinned_ += step_)",
    ),
    "what_slots_hold_does_not_move_with_the_ring": ("        std::memcpy(memory, data_, bytes);\n", ""),
    "slots_stay_where_the_ring_was": (
        "            if (s.data != nullptr) s.data = ring_.slot(0) + (s.data - before);\n",
        "            (void)s, (void)before;\n",
    ),
    "parts_of_the_ring_stay_pinned": (
        "            if (code = api.unpin(data_ + pinned_); code == 0) continue;",
        "            continue;",
    ),
    "without_threads_nobody_reads": ("if (readers.threads.empty()) take(p, room);", "if (wanted == 0) take(p, room);"),
    "a_context_where_no_target_is": ("        if (ends_) return;\n", ""),
    "the_callers_thread_makes_devices_current": (
        "    const bool here = Api::own_streams ||",
        "    const bool here = true ||",
    ),
    "the_ring_stays_until_somebody_waits": ("    if (*out) (**out)->release_when_done();\n", ""),
    "nobody_joins_the_thread_that_waits": ("        (void)later_.join();\n", ""),
    "a_late_failure_is_forgotten": (
        "        if (late_) fail(*std::exchange(late_, std::nullopt));\n",
        "",
    ),
    "memory_of_the_runtime_leaks": (
        "        if (allocated_ != 0) first = {device_call::release_pinned, api.release_pinned(data_)};\n",
        "",
    ),
    "an_error_that_was_overcome_is_left": (
        "        api.forget();\n        reason_ = std::move(refused.detail);",
        "        reason_ = std::move(refused.detail);",
    ),
    "frees_before_it_waits": (
        "        (void)drain(scope);\n"
        "        if (abandoned_) return;",
        "        for (target& t : targets_) t.busy = false;\n"
        "        (void)drain(scope);\n"
        "        if (abandoned_) return;",
    ),
    "pool_memory_is_freed_in_another_order": (
        "(void)release(t.memory, plan_->targets[i].bytes, t, t.caller);",
        "(void)release(t.memory, plan_->targets[i].bytes, t, t.stream);",
    ),
    "captures_of_others_are_spoiled": (
        "        if (!relaxed_) relaxed_ = api_.capture(capture_) == 0;\n",
        "",
    ),
    "captures_of_others_are_spoiled_by_readers": ("            (void)api_.capture(relaxed);\n", ""),
    "capture_mode_is_not_restored": (
        "        if (relaxed_) (void)insist([&] { return api_.capture(capture_); });\n",
        "",
    ),
    "what_cannot_be_waited_for_is_freed": ("            ring_.abandon();", "            (void)ring_.release(api_);"),
    "what_goes_on_is_taken_for_done": (
        "                abandoned_ = abandoned_ || (last != 0 &&",
        "                abandoned_ = abandoned_ || (last == 1 &&",
    ),
    "memory_leaks": ("            t.owned = true;\n", ""),
    "scratch_leaks": (
        "            keep(device_call::release,\n"
        "                 release(std::exchange(t.scratch, nullptr), plan_->targets[i].temporary(), t, t.stream));\n",
        "            t.scratch = nullptr;\n",
    ),
    "events_leak": (
        "                if (s.made[t]) keep(device_call::drop_event, api_.drop_event(s.events[t]));\n",
        "                s.made[t] = false;\n",
    ),
    "streams_leak": ("            if (t.has_stream) (void)api_.drop_stream(t.stream);\n", ""),
    "last_event_leaks": ("            if (t.has_done) (void)api_.drop_event(t.done);\n", ""),
    "window_is_unpinned_too_early": (
        "        for (std::uint32_t t = 0; t < s.pending.size(); ++t) {\n"
        "            if (!s.pending[t]) continue;",
        "        if (auto early = unpin(s); !early) return early;\n"
        "        for (std::uint32_t t = 0; t < s.pending.size(); ++t) {\n"
        "            if (!s.pending[t]) continue;",
    ),
    "windows_are_not_unpinned": (
        "        if (s.window == nullptr) return {};",
        "        s.window = nullptr;\n"
        "        if (s.window == nullptr) return {};",
    ),
    "copies_too_much": (
        "batch_.push_back({begin_of(c.into, t) + c.to, s.data + c.from, static_cast<std::size_t>(c.bytes)});",
        "batch_.push_back({begin_of(c.into, t) + c.to, s.data + c.from, static_cast<std::size_t>(c.bytes) + 64});",
    ),
    "copies_from_the_wrong_place": (
        "s.data + c.from, static_cast<std::size_t>(c.bytes)});",
        "s.data, static_cast<std::size_t>(c.bytes)});",
    ),
    "copies_to_memory_instead_of_scratch": (
        "        case copy_place::scratch: return block_of(t);\n",
        "",
    ),
    "converts_the_wrong_bytes": (
        "? plan_.kernels->cast(to, c.wanted, block + c.from, c.type,",
        "? plan_.kernels->cast(to, c.wanted, block, c.type,",
    ),
    "does_not_stop": (
        "const bool go_on = options_.progress({done, total_});",
        "const bool go_on = options_.progress({done, total_}) || true;",
    ),
    "a_failed_read_is_ignored": (
        "            if (!done) return fail(placed(std::move(done).error(), p));\n",
        "            if (!done) {\n"
        "                const std::lock_guard lock{mutex_};\n"
        "                slot& s = memory_.slots()[p % memory_.slots().size()];\n"
        "                s.holds = p + std::uint64_t{1};\n"
        "                filled_.notify_all();\n"
        "            }\n",
    ),
    "a_failed_copy_is_ignored": (
        "        if (const int code = api_.copy(batch_, target.stream); code != 0) return "
        "api_.failure(device_call::copy, code);",
        "        (void)api_.copy(batch_, target.stream);",
    ),
    "checksums_are_not_compared": ("            if (whole[i].crc32 == c.crc32) continue;\n", "            continue;\n"),
    "checksums_are_joined_in_the_wrong_order": (
        "crc32_joined(w.crc32, p.crc32, p.bytes)",
        "crc32_joined(p.crc32, w.crc32, p.bytes)",
    ),
    "a_slot_is_copied_before_it_is_full": (
        "        else return memory_.slots()[p % memory_.slots().size()].holds == p + std::uint64_t{1};",
        "        else return memory_.slots()[p % memory_.slots().size()].holds != 0;",
    ),
    "a_slot_is_filled_before_it_is_copied": (
        "freed_.wait(lock, [&] { return stopped_ || issued_ + memory_.slots().size() > p; });",
        "freed_.wait(lock, [&] { return stopped_ || issued_ + 2 * memory_.slots().size() > p; });",
    ),
    "a_failed_wait_is_forgotten": ("        if (!failure_) failure_ = e;\n", "        (void)e;\n"),
    "direct_reads_end_a_page_early": (
        "        while (have < wanted) {",
        "        while (have + page_bytes < wanted) {",
    ),
    "a_piece_may_end_early": (
        "plan_.plan.read(plan_.built[part.tensor].node, part.first, part.count, out, leaves)",
        "plan_.plan.read(plan_.built[part.tensor].node, part.first, part.count - 1, out, leaves)",
    ),
    "moves_are_forgotten": ("for (const staged_move& m : plan_.moves_of(piece)) std::memcpy(slot",
                            "for (const staged_move& m : plan_.moves_of(piece).first(0)) std::memcpy(slot"),
    "moves_to_the_wrong_place": ("std::memcpy(slot + plan_.slot_lead(piece) + m.to,", "std::memcpy(slot + m.to,"),
    "moves_within_the_slot": ("std::byte* const place = piece.apart ? room : slot;", "std::byte* const place = slot;"),
    "copies_what_was_moved_from_the_wrong_place": (
        "s.data = room + plan_.slot_lead(piece);",
        "s.data = room + plan_.lead(piece);",
    ),
    "builds_from_the_mapping": ("{ leaves.files = &reads; }", "{}"),
    "windows_are_copied_from_their_begin": ("window_.bytes().data() + (begin - first_)", "window_.bytes().data()"),
    "pages_are_pinned_twice": (
        "shares_page_[all[i].piece] = with_next || all[i].begin < reach;",
        "shares_page_[all[i].piece] = false;",
    ),
    "await_orders_nothing": ("            code = api_.order(user, now);\n", ""),
    "await_waits_for_nothing": ("code = api_.record(now, issued);", "code = 0;"),
    "await_keeps_its_event": ("const int dropped = api_.drop_event(now);", "const int dropped = 0;"),
    "await_keeps_its_event_when_it_fails": (
        "const int dropped = api_.drop_event(now);",
        "const int dropped = code == 0 ? api_.drop_event(now) : 0;",
    ),
    "await_forgets_what_failed": ("        if (code != 0) return api_.failure(call, code);\n", ""),
    "await_on_the_current_device": (
        "        if (const int code = scope.use(t.device); code != 0) return "
        "api_.failure(device_call::use_device, code);\n"
        "        typename Api::event now{};",
        "        typename Api::event now{};",
    ),
    "await_makes_devices_current_in_the_callers_thread": (
        "        beside_caller(api_, std::span{&t, 1}, work, [] {});\n",
        "        work(false);\n",
    ),
    "pieces_are_told_early": ("options_.watch->issued(p + 1)", "options_.watch->issued(p + 2)"),
    "await_does_not_block": ("(prepared_ && issued_ >= pieces)", "(prepared_)"),
    "await_before_there_are_streams": ("(prepared_ && issued_ >= pieces)", "(issued_ >= pieces)"),
    "await_after_a_failure": ("        return !failed_;", "        return true;"),
    "nobody_hears_cancel": ("        return !cancelled_;", "        return true;"),
    "memory_in_use_goes_when_an_upload_fails": (
        "            if (failed) of.memory_->finish(true);",
        "            if (failed) of.memory_->finish(true);\n"
        "            if (failed) of.memory_ = {};",
    ),
    "slots_stay_when_an_upload_fails": ("            if (failed) of.memory_->finish(true);\n", ""),
    "slots_stay_when_an_upload_of_its_own_ends": ("        memory_->release_when_done();\n", ""),
    "nobody_joins_the_thread_of_an_upload": (
        "        watch_.cancel();\n"
        "        (void)thread_.join();",
        "        watch_.cancel();",
    ),
    "a_result_is_given_twice": (
        "        if (std::exchange(given_, true)) return given_out();\n",
        "",
    ),
    "small_memory_of_the_caller_is_used": (
        "if (i >= options.places.size() || options.places[i].bytes < bytes)",
        "if (i >= options.places.size())",
    ),
    "what_goes_on_is_freed": ("        if (abandoned_) return;\n", ""),
    "memory_of_an_allocator_is_written_early": (
        "        if (t.memory == nullptr || (t.owned && allocator_.allocate == nullptr)) return {};",
        "        if (t.memory == nullptr || t.owned) return {};",
    ),
    "scratch_of_an_allocator_is_written_early": (
        "            if (wanted.scratch != 0 && !t.origin)\n"
        "                if (auto made = make_scratch(t, wanted.temporary()); !made) return made;\n"
        "            if (auto behind = follow_caller(t); !behind) return behind;\n",
        "            if (auto behind = follow_caller(t); !behind) return behind;\n"
        "            if (wanted.scratch != 0 && !t.origin)\n"
        "                if (auto made = make_scratch(t, wanted.temporary()); !made) return made;\n",
    ),
    "an_allocator_gets_its_memory_back_in_another_order": (
        "allocator_.release(allocator_.context, memory, static_cast<std::size_t>(bytes), t.device, "
        "api_.native(t.caller));",
        "allocator_.release(allocator_.context, memory, static_cast<std::size_t>(bytes), t.device, "
        "api_.native(t.stream));",
    ),
    "memory_of_an_allocator_is_freed_by_the_runtime": (
        "        if (allocator_.release == nullptr) return api_.release(memory, stream);",
        "        if (t.device >= 0) return api_.release(memory, stream);",
    ),
    "misaligned_memory_is_kept": (
        "        if (void* const memory = std::exchange(out, nullptr); memory != nullptr)\n"
        "            (void)release(memory, bytes, t, t.caller);\n",
        "        out = nullptr;\n",
    ),
    "a_ring_is_kept_too_early": (
        "        std::optional<error> first;\n"
        "        const auto keep",
        "        (void)leave_ring(true);\n"
        "        std::optional<error> first;\n"
        "        const auto keep",
    ),
    "a_ring_of_a_lost_device_is_kept": ("leave_ring(!first);", "leave_ring(true);"),
    "a_kept_ring_is_too_small": (
        "        return slot_bytes != 0 && slots <= pinned_bytes() / slot_bytes;",
        "        return slot_bytes != 0;",
    ),
    "slots_of_a_kept_ring_lie_in_two_registrations": (
        "        slot_bytes_ = in_parts() ? step_ : static_cast<std::size_t>(slot_bytes);",
        "        slot_bytes_ = static_cast<std::size_t>(slot_bytes);",
    ),
    "a_ring_in_parts_is_taken_for_a_whole_one": (
        "        if (in_parts()) return slot_bytes <= step_ && slots <= pinned_ / step_;\n",
        "",
    ),
    "a_ring_that_does_not_fit_is_used": (
        "        if (is_fit) out.cut(slot_bytes);\n"
        "        else if (const auto [call, code] = out.release(api_); code != 0) return api_.failure(call, code);\n",
        "        out.cut(slot_bytes);\n",
    ),
    "kept_rings_leak": ("    ~kept_rings() override { (void)free_idle(); }", "    ~kept_rings() override {}"),
    "kept_rings_are_freed_with_another_device": ("                (void)scope.insist_on(k.device);\n", ""),
    "a_replica_does_not_wait_for_its_origin": (
        "        if (const int code = api_.order(target.stream, s.events[*target.origin]); code != 0)\n"
        "            return api_.failure(device_call::order, code);\n",
        "",
    ),
    "a_replica_waits_for_the_first_of_its_chain": (
        "api_.order(target.stream, s.events[*target.origin]);",
        "api_.order(target.stream, s.events[memory_.first_of(t)]);",
    ),
    "nobody_is_told_when_a_replica_is_there": ("        if (!target.is_origin) return {};", "        return {};"),
    "a_replica_is_not_waited_for": (
        "        target.busy = true;\n"
        "        if (const int code = api_.order(",
        "        if (const int code = api_.order(",
    ),
    "what_was_converted_is_not_copied": (
        "            if (c.view == nullptr) add(c.to, c.count * itemsize(c.wanted));\n"
        "            else if (c.is_last)",
        "            if (c.view == nullptr) {}\n"
        "            else if (c.is_last)",
    ),
    "scratch_is_taken_for_memory": (
        "            if (c.target == t && c.into == copy_place::memory) add(c.to, c.bytes);",
        "            if (c.target == t) add(c.to, c.bytes);",
    ),
    "what_was_read_past_the_host_is_not_copied": (
        "                if (!is_replica && s.data == nullptr) continue;",
        "                if (s.data == nullptr) continue;",
    ),
    "an_origin_may_be_written_too_early": (
        "        if (const int code = api.order(origin.caller, target.done); code != 0)\n"
        "            return api.failure(device_call::order, code);\n",
        "",
    ),
    "peers_go_by_way_of_the_host": ("            code = api_.reach(other);\n", "            code = 0;\n"),
    "a_refusal_of_a_peer_is_left": ("        if (code != 0) api_.forget();\n", ""),
}

TOKEN = re.compile(
    r"""^[ \t]*\#[^\n]*|//[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'|[A-Za-z0-9_']+|"""
    r"""::|->|\+\+|--|<<=|>>=|<<|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\.\.\.|\S""",
    re.MULTILINE,
)


def in_tokens(text):
    """The text without comments, one blank between tokens; a directive has a line of its own."""
    tokens = (t.strip() for t in TOKEN.findall(text) if not t.startswith("//"))
    return " ".join(f"\n{t}\n" if t.startswith("#") else t for t in tokens)


PARTS = ["gpu/staging.hpp", "gpu/impl/staging.ipp", "gpu/device_scope.hpp", "gpu/pinned_ring.hpp",
         "gpu/kept_rings.hpp", "gpu/upload_watch.hpp", "gpu/device_memory.hpp", "gpu/engine.hpp", "gpu/upload_run.hpp"]
DETAIL = "namespace ckpt::inline CKPT_DETAIL_ABI::detail"


def definitions(text):
    """What stands in namespace detail."""
    return text[text.index(DETAIL + " {\n") + len(DETAIL + " {\n") : text.index("} // " + DETAIL + "\n")]


def main():
    include, outputs = pathlib.Path(sys.argv[1]), [pathlib.Path(name) for name in sys.argv[2:]]
    private, includes = "", []
    for name in PARTS:
        text = (include / "ckpt" / name).read_text()
        private += definitions(text)
        includes += [line for line in text.splitlines()
                     if line.startswith("#include") and not any(p in line for p in PARTS)]
    head = ["// Made by mutants.py."] + sorted(set(includes)) + ['#include "mutants_probe.hpp"',
                                                                 "using ckpt::detail::cuda_api;",
                                                                 "using ckpt::detail::shared;",
                                                                 "using ckpt::upload_plan;"]
    parts = [(list(head), []) for _ in outputs]  # lines, and those of the table of engines
    private = in_tokens(private)
    for number, (name, edit) in enumerate({"none": ("", ""), **MUTANTS}.items()):
        out, calls = parts[number % len(parts)]
        old, new = map(in_tokens, edit)
        if old and private.count(old) != 1:
            sys.exit(f"mutants.py: the place of {name} is there {private.count(old)} times")
        body = private.replace(old, new) if old else private
        out.append(f"namespace mutant_{name} {{\nusing namespace ckpt;\nusing namespace ckpt::detail;\n"
                   f"{body}}} // namespace mutant_{name}\n")
        out.append(f"struct engine_{name} {{\n    using options = mutant_{name}::engine_options;\n"
                   f"    using kept = shared<mutant_{name}::kept_rings<cuda_api>>;\n"
                   f"    static kept keep() {{ return kept{{new mutant_{name}::kept_rings<cuda_api>(cuda_api{{}})}}; "
                   f"}}\n"
                   f"    static auto run(const cuda_api& api, const upload_plan& plan, const options& how, "
                   f"std::span<const cudaStream_t> streams = {{}}, const kept& rings = {{}}) {{ return "
                   f"mutant_{name}::run_upload(api, plan, how, streams, rings); }}\n"
                   f"    static auto beside(const cuda_api& api, const upload_plan& plan, const options& how, "
                   f"const kept& rings = {{}}) {{ return "
                   f"mutant_{name}::upload_beside(api, plan, how, {{}}, rings); }}\n"
                   f"    static auto start(const cuda_api& api, const upload_plan& plan, const options& how, "
                   f"std::span<const cudaStream_t> streams) {{ return "
                   f"mutant_{name}::upload_run<cuda_api>::start(api, plan, how, streams); }}\n}};\n")
        calls.append(f'    {{"{name}", probe<engine_{name}>}},')
    for number, (output, (out, calls)) in enumerate(zip(outputs, parts)):
        rows = "\n".join(calls)
        out.append(f"void add_engines_{number}(probing::engine_list& to) {{\n    to.insert(to.end(), {{\n{rows}}});\n"
                   f"}}\n")
        if number == 0:
            out += [f"void add_engines_{n}(probing::engine_list& to);" for n in range(1, len(outputs))]
            adds = " ".join(f"add_engines_{n}(all);" for n in range(len(outputs)))
            out.append(f"int main() {{ probing::engine_list all; {adds} return judge(all); }}\n")
        output.write_text("\n".join(out))


main()
