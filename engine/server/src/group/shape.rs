//! What of a group never changes while it lives, and the sizes that follow from it.

use super::accountable::{commitment_bytes, member_bytes, round_bytes};
use super::answer::ROUNDS_OF_ROWS;
use crate::config::{Delivery, GroupConfig, IdentitiesName, RoundMode, SchemeName};
use crate::limits::{
    BOX_FILE_HEAD_BYTES, BOX_REGION_HEAD_BYTES, CONFIRM_TILE_BYTES, CONFIRM_TILES_BUFFERED, EPOCH_MAX,
    FETCHED_BYTES_MAX, FETCHED_USER_BYTES_MAX, HEADERS_ROUNDS_UNSENT, ROUNDS_BUFFERED, TILE_SENDERS,
};
use std::time::Duration;
use twincast_protocol::accountable::dial::DIAL_TAIL_BYTES;
use twincast_protocol::accountable::headers::entry_bytes;
use twincast_protocol::accountable::turn::rounds_kept;
use twincast_protocol::accountable::upload::SUBMIT_TAIL_BYTES;
use twincast_protocol::answer;
use twincast_protocol::format::{Scheme, ShareFormat};
use twincast_protocol::identity;
use twincast_protocol::ids::{Epoch, GroupId, ServerSide};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{AbsentTile, Answers, BODY_BYTES_MAX, Deliver, Dial, SignedRoot, Submit};

/// What of a group never changes while it lives.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The group.
    pub group: GroupId,
    /// Which server this is.
    pub side: ServerSide,
    /// Members of the first epoch.
    pub members: usize,
    /// The most members of any epoch.
    pub members_max: usize,
    /// Slots, K.
    pub slots: usize,
    /// How messages become shares, and every size.
    pub format: ShareFormat,
    /// The way out.
    pub delivery: Delivery,
    /// Whether slots are confirmed.
    pub confirm: bool,
    /// Whether members exchange keys.
    pub keys: bool,
    /// Whether users are registered, and prove who they are.
    pub registered: bool,
    /// Whether members and servers sign what they send.
    pub accountable: bool,
    /// Accountable: every so many rounds each member asks for the headers of one tile.
    pub header_rounds: u64,
    /// When a round is sealed.
    pub round_mode: RoundMode,
    /// Timed rounds: from one seal to the next.
    pub interval: Duration,
    /// Whether something is sealed or signed by the epoch's number, with keys that outlive the epoch.
    pub signs_epochs: bool,
    /// The number of the first epoch, where it is given.
    pub first_epoch: Option<Epoch>,
    /// The Unix clock when the clock of all `now` began.
    pub unix_at_zero: Duration,
    /// Rounds of an epoch; 0 where it has no end.
    pub epoch_rounds: u64,
    /// How many rounds before its first one an epoch is announced.
    pub announce_rounds: u64,
    /// From a round's first submission to its seal; also what clients are told.
    pub round_timeout: Duration,
    /// From the first attachment, or the last round of an epoch, to the end of dialling.
    pub dial_timeout: Duration,
    /// Whether the server is linked to the other one.
    pub linked: bool,
    /// How long the other server's word is waited for.
    pub peer_timeout: Duration,
    /// Delivery `answer`: threads that work on the answers, each of which has a part of them.
    pub answer_threads: usize,
    /// What both servers must have the same.
    pub settings_hash: [u8; 32],
}

