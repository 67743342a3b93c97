# shellcheck shell=bash
# shellcheck disable=SC2154  # results, vmbtest_card: lib.sh, which sources this file
# shellcheck disable=SC2154,SC2034  # variables that lib.sh, which sources this file, and tests share with it
#   start_compositor weston14|weston16|sway|sway12|labwc|kwin|mutter [WIDTHxHEIGHT]
#   screenshot FILE; compositor_runs; stop_compositor
# weston16 and sway12 are in the root "newer", the others in "stable". One runs at a time.

# Code that llvmpipe makes with AVX draws textures white here (Mesa 26, LLVM 21, emulated by QEMU 7.2).
export GALLIUM_OVERRIDE_CPU_CAPS=sse4.1

compositor=''
compositor_pid=''
# The same process, for tests that speak of weston.
weston_pid=''
weston_log=$results/weston.log

# start_compositor NAME [WIDTHxHEIGHT]: it is up when it answers; its log is $weston_log, NAME.log in the
# results. The size is for those without a screen; the module's has 1024x768.
start_compositor() {
    local name=$1 size=${2:-1024x768}
    case $name in
        weston14 | weston16) is_version "${name#weston}" weston --version && start_weston "${size%x*}" "${size#*x}" ;;
        sway) on_screen 1.10 sway --config /share/tests/sway.config ;;
        sway12) on_screen 1.12 sway --config /share/tests/sway.config ;;
        labwc) on_screen '' labwc --config /share/tests/labwc.xml ;;
        kwin) start_kwin "${size%x*}" "${size#*x}" ;;
        mutter) start_mutter "$size" ;;
        *) printf 'no compositor "%s"\n' "$name" && false ;;
    esac || return
    compositor=$name
}

is_version() { # VERSION COMMAND…: what the command prints begins with it, after the program's name
    local version=$1 said
    shift
    said=$("$@" 2>/dev/null | sed -n 's/^[^0-9]*\([0-9][0-9.]*\).*/\1/p' | head -n 1)
    [[ $said. == "$version".* ]] || { printf '  %s is of version %s, want %s\n' "$1" "$said" "$version" && false; }
}

