//! What senders committed to with their dials of one epoch, and whether their confirmations are what they committed to.

use super::super::dials::{Dialling, Dials};
use super::super::store::{Kept, PartsStore, Whose};
use crate::accountable::Accounting;
use crate::roster::Roster;
use fixedbitset::FixedBitSet;
use std::collections::HashMap;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use twincast_protocol::accountable::Certificate;
use twincast_protocol::accountable::dial::{
    DIAL_TAIL_BYTES, DialTail, DialTree, Opening, SignedDial, TreeMaker,
};
use twincast_protocol::confirm::CONFIRMATION_BYTES as PART_BYTES;
use twincast_protocol::identity::VerifyingKey;
use twincast_protocol::ids::{Epoch, MemberIndex, SlotIndex};
use twincast_protocol::parts::expand_parts;
use twincast_protocol::statements::Hash;
use twincast_protocol::wire::Code;
use zeroize::Zeroizing;

/// Parts that are made of a seed at a time.
const SEED_PARTS: usize = 64;

/// A dial as it is kept: what its sender signed, and the tree once all its confirmations are here.
#[derive(Debug)]
struct Commitment {
    dial_id: u64,
    tail: DialTail,
    tree: Option<DialTree>,
}

/// Who a member is in one epoch, from its first dial on.
#[derive(Debug)]
struct Member {
    /// Everything of this epoch is verified with it.
    key: VerifyingKey,
    /// What both servers signed of it, once both have.
    certificate: Option<Box<Certificate>>,
}

/// What the members of one epoch committed to.
#[derive(Debug)]
pub(in super::super) struct Commitments {
    accounting: Arc<Accounting>,
    epoch: Epoch,
    members: usize,
    slots: usize,
    /// `slot * members + sender`.
    places: Vec<Option<Commitment>>,
    /// By member.
    identities: Vec<Option<Member>>,
    /// S2: confirmations that are on their way, by place, and how many bytes came.
    coming: HashMap<usize, (TreeMaker, usize)>,
    /// Members all of whose confirmations are here.
    whole: FixedBitSet,
}

impl Commitments {
    /// Of an epoch that nobody has dialled.
    pub(in super::super) fn new(accounting: &Arc<Accounting>, roster: &Roster, slots: usize) -> Commitments {
        let members = roster.members();
        Commitments {
            accounting: accounting.clone(),
            epoch: roster.epoch(),
            members,
            slots,
            places: (0..slots * members).map(|_| None).collect(),
            identities: (0..members).map(|_| None).collect(),
            coming: HashMap::new(),
            whole: FixedBitSet::with_capacity(members),
        }
    }

    /// Verifies what comes with a dial.
    ///
    /// # Errors
    /// [`Code::NotRegistered`]: the sender has no account. [`Code::CommitmentWrong`]: it did not sign
    /// this.
    pub(in super::super) fn verify(
        &mut self,
        roster: &Roster,
        dialling: Dialling,
        tail: &[u8; DIAL_TAIL_BYTES],
    ) -> Result<DialTail, Code> {
        let Dialling { sender, slot, dial_id } = dialling;
        let user = roster.user(MemberIndex(sender as u32)).ok_or(Code::NotAttached)?;
        let group = self.accounting.group;
        let key = match &self.identities[sender] {
            Some(member) => member.key,
            None => self.accounting.accounts.key(group, user).ok_or(Code::NotRegistered)?,
        };
        let tail = DialTail::from_bytes(tail);
        let slot = SlotIndex(slot as u32);
        if !tail.signed(dial_id).verify(&key, group, self.epoch, user, slot) {
            return Err(Code::CommitmentWrong);
        }
        self.identities[sender].get_or_insert(Member { key, certificate: None });
        Ok(tail)
    }

    /// Keeps what a dial committed to, in the place of what the slot had.
    pub(in super::super) fn put(&mut self, dialling: Dialling, tail: DialTail) {
        let Dialling { sender, slot, dial_id } = dialling;
        let place = self.place(slot, sender);
        self.places[place] = Some(Commitment { dial_id, tail, tree: None });
        self.coming.remove(&place);
        self.whole.remove(sender);
    }

    /// S1: whether a seed gives the confirmations that its sender committed to.
    pub(in super::super) fn take_seed(&mut self, whose: Whose, dials: &Dials, seed: &[u8; 32]) -> bool {
        let bytes = whose.kind.bytes();
        let mut parts = Zeroizing::new([0; SEED_PARTS * PART_BYTES]);
        for first in (0..self.members).step_by(SEED_PARTS) {
            let count = SEED_PARTS.min(self.members - first);
            let some = &mut parts[..count * bytes];
            expand_parts(seed, whose.kind, first as u32, some);
            self.take_bytes(whose, dials, first * bytes, some);
        }
        self.finish(whose, true)
    }

