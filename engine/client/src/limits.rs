//! Every bound of a client, named once.

use std::time::Duration;
use twincast_protocol::channel::{RECORD_BYTES_MAX, RECORD_PLAIN_BYTES_MAX};
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

/// Bytes of a server's records that are kept until they are opened, where there is a private channel.
pub const SEALED_BYTES: usize = 64 << 10;

/// Bytes that are made at a time for a server; what is asked for later is made later.
pub const SEND_BYTES: usize = 64 << 10;
/// Members whose parts are made at a time.
pub const PARTS_MEMBERS: usize = 256;

/// Answers that are opened and verified together, at most.
pub const QUERIES_READ_MAX: usize = 256;
/// Rounds whose answers wait until the submissions that the caller began are sent, at most.
pub const CLOSED_ROUNDS_MAX: usize = 2;

/// Rounds from one turn of a member to fetch headers to the next, at most.
pub const HEADER_ROUNDS_MAX: u32 = 1 << 16;
/// Tiles of one user that are kept because something in them did not decode.
pub const DOUBTS_OF_USER_MAX: usize = 4;
/// Bytes of cells of all users that are kept because they did not decode, those whose headers were asked for among them.
pub const DOUBT_BYTES_MAX: usize = 16 << 20;
/// Pairs of a user and a sender that are remembered because there is evidence already.
pub const ACCUSED_MAX: usize = 4096;
/// Bytes of what servers signed at the ends of rounds: 192 for each user and round, and 16 for each tile.
pub const ROUND_ENDS_BYTES_MAX: usize = 64 << 20;

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

const _: () = assert!(2 * RECORD_BYTES_MAX <= SEALED_BYTES, "a record is whole, and another one comes");
const _: () = assert!(
    RECORD_PLAIN_BYTES_MAX <= SMALL_FRAME_BYTES_MAX,
    "where no frame and no piece is whole there is room for a record"
);

/// The last round that an epoch may begin with: far from where numbers end.
pub const ROUND_MAX: u64 = u64::MAX / 2;
