#!/usr/bin/env bash
# The Debian package: installed where there is no systemd, followed by what RECIPES.md has under "systemd by hand", word for
# word with a stand-in for systemctl, and purged. On overlays of this script's own: nothing of the machine is touched.
# Usage: package.sh PACKAGE.deb        as root
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
documents=/usr/share/doc/twincast

fail() {
    echo "package.sh: $*" >&2
    [ ! -s "$work/said" ] || cat "$work/said" >&2
    exit 1
}

inside() {
    local folder name
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$work"
    for folder in etc usr var; do
        mkdir "$work/$folder" "$work/.$folder"
        mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$work/$folder,workdir=$work/.$folder" "/$folder"
    done
    export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive
    # Images of containers leave documents out; here they are what is tried.
    rm -f /etc/dpkg/dpkg.cfg.d/* "$(command -v systemd-sysusers || echo "$work/none")"
    ! getent passwd twincast >/dev/null || userdel twincast

    dpkg --install "$1" >"$work/said" 2>&1 || fail "it cannot be installed"
    for name in server loadgen tune; do "twincast-$name" --version; done
    getent passwd twincast | grep -q ':/nonexistent:/usr/sbin/nologin$' || fail "the user is not as it should be"
    [ -z "$(ls /etc/twincast)" ] || fail "/etc/twincast is not empty"
    for name in server agent tuning; do test -f "/usr/lib/systemd/system/twincast-$name.service" || fail "no unit of $name"; done
    # Every place that a unit names is there.
    sed -n 's,^Documentation=file://,,p; s,^Exec[A-Za-z]*=\(/[^ ]*\).*,\1,p' /usr/lib/systemd/system/twincast-*.service | sort -u \
        | while read -r name; do test -e "$name" || fail "a unit names $name"; done
    references

    # The block of commands below the heading, as a reader would paste it.
    sed -n '/^## systemd by hand/,/^## The Debian/p' "$documents/tuning/RECIPES.md" | sed -n 's/^    //p' >"$work/by-hand"
    grep -q systemctl "$work/by-hand" || fail "RECIPES.md has no commands under systemd by hand"
    mkdir "$work/bin"
    # shellcheck disable=SC2016 # The dollar is the stand-in's.
    printf '#!/bin/sh\necho "systemctl $*" >>"%s"\n' "$work/systemctl" >"$work/bin/systemctl"
    chmod +x "$work/bin/systemctl"
    (cd / && PATH=$work/bin:$PATH bash -euxo pipefail "$work/by-hand" >"$work/said" 2>&1) || fail "systemd by hand, as it is written, fails"
    [ "$(grep -c 'enable --now twincast-' "$work/systemctl")" = 3 ] || fail "not three units are enabled"
    # What the other server's operator would send, and the folder that the unit makes.
    twincast-server keygen --out "$work/other" >"$work/other.keys" || fail "no keys for the other server"
    for key in peer_channel_key peer_verifying_key; do
        sed -i "s/^$key = .*/$(grep "^$key = " "$work/other.keys")/" /etc/twincast/server.toml
    done
    install -d -m 0700 -o twincast -g twincast /var/lib/twincast/registry /var/lib/twincast/box
    twincast-server --check /etc/twincast/server.toml >"$work/said" 2>&1 || fail "the example of a server is refused"
    [ "$(stat -c '%a %U' /etc/twincast/token)" = "600 twincast" ] || fail "the token is not twincast's alone"
    [ "$(wc -c </etc/twincast/token)" -ge 16 ] || fail "the token is too short"
    # The files of variables have what the units name, and can be read.
    # shellcheck disable=SC1091 # Two files that are there in this test alone.
    (set -a && . /etc/twincast/tuning.env && . /etc/twincast/agent.env && [ -n "$PROFILE$INTERFACE" ] && [ -n "$LISTEN" ] && [ -n "$ROLE" ]) \
        || fail "the examples of variables lack one"

    dpkg --purge twincast >"$work/said" 2>&1 || fail "it cannot be purged"
    # Of the machine's folder nothing is left; what was written by hand stays.
    [ ! -e /var/lib/twincast ] || fail "left: /var/lib/twincast"
    [ -e /etc/twincast/server.toml ] || fail "what was written by hand is gone"
    echo "installed without systemd, systemd by hand as it is written, and purged"
}

# Whatever the installed documents call by its place in the repository is at that place, but for sources and recipes, which
# are in the repository alone.
references() {
    local place
    grep -hoE '\b(engine|loadgen|tuning)/[A-Za-z0-9_./-]+\.(md|toml|json|yml|example)\b' -r "$documents" --include='*.md' --include='*.toml' | sort -u >"$work/said"
    test -s "$work/said" || fail "the documents name nothing, so nothing was looked at"
    while read -r place; do
        case $place in tuning/ansible/* | tuning/chameleon/* | */Cargo.toml | */src/* | */tests/*) continue ;; esac
        [ -e "$documents/$place" ] || fail "the documents speak of $place, which the package lacks"
    done <"$work/said"
}

case ${1:-} in
    --inside) work=$3; inside "$2" ;;
    "" | -*) echo "usage: package.sh PACKAGE.deb" >&2; exit 2 ;;
    *)
        if ! command -v dpkg >/dev/null || ! unshare --mount true 2>/dev/null; then
            echo "SKIPPED: no dpkg, or namespaces cannot be made here, so the package was not installed"
            exit 0
        fi
        test -f "$here/../../RECIPES.md"
        work=$(mktemp -d)
        trap 'rmdir "$work"' EXIT
        unshare --mount "$(readlink -f "$0")" --inside "$(readlink -f "$1")" "$work"
        ;;
esac
