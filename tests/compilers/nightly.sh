#!/usr/bin/env bash
# tests/compilers/nightly.sh [FOLDER]: headers, examples and unit tests with other compilers and standard libraries than
# the machine's own. FOLDER (build-compilers unless told) keeps what is downloaded. Last: `N passed, N failed`.
#
# GCC 12, Clang 14, 16 and 19, each Clang with libstdc++ and with the libc++ of its version, and GCC 13 and 14 from
# Debian 13 in a folder of their own (debootstrap, chroot), because no Debian has them all. Root on Debian 12 is needed.
set -uo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
folder=${1:-build-compilers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
passed=0 failed=0

# counted NAME COMMAND...: runs it and adds its last line, `N passed, N failed[, N skipped]`, to the sums.
counted() {
    local name=$1 line start=$SECONDS
    shift
    "$@" >"$folder/log" 2>&1
    line=$(tail -n 1 "$folder/log")
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
        [ "${BASH_REMATCH[2]}" -eq 0 ] || tail -n 60 "$folder/log" | sed 's/^/    /'
    else
        failed=$((failed + 1))
        tail -n 60 "$folder/log" | sed 's/^/    /'
        line=failed
    fi
    printf '%s: %s (%d s)\n' "$name" "$line" $((SECONDS - start))
}

# unpack VERSION: this libc++, in a folder. Debian's packages of two versions exclude each other.
unpack() {
    local root=$folder/libcxx-$1
    [ -d "$root" ] && return
    rm -rf "$root.new"
    mkdir -p "$root.new/debs"
    (cd "$root.new/debs" && apt-get download -qq "libc++-$1-dev" "libc++1-$1" "libc++abi-$1-dev" "libc++abi1-$1" \
        "libunwind-$1" "libunwind-$1-dev" && for deb in *.deb; do dpkg -x "$deb" .. || exit; done) &&
        mv "$root.new" "$root"
}

# with_clang VERSION: with both libraries and both standards.
with_clang() {
    local root=$folder/libcxx-$1/usr/lib/llvm-$1 standard with
    counted "libc++ $1" unpacked "$1"
    # -stdlib chooses what is linked; beside -nostdinc++ it is called unused where only compiling is done.
    with="clang++-$1 -stdlib=libc++ -nostdinc++ -isystem $root/include/c++/v1 -Wno-unused-command-line-argument"
    counted "Clang $1, libstdc++ and libc++: headers and examples" \
        python3 tests/compilers/check.py --standard=c++20,c++23 "clang++-$1" "$with"
    for standard in c++20 c++23; do
        counted "Clang $1, $standard, libstdc++: unit tests" \
            tests/compilers/unit.sh "$folder/build" "clang++-$1" "$standard"
        counted "Clang $1, $standard, libc++: unit tests" \
            tests/compilers/unit.sh "$folder/build" "$with" "$standard" "-L$root/lib" "-Wl,-rpath,$root/lib"
    done
}
unpacked() { unpack "$1" && echo "1 passed, 0 failed"; }

# Debian 13 and a copy of this checkout, in a folder.
debian_13() {
    local root=$folder/debian-13 mirror
    mirror=$(apt-cache policy base-files | grep -o 'http[^ ]*' | head -n 1)
    if [ ! -d "$root" ]; then
        rm -rf "$root.new"
        debootstrap --variant=minbase --include=g++-13,g++-14,meson,ninja-build,pkg-config,doctest-dev,zlib1g-dev,python3 \
            trixie "$root.new" "$mirror" && mv "$root.new" "$root" || return
    fi
    # Tests read there how much they have read. What mounts it does so for this script alone: see below.
    mount -t proc proc "$root/proc" || return
    rm -rf "$root/project" && git clone -q . "$root/project" && echo "1 passed, 0 failed"
}

# with_gcc RUN VERSION PROJECT: RUN is nothing, or what enters the folder of Debian 13.
with_gcc() {
    local run=$1 version=$2 project=$3 standard
    counted "GCC $version: headers and examples" \
        $run python3 "$project/tests/compilers/check.py" --standard=c++20,c++23 "g++-$version"
    for standard in c++20 c++23; do
        counted "GCC $version, $standard: unit tests" \
            $run "$project/tests/compilers/unit.sh" "$project/build-compilers/build" "g++-$version" "$standard"
    done
}

if [ "$(id -u)" -ne 0 ] || ! grep -q '^VERSION_ID="12"' /etc/os-release; then
    echo "other compilers: they are looked for as root on Debian 12 only"
    echo "0 passed, 1 failed"
    exit 1
fi
# Mounts end with this script.
[ -n "${CKPT_OWN_MOUNTS:-}" ] || CKPT_OWN_MOUNTS=1 exec unshare --mount tests/compilers/nightly.sh "$folder"
counted packages bash -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends \
    clang-14 clang-16 clang-19 debootstrap >&2 && echo "1 passed, 0 failed"'
with_gcc "" 12 .
for version in 14 16 19; do with_clang "$version"; done
counted "Debian 13" debian_13
for version in 13 14; do with_gcc "chroot $folder/debian-13" "$version" /project; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
