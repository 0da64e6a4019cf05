//! What one server sends: its frames, and how far it has come.

use crate::error::ClientError;
use crate::inbound::Inbound;
use crate::key::Key;
use crate::limits::{CELL_BYTES_MAX, SMALL_BODY_BYTES_MAX, TILE_SENDERS};
use crate::observer::Tile;
use crate::outbound::Outbound;
use twincast_protocol::ids::{RoundNumber, ServerSide};
use twincast_protocol::wire::{
    Body, Code, DELIVER_HEAD_BYTES, Deliver, Dialled, EpochOpen, ErrorFrame, Grant, HEADER_BYTES, Header,
    Kind, RoundEnd, RoundSkipped, SENTENCE_BYTES_MAX, Welcome,
};

/// One of the two connections.
pub(crate) struct Stream {
    pub(crate) server: ServerSide,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    pub(crate) welcome: Option<Welcome>,
    /// The epoch's first round, once this server has opened it.
    pub(crate) open: Option<RoundNumber>,
    /// No tile below this key comes from this server any more.
    pub(crate) floor: Key,
    /// The delivery whose cells come next.
    pub(crate) delivery: Option<Delivery>,
    /// Tiles of messages that it has delivered of its round.
    pub(crate) tiles_in_round: u32,
    /// The next grant is for this (slot, first sender) or a later one.
    pub(crate) grant_floor: (u32, u32),
    /// No more bytes come.
    pub(crate) closed: bool,
}

/// A delivery of which cells are still to come or to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) key: Key,
    pub(crate) tile: Tile,
    pub(crate) present: u64,
    /// The position of the user whose cells come next.
    pub(crate) position: usize,
    /// Bytes of one user's cells.
    pub(crate) piece_bytes: usize,
    /// Bytes of all cells that are not read yet.
    pub(crate) left: usize,
    /// Its verdicts are out already: what is left is dropped as it comes.
    pub(crate) dropped: bool,
}

/// A frame that is there, or for DELIVER its head.
#[derive(Debug)]
pub(crate) enum Frame {
    Welcome(Welcome),
    Dialled(Dialled),
    Grant(Grant),
    EpochOpen(EpochOpen),
    Deliver(Deliver),
    RoundEnd(RoundEnd),
    RoundSkipped(RoundSkipped),
    Error(ErrorFrame, String),
}

impl Stream {
    pub(crate) fn new(server: ServerSide) -> Stream {
        Stream {
            server,
            inbound: Inbound::new(),
            outbound: Outbound::default(),
            welcome: None,
            open: None,
            floor: Key::FIRST,
            delivery: None,
            tiles_in_round: 0,
            grant_floor: (0, 0),
            closed: false,
        }
    }

    /// The next frame and its bytes, if all of it is there. Reads nothing.
    pub(crate) fn peek(&self) -> Result<Option<(Frame, usize)>, ClientError> {
        let server = self.server;
        let data = self.inbound.data();
        let Some(header) = data.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let Header { kind, body_bytes } =
            Header::parse(header).map_err(|code| ClientError::Form { server, code })?;
        let length_wrong = |_: Code| ClientError::Length { server, kind, body_bytes };
        if kind == Kind::Deliver {
            let Some(head) = data.get(HEADER_BYTES..DELIVER_HEAD_BYTES) else { return Ok(None) };
            // The product of three u32 is formed only once it cannot overflow.
            let sizes = Deliver::parse(head).map_err(length_wrong)?;
            if sizes.senders.get() > TILE_SENDERS || sizes.cell_bytes.get() > CELL_BYTES_MAX {
                return Err(length_wrong(Code::LengthWrong));
            }
            let deliver = Deliver::read(head, body_bytes).map_err(length_wrong)?;
            return Ok(Some((Frame::Deliver(deliver), DELIVER_HEAD_BYTES)));
        }
        let (fixed, tail_max) = match kind {
            Kind::Welcome => (size_of::<Welcome>(), 0),
            Kind::Dialled => (size_of::<Dialled>(), 0),
            Kind::Grant => (size_of::<Grant>(), 0),
            Kind::EpochOpen => (size_of::<EpochOpen>(), 0),
            Kind::RoundEnd => (size_of::<RoundEnd>(), 0),
            Kind::RoundSkipped => (size_of::<RoundSkipped>(), 0),
            Kind::Error => (size_of::<ErrorFrame>(), SENTENCE_BYTES_MAX),
            _ => return Err(ClientError::Unexpected { server, kind, when: "that only clients send" }),
        };
        let bytes = body_bytes as usize;
        if bytes < fixed || bytes > fixed + tail_max {
            return Err(length_wrong(Code::LengthWrong));
        }
        debug_assert!(bytes <= SMALL_BODY_BYTES_MAX);
        let Some(body) = data.get(HEADER_BYTES..HEADER_BYTES + bytes) else { return Ok(None) };
        let frame = match kind {
            Kind::Welcome => Welcome::parse(body).map(Frame::Welcome),
            Kind::Dialled => Dialled::parse(body).map(Frame::Dialled),
            Kind::Grant => Grant::parse(body).map(Frame::Grant),
            Kind::EpochOpen => EpochOpen::parse(body).map(Frame::EpochOpen),
            Kind::RoundEnd => RoundEnd::parse(body).map(Frame::RoundEnd),
            Kind::RoundSkipped => RoundSkipped::parse(body).map(Frame::RoundSkipped),
            _ => ErrorFrame::read(body).map(|(head, sentence)| Frame::Error(head, sentence.to_owned())),
        };
        Ok(Some((frame.map_err(length_wrong)?, HEADER_BYTES + bytes)))
    }

    /// The cells of the delivery's next user, if they are all there.
    #[inline]
    pub(crate) fn piece(&self, piece_bytes: usize) -> Option<&[u8]> {
        self.inbound.data().get(..piece_bytes)
    }

    /// The delivery's next user is done.
    #[inline]
    pub(crate) fn piece_read(&mut self) {
        let Some(delivery) = &mut self.delivery else { return };
        self.inbound.consume(delivery.piece_bytes);
        delivery.left -= delivery.piece_bytes;
        delivery.position += 1;
        if delivery.left == 0 {
            self.floor = delivery.key.next();
            self.delivery = None;
        }
    }

    /// Drops what is there of a delivery that nobody waits for. Whether that was anything.
    pub(crate) fn drop_cells(&mut self) -> bool {
        let Some(delivery) = &mut self.delivery else { return false };
        let bytes = delivery.left.min(self.inbound.data().len());
        delivery.left -= bytes;
        self.inbound.consume(bytes);
        let done = delivery.left == 0;
        if done {
            self.floor = delivery.key.next();
            self.delivery = None;
        }
        bytes > 0 || done
    }

    /// Gives up on what cannot become complete any more, once no more bytes come. Whether there was anything.
    pub(crate) fn give_up(&mut self) -> bool {
        let cut = match &self.delivery {
            Some(delivery) => delivery.dropped || self.inbound.data().len() < delivery.piece_bytes,
            None => matches!(self.peek(), Ok(None)),
        };
        let give_up = self.closed && cut && self.floor != Key::LAST;
        if give_up {
            self.inbound.consume(self.inbound.data().len());
            self.delivery = None;
            self.floor = Key::LAST;
        }
        give_up
    }
}
