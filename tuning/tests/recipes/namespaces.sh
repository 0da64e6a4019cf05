#!/usr/bin/env bash
# The playbook for real, on machines that are network namespaces: two servers, five clients and one that runs ansible, each
# with an sshd, file trees of its own and a card on one switch. Installs, checks, starts agents, runs a plan, fetches its
# results, runs again, and takes everything away.
#
# All of it lives in process, mount and network namespaces of its own, so that nothing of the machine is touched and nothing is
# left, however it ends: /etc, /usr and /var of each are overlays in memory, /root is empty, the kernel's settings are read-only.
#
# Usage: namespaces.sh FOLDER_WITH_BINARIES [PACKAGE.deb]        as root; ansible-playbook in PATH
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
ansible=$here/../../ansible
SERVERS=(s1 s2)
CLIENTS=(c1 c2 c3 c4 c5)
MTU=9000

# A machine: overlays over what is written to, then its sshd, in the network namespace that this was started in.
machine() {
    local name=$1 folder
    mount --make-rprivate /
    # Nothing of whoever runs this: what their shell does at its start, each command of the playbook would wait for.
    mount -t tmpfs tmpfs /root
    for folder in etc usr var home; do
        mkdir -p "/run/machines/$name/$folder" "/run/machines/$name/.$folder"
        mount -t overlay overlay \
            -o "lowerdir=/$folder,upperdir=/run/machines/$name/$folder,workdir=/run/machines/$name/.$folder" "/$folder"
    done
    # A machine has a /run of its own; the switch's is out of its sight.
    mkdir -p "/run/machines/$name/run/sshd"
    mount --bind "/run/machines/$name/run" /run
    # What is not in a namespace is everybody's: nobody writes it here.
    local part
    for part in fs kernel vm; do
        mount --bind "/proc/sys/$part" "/proc/sys/$part" && mount -o remount,bind,ro "/proc/sys/$part"
    done
    mount -o remount,ro /sys
    mkdir -p /root/.ssh
    chmod 700 /root/.ssh
    cp /etc/ssh-of-the-test/user.pub /root/.ssh/authorized_keys
    exec /usr/sbin/sshd -D -e -f /etc/ssh-of-the-test/sshd_config
}

# `on MACHINE COMMAND...`: as the machine's root would.
on() {
    local name=$1
    shift
    ip netns exec control ssh -F "$work/ssh_config" "$name" "$*"
}

fail() {
    echo "namespaces.sh: $*" >&2
    exit 1
}

inside() {
    local binaries=$1 package=$2 number=10 name
    mount --make-rprivate /
    # Shells and modules find programs before those of whoever runs this.
    export PATH=$PATH:/usr/sbin:/sbin HOME=/run/home LC_ALL=C.UTF-8
    local copied=/run/copied
    # Copied before /run is hidden, in case they are there.
    mount -t tmpfs tmpfs /run
    mkdir -p /run/netns /run/machines /run/sshd /run/home "$copied"
    cp "$binaries"/twincast-{server,loadgen,tune} "$copied/"
    # Seven machines get them, in memory: without what only debuggers read.
    if command -v strip >/dev/null; then strip "$copied"/twincast-*; fi
    [ -z "$package" ] || cp "$package" "$copied/twincast.deb"
    work=/run/work
    mkdir "$work"

    ip netns add switch
    ip -n switch link add bridge type bridge
    ip -n switch link set bridge mtu $MTU up
    mkdir /run/ssh
    ssh-keygen -q -t ed25519 -N '' -f /run/ssh/host
    ssh-keygen -q -t ed25519 -N '' -f /run/ssh/user
    cat >/run/ssh/sshd_config <<END
HostKey /etc/ssh-of-the-test/host
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
END
    {
        echo "all:"
        echo "  vars: {ansible_user: root, ansible_python_interpreter: /usr/bin/python3, ansible_ssh_common_args: -F $work/ssh_config}"
        echo "  children:"
    } >"$work/inventory.yml"
    for name in control "${SERVERS[@]}" "${CLIENTS[@]}"; do
        ip netns add "$name"
        ip -n "$name" link set lo up
        ip -n "$name" link add data0 type veth peer name "to-$name" netns switch
        ip -n switch link set "to-$name" master bridge mtu $MTU up
        ip -n "$name" address add "10.99.0.$number/24" dev data0
        ip -n "$name" link set data0 up
        case $name in
            s1) echo "    servers:
      hosts:" >>"$work/inventory.yml" ;;
            c1) echo "    clients:
      hosts:" >>"$work/inventory.yml" ;;
        esac
        if [ "$name" != control ]; then
            echo "        $name: {ansible_host: $name, twincast_address: 10.99.0.$number}" >>"$work/inventory.yml"
            printf 'Host %s\n HostName 10.99.0.%s\n' "$name" "$number" >>"$work/ssh_config"
            printf '10.99.0.%s %s\n' "$number" "$(cat /run/ssh/host.pub)" >>"$work/known"
            # /etc of a machine has the keys from the start: they are below its overlay's upper folder.
            mkdir -p "/run/machines/$name/etc/ssh-of-the-test"
            cp /run/ssh/{host,user.pub,sshd_config} "/run/machines/$name/etc/ssh-of-the-test/"
            ip netns exec "$name" unshare --mount "$0" --machine "$name" 2>"$work/sshd-$name.log" &
        fi
        number=$((number + 1))
    done
    cat >>"$work/ssh_config" <<END
