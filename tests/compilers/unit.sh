#!/usr/bin/env bash
# tests/compilers/unit.sh BUILDDIR COMPILER STANDARD [LINK_ARGUMENT...]: all unit tests over the compiled library, with
# warnings as errors. COMPILER is one word, as in 'clang++ -stdlib=libc++'. The last line says `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$1 compiler=$2 standard=${3/23/2b}
shift 3
rm -rf "$build"
# Meson's names of the standards differ from version to version; all compilers know c++2b. The tests are optimised, too:
# without that Clang 14 with libstdc++ 12 copies texts of c++2b byte by byte, as if compiling.
CXX=$compiler meson setup "$build" -Dcpp_std=none -Dcpp_args="-std=$standard -O1" \
    -Dcpp_link_args="$*" -Dwerror=true -Ddebug=false -Doptimization=1 -Dtests=enabled \
    -Dtools=disabled -Dbench=disabled -Dfuzz=disabled -Dcuda=disabled || exit
ninja -C "$build" -k 0 # names every source that does not compile
meson test -C "$build" --print-errorlogs --suite unit
python3 tests/count.py --at-least 400 "$build"
