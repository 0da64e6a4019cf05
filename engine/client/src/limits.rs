//! Every bound of a client, named once.

use std::time::Duration;
use twincast_protocol::wire::ROSTER_USERS_MAX;

/// Members of a group that a client takes part in.
pub const MEMBERS_MAX: u32 = 1 << 20;
/// Slots of a member.
pub const SLOTS_MAX: u32 = 1 << 10;
/// Bytes of what the confirmations of a connection's users said in one epoch: two bits for each (user, sender, slot).
pub const CONFIRMED_BYTES_MAX: u64 = 1 << 30;

/// Bytes of a receive buffer as long as both servers keep pace: both of a connection's fit a core's second-level
/// cache.
pub const RECEIVE_BYTES: usize = 512 << 10;
/// Bytes of a receive buffer of a connection that plays few users.
pub const RECEIVE_BYTES_MIN: usize = 80 << 10;
/// Part of a receive buffer that is moved to its front at most, so that a byte is rarely copied twice.
pub const MOVED_FRACTION: usize = 8;
/// A buffer that is full of what one server sent grows after this long without a byte that could be used.
pub const GROWTH_WAIT: Duration = Duration::from_millis(500);

/// Bytes that are made at a time for a server; what is asked for later is made later.
pub const SEND_BYTES: usize = 64 << 10;
/// Members whose parts are made at a time.
pub const PARTS_MEMBERS: usize = 256;

/// Answers that are opened and verified together, at most.
pub const QUERIES_READ_MAX: usize = 256;
/// Rounds whose answers wait until the submissions that the caller began are sent, at most.
pub const CLOSED_ROUNDS_MAX: usize = 2;

/// The largest body of a frame that a server sends besides DELIVER and ANSWERS: ROSTER with as many users as it may list.
pub const SMALL_BODY_BYTES_MAX: usize = 16 + 4 * ROSTER_USERS_MAX as usize;
/// The largest frame that is read whole.
pub const SMALL_FRAME_BYTES_MAX: usize = 8 + SMALL_BODY_BYTES_MAX;

/// Bytes of a cell: a pair of shares of the largest frame.
pub const CELL_BYTES_MAX: u32 = 2 * (65_536 + 1024);
/// Bytes of a tile of parts at the most.
pub const PART_TILE_BYTES: u64 = 16 << 20;
/// Senders of a message tile.
pub const TILE_SENDERS: u32 = twincast_protocol::receive::TILE_SENDERS as u32;

const _: () = assert!(RECEIVE_BYTES_MIN <= RECEIVE_BYTES);
const _: () = assert!(
    4 * SMALL_FRAME_BYTES_MAX <= RECEIVE_BYTES_MIN,
    "a small frame fits every buffer, and can be moved"
);
const _: () = assert!(TILE_SENDERS == 64, "a tile's masks are u64");

/// The last round that an epoch may begin with: far from where numbers end.
pub const ROUND_MAX: u64 = u64::MAX / 2;
