//! The exchange of keys at the start of an epoch: what each user of a client gives, and the keys that come of it.
//!
//! Every user sends its public key to everybody, real for the partners that it wants and dummies for the rest, and
//! then its reply likewise, real for those whose key it was sent. Two users who wanted a key of each other have two:
//! either opens what comes, and each seals with the one that it asked for itself, which its partner surely has.

use rand::CryptoRng;
use std::collections::HashMap;
use std::fmt;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, ServerSide};
use twincast_protocol::keys::{KeyCells, KeyKind, Keypair, PairKey, Role, pair_key};
use zeroize::Zeroize;

/// The exchange of one epoch.
#[derive(Default)]
pub(crate) struct Exchange {
    /// The users of this client, once their keys are drawn.
    parties: Vec<Party>,
    /// What each server has asked each user for: keys, and replies.
    granted: Vec<[[bool; 2]; 2]>,
    /// What S2 has got some of. It is never made again: two sets under one seed would show S2 the sum of their
    /// codewords.
    begun: Vec<[bool; 2]>,
    /// The keys of a user, by its position among the epoch's, and a partner.
    pairs: HashMap<(usize, MemberIndex), Pair>,
    /// Cells that did not decode.
    pub(crate) failed: u64,
}

/// One user's side of it.
struct Party {
    keypair: Keypair,
    /// S1's part of its keys, and of its replies.
    seeds: [[u8; 32]; 2],
    /// Whom it wants a key with, once the caller was asked.
    wanted: Option<Members>,
    /// Who sent it a key.
    senders: Members,
}

/// The keys of a pair, by whose they are to start with.
#[derive(Default)]
struct Pair {
    own: Option<PairKey>,
    partners: Option<PairKey>,
}

/// A set of members.
#[derive(Clone)]
pub(crate) struct Members(Box<[u64]>);

impl Members {
    pub(crate) fn none(members: u32) -> Members {
        Members(vec![0; members.div_ceil(64) as usize].into())
    }

    pub(crate) fn insert(&mut self, member: MemberIndex) {
        self.0[member.0 as usize / 64] |= 1 << (member.0 % 64);
    }

    pub(crate) fn has(&self, member: MemberIndex) -> bool {
        self.0[member.0 as usize / 64] >> (member.0 % 64) & 1 == 1
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.seeds.zeroize();
    }
}

fn index(kind: KeyKind) -> usize {
    match kind {
        KeyKind::Key => 0,
        KeyKind::Reply => 1,
    }
}

impl Exchange {
    /// For so many users of this client.
    pub(crate) fn new(users: usize) -> Exchange {
        let (granted, begun) = (vec![Default::default(); users], vec![Default::default(); users]);
        Exchange { granted, begun, ..Exchange::default() }
    }

    /// Draws the keys of all users.
    pub(crate) fn draw(&mut self, members: u32, rng: &mut impl CryptoRng) {
        let mut party = || {
            let mut seeds = [[0; 32]; 2];
            rng.fill_bytes(seeds.as_flattened_mut());
            let (keypair, senders) = (Keypair::random(rng), Members::none(members));
            Party { keypair, seeds, wanted: None, senders }
        };
        self.parties = self.granted.iter().map(|_| party()).collect();
    }

    /// Whether keys are drawn: without them there is nothing to open replies with.
    pub(crate) fn is_drawn(&self) -> bool {
        !self.parties.is_empty()
    }

    /// Takes note that `server` wants the user's keys or replies; false if it has asked before.
    pub(crate) fn grant(&mut self, position: usize, kind: KeyKind, server: ServerSide) -> bool {
        !std::mem::replace(&mut self.granted[position][index(kind)][server.index()], true)
    }

    /// S2 gets what it has asked the user for.
    pub(crate) fn begin(&mut self, position: usize, kind: KeyKind) {
        self.begun[position][index(kind)] = true;
    }

    /// The connections are new: what was asked for on the old ones may be asked for again, but for what S2 has some of.
    pub(crate) fn reconnect(&mut self) {
        for (granted, begun) in self.granted.iter_mut().zip(&self.begun) {
            *granted = begun.map(|begun| [false, begun]);
        }
    }

    /// S1's part of what the user sends.
    pub(crate) fn seed(&self, position: usize, kind: KeyKind) -> &[u8; 32] {
        &self.parties[position].seeds[index(kind)]
    }

    /// The user's public key.
    pub(crate) fn public(&self, position: usize) -> &[u8; 32] {
        self.parties[position].keypair.public()
    }

    /// Whether the caller was asked whom the user wants a key with.
    pub(crate) fn is_asked(&self, position: usize) -> bool {
        self.parties[position].wanted.is_some()
    }

    /// The user wants keys with these.
    pub(crate) fn want(&mut self, position: usize, wanted: Members) {
        self.parties[position].wanted = Some(wanted);
    }

    /// Whom the user's keys, or replies, are for.
    pub(crate) fn targets(&self, position: usize, kind: KeyKind) -> Option<&Members> {
        let party = &self.parties[position];
        match kind {
            KeyKind::Key => party.wanted.as_ref(),
            KeyKind::Reply => Some(&party.senders),
        }
    }

