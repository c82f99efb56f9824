// tests/gpu/cufile_double.cpp: a double of GPUDirect Storage, as the library libcufile.so.0.
//
// SPDX-License-Identifier: MIT
// In:      the calls of a program that opens the library by its name, and that is linked with cuda_double.
// Out:     bytes of files in the shadow memory of devices.
// Refuses: what the library would refuse, and what a test asks for (cufile_double.hpp).
#include "cufile_double.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>

// The part of cufile.h that is used, in the layout of the library.
extern "C" {

struct CUfileError_t {
    int err;
    int cu_err;
};
struct CUfileDescr_t {
    int type; ///< 1: a file descriptor
    union {
        int fd;
        void* handle;
    } handle;
    const void* fs_ops;
};

struct CUfileDrvProps_t {
    struct {
        unsigned major_version;
        unsigned minor_version;
        std::size_t poll_thresh_size;
        std::size_t max_direct_io_size;
        unsigned dstatusflags;
        unsigned dcontrolflags;
    } nvfs;
    unsigned others[6];
};

CUfileError_t cuFileDriverOpen();
CUfileError_t cuFileDriverClose();
CUfileError_t cuFileDriverClose_v2(); ///< the name that the header gives the same function
CUfileError_t cuFileDriverGetProperties(CUfileDrvProps_t* out);
CUfileError_t cuFileHandleRegister(void** out, CUfileDescr_t* file);
void cuFileHandleDeregister(void* handle);
CUfileError_t cuFileBufRegister(const void* device, std::size_t bytes, int flags);
CUfileError_t cuFileBufDeregister(const void* device);
ssize_t cuFileRead(void* handle, void* device, std::size_t bytes, off_t file_offset, off_t device_offset);
}

namespace {

enum : int {
    success = 0,
    driver_not_initialised = 5001,
    file_not_supported = 5008,
    bad_device_pointer = 5012,
    invalid_value = 5022,
    already_registered = 5023,
    memory_not_registered = 5024,
    driver_already_open = 5026,
    handle_not_registered = 5027,
    internal_error = 5030,
};

struct open_file {
    int fd{-1};  ///< the caller's
    int own{-1}; ///< without O_DIRECT, whose alignment the library hides
};

struct state {
    std::mutex mutex{};
    cufile_failure failure{cufile_no_failure};
    unsigned long good_reads{0};
    unsigned long reads{0};
    unsigned long bytes{0};
    unsigned long together{0}; ///< so many reads wait for each other
    unsigned long in_flight{0};
    unsigned long most_in_flight{0};
    unsigned long registered{0}; ///< buffers so far
    std::condition_variable arrived{};
    bool is_open{false};
    std::map<void*, open_file> files{};
    std::map<const void*, std::size_t> buffers{};
    std::size_t next_handle{0};
};

state& all() {
    static state& only = *new state;
    return only;
}

template <class F> F* find_in_program(const char* name) { return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name)); }

void report(const std::string& text) {
    if (auto* const f = find_in_program<void(const char*)>("cuda_double_storage")) f(text.c_str());
}

CUfileError_t fails(int code) { return {code, 0}; }

/// Whether the program's double has this device memory.
bool is_allocated(const void* device, std::size_t bytes) {
    auto* const f = find_in_program<bool(const void*, std::size_t)>("cuda_double_is_allocated");
    return f != nullptr && f(device, bytes);
}

/// Counts a read while it runs. Where a test wants several at once, it waits for the others, up to a second.
struct flight {
    state& of;
    explicit flight(state& s) : of{s} {
        std::unique_lock lock{of.mutex};
        of.most_in_flight = std::max(of.most_in_flight, ++of.in_flight);
        of.arrived.notify_all();
        of.arrived.wait_for(lock, std::chrono::seconds{1}, [&] { return of.most_in_flight >= of.together; });
    }
    flight(const flight&) = delete;
    flight& operator=(const flight&) = delete;
    ~flight() {
        const std::lock_guard lock{of.mutex};
        --of.in_flight;
    }
};

/// Whether this read is the one to fail so.
bool fails_now(state& s, cufile_failure how) { return s.failure == how && s.reads == s.good_reads + 1; }

} // namespace