# launch NAME COMMAND…: in the background, its socket's name being $WAYLAND_DISPLAY or, if that is empty, of
# its own making.
launch() {
    compositor=$1 weston_log=$results/$1.log
    shift
    "$@" >"$weston_log" 2>&1 &
    compositor_pid=$! weston_pid=$!
    # The socket's file comes before the renderer; a compositor is up when it answers.
    wait_for 60 compositor_answers
    compositor_runs || { tail -n 20 "$weston_log" && compositor_pid='' weston_pid='' && false; }
}
compositor_answers() {
    compositor_runs || return 0 # no use in waiting on
    [ -n "$WAYLAND_DISPLAY" ] || find_socket || return
    [ -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY" ] && wayland-info >"$results/globals.txt" 2>/dev/null
}
find_socket() { # of a compositor that names it itself
    local file
    for file in "$XDG_RUNTIME_DIR"/wayland-[0-9]; do
        [ ! -S "$file" ] || WAYLAND_DISPLAY=${file##*/}
    done
    [ -n "$WAYLAND_DISPLAY" ]
}

compositor_runs() { [ -n "$compositor_pid" ] && kill -0 "$compositor_pid" 2>/dev/null; }
compositor_is_gone() { ! kill -0 "$compositor_pid" 2>/dev/null; }
weston_runs() { compositor_runs; }

stop_compositor() {
    [ -n "$compositor_pid" ] || return 0
    kill "$compositor_pid" 2>/dev/null
    wait_for 5 compositor_is_gone || kill -KILL "$compositor_pid" 2>/dev/null
    wait "$compositor_pid" 2>/dev/null
    compositor_pid='' weston_pid=''
}
stop_weston() { stop_compositor; }

# start_weston WIDTH HEIGHT [OPTION…]: headless, drawing with GL in software. vgem's render node must be
# out of sight (load_vgem).
start_weston() {
    local width=$1 height=$2
    shift 2
    export WAYLAND_DISPLAY=wayland-test
    launch weston weston --backend=headless --renderer=gl --width="$width" --height="$height" --debug --idle-time=0 \
        --config=/share/tests/weston.ini --socket="$WAYLAND_DISPLAY" "$@"
}

# start_on_screen COMMAND [OPTION…]: a wlroots compositor on our module's screen (load_vmbtest render=0 before).
start_on_screen() {
    export WAYLAND_DISPLAY=''
    rm -f "$XDG_RUNTIME_DIR"/wayland-[0-9]*
    # A seat without a terminal, devices without udev: there is neither.
    launch "$1" env LIBSEAT_BACKEND=builtin SEATD_VTBOUND=0 WLR_BACKENDS=drm WLR_DRM_DEVICES="$vmbtest_card" \
        WLR_RENDERER_ALLOW_SOFTWARE=1 WLR_LIBINPUT_NO_DEVICES=1 "$@"
}
on_screen() { # VERSION COMMAND…: the same, with the module if it is not there
    [ -z "$1" ] || is_version "$1" "$2" --version || return
    shift
    have_bare_vmbtest && start_on_screen "$@"
}
have_bare_vmbtest() { # our module without a render node
    [ -n "$vmbtest_card" ] || load_vmbtest render=0 || return
    [ -z "$vmbtest_render" ] || { echo '  vmbtest was loaded with a render node' && false; }
}

# A session bus, for those that want one.
start_bus() {
    export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus
    [ ! -S "$XDG_RUNTIME_DIR/bus" ] || return 0
    dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --fork --nopidfile
}

# start_kwin WIDTH HEIGHT: without a screen, drawing by our module's device. kwin opens a render node, but may
# make buffers on the card only (the kernel's rule): it gets a /dev/dri of its own, where both are the card.
start_kwin() {
    local home=/run/kwin
    have_bare_vmbtest && start_bus || return
    export WAYLAND_DISPLAY=wayland-test
    mkdir -p $home/.config
    # No animation, and no effect that a screenshot does not need: each costs time at the start.
    printf '[KDE]\nAnimationDurationFactor=0\n' >$home/.config/kdeglobals
    {
        echo '[Plugins]'
        printf '%sEnabled=false\n' overview windowview tileseditor zoom slide scale fade shakecursor screenedge \
            startupfeedback systembell colorpicker kscreen outputlocator highlightwindow
    } >$home/.config/kwinrc
    # For the VMs of the ladder each its place: a hidden window gets fewer frames.
    {
        printf '[General]\ncount=5\nrules=1,2,3,4,5\n'
        local place number=0
        for place in a:20,20 b:220,20 c:420,20 d:20,200 e:220,200; do
            number=$((number + 1))
            printf '[%s]\nDescription=%s\ntitle=[%s]\ntitlematch=2\nposition=%s\npositionrule=2\n' \
                $number "$number" "${place%:*}" "${place#*:}"
        done
    } >$home/.config/kwinrulesrc
    # shellcheck disable=SC2016  # for the inner shell
    launch kwin env HOME=$home KWIN_SCREENSHOT_NO_PERMISSION_CHECKS=1 unshare --mount bash -c '
        node="c $(($(stat -c 0x%t "$0"))) $(($(stat -c 0x%T "$0")))"
        mount -t tmpfs dri /dev/dri && mknod "$0" $node && mknod /dev/dri/renderD128 $node && exec "$@"' "$vmbtest_card" \
        kwin_wayland --virtual --width "$1" --height "$2" --no-lockscreen --no-global-shortcuts --no-kactivities \
        --socket "$WAYLAND_DISPLAY"
}

# start_mutter WIDTHxHEIGHT: it gives no screenshots.
start_mutter() {
    start_bus || return
    export WAYLAND_DISPLAY=wayland-test
    launch mutter env HOME=/run/mutter mutter --headless --no-x11 --virtual-monitor "$1" --wayland-display "$WAYLAND_DISPLAY"
}

# offers INTERFACE [VERSION]: does the running compositor offer the global (at least in this version)?
offers() { [ "$(offered "$1")" -ge "${2:-1}" ]; }
# offered INTERFACE: its version, 0 if it is not there.
offered() {
    local version
    version=$(wayland-info | sed -n "s/^interface: '$1', *version: *\([0-9]*\),.*/\1/p" | head -n 1)
    printf '%s' "${version:-0}"
}
# fence_protocols: those of the running compositor, with their versions: "explicit-sync 2", "drm-syncobj 1",
# both, or "none".
fence_protocols() {
    local all=() version
    version=$(offered zwp_linux_explicit_synchronization_v1)
    [ "$version" = 0 ] || all+=("explicit-sync $version")
    version=$(offered wp_linux_drm_syncobj_manager_v1)
    [ "$version" = 0 ] || all+=("drm-syncobj $version")
    [ ${#all[@]} -gt 0 ] || all=(none)
    printf '%s' "${all[0]}${all[1]:+, ${all[1]}}"
}

# screenshot FILE: the whole output as a PNG.
screenshot() {
    case $compositor in
        weston*) weston_screenshot "$1" ;;
        kwin) kwin_screenshot "$1" ;;
        mutter) echo '  mutter gives no screenshots' && false ;;
        *) timeout 30 grim "$1" ;;
    esac
}
weston_screenshot() {
    local directory status=0
    directory=$(mktemp -d)
    (cd "$directory" && timeout 30 weston-screenshooter) || status=$?
    [ $status = 0 ] && cp "$directory"/*.png "$1"
    status=$?
    rm -rf "$directory"
    return $status
}
# kwin answers a call with the picture's shape, and writes its bytes after that.
kwin_screenshot() {
    local raw=/run/kwin-picture answer size stride
    answer=$(exec 7>$raw && timeout 30 busctl --user call org.kde.KWin /org/kde/KWin/ScreenShot2 \
        org.kde.KWin.ScreenShot2 CaptureWorkspace 'a{sv}h' 0 7) || return
    member() { sed -n "s/.*\"$1\" [a-z] \"\{0,1\}\([a-z0-9]*\).*/\1/p" <<<"$answer"; }
    stride=$(member stride)
    # QImage's 4 to 6: blue, green, red and alpha (unused, straight, premultiplied), a byte each.
    [[ $(member type) = raw && $(member format) = [456] && $stride -ge 4 ]] || { echo "  kwin: $answer" && return 1; }
    size=$((stride * $(member height)))
    wait_for 10 eval "[ \$(stat -c %s $raw) = $size ]" || return
    {
        printf 'P7\nWIDTH %s\nHEIGHT %s\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n' $((stride / 4)) "$(member height)"
        cat $raw
    } | pamchannel -tupletype RGB 2 1 0 | pamcut -width "$(member width)" | pnmtopng 2>/dev/null >"$1"
}

# tell_globals: what of interest to us the running compositor offers.
tell_globals() {
    note "$compositor: linux-dmabuf $(offered zwp_linux_dmabuf_v1); fences: $(fence_protocols)"
}
