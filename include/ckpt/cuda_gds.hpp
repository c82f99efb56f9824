// ckpt/cuda_gds.hpp: GPUDirect Storage, where libcufile is installed.
//
// SPDX-License-Identifier: MIT
// In:      nothing; the library is looked for when a program asks for it, and is no dependency.
// Out:     `gds()`, the owner of the opened driver, whose `reader()` is an option of `ckpt::cuda::upload`.
// Refuses: nothing: where library, driver or file system cannot do it, there is a reason, and the upload stages as
//          usual.
//
// No CUDA header is needed. The library has a configuration and a log file of its own (cufile.json), and may itself go
// by way of the host's memory ("compatibility mode") where it has no direct way. Where it has none at all, the report
// of the upload says so; it does not tell for each file.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/direct_read.hpp>

#if defined(__linux__)
#include <cerrno>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>
#endif

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

// ---- what libcufile.so.0 has, in the layout that it has had since its first version

struct cufile_status {
    int error{};
    int cuda_error{}; ///< of the driver, where `error` is `cufile_cuda_error`
};

struct cufile_descriptor {
    int type{1}; ///< a file descriptor
    union {
        int fd;
        void* other;
    } file{};
    const void* operations{};
};

/// The beginning of what the library tells of its driver. What follows has grown with its versions.
struct cufile_properties {
    unsigned major_version{}; ///< of the nvidia-fs driver; 0: there is none
    unsigned minor_version{};
    std::size_t poll_threshold{};
    std::size_t most_direct_bytes{};
    unsigned status_flags{}; ///< a bit for each kind of file system, disk or network that has a direct way
    unsigned control_flags{};
    std::byte rest[256]{};
};

inline constexpr int cufile_cuda_error = 5011;
inline constexpr int cufile_already_open = 5026;

/// What a number of the library means, for those that a user can do something about.
[[nodiscard]] constexpr std::string_view cufile_meaning(int number) noexcept {
    switch (number) {
    case 5001: return "the nvidia-fs driver is not loaded";
    case 5004: return "the nvidia-fs driver has another version";
    case 5007: return "this platform is not supported";
    case 5008: return "the file system is not supported";
    case 5009: return "this GPU is not supported";
    case cufile_cuda_error: return "the CUDA driver failed";
    case 5018: return "this is no regular file";
    case 5019: return "the file is opened in a mode that is not supported";
    case 5020: return "the file is not opened with O_DIRECT";
    case 5025: return "permission denied";
    case 5034: return "the configuration of the library forbids it for this file";
    default: return {};
    }
}

[[nodiscard]] inline std::string cufile_message(std::string_view what, cufile_status status) {
    std::string out = str_cat(what, " failed with ", static_cast<std::int64_t>(status.error));
    if (const std::string_view meaning = cufile_meaning(status.error); !meaning.empty()) (out += ": ") += meaning;
    if (status.error == cufile_cuda_error) out += str_cat(" with ", static_cast<std::int64_t>(status.cuda_error));
    return out;
}

// ---- the driver, and files

#if defined(__linux__)

inline constexpr const char* kernel_modules = "/proc/modules";