    /// Takes confirmations as they come in: bytes from byte `at` on.
    pub(in super::super) fn take_bytes(&mut self, whose: Whose, dials: &Dials, at: usize, bytes: &[u8]) {
        let place = self.place(whose.slot, whose.sender);
        let Some(commitment) = &self.places[place] else { return };
        if at == 0 {
            let maker = TreeMaker::new(&commitment.tail.salt, self.members as u32);
            self.coming.insert(place, (maker, 0));
        }
        let whole = self.members * whose.kind.bytes();
        if let Some((maker, came)) = self.coming.get_mut(&place).filter(|(_, came)| *came == at)
            && at + bytes.len() <= whole
        {
            let keys = dials.keys();
            maker.push(|user| keys.bit(whose.sender, whose.slot, user.0 as usize), bytes);
            *came += bytes.len();
        }
    }

    /// All confirmations came: whether they are what their sender committed to. What is not `kept` cannot be shown later:
    /// their sender's shares are not taken.
    pub(in super::super) fn finish(&mut self, whose: Whose, kept: bool) -> bool {
        let (place, side) = (self.place(whose.slot, whose.sender), self.accounting.side);
        let tree = self.coming.remove(&place).and_then(|(maker, _)| maker.finish());
        let Some(commitment) = &mut self.places[place] else { return false };
        let root = commitment.tail.roots[side.index()];
        let tree = tree.filter(|tree| bool::from(tree.root().ct_eq(&root)));
        let right = tree.is_some();
        commitment.tree = tree.filter(|_| kept);
        let slots = (0..self.slots).map(|slot| &self.places[slot * self.members + whose.sender]);
        let whole = slots.flatten().filter(|commitment| commitment.tree.is_some()).count() == self.slots;
        self.whole.set(whose.sender, whole);
        right
    }

    /// Members whose shares are taken now.
    pub(in super::super) fn members_uploading(&mut self, roster: &Roster) -> FixedBitSet {
        let mut members = self.whole.clone();
        for sender in self.whole.clone().ones() {
            members.set(sender, self.may_upload(roster, sender));
        }
        members
    }

    /// Whether both servers have signed the keys of all members whose shares would be taken otherwise.
    pub(in super::super) fn are_all_uploading(&mut self, roster: &Roster) -> bool {
        let whole = self.whole.clone();
        whole.ones().all(|sender| self.may_upload(roster, sender))
    }

    /// Whether the shares of a member are taken: all that it committed to can be shown, under a key that both servers have
    /// signed. Headers of a whole tile would fail for want of one sender's.
    pub(in super::super) fn may_upload(&mut self, roster: &Roster, sender: usize) -> bool {
        let Some(Member { key, certificate }) = &mut self.identities[sender] else { return false };
        if certificate.is_none() {
            // The users of a list are signed soon after the link stands: the other server's signature may have come since
            // the dial.
            let user = roster.user(MemberIndex(sender as u32));
            let signed =
                user.and_then(|user| self.accounting.accounts.certificate(self.accounting.group, user));
            *certificate = signed.filter(|signed| signed.key == *key).map(Box::new);
        }
        certificate.is_some() && self.whole.contains(sender)
    }

    /// With what a member's uploads are verified, if any are taken.
    pub(in super::super) fn key(&self, sender: usize) -> Option<VerifyingKey> {
        self.identities[sender].as_ref().filter(|_| self.whole.contains(sender)).map(|member| member.key)
    }

    /// What both servers signed of a member's key; none while the other server's signature is not here.
    pub(in super::super) fn certificate(&self, roster: &Roster, sender: usize) -> Option<Certificate> {
        let Member { key, certificate } = self.identities[sender].as_ref()?;
        let Accounting { group, accounts, .. } = &*self.accounting;
        let now = || accounts.certificate(*group, roster.user(MemberIndex(sender as u32))?);
        certificate.as_deref().copied().or_else(now).filter(|signed| signed.key == *key)
    }

    /// A dial as its sender signed it, and the leaf of one recipient; none where it is not here any more.
    pub(in super::super) fn open(
        &self,
        whose: Whose,
        recipient: MemberIndex,
        dials: &Dials,
        store: &PartsStore,
        kept: &mut Kept,
    ) -> Option<(SignedDial, Opening)> {
        let Commitment { dial_id, tail, tree } =
            self.places[self.place(whose.slot, whose.sender)].as_ref()?;
        let tree = tree.as_ref()?;
        let (first, count) = tree.group_of(recipient);
        let mut parts = Zeroizing::new(vec![0; count as usize * whose.kind.bytes()]);
        if !store.part(whose, first, &mut parts, kept) {
            return None;
        }
        let keys = dials.keys();
        let bit = |user: MemberIndex| keys.bit(whose.sender, whose.slot, user.0 as usize);
        Some((tail.signed(*dial_id), tree.open(&tail.salt, bit, recipient, &parts)))
    }

    fn place(&self, slot: usize, sender: usize) -> usize {
        slot * self.members + sender
    }
}

/// Bytes that are kept of a dial's commitment among `members`, with its tree.
pub(in super::super) fn commitment_bytes(members: usize) -> usize {
    size_of::<Option<Commitment>>() + members.div_ceil(64) * size_of::<Hash>()
}

/// Bytes that are kept of each member of an epoch besides.
pub(in super::super) const fn member_bytes() -> usize {
    size_of::<Option<Member>>() + size_of::<Certificate>()
}
