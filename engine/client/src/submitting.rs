//! Submissions: one user's shares of one round, for both servers.

use crate::client::Client;
use crate::decoder::{PLAIN, SEALED};
use crate::error::ClientError;
use crate::event::Event;
use crate::group::{Delivery, GroupSettings, MARK_BYTES};
use crate::observer::{Outbox, Sealing, User};
use crate::sending::{Submission, Workbench};
use crate::session::Session;
use rand::CryptoRng;
use std::fmt;
use twincast_protocol::accountable::upload::{SUBMIT_TAIL_BYTES, UploadOf, half_hashes};
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::error::ProtocolError;
use twincast_protocol::format::{Profile, split, split_one_to_many};
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::sealed::{self, Associated, SEAL_OVERHEAD_BYTES, SealKey};
use twincast_protocol::wire::{Body, Submit};
use zeroize::Zeroizing;

/// Where a message is sent from.
#[derive(Clone, Copy)]
struct Place<'a> {
    group: &'a GroupSettings,
    session: &'a Session,
    round: RoundNumber,
    /// The user's position among those of the epoch.
    position: usize,
    user: User,
    slot: SlotIndex,
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes the shares of one more user, for both servers.
    pub(crate) fn submit_one(
        &mut self,
        rng: &mut impl CryptoRng,
        outbox: &mut impl Outbox,
    ) -> Result<(), ClientError> {
        let Client { streams, sessions, group: Some(group), submissions, alarms, workbench, events, .. } =
            &mut *self
        else {
            return Ok(());
        };
        let (Some(submission), Some(session)) = (submissions.front_mut(), sessions.front()) else {
            submissions.clear();
            return Ok(());
        };
        let Submission { round, position } = *submission;
        submission.position += 1;
        if submission.position >= session.users.len() {
            submissions.pop_front();
        }
        let Some(user) = session.users.get(position).copied() else { return Ok(()) };
        if !session.may_send(group, position) {
            return Ok(());
        }
        if group.delivery == Delivery::Answer {
            let epoch = session.epoch;
            return self.submit_record(epoch, round, user, rng, outbox);
        }
        let place = Place { group, session, round, position, user, slot: SlotIndex(0) };
        if group.accountable && outbox.identity(user.id).is_none() {
            return Err(ClientError::Unsigned { user: user.id });
        }
        let head = Submit::new(round, user.member, std::mem::take(&mut alarms[user.position]));
        let tail_bytes = if group.accountable { SUBMIT_TAIL_BYTES } else { 0 };
        let choice_bytes = if group.dials() { 0 } else { 2 * session.members() as usize };
        let starts = streams.each_mut().map(|stream| {
            let rows_bytes = group.slots as usize * group.format.row_bytes(stream.server);
            let out = stream.outbound.end();
            head.put(choice_bytes + rows_bytes + tail_bytes, out);
            let start = out.len();
            out.resize(start + choice_bytes + rows_bytes + tail_bytes, 0);
            start
        });
        let [out1, out2] = streams.each_mut().map(|stream| stream.outbound.end());
        let [rows1, rows2] = [out1.len() - tail_bytes, out2.len() - tail_bytes];
        let bodies = [&mut out1[starts[0]..rows1], &mut out2[starts[1]..rows2]];
        match group.dials() {
            true => split_slots(place, bodies, workbench, rng, outbox)?,
            false => split_deal(place, bodies, workbench, events, rng, outbox)?,
        }
        if group.accountable {
            for (server, out, start) in
                [(ServerSide::One, out1, starts[0]), (ServerSide::Two, out2, starts[1])]
            {
                place.sign(server, &mut out[start..], outbox)?;
            }
            let epoch = session.epoch;
            self.signed = self.signed.max(Some((epoch, round)));
        }
        outbox.submitted(round, user);
        Ok(())
    }
}

/// The rows of every slot, each with the halves that its dial selects from.
fn split_slots(
    place: Place<'_>,
    bodies: [&mut [u8]; 2],
    workbench: &mut Workbench,
    rng: &mut impl CryptoRng,
    outbox: &mut impl Outbox,
) -> Result<(), ClientError> {
    let Place { group, session, round, position, user, .. } = place;
    let [body1, body2] = bodies;
    let [row1, row2] = ServerSide::BOTH.map(|side| group.format.row_bytes(side));
    let rows = body1.chunks_exact_mut(row1).zip(body2.chunks_exact_mut(row2));
    for (slot, (row1, row2)) in (0..).map(SlotIndex).zip(rows) {
        let place = Place { slot, ..place };
        let dial = &session.dials[position * group.slots as usize + slot.0 as usize];
        // A dial that an earlier client made says enough only where none says anything.
        let blank = if dial.aim().is_none() { workbench.blank_aim(group, rng) } else { None };
        let Some(aim) = dial.aim().or(blank.as_ref()) else { continue };
        let context = place.context();
        let refuse = |reason| ClientError::Message { sender: user.id, slot, round, reason };
        if !group.exchanges_keys() {
            let message = outbox.message(round, user, slot);
            split(&group.format, &context, aim, message, rng, [row1, row2]).map_err(refuse)?;
            continue;
        }
        let recipient = dial.recipient().filter(|_| dial.is_own());
        workbench.message.clear();
        workbench.message.extend_from_slice(outbox.message(round, user, slot));
        let (message, marked) = (&workbench.message[..], &mut workbench.marked);
        match outbox.seal_with(round, user, slot) {
            Some(Sealing::Plain) => place.mark(message, None, marked)?,
            Some(Sealing::Key { key, recipient_set }) => {
                place.mark(message, Some((key, recipient_set)), marked)?;
            }
            None => place.mark(message, recipient.and_then(|member| place.pair_key(member)), marked)?,
        }
        split(&group.format, &context, aim, marked, rng, [row1, row2]).map_err(refuse)?;
    }
    Ok(())
}