impl Shape {
    /// The shape that a configuration asks for on this side, at a server that runs alone.
    ///
    /// # Panics
    /// If the configuration was not checked.
    #[must_use]
    pub fn new(config: &GroupConfig, side: ServerSide) -> Shape {
        Shape {
            group: GroupId(config.id),
            side,
            members: config.members as usize,
            members_max: config.members_most() as usize,
            slots: config.slots as usize,
            format: config.format().expect("the configuration was checked"),
            delivery: config.delivery,
            confirm: config.confirm
                && config.scheme != SchemeName::OneToMany
                && config.delivery == Delivery::Broadcast,
            keys: config.keys && config.delivery == Delivery::Broadcast,
            registered: config.identities == IdentitiesName::Registered,
            accountable: config.accountable,
            header_rounds: config.header_rounds.into(),
            round_mode: config.round_mode,
            interval: Duration::from_millis(config.interval_ms),
            signs_epochs: config.signs_epochs(),
            first_epoch: config.first_epoch.map(Epoch),
            unix_at_zero: Duration::ZERO,
            epoch_rounds: config.epoch_rounds.into(),
            announce_rounds: config.announce_rounds.into(),
            round_timeout: Duration::from_millis(config.round_timeout_ms),
            dial_timeout: Duration::from_millis(config.dial_timeout_ms),
            linked: false,
            peer_timeout: Duration::ZERO,
            answer_threads: 1,
            settings_hash: config.hash(),
        }
    }

    /// The same, at a server with so many answer threads.
    #[must_use]
    pub fn with_answer_threads(self, answer_threads: usize) -> Shape {
        Shape { answer_threads, ..self }
    }

    /// The same, linked to the other server, whose word is waited for so long.
    #[must_use]
    pub fn with_link(self, peer_timeout: Duration) -> Shape {
        Shape { linked: true, peer_timeout, ..self }
    }

    /// The same, at a server whose clock began at this time of the Unix clock.
    #[must_use]
    pub fn with_unix_at_zero(self, unix_at_zero: Duration) -> Shape {
        Shape { unix_at_zero, ..self }
    }

    /// The epoch that a group begins with, unless it may have begun that one before. Records are sealed and signed by their
    /// epoch, as is everything in an accountable group, and with the same keys for as long as members and servers keep them:
    /// where none is given it is the Unix time in seconds, so that two servers that start again begin with about the same
    /// number, whatever each of them has kept.
    #[must_use]
    pub fn first_epoch(&self) -> Epoch {
        let by_clock = || {
            if self.signs_epochs { self.unix_at_zero.as_secs().min((EPOCH_MAX - 1).into()) as u32 } else { 0 }
        };
        self.first_epoch.unwrap_or_else(|| Epoch(by_clock()))
    }

    /// Whether members choose their halves with each submission, and dial nothing.
    #[must_use]
    pub fn chooses_per_round(&self) -> bool {
        matches!(self.format.scheme(), Scheme::OneToMany { .. })
    }

