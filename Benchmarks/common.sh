# shellcheck shell=bash
# shellcheck disable=SC2154  # out, where everything goes: whoever sources this file
# What the two runners share: building, and counting in what valgrind and strace wrote. Sourced at the repository's root.

: "${out:?is not set}"

fail() {
    printf 'bench: %s\n' "$@" >&2
    exit 1
}
say() { printf 'bench: %s\n' "$*"; }

# ---- Building ----------------------------------------------------------------------------------

build_c() { # into $out; generated protocol code stays in out/
    local protocols generated=$out/generated name xml
    protocols=$(pkg-config --variable=pkgdatadir wayland-protocols)
    mkdir -p "$generated"
    for xml in "$protocols"/stable/{xdg-shell/xdg-shell,viewporter/viewporter,presentation-time/presentation-time}.xml \
        "$protocols"/unstable/linux-dmabuf/linux-dmabuf-unstable-v1.xml \
        "$protocols"/unstable/linux-explicit-synchronization/linux-explicit-synchronization-unstable-v1.xml \
        Protocols/linux-drm-syncobj-v1.xml; do
        name=$(basename "$xml" .xml)
        [ -e "$xml" ] || fail "no $xml: install wayland-protocols"
        wayland-scanner client-header "$xml" "$generated/$name-client-protocol.h"
        wayland-scanner private-code "$xml" "$generated/$name.c"
        gcc -O2 -g -c -o "$generated/$name.o" "$generated/$name.c"
    done
    local flags=(-std=gnu11 -O2 -g -Wall -Wextra -Werror -I"$generated") program
    for program in client "proxy Benchmarks/Baseline/fences.c"; do
        # shellcheck disable=SC2086  # a program and its further sources
        set -- $program
        gcc "${flags[@]}" -o "$out/$1" "Benchmarks/Baseline/$1.c" Benchmarks/Baseline/window.c "${@:2}" \
            "$generated"/*.o -lwayland-client
    done
    gcc "${flags[@]}" -o "$out/feeder" Benchmarks/Baseline/feeder.c
    gcc "${flags[@]}" -shared -fPIC -o "$out/mallocs.so" Benchmarks/mallocs.c
}

# shellcheck disable=SC2034  # binary: for whoever sources this file
build_bridge() { # sets binary
    local flags=(-c release --static-swift-stdlib)
    swift build "${flags[@]}" --product vm-bridge
    binary=$(swift build "${flags[@]}" --show-bin-path)/vm-bridge
}

# ---- Counting ----------------------------------------------------------------------------------

# sum_of NAME JSON: over all members of that name in a report of the bridge.
sum_of() { grep -o "\"$1\":[0-9]*" "$2" | awk -F: '{ n += $2 } END { print n + 0 }'; }

# Calls that read, write or map a buffer's pixels: by the name of its memfd, which the feeder chose.
pixel_calls() {
    awk '/^[0-9]+ +(mmap|mremap|p?read(64)?|p?readv2?|preadv2?|p?write(64)?|p?writev2?|pwritev2?|sendfile|splice|tee|copy_file_range)\(/ &&
        /bench-pixels/ { n++ } END { print n + 0 }' "$1"
}

# Lines "program windows metric short long".
row() { printf '%s\t%s\t%s\t%s\t%s\n' "$@"; }

# Functions and their own instructions, as callgrind_annotate lists them: "number<TAB>function<TAB>object".
functions() {
    callgrind_annotate --auto=no --threshold=100 "$1" 2>/dev/null | awk '/^ *[0-9,]+ *\([ 0-9.]+%\) / && !/PROGRAM TOTALS/ {
        number = $1; gsub(/,/, "", number)
        name = $0; sub(/^ *[0-9,]+ *\([ 0-9.]+%\) */, "", name); sub(/^(\?\?\?|[^ :]*\.[A-Za-z]+):/, "", name)
        object = "?"
        if (match(name, / \[[^]]*\]$/)) { object = substr(name, RSTART + 2, RLENGTH - 3); name = substr(name, 1, RSTART - 1) }
        sub(/.*\//, "", object)
        printf "%s\t%s\t%s\n", number, name, object
    }'
}
# Of those, what was spent in the program itself, in libwayland and libffi, elsewhere.
spent() {
    awk -F '\t' -v where="$2" '{ at = $3 ~ /^(client|proxy|vm-bridge)$/ ? "program" : $3 ~ /^lib(wayland-client|ffi)\./ ? "library" : "elsewhere"
        if (at == where) sum += $1 } END { printf "%d\n", sum }' "$1"
}
instructions() { awk '/^(totals|summary):/ { print $2; exit }' "$1"; }
all_calls() { awk '$2 ~ /^[a-z_0-9]+\(/ { n++ } END { print n + 0 }' "$1"; }
call_names() { awk '$2 ~ /^[a-z_0-9]+\(/ { sub(/\(.*/, "", $2); print $2 }' "$@" | sort -u; }
calls_of() { awk -v name="$2" '$2 ~ /^[a-z_0-9]+\(/ { sub(/\(.*/, "", $2); n += $2 == name } END { print n + 0 }' "$1"; }
word_after() { awk -v word="$2" '{ for (i = 1; i < NF; i++) if ($i == word) print $(i + 1) }' "$1"; }
