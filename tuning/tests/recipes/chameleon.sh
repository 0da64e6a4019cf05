#!/usr/bin/env bash
# The Chameleon scripts against a stand-in for openstack: all of it, half of it, and what they refuse.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scripts=$here/../../chameleon
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Hundreds of small Python programs: the system's own, where others begin with a script that looks for one.
export PATH="$here/fake:/usr/bin:$PATH" OS_CLOUD=fake POLL_SECONDS=0

fail() {
    echo "chameleon.sh: $*" >&2
    [ ! -s "$work/said" ] || cat "$work/said" >&2
    exit 1
}

# A new cloud, with nothing in it.
begin() {
    rm -rf "$work/cloud" "$work/lease.state"
    mkdir "$work/cloud"
    export FAKE_OPENSTACK=$work/cloud
    unset FAKE_FAIL FAKE_FAIL_AFTER
    sed 's/^KEY_NAME=/KEY_NAME=mine/; s/^LINK=/LINK=25gbit/; s/^PROFILE=/PROFILE=25g-and-up/' "$scripts/settings.example.sh" >"$work/settings.sh"
}

script() { "$scripts/$1.sh" --settings "$work/settings.sh" --state "$work/lease.state" "${@:2}" >"$work/said" 2>&1; }
good() { script "$@" || fail "$* failed"; }
bad() { if script "$@"; then fail "$* did not fail"; fi; }
says() { grep -qF -- "$1" "$work/said" || fail "it does not say: $1"; }
called() { grep -qF -- "$1" "$work/cloud/calls" || { cat "$work/cloud/calls" >&2; fail "openstack was not called with: $1"; }; }
# Nothing of ours is left in the cloud.
empty() { [ ! -s "$work/cloud/things.json" ] || [ "$(cat "$work/cloud/things.json")" = "{}" ] || fail "left: $(cat "$work/cloud/things.json")"; }

begin
bad release --yes --nonsense && says "--nonsense: no such argument"
good release --yes && says "nothing to give back"
bad launch && says "run lease.sh first"
good lease
# shellcheck disable=SC2016 # The dollar is Chameleon's.
called 'min=2,max=2,resource_type=physical:host,resource_properties=["=", "$node_type", "compute_icelake_r650"]'
called 'min=5,max=5,resource_type=physical:host'
called 'resource_type=network,network_name=twincast-'
called 'network set --mtu 9000'
called '--gateway none'
bad lease && says "run release.sh first"
good launch
[ "$(grep -c '^server create' "$work/cloud/calls")" = 7 ] || fail "not seven machines"
# The two reservations of machines are told apart by what they are, not by where they stand in the answer.
[ "$(grep -c 'hint reservation=reservation-0' "$work/cloud/calls")" = 2 ] || fail "not two machines of the servers' reservation"
[ "$(grep -c 'hint reservation=reservation-1' "$work/cloud/calls")" = 5 ] || fail "not five machines of the clients' reservation"
python3 - "$work/inventory.yml" <<'PY' || fail "the inventory is not as it should be"
import sys
try:
    import yaml
except ImportError:
    sys.exit(0)
everything = yaml.safe_load(open(sys.argv[1]))["all"]
of_all = everything["vars"]
assert (of_all["twincast_mtu"], of_all["twincast_link"], of_all["twincast_profile"]) == (9000, "25gbit", "25g-and-up"), of_all
groups = everything["children"]
assert list(groups["servers"]["hosts"]) == ["s1", "s2"], groups
assert list(groups["clients"]["hosts"]) == ["c1", "c2", "c3", "c4", "c5"], groups
assert groups["servers"]["hosts"]["s1"]["twincast_address"] == "10.51.0.10", groups
assert groups["clients"]["hosts"]["c1"]["ansible_host"] == "192.0.2.7", groups
assert "ProxyCommand" in groups["servers"]["hosts"]["s2"]["ansible_ssh_common_args"], groups
PY
# Again: nothing is made twice.
before=$(grep -c ' create ' "$work/cloud/calls")
good launch
[ "$(grep -c ' create ' "$work/cloud/calls")" = "$before" ] || fail "the second launch made something"
# It asks; no answer is no.
"$scripts/release.sh" --settings "$work/settings.sh" --state "$work/lease.state" </dev/null >"$work/said" 2>&1 \
    && fail "release did not wait for a yes"
