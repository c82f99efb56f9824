// `ckpt verify`: record checksums, headers against the directory, storage bounds.
#include "common.hpp"
#include "render.hpp"

#include <cstdio>

namespace tool {

namespace {

void write_report(json& to, const ckpt::verify_report& report) {
    to.begin_object().member("schema", "ckpt.verify/1").member("ok", report.ok());
    to.key("checked").begin_object().member("records", report.records).member("bytes", report.bytes).member("unchecked_crc", report.unchecked_crc).end_object();
    to.key("findings").begin_array();
    for (const ckpt::error& e : report.findings) {
        to.line().begin_object().key("error");
        write(to, e);
        to.end_object();
    }
    to.end_array().end_object();
}

} // namespace

int run_verify(const options& wanted) {
    const auto file = open(wanted.file(), wanted.policy);
    // A file that cannot be had is no verdict on its content; damage that keeps it from opening is one.
    const auto number = [](const ckpt::error& e) { return static_cast<unsigned>(e.code); };
    if (!file && number(file.error()) < 200) return fail(wanted, file.error());
    ckpt::verify_report report;
    int exit_code = exit_fine;
    if (file) {
        report = file->verify();
        if (!report.ok()) exit_code = exit_finding;
    } else {
        report.findings.push_back(file.error());
        exit_code = ckpt::info(file.error().code).exit_code;
    }
    if (wanted.json) {
        json out{stdout};
        write_report(out, report);
        return finish(out, exit_code);
    }
    const std::string name = printable(wanted.file());
    for (const ckpt::error& e : report.findings) print(paint(colour::red, "  finding") + "  " + printable(e.message()) + '\n');
    if (!file) {
        print(name + ": " + paint(colour::red, exit_code == 4 ? "not supported" : exit_code == 1 ? "refused" : "unreadable") + '\n');
        return written(exit_code);
    }
    print(name + ": " + (report.ok() ? paint(colour::green, "ok") : paint(colour::red, counted(report.findings.size(), "finding", "findings"))) + "; " +
          counted(report.records, "record", "records") + " checked against the directory, " + human_bytes(report.bytes) + " against their checksums" +
          (report.unchecked_crc > 0 ? ", " + counted(report.unchecked_crc, "record has", "records have") + " none" : "") + '\n');
    return written(exit_code);
}

} // namespace tool
