//! What is signed: every message that a user or a server puts its signature under, byte for byte (PROTOCOL.md,
//! section 6). Each begins with a label of its own, so that no signature serves for anything else, and has one length
//! for each shape of its group. Integers are little-endian.

use crate::identity::{KEY_BYTES, VerifyingKey};
use crate::ids::{Epoch, GroupId, RoundNumber, ServerSide, SlotIndex, UserId};

/// Bytes of a hash (SHA-256) and of a salt.
pub const HASH_BYTES: usize = 32;
/// A hash, or a salt.
pub type Hash = [u8; HASH_BYTES];

/// What ties a proof to one channel with one server: of a proof that is given to one server the other one can make
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The server's static key; zeros where the channel is plain.
    pub server: [u8; KEY_BYTES],
    /// The handshake's hash; zeros where the channel is plain.
    pub handshake: Hash,
}

impl Binding {
    /// A plain channel's, which ties a proof to nothing.
    pub const PLAIN: Binding = Binding { server: [0; KEY_BYTES], handshake: [0; HASH_BYTES] };
}

/// A user proves who it is, on one channel.
#[must_use]
pub fn attach(binding: &Binding, group: GroupId, epoch: Epoch, user: UserId) -> Vec<u8> {
    let mut out = b"twincast/attach/v1".to_vec();
    out.extend_from_slice(&binding.server);
    out.extend_from_slice(&binding.handshake);
    put(&mut out, &[group.0, epoch.0, user.0]);
    out
}

/// A user asks for an account, on one channel: its new key's signature.
#[must_use]
pub fn register(
    binding: &Binding,
    group: GroupId,
    epoch: Epoch,
    user: UserId,
    key: &VerifyingKey,
) -> Vec<u8> {
    let mut out = b"twincast/register/v1".to_vec();
    out.extend_from_slice(&binding.server);
    out.extend_from_slice(&binding.handshake);
    put(&mut out, &[group.0, epoch.0, user.0]);
    out.extend_from_slice(&key.to_bytes());
    out
}

/// A server says that this is the user's key, from that epoch on: the cross-signature of the paper's 5.3.1.
#[must_use]
pub fn key(group: GroupId, epoch: Epoch, user: UserId, key: &VerifyingKey) -> Vec<u8> {
    let mut out = b"twincast/key/v1".to_vec();
    put(&mut out, &[group.0, epoch.0, user.0]);
    out.extend_from_slice(&key.to_bytes());
    out
}

/// A sender commits to what it dialled: the root of each server's tree, whose leaves are the recipients.
#[must_use]
pub fn dial(
    group: GroupId,
    epoch: Epoch,
    sender: UserId,
    slot: SlotIndex,
    dial_id: u64,
    roots: &[Hash; 2],
) -> Vec<u8> {
    let mut out = b"twincast/dial/v1".to_vec();
    put(&mut out, &[group.0, epoch.0, sender.0, slot.0]);
    out.extend_from_slice(&dial_id.to_le_bytes());
    out.extend_from_slice(roots.as_flattened());
    out
}

/// A sender says what it gives one server in a round: for each slot the hashes of half 0 and of half 1.
#[must_use]
pub fn upload(
    group: GroupId,
    epoch: Epoch,
    round: RoundNumber,
    sender: UserId,
    server: ServerSide,
    halves: &[[Hash; 2]],
) -> Vec<u8> {
    let mut out = b"twincast/upload/v1".to_vec();
    put_round(&mut out, group, epoch, round, server);
    put(&mut out, &[sender.0]);
    out.extend_from_slice(halves.as_flattened().as_flattened());
    out
}

/// A server says who of the epoch's members (by [`roster_hash`](crate::wire::roster_hash)) is present in every tile of
/// a round, as it delivers it.
#[must_use]
pub fn receipt(
    group: GroupId,
    epoch: Epoch,
    round: RoundNumber,
    server: ServerSide,
    roster_hash: &Hash,
    present: &[u64],
) -> Vec<u8> {
    let mut out = b"twincast/receipt/v1".to_vec();
    put_round(&mut out, group, epoch, round, server);
    out.extend_from_slice(roster_hash);
    present.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    out
}

/// A server says what it delivers to one recipient in a round: the root over that recipient's tiles.
#[must_use]
pub fn delivery(
    group: GroupId,
    epoch: Epoch,
    round: RoundNumber,
    server: ServerSide,
    recipient: UserId,
    root: &Hash,
) -> Vec<u8> {
    let mut out = b"twincast/delivery/v1".to_vec();
    put_round(&mut out, group, epoch, round, server);
    put(&mut out, &[recipient.0]);
    out.extend_from_slice(root);
    out
}

/// A server answers for the headers that it hands one recipient: `digest` is over the head and the digest of each
/// sender's entry, so that one entry can be shown without the others.
#[must_use]
pub fn headers(group: GroupId, server: ServerSide, recipient: UserId, digest: &Hash) -> Vec<u8> {
    let mut out = b"twincast/headers/v1".to_vec();
    put(&mut out, &[group.0, server.index() as u32 + 1, recipient.0]);
    out.extend_from_slice(digest);
    out
}

fn put_round(out: &mut Vec<u8>, group: GroupId, epoch: Epoch, round: RoundNumber, server: ServerSide) {
    put(out, &[group.0, epoch.0]);
    out.extend_from_slice(&round.0.to_le_bytes());
    put(out, &[server.index() as u32 + 1]);
}

fn put(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}