Host *
 User root
 IdentityFile /run/ssh/user
 IdentitiesOnly yes
 UserKnownHostsFile $work/known
 StrictHostKeyChecking yes
 BatchMode yes
 ControlMaster auto
 ControlPath $work/cm-%h
 ControlPersist 60
END
    for name in "${SERVERS[@]}" "${CLIENTS[@]}"; do
        local tries=0
        until on "$name" true 2>/dev/null; do
            tries=$((tries + 1))
            [ $tries -lt 100 ] || { cat "$work/sshd-$name.log" >&2; fail "no sshd in $name"; }
            sleep 0.1
        done
    done
    echo "seven machines and a switch are there"

    # The playbook's own folder may be read-only to whoever runs this: what it makes goes elsewhere.
    cat >"$work/vars.yml" <<END
twincast_service_manager: none
twincast_mtu: $MTU
twincast_token_file: $work/token
twincast_results: $work/results
twincast_plan_repeats: 1
twincast_plan_groups: [130]
twincast_plan_run: {rounds: 2, warmup: 1}
twincast_link: 10gbit
# Cards, cores and huge pages are the machine's that this runs on: they are looked at, and nothing is asked of them.
twincast_check_must_pass: false
twincast_apply: dry-run
END
    if [ -n "$package" ]; then
        echo "twincast_deb: $copied/twincast.deb" >>"$work/vars.yml"
    else
        echo "twincast_binaries: $copied" >>"$work/vars.yml"
    fi
    [ -z "${TWINCAST_VARS:-}" ] || echo "$TWINCAST_VARS" >>"$work/vars.yml"
    export ANSIBLE_CONFIG=$ansible/ansible.cfg ANSIBLE_FORKS=8 ANSIBLE_LOCAL_TEMP=$work/ansible ANSIBLE_NOCOLOR=1
    # Modules put their files here on the machines.
    export ANSIBLE_REMOTE_TEMP=/tmp/ansible-of-the-test

    play() {
        local log=$work/$1.log
        shift
        ip netns exec control ansible-playbook -i "$work/inventory.yml" -e "@$work/vars.yml" "$@" >"$log" 2>&1
    }
    good() { play "$@" || { cat "$work/$1.log" >&2; fail "$* failed"; }; }
    said() { grep -qF -- "$2" "$work/$1.log" || { cat "$work/$1.log" >&2; fail "$1 does not say: $2"; }; }
    unchanged() {
        if grep -E 'changed=[1-9]' "$work/$1.log"; then cat "$work/$1.log" >&2; fail "$1 changed something"; fi
    }

    # What cannot be is refused before anything is done.
    if play refused "$ansible/setup.yml" --limit s1 -e twincast_interface=nothere0; then fail "an interface that is not there was taken"; fi
    said refused "there is no interface nothere0"
    if play refused "$ansible/setup.yml" --limit s1 -e twincast_apply=perhaps; then fail "twincast_apply=perhaps was taken"; fi
    said refused 'twincast_apply is "yes", "no" or "dry-run"'
    if on s1 test -e /etc/twincast; then fail "what was refused has left something"; fi

    good setup "$ansible/setup.yml"
    [ "$(on c5 cat /sys/class/net/data0/mtu)" = $MTU ] || fail "c5's card does not have its MTU"
    [ "$(on s2 "stat -c '%a %U' /etc/twincast/token")" = "600 twincast" ] || fail "the token of s2 is not twincast's alone"
    [ "$(stat -c %a "$work/token")" = 600 ] || fail "others may read the token here"
    on s2 pgrep -u twincast -f "'role server'" >/dev/null || fail "no agent of s2's in its user's name"
    good again "$ansible/setup.yml"
    unchanged again
    echo "set up; a second time, nothing changed"

    good run "$ansible/run.yml"
    said run "Every check passed."
    local results
    results=$(find "$work/results" -name run-1.json | head -n 1)
    [ -n "$results" ] || { find "$work/results" >&2; fail "no result was fetched"; }
    python3 - "$results" <<'PY' || fail "the result is not that of two servers and five clients"