/// The choice words and rows of a one-to-many round.
fn split_deal(
    place: Place<'_>,
    bodies: [&mut [u8]; 2],
    workbench: &mut Workbench,
    events: &mut Vec<Event>,
    rng: &mut impl CryptoRng,
    outbox: &mut impl Outbox,
) -> Result<(), ClientError> {
    let Place { group, session, round, user, slot, .. } = place;
    let deal = outbox.deal(round, user);
    let mut messages: Vec<(MemberIndex, &[u8])> = Vec::with_capacity(deal.messages.len());
    for (recipient, message) in deal.messages {
        match session.member(*recipient) {
            Some(member) => messages.push((member, message)),
            None => {
                let (epoch, sender, recipient) = (session.epoch, user.id, *recipient);
                events.push(Event::RecipientGone { epoch, sender, recipient });
            }
        }
    }
    let mut marked: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    if group.exchanges_keys() {
        for (member, message) in &messages {
            let mut with_mark = Zeroizing::new(Vec::new());
            place.mark(message, place.pair_key(*member), &mut with_mark)?;
            marked.push(with_mark);
        }
        for ((_, message), with_mark) in messages.iter_mut().zip(&marked) {
            *message = with_mark;
        }
    }
    let noise = if messages.is_empty() { deal.noise.max(1) } else { deal.noise };
    let members = session.members();
    let [words1, words2] = &mut workbench.choices;
    for words in [&mut *words1, &mut *words2] {
        words.clear();
        words.resize(members as usize, 0);
    }
    let rows_at = 2 * members as usize;
    let [(choices1, row1), (choices2, row2)] = bodies.map(|body| body.split_at_mut(rows_at));
    let context = place.context();
    let (choices, rows) = ([&mut words1[..], &mut words2[..]], [row1, row2]);
    split_one_to_many(&group.format, members, &context, &messages, noise, rng, choices, rows)
        .map_err(|reason| ClientError::Message { sender: user.id, slot, round, reason })?;
    for (words, out) in [(words1, choices1), (words2, choices2)] {
        for (word, out) in words.iter().zip(out.chunks_exact_mut(2)) {
            out.copy_from_slice(&word.to_le_bytes());
        }
    }
    Ok(())
}

impl<'a> Place<'a> {
    fn context(&self) -> Context {
        Context {
            group: self.group.group,
            epoch: self.session.epoch,
            round: self.round,
            sender: self.user.member,
            slot: self.slot,
            purpose: Purpose::Message,
        }
    }

    /// Signs what one server gets: its rows, behind which there is room for the signature.
    fn sign(&self, server: ServerSide, body: &mut [u8], outbox: &mut impl Outbox) -> Result<(), ClientError> {
        let sender = self.user.id;
        let Some(key) = outbox.identity(sender) else { return Err(ClientError::Unsigned { user: sender }) };
        let (rows, tail) = body.split_at_mut(body.len() - SUBMIT_TAIL_BYTES);
        let halves = half_hashes(rows, self.group.format.cell_bytes(server));
        let (group, epoch, round) = (self.group.group, self.session.epoch, self.round);
        let upload = UploadOf { group, epoch, round, sender, server, halves: &halves };
        tail.copy_from_slice(&upload.sign(key));
        Ok(())
    }

    /// The key that the user shares with a member, and the number of that set of one.
    fn pair_key(&self, recipient: MemberIndex) -> Option<(&'a SealKey, u64)> {
        let keys = self.session.exchange.sealing(self.position, recipient)?;
        let id = self.session.roster.get(recipient.0 as usize)?;
        Some((&keys.send, id.0.into()))
    }

    /// Writes the message with its mark, sealed if there is a key. In a profile whose frames have no length a sealed
    /// message fills the frame.
    fn mark(
        &self,
        message: &[u8],
        key: Option<(&SealKey, u64)>,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let (sender, slot, round) = (self.user.id, self.slot, self.round);
        let (bytes, sealed) = (message.len(), key.is_some());
        let bytes_max = self.group.message_bytes_max(sealed);
        let frame_bytes_max = self.group.format.message_bytes_max();
        if bytes > frame_bytes_max {
            let reason = ProtocolError::MessageTooLong { bytes, bytes_max };
            return Err(ClientError::Message { sender, slot, round, reason });
        }
        if bytes > bytes_max || frame_bytes_max < MARK_BYTES {
            return Err(ClientError::MessageInside { sender, slot, round, bytes, bytes_max, sealed });
        }
        out.clear();
        let Some((key, recipient_set)) = key else {
            out.push(PLAIN);
            out.extend_from_slice(message);
            return Ok(());
        };
        let has_length = self.group.format.profile() == Profile::Compact;
        let padded_bytes = if has_length { bytes } else { bytes_max };
        let mut plaintext = Zeroizing::new(message.to_vec());
        plaintext.resize(padded_bytes, 0);
        out.resize(MARK_BYTES + padded_bytes + SEAL_OVERHEAD_BYTES, 0);
        out[0] = SEALED;
        let associated = Associated {
            group: self.group.group,
            epoch: self.session.epoch,
            round,
            sender: self.user.member,
            recipient_set,
            sequence: slot.0.into(),
        };
        sealed::seal(key, &associated, &plaintext, &mut out[MARK_BYTES..]);
        Ok(())
    }
}
