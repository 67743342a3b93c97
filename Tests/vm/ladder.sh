# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034  # variables shared with lib.sh, which is sourced before this file
# What one compositor makes of fences, from `climb NAME`: held in our loop with every compositor, and passed on
# where it offers a protocol for it. Pixels prove it, not frame callbacks: every row of a picture carries its
# frame's number, and one row of another number fails.

limit=900 # milliseconds that a fence may take

# How fast the VMs send, frames a second: an emulated processor draws a picture of kwin's or mutter's in 100 to
# 300 ms, and what comes faster is superseded.
set_pace() {
    case $compositor in
        kwin | mutter) pace=2 live_pace=1.5 live_frames=6 ;;
        *) pace=6 live_pace=4 live_frames=14 ;;
    esac
}

# vm NAME OPTION…: a producer in the background, as a VM of that name; what it says is in LABEL-NAME.log.
vms=()
vm() {
    local name=$1
    shift
    vm-bridge produce --socket "/run/$name.sock" --wait 10 --size 160x48 --pattern rows --buffer udmabuf --json "$@" \
        >"$results/$label-$name.log" 2>&1 &
    vms+=($!)
}
vms_end_well() {
    local status=0 process
    for process in "${vms[@]}"; do wait "$process" || status=$?; done
    vms=()
    equal "$status" 0
}
count() { json_field "$2" <"$results/$label-$1.log"; } # VM FIELD
milliseconds() { echo $(($1 * 1000000)); }             # as the program's nanoseconds

# rows WINDOWS: no row of any window on the screen is of another frame, and none of a buffer that was given back.
# weston puts windows where it likes, perhaps one over another.
rows() { screenshot "$results/$label-rows.png" && PictureCheck rows "$results/$label-rows.png" --windows "$1" >"$results/$label-rows.txt"; }
rows_are_whole() { rows "$1" || { cat "$results/$label-rows.txt" && false; }; }

bridge_for() { # POLICY
    local name sources=()
    for name in a b c d e; do sources+=(--source "$name=socket:/run/$name.sock"); done
    bridge_log=$results/$label-bridge.log
    start_bridge --fences "$1" --fence-limit $limit "${sources[@]}"
}

# First frames cost seconds, and whoever waits for one counts as hidden: as many windows as the tests have, until
# a frame takes no longer than it should.
warm_up() {
    local round
    for round in 1 2 3 4 5 6; do
        vm a --frames 4 --rate 4
        vm b --colour 10 --frames 4 --rate 4
        vm c --colour 20 --frames 4 --rate 4
        vms_end_well || return
        [ $(($(count a highest_latency_ns) + $(count b highest_latency_ns))) -ge "$(milliseconds 200)" ] || break
    done
    note "$label: warm after $round rounds"
}

# Fences of all kinds at once, each in its own VM, and a VM beside them whose frames are complete.
fences_are_kept() {
    vm a --fence sync_file --fence-delay 600 --frames 4 --rate 1 --overwrite --release fence
    vm b --colour 10 --fence signalled --frames $((pace * 4)) --rate "$pace" --overwrite --linger 1
    vm c --colour 20 --fence-pattern none,failing,none,stuck --fence-delay 100 --frames 4 --rate 2 --linger 2
    sleep 2
    local visible=3
    [[ $compositor != weston* ]] || visible=1
    [ "$compositor" = mutter ] || expect "$label: no row is of another frame" rows_are_whole "$visible"
    expect "$label: the producers end well" vms_end_well
    expect "$label: frames with a fence of 600 ms are shown" between 3 "$(count a shown)" 4
    expect "$label: none before its fence" equal "$(count a early)" 0
    expect "$label: and soon after it" between 1 "$(count a mean_signal_to_presented_ns)" "$(milliseconds 500)"
    expect "$label: frames whose fence has signalled are shown meanwhile" between $((pace * 3)) "$(count b shown)" $((pace * 4))
    note "$label: beside them a frame took at most $(($(count b highest_latency_ns) / 1000000)) ms"
    expect "$label: a fence that fails is told" equal "$(count c reason_fence_failed)" 1
    expect "$label: one that never signals, too" equal "$(count c reason_fence_timeout)" 1
    expect "$label: and the surface goes on" between 1 "$(count c shown)" 4
}

