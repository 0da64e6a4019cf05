#!/usr/bin/env bash
# What the units' filters let through: a server and a whole small run are traced, and every call that they made has to be
# in the unit's list; then both run under a seccomp filter of that list alone, and with io_uring taken out they must not.
# Usage: syscalls.sh FOLDER_WITH_BINARIES
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
units=$here/../../systemd
binaries=${1:?"usage: syscalls.sh FOLDER_WITH_BINARIES"}
python=/usr/bin/python3
test -x "$python" || python=python3
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT

for tool in strace systemd-analyze; do
    if ! command -v "$tool" >/dev/null; then
        echo "SKIPPED: $tool is not here, so the units' system call filters were not tried"
        exit 0
    fi
done

filter() { "$python" "$here/filter.py" "$@"; }

# A server alone, so that it needs no other: it makes its rings, listens, serves its metrics and stops at SIGTERM.
mkdir -m 700 "$work/box"
cat > "$work/server.toml" <<END
side = 2
channel = "plain"
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
box = { folder = "$work/box" }
groups = [{ id = 0, members = 20, identities = "open" }]
END

# serve LOG COMMAND...: starts the server by that command, waits until its log says that it serves, and stops it. Its status.
serve() {
    local log=$1 started=0 status=0
    shift
    "$@" --config "$work/server.toml" >"$log" 2>&1 &
    server=$!
    for _ in $(seq 200); do
        if grep -q "ready side" "$log"; then started=1; break; fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    # strace passes no signal on: its child is the server.
    kill -TERM "$(pgrep -P "$server" || echo "$server")" 2>/dev/null || true
    wait "$server" || status=$?
    server=
    [ "$started" = 1 ] && [ "$status" = 0 ]
}

run=(local --group 20 --rounds 2 --hosts 2 --link loopback --results off --no-roof --seed 7)

echo "traced: a server, and a run of two servers and two hosts"
serve "$work/server.log" strace -f -o "$work/server.calls" "$binaries/twincast-server" \
    || { cat "$work/server.log" >&2; exit 1; }
strace -f -o "$work/run.calls" "$binaries/twincast-loadgen" "${run[@]}" >"$work/run.log" 2>&1 \
    || { cat "$work/run.log" >&2; exit 1; }
filter "$units/twincast-server.service" --seen "$work/server.calls"
filter "$units/twincast-server.service" --seen "$work/run.calls"
filter "$units/twincast-agent.service" --seen "$work/run.calls"

echo "the same with nothing else allowed"
status=0
filter "$units/twincast-server.service" --run /bin/true 2>"$work/none" || status=$?
if [ "$status" = 77 ]; then
    echo "SKIPPED: $(cat "$work/none"), so nothing ran under the filters themselves"
    exit 0
fi
[ "$status" = 0 ]
serve "$work/server.log" "$python" "$here/filter.py" "$units/twincast-server.service" --run "$binaries/twincast-server" \
    || { cat "$work/server.log" >&2; exit 1; }
filter "$units/twincast-agent.service" --run "$binaries/twincast-loadgen" "${run[@]}" >"$work/run.log" 2>&1 \
    || { cat "$work/run.log" >&2; exit 1; }
# A filter that could not fail would prove nothing.
{ cat "$units/twincast-server.service"; echo "SystemCallFilter=~io_uring_setup"; } > "$work/without.service"
if serve "$work/server.log" "$python" "$here/filter.py" "$work/without.service" --run "$binaries/twincast-server"; then
    echo "a server started though io_uring was refused: the filters are not applied" >&2
    exit 1
fi
echo "servers and agents run under their units' filters, and not without io_uring"
