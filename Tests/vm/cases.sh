# shellcheck shell=bash
# What scripts of tests share wherever they run: cases, waiting, the bridge and its report. Before it is read
# `results` names the directory for what is worth a look afterwards, and the programs are in PATH.
: "${results:?names no directory}"

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

# phase NAME: what comes next; says how long the one before took.
phase_name='' phase_start=0
phase() {
    local now
    now=$(cut -d ' ' -f 1 /proc/uptime)
    [ -z "$phase_name" ] || awk -v a="$phase_start" -v b="$now" -v n="$phase_name" \
        'BEGIN { printf "-- %s: %.1f s\n", n, b - a }'
    phase_name=$1 phase_start=$now
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

# start_bridge OPTION…: the daemon, up when all its VMs have windows to show, a headless one when it waits for all of
# them. Its log is $bridge_log, its report $bridge_report. stop_bridge: and away with it, its status returned.
bridge_log=$results/bridge.log
bridge_report=$results/report.json
bridge_pid=''
start_bridge() {
    local sign='the compositor is there' sources
    case " $* " in *' --headless '*) sign='listening on|waiting for QEMU|answers by QMP' ;; esac
    sources=$(printf '%s\n' "$@" | grep -c -E '=(socket|vhost-user-gpu|qemu|qemu-bus)(:|$)')
    : >"$bridge_log"
    vm-bridge run --report "$bridge_report" "$@" >"$bridge_log" 2>&1 &
    bridge_pid=$!
    { wait_for 60 bridge_is_up "$sign" "$sources" && bridge_runs; } || { cat "$bridge_log" && false; }
}
bridge_is_up() { [ "$(grep -c -E -e "$1" "$bridge_log")" -ge "$2" ] || ! bridge_runs; }
bridge_runs() { kill -0 "$bridge_pid" 2>/dev/null; }
stop_bridge() {
    [ -n "$bridge_pid" ] || return 0
    kill "$bridge_pid" 2>/dev/null
    local status=0
    wait "$bridge_pid" || status=$?
    bridge_pid=''
    return $status
}

# take_report: a fresh one of the running bridge.
take_report() {
    rm -f "$bridge_report"
    kill -USR1 "$bridge_pid" && wait_for 5 test -s "$bridge_report"
}
# vm_field VM FIELD, surface_field TITLE FIELD: from the report; the latest surface of that title.
# What is asked for of a VM or a surface stands before the objects in it.
json_field() {
    sed -n -e "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p;t" -e "s/.*\"$1\":\([^,\"}]*\)[,}].*/\1/p" | tail -n 1
}
vm_field() { tr '{' '\n' <"$bridge_report" | grep -e "^\"name\":\"$1\"" | json_field "$2"; }
surface_field() { tr '{' '\n' <"$bridge_report" | grep -e "\"title\":\"$1\"" | json_field "$2"; }
# refusals VM REASON: how often.
refusals() {
    tr '{' '\n' <"$bridge_report" | awk -v name="\"name\":\"$1\"" '
        index($0, name) == 1 { found = 1 }
        found && last ~ /"refusals":$/ { print; exit }
        { last = $0 }' | sed 's/}.*//' | tr ',' '\n' | sed -n "s/\"$2\":\([0-9]*\)/\1/p"
}
no_producer() { take_report && equal "$(vm_field "$1" connected)" false >/dev/null; }

# between LOW VALUE HIGH: whole numbers; nothing is not between anything.
between() {
    if [ -n "$2" ] && [ "$1" -le "$2" ] && [ "$2" -le "$3" ]; then return; fi
    printf "  got '%s', want %s to %s\n" "$2" "$1" "$3"
    return 1
}
