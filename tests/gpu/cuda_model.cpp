// tests/gpu/cuda_model.cpp: streams, events and violations of the double, and what cuda_double.hpp offers.
//
// SPDX-License-Identifier: MIT
#include "cuda_model.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <iterator>

namespace cuda_double {

namespace detail {

namespace {

constexpr std::size_t most_violations = 1000;
constexpr int most_random_polls = 20;

std::string demangled(const std::string& name) {
    int status = 0;
    char* const text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
    std::string out = text != nullptr ? text : "";
    std::free(text);
    return out;
}

} // namespace

model& model::get() {
    static model& only = *[] {
        auto* const made = new model;
        made->reset({});
        return made;
    }();
    return only;
}

void model::reset(const options& w) {
    with = w;
    ++generation_;
    violations.clear();
    failures.clear();
    captures.clear();
    log.clear();
    attributes.clear();
    unreachable.clear();
    peers_enabled.clear();
    const auto devices = static_cast<std::size_t>(std::max(w.devices, 0));
    total = {};
    total.device_bytes.assign(devices, 0);
    total.peak_device_bytes.assign(devices, 0);
    capacity.assign(devices, w.memory);
    broken.assign(devices, cudaSuccess);
    contexts.assign(devices, false);
    streams_.clear();
    handles_.clear();
    events_.clear();
    memory_.clear();
    known_ = {};
    known_version_ = 1;
    random_state_ = w.seed;
    constexpr std::uint64_t paces[] = {0, 1, 2, 6};
    pace_ = paces[random() % std::size(paces)];
    reset_addresses();
    new_stream(-1, false, false);
    for (int d = 0; d < w.devices; ++d) new_stream(d, true, true);
}

void model::end(int device) {
    const auto text = [&](std::uint64_t call) { return "made by " + tell(moment{0, 0, 0, call}); };
    for (const stream_state& s : streams_)
        if (!s.destroyed && known_.of(s.id) < s.last_work)
            report(kind::unfinished_work, "nobody waited for the last work of " + tell(s));
    drain();
    for (const auto& [begin, r] : memory_)
        if (!r.freed && !r.giving_back)
            report(r.is_host ? kind::leaked_registration : kind::leaked_memory,
                   std::to_string(r.bytes) + " bytes, " + text(r.allocated.call));
    for (const auto& [handle, id] : handles_)
        report(kind::leaked_stream, tell(streams_[id]) + ", " + text(streams_[id].created));
    for (const auto& [handle, event] : events_) report(kind::leaked_event, "an event " + text(event.created));
    // Whoever asked for it and was refused can do no more.
    if (thread().device != device && thread().wanted_device != device)
        report(kind::device_not_restored, "device " + std::to_string(thread().device) + " is current at the end");
}

void model::begin_call(const char* name) {
    log.push_back(name);
    if (with.how != mode::random || pace_ == 0) return;
    for (std::uint64_t steps = random() % (pace_ + 1); steps != 0; --steps) run_any();
}

bool model::spoils_captures(std::string_view call) {
    constexpr std::string_view unsafe[] = {
        "cudaMalloc",           "cudaFree",        "cudaHostRegister",      "cudaHostUnregister",
        "cudaHostAlloc",        "cudaMallocHost",  "cudaFreeHost",          "cudaEventQuery",
        "cudaEventSynchronize", "cudaStreamQuery", "cudaStreamSynchronize", "cudaDeviceSynchronize",
        "cudaMemcpy",           "cudaMemset"};
    if (std::find(std::begin(unsafe), std::end(unsafe), call) == std::end(unsafe)) return false;
    bool out = false;
    for (stream_capture& c : captures) {
        const bool is_own = c.thread == std::this_thread::get_id();
        const auto mode = thread().capture_mode;
        const bool forbids =
            mode == cudaStreamCaptureModeGlobal
                ? c.mode == cudaStreamCaptureModeGlobal || (is_own && c.mode != cudaStreamCaptureModeRelaxed)
                : mode == cudaStreamCaptureModeThreadLocal && is_own && c.mode != cudaStreamCaptureModeRelaxed;
        c.is_spoiled = c.is_spoiled || forbids;
        out = out || forbids;
    }
    if (out) report(kind::capture_spoiled, here() + " while a stream is captured");
    return out;
}

void model::break_device(int device, cudaError_t error) {
    broken[static_cast<std::size_t>(device)] = error;
    for (stream_state& s : streams_) {
        if (s.device != device) continue;
        s.pending.clear();
        s.done = s.issued;
        known_.raise(s.id, s.issued);
    }
    ++known_version_;
}

void model::report(kind what, std::string text) {
    if (violations.size() < most_violations) violations.push_back({what, std::move(text)});
}

std::string model::here() const { return tell(moment{0, 0, 0, log.size()}); }

std::string model::tell(const moment& at) const {
    std::string out = "call " + std::to_string(at.call);
    if (at.call != 0 && at.call <= log.size()) out += std::string(" (") + log[at.call - 1] + ')';
    if (at.number != 0) out += " in " + tell(streams_[at.stream]);
    return out;
}

std::string model::tell(const stream_state& stream) {
    if (stream.id == 0) return "GPUDirect Storage";
    const std::string device = " of device " + std::to_string(stream.device);
    return stream.is_null ? "the NULL stream" + device : "stream " + std::to_string(stream.id) + device;
}

model::thread_state& model::thread() {
    thread_local thread_state state;
    if (state.generation != generation_) {
        state = {};
        state.generation = generation_;
    }
    return state;
}

std::uint64_t model::random() {
    std::uint64_t z = random_state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// Streams.

stream_state& model::new_stream(int device, bool blocking, bool is_null) {
    stream_state& s = streams_.emplace_back();
    s.id = static_cast<stream_id>(streams_.size() - 1);
    s.device = device;
    s.blocking = blocking;
    s.is_null = is_null;
    s.created = log.size();
    s.now = std::make_shared<const clock>();
    return s;
}

stream_state* model::find(cudaStream_t handle) {
    if (handle == nullptr || handle == cudaStreamLegacy)
        return &streams_[static_cast<std::size_t>(thread().device) + 1];
    const auto at = handles_.find(handle);
    return at == handles_.end() ? nullptr : &streams_[at->second];
}

cudaStream_t model::add_stream(bool blocking) {
    const auto handle = reinterpret_cast<cudaStream_t>(next_handle_ += 0x40);
    handles_.emplace(handle, new_stream(thread().device, blocking, false).id);
    return handle;
}

void model::destroy(stream_state& stream, cudaStream_t handle) {
    if (known_.of(stream.id) < stream.last_work)
        report(kind::destroyed_in_use, here() + " destroys " + tell(stream) + " before its work is known to be done");
    stream.destroyed = true;
    handles_.erase(handle);
}

event_state* model::find(cudaEvent_t handle) {
    const auto at = events_.find(handle);
    return at == events_.end() ? nullptr : &at->second;
}

cudaEvent_t model::add_event() {
    const auto handle = reinterpret_cast<cudaEvent_t>(next_handle_ += 0x40);
    event_state& event = events_[handle];
    event.device = thread().device;
    event.created = log.size();
    return handle;
}

void model::issue(stream_state& stream, bool is_awaited, std::function<void(const work&)> run) {
    std::shared_ptr<clock> later;
    const auto now = [&]() -> clock& {
        if (!later) later = std::make_shared<clock>(*stream.now);
        return *later;
    };
    const auto join = [&](const stream_state& other) {
        if ((later ? *later : *stream.now).of(other.id) >= other.issued) return;
        now().raise(*other.now);
        now().raise(other.id, other.issued);
    };
    if (stream.seen != known_version_) {
        stream.seen = known_version_;
        if (!stream.now->covers(known_)) now().raise(known_);
    }
    if (stream.is_null) {
        for (const stream_state& other : streams_)
            if (other.device == stream.device && other.blocking && &other != &stream) join(other);
    } else if (stream.blocking) {
        join(streams_[static_cast<std::size_t>(stream.device) + 1]);
    }
    if (later) stream.now = std::move(later);
    ++stream.issued;
    if (is_awaited) stream.last_work = stream.issued;
    stream.pending.push_back({{stream.id, 0, stream.issued, log.size()}, stream.now, std::move(run)});
    if (with.how == mode::eager) run_to(stream, stream.issued);
}

void model::record(event_state& event, stream_state& stream) {
    issue(stream, false, {});
    event.stream = stream.id;
    event.number = stream.issued;
    event.at = stream.now;
    event.asked = 0;
}

void model::wait(stream_state& stream, const event_state& event) {
    if (event.number == 0) return;
    auto later = std::make_shared<clock>(*stream.now);
    later->raise(*event.at);
    later->raise(event.stream, event.number);
    stream.now = std::move(later);
    issue(stream, false, {});
}

void model::know(const stream_state& stream, std::uint64_t number, const clock& before) {
    if (known_.of(stream.id) >= number && known_.covers(before)) return;
    known_.raise(before);
    known_.raise(stream.id, number);
    ++known_version_;
}

void model::synchronise(stream_state& stream) {
    run_to(stream, stream.issued);
    know(stream, stream.issued, *stream.now);
}

void model::synchronise(event_state& event) {
    if (event.number == 0) return;
    stream_state& stream = streams_[event.stream];
    run_to(stream, event.number);
    know(stream, event.number, *event.at);
}

void model::synchronise_device(int device) {
    for (stream_state& s : streams_)
        if (s.device == device) synchronise(s);
}

bool model::is_done(int& asked, stream_state& stream, std::uint64_t number) {
    if (stream.done < number && ++asked > (with.how == mode::random ? most_random_polls : with.polls))
        run_to(stream, number);
    if (stream.done < number) return false;
    asked = 0;
    return true;
}

bool model::is_done(stream_state& stream) {
    const bool done = is_done(stream.asked, stream, stream.issued);
    if (done) know(stream, stream.issued, *stream.now);
    return done;
}

bool model::is_done(event_state& event) {
    if (event.number == 0) return true;
    stream_state& stream = streams_[event.stream];
    const bool done = is_done(event.asked, stream, event.number);
    if (done) know(stream, event.number, *event.at);
    return done;
}

std::optional<std::pair<stream_id, std::uint64_t>> model::blocker(const stream_state& stream) const {
    const clock& before = *stream.pending.front().before;
    for (stream_id s = 0; s < before.streams(); ++s)
        if (s != stream.id && streams_[s].done < before.of(s)) return std::pair{s, before.of(s)};
    return std::nullopt;
}

void model::run_front(stream_state& stream) {
    const work w = std::move(stream.pending.front());
    stream.pending.pop_front();
    if (w.run) w.run(w);
    stream.done = std::max(stream.done, w.at.number);
}

/// Does what this needs and no more; in the random mode also other things.
void model::run_to(stream_state& stream, std::uint64_t number) {
    std::vector<std::pair<stream_id, std::uint64_t>> goals{{stream.id, number}};
    while (!goals.empty()) {
        if (with.how == mode::random && random() % 2 == 0) run_any();
        stream_state& next = streams_[goals.back().first];
        if (next.done >= goals.back().second) goals.pop_back();
        else if (const auto other = blocker(next)) goals.push_back(*other);
        else run_front(next);
    }
}

void model::run_any() {
    const std::size_t start = random() % streams_.size();
    for (std::size_t i = 0; i < streams_.size(); ++i) {
        stream_state& s = streams_[(start + i) % streams_.size()];
        if (s.pending.empty() || blocker(s)) continue;
        run_front(s);
        return;
    }
}

void model::drain(int device) {
    for (stream_state& s : streams_)
        if (s.device == device) run_to(s, s.issued);
}

void model::drain() {
    for (stream_state& s : streams_) run_to(s, s.issued);
}

// Kernels by function and by name.

kernel_table& kernel_table::get() {
    static kernel_table& only = *new kernel_table;
    return only;
}

const launcher* kernel_table::find(const void* function) const {
    if (const auto at = by_function.find(function); at != by_function.end()) return &at->second;
    const auto named = names.find(function);
    if (named == names.end()) return nullptr;
    const std::string readable = demangled(named->second);
    for (auto i = by_name.rbegin(); i != by_name.rend(); ++i)
        if (i->first == named->second || readable.find(i->first) != std::string::npos) return &i->second;
    return nullptr;
}

} // namespace detail

using detail::kernel_table;
using detail::model;

namespace {

/// Runs f on the model while nothing else does.
template <class F> decltype(auto) with_model(F f) {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    return f(m);
}

} // namespace

const char* name(kind what) {
    switch (what) {
    case kind::race: return "race";
    case kind::source_changed: return "source_changed";
    case kind::pageable: return "pageable";
    case kind::out_of_bounds: return "out_of_bounds";
    case kind::bad_pointer: return "bad_pointer";
    case kind::use_after_free: return "use_after_free";
    case kind::unordered_allocation: return "unordered_allocation";
    case kind::freed_in_use: return "freed_in_use";
    case kind::destroyed_in_use: return "destroyed_in_use";
    case kind::bad_handle: return "bad_handle";
    case kind::wrong_device: return "wrong_device";
    case kind::read_only_memory: return "read_only_memory";
    case kind::private_mapping: return "private_mapping";
    case kind::unfinished_read: return "unfinished_read";
    case kind::unknown_kernel: return "unknown_kernel";
    case kind::bad_launch: return "bad_launch";
    case kind::capture_spoiled: return "capture_spoiled";
    case kind::storage: return "storage";
    case kind::unfinished_work: return "unfinished_work";
    case kind::leaked_memory: return "leaked_memory";
    case kind::leaked_registration: return "leaked_registration";
    case kind::leaked_stream: return "leaked_stream";
    case kind::leaked_event: return "leaked_event";
    case kind::device_not_restored: return "device_not_restored";
    }
    return "?";
}

void reset(const options& with) {
    with_model([&](model& m) { m.reset(with); });
}
void end(int device) {
    with_model([&](model& m) { m.end(device); });
}
std::vector<violation> violations() {
    return with_model([](model& m) { return m.violations; });
}
std::size_t count(kind what) {
    return with_model([&](model& m) {
        return static_cast<std::size_t>(std::count_if(m.violations.begin(), m.violations.end(),
                                                      [&](const violation& v) { return v.what == what; }));
    });
}
std::string report() {
    std::string out;
    for (const violation& v : violations()) out += std::string(name(v.what)) + ": " + v.text + '\n';
    return out;
}
void fail_call(std::uint64_t n, cudaError_t error, bool sticky) {
    with_model([&](model& m) { m.failures[n] = {error, sticky}; });
}
std::uint64_t calls() {
    return with_model([](model& m) { return m.log.size(); });
}
std::vector<const char*> log() {
    return with_model([](model& m) { return m.log; });
}
counters totals() {
    return with_model([](model& m) { return m.total; });
}
std::vector<std::byte> read(const void* device, std::size_t bytes) {
    return with_model([&](model& m) { return m.read(device, bytes); });
}
void set_peer_access(int device, int other, bool can) {
    with_model([&](model& m) {
        if (can) m.unreachable.erase({device, other});
        else m.unreachable.insert({device, other});
    });
}
bool has_context(int device) {
    return with_model([&](model& m) { return static_cast<bool>(m.contexts[static_cast<std::size_t>(device)]); });
}
void set_memory(int device, std::size_t bytes) {
    with_model([&](model& m) { m.capacity[static_cast<std::size_t>(device)] = bytes; });
}
void set_attribute(int device, cudaDeviceAttr attribute, int value) {
    with_model([&](model& m) { m.attributes[{device, attribute}] = value; });
}
void set_body(const void* function, launcher with) {
    with_model([&](model&) { kernel_table::get().by_function[function] = std::move(with); });
}
void set_body(std::string_view name, launcher with) {
    with_model([&](model&) { kernel_table::get().by_name.emplace_back(name, std::move(with)); });
}

} // namespace cuda_double
