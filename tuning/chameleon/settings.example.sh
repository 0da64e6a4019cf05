# shellcheck shell=bash disable=SC2034
# Settings of lease.sh, launch.sh and release.sh. Copy to settings.sh beside them and change what is not yours:
#   cp settings.example.sh settings.sh
# Values here are the defaults, but for LINK, PROFILE and KEY_NAME, which have none. A variable of the environment is not looked at: what a
# lease was made with is in this file and in the state file.

# The name of everything that is made begins with it; a time and a random number follow, so that no two leases share a name.
PREFIX=twincast

# Node types, as the site has them (Chameleon's resource browser, "Node Type"). Servers want the fastest card and the most
# memory bandwidth; clients decode n x n shares and may be slower, since there are five. A type with two cards in use lets the
# shares have a card to themselves (MANAGEMENT_NETWORK below).
SERVER_NODE_TYPE=compute_icelake_r650
CLIENT_NODE_TYPE=compute_icelake_r650
SERVERS=2
CLIENTS=5
# What the card of the shares has, as the node type's page says it: 10gbit, 25gbit, 100gbit. Where servers and clients differ: the
# slower of the two. Figures are fractions of it, and a check fails where a card has less.
LINK=
# The profile for it, which the playbook applies: 10g, 25g-and-up, or another of tuning/profiles.
PROFILE=

# How long the lease lasts, in hours, and when it begins: "now", or "YYYY-MM-DD HH:MM" in UTC.
LEASE_HOURS=3
LEASE_START=now

# The network by which you log in, on the first card; it has a router and floating IPs already. Empty for node types with one
# card: then shares and ssh share the isolated network, which gets a router of its own.
MANAGEMENT_NETWORK=sharednet1

# The isolated VLAN of the shares, on the second card: addresses, and the bytes of its largest packet. Chameleon's switches
# take 9000 and no more.
DATA_CIDR=10.52.0.0/24
DATA_MTU=9000
# The physical network that the VLAN is on.
PHYSICAL_NETWORK=physnet1

# Where floating IPs come from. One machine gets one (the first client): ssh to the others goes through it.
PUBLIC_NETWORK=public

# What the machines run, and the user that its image has.
IMAGE=CC-Ubuntu24.04
FLAVOR=baremetal
IMAGE_USER=cc
# The name of your ssh key at the site (`openstack keypair list`), and the private key here; empty: what ssh tries by itself.
KEY_NAME=
PRIVATE_KEY=

# How long to wait, in minutes: for the lease to begin, and for bare metal to come up (10 to 20 minutes are usual).
LEASE_MINUTES_MAX=15
LAUNCH_MINUTES_MAX=45
