# shellcheck shell=bash
# How mmdebstrap gets Debian packages the way this machine does; for prepare here and in Tests/package.

mirror() { # where this machine gets its Debian from, whatever way its sources are written
    local codename
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016  # apt expands these
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(ORIGIN) $(REPO_URI)' \
        'Created-By: Packages' |
        awk -v release="$codename" '$1 == release && $2 == "main" && (NF == 3 || $3 == "Debian") {
            print $NF; exit }'
}

apt_options() { # the settings of this machine that decide whether its mirror can be used, as options
    apt-config dump | sed -n \
        -e 's/^\(Acquire::Check-Valid-Until .*\);$/--aptopt=\1/p' \
        -e 's/^\(Acquire::https\?::Proxy .*\);$/--aptopt=\1/p'
}
