"""What the test scripts share: the headers, counting, and running compilers. Standard library only."""
import concurrent.futures
import os
import pathlib
import select
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include"
HEADERS = sorted(h for h in (INCLUDE / "ckpt").rglob("*.hpp") if h.parent.name != "impl")
DEVICE_HEADERS = sorted((INCLUDE / "ckpt").rglob("*.cuh"))  # for nvcc only

# What programs include, or get with what they include: declarations, templates and what is done while compiling. All
# other headers are the library's own, and are reached from definitions only.
CONSUMER = {
    "": "checkpoint ckpt config dlpack folder host maps prefetch python threads version write",
    "core/":
        "byte_order callback config constexpr_vector error fixed_string limits number pattern progress result scratch "
        "shared utf8 workers",
    "io/": "finished_file io_mode path",
    "archive/": "inflater record",
    "tensor/": "copy dtype half indices layout quantized sparse statistics tensor view",
    "pickle/": "globals graph_fwd names value",
    "torch/": "global_scan globals json_file policies record_names records verify_report",
    "state/":
        "binding candidate diff digest digests discovery key_map key_rules load load_report lora object_path overlay "
        "pull push read_into remap rule_code rule_formula rule_words shard state_dict suggest walk weight_norm",
    "maps/": "averages chinese_clip clip gpt2 latent_diffusion llama torchvision whisper wrappers",
    "folder/": "dcp_globals folder_types open",
    "gpu/": "kernels upload_plan upload_types",
    "write/": "gguf gguf_metadata gguf_quant numpy safetensors torch write_types",
}
CONSUMER = {f"{folder}{name}" for folder, names in CONSUMER.items() for name in names.split()}

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


def on_terminal(command, stream="stdout", seen=None, **options):
    """What a command prints on a terminal of 80 columns; None where there can be none. `options`: of Popen.

    `stream`: the one that is the terminal. `seen(child, text)` is called about every 10 ms with the text so far.
    """
    try:
        import pty
        ours, its = pty.openpty()
    except (ImportError, OSError):
        return None
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **options.pop("env", {})}
    child = subprocess.Popen(command, **{stream: its}, env=environment, **options)
    # Its end stays open until all is read: what is still under way when the last one closes can be lost. What comes
    # behind all that the child wrote says that it is read.
    out, end, ended = b"", b"\x04", False
    while not (ended and out.endswith(end)):
        if select.select([ours], [], [], 0.01)[0]:
            out += os.read(ours, 65536)
        elif not ended and child.poll() is not None:
            ended = True
            os.write(its, end)
        if seen:
            seen(child, out.decode("utf-8", "replace"))
    os.close(ours)
    os.close(its)
    return out.removesuffix(end).decode("utf-8").replace("\r\n", "\n")


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
