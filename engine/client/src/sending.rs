//! Bytes for the servers, made as they are asked for: dials and submissions.

use crate::accountable::commitment::{Commitment, DialOf};
use crate::client::Client;
use crate::dials::{Secrets, query_key};
use crate::error::ClientError;
use crate::event::Event;
use crate::group::{Delivery, GroupSettings};
use crate::observer::{Outbox, User};
use crate::outbound::Outbound;
use crate::session::Session;
use rand::{CryptoRng, RngExt};
use twincast_protocol::format::{self, Aim};
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::wire::{Body, Dial};
use zeroize::{Zeroize, Zeroizing};

/// The submissions of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission {
    pub(crate) round: RoundNumber,
    /// The user whose shares are made next, by its position among the epoch's.
    pub(crate) position: usize,
}

/// Buffers that are used again and again. They hold messages and recipients: wiped on drop.
#[derive(Default)]
pub(crate) struct Workbench {
    /// The members that a dial is for.
    pub(crate) recipients: Vec<MemberIndex>,
    /// A message as the caller gave it.
    pub(crate) message: Vec<u8>,
    /// The same with its mark, and sealed if it is.
    pub(crate) marked: Vec<u8>,
    /// The choice words of a one-to-many round.
    pub(crate) choices: [Vec<u16>; 2],
    /// What is needed to send where a dial says nothing about it.
    blank: Option<Aim>,
}

impl Workbench {
    /// What is needed to send with a dial that an earlier client made, in a format whose dials say nothing about it.
    pub(crate) fn blank_aim(&mut self, group: &GroupSettings, rng: &mut impl CryptoRng) -> Option<Aim> {
        if self.blank.is_none() {
            self.blank = format::dial(&group.format, 1, &[], rng).ok().map(|(_, _, aim)| aim);
        }
        self.blank.clone()
    }
}

impl Drop for Workbench {
    fn drop(&mut self) {
        self.recipients.iter_mut().for_each(|recipient| recipient.0.zeroize());
        self.message.zeroize();
        self.marked.zeroize();
        self.choices.iter_mut().for_each(Zeroize::zeroize);
    }
}

impl Client {
    /// Makes bytes for `server` until there are enough or nothing is left to make.
    pub(crate) fn make_bytes(
        &mut self,
        server: ServerSide,
        rng: &mut impl CryptoRng,
        outbox: &mut impl Outbox,
    ) -> Result<(), ClientError> {
        let index = server.index();
        self.draw_keys(rng);
        if self.group.is_some_and(|group| group.accountable) {
            self.accounts.seed(rng);
        }
        while !self.streams[index].is_full() && self.has_more(server) {
            let turn_has_come = self.turn_has_come();
            let outbound = &mut self.streams[index].outbound;
            if outbound.greets {
                self.greet(server, outbox);
            } else if outbound.begun.is_some() {
                self.more_parts(server, rng);
            } else if turn_has_come {
                self.ask_headers(rng);
            } else if !outbound.frames.is_empty() {
                let frames = std::mem::take(&mut outbound.frames);
                outbound.end().extend_from_slice(&frames);
            } else if self.may_make_submissions() {
                // Both servers' shares are made together, and never inside another frame.
                while self.streams[server.other().index()].outbound.begun.is_some() {
                    self.more_parts(server.other(), rng);
                }
                self.submit_one(rng, outbox)?;
            } else if let Some(position) = self.sessions.iter().position(|session| session.has_dials(server))
            {
                self.dial_one(server, position, rng, outbox)?;
            } else {
                self.begin_parts(server, outbox);
            }
        }
        Ok(())
    }

    /// Whether there is anything left to make for `server`.
    pub(crate) fn has_more(&self, server: ServerSide) -> bool {
        let stream = &self.streams[server.index()];
        let outbound = &stream.outbound;
        if stream.binding().is_none() {
            // Nothing but the handshake is said before the private channel is there.
            return stream.begins();
        }
        outbound.greets
            || outbound.begun.is_some()
            || !outbound.frames.is_empty()
            || self.turn_has_come()
            || self.may_make_submissions()
            || self.sessions.iter().any(|session| session.has_dials(server))
            || self.next_parts(server).is_some()
    }