    /// Bytes of a frame.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        match self.delivery {
            Delivery::Broadcast => self.format.frame_bytes(),
            Delivery::Answer => answer::FRAME_BYTES,
        }
    }

    /// Bytes of a cell from this server, or of an answer.
    #[must_use]
    pub fn cell_bytes(&self) -> usize {
        match self.delivery {
            Delivery::Broadcast => self.format.cell_bytes(self.side),
            Delivery::Answer => answer::RECORD_BYTES,
        }
    }

    /// Bytes that a sender gives this server for one slot of a round, or for a whole one where it gives a record.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        match self.delivery {
            Delivery::Broadcast => self.format.row_bytes(self.side),
            Delivery::Answer => answer::RECORD_BYTES,
        }
    }

    /// The queries of an epoch of `members`, where members ask for records.
    ///
    /// # Panics
    /// If there are more than a group may have.
    #[must_use]
    pub fn queries(&self, members: usize) -> Option<twincast_answer::Shape> {
        let shape = || twincast_answer::Shape::new(members, members * self.slots, answer::RECORD_BYTES);
        (self.delivery == Delivery::Answer)
            .then(|| shape().expect("members and slots are within their limits"))
    }

    /// Tiles of messages in a round, of one slot, among `members`.
    #[must_use]
    pub fn tiles(&self, members: usize) -> usize {
        members.div_ceil(TILE_SENDERS)
    }

    /// Senders to a tile of parts among `members`: a power of two that keeps the tile within its limit.
    #[must_use]
    pub fn part_tile_senders(&self, kind: PartKind, members: usize) -> usize {
        let fit = CONFIRM_TILE_BYTES / (members * kind.bytes());
        1 << fit.clamp(1, TILE_SENDERS).ilog2()
    }

    /// The parts that members give at the start of an epoch, and for how many slots, in the order of delivery.
    #[must_use]
    pub fn part_runs(&self) -> Vec<(PartKind, usize)> {
        let confirmations = self.confirm.then_some((PartKind::Confirmation, self.slots));
        let keys = [PartKind::Key, PartKind::KeyReply].map(|kind| self.keys.then_some((kind, 1)));
        confirmations.into_iter().chain(keys.into_iter().flatten()).collect()
    }

    /// Memory that the group takes at the most, in bytes, with as many members as it may have: the session keys and
    /// select words of two epochs, since one is dialled while the other runs; what both servers said of their
    /// dials; S1's seeds; the tiles of the rounds, with their choices; those of the parts; what is made of them for
    /// those who come late, with a sender's parts to make it of.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let (n, slots) = (self.members_max as u64, self.slots as u64);
        let epochs = self.epochs_kept();
        if let Some(queries) = self.queries(self.members_max) {
            return self.answer_memory_bytes(&queries);
        }
        // Rows and select words are both there while the one is made of the other, in one epoch at a time.
        let key = if self.chooses_per_round() { 0 } else { n * n.div_ceil(64) * 8 * slots };
        let keys = (epochs + 1) * key;
        let dials = epochs * n * slots * 2 * size_of::<Option<u64>>() as u64;
        let seeded: u64 = self.part_runs().iter().map(|(_, slots)| *slots as u64).sum();
        let seeds = if self.side == ServerSide::One { epochs * n * seeded * 32 } else { 0 };
        let choices = if self.chooses_per_round() { n * TILE_SENDERS as u64 * 2 } else { 0 };
        let tile = TILE_SENDERS as u64 * self.row_bytes() as u64 + choices;
        let tiles = ROUNDS_BUFFERED as u64 * self.tiles(self.members_max) as u64 * slots * tile;
        let part_tile =
            |kind: PartKind| self.part_tile_senders(kind, self.members_max) as u64 * n * kind.bytes() as u64;
        let parts = self.part_runs().iter().map(|(kind, _)| part_tile(*kind)).max().unwrap_or(0);
        let bytes = self.part_runs().iter().map(|(kind, _)| kind.bytes() as u64).max();
        let fetched = bytes.map_or(0, |bytes| self.fetched_bytes_max_of_group() as u64 + n * bytes);
        let accountable = if self.accountable { self.accountable_memory_bytes() } else { 0 };
        keys + dials + seeds + tiles + CONFIRM_TILES_BUFFERED as u64 * parts + fetched + accountable
    }

    /// What an accountable group takes besides: what was signed of each dial, with its tree; what was signed of the rounds
    /// that are kept, of those that are delivered and of those that take submissions; and what is shown of it and not sent.
    fn accountable_memory_bytes(&self) -> u64 {
        let (n, slots) = (self.members_max, self.slots);
        let dials = n * slots * commitment_bytes(n) + n * member_bytes();
        let rounds = rounds_kept(self.header_rounds as u32) + ROUNDS_BUFFERED + 2;
        // The epoch before keeps its rounds until as many of the next one are kept.
        let rounds = if self.epochs_kept() > 2 { 2 * rounds } else { rounds };
        // No path has more hashes than one of a tree twice as large.
        let hashes = n.next_power_of_two().ilog2() + (slots * self.tiles(n)).next_power_of_two().ilog2();
        let headers = TILE_SENDERS * entry_bytes(slots as u32, hashes);
        let ends = ROUNDS_BUFFERED * n * (size_of::<SignedRoot>() + 8 * self.tiles(n));
        let shown = self.headers_unsent_max(n) * headers + ends;
        self.epochs_kept() * dials as u64 + (rounds * round_bytes(n, slots) + shown) as u64
    }

    /// Answers to FETCH_HEADERS that are made and not sent to a connection that plays so many members, or to all of the
    /// group.
    #[must_use]
    pub fn headers_unsent_max(&self, users: usize) -> usize {
        (users * HEADERS_ROUNDS_UNSENT).div_ceil(self.header_rounds.max(1) as usize).min(users).max(1)
    }

    /// The same where members ask for records: the queries of two epochs; what both servers said of their dials; the
    /// rows of the rounds, and their answers, with the list of who is absent; for each sender of the open round and the next one a digest, and of the
    /// open one what else the two servers say of it where they differ: both their records, a digest, and their
    /// signatures that it is absent, here and on their way to a thread.
    fn answer_memory_bytes(&self, queries: &twincast_answer::Shape) -> u64 {
        let (n, slots, epochs) = (self.members_max as u64, self.slots as u64, self.epochs_at_a_time());
        let dials = epochs * n * slots * 2 * size_of::<Option<u64>>() as u64;
        let table = (queries.tiles() * TILE_SENDERS * answer::RECORD_BYTES) as u64;
        let list = (queries.tiles() * size_of::<AbsentTile>()) as u64;
        let said = 2 * 32 + 2 * answer::RECORD_BYTES as u64 + 32 + 4 * identity::SIGNATURE_BYTES as u64;
        epochs * queries.query_memory_bytes()
            + dials
            + ROUNDS_OF_ROWS as u64 * table
            + ROUNDS_BUFFERED as u64 * (queries.answer_memory_bytes() + list)
            + n * said
    }

    /// Bytes of answers to FETCH that are made and not sent to a connection that plays so many members.
    #[must_use]
    pub fn fetched_bytes_max(&self, users: usize) -> usize {
        (users * FETCHED_USER_BYTES_MAX).min(FETCHED_BYTES_MAX)
    }

    /// The same for all connections of the group together.
    #[must_use]
    pub fn fetched_bytes_max_of_group(&self) -> usize {
        2 * self.fetched_bytes_max(self.members_max)
    }

    /// Epochs that there may be at a time: one is dialled while the other runs, unless the first one has no end.
    #[must_use]
    pub fn epochs_at_a_time(&self) -> u64 {
        if self.epoch_rounds != 0 || self.linked { 2 } else { 1 }
    }

    /// Epochs of which something is kept at a time: what an accountable group's members were given is shown for a while
    /// after their epoch.
    #[must_use]
    pub fn epochs_kept(&self) -> u64 {
        let epochs = self.epochs_at_a_time();
        if self.accountable && epochs > 1 { epochs + 1 } else { epochs }
    }

    /// Bytes that a box of one epoch takes if it has room for all parts of as many members as there may be.
    #[must_use]
    pub fn box_bytes(&self) -> u64 {
        let n = self.members_max as u64;
        let sender = |(kind, slots): &(PartKind, usize)| {
            *slots as u64 * (BOX_REGION_HEAD_BYTES + n * kind.bytes() as u64)
        };
        let senders: u64 = self.part_runs().iter().map(sender).sum();
        if senders == 0 { 0 } else { BOX_FILE_HEAD_BYTES + n * senders }
    }

    /// Members that one connection may play at the most: the cells of any tile for them fit into one frame, or all
    /// answers of a round.
    #[must_use]
    pub fn users_per_connection_max(&self) -> usize {
        if self.delivery == Delivery::Answer {
            let list = self.tiles(self.members_max) * size_of::<AbsentTile>();
            return (BODY_BYTES_MAX as usize - size_of::<Answers>() - list)
                / (self.slots * answer::RECORD_BYTES);
        }
        let parts = self.part_runs().iter().map(|(kind, _)| kind.bytes()).max().unwrap_or(0);
        (BODY_BYTES_MAX as usize - size_of::<Deliver>()) / (TILE_SENDERS * self.cell_bytes().max(parts))
    }

    /// The one valid length of a DIAL's body in an epoch of `members`.
    #[must_use]
    pub fn dial_body_bytes(&self, members: usize) -> usize {
        let tail = if self.accountable { DIAL_TAIL_BYTES } else { 0 };
        size_of::<Dial>() + members.div_ceil(8) + tail
    }

    /// The one valid length of a SUBMIT's body in an epoch of `members`.
    #[must_use]
    pub fn submit_body_bytes(&self, members: usize) -> usize {
        let rows = if self.delivery == Delivery::Answer { 1 } else { self.slots };
        let tail = if self.accountable { SUBMIT_TAIL_BYTES } else { 0 };
        size_of::<Submit>() + self.choice_bytes(members) + rows * self.row_bytes() + tail
    }

    /// Bytes of a submission's choice words in an epoch of `members`; none where halves are dialled.
    #[must_use]
    pub fn choice_bytes(&self, members: usize) -> usize {
        if self.chooses_per_round() { members * 2 } else { 0 }
    }

    /// Bytes of the parts that a sender gives S2 in an epoch of `members`.
    #[must_use]
    pub fn parts_bytes(&self, kind: PartKind, members: usize) -> usize {
        members * kind.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(members: u32, slots: u32) -> Shape {
        let config = GroupConfig {
            slots,
            frame_bytes: 272,
            delivery: Delivery::Answer,
            epoch_rounds: 5,
            ..GroupConfig::new(7, members)
        };
        Shape::new(&config, ServerSide::Two).with_link(Duration::from_secs(1))
    }

    #[test]
    fn a_group_that_answers_says_what_it_takes() {
        // Tiles of the table, and columns of 32 bytes of a record.
        for (members, slots, tiles, columns) in [(130, 2, 3, 11), (10_000, 1, 157, 11), (50_000, 1, 782, 11)]
        {
            let shape = shape(members, slots);
            let (n, k) = (u64::from(members), u64::from(slots));
            let queries = 2 * tiles * n * k * 8;
            let dials = 2 * n * k * 2 * 16;
            let rows = 3 * tiles * 64 * 352;
            let answers = 7 * (n * k * columns * 32 + tiles * 12);
            let said = n * (2 * 32 + 2 * 352 + 32 + 4 * 64);
            assert_eq!(shape.memory_bytes(), queries + dials + rows + answers + said, "{members}");
        }
        // Where queries fill whole pages, a line more a tile.
        let (odd, even) = (shape(1023, 1), shape(1024, 1));
        let [odd, even] = [odd, even].map(|shape| shape.queries(shape.members).unwrap().query_memory_bytes());
        assert_eq!((odd, even), (16 * 1023 * 8, 16 * (1024 + 8) * 8));
    }

    #[test]
    fn a_submission_is_one_record_and_a_frame_has_all_answers() {
        let shape = shape(130, 2);
        assert_eq!((shape.submit_body_bytes(130), shape.row_bytes(), shape.cell_bytes()), (368, 352, 352));
        assert_eq!(
            (shape.frame_bytes(), shape.confirm, shape.keys, shape.choice_bytes(130)),
            (272, false, false, 0)
        );
        let users = shape.users_per_connection_max();
        let bytes = |users: usize| size_of::<Answers>() + 3 * 12 + users * 2 * 352;
        assert!(bytes(users) <= BODY_BYTES_MAX as usize && bytes(users + 1) > BODY_BYTES_MAX as usize);
        let queries = shape.queries(130).unwrap();
        assert_eq!((queries.records(), queries.queries(), queries.record_bytes()), (130, 260, 352));
    }
}
