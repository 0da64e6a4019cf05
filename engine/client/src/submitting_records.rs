//! Submissions of a group whose delivery is `answer`: one user's record of one round, the same for both servers.

use crate::client::Client;
use crate::error::ClientError;
use crate::observer::{Outbox, User};
use rand::CryptoRng;
use twincast_protocol::answer::{RECORD_BYTES, RecordContext, record};
use twincast_protocol::ids::{Epoch, RoundNumber, SlotIndex};
use twincast_protocol::wire::{Body, Submit};

/// A user says one thing in a round, however many queries it has.
const SLOT: SlotIndex = SlotIndex(0);

impl Client {
    /// Makes the record of one user. Nothing where the caller names no author.
    pub(crate) fn submit_record(
        &mut self,
        epoch: Epoch,
        round: RoundNumber,
        user: User,
        rng: &mut impl CryptoRng,
        outbox: &mut impl Outbox,
    ) -> Result<(), ClientError> {
        let Client { settings, streams, alarms, workbench, signed, .. } = self;
        // What the caller says and what it signs with are both its own: one is copied to ask for the other.
        workbench.message.clear();
        workbench.message.extend_from_slice(outbox.message(round, user, SLOT));
        let Some(author) = outbox.author(round, user) else { return Ok(()) };
        *signed = (*signed).max(Some((epoch, round)));
        let context = RecordContext { group: settings.group, epoch, round, sender: user.member };
        let mut bytes = [0; RECORD_BYTES];
        record::make(&context, author.signing, author.readers, &workbench.message, rng, &mut bytes)
            .map_err(|reason| ClientError::Message { sender: user.id, slot: SLOT, round, reason })?;
        let head = Submit::new(round, user.member, std::mem::take(&mut alarms[user.position]));
        for stream in streams {
            let out = stream.outbound.end();
            head.put(RECORD_BYTES, out);
            out.extend_from_slice(&bytes);
        }
        outbox.submitted(round, user);
        Ok(())
    }
}
