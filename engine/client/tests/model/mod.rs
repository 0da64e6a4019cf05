//! Two servers in memory, as `engine/docs/WIRE.md` has them and as naive as can be, and a group of clients.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]

mod callers;
mod channel;
mod records;
mod server;
mod signing;
mod world;

pub use callers::{Reads, Record, Workload};
pub use channel::{End, Ends};
pub use records::{Heard, Keys, frames};
pub use server::Server;
pub use signing::{Books, Lie, Mischief, server_key, user_key};
pub use world::{Player, World};

use std::time::Duration;
use twincast_client::{ChannelSettings, ClientSettings};
use twincast_protocol::answer;
use twincast_protocol::format::{Profile, Scheme, ShareFormat};
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Welcome, roster_hash};

pub const GROUP: GroupId = GroupId(7);
/// The epoch that a world begins with.
pub const EPOCH: Epoch = Epoch(3);
pub const FRAME_BYTES: u32 = 48;
pub const SHARE_BYTES: usize = FRAME_BYTES as usize + 48;
pub const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub members: u32,
    pub slots: u32,
    pub confirm_tile_senders: u32,
    pub key_tile_senders: u32,
    pub profile: Profile,
    pub scheme: Scheme,
    pub frame_bytes: u32,
    /// Whether members get answers, and not cells.
    pub answer: bool,
    /// Rounds from one turn of a member to the next; 0 where the group is not accountable.
    pub header_rounds: u32,
}

/// A compact group of five members.
pub const SMALL: Shape = Shape {
    members: 5,
    slots: 1,
    confirm_tile_senders: 64,
    key_tile_senders: 0,
    profile: Profile::Compact,
    scheme: Scheme::Plain,
    frame_bytes: FRAME_BYTES,
    answer: false,
    header_rounds: 0,
};

/// Five members with two queries each.
pub const ANSWERED: Shape = Shape {
    slots: 2,
    confirm_tile_senders: 0,
    frame_bytes: answer::FRAME_BYTES as u32,
    answer: true,
    ..SMALL
};

/// What users are called who are members of the first epoch: there are others between them.
pub fn id(member: u32) -> UserId {
    UserId(10 * member + 5)
}

impl Shape {
    pub fn format(&self) -> ShareFormat {
        ShareFormat::new(self.profile, self.frame_bytes, self.scheme).expect("a format that there is")
    }

    pub fn welcome(&self, side: ServerSide) -> Welcome {
        let roster: Vec<UserId> = (0..self.members).map(id).collect();
        let (scheme, subgroups_max) = match self.scheme {
            Scheme::Plain => (0, 0),
            Scheme::Algorithm4 => (1, 0),
            Scheme::OneToMany { subgroups_max } => (2, subgroups_max),
        };
        Welcome {
            group: GROUP.0.into(),
            epoch: EPOCH.0.into(),
            members: self.members.into(),
            slots: self.slots.into(),
            frame_bytes: self.frame_bytes.into(),
            share_bytes: (self.share_bytes(side) as u32).into(),
            confirm_tile_senders: self.confirm_tile_senders.into(),
            key_tile_senders: self.key_tile_senders.into(),
            round_timeout_ms: (TIMEOUT.as_millis() as u32).into(),
            interval_ms: 0.into(),
            epoch_rounds: 0.into(),
            announce_rounds: 2.into(),
            round: 1.into(),
            roster_hash: roster_hash(GROUP, EPOCH, &roster),
            profile: self.profile.number(),
            scheme,
            subgroups_max: subgroups_max.into(),
            open: 0,
            delivery: self.answer.into(),
            linked: 1,
            flags: if self.header_rounds > 0 { Welcome::REGISTERED | Welcome::ACCOUNTABLE } else { 0 },
            header_rounds: self.header_rounds.into(),
        }
    }

    /// Bytes of what a round brings of one sender, or of one query.
    fn share_bytes(&self, side: ServerSide) -> usize {
        if self.answer { answer::RECORD_BYTES } else { self.format().cell_bytes(side) }
    }

    pub fn tiles(&self) -> u32 {
        self.members.div_ceil(64)
    }

    /// The kinds of parts that the group has, in the order of their delivery.
    pub fn kinds(&self) -> Vec<PartKind> {
        PartKind::ALL.into_iter().filter(|kind| self.tile_senders(*kind) > 0).collect()
    }

    pub fn tile_senders(&self, kind: PartKind) -> u32 {
        match kind {
            PartKind::Confirmation => self.confirm_tile_senders,
            PartKind::Key | PartKind::KeyReply => self.key_tile_senders,
        }
    }

    pub fn part_slots(&self, kind: PartKind) -> u32 {
        if kind == PartKind::Confirmation { self.slots } else { 1 }
    }

    /// Whether slots are dialled.
    pub fn dials(&self) -> bool {
        !matches!(self.scheme, Scheme::OneToMany { .. })
    }

    /// Whether `sender` writes to `user`: to itself and the next `slot + 1` members, or to the next one only where one
    /// is all that can be reached, or where what is sent is to be sealed.
    pub fn is_for(&self, members: u32, sender: u32, slot: u32, user: u32) -> bool {
        let distance = (user + members - sender) % members;
        let one =
            self.profile != Profile::Compact && self.scheme == Scheme::Plain || self.key_tile_senders > 0;
        match self.scheme {
            Scheme::OneToMany { .. } => (1..=2).contains(&distance),
            _ if one => distance == 1,
            _ => distance <= slot + 1,
        }
    }
}

pub fn settings() -> ClientSettings {
    ClientSettings {
        group: GROUP,
        epoch: None,
        join: false,
        skew_bytes: 1 << 20,
        signed: None,
        accept_baseline: true,
        channel: ChannelSettings::Plain,
        accountable: None,
    }
}
