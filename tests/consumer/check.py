#!/usr/bin/env python3
"""check.py [--all] CHECKPOINT MESON [--installed BUILD] COMPILER...: projects that use ckpt build a program that runs.

An example over the library, and a small program from the headers alone: as a Meson subproject, by CMake's
add_subdirectory, and from an installed tree by CMake's find_package and by pkg-config. With --all the Meson subproject
compiles the library, as this project does itself, and CMake compiles each of its sources for itself. BUILD is the build
directory of ckpt that such a tree is installed from. What has no tool on this machine is left out and said so.
(Without a build system: tests/odr.)
"""
import filecmp
import json
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import INCLUDE, ROOT, Report, run, scratch

EXAMPLE = ROOT / "examples/02_typed_view.cpp"
HEADERS_ALONE = HERE / "headers.cpp"
PRINTED = {"compiled": (ROOT / "examples/expected/02_typed_view.txt").read_text(),
           "header_only": "what os names is not read\n"}
WARNINGS = "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Werror"


class Consumers:
    """One folder with the projects that are tried, and what they are tried on."""

    def __init__(self, report, folder, checkpoint):
        self.report, self.folder, self.checkpoint = report, pathlib.Path(folder), checkpoint

    def steps(self, name, *commands, **options):
        """Runs commands until one fails; gives the output of the last, or None."""
        for command in commands:
            status, output = run(command, **options)
            if status != 0:
                self.report.check(name, False, " ".join(map(str, command)) + "\n" + output[-3000:])
                return None
        return output

    def ends_well(self, name, mode, *commands):
        """As steps; the last command is the program of this mode, which prints what it should."""
        output, want = self.steps(name, *commands[:-1], [commands[-1], self.checkpoint]), PRINTED[mode]
        return output is not None and self.report.check(name, output == want, f"printed {output!r}, expected {want!r}")

    def project(self, kind):
        """A copy of one consumer project, with the example as its main.cpp, and the program of the headers."""
        there = self.folder / kind
        if not there.exists():
            shutil.copytree(HERE / kind, there)
            shutil.copy(EXAMPLE, there / "main.cpp")
            shutil.copy(HEADERS_ALONE, there)
        return there


def libraries(build):
    return [p for p in build.rglob("libckpt.*") if p.is_file()]


def by_meson(c, meson, compiles):
    there = c.project("meson")
    (there / "subprojects/ckpt").symlink_to(ROOT, target_is_directory=True)
    build = there / "build"
    c.ends_well(
        "a Meson project with ckpt as a subproject, header-only",
        "header_only",
        [meson, "setup", "--wrap-mode=nodownload", "--force-fallback-for=ckpt,ckpt-compiled", "-Ddebug=false", build,
         there],
        [meson, "compile", "-C", build],
        build / "header_only",
    )
    c.report.check("the subproject builds nothing that is not used", not libraries(build), str(libraries(build)))
    status, output = run([meson, "introspect", "--targets", build])
    default = [t["name"] for t in json.loads(output) if t["build_by_default"]] if status == 0 else output
    c.report.check("the subproject brings no targets of its own", default == ["header_only"], str(default))
    if not compiles:
        return
    c.ends_well(
        "a Meson project with ckpt as a subproject, compiled",
        "compiled",
        [meson, "compile", "-C", build, "compiled"],
        build / "compiled",
    )


def by_cmake(c, cmake, every):
    """The project, built by add_subdirectory; its build directory, or None."""
    there = c.project("cmake")
    build = there / "build-subdirectory"
    c.ends_well(
        "a CMake project with add_subdirectory, header-only",
        "header_only",
        [cmake, "-S", there, "-B", build, f"-DCKPT_SOURCE={ROOT}", "-DBUILD_SHARED_LIBS=ON",
         f"-DCMAKE_UNITY_BUILD={'OFF' if every else 'ON'}", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=6",
         f"-DCMAKE_CXX_FLAGS={WARNINGS}"],
        [cmake, "--build", build],
        build / "header_only",
    )
    c.report.check("add_subdirectory builds nothing that is not used", not libraries(build), str(libraries(build)))
    for program in ("compiled", "with_engine"):
        if not c.ends_well(
            f"a CMake project with add_subdirectory, {program}",
            "compiled",
            [cmake, "--build", build, "--parallel", "2", "--target", program],
            build / program,
        ):
            return None
    names = [p.name for p in libraries(build)]
    c.report.check("the library of ckpt is static whatever BUILD_SHARED_LIBS says", names == ["libckpt.a"], str(names))
    engine = build / "libengine.so"
    if engine.is_file() and (nm := shutil.which("nm")):
        status, output = run([nm, "-D", "--defined-only", engine])
        shown = [line for line in output.splitlines() if " T " in line and "ckpt" in line]
        c.report.check("a shared library that holds ckpt does not export it", status == 0 and not shown, output[:500])
    return build


