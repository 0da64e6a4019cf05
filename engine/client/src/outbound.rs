//! Frames that are made for one server and not sent yet, and what else it is to get.

use crate::queue::Queue;
use std::collections::VecDeque;
use twincast_protocol::ids::{Epoch, SlotIndex};
use twincast_protocol::parts::PartKind;

/// What one server is to get, in the clear.
#[derive(Default)]
pub(crate) struct Outbound {
    /// Frames that are made, up to any byte of one.
    pub(crate) made: Queue,
    /// Whole frames that were made ahead and have no place inside another one: FETCH, LEAVE.
    pub(crate) frames: Vec<u8>,
    /// HELLO is still to be said, before any other frame.
    pub(crate) greets: bool,
    /// Parts that this server wants.
    pub(crate) wanted: VecDeque<Wanted>,
    /// The PARTS frame that is begun.
    pub(crate) begun: Option<Begun>,
}

/// A set of parts that a server wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The session: an epoch that is announced again has another one, with other secrets.
    pub(crate) session: u64,
    pub(crate) epoch: Epoch,
    pub(crate) kind: PartKind,
    /// The position of its sender among the epoch's users of this client.
    pub(crate) position: usize,
    pub(crate) slot: SlotIndex,
}

/// A PARTS frame of which some parts are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) parts: Wanted,
    /// The member whose part comes next.
    pub(crate) next: u32,
    /// All members of its epoch.
    pub(crate) members: u32,
}

impl Outbound {
    /// Where the next frame is written.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        self.made.end()
    }
}
