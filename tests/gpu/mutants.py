#!/usr/bin/env python3
"""mutants.py INCLUDE OUTPUT: writes a program that holds the upload engine once as it is and once for each seeded bug.

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
        "        target.busy = true;\n",
        "        target.busy = true;\n"
        "        if (const int early = api_.record(s.events[t], target.stream); early != 0) return "
        "api_.failure(device_call::record, early);\n"
        "        s.pending[t] = true;\n"
        "        if (piece.casts == 0) return api_.copy(batch_, target.stream) == 0 ? result<void>{} : "
        "result<void>{api_.failure(device_call::copy, 1)};\n",
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
        "                if (past_host_)\n"
        "                    if (const int code = api_.synchronise(target.stream); code != 0)",
        "                if (past_host_ && target.owned)\n"
        "                    if (const int code = api_.synchronise(target.stream); code != 0)",
    ),
    "event_of_one_device_at_the_end": (
        "        if (const int code = api.record(target.done, target.stream);",
        "        if (&target != &memory.targets().front()) continue;\n"
        "        if (const int code = api.record(target.done, target.stream);",
    ),
    "no_wait_at_the_end": (
        "            keep(device_call::synchronise, insist([&] { return api_.synchronise(t.stream); }, &last));\n",
        "",
    ),
    "waits_for_the_first_device_at_the_end": (
        "            if (!std::exchange(t.busy, false)) continue;",
        "            if (!std::exchange(t.busy, false) || &t != &targets_.front()) continue;",
    ),
    "a_failed_wait_is_not_repeated": (
        "keep(device_call::synchronise, insist([&] { return api_.synchronise(t.stream); }, &last));",
        "keep(device_call::synchronise, last = api_.synchronise(t.stream));",
    ),
    "device_is_not_restored": (
        "        if (now_ != before_ && insist([&] { return api_.use_device(before_); }) != 0) "
        "api_.forget();\n",
        "",
    ),
    "copies_on_the_current_device": (
        "        if (const int code = scope.use(target.device); code != 0) return "
        "api_.failure(device_call::use_device, code);\n"
        "        target.busy = true;",
        "        target.busy = true;",
    ),
    "ring_is_unpinned_too_early": (
        "        std::optional<error> first;\n"
        "        const auto keep",
        "        (void)ring_.release(api_);\n"
        "        std::optional<error> first;\n"
        "        const auto keep",
    ),
    "ring_is_not_unpinned": (
        "        const auto [call, code] = ring_.release(api_);\n"
        "        keep(call, code);\n",
        "",
    ),
    "ring_is_not_pinned": ("        int code = api.pin(data_, bytes, false);", "        int code = 0;"),
    "memory_that_is_refused_ends_the_upload": (
        "        if (refused.code == errc::device_lost) return refused;",
        "        return refused;",
    ),
    "a_part_of_the_ring_is_not_pinned": (
        "for (; slots > 1 && pinned_ < bytes; pinned_ += step_)",
        "for (; slots > 1 && pinned_ + step_ < bytes; pinned_ += step_)",
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
        "        api.forget();\n        reason = std::move(refused.detail);",
        "        reason = std::move(refused.detail);",
    ),
    "frees_before_it_waits": (
        "        (void)drain(scope);\n"
        "        if (abandoned_) return;",
        "        for (target& t : targets_) t.busy = false;\n"
        "        (void)drain(scope);\n"
        "        if (abandoned_) return;",
    ),
    "pool_memory_is_freed_in_another_order": (
        "(void)api_.release(t.memory, t.caller);",
        "(void)api_.release(t.memory, t.stream);",
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
        "            abandoned_ = abandoned_ || (last != 0 &&",
        "            abandoned_ = abandoned_ || (last == 1 &&",
    ),
    "memory_leaks": ("            t.owned = true;\n", ""),
    "scratch_leaks": (
        "            keep(device_call::release, api_.release(std::exchange(t.scratch, nullptr), t.stream));\n",
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
        "            batch_.push_back({base + c.to, s.data + c.from, static_cast<std::size_t>(c.bytes)});",
        "            batch_.push_back({base + c.to, s.data + c.from, static_cast<std::size_t>(c.bytes) + 64});",
    ),
    "copies_from_the_wrong_place": (
        "s.data + c.from, static_cast<std::size_t>(c.bytes)});",
        "s.data, static_cast<std::size_t>(c.bytes)});",
    ),
    "copies_to_memory_instead_of_scratch": (
        "static_cast<std::byte*>(c.to_scratch ? target.scratch : target.memory);",
        "static_cast<std::byte*>(target.memory);",
    ),
    "converts_the_wrong_bytes": (
        "static_cast<const std::byte*>(target.scratch) + c.from, c.type,",
        "static_cast<const std::byte*>(target.scratch), c.type,",
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
    "await_waits_for_nothing": ("int code = api_.record(now, t.stream);", "int code = 0;"),
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
        "        beside_caller(api_, [&](int device) { return device == t.device; }, work, [] {});\n",
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


PARTS = ["gpu/staging.hpp", "gpu/impl/staging.ipp", "gpu/pinned_ring.hpp", "gpu/upload_watch.hpp",
         "gpu/device_memory.hpp", "gpu/engine.hpp", "gpu/upload_run.hpp"]
DETAIL = "namespace ckpt::inline CKPT_DETAIL_ABI::detail"


def definitions(text):
    """What stands in namespace detail."""
    return text[text.index(DETAIL + " {\n") + len(DETAIL + " {\n") : text.index("} // " + DETAIL + "\n")]


def main():
    include, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    private, includes = "", []
    for name in PARTS:
        text = (include / "ckpt" / name).read_text()
        private += definitions(text)
        includes += [line for line in text.splitlines()
                     if line.startswith("#include") and not any(p in line for p in PARTS)]
    out = ["// Made by mutants.py."] + sorted(set(includes)) + ['#include "mutants_probe.hpp"']
    calls = []
    private = in_tokens(private)
    for name, edit in {"none": ("", ""), **MUTANTS}.items():
        old, new = map(in_tokens, edit)
        if old and private.count(old) != 1:
            sys.exit(f"mutants.py: the place of {name} is there {private.count(old)} times")
        body = private.replace(old, new) if old else private
        out.append(f"namespace mutant_{name} {{\nusing namespace ckpt;\nusing namespace ckpt::detail;\n"
                   f"{body}}} // namespace mutant_{name}\n")
        out.append(f"struct engine_{name} {{\n    using options = mutant_{name}::engine_options;\n"
                   f"    static auto run(const ckpt::detail::cuda_api& api, const ckpt::upload_plan& plan, const "
                   f"options& how, std::span<const cudaStream_t> streams = {{}}) {{ return "
                   f"mutant_{name}::run_upload(api, plan, how, streams); }}\n"
                   f"    static auto beside(const ckpt::detail::cuda_api& api, const ckpt::upload_plan& plan, const "
                   f"options& how) {{ return mutant_{name}::upload_beside(api, plan, how, {{}}); }}\n"
                   f"    static auto start(const ckpt::detail::cuda_api& api, const ckpt::upload_plan& plan, const "
                   f"options& how, std::span<const cudaStream_t> streams) {{ return "
                   f"mutant_{name}::upload_run<ckpt::detail::cuda_api>::start(api, plan, how, streams); }}\n}};\n")
        calls.append(f'    {{"{name}", probe<engine_{name}>}},')
    out.append("const std::vector<std::pair<const char*, probing::fault (*)()>> engines{\n" + "\n".join(calls) +
               "\n};\n")
    out.append("int main() { return judge(engines); }\n")
    output.write_text("\n".join(out))


main()
