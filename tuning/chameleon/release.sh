#!/usr/bin/env bash
# Gives back what lease.sh and launch.sh have made, and nothing else.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'END'
Deletes what lease.sh and launch.sh have written down in the state file: machines, floating IP, router, subnet, lease.

Usage: release.sh [--settings FILE] [--state FILE] [--yes] [--dry-run]

  --yes      do not ask
  --dry-run  print the openstack commands that delete, run none

It may be run again, and after a lease.sh or launch.sh that ended half-way: what is not there any more is passed over. What
is on the machines' disks is lost, so fetch results first (the playbook does).
END
}

arguments "$@"
[ -s "$state" ] || { echo "$state: nothing is written down there, so there is nothing to give back"; exit 0; }

# Last made, first deleted: machines before the network that they are on, everything before the lease.
mapfile -t things < <(grep -v '^@' "$state" | tac)
echo "to be deleted:"
printf '  %s\n' "${things[@]//$'\t'/ }"
if [ "$yes" = 0 ] && [ "$dry_run" = 0 ]; then
    read -r -p "Delete these? What is on the machines is lost. [y/N] " answer || answer=n
    [[ $answer =~ ^[yY] ]] || { echo "nothing was deleted"; exit 1; }
fi

# Whether there is such a thing: status 0 yes, 1 no. Ends the script if openstack cannot say.
there() {
    local list column=Name
    case $1 in
        lease) list=(reservation lease list); column=name ;;
        *) list=("$1" list) ;;
    esac
    local answer
    answer=$(openstack "${list[@]}" -f json) || die "openstack does not list what there is; nothing more was deleted: run this again"
    printf '%s' "$answer" | python3 -c '
import json, sys
sys.exit(0 if any(each.get(key) == sys.argv[2] for each in json.load(sys.stdin) for key in (sys.argv[1], "Name", "name")) else 1)
' "$column" "$2"
}

failed=0
for thing in "${things[@]}"; do
    kind=${thing%%$'\t'*}
    name=${thing#*$'\t'}
    delete=()
    case $kind in
        floating-ip)
            found="<floating ip of $name>"
            [ "$dry_run" = 1 ] || found=$(floating_of "$name")
            mapfile -t addresses <<<"$found"
            [ -z "$found" ] || delete=(floating ip delete "${addresses[@]}")
            ;;
        lease)
            if [ "$dry_run" = 1 ] || there lease "$name"; then delete=(reservation lease delete "$name"); fi
            ;;
        server)
            # It holds its ports until it is gone, and the network cannot be deleted before.
            if [ "$dry_run" = 1 ] || there server "$name"; then delete=(server delete --wait "$name"); fi
            ;;
        router)
            if [ "$dry_run" = 1 ] || there router "$name"; then
                # A router goes without its subnet only; it may not have got it yet.
                stack router remove subnet "$name" "${name%-router}-subnet" || true
                delete=(router delete "$name")
            fi
            ;;
        subnet)
            if [ "$dry_run" = 1 ] || there subnet "$name"; then delete=(subnet delete "$name"); fi
            ;;
        *) die "$state: $kind: no script of these writes that; nothing more was deleted" ;;
    esac
    if [ ${#delete[@]} -gt 0 ] && ! stack "${delete[@]}"; then
        # The lease takes everything with it in the end, so the rest is deleted all the same.
        echo "not deleted: $kind $name" >&2
        failed=1
        continue
    fi
    [ "$dry_run" = 1 ] || forget "$kind" "$name"
done
if [ "$failed" = 1 ]; then
    die "some of it is still there and still in $state; run this again"
fi
if [ "$dry_run" = 0 ]; then
    folder=$(dirname "$state")
    rm -f "$state" "$folder/inventory.yml" "$folder/inventory.known_hosts"
    echo "all given back"
fi
