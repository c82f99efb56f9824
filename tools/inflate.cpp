// How `ckpt` reads compressed records: through zlib, where the build found it (CKPT_TOOL_ZLIB).
#include "common.hpp"

#if defined(CKPT_TOOL_ZLIB)
#define ZLIB_CONST
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>
#endif

namespace tool {

#if defined(CKPT_TOOL_ZLIB)

namespace {

void* begin(void*) {
    constexpr int raw_deflate = -15;
    auto* const state = new (std::nothrow) z_stream{};
    if (state == nullptr || inflateInit2(state, raw_deflate) == Z_OK) return state;
    delete state;
    return nullptr;
}

/// zlib counts in 32 bits, so large ranges go in parts.
ckpt::inflater::outcome next(void* of, std::span<const std::byte>& in, std::span<std::byte>& out) {
    using outcome = ckpt::inflater::outcome;
    z_stream& state = *static_cast<z_stream*>(of);
    const auto part = [](std::size_t n) {
        return static_cast<uInt>(std::min<std::size_t>(n, std::numeric_limits<uInt>::max()));
    };
    for (;;) {
        const uInt given = part(in.size()), free = part(out.size());
        Bytef nothing{};
        state.next_in = reinterpret_cast<const Bytef*>(in.data());
        state.next_out = out.empty() ? &nothing : reinterpret_cast<Bytef*>(out.data());
        state.avail_in = given;
        state.avail_out = free;
        const int status = inflate(&state, Z_NO_FLUSH); // Z_BUF_ERROR where neither goes on
        in = in.subspan(given - state.avail_in);
        out = out.subspan(free - state.avail_out);
        if (status == Z_STREAM_END) return outcome::finished;
        if (status == Z_BUF_ERROR) return outcome::going;
        if (status != Z_OK) return outcome::failed;
        if (in.empty() || out.empty()) return outcome::going;
    }
}

void end(void* of) {
    auto* const state = static_cast<z_stream*>(of);
    (void)inflateEnd(state);
    delete state;
}

void* copy(void* of) {
    auto* const state = new (std::nothrow) z_stream{};
    if (state == nullptr || inflateCopy(state, static_cast<z_stream*>(of)) == Z_OK) return state;
    delete state;
    return nullptr;
}

} // namespace

ckpt::inflater inflater() noexcept { return {begin, next, end, nullptr, copy}; }

#else

ckpt::inflater inflater() noexcept { return {}; }

#endif

} // namespace tool
