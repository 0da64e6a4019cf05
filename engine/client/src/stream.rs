//! What one server sends: its frames, and how far it has come.

use crate::accountable::SignedFrames;
use crate::channel::ChannelSettings;
use crate::error::{ClientError, below};
use crate::inbound::Inbound;
use crate::key::{Class, Key};
use crate::limits::{CELL_BYTES_MAX, ROUND_MAX, SEND_BYTES, SMALL_BODY_BYTES_MAX, TILE_SENDERS};
use crate::line::{Line, Watch};
use crate::observer::Tile;
use crate::outbound::Outbound;
use crate::roster::Said;
use rand::CryptoRng;
use twincast_protocol::answer::table::Digest;
use twincast_protocol::channel::ChannelError;
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, UserId};
use twincast_protocol::statements::Binding;
use twincast_protocol::wire::{
    ANSWERS_HEAD_BYTES, AbsentTile, Announce, Answers, Body, Code, DELIVER_HEAD_BYTES, Deliver, Dialled,
    EpochOpen, ErrorFrame, Grant, HEADER_BYTES, Header, HeadersHead, Kind, ROSTER_USERS_MAX, Roster,
    RoundEnd, RoundSkipped, SENTENCE_BYTES_MAX, Welcome,
};

/// One of the two connections.
pub(crate) struct Stream {
    pub(crate) server: ServerSide,
    /// The private channel that everything goes through, if there is one.
    line: Option<Box<Line>>,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    pub(crate) welcome: Option<Welcome>,
    /// Epochs that it described, and the other server did not yet.
    pub(crate) said: Vec<Said>,
    /// The epoch that runs there, or is dialled while none does.
    pub(crate) epoch: Epoch,
    /// Whether that epoch is open.
    pub(crate) open: bool,
    /// It gave up everything that it described, for the other server is in another epoch.
    pub(crate) gave_up: bool,
    /// No tile below this key comes from this server any more, but what is fetched.
    pub(crate) floor: Key,
    /// The round whose tiles come next.
    pub(crate) round: RoundNumber,
    /// Whether it is known where in the order of rounds it is: not until the first frame of a round, for a client
    /// that came while the epoch was open.
    pub(crate) in_step: bool,
    /// The round of which tiles went by that this client did not read, or never got.
    pub(crate) partial: Option<RoundNumber>,
    /// The delivery whose cells come next.
    pub(crate) delivery: Option<Delivery>,
    /// Whom the last ANSWERS that it began list as absent, until both servers' are compared.
    pub(crate) absent: Vec<AbsentTile>,
    /// The longest such list that there can be, in tiles: of the largest epoch that it described.
    absent_tiles_max: u32,
    /// What it signs besides, in an accountable group.
    pub(crate) signed: Option<SignedFrames>,
    /// Tiles of messages that it has delivered of its round.
    pub(crate) tiles_in_round: u32,
    /// The tiles that are fetched and not there yet.
    pub(crate) fetching: Option<Fetching>,
    /// FETCHes of an epoch that was over before they got there: their refusals are still to come.
    pub(crate) stale_fetches: u32,
    /// No more bytes come.
    pub(crate) closed: bool,
}

/// A FETCH that is not all answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetching {
    /// The tile that comes next.
    pub(crate) next: Key,
    /// How many are to come.
    pub(crate) left: u32,
    /// The other server refused them: they are dropped.
    pub(crate) dropped: bool,
}

/// What a delivery is, for its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kin {
    /// One for all, in the order of keys.
    InOrder,
    /// The answer to a FETCH.
    Fetched,
    /// Of an epoch that is over.
    Stray,
}

/// A delivery of which cells are still to come or to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) key: Key,
    pub(crate) tile: Tile,
    pub(crate) present: u64,
    /// Senders whose parts the server did not keep.
    pub(crate) lost: u64,
    /// The position of the user whose cells come next.
    pub(crate) position: usize,
    /// Bytes of one user's cells.
    pub(crate) piece_bytes: usize,
    /// Bytes of all cells that are not read yet.
    pub(crate) left: usize,
    pub(crate) kin: Kin,
    /// The root that comes with the answers of a round; with nothing else does the round end.
    pub(crate) root: Option<Digest>,
    /// Nobody reads it, or its verdicts are out already: what is left is dropped as it comes.
    pub(crate) dropped: bool,
}

/// A frame that is there, or of DELIVER its head, or of ANSWERS its head and the list of who is absent.
#[derive(Debug)]
pub(crate) enum Frame {
    Welcome(Welcome),
    Announce(Announce),
    Roster(Roster, Vec<UserId>),
    Dialled(Dialled),
    Grant(Grant),
    EpochOpen(EpochOpen),
    Deliver(Deliver),
    RoundEnd(RoundEnd),
    RoundSkipped(RoundSkipped),
    Answers(Answers),
    Headers(HeadersHead),
    Error(ErrorFrame, String),
}

