# shellcheck shell=bash
# What the scripts in tests/ share. They run inside the test machine, as root, with bash.
#   . /share/tests/lib.sh
# /share/bin has the product's release programs, /share/out keeps what is worth a look afterwards.

export XDG_RUNTIME_DIR=/run/user-0 WAYLAND_DISPLAY=wayland-test PATH=/share/bin:$PATH
mkdir -p "$XDG_RUNTIME_DIR" /share/out
chmod 700 "$XDG_RUNTIME_DIR"
results=/share/out
weston_pid=''
weston_log=$results/weston.log
cases=0
failures=0

note() { printf '[%s] %s\n' "$(cut -d ' ' -f 1 /proc/uptime)" "$*"; }

# expect SENTENCE COMMAND…: one case. The sentence says what is true when the command succeeds.
expect() {
    local sentence=$1
    shift
    cases=$((cases + 1))
    if "$@"; then
        printf 'ok: %s\n' "$sentence"
    else
        failures=$((failures + 1))
        printf 'FAILED: %s (%s)\n' "$sentence" "$*"
        return 1
    fi
}

equal() { [ "$1" = "$2" ] || { printf "  got '%s', want '%s'\n" "$1" "$2" && false; }; }

# Last line of every test: a test without a case has proved nothing and fails.
finish() {
    stop_weston
    printf 'cases: %s, failed: %s\n' "$cases" "$failures"
    [ "$cases" -gt 0 ] && [ "$failures" = 0 ]
    exit
}

# wait_for SECONDS COMMAND…: until it succeeds, tried every tenth of a second.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# wait_for_line SECONDS FILE PATTERN: until a line of the file matches (grep -E).
wait_for_line() { wait_for "$1" grep -q -s -E -e "$3" "$2"; }

load_module() { # with what it needs
    local file
    while read -r file; do
        insmod "/modules/$file" 2>/dev/null || [ -d "/sys/module/$(basename "${file%.ko}" | tr - _)" ] || return 1
    done <"/modules/$1.list"
}

# vgem makes fences that a test signals when it likes. Mesa must not see its render node: it would
# take vgem for the display's device and then could not show dma-bufs of any other origin.
load_vgem() {
    load_module vgem && wait_for 5 test -e /dev/dri/card0 && rm -f /dev/dri/renderD*
}

# start_weston WIDTH HEIGHT [OPTION…]: weston 14, headless, drawing with GL in software.
start_weston() {
    local width=$1 height=$2
    shift 2
    weston --backend=headless --renderer=gl --width="$width" --height="$height" --debug --idle-time=0 \
        --config=/share/tests/weston.ini --socket="$WAYLAND_DISPLAY" "$@" >"$weston_log" 2>&1 &
    weston_pid=$!
    # The socket's file comes before the renderer; weston is up when it answers.
    wait_for 30 weston_answers || { tail -n 20 "$weston_log" && false; }
}

weston_answers() {
    kill -0 "$weston_pid" 2>/dev/null || return 0 # dead: no use in waiting on, the caller sees it below
    [ -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY" ] && wayland-info >"$results/globals.txt" 2>/dev/null
}

weston_runs() { [ -n "$weston_pid" ] && kill -0 "$weston_pid" 2>/dev/null; }

stop_weston() {
    [ -n "$weston_pid" ] || return 0
    kill "$weston_pid" 2>/dev/null
    wait_for 5 weston_is_gone || kill -KILL "$weston_pid" 2>/dev/null
    wait "$weston_pid" 2>/dev/null
    weston_pid=''
}

weston_is_gone() { ! kill -0 "$weston_pid" 2>/dev/null; }

# offers INTERFACE [VERSION]: does the running compositor offer the global (at least in this version)?
offers() {
    local version
    version=$(wayland-info | sed -n "s/^interface: '$1', *version: *\([0-9]*\),.*/\1/p" | head -n 1)
    [ "${version:-0}" -ge "${2:-1}" ]
}

# screenshot FILE: the whole output of weston as a PNG.
screenshot() {
    local directory status=0
    directory=$(mktemp -d)
    (cd "$directory" && timeout 30 weston-screenshooter) || status=$?
    [ $status = 0 ] && cp "$directory"/*.png "$1"
    status=$?
    rm -rf "$directory"
    return $status
}

# png_size FILE: WIDTHxHEIGHT, from its header.
png_size() {
    od -A n -t u1 -j 16 -N 8 "$1" | awk '{
        print (($1 * 256 + $2) * 256 + $3) * 256 + $4 "x" (($5 * 256 + $6) * 256 + $7) * 256 + $8 }'
}

# region FILE X Y WIDTH HEIGHT: that part of a PNG as a binary PPM, to compare with cmp.
region() { pngtopam "$1" | pamcut -left "$2" -top "$3" -width "$4" -height "$5" | pamdepth -quiet 255; }

# colour FILE X Y: one pixel of a PNG as RRGGBB.
colour() { region "$1" "$2" "$3" 1 1 | tail -c 3 | od -A n -t x1 | tr -d ' \n'; }

# descriptors PID: how many it has open; open_files PID: which.
descriptors() { find "/proc/$1/fd" -mindepth 1 2>/dev/null | wc -l; }
open_files() { find "/proc/$1/fd" -mindepth 1 -printf '%l\n' 2>/dev/null | sort; }