extern "C" {

CUfileError_t cuFileDriverOpen() {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    if (s.failure == cufile_no_driver) return fails(driver_not_initialised);
    if (s.is_open) return fails(driver_already_open);
    s.is_open = true;
    return fails(success);
}

CUfileError_t cuFileDriverClose() {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    if (!s.is_open) report("the driver is closed, but not open");
    if (!s.buffers.empty()) report("the driver is closed while buffers are registered");
    s.is_open = false;
    return fails(success);
}
CUfileError_t cuFileDriverClose_v2() { return cuFileDriverClose(); }

CUfileError_t cuFileDriverGetProperties(CUfileDrvProps_t* out) {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    if (!s.is_open) report("the driver is asked for its properties, but not open");
    if (s.failure == cufile_no_properties) return fails(internal_error);
    *out = {};
    if (s.failure != cufile_no_direct_way) out->nvfs = {2, 25, 4, 16'384, 1u << 1, 0}; // for NVMe disks
    return fails(success);
}

CUfileError_t cuFileHandleRegister(void** out, CUfileDescr_t* file) {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    if (s.failure == cufile_no_file_system) return fails(file_not_supported);
    if (file->type != 1 || fcntl(file->handle.fd, F_GETFL) == -1) {
        report("a handle is registered for what is no open file");
        return fails(invalid_value);
    }
    const std::string path = "/proc/self/fd/" + std::to_string(file->handle.fd);
    const int own = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (own < 0) return fails(file_not_supported);
    *out = reinterpret_cast<void*>(s.next_handle += 0x100);
    s.files[*out] = {file->handle.fd, own};
    return fails(success);
}

void cuFileHandleDeregister(void* handle) {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    const auto at = s.files.find(handle);
    if (at == s.files.end()) return report("a handle is deregistered that is not registered");
    if (fcntl(at->second.fd, F_GETFD) == -1) report("a file was closed before its handle was deregistered");
    close(at->second.own);
    s.files.erase(at);
}

CUfileError_t cuFileBufRegister(const void* device, std::size_t bytes, int) {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    if (s.failure == cufile_no_buffer) return fails(internal_error);
    if (!is_allocated(device, bytes)) {
        report("a buffer is registered that is no memory of a device");
        return fails(bad_device_pointer);
    }
    if (!s.buffers.emplace(device, bytes).second) return fails(already_registered);
    ++s.registered;
    return fails(success);
}

CUfileError_t cuFileBufDeregister(const void* device) {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    const auto at = s.buffers.find(device);
    if (at == s.buffers.end()) {
        report("a buffer is deregistered that is not registered");
        return fails(memory_not_registered);
    }
    if (!is_allocated(device, at->second)) report("memory was freed before its buffer was deregistered");
    if (s.in_flight != 0) report("a buffer is deregistered while something is read");
    s.buffers.erase(at);
    return fails(success);
}

ssize_t cuFileRead(void* handle, void* device, std::size_t bytes, off_t file_offset, off_t device_offset) {
    state& s = all();
    const flight counted{s};
    int fd = -1;
    {
        const std::lock_guard lock{s.mutex};
        ++s.reads;
        const auto file = s.files.find(handle);
        if (file == s.files.end()) {
            report("a read by a handle that is not registered");
            return -handle_not_registered;
        }
        if (fcntl(file->second.fd, F_GETFD) == -1) {
            report("a read from a file that was closed");
            return -invalid_value;
        }
        const auto buffer = s.buffers.find(device);
        if (buffer != s.buffers.end() && (static_cast<std::size_t>(device_offset) > buffer->second ||
                                          bytes > buffer->second - static_cast<std::size_t>(device_offset))) {
            report("a read past the end of a registered buffer");
            return -invalid_value;
        }
        if (fails_now(s, cufile_failing_read)) return -internal_error;
        if (fails_now(s, cufile_failing_file_read)) {
            errno = EIO;
            return -1;
        }
        if (fails_now(s, cufile_short_read)) bytes /= 2;
        fd = file->second.own;
    }
    auto* const shadow = find_in_program<void*(void*, std::size_t)>("cuda_double_shadow");
    if (shadow == nullptr || bytes == 0) return 0;
    void* const to = shadow(static_cast<std::byte*>(device) + device_offset, bytes);
    if (to == nullptr) return -bad_device_pointer;
    const ssize_t got = pread(fd, to, bytes, file_offset);
    if (got > 0) {
        const std::lock_guard lock{s.mutex};
        s.bytes += static_cast<unsigned long>(got);
    }
    return got;
}

void cufile_double_reset(cufile_failure failure, unsigned long good_reads) {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    for (const auto& [handle, file] : s.files) close(file.own);
    s.files.clear();
    s.buffers.clear();
    s.is_open = false;
    s.failure = failure;
    s.good_reads = good_reads;
    s.reads = s.bytes = s.together = s.most_in_flight = s.registered = 0;
}
void cufile_double_together(unsigned long reads) {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    s.together = reads;
}
unsigned long cufile_double_most_in_flight() {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    return s.most_in_flight;
}
unsigned long cufile_double_registered() {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    return s.registered;
}
unsigned long cufile_double_reads() {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    return s.reads;
}
unsigned long cufile_double_bytes() {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    return s.bytes;
}
void cufile_double_end() {
    state& s = all();
    const std::lock_guard lock{s.mutex};
    if (!s.files.empty()) report(std::to_string(s.files.size()) + " handles are still registered");
    if (!s.buffers.empty()) report(std::to_string(s.buffers.size()) + " buffers are still registered");
    if (s.is_open) report("the driver is still open");
}

} // extern "C"
