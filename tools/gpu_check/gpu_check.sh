#!/usr/bin/env bash
# gpu_check.sh [FOLDER]: ckpt's upload on one real GPU: whether it is right, clean under compute-sanitizer, and how fast
# beside its limits and its peers.
#
# Wants nvcc of CUDA 13 and g++; for the comparison alone also a python3 with torch and safetensors. FOLDER, by default
# /tmp/ckpt_gpu_check, gets the checkpoints (three times GIB), the logs, all.log and table.json.
#
#   GIB=8             the size of the large checkpoint
#   TOTAL=540         seconds for everything; a step that runs out of them costs its own results only
#   ONLY="files build verify"   some of the steps
#
# Changes no setting of the GPU. Ends with `N passed, N failed`.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
work=${1:-/tmp/ckpt_gpu_check}
gib=${GIB:-8}
export here repo work gib PYTHONUNBUFFERED=1 CUDA_MODULE_LOADING=EAGER LC_ALL=C.UTF-8
if [ -z "${ONLY:-}" ] && ! nvidia-smi -L; then
    echo "no GPU that nvidia-smi sees"
    exit 77
fi
mkdir -p "$work/logs" && cd "$work" && rm -f logs/* all.log || exit 1
passed=0 failed=0

# step NAME LIMIT COMMAND...: at most LIMIT seconds, and no more than are left; one line here, the rest in the logs.
# NAME!: what the machine may not have; it is no failure of ckpt's.
step() {
    local name=${1%!} limit=$2 may=$1 status=0 start=$SECONDS left=$((${TOTAL:-540} - SECONDS)) word=fine
    shift 2
    [[ -n ${ONLY:-} && " $ONLY " != *" $name "* ]] && return 0
    if [ $left -lt 5 ]; then
        status=124
    else
        timeout -k 5 $((left < limit ? left : limit)) "$@" >"logs/$name.log" 2>&1 </dev/null || status=$?
    fi
    case $status in
        0) ;;
        124 | 137) word='OUT OF TIME' ;;
        *) word="FAILED ($status)" ;;
    esac
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
    elif [ "$may" = "$name" ]; then
        failed=$((failed + 1))
    fi
    printf '%-12s %s, %d s: %s\n' "$name" "$word" $((SECONDS - start)) \
        "$(tail -n 1 "logs/$name.log" 2>/dev/null | cut -c1-120)"
    { echo "==== $name: $word"; cat "logs/$name.log" 2>/dev/null; } >>all.log
    return $status
}

about() {
    nvidia-smi --format=csv,noheader \
        --query-gpu=name,driver_version,pcie.link.gen.max,pcie.link.width.max,memory.total,mig.mode.current
    nvcc --version | tail -n 2
    g++ --version | head -n 1
    nproc
    free -g | sed -n 2p
    uname -r
    df -hT "$work" | tail -n 1
    cat /sys/kernel/mm/transparent_hugepage/enabled
    ls /dev/nvidia-fs0
    command -v compute-sanitizer
    python3 -c 'import torch, safetensors; print(torch.__version__, safetensors.__version__)'
}

build() {
    local top
    top=$(nvcc --dryrun -c "$here/kernels.cu" 2>&1 | sed -n 's/^#\$ TOP=//p')
    mkdir -p objects
    nvcc -std=c++20 -O2 -arch=native -I"$repo/include" -DCKPT_COMPILED -c "$here/kernels.cu" -o objects/kernels.o &
    local kernels=$!
    nvcc -std=c++20 -O2 -arch=native -I"$repo/include" -I"$repo/tests" "$repo/tests/gpu/device_kernels.cu" \
        -o device_kernels &
    local tested=$!
    printf '%s\n' "$here"/*.cpp "$repo"/src/*.cpp | xargs -P "$(nproc)" -I{} sh -c '
        g++ -std=c++20 -O2 -DCKPT_COMPILED -I"$1/include" -isystem "$2/include" -c "$3" \
            -o "objects/$(basename "$(dirname "$3")")_$(basename "$3").o"' - "$repo" "$top" {} || return
    wait $kernels && wait $tested || return
    g++ objects/*.o -o gpu_check -L"$top/lib64" -Wl,-rpath,"$top/lib64" -lcudart -ldl -pthread && ls -l gpu_check
}

peers() {
    local status=0 how
    for how in clone map_location mmap_map_location safetensors; do
        timeout 70 python3 "$here/peers.py" $how warm || status=1
    done
    for how in clone safetensors; do timeout 70 python3 "$here/peers.py" $how cold || status=1; done
    return $status
}

# Every row beside the rate of pinned copies: lines for people, and table.json.
table() {
    cat logs/bench.log logs/peers.log 2>/dev/null | grep '^{' >rows || return
    awk -F'"gbs": |, "best"' '
        /limit: pinned copies of 256 MiB/ { peak = $2 }
        { split($0, name, "\""); printf "%8.2f GB/s %6.3f of the peak  %s\n", $2, peak > 0 ? $2 / peak : 0, name[4] }' rows
    { echo '['; sed '$!s/$/,/' rows; echo ']'; } >table.json
    rm rows
}

export -f about build peers
data=$repo/tests/data
checked="compute-sanitizer --error-exitcode 9"
step about! 40 bash -c about
cat logs/about.log 2>/dev/null
step build 200 bash -c build
step files 150 ./gpu_check files . "$gib"
step kernels 60 ./device_kernels
step verify 90 ./gpu_check verify "$data"
step verify_big 60 ./gpu_check verify probe.pt small.pt few0.safetensors few8.safetensors
for file in probe.pt few0.safetensors few8.safetensors; do step "probe_${file%%.*}" 40 ./gpu_check probe $file; done
step bench 150 ./gpu_check bench f32.pt bf16.pt small.pt
step peers! 120 bash -c peers
step memcheck! 50 $checked --tool memcheck --leak-check full ./gpu_check verify "$data/demo"
step memcheck_k! 50 $checked --tool memcheck ./device_kernels
step initcheck! 50 $checked --tool initcheck ./gpu_check verify "$data/demo"
step racecheck! 50 $checked --tool racecheck ./device_kernels
grep -h -E '^WRONG|^FOUND|^FAILED:|ERROR SUMMARY|LEAK SUMMARY' logs/*.log | cut -c1-200 | sort | uniq -c | sort -rn | head -n 25
table
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
