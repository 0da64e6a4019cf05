#!/usr/bin/env bash
# Leases two servers, five clients and an isolated VLAN at a Chameleon site.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'END'
Leases two servers, five client machines and an isolated VLAN from Chameleon, and gives the VLAN its MTU and addresses.

Usage: lease.sh [--settings FILE] [--state FILE] [--dry-run]

  --settings FILE  what to lease [default: settings.sh beside this script; settings.example.sh has every variable]
  --state FILE     where what was made is written down, for launch.sh and release.sh [default: lease.state beside it]
  --dry-run        print the openstack commands, run none

Then launch.sh, the playbook, and release.sh, which gives everything back, also after a lease.sh that ended half-way.
END
}

# The ids of the two reservations of machines and the one of a network, from `lease show`.
reservations() {
    python3 -c '
import json, sys
servers, clients, server_type, client_type = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
text = json.load(sys.stdin)["reservations"]
# The client writes a list as objects one after another in one text; other versions leave it a list.
found, decoder = [], json.JSONDecoder()
if isinstance(text, str):
    at = 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        each, at = decoder.raw_decode(text, at)
        found += each if isinstance(each, list) else [each]
else:
    found = text
def machines(count, kind):
    for each in found:
        if each["resource_type"] == "physical:host" and int(each["min"]) == count and kind in str(each["resource_properties"]):
            found.remove(each)
            return each["id"]
    sys.exit(f"error: the lease has no reservation of {count} machines of the type {kind}")
print(machines(servers, server_type), machines(clients, client_type))
' "$SERVERS" "$CLIENTS" "$SERVER_NODE_TYPE" "$CLIENT_NODE_TYPE"
}

arguments "$@"
[ "$dry_run" = 1 ] || [ ! -s "$state" ] || die "$state: a lease is written down there; run release.sh first, or name another --state"

name=$PREFIX-$(date -u +%Y%m%d-%H%M%S)-$RANDOM
network=$name-data
start=$(date -u +'%Y-%m-%d %H:%M')
dates=()
if [ "$LEASE_START" != now ]; then
    start=$LEASE_START
    dates=(--start-date "$start")
fi
# A minute more, since the time is cut to minutes.
end=$(date -u -d "$start UTC + $LEASE_HOURS hours + 1 minute" +'%Y-%m-%d %H:%M') \
    || wrong "$settings: LEASE_START=$LEASE_START: now, or \"YYYY-MM-DD HH:MM\" in UTC"

hosts() { echo "min=$1,max=$1,resource_type=physical:host,resource_properties=[\"=\", \"\$node_type\", \"$2\"]"; }

echo "leasing $SERVERS x $SERVER_NODE_TYPE, $CLIENTS x $CLIENT_NODE_TYPE and a VLAN until $end UTC, as $name"
note lease "$name"
stack reservation lease create "${dates[@]}" --end-date "$end" \
    --reservation "$(hosts "$SERVERS" "$SERVER_NODE_TYPE")" \
    --reservation "$(hosts "$CLIENTS" "$CLIENT_NODE_TYPE")" \
    --reservation "resource_type=network,network_name=$network,resource_properties=[\"=\", \"\$physical_network\", \"$PHYSICAL_NETWORK\"]" \
    "$name" >/dev/null \
    || die "no lease: are so many machines of these types free (the site's host calendar)? Does python-blazarclient stand in the \
place of chameleon-blazarclient, which alone can lease a network? Then run release.sh, and this again"

wait_status ACTIVE "$LEASE_MINUTES_MAX" "lease $name" reservation lease show "$name"
if [ "$dry_run" = 0 ]; then
    found=$(openstack reservation lease show "$name" -f json | reservations)
    printf '@servers_reservation\t%s\n@clients_reservation\t%s\n' "${found% *}" "${found#* }" >>"$state"
fi
note @name "$name"
note @network "$network"

# The lease has made the network. Machines take its MTU when they start, so it is set before.
stack network set --mtu "$DATA_MTU" "$network"
mtu=$(stack network show "$network" -f json | field mtu)
[ "$dry_run" = 1 ] || [ "$mtu" = "$DATA_MTU" ] || die "network $network: its MTU is $mtu and not $DATA_MTU; run release.sh"

note subnet "$network-subnet"
if [ -n "$MANAGEMENT_NETWORK" ]; then
    # No gateway: the way to everywhere else is the other card's.
    stack subnet create --subnet-range "$DATA_CIDR" --dhcp --gateway none --network "$network" "$network-subnet" >/dev/null
else
    stack subnet create --subnet-range "$DATA_CIDR" --dhcp --network "$network" "$network-subnet" >/dev/null
    note router "$network-router"
    stack router create "$network-router" >/dev/null
    stack router set --external-gateway "$PUBLIC_NETWORK" "$network-router"
    stack router add subnet "$network-router" "$network-subnet"
fi
echo "leased: $name, until $end UTC. Next: launch.sh"
