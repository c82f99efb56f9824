// tools/progress.hpp: how far a command has come, on one line of a terminal; the end by Ctrl-C.
//
// SPDX-License-Identifier: MIT
// In:      what the library tells while it reads.
// Out:     a line on standard error, where that is a terminal and the command takes more than a second.
// Refuses: to go on after Ctrl-C.
#pragma once

#include "commands.hpp"

#include <ckpt/core/progress.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <chrono>
#include <cstdint>

namespace tool {

/// From now on Ctrl-C, SIGTERM and the end of the terminal end the program with `exit_of_interrupt`: at once, or where
/// something is read or written as soon as the library has noticed, which takes the line away and leaves no part of a
/// file.
void catch_interrupts() noexcept;
/// Whether Ctrl-C was pressed, or the program was told to end.
[[nodiscard]] bool interrupted() noexcept;
/// 130 after Ctrl-C, 143 after SIGTERM, 129 after the end of the terminal.
[[nodiscard]] int exit_of_interrupt() noexcept;

/// Takes the line away, so that something else can be written. The next call of the library writes it again.
void hide_progress() noexcept;

/// The progress of a command that reads. There is one at a time.
class progress_line {
  public:
    /// Of one call of the library, which says how many bytes there are.
    explicit progress_line(const options& wanted) noexcept : progress_line{wanted, 0} {}
    /// `total`: the bytes of all calls of the library that get this object.
    progress_line(const options& wanted, std::uint64_t total) noexcept;
    progress_line(const progress_line&) = delete;
    progress_line& operator=(const progress_line&) = delete;
    ~progress_line();

    /// For the library. False after Ctrl-C.
    bool operator()(const ckpt::progress& of_this_call);
    /// A call is through, which was about so many bytes.
    void next(std::uint64_t bytes) noexcept { before_ += bytes; }

  private:
    void write(std::uint64_t done, std::uint64_t total, std::chrono::duration<double> elapsed);

    std::chrono::steady_clock::time_point began_;
    std::chrono::steady_clock::time_point written_;
    std::uint64_t total_; // 0: what the call says
    std::uint64_t before_{0};
    bool is_shown_;
};

/// The bytes of a tensor's values, or of its parts.
[[nodiscard]] std::uint64_t bytes_to_read(const ckpt::tensor& t);

} // namespace tool
