//! What a sender commits to with a dial: the tree of each server's bits and confirmation parts, and its signature.

use crate::limits::PARTS_MEMBERS;
use rand::rngs::StdRng;
use rand::{CryptoRng, SeedableRng};
use std::fmt;
use twincast_protocol::accountable::dial::{DIAL_TAIL_BYTES, SignedDial, TreeMaker};
use twincast_protocol::confirm::{CONFIRMATION_BYTES, ConfirmationMaker, expand_seed};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, ServerSide, SlotIndex};
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::statements::Hash;
use zeroize::Zeroizing;

use crate::observer::User;

/// Whose dial it is, for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DialOf {
    pub(crate) group: GroupId,
    pub(crate) epoch: Epoch,
    pub(crate) user: User,
    pub(crate) slot: SlotIndex,
    pub(crate) dial_id: u64,
}

/// A commitment to one dial. The confirmations are hashed when it is made and sent when they are asked for: their coins
/// come from a seed, so that the second time they are the same to the bit. Wiped on drop.
pub(crate) struct Commitment {
    coins: Zeroizing<[u8; 32]>,
    salts: [Zeroizing<Hash>; 2],
    signed: SignedDial,
}

impl Commitment {
    /// Commits to the dial of `p1` and `p2` whose parts for S1 come from `seed`. The work is the same whoever the
    /// recipients are.
    pub(crate) fn new(
        dial: &DialOf,
        [p1, p2]: [&SessionKey; 2],
        seed: &[u8; 32],
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Commitment {
        let mut secret = || {
            let mut secret = Zeroizing::new([0; 32]);
            rng.fill_bytes(&mut secret[..]);
            secret
        };
        let (coins, salts) = (secret(), [secret(), secret()]);
        let members = p1.members();
        let maker = ConfirmationMaker::new(dial.group, dial.epoch, dial.user.member, dial.slot, p1, p2);
        let [mut one, mut two] = salts.each_ref().map(|salt| TreeMaker::new(salt, members));
        let mut parts = Zeroizing::new([[0; PARTS_MEMBERS * CONFIRMATION_BYTES]; 2]);
        for first in (0..members).step_by(PARTS_MEMBERS) {
            let bytes = PARTS_MEMBERS.min((members - first) as usize) * CONFIRMATION_BYTES;
            let [parts1, parts2] = parts.each_mut().map(|parts| &mut parts[..bytes]);
            expand_seed(seed, first, parts1);
            maker.parts(seed, MemberIndex(first), &mut coins_of(&coins, first), parts2);
            one.push(|member| p1.bit(member), parts1);
            two.push(|member| p2.bit(member), parts2);
        }
        let root = |tree: TreeMaker| tree.finish().expect("the part of every member").root();
        let roots = [root(one), root(two)];
        let DialOf { group, epoch, user, slot, dial_id } = *dial;
        let signed = SignedDial::sign(key, group, epoch, user.id, slot, dial_id, roots);
        Commitment { coins, salts, signed }
    }

    /// What DIAL carries for `server`.
    pub(crate) fn tail(&self, server: ServerSide) -> Zeroizing<[u8; DIAL_TAIL_BYTES]> {
        Zeroizing::new(self.signed.tail(*self.salts[server.index()]).to_bytes())
    }

    /// The coins of S2's parts for the members from `first` on, [`PARTS_MEMBERS`] at a time.
    pub(crate) fn coins(&self, first: MemberIndex) -> StdRng {
        coins_of(&self.coins, first.0)
    }
}

/// Each batch of members has a generator of its own, so that any of them can be made again.
fn coins_of(seed: &[u8; 32], first: u32) -> StdRng {
    assert!(
        first.is_multiple_of(PARTS_MEMBERS as u32),
        "parts are made in whole batches, not from {first} on"
    );
    let mut stretch = Zeroizing::new([0; CONFIRMATION_BYTES]);
    expand_seed(seed, first / PARTS_MEMBERS as u32, &mut stretch[..]);
    StdRng::from_seed(*stretch.first_chunk().expect("a stretch is longer than a seed"))
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commitment").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use twincast_protocol::accountable::dial::{DialTail, DialTree};
    use twincast_protocol::ids::UserId;
    use twincast_protocol::session_key;

    /// More members than are made at a time.
    const MEMBERS: u32 = 2 * PARTS_MEMBERS as u32 + 3;

    #[test]
    fn what_is_made_again_is_what_was_committed_to() {
        let mut rng = StdRng::seed_from_u64(1);
        let (p1, p2) = session_key::dial(MEMBERS, &[MemberIndex(300)], &mut rng).expect("members");
        let (key, seed) = (SigningKey::random(&mut rng), [7; 32]);
        let user = User { position: 0, id: UserId(9), member: MemberIndex(4) };
        let dial = DialOf { group: GroupId(1), epoch: Epoch(2), user, slot: SlotIndex(0), dial_id: 11 };
        let commitment = Commitment::new(&dial, [&p1, &p2], &seed, &key, &mut rng);

        let bytes = MEMBERS as usize * CONFIRMATION_BYTES;
        let (mut parts1, mut parts2) = (vec![0; bytes], vec![0; bytes]);
        expand_seed(&seed, 0, &mut parts1);
        let maker = ConfirmationMaker::new(dial.group, dial.epoch, user.member, dial.slot, &p1, &p2);
        let firsts = (0..).step_by(PARTS_MEMBERS).map(MemberIndex);
        for (first, parts) in firsts.zip(parts2.chunks_mut(PARTS_MEMBERS * CONFIRMATION_BYTES)) {
            maker.parts(&seed, first, &mut commitment.coins(first), parts);
        }
        let tails = ServerSide::BOTH.map(|server| DialTail::from_bytes(&commitment.tail(server)));
        assert_ne!(tails[0].salt, tails[1].salt, "what one server knows says nothing of the other's tree");
        let trees = [(&p1, &parts1), (&p2, &parts2)];
        for (server, (key, parts)) in trees.into_iter().enumerate() {
            assert_eq!(DialTree::new(&tails[server].salt, key, parts).root(), tails[0].roots[server]);
        }
        let signed = tails[1].signed(11);
        assert!(signed.verify(&key.verifying_key(), dial.group, dial.epoch, user.id, dial.slot));
        let coins = |first| commitment.coins(MemberIndex(first)).random::<u128>();
        assert_ne!(coins(0), coins(PARTS_MEMBERS as u32), "no coins are used twice");
    }
}