impl Frame {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Frame::Welcome(_) => Kind::Welcome,
            Frame::Announce(_) => Kind::Announce,
            Frame::Roster(..) => Kind::Roster,
            Frame::Dialled(_) => Kind::Dialled,
            Frame::Grant(_) => Kind::Grant,
            Frame::EpochOpen(_) => Kind::EpochOpen,
            Frame::Deliver(_) => Kind::Deliver,
            Frame::RoundEnd(_) => Kind::RoundEnd,
            Frame::RoundSkipped(_) => Kind::RoundSkipped,
            Frame::Answers(_) => Kind::Answers,
            Frame::Headers(_) => Kind::Headers,
            Frame::Error(..) => Kind::Error,
        }
    }
}

impl Stream {
    pub(crate) fn new(server: ServerSide, channel: &ChannelSettings) -> Stream {
        Stream {
            server,
            line: channel.key_of(server).map(|key| Box::new(Line::new(server, key))),
            inbound: Inbound::new(),
            outbound: Outbound::default(),
            welcome: None,
            said: Vec::new(),
            epoch: Epoch(0),
            open: false,
            gave_up: false,
            floor: Key::start(Epoch(0)),
            round: RoundNumber::FIRST,
            in_step: true,
            partial: None,
            delivery: None,
            absent: Vec::new(),
            absent_tiles_max: 0,
            signed: None,
            tiles_in_round: 0,
            fetching: None,
            stale_fetches: 0,
            closed: false,
        }
    }

    /// Where bytes from the server go; empty when there is no room.
    pub(crate) fn space(&mut self, may_grow: bool) -> &mut [u8] {
        match &mut self.line {
            None => self.inbound.space(may_grow),
            Some(line) => {
                line.open(&mut self.inbound, may_grow);
                line.space()
            }
        }
    }

    /// `bytes` bytes from the server were written to the front of [`space`](Stream::space).
    ///
    /// # Panics
    /// When there was less room than that.
    pub(crate) fn filled(&mut self, bytes: usize) {
        match &mut self.line {
            None => self.inbound.filled(bytes),
            Some(line) => {
                line.filled(bytes);
                line.open(&mut self.inbound, false);
            }
        }
    }

    /// Shows somebody what goes through its private channel, if there is one.
    pub(crate) fn watch(&mut self, watch: Watch) {
        if let Some(line) = &mut self.line {
            line.watch(watch);
        }
    }

    /// Opens records that came, as far as there is room now. Whether there were any.
    pub(crate) fn open(&mut self) -> bool {
        let Stream { line, inbound, .. } = self;
        line.as_mut().is_some_and(|line| line.open(inbound, false))
    }

    /// What is wrong with its channel, if anything is: nothing comes through it any more.
    pub(crate) fn broken(&self) -> Option<ChannelError> {
        self.line.as_ref()?.broken()
    }

    /// What a proof is tied to, once frames can be made for the server.
    pub(crate) fn binding(&self) -> Option<Binding> {
        self.line.as_ref().map_or(Some(Binding::PLAIN), |line| line.binding())
    }

