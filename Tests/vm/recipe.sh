# shellcheck shell=bash
# shellcheck disable=SC2034  # read by prepare and run, which source this file
# What the test machine is made of. Its hash names the cached parts, so a change here rebuilds them.

# The kernel must have udmabuf, the system heap, sync_file and vgem: Debian's 6.12 generic flavour
# has them all, 6.1 lacks udmabuf, the cloud flavours lack DRM and sync_file.
kernel_packages="linux-image-6.12-amd64 linux-image-amd64"
# Loaded by init before the root can be mounted.
boot_modules="9pnet_virtio 9p overlay virtio_rng"
# Put into /modules of the machine, loaded by a test that wants them (load_module in lib.sh).
test_modules="vgem virtio_gpu kvm_amd"
# Our own modules, built for that kernel; what one needs of the kernel's comes along. See modules/README.md.
our_modules="vmbtest vmbhyper"
our_module_needs() { # NAME
    case $1 in vmbtest) echo "drm_kms_helper drm_shmem_helper" ;; esac
}
our_module_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/modules
our_module_sources="Kbuild device.c device.h display.c fences.c vmbtest.h
    hyper.h hyper_buffer.c hyper_node.c hyper_peer.c vmbhyper.h"
# The small guest of tests with QEMU (guest/), on the same kernel: displays, then what input comes by.
guest_modules="virtio_gpu bochs virtio_input evdev psmouse xhci_pci usbhid hid_generic"
guest_source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/guest

# What the compositors and the tests need in every root.
common_packages="wayland-utils wayland-protocols netpbm
    libgl1-mesa-dri libegl1 libegl-mesa0 libgles2 libgbm1 xkb-data fonts-dejavu-core
    libwayland-client0 libpng16-16t64 libstdc++6 kmod procps strace"
# A QEMU with its D-Bus display and OpenGL, and what speaks to its sockets.
qemu_packages="qemu-system-x86 qemu-system-modules-opengl socat"
# The roots, by name; a test names one other than the first by a line "# root: NAME".
# stable: weston 14 and Mesa 25, the first Debian release whose software renderer imports dma-bufs. kwin's
# screenshots come by D-Bus: a bus, and busctl of systemd. setcap for the reader of hyper_dmabuf. libvirt is for Tests/qemu.
# newer: the suite after it, for compositors that stable does not have: weston 16, sway 1.12.
root_names="stable newer"
root_suite() {
    case $1 in
        stable) echo trixie ;;
        newer) echo forky ;;
    esac
}
root_packages() {
    case $1 in
        stable) echo "$common_packages weston sway labwc grim kwin-wayland mutter dbus-daemon systemd wtype wlrctl libcap2-bin
            $qemu_packages libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-log libvirt-clients" ;;
        # The library: QEMU's OpenGL opens it by name, and here nothing else brings it.
        newer) echo "$common_packages weston sway grim $qemu_packages libopengl0" ;;
    esac
}

cache=${VMBRIDGE_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set, nor is VMBRIDGE_CACHE}/.cache}/vm-bridge}

digest() { sha256sum | cut -c 1-12; }

kernel_dir=$cache/kernel-$(printf '%s' "2 $kernel_packages" | digest)
root_path() { # NAME
    printf '%s/root-%s' "$cache" "$(printf '%s' "1 $(root_suite "$1") $(root_packages "$1")" | digest)"
}
root_dir=$(root_path stable)
initramfs=$cache/initramfs-$({
    printf "%s" "2 ${kernel_dir##*/} $boot_modules / $test_modules / $our_modules $(our_module_needs vmbtest)"
    cat "$(dirname "${BASH_SOURCE[0]}")/init"
    # shellcheck disable=SC2086  # a list of names
    cd "$our_module_dir" && cat $our_module_sources
} | digest).cpio.gz
# Read by what starts such guests: guests.sh.
guest_initramfs=$cache/guest-$({
    printf "%s" "1 ${kernel_dir##*/} $guest_modules"
    cat "$guest_source_dir/init" "$guest_source_dir/guest-draw.c"
} | digest).cpio.gz