    /// Takes what a tile of senders from `first` on sent to the user, who is `member`.
    pub(crate) fn take(
        &mut self,
        (group, epoch): (GroupId, Epoch),
        kind: KeyKind,
        (position, member): (usize, MemberIndex),
        first: MemberIndex,
        cells: &KeyCells,
    ) {
        self.failed += u64::from(cells.failed.count_ones());
        let Some(party) = self.parties.get_mut(position) else { return };
        for sender in (0..64).filter(|sender| cells.accepted >> sender & 1 == 1) {
            let partner = MemberIndex(first.0 + sender);
            let role = match kind {
                KeyKind::Key => Role::Responder,
                KeyKind::Reply if party.wanted.as_ref().is_some_and(|wanted| wanted.has(partner)) => {
                    Role::Initiator
                }
                // A reply that answers nothing.
                KeyKind::Reply => continue,
            };
            let theirs = &cells.keys[sender as usize];
            let Ok(key) = pair_key(&party.keypair, member, theirs, partner, group, epoch, role) else {
                self.failed += 1;
                continue;
            };
            let pair = self.pairs.entry((position, partner)).or_default();
            match role {
                Role::Initiator => pair.own = Some(key),
                Role::Responder => {
                    pair.partners = Some(key);
                    party.senders.insert(partner);
                }
            }
        }
    }

    /// How many pairs have a key.
    pub(crate) fn pairs(&self) -> u64 {
        self.pairs.len() as u64
    }

    /// The key that the user seals with for a partner.
    pub(crate) fn sealing(&self, position: usize, partner: MemberIndex) -> Option<&PairKey> {
        let pair = self.pairs.get(&(position, partner))?;
        pair.own.as_ref().or(pair.partners.as_ref())
    }

    /// The keys that a partner may have sealed with for the user.
    pub(crate) fn opening(&self, position: usize, partner: MemberIndex) -> impl Iterator<Item = &PairKey> {
        let pair = self.pairs.get(&(position, partner));
        pair.into_iter().flat_map(|pair| pair.own.iter().chain(&pair.partners))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twincast_protocol::keys::KeyPartsMaker;
    use twincast_protocol::keys::open_keys;
    use twincast_protocol::parts::{PartKind, expand_parts};
    use twincast_protocol::receive::TileCells;

    const PLACE: (GroupId, Epoch) = (GroupId(1), Epoch(2));

    /// Sends what the first party of `from` has for `kind` to that of `to`.
    fn send(kind: KeyKind, (from, sender): (&Exchange, u32), (to, member): (&mut Exchange, u32)) {
        let (sender, member) = (MemberIndex(sender), MemberIndex(member));
        let targets = from.targets(0, kind).expect("asked").clone();
        let wanted = |member| targets.has(member);
        let (mut cell1, mut cell2) = ([0; 96], [0; 96]);
        expand_parts(from.seed(0, kind), PartKind::from(kind), member.0, &mut cell1);
        KeyPartsMaker::new(PLACE.0, PLACE.1, sender, kind, from.public(0), &wanted).parts(
            from.seed(0, kind),
            member,
            &mut rand::rng(),
            &mut cell2,
        );
        let tile = TileCells { count: 1, cells: [&cell1, &cell2], present: [1, 1] };
        let cells = open_keys(PLACE.0, PLACE.1, sender, kind, &tile);
        to.take(PLACE, kind, (0, member), sender, &cells);
    }

    fn party(wanted: &[u32]) -> Exchange {
        let (mut exchange, mut members) = (Exchange::new(1), Members::none(70));
        exchange.draw(70, &mut rand::rng());
        wanted.iter().for_each(|member| members.insert(MemberIndex(*member)));
        exchange.want(0, members);
        exchange
    }

    #[test]
    fn one_who_asks_and_one_who_answers_have_the_same_keys() {
        let (mut alice, mut bob) = (party(&[66]), party(&[]));
        send(KeyKind::Key, (&alice, 3), (&mut bob, 66));
        send(KeyKind::Key, (&bob, 66), (&mut alice, 3));
        assert!(alice.sealing(0, MemberIndex(66)).is_none(), "Bob sent a dummy");
        send(KeyKind::Reply, (&bob, 66), (&mut alice, 3));
        send(KeyKind::Reply, (&alice, 3), (&mut bob, 66));
        assert_eq!((alice.pairs(), bob.pairs(), alice.failed, bob.failed), (1, 1, 0, 0));
        let (alices, bobs) = (alice.sealing(0, MemberIndex(66)), bob.sealing(0, MemberIndex(3)));
        let (alices, bobs) = (alices.expect("a key"), bobs.expect("a key"));
        assert!(alices.send == bobs.receive && alices.receive == bobs.send);
    }

    #[test]
    fn two_who_ask_each_other_open_either_key() {
        let (mut alice, mut bob) = (party(&[66]), party(&[3]));
        for kind in [KeyKind::Key, KeyKind::Reply] {
            send(kind, (&alice, 3), (&mut bob, 66));
            // Bob's reply does not get through: Alice has his key all the same.
            if kind == KeyKind::Key {
                send(kind, (&bob, 66), (&mut alice, 3));
            }
        }
        let sealing = |exchange: &Exchange, partner, other: &Exchange, own| {
            let key = exchange.sealing(0, MemberIndex(partner)).expect("a key");
            other.opening(0, MemberIndex(own)).filter(|theirs| theirs.receive == key.send).count()
        };
        assert_eq!(sealing(&alice, 66, &bob, 3), 1);
        assert_eq!(sealing(&bob, 3, &alice, 66), 1);
        assert_eq!(bob.opening(0, MemberIndex(3)).count(), 2);
    }

    #[test]
    fn a_reply_that_answers_nothing_gives_no_key() {
        let (mut alice, mut mallory) = (party(&[]), party(&[3]));
        mallory.parties[0].senders.insert(MemberIndex(3));
        send(KeyKind::Reply, (&mallory, 5), (&mut alice, 3));
        assert_eq!(alice.pairs(), 0);
    }
}
