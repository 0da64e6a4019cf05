//! One sender's dial and one of its rounds, as the two servers hold them, and members who read.

use rand::CryptoRng;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::format::{Aim, Opener, Profile, Scheme, ShareFormat, dial, split};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::receive::{Expected, TileCells};
use twincast_protocol::session_key::SessionKey;

pub(crate) const CONTEXT: Context = Context {
    group: GroupId(1),
    epoch: Epoch(2),
    round: RoundNumber(3),
    sender: MemberIndex(0),
    slot: SlotIndex(0),
    purpose: Purpose::Message,
};

/// What senders write.
pub(crate) const TEXT: &[u8] = b"come to the window";

/// The format of a group with the default frame.
pub(crate) fn format(profile: Profile, scheme: Scheme) -> ShareFormat {
    let frame_bytes = if profile.is_paper() { 256 } else { 288 };
    ShareFormat::new(profile, frame_bytes, scheme).expect("a format")
}

/// One dial: what each server was given, and what only the sender has.
pub(crate) struct Dialled {
    pub(crate) format: ShareFormat,
    pub(crate) keys: [SessionKey; 2],
    aim: Aim,
}

impl Dialled {
    pub(crate) fn new(
        format: ShareFormat,
        members: u32,
        recipients: &[MemberIndex],
        rng: &mut impl CryptoRng,
    ) -> Dialled {
        let (p1, p2, aim) = dial(&format, members, recipients, rng).expect("members");
        Dialled { format, keys: [p1, p2], aim }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        (0..self.keys[0].members()).map(MemberIndex)
    }

    /// One round of this dial.
    pub(crate) fn send(&self, message: &[u8], rng: &mut impl CryptoRng) -> Round {
        let [mut row1, mut row2] = ServerSide::BOTH.map(|side| vec![0; self.format.row_bytes(side)]);
        split(&self.format, &CONTEXT, &self.aim, message, rng, [&mut row1, &mut row2]).expect("it fits");
        let halves = [row1, row2].map(|row| {
            let (half0, half1) = row.split_at(row.len() / 2);
            [half0.to_vec(), half1.to_vec()]
        });
        Round { halves }
    }

    /// The halves that the two servers, if honest, hand to `member`.
    pub(crate) fn bits(&self, member: MemberIndex) -> [usize; 2] {
        self.keys.each_ref().map(|key| usize::from(key.bit(member)))
    }

    /// What a member knows of the dial who was told its bits.
    pub(crate) fn confirmed(&self, member: MemberIndex) -> Expected {
        let [bit1, bit2] = self.bits(member);
        Expected { confirmed: true, real: u64::from(bit1 != bit2), failed: 0 }
    }
}

/// What the servers hold of one round: `halves[server][half]`.
pub(crate) struct Round {
    pub(crate) halves: [[Vec<u8>; 2]; 2],
}

impl Round {
    /// The cells of whoever is handed these halves.
    pub(crate) fn cells(&self, [half1, half2]: [usize; 2]) -> [&[u8]; 2] {
        [&self.halves[0][half1], &self.halves[1][half2]]
    }
}

/// What a member made of its two cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Accept(Vec<u8>),
    Ignore,
    Tampered,
    Incomplete,
}

impl Read {
    /// Whether the member raises its alarm.
    pub(crate) fn alarms(&self) -> bool {
        matches!(self, Read::Tampered | Read::Incomplete)
    }

    pub(crate) fn accepts(&self, message: &[u8]) -> bool {
        // A paper message comes back with its padding.
        matches!(self, Read::Accept(text) if text.starts_with(message))
    }
}

/// A member: an opener that is kept.
pub(crate) struct Reader(Opener);

impl Reader {
    pub(crate) fn new(format: ShareFormat) -> Reader {
        Reader(Opener::new(format))
    }

    /// The verdict on cells that are both there.
    pub(crate) fn read(&mut self, cells: [&[u8]; 2], expected: Expected) -> Read {
        self.read_present(cells, [1, 1], expected)
    }

    pub(crate) fn read_present(&mut self, cells: [&[u8]; 2], present: [u64; 2], expected: Expected) -> Read {
        let verdicts = self.0.open(&CONTEXT, &TileCells { count: 1, cells, present }, expected);
        match (verdicts.accept, verdicts.ignore, verdicts.incomplete) {
            (1, ..) => Read::Accept(self.0.message(0).to_vec()),
            (_, 1, _) => Read::Ignore,
            (.., 1) => Read::Incomplete,
            _ => Read::Tampered,
        }
    }

    /// The verdict of a member who goes by the tag alone.
    pub(crate) fn read_unconfirmed(&mut self, cells: [&[u8]; 2]) -> Read {
        self.read(cells, Expected::UNCONFIRMED)
    }
}
