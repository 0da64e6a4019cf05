//! The frames that a server of an accountable group signs: as long as the group makes them, and no longer.

use crate::client::Client;
use crate::error::{ClientError, field};
use crate::limits::SLOTS_MAX;
use crate::stream::{Frame, Stream};
use twincast_protocol::accountable::headers::{Headers, entry_bytes};
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::{RoundNumber, ServerSide};
use twincast_protocol::receive::TILE_SENDERS;
use twincast_protocol::statements::HASH_BYTES;
use twincast_protocol::wire::{
    Body, Code, Deliver, HEADER_BYTES, Header, HeadersHead, Kind, RoundEnd, SignedRoundEnd,
};

/// How long a server's signed frames may be, and what they have to agree with.
#[derive(Debug, Default)]
pub(crate) struct SignedFrames {
    round_end_bytes_max: usize,
    headers_bytes_max: usize,
    /// The tiles that came of the round that is delivered, with the `present` word of each: the receipt repeats them.
    delivered: Vec<(u32, u64)>,
}

impl SignedFrames {
    /// The server describes an epoch of so many members, of whom `users` are this client's at most.
    fn expect(&mut self, members: u32, slots: u32, users: usize) {
        assert!(slots <= SLOTS_MAX, "a group's slots were checked");
        let round_end_bytes = SignedRoundEnd::body_bytes(members, users.min(members as usize));
        // No path is longer than the tree is high.
        let height = |leaves: u32| leaves.next_power_of_two().ilog2();
        let tiles = members.div_ceil(TILE_SENDERS as u32);
        let path_bytes = height(tiles * slots) as usize * HASH_BYTES;
        let entries_bytes = TILE_SENDERS.min(members as usize) * entry_bytes(slots, height(members));
        let headers_bytes = size_of::<HeadersHead>() + path_bytes + entries_bytes + SIGNATURE_BYTES;
        self.round_end_bytes_max = self.round_end_bytes_max.max(round_end_bytes);
        self.headers_bytes_max = self.headers_bytes_max.max(headers_bytes);
    }

    /// A tile of messages comes.
    pub(crate) fn deliver(&mut self, first: bool, deliver: &Deliver) {
        if first {
            self.delivered.clear();
        }
        self.delivered.push((deliver.tile.get(), deliver.present.get()));
    }
}

impl Stream {
    /// The server describes an epoch of so many members, of whom `users` are this client's at most.
    pub(crate) fn expect_signed(&mut self, members: u32, slots: u32, users: usize) {
        let signed = self.signed.get_or_insert_default();
        signed.expect(members, slots, users);
        let bytes = signed.round_end_bytes_max.max(signed.headers_bytes_max);
        self.inbound.fit(HEADER_BYTES + bytes);
    }

    /// The next frame and its bytes, if it is there whole and one of those that are signed; of either no more is read
    /// than the head.
    pub(crate) fn peek_signed(
        &self,
        signed: &SignedFrames,
        header: Header,
    ) -> Result<Option<(Frame, usize)>, ClientError> {
        let Header { kind, body_bytes } = header;
        let (fixed, most) = match kind {
            Kind::RoundEnd => (SignedRoundEnd::body_bytes(1, 0), signed.round_end_bytes_max),
            _ => (size_of::<HeadersHead>(), signed.headers_bytes_max),
        };
        let bytes = body_bytes as usize;
        let length_wrong = |_: Code| ClientError::Length { server: self.server, kind, body_bytes };
        if bytes < fixed || bytes > most {
            return Err(length_wrong(Code::LengthWrong));
        }
        let Some(body) = self.inbound.data().get(HEADER_BYTES..HEADER_BYTES + bytes) else {
            return Ok(None);
        };
        let frame = match kind {
            Kind::RoundEnd => Frame::RoundEnd(RoundEnd::parse_prefix(body).map_err(length_wrong)?.0),
            _ => Frame::Headers(HeadersHead::parse_prefix(body).map_err(length_wrong)?.0),
        };
        Ok(Some((frame, HEADER_BYTES + bytes)))
    }

    /// The body of the frame that comes next, which is there whole.
    fn body(&self) -> &[u8] {
        let data = self.inbound.data();
        let body_bytes = data.first_chunk().and_then(|header| Header::parse(header).ok());
        &data[HEADER_BYTES..][..body_bytes.map_or(0, |header| header.body_bytes as usize)]
    }

    /// The HEADERS that come next.
    pub(crate) fn read_headers(&self) -> Result<Headers, ClientError> {
        let (server, body) = (self.server, self.body());
        Headers::read(body).map_err(|code| match code {
            Code::LengthWrong => {
                ClientError::Length { server, kind: Kind::Headers, body_bytes: body.len() as u32 }
            }
            code => ClientError::Form { server, code },
        })
    }
}

impl Client {
    /// Reads what `server` signs at the end of a round of the epoch that runs. `whole`: this client has read all that
    /// was delivered of it, and the receipt has to name the same senders.
    pub(crate) fn signed_end(
        &mut self,
        server: ServerSide,
        round: RoundNumber,
        whole: bool,
    ) -> Result<(), ClientError> {
        let kind = Kind::RoundEnd;
        let stream = &self.streams[server.index()];
        let (Some(signed), Some(session), Some(group)) = (&stream.signed, self.sessions.front(), &self.group)
        else {
            return Ok(());
        };
        let body = stream.body();
        let length_wrong = |_| ClientError::Length { server, kind, body_bytes: body.len() as u32 };
        let end = SignedRoundEnd::read(body, session.members()).map_err(length_wrong)?;
        field(server, kind, "users", end.roots.len() as u64, session.users.len() as u64)?;
        if whole && stream.tiles_in_round > 0 {
            for (tile, present) in &signed.delivered {
                field(server, kind, "present", end.present[*tile as usize], *present)?;
            }
        }
        self.accounts.remember(session);
        self.accounts.ends.take(server, session.epoch, round, end, group.header_rounds);
        Ok(())
    }
}