def from_package(c, cmake, tree):
    there = c.project("cmake")
    build = there / "build-package"
    ours = [cmake, "-S", there, f"-DCMAKE_PREFIX_PATH={tree}"]
    for mode in ("header_only", "compiled"):
        c.ends_well(
            f"a CMake project with find_package, from a tree that was moved, {mode}",
            mode,
            [*ours, "-B", build, "-DCKPT_WANTED=0.1"],
            [cmake, "--build", build, "--target", mode],
            build / mode,
        )
    status, output = run([*ours, "-B", there / "build-no", "-DCKPT_WANTED=1.0"])
    c.report.check("find_package refuses a version that is not compatible", status != 0 and "version" in output, output)


def by_pkg_config(c, pkg_config, tree, compiler):
    os.environ["PKG_CONFIG_PATH"] = str(next(tree.rglob("pkgconfig")))
    sources = {"ckpt": ("header_only", HEADERS_ALONE), "ckpt-compiled": ("compiled", EXAMPLE)}
    for package, (mode, source) in sources.items():
        asked = [pkg_config, f"--define-variable=prefix={tree}", "--cflags", "--libs", f"{package} >= 0.1"]
        status, flags = run(asked)
        if c.report.check(f"pkg-config knows {package}", status == 0, flags):
            program = c.folder / f"by-pkg-config-{package}"
            c.ends_well(
                f"pkg-config {package}",
                mode,
                [*compiler, "-std=c++20", source, *flags.split(), "-o", program],
                program,
            )


def same_trees(report, name, first, second):
    """The same files below both folders, and of one content; what was compiled may differ."""
    files = [{p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file()} for tree in (first, second)]
    report.check(f"{name}: the same files", files[0] == files[1], str(files[0] ^ files[1]))
    differ = [f for f in sorted(files[0] & files[1])
              if not f.endswith(".a") and not filecmp.cmp(first / f, second / f, shallow=False)]
    report.check(f"{name}: of one content", not differ, str(differ))


def main(*arguments):
    every = arguments[0] == "--all"
    checkpoint, meson, *compiler = arguments[every:]
    report, installed = Report(), None
    if compiler[0] == "--installed":
        installed, compiler = compiler[1], compiler[2:]
    os.environ["CXX"] = " ".join(compiler)
    cmake, pkg_config = shutil.which("cmake"), shutil.which("pkg-config")
    with scratch() as folder:
        c = Consumers(report, folder, checkpoint)
        by_meson(c, meson, every)

        off = [f"-D{option}=disabled" for option in ("tests", "tools", "bench", "fuzz", "cuda")]
        c.steps("meson setup without anything that is optional", [meson, "setup", *off, c.folder / "bare", ROOT])

        tree = stage = None
        if installed is None:
            print("no build directory to install from: left out what uses an installed tree")
        else:
            stage = c.folder / "stage"
            done = c.steps(
                "meson install",
                [meson, "install", "-C", installed, "--no-rebuild", "--tags=devel", f"--destdir={stage}"],
            )
            if done is not None and report.check("meson install installs", any(stage.rglob("ckpt.pc")), done):
                prefix = next(stage.rglob("ckpt.pc")).read_text().splitlines()[0].removeprefix("prefix=")
                tree = stage / prefix.lstrip("/")
                headers = [h for h in INCLUDE.rglob("*") if h.is_file()]
                missing = [h for h in headers if not (tree / "include" / h.relative_to(INCLUDE)).is_file()]
                report.check("meson install copies every header", not missing, str(missing))

        build = by_cmake(c, cmake, every) if cmake else None
        if not cmake:
            print("cmake is not installed: left out its ways")
        if build and tree:
            other, libdir = c.folder / "stage-cmake", next(tree.rglob("libckpt.a")).parent.relative_to(tree)
            places = [f"-DCMAKE_INSTALL_PREFIX={prefix}", f"-DCMAKE_INSTALL_LIBDIR={libdir}"]
            if c.steps(
                "cmake --install",
                [cmake, "-DCKPT_INSTALL=ON", *places, build],
                [cmake, "--build", build, "--target", "ckpt_compiled"],
                [cmake, "--install", build],
                env=os.environ | {"DESTDIR": str(other)},
            ) is not None:
                same_trees(report, "Meson and CMake install", stage, other)
        if cmake and tree:
            from_package(c, cmake, tree)
        if pkg_config and tree:
            by_pkg_config(c, pkg_config, tree, compiler)
        elif not pkg_config:
            print("pkg-config is not installed: left out")
    report.end()


main(*sys.argv[1:])
