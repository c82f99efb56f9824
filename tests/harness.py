"""What the test scripts share: counting, and running compilers. Standard library only."""
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include"
HEADERS = sorted(h for h in (INCLUDE / "ckpt").rglob("*.hpp") if h.parent.name != "impl")
DEVICE_HEADERS = sorted((INCLUDE / "ckpt").rglob("*.cuh"))  # for nvcc only

# Those of the embedders' build files, and those that find what a header hides from its own tests.
STRICT = (
    "-Wall -Wextra -Wpedantic -Werror -Wconversion -Wsign-conversion -Wold-style-cast -Wundef -Wshadow -Wcast-qual "
    "-Wmissing-declarations -Wextra-semi -Wdouble-promotion"
).split()


def spelled(header):
    """The header as a user writes it between angle brackets."""
    return header.relative_to(INCLUDE).as_posix()


def os_leaf(header, system):
    """True for a header of another operating system than this one."""
    return header.stem.endswith("_win32" if system != "win32" else "_posix")


class Report:
    """Counts checks, says what failed, and ends with `N passed, N failed`."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, ok, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {name}")
            if detail:
                print("    " + detail.rstrip().replace("\n", "\n    "))
        return ok

    def end(self):
        if self.passed + self.failed == 0:
            self.check("something was checked", False, "this script found nothing to do")
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed else 0)


def run(command, **options):
    """Runs a command; gives its exit status and all that it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        errors="replace",
        **options,
    )
    return done.returncode, done.stdout


def run_all(jobs):
    """Runs {name: command} in parallel; yields (name, status, output) in the order given."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {name: pool.submit(run, command) for name, command in jobs.items()}
        for name, result in running.items():
            yield (name, *result.result())


def scratch():
    return tempfile.TemporaryDirectory(prefix="ckpt-test-")
