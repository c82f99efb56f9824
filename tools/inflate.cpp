// How `ckpt` reads compressed records: through zlib, where the build found it (CKPT_TOOL_ZLIB).
#include "common.hpp"

#if defined(CKPT_TOOL_ZLIB)
#define ZLIB_CONST
#include <zlib.h>

#include <algorithm>
#include <limits>
#endif

namespace tool {

#if defined(CKPT_TOOL_ZLIB)

namespace {

/// As ckpt::inflater wants it; zlib counts in 32 bits, so large ranges go in parts.
std::size_t inflate_all(void*, std::span<const std::byte> in, std::span<std::byte> out) {
    constexpr int raw_deflate = -15;
    z_stream state{};
    if (inflateInit2(&state, raw_deflate) != Z_OK) return ckpt::inflater::failed;
    Bytef nothing{};
    state.next_in = reinterpret_cast<const Bytef*>(in.data());
    state.next_out = out.empty() ? &nothing : reinterpret_cast<Bytef*>(out.data());
    std::size_t unread = in.size(), room = out.size();
    const auto part = [](std::size_t n) {
        return static_cast<uInt>(std::min<std::size_t>(n, std::numeric_limits<uInt>::max()));
    };
    int status = Z_OK;
    while (status == Z_OK) {
        const uInt given = part(unread), free = part(room);
        state.avail_in = given;
        state.avail_out = free;
        status = inflate(&state, Z_NO_FLUSH); // Z_BUF_ERROR where neither goes on
        unread -= given - state.avail_in;
        room -= free - state.avail_out;
    }
    (void)inflateEnd(&state);
    return status == Z_STREAM_END ? out.size() - room : ckpt::inflater::failed;
}

} // namespace

ckpt::inflater inflater() noexcept { return {inflate_all, nullptr}; }

#else

ckpt::inflater inflater() noexcept { return {}; }

#endif

} // namespace tool
