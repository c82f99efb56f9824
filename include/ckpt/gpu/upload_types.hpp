// ckpt/gpu/upload_types.hpp: what uploads are told, and what they report.
//
// SPDX-License-Identifier: MIT
// In:      which tensors, as which types, for which device, how they lie there; how files are read; who is told of
//          progress; memory of the caller's.
// Out:     plain data. `plan_upload` (gpu/upload_plan.hpp) and `upload` (cuda.hpp) take it and give it.
// Refuses: at compile time, a progress callback that would be gone before the upload ends.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/gpu/kernels.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How tensors lie in device memory.
enum class upload_layout : std::uint8_t {
    file_image, ///< runs of the file as they are, so that many tensors are one copy; aligned as in the file
    packed      ///< what is used of each storage at a multiple of `alignment`, nothing between them
};

/// The tensors that match `keys` become `to`, as Module.to(dtype) does: a floating `to` leaves integers alone.
struct upload_cast {
    pattern keys;
    dtype to{};
};

/// What a plan is to be like.
struct upload_plan_options {
    std::vector<pattern> select{};    ///< keys that are uploaded; empty: all
    std::vector<upload_cast> casts{}; ///< the first that matches counts
    upload_layout layout{upload_layout::file_image};
    std::uint64_t alignment{256};                      ///< of what is packed or built; a power of two, 16 to 4,096
    std::uint64_t piece_bytes{std::uint64_t{8} << 20}; ///< most bytes that are staged at once; a multiple of 4,096
    const device_kernels* kernels{};                   ///< conversions that the device does; null: the host does all
};

/// A state_dict and the device that it goes to.
struct upload_target {
    int device{0};
    state_dict weights;
};

/// Who makes the elements of a tensor.
enum class upload_way : std::uint8_t {
    stored, ///< they are copied as they lie in the file
    host,   ///< the host gathers or converts them while they are staged
    device  ///< the device converts them
};

/// How the bytes of files reach the host's memory, or the device. What does not work falls back to `buffered`, and the
/// report says why.
enum class upload_source : std::uint8_t {
    buffered,  ///< positioned reads through the system's cache
    direct,    ///< reads that bypass it: for cold files, at a fraction of the processor time
    mapped,    ///< the file's mapping, pinned in windows, where the device can read it
    gpu_direct ///< past the host, by a `direct_reader`
};

/// How far an upload is.
struct upload_progress {
    std::uint64_t done{};  ///< bytes whose copies were issued
    std::uint64_t total{}; ///< bytes of the plan
};

/// A function `bool(const upload_progress&)`, or an object with such a call, which the caller keeps while the upload
/// runs: one that would be gone by then does not compile. False stops the upload.
class progress_callback {
  public:
    progress_callback() noexcept = default;
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, progress_callback> &&
                 std::is_invocable_r_v<bool, F&, const upload_progress&> &&
                 (std::is_lvalue_reference_v<F> || std::is_convertible_v<F, bool (*)(const upload_progress&)>))
    progress_callback(F&& f) noexcept {
        if constexpr (std::is_convertible_v<F, bool (*)(const upload_progress&)>) {
            function_ = f;
        } else {
            object_ = const_cast<void*>(static_cast<const void*>(&f));
            call_ = [](void* object, const upload_progress& p) -> bool {
                return (*static_cast<std::remove_reference_t<F>*>(object))(p);
            };
        }
    }
    [[nodiscard]] bool operator()(const upload_progress& p) const {
        if (function_ != nullptr) return function_(p);
        return call_ == nullptr || call_(object_, p);
    }

  private:
    bool (*function_)(const upload_progress&){nullptr};
    void* object_{nullptr};
    bool (*call_)(void*, const upload_progress&){nullptr};
};

/// Device memory of the caller's.
struct device_place {
    void* data{};
    std::size_t bytes{};
};

/// What an upload did.
struct upload_report {
    std::uint64_t bytes{};        ///< read and built, each once
    std::uint64_t copies{};       ///< issued to devices
    std::uint64_t pinned_bytes{}; ///< of staging memory; windows of a mapping are beside it, at most one for each slot
    std::uint64_t verified{};     ///< records whose checksum was compared
    std::uint64_t unverified{};   ///< where `verify` was asked for: storages read in part, or without a checksum
    std::string fallback{};       ///< why not everything was read as `source` says; empty where it was
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