/// The library with its driver open, or why it is not. Files share it with the owner: the driver is closed by the last.
class gds_state final : public counted {
  public:
    /// `modules` is `kernel_modules`: where there is no such file, as in some containers, the library (1.20) searches
    /// it without end.
    explicit gds_state(const char* modules) {
        if (::access(modules, R_OK) != 0) {
            reason_ = str_cat(modules, " cannot be read, in which the library looks for its drivers");
            return;
        }
        // RTLD_NODELETE: the library has threads of its own, whose code must stay when it is closed.
        library_ = ::dlopen("libcufile.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library_ == nullptr) {
            const char* why = ::dlerror();
            reason_ = why != nullptr ? std::string_view(why).substr(0, 200)
                                     : std::string_view("libcufile.so.0 cannot be loaded");
            return;
        }
        cufile_status (*driver_open)() = nullptr;
        // cufile.h maps cuFileDriverClose to the _v2 function, which counts users; old libraries have the first name
        // only.
        if (!find("cuFileDriverClose_v2", driver_close_)) find("cuFileDriverClose", driver_close_);
        if (!find("cuFileDriverOpen", driver_open) || driver_close_ == nullptr ||
            !find("cuFileHandleRegister", handle_register_) || !find("cuFileHandleDeregister", handle_deregister_) ||
            !find("cuFileRead", read_)) {
            reason_ = "libcufile.so.0 lacks a function";
            return;
        }
        const cufile_status status = driver_open();
        opened_ = status.error == 0;
        // Where another part of the program has opened the driver, that part closes it.
        if (!opened_ && status.error != cufile_already_open) {
            reason_ = cufile_message("cuFileDriverOpen", status);
            return;
        }
        if (!find("cuFileBufRegister", buffer_register_) || !find("cuFileBufDeregister", buffer_deregister_))
            buffer_register_ = nullptr;
        cufile_status (*get_properties)(cufile_properties*) = nullptr;
        cufile_properties driver;
        if (find("cuFileDriverGetProperties", get_properties) && get_properties(&driver).error == 0 &&
            driver.major_version == 0 && driver.status_flags == 0)
            detour_ = "libcufile reads through the host's memory: it has a direct way for no kind of file system here";
    }
    gds_state(const gds_state&) = delete;
    gds_state& operator=(const gds_state&) = delete;
    ~gds_state() override {
        if (opened_) driver_close_();
        if (library_ != nullptr) ::dlclose(library_);
    }

    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
    [[nodiscard]] const direct_reader& reader() const noexcept { return reader_; }

  private:
    struct file {
        shared<gds_state> driver{};
        void* handle{};
        int fd{-1};
    };

    template <class F> bool find(const char* name, F*& out) noexcept {
        out = reinterpret_cast<F*>(::dlsym(library_, name));
        return out != nullptr;
    }

    /// The library wants a descriptor with O_DIRECT, which the caller's cannot be given without its other reads feeling
    /// it. Where the file system has no such thing newer versions take one without, and older ones refuse it.
    [[nodiscard]] static int reopen(int fd) {
        const std::string path = str_cat("/proc/self/fd/", static_cast<std::int64_t>(fd));
        const int direct = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
        return direct >= 0 || errno != EINVAL ? direct : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    }

    static void* open(void* context, int fd, std::string& reason) {
        auto& driver = *static_cast<gds_state*>(context);
        if (!driver.reason_.empty()) {
            reason = driver.reason_;
            return nullptr;
        }
        const int own = reopen(fd);
        if (own < 0) {
            reason = str_cat("the file cannot be opened once more: error ", errno);
            return nullptr;
        }
        cufile_descriptor descriptor;
        descriptor.file.fd = own;
        void* handle = nullptr;
        const cufile_status status = driver.handle_register_(&handle, &descriptor);
        if (status.error != 0) {
            ::close(own);
            reason = cufile_message("cuFileHandleRegister", status);
            return nullptr;
        }
        return new file{shared<gds_state>{&driver}, handle, own};
    }

    static std::int64_t read(void* handle, void* device_base, std::uint64_t bytes, std::uint64_t file_offset,
                             std::uint64_t device_offset) {
        const auto& from = *static_cast<const file*>(handle);
        std::uint64_t done = 0;
        while (done < bytes) {
            errno = 0;
            const ::ssize_t got = from.driver->read_(from.handle, device_base, static_cast<std::size_t>(bytes - done),
                                                     static_cast<::off_t>(file_offset + done),
                                                     static_cast<::off_t>(device_offset + done));
            if (got < 0)
                return got == -1 ? -static_cast<std::int64_t>(errno != 0 ? errno : EIO)
                                 : static_cast<std::int64_t>(got);
            if (got == 0) break;
            done += static_cast<std::uint64_t>(got);
        }
        return static_cast<std::int64_t>(done);
    }