# A hundred surfaces whose fences never signal, beside a live one that begins when all of them are stuck.
hundred_are_stuck() {
    vm d --surfaces 50 --stuck 50 --fence stuck --colour 100 --frames 7 --rate 1
    vm e --surfaces 50 --stuck 50 --fence stuck --colour 200 --frames 7 --rate 1
    sleep 3.5
    vm b --colour 10 --frames "$live_frames" --rate "$live_pace"
    expect "$label: a hundred stuck surfaces and a live one end well" vms_end_well
    expect "$label: the hundred were shown before, or hidden by each other" \
        equal $(($(count d kind_none_sent) + $(count e kind_none_sent))) 100
    note "$label: of its $live_frames frames $(count b shown) were shown; one took at most $(($(count b highest_latency_ns) / 1000000)) ms"
    # A machine that does other things too may skip one or two; whoever waits for the stuck ones shows none.
    expect "$label: the live one goes on" between $((live_frames - 2)) "$(count b shown)" "$live_frames"
    expect "$label: none of its frames waits for their fences" \
        between 1 "$(count b highest_latency_ns)" "$(milliseconds $limit)"
    # How many there are depends: a window that was made anew asks for a frame.
    local told=$(($(count d reason_fence_timeout) + $(count e reason_fence_timeout)))
    expect "$label: the stuck ones are told so" between 100 $told 10000
    expect "$label: once for each frame" equal $told $(($(count d kind_stuck_refused) + $(count e kind_stuck_refused)))
}

# What else stands still while one surface's fence is pending: for the record.
what_stands_still() {
    vm b --colour 10 --frames $((pace * 4)) --rate "$pace"
    sleep 0.5
    vm a --fence-pattern none,sync_file --fence-delay 850 --frames 2 --rate 2
    expect "$label: the producers end well" vms_end_well
    note "$label: while a fence of 850 ms was passed on, another VM's frame took at most $(($(count b highest_latency_ns) / 1000000)) ms, $(count b shown) of $((pace * 4)) were shown, $(count a early) of 1 before its fence"
}

# climb NAME RELEASE [patient]: RELEASE is how releases come, as the report says it. A patient compositor keeps
# other surfaces going while one waits for a fence, so pending ones are passed on to it unless told otherwise;
# what the others do with those is only noted.
own="wl_buffer.release and the dma-buf's own fences"
climb() {
    local label=$1 release=$2 first=auto
    compositor_runs || expect "$1 comes up" start_compositor "$1" || return
    phase "$1: fences"
    tell_globals
    set_pace
    [ "${3:-}" != patient ] || first=hold release=$own
    expect "$label: the bridge comes up" bridge_for $first || return
    expect "$label: first pictures" warm_up
    fences_are_kept
    take_report
    expect "$label: pending fences were held" equal "$(surface_field '\[a].*' sync_path)" "held in the loop"
    expect "$label: releases come by $release" equal "$(surface_field '\[a].*' release_path)" "$release"
    hundred_are_stuck
    expect "$label: the bridge ends in order" stop_bridge
    label=$1-pass
    if [ $first = hold ]; then
        expect "$label: the bridge comes up" bridge_for auto || return
        fences_are_kept
        take_report
        expect "$label: fences were passed on" equal "$(surface_field '\[a].*' sync_path)" "passed on, some held in the loop"
        expect "$label: releases come by $2" equal "$(surface_field '\[a].*' release_path)" "$2"
        hundred_are_stuck
    else
        expect "$label: the bridge comes up" bridge_for pass || return
        what_stands_still
    fi
    expect "$label: the bridge ends in order" stop_bridge
    expect "$1 runs" compositor_runs
    stop_compositor
}
