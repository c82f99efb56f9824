#!/usr/bin/env python3
"""count.py [--at-least N] [--skipped] BUILDDIR: the closing line of the last `meson test` in BUILDDIR.

It is `N passed, N failed`, and with --skipped also `, N skipped` where tests were skipped.

A doctest binary counts with its test cases, a test script with the line that it ends with, any other test as one.
Fewer than N passed is a failure too: a part that was silently left out must not look like success.
"""
import argparse
import json
import pathlib
import re
import sys

DOCTEST = re.compile(r"\[doctest\] test cases: +\d+ \| +(\d+) passed \| +(\d+) failed")
CLOSING = re.compile(r"(\d+) passed, (\d+) failed(?:, \d+ skipped)?\Z")


def count(test):
    """(passed, failed) of one entry of testlog.json."""
    output = test.get("stdout", "").rstrip()
    if test["result"] == "SKIP":
        return 0, 0
    ok = test["result"] in ("OK", "EXPECTEDFAIL")
    found = DOCTEST.findall(output)
    closing = CLOSING.search(output)
    if found:
        passed, failed = map(sum, zip(*((int(p), int(f)) for p, f in found)))
    elif closing:
        passed, failed = int(closing[1]), int(closing[2])
    else:
        passed, failed = int(ok), int(not ok)
    return passed, failed or int(not ok)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--at-least", type=int, default=1)
    options.add_argument("--skipped", action="store_true")
    options.add_argument("build", type=pathlib.Path)
    options = options.parse_args()
    log = options.build / "meson-logs/testlog.json"
    tests = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    passed = failed = skipped = 0
    for test in tests:
        more, wrong = count(test)
        passed, failed = passed + more, failed + wrong
        if wrong:
            print(f"failed: {test['name']} ({test['result']})")
        if test["result"] == "SKIP":
            skipped += 1
            print(f"skipped: {test['name']}")
    if passed < options.at_least:
        print(f"failed: {options.at_least} tests or more were expected to pass")
        failed += 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if options.skipped and skipped else ""))
    sys.exit(1 if failed else 0)


main()