    /// Makes the next dial of the session at this position for one server. Whichever server comes to it first has it
    /// drawn.
    fn dial_one(
        &mut self,
        server: ServerSide,
        position: usize,
        rng: &mut impl CryptoRng,
        outbox: &mut impl Outbox,
    ) -> Result<(), ClientError> {
        let Client { streams, sessions, group: Some(group), workbench, closed_rounds, events, .. } = self
        else {
            return Ok(());
        };
        let (session, outbound) = (&mut sessions[position], &mut streams[server.index()].outbound);
        let Some(position) = session.take_dial(server) else { return Ok(()) };
        let slots = group.slots as usize;
        let (user, slot) = (session.users[position / slots], SlotIndex((position % slots) as u32));
        if !session.dials[position].is_drawn() {
            let gone = |recipient| {
                events.push(Event::RecipientGone { epoch: session.epoch, sender: user.id, recipient });
            };
            let asked = outbox.recipients(session.epoch, user, slot);
            if group.delivery == Delivery::Answer && asked.iter().any(|other| *other != asked[0]) {
                return Err(ClientError::Query { sender: user.id, slot, asked: asked.len() });
            }
            members_of(session, asked, &mut workbench.recipients, gone);
            let recipients = &workbench.recipients[..];
            let only = match recipients {
                [recipient] => Some(*recipient),
                // The same one, named more than once.
                [recipient, ..] if group.delivery == Delivery::Answer => Some(*recipient),
                _ => None,
            };
            let dial_id = rng.random();
            let (secrets, aim) = match group.delivery {
                Delivery::Answer => {
                    closed_rounds.seed(rng);
                    (Secrets::query(rng), None)
                }
                Delivery::Broadcast => {
                    let (p1, p2, aim) = format::dial(&group.format, session.members(), recipients, rng)
                        .map_err(|reason| ClientError::Recipients { sender: user.id, slot, reason })?;
                    let mut seed = Zeroizing::new([0; 32]);
                    rng.fill_bytes(&mut seed[..]);
                    let commitment = match (group.accountable, outbox.identity(user.id)) {
                        (false, _) => None,
                        (true, None) => return Err(ClientError::Unsigned { user: user.id }),
                        (true, Some(key)) => {
                            let (group, epoch) = (group.group, session.epoch);
                            let dial = DialOf { group, epoch, user, slot, dial_id };
                            Some(Box::new(Commitment::new(&dial, [&p1, &p2], &seed, key, rng)))
                        }
                    };
                    (Secrets::Select { p1, p2, seed, commitment }, Some(aim))
                }
            };
            session.dials[position].draw(dial_id, secrets, aim, only);
        }
        let (dial, members) = (&session.dials[position], session.members());
        let Some((id, secrets)) = dial.secrets() else { return Ok(()) };
        let head = Dial::new(id, session.epoch, user.member, slot);
        match (secrets, server) {
            (Secrets::Select { p1: key, commitment, .. }, ServerSide::One)
            | (Secrets::Select { p2: key, commitment, .. }, ServerSide::Two) => {
                let tail = commitment.as_ref().map(|commitment| commitment.tail(server));
                let tail = tail.as_ref().map_or(&[][..], |tail| &tail[..]);
                put_dial(outbound, head, key.as_bytes(), tail);
            }
            (Secrets::Query(seed), _) => {
                let key = query_key(seed, members, dial.recipient(), server)
                    .map_err(|reason| ClientError::Recipients { sender: user.id, slot, reason })?;
                put_dial(outbound, head, key.as_bytes(), &[]);
            }
        }
        Ok(())
    }
}

fn put_dial(outbound: &mut Outbound, dial: Dial, key: &[u8], tail: &[u8]) {
    let out = outbound.end();
    dial.put(key.len() + tail.len(), out);
    out.extend_from_slice(key);
    out.extend_from_slice(tail);
}

/// The indices of `asked` in the epoch; `gone` is told of those that it does not have.
pub(crate) fn members_of(
    session: &Session,
    asked: &[UserId],
    members: &mut Vec<MemberIndex>,
    mut gone: impl FnMut(UserId),
) {
    members.clear();
    for id in asked {
        match session.member(*id) {
            Some(member) => members.push(member),
            None => gone(*id),
        }
    }
}

impl Session {
    /// Whether `server` is to get another dial.
    fn has_dials(&self, server: ServerSide) -> bool {
        let index = server.index();
        self.opened == [None; 2]
            && (self.next_dial[index] < self.dials.len() || !self.redial[index].is_empty())
    }

    /// The position of the dial that `server` gets next, unless that is in effect there already, of this client or an
    /// earlier one.
    fn take_dial(&mut self, server: ServerSide) -> Option<usize> {
        let index = server.index();
        let position = match self.redial[index].pop_front() {
            Some(position) => position,
            None => {
                self.next_dial[index] += 1;
                self.next_dial[index] - 1
            }
        };
        (!self.dials[position].is_acknowledged(server)).then_some(position)
    }

    /// The user at a position among those of this epoch.
    pub(crate) fn user(&self, position: usize) -> User {
        self.users[position]
    }
}
