# shellcheck shell=bash
# A libvirt of a user's own (qemu:///session) on this machine: the one of the test machine's root "stable", with that root read-only
# around it and our program installed there. Wants namespaces, but neither root nor KVM. Read after lib.sh, by a test that is process 1 of
# a namespace: so all that libvirt starts ends with the test, and what ended is not left as a zombie.
: "${root:?}" "${root_dir:?}" "${run_dir:?}" "${results:?}" "${guest_kernel:?}" "${guest_initramfs:?}"

# start_libvirt: until virsh reaches it. The test's directory of sockets is its XDG_RUNTIME_DIR, HOME is in it, and results are where they are
# here. It is user 1000, so that libvirt takes nobody for the system's administrator. WAYLAND_DISPLAY is not known to it, as to a
# service of a user's that was there before the session.
libvirt_home=$run_dir/home
libvirt_pid=''
start_libvirt() {
    local stage=$run_dir/stage as_user='unshare --user --map-user=1000 --map-group=1000'
    mkdir -p "$libvirt_home" "$run_dir/journal" "$run_dir/root" "$run_dir/bin" "$stage/usr/bin" "$stage/usr/libexec/vm-bridge" \
        "$stage/usr/share/qemu/vhost-user" "$stage/etc" "$stage/run/systemd/journal" "$stage$run_dir" "$stage$results"
    cp "$root/out/release/vm-bridge" "$stage/usr/bin/"
    cp "$root/dist/libexec/vhost-user-gpu" "$stage/usr/libexec/vm-bridge/"
    cp "$root/dist/qemu/60-vm-bridge-gpu.json" "$stage/usr/share/qemu/vhost-user/"
    # libvirt 11.3 crashes where the user's group has no name.
    { cat "$root_dir/etc/passwd" && echo "desk:x:1000:1000::$libvirt_home:/bin/sh"; } >"$stage/etc/passwd"
    { cat "$root_dir/etc/group" && echo "desk:x:1000:"; } >"$stage/etc/group"
    cp "$guest_kernel" "$run_dir/kernel"
    cp "$guest_initramfs" "$run_dir/initramfs"
    # The bridge is that user's too: who speaks D-Bus says its number.
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$as_user" "$root/out/release/vm-bridge" >"$run_dir/bin/vm-bridge"
    cat >"$run_dir/as-user" <<INSIDE
#!/bin/sh
exec $as_user env -i PATH=/usr/sbin:/usr/bin HOME="$libvirt_home" XDG_RUNTIME_DIR="$run_dir" LANG=C.UTF-8 "\$@"
INSIDE
    chmod +x "$run_dir/as-user" "$run_dir/bin/vm-bridge"
    PATH=$run_dir/bin:$PATH
    cat >"$run_dir/enter" <<ENTER
set -e
mount -t overlay -o "lowerdir=$stage:$root_dir" root "$run_dir/root"
cd "$run_dir/root"
for directory in /dev /sys /proc "$run_dir" "$results"; do mount --rbind "\$directory" ".\$directory"; done
mount --bind "$run_dir/journal" run/systemd/journal
# Not chroot: from within one the kernel gives nobody a namespace of users.
pivot_root . .
umount -l .
cd /
exec "$run_dir/as-user" libvirtd --timeout 0
ENTER
    unshare --mount --propagation private bash "$run_dir/enter" >"$results/libvirtd.log" 2>&1 &
    libvirt_pid=$!
    wait_for 60 virsh version >"$results/libvirt.version" 2>/dev/null || { cat "$results/libvirtd.log" && false; }
}
# inside COMMAND…: there, as its user.
inside() { nsenter --target "$libvirt_pid" --mount --wdns=/ "$run_dir/as-user" "$@"; }
virsh() { inside virsh -q -c qemu:///session "$@"; }
