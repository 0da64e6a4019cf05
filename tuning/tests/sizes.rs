//! Bytes and memory, exactly: by hand, against the protocol's table, and against what the server sizes.

use std::time::Duration;
use twincast_loadgen::control::Flow;
use twincast_protocol::ids::ServerSide;
use twincast_server::config::{self, GroupConfig};
use twincast_server::group::Shape;
use twincast_tune::bytes::Bytes;
use twincast_tune::group::{DELIVERIES, Delivery, Group};
use twincast_tune::memory::{Memory, dialled_bytes};

const SIZES: [u32; 3] = [1_000, 10_000, 1_000_000];

fn bytes(delivery: Delivery, group: &Group) -> Bytes {
    Bytes::of(delivery, group).unwrap()
}

/// Section 10 of the protocol: n * 352 down, and a query of n bits and a DIAL of 32 from each member.
#[test]
fn an_answer_round_is_n_records() {
    for (members, down, dial_up) in [
        (1_000, 352_000, 1_000 * (32 + 125)),
        (10_000, 3_520_000, 10_000 * (32 + 1_250)),
        (1_000_000, 352_000_000, 1_000_000 * (32 + 125_000)),
    ] {
        let group = Group::new(members);
        let answer = bytes(Delivery::Answer, &group);
        let n = u64::from(members);
        assert_eq!(answer.round_payload_down, down);
        // Each member is on a connection of its own, which has a head of 72 bytes.
        assert_eq!(answer.round, Flow { up: [n * (24 + 352); 2], down: [down + n * 72; 2] });
        assert_eq!(answer.dial, Flow { up: [dial_up; 2], down: [n * 32; 2] });
        assert_eq!(answer.dial_up_of_a_member * n, dial_up);
        assert_eq!((answer.confirm, answer.grants), Default::default());
        let shared = bytes(Delivery::Answer, &Group { users_per_connection: 10, ..group });
        assert_eq!(shared.round.down, [down + n / 10 * 72; 2]);
        let three = bytes(Delivery::Answer, &Group { slots: 3, ..group });
        assert_eq!((three.round_payload_down, three.round.up), (3 * down, answer.round.up));
        assert_eq!(three.dial.up, [3 * dial_up; 2]);
    }
}

/// The bounds of what frames may add to answers.
#[test]
fn frames_add_little_to_answers() {
    for members in SIZES {
        for (users_per_connection, over) in [(1, 0.25), (10, 0.1), (512, 0.02)] {
            let bytes = bytes(Delivery::Answer, &Group { users_per_connection, ..Group::new(members) });
            let payload = bytes.round_payload_down as f64;
            assert!(
                bytes.round.down[0] as f64 <= (1.0 + over) * payload,
                "{members}, {users_per_connection}"
            );
        }
    }
}

/// Section 10: n * n * 336 down, n * n * 64 of confirmations, n * n / 8 of session keys.
#[test]
fn a_broadcast_round_is_n_times_n_cells() {
    for members in SIZES {
        let (group, n) = (Group::new(members), u64::from(members));
        let broadcast = bytes(Delivery::Broadcast, &group);
        assert_eq!(broadcast.round_payload_down, n * n * 336);
        // A DELIVER head of 64 bytes for each tile, and ROUND_END of 32, on each member's connection.
        let frames = n * (n.div_ceil(64) * 64 + 32);
        assert_eq!(broadcast.round, Flow { up: [n * (24 + 672); 2], down: [n * n * 336 + frames; 2] });
        assert_eq!(broadcast.dial.up, [n * (32 + n.div_ceil(8)); 2]);
        assert_eq!(broadcast.confirm.up, [n * (24 + 32), n * (24 + 64 * n)]);
        assert!(broadcast.confirm.down[0] >= n * n * 64);
        assert_eq!(
            bytes(Delivery::Answer, &group).dial,
            broadcast.dial,
            "a query is dialled as a session key is"
        );
    }
}

/// Twice n * ceil(n / 64) * 8 bytes of queries: those in use, and those being dialled.
#[test]
fn memory_is_what_the_server_sizes() {
    for (members, keys) in [(1_000, 128_000), (10_000, 12_560_000), (1_000_000, 125_000_000_000)] {
        for slots in [1, 2] {
            let group = Group { slots, ..Group::new(members) };
            assert_eq!(dialled_bytes(Delivery::Broadcast, &group), keys * u64::from(slots));
            // Where queries fill whole pages there is a line of the caches more for each of the table's tiles.
            let queries = dialled_bytes(Delivery::Answer, &group);
            assert_eq!(queries, keys * u64::from(slots), "n = {members}, K = {slots}");
            for delivery in DELIVERIES {
                let memory = Memory::of(delivery, &group);
                let sides = ServerSide::BOTH.map(|side| shape(delivery, &group, side).memory_bytes());
                assert_eq!(memory.server_bytes, sides[0].max(sides[1]), "{delivery}, n = {members}");
                assert_eq!(memory.dialled_bytes, 2 * keys * u64::from(slots));
                assert!(memory.server_bytes > memory.dialled_bytes, "{delivery}, n = {members}");
            }
        }
    }
    // All else grows with n and not with its square.
    let million = Memory::of(Delivery::Answer, &Group::new(1_000_000));
    assert!(million.dialled_bytes as f64 > 0.95 * million.server_bytes as f64, "{million:?}");
    let paged = Group::new(65_536);
    assert_eq!(dialled_bytes(Delivery::Answer, &paged), 65_536 * 8 * 1_024 + 1_024 * 64);
}

fn shape(delivery: Delivery, group: &Group, side: ServerSide) -> Shape {
    let config = GroupConfig { slots: group.slots, ..GroupConfig::new(7, group.members) };
    let config = match delivery {
        Delivery::Broadcast => config,
        Delivery::Answer => {
            GroupConfig { delivery: config::Delivery::Answer, frame_bytes: 272, confirm: false, ..config }
        }
    };
    Shape::new(&config, side).with_link(Duration::ZERO)
}

#[test]
fn a_frame_that_cannot_be_is_refused() {
    let odd = Group { frame_bytes: 17, ..Group::new(100) };
    assert!(Bytes::of(Delivery::Broadcast, &odd).unwrap_err().contains("16"));
}
