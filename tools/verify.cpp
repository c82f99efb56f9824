// `ckpt verify`: record checksums, headers against the directory, storage bounds.
#include "common.hpp"
#include "progress.hpp"
#include "render.hpp"

#include <ckpt/threads.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace tool {

namespace {

void write_report(json& to, const options& wanted, const ckpt::verify_report& report) {
    to.begin_object().member("schema", "ckpt.verify/1");
    if (wanted.is_one_of_several) to.member("file", wanted.file());
    to.member("ok", report.ok());
    to.key("checked")
        .begin_object()
        .member("records", report.records)
        .member("bytes", report.bytes)
        .member("unchecked_crc", report.unchecked_crc)
        .end_object();
    to.key("findings").begin_array();
    for (const ckpt::error& e : report.findings) {
        to.line().begin_object().key("error");
        write(to, e);
        to.end_object();
    }
    to.end_array().end_object();
}

/// Adds a finding; gives the exit code that it asks for.
[[nodiscard]] int add(ckpt::verify_report& to, const ckpt::error& e) {
    to.findings.push_back(e);
    return ckpt::info(e.code).exit_code;
}
/// Adds what was found in one file; `name` is its name in a folder.
[[nodiscard]] int add(ckpt::verify_report& to, ckpt::verify_report one, const std::string& name) {
    to.records += one.records;
    to.bytes += one.bytes;
    to.unchecked_crc += one.unchecked_crc;
    for (ckpt::error& e : one.findings) {
        e.file = name;
        to.findings.push_back(std::move(e));
    }
    return one.findings.empty() ? exit_fine : exit_finding;
}

/// Checks one file, or a set of files as a whole.
[[nodiscard]] ckpt::verify_report check(const ckpt::checkpoint& file, progress_line& line) {
    ckpt::verify_report out = file.verify({.workers = ckpt::threads(), .progress = line});
    line.next(file.file_bytes());
    return out;
}

/// Checks the set against its index (`seen` is what that found), then each checkpoint of the folder by itself. Returns
/// the exit code.
[[nodiscard]] int verify_folder(const options& wanted, const ckpt::folder_report& seen, ckpt::verify_report& report) {
    int exit_code = exit_fine;
    for (const ckpt::error& e : seen.findings) exit_code = std::max(exit_code, add(report, e));
    const std::vector<std::string> names = names_in(wanted.file(), seen);
    std::uint64_t total = 0;
    for (const std::string& name : names) {
        std::error_code ignored;
        const auto bytes = std::filesystem::file_size(beside(wanted.file(), name), ignored);
        if (!ignored) total += bytes;
    }
    progress_line line{wanted, total};
    for (const std::string& name : names) {
        if (interrupted()) return exit_of_interrupt();
        const auto file = open(beside(wanted.file(), name), wanted.policy);
        if (file) {
            exit_code = std::max(exit_code, add(report, check(*file, line), name));
            continue;
        }
        ckpt::error e = file.error();
        e.file = name;
        const bool told = std::any_of(report.findings.begin(), report.findings.end(), [&](const ckpt::error& known) {
            return known.file == name && known.code == e.code;
        });
        if (!told) exit_code = std::max(exit_code, add(report, e));
    }
    // The chunks of a distributed checkpoint are no files: the whole looks through them.
    if (const auto whole = open(wanted.file(), wanted.policy); whole && whole->container() == "dcp") {
        const ckpt::verify_report own = check(*whole, line);
        report.records += own.records;
        report.bytes += own.bytes;
        report.unchecked_crc += own.unchecked_crc;
        for (const ckpt::error& e : own.findings) exit_code = std::max(exit_code, add(report, e));
    }
    return exit_code;
}

} // namespace

int run_verify(const options& wanted) {
    ckpt::verify_report report;
    int exit_code = exit_fine;
    std::string_view refusal; // why nothing could be checked
    if (is_folder(wanted.file())) {
        const auto seen = examine(wanted.file(), wanted.policy);
        if (!seen) return fail(wanted, seen.error());
        exit_code = verify_folder(wanted, *seen, report);
    } else {
        const auto file = open(wanted.file(), wanted.policy);
        // A file that cannot be had is no verdict on its content; damage that keeps it from opening is one.
        if (!file && static_cast<unsigned>(file.error().code) < 200) return fail(wanted, file.error());
        progress_line line{wanted, file ? file->file_bytes() : 0};
        exit_code = file ? add(report, check(*file, line), {}) : add(report, file.error());
        if (!file)
            refusal = exit_code == exit_unsupported ? "not supported"
                      : exit_code == exit_finding   ? "refused"
                                                    : "unreadable";
    }
    if (interrupted()) return exit_of_interrupt();
    if (wanted.json) {
        json out{stdout};
        write_report(out, wanted, report);
        return finish(out, exit_code);
    }
    const std::string name = printable(wanted.file());
    for (const ckpt::error& e : report.findings)
        print(paint(colour::red, "  finding") + "  " + printable(e.message()) + '\n');
    if (!refusal.empty()) {
        print(name + ": " + paint(colour::red, refusal) + '\n');
        return written(exit_code);
    }
    print(
        name + ": " +
        (report.ok() ? paint(colour::green, "ok")
                     : paint(colour::red, counted(report.findings.size(), "finding", "findings"))) +
        "; " + counted(report.records, "record", "records") + " checked against the directory, " +
        human_bytes(report.bytes) + " against their checksums" +
        (report.unchecked_crc > 0 ? ", " + counted(report.unchecked_crc, "record has", "records have") + " none" : "") +
        '\n');
    print("the names that it asks for were not judged: ckpt globals " + name + '\n');
    return written(exit_code);
}

} // namespace tool
