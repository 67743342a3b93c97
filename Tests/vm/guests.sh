# shellcheck shell=bash
# The small guest (guest/) in QEMUs of this script: in the nested test machine and, for Tests/qemu, on the
# machine itself. Wants cases.sh, and in these variables what is not as in the test machine:
: "${results:?names no directory}"
guest_kernel=${guest_kernel:-/share/guest/kernel}
guest_initramfs=${guest_initramfs:-/share/guest/initramfs}
# The emulator; which of QEMU's accelerators; the directory of its sockets, short and not on a share.
guest_qemu=${guest_qemu:-qemu-system-x86_64}
guest_accel=${guest_accel:-kvm}
guest_sockets=${guest_sockets:-/run/guests}
guest_memory=${guest_memory:-256}
mkdir -p "$guest_sockets"
declare -A guest_pids=()

# start_guest NAME "WORDS OF ITS COMMAND LINE" QEMU-OPTION…: without waiting. Words are guest=MODE and
# guest.OPTION=NUMBER, see guest/README.md; without words there is no system, and the firmware says so. What it says is in $results/NAME.serial, what QEMU says in
# $results/NAME.qemu. Its RAM is a memfd, as vhost-user and udmabuf want it. Two QMP sockets, of which each
# takes one client: NAME.qmp for this script, NAME.display for the bridge.
start_guest() {
    local name=$1 words=$2 processor=max system=()
    shift 2
    [ -z "$words" ] || system=(-kernel "$guest_kernel" -initrd "$guest_initramfs"
        -append "console=ttyS0 quiet panic=-1 mitigations=off audit=0 $words")
    # Within KVM the processor that the kernel's modules and an emulated SVM agree on.
    [ "$guest_accel" != kvm ] || processor=qemu64
    : >"$results/$name.serial"
    rm -f "$guest_sockets/$name.qmp" "$guest_sockets/$name.display"
    "$guest_qemu" -nodefaults -no-user-config -name "$name" -M q35,memory-backend=ram -accel "$guest_accel" \
        -cpu "$processor" -smp 1 -m "$guest_memory" \
        -object "memory-backend-memfd,id=ram,size=${guest_memory}M,share=on" \
        "${system[@]}" \
        -serial "file:$results/$name.serial" \
        -qmp "unix:$guest_sockets/$name.qmp,server=on,wait=off" \
        -qmp "unix:$guest_sockets/$name.display,server=on,wait=off" \
        "$@" </dev/null >"$results/$name.qemu" 2>&1 &
    guest_pids[$name]=$!
    wait_for 60 test -S "$guest_sockets/$name.display" || { cat "$results/$name.qemu" && false; }
}

# bring_up NAME "WORDS" QEMU-OPTION…: start_guest, and waits until its kernel or init has said something. Emulated virtualization stands
# still now and then before that, as the test machine's own kernel does; such a start is told and repeated, twice at most.
bring_up() {
    local attempt
    for attempt in 1 2 3; do
        start_guest "$@" || return
        if wait_for 150 guest_has_spoken "$1"; then return 0; fi
        note "$1: nothing was heard of it for 150 s (start $attempt)"
        kill_guest "$1"
    done
    return 1
}
guest_has_spoken() { [ -s "$results/$1.serial" ] || ! guest_runs "$1"; }

guest_runs() { kill -0 "${guest_pids[$1]:-0}" 2>/dev/null; }

# guest_says SECONDS NAME PATTERN: waits for a line (grep -E); ends at once when the guest has failed or ended.
guest_says() {
    local file=$results/$2.serial
    wait_for "$1" guest_said_or_ended "$2" "$3"
    grep -q -E -e "$3" "$file" || { tail -n 5 "$file" "$results/$2.qemu" && false; }
}
guest_said_or_ended() { grep -q -E -e "$2|^guest: FAILED" "$results/$1.serial" || ! guest_runs "$1"; }

# guest_drew NAME: the last frame that it says it drew; guest_drew_all NAME FIRST LAST: whether each, once and in order.
# read tells a line that is not whole yet by its status.
guest_drew() {
    local line last=''
    while IFS= read -r line; do
        case $line in 'drew '*) last=${line#drew } ;; esac
    done <"$results/$1.serial"
    printf '%s' "${last%$'\r'}"
}
guest_drew_all() {
    equal "$(tr -d '\r' <"$results/$1.serial" | sed -n 's/^drew //p' | paste -s -d ' ')" "$(seq -s ' ' "$2" "$3")"
}

