#!/usr/bin/env python3
"""check.py CHECKPOINT MESON COMPILER...: projects that use ckpt configure, build examples/02_typed_view and run it.

As a Meson subproject, by CMake's add_subdirectory, and from an installed tree by CMake's find_package and by
pkg-config. What has no tool on this machine is left out and said so.
"""
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import INCLUDE, ROOT, Report, run, scratch

EXAMPLE = ROOT / "examples/02_typed_view.cpp"
EXPECTED = ROOT / "examples/expected/02_typed_view.txt"

def steps(report, name, *commands):
    """Runs commands until one fails; gives the output of the last, or None."""
    for command in commands:
        status, output = run(command)
        if status != 0:
            report.check(name, False, " ".join(map(str, command)) + "\n" + output[-3000:])
            return None
    return output


def project(kind, folder):
    """A copy of one consumer project, with the example as its main.cpp."""
    there = pathlib.Path(folder) / kind
    shutil.copytree(HERE / kind.split("-")[0], there)
    shutil.copy(EXAMPLE, there / "main.cpp")
    return there


def main(checkpoint, meson, *compiler):
    os.environ["CXX"] = " ".join(compiler)
    cmake, pkg_config = shutil.which("cmake"), shutil.which("pkg-config")
    report, want = Report(), EXPECTED.read_text()

    def ends_well(name, *commands):
        output = steps(report, name, *commands)
        if output is not None:
            report.check(name, output == want, f"printed {output!r}, expected {want!r}")

    with scratch() as folder:
        there = project("meson", folder)
        (there / "subprojects/ckpt").symlink_to(ROOT, target_is_directory=True)
        build = there / "build"
        ends_well(
            "a Meson project with ckpt as a subproject",
            [meson, "setup", "--wrap-mode=nodownload", "--force-fallback-for=ckpt", build, there],
            [meson, "compile", "-C", build],
            [build / "consumer", checkpoint],
        )
        targets = run([meson, "introspect", "--targets", build])[1]
        report.check("the subproject brings no targets of its own", targets.count('"filename"') == 1, targets[:2000])

        prefix = pathlib.Path(folder) / "prefix"
        off = [f"-D{option}=disabled" for option in ("tests", "tools", "bench", "fuzz", "cuda")]
        build = pathlib.Path(folder) / "install"
        installed = steps(
            report, "meson install",
            [meson, "setup", f"--prefix={prefix}", *off, build, ROOT],
            [meson, "install", "-C", build],
        )
        if installed is not None:
            missing = [h for h in INCLUDE.rglob("*.hpp") if not (prefix / "include" / h.relative_to(INCLUDE)).is_file()]
            report.check("meson install copies every header", not missing, str(missing))
            moved = prefix.rename(pathlib.Path(folder) / "moved")

        if cmake:
            there = project("cmake", folder)
            build = there / "build-subdirectory"
            ends_well(
                "a CMake project with add_subdirectory",
                [cmake, "-S", there, "-B", build, f"-DCKPT_SOURCE={ROOT}"],
                [cmake, "--build", build],
                [build / "consumer", checkpoint],
            )
        if cmake and installed is not None:
            build = there / "build-package"
            ends_well(
                "a CMake project with find_package, from a tree that was moved",
                [cmake, "-S", there, "-B", build, f"-DCMAKE_PREFIX_PATH={moved}", "-DCKPT_WANTED=0.1"],
                [cmake, "--build", build],
                [build / "consumer", checkpoint],
            )
            status, output = run([cmake, "-S", there, "-B", there / "build-no", f"-DCMAKE_PREFIX_PATH={moved}", "-DCKPT_WANTED=1.0"])
            report.check("find_package refuses a version that is not compatible", status != 0 and "version" in output, output)
        if not cmake:
            print("cmake is not installed: left out its two ways")

        if pkg_config and installed is not None:
            os.environ["PKG_CONFIG_PATH"] = str(next(moved.rglob("pkgconfig")))
            flags = run([pkg_config, f"--define-variable=prefix={moved}", "--cflags", "ckpt >= 0.1"])[1].split()
            program = pathlib.Path(folder) / "by-pkg-config"
            ends_well(
                "pkg-config",
                [*compiler, "-std=c++20", *flags, EXAMPLE, "-o", program],
                [program, checkpoint],
            )
        elif not pkg_config:
            print("pkg-config is not installed: left out")
    report.end()


main(*sys.argv[1:])
