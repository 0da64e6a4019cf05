#!/usr/bin/env bash
# Starts the machines of a lease and writes the playbook's inventory.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'END'
Starts the machines that lease.sh has leased, gives one of them a floating IP, and writes inventory.yml for the playbook.

Usage: launch.sh [--settings FILE] [--state FILE] [--dry-run]

Machines that are there already from an earlier launch.sh are not started again. Takes 10 to 20 minutes; inventory.yml and
the ssh keys that machines show first (inventory.known_hosts) are beside the state file. Then, in tuning/ansible:
  ansible-playbook -i ../chameleon/inventory.yml site.yml -e twincast_deb=/path/to/twincast.deb
END
}

# Where a machine is: its addresses in the order of the networks asked for, from `server show`.
addresses() {
    python3 -c '
import json, re, sys
said = json.load(sys.stdin)["addresses"]
# Older clients write NETWORK=ADDRESS, ADDRESS; NETWORK=...
if isinstance(said, str):
    said = {part.split("=")[0].strip(): re.split(r"[,\s]+", part.split("=")[1].strip()) for part in said.split(";")}
for network in sys.argv[1:]:
    four = [address for address in said.get(network, []) if ":" not in address]
    if not four:
        sys.exit(f"error: a machine has no address on {network}: {said}")
    print(four[0])
' "$@"
}

arguments "$@"
folder=$(cd "$(dirname "$state")" && pwd)
inventory=$folder/inventory.yml
known=$folder/inventory.known_hosts
[ "$dry_run" = 1 ] || [ -s "$state" ] || die "$state: nothing is leased; run lease.sh first"
name=$(remembered name)
network=$(remembered network)
networks=(--nic "net-id=$network")
ways=("$network")
if [ -n "$MANAGEMENT_NETWORK" ]; then
    # The first network is on the first card, the second on the second.
    networks=(--nic "net-id=$MANAGEMENT_NETWORK" "${networks[@]}")
    ways=("$MANAGEMENT_NETWORK" "$network")
fi

# `start NAME RESERVATION`: unless it is there.
start() {
    if [ "$dry_run" = 0 ] && grep -q "^server"$'\t'"$1\$" "$state" && openstack server show "$1" -f json >/dev/null 2>&1; then
        echo "$1 is there"
        return
    fi
    grep -qs "^server"$'\t'"$1\$" "$state" || note server "$1"
    stack server create --image "$IMAGE" --flavor "$FLAVOR" --key-name "$KEY_NAME" "${networks[@]}" \
        --hint "reservation=$2" --user-data "$here/user-data.yaml" "$1" >/dev/null
}

machines=()
for number in $(seq "$SERVERS"); do machines+=("s$number"); done
for number in $(seq "$CLIENTS"); do machines+=("c$number"); done
for machine in "${machines[@]}"; do
    case $machine in s*) of=servers_reservation ;; *) of=clients_reservation ;; esac
    reservation=$(remembered "$of")
    start "$name-$machine" "$reservation"
done
for machine in "${machines[@]}"; do
    wait_status ACTIVE "$LAUNCH_MINUTES_MAX" "machine $name-$machine" server show "$name-$machine"
    [ "$dry_run" = 1 ] || echo "$machine is up"
done

# One machine has an address of the world's. Floating IPs have no names: the description is what release.sh knows it by.
gate=$name-c1
if [ "$dry_run" = 1 ] || ! grep -q "^@floating" "$state"; then
    floating=
    if [ "$dry_run" = 0 ] && grep -q "^floating-ip"$'\t' "$state"; then
        # An earlier launch.sh may have died between making it and writing it down.
        floating=$(floating_of "$gate" | head -n 1)
    else
        note floating-ip "$gate"
    fi
    [ -n "$floating" ] || floating=$(stack floating ip create "$PUBLIC_NETWORK" --description "$gate" -f json | field floating_ip_address)
    [ "$dry_run" = 1 ] || printf '@floating\t%s\n' "$floating" >>"$state"
fi
floating=$(remembered floating)
if [ "$dry_run" = 1 ] || ! openstack server show "$gate" -f json | grep -qF "$floating"; then
    stack server add floating ip "$gate" "$floating"
fi
if [ "$dry_run" = 1 ]; then
    echo "with --dry-run no $inventory is written"
    exit 0
fi

key=()
[ -z "$PRIVATE_KEY" ] || key=(-i "$PRIVATE_KEY")
common="-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=$known"
hop="ssh ${key[*]} $common -W %h:%p $IMAGE_USER@$floating"
# Keys of machines that have an address anew are new, too.
rm -f "$known"

# `entry MACHINE`: its lines of the inventory.
entry() {
    local found
    mapfile -t found < <(openstack server show "$name-$1" -f json | addresses "${ways[@]}")
    [ "${#found[@]}" = "${#ways[@]}" ] || die "machine $name-$1: no address on each of ${ways[*]}"
    echo "        $1:"
    echo "          twincast_address: ${found[-1]}"
    if [ "$name-$1" = "$gate" ]; then
        echo "          ansible_host: $floating"
        echo "          ansible_ssh_common_args: '$common'"
    else
        echo "          ansible_host: ${found[0]}"
        echo "          ansible_ssh_common_args: '$common -o ProxyCommand=\"$hop\"'"
    fi
}

{
    echo "# Written by launch.sh for the lease $name; ansible/inventory.example.yml says what else may stand here."
    echo "all:"
    echo "  vars:"
    echo "    ansible_user: $IMAGE_USER"
    [ -z "$PRIVATE_KEY" ] || echo "    ansible_ssh_private_key_file: $PRIVATE_KEY"
    echo "    ansible_python_interpreter: /usr/bin/python3"
    echo "    twincast_mtu: $DATA_MTU"
    echo "    twincast_link: $LINK"
    echo "    twincast_profile: $PROFILE"
    echo "  children:"
    for group in servers clients; do
        echo "    $group:"
        echo "      hosts:"
        for machine in "${machines[@]}"; do
            [ "${machine:0:1}" != "${group:0:1}" ] || entry "$machine"
        done
    done
} >"$inventory.new"
mv "$inventory.new" "$inventory"
echo "written: $inventory. Log in: ssh $IMAGE_USER@$floating. Next, in tuning/ansible:"
echo "  ansible-playbook -i $inventory site.yml -e twincast_deb=/path/to/twincast.deb"
