// ckpt/pickle/whole_call.hpp: a call that a pickle writes as one run of opcodes, read at once.
//
// SPDX-License-Identifier: MIT
// In:      bytes of a pickle behind the two MARKs with which the arguments of such a call begin; the memo.
// Out:     the arguments, for a maker that may know what they mean; where the run ends.
// Refuses: nothing: a run of any other form, or near the end of the pickle, is left to the machine, opcode by opcode.
//
// The form is that in which every tensor of torch.save but the first is written:
//     f(persistent((tag, type, key, place, count)), offset, sizes, steps, flag, g())
// with tag, type, place and g out of the memo, and each tuple and each result put into the next entry of the memo.
#pragma once

#include <ckpt/core/reader.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/opcode.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct whole_call {
    static constexpr std::uint32_t most_rank = 5;

    std::uint32_t callable{}; ///< f; this and the next four are nodes
    std::uint32_t tag{};
    std::uint32_t type{};
    std::uint32_t place{};
    std::uint32_t empty_callable{}; ///< g
    std::uint32_t rank{};           ///< of `sizes` and of `steps`
    std::string_view key{};         ///< ASCII
    std::uint64_t count{};
    std::uint64_t offset{};
    bool flag{};
    std::int64_t numbers[std::size_t{2} * most_rank]; ///< sizes, then steps; not negative
};

/// What knows the meaning of such calls. `torch/` implements it.
class whole_call_maker {
  public:
    virtual ~whole_call_maker() = default;
    /// Sets `out` to the value of the call. False where anything about it is unusual: nothing has changed then, and the
    /// machine records the call, so that the resolver finds out what is wrong with it.
    [[nodiscard]] virtual bool make(const whole_call& call, node& out) = 0;
    /// Forgets all values that it made: the machine begins again, and records every call.
    virtual void forget() noexcept = 0;
};

/// Reads such a run.
class whole_call_reader {
  public:
    /// The most bytes of a run behind the two MARKs, but for the text of its key.
    static constexpr std::size_t most_bytes = 140;

    /// `at`: behind the two MARKs, with at least `most_bytes` before `end`. `next`: the next entry of the memo.
    whole_call_reader(const graph& of, std::span<const std::uint32_t> memo, const char* at, const char* end,
                      std::uint64_t next) noexcept
        : graph_{of}, memo_{memo}, at_{at}, end_{end}, next_{next} {}

    [[nodiscard]] bool read(whole_call& out) noexcept;

    /// Behind a run: a text that is put, and `callable` out of the memo.
    [[nodiscard]] bool read_next(std::string_view& text, std::uint32_t callable) noexcept;

    /// Behind what was read.
    [[nodiscard]] const char* at() const noexcept { return at_; }
    /// The entry behind the last that was put: that of the result, or of the text.
    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }

  private:
    [[nodiscard]] bool arguments(whole_call& out) noexcept;
    /// A text that is put.
    [[nodiscard]] bool read_key(std::string_view& out) noexcept;
    [[nodiscard]] opcode here() const noexcept { return static_cast<opcode>(static_cast<unsigned char>(*at_)); }
    [[nodiscard]] bool is(opcode op) noexcept {
        if (here() != op) return false;
        ++at_;
        return true;
    }
    template <class T> [[nodiscard]] T number() const noexcept {
        return load_le<T>(reinterpret_cast<const std::byte*>(at_ + 1));
    }
    /// A GET.
    [[nodiscard]] bool get(std::uint32_t& out) noexcept;
    /// A PUT into the next entry.
    [[nodiscard]] bool put() noexcept;
    /// The same, or one out of the memo.
    [[nodiscard]] bool text(std::string_view& out) noexcept;
    /// A number that is not negative.
    [[nodiscard]] bool integer(std::uint64_t& out) noexcept;
    /// A tuple of them, which is put unless it is empty. `rank`: how many there were.
    [[nodiscard]] bool integers(std::int64_t* out, std::uint32_t& rank) noexcept;

    const graph& graph_;
    std::span<const std::uint32_t> memo_;
    const char* at_;
    const char* end_;
    std::uint64_t next_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/whole_call.ipp>
#endif