    static void close(void* handle) {
        auto* from = static_cast<file*>(handle);
        from->driver->handle_deregister_(from->handle);
        ::close(from->fd);
        delete from;
    }

    static bool add_memory(void* context, void* base, std::uint64_t bytes) {
        const auto& driver = *static_cast<gds_state*>(context);
        return driver.buffer_register_ != nullptr &&
               driver.buffer_register_(base, static_cast<std::size_t>(bytes), 0).error == 0;
    }
    static void drop_memory(void* context, void* base) {
        (void)static_cast<gds_state*>(context)->buffer_deregister_(base);
    }
    static std::string detour(void* context) { return static_cast<gds_state*>(context)->detour_; }

    void* library_{};
    cufile_status (*driver_close_)(){};
    cufile_status (*handle_register_)(void** handle, cufile_descriptor* descriptor){};
    void (*handle_deregister_)(void* handle){};
    ::ssize_t (*read_)(void* handle, void* device_base, std::size_t bytes, ::off_t file_offset,
                       ::off_t device_offset){};
    cufile_status (*buffer_register_)(const void* device_base, std::size_t bytes, int flags){};
    cufile_status (*buffer_deregister_)(const void* device_base){};
    bool opened_{false};
    std::string reason_{};
    std::string detour_{};
    direct_reader reader_{.context = this,
                          .open = &gds_state::open,
                          .read = &gds_state::read,
                          .close = &gds_state::close,
                          .add_memory = &gds_state::add_memory,
                          .drop_memory = &gds_state::drop_memory,
                          .detour = &gds_state::detour};
};

#else

inline constexpr const char* kernel_modules = "";

/// Where the library does not exist.
class gds_state final : public counted {
  public:
    explicit gds_state(const char*) {}
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
    [[nodiscard]] const direct_reader& reader() const noexcept { return reader_; }

  private:
    static void* open(void* context, int, std::string& reason) {
        reason = static_cast<gds_state*>(context)->reason_;
        return nullptr;
    }
    std::string reason_{"GPUDirect Storage exists for Linux only"};
    direct_reader reader_{.context = this, .open = &gds_state::open};
};

#endif

struct gds_access;

} // namespace detail

namespace cuda {

/// Keeps the driver of GPUDirect Storage open. Files that an upload has open keep it, too. Moves, does not copy.
class gds_driver {
  public:
    gds_driver(const gds_driver&) = delete;
    gds_driver(gds_driver&&) noexcept = default;
    gds_driver& operator=(const gds_driver&) = delete;
    gds_driver& operator=(gds_driver&&) noexcept = default;
    ~gds_driver() = default;

    /// Why nothing can be read so; empty where the driver is open. A file may still be refused.
    [[nodiscard]] std::string reason() const { return state_ ? state_->reason() : "the driver was moved away"; }
    /// For `ckpt::cuda::upload`, as long as this lives; never null, unless it was moved away. What it cannot read is
    /// staged.
    [[nodiscard]] const direct_reader* reader() const& noexcept { return state_ ? &state_->reader() : nullptr; }
    const direct_reader* reader() const&& = delete; // it goes with the file's handle: name the object first

  private:
    friend struct detail::gds_access;
    explicit gds_driver(detail::shared<detail::gds_state> state) noexcept : state_{std::move(state)} {}
    detail::shared<detail::gds_state> state_;
};

} // namespace cuda

namespace detail {

/// Makes the owner of a driver. `modules`: see `gds_state`.
struct gds_access {
    [[nodiscard]] static cuda::gds_driver open(const char* modules) {
        return cuda::gds_driver{detail::make_shared<gds_state>(modules)};
    }
};

} // namespace detail

namespace cuda {

/// Looks for the library and opens its driver. Never fails: `reason()` says what is missing.
[[nodiscard]] inline gds_driver gds() { return detail::gds_access::open(detail::kernel_modules); }

} // namespace cuda
} // namespace ckpt::inline CKPT_DETAIL_ABI
