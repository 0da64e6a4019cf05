//! Where S2 keeps the parts of senders who have dialled, for recipients who come later: a *box*, of limited size.
//!
//! A group asks its box for room first ([`PartsBox::reserve`]), so that a sender is granted only what will be kept.
//! [`FileBox`] is the one that servers use: a file for each epoch, in a configured folder.

mod file;

pub use file::{BoxError, BoxFolder, FileBox};

use std::io;
use twincast_protocol::ids::{Epoch, MemberIndex, SlotIndex};
use twincast_protocol::parts::PartKind;

/// Whose parts, of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartsKey {
    /// The epoch that they belong to.
    pub epoch: Epoch,
    /// What they carry.
    pub kind: PartKind,
    /// The sender whose they are.
    pub sender: MemberIndex,
    /// The slot; 0 for keys and replies.
    pub slot: SlotIndex,
}

/// Keeps parts for as long as their epoch lasts. One group's; nothing in it is shared.
pub trait PartsBox: std::fmt::Debug {
    /// Sets `bytes` aside for the parts of this key, all of them zero until they are written. Asking again for what
    /// is set aside already changes nothing. False: there is no room, and nothing was set aside.
    ///
    /// # Errors
    /// What the disk says; also when `bytes` is not what the key has room for already, or is no multiple of the
    /// kind's parts, or is for another number of members than what the epoch's file has so far.
    fn reserve(&mut self, key: PartsKey, bytes: usize) -> io::Result<bool>;

    /// Writes `bytes` from byte `at` on of what was set aside for the key.
    ///
    /// # Errors
    /// What the disk says; [`io::ErrorKind::InvalidInput`] when nothing was set aside, or not so much.
    fn write(&mut self, key: PartsKey, at: usize, bytes: &[u8]) -> io::Result<()>;

    /// Reads from byte `at` on of what was set aside for the key, until `out` is full.
    ///
    /// # Errors
    /// What the disk says, [`io::ErrorKind::UnexpectedEof`] for a file that has become too short;
    /// [`io::ErrorKind::InvalidInput`] when nothing was set aside, or not so much.
    fn read(&mut self, key: PartsKey, at: usize, out: &mut [u8]) -> io::Result<()>;

    /// Drops everything of an epoch.
    fn forget(&mut self, epoch: Epoch);
}
