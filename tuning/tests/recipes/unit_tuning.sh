#!/usr/bin/env bash
# What twincast-tuning.service runs, with the real program on an interface and file trees of its own: a start and a stop, a
# start after a crash, a start after a restart of the machine, and what is wrong in tuning.env.
# Usage: unit_tuning.sh FOLDER_WITH_BINARIES        as root
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "unit_tuning.sh: $*" >&2
    cat "$work/said" >&2
    exit 1
}

# `tuning STATUS start|stop [VARIABLE=VALUE...]`: as the unit would call it.
tuning() {
    local wanted=$1 what=$2 status=0
    shift 2
    env PROFILE="$work/profile.toml" INTERFACE=card0 MTU=4000 STATE_DIRECTORY="$work/kept" CONFIG="$work/server.toml" "$@" \
        "$here/../../systemd/tuning" "$what" >"$work/said" 2>&1 || status=$?
    [ "$status" = "$wanted" ] || fail "$what $*: status $status and not $wanted"
}
says() { grep -qF -- "$1" "$work/said" || fail "it does not say: $1"; }

# `is IDLE MTU LIMITS`: the kernel's setting, the interface's, and whether there is a file of limits.
is() {
    local now there=no
    [ ! -e /etc/security/limits.d/60-twincast.conf ] || there=yes
    now="$(cat /proc/sys/net/ipv4/tcp_slow_start_after_idle) $(cat /sys/class/net/card0/mtu) $there"
    [ "$now" = "$1 $2 $3" ] || fail "the machine is $now and not $1 $2 $3"
}
kept() { [ "$(find "$work/kept" -type f | wc -l)" = "$1" ] || fail "kept: $(ls "$work/kept")"; }

inside() {
    mount --make-rprivate /
    mount -t sysfs sysfs /sys
    mkdir -p /etc/security/limits.d "$work/bin" "$work/kept"
    mount -t tmpfs tmpfs /etc/security/limits.d
    ln -s "$1/twincast-tune" "$work/bin/"
    export PATH="$work/bin:$PATH:/usr/sbin:/sbin"
    ip link add card0 numtxqueues 2 numrxqueues 2 type veth peer name other0
    ip link set other0 mtu 9000
    cat >"$work/profile.toml" <<'PROFILE'
about = "settings that a network namespace has to itself, and limits"
[sysctl]
"net.ipv4.tcp_slow_start_after_idle" = 0
[affinity]
xps = "fan-out"
[limits]
memlock = "unlimited"
PROFILE

    is 1 1500 no
    tuning 0 start
    says "left out"
    is 0 4000 yes
    tuning 0 stop
    is 1 1500 no
    kept 0
    tuning 0 stop
    kept 0

    # A crash: nobody called stop, and the next start must not take its own settings for the machine's.
    tuning 0 start
    tuning 0 start
    is 0 4000 yes
    tuning 0 stop
    is 1 1500 no

    # A restart of the machine: all but the limits has gone back by itself. Its MTU is set anew.
    tuning 0 start
    echo 1 >/proc/sys/net/ipv4/tcp_slow_start_after_idle
    ip link set card0 mtu 1500
    echo 00000000-0000-4000-8000-000000000000 >"$work/boot_id"
    mount --bind "$work/boot_id" /proc/sys/kernel/random/boot_id
    tuning 0 start
    says "MTU of card0: 1500 -> 4000"
    is 0 4000 yes
    tuning 0 stop
    is 1 1500 no
    kept 0

    # The server's configuration, where there is one, says which cores send.
    cat >"$work/server.toml" <<'CONFIG'
side = 2
channel = "plain"
listen = "127.0.0.1:0"
box = { folder = "/var/lib/twincast/box" }
groups = [{ id = 0, members = 20, identities = "open" }]
fan_out = { cores = [0] }
CONFIG
    tuning 0 start
    if grep -F "left out" "$work/said" >/dev/null; then fail "the configuration was not looked at"; fi
    tuning 0 stop

    # Only the MTU, and only a profile.
    tuning 0 start PROFILE=
    is 1 4000 no
    tuning 0 stop
    tuning 0 start MTU=
    is 0 1500 yes
    tuning 0 stop
    is 1 1500 no

    # What is wrong changes nothing, and half is nothing.
    tuning 2 start INTERFACE=
    says "INTERFACE is missing"
    tuning 2 start INTERFACE=../card0
    says "no interface has such a name"
    tuning 2 start INTERFACE=nothere0
    says "there is no such interface"
    tuning 2 start MTU=jumbo
    says "MTU=jumbo"
    tuning 2 start PROFILE=nothere
    says "nothere"
    tuning 1 start MTU=90000000
    says "card0 does not take it"
    is 1 1500 no
    kept 0
    echo "the tuning unit's program starts, stops, and begins anew after a crash and after a restart"
}

case ${1:-} in
    --inside) work=$3; inside "$2" ;;
    "" | -*) echo "usage: unit_tuning.sh FOLDER_WITH_BINARIES" >&2; exit 2 ;;
    *)
        if ! command -v ip >/dev/null || ! unshare --mount --net true 2>/dev/null; then
            echo "SKIPPED: no ip, or namespaces cannot be made here, so the tuning unit's program was not run"
            exit 0
        fi
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        unshare --mount --net "$(readlink -f "$0")" --inside "$(readlink -f "$1")" "$work"
        ;;
esac
