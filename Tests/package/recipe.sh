# shellcheck shell=bash
# shellcheck disable=SC2034  # read by prepare and run, which source this file
# The bare Debian roots that the package is tried in. They are kept beside the test machine's parts, named by
# a hash of this recipe.
root_names="debian-12 debian-13"
root_suite() {
    case $1 in
        debian-12) echo bookworm ;;
        debian-13) echo trixie ;;
    esac
}
# What the package is going to depend on, beyond what every Debian has: downloaded, not installed, so that
# the roots need no network when apt installs the package.
root_downloads() {
    case $1 in
        debian-12) echo "libwayland-client0 libpng16-16" ;;
        debian-13) echo "libwayland-client0 libpng16-16t64" ;;
    esac
}

cache=${VMBRIDGE_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set, nor is VMBRIDGE_CACHE}/.cache}/vm-bridge}
root_path() { # NAME
    printf '%s/bare-%s' "$cache" \
        "$(printf '%s' "1 $(root_suite "$1") $(root_downloads "$1")" | sha256sum | cut -c 1-12)"
}
