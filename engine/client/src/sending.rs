//! Bytes for the servers, made as they are asked for: dials, confirmations, submissions.

use crate::client::{Client, Session};
use crate::dials::Secrets;
use crate::error::ClientError;
use crate::limits::PARTS_MEMBERS;
use crate::observer::{Outbox, User};
use crate::stream::Stream;
use rand::CryptoRng;
use twincast_protocol::compact::{SplitBuffers, split};
use twincast_protocol::confirm::{CONFIRMATION_BYTES, ConfirmationMaker};
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::session_key;
use twincast_protocol::wire::{Body, ConfirmHead, Dial, Submit};

/// The submissions of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission {
    pub(crate) round: RoundNumber,
    /// The user whose shares are made next.
    pub(crate) position: usize,
}

impl Client {
    /// Makes bytes for `server` until there are enough or nothing is left to make.
    pub(crate) fn make_bytes(
        &mut self,
        server: ServerSide,
        rng: &mut impl CryptoRng,
        outbox: &mut impl Outbox,
    ) -> Result<(), ClientError> {
        while !self.streams[server.index()].outbound.is_full() && self.has_more(server) {
            let Client { streams, session: Some(session), users, .. } = self else { return Ok(()) };
            let stream = &mut streams[server.index()];
            if stream.outbound.next_part.is_some() {
                session.more_parts(stream, users, rng);
            } else if session.has_dials(stream) {
                session.dial(stream, users, rng, outbox)?;
            } else if !stream.outbound.wanted.is_empty() {
                session.confirm(stream, users);
            } else {
                session.submit(streams, users, rng, outbox)?;
            }
        }
        Ok(())
    }

    /// Whether there is anything left to make for `server`.
    pub(crate) fn has_more(&self, server: ServerSide) -> bool {
        let Some(session) = &self.session else { return false };
        let stream = &self.streams[server.index()];
        let confirms = !stream.outbound.wanted.is_empty();
        confirms || session.has_dials(stream) || !session.submissions.is_empty()
    }
}

impl Session {
    fn has_dials(&self, stream: &Stream) -> bool {
        stream.open.is_none() && stream.outbound.next_dial < self.dials.len()
    }

    /// Who made the dial at `position`, and for which slot.
    fn dialler(&self, position: usize, users: &[MemberIndex]) -> (User, SlotIndex) {
        let slots = self.group.slots as usize;
        let position_of_user = position / slots;
        let user = User { position: position_of_user, member: users[position_of_user] };
        (user, SlotIndex((position % slots) as u32))
    }

    /// Sends the next dial to one server. Whichever server comes to it first has it drawn.
    fn dial(
        &mut self,
        stream: &mut Stream,
        users: &[MemberIndex],
        rng: &mut impl CryptoRng,
        outbox: &mut impl Outbox,
    ) -> Result<(), ClientError> {
        let position = stream.outbound.next_dial;
        let (user, slot) = self.dialler(position, users);
        let (members, epoch, confirms) = (self.group.members, self.group.epoch, self.group.confirms());
        let dial = &mut self.dials[position];
        if dial.secrets().is_none() {
            let recipients = outbox.recipients(user, slot);
            let (p1, p2) = session_key::dial(members, recipients, rng)
                .map_err(|reason| ClientError::Recipients { sender: user.member, slot, reason })?;
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            dial.draw(Secrets { p1, p2, seed });
        }
        if let Some(secrets) = dial.secrets() {
            let key = match stream.server {
                ServerSide::One => &secrets.p1,
                ServerSide::Two => &secrets.p2,
            };
            let out = stream.outbound.end();
            Dial::new(position as u64 + 1, epoch, user.member, slot).put(key.as_bytes().len(), out);
            out.extend_from_slice(key.as_bytes());
        }
        if !confirms {
            dial.finish(stream.server);
        }
        stream.outbound.next_dial += 1;
        Ok(())
    }

