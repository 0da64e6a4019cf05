# shellcheck shell=bash
# What lease.sh, launch.sh and release.sh share: settings, the state file, and openstack.
#
# The state file has a line `KIND<tab>NAME` for each thing that a script is about to make, written before it is made and taken
# out when it is seen to be gone, and lines `@KEY<tab>VALUE` for what was found. Names are drawn at random for each lease, so a
# name is enough to find what a script that died half-way had made, and nothing else has it.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
settings=$here/settings.sh
state=$here/lease.state
dry_run=0
# release.sh alone asks.
export yes=0

die() {
    echo "error: $*" >&2
    exit 1
}

wrong() {
    echo "error: $*" >&2
    exit 2
}

# Reads the arguments that all scripts have; prints the text of `usage` for --help.
arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            --settings) settings=${2:?"--settings: a file has to follow"}; shift ;;
            --state) state=${2:?"--state: a file has to follow"}; shift ;;
            --dry-run) dry_run=1 ;;
            --yes) yes=1 ;;
            -h | --help) usage; exit 0 ;;
            *) usage >&2; wrong "$1: no such argument" ;;
        esac
        shift
    done
    [ -f "$here/settings.example.sh" ] || die "$here/settings.example.sh: not there, and it has the defaults"
    # shellcheck source=settings.example.sh
    . "$here/settings.example.sh"
    [ -f "$settings" ] || wrong "$settings: not there; cp $here/settings.example.sh $settings, and give KEY_NAME, LINK and PROFILE values"
    # shellcheck source=settings.example.sh
    . "$settings"
    check_settings
    command -v python3 >/dev/null || die "python3 is not here: it reads what openstack answers"
    if [ "$dry_run" = 0 ]; then
        command -v openstack >/dev/null \
            || die "openstack is not here: pip install python-openstackclient chameleon-blazarclient"
        [ -n "${OS_AUTH_URL:-}${OS_CLOUD:-}" ] \
            || die "nobody is logged in: source the openrc.sh of the site and project (or set OS_CLOUD)"
    fi
}

check_settings() {
    [ -n "$KEY_NAME" ] || wrong "$settings: KEY_NAME is empty; \`openstack keypair list\` has the names"
    [ -n "$LINK" ] || wrong "$settings: LINK is empty: 10gbit, 25gbit, 100gbit, whatever the node type's card has"
    [[ $LINK =~ ^[1-9][0-9]*(mbit|gbit)$ ]] || wrong "$settings: LINK=$LINK: a rate has to stand there, 25gbit for example"
    [ -n "$PROFILE" ] || wrong "$settings: PROFILE is empty: 10g or 25g-and-up, as LINK is"
    [[ $PROFILE =~ ^[A-Za-z0-9_./-]+$ ]] || wrong "$settings: PROFILE=$PROFILE: the name of a profile has to stand there"
    local name
    for name in SERVERS CLIENTS LEASE_HOURS DATA_MTU LEASE_MINUTES_MAX LAUNCH_MINUTES_MAX; do
        [[ ${!name} =~ ^[1-9][0-9]*$ ]] || wrong "$settings: $name=${!name}: a whole number above 0 has to stand there"
    done
    [ "$SERVERS" = 2 ] || wrong "$settings: SERVERS=$SERVERS: Twincast has two servers, S1 and S2"
    [ "$DATA_MTU" -le 9000 ] || wrong "$settings: DATA_MTU=$DATA_MTU: Chameleon's switches take 9000 at the most"
    [[ $PREFIX =~ ^[a-z][a-z0-9-]{0,30}$ ]] || wrong "$settings: PREFIX=$PREFIX: lower-case letters, digits and dashes"
}

# The addresses of the floating IPs with this description, one a line.
floating_of() {
    local answer
    answer=$(openstack floating ip list --long -f json) || die "openstack does not list floating IPs; run this again"
    printf '%s' "$answer" | python3 -c '
import json, sys
print("\n".join(each["Floating IP Address"] for each in json.load(sys.stdin) if each.get("Description") == sys.argv[1]))
' "$1"
}

# Shows a command as a shell would take it.
show() {
    local word line='+'
    for word in "$@"; do line+=" ${word@Q}"; done
    echo "$line" >&2
}

# Runs openstack; with --dry-run it only says what would be run, and answers nothing.
stack() {
    show openstack "$@"
    [ "$dry_run" = 1 ] || openstack "$@"
}

# Something that is about to be made.
note() {
    [ "$dry_run" = 1 ] || printf '%s\t%s\n' "$1" "$2" >>"$state"
}

# Something that is gone.
forget() {
    local left
    left=$(awk -F '\t' -v kind="$1" -v name="$2" '!($1 == kind && $2 == name)' "$state")
    printf '%s\n' "$left" | sed '/^$/d' >"$state.new"
    mv "$state.new" "$state"
}

# The value of a key of the state; what --dry-run shows in its place is the key itself.
remembered() {
    if [ "$dry_run" = 1 ]; then
        echo "<$1>"
        return
    fi
    local value
    value=$(awk -F '\t' -v key="@$1" '$1 == key { value = $2 } END { print value }' "$state")
    [ -n "$value" ] || die "$state: no $1 in it; run lease.sh to its end first"
    echo "$value"
}

# One value of a JSON answer on standard input: `field KEY`.
field() {
    [ "$dry_run" = 0 ] || { echo "<$1>"; return; }
    python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}

# Waits until `openstack ARGUMENTS...` shows this status: `wait_status WANTED MINUTES WHAT ARGUMENTS...`.
wait_status() {
    local wanted=$1 minutes=$2 what=$3 answer status
    shift 3
    show openstack "$@" -f json
    [ "$dry_run" = 0 ] || return 0
    local end=$((SECONDS + minutes * 60))
    while true; do
        answer=$(openstack "$@" -f json) || die "$what: openstack does not say how it is; try again, or run release.sh"
        status=$(printf '%s' "$answer" | field status)
        case ${status^^} in
            "$wanted") return ;;
            ERROR*) die "$what: $(printf '%s' "$answer" | python3 -c \
                'import json, sys; print(json.load(sys.stdin).get("fault") or "status ERROR")'); release.sh gives all back" ;;
        esac
        [ $SECONDS -lt $end ] \
            || die "$what: $status after $minutes minutes; wait and run this again with a longer ..._MINUTES_MAX, or run release.sh"
        sleep "${POLL_SECONDS:-10}"
    done
}