says "nothing was deleted"
# Another one's machine in the same project stays.
(cd "$work/cloud" && python3 -c '
import json; things = json.load(open("things.json")); things["server theirs"] = {"name": "theirs"}; json.dump(things, open("things.json", "w"))')
good release --dry-run && says "'server' 'delete'"
[ -s "$work/lease.state" ] || fail "a dry run took the state away"
good release --yes
[ "$(cat "$work/cloud/things.json")" = '{"server theirs": {"name": "theirs"}}' ] || fail "left: $(cat "$work/cloud/things.json")"
if [ -e "$work/lease.state" ] || [ -e "$work/inventory.yml" ]; then fail "files were left"; fi
echo "lease, launch, launch again and release: as they should be"

# One card: a router of its own.
begin
sed -i 's/^MANAGEMENT_NETWORK=.*/MANAGEMENT_NETWORK=/' "$work/settings.sh"
good lease
called 'router add subnet'
good launch
good release --yes
empty

# Every command fails once, after each number of times that it went well; what was made until then is given back. Each in a
# folder of its own, some beside each other.
given_back() {
    local script=$1 after=$2 command=$3
    work=$work/$script-${command// /-}-$after
    mkdir "$work"
    begin
    sed -i 's/^MANAGEMENT_NETWORK=.*/MANAGEMENT_NETWORK=/; s/^CLIENTS=.*/CLIENTS=1/' "$work/settings.sh"
    [ "$script" = lease ] || good lease
    [ "$script" != release ] || good launch
    export FAKE_FAIL=$command FAKE_FAIL_AFTER=$after
    if [ "$script" = release ]; then bad release --yes; else bad "$script"; fi
    unset FAKE_FAIL FAKE_FAIL_AFTER
    good release --yes
    empty
}
running=0
while read -r script times command; do
    for after in $(seq 0 $((times - 1))); do
        if [ "$running" -ge "$(nproc)" ]; then
            wait -n
            running=$((running - 1))
        fi
        (trap - EXIT; given_back "$script" "$after" "$command") &
        running=$((running + 1))
    done
done <<'END'
lease 1 reservation lease create
lease 2 reservation lease show
lease 1 network set
lease 1 subnet create
lease 1 router create
lease 1 router set
lease 1 router add subnet
launch 3 server create
launch 2 server show
launch 1 floating ip create
launch 1 server add floating
release 2 server delete
release 1 floating ip delete
release 1 router delete
release 1 subnet delete
release 1 reservation lease delete
release 2 server list
END
for _ in $(seq "$running"); do wait -n; done
echo "each step that fails is given back"

# What is refused before anything is called.
for line in KEY_NAME= LINK= LINK=fast PROFILE= 'PROFILE="10g; reboot"' SERVERS=3 CLIENTS=0 CLIENTS=five DATA_MTU=9001 'PREFIX="My lease"' 'LEASE_START="next tuesday noon or so"'; do
    begin
    echo "$line" >>"$work/settings.sh"
    bad lease
    says "${line%%=*}"
    [ ! -e "$work/cloud/calls" ] || fail "$line: openstack was called"
done
begin
good lease --dry-run && says "'reservation' 'lease' 'create'"
good launch --dry-run && says "'server' 'create'"
if [ -e "$work/cloud/calls" ] || [ -e "$work/lease.state" ]; then fail "a dry run did something"; fi
rm "$work/settings.sh"
bad lease && says "settings.example.sh"
(unset OS_CLOUD OS_AUTH_URL; script lease) && fail "without a login"
echo "what is wrong in the settings is said, and dry runs do nothing"
