// tools/usage.hpp: the commands and options of `ckpt`: one table for parsing, help, man page and completions.
//
// SPDX-License-Identifier: MIT
// In:      the words of a command line.
// Out:     options for a command; the texts that are made from the table.
// Refuses: unknown commands and options, naming the nearest; values that an option does not take.
#pragma once

#include "commands.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// One command: what it is called with, what it does, and two examples.
struct command {
    std::string_view name{};
    std::string_view arguments{};
    std::string_view about{};
    std::string_view examples[2]{};
    std::string_view more{}; // a paragraph below the options
    int (*run)(const options&){};
    policy_name policy{};
};

/// What a command line asks for: a command, a text to print, or nothing because it is wrong.
struct request {
    const command* chosen{};
    options wanted{};
    std::string text{};  // of --help and --version
    std::string wrong{}; // one line
};

[[nodiscard]] request parse(std::vector<std::string> words);

/// The text of `ckpt help`, or of one command.
[[nodiscard]] std::string help(const command* of);
/// The page for man, in roff.
[[nodiscard]] std::string man_page();
/// The completions of a shell: "bash", "zsh" or "fish".
[[nodiscard]] std::string completions(std::string_view shell);

} // namespace tool