# qmp NAME COMMAND [ARGUMENTS-AS-JSON]: prints the answer; fails when it is an error or there is none.
qmp() {
    local line answer=''
    coproc QMP_PEER { exec socat - "UNIX-CONNECT:$guest_sockets/$1.qmp" 2>/dev/null; }
    local peer=$QMP_PEER_PID from=${QMP_PEER[0]} to=${QMP_PEER[1]}
    printf '{"execute":"qmp_capabilities"}\n{"execute":"%s","arguments":%s,"id":"asked"}\n' "$2" "${3:-{\}}" >&"$to"
    while IFS= read -r -t 60 line <&"$from"; do
        case $line in *'"id": "asked"'*) answer=$line && break ;; esac
    done
    kill "$peer" 2>/dev/null
    wait "$peer" 2>/dev/null
    printf '%s\n' "${answer:-no answer to $2}"
    case $answer in *'"return":'*) ;; *) return 1 ;; esac
}

# Of a headless bridge with --capture-frames, whose log is $frames_log. frames_begin: what was shown so far is another
# guest's. frames_are VM SLOT SEED FRAMES OPTION…: every picture of that surface is one of the guest's frames, see
# PictureCheck; ends_with VM SLOT SEED FRAME: the newest is. shows_screendump VM SLOT NAME [DEVICE HEAD]: it is QEMU's own
# picture, which has to stand still.
frames_log=$results/capture/frames.log
frames_from=1
frames_begin() { frames_from=$(($(wc -l <"$frames_log") + 1)); }
frames_are() {
    local vm=$1 slot=$2 seed=$3 range=$4 status=0
    shift 4
    tail -n "+$frames_from" "$frames_log" >"$results/frames.part"
    PictureCheck frames "$seed" "$range" "$results/frames.part" "$vm" "$slot" "$@" >"$results/frames.txt" || status=$?
    [ $status = 0 ] || cp "$results/frames.txt" "$results/frames.$vm.$slot.$seed.txt"
    note "$(tail -n 4 "$results/frames.txt")"
    return $status
}
# expect_frames SENTENCE VM SLOT SEED FRAMES OPTION…: that frames_are, as a case. In the test machine it is left to the host, which reckons
# the frames' checksums in seconds and not in minutes: Tests/vm/run does it when the test itself has passed.
expect_frames() {
    local sentence=$1 vm=$2 slot=$3 seed=$4 range=$5 number
    shift
    if [ "$results" != /share/out ]; then
        expect "$sentence" frames_are "$@"
        return
    fi
    shift 4
    number=$(($(find "$results" -name 'later.*.log' | wc -l) + 1))
    tail -n "+$frames_from" "$frames_log" >"$results/later.$number.log"
    printf '%s|%s|%s|%s|%s|%s|%s\n' "$number" "$sentence" "$seed" "$range" "$vm" "$slot" "$*" >>"$results/later"
}
ends_with() {
    tail -n "+$frames_from" "$frames_log" | grep -e "^$1 $2 " | tail -n 1 >"$results/frames.end"
    PictureCheck frames "$3" "$4" "$results/frames.end" "$1" "$2" --last "$4" >"$results/end.txt"
}
# slot_of SIZE: of the surface that had it last.
slot_of() { awk -v size="$1" '$4 == size { slot = $2 } END { print slot }' "$frames_log"; }
shows_screendump() {
    local vm=$1 slot=$2 name=$3
    shift 3
    guest_screendump "$name" "$results/$name-dump.png" "$@" &&
        PictureCheck last "$frames_log" "$vm" "$slot" "$results/$name-dump.png" >"$results/$name-dump.txt"
}

# guest_screendump NAME FILE [DEVICE HEAD]: what QEMU itself thinks is on that console, as a PNG.
guest_screendump() {
    local place=''
    [ $# -lt 4 ] || place=",\"device\":\"$3\",\"head\":$4"
    qmp "$1" screendump "{\"filename\":\"$2\",\"format\":\"png\"$place}" >/dev/null && test -s "$2"
}

# guest_keys NAME KEY…: pressed and released one after another, by QEMU's names of them (qcode).
guest_keys() {
    local name=$1 key
    shift
    for key; do
        qmp "$name" send-key "{\"keys\":[{\"type\":\"qcode\",\"data\":\"$key\"}],\"hold-time\":50}" >/dev/null || return
        sleep 0.2
    done
}

reset_guest() { qmp "$1" system_reset >/dev/null; }
# kill_guest NAME: as a crash of QEMU would; stop_guest NAME: in order. Neither fails when it is gone.
kill_guest() {
    local pid=${guest_pids[$1]:-}
    [ -n "$pid" ] || return 0
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    unset "guest_pids[$1]"
}
stop_guest() {
    local pid=${guest_pids[$1]:-}
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null
    wait_for 30 guest_has_ended "$1"
    kill_guest "$1"
}
guest_has_ended() { ! guest_runs "$1"; }
stop_guests() {
    local name
    for name in "${!guest_pids[@]}"; do kill_guest "$name"; done
}