    /// Whether a private channel is still to be begun.
    pub(crate) fn begins(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.begins())
    }

    /// Begins the private channel, if that is still to be done.
    pub(crate) fn begin(&mut self, rng: &mut impl CryptoRng) {
        if let Some(line) = &mut self.line {
            line.begin(rng);
        }
    }

    /// Seals what was made, as far as it is to be sent next.
    pub(crate) fn seal(&mut self) {
        if let Some(line) = &mut self.line {
            line.seal(&mut self.outbound.made);
        }
    }

    /// What is to be sent next, if it is [sealed](Stream::seal).
    pub(crate) fn unsent(&self) -> &[u8] {
        self.line.as_ref().map_or(self.outbound.made.unsent(), |line| line.unsent())
    }

    /// The first `bytes` of [`unsent`](Stream::unsent) are sent.
    ///
    /// # Panics
    /// When there are fewer.
    pub(crate) fn sent(&mut self, bytes: usize) {
        match &mut self.line {
            None => self.outbound.made.sent(bytes),
            Some(line) => line.sent(bytes),
        }
    }

    /// Bytes that are made and not sent.
    fn unsent_bytes(&self) -> usize {
        let sealed = self.line.as_ref().map_or(0, |line| line.unsent().len());
        self.outbound.made.unsent().len() + sealed
    }

    /// Whether everything that was made is sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.unsent_bytes() == 0
    }

    /// Whether so much is made already that no more should be.
    pub(crate) fn is_full(&self) -> bool {
        self.unsent_bytes() >= SEND_BYTES
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
            let sizes = Deliver::parse(head).map_err(length_wrong)?;
            if sizes.senders.get() > TILE_SENDERS || sizes.cell_bytes.get() > CELL_BYTES_MAX {
                return Err(length_wrong(Code::LengthWrong));
            }
            let deliver = Deliver::read(head, body_bytes).map_err(length_wrong)?;
            return Ok(Some((Frame::Deliver(deliver), DELIVER_HEAD_BYTES)));
        }
        if kind == Kind::Answers {
            let Some(head) = data.get(HEADER_BYTES..ANSWERS_HEAD_BYTES) else { return Ok(None) };
            let answers = Answers::read(head, body_bytes).map_err(|code| match code {
                Code::LengthWrong => length_wrong(code),
                code => ClientError::Form { server, code },
            })?;
            let tiles = answers.absent_tiles.get();
            below(server, kind, "absent_tiles", tiles, self.absent_tiles_max + 1)?;
            let bytes = ANSWERS_HEAD_BYTES + answers.absent_bytes() as usize;
            return Ok((data.len() >= bytes).then_some((Frame::Answers(answers), bytes)));
        }
        if let (Kind::RoundEnd | Kind::Headers, Some(signed)) = (kind, &self.signed) {
            return self.peek_signed(signed, Header { kind, body_bytes });
        }
        let (fixed, tail_max) = match kind {
            Kind::Welcome => (size_of::<Welcome>(), 0),
            Kind::Announce => (size_of::<Announce>(), 0),
            Kind::Roster => (size_of::<Roster>(), 4 * ROSTER_USERS_MAX as usize),
            Kind::Dialled => (size_of::<Dialled>(), 0),
            Kind::Grant => (size_of::<Grant>(), 0),
            Kind::EpochOpen => (size_of::<EpochOpen>(), 0),
            Kind::RoundEnd => (size_of::<RoundEnd>(), 0),
            Kind::RoundSkipped => (size_of::<RoundSkipped>(), 0),
            Kind::Error => (size_of::<ErrorFrame>(), SENTENCE_BYTES_MAX),
            _ => return Err(ClientError::Unexpected { server, kind, when: "that only others send" }),
        };
        let bytes = body_bytes as usize;
        if bytes < fixed || bytes > fixed + tail_max {
            return Err(length_wrong(Code::LengthWrong));
        }
        debug_assert!(bytes <= SMALL_BODY_BYTES_MAX);
        let Some(body) = data.get(HEADER_BYTES..HEADER_BYTES + bytes) else { return Ok(None) };
        let frame = match kind {
            Kind::Welcome => Welcome::parse(body).map(Frame::Welcome),
            Kind::Announce => Announce::parse(body).map(Frame::Announce),
            Kind::Roster => match Roster::read(body) {
                Err(Code::UsersNotAscending) => {
                    return Err(ClientError::OutOfOrder { server, kind, what: "members ascend" });
                }
                read => read.map(|(head, users)| Frame::Roster(head, users)),
            },
            Kind::Dialled => Dialled::parse(body).map(Frame::Dialled),
            Kind::Grant => Grant::parse(body).map(Frame::Grant),
            Kind::EpochOpen => EpochOpen::parse(body).map(Frame::EpochOpen),
            Kind::RoundEnd => RoundEnd::parse(body).map(Frame::RoundEnd),
            Kind::RoundSkipped => RoundSkipped::parse(body).map(Frame::RoundSkipped),
            _ => ErrorFrame::read(body).map(|(head, sentence)| Frame::Error(head, sentence.to_owned())),
        };
        Ok(Some((frame.map_err(length_wrong)?, HEADER_BYTES + bytes)))
    }

    /// It describes an epoch of so many members: the list of all of them, as those who are absent, has to fit in.
    pub(crate) fn expect_members(&mut self, members: u32) {
        self.absent_tiles_max = self.absent_tiles_max.max(members.div_ceil(TILE_SENDERS));
        let list_bytes = self.absent_tiles_max as usize * size_of::<AbsentTile>();
        self.inbound.fit(ANSWERS_HEAD_BYTES + list_bytes);
    }

    /// The list of absent senders that follows the head of ANSWERS, which is not read yet.
    pub(crate) fn absent_list(&self, head: &Answers) -> &[u8] {
        &self.inbound.data()[ANSWERS_HEAD_BYTES..][..head.absent_bytes() as usize]
    }

    /// Everything is given up at this server, and `epoch` is dialled in its place.
    pub(crate) fn start_over(&mut self, epoch: Epoch) {
        (self.gave_up, self.open, self.in_step) = (false, false, true);
        self.epoch = epoch;
        self.floor = Key::start(epoch);
        (self.partial, self.tiles_in_round) = (None, 0);
    }

    /// The epoch that it was asked for parts of is over. All that it answered came before it said so.
    pub(crate) fn stop_fetching(&mut self) {
        self.stale_fetches += u32::from(self.fetching.take().is_some());
    }

    /// It speaks of a round: those before it are left out, if it has not begun one of them. A server that has much to
    /// catch up with does not speak of each.
    pub(crate) fn leave_out_before(&mut self, round: RoundNumber) {
        if self.in_step && round > self.round && round.0 <= ROUND_MAX && self.tiles_in_round == 0 {
            self.round = round;
            self.floor = self.floor.max(Key::round(self.epoch, round));
        }
    }

    /// It goes on to the round after this one.
    pub(crate) fn pass(&mut self, round: RoundNumber) {
        self.in_step = true;
        self.round = round.next();
        self.floor = Key::round(self.epoch, self.round);
        self.tiles_in_round = 0;
    }

    /// Whether it has left out `round` of its epoch without a word, and is still in that epoch.
    pub(crate) fn has_left_out(&self, epoch: Epoch, round: RoundNumber) -> bool {
        !self.gave_up && self.epoch == epoch && self.floor != Key::LAST && self.round > round
    }

    /// The first round of which it still delivers everything.
    pub(crate) fn next_whole_round(&self) -> RoundNumber {
        if self.partial == Some(self.round) { self.round.next() } else { self.round }
    }

    /// Whether no tile of `round` of `epoch` comes from it any more.
    pub(crate) fn is_past(&self, epoch: Epoch, round: RoundNumber) -> bool {
        self.floor >= Key::round(epoch, round.next())
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
            self.delivered();
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
            self.delivered();
        }
        bytes > 0 || done
    }

    /// All cells of the delivery are used.
    fn delivered(&mut self) {
        let Some(delivery) = self.delivery.take() else { return };
        match (delivery.kin, &mut self.fetching) {
            (Kin::InOrder, _) if delivery.root.is_some() => self.pass(delivery.key.round_number()),
            (Kin::InOrder, _) => self.floor = delivery.key.next(),
            (Kin::Fetched, Some(fetching)) => {
                fetching.next = fetching.next.next();
                fetching.left -= 1;
                if fetching.left == 0 {
                    self.fetching = None;
                }
            }
            (Kin::Fetched, None) | (Kin::Stray, _) => {}
        }
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
            self.fetching = None;
            self.floor = Key::LAST;
        }
        give_up
    }

    /// The delivery that waits for the other server, or is being read.
    pub(crate) fn waiting(&self) -> Option<&Delivery> {
        self.delivery.as_ref().filter(|delivery| !delivery.dropped)
    }

    /// Whether cells of messages wait for the other server's.
    pub(crate) fn messages_wait(&self) -> bool {
        self.waiting().is_some_and(|delivery| delivery.key.class() == Class::Messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MEMBERS_MAX;

    #[test]
    fn the_longest_list_of_absent_senders_is_read_whole_and_no_longer_one() {
        let tiles = MEMBERS_MAX.div_ceil(TILE_SENDERS);
        let frame = |tiles: u32| {
            let head = Answers {
                round: 1.into(),
                epoch: 0.into(),
                users: 1.into(),
                queries: 1.into(),
                record_bytes: 352.into(),
                senders_present: 0.into(),
                absent_tiles: tiles.into(),
                root: [0; 32],
            };
            let mut bytes = Vec::new();
            let list_bytes = tiles as usize * size_of::<AbsentTile>();
            head.put(list_bytes + 352, &mut bytes);
            bytes.resize(bytes.len() + list_bytes + 352, 1);
            bytes
        };
        let mut stream = Stream::new(ServerSide::One, &ChannelSettings::Plain);
        stream.expect_members(MEMBERS_MAX);
        stream.expect_members(64);
        for _ in 0..8 {
            let mut bytes = &frame(tiles)[..];
            while let Ok(None) = stream.peek() {
                let space = stream.inbound.space(false);
                let some = space.len().min(bytes.len()).min(20_000);
                assert!(some > 0, "no room for the list");
                space[..some].copy_from_slice(&bytes[..some]);
                stream.inbound.filled(some);
                bytes = &bytes[some..];
            }
            let Ok(Some((Frame::Answers(head), consumed))) = stream.peek() else { panic!("no frame") };
            assert_eq!(stream.absent_list(&head).len(), tiles as usize * 12);
            assert_eq!(consumed, ANSWERS_HEAD_BYTES + tiles as usize * 12);
            stream.inbound.consume(stream.inbound.data().len());
        }
        let longer = frame(tiles + 1);
        stream.inbound.space(false)[..ANSWERS_HEAD_BYTES].copy_from_slice(&longer[..ANSWERS_HEAD_BYTES]);
        stream.inbound.filled(ANSWERS_HEAD_BYTES);
        let error = stream.peek().expect_err("more tiles than there are");
        assert!(matches!(error, ClientError::Field { field: "absent_tiles", .. }), "{error}");
    }
}