import json, sys
result = json.load(open(sys.argv[1]))
assert len(result["servers"]) == 2 and len(result["hosts"]) == 5, (len(result["servers"]), len(result["hosts"]))
totals = result["totals"]
assert totals["messages_sent"] == totals["accepted"] == 2 * 130, totals
PY
    echo "the plan ran between seven machines, and its results are here"

    # Servers of one's own, in the agents' place, linked with each other.
    good serve "$ansible/setup.yml" -e '{"twincast_serve": true, "twincast_groups": [{"id": 0, "members": 20}]}'
    on s1 "grep -q 'the same settings' /var/log/twincast-server.log" || {
        on s1 cat /var/log/twincast-server.log >&2
        fail "the two servers are not linked"
    }
    if on s1 pgrep -u twincast -f "'role server'" >/dev/null; then fail "the agent of s1 runs beside its server"; fi
    echo "two servers serve, linked"

    good teardown "$ansible/teardown.yml"
    for name in "${SERVERS[@]}" "${CLIENTS[@]}"; do
        if on "$name" "{ pgrep -l '^twincast-'; ls -d /etc/twincast /var/lib/twincast /usr/bin/twincast-* /usr/local/bin/twincast-* 2>/dev/null; } | grep ."; then
            fail "teardown left something on $name"
        fi
        if on "$name" id twincast >/dev/null 2>&1; then fail "teardown left the user on $name"; fi
        [ "$(on "$name" cat /sys/class/net/data0/mtu)" = 1500 ] || fail "teardown left the MTU on $name"
    done
    good teardown "$ansible/teardown.yml"
    unchanged teardown
    echo "everything was taken away; a second time, nothing changed"
}

case ${1:-} in
    --machine) machine "$2" ;;
    --inside) inside "$2" "$3" ;;
    "" | -*) echo "usage: namespaces.sh FOLDER_WITH_BINARIES [PACKAGE.deb]" >&2; exit 2 ;;
    *)
        for tool in ansible-playbook ssh ssh-keygen ip unshare start-stop-daemon; do
            command -v "$tool" >/dev/null || { echo "SKIPPED: $tool is not here, so the playbook was not run"; exit 0; }
        done
        if [ ! -x /usr/sbin/sshd ] || ! unshare --mount --net --pid --fork true 2>/dev/null; then
            echo "SKIPPED: no sshd, or namespaces cannot be made here, so the playbook was not run"
            exit 0
        fi
        package=${2:-}
        # The process namespace's end is the end of everything in it.
        exec unshare --mount --net --pid --fork --mount-proc --kill-child \
            "$(readlink -f "$0")" --inside "$(readlink -f "$1")" "${package:+$(readlink -f "$package")}"
        ;;
esac
