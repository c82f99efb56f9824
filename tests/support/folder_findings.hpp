// tests/support/folder_findings.hpp: what is wrong with a folder, as text.
//
// SPDX-License-Identifier: MIT
// In:      a folder.
// Out:     the details of all findings of `inspect_folder`, one a line, after the names of their files.
// Refuses: (as failed checks) findings that `open_folder` does not tell, and a folder that opens in spite of them.
#pragma once

#include <ckpt/folder.hpp>

#include "temporary_file.hpp"

#include <doctest/doctest.h>

#include <string>

namespace test_support {

inline std::string findings(const temporary_folder& folder) {
    const auto report = ckpt::inspect_folder(folder.path()).value();
    const auto file = ckpt::open_folder(folder.path());
    CHECK(file.has_value() == report.findings.empty());
    std::string out;
    for (const ckpt::error& e : report.findings) {
        out += (e.file.empty() ? "" : e.file + ": ") + e.detail + '\n';
        CHECK(e.message().size() <= 1024);
        if (!file) CHECK(file.error().detail.find(e.detail) != std::string::npos);
    }
    return out;
}

} // namespace test_support
