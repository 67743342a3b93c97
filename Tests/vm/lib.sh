# shellcheck shell=bash
# What the scripts in tests/ share. They run inside the test machine, as root, with bash.
#   . /share/tests/lib.sh
# /share/bin has the product's release programs, /share/out keeps what is worth a look afterwards.

export XDG_RUNTIME_DIR=/run/user-0 WAYLAND_DISPLAY=wayland-test PATH=/share/bin:$PATH
mkdir -p "$XDG_RUNTIME_DIR" /share/out
chmod 700 "$XDG_RUNTIME_DIR"
results=/share/out
# shellcheck source=Tests/vm/cases.sh
. /share/tests/cases.sh

# Last line of every test: a test without a case has proved nothing and fails.
finish() {
    stop_compositor
    printf 'cases: %s, failed: %s\n' "$cases" "$failures"
    [ "$cases" -gt 0 ] && [ "$failures" = 0 ]
    exit
}

load_module() { # NAME [PARAMETER=VALUE…]: with what it needs
    local file name=$1 parameters
    shift
    while read -r file; do
        parameters=()
        [ "$file" != "$name.ko" ] || parameters=("$@")
        insmod "/modules/$file" "${parameters[@]}" 2>/dev/null || [ -d "/sys/module/$(basename "${file%.ko}" | tr - _)" ] || return 1
    done <"/modules/$name.list"
}

# vgem makes fences that a test signals when it likes. Mesa must not see its render node: it would
# take vgem for the display's device and then could not show dma-bufs of any other origin.
load_vgem() {
    load_module vgem && wait_for 5 test -e /dev/dri/card0 && rm -f /dev/dri/renderD*
}

# load_vmbtest [render=0]: our own module, see modules/README.md; sets vmbtest_card and, unless it is to have
# none, vmbtest_render. Compositors on its screen want no render node: Mesa has no driver for it, and falls
# back to software only on the card node.
vmbtest_card='' vmbtest_render=''
load_vmbtest() { load_module vmbtest "$@" && wait_for 5 find_vmbtest "$@"; }
find_vmbtest() {
    local node
    for node in /sys/class/drm/card* /sys/class/drm/renderD*; do
        [ "$(basename "$(readlink "$node/device/driver")")" = vmbtest ] || continue
        case ${node##*/} in
            card*-*) ;;
            card*) vmbtest_card=/dev/dri/${node##*/} ;;
            *) vmbtest_render=/dev/dri/${node##*/} ;;
        esac
    done
    [ -c "$vmbtest_card" ] && { [ "${1:-}" = render=0 ] || [ -c "$vmbtest_render" ]; }
}

# shellcheck source=Tests/vm/compositors.sh
. /share/tests/compositors.sh

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

# descriptor_kinds PID: how many it has open of each kind, one kind a line.
descriptor_kinds() { open_files "$1" | sed -e 's/:\[[0-9]*\]$//' -e 's|^/dmabuf:.*|dma-buf|' -e 's|^/memfd:.*|memfd|' | sort | uniq -c; }

# dma_bufs PID: how many dma-bufs it has open or mapped.
dma_bufs() {
    local open mapped
    open=$(grep -l -s '^exp_name:' /proc/"$1"/fdinfo/* | wc -l)
    mapped=$(grep -c -e '/dmabuf:' "/proc/$1/maps")
    printf '%s open, %s mapped' "$open" "$mapped"
}
# dma_buf_details PID: their sizes, makers and names.
dma_buf_details() {
    local file
    for file in /proc/"$1"/fdinfo/*; do
        grep -q -s '^exp_name:' "$file" || continue
        printf '  fd %s: %s\n' "${file##*/}" "$(grep -E '^(size|count|exp_name|name):' "$file" | tr -s '\t\n' '  ')"
    done
    grep -e '/dmabuf:' "/proc/$1/maps"
}
# all_dma_bufs: how many the kernel has, whoever holds them.
all_dma_bufs() { sed -n 's/^Total \([0-9]*\) objects.*/\1/p' /sys/kernel/debug/dma_buf/bufinfo; }

# kernel_is_content: no oops, no warning since it booted; but for DRM's that a refresh of our module's screen took
# longer than 100 ms, which an emulated processor on a busy machine brings about.
kernel_is_content() {
    ! dmesg | grep -E 'WARNING:|BUG:|Oops|general protection' | grep -v -F drm_atomic_helper_wait_for_vblanks
}

# shows SCREENSHOT SIZE FORMAT SEED TITLE FRAMES [TOLERANCE]: takes the screenshot and looks in it for the
# reference producer's pattern, see Tests/Support/PictureCheck. What it found is in SCREENSHOT.txt.
shows() {
    local file=$results/$1.png
    shift
    screenshot "$file" && PictureCheck pattern "$file" "$@" >"$file.txt"
}
# comes_to_show SECONDS SCREENSHOT …: the same until it does.
comes_to_show() {
    local limit=$1
    shift
    wait_for "$limit" shows "$@" || { cat "$results/$1.png.txt" && false; }
}

# buffers_are_shown LABEL KIND…: through a bridge of its own into the running compositor, each kind of memory
# to the pixel and without a copy. LABEL names the cases and the files.
buffers_are_shown() {
    local label=$1 kind pid
    shift
    bridge_log=$results/$label-bridge.log
    expect "$label: the bridge comes up" start_bridge --source a=socket:/run/a.sock || return
    for kind; do
        vm-bridge produce --socket /run/a.sock --title "$kind" --size 320x240 --colour 9 --buffer "$kind" \
            --rate 5 --frames 3 --hold >"$results/$label-$kind.log" 2>&1 &
        pid=$!
        expect "$label: a $kind buffer is shown, equal to the pixel" \
            comes_to_show 30 "$label-$kind" 320x240 XR24 9 "$kind" 3-9
        note "$(cat "$results/$label-$kind.png.txt")"
        take_report
        expect "$label: without a copy" equal "$(surface_field "\[a] $kind" import_path)" "linux-dmabuf (zero copy)"
        kill $pid
        expect "$label: the producer leaves in order" wait $pid
    done
    expect "$label: the bridge ends in order" stop_bridge
    expect "$label: the compositor runs" compositor_runs
}
