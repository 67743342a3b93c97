# shellcheck shell=bash
# What the tests of Tests/qemu share. They run on this machine, started by Tests/qemu/run:
#   . "$(dirname "$0")/../lib.sh"
# Cases, waiting and the bridge as in the test machine (Tests/vm/cases.sh), guests by Tests/vm/guests.sh.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
results=${VMBRIDGE_QEMU_RESULTS:?is set by Tests/qemu/run}
PATH=$root/out/release:$root/out/vm-tools:$root/Tests/vm:$PATH:$root/.build/debug
# shellcheck source=Tests/vm/recipe.sh
. "$root/Tests/vm/recipe.sh"
# shellcheck source=Tests/vm/cases.sh
. "$root/Tests/vm/cases.sh"
# Sockets have short paths, and nobody else's.
run_dir=$(mktemp -d /tmp/vm-bridge-qemu.XXXXXX)
export XDG_RUNTIME_DIR=$run_dir
# shellcheck disable=SC2034  # read by guests.sh
guest_kernel=$(echo "$kernel_dir"/boot/vmlinuz-*) guest_accel=tcg guest_sockets=$run_dir
# shellcheck source=Tests/vm/guests.sh
. "$root/Tests/vm/guests.sh"

# However it ends, nothing runs on.
clean_up() {
    stop_guests
    stop_bridge >/dev/null 2>&1
    stop_compositor
    [ -z "$bus_pid" ] || kill "$bus_pid" 2>/dev/null
    rm -rf "$run_dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# use_qemu 7|10|11: the emulator of the guests to come. 7 is this machine's own, whatever its number.
use_qemu() {
    case $1 in
        7) guest_qemu=qemu-system-x86_64 ;;
        10 | 11) guest_qemu=$root/Tests/vm/qemu$1 ;;
        *) return 64 ;;
    esac
    note "$("$guest_qemu" --version | head -n 1)"
}

# root_program NAME ARGUMENT…: a program of the root "stable" run on this machine.
root_program() {
    local place name=$1
    place=$(root_path stable)
    shift
    "$place/lib64/ld-linux-x86-64.so.2" \
        --library-path "$place/usr/lib/x86_64-linux-gnu:$place/usr/lib/x86_64-linux-gnu/systemd" "$place/usr/bin/$name" "$@"
}

# start_compositor weston|sway WIDTHxHEIGHT: one of this machine, drawing without a GPU; screenshot FILE. weston
# places a window when it appears, anywhere where all of it is seen: let it be nearly as large as the output then.
compositor='' compositor_pid='' compositor_input=''
start_compositor() {
    compositor=$1
    # It lives in a directory of its own, which is then that of sockets: sway does not run as root.
    mkdir -p "$run_dir/$1"
    chmod 711 "$run_dir"
    mkfifo "$run_dir/$1.input"
    "$root/tools/compositor" "$1" --runtime "$run_dir/$1" --socket mine --size "$2" --log "$results/$1.log" \
        <"$run_dir/$1.input" >"$run_dir/$1.ready" 2>"$results/$1.errors" &
    compositor_pid=$!
    exec {compositor_input}>"$run_dir/$1.input"
    wait_for 60 grep -q '^ready' "$run_dir/$1.ready" || { cat "$results/$1.errors" && return 1; }
    ln -sf "$1/mine" "$run_dir/compositor"
    export WAYLAND_DISPLAY=compositor SWAYSOCK=$run_dir/$1/sway.sock
}
screenshot() { "$root/tools/compositor" screenshot "$compositor" "$1"; }
stop_compositor() {
    [ -n "$compositor_pid" ] || return 0
    kill "$compositor_pid" 2>/dev/null
    exec {compositor_input}>&-
    wait "$compositor_pid" 2>/dev/null
    rm -rf "${run_dir:?}/$compositor.input" "$run_dir/$compositor.ready" "${run_dir:?}/$compositor"
    compositor_pid=''
    unset WAYLAND_DISPLAY SWAYSOCK
}

# start_bus: a session bus of the test's own, at $bus.
bus=unix:path=$run_dir/bus
bus_pid=''
start_bus() {
    cat >"$run_dir/bus.conf" <<BUS
<busconfig><type>session</type><listen>$bus</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
BUS
    root_program dbus-daemon --nofork --config-file="$run_dir/bus.conf" >"$results/bus.log" 2>&1 &
    bus_pid=$!
    wait_for 30 test -S "$run_dir/bus"
}

# Last line of every test: a test without a case has proved nothing and fails.
finish() {
    printf 'cases: %s, failed: %s\n' "$cases" "$failures"
    [ "$cases" -gt 0 ] && [ "$failures" = 0 ]
    exit
}
