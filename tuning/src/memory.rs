//! What a server sizes for a group: its own figures, those of [`twincast_server::group::Shape`].
//!
//! Buffers that belong to the server and not to a group, such as slabs and those of connections, are not in it.

use crate::group::{Delivery, Group};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use twincast_protocol::answer::{FRAME_BYTES, RECORD_BYTES};
use twincast_protocol::ids::ServerSide;
use twincast_server::config::{self, GroupConfig};
use twincast_server::group::Shape;

/// Memory for one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Of the server that takes more, with two epochs, one of them being dialled.
    pub server_bytes: u64,
    /// Of that, the session keys or the queries of these two epochs.
    pub dialled_bytes: u64,
}

impl Memory {
    /// What a group with this delivery takes.
    #[must_use]
    pub fn of(delivery: Delivery, group: &Group) -> Memory {
        let sides = ServerSide::BOTH.map(|side| shape(delivery, group, side).memory_bytes());
        Memory { server_bytes: sides[0].max(sides[1]), dialled_bytes: 2 * dialled_bytes(delivery, group) }
    }
}

/// What both servers of a linked pair keep for the group.
fn shape(delivery: Delivery, group: &Group, side: ServerSide) -> Shape {
    let (way, frame_bytes, confirm) = match delivery {
        Delivery::Broadcast => (config::Delivery::Broadcast, group.frame_bytes, group.confirm),
        Delivery::Answer => (config::Delivery::Answer, FRAME_BYTES as u32, false),
    };
    let config = GroupConfig {
        slots: group.slots,
        delivery: way,
        frame_bytes,
        confirm,
        ..GroupConfig::new(0, group.members)
    };
    Shape::new(&config, side).with_link(Duration::ZERO)
}

/// One epoch's session keys, or its queries.
#[must_use]
pub fn dialled_bytes(delivery: Delivery, group: &Group) -> u64 {
    match delivery {
        Delivery::Broadcast => group.queries() * u64::from(group.members).div_ceil(64) * 8,
        Delivery::Answer => {
            let shape =
                twincast_answer::Shape::new(group.members as usize, group.queries() as usize, RECORD_BYTES);
            shape.expect("a group that is planned for has no more queries than a table").query_memory_bytes()
        }
    }
}

/// Memory of this machine, in bytes; 0 where the kernel does not say.
#[must_use]
pub fn of_this_machine() -> u64 {
    total(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn total(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    line.trim().strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_much_there_is() {
        assert_eq!(total("MemTotal:       24000000 kB\nMemFree: 1 kB\n"), 24_000_000 << 10);
        assert_eq!(total("MemFree: 1 kB\n"), 0);
        assert!(of_this_machine() > 0);
    }
}