    /// Begins the next confirmations that a server wants: all of them for S1, the head for S2.
    fn confirm(&mut self, stream: &mut Stream, users: &[MemberIndex]) {
        let Some(&position) = stream.outbound.wanted.front() else { return };
        let (user, slot) = self.dialler(position, users);
        let dial = &mut self.dials[position];
        let Some(secrets) = dial.secrets() else {
            stream.outbound.wanted.pop_front();
            return;
        };
        let head = ConfirmHead::new(self.group.epoch, user.member, slot);
        match stream.server {
            ServerSide::One => {
                stream.outbound.end().extend_from_slice(&head.seed_frame(&secrets.seed));
                stream.outbound.wanted.pop_front();
                dial.finish(stream.server);
            }
            ServerSide::Two => {
                head.put(self.group.members as usize * CONFIRMATION_BYTES, stream.outbound.end());
                stream.outbound.next_part = Some(0);
            }
        }
    }

    /// Makes some more parts of the confirmations that were begun for S2.
    fn more_parts(&mut self, stream: &mut Stream, users: &[MemberIndex], rng: &mut impl CryptoRng) {
        let outbound = &mut stream.outbound;
        let (Some(&position), Some(first)) = (outbound.wanted.front(), outbound.next_part) else { return };
        let (user, slot) = self.dialler(position, users);
        let secrets = self.dials[position].secrets().expect("kept until its last part is made");
        let Secrets { p1, p2, seed } = secrets;
        let (group, epoch) = (self.group.group, self.group.epoch);
        let maker = ConfirmationMaker::new(group, epoch, user.member, slot, p1, p2);
        let members = (self.group.members - first).min(PARTS_MEMBERS as u32);
        let out = outbound.end();
        let start = out.len();
        out.resize(start + members as usize * CONFIRMATION_BYTES, 0);
        maker.parts(seed, MemberIndex(first), rng, &mut out[start..]);
        outbound.next_part = Some(first + members);
        if first + members == self.group.members {
            outbound.next_part = None;
            outbound.wanted.pop_front();
            self.dials[position].finish(stream.server);
        }
    }

    /// Makes the shares of one more user, for both servers.
    fn submit(
        &mut self,
        streams: &mut [Stream; 2],
        users: &[MemberIndex],
        rng: &mut impl CryptoRng,
        outbox: &mut impl Outbox,
    ) -> Result<(), ClientError> {
        let Some(submission) = self.submissions.front_mut() else { return Ok(()) };
        let Submission { round, position } = *submission;
        submission.position += 1;
        if submission.position == users.len() {
            self.submissions.pop_front();
        }
        let user = User { position, member: users[position] };
        let slots = self.group.slots as usize;
        if !self.dials[position * slots..][..slots].iter().all(|dial| dial.is_effective()) {
            return Ok(());
        }
        let head = Submit::new(round, user.member, std::mem::take(&mut self.alarms[position]));
        let share_bytes = self.group.frame.share_bytes();
        let [out1, out2] = streams.each_mut().map(|stream| stream.outbound.end());
        for out in [&mut *out1, &mut *out2] {
            head.put(slots * 2 * share_bytes, out);
        }
        for slot in (0..self.group.slots).map(SlotIndex) {
            let context = Context {
                group: self.group.group,
                epoch: self.group.epoch,
                round,
                sender: user.member,
                slot,
                purpose: Purpose::Message,
            };
            let halves = [&mut *out1, &mut *out2].map(|out| {
                let start = out.len();
                out.resize(start + 2 * share_bytes, 0);
                let (half0, half1) = out[start..].split_at_mut(share_bytes);
                [half0, half1]
            });
            let [s1, s2] = halves;
            let message = outbox.message(round, user, slot);
            split(self.group.frame, &context, message, rng, SplitBuffers { s1, s2 })
                .map_err(|reason| ClientError::Message { sender: user.member, slot, round, reason })?;
        }
        outbox.submitted(round, user);
        Ok(())
    }
}
