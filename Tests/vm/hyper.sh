# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034  # variables shared with lib.sh, which is sourced before this file
# For the tests of the source hyper-dmabuf: a bridge without any rights, its reader with one, guests that the
# loop-back driver plays (modules/README.md). Sourced behind lib.sh.

# The bridge is nobody special's: its own directories, weston's socket by its whole path.
own=/run/bridge
reader=/opt/hyper-reader
bridge_report=$own/report.json
# shellcheck disable=SC2120  # options are for some phases only
start_hyper_bridge() { # OPTION…
    HOME=$own XDG_RUNTIME_DIR=$own WAYLAND_DISPLAY=/run/user-0/wayland-test \
        setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all \
        vm-bridge run --report "$bridge_report" --hyper-dmabuf-reader "$reader" \
        --source a=hyper-dmabuf:3 --source b=hyper-dmabuf:4 --source c=hyper-dmabuf:200 "$@" >"$bridge_log" 2>&1 &
    bridge_pid=$!
    # Each VM has its own connection to the compositor, and descriptors are going to be counted.
    { wait_for_line 30 "$bridge_log" 'hyper_dmabuf: reading' && wait_for 30 bridge_is_up 'the compositor is there' 3; } ||
        { cat "$bridge_log" && false; }
}
as_user() { HOME=$own XDG_RUNTIME_DIR=$own setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all "$@"; }
start_found_bridge() { # OPTION…: headless, with the reader that it finds by itself
    # Not by a function: its process would be the shell's.
    HOME=$own XDG_RUNTIME_DIR=$own setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all \
        vm-bridge run --headless --report "$bridge_report" "$@" >"$bridge_log" 2>&1 &
    bridge_pid=$!
    wait_for_line 30 "$bridge_log" 'hyper_dmabuf: reading' || { cat "$bridge_log" && false; }
}
driver_is_read() { take_report && grep -q '"drivers":\[{"name":"hyper_dmabuf","node":"/dev/hyper_dmabuf","reading":true' "$bridge_report"; }
control() { XDG_RUNTIME_DIR=$own vm-bridge "$@" >/dev/null; }
reader_pid() { pgrep -f 'hyper-dmabuf-reader --socket' | head -n 1; }
capabilities() { sed -n 's/^CapEff:[[:space:]]*//p' "/proc/$1/status"; }

# guest RUN DOMAIN NAME=VALUE…: in the background, what it says in RUN.log. guest_drew RUN: all its frames.
guest_pid=''
guest() {
    local run=$1
    shift
    KernelProof hyper-guest "$@" >"$results/$run.log" 2>&1 &
    guest_pid=$!
}
guest_drew() { wait_for_line "$1" "$results/$2.log" '^domain .*: drew'; }
guest_ends() { kill "$1" 2>/dev/null && wait "$1"; true; }
peer() { KernelProof hyper-peer "$@"; }
# hold_domains: they live as long as somebody has the peer's node open, and nobody else inherits it. end_domains: all of
# them at once.
holder=''
hold_domains() {
    sleep 100000 9<>/dev/hyper_dmabuf_peer &
    holder=$!
    [ -e /dev/hyper_dmabuf_peer ]
}
end_domains() {
    pkill -P $$ -f hyper-guest
    kill "$holder" && wait "$holder"
    true
}

# The numbers of frames that one of a surface became: all that were announced and arrived are in there.
frames_of() { # VM TITLE
    take_report
    echo $(($(surface_field "\[$1] $2" shown) + $(surface_field "\[$1] $2" superseded)))
}
# overtaken_of VM: frames that a later one overtook before their buffer was open, of all its guests so far.
overtaken_of() {
    take_report
    vm_field "$1" source | sed -n 's/.* \([0-9]*\) overtaken.*/\1/p'
}
is_shown_once() { take_report && [ "$(surface_field "\[$1] $2" shown)" -ge 1 ] 2>/dev/null; }
surfaces_of() { # VM: those that are there
    take_report
    tr '{' '\n' <"$bridge_report" | grep -c -e "\"title\":\"\[$1\] .*\"gone\":false" || true
}
has_surfaces() { [ "$(surfaces_of "$1")" = "$2" ]; }
# only VM TITLE: nothing else is on the screen.
only() {
    local vm
    for vm in a b c; do control hide --vm $vm; done
    take_report
    control show --vm "$1" --surface "$(surface_field "\[$1] $2" surface)"
}
all() { for vm in a b c; do control show --vm $vm; done; }
only_slow_shows() {
    wait_for 60 is_shown_once b "slow 1" && only b "slow 1" &&
        comes_to_show 60 slow 160x120 XR24 82 "slow 1" 10 && all
}
sound_shows() {
    wait_for 60 is_shown_once a "sound 0" && only a "sound 0" && comes_to_show 60 sound 160x120 XR24 90 "sound 0" 5
}
unloaded() { rmmod vmbhyper 2>/dev/null; }
no_reader() { [ -z "$(reader_pid)" ]; }
frames_come() { take_report && [ -n "$(surface_field "\[$1] unreadable 0" surface)" ]; }

# begin_hyper: the driver, weston 14, the reader's program, and the bridge up and reading.
begin_hyper() {
    expect "the driver can be loaded" load_module vmbhyper mmap=1 || return
    expect "domains are there" hold_domains || return
    expect "weston comes up" start_weston 800 600 || return
    chmod 755 /run/user-0
    chmod 777 /run/user-0/wayland-test
    mkdir -p $own /opt
    chown 1000:1000 $own
    chmod 700 $own
    cp /share/bin/vm-bridge $reader
    expect "the reader's program is given its one right" setcap cap_dac_override+p $reader || return
    expect "the bridge comes up and reads" start_hyper_bridge
}
