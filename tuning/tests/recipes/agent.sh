#!/usr/bin/env bash
# An agent as its unit has it: with the unit's system calls and capabilities and no others, as a user, it plays a server for a
# run between two addresses. The check that the run stores of its machine has to have sent pings and asked ethtool and tc,
# all of which an agent on one machine alone never starts.
#
# Two network namespaces with a link between them, in namespaces of this script's own.
#
# Usage: agent.sh FOLDER_WITH_BINARIES        as root
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
unit=$here/../../systemd/twincast-agent.service
python=/usr/bin/python3
test -x "$python" || python=python3
# Nobody: no more than a user that owns nothing.
USER_OF_THE_AGENT=65534
MTU=4000

fail() {
    echo "agent.sh: $*" >&2
    for log in "$work"/*.log; do
        echo "--- $log" >&2
        tail -n 20 "$log" >&2
    done
    exit 1
}

# `agent NAMESPACE ADDRESS ROLE LOG COMMAND...`: starts one by that command, and waits until it listens.
agent() {
    local namespace=$1 address=$2 role=$3 log=$work/$4.log
    shift 4
    ip netns exec "$namespace" "$@" "$work/bin/twincast-loadgen" agent --listen "$address" --token-file "$work/token" --role "$role" \
        >"$log" 2>&1 &
    for _ in $(seq 300); do
        ! grep -qF "$address" "$log" || return 0
        sleep 0.1
    done
    fail "no agent at $address"
}

# `measure NAME`: a run between the agents; the check of the first server's machine has to have looked at the path.
measure() {
    ip netns exec there "$work/bin/twincast-loadgen" run --plan "$work/plan.toml" --results off --no-roof \
        --json "$work/$1.json" >"$work/$1.run.log" 2>&1 || fail "the run $1 failed"
    "$python" - "$work/$1.json" $MTU <<'PY' || fail "the check that $1 stores did not look at the path"
import json, sys
said = {check["name"]: check["report"] for check in json.load(open(sys.argv[1]))["checks"]}
first = next(report for name, report in said.items() if "10.98.0.1:" in name)
found = {each["name"]: each for each in first["findings"]}
path = found["path_mtu"]
assert path["verdict"] == "pass" and sys.argv[2] in path["reason"], path
for name in ("rings", "offloads", "qdisc"):
    for why in ("permitted", "denied", "not installed"):
        assert why not in found[name]["reason"], found[name]
print(f"path_mtu: {path['reason']}")
PY
}

inside() {
    mount --make-rprivate /
    mount -t tmpfs tmpfs /run
    # As systemd has it.
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    mkdir /run/netns "$work/bin"
    cp "$1"/twincast-{loadgen,server,tune} "$work/bin/"
    ip netns add here
    ip netns add there
    ip -n here link add data0 mtu $MTU type veth peer name data0 mtu $MTU netns there
    ip -n here address add 10.98.0.1/24 dev data0
    ip -n there address add 10.98.0.2/24 dev data0
    local namespace
    for namespace in here there; do
        ip -n $namespace link set lo up
        ip -n $namespace link set data0 up
        # Off, as the kernel has it: ping needs its capability.
        ip netns exec $namespace "$python" -c 'open("/proc/sys/net/ipv4/ping_group_range", "w").write("1 0")'
    done
    (umask 077; head -c 32 /dev/urandom | base64 >"$work/token")
    chown "$USER_OF_THE_AGENT" "$work/token" "$work"
    cat >"$work/plan.toml" <<END_OF_PLAN
name = "filter"
repeats = 1
token_file = "$work/token"
[run]
link = "10gbit"
group = 20
rounds = 2
warmup = 1
mtu = $MTU
[[servers]]
agent = "10.98.0.1:7400"
[[servers]]
agent = "10.98.0.2:7400"
[[hosts]]
agent = "10.98.0.2:7401"
END_OF_PLAN
    # What the unit says, of capabilities too.
    local capabilities drop=()
    capabilities=$(sed -n 's/^AmbientCapabilities=CAP_//p' "$unit" | tr 'A-Z ' 'a-z,')
    drop=(setpriv --reuid "$USER_OF_THE_AGENT" --regid "$USER_OF_THE_AGENT" --clear-groups --no-new-privs
        --bounding-set "-all,+$capabilities" --inh-caps "-all,+$capabilities" --ambient-caps "-all,+$capabilities")
    agent there 10.98.0.2:7400 server second setpriv --reuid "$USER_OF_THE_AGENT" --clear-groups
    agent there 10.98.0.2:7401 host host setpriv --reuid "$USER_OF_THE_AGENT" --clear-groups

    agent here 10.98.0.1:7400 server traced strace -f -o "$work/calls" "${drop[@]}"
    measure traced
    stop here
    # strace sees its own start of setpriv, which is none of the unit's: what comes after the agent's own start counts.
    sed -n '/execve(.*twincast-loadgen/,$p' "$work/calls" >"$work/calls.agent"
    local program
    for program in ping ethtool tc; do
        grep -qE "execve\(\"$(command -v $program)\".*( = 0|unfinished)" "$work/calls.agent" || fail "the check started no $program"
    done
    "$python" "$here/filter.py" "$unit" --seen "$work/calls.agent"

    agent here 10.98.0.1:7400 server filtered "${drop[@]}" "$python" "$here/filter.py" "$unit" --run
    measure filtered
    stop here
    # One that could not fail would prove nothing: without ping's calls the path is not looked at.
    { cat "$unit"; echo "SystemCallFilter=~capset"; } >"$work/without.service"
    agent here 10.98.0.1:7400 server without "${drop[@]}" "$python" "$here/filter.py" "$work/without.service" --run
    if (measure without) >/dev/null 2>&1; then fail "ping ran though capset was refused: the filter is not applied"; fi
    echo "an agent of the unit's filter and capabilities checks a machine with peers, ping and all"
}

# Ends whatever runs in a network namespace, and waits for it.
stop() {
    local each
    for each in $(ip netns pids "$1"); do kill -TERM "$each" 2>/dev/null || true; done
    for _ in $(seq 100); do
        [ -n "$(ip netns pids "$1")" ] || return 0
        sleep 0.1
    done
    fail "the agent does not end"
}

case ${1:-} in
    --inside) work=$3; inside "$2" ;;
    "" | -*) echo "usage: agent.sh FOLDER_WITH_BINARIES" >&2; exit 2 ;;
    *)
        for tool in strace ip tc ethtool ping setpriv unshare systemd-analyze; do
            command -v "$tool" >/dev/null || { echo "SKIPPED: $tool is not here, so no agent checked a machine under its filter"; exit 0; }
        done
        "$python" -c 'import seccomp' 2>/dev/null \
            || { echo "SKIPPED: python3-seccomp is not here, so no agent checked a machine under its filter"; exit 0; }
        unshare --mount --net --pid --fork true 2>/dev/null \
            || { echo "SKIPPED: namespaces cannot be made here, so no agent checked a machine under its filter"; exit 0; }
        binaries=$(readlink -f "$1")
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        chmod 755 "$work"
        # The process namespace's end is the end of everything in it.
        unshare --mount --net --pid --fork --mount-proc --kill-child "$(readlink -f "$0")" --inside "$binaries" "$work"
        ;;
esac
