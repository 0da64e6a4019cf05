//! The dials of a client's users: what they are made of until both servers have it, and whether they are in effect.

use crate::accountable::commitment::Commitment;
use rand::rngs::StdRng;
use rand::{CryptoRng, SeedableRng};
use std::fmt;
use twincast_protocol::error::ProtocolError;
use twincast_protocol::format::Aim;
use twincast_protocol::ids::{MemberIndex, ServerSide};
use twincast_protocol::session_key::{self, SessionKey};
use zeroize::Zeroizing;

/// One user's dial for one slot of one epoch.
#[derive(Default)]
pub(crate) struct Dial {
    /// The number that the client drew for it, with its secrets.
    id: Option<u64>,
    secrets: Option<Secrets>,
    /// What is needed to send; also of a dial that is not in effect yet.
    aim: Option<Aim>,
    /// The member that it reaches, if it is one. Wiped on drop.
    recipient: Zeroizing<Option<u32>>,
    /// The dial that each server says is in effect.
    acknowledged: [Option<u64>; 2],
    /// Whether each server has asked for its confirmations, and got all of them.
    pub(crate) granted: [bool; 2],
    /// S2 has got some of its confirmations. They are never made again: two sets under one seed would show S2 the sum
    /// of their codewords.
    pub(crate) begun: bool,
    finished: [bool; 2],
    /// The caller knows that it is void.
    pub(crate) void: bool,
}

/// What a dial is made of. Each of P1 and P2 is for its server's eyes alone.
pub(crate) enum Secrets {
    /// Of a slot that is written in.
    Select {
        p1: SessionKey,
        p2: SessionKey,
        /// S1's part of the bit confirmations.
        seed: Zeroizing<[u8; 32]>,
        /// What its sender commits to, in an accountable group.
        commitment: Option<Box<Commitment>>,
    },
    /// Of a query: the seed of P1. In a large group P1 has kilobytes, and is made anew for each server.
    Query(Zeroizing<[u8; 32]>),
}

impl Secrets {
    /// The secret of a query, whomever it asks for.
    pub(crate) fn query(rng: &mut impl CryptoRng) -> Secrets {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut seed[..]);
        Secrets::Query(seed)
    }
}

/// The key that `server` gets of a query for the records of `target`: uniform by itself, whoever that is.
pub(crate) fn query_key(
    seed: &[u8; 32],
    members: u32,
    target: Option<MemberIndex>,
    server: ServerSide,
) -> Result<SessionKey, ProtocolError> {
    let (p1, p2) = session_key::dial(members, target.as_slice(), &mut StdRng::from_seed(*seed))?;
    Ok(match server {
        ServerSide::One => p1,
        ServerSide::Two => p2,
    })
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Dial {
    /// Its number and secrets, where they are drawn and still needed.
    pub(crate) fn secrets(&self) -> Option<(u64, &Secrets)> {
        self.id.zip(self.secrets.as_ref())
    }

    /// `aim`: none of a query, which is not what records are sent with.
    pub(crate) fn draw(
        &mut self,
        id: u64,
        secrets: Secrets,
        aim: Option<Aim>,
        recipient: Option<MemberIndex>,
    ) {
        let recipient = Zeroizing::new(recipient.map(|member| member.0));
        *self = Dial { id: Some(id), secrets: Some(secrets), aim, recipient, ..Dial::default() };
    }

    /// The one member that it reaches, if it is one. Of a query: whose records it asks for.
    pub(crate) fn recipient(&self) -> Option<MemberIndex> {
        self.recipient.map(MemberIndex)
    }

    /// Whether it was drawn, by this client.
    pub(crate) fn is_drawn(&self) -> bool {
        self.id.is_some()
    }

    /// Whether `server` says that some dial is in effect.
    pub(crate) fn is_acknowledged(&self, server: ServerSide) -> bool {
        self.acknowledged[server.index()].is_some()
    }

    /// Everything that `server` gets of the confirmations is made. Once both have theirs, the secrets are forgotten.
    pub(crate) fn finish(&mut self, server: ServerSide) {
        self.finished[server.index()] = true;
        if self.finished == [true; 2] {
            self.secrets = None;
        }
    }

    /// The secrets are not needed any more.
    pub(crate) fn forget(&mut self) {
        self.secrets = None;
    }

    /// `server` says that the dial of this number is in effect; false if it said so of another number before.
    pub(crate) fn acknowledge(&mut self, server: ServerSide, id: u64) -> bool {
        *self.acknowledged[server.index()].get_or_insert(id) == id
    }

    /// Whether `server` may have the secrets that are kept: they are those of the dial that it says is in effect.
    pub(crate) fn is_of(&self, server: ServerSide) -> bool {
        self.id.is_some() && self.id == self.acknowledged[server.index()]
    }

    /// `server` says that it is void.
    pub(crate) fn revoke(&mut self, server: ServerSide) {
        self.acknowledged[server.index()] = None;
    }

    /// Whether both servers say that the same dial is in effect.
    pub(crate) fn is_effective(&self) -> bool {
        matches!(self.acknowledged, [Some(one), Some(two)] if one == two)
    }

    /// Whether the one in effect is the one that this client drew.
    pub(crate) fn is_own(&self) -> bool {
        self.is_effective() && self.id == self.acknowledged[0]
    }

    /// What is needed to send, if the dial in effect is this client's own.
    pub(crate) fn aim(&self) -> Option<&Aim> {
        self.aim.as_ref().filter(|_| self.is_own())
    }

    /// The connections are new: what was asked for on the old ones may be asked for again, but for S2's confirmations
    /// that are begun.
    pub(crate) fn reconnect(&mut self) {
        self.granted = [false, self.begun];
    }
}
